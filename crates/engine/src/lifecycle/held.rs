//! Topologies that take away so much that somebody must confirm them.

use std::fmt;
use std::sync::Arc;

use crate::edition::Edition;
use crate::model::Digest;
use crate::topology::removal::{Removal, percent};

/// A good topology that waits to be confirmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Its text.
    pub text: Arc<str>,
    /// The digest of its text.
    pub digest: Digest,
    /// What it takes away of the fleet in force.
    pub removal: Removal,
    /// Why it is held, in words.
    pub because: String,
    /// Where it came from: the name of a source, or `apply`.
    pub source: String,
    /// Since when it is held, ms since 1970.
    pub since_unix_ms: u64,
}

/// Where an update came from that was given by a call.
pub(super) const BY_CALL: &str = "apply";

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "held: {} (digest {})", self.because, self.digest.short())
    }
}

/// Why a removal must be confirmed; `None` if it need not be.
pub(super) fn too_much(current: &Edition, removal: Removal) -> Option<String> {
    let most = current.policy().operation().max_removed_ratio;
    removal.exceeds(most).then(|| {
        format!(
            "{removal}, at most {} % are taken unconfirmed",
            percent(most)
        )
    })
}
