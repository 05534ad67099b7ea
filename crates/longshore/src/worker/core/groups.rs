//! Groups: who of this worker is a member, and what all members are sent.

use super::Core;
use super::sending::Fate;
use crate::SendError;
use crate::server::mailbox::Broadcast;
use crate::server::members::{Delivered, Members};
use crate::worker::connection::Membership;
use longshore_base::Token;
use longshore_proto::connection::Message;
use std::sync::Arc;

impl Core {
    /// A connection joins, if it is still there and is no member.
    pub(super) fn join_group(&mut self, token: Option<Token>, members: Arc<Members>) {
        let conn = token.and_then(|token| self.conns.get_mut(token).map(|conn| (token, conn)));
        let Some((token, conn)) = conn.filter(|(_, conn)| conn.is_open()) else {
            return members.sub(self.me);
        };
        let groups = &mut conn.listed.get_or_insert_default().groups;
        if groups.iter().any(|group| group.is_of(&members)) {
            return members.sub(self.me);
        }
        let mut slots = members.slots(self.me);
        let at = slots.len();
        slots.push(token);
        drop(slots);
        groups.push(Membership { members, at });
    }

    /// A connection is taken in, before its first callback.
    pub(crate) fn take_into_group(&mut self, token: Token, members: &Arc<Members>) {
        members.add(self.me);
        self.join_group(Some(token), Arc::clone(members));
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
    pub(crate) fn leave_groups(&mut self, groups: &[Membership]) {
        for group in groups {
            self.take_out(group);
        }
    }

    /// Takes a place out of a list; the last one comes in its stead.
    fn take_out(&mut self, Membership { members, at }: &Membership) {
        let mut slots = members.slots(self.me);
        slots.swap_remove(*at);
        let moved = slots.get(*at).copied();
        drop(slots);
        members.sub(self.me);
        let moved = moved.and_then(|token| self.groups_of(token));
        if let Some(group) = moved.and_then(|it| it.iter_mut().find(|it| it.is_of(members))) {
            group.at = *at;
        }
    }

    /// Queues the same bytes for each member.
    pub(super) fn broadcast(&mut self, broadcast: &Broadcast) {
        let Broadcast { members, bytes, key, except, tally } = broadcast;
        let mut part = Delivered::default();
        // Out of the lock: a log line of who is refused is the user's to read.
        let slots = std::mem::take(&mut *members.slots(self.me));
        for &token in &slots {
            let is_meant = |id| except.is_none_or(|except| except != id);
            if !self.conns.get(token).is_some_and(|conn| is_meant(conn.shared.id)) {
                continue;
            }
            let message = Message { shared: true, key: *key, ..Message::new(bytes.clone()) };
            match self.queue_message(token, message) {
                Ok(Fate::Queued) => part.queued += 1,
                Ok(Fate::QueuedForOlder | Fate::Dropped) => part.dropped += 1,
                Err(SendError::Closed) => part.gone += 1,
                Err(_) => part.refused += 1,
            }
        }
        *members.slots(self.me) = slots;
        tally.end(part);
    }
}
