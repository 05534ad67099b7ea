//! Handles against a model, on the simulated network (R6, R30).
//!
//! Connections come and go, their slots and descriptors are used again, and handles of all that
//! ever were are used at random. What each peer gets is exactly what was sent to its connection.

use crate::net::{Event, Lab, Peer, Probe, echo, is_long};
use longshore::*;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::time::Duration;

/// One step; the number picks the connection.
#[derive(Clone, Copy, Debug)]
enum Step {
    Connect,
    Send(usize, u8),
    Encoded(usize, u8),
    Close(usize),
    Abort(usize),
    Pause(usize),
    Resume(usize),
    ByName(usize),
    PeerEnds(usize),
    PeerResets(usize),
    Pass(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let at = 0usize..1_000;
    prop_oneof![
        3 => Just(Step::Connect),
        12 => (at.clone(), any::<u8>()).prop_map(|(at, len)| Step::Send(at, len)),
        4 => (at.clone(), any::<u8>()).prop_map(|(at, len)| Step::Encoded(at, len)),
        2 => at.clone().prop_map(Step::Close),
        1 => at.clone().prop_map(Step::Abort),
        1 => at.clone().prop_map(Step::Pause),
        1 => at.clone().prop_map(Step::Resume),
        1 => at.clone().prop_map(Step::ByName),
        1 => at.clone().prop_map(Step::PeerEnds),
        1 => at.prop_map(Step::PeerResets),
        6 => any::<u8>().prop_map(Step::Pass),
    ]
}

/// What the model knows of one connection.
struct Known {
    conn: Conn<Probe>,
    peer: Option<Peer>,
    /// Bytes that were taken for it.
    sent: Vec<u8>,
    /// A close or an abort was asked for: every send from then on is refused.
    closed: bool,
    /// Its bytes may be lost: aborted, or reset by the peer.
    lossy: bool,
}

struct World {
    lab: Lab,
    server: Server,
    events: crate::net::Events,
    all: Vec<Known>,
    /// Connections that were told to be over.
    ended: BTreeMap<ConnId, u32>,
    number: u32,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut lab = Lab::simulated(seed);
        let limits = Limits::new().first_byte(Duration::ZERO).idle(Duration::ZERO);
        let (server, events) = lab.serve(limits, echo);
        Self { lab, server, events, all: Vec::new(), ended: BTreeMap::new(), number: 0 }
    }

    fn connect(&mut self) {
        let peer = self.lab.connect(&self.server);
        loop {
            match self.lab.next(&self.events) {
                Event::Connect(conn) => {
                    let (sent, peer) = (Vec::new(), Some(peer));
                    return self.all.push(Known { conn, peer, sent, closed: false, lossy: false });
                }
                other => self.note(&other),
            }
        }
    }

    fn note(&mut self, event: &Event) {
        match event {
            Event::Disconnect(ended) => *self.ended.entry(ended.id).or_default() += 1,
            other => panic!("{other:?} that nobody asked for"),
        }
    }

    fn take_events(&mut self) {
        for event in self.events.rest() {
            self.note(&event);
        }
    }

    /// A payload that no other send has.
    fn payload(&mut self, len: u8) -> Vec<u8> {
        self.number += 1;
        let mut payload = self.number.to_be_bytes().to_vec();
        payload.resize(4 + usize::from(len) * 3, len);
        payload
    }

    fn send(&mut self, at: usize, len: u8, encoded: bool) {
        let payload = self.payload(len);
        let gone = self.ended.contains_key(&self.all[at].conn.id());
        let known = &mut self.all[at];
        let bytes = crate::net::frame(&payload);
        let answer = if encoded {
            known.conn.send_encoded(bytes.clone().into())
        } else {
            known.conn.send(&payload)
        };
        if known.closed || gone {
            assert_eq!(answer, Sent::Closed, "connection {at} is closed");
        }
        match answer {
            Sent::Queued => known.sent.extend(bytes),
            Sent::Closed => assert!(known.conn.is_closed()),
            other => panic!("{other:?}: nothing comes near the bound"),
        }
    }

    fn act(&mut self, step: Step) {
        if self.all.is_empty() {
            self.connect();
        }
        let count = self.all.len();
        // Mostly one of the last, so that the live ones get their share.
        let pick = |at: usize| if at % 4 == 0 { at % count } else { count - 1 - at % count.min(6) };
        match step {
            Step::Connect => self.connect(),
            Step::Send(at, len) => self.send(pick(at), len, false),
            Step::Encoded(at, len) => self.send(pick(at), len, true),
            Step::Close(at) => {
                let known = &mut self.all[pick(at)];
                known.conn.close();
                known.closed = true;
            }
            Step::Abort(at) => {
                let known = &mut self.all[pick(at)];
                known.conn.abort();
                (known.closed, known.lossy) = (true, true);
            }
            Step::Pause(at) => self.all[pick(at)].conn.pause(),
            Step::Resume(at) => self.all[pick(at)].conn.resume(),
            Step::ByName(at) => {
                self.take_events();
                let known = &mut self.all[pick(at)];
                let gone = self.ended.contains_key(&known.conn.id());
                let answer = self.server.close(known.conn.id());
                assert_eq!(answer == Sent::Closed, gone, "found by name while it lives");
                known.closed = true;
            }
            Step::PeerEnds(at) => {
                let known = &mut self.all[pick(at)];
                if let Some(peer) = &mut known.peer {
                    peer.finish();
                }
                // What is sent behind the answer to its end may find it gone.
                known.lossy = true;
            }
            Step::PeerResets(at) => {
                let known = &mut self.all[pick(at)];
                if let Some(peer) = known.peer.take() {
                    peer.reset();
                }
                known.lossy = true;
            }
            Step::Pass(ms) => {
                self.lab.pass(Duration::from_millis(u64::from(ms)));
                self.take_events();
            }
        }
    }

    /// Ends everything and looks at what each peer got.
    fn finish(mut self) {
        self.server.close_all();
        for at in 0..self.all.len() {
            self.all[at].conn.resume();
            let Some(mut peer) = self.all[at].peer.take() else { continue };
            peer.finish();
            let (got, _) = self.lab.read_to_end(&mut peer);
            let known = &self.all[at];
            if known.lossy {
                assert!(known.sent.starts_with(&got), "connection {at} got a stranger's bytes");
            } else {
                assert!(
                    known.sent == got,
                    "connection {at}: {} of {}",
                    got.len(),
                    known.sent.len()
                );
            }
        }
        self.server.shutdown(Duration::from_secs(60));
        self.lab.wait(&self.server);
        self.take_events();
        for known in &self.all {
            assert_eq!(self.ended.get(&known.conn.id()), Some(&1), "one end each");
            assert_eq!(known.conn.send(b"late"), Sent::Closed);
        }
        assert_eq!(self.ended.len(), self.all.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if is_long() { 1_000 } else { 60 },
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn handles_behave_like_the_model(
        seed in any::<u64>(),
        steps in prop::collection::vec(step(), 300..500),
    ) {
        let mut world = World::new(seed);
        for step in steps {
            world.act(step);
        }
        world.finish();
    }
}
