//! The one FIFO through which everything enters a worker's thread.

use super::members::{Delivered, Members, Tally};
use super::notice::Notice;
use super::shared::{ConnId, Shared};
use super::source::Source;
use crate::connector::{Attempt, ConnectError, Plan};
#[cfg(feature = "files")]
use crate::files::Answer;
use crate::sync::{AtomicBool, Mutex};
use bytes::Bytes;
use longshore_base::event;
use longshore_port::Unattached;
use std::any::Any;
use std::borrow::Cow;
use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// How a connection is asked to end.
#[derive(Debug)]
pub(crate) enum Ending {
    /// Flush, half-close, linger; with the user's reason.
    Close(Option<Cow<'static, str>>),
    /// Reset.
    Abort,
    /// Another connection has taken its key.
    Replaced,
    /// A handle's send found the queue full, and the listener's policy is to disconnect.
    SlowReader,
}

/// An outgoing connection that is to begin, on whatever worker.
pub(crate) struct DialStart {
    pub(crate) plan: Plan,
    /// Makes its lane. The type is the worker's own: what it makes acts on a worker, which a command
    /// must not know.
    pub(crate) lane: Box<dyn Any + Send>,
}

impl DialStart {
    /// It will not be tried.
    pub(crate) fn refuse(mut self) {
        let error = ConnectError::GivenUp(self.plan.target.to_string());
        event!(debug, %error, "not connecting: the server is stopping");
        // Whatever the answer is, and though it panics: nobody asks again.
        let _ = self.plan.ask(&error, Attempt { number: 1 });
    }
}

impl fmt::Debug for DialStart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DialStart").field("to", &self.plan.target).finish_non_exhaustive()
    }
}

/// What all members of a group are sent.
#[derive(Clone, Debug)]
pub(crate) struct Broadcast {
    pub(crate) members: Arc<Members>,
    pub(crate) bytes: Bytes,
    /// Of which key it is the latest.
    pub(crate) key: Option<u64>,
    pub(crate) except: Option<ConnId>,
    pub(crate) tally: Arc<Tally>,
}

/// What a command takes in a mailbox, beside its bytes.
pub(crate) const COMMAND_BYTES: u64 = 128;

/// Commands that may wait for a worker until nobody may join a group there.
pub(crate) const COMMANDS_MAX: usize = 1 << 16;

/// What a message of a handle takes on its way: many small ones are more than their bytes.
pub(crate) fn mail_bytes(bytes: &Bytes) -> u64 {
    COMMAND_BYTES.max(bytes.len() as u64)
}

impl Broadcast {
    /// What it takes while it is on its way to one worker, its bytes included.
    pub(crate) fn mail_bytes(&self) -> u64 {
        self.bytes.len() as u64 + COMMAND_BYTES
    }

    /// A worker does nothing for it: what became of its members is what `of` makes of their count.
    pub(crate) fn give_up(&self, worker: u16, of: impl FnOnce(u64) -> Delivered) {
        self.tally.end(of(self.members.count(worker) as u64));
    }
}

/// What other threads ask of a worker.
#[derive(Debug)]
pub(crate) enum Cmd {
    /// A connection that the door accepted for lane number `lane`.
    Adopt { socket: Unattached, lane: u16, source: Option<Source> },
    /// Whole frames for a connection, and of which key they are the latest.
    Send { shared: Arc<Shared>, bytes: Bytes, key: Option<u64> },
    /// A handle's send was refused: `on_writable` is owed.
    Refused { shared: Arc<Shared> },
    /// A connection is to end.
    End { shared: Arc<Shared>, ending: Ending },
    /// Something is asked of a connection: see [`Asks`](super::shared::Asks).
    Asked { shared: Arc<Shared> },
    /// Memory is short, and this worker may have the connection that holds most.
    Look,
    /// A connection has a key for the first time: its peer has logged in, and somebody hears of its end.
    Claimed { shared: Arc<Shared>, ended: Notice },
    /// A connection joins a group.
    Join { shared: Arc<Shared>, members: Arc<Members> },
    /// It leaves a group.
    Leave { shared: Arc<Shared>, members: Arc<Members> },
    /// Whole frames for all members of a group that this worker has, but for one.
    Broadcast(Box<Broadcast>),
    /// What a peer wants of files is decided.
    #[cfg(feature = "files")]
    File { shared: Arc<Shared>, answer: Box<Answer> },
    /// A callback of its own for a connection: what it is, only the lane of that connection knows.
    Post { shared: Arc<Shared>, work: Box<dyn Any + Send> },
    /// An outgoing connection.
    Dial(Box<DialStart>),
    /// To the door: a connection of that source is gone.
    Left { source: Source },
    /// Stop accepting, tell the handlers, end by `within`.
    Shutdown { within: Duration },
}

impl Cmd {
    /// Whether applying it only touches queues and flags, never user code: such commands are
    /// applied in the middle of a callback too.
    pub(crate) fn is_quiet(&self) -> bool {
        #[cfg(feature = "files")]
        if let Self::File { .. } = self {
            return true;
        }
        matches!(
            self,
            Self::Send { .. }
                | Self::Refused { .. }
                | Self::End { .. }
                | Self::Asked { .. }
                | Self::Look
                | Self::Claimed { .. }
                | Self::Join { .. }
                | Self::Leave { .. }
                | Self::Broadcast(_)
        )
    }
}

/// The queue, and whether its owner has to be woken. A leaf lock: nothing is taken under it.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    cmds: Mutex<Vec<Cmd>>,
    /// The owner is gone. Changed under the lock only, so that no command is left behind.
    closed: AtomicBool,
    some: AtomicBool,
    sleeping: AtomicBool,
}

impl Mailbox {
    /// Says whether the owner must be woken: only the first push after it went to sleep does.
    ///
    /// # Errors
    /// With the command, when the owner is gone.
    pub(crate) fn push(&self, cmd: Cmd) -> Result<bool, Cmd> {
        let mut cmds = self.cmds.lock().unwrap_or_else(PoisonError::into_inner);
        if self.closed.load(Ordering::Relaxed) {
            return Err(cmd);
        }
        cmds.push(cmd);
        drop(cmds);
        self.some.store(true, Ordering::SeqCst);
        Ok(self.sleeping.swap(false, Ordering::SeqCst))
    }

    /// Whether so many commands wait that no more is let in of what has no bound of its own.
    pub(crate) fn is_crowded(&self) -> bool {
        self.cmds.lock().unwrap_or_else(PoisonError::into_inner).len() >= COMMANDS_MAX
    }

    /// The owner goes. What it has not taken comes back, what comes later does so at once.
    pub(crate) fn close(&self) -> Vec<Cmd> {
        let mut cmds = self.cmds.lock().unwrap_or_else(PoisonError::into_inner);
        self.closed.store(true, Ordering::Relaxed);
        std::mem::take(&mut *cmds)
    }

    /// Whether the owner is gone.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// Whether there is something. One load.
    #[inline]
    pub(crate) fn has_some(&self) -> bool {
        self.some.load(Ordering::Acquire)
    }

    /// Swaps what came with `empty`, whose capacity is used next.
    pub(crate) fn swap(&self, empty: &mut Vec<Cmd>) {
        debug_assert!(empty.is_empty(), "it would be done twice");
        let mut cmds = self.cmds.lock().unwrap_or_else(PoisonError::into_inner);
        self.some.store(false, Ordering::Relaxed);
        std::mem::swap(&mut *cmds, empty);
    }

    /// True: the owner may sleep, and the next push will say that it must be woken.
    ///
    /// Both sides write their flag, then read the other's, in one total order (`SeqCst`): so either
    /// the pusher sees `sleeping`, or the owner sees `some` (R11).
    pub(crate) fn prepare_sleep(&self) -> bool {
        self.sleeping.store(true, Ordering::SeqCst);
        if self.some.load(Ordering::SeqCst) {
            self.sleeping.store(false, Ordering::SeqCst);
            return false;
        }
        true
    }

    /// The owner is awake.
    pub(crate) fn woke(&self) {
        self.sleeping.store(false, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_push_to_a_sleeper_wakes_it() {
        let mailbox = Mailbox::default();
        let cmd = || Cmd::Shutdown { within: Duration::ZERO };
        assert!(!mailbox.push(cmd()).unwrap(), "awake");
        assert!(!mailbox.prepare_sleep(), "there is something");
        let mut cmds = Vec::new();
        mailbox.swap(&mut cmds);
        assert_eq!(cmds.len(), 1);
        assert!(mailbox.prepare_sleep());
        assert!(mailbox.push(cmd()).unwrap());
        assert!(!mailbox.push(cmd()).unwrap());
    }

    #[test]
    fn nothing_is_left_in_a_closed_mailbox() {
        let mailbox = Mailbox::default();
        let cmd = || Cmd::Shutdown { within: Duration::ZERO };
        mailbox.push(cmd()).unwrap();
        assert_eq!(mailbox.close().len(), 1);
        assert!(mailbox.push(cmd()).is_err() && mailbox.close().is_empty());
    }
}
