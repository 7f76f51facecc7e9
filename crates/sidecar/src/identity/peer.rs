//! Peers: where a connection comes from, and which of them are meant.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net};
use tradewind_engine::model::printable;

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

/// What peers are named by, for those who named none.
pub(super) const FORMS: &str = "`unix`, `uid:NUMBER`, an address, or a network like 10.0.0.0/8";

/// Peers that are meant together, whatever they have proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Peers {
    /// All that come by a Unix socket.
    Unix,
    /// Those of this user that do.
    User(u32),
    /// Those of this network; of IPv4 addresses in IPv6 form it is the network of IPv4.
    Network(IpNet),
}

/// Not what peers are named by.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no peer, must be {FORMS}")]
pub struct NoPeer(String);

impl FromStr for Peers {
    type Err = NoPeer;

    fn from_str(text: &str) -> Result<Self, NoPeer> {
        let bad = || NoPeer(printable(text, 64));
        if text == "unix" {
            return Ok(Self::Unix);
        }
        if let Some(uid) = text.strip_prefix("uid:") {
            return uid.parse().map(Self::User).map_err(|_| bad());
        }
        let address = text.parse::<IpAddr>().map(IpNet::from);
        let network = address.or_else(|_| text.parse::<IpNet>());
        let network = network.map_err(|_| bad())?;
        Ok(Self::Network(in_own_form(network.trunc())))
    }
}

/// A network as its peers come: an IPv4 peer at a socket of both families is known by its own address, so a network of
/// mapped addresses (`::ffff:10.0.0.0/104`) would be of nobody.
fn in_own_form(network: IpNet) -> IpNet {
    let IpNet::V6(mapped) = network else {
        return network;
    };
    let own = mapped.addr().to_ipv4_mapped();
    let length = mapped.prefix_len().checked_sub(MAPPED_BITS);
    let own = own
        .zip(length)
        .map(|(own, length)| Ipv4Net::new(own, length));
    match own {
        Some(Ok(own)) => IpNet::V4(own),
        Some(Err(_)) | None => network,
    }
}

/// The bits before the IPv4 address in its IPv6 form.
const MAPPED_BITS: u8 = 96;

impl Peers {
    /// Whether a peer is one of them.
    pub fn has(&self, peer: Peer) -> bool {
        match (self, peer) {
            (Self::Unix, Peer::Unix(_)) => true,
            (Self::User(user), Peer::Unix(uid)) => uid == Some(*user),
            (Self::Network(network), Peer::Ip(address)) => network.contains(&address),
            _ => false,
        }
    }

    /// Whether they are processes of this host by loopback.
    pub fn are_of_loopback(&self) -> bool {
        matches!(self, Self::Network(network) if network.addr().is_loopback())
    }

    /// Whether they come by a Unix socket.
    pub fn are_of_unix(&self) -> bool {
        matches!(self, Self::Unix | Self::User(_))
    }
}

impl fmt::Display for Peers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix => f.write_str("unix"),
            Self::User(uid) => write!(f, "uid:{uid}"),
            Self::Network(network) => write!(f, "{network}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_of_mapped_addresses_was_of_nobody() {
        for (given, own) in [
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
            ("::ffff:10.1.2.3", "10.1.2.3/32"),
            ("::ffff:0:0/96", "0.0.0.0/0"),
            ("2001:db8::/32", "2001:db8::/32"),
            ("::/0", "::/0"),
        ] {
            assert_eq!(given.parse::<Peers>().unwrap().to_string(), own);
        }
        let peers: Peers = "::ffff:10.0.0.0/104".parse().unwrap();
        assert!(peers.has(Peer::Ip("10.9.9.9".parse().unwrap())));
        let bad = "uid:root".parse::<Peers>().unwrap_err().to_string();
        assert!(
            bad.contains("`uid:root` is no peer, must be `unix`"),
            "{bad}"
        );
    }
}
