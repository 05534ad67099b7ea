//! A chunked, generational table: slots never move, names are never used twice.

use std::fmt;

/// Slots of one chunk, as a power of two. A table grows and shrinks by whole chunks, never by
/// copying.
const CHUNK_BITS: u8 = 6;

/// The generation at which a slot retires instead of starting over (ABA, R6).
const GENERATION_LAST: u32 = u32::MAX;

/// The name of a slot: its index and how often that was used before.
///
/// A name whose thing is gone finds nothing, never the slot's next tenant.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(u64);

impl Token {
    /// Names slot `index` in its `generation`.
    pub const fn new(index: u32, generation: u32) -> Self {
        Self((generation as u64) << 32 | index as u64)
    }

    /// The token that [`to_bits`](Self::to_bits) was asked of.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The token as one number, for the user data of a kernel.
    pub const fn to_bits(self) -> u64 {
        self.0
    }

    /// Which slot.
    #[expect(clippy::cast_possible_truncation, reason = "the lower half is meant")]
    pub const fn index(self) -> u32 {
        self.0 as u32
    }

    /// Which of its tenants.
    pub const fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.index(), self.generation())
    }
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    value: Option<T>,
}

#[derive(Debug)]
struct Chunk<T> {
    /// Empty until it is needed, and again once it was not for a while.
    slots: Vec<Slot<T>>,
    /// Free slots of this chunk, by position; the last one is used next.
    free: Vec<u8>,
    used: usize,
    /// Generation at which slots start when the chunk is made again.
    generation: u32,
}

impl<T> Chunk<T> {
    fn build(&mut self, slots: u8) {
        let generation = self.generation;
        self.slots.reserve_exact(usize::from(slots));
        self.slots.extend((0..slots).map(|_| Slot { generation, value: None }));
        self.free.extend((0..slots).rev());
    }

    /// Frees the memory; later tenants start above every generation used so far.
    fn release(&mut self) {
        self.generation = self.slots.iter().map(|slot| slot.generation).max().unwrap_or(0);
        self.slots = Vec::new();
        self.free = Vec::new();
    }
}

/// A table of values with generational names.
///
/// Values never move while they are in it. Its memory is that of its peak, until
/// [`trim`](Self::trim). A slot at its last generation retires.
#[derive(Debug)]
pub struct Slab<T> {
    chunks: Vec<Chunk<T>>,
    /// Chunks with at least one free slot; the last one is used next.
    open: Vec<u32>,
    len: usize,
    /// Most values at a time since the last trim.
    peak: usize,
    first_generation: u32,
    chunk_bits: u8,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Slab<T> {
    /// An empty table. Allocates nothing.
    pub const fn new() -> Self {
        Self::starting_at(0)
    }

    /// An empty table whose slots start at `generation`: for tests of what happens at the end.
    pub const fn starting_at(generation: u32) -> Self {
        Self::with(generation, CHUNK_BITS)
    }

    /// An empty table that grows slot by slot: for one or two values.
    pub const fn tiny() -> Self {
        Self::with(0, 0)
    }

    const fn with(first_generation: u32, chunk_bits: u8) -> Self {
        Self { chunks: Vec::new(), open: Vec::new(), len: 0, peak: 0, first_generation, chunk_bits }
    }

    /// Which chunk, and where in it.
    #[inline]
    const fn place(&self, index: u32) -> (usize, usize) {
        let index = index as usize;
        (index >> self.chunk_bits, index & ((1 << self.chunk_bits) - 1))
    }

    const fn index(&self, chunk: usize, position: usize) -> u32 {
        #[expect(clippy::cast_possible_truncation, reason = "`grow` keeps indices below 2^32")]
        return (chunk << self.chunk_bits | position) as u32;
    }

    /// How many values it holds.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether it holds none.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Puts a value in that is told its own name.
    ///
    /// # Panics
    /// With 2^32 slots in use: a caller bounds its tables far below that.
    pub fn insert_with(&mut self, make: impl FnOnce(Token) -> T) -> Token {
        let at = self.open.last().copied().unwrap_or_else(|| self.grow());
        let chunk = &mut self.chunks[at as usize];
        if chunk.slots.is_empty() {
            chunk.build(1 << self.chunk_bits);
        }
        let position = chunk.free.pop().expect("an open chunk has a free slot");
        if chunk.free.is_empty() {
            self.open.pop();
        }
        let slot = &mut chunk.slots[usize::from(position)];
        let index = at << self.chunk_bits | u32::from(position);
        let token = Token::new(index, slot.generation);
        slot.value = Some(make(token));
        chunk.used += 1;
        self.len += 1;
        self.peak = self.peak.max(self.len);
        token
    }

    /// Puts `value` in and says its name.
    ///
    /// # Panics
    /// As [`insert_with`](Self::insert_with).
    pub fn insert(&mut self, value: T) -> Token {
        self.insert_with(|_| value)
    }

    #[inline]
    fn slot(&self, token: Token) -> Option<&Slot<T>> {
        let (at, position) = self.place(token.index());
        let slot = self.chunks.get(at)?.slots.get(position)?;
        (slot.generation == token.generation()).then_some(slot)
    }

    /// The value of that name, if it is still there.
    #[inline]
    pub fn get(&self, token: Token) -> Option<&T> {
        self.slot(token)?.value.as_ref()
    }

    /// The value of that name, if it is still there.
    #[inline]
    pub fn get_mut(&mut self, token: Token) -> Option<&mut T> {
        let (at, position) = self.place(token.index());
        let slot = self.chunks.get_mut(at)?.slots.get_mut(position)?;
        if slot.generation == token.generation() { slot.value.as_mut() } else { None }
    }

    /// The full name of whatever is in slot `index` now.
    pub fn token_at(&self, index: u32) -> Option<Token> {
        let (at, position) = self.place(index);
        let slot = self.chunks.get(at)?.slots.get(position)?;
        slot.value.as_ref().map(|_| Token::new(index, slot.generation))
    }

    /// Takes the value of that name out; its name is stale from now on.
    pub fn remove(&mut self, token: Token) -> Option<T> {
        let (at, position) = self.place(token.index());
        let chunk = self.chunks.get_mut(at)?;
        let slot = chunk.slots.get_mut(position)?;
        if slot.generation != token.generation() {
            return None;
        }
        let value = slot.value.take()?;
        self.len -= 1;
        chunk.used -= 1;
        slot.generation = slot.generation.saturating_add(1);
        if slot.generation < GENERATION_LAST {
            #[expect(clippy::cast_possible_truncation, reason = "a chunk has at most 64 slots")]
            chunk.free.push(position as u8);
            if chunk.free.len() == 1 {
                #[expect(clippy::cast_possible_truncation, reason = "`grow` keeps it below 2^32")]
                self.open.push(at as u32);
            }
        }
        Some(value)
    }

    /// Frees what was not needed since the last trim, all but one chunk. For a slow, regular tick:
    /// a table that is emptied and filled again each turn keeps its memory.
    pub fn trim(&mut self) {
        let size = 1 << self.chunk_bits;
        let mut held = self.chunks.iter().filter(|chunk| !chunk.slots.is_empty()).count() * size;
        let needed = std::mem::replace(&mut self.peak, self.len).max(1);
        for chunk in &mut self.chunks {
            let idle = chunk.used == 0 && chunk.free.len() == size;
            if idle && held >= needed + size {
                chunk.release();
                held -= size;
            }
        }
    }

    /// All values with their names, in slot order.
    pub fn iter(&self) -> impl Iterator<Item = (Token, &T)> {
        self.chunks.iter().enumerate().flat_map(move |(at, chunk)| {
            chunk.slots.iter().enumerate().filter_map(move |(position, slot)| {
                let token = Token::new(self.index(at, position), slot.generation);
                Some((token, slot.value.as_ref()?))
            })
        })
    }

    /// The names of all values, in slot order.
    pub fn tokens(&self) -> Vec<Token> {
        self.iter().map(|(token, _)| token).collect()
    }

    fn grow(&mut self) -> u32 {
        let at = u32::try_from(self.chunks.len()).expect("fewer than 2^32 slots");
        assert!(at < u32::MAX >> self.chunk_bits, "2^32 slots in use");
        let generation = self.first_generation;
        self.chunks.push(Chunk { slots: Vec::new(), free: Vec::new(), used: 0, generation });
        self.open.push(at);
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const CHUNK: usize = 1 << CHUNK_BITS;

    #[test]
    fn a_stale_name_finds_nothing_after_its_slot_is_used_again() {
        let mut slab = Slab::new();
        let first = slab.insert("first");
        assert_eq!(slab.remove(first), Some("first"));
        let second = slab.insert("second");
        assert_eq!(second.index(), first.index());
        assert_eq!(slab.get(first), None);
        assert_eq!(slab.remove(first), None);
        assert_eq!(slab.get(second), Some(&"second"));
    }

    #[test]
    fn a_slot_at_its_last_generation_retires() {
        let mut slab = Slab::starting_at(GENERATION_LAST - 1);
        let mut seen = std::collections::BTreeSet::new();
        for round in 0..4 * CHUNK {
            let token = slab.insert(round);
            assert!(seen.insert(token), "{token:?} was handed out twice");
            assert_eq!(slab.remove(token), Some(round));
        }
        assert!(slab.chunks.len() >= 4, "each slot served once");
    }

    #[test]
    fn the_memory_of_a_peak_goes_home() {
        let mut slab = Slab::new();
        let tokens: Vec<_> = (0..100 * CHUNK).map(|n| slab.insert(n)).collect();
        for token in tokens {
            slab.remove(token);
        }
        slab.trim();
        assert_eq!(held(&slab), 100, "needed since the last one");
        slab.trim();
        assert_eq!(held(&slab), 1);
        for _ in 0..100 * CHUNK {
            assert!(slab.insert(0).generation() >= 1);
        }
    }

    /// Chunks that have memory.
    fn held<T>(slab: &Slab<T>) -> usize {
        slab.chunks.iter().filter(|chunk| !chunk.slots.is_empty()).count()
    }

    #[test]
    fn a_table_that_is_emptied_each_turn_keeps_its_memory() {
        let mut slab = Slab::new();
        for _ in 0..10 {
            let tokens: Vec<_> = (0..5 * CHUNK).map(|n| slab.insert(n)).collect();
            for token in tokens {
                slab.remove(token);
            }
            assert_eq!(held(&slab), 5);
            slab.trim();
            assert_eq!(held(&slab), 5);
        }
    }

    #[test]
    fn ten_million_reuses_never_reach_a_successor() {
        let mut slab = Slab::starting_at(GENERATION_LAST - 1_000_000);
        let mut old = slab.insert(0u32);
        slab.remove(old);
        for round in 1..=10_000_000u32 {
            let token = slab.insert(round);
            assert!(slab.get(old).is_none());
            assert!(slab.remove(token).is_some());
            old = token;
        }
    }

    proptest! {
        #[test]
        fn behaves_like_a_map_of_unique_names(steps in prop::collection::vec((0u8..9, 0usize..300), 1..2_000)) {
            let mut slab = Slab::new();
            let mut model = BTreeMap::new();
            let mut names = Vec::new();
            for (step, pick) in steps {
                if step == 8 {
                    slab.trim();
                } else if step < 4 || names.is_empty() {
                    let token = slab.insert(names.len());
                    prop_assert!(model.insert(token, names.len()).is_none());
                    names.push(token);
                } else {
                    let token = names[pick % names.len()];
                    prop_assert_eq!(slab.get(token), model.get(&token));
                    prop_assert_eq!(slab.remove(token), model.remove(&token));
                }
                prop_assert_eq!(slab.len(), model.len());
            }
            let held: BTreeMap<_, _> = slab.iter().map(|(token, value)| (token, *value)).collect();
            prop_assert_eq!(held, model);
        }
    }
}
