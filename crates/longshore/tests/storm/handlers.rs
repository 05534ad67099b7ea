//! Handlers of a storm: an honest echo, one that does anything, and one that goes out.

use crate::codec::{self, FRAME_MAX, Pinged};
use crate::rng::Rng;
use crate::tally::Tally;
use longshore::testing::SimFile;
use longshore::{
    Addr, Claim, Closed, Conn, ConnId, Connector, Ctx, Error, FileEvent, FileSource, Group, Groups,
    Handler, OnDuplicate, Owners, Receipt, Reconnect, Result, Retry, Sent, Time, Timer,
};
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What `on_disconnect` was told of one connection.
#[derive(Clone, Debug)]
#[expect(dead_code, reason = "the words are for who looks for a bug")]
pub(crate) struct End {
    pub(crate) peer: Addr,
    pub(crate) reason: &'static str,
    words: String,
}

/// What the handlers of one storm share.
#[derive(Debug)]
pub(crate) struct Weather {
    pub(crate) seeds: Mutex<Rng>,
    pub(crate) calm: AtomicBool,
    pub(crate) tally: Tally,
    pub(crate) dials: AtomicU64,
    pub(crate) wrongs: Mutex<Vec<String>>,
    pub(crate) ends: Mutex<Vec<End>>,
    pub(crate) wild: Mutex<Vec<Conn<Wild>>>,
    pub(crate) out: Mutex<Vec<Conn<Out>>>,
    /// Where wild ones meet, and what became of what was said there.
    pub(crate) rooms: [Group<Pinged>; 2],
    pub(crate) receipts: Mutex<Vec<Receipt>>,
    /// The same by key, and a group of all of them.
    pub(crate) halls: Groups<usize, Pinged>,
    pub(crate) all: Group<Pinged>,
    /// Who has which key, of which one may have how many.
    pub(crate) owners: Owners<usize, Wild>,
    pub(crate) on_duplicate: OnDuplicate,
    pub(crate) targets: Vec<String>,
    pub(crate) sink: SocketAddr,
}

impl Weather {
    pub(crate) fn is_calm(&self) -> bool {
        self.calm.load(Relaxed)
    }

    pub(crate) fn rng(&self) -> Rng {
        Rng::new(self.seeds.lock().unwrap().next())
    }

    /// Says something to all in a room, or to all but one.
    pub(crate) fn say(&self, rng: &mut Rng, except: Option<ConnId>) {
        let room = &self.rooms[rng.below(2)];
        let bytes = vec![3; rng.of(&[0, 40, FRAME_MAX])];
        let receipt = match except {
            Some(id) => room.broadcast_except(id, &bytes),
            None => room.broadcast(&bytes),
        };
        self.receipts.lock().unwrap().push(receipt.expect("it fits a frame"));
    }

    /// Something with groups by key, or with all.
    pub(crate) fn meet(&self, rng: &mut Rng, conn: &Conn<Wild>) {
        let key = rng.below(5);
        let receipt = match rng.below(7) {
            0..=2 => {
                let _ = self.halls.join(key, conn);
                return;
            }
            3 => return self.halls.leave(&key, conn),
            4 => self.all.broadcast_latest(key as u64, &[2; 30]),
            5 => self.all.broadcast_except(conn.id(), &[2; 50]),
            _ => self.halls.broadcast(&key, &[2; 70]),
        };
        self.receipts.lock().unwrap().push(receipt.expect("it fits a frame"));
    }

    /// Something with keys.
    pub(crate) fn own(&self, rng: &mut Rng, conn: &Conn<Wild>) {
        let key = rng.below(4);
        match rng.below(8) {
            0..=3 => {
                let claim = self.owners.claim(key, conn);
                if claim == Claim::Full {
                    self.wrong("there is room for all keys");
                }
            }
            4 => drop(self.owners.release(&key, conn)),
            5 => drop(self.owners.send(&key, &[1; 40])),
            6 => drop(self.owners.send_except(&key, conn.id(), &[1; 60])),
            _ => drop(self.owners.kick(&key, "storm")),
        }
        let most = if let OnDuplicate::Allow(most) = self.on_duplicate { most } else { 1 };
        if self.owners.all(&key).len() > most {
            self.wrong("more have a key than may");
        }
    }

    fn wrong(&self, what: impl Into<String>) {
        self.wrongs.lock().unwrap().push(what.into());
    }
}

/// What a handler was promised, and holds its framework to.
#[derive(Debug)]
pub(crate) struct Watch {
    weather: Arc<Weather>,
    closed: bool,
    paused: bool,
    timers: BTreeMap<u32, Time>,
}

impl Watch {
    pub(crate) fn new(weather: &Arc<Weather>) -> Self {
        Self { weather: Arc::clone(weather), closed: false, paused: false, timers: BTreeMap::new() }
    }

    fn callback(&self, name: &str) {
        if self.closed {
            self.weather.wrong(format!("{name} after close"));
        }
    }

    fn message(&self) {
        self.weather.tally.message();
        self.callback("on_message");
        if self.paused {
            self.weather.wrong("on_message while paused");
        }
    }

    fn timer(&mut self, now: Time, timer: Timer) {
        self.callback("on_timer");
        if self.timers.remove(&timer.0).is_none_or(|due| due > now) {
            self.weather.wrong(format!("timer {} not set, or early", timer.0));
        }
    }

    fn set<H: Handler>(&mut self, cx: &mut Ctx<'_, H>, timer: u32, after: Duration) -> Result {
        cx.set_timer(Timer(timer), after)?;
        if !self.closed {
            self.timers.insert(timer, cx.now() + after);
        }
        Ok(())
    }

    fn send_file<H: Handler>(&self, cx: &mut Ctx<'_, H>, file: &SimFile) -> Result {
        cx.send_file(&FileSource::of(file.handle())?, ..)?;
        self.weather.tally.files.fetch_add(1, Relaxed);
        Ok(())
    }

    fn file(&self) {
        self.callback("on_file");
        self.weather.tally.files_told.fetch_add(1, Relaxed);
    }

    fn pause<H: Handler>(&mut self, cx: &mut Ctx<'_, H>, yes: bool) {
        if yes {
            cx.pause();
        } else {
            cx.resume();
        }
        self.paused = yes && !self.closed;
    }

    fn ended(&mut self, closed: &Closed<'_>) {
        self.weather.tally.ended(closed);
        let (peer, reason) = (closed.peer_addr, closed.reason.name());
        let end = End { peer, reason, words: closed.reason.to_string() };
        self.weather.ends.lock().unwrap().push(end);
    }
}

const RESUME: u32 = 0;

/// Posts to a connection whatever its handler then does.
pub(crate) fn post(conn: &Conn<Wild>, weather: &Arc<Weather>) {
    let tally = Arc::clone(weather);
    let posted = conn.post(move |wild, cx| {
        tally.tally.posts_run.fetch_add(1, Relaxed);
        wild.watch.callback("a post");
        wild.act(cx)
    });
    let count = match posted {
        Sent::Queued => &weather.tally.posts,
        Sent::Full => &weather.tally.posts_refused,
        _ => return,
    };
    count.fetch_add(1, Relaxed);
}

/// Sends every frame back, in one of the ways there are; waits where a queue is full.
#[derive(Debug)]
pub(crate) struct Echo {
    pub(crate) watch: Watch,
    pub(crate) rng: Rng,
    pub(crate) waiting: VecDeque<Vec<u8>>,
}

impl Echo {
    /// By the context, by a handle, by a handle on the same worker, as a file: all in order.
    fn send(&mut self, cx: &mut Ctx<'_, Self>, frame: &[u8]) -> Result<bool> {
        let sent = match self.rng.below(5) {
            4 => {
                let file = SimFile::new(codec::frame(frame, false));
                self.watch.send_file(cx, &file)?;
                Sent::Queued
            }
            0 => cx.conn().send(frame),
            1 => cx.send_to(&cx.conn(), frame),
            _ => match cx.try_send(frame) {
                Ok(()) => Sent::Queued,
                Err(error) if Error::from(error.clone()).is_full() => Sent::Full,
                Err(error) => return Err(error.into()),
            },
        };
        match sent {
            Sent::Queued => Ok(true),
            Sent::Full => Ok(false),
            other => Err(Error::msg(format!("{other:?}"))),
        }
    }

    fn flush(&mut self, cx: &mut Ctx<'_, Self>) -> Result {
        while let Some(frame) = self.waiting.pop_front() {
            if !self.send(cx, &frame)? {
                self.waiting.push_front(frame);
                return Ok(());
            }
        }
        self.watch.pause(cx, false);
        Ok(())
    }
}

impl Handler for Echo {
    type Codec = Pinged;

    fn on_connect(&mut self, cx: &mut Ctx<'_, Self>) -> Result {
        cx.set_idle(Duration::ZERO);
        Ok(())
    }

    fn on_message(&mut self, cx: &mut Ctx<'_, Self>, frame: &[u8]) -> Result {
        self.watch.message();
        if !self.waiting.is_empty() || !self.send(cx, frame)? {
            self.waiting.push_back(frame.to_vec());
            self.watch.pause(cx, true);
        } else if self.rng.one_in(8) {
            self.watch.pause(cx, true);
            if self.rng.one_in(2) {
                self.watch.pause(cx, false);
            } else {
                let after = self.rng.span();
                self.watch.set(cx, RESUME, after)?;
            }
        }
        Ok(())
    }

    fn on_timer(&mut self, cx: &mut Ctx<'_, Self>, timer: Timer) -> Result {
        self.watch.timer(cx.now(), timer);
        if self.waiting.is_empty() {
            self.watch.pause(cx, false);
        }
        Ok(())
    }

    fn on_writable(&mut self, cx: &mut Ctx<'_, Self>) -> Result {
        self.watch.callback("on_writable");
        self.flush(cx)
    }

    fn on_file(&mut self, _: &mut Ctx<'_, Self>, _: FileEvent) -> Result {
        self.watch.file();
        Ok(())
    }

    fn on_disconnect(mut self, closed: &Closed<'_>) {
        self.watch.ended(closed);
    }
}

/// Does anything, until the weather is calm; then it echoes.
#[derive(Debug)]
pub(crate) struct Wild {
    pub(crate) watch: Watch,
    pub(crate) rng: Rng,
}

impl Wild {
    fn act(&mut self, cx: &mut Ctx<'_, Self>) -> Result {
        if self.watch.weather.is_calm() {
            return Ok(());
        }
        match self.rng.below(61) {
            58..=60 => return self.send_file(cx),
            48..=50 => self.watch.weather.meet(&mut self.rng, &cx.conn()),
            51..=53 => self.watch.weather.own(&mut self.rng, &cx.conn()),
            54..=57 => {
                let key = self.rng.below(3) as u64;
                let len = self.rng.of(&[1, 60, FRAME_MAX]);
                return cx.send_latest(key, &vec![key as u8; len]);
            }
            42..=44 => drop(self.watch.weather.rooms[self.rng.below(2)].join(&cx.conn())),
            45 => self.watch.weather.rooms[self.rng.below(2)].leave(&cx.conn()),
            46 => self.watch.weather.say(&mut self.rng, None),
            47 => self.watch.weather.say(&mut self.rng, Some(cx.id())),
            40 | 41 => (0..self.rng.below(3)).for_each(|_| post(&cx.conn(), &self.watch.weather)),
            0 => cx.close(),
            1 => cx.close_because("storm"),
            2 => cx.abort(),
            3 => self.watch.weather.tally.panic("storm: a callback"),
            4 => return Err(Error::msg("storm")),
            5 | 6 => {
                self.watch.pause(cx, true);
                let after = self.rng.span();
                return self.watch.set(cx, RESUME, after);
            }
            7 => {
                self.watch.pause(cx, true);
                self.watch.pause(cx, false);
            }
            8 | 9 => {
                let (timer, after) = (1 + self.rng.below(5) as u32, self.rng.span());
                return self.watch.set(cx, timer, after);
            }
            10 => cx.set_idle(self.rng.span()),
            11 => {
                for _ in 0..self.rng.below(100) {
                    cx.send(&[7; FRAME_MAX])?;
                }
            }
            12 | 13 => {
                if cx.send_tracked(&[8; 20], 3).is_ok() {
                    self.watch.weather.tally.tracked.fetch_add(1, Relaxed);
                }
            }
            14 => {
                let _ = cx.send_encoded(vec![9; self.rng.below(3_000)].into());
            }
            15 | 16 => self.others(cx),
            17 | 18 => self.go_out(cx),
            19 => cx.conn().close(),
            20 => cx.conn().abort(),
            21 => {
                let _ = cx.server().close(cx.id());
            }
            _ => {
                let most = self.rng.of(&[4, 60, FRAME_MAX]);
                let len = self.rng.below(most);
                let bytes = self.rng.bytes(len);
                return cx.send(&bytes);
            }
        }
        // What the connection became is seen by what may still be called.
        self.watch.closed |= cx.conn().is_closed();
        Ok(())
    }

    fn send_file(&mut self, cx: &mut Ctx<'_, Self>) -> Result {
        let len = self.rng.of(&[0, 1, 500, 20_000]);
        let file = SimFile::new(vec![4; len]);
        self.watch.send_file(cx, &file)?;
        if self.rng.one_in(8) {
            file.set_len(self.rng.below(len + 1));
        }
        Ok(())
    }

    fn others(&mut self, cx: &mut Ctx<'_, Self>) {
        let wild = self.watch.weather.wild.lock().unwrap().clone();
        if wild.is_empty() {
            return;
        }
        let other = &wild[self.rng.below(wild.len())];
        if other.id() == cx.id() {
            return;
        }
        match self.rng.below(10) {
            0 => other.close(),
            1 => other.abort(),
            8 | 9 => post(other, &self.watch.weather),
            2 => {
                let _ = cx.send_to(other, b"from another");
            }
            _ => {
                let _ = other.send(&[6; 100]);
            }
        }
    }

    fn go_out(&mut self, cx: &mut Ctx<'_, Self>) {
        let weather = &self.watch.weather;
        if weather.dials.fetch_add(1, Relaxed) >= 6 {
            return;
        }
        let codec = Pinged::new();
        let backs_off = self.rng.one_in(3);
        // Who never gives up goes where the calm lets it in, the last target is not there.
        let targets = &weather.targets[..weather.targets.len() - usize::from(backs_off)];
        let connector = match self.rng.below(3) {
            0 => Connector::addr(weather.sink, codec),
            _ => Connector::tcp(&targets[self.rng.below(targets.len())], codec),
        };
        let hasty = Duration::from_micros(if backs_off { 150_000 } else { 1 });
        let timeouts = [hasty, Duration::from_millis(150), Duration::from_secs(10)];
        let connector = connector.timeout(self.rng.of(&timeouts));
        let connector = if backs_off {
            connector.reconnect(Reconnect::Backoff {
                min: Duration::from_millis(1),
                max: Duration::from_secs(1),
            })
        } else if self.rng.one_in(2) {
            connector
        } else {
            let (mut rng, weather) = (self.rng.clone(), Arc::clone(weather));
            connector.on_failure(move |_, _| match rng.below(8) {
                0 => weather.tally.panic_late("storm: on_failure"),
                _ if weather.is_calm() => Retry::GiveUp,
                1 => Retry::GiveUp,
                2 => Retry::After(Duration::ZERO),
                _ => Retry::After(rng.span()),
            })
        };
        let weather = Arc::clone(weather);
        let asked = cx.connect(connector, move |_| {
            let mut rng = weather.rng();
            match rng.below(10) {
                0 => weather.tally.panic_in_factory("storm: a factory"),
                1 => Err(longshore::Reject::because("storm")),
                _ => Ok(weather.tally.made(Out { watch: Watch::new(&weather), rng })),
            }
        });
        asked.expect("settings that work");
    }
}

impl Handler for Wild {
    type Codec = Pinged;

    fn on_connect(&mut self, cx: &mut Ctx<'_, Self>) -> Result {
        self.watch.weather.wild.lock().unwrap().push(cx.conn());
        self.act(cx)
    }

    fn on_message(&mut self, cx: &mut Ctx<'_, Self>, frame: &[u8]) -> Result {
        cx.admit();
        self.watch.paused = false; // handles resume it as well
        self.watch.message();
        if self.watch.weather.is_calm() || self.rng.one_in(2) {
            cx.send(frame)?;
        }
        self.act(cx)
    }

    fn on_writable(&mut self, cx: &mut Ctx<'_, Self>) -> Result {
        self.watch.callback("on_writable");
        self.act(cx)
    }

    fn on_idle(&mut self, cx: &mut Ctx<'_, Self>) -> Result {
        self.watch.callback("on_idle");
        self.act(cx)
    }

    fn on_timer(&mut self, cx: &mut Ctx<'_, Self>, timer: Timer) -> Result {
        self.watch.timer(cx.now(), timer);
        if timer.0 == RESUME {
            self.watch.pause(cx, false);
        }
        self.act(cx)
    }

    fn on_sent(&mut self, cx: &mut Ctx<'_, Self>, _: u64) -> Result {
        self.watch.callback("on_sent");
        self.watch.weather.tally.tracked_told.fetch_add(1, Relaxed);
        self.act(cx)
    }

    fn on_file(&mut self, cx: &mut Ctx<'_, Self>, _: FileEvent) -> Result {
        self.watch.file();
        self.act(cx)
    }

    fn on_shutdown(&mut self, cx: &mut Ctx<'_, Self>) -> Result {
        self.watch.callback("on_shutdown");
        match self.rng.below(4) {
            0 => self.watch.weather.tally.panic("storm: on_shutdown"),
            1 => Ok(()), // until it is aborted
            _ => {
                cx.close();
                Ok(())
            }
        }
    }

    fn on_disconnect(mut self, closed: &Closed<'_>) {
        self.watch.ended(closed);
        if self.rng.one_in(10) {
            self.watch.weather.tally.panic("storm: on_disconnect");
        }
    }
}

/// The other end of what the storm connects to itself; both ends are of this kind.
#[derive(Debug)]
pub(crate) struct Out {
    pub(crate) watch: Watch,
    pub(crate) rng: Rng,
}

impl Out {
    /// In the calm it goes home, and leaves the server to others.
    fn goes_home(&mut self, cx: &mut Ctx<'_, Self>) -> bool {
        let calm = self.watch.weather.is_calm();
        if calm {
            cx.close();
        }
        calm
    }
}

impl Handler for Out {
    type Codec = Pinged;

    fn on_connect(&mut self, cx: &mut Ctx<'_, Self>) -> Result {
        self.watch.weather.out.lock().unwrap().push(cx.conn());
        if self.goes_home(cx) { Ok(()) } else { cx.send(b"hello") }
    }

    fn on_message(&mut self, cx: &mut Ctx<'_, Self>, frame: &[u8]) -> Result {
        self.watch.message();
        if self.goes_home(cx) {
            return Ok(());
        }
        match self.rng.below(12) {
            0 => cx.close(),
            1 => cx.abort(),
            2 => self.watch.weather.tally.panic("storm: out"),
            _ => {
                let after = self.rng.span().max(Duration::from_millis(5));
                self.watch.set(cx, RESUME, after)?;
                cx.send(frame)?;
            }
        }
        self.watch.closed |= cx.conn().is_closed();
        Ok(())
    }

    fn on_timer(&mut self, cx: &mut Ctx<'_, Self>, timer: Timer) -> Result {
        self.watch.timer(cx.now(), timer);
        if self.rng.one_in(4) { Ok(()) } else { cx.send(b"again") }
    }

    fn on_disconnect(mut self, closed: &Closed<'_>) {
        self.watch.ended(closed);
    }
}
