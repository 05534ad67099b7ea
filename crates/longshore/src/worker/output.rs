//! From what changed in a turn to ops, and what became of sends. The mirror of `input.rs`.

use super::Worker;
use super::connection::{Connection, Last};
use super::core::ending::How;
use super::lane::Callback;
use crate::DisconnectReason;
use longshore_base::Token;
use longshore_port::{
    ErrorKind, Op, OpKind, Port, PortError, RecvBuf, SendData, SendMode, SocketId,
};
use longshore_proto::connection::{CloseAct, IdleOf, Mark, Transmit};
use std::sync::atomic::Ordering;

impl<P: Port> Worker<P> {
    /// What changed in this turn becomes ops.
    pub(super) fn settle(&mut self) {
        self.core.memory.queued = 0;
        let mut at = 0;
        while let Some(&token) = self.core.dirty.get(at) {
            at += 1;
            if let Some(conn) = self.core.conns.get_mut(token) {
                conn.facts.dirty = false;
                self.settle_one(token);
            }
        }
        self.core.dirty.clear();
    }

    /// What one connection asks of its socket, now.
    fn settle_one(&mut self, token: Token) {
        let Some(conn) = self.core.conns.get_mut(token) else { return };
        let Some(socket) = conn.socket else {
            return self.core.memory.recount(conn, &self.core.board, self.core.me);
        };
        #[cfg(feature = "files")]
        if conn.transfers().is_some() {
            self.feed_files(token);
        }
        let Some(conn) = self.core.conns.get_mut(token) else { return };
        self.core.memory.recount(conn, &self.core.board, self.core.me);
        if let Some(last) = &mut conn.last {
            match std::mem::replace(last, Last::Asked) {
                Last::Close => self.port.submit(socket, Op::Close),
                Last::Reset => self.port.submit(socket, Op::Abort),
                Last::Asked => {}
            }
            return;
        }
        if conn.facts.connecting || conn.deadlines.is_backing_off() {
            return;
        }
        let transmit = if conn.filter.is_none() {
            conn.send.poll_transmit(&mut self.core.pool)
        } else {
            self.poll_filtered(token)
        };
        let Some(conn) = self.core.conns.get_mut(token) else { return };
        if let Some(transmit) = transmit {
            let whole = transmit.whole;
            self.port.submit(socket, send_op(conn, transmit));
            if whole {
                conn.deadlines.handle_held_up(self.core.now, conn.limits.write);
                self.core.rearm(token);
            }
        } else if conn.send.queued_in_files() > 0 {
            self.read_file(token);
        } else if !conn.is_open() {
            self.close_further(token, socket);
        }
        let Some(conn) = self.core.conns.get_mut(token) else { return };
        if conn.look_at_queue(self.core.now) {
            self.core.rearm(token);
        }
        let Some(conn) = self.core.conns.get_mut(token) else { return };
        if conn.filter.is_some() {
            conn.publish_queued(); // it may have made more or less of it
        }
        conn.publish_messages();
        conn.publish_waiting(); // some begin to leave
        if std::mem::take(&mut conn.facts.measures) {
            *conn.shared.measured() = Some(Box::new(self.port.link(socket)));
        }
        if !conn.facts.receiving && conn.wants_input() {
            conn.facts.receiving = true;
            self.port.submit(socket, Op::Recv { credit: conn.limits.recv_credit_bytes });
        } else if conn.is_deaf() && !conn.is_leaving() {
            if !std::mem::replace(&mut conn.facts.watching, true) {
                // Of who would be read the end of the stream counts: what it holds is soon free.
                let half = conn.is_open() && !conn.is_stopped();
                self.port.submit(socket, Op::Watch { half });
            }
            if conn.facts.receiving && !std::mem::replace(&mut conn.facts.cancelling, true) {
                self.port.cancel(socket, OpKind::Recv);
            }
        }
    }

    /// There is nothing to send: a graceful close goes on.
    fn close_further(&mut self, token: Token, socket: SocketId) {
        let Some(conn) = self.core.conns.get(token) else { return };
        if !conn.send.is_idle() || self.close_filter(token) {
            return;
        }
        let Some(conn) = self.core.conns.get_mut(token) else { return };
        let act = conn.closing.handle_flushed(self.core.now, &conn.limits.linger);
        if act == CloseAct::HalfClose {
            self.port.submit(socket, Op::Shutdown);
        }
        self.core.act(token, act);
    }

    /// A send came back.
    pub(super) fn sent(
        &mut self,
        token: Token,
        bytes: usize,
        data: SendData,
        error: Option<PortError>,
    ) {
        let now = self.core.now;
        self.core.counters().bytes_out.add(bytes as u64);
        if data.file().is_some() {
            self.core.counters().file_bytes_direct.add(bytes as u64);
        }
        let Some(conn) = self.core.conns.get_mut(token) else { return };
        if let Some(files) = conn.files.as_mut().filter(|_| data.file().is_some()) {
            files.count(bytes as u64, 0);
        }
        let error = match error {
            Some(PortError { kind: ErrorKind::NotCached, .. }) => {
                conn.send.handle_not_cached(bytes, data, &mut self.core.pool);
                None // it is read when this turn is settled
            }
            error => {
                conn.send.handle_sent(bytes, data, &mut self.core.pool);
                error
            }
        };
        if conn.is_leaving() {
            conn.send.clear(&mut self.core.pool);
            return conn.publish();
        }
        // Perhaps nothing is left to settle, and what is out must not count against other threads.
        conn.publish();
        self.core.memory.recount(conn, &self.core.board, self.core.me);
        match error {
            None => {}
            Some(PortError { kind: ErrorKind::NoMemory, .. }) => {
                if bytes > 0 {
                    conn.deadlines.handle_sending(now, conn.limits.write);
                }
                return self.core.refused(token); // what has left is told with the rest
            }
            Some(error) => {
                return self.core.end(token, DisconnectReason::from_port(error), How::Broken);
            }
        }
        if bytes > 0 {
            conn.deadlines.handle_said(now);
        }
        conn.look_at_queue(now);
        if conn.send.is_idle() {
            conn.deadlines.handle_all_sent();
        } else if bytes > 0 {
            conn.deadlines.handle_sending(now, conn.limits.write);
        }
        if conn.facts.waits_for_room {
            self.core.room_again(token);
        }
        self.tell_sent(token);
        let Some(conn) = self.core.conns.get(token) else { return };
        let goes_on = !conn.send.is_idle() || !conn.is_open();
        #[cfg(feature = "files")]
        let goes_on = goes_on || conn.transfers().is_some();
        if goes_on {
            self.core.mark(token);
        }
    }

    /// Bytes are out: what was tracked, and after a refusal that the queue fell to its low mark.
    pub(super) fn tell_sent(&mut self, token: Token) {
        // What is out when it closes already is told at its end.
        let open = |conn: &&mut Connection| conn.is_open();
        while let Some(mark) =
            self.core.conns.get_mut(token).filter(open).and_then(|conn| conn.send.poll_tracked())
        {
            match mark {
                Mark::Send(id) => self.call(token, Callback::Sent(id)),
                Mark::File(id) => {
                    self.file_out(token, id);
                    true
                }
            };
        }
        let Some(conn) = self.core.conns.get(token) else { return };
        let refused = conn.shared.refused.load(Ordering::Acquire);
        if refused && conn.queued() <= conn.limits.low_mark() {
            conn.shared.refused.store(false, Ordering::Release);
            self.call(token, Callback::Writable);
        }
    }
}

/// One send. It is prompt, so that its end is told soon, where somebody waits for that.
#[inline]
fn send_op(conn: &Connection, transmit: Transmit<RecvBuf>) -> Op {
    let Transmit { data, whole, prompt } = transmit;
    let prompt = prompt
        || conn.limits.idle_of != IdleOf::Receiving // else its time counts too late
        || whole
        || !conn.is_open()
        || conn.facts.waits_for_room
        || conn.send.queued() > conn.limits.quiet_bytes // else handles find a queue full that is not
        || conn.shared.refused.load(Ordering::Relaxed);
    Op::Send { data, mode: if whole { SendMode::Whole } else { SendMode::Try }, prompt }
}
