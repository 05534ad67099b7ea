//! Peers: good ones, who want their bytes back, and wild ones, who do anything.

use crate::codec::{FRAME_MAX, PING, first_payload, frame};
use crate::filters::Unmask;
use crate::guests::Inn;
use crate::handlers::Weather;
use crate::rng::Rng;
use longshore::testing::{Net, Peer, Trouble};
use longshore::{Addr, Raw};
use std::net::SocketAddr;

/// A peer who sends tagged frames and pings, a few bytes at a time, and waits for each of them.
#[derive(Debug)]
pub(crate) struct Good {
    wire: Peer<Raw>,
    unmask: Option<Unmask>,
    unsent: Vec<u8>,
    all_bytes: usize,
    /// Pings, and the rest of the frames: each come back in order, not one behind the other.
    expected: [Vec<u8>; 2],
    got: [Vec<u8>; 2],
    torn: Vec<u8>,
    finished: bool,
}

impl Good {
    pub(crate) fn new(net: &mut Net, inn: Inn, tag: u8, rng: &mut Rng) -> Self {
        let (masked, addr) = (inn.masked, rng.of(&inn.at));
        let wire = net.connect(addr, Raw::new());
        let (mut unsent, mut expected) = (Vec::new(), [const { Vec::new() }; 2]);
        for number in 0..=rng.below(60) {
            let ping = rng.one_in(3);
            let most = rng.of(&[8, 60, FRAME_MAX - 2]);
            let len = rng.below(most);
            let mut payload = vec![if ping { PING } else { tag }, number as u8];
            payload.extend(rng.bytes(len));
            unsent.extend(frame(&payload, masked));
            expected[usize::from(!ping)].extend(frame(&payload, false));
        }
        let (unmask, all_bytes) = (masked.then(Unmask::default), unsent.len());
        let (got, torn) = (Default::default(), Vec::new());
        Self { wire, unmask, unsent, all_bytes, expected, got, torn, finished: false }
    }

    pub(crate) fn step(&mut self, rng: &mut Rng) {
        match rng.below(8) {
            0 => self.wire.set_reading(false),
            1..=3 => self.wire.set_reading(true),
            _ => {
                let most = rng.of(&[1, 5, 300, 20_000]);
                self.send(most.min(self.unsent.len()));
            }
        }
        self.look();
    }

    fn send(&mut self, count: usize) {
        self.wire.send_bytes(&self.unsent[..count]);
        self.unsent.drain(..count);
        if self.unsent.is_empty() && !std::mem::replace(&mut self.finished, true) {
            self.wire.finish();
        }
    }

    fn look(&mut self) {
        let bytes = self.wire.received_bytes();
        match &mut self.unmask {
            Some(unmask) => unmask.take(&bytes, &mut self.torn),
            None => self.torn.extend(bytes),
        }
        let mut at = 0;
        while let Some(payload) = first_payload(&self.torn[at..]) {
            let kind = usize::from(!payload.starts_with(&[PING]));
            let whole = frame(payload, false);
            let (got, expected) = (&mut self.got[kind], &self.expected[kind]);
            assert!(
                expected[got.len()..].starts_with(&whole),
                "a foreign frame behind {} bytes of kind {kind}, masked: {}",
                got.len(),
                self.unmask.is_some()
            );
            at += whole.len();
            got.extend(whole);
        }
        self.torn.drain(..at);
    }

    /// All that is left, at once.
    pub(crate) fn calm(&mut self) {
        self.wire.set_reading(true);
        self.send(self.unsent.len());
    }

    pub(crate) fn is_done(&mut self) -> bool {
        self.look();
        let whole = self.unmask.as_ref().is_none_or(|unmask| unmask.is_done(self.all_bytes));
        let all = whole && self.torn.is_empty() && self.got == self.expected;
        all && self.wire.is_closed() && !self.wire.is_reset()
    }

    /// Whether the system has ended it, rightly: by one of its `troubles`, and as that says.
    pub(crate) fn is_excused(&mut self, weather: &Weather, net: &Net) -> bool {
        let world = net.world();
        let troubled = |of: &[Trouble]| of.iter().any(|&trouble| world.troubles(trouble) > 0);
        let ends = weather.ends.lock().unwrap();
        let peer = Addr::from(self.wire.local_addr());
        let right = match ends.iter().find(|end| end.peer == peer) {
            // Nobody ever served it.
            None => troubled(&[Trouble::AcceptPassing, Trouble::Attach]),
            // All together held too much: good peers are as good as others then.
            Some(end) if end.reason == "overload" => true,
            // Its answer lay in a file that cannot be read.
            Some(end) if end.reason == "source_failed" => troubled(&[Trouble::File]),
            // What there is no memory for is tried again, until there is.
            Some(_) => false,
        };
        drop(ends);
        self.look();
        right && self.wire.is_closed()
    }

    pub(crate) fn state(&self) -> String {
        let (got, all) =
            (self.got.each_ref().map(Vec::len), self.expected.each_ref().map(Vec::len));
        let (closed, reset) = (self.wire.is_closed(), self.wire.is_reset());
        let (at, unmask) = (self.wire.local_addr(), &self.unmask);
        format!("{at}: {got:?} of {all:?}, closed {closed}, reset {reset}, {unmask:?}")
    }
}

/// A peer who does anything.
#[derive(Debug)]
pub(crate) struct Wild {
    wire: Peer<Raw>,
}

impl Wild {
    pub(crate) fn new(net: &mut Net, addr: SocketAddr) -> Self {
        Self { wire: net.connect(addr, Raw::new()) }
    }

    pub(crate) fn step(&mut self, rng: &mut Rng, vanishes: bool) {
        match rng.below(if vanishes { 25 } else { 24 }) {
            24 => self.wire.vanish(),
            0 => self.wire.finish(),
            1 => self.wire.reset(),
            2 | 3 => self.wire.set_reading(false),
            4 | 5 => self.wire.set_reading(true),
            6 => self.wire.send_bytes(&[0xff; 9]),
            7 => {
                let most = rng.of(&[3, 30, 3_000]);
                let len = rng.below(most);
                let bytes = rng.bytes(len);
                self.wire.send_bytes(&bytes);
            }
            8 | 9 => {
                let torn = frame(&rng.bytes(50), false);
                self.wire.send_bytes(&torn[..rng.below(torn.len())]);
            }
            10 => {
                self.wire.send_bytes(&frame(&[], false).repeat(500));
            }
            11 => {
                for _ in 0..rng.below(40) {
                    self.wire.send_bytes(&frame(&[PING; 90], false));
                }
            }
            _ => {
                for _ in 0..rng.below(12) {
                    let most = rng.of(&[4, 60, FRAME_MAX]);
                    let len = rng.below(most);
                    let bytes = frame(&rng.bytes(len), false);
                    self.wire.send_bytes(&bytes);
                }
            }
        }
    }
}

/// Whether somebody new is served there.
#[derive(Debug)]
pub(crate) struct Probe(Peer<Raw>);

impl Probe {
    pub(crate) fn new(net: &mut Net, addr: SocketAddr, masked: bool) -> Self {
        let mut wire = net.connect(addr, Raw::new());
        wire.send_bytes(&frame(b"anybody there?", masked));
        Self(wire)
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.0.local_addr()
    }

    pub(crate) fn answered(&mut self) -> bool {
        !self.0.received_bytes().is_empty()
    }
}
