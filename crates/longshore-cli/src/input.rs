//! Lines of standard input, in bounded memory.

use crate::system::{self, Terminal};
use crate::terminal;
use std::io::{self, BufRead, ErrorKind};
use std::thread;
use std::time::Duration;

/// Longest line: the longest message, and the words before it.
pub(crate) const LINE_MAX: usize = (1 << 20) + 256;

/// Memory that is kept for the next line.
const LINE_KEPT: usize = 4096;

/// How often a process in the background looks whether it has come to the front.
const BACKGROUND_LOOK: Duration = Duration::from_millis(500);

/// How long to wait where reading would not wait by itself.
const NOTHING_YET: Duration = Duration::from_millis(100);

/// What came.
pub(crate) enum Line<'a> {
    /// With its end, but for the last one.
    Whole(&'a [u8]),
    /// More than [`LINE_MAX`]; it is not kept.
    TooLong,
}

/// Waits until standard input, which is a terminal, may be read. Not at all if there is none any more.
pub(crate) fn wait_for_terminal() -> bool {
    loop {
        terminal::wait_for_input();
        match system::terminal() {
            Terminal::Ours => return true,
            Terminal::Others => thread::sleep(BACKGROUND_LOOK),
            Terminal::None => return false,
        }
    }
}

/// Hands each line to `take`, until there are no more or `take` wants none. `ready` is called before
/// each read, and says whether there is to be one.
pub(crate) fn each_line(
    mut input: impl BufRead,
    ready: impl Fn() -> bool,
    mut take: impl FnMut(Line<'_>) -> bool,
) -> io::Result<()> {
    let mut cut = Cut::default();
    while ready() {
        let piece = match input.fill_buf() {
            Ok(piece) => piece,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                thread::sleep(NOTHING_YET);
                continue;
            }
            Err(error) => return Err(error),
        };
        let len = piece.len();
        if len == 0 {
            cut.end(&mut take);
            return Ok(());
        }
        if !cut.piece(piece, &mut take) {
            return Ok(());
        }
        input.consume(len); // all of it: so each turn is one read
    }
    Ok(())
}

/// The line that is not whole yet.
#[derive(Default)]
struct Cut {
    line: Vec<u8>,
    too_long: bool,
}

impl Cut {
    /// Takes in what was read. Says whether more is wanted.
    fn piece(&mut self, piece: &[u8], take: &mut impl FnMut(Line<'_>) -> bool) -> bool {
        piece.split_inclusive(|byte| *byte == b'\n').all(|part| {
            self.too_long |= self.line.len() + part.len() > LINE_MAX;
            if !self.too_long {
                self.line.extend_from_slice(part);
            }
            !part.ends_with(b"\n") || self.end(take)
        })
    }

    /// The line at hand is whole.
    fn end(&mut self, take: &mut impl FnMut(Line<'_>) -> bool) -> bool {
        let line = if self.too_long { Line::TooLong } else { Line::Whole(&self.line) };
        let more = take(line);
        self.line.clear();
        self.line.shrink_to(LINE_KEPT);
        self.too_long = false;
        more
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufReader, Read};

    /// What is made of `input`, read in pieces of `piece_bytes`.
    fn lines(input: &[u8], piece_bytes: usize) -> Vec<String> {
        let mut lines = Vec::new();
        let taken = each_line(
            BufReader::with_capacity(piece_bytes, input),
            || true,
            |line| {
                lines.push(match line {
                    Line::Whole(line) => String::from_utf8(line.to_vec()).unwrap(),
                    Line::TooLong => "too long".into(),
                });
                true
            },
        );
        assert!(taken.is_ok());
        lines
    }

    #[test]
    fn lines_are_whole_however_they_are_read() {
        for piece_bytes in [1, 2, 3, 100] {
            assert_eq!(
                lines(b"one\n\r\ntwo\nrest", piece_bytes),
                ["one\n", "\r\n", "two\n", "rest"]
            );
            assert_eq!(lines(b"one\n", piece_bytes), ["one\n", ""]);
        }
    }

    #[test]
    fn a_line_that_is_too_long_is_skipped_to_its_end_and_not_kept() {
        let longest = [vec![b'x'; LINE_MAX - 1], b"\n".to_vec()].concat();
        let input = [&longest[..], b"x", &longest, b"next\n"].concat();
        for piece_bytes in [4096, input.len()] {
            let lines = lines(&input, piece_bytes);
            assert!(lines[0].as_bytes() == longest);
            assert_eq!(lines[1..], ["too long", "next\n", ""]);
        }
        let mut cut = Cut::default();
        for _ in 0..10 * LINE_MAX / 4096 {
            assert!(cut.piece(&[b'x'; 4096], &mut |_| true));
        }
        assert!(cut.too_long && cut.line.capacity() <= 2 * LINE_MAX);
    }

    /// Reads as the system sometimes does.
    struct Moody(u32);

    impl Read for Moody {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0 += 1;
            match self.0 {
                1 => Err(ErrorKind::Interrupted.into()),
                2 => Err(ErrorKind::WouldBlock.into()),
                3 => {
                    buffer[0] = b'\n';
                    Ok(1)
                }
                _ => Err(io::Error::other("gone")),
            }
        }
    }

    #[test]
    fn a_read_that_was_disturbed_is_tried_again_and_one_that_failed_is_the_last() {
        let mut count = 0;
        let ended = each_line(
            BufReader::new(Moody(0)),
            || true,
            |_| {
                count += 1;
                true
            },
        );
        assert_eq!((count, ended.unwrap_err().to_string()), (1, "gone".into()));
    }

    #[test]
    fn who_wants_no_more_gets_no_more() {
        let mut count = 0;
        let ended = each_line(
            &b"one\ntwo\nthree\n"[..],
            || true,
            |_| {
                count += 1;
                count < 2
            },
        );
        assert!(ended.is_ok() && count == 2);
    }
}
