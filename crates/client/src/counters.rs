//! What a client counts.

use std::sync::atomic::{AtomicU64, Ordering};

use super::lines::Failure;

/// Adds to a counter.
pub(super) fn bump(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What a client counted since it was made. Every request that is not invalid is one of `cached`, `answered`,
        /// `local` and `nothing`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        pub struct Counters {
            $($(#[$doc])* pub $name: u64,)*
        }

        /// The counters as they are counted.
        #[derive(Debug, Default)]
        pub(super) struct Counts {
            $(pub(super) $name: AtomicU64,)*
        }

        impl Counts {
            pub(super) fn read(&self) -> Counters {
                Counters {
                    $($name: self.$name.load(Ordering::Relaxed),)*
                }
            }
        }
    };
}

counters! {
    /// Requests that were not invalid.
    asked,
    /// Answered by an earlier answer.
    cached,
    /// Answered by the sidecar.
    answered,
    /// Decided here.
    local,
    /// Decided by nobody: no copy of the sidecar's snapshot was there.
    nothing,
    /// Calls that did not come back within the deadline.
    timeouts,
    /// Calls that failed otherwise: the sidecar is not there, is draining, has no policy or too much to do.
    unavailable,
    /// Times the sidecar was given up for a while.
    opened,
    /// Trials in the background, of both connections each, to find out whether it is back.
    trials,
    /// Copies of the sidecar's snapshot that were taken.
    copies,
    /// Copies that could not be used, so that the one before stayed: the sidecar is of another version.
    bad_copies,
    /// Times the last good copy was written to disk.
    copies_kept,
    /// Whether a copy from disk was used when the client began: 1, or 0.
    copies_restored,
    /// Networks of clients that the sidecar was asked about in the background.
    places_asked,
    /// Outcomes that the sidecar took.
    outcomes_taken,
    /// Outcomes that the sidecar refused.
    outcomes_refused,
    /// Outcomes dropped because too many waited.
    outcomes_dropped,
    /// Outcomes lost because the sidecar did not answer.
    outcomes_lost,
}

impl Counts {
    pub(super) fn count_failure(&self, failure: Failure) {
        match failure {
            Failure::Timeout => bump(&self.timeouts, 1),
            Failure::Unavailable => bump(&self.unavailable, 1),
        }
    }
}
