//! A codec of one's own: packets on a noisy line, with a sync byte and a checksum.
//!
//!     cargo run --release --example custom_codec
//!     printf 'noise\xa5\x03\x01\x00\x2a\x2b' | nc -q1 127.0.0.1 7411 | xxd
//!     00000000: a503 0200 0103                           ......

use longshore::{Codec, Ctx, Decoded, FrameError, Handler, In, Listener, Out, Result, Server};

/// `| 0xa5 | length | packet: length bytes | checksum: all bytes of the packet, xor |`
pub(crate) struct Meters;

const SYNC: u8 = 0xa5;
const REPORT: u8 = 1;
const RECEIVED: u8 = 2;
const AROUND: usize = 3; // sync byte, length, checksum

/// `| kind: u8 | value: u16, big-endian |`: what was metered, or how many reports came.
pub(crate) struct Packet {
    pub(crate) kind: u8,
    pub(crate) value: u16,
}

impl Packet {
    const BYTES: u8 = 3;

    fn read(bytes: &[u8]) -> Result<Self, FrameError> {
        let mut fields = In::new(bytes);
        let packet = Self { kind: fields.get_u8()?, value: fields.get_u16()? };
        fields.finish()?;
        Ok(packet)
    }
}

fn checksum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum ^ byte)
}

impl Codec for Meters {
    type Frame<'a> = Packet;
    type Item<'a> = Packet;
    type Decoder = (); // nothing is remembered between calls

    fn frame_bytes_max(&self) -> usize {
        AROUND + usize::from(u8::MAX)
    }

    fn decode(&self, (): &mut (), input: &[u8]) -> Result<Decoded<Packet>, FrameError> {
        match input.iter().position(|byte| *byte == SYNC) {
            Some(0) => {}
            noise => return Ok(Decoded::Skip { used: noise.unwrap_or(input.len()) }),
        }
        let Some(&length) = input.get(1) else { return Ok(Decoded::More { total: 2 }) };
        let used = AROUND + usize::from(length);
        let Some(packet) = input.get(2..used) else { return Ok(Decoded::More { total: used }) };
        let [packet @ .., sum] = packet else { return Ok(Decoded::Skip { used: 1 }) };
        Ok(match Packet::read(packet) {
            Ok(frame) if *sum == checksum(packet) => Decoded::Frame { frame, used },
            _ => Decoded::Skip { used: 1 }, // no packet begins here: look for the next sync byte
        })
    }

    fn encode(&self, item: Packet, out: &mut Out<'_>) -> Result<(), FrameError> {
        out.put_slice(&[SYNC, Packet::BYTES]);
        out.put_u8(item.kind);
        out.put_u16(item.value);
        out.put_u8(item.kind ^ checksum(&item.value.to_be_bytes()));
        Ok(())
    }
}

/// Says how many reports were received.
#[derive(Default)]
pub(crate) struct Meter(u16);

impl Handler for Meter {
    type Codec = Meters;

    fn on_message(&mut self, cx: &mut Ctx<'_, Self>, packet: Packet) -> Result {
        if packet.kind != REPORT {
            return Ok(());
        }
        self.0 = self.0.wrapping_add(1);
        cx.send(Packet { kind: RECEIVED, value: self.0 })
    }
}

fn main() -> Result {
    tracing_subscriber::fmt().with_writer(std::io::stderr).log_internal_errors(false).init();
    let addr = std::env::args().nth(1).unwrap_or("127.0.0.1:7411".into());
    Server::builder().listen(Listener::tcp(&addr, Meters), |_| Ok(Meter::default())).run()
}
