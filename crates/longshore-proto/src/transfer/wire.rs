//! The frames of file transfer, types 16 to 29 of the project's own protocol: `docs/protocol.md`.

use super::fault::FileErrorKind;
use crate::frame::head::{
    DATA_HEAD_BYTES, DIGEST_BYTES, HEADER_BYTES, HELLO, HELLO_BYTES, PING, PONG,
    file_payload_bytes, file_types as types, header,
};
use crate::{FrameError, In};
use bytes::Bytes;

/// Most bytes of the words beside a reason.
const TEXT_BYTES_MAX: usize = 512;

/// A digest of bytes of a file: BLAKE3, 32 bytes.
pub type Digest = [u8; DIGEST_BYTES];

/// A part of a file, or all of it, that is offered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Offered {
    /// What it is called: no more than text until somebody has looked at it.
    pub name: String,
    /// The request that this answers; 0 is none.
    pub request: u32,
    /// Where in the file it begins.
    pub start: u64,
    /// How long it is.
    pub bytes: u64,
    /// How long the whole file is.
    pub total: u64,
    /// When the file was changed last: nanoseconds since 1970; 0 is not known.
    pub modified: u64,
}

/// One file or folder of a list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listed {
    /// The last part of its name.
    pub name: String,
    /// Whether it is a folder.
    pub folder: bool,
    /// Its length; 0 of a folder.
    pub bytes: u64,
    /// When it was changed last: nanoseconds since 1970.
    pub modified: u64,
}

/// A frame of file transfer. `id` is the number of a transfer, which its sender chose.
#[derive(Clone, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "fields are what the page of the protocol says of them")]
pub enum FileFrame {
    /// From the sender: here is a file.
    Offer { id: u32, offered: Offered },
    /// From the receiver: send it from `have` on, if what it has until there has that digest; and until
    /// `credit`.
    Accept { id: u32, have: u64, credit: u64, digest: Digest },
    /// From the sender: that was all of it.
    End { id: u32, bytes: u64, digest: Digest },
    /// From the receiver: so much is written, and so much may be sent in all.
    Credit { id: u32, written: u64, credit: u64 },
    /// From the receiver: it is there, whole, under its name, and will still be after a crash.
    Done { id: u32, bytes: u64 },
    /// From the receiver: not, or not any more.
    Refuse { id: u32, why: FileErrorKind, text: String },
    /// From the sender: not any more.
    GiveUp { id: u32, why: FileErrorKind, text: String },
    /// Send me a file, or a part of it: an offer with that request answers, or a no.
    Get { request: u32, start: u64, bytes: u64, name: String },
    /// What is in that folder? Without a name: in the root. What stands behind the name `after`, which is
    /// empty for all.
    List { request: u32, name: String, after: String },
    /// That is in it.
    Entries { request: u32, last: Last, entries: Vec<Listed> },
    /// The answer to a request is no.
    No { request: u32, why: FileErrorKind, text: String },
    /// From the sender: wait, or go on.
    SenderHolds { id: u32, on: bool },
    /// From the receiver: wait, or go on.
    ReceiverHolds { id: u32, on: bool },
}

/// What follows entries of a list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Last {
    /// More frames of the same answer.
    No,
    /// Nothing: that was all.
    Yes,
    /// Nothing more of this answer, but there is more: ask what stands behind the last one.
    More,
}

/// What a stream of frames holds.
#[derive(Clone, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "fields are what the page of the protocol says of them")]
pub enum FilePiece<'a> {
    /// A whole frame.
    Frame(FileFrame),
    /// What the peer can do: bits.
    Hello(u64),
    /// The answer to a [`ping`].
    Pong,
    /// Bytes of a file: a frame of them may come in several pieces.
    Data { id: u32, offset: u64, bytes: &'a [u8] },
}

impl FileFrame {
    /// As it goes over the wire.
    pub fn to_bytes(&self) -> Bytes {
        let mut out = vec![0; HEADER_BYTES];
        let kind = match self {
            Self::Offer { id, offered } => {
                let Offered { name, request, start, bytes, total, modified } = offered;
                put(&mut out, &[*id, *request], &[*start, *bytes, *total, *modified]);
                out.extend_from_slice(name.as_bytes());
                types::OFFER
            }
            Self::Accept { id, have, credit, digest } => {
                put(&mut out, &[*id], &[*have, *credit]);
                out.extend_from_slice(digest);
                types::ACCEPT
            }
            Self::End { id, bytes, digest } => {
                put(&mut out, &[*id], &[*bytes]);
                out.extend_from_slice(digest);
                types::END
            }
            Self::Credit { id, written, credit } => {
                put(&mut out, &[*id], &[*written, *credit]);
                types::CREDIT
            }
            Self::Done { id, bytes } => {
                put(&mut out, &[*id], &[*bytes]);
                types::DONE
            }
            Self::Refuse { id, why, text } => {
                put_reason(&mut out, *id, *why, text);
                types::REFUSE
            }
            Self::GiveUp { id, why, text } => {
                put_reason(&mut out, *id, *why, text);
                types::GIVE_UP
            }
            Self::Get { request, start, bytes, name } => {
                put(&mut out, &[*request], &[*start, *bytes]);
                out.extend_from_slice(name.as_bytes());
                types::GET
            }
            Self::List { request, name, after } => {
                put(&mut out, &[*request], &[]);
                put_list(&mut out, name, after);
                types::LIST
            }
            Self::Entries { request, last, entries } => {
                put(&mut out, &[*request], &[]);
                out.push(*last as u8);
                for entry in entries {
                    entry.put(&mut out);
                }
                types::ENTRIES
            }
            Self::No { request, why, text } => {
                put_reason(&mut out, *request, *why, text);
                types::NO
            }
            Self::SenderHolds { id, on } | Self::ReceiverHolds { id, on } => {
                put(&mut out, &[*id], &[]);
                out.push(u8::from(*on));
                let ours = matches!(self, Self::SenderHolds { .. });
                if ours { types::SENDER_HOLDS } else { types::RECEIVER_HOLDS }
            }
        };
        let payload = out.len() - HEADER_BYTES;
        debug_assert!(
            file_payload_bytes(kind).is_some_and(|it| it.contains(&payload)),
            "{self:?} has {payload} bytes"
        );
        out[..HEADER_BYTES].copy_from_slice(&header(kind, u32::try_from(payload).unwrap_or(0)));
        out.into()
    }

    /// What the payload of a frame says.
    fn parse(kind: u8, payload: &[u8]) -> Result<Self, FrameError> {
        let mut input = In::new(payload);
        let id = input.get_u32()?;
        let frame = match kind {
            types::OFFER => {
                let request = input.get_u32()?;
                let [start, bytes, total, modified] = numbers(&mut input)?;
                if start.checked_add(bytes).is_none_or(|end| end > total) {
                    return Err(FrameError::invalid("an offer of more than the file has"));
                }
                let name = text(input.rest())?;
                Self::Offer {
                    id,
                    offered: Offered { name, request, start, bytes, total, modified },
                }
            }
            types::ACCEPT => {
                let [have, credit] = numbers(&mut input)?;
                Self::Accept { id, have, credit, digest: digest(&mut input)? }
            }
            types::END => {
                let [bytes] = numbers(&mut input)?;
                Self::End { id, bytes, digest: digest(&mut input)? }
            }
            types::CREDIT => {
                let [written, credit] = numbers(&mut input)?;
                Self::Credit { id, written, credit }
            }
            types::DONE => {
                let [bytes] = numbers(&mut input)?;
                Self::Done { id, bytes }
            }
            types::REFUSE | types::GIVE_UP | types::NO => {
                let why = FileErrorKind::of_code(input.get_u16()?);
                let text = text(input.rest())?;
                match kind {
                    types::REFUSE => Self::Refuse { id, why, text },
                    types::GIVE_UP => Self::GiveUp { id, why, text },
                    _ => Self::No { request: id, why, text },
                }
            }
            types::GET => {
                let [start, bytes] = numbers(&mut input)?;
                Self::Get { request: id, start, bytes, name: text(input.rest())? }
            }
            types::LIST => {
                let text = text(input.rest())?;
                let (name, after) = text.split_once('\0').unwrap_or((&text, ""));
                Self::List { request: id, name: name.into(), after: after.into() }
            }
            types::ENTRIES => {
                let last = match input.get_u8()? {
                    0 => Last::No,
                    1 => Last::Yes,
                    2 => Last::More,
                    other => {
                        let what = format_args!("{other} follows the entries of a list");
                        return Err(FrameError::invalid(what));
                    }
                };
                let mut entries = Vec::new();
                while !input.is_empty() {
                    entries.push(Listed::take(&mut input)?);
                }
                Self::Entries { request: id, last, entries }
            }
            types::SENDER_HOLDS => Self::SenderHolds { id, on: flag(input.get_u8()?)? },
            types::RECEIVER_HOLDS => Self::ReceiverHolds { id, on: flag(input.get_u8()?)? },
            _ => return Err(FrameError::invalid(format_args!("frame type {kind} is not known"))),
        };
        Ok(frame)
    }
}

impl Listed {
    /// What it takes in a frame.
    pub fn wire_bytes(&self) -> usize {
        19 + self.name.len()
    }

    fn put(&self, out: &mut Vec<u8>) {
        out.push(u8::from(self.folder));
        put(out, &[], &[self.bytes, self.modified]);
        let len = u16::try_from(self.name.len()).unwrap_or(0);
        out.extend_from_slice(&len.to_be_bytes());
        out.extend_from_slice(self.name.as_bytes());
    }

    fn take(input: &mut In<'_>) -> Result<Self, FrameError> {
        let folder = flag(input.get_u8()?)?;
        let [bytes, modified] = numbers(input)?;
        let len = input.get_u16()?;
        let name = text(input.get_slice(len.into())?)?;
        Ok(Self { name, folder, bytes, modified })
    }
}

/// The bit of a hello that says: files go either way.
pub const CAPABILITY_FILES: u64 = 1;

/// What a side that takes and gives files says first.
pub fn hello() -> Bytes {
    let mut out = header(HELLO, HELLO_BYTES).to_vec();
    put(&mut out, &[], &[CAPABILITY_FILES]);
    out.into()
}

/// A question that each peer answers, behind the hello that it may have said: who answers without one
/// takes no files.
pub fn ping() -> Bytes {
    Bytes::copy_from_slice(&header(PING, 0))
}

/// The bytes in front of a chunk of a file: those of its frame, and its place.
pub fn data_head(id: u32, offset: u64, len: usize) -> Bytes {
    let payload = u32::try_from(DATA_HEAD_BYTES + len).unwrap_or(0);
    let mut out = header(types::DATA, payload).to_vec();
    put(&mut out, &[id], &[offset]);
    out.into()
}

fn put(out: &mut Vec<u8>, small: &[u32], large: &[u64]) {
    for number in small {
        out.extend_from_slice(&number.to_be_bytes());
    }
    for number in large {
        out.extend_from_slice(&number.to_be_bytes());
    }
}

fn put_list(out: &mut Vec<u8>, name: &str, after: &str) {
    out.extend_from_slice(name.as_bytes());
    if !after.is_empty() {
        out.push(0);
        out.extend_from_slice(after.as_bytes());
    }
}

fn put_reason(out: &mut Vec<u8>, id: u32, why: FileErrorKind, text: &str) {
    put(out, &[id], &[]);
    out.extend_from_slice(&why.code().to_be_bytes());
    let mut len = text.len().min(TEXT_BYTES_MAX);
    while !text.is_char_boundary(len) {
        len -= 1;
    }
    out.extend_from_slice(&text.as_bytes()[..len]);
}

fn numbers<const N: usize>(input: &mut In<'_>) -> Result<[u64; N], FrameError> {
    let mut all = [0; N];
    for number in &mut all {
        *number = input.get_u64()?;
    }
    Ok(all)
}

fn digest(input: &mut In<'_>) -> Result<Digest, FrameError> {
    let mut digest = [0; DIGEST_BYTES];
    digest.copy_from_slice(input.get_slice(DIGEST_BYTES)?);
    Ok(digest)
}

fn flag(byte: u8) -> Result<bool, FrameError> {
    match byte {
        0 | 1 => Ok(byte == 1),
        _ => Err(FrameError::invalid(format_args!("{byte} is neither yes nor no"))),
    }
}

fn text(bytes: &[u8]) -> Result<String, FrameError> {
    let text = std::str::from_utf8(bytes);
    text.map(Into::into).map_err(|_| FrameError::invalid("a name that is not UTF-8"))
}

/// Makes frames of what a codec has found to belong to files: whole frames, or pieces of one that has
/// bytes of a file.
#[derive(Debug, Default)]
pub struct FileStream {
    id: u32,
    offset: u64,
    /// Bytes of the file that this frame still has.
    left: usize,
}

impl FileStream {
    /// What is in the next bytes, as the codec cut them; nothing in the head of a frame alone.
    ///
    /// # Errors
    /// They are no frame of file transfer.
    pub fn piece<'a>(&mut self, bytes: &'a [u8]) -> Result<Option<FilePiece<'a>>, FrameError> {
        let mut bytes = bytes;
        if self.left == 0 {
            let Some((head, payload)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
                return Err(FrameError::invalid("a frame without its head"));
            };
            let kind = head[2];
            if kind == PONG {
                return Ok(Some(FilePiece::Pong));
            }
            if kind == HELLO {
                return In::new(payload).get_u64().map(|bits| Some(FilePiece::Hello(bits)));
            }
            if kind != types::DATA {
                return FileFrame::parse(kind, payload).map(|frame| Some(FilePiece::Frame(frame)));
            }
            let len = u32::from_be_bytes([head[4], head[5], head[6], head[7]]) as usize;
            let mut input = In::new(payload);
            self.id = input.get_u32()?;
            self.offset = input.get_u64()?;
            self.left = len.saturating_sub(DATA_HEAD_BYTES);
            bytes = input.rest();
        }
        let Self { id, offset, .. } = *self;
        self.left = self.left.saturating_sub(bytes.len());
        self.offset = self.offset.saturating_add(bytes.len() as u64);
        Ok((!bytes.is_empty()).then_some(FilePiece::Data { id, offset, bytes }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<FileFrame> {
        let text = || "why".to_string();
        let offered = Offered {
            name: "a/ü".into(),
            request: 9,
            start: 1,
            bytes: 2,
            total: 1 << 40,
            modified: u64::MAX,
        };
        let (one, two) = (
            Listed { name: "a".into(), folder: true, bytes: 0, modified: 5 },
            Listed { name: "grün".into(), folder: false, bytes: 1 << 33, modified: 0 },
        );
        let why = FileErrorKind::NoSpace;
        vec![
            FileFrame::Offer { id: 7, offered },
            FileFrame::Accept { id: 7, have: 1, credit: 2, digest: [3; 32] },
            FileFrame::End { id: 7, bytes: 3, digest: [4; 32] },
            FileFrame::Credit { id: 7, written: 8, credit: 9 },
            FileFrame::Done { id: u32::MAX, bytes: u64::MAX },
            FileFrame::Refuse { id: 7, why, text: text() },
            FileFrame::GiveUp { id: 7, why, text: String::new() },
            FileFrame::Get { request: 1, start: 2, bytes: u64::MAX, name: "x".into() },
            FileFrame::List { request: 1, name: String::new(), after: String::new() },
            FileFrame::List { request: 1, name: String::new(), after: "grün".into() },
            FileFrame::List { request: 1, name: "a/b".into(), after: "c".into() },
            FileFrame::Entries { request: 1, last: Last::Yes, entries: vec![one, two] },
            FileFrame::Entries { request: 1, last: Last::No, entries: vec![] },
            FileFrame::Entries { request: 1, last: Last::More, entries: vec![] },
            FileFrame::No { request: 1, why, text: text() },
            FileFrame::SenderHolds { id: 1, on: true },
            FileFrame::ReceiverHolds { id: 1, on: false },
        ]
    }

    #[test]
    fn what_is_written_is_read_again() {
        for frame in all() {
            let bytes = frame.to_bytes();
            let payload = bytes.len() - HEADER_BYTES;
            assert!(file_payload_bytes(bytes[2]).unwrap().contains(&payload), "{frame:?}");
            let piece = FileStream::default().piece(&bytes).unwrap();
            assert_eq!(piece, Some(FilePiece::Frame(frame)));
        }
    }

    /// A frame that is cut anywhere, or has a byte changed, is an error or another frame, no panic.
    #[test]
    fn no_bytes_make_it_panic() {
        for frame in all() {
            let bytes = frame.to_bytes();
            for at in HEADER_BYTES..bytes.len() {
                let _ = FileStream::default().piece(&bytes[..at]);
                let mut changed = bytes.to_vec();
                changed[at] ^= 0xff;
                let _ = FileStream::default().piece(&changed);
            }
        }
        let mut offer = all()[0].to_bytes().to_vec();
        offer[HEADER_BYTES + 8..HEADER_BYTES + 24].fill(0xff);
        assert!(FileStream::default().piece(&offer).is_err(), "its end is nowhere");
    }

    #[test]
    fn a_chunk_may_come_in_pieces() {
        let mut wire = data_head(5, 1_000, 6).to_vec();
        wire.extend_from_slice(b"abcdef");
        let mut stream = FileStream::default();
        assert_eq!(stream.piece(&hello()).unwrap(), Some(FilePiece::Hello(CAPABILITY_FILES)));
        let (head, rest) = wire.split_at(HEADER_BYTES + DATA_HEAD_BYTES);
        assert_eq!(stream.piece(head).unwrap(), None);
        let data = |offset, bytes| Some(FilePiece::Data { id: 5, offset, bytes });
        assert_eq!(stream.piece(&rest[..1]).unwrap(), data(1_000, b"a"));
        assert_eq!(stream.piece(&rest[1..]).unwrap(), data(1_001, b"bcdef"));
        assert_eq!(stream.piece(&wire).unwrap(), data(1_000, b"abcdef"));
    }

    #[test]
    fn long_words_are_cut_between_characters() {
        let text = "ü".repeat(TEXT_BYTES_MAX);
        let frame = FileFrame::No { request: 1, why: FileErrorKind::Disk, text };
        let bytes = frame.to_bytes();
        let Ok(Some(FilePiece::Frame(FileFrame::No { text, .. }))) =
            FileStream::default().piece(&bytes)
        else {
            panic!("{bytes:?}")
        };
        assert_eq!(text.len(), TEXT_BYTES_MAX);
    }
}
