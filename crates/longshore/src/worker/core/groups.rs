//! Groups: who of this worker is a member, and what all members are sent.

use super::Core;
use super::sending::{Fate, Whole};
use crate::server::budget::Budget;
use crate::server::mailbox::Broadcast;
use crate::server::members::{Delivered, Members};
use crate::server::shared::Shared;
use crate::worker::connection::Membership;
use crate::{ConnId, SendError};
use bytes::Bytes;
use longshore_base::Token;
use longshore_proto::connection::Message;
use std::sync::Arc;

/// Broadcasts up to so many bytes are put together: a member is then asked once for all of them.
const MERGED_BYTES_MAX: usize = 64 * 1024;

impl Core {
    /// A connection joins, if it is still there. It may be a member: where it joined and left on several
    /// threads at a time, two joins may follow each other.
    pub(super) fn join_group(&mut self, shared: &Arc<Shared>, members: Arc<Members>) {
        let token = self.token_of(shared);
        let conn = token.and_then(|token| self.conns.get_mut(token).map(|conn| (token, conn)));
        let Some((token, conn)) = conn.filter(|(_, conn)| conn.is_open()) else {
            members.sub(self.me, shared.id);
            return;
        };
        let groups = &mut conn.listed.get_or_insert_default().groups;
        if groups.iter().any(|group| group.is_of(&members)) {
            return;
        }
        let mut slots = members.slots(self.me);
        let at = slots.len();
        slots.push(token);
        drop(slots);
        groups.push(Membership { members, at });
    }

    /// A connection is taken in, before its first callback.
    pub(crate) fn take_into_group(&mut self, shared: &Arc<Shared>, members: &Arc<Members>) {
        members.add(self.me, shared.id);
        self.join_group(shared, Arc::clone(members));
    }

    /// A connection leaves a group, if it is a member.
    pub(super) fn leave_group(&mut self, token: Token, members: &Arc<Members>) {
        let Some(groups) = self.groups_of(token) else { return };
        if let Some(place) = groups.iter().position(|group| group.is_of(members)) {
            let group = groups.swap_remove(place);
            self.take_out(&group);
        }
    }

    fn groups_of(&mut self, token: Token) -> Option<&mut Vec<Membership>> {
        Some(&mut self.conns.get_mut(token)?.listed.as_mut()?.groups)
    }

    /// A connection that is gone is a member of nothing.
    pub(crate) fn leave_groups(&mut self, id: ConnId, groups: &[Membership]) {
        for group in groups {
            self.take_out(group);
            group.members.sub(self.me, id);
        }
    }

    /// Takes a place out of a list; the last one comes in its stead.
    fn take_out(&mut self, Membership { members, at }: &Membership) {
        let mut slots = members.slots(self.me);
        slots.swap_remove(*at);
        let moved = slots.get(*at).copied();
        drop(slots);
        let moved = moved.and_then(|token| self.groups_of(token));
        if let Some(group) = moved.and_then(|it| it.iter_mut().find(|it| it.is_of(members))) {
            group.at = *at;
        }
    }

    /// Queues broadcasts that came one behind the other, all of one group, for each member: in one go over
    /// the members, and as one piece for each that has room for all.
    pub(super) fn broadcast(&mut self, run: &[Box<Broadcast>]) {
        let Some(Broadcast { members, except, .. }) = run.first().map(|first| &**first) else {
            return;
        };
        let whole = self.whole(run);
        let mut parts = vec![Delivered::default(); run.len()];
        // Out of the lock: a log line of who is refused is the user's to read.
        let slots = std::mem::take(&mut *members.slots(self.me));
        let mut all_of_it = 0;
        for &token in &slots {
            if let Some(whole) = &whole {
                match self.queue_whole(token, whole, run.len() as u64, *except) {
                    Whole::Queued => all_of_it += 1,
                    Whole::Excepted => {}
                    Whole::NotSo => self.queue_each(token, run, &mut parts),
                }
            } else {
                self.queue_each(token, run, &mut parts);
            }
        }
        *members.slots(self.me) = slots;
        for (broadcast, mut part) in run.iter().zip(parts) {
            part.queued += all_of_it;
            broadcast.tally.end(part);
        }
    }

    /// Queues broadcasts one by one.
    fn queue_each(&mut self, token: Token, run: &[Box<Broadcast>], parts: &mut [Delivered]) {
        let Some(id) = self.conns.get(token).map(|conn| conn.shared.id) else { return };
        for (broadcast, part) in run.iter().zip(parts) {
            if broadcast.except != Some(id) {
                self.queue_broadcast(token, broadcast, part);
            }
        }
    }

    fn queue_broadcast(&mut self, token: Token, broadcast: &Broadcast, part: &mut Delivered) {
        let Broadcast { bytes, key, .. } = broadcast;
        let message = Message { shared: true, key: *key, ..Message::new(bytes.clone()) };
        match self.queue_message(token, message, 0) {
            Ok(Fate::Queued) => part.queued += 1,
            Ok(Fate::QueuedForOlder | Fate::Dropped) => part.dropped += 1,
            Err(SendError::Closed) => part.gone += 1,
            Err(_) => part.refused += 1,
        }
    }

    /// All bytes of broadcasts in one piece, if they are for the same members, and of several not too much
    /// to be copied once.
    fn whole(&self, run: &[Box<Broadcast>]) -> Option<Bytes> {
        let (first, rest) = run.split_first()?;
        let alike = run.iter().all(|it| it.except == first.except && it.key.is_none());
        let len: usize = run.iter().map(|broadcast| broadcast.bytes.len()).sum();
        if !alike {
            return None;
        }
        if rest.is_empty() {
            return Some(first.bytes.clone());
        }
        if len > MERGED_BYTES_MAX {
            return None;
        }
        let mut bytes = Vec::with_capacity(len);
        for broadcast in run {
            bytes.extend_from_slice(&broadcast.bytes);
        }
        Budget::hold(&self.board.budget, &bytes.into())
    }
}
