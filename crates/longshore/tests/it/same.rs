//! One script gives the same callbacks on every port: what a user sees does not depend on the driver.

use crate::net::{End, Event, Lab, Probe, on_every_port};
use longshore::*;

const SCRIPTS: u64 = 100;

on_every_port! {
    a_script_gives_the_same_callbacks_as_in_simulation,
}

/// What a peer does, one after the other; each waits for what it brings about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    /// One frame of that length, which comes back.
    Say(usize),
    /// So many frames at once, which come back.
    SayMany(usize),
    /// The server has the frame, and says nothing.
    Tell,
    /// The handler pauses for one frame, and goes on by a timer.
    Pause,
}

/// How a script ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Last {
    PeerEnds,
    PeerEndsWithinAFrame,
    PeerBreaksTheRules,
    PeerResets,
    ServerCloses,
    ServerAborts,
    ServerFails,
    ServerPanics,
}

const LASTS: [Last; 8] = [
    Last::PeerEnds,
    Last::PeerEndsWithinAFrame,
    Last::PeerBreaksTheRules,
    Last::PeerResets,
    Last::ServerCloses,
    Last::ServerAborts,
    Last::ServerFails,
    Last::ServerPanics,
];

fn script(number: u64) -> (Vec<Step>, Last) {
    let mut random = longshore_base::SplitMix64::new(number);
    let count = 1 + random.below(8);
    let steps = (0..count).map(|_| match random.below(4) {
        0 => Step::Say(random.below(40_000)),
        1 => Step::SayMany(1 + random.below(200)),
        2 => Step::Tell,
        _ => Step::Pause,
    });
    let steps = steps.collect();
    (steps, LASTS[random.below(LASTS.len())])
}

fn handler() -> impl FnMut(&mut Ctx<'_, Probe>, &Event) -> Result + Send + 'static {
    |cx, event| {
        match event {
            Event::Message(frame) => match &frame[..] {
                b"tell" => {}
                b"pause" => {
                    cx.pause();
                    cx.set_timer(Timer(7), std::time::Duration::from_millis(1)).expect("one timer");
                }
                b"close" => cx.close(),
                b"abort" => cx.abort(),
                b"fail" => return Err(Error::msg("as it was told")),
                b"panic" => panic!("as it was told"),
                _ => return cx.send(frame),
            },
            Event::Timer(_) => {
                cx.resume();
                return cx.send(b"go on");
            }
            _ => {}
        }
        Ok(())
    }
}

/// What the handler and the peer saw of a script.
fn played(lab: &mut Lab, number: u64) -> Vec<String> {
    let (steps, last) = script(number);
    let (server, events) = lab.serve(Limits::new(), handler);
    let mut peer = lab.connect(&server);
    let mut seen = vec![format!("{steps:?}, {last:?}")];
    for step in steps {
        match step {
            Step::Say(len) => {
                peer.say(&vec![b'x'; len]);
                seen.push(format!("heard {}", lab.hear(&mut peer).len()));
            }
            Step::SayMany(count) => {
                peer.say_all((0..count).map(|_| &b"many"[..]));
                let all = (0..count).all(|_| lab.hear(&mut peer) == b"many");
                seen.push(format!("heard all {count}: {all}"));
            }
            Step::Tell => peer.say(b"tell"),
            Step::Pause => {
                peer.say(b"pause");
                seen.push(format!("heard {:?}", String::from_utf8(lab.hear(&mut peer))));
            }
        }
    }
    let mut listens = true;
    match last {
        Last::PeerEnds => peer.finish(),
        Last::PeerEndsWithinAFrame => {
            peer.send(&[0, 0, 0, 9, 1]);
            peer.finish();
        }
        Last::PeerBreaksTheRules => peer.send(&[255; 4]),
        Last::PeerResets => {
            peer.say(b"and gone");
            lab.hear(&mut peer);
            listens = false;
        }
        Last::ServerCloses => peer.say(b"close"),
        Last::ServerAborts => peer.say(b"abort"),
        Last::ServerFails => peer.say(b"fail"),
        Last::ServerPanics => peer.say(b"panic"),
    }
    if listens {
        let (rest, end) = lab.read_to_end(&mut peer);
        // Wine may tell a reset as an end.
        let end = if cfg!(windows) && end == End::Reset { End::Fin } else { end };
        seen.push(format!(
            "{} more bytes, {}",
            rest.len(),
            if last == Last::ServerAborts { "the end".into() } else { format!("{end:?}") }
        ));
        drop(peer);
    } else {
        peer.reset();
    }
    loop {
        match lab.next(&events) {
            Event::Connect(_) => seen.push("connect".into()),
            Event::Message(frame) => seen.push(format!("message of {}", frame.len())),
            Event::Timer(key) => seen.push(format!("timer {key}")),
            Event::Disconnect(ended) if last == Last::PeerResets && cfg!(windows) => {
                assert!(["peer_reset", "peer_closed"].contains(&ended.reason), "{ended:?}");
                seen.push("disconnect peer_reset".into());
                return seen;
            }
            Event::Disconnect(ended) => {
                seen.push(format!("disconnect {}", ended.reason));
                return seen;
            }
            other => seen.push(format!("{other:?}")),
        }
    }
}

fn a_script_gives_the_same_callbacks_as_in_simulation(lab: &mut Lab) {
    for number in 0..if lab.is_simulated() { 10 } else { SCRIPTS } {
        let here = played(lab, number);
        let there = played(&mut Lab::simulated(0), number);
        assert_eq!(here, there, "script {number}");
    }
}
