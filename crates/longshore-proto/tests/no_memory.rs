//! What a peer makes large ends in an error where there is no memory for it, not the process (R13).
//!
//! In a binary of its own: the allocator has a limit for the whole process.
#![expect(clippy::unwrap_used, reason = "what a test cannot do ends it")]

use cap::Cap;
use longshore_base::BlockPool;
use longshore_proto::connection::{CutEnd, Next, RecvHalf};
use longshore_proto::frame::LengthDelimited;
use longshore_proto::{Codec, FrameError};
use std::alloc::System;
use std::convert::Infallible;

#[global_allocator]
static MEMORY: Cap<System> = Cap::new(System, usize::MAX);

const MIB: usize = 1 << 20;

/// Runs something with so many bytes that it may allocate.
fn with_room<T>(bytes: usize, run: impl FnOnce() -> T) -> T {
    MEMORY.set_limit(MEMORY.allocated() + bytes).unwrap();
    let done = run();
    MEMORY.set_limit(usize::MAX).unwrap();
    done
}

#[test]
fn what_there_is_no_memory_for_is_an_error() {
    let codec = LengthDelimited::u32_be(64 * MIB);
    let mut frame = u32::try_from(32 * MIB).unwrap().to_be_bytes().to_vec();
    frame.resize(64 * 1024, 7);
    let rest = vec![7; 64 * 1024];
    let mut blocks = BlockPool::new(4);
    let mut half = RecvHalf::<LengthDelimited>::default();
    let end = with_room(5 * MIB, || {
        let mut input = &frame[..];
        loop {
            let mut budget = 64;
            let cut = half.handle_input(&codec, input, &mut budget, &mut blocks, |_, _| {
                Ok::<_, Infallible>(Next::Go)
            });
            if !matches!(cut.end, CutEnd::Empty) {
                return cut.end;
            }
            input = &rest;
        }
    });
    let CutEnd::Frame(FrameError::OutOfMemory { bytes }) = end else { panic!("{end:?}") };
    assert!(bytes < 8 << 20, "{bytes} bytes for what came, not for what was announced");
    assert_eq!(half.memory_bytes(), 0, "and nothing is kept");

    let payload = vec![7; 8 * MIB];
    let encoded = with_room(MIB, || codec.to_bytes(&payload[..]));
    assert!(matches!(encoded, Err(FrameError::OutOfMemory { .. })), "{encoded:?}");
    assert!(codec.to_bytes(&payload[..]).is_ok(), "when there is memory again");
}
