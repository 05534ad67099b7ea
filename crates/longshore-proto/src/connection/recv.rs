//! The receive half: bytes in, frames out.

use crate::{Codec, Decoded, FrameError};
use bytes::Bytes;
use longshore_base::{BLOCK_BYTES, BlockPool, try_extend};
use std::any::type_name;
use std::fmt;
use std::mem;
use std::ops::ControlFlow;

/// What the bytes of a connection hold for its owner.
#[derive(Debug)]
pub enum Event<'a, F> {
    /// A frame for the handler.
    Frame(F),
    /// The codec answers by itself: these bytes go onto the wire.
    Reply(Bytes),
    /// Bytes that belong to files.
    File(&'a [u8]),
}

/// Where a frame lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// In the input at hand: a payload may be sent from there without a copy.
    Input,
    /// In what was kept of a torn frame.
    Torn,
}

/// What the sink wants next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// The next frame.
    Go,
    /// No more for now; the rest of the input counts as not used.
    Stop,
}

/// How far the cutting came.
#[derive(Debug)]
pub struct Cut<E> {
    /// Bytes of the input that are done with, or kept as a torn frame.
    pub used: usize,
    /// Why it ended.
    pub end: CutEnd<E>,
}

/// Why the cutting ended.
#[derive(Debug)]
pub enum CutEnd<E> {
    /// All input is used.
    Empty,
    /// The budget is used up, input may be left.
    Budget,
    /// The sink said so.
    Stopped,
    /// The bytes are no frames. Nothing more can be cut.
    Frame(FrameError),
    /// The sink failed.
    Sink(E),
}

/// What a connection has received of a frame that is not whole.
///
/// Only what a torn frame lacks is copied, everything else is cut where it lies in the input:
///
/// ```text
/// torn:   | start of the frame | what it lacked |
/// input:                       | what it lacked | frame | frame | start of the next one |
///                                 copied          cut in place      kept as torn
/// ```
///
/// Memory grows with the bytes that came, never with a length that a peer announced: at most twice
/// the received bytes and 16 KiB (R22). Without a torn frame it holds none.
pub struct RecvHalf<C: Codec> {
    decoder: C::Decoder,
    torn: Vec<u8>,
    /// Bytes the torn frame must have before decoding it again makes sense.
    need: usize,
    /// How often the codec asked for more of the torn frame. Saturates.
    asked: u8,
    /// The bytes were no frames, or the sink failed: nothing may be cut any more.
    failed: bool,
}

/// Room that a torn frame may begin with. A larger block of the pool, left over from a large frame,
/// is shrunk first, or a peer could hold it by a single byte.
const TORN_BYTES_START_MAX: usize = 16 * 1024;

/// How often a codec gets exactly what it asks for: a header, and then the frame whose length it
/// told. One that asks again does not know the length; byte by byte it would take for ever.
const EXACT_ASKS: u8 = 2;

/// Bytes that such a codec gets more at least. From here on, as many as it has already.
const STEP_BYTES_MIN: usize = 512;

/// What is left of one call.
struct Work<'a> {
    input: &'a [u8],
    /// Bytes of the input that are done with.
    at: &'a mut usize,
    budget: &'a mut u32,
}

impl Work<'_> {
    fn left(&self) -> usize {
        self.input.len() - *self.at
    }
}

/// How far what the codec said goes.
enum Found {
    Done { used: usize },
    More { total: usize },
}

impl<C: Codec> Default for RecvHalf<C> {
    fn default() -> Self {
        Self { decoder: C::Decoder::default(), torn: Vec::new(), need: 0, asked: 0, failed: false }
    }
}

impl<C: Codec> fmt::Debug for RecvHalf<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecvHalf")
            .field("torn_bytes", &self.torn.len())
            .field("need", &self.need)
            .field("failed", &self.failed)
            .finish_non_exhaustive()
    }
}

impl<C: Codec> RecvHalf<C> {
    /// Whether a part of a frame is kept.
    pub fn is_torn(&self) -> bool {
        !self.torn.is_empty()
    }

    /// How many bytes of a torn frame are kept.
    pub fn torn_bytes(&self) -> usize {
        self.torn.len()
    }

    /// How many bytes of memory that takes.
    pub fn memory_bytes(&self) -> usize {
        self.torn.capacity()
    }

    /// Cuts `input` into frames and hands each to `sink`, in order. Each frame, reply and skip
    /// costs one of `budget`, so that no peer keeps a worker for itself with tiny frames (R24);
    /// what is then left of the input is to be handed in again.
    ///
    /// The torn bytes live in a block of `blocks`, and go back there once the frame is whole.
    /// After an error of the codec or the sink, all further input is used up and nothing cut.
    pub fn handle_input<E>(
        &mut self,
        codec: &C,
        input: &[u8],
        budget: &mut u32,
        blocks: &mut BlockPool,
        sink: impl FnMut(Event<'_, C::Frame<'_>>, Place) -> Result<Next, E>,
    ) -> Cut<E> {
        let mut used = 0;
        let end = self.handle_input_at(codec, input, &mut used, budget, blocks, sink);
        Cut { used, end }
    }

    /// As [`handle_input`](Self::handle_input) for `input[*at..]`. `at` moves along, past each
    /// frame before the sink is told of it: so it holds for a sink that panics too.
    #[inline]
    pub fn handle_input_at<E>(
        &mut self,
        codec: &C,
        input: &[u8],
        at: &mut usize,
        budget: &mut u32,
        blocks: &mut BlockPool,
        mut sink: impl FnMut(Event<'_, C::Frame<'_>>, Place) -> Result<Next, E>,
    ) -> CutEnd<E> {
        if self.failed {
            *at = input.len();
            return CutEnd::Empty;
        }
        let mut work = Work { input, at, budget };
        let mut end = ControlFlow::Continue(());
        if self.is_torn() {
            end = self.cut_torn(codec, &mut work, &mut sink);
            self.failed = matches!(end, ControlFlow::Break(CutEnd::Frame(_) | CutEnd::Sink(_)));
            if self.failed || self.torn.is_empty() {
                blocks.give_bytes(mem::take(&mut self.torn));
            }
        }
        match end {
            ControlFlow::Break(end) => end,
            ControlFlow::Continue(()) => self.cut_input(codec, &mut work, blocks, &mut sink),
        }
    }

    /// The stream has ended. Gives the last frame if the torn bytes make one by that, such as a
    /// line without its end. Nothing is cut afterwards.
    ///
    /// Returns [`CutEnd::Frame`] when the stream ended within a frame, which is not delivered
    /// (R26).
    pub fn handle_end<E>(
        &mut self,
        codec: &C,
        mut sink: impl FnMut(Event<'_, C::Frame<'_>>, Place) -> Result<Next, E>,
    ) -> CutEnd<E> {
        let torn = mem::take(&mut self.torn);
        if mem::replace(&mut self.failed, true) || torn.is_empty() {
            return CutEnd::Empty;
        }
        match codec.decode_end(&mut self.decoder, &torn) {
            Err(error) => CutEnd::Frame(error),
            Ok(None) => CutEnd::Empty,
            Ok(Some(frame)) => match went(sink(Event::Frame(frame), Place::Torn)) {
                ControlFlow::Break(end) => end,
                ControlFlow::Continue(()) => CutEnd::Empty,
            },
        }
    }

    /// Makes the torn frame whole. Goes on while torn bytes are left, which is when the codec
    /// asked for more than it then used.
    fn cut_torn<E>(
        &mut self,
        codec: &C,
        work: &mut Work<'_>,
        sink: &mut impl FnMut(Event<'_, C::Frame<'_>>, Place) -> Result<Next, E>,
    ) -> ControlFlow<CutEnd<E>> {
        let mut copied = 0;
        while self.is_torn() {
            let more_to_cut = work.left() > 0 || self.torn.len() >= self.need;
            if *work.budget == 0 && more_to_cut {
                return ControlFlow::Break(CutEnd::Budget);
            }
            copied += match self.copy_lacking(codec, work) {
                Ok(count) => count,
                Err(error) => return ControlFlow::Break(CutEnd::Frame(error)),
            };
            if self.torn.len() < self.need {
                return ControlFlow::Break(CutEnd::Empty);
            }
            let have = self.torn.len();
            let said = codec.decode(&mut self.decoder, &self.torn);
            let (told, used, back) = match held(codec, &said, have) {
                Err(error) => return ControlFlow::Break(CutEnd::Frame(error)),
                Ok(Found::More { total }) => {
                    self.need = total;
                    self.asked = self.asked.saturating_add(1);
                    continue;
                }
                Ok(Found::Done { used }) => {
                    // What was copied and does not belong to the frame is still in the input.
                    let back = copied.min(have - used);
                    *work.at -= back;
                    (tell(said, Place::Torn, &self.torn[..used], sink), used, back)
                }
            };
            *work.budget -= 1;
            self.torn.truncate(have - back);
            self.torn.drain(..used);
            (self.need, self.asked, copied) = (1, 0, 0);
            told?;
        }
        ControlFlow::Continue(())
    }

    /// Copies what the torn frame lacks, as far as the input has it, and says how much it was.
    fn copy_lacking(&mut self, codec: &C, work: &mut Work<'_>) -> Result<usize, FrameError> {
        let have = self.torn.len();
        let mut want = self.need;
        if self.asked > EXACT_ASKS {
            let step = have.max(STEP_BYTES_MIN);
            want = want.max((have + step).min(codec.frame_bytes_max()));
        }
        let count = want.saturating_sub(have).min(work.left());
        try_extend(&mut self.torn, &work.input[*work.at..][..count])?;
        *work.at += count;
        Ok(count)
    }

    /// Cuts frames where they lie, and keeps the torn one at the end.
    #[inline]
    fn cut_input<E>(
        &mut self,
        codec: &C,
        work: &mut Work<'_>,
        blocks: &mut BlockPool,
        sink: &mut impl FnMut(Event<'_, C::Frame<'_>>, Place) -> Result<Next, E>,
    ) -> CutEnd<E> {
        let total = loop {
            if work.left() == 0 {
                return CutEnd::Empty;
            }
            if *work.budget == 0 {
                return CutEnd::Budget;
            }
            let told = match codec.decode(&mut self.decoder, &work.input[*work.at..]) {
                Ok(Decoded::Frame { frame, used }) if fits(codec, used, work.left()) => {
                    *work.at += used;
                    *work.budget -= 1;
                    went(sink(Event::Frame(frame), Place::Input))
                }
                said => match held(codec, &said, work.left()) {
                    Err(error) => ControlFlow::Break(CutEnd::Frame(error)),
                    Ok(Found::More { total }) => break total,
                    Ok(Found::Done { used }) => {
                        let bytes = &work.input[*work.at..][..used];
                        *work.at += used;
                        *work.budget -= 1;
                        tell(said, Place::Input, bytes, sink)
                    }
                },
            };
            if let ControlFlow::Break(end) = told {
                self.failed = matches!(end, CutEnd::Frame(_) | CutEnd::Sink(_));
                return end;
            }
        };
        let kept = self.keep_torn(&work.input[*work.at..], total, blocks);
        *work.at = work.input.len();
        if let Err(error) = kept {
            self.failed = true;
            return CutEnd::Frame(error);
        }
        CutEnd::Empty
    }

    fn keep_torn(
        &mut self,
        rest: &[u8],
        total: usize,
        blocks: &mut BlockPool,
    ) -> Result<(), FrameError> {
        self.torn = blocks.take();
        if self.torn.capacity() > TORN_BYTES_START_MAX {
            self.torn.shrink_to(BLOCK_BYTES);
        }
        (self.need, self.asked) = (total, 1);
        Ok(try_extend(&mut self.torn, rest)?)
    }
}

/// Whether a frame is as long as it may be: what nearly all of them are.
#[inline]
fn fits<C: Codec>(codec: &C, used: usize, len: usize) -> bool {
    0 < used && used <= len && used <= codec.frame_bytes_max()
}

/// Holds the codec to its promises, whoever wrote it. What it said stays where it is: a frame may be
/// large, and would be moved for nothing.
#[inline]
fn held<C: Codec, F>(
    codec: &C,
    said: &Result<Decoded<F>, FrameError>,
    len: usize,
) -> Result<Found, FrameError> {
    let (used, is_frame) = match said {
        Ok(Decoded::Frame { used, .. } | Decoded::Reply { used, .. }) => (*used, true),
        Ok(Decoded::Skip { used } | Decoded::File { used }) => (*used, false),
        Ok(Decoded::More { total }) => return wanted(codec, *total, len),
        Err(error) => return Err(error.clone()),
    };
    if used == 0 || used > len {
        return Err(broken::<C>("used", used, len));
    }
    let max = codec.frame_bytes_max();
    if is_frame && used > max {
        return Err(too_long(used, max));
    }
    Ok(Found::Done { used })
}

#[inline]
fn wanted<C: Codec>(codec: &C, total: usize, len: usize) -> Result<Found, FrameError> {
    let max = codec.frame_bytes_max();
    if total <= len {
        return Err(broken::<C>("asked for", total, len));
    }
    if total > max { Err(too_long(total, max)) } else { Ok(Found::More { total }) }
}

/// Hands on what the codec said.
#[inline]
fn tell<F, E>(
    said: Result<Decoded<F>, FrameError>,
    place: Place,
    bytes: &[u8],
    sink: &mut impl FnMut(Event<'_, F>, Place) -> Result<Next, E>,
) -> ControlFlow<CutEnd<E>> {
    let told = match said {
        Ok(Decoded::Frame { frame, .. }) => sink(Event::Frame(frame), place),
        Ok(Decoded::Reply { reply, .. }) => sink(Event::Reply(reply), place),
        Ok(Decoded::File { .. }) => sink(Event::File(bytes), place),
        _ => Ok(Next::Go),
    };
    went(told)
}

#[inline]
fn went<E>(told: Result<Next, E>) -> ControlFlow<CutEnd<E>> {
    match told {
        Ok(Next::Go) => ControlFlow::Continue(()),
        Ok(Next::Stop) => ControlFlow::Break(CutEnd::Stopped),
        Err(error) => ControlFlow::Break(CutEnd::Sink(error)),
    }
}

#[cold]
fn too_long(len: usize, max: usize) -> FrameError {
    FrameError::TooLong { len: len as u64, max: max as u64 }
}

/// The codec is at fault, not the peer. Ends the connection rather than the worker.
#[cold]
fn broken<C>(did: &str, count: usize, len: usize) -> FrameError {
    let codec = type_name::<C>();
    FrameError::invalid(format_args!("codec {codec} {did} {count} bytes of an input of {len}"))
}

#[cfg(test)]
#[path = "recv_tests.rs"]
mod tests;
