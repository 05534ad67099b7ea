//! Peers: good ones, who want their bytes back, and wild ones, who do anything.

use crate::filters::Unmask;
use crate::guests::Inn;
use crate::rng::Rng;
use longshore::testing::{Net, Peer};
use longshore::{LengthDelimited, Raw};
use std::net::SocketAddr;

/// Longest payload of a frame.
pub(crate) const FRAME_MAX: usize = 700;

pub(crate) fn codec() -> LengthDelimited {
    LengthDelimited::u32_be(FRAME_MAX)
}

fn frame(payload: &[u8], masked: bool) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes().to_vec();
    bytes.extend_from_slice(payload);
    if masked {
        Unmask::mask(&mut bytes);
    }
    bytes
}

/// A peer who sends tagged frames, a few bytes at a time, and waits for each of them.
#[derive(Debug)]
pub(crate) struct Good {
    wire: Peer<Raw>,
    unmask: Option<Unmask>,
    unsent: Vec<u8>,
    expected: Vec<u8>,
    got: Vec<u8>,
    finished: bool,
}

impl Good {
    pub(crate) fn new(net: &mut Net, inn: Inn, tag: u8, rng: &mut Rng) -> Self {
        let (masked, addr) = (inn.masked, rng.of(&inn.at));
        let wire = net.connect(addr, Raw::new());
        let (mut unsent, mut expected) = (Vec::new(), Vec::new());
        for number in 0..=rng.below(60) {
            let most = rng.of(&[8, 60, FRAME_MAX - 2]);
            let len = rng.below(most);
            let mut payload = vec![tag, number as u8];
            payload.extend(rng.bytes(len));
            unsent.extend(frame(&payload, masked));
            expected.extend(frame(&payload, false));
        }
        let unmask = masked.then(Unmask::default);
        Self { wire, unmask, unsent, expected, got: Vec::new(), finished: false }
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
            Some(unmask) => unmask.take(&bytes, &mut self.got),
            None => self.got.extend(bytes),
        }
        assert!(
            self.expected.starts_with(&self.got),
            "foreign bytes behind {} (masked: {})",
            self.got.iter().zip(&self.expected).take_while(|(a, b)| a == b).count(),
            self.unmask.is_some()
        );
    }

    /// All that is left, at once.
    pub(crate) fn calm(&mut self) {
        self.wire.set_reading(true);
        self.send(self.unsent.len());
    }

    pub(crate) fn is_done(&mut self) -> bool {
        self.look();
        let sent = self.expected.len();
        let whole = self.unmask.as_ref().is_none_or(|unmask| unmask.is_done(sent));
        whole && self.got.len() == sent && self.wire.is_closed() && !self.wire.is_reset()
    }

    pub(crate) fn state(&self) -> String {
        let (got, all) = (self.got.len(), self.expected.len());
        let (closed, reset) = (self.wire.is_closed(), self.wire.is_reset());
        let (at, unmask) = (self.wire.local_addr(), &self.unmask);
        format!("{at}: {got} of {all}, closed {closed}, reset {reset}, {unmask:?}")
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

    pub(crate) fn step(&mut self, rng: &mut Rng) {
        match rng.below(24) {
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
