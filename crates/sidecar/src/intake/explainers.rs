//! Who asks for explanations: a quota for each caller, and one explanation at a time.
//!
//! An explanation costs fifty to a hundred and fifty times what a decision does, which callers with another role than that of
//! proxies could spend on the workers of proxies. So they are made beside the workers, on one thread's time at the most, and
//! nobody is explained more in a second than people can look at.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::reporters::{Quota, Reporters};
use crate::identity::Caller;

/// How much one caller may have explained: an explanation of 10,000 nodes takes less than two milliseconds, so it is a tenth of a
/// core.
pub const QUOTA: Quota = Quota {
    per_second: 50,
    burst: 200,
};

/// The registry of those who ask.
#[derive(Debug)]
pub struct Explainers {
    /// Seats and buckets are those of reporters.
    callers: Reporters,
    turn: Arc<Semaphore>,
}

impl Default for Explainers {
    fn default() -> Self {
        Self {
            callers: Reporters::new(QUOTA, Vec::new()),
            turn: Arc::new(Semaphore::new(1)),
        }
    }
}

impl Explainers {
    /// Takes one of what a caller may have explained; nothing where it is used up.
    pub fn admit(&self, now: Instant, caller: &Caller) -> bool {
        self.callers.admit(now, (caller, ""), 1, 1).granted > 0
    }

    /// Waits until nothing is explained, and keeps others waiting for as long as the result lives.
    pub async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        // It is never closed.
        Arc::clone(&self.turn).acquire_owned().await.ok()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock;
    use crate::identity::Peer;

    #[test]
    fn who_asks_without_end_is_explained_no_more_and_others_are() {
        let explainers = Explainers::default();
        let [greedy, other] = [1, 2].map(|uid| Caller::from(Peer::Unix(Some(uid))));
        let now = clock::now();
        let admitted = (0..10_000).filter(|_| explainers.admit(now, &greedy));
        assert_eq!(admitted.count(), 200);
        assert!(explainers.admit(now, &other));
        let later = now + Duration::from_secs(1);
        let admitted = (0..10_000).filter(|_| explainers.admit(later, &greedy));
        assert_eq!(admitted.count(), 50);
    }
}
