//! How lines of text are messages, and messages something to show, in each protocol.

use longshore::{Codec, LengthDelimited, Lines, Longshore, Message, Raw};

/// A codec that lines can be sent with.
pub(crate) trait Talk: Codec + Copy {
    /// A line, with its end, as a message.
    fn message(line: &[u8]) -> Result<Self::Item<'_>, String>;

    /// What to show of an answer.
    fn reply(frame: Self::Frame<'_>) -> Reply<'_>;
}

/// An answer, as it is to be shown.
pub(crate) enum Reply<'a> {
    /// Bytes that may be a piece of anything: without a line end of ours.
    Piece(&'a [u8]),
    Whole(&'a [u8]),
    Numbered(u16, &'a [u8]),
}

impl Talk for Raw {
    fn message(line: &[u8]) -> Result<Self::Item<'_>, String> {
        Ok(line)
    }

    fn reply(frame: Self::Frame<'_>) -> Reply<'_> {
        Reply::Piece(frame)
    }
}

impl Talk for LengthDelimited {
    fn message(line: &[u8]) -> Result<Self::Item<'_>, String> {
        Ok(without_end(line))
    }

    fn reply(frame: Self::Frame<'_>) -> Reply<'_> {
        Reply::Whole(frame)
    }
}

impl Talk for Lines {
    fn message(line: &[u8]) -> Result<Self::Item<'_>, String> {
        utf8(without_end(line))
    }

    fn reply(frame: Self::Frame<'_>) -> Reply<'_> {
        Reply::Whole(frame.as_bytes())
    }
}

impl Talk for Longshore {
    fn message(line: &[u8]) -> Result<Self::Item<'_>, String> {
        utf8(without_end(line)).map(Message::Text)
    }

    fn reply(frame: Self::Frame<'_>) -> Reply<'_> {
        match frame {
            Message::Text(text) => Reply::Whole(text.as_bytes()),
            Message::Binary(number, bytes) => Reply::Numbered(number, bytes),
        }
    }
}

/// A line without its end, of either kind.
pub(crate) fn without_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

fn utf8(line: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(line).map_err(|error| format!("a line is not UTF-8: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_loses_its_end_and_nothing_else() {
        let of = [&b"a\r\n"[..], b"a\n", b"a", b"a \n", b"\n", b"a\n\n"].map(without_end);
        assert_eq!(of, [&b"a"[..], b"a", b"a", b"a ", b"", b"a\n"]);
    }
}
