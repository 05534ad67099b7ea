//! In steady state an echoed message allocates nothing, on either driver.
//!
//! In a binary and a test of its own: the allocator counts for the whole process, so nothing else
//! may run. The peer is a plain stream with buffers made before, and counts as zero.

#![expect(clippy::unwrap_used, reason = "what a test cannot do ends it")]

use longshore::*;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Messages until every pool and table has its size: more than the credit of one receive (256 KiB).
const WARM_UP: usize = 5_000;

/// Messages that are counted.
const MESSAGES: usize = 10_000;

struct Echo;

impl Handler for Echo {
    type Codec = LengthDelimited;
    fn on_message(&mut self, cx: &mut Ctx<'_, Self>, frame: &[u8]) -> Result {
        cx.send(frame)
    }
}

/// Sends and receives `count` messages of 64 bytes, `depth` at a time.
fn echo(
    peer: &mut TcpStream,
    out: &[u8],
    back: &mut [u8],
    count: usize,
    depth: usize,
    filtered: bool,
) {
    for _ in 0..count / depth {
        peer.write_all(out).unwrap();
        // What a filter says by itself comes between, before or behind; there is one for each receive.
        let mut got = 0;
        while got < back.len() {
            got += match peer.read(&mut back[got..]) {
                Err(error) if error.kind() == ErrorKind::Interrupted => 0,
                read => read.unwrap(),
            };
            if filtered {
                got = without(&mut back[..got]);
            }
        }
        assert!(out == back);
    }
}

/// Turns every byte over, and answers what came with a byte of its own.
struct Xor;

const ANSWER: u8 = 9;

impl Filter for Xor {
    fn handle_input(
        &mut self,
        input: &[u8],
        plain: &mut Vec<u8>,
        reply: &mut Vec<u8>,
    ) -> core::result::Result<(), FrameError> {
        plain.extend(input.iter().map(|byte| !byte));
        reply.push(ANSWER);
        Ok(())
    }

    fn handle_output(
        &mut self,
        plain: &[u8],
        wire: &mut Vec<u8>,
    ) -> core::result::Result<(), FrameError> {
        wire.extend(plain.iter().map(|byte| !byte));
        Ok(())
    }
}

/// Takes the answers of the filter out, and says how much is left.
fn without(bytes: &mut [u8]) -> usize {
    let mut left = 0;
    for at in 0..bytes.len() {
        if bytes[at] != ANSWER {
            bytes[left] = bytes[at];
            left += 1;
        }
    }
    left
}

fn allocations(driver: DriverChoice, depth: usize, filtered: bool) -> usize {
    let mut listener = Listener::tcp("127.0.0.1:0", LengthDelimited::u32_be(1024));
    if filtered {
        listener = listener.filter(|| Box::new(Xor));
    }
    let builder = Server::builder().listen(listener, |_| Ok(Echo)).workers(1).driver(driver);
    let server = builder.start().unwrap();
    let mut peer = TcpStream::connect(server.local_addrs()[0].to_string()).unwrap();
    peer.set_nodelay(true).unwrap();
    peer.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut frame = 64u32.to_be_bytes().to_vec();
    frame.resize(68, 7);
    if filtered {
        for byte in &mut frame {
            *byte = !*byte;
        }
    }
    let out = frame.repeat(depth);
    let mut back = vec![0; out.len()];
    echo(&mut peer, &out, &mut back, WARM_UP, depth, filtered);
    let region = Region::new(ALLOCATOR);
    echo(&mut peer, &out, &mut back, MESSAGES, depth, filtered);
    let change = region.change();
    drop(peer);
    server.shutdown(Duration::ZERO);
    server.wait().unwrap();
    change.allocations + change.reallocations
}

/// Says nothing, and is a member.
struct Member(Group<LengthDelimited>);

impl Handler for Member {
    type Codec = LengthDelimited;

    fn on_connect(&mut self, cx: &mut Ctx<'_, Self>) -> Result {
        assert!(self.0.join(&cx.conn()));
        Ok(())
    }

    fn on_message(&mut self, _: &mut Ctx<'_, Self>, _: &[u8]) -> Result {
        Ok(())
    }
}

/// Allocations of `ROUNDS` broadcasts to so many members, each heard by all before the next.
fn of_broadcasts(driver: DriverChoice, members: usize) -> usize {
    const ROUNDS: usize = 200;
    let group = Group::new(LengthDelimited::u32_be(1024));
    let listener = Listener::tcp("127.0.0.1:0", LengthDelimited::u32_be(1024));
    let room = group.clone();
    let builder = Server::builder().listen(listener, move |_| Ok(Member(room.clone())));
    let server = builder.workers(1).driver(driver).start().unwrap();
    let addr = server.local_addrs()[0].to_string();
    let mut peers: Vec<_> = (0..members).map(|_| TcpStream::connect(&addr).unwrap()).collect();
    for peer in &peers {
        peer.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    }
    while group.len() < members {
        std::thread::yield_now();
    }
    let mut heard = [0; 4 + 256];
    let mut say = |rounds| {
        for _ in 0..rounds {
            group.broadcast(&[7; 256]).unwrap();
            for peer in &mut peers {
                peer.read_exact(&mut heard).unwrap();
            }
        }
    };
    say(ROUNDS);
    let region = Region::new(ALLOCATOR);
    say(ROUNDS);
    let change = region.change();
    drop(peers);
    server.shutdown(Duration::ZERO);
    server.wait().unwrap();
    change.allocations + change.reallocations
}

/// One test: the allocator counts for all threads.
#[test]
fn neither_an_echoed_message_nor_a_member_of_a_broadcast_allocates() {
    for driver in [DriverChoice::Uring, DriverChoice::Readiness] {
        if let Err(refused) = SystemWorld::new(driver) {
            println!("SKIPPED, NOT TESTED ON IO_URING: {refused}");
            continue;
        }
        for (depth, filtered) in [(1, false), (10, false), (1, true), (10, true)] {
            let count = allocations(driver, depth, filtered);
            let how = if filtered { "with a filter" } else { "as it comes" };
            assert_eq!(count, 0, "{driver:?}, {how}, {depth} at a time, {MESSAGES} in all");
        }
        // The bytes, a command for the worker, the receipt: no more for more members.
        let [few, many] = [2, 50].map(|members| of_broadcasts(driver, members));
        assert!(many <= few + 20, "{driver:?}: {few} for 2 members, {many} for 50");
    }
}
