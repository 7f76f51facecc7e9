//! Who a reporter is, and whether the operator trusts it.

use std::fmt;

use tradewind_engine::model::printable;

use super::caller::Caller;
use super::peer::{Peer, Peers};
use crate::wire::report::MAX_REPORTER_BYTES;

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
    pub fn of(caller: &Caller, name: &str, trusted: &[Peers]) -> Self {
        let is_trusted = trusted.iter().any(|peers| peers.has(caller.peer));
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
