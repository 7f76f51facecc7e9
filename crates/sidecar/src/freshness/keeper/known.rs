//! Purges with ids, which are the same when they are asked for again.

use std::time::{Duration, Instant};

use prost::Message;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::IDS_FOR;
use super::wishes::messages_of;
use crate::clock;
use crate::freshness::{PurgeError, Submitted, Wish};
use crate::wire::proto::{PurgeSelector, Purged};
use crate::wire::purge::version_text;

/// A purge with an id.
pub(super) struct Known {
    submitted: Submitted,
    /// Of what it was.
    sum: u64,
    at: Instant,
}

impl Known {
    /// `None` of one without an id, and of one that was purged too long ago, `age_ms`.
    pub(super) fn of(submitted: &Submitted, purged: &Purged, age_ms: u64) -> Option<Self> {
        let age = Duration::from_millis(age_ms);
        let at = clock::now().checked_sub(age).filter(|_| age < IDS_FOR)?;
        (!purged.id.is_empty()).then(|| Self {
            submitted: submitted.clone(),
            sum: sum_of(&purged.selectors, purged.not_older_than_unix_ms > 0),
            at,
        })
    }

    pub(super) fn is_of_late(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.at) < IDS_FOR
    }

    /// What whoever asks for it again is told: the same, if it is the same.
    pub(super) fn again(&self, wish: &Wish) -> Result<Submitted, PurgeError> {
        if self.sum != sum_of(&messages_of(wish), wish.is_soft) {
            return Err(PurgeError::OtherPurge {
                id: wish.id.clone(),
                version: version_text(self.submitted.sequence),
            });
        }
        Ok(Submitted {
            is_repeated: true,
            ..self.submitted.clone()
        })
    }
}

/// Tells purges of one id apart that are not the same.
fn sum_of(selectors: &[PurgeSelector], is_soft: bool) -> u64 {
    let selectors = selectors.iter();
    selectors.fold(u64::from(is_soft), |sum, selector| {
        xxh3_64_with_seed(&selector.encode_to_vec(), sum)
    })
}
