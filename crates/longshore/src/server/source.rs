//! Where connections come from, as rules per source see it.

use longshore_port::Addr;
use std::net::{IpAddr, Ipv6Addr};

/// Where a connection comes from, as rules per source see it: an IPv4 address or the /64 of an IPv6
/// one, at one listener.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Source {
    lane: u16,
    net: IpAddr,
}

impl Source {
    pub(crate) fn of(lane: u16, peer: Addr) -> Option<Self> {
        Some(Self { lane, net: source_of(peer.ip()?) })
    }
}

/// An IPv4 address, or the /64 of an IPv6 one, which one host has to itself.
pub(crate) fn source_of(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & (u128::MAX << 64)).into(),
        ip @ IpAddr::V4(_) => ip,
    }
}
