//! When the sidecar was heard last.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// When the sidecar was heard last.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// What the time is counted from: when it was heard first.
    first: OnceLock<Instant>,
    last_ms: AtomicU64,
}

impl Heard {
    pub(super) fn now(&self, now: Instant) {
        let first = self.first.get_or_init(|| now);
        let ms = now.saturating_duration_since(*first).as_millis();
        let ms = u64::try_from(ms).unwrap_or(u64::MAX);
        self.last_ms.store(ms, Ordering::Relaxed);
    }

    pub(super) fn ago(&self, now: Instant) -> Option<Duration> {
        let last = Duration::from_millis(self.last_ms.load(Ordering::Relaxed));
        let since_first = now.saturating_duration_since(*self.first.get()?);
        Some(since_first.saturating_sub(last))
    }
}
