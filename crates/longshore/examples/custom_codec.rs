//! A codec of one's own: packets on a noisy line, with a sync byte and a checksum.
//!
//!     cargo run --release --example custom_codec
//!     printf 'noise\xa5\x03\x01\x00\x2a\x28' | nc -q1 127.0.0.1 7411 | xxd
//!     00000000: a502 0200 00                             .....

use longshore::{Codec, Ctx, Decoded, FrameError, Handler, Listener, Out, Result, Server};

/// `| 0xa5 | length | kind, body: length bytes | checksum: all bytes of kind and body, xor |`
pub(crate) struct Meters;

const SYNC: u8 = 0xa5;
const REPORT: u8 = 1;
const RECEIVED: u8 = 2;
const AROUND: usize = 3; // sync byte, length, checksum

/// What is between length and checksum. The body borrows from the received bytes.
pub(crate) struct Packet<'a> {
    pub(crate) kind: u8,
    pub(crate) body: &'a [u8],
}

fn checksum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum ^ byte)
}

impl Codec for Meters {
    type Frame<'a> = Packet<'a>;
    type Item<'a> = Packet<'a>;
    type Decoder = (); // nothing is remembered between calls

    fn frame_bytes_max(&self) -> usize {
        AROUND + usize::from(u8::MAX)
    }

    fn decode<'a>(&self, (): &mut (), input: &'a [u8]) -> Result<Decoded<Packet<'a>>, FrameError> {
        match input.iter().position(|byte| *byte == SYNC) {
            Some(0) => {}
            noise => return Ok(Decoded::Skip { used: noise.unwrap_or(input.len()) }),
        }
        let Some(&length) = input.get(1) else { return Ok(Decoded::More { total: 2 }) };
        let used = AROUND + usize::from(length);
        let Some(packet) = input.get(2..used) else { return Ok(Decoded::More { total: used }) };
        Ok(match *packet {
            [kind, ref body @ .., sum] if sum == kind ^ checksum(body) => {
                Decoded::Frame { frame: Packet { kind, body }, used }
            }
            _ => Decoded::Skip { used: 1 }, // no packet begins here: look for the next sync byte
        })
    }

    fn encode(&self, item: Packet<'_>, out: &mut Out<'_>) -> Result<(), FrameError> {
        let length = u8::try_from(item.body.len() + 1).map_err(FrameError::invalid)?;
        out.put_slice(&[SYNC, length, item.kind]);
        out.put_payload(item.body);
        out.put_u8(item.kind ^ checksum(item.body));
        Ok(())
    }
}

/// Says how many reports were received.
#[derive(Default)]
pub(crate) struct Meter(u8);

impl Handler for Meter {
    type Codec = Meters;

    fn on_message(&mut self, cx: &mut Ctx<'_, Self>, packet: Packet<'_>) -> Result {
        if packet.kind != REPORT {
            return Ok(());
        }
        self.0 = self.0.wrapping_add(1);
        cx.send(Packet { kind: RECEIVED, body: &[self.0] })
    }
}

fn main() -> Result {
    Server::builder().listen(Listener::port(7411, Meters), |_| Ok(Meter::default())).run()
}
