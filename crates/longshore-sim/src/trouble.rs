//! What a real system does to a program now and then, by chance and counted.

use longshore_base::SplitMix64;

/// Something that a real system does now and then. A [`SimWorld`](crate::SimWorld) does none of it
/// until [`make_trouble`](crate::SimWorld::make_trouble) says how often.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Trouble {
    /// A port does not open: out of memory.
    Open,
    /// An address cannot be bound: out of memory.
    Bind,
    /// A port does not take a listener in: out of memory.
    Listen,
    /// A port does not take a socket in, and hands it back: out of memory.
    Attach,
    /// A connect is refused at once: out of memory.
    ConnectAtOnce,
    /// A connect that is under way fails: out of memory.
    Connect,
    /// An accept ends though somebody is there, who stays: out of memory.
    Accept,
    /// An accept ends since no descriptor is left for who is there, and stays.
    AcceptNoDescriptors,
    /// An accept ends with an error of the one connection that it took, which is lost.
    AcceptPassing,
    /// A receive ends: out of memory. What there is to read stays.
    Recv,
    /// A send ends, perhaps behind a part of it: out of memory.
    Send,
    /// A watch ends: out of memory.
    Watch,
    /// A file that is sent or read cannot be read.
    File,
    /// The bytes of a file that is sent are not at hand: they have to be read first.
    NotCached,
    /// A wait gives nothing although there is something, as of a kernel without memory. The same
    /// comes with a later one, at most [`Trouble::WAITS_MAX`] waits later.
    Wait,
    /// A receive that is asked to end, by a cancel or with its socket, does not end yet: the kernel
    /// has taken memory for it, which it may fill at a time of chance.
    LateKernel,
    /// What an op came to is told only later, as by a packet of a completion port: the op is over, a
    /// cancel finds nothing to end, and what belongs to it is not given back yet.
    LatePacket,
    /// A send that is cut off tells less than what went out, or nothing. Without this it does so one
    /// time in four.
    UnknownCut,
}

impl Trouble {
    /// Each of them.
    pub const ALL: [Self; 18] = [
        Self::Open,
        Self::Bind,
        Self::Listen,
        Self::Attach,
        Self::ConnectAtOnce,
        Self::Connect,
        Self::Accept,
        Self::AcceptNoDescriptors,
        Self::AcceptPassing,
        Self::Recv,
        Self::Send,
        Self::Watch,
        Self::File,
        Self::NotCached,
        Self::Wait,
        Self::LateKernel,
        Self::LatePacket,
        Self::UnknownCut,
    ];

    /// Most waits of a port in a row that give nothing.
    pub const WAITS_MAX: u32 = 4;
}

/// How often there is which trouble, and how often there was.
#[derive(Debug, Default)]
pub(crate) struct Troubles {
    one_in: [usize; Trouble::ALL.len()],
    counts: [u64; Trouble::ALL.len()],
}

impl Troubles {
    pub(crate) fn make(&mut self, trouble: Trouble, one_in: usize) {
        self.one_in[trouble as usize] = one_in;
    }

    pub(crate) fn count(&self, trouble: Trouble) -> u64 {
        self.counts[trouble as usize]
    }

    /// Whether this happens, now. Where it never does, chance is not asked, so that a run without
    /// trouble is what it was.
    pub(crate) fn happens(&mut self, trouble: Trouble, chance: &mut SplitMix64) -> bool {
        let at = trouble as usize;
        let one_in = self.one_in[at];
        let happens = one_in > 0 && chance.one_in(one_in);
        self.counts[at] += u64::from(happens);
        happens
    }
}
