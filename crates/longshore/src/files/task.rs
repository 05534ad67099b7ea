//! What is done with files on threads that may wait for a disk.

use super::error::FileError;
use super::looked::look;
use super::pieces::Pieces;
use super::source::FileSource;
use super::store::{FileStore, Near, Ready, Slot, There, Wanted};
use blake3::Hasher;
use bytes::Bytes;
use longshore_base::FileName;
use longshore_proto::transfer::{Digest, FileErrorKind, Listed};
use std::fmt;
use std::net::IpAddr;

/// The digest of a file that is being sent, as far as it was read.
pub(crate) struct Running(Box<Hasher>);

impl Running {
    pub(crate) fn new() -> Self {
        Self(Box::new(Hasher::new()))
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Running")
    }
}

/// Something to be done. Owns all that it needs.
#[derive(Debug)]
pub(crate) enum Task {
    /// Whether the first `have` bytes of what is sent have that digest.
    Prove { number: u32, source: FileSource, start: u64, have: u64, digest: Digest },
    /// Reads bytes that are sent; with the last ones, looks whether the file is what it was.
    Read(Box<ReadTask>),
    /// Opens a file that a peer asked for.
    Open { request: u32, store: FileStore, name: FileName },
    /// Tells what is in a folder.
    List { request: u32, store: FileStore, name: Option<FileName>, after: String },
    /// Makes ready to write a file.
    Begin { number: u32, store: FileStore, peer: Option<IpAddr>, name: FileName, wanted: Wanted },
    /// Writes bytes of a file.
    Write { number: u32, slot: Box<Slot>, offset: u64, anew: bool, bytes: Vec<u8> },
    /// Makes sure of a file that lay there already.
    Confirm { number: u32, there: Box<There>, digest: Digest },
    /// Puts files in their places.
    Store { files: Vec<(u32, Slot, Digest)> },
    /// Gives a file up that was not finished.
    GiveUp { slot: Box<Slot>, keep: bool },
}

/// Bytes that are to be read.
#[derive(Debug)]
pub(crate) struct ReadTask {
    pub(crate) number: u32,
    pub(crate) source: FileSource,
    pub(crate) at: u64,
    pub(crate) len: usize,
    /// They are the last.
    pub(crate) last: bool,
    pub(crate) running: Running,
    pub(crate) pieces: Pieces,
}

/// Tasks that go to one thread together, and are done there in their order.
#[derive(Debug)]
pub(crate) struct Batch {
    /// Each of them is over soon.
    pub(crate) small: bool,
    pub(crate) tasks: Vec<Task>,
}

/// What became of a batch.
#[derive(Debug)]
pub(crate) struct Outcomes {
    pub(crate) small: bool,
    pub(crate) outcomes: Vec<Outcome>,
}

impl Batch {
    /// Does all of it, here and now.
    pub(crate) fn run(self) -> Outcomes {
        let Self { small, tasks } = self;
        let mut near = Near::default();
        Outcomes { small, outcomes: tasks.into_iter().map(|task| task.run(&mut near)).collect() }
    }
}

/// What became of it.
#[derive(Debug)]
pub(crate) enum Outcome {
    Proved {
        number: u32,
        have: u64,
        equal: bool,
        running: Running,
    },
    Read {
        number: u32,
        read: Result<(Bytes, Running, Option<Digest>), FileError>,
    },
    Opened {
        request: u32,
        opened: Result<(FileSource, FileName), FileError>,
    },
    Listed {
        request: u32,
        listed: Result<(Vec<Listed>, bool), FileError>,
    },
    Begun {
        number: u32,
        begun: Result<Ready, FileError>,
    },
    Written {
        number: u32,
        slot: Box<Slot>,
        bytes: Vec<u8>,
        written: Result<(), FileError>,
    },
    /// `store`: by the task of that name, of which there is one at a time.
    Stored {
        store: bool,
        files: Vec<(u32, Result<FileName, FileError>)>,
    },
    Nothing,
}

impl Task {
    /// Whether it is over soon, so that it may share its way with others.
    pub(crate) fn is_small(&self) -> bool {
        match self {
            Self::Read(read) => read.len <= SMALL_BYTES,
            Self::Write { bytes, .. } => bytes.len() <= SMALL_BYTES,
            Self::Open { .. } | Self::Begin { .. } | Self::GiveUp { .. } => true,
            Self::Prove { .. } | Self::List { .. } | Self::Confirm { .. } | Self::Store { .. } => {
                false
            }
        }
    }

    /// Does it, here and now.
    fn run(self, near: &mut Near) -> Outcome {
        match self {
            Self::Prove { number, source, start, have, digest } => {
                let running = prove(&source, start, have, &digest);
                let (equal, running) =
                    running.map_or_else(|| (false, Running::new()), |it| (true, it));
                Outcome::Proved { number, have, equal, running }
            }
            Self::Read(task) => Outcome::Read { number: task.number, read: task.read() },
            Self::Open { request, store, name } => {
                let opened = store.source(&name).map(|source| (source, name));
                Outcome::Opened { request, opened }
            }
            Self::List { request, store, name, after } => {
                Outcome::Listed { request, listed: store.list(name.as_ref(), &after) }
            }
            Self::Begin { number, store, peer, name, wanted } => {
                let begun = store.begin(peer, &name, &wanted, near);
                if let Ok(Ready::Slot(slot)) = &begun {
                    store.clean_sometimes(slot);
                }
                Outcome::Begun { number, begun }
            }
            Self::Write { number, mut slot, offset, anew, bytes } => {
                let written = slot.write(offset, &bytes, anew);
                Outcome::Written { number, slot, bytes, written }
            }
            Self::Confirm { number, there, digest } => {
                Outcome::Stored { store: false, files: vec![(number, there.confirm(&digest))] }
            }
            Self::Store { files } => {
                let (numbers, slots): (Vec<_>, Vec<_>) = files
                    .into_iter()
                    .map(|(number, slot, digest)| (number, (slot, digest)))
                    .unzip();
                let stored = FileStore::store_all(slots);
                Outcome::Stored { store: true, files: numbers.into_iter().zip(stored).collect() }
            }
            Self::GiveUp { slot, keep } => {
                slot.give_up(keep);
                Outcome::Nothing
            }
        }
    }
}

/// Small enough that a thread of its own would cost more.
const SMALL_BYTES: usize = 64 * 1024;

/// The digest so far, if those bytes are what the receiver says.
fn prove(source: &FileSource, start: u64, have: u64, digest: &Digest) -> Option<Running> {
    let mut running = Running::new();
    // What is wrong with it is told when it is read to be sent.
    let done = look(&mut running.0, &source.handle, start, have).ok()?;
    let equal = done == have && running.0.finalize().as_bytes() == digest;
    equal.then_some(running)
}

impl ReadTask {
    fn read(self) -> Result<(Bytes, Running, Option<Digest>), FileError> {
        let Self { source, at, len, last, mut running, pieces, .. } = self;
        let mut bytes = pieces.take(len);
        let mut done = 0;
        while done < len {
            match source.handle.read_at(&mut bytes[done..len], at + done as u64) {
                Ok(0) => {
                    let text = format_args!("it ends at {}", at + done as u64);
                    return Err(FileError::new(FileErrorKind::SourceChanged, text));
                }
                Ok(count) => done += count,
                Err(error) => return Err(FileError::from_io(&error)),
            }
        }
        running.0.update(&bytes[..len]);
        let digest = if last {
            source.check()?;
            Some(*running.0.finalize().as_bytes())
        } else {
            None
        };
        Ok((pieces.lend(bytes, len), running, digest))
    }
}
