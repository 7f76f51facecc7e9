//! Peers: where a connection comes from.

use std::net::{IpAddr, Ipv4Addr};

/// Who is at the other end of a connection, as far as the connection shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Peer {
    /// Whoever has this address; IPv4 in its own form.
    Ip(IpAddr),
    /// A process of this machine, run by this user as far as the system says.
    Unix(Option<u32>),
}

/// What of an IPv6 address tells hosts apart: each has the other half to itself, so it says nothing.
pub(crate) const HOST_BITS: u8 = 64;

impl Peer {
    /// The host that it is, as far as addresses tell: one of IPv6 has a whole network of 64 bits to itself, and this one has
    /// 127.0.0.0/8, of which each process may choose.
    #[must_use]
    pub fn host(self) -> Self {
        match self {
            Self::Ip(address) if address.is_loopback() => Self::Ip(Ipv4Addr::LOCALHOST.into()),
            Self::Ip(IpAddr::V6(address)) => {
                let network = u128::from(address) >> HOST_BITS << HOST_BITS;
                Self::Ip(IpAddr::V6(network.into()))
            }
            other => other,
        }
    }

    /// Whether it came by TCP.
    pub(crate) fn is_remote(self) -> bool {
        matches!(self, Self::Ip(_))
    }
}
