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
        let net = match peer.ip()? {
            IpAddr::V6(ip) => {
                let [a, b, c, d, ..] = ip.segments();
                IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
            }
            IpAddr::V4(ip) => IpAddr::V4(ip),
        };
        Some(Self { lane, net })
    }
}
