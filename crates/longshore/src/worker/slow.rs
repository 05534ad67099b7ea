//! Who keeps a worker, and so all of its connections, from going on.

use super::Worker;
use longshore_base::{Token, event};
use longshore_port::Port;
use std::time::Duration;

impl<P: Port> Worker<P> {
    /// From here on it is callbacks that take time.
    #[inline]
    pub(super) fn watch_callbacks(&mut self) {
        let _ = self.watch.look(&self.port);
    }

    /// A callback of a lane has come back; in the log it is called `what`.
    #[inline]
    pub(super) fn look_at_callback(&mut self, lane: Token, what: &'static str) {
        if let Some(took) = self.watch.look(&self.port) {
            let handler = self.lanes.get(lane).map_or("a connection", |lane| lane.handler());
            self.tell_slow(handler, what, took);
        }
    }

    /// Something else of the user's has come back.
    pub(super) fn look_at_other(&mut self, whose: &'static str, what: &'static str) {
        if let Some(took) = self.watch.look(&self.port) {
            self.tell_slow(whose, what, took);
        }
    }

    #[cold]
    fn tell_slow(&self, handler: &str, what: &str, took: Duration) {
        self.core.counters().slow_callbacks.add(1);
        if let Some(held_back) = self.core.board.log.slow(self.core.now) {
            let (worker, waited) = (self.core.me, self.core.conns.len());
            event!(
                warn,
                "{handler}::{what} took {took:?}, and all {waited} connections of worker {worker} \
                 waited (slow_callback = {:?}; what takes long belongs on a thread of its own)\
                 {held_back}",
                self.watch.most()
            );
        }
    }
}
