//! Order, frames, and what lengths claim (R18-R24).

use super::child::Plan;
use super::support::*;
use longshore::*;
use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Barrier, Condvar, Mutex};
use std::time::Duration;

/// Tells senders on other threads when there is room again.
#[derive(Default)]
struct Room {
    told: Mutex<u64>,
    changed: Condvar,
}

impl Room {
    fn epoch(&self) -> u64 {
        *self.told.lock().unwrap()
    }

    fn tell(&self) {
        *self.told.lock().unwrap() += 1;
        self.changed.notify_all();
    }

    fn wait_past(&self, epoch: u64) {
        let told = self.told.lock().unwrap();
        let waited = self.changed.wait_timeout_while(told, PATIENCE, |told| *told == epoch);
        assert!(!waited.unwrap().1.timed_out(), "a refused send was never told of room");
    }
}

/// Is sent through from other threads.
struct Target {
    handles: Sender<Conn<Target>>,
    room: Arc<Room>,
}

impl Handler for Target {
    type Codec = LengthDelimited;

    fn on_connect(&mut self, cx: &mut Ctx<'_, Self>) -> Result {
        Ok(self.handles.send(cx.conn())?)
    }

    fn on_message(&mut self, _: &mut Ctx<'_, Self>, _: &[u8]) -> Result {
        Ok(())
    }

    fn on_writable(&mut self, _: &mut Ctx<'_, Self>) -> Result {
        self.room.tell();
        Ok(())
    }
}

/// Small buffers everywhere, refusals instead of disconnects.
fn narrow() -> Listener<LengthDelimited> {
    let options = SocketOptions::default().send_buf_bytes(4096);
    let limits = Limits::new()
        .first_byte(Duration::ZERO)
        .send_queue_bytes(16 * 1024)
        .slow_reader(SlowReader::Refuse);
    Listener::tcp("127.0.0.1:0", LengthDelimited::u32_be(4096))
        .socket_options(options)
        .limits(limits)
}

#[test]
fn r18_concurrent_sends_keep_call_order_and_frames_whole() {
    on_each_driver(|driver| {
        let (threads, messages) = (8usize, pick(2_000, 100_000));
        let (handles, fresh) = channel();
        let room = Arc::new(Room::default());
        let for_handler = Arc::clone(&room);
        let make = move |_| Target { handles: handles.clone(), room: Arc::clone(&for_handler) };
        let running = Running::handled(driver, narrow(), |builder| builder, make);
        let mut stream = connect(running.addr);
        let conn = fresh.recv_timeout(PATIENCE).unwrap();
        let refusals = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for thread in 0..threads {
                let (conn, room, refusals) = (conn.clone(), &room, &refusals);
                scope.spawn(move || {
                    for number in 0..messages {
                        let mut message = vec![thread as u8; 5 + (number + thread) % 90];
                        message[1..5].copy_from_slice(&(number as u32).to_be_bytes());
                        loop {
                            let epoch = room.epoch();
                            match conn.send(&message) {
                                Sent::Queued => break,
                                Sent::Full => room.wait_past(epoch),
                                other => panic!("{other:?}"),
                            }
                            refusals.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                });
            }
            let mut next = vec![0u32; threads];
            for _ in 0..threads * messages {
                let message = recv(&mut stream);
                let thread = usize::from(message[0]);
                let number = u32::from_be_bytes(message[1..5].try_into().unwrap());
                assert_eq!(number, next[thread], "an inversion of thread {thread}");
                assert_eq!(message.len(), 5 + (number as usize + thread) % 90, "a torn frame");
                assert!(
                    message[5..].iter().all(|byte| usize::from(*byte) == thread),
                    "a torn frame"
                );
                next[thread] += 1;
            }
        });
        running.stop(Duration::ZERO);
        let refused = refusals.load(Ordering::Relaxed);
        let text = format!(
            "{threads} threads x {messages} messages, {refused} refusals retried, 0 inversions"
        );
        reached("R18", driver, text);
    });
}

/// Sends chunk upon chunk of a pattern, two at a time.
struct Pump {
    chunks: u64,
    sent: u64,
    told: u64,
    tally: Arc<Tally>,
}

const CHUNK_BYTES: usize = 60_000;

fn chunk(number: u64) -> Vec<u8> {
    let first = (number as u8).wrapping_mul(31);
    (0..CHUNK_BYTES).map(|at| first.wrapping_add((at % 251) as u8)).collect()
}

impl Pump {
    fn more(&mut self, cx: &mut Ctx<'_, Self>) -> Result {
        while self.sent < self.chunks && self.sent < self.told + 2 {
            cx.send_tracked(&chunk(self.sent), self.sent)?;
            self.sent += 1;
        }
        Ok(())
    }
}

impl Handler for Pump {
    type Codec = LengthDelimited;

    fn on_message(&mut self, cx: &mut Ctx<'_, Self>, frame: &[u8]) -> Result {
        self.chunks = u64::from_be_bytes(frame.try_into()?);
        self.more(cx)
    }

    fn on_sent(&mut self, cx: &mut Ctx<'_, Self>, id: u64) -> Result {
        assert_eq!(id, self.told, "told once each, in order");
        self.told += 1;
        self.tally.change(|counts| counts.extra += 1);
        self.more(cx)
    }

    fn on_disconnect(self, closed: &Closed<'_>) {
        self.tally.closed(closed);
    }
}

#[test]
fn r19_short_sends_go_on_at_the_exact_byte() {
    on_each_driver(|driver| {
        let chunks = pick(8 << 20, 150_000_000) / CHUNK_BYTES;
        let options = SocketOptions::default().send_buf_bytes(4096);
        let running = Running::handled(
            driver,
            listener().socket_options(options),
            |builder| builder,
            |tally| Pump { chunks: 0, sent: 0, told: 0, tally },
        );
        let mut stream = connect(running.addr);
        send(&mut stream, &(chunks as u64).to_be_bytes());
        for number in 0..chunks {
            assert!(recv(&mut stream) == chunk(number as u64), "chunk {number} differs");
        }
        running.tally.wait("each is told", |counts| counts.extra == chunks);
        running.stop(Duration::ZERO);
        reached("R19", driver, format_args!("{} bytes equal", chunks * CHUNK_BYTES));
    });
}

/// Wants numbers in their order, and answers the last one.
struct Counting {
    next: u32,
    last: u32,
}

impl Handler for Counting {
    type Codec = LengthDelimited;

    fn on_message(&mut self, cx: &mut Ctx<'_, Self>, frame: &[u8]) -> Result {
        let number = u32::from_be_bytes(frame[..4].try_into()?);
        if number != self.next {
            return Err(Error::msg(format_args!("{number} instead of {}", self.next)));
        }
        self.next += 1;
        if self.next == self.last { cx.send(frame) } else { Ok(()) }
    }
}

#[test]
fn r20_messages_keep_their_order_with_several_workers() {
    on_each_driver(|driver| {
        let (connections, messages) = (8, pick(10_000, 1_000_000));
        let running = Running::handled(
            driver,
            listener(),
            |builder| builder.workers(4),
            move |_| Counting { next: 0, last: messages as u32 },
        );
        std::thread::scope(|scope| {
            for connection in 0..connections {
                scope.spawn(move || {
                    let mut random = Random(connection + 1);
                    let mut stream = connect(running.addr);
                    let mut out = Vec::new();
                    for number in 0..messages {
                        let len = 4 + random.below(40);
                        out.extend_from_slice(&(len as u32).to_be_bytes());
                        out.extend_from_slice(&(number as u32).to_be_bytes());
                        out.resize(out.len() + len - 4, 0);
                        if out.len() > 1_000 + random.below(60_000) {
                            stream.write_all(&std::mem::take(&mut out)).unwrap();
                        }
                    }
                    stream.write_all(&out).unwrap();
                    assert_eq!(recv(&mut stream)[..4], (messages as u32 - 1).to_be_bytes());
                });
            }
        });
        running.stop(Duration::ZERO);
        let text = format!("{connections} connections x {messages} messages, 0 inversions");
        reached("R20", driver, text);
    });
}

#[test]
fn r21_frames_are_the_same_however_they_are_cut() {
    on_each_driver(|driver| {
        let rounds = pick(40, 5_000);
        let running = Running::echo(driver, |builder| builder);
        let mut wire = Vec::new();
        let mut want = Vec::new();
        for len in [0, 1, 3, 4, 5, 17, 0, 0, 300, 2] {
            want.push(pattern(len, len));
            wire.extend(framed(&pattern(len, len)));
        }
        let mut random = Random(21);
        let mut stream = connect(running.addr);
        for round in 0..rounds {
            let mut at = 0;
            while at < wire.len() {
                let most = if round == 0 { 1 } else { 1 + random.below(60) };
                let to = wire.len().min(at + most);
                stream.write_all(&wire[at..to]).unwrap();
                at = to;
            }
            for want in &want {
                assert!(recv(&mut stream) == *want, "round {round}");
            }
        }
        running.stop(Duration::ZERO);
        reached("R21", driver, format_args!("{rounds} ways to cut, the same frames out"));
    });
}

#[test]
fn r22_claims_of_length_cost_no_memory() {
    on_each_driver(|driver| {
        let count = pick(2_000, 10_000);
        let mut server = Plan::new("serve", driver, &[]).start();
        let addr = server.addr();
        ping(&mut connect(addr), &vec![0; 100_000]);
        let bytes = server.counter("bytes_in");
        let before = server.counter("resident");
        let mut claim = (1u32 << 20).to_be_bytes().to_vec();
        claim.push(1);
        let streams: Vec<_> = (0..count)
            .map(|_| {
                let mut stream = connect(addr);
                stream.write_all(&claim).unwrap();
                stream
            })
            .collect();
        while server.counter("bytes_in") < bytes + 5 * count as u64 {
            // Asking is a round trip to the child; a server that lost bytes fails by its silence.
            ping(&mut connect(addr), b"");
        }
        let grown = server.counter("resident").saturating_sub(before);
        assert!(grown <= 64 * 1024, "{grown} KiB for {count} claims");
        for claim in [(1u32 << 20) + 1, 1 << 31, u32::MAX] {
            let mut stream = connect(addr);
            stream.write_all(&claim.to_be_bytes()).unwrap();
            end_of(&mut stream);
        }
        drop(streams);
        server.stop();
        reached("R22", driver, format_args!("{count} claims of 1 MiB, {grown} KiB resident"));
    });
}

#[test]
fn r23_lengths_near_every_border_are_taken_or_refused() {
    on_each_driver(|driver| {
        const MAX: usize = 1000;
        let borders = [0, 1, MAX as u64 - 1, MAX as u64, MAX as u64 + 1]
            .into_iter()
            .chain(
                [31u32, 32, 63]
                    .map(|bit| 1 << bit)
                    .into_iter()
                    .flat_map(|b: u64| [b - 1, b, b + 1]),
            )
            .chain([u64::MAX - 1, u64::MAX]);
        let borders: Vec<u64> = borders.collect();
        let mut tried = 0;
        for width in [1u8, 2, 3, 4, 8] {
            for order in [ByteOrder::Big, ByteOrder::Little] {
                let max = if width == 1 { 200 } else { MAX };
                let codec = LengthDelimited::new(width, order, max);
                let running = Running::handled(
                    driver,
                    Listener::tcp("127.0.0.1:0", codec),
                    |builder| builder.workers(1),
                    Echo,
                );
                for &claim in &borders {
                    if width < 8 && claim >> (8 * u32::from(width)) != 0 {
                        continue;
                    }
                    tried += 1;
                    one_claim(&running, width, order, (claim, max));
                }
                running.stop(Duration::ZERO);
            }
        }
        reached("R23", driver, format_args!("{tried} claims, each taken or refused as it should"));
    });
}

/// A frame within the limit comes back, one beyond ends its connection, and only that.
fn one_claim(running: &Running, width: u8, order: ByteOrder, (claim, max): (u64, usize)) {
    let width = usize::from(width);
    let mut wire = match order {
        ByteOrder::Big => claim.to_be_bytes()[8 - width..].to_vec(),
        ByteOrder::Little => claim.to_le_bytes()[..width].to_vec(),
    };
    let mut stream = connect(running.addr);
    if claim <= max as u64 {
        wire.resize(width + claim as usize, 7);
        stream.write_all(&wire).unwrap();
        let mut back = vec![0; wire.len()];
        stream.read_exact(&mut back).unwrap();
        assert!(back == wire);
        return;
    }
    let refused = running.tally.now().ended("frame_too_long");
    stream.write_all(&wire).unwrap();
    end_of(&mut stream);
    drop(stream);
    running.tally.wait("it is told", |counts| counts.ended("frame_too_long") == refused + 1);
}

/// Answers all but empty frames.
struct Patient(Arc<Tally>);

impl Handler for Patient {
    type Codec = LengthDelimited;

    fn on_message(&mut self, cx: &mut Ctx<'_, Self>, frame: &[u8]) -> Result {
        if frame.is_empty() {
            return Ok(());
        }
        cx.send(frame)
    }

    fn on_disconnect(self, closed: &Closed<'_>) {
        self.0.closed(closed);
    }
}

#[test]
fn r24_a_flood_of_empty_frames_does_not_keep_others_from_their_answers() {
    on_each_driver(|driver| {
        let (empty, pings) = (pick(100_000, 1_000_000), pick(200, 5_000));
        let running = Running::handled(driver, listener(), |builder| builder.workers(1), Patient);
        let (answered, begun) = (AtomicBool::new(false), Barrier::new(2));
        let flood = vec![0; 4 * 10_000];
        let (during, sent) = std::thread::scope(|scope| {
            let flooder = scope.spawn(|| {
                let mut stream = connect(running.addr);
                let mut sent = 0;
                while sent < empty || !answered.load(Ordering::Acquire) {
                    stream.write_all(&flood).unwrap();
                    sent += 10_000;
                    if sent == 10_000 {
                        begun.wait();
                    }
                }
                sent
            });
            let mut streams: Vec<_> = (0..10).map(|_| connect(running.addr)).collect();
            begun.wait();
            let before = running.server.snapshot();
            for _ in 0..pings / 10 {
                for stream in &mut streams {
                    ping(stream, b"among the flood");
                }
            }
            let after = running.server.snapshot();
            answered.store(true, Ordering::Release);
            let (messages, turns) =
                (after.messages_in - before.messages_in, after.turns - before.turns);
            // A turn has at most 64 frames of the flood and one of each other peer.
            assert!(messages <= (turns + 2) * (64 + 10), "{messages} frames in {turns} turns");
            (messages, flooder.join().unwrap())
        });
        running.stop(Duration::ZERO);
        let text = format!("{pings} pings beside {during} frames, of {sent} empty ones in all");
        reached("R24", driver, text);
    });
}
