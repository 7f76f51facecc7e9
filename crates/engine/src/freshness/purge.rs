//! A purge: what it covers, and how it comes into force.

use super::selector::Selector;

/// Most selectors in one purge.
pub const MAX_SELECTORS: usize = 4_096;

/// Most selectors in a purge that comes into force slice by slice, and most such selectors at a time.
pub const MAX_PACED: usize = 64;

/// The longest that a purge may take to come into force, in ms: a day.
pub const MAX_OVER_MS: u64 = 24 * 3_600_000;

/// A purge with its place in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purge {
    /// Its place in the log, from 1: larger is later.
    pub sequence: u64,
    /// The namespace that tags and `all` are of; empty for none.
    pub namespace: Box<str>,
    /// What it covers.
    pub selectors: Vec<Selector>,
    /// What it asks of what is stored.
    pub kind: Kind,
    /// Over how many ms it comes into force slice by slice; 0 for at once. Only of hard ones.
    pub over_ms: u64,
}

/// What a purge asks of what is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It is not served any more: objects get a new version.
    Hard,
    /// It is revalidated before it is served, if it was stored before this time.
    Soft {
        /// In seconds of Unix time.
        not_older_than_s: u64,
    },
}
