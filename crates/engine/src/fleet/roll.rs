//! Whose evidence is heard: each message once, none that is overtaken, none that waited too long.
//!
//! How long a message waited before it was sent it says itself. How long it was under way nobody can say who has no clock in
//! common; but it tells what its member had last heard of the chair ([`Echo`]), and the chair knows when it said that.

use std::collections::BTreeMap;

use super::evidence::Evidence;
use super::{Echo, MemberId, Stamp};
use crate::time::Moment;

/// Members that are kept on the roll; further ones are not heard.
pub const MAX_MEMBERS: usize = 4_096;

/// Who was silent for so long is off the roll, in ms: longer than any bus keeps a message of this kind.
const GONE_MS: u64 = 3_600_000;

/// A chair is heard once a second; evidence of a member that last heard what it said longer ago, in ms, is old or comes
/// from where it cannot be heard.
const ECHO_MS: u64 = 3_000;

/// Members in the order of their ids, and what was heard of each last.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Roll {
    members: BTreeMap<MemberId, Entry>,
}

/// What was heard of a member last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    incarnation: u64,
    sequence: u64,
    /// When.
    pub heard: Moment,
    /// What it acts on.
    pub acted_on: Stamp,
}

/// Why evidence is nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unheard {
    /// It was heard already, or something later of the same member was.
    Overtaken,
    /// It waited, or was under way, for more than two intervals.
    Stale,
    /// There are too many members.
    Full,
}

impl Roll {
    /// Enters a message; whoever gets an error must not use it. `said` is what the chair says now.
    ///
    /// # Errors
    ///
    /// It waited or was under way too long, is not later than what was heard of its member, or there is no room for another
    /// member.
    pub fn enter(&mut self, now: Moment, evidence: &Evidence, said: Echo) -> Result<(), Unheard> {
        // Of a chair before this one it can only have heard until this one began.
        let heard_ms = if evidence.heard.epoch == said.epoch {
            evidence.heard.at_ms
        } else {
            0
        };
        if evidence.is_stale() || said.at_ms.saturating_sub(heard_ms) > ECHO_MS {
            return Err(Unheard::Stale);
        }
        let order = (evidence.incarnation, evidence.sequence);
        match self.members.get(&evidence.member) {
            Some(known) if order <= (known.incarnation, known.sequence) => {
                return Err(Unheard::Overtaken);
            }
            None if self.members.len() >= MAX_MEMBERS => return Err(Unheard::Full),
            _ => {}
        }
        let entry = Entry {
            incarnation: evidence.incarnation,
            sequence: evidence.sequence,
            heard: now,
            acted_on: evidence.acted_on,
        };
        self.members.insert(evidence.member, entry);
        Ok(())
    }

    /// Forgets who has been silent for a minute.
    pub fn tick(&mut self, now: Moment) {
        self.members
            .retain(|_, entry| now.since(entry.heard) < GONE_MS);
    }

    /// Everybody on the roll.
    pub fn members(&self) -> impl ExactSizeIterator<Item = (MemberId, &Entry)> {
        self.members.iter().map(|(member, entry)| (*member, entry))
    }

    /// Members heard within the last `within_ms` that act on an earlier state than `stamp`.
    pub fn behind(&self, now: Moment, stamp: Stamp, within_ms: u64) -> usize {
        let heard = self.members.values();
        let heard = heard.filter(|entry| now.since(entry.heard) <= within_ms);
        heard.filter(|entry| entry.acted_on < stamp).count()
    }
}
