//! Whether the sidecar is asked at all: a frozen one must not cost every request its deadline.
//!
//! Closed, requests go to it. After so many failures in a row it opens: requests are decided here, and a task asks the
//! sidecar now and then until it answers again. No request is ever the trial.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

use super::Shared;
use super::counters::bump;

/// From giving the sidecar up to the first trial; each further one waits twice as long, up to the second.
const TRIAL_AFTER: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(2));

/// See the module.
#[derive(Debug)]
pub(super) struct AskBreaker {
    most: u32,
    failures: AtomicU32,
    is_open: AtomicBool,
    opened: Notify,
}

impl AskBreaker {
    /// A closed one that opens after so many failures in a row.
    pub(super) fn new(failures: u32) -> Self {
        Self {
            most: failures.max(1),
            failures: AtomicU32::new(0),
            is_open: AtomicBool::new(false),
            opened: Notify::new(),
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        !self.is_open.load(Ordering::Relaxed)
    }

    pub(super) fn succeeded(&self) {
        // Most calls succeed after another that did: then nothing is written.
        if self.failures.load(Ordering::Relaxed) > 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
    }

    /// Whether this failure opened it.
    pub(super) fn failed(&self) -> bool {
        let failures = self.failures.fetch_add(1, Ordering::Relaxed);
        let opens =
            failures.saturating_add(1) >= self.most && !self.is_open.swap(true, Ordering::Relaxed);
        if opens {
            self.opened.notify_one();
        }
        opens
    }

    fn close(&self) {
        self.failures.store(0, Ordering::Relaxed);
        self.is_open.store(false, Ordering::Relaxed);
    }
}

/// Tries the sidecar each time it was given up, until it is back.
pub(super) async fn run(shared: Arc<Shared>) {
    loop {
        shared.breaker.opened.notified().await;
        let (mut wait, longest) = TRIAL_AFTER;
        loop {
            tokio::time::sleep(wait).await;
            bump(&shared.counts.trials, 1);
            if shared.lines.both_answer(shared.options.deadline).await {
                break;
            }
            wait = longest.min(wait * 2);
        }
        shared.breaker.close();
        tracing::info!("the sidecar answers again");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_failures_in_a_row_open_it_and_only_once() {
        let breaker = AskBreaker::new(3);
        for _ in 0..9 {
            assert!(!breaker.failed() && !breaker.failed());
            breaker.succeeded();
        }
        assert!(!breaker.failed() && !breaker.failed() && breaker.is_closed());
        assert!(breaker.failed());
        assert!(!breaker.is_closed() && !breaker.failed());
        breaker.close();
        assert!(breaker.is_closed() && !breaker.failed() && breaker.is_closed());
    }
}
