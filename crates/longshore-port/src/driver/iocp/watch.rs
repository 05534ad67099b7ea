//! Watching: whether a connection is over though nothing is received of it.
#![expect(unsafe_code, reason = "the system remembers the op")]

use super::IocpPort;
use super::slots::Held;
use super::socket::Watch;
use super::sys::{AFD_POLL_ABORT, AFD_POLL_DISCONNECT, Afd, AfdPoll};
use crate::{Call, End, ErrorKind, OpKind, PortError, What};
use longshore_base::{Token, event};
use std::io;

impl IocpPort {
    pub(super) fn start_watch(&mut self, id: Token, half: bool) {
        let Some(entry) = self.sockets.get_mut(id) else { return };
        entry.watch = Some(Watch { half, poll: None });
        self.poll(id);
    }

    /// Our stream has ended: the end of the peer's is then that of both.
    pub(super) fn watch_both_ends(&mut self, id: Token) {
        let Some(Watch { half: false, poll }) = self.sockets.get(id).and_then(|e| e.watch) else {
            return;
        };
        self.cancel_poll(poll);
        self.poll(id);
    }

    /// Asks for what the watch is about.
    fn poll(&mut self, id: Token) {
        let asked = self.ask(id);
        if let Err(error) = asked {
            event!(debug, %error, "a connection cannot be watched; only a receive tells its end");
        }
    }

    fn ask(&mut self, id: Token) -> io::Result<()> {
        let afd = match &self.afd {
            Some(afd) => afd,
            None => self.afd.insert(Afd::open(&self.port)?),
        };
        let Some(entry) = self.sockets.get_mut(id) else { return Ok(()) };
        let Some(watch) = &mut entry.watch else { return Ok(()) };
        let ends = watch.half || entry.shut;
        let events = AFD_POLL_ABORT | if ends { AFD_POLL_DISCONNECT } else { 0 };
        let poll = AfdPoll::new(&entry.socket, events)?;
        let name = self.slots.begin(id, Held::Poll(Box::new(poll)));
        watch.poll = Some(name);
        let overlapped = self.slots.overlapped(name);
        let Some(slot) = self.slots.get_mut(name) else { return Ok(()) };
        let Held::Poll(poll) = &mut slot.held else { unreachable!("just begun") };
        // SAFETY: the slot, and with it the question, stays until the op has ended.
        let begun = unsafe { afd.poll(&raw mut **poll, overlapped) };
        self.begun(id, name, begun);
        Ok(())
    }

    /// The system has answered, perhaps a question that nobody waits for any more.
    pub(super) fn polled(
        &mut self,
        id: Token,
        name: Token,
        poll: &AfdPoll,
        result: Result<u32, i32>,
    ) {
        let Some(entry) = self.sockets.get_mut(id) else { return };
        if entry.watch.is_none_or(|watch| watch.poll != Some(name)) {
            return;
        }
        let events = if result.is_ok() { poll.events() } else { 0 };
        if events & AFD_POLL_ABORT != 0 {
            let error = entry.broken.unwrap_or(PortError::new(Call::Recv, ErrorKind::Reset));
            (entry.readable, entry.broken) = (true, Some(error));
            self.end_watch(id, End::Failed(error));
        } else if events & AFD_POLL_DISCONNECT != 0 {
            self.end_watch(id, End::Eof);
        }
    }

    /// Ends the watch, if one is in flight. What the system has of it comes back by itself.
    pub(super) fn end_watch(&mut self, id: Token, end: End) {
        let Some(entry) = self.sockets.get_mut(id) else { return };
        let Some(watch) = entry.watch.take() else { return };
        let token = entry.token;
        entry.ops.end(OpKind::Watch, self.turns.waits());
        self.cancel_poll(watch.poll);
        self.turns.answer(token, What::WatchEnded(end));
    }

    fn cancel_poll(&mut self, poll: Option<Token>) {
        if let (Some(name), Some(afd)) = (poll, &self.afd) {
            let overlapped = self.slots.overlapped(name);
            if !overlapped.is_null() {
                afd.cancel(overlapped);
            }
        }
    }
}
