//! `wait`, time and wake-ups.

use super::bench::Bench;
use super::rig::Rig;
use crate::{End, ErrorKind, Notify, Op, Port, PortConfig, Until, What, World};
use std::time::Duration;

/// No setting is taken for another one.
pub fn a_setting_out_of_its_range_opens_no_port<B: Bench>(bench: &B) {
    let sane = PortConfig::default();
    for config in [
        PortConfig { completions_max: 0, ..sane.clone() },
        PortConfig { completions_max: 65_537, ..sane.clone() },
        PortConfig { recv_blocks: 0, ..sane.clone() },
        PortConfig { recv_blocks: 12, ..sane.clone() },
        PortConfig { recv_blocks: 40_000, ..sane.clone() },
        PortConfig { recv_block_bytes: 63, ..sane.clone() },
        PortConfig { recv_block_bytes: (16 << 20) + 1, ..sane.clone() },
        PortConfig { drop_deadline: Duration::MAX, ..sane },
    ] {
        let opened = bench.world().open(&config).map(drop);
        assert_eq!(opened.map_err(|error| error.kind), Err(ErrorKind::OutOfRange), "{config:?}");
    }
}

/// Timeouts round up: with nothing to say, a wait lasts until its time at least.
pub fn until_a_time_never_ends_early<B: Bench>(bench: &B) {
    let mut rig = Rig::new(bench);
    for nanos in [1, 999, 1_000, 123_456, 1_000_000, 2_345_678] {
        rig.wait(0, Until::Now);
        let time = rig.port(0).now() + Duration::from_nanos(nanos);
        rig.wait(0, Until::Time(time));
        while !bench.blocks() && rig.port(0).now() < time {
            bench.idle();
            rig.wait(0, Until::Time(time));
        }
        assert!(rig.port(0).now() >= time, "{nanos} ns were cut short");
    }
    let past = rig.port(0).now();
    rig.wait(0, Until::Time(past)); // over already: does not wait, and does not underflow
    rig.finish();
}

/// From any thread, before a wait or within it.
pub fn a_notify_ends_a_wait<B: Bench>(bench: &B) {
    let mut rig = Rig::new(bench);
    for round in 0..50 {
        let notifier = rig.port(0).notifier();
        if round % 2 == 0 {
            notifier.notify();
        } else {
            bench.meanwhile(Box::new(move || notifier.notify()));
        }
        rig.wait(0, Until::Woken); // a lost wake-up hangs here
    }
    rig.finish();
}

/// Notifies between two waits end one wait, not two.
pub fn two_notifies_are_one<B: Bench>(bench: &B) {
    let mut rig = Rig::new(bench);
    let notifier = rig.port(0).notifier();
    for _ in 0..5 {
        notifier.notify();
        notifier.clone().notify();
        rig.wait(0, Until::Woken);
        let time = rig.port(0).now() + Duration::from_micros(300);
        rig.wait(0, Until::Time(time));
        assert!(!bench.blocks() || rig.port(0).now() >= time, "the second notify was kept");
    }
    rig.finish();
}

/// `completions_max` holds; what did not fit comes out of the next waits, none is lost, and in the
/// end a wait says that nothing is left behind it (R45).
pub fn no_wait_returns_more_than_asked_and_drained_comes_at_last<B: Bench>(bench: &B) {
    let few = PortConfig { completions_max: 4, ..PortConfig::default() };
    let mut rig = Rig::with(bench, &[few, PortConfig::default()]);
    let pairs: Vec<_> = (0..24).map(|_| rig.pair()).collect();
    for &(_, out) in &pairs {
        rig.send_whole(out, b"12345678");
    }
    rig.settle();
    for &(inside, _) in &pairs {
        rig.recv(inside, 8);
    }
    let mut ended = 0;
    rig.until("all 24 receives and a drained wait", |rig| {
        let (count, drained) = rig.wait(0, Until::Now); // which checks that 4 at most come
        let ends = rig.drain().into_iter();
        ended += ends.filter(|(_, what)| matches!(what, What::RecvEnded(End::Credit))).count();
        let cut_off = count == 4 && ended < 24;
        assert!(!(cut_off && drained), "what had come already did not fit, and yet it was drained");
        (ended == 24 && drained).then_some(())
    });
    rig.finish();
}

/// `now` changes in `wait` only; `precise_now` and the world's clock are not behind it.
pub fn time_stands_still_between_waits<B: Bench>(bench: &B) {
    use crate::World;
    let mut rig = Rig::new(bench);
    let (inside, out) = rig.pair();
    let now = rig.port(0).now();
    rig.submit(inside, Op::Recv { credit: 10 });
    assert_eq!(rig.port(0).now(), now);
    assert!(rig.port(0).precise_now() >= now);
    assert!(rig.world.now() >= now);
    rig.wait(1, Until::Now);
    assert_eq!(rig.port(0).now(), now, "the wait of another port");
    assert_ne!(rig.port(0).seed(), rig.port(0).seed(), "another seed at each call");
    rig.submit(out, Op::Close);
    rig.finish();
}
