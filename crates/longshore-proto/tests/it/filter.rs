//! A filter between the wire and the codec.

use longshore_base::BlockPool;
use longshore_proto::connection::{Event, Filter, Next, RecvHalf};
use longshore_proto::{FrameError, LengthDelimited};

/// Turns each byte over; wants a greeting first, and answers it.
struct Xor {
    key: u8,
    greeted: bool,
}

const GREETING: u8 = b'?';
const ANSWER: &[u8] = b"!";

impl Filter for Xor {
    fn handle_input(
        &mut self,
        input: &[u8],
        plain: &mut Vec<u8>,
        reply: &mut Vec<u8>,
    ) -> Result<(), FrameError> {
        let mut input = input;
        if !self.greeted {
            let Some((&GREETING, rest)) = input.split_first() else {
                return Err(FrameError::invalid("no greeting"));
            };
            (self.greeted, input) = (true, rest);
            reply.extend_from_slice(ANSWER);
        }
        plain.extend(input.iter().map(|byte| byte ^ self.key));
        Ok(())
    }

    fn handle_output(&mut self, plain: &[u8], wire: &mut Vec<u8>) -> Result<(), FrameError> {
        wire.extend(plain.iter().map(|byte| byte ^ self.key));
        Ok(())
    }

    fn handle_end(&mut self) -> Result<(), FrameError> {
        if self.greeted { Ok(()) } else { Err(FrameError::invalid("ended before the greeting")) }
    }
}

#[test]
fn frames_come_out_of_filtered_bytes_however_they_are_cut() {
    let mut wire = vec![GREETING];
    Xor { key: 0x5a, greeted: true }.handle_output(b"\x03abc\x00\x02de", &mut wire).unwrap();
    for piece in 1..=wire.len() {
        let mut filter = Xor { key: 0x5a, greeted: false };
        let (codec, mut half) = (LengthDelimited::u8(10), RecvHalf::default());
        let (mut budget, mut blocks) = (100, BlockPool::new(1));
        let (mut plain, mut reply, mut frames) = (Vec::new(), Vec::new(), Vec::new());
        for input in wire.chunks(piece) {
            plain.clear();
            filter.handle_input(input, &mut plain, &mut reply).unwrap();
            half.handle_input(&codec, &plain, &mut budget, &mut blocks, |event, _| {
                if let Event::Frame(frame) = event {
                    frames.push(<[u8]>::to_vec(frame));
                }
                Ok::<_, ()>(Next::Go)
            });
        }
        assert_eq!((filter.handle_end(), reply), (Ok(()), ANSWER.to_vec()));
        assert_eq!(frames, [&b"abc"[..], b"", b"de"], "pieces of {piece}");
    }
}

#[test]
fn a_filter_refuses_what_does_not_begin_as_it_must() {
    let mut filter = Xor { key: 1, greeted: false };
    let (mut plain, mut reply) = (Vec::new(), Vec::new());
    assert!(filter.handle_end().is_err());
    assert!(filter.handle_input(b"no", &mut plain, &mut reply).is_err());
    assert!(plain.is_empty() && reply.is_empty());
}
