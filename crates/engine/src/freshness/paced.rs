//! Purges that come into force slice by slice, so that origins see a ramp instead of a wall.

use std::sync::atomic::{AtomicU8, Ordering};

use crate::hash::KeyHash;

/// In how many slices a paced purge comes into force.
pub(super) const SLICES: u8 = 64;

/// A purge of one hash that is in force for some slices of the objects that it covers.
#[derive(Debug)]
pub(super) struct Paced {
    pub(super) hash: KeyHash,
    pub(super) sequence: u64,
    /// For how many slices it is in force.
    slices: AtomicU8,
}

impl Paced {
    pub(super) fn new(hash: KeyHash, sequence: u64, slices: u8) -> Self {
        Self {
            hash,
            sequence,
            slices: AtomicU8::new(slices),
        }
    }

    /// Whether it is in force for the object at `path`. Each purge slices in a way of its own, so that no object is always the
    /// first.
    #[inline]
    pub(super) fn has(&self, path: KeyHash) -> bool {
        let drawn = path.then(&self.sequence.to_le_bytes()).0 >> 58;
        drawn < u64::from(self.slices.load(Ordering::Relaxed))
    }

    /// Lets it be in force for at least so many slices.
    pub(super) fn advance(&self, slices: u8) {
        self.slices.fetch_max(slices, Ordering::Relaxed);
    }
}

/// For how many slices a purge is in force that was made `age_ms` ago and takes `over_ms`: the first at once.
pub(super) fn slices_at(age_ms: u64, over_ms: u64) -> u8 {
    let slices = u64::from(SLICES);
    let due = 1 + age_ms.saturating_mul(slices) / over_ms.max(1);
    u8::try_from(due.min(slices)).unwrap_or(SLICES)
}

/// How old it is when the slice after `slices` is due, in ms.
pub(super) fn due_at(slices: u8, over_ms: u64) -> u64 {
    let part = over_ms.saturating_mul(u64::from(slices));
    part.div_ceil(u64::from(SLICES))
}
