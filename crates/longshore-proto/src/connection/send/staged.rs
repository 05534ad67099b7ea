//! Messages that have not begun to leave, each whole: they may still be dropped, or be replaced by a
//! newer one. Only of connections that ask for it; others put bytes together at once.

use bytes::Bytes;
use std::collections::VecDeque;

/// What a message takes beside its bytes.
const OVERHEAD_BYTES: u64 = 64;

/// What somebody wants to hear of when it is with the kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mark {
    /// A message, by the number that its sender gave it.
    Send(u64),
    /// The end of a file.
    File(u64),
}

/// Bytes to send that make whole frames.
#[derive(Debug)]
pub struct Message {
    /// The bytes.
    pub bytes: Bytes,
    /// Others send the same memory, and somebody else counts it.
    pub shared: bool,
    /// It takes the place of the one of that key, if that has not begun to leave.
    pub key: Option<u64>,
    /// Whether it may be dropped while it waits.
    pub may_drop: bool,
}

impl Message {
    /// Bytes that nobody else sends, and that may be dropped.
    pub fn new(bytes: Bytes) -> Self {
        Self { bytes, shared: false, key: None, may_drop: true }
    }
}

/// In order.
#[derive(Debug, Default)]
pub(super) struct Staged {
    /// Where one was taken out of the middle, nothing is left.
    messages: VecDeque<Option<Message>>,
    /// The number of the first of them.
    first: u64,
    /// Keys, in order, each with the number of its message.
    latest: Vec<(u64, u64)>,
    /// Numbers of messages that somebody wants to hear of, ascending, and as what.
    tracked: VecDeque<(u64, Mark)>,
    count: usize,
    bytes: u64,
    /// Of those bytes, the ones that somebody else counts.
    shared_bytes: u64,
}

impl Staged {
    pub(super) fn count(&self) -> usize {
        self.count
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn shared_bytes(&self) -> u64 {
        self.shared_bytes
    }

    pub(super) fn overhead_bytes(&self) -> u64 {
        self.count as u64 * OVERHEAD_BYTES
    }

    /// Puts it behind the others, or in the place of the one of its key.
    pub(super) fn push(&mut self, mut message: Message) {
        self.count_in(&message);
        if let Some(key) = message.key {
            let number = self.first + self.messages.len() as u64;
            match self.latest.binary_search_by_key(&key, |(key, _)| *key) {
                Ok(at) => {
                    let place = self.place(self.latest[at].1);
                    if let Some(old) = self.messages[place].as_mut() {
                        message.may_drop &= old.may_drop;
                        let old = std::mem::replace(old, message);
                        self.count_out(&old);
                    }
                    return;
                }
                Err(at) => self.latest.insert(at, (key, number)),
            }
        }
        self.messages.push_back(Some(message));
    }

    fn place(&self, number: u64) -> usize {
        usize::try_from(number - self.first).expect("they are in memory")
    }

    fn count_in(&mut self, message: &Message) {
        let len = message.bytes.len() as u64;
        self.count += 1;
        self.bytes += len;
        self.shared_bytes += if message.shared { len } else { 0 };
    }

    fn count_out(&mut self, message: &Message) {
        let len = message.bytes.len() as u64;
        self.count -= 1;
        self.bytes -= len;
        self.shared_bytes -= if message.shared { len } else { 0 };
    }

    /// Bytes of the message of that key; 0 if there is none.
    pub(super) fn bytes_of(&self, key: u64) -> u64 {
        let Ok(at) = self.latest.binary_search_by_key(&key, |(key, _)| *key) else { return 0 };
        let message = &self.messages[self.place(self.latest[at].1)];
        message.as_ref().map_or(0, |message| message.bytes.len() as u64)
    }

    /// Wants to hear of the last one, as `mark`; says whether there is one. It will not be dropped.
    pub(super) fn track(&mut self, mark: Mark) -> bool {
        let last = self.messages.iter_mut().enumerate().rev();
        let last = last.into_iter().find_map(|(at, it)| it.as_mut().map(|message| (at, message)));
        let Some((at, message)) = last else { return false };
        message.may_drop = false;
        self.tracked.push_back((self.first + at as u64, mark));
        true
    }

    /// The first one, which begins to leave.
    pub(super) fn pop(&mut self) -> Option<Message> {
        loop {
            let message = self.messages.pop_front()?;
            self.first += 1;
            if let Some(message) = message {
                self.forget(&message);
                return Some(message);
            }
        }
    }

    /// The next one that somebody wants to hear of who was just taken out by [`pop`](Self::pop).
    pub(super) fn pop_tracked(&mut self) -> Option<Mark> {
        let (_, mark) = *self.tracked.front().filter(|(number, _)| *number < self.first)?;
        self.tracked.pop_front();
        Some(mark)
    }

    /// Drops the oldest that may be; says whether there was one.
    pub(super) fn drop_oldest(&mut self) -> bool {
        let may_drop = |it: &Option<Message>| it.as_ref().is_some_and(|message| message.may_drop);
        let Some(at) = self.messages.iter().position(may_drop) else { return false };
        let Some(message) = self.messages[at].take() else { return false };
        self.forget(&message);
        while let Some(None) = self.messages.front() {
            self.messages.pop_front();
            self.first += 1;
        }
        if self.messages.len() > 2 * self.count + 64 {
            self.close_gaps();
        }
        true
    }

    fn forget(&mut self, message: &Message) {
        self.count_out(message);
        let Some(key) = message.key else { return };
        if let Ok(at) = self.latest.binary_search_by_key(&key, |(key, _)| *key) {
            self.latest.remove(at);
        }
    }

    /// One that may not be dropped must not keep the places of all that were dropped behind it.
    fn close_gaps(&mut self) {
        let mut next = self.first;
        let mut tracked = self.tracked.iter_mut().peekable();
        for (number, message) in (self.first..).zip(&self.messages) {
            if message.is_some() {
                while let Some((of, _)) = tracked.next_if(|(of, _)| *of == number) {
                    *of = next;
                }
                next += 1;
            }
        }
        self.messages.retain(Option::is_some);
        self.latest.clear();
        let messages = (self.first..).zip(self.messages.iter().flatten());
        self.latest.extend(messages.filter_map(|(number, it)| it.key.map(|key| (key, number))));
        self.latest.sort_unstable();
    }

    /// Whom nobody tells any more: all is over.
    pub(super) fn take_tracked(&mut self) -> impl Iterator<Item = Mark> {
        std::mem::take(&mut self.tracked).into_iter().map(|(_, id)| id)
    }

    /// Empty again, to be used by another connection.
    pub(super) fn clear(&mut self) {
        self.messages.clear();
        self.latest.clear();
        self.tracked.clear();
        (self.first, self.count, self.bytes, self.shared_bytes) = (0, 0, 0, 0);
    }

    /// Whether it is small enough to be kept for another connection.
    pub(super) fn is_small(&self) -> bool {
        self.messages.capacity() <= 256 && self.latest.capacity() <= 256
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &'static str) -> Message {
        Message::new(Bytes::from_static(text.as_bytes()))
    }

    fn latest(key: u64, text: &'static str) -> Message {
        Message { key: Some(key), ..message(text) }
    }

    fn texts(staged: &mut Staged) -> Vec<String> {
        let all = std::iter::from_fn(|| staged.pop());
        all.map(|it| String::from_utf8_lossy(&it.bytes).into_owned()).collect()
    }

    #[test]
    fn a_newer_message_of_a_key_takes_the_place_of_the_older() {
        let mut staged = Staged::default();
        for it in [message("a"), latest(7, "old"), latest(3, "other"), message("b")] {
            staged.push(it);
        }
        assert_eq!((staged.bytes_of(7), staged.bytes_of(8)), (3, 0));
        staged.push(latest(7, "newest"));
        assert_eq!((staged.count(), staged.bytes()), (4, 13));
        assert_eq!(texts(&mut staged), ["a", "newest", "other", "b"]);
        assert_eq!((staged.count(), staged.bytes(), staged.bytes_of(7)), (0, 0, 0));
        staged.push(latest(7, "again"));
        assert_eq!(texts(&mut staged), ["again"]);
    }

    #[test]
    fn the_oldest_that_may_be_is_dropped() {
        let mut staged = Staged::default();
        for text in ["a", "b", "c", "d"] {
            staged.push(Message { may_drop: text != "b", ..message(text) });
        }
        assert!(staged.drop_oldest() && staged.drop_oldest());
        assert_eq!((staged.count(), staged.bytes()), (2, 2));
        assert!(staged.drop_oldest() && !staged.drop_oldest(), "one may not be");
        assert_eq!(texts(&mut staged), ["b"]);
    }

    #[test]
    fn what_is_tracked_is_told_when_it_begins_and_is_not_dropped() {
        let mut staged = Staged::default();
        assert!(!staged.track(Mark::Send(0)), "there is nothing");
        for (text, id) in [("a", None), ("b", Some(2)), ("c", None), ("d", Some(4))] {
            staged.push(message(text));
            assert!(id.is_none_or(|id| staged.track(Mark::Send(id))));
        }
        assert!(staged.drop_oldest() && staged.drop_oldest() && !staged.drop_oldest());
        assert_eq!(staged.pop().unwrap().bytes, "b");
        assert_eq!((staged.pop_tracked(), staged.pop_tracked()), (Some(Mark::Send(2)), None));
        assert_eq!(staged.take_tracked().collect::<Vec<_>>(), [Mark::Send(4)]);
    }

    #[test]
    fn one_that_stays_keeps_no_places_of_those_that_are_dropped_behind_it() {
        let mut staged = Staged::default();
        staged.push(message("kept"));
        staged.track(Mark::Send(1));
        staged.push(latest(5, "of a key"));
        staged.track(Mark::Send(2));
        for _ in 0..10_000 {
            staged.push(message("x"));
            assert!(staged.drop_oldest());
        }
        assert!(staged.messages.len() < 200, "{}", staged.messages.len());
        staged.push(message("y"));
        staged.track(Mark::Send(3));
        staged.push(latest(5, "newer"));
        assert_eq!(staged.pop().unwrap().bytes, "kept");
        assert_eq!(staged.pop_tracked(), Some(Mark::Send(1)));
        assert_eq!(staged.pop().unwrap().bytes, "newer");
        assert_eq!(staged.pop_tracked(), Some(Mark::Send(2)));
        assert_eq!(staged.pop().unwrap().bytes, "y");
        assert_eq!((staged.pop_tracked(), staged.pop().is_none()), (Some(Mark::Send(3)), true));
    }

    #[test]
    fn the_latest_in_the_place_of_one_that_has_to_stay_has_to_stay() {
        let mut staged = Staged::default();
        staged.push(latest(7, "old"));
        assert!(staged.track(Mark::Send(1)));
        staged.push(latest(7, "new"));
        assert!(!staged.drop_oldest(), "somebody waits to hear of it");
        assert_eq!(
            (staged.pop().unwrap().bytes, staged.pop_tracked()),
            ("new".into(), Some(Mark::Send(1)))
        );
    }

    #[test]
    fn what_others_count_is_counted_out_on_every_way_out() {
        let mut staged = Staged::default();
        let common = |key| Message { shared: true, key, ..message("shared") };
        staged.push(common(Some(7)));
        assert_eq!((staged.bytes(), staged.shared_bytes()), (6, 6));
        staged.push(latest(7, "own"));
        assert_eq!((staged.bytes(), staged.shared_bytes()), (3, 0));
        staged.push(common(None));
        assert!(staged.drop_oldest() && staged.drop_oldest());
        staged.push(common(None));
        staged.pop();
        assert_eq!((staged.bytes(), staged.shared_bytes()), (0, 0));
    }

    #[test]
    fn the_last_that_is_left_is_tracked_though_one_behind_it_was_dropped() {
        let mut staged = Staged::default();
        staged.push(Message { may_drop: false, ..message("a") });
        staged.push(message("b"));
        assert!(staged.drop_oldest() && staged.track(Mark::Send(1)));
        assert_eq!(
            (staged.pop().unwrap().bytes, staged.pop_tracked()),
            ("a".into(), Some(Mark::Send(1)))
        );
    }

    #[test]
    fn what_is_tracked_behind_gaps_is_told_with_its_own_message() {
        let mut staged = Staged::default();
        let kept = |text| Message { may_drop: false, ..message(text) };
        staged.push(kept("first"));
        (0..50).for_each(|_| staged.push(message("x")));
        staged.push(kept("tracked"));
        staged.track(Mark::Send(1));
        (0..50).for_each(|_| staged.push(message("x")));
        staged.push(kept("last"));
        while staged.drop_oldest() {}
        assert!(staged.messages.len() < 100, "the gaps were closed");
        for (text, tracked) in [("first", None), ("tracked", Some(Mark::Send(1))), ("last", None)] {
            let message = staged.pop().unwrap();
            assert_eq!((message.bytes, staged.pop_tracked()), (text.into(), tracked));
        }
    }

    #[test]
    fn who_uses_it_next_finds_nothing_of_who_had_it() {
        let mut staged = Staged::default();
        staged.push(message("a"));
        staged.push(latest(7, "of another"));
        staged.track(Mark::Send(1));
        staged.clear();
        assert_eq!((staged.count(), staged.bytes(), staged.bytes_of(7)), (0, 0, 0));
        staged.push(latest(7, "mine"));
        assert_eq!(texts(&mut staged), ["mine"]);
        assert_eq!(staged.pop_tracked(), None);
    }
}
