//! One message for many, some of whom do not read (R29, R41).

use crate::support::*;
use longshore::*;
use std::time::{Duration, Instant};

/// A bound of a queue, and of how much the system keeps of it.
fn limits(queue: u64) -> (Limits, SocketOptions) {
    let limits = Limits::new().send_queue_bytes(queue).write(Duration::ZERO);
    let options = SocketOptions::default().send_buf_bytes(64 * 1024);
    (limits.first_byte(Duration::ZERO), options)
}

/// R29: some of a group do not read, others come and go: every member is accounted for, whoever reads
/// gets every message, and what waits for many takes memory once.
#[test]
fn r29_each_member_is_accounted_for_while_some_are_deaf_and_others_come_and_go() {
    on_each_driver(|driver| {
        const QUEUE: u64 = (1 << 20) + 4;
        const LEN: usize = 16 * 1024;
        let rounds = pick(200, 1_000);
        let count = fewer(pick(200, 4_900));
        let deaf = (count / 100).max(3);
        let (limits, options) = limits(QUEUE);
        let all = Group::new(codec());
        let listener = listener().limits(limits).socket_options(options).group(&all);
        let running = Running::handled(driver, listener, |builder| builder, Echo);
        let mut fast: Vec<_> = (0..count).map(|_| connect(running.addr)).collect();
        for stream in &mut fast {
            ping(stream, b"hello");
        }
        let conns = running.server.connections();
        let goes = running.server.conn::<Echo>(conns[0].id).unwrap();
        let who_goes = fast
            .iter()
            .position(|stream| Addr::Ip(stream.local_addr().unwrap()) == goes.peer_addr());
        let who_goes = who_goes.unwrap();
        let _deaf: Vec<_> = (0..deaf).map(|_| connect_narrow(running.addr)).collect();
        running.tally.wait("they are in", |counts| counts.opened == count + deaf);
        let payload = pattern(1, LEN);
        let (mut queued, mut refused, mut gone, mut peak) = (0, 0, 0, 0);
        for round in 0..rounds {
            // One member is out in every other round.
            let is_out = round % 2 == 1;
            if is_out {
                all.leave(&goes);
            } else {
                assert!(all.join(&goes));
            }
            let part = all.broadcast(&payload).unwrap().wait();
            assert_eq!(part.dropped, 0);
            let members = part.queued + part.refused + part.gone;
            let readers = (count - usize::from(is_out)) as u64;
            assert!((readers..=readers + deaf as u64).contains(&members), "{part:?}");
            assert!(part.queued >= readers, "{part:?}: one of those who read is missing");
            for (at, stream) in fast.iter_mut().enumerate() {
                if !(is_out && at == who_goes) {
                    assert!(recv(stream) == payload, "another message than was sent");
                }
            }
            queued += part.queued;
            refused += part.refused;
            gone += part.gone;
            peak = peak.max(running.server.snapshot().memory_bytes);
        }
        let counts = running.tally.wait("they are cut", |counts| counts.closed == deaf);
        assert_eq!(counts.ended("slow_reader"), deaf, "{counts:?}");
        assert_eq!(refused, deaf as u64, "each is refused once, and then gone");
        assert_eq!(running.server.snapshot().messages_refused, refused);
        // All of them wait for the same.
        let steps = 64 * 1024 * running.server.workers() as u64;
        assert!(peak <= (QUEUE + LEN as u64) * 11 / 10 + steps, "{peak} bytes at most");
        let text = format_args!(
            "{count} fast, {deaf} deaf, {rounds} times {LEN} bytes: {queued} queued, {refused} refused, \
             {gone} gone; at most {peak} bytes held"
        );
        reached("R29", driver, text);
        running.stop(Duration::ZERO);
    });
}

/// R41: who reads nothing costs its bound and no more, and is cut when the rule says so.
#[test]
fn r41_who_does_not_read_costs_its_bound_and_is_cut_by_the_rule() {
    on_each_driver(|driver| {
        const MIB: u64 = 1 << 20;
        const HARD: u64 = 3 * MIB;
        let count = fewer(pick(30, 1_000));
        let payload = pattern(1, MIB as usize - 4);
        // At once at the bound; and after half a second over half of it.
        for soft in [None, Some(Duration::from_millis(500))] {
            let (limits, options) = limits(HARD);
            let limits = match soft {
                None => limits,
                Some(within) => limits.send_queue_soft(within).send_queue_soft_bytes(HARD / 2),
            };
            let listener = listener().limits(limits).socket_options(options);
            let memory = 4 * count as u64 * HARD;
            let running =
                Running::handled(driver, listener, |builder| builder.memory(memory), Echo);
            let _deaf: Vec<_> = (0..count).map(|_| connect_narrow(running.addr)).collect();
            running.tally.wait("they are in", |counts| counts.opened == count);
            let conns = running.server.connections();
            let conns: Vec<_> =
                conns.iter().map(|info| running.server.conn::<Echo>(info.id).unwrap()).collect();
            let before = resident_kib();
            let mut peak = before;
            let begin = Instant::now();
            for conn in &conns {
                // To the bound, or to where it may not stay.
                let full = || matches!(conn.send(&payload), Sent::Full | Sent::Closed);
                let most = if soft.is_some() { 3 } else { 8 };
                let is_full = (0..most).any(|_| full());
                assert_eq!(is_full, soft.is_none(), "at the hard bound, and not before");
                peak = peak.max(resident_kib());
            }
            let reason = if soft.is_some() { "fell_behind" } else { "slow_reader" };
            let counts = running.tally.wait("they are cut", |counts| counts.closed == count);
            assert_eq!(counts.ended(reason), count, "{counts:?}");
            let took = begin.elapsed();
            let grown = (peak - before) * 1024;
            assert!(grown <= count as u64 * HARD + 32 * MIB, "{grown} bytes for {count}");
            let text = format_args!(
                "{count} deaf, a bound of {HARD} bytes: {grown} bytes more, all {reason} in {took:?}"
            );
            reached("R41", driver, text);
            running.stop(Duration::ZERO);
        }
    });
}
