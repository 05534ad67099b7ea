//! What is due: timers, deadlines, alarms, ticks.

use super::Worker;
use super::core::ending::How;
use super::core::{Alarm, TRIM_EVERY};
use super::lane::Callback;
use super::names::{Kind, name};
use crate::{DisconnectReason, Tick};
use longshore_base::{Token, caught, event};
use longshore_port::{Port, Work};
use longshore_proto::connection::Due;
use std::cmp::Reverse;

impl<P: Port> Worker<P> {
    pub(super) fn fire_timers(&mut self) {
        let now = self.core.now;
        while self.core.alarms.peek().is_some_and(|Reverse((at, ..))| *at <= now) {
            let Some(Reverse((_, _, alarm))) = self.core.alarms.pop() else { break };
            self.alarm(alarm);
        }
        let mut due = std::mem::take(&mut self.due);
        self.core.wheel.advance(now, &mut due);
        for index in due.drain(..) {
            if let Some(token) = self.core.conns.token_at(index) {
                self.timeouts(token);
            }
        }
        self.due = due;
    }

    fn alarm(&mut self, alarm: Alarm) {
        match alarm {
            Alarm::Accept(number) => self.door.accept(&mut self.port, number),
            Alarm::Dial(dial) => self.attempt(dial),
            Alarm::Tick(number) => self.tick(number),
            Alarm::Asked => {} // the turn looks by itself
            Alarm::Drained => self.abort_all(),
            Alarm::Memory => self.core.memory.alarm = false, // the turn looks by itself
            Alarm::Trim => {
                self.core.trim();
                for token in self.lanes.tokens() {
                    self.lanes.get_mut(token).expect("just listed").trim();
                }
                self.plain = (Vec::new(), Vec::new());
                self.completions.shrink_to(1024);
                self.due.shrink_to(1024);
                if self.core.trims_heap() {
                    self.port.start(name(Kind::Heap, Token::new(0, 0)), Work::TrimHeap);
                }
                self.core.set_alarm(self.core.now + TRIM_EVERY, Alarm::Trim);
            }
        }
    }

    fn tick(&mut self, number: u32) {
        if self.drain.is_on() {
            return; // it ends with the server
        }
        let now = self.core.now;
        let tick = &mut self.ticks[number as usize];
        let late = now.since(tick.due).as_nanos() / tick.period.as_nanos();
        let missed = u64::try_from(late).unwrap_or(u64::MAX);
        tick.number += 1 + missed;
        let told = Tick { number: tick.number, missed, now };
        let server = &self.core.server;
        let run = &mut tick.run;
        if caught(|| run(server, told)).is_err() {
            self.core.counters().panics.add(1);
            event!(error, "a tick panicked; it goes on at its next time");
        }
        self.look_at_other("Builder", "every");
        let tick = &mut self.ticks[number as usize];
        let missed = u32::try_from(missed).unwrap_or(u32::MAX);
        tick.due = tick.due + tick.period.saturating_mul(missed.saturating_add(1));
        let due = tick.due;
        self.core.set_alarm(due, Alarm::Tick(number));
    }

    /// The peer owes something. Nobody waits for a handshake that it has not gone on with either.
    fn too_late(&mut self, token: Token, reason: DisconnectReason) {
        if let Some(conn) = self.core.conns.get_mut(token) {
            conn.facts.filter_closed |= conn.send.held() > 0;
        }
        self.core.end(token, reason, How::Flush);
    }

    /// A send waits for its peer: whether that takes anything. Who takes little at a time is slow, but
    /// not stuck.
    fn look_at_write(&mut self, token: Token) {
        let now = self.core.now;
        let Some(conn) = self.core.conns.get_mut(token) else { return };
        let link = conn.socket.map(|socket| self.port.link(socket)).unwrap_or_default();
        // What only knows how much is left, which changes as well, is better than nothing.
        let progress = link.acknowledged_bytes.or(link.unacknowledged_bytes);
        if conn.deadlines.is_stuck(now, conn.limits.write, progress) {
            self.core.end(token, DisconnectReason::WriteStalled, How::Reset);
        }
    }

    /// Something of a connection is due.
    fn timeouts(&mut self, token: Token) {
        let now = self.core.now;
        while let Some(due) =
            self.core.conns.get_mut(token).and_then(|conn| conn.deadlines.handle_timeout(now))
        {
            match due {
                Due::FirstByte => self.too_late(token, DisconnectReason::FirstByteTimeout),
                Due::Login => self.too_late(token, DisconnectReason::LoginTimeout),
                Due::Frame => self.too_late(token, DisconnectReason::FrameTimeout),
                Due::Write if self.attempt_timed_out(token) => {}
                Due::Write => self.look_at_write(token),
                Due::Behind => self.core.end(token, DisconnectReason::FellBehind, How::Reset),
                Due::Retry => self.core.mark(token),
                Due::Idle => {
                    self.call(token, Callback::Idle);
                }
                Due::Timer(key) => {
                    self.call(token, Callback::Timer(key));
                }
            }
        }
        #[cfg(feature = "files")]
        self.file_time(token);
        if let Some(conn) = self.core.conns.get_mut(token) {
            let act = conn.closing.handle_timeout(now);
            self.core.act(token, act);
        }
        self.core.rearm(token);
    }
}
