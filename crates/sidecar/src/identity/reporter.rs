//! Who a reporter is, and whether the operator trusts it.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use tradewind_engine::model::printable;

use super::caller::Caller;
use super::peer::Peer;
use crate::wire::report::MAX_REPORTER_BYTES;

/// Peers whom the operator trusts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trusted {
    /// All that come by a Unix socket.
    Unix,
    /// Those of this user that do.
    User(u32),
    /// Those of this network.
    Network(IpNet),
}

/// Not what peers are named by.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no peer, must be `unix`, `uid:NUMBER`, an address, or a network like 10.0.0.0/8")]
pub struct NoPeer(String);

impl FromStr for Trusted {
    type Err = NoPeer;

    fn from_str(text: &str) -> Result<Self, NoPeer> {
        if text == "unix" {
            return Ok(Self::Unix);
        }
        if let Some(uid) = text.strip_prefix("uid:") {
            let uid = uid.parse().map(Self::User);
            return uid.map_err(|_| NoPeer(printable(text, 64)));
        }
        let address = text.parse::<IpAddr>().map(IpNet::from);
        let network = address.or_else(|_| text.parse::<IpNet>());
        let network = network.map_err(|_| NoPeer(printable(text, 64)))?;
        Ok(Self::Network(network.trunc()))
    }
}

impl Trusted {
    fn is(&self, peer: Peer) -> bool {
        match (self, peer) {
            (Self::Unix, Peer::Unix(_)) => true,
            (Self::User(user), Peer::Unix(uid)) => uid == Some(*user),
            (Self::Network(network), Peer::Ip(address)) => network.contains(&address),
            _ => false,
        }
    }
}

/// Who a reporter is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    caller: Caller,
    /// What it calls itself; only of those who are trusted.
    name: String,
    /// Whether the operator trusts it.
    pub is_trusted: bool,
}

impl Identity {
    /// Who `caller` is that calls itself `name`, which counts if the operator trusts it. Who has proven a name is that one,
    /// wherever it comes from; of others only the host counts.
    pub fn of(caller: &Caller, name: &str, trusted: &[Trusted]) -> Self {
        let is_trusted = trusted.iter().any(|trusted| trusted.is(caller.peer));
        let name = if is_trusted {
            printable(name, MAX_REPORTER_BYTES)
        } else {
            String::new()
        };
        // Where several come from one host, the operator may tell them apart by their addresses too.
        let caller = if is_trusted && caller.name().is_none() {
            caller.clone()
        } else {
            caller.whole()
        };
        Self {
            caller,
            name,
            is_trusted,
        }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.caller.peer {
            Peer::Ip(address) if self.is_trusted => write!(f, "{address}"),
            _ => write!(f, "{}", self.caller),
        }?;
        if self.name.is_empty() {
            return Ok(());
        }
        write!(f, " {}", self.name)
    }
}
