//! Whether connections are read.

use super::Core;
use super::ending::How;
use crate::DisconnectReason;
use longshore_base::{OutOfMemory, Token, event};

impl Core {
    /// No more `on_message` until `resume`.
    pub(crate) fn pause(&mut self, token: Token) {
        let now = self.now;
        let Some(conn) = self.conns.get_mut(token).filter(|conn| conn.is_open()) else { return };
        if std::mem::replace(&mut conn.facts.paused, true) {
            return;
        }
        conn.stop_or_go(now);
        let owned = conn.own_backlog(); // it stays in the list, and is passed over there
        self.kept(token, owned);
        self.interrupt(token);
        self.mark(token);
    }

    /// Goes on, with what waits already first.
    pub(crate) fn resume(&mut self, token: Token) {
        let now = self.now;
        let Some(conn) = self.conns.get_mut(token).filter(|conn| conn.is_open()) else { return };
        if !std::mem::replace(&mut conn.facts.paused, false) {
            return;
        }
        conn.stop_or_go(now);
        self.make_runnable(token);
        self.mark(token);
        self.rearm(token);
    }

    /// Puts a connection with input left, or an end of stream to tell, into the list.
    pub(crate) fn make_runnable(&mut self, token: Token) {
        let Some(conn) = self.conns.get_mut(token) else { return };
        let something = conn.backlog.is_some() || conn.ended.is_some();
        if something && conn.is_open() && !conn.is_stopped() && !conn.facts.runnable {
            conn.facts.runnable = true;
            self.runnable.push_back(token);
        }
    }

    /// What it received waits, if there was memory for that.
    pub(crate) fn kept(&mut self, token: Token, kept: Result<(), OutOfMemory>) {
        match kept {
            Ok(()) => self.recount(token),
            Err(OutOfMemory(bytes)) => {
                let reason = DisconnectReason::OutOfMemory { bytes: bytes as u64 };
                self.end(token, reason, How::Reset);
            }
        }
    }

    /// If it is the one whose callback runs, it gets no further frame.
    pub(super) fn interrupt(&mut self, token: Token) {
        self.interrupted |= self.current == Some(token);
    }

    /// The system was too short of memory for an op of it: back-pressure, no end. It is asked again
    /// later (R14).
    pub(crate) fn refused(&mut self, token: Token) {
        let now = self.now;
        let Some(conn) = self.conns.get_mut(token).filter(|conn| !conn.is_leaving()) else {
            return;
        };
        conn.deadlines.handle_refused(now);
        self.counters().memory_backoffs.add(1);
        if let Some(held_back) = self.board.log.out_of_memory(now) {
            event!(
                warn,
                "the system is out of memory or buffers for sockets: trying again{held_back}"
            );
        }
        self.rearm(token);
    }
}
