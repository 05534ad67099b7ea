//! Accepting: limits before anything is allocated, then to the least loaded worker.

use super::core::{Alarm, Core};
use crate::config::Limits;
use crate::metrics::Refused;
use crate::server::budget::Level;
use crate::server::mailbox::Cmd;
use crate::server::source::Source;
use longshore_base::event;
use longshore_port::{Addr, End, ErrorKind, Op, Port, PortError, SocketId, Unattached};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Back-off of a listener that cannot accept: out of descriptors, say.
const BACKOFF_MIN: Duration = Duration::from_millis(10);
const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// Errors in a row, each of one connection, after which accepting waits: a rule of a firewall that
/// refuses them all must not keep the worker busy.
const PASSED_MAX: u32 = 64;

/// A listener as the worker that accepts for it sees it.
#[derive(Debug)]
pub(crate) struct ListenerPlan {
    pub(crate) addr: Addr,
    pub(crate) limits: Arc<Limits>,
}

/// One listener, on the worker that accepts for it.
#[derive(Debug)]
struct Listener {
    socket: SocketId,
    plan: Arc<ListenerPlan>,
    lane: u16,
    backoff: Duration,
    /// Accepting has failed, and that was said.
    in_trouble: bool,
    /// Errors in a row that each lost one connection only.
    passed: u32,
}

/// All listeners, and who is connected through them.
#[derive(Debug, Default)]
pub(crate) struct Door {
    listeners: Vec<Listener>,
    sources: BTreeMap<Source, u32>,
    /// Listening sockets that are not closed yet.
    pub(crate) open: usize,
    pub(crate) shut: bool,
}

impl Door {
    /// Begins to accept on a socket that listens.
    pub(crate) fn add(
        &mut self,
        port: &mut impl Port,
        socket: SocketId,
        plan: Arc<ListenerPlan>,
        lane: u16,
    ) {
        port.submit(socket, Op::Accept { credit: u32::MAX });
        let backoff = BACKOFF_MIN;
        self.listeners.push(Listener { socket, plan, lane, backoff, in_trouble: false, passed: 0 });
        self.open += 1;
    }

    /// A connection came: it goes to a worker, or is refused, which dropping its socket does.
    pub(crate) fn accepted(&mut self, core: &mut Core, number: u32, socket: Unattached) {
        let listener = &mut self.listeners[number as usize];
        (listener.backoff, listener.passed) = (BACKOFF_MIN, 0);
        if std::mem::take(&mut listener.in_trouble) {
            event!(info, listener = %listener.plan.addr, "accepting again");
        }
        if self.shut {
            core.counters().accepted.add(1);
            core.board.refused_by_shutdown.fetch_add(1, Ordering::Relaxed);
            return;
        }
        if !core.board.reserve() {
            core.counters().refused(Refused::Connections).add(1);
            let max = core.board.connections_max;
            if let Some(held_back) = core.board.log.refused(Refused::Connections, core.now) {
                event!(
                    warn,
                    "refused {}: {max} connections already (limits.connections; raise it){held_back}",
                    socket.peer
                );
            }
            return;
        }
        if core.board.budget.level() >= Level::Full {
            core.board.release();
            core.counters().refused(Refused::Memory).add(1);
            if let Some(held_back) = core.board.log.refused(Refused::Memory, core.now) {
                let (used, max) = (core.board.budget.used(), core.board.budget.max);
                event!(
                    warn,
                    "refused {}: {used} bytes of limits.memory = {max} are taken{held_back}",
                    socket.peer
                );
            }
            return;
        }
        let limits = &listener.plan.limits;
        let counted = limits.count_loopback
            || !socket.peer.ip().is_some_and(|ip| ip.to_canonical().is_loopback());
        let source = Source::of(listener.lane, socket.peer).filter(|_| counted);
        if let Some(source) = source {
            let count = self.sources.entry(source).or_insert(0);
            if *count >= limits.per_source {
                core.board.release();
                core.counters().refused(Refused::PerSource).add(1);
                if let Some(held_back) = core.board.log.refused(Refused::PerSource, core.now) {
                    event!(
                        warn,
                        "refused {}: {count} connections from this address already \
                         (limits.connections_per_source){held_back}",
                        socket.peer
                    );
                }
                return;
            }
            *count += 1;
        }
        core.counters().accepted.add(1);
        let (lane, to) = (listener.lane, core.board.assign());
        let adopt = Cmd::Adopt { socket, lane, source };
        if to == core.me { core.later.push_back(adopt) } else { core.board.push(to, adopt) }
    }

    /// A connection that was counted is gone.
    pub(crate) fn left(&mut self, source: Source) {
        if let Some(count) = self.sources.get_mut(&source) {
            *count -= 1;
            if *count == 0 {
                self.sources.remove(&source);
            }
        }
    }

    /// The accept ended: go on now, or when the trouble may be over.
    pub(crate) fn accept_ended(
        &mut self,
        core: &mut Core,
        port: &mut impl Port,
        number: u32,
        end: End,
    ) {
        if self.shut {
            return;
        }
        let End::Failed(error) = end else { return self.accept(port, number) };
        let listener = &mut self.listeners[number as usize];
        if is_passing(error) {
            core.counters().accept_passing_errors.add(1);
            listener.passed += 1;
            if listener.passed <= PASSED_MAX {
                return self.accept(port, number);
            }
        }
        listener.passed = 0;
        core.counters().accept_backoffs.add(1);
        if !std::mem::replace(&mut listener.in_trouble, true) {
            event!(error, listener = %listener.plan.addr, open = core.board.open_connections(),
                "{error}: not accepting until there is room; raise the limit of open files \
                 (LimitNOFILE, ulimit -n) or lower limits.connections"
            );
        }
        let after = listener.backoff;
        listener.backoff = (after * 2).min(BACKOFF_MAX);
        core.set_alarm(core.now + after, Alarm::Accept(number));
    }

    /// Accepts again.
    pub(crate) fn accept(&mut self, port: &mut impl Port, number: u32) {
        if !self.shut {
            let socket = self.listeners[number as usize].socket;
            port.submit(socket, Op::Accept { credit: u32::MAX });
        }
    }

    /// No more connections.
    pub(crate) fn shut(&mut self, port: &mut impl Port) {
        if !std::mem::replace(&mut self.shut, true) {
            for listener in &self.listeners {
                port.submit(listener.socket, Op::Close);
            }
        }
    }
}

/// Whether only one connection was lost, and the next accept may work at once. Source: `accept(2)`,
/// which says to treat pending network errors like EAGAIN by retrying.
fn is_passing(error: PortError) -> bool {
    matches!(
        error.kind,
        ErrorKind::Passing
            | ErrorKind::Reset
            | ErrorKind::Unreachable
            | ErrorKind::TimedOut
            | ErrorKind::Denied
    )
}

#[cfg(all(test, feature = "testing"))]
mod tests;
