//! Many sidecars that act as one: what each saw goes to one of them, what that one concludes goes to all.
//!
//! A **member** is a sidecar of the fleet. It tells [`evidence`] once a second, of the nodes it used, and at once when it
//! accuses one. One member has the **chair**, by a [`lease`] in a store that all share. It hears what members tell
//! ([`roll`]), holds a [`hearing`] where one accuses a node, hears those who try a node again ([`retrial`]) and keeps what
//! follows ([`judge`]): [`facts`], which name nodes and sites by what they mean, never by position, and have no number that
//! trembles. Each message of the chair has a [`Stamp`]; a [`member`] applies them only upwards, so two that have the same
//! stamp have the same Facts.
//!
//! Everything here is a function of what is told and of the time that is given: no clock, no random number, no bus. How
//! messages travel is the business of whoever carries them, and they may be lost, doubled, late and out of order.

pub mod accusers;
pub mod evidence;
pub mod facts;
pub mod hearing;
pub mod judge;
pub mod lease;
pub mod member;
pub mod octaves;
pub mod purges;
pub mod ratios;
pub mod retrial;
pub mod roll;
pub mod speaker;
pub mod waves;

use crate::hash;

/// A member of the fleet: a hash of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberId(pub u64);

impl MemberId {
    /// The member of this name.
    pub fn of_name(name: &str) -> Self {
        Self(hash::key(&[b"member", name.as_bytes()]).0)
    }

    /// Where this member stands among those who may have a say about something, the least first: an order of its own for
    /// each `topic`, the same wherever it is asked for.
    pub fn rank(self, topic: u64) -> u64 {
        hash::key(&[&self.0.to_le_bytes(), &topic.to_le_bytes()]).0
    }
}

/// A chair's time in office: the revision of the store by which it was taken, so that a later one is larger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Epoch(pub u64);

/// The order of all that chairs ever said: by time in office, then by message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Stamp {
    /// Whose word it is.
    pub epoch: Epoch,
    /// Counts the states of that chair that changed something, from 1.
    pub sequence: u64,
}

/// What was heard of a chair last: so the chair learns how old a word is that answers it, without a clock in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Echo {
    /// Whose word it was.
    pub epoch: Epoch,
    /// When it was said, in ms since that chair began.
    pub at_ms: u64,
}

#[cfg(test)]
mod tests;
