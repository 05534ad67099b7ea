//! Filters of a storm: one that numbers all that it makes, and one that does anything; and how a
//! peer reads what the first one made.

use crate::handlers::Weather;
use crate::rng::Rng;
use longshore::{Filter, FrameError};
use std::sync::Arc;

/// Where all bits are flipped that go through a [`Mask`].
const FLIP: u8 = 0x5a;

/// After as many bytes that came, a [`Mask`] sends a reply of its own.
const REPLY_EVERY: usize = 50;

/// A record: its kind, its number, the length of what follows.
const HEAD_BYTES: usize = 1 + 4 + 4;
const DATA: u8 = b'd';
const REPLY: u8 = b'r';

/// Flips bits, and makes records of what goes out, which are numbered: its replies, which come of
/// what it gets, and the data between them. So the peer sees each one that is lost or out of order.
#[derive(Debug, Default)]
pub(crate) struct Mask {
    records: u32,
    got: usize,
}

impl Mask {
    fn record(&mut self, kind: u8, bytes: &[u8], wire: &mut Vec<u8>) {
        wire.push(kind);
        wire.extend(self.records.to_be_bytes());
        wire.extend((bytes.len() as u32).to_be_bytes());
        wire.extend(bytes.iter().map(|byte| byte ^ FLIP));
        self.records += 1;
    }
}

impl Filter for Mask {
    fn handle_input(
        &mut self,
        input: &[u8],
        plain: &mut Vec<u8>,
        reply: &mut Vec<u8>,
    ) -> Result<(), FrameError> {
        plain.extend(input.iter().map(|byte| byte ^ FLIP));
        let replies = self.got / REPLY_EVERY;
        self.got += input.len();
        for number in replies..self.got / REPLY_EVERY {
            self.record(REPLY, &(number as u32).to_be_bytes(), reply);
        }
        Ok(())
    }

    fn handle_output(&mut self, plain: &[u8], wire: &mut Vec<u8>) -> Result<(), FrameError> {
        self.record(DATA, plain, wire);
        Ok(())
    }
}

/// The peer's side of a [`Mask`].
#[derive(Debug, Default)]
pub(crate) struct Unmask {
    torn: Vec<u8>,
    records: u32,
    replies: usize,
}

impl Unmask {
    /// What a peer of a [`Mask`] sends.
    pub(crate) fn mask(bytes: &mut [u8]) {
        for byte in bytes {
            *byte ^= FLIP;
        }
    }

    /// Takes bytes as they came, and appends the data of whole records to `plain`.
    pub(crate) fn take(&mut self, bytes: &[u8], plain: &mut Vec<u8>) {
        self.torn.extend_from_slice(bytes);
        let mut at = 0;
        while let Some((head, rest)) = self.torn[at..].split_at_checked(HEAD_BYTES) {
            let number = |at: usize| u32::from_be_bytes(head[at..at + 4].try_into().unwrap());
            let Some(body) = rest.get(..number(5) as usize) else { break };
            assert_eq!(number(1), self.records, "records of a filter are out of order");
            match head[0] {
                DATA => plain.extend(body.iter().map(|byte| byte ^ FLIP)),
                kind => {
                    assert_eq!(kind, REPLY, "no record of a filter");
                    let expected = (self.replies as u32).to_be_bytes().map(|byte| byte ^ FLIP);
                    assert_eq!(body, expected, "replies of a filter are out of order");
                    self.replies += 1;
                }
            }
            self.records += 1;
            at += HEAD_BYTES + body.len();
        }
        self.torn.drain(..at);
    }

    /// Whether every reply to as many bytes has come, and nothing is torn.
    pub(crate) fn is_done(&self, sent: usize) -> bool {
        self.torn.is_empty() && self.replies == sent / REPLY_EVERY
    }
}

/// Changes nothing, but answers, errs and panics, until the weather is calm.
#[derive(Debug)]
pub(crate) struct Wild {
    pub(crate) rng: Rng,
    pub(crate) weather: Arc<Weather>,
}

impl Wild {
    fn chance(&mut self, times: usize) -> bool {
        !self.weather.is_calm() && self.rng.one_in(times)
    }

    fn perhaps_panic(&mut self, times: usize, text: &'static str) {
        if self.chance(times) {
            self.weather.tally.panic(text);
        }
    }
}

impl Filter for Wild {
    fn handle_input(
        &mut self,
        input: &[u8],
        plain: &mut Vec<u8>,
        reply: &mut Vec<u8>,
    ) -> Result<(), FrameError> {
        if self.chance(20) {
            reply.extend([1, 2, 3]);
        }
        self.perhaps_panic(40, "storm: a filter's input");
        plain.extend_from_slice(input);
        if self.chance(40) { Err(FrameError::invalid("storm")) } else { Ok(()) }
    }

    fn handle_output(&mut self, plain: &[u8], wire: &mut Vec<u8>) -> Result<(), FrameError> {
        self.perhaps_panic(40, "storm: a filter's output");
        wire.extend_from_slice(plain);
        Ok(())
    }

    fn handle_end(&mut self) -> Result<(), FrameError> {
        self.perhaps_panic(10, "storm: a filter's end");
        Ok(())
    }
}
