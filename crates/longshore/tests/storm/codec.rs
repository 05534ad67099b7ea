//! The protocol of a storm: frames with a length, some of which the codec answers by itself.

use crate::filters::Unmask;
use longshore::{Bytes, Codec, Decoded, FrameError, LengthDelimited, Out};

/// Longest payload of a frame.
pub(crate) const FRAME_MAX: usize = 700;

/// First byte of a frame that comes back from the codec, and that no handler sees.
pub(crate) const PING: u8 = 0xee;

#[derive(Debug)]
pub(crate) struct Pinged(LengthDelimited);

impl Pinged {
    pub(crate) fn new() -> Self {
        Self(LengthDelimited::u32_be(FRAME_MAX))
    }
}

impl Codec for Pinged {
    type Frame<'a> = &'a [u8];
    type Item<'a> = &'a [u8];
    type Decoder = ();

    fn frame_bytes_max(&self) -> usize {
        self.0.frame_bytes_max()
    }

    fn decode<'a>(
        &self,
        decoder: &'a mut (),
        input: &'a [u8],
    ) -> Result<Decoded<&'a [u8]>, FrameError> {
        Ok(match self.0.decode(decoder, input)? {
            Decoded::Frame { frame: [PING, ..], used } => {
                Decoded::Reply { used, reply: Bytes::copy_from_slice(&input[..used]) }
            }
            other => other,
        })
    }

    fn encode(&self, item: &[u8], out: &mut Out<'_>) -> Result<(), FrameError> {
        self.0.encode(item, out)
    }
}

/// A frame on the wire.
pub(crate) fn frame(payload: &[u8], masked: bool) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes().to_vec();
    bytes.extend_from_slice(payload);
    if masked {
        Unmask::mask(&mut bytes);
    }
    bytes
}

/// The payload of the first frame, if it is there as a whole.
pub(crate) fn first_payload(bytes: &[u8]) -> Option<&[u8]> {
    let (head, rest) = bytes.split_first_chunk()?;
    let len = u32::from_be_bytes(*head) as usize;
    assert!(len <= FRAME_MAX, "no frame: {len} bytes");
    rest.get(..len)
}
