//! The only reader of clocks; everybody else is given the time.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// The monotonic clock, for durations and ages.
#[expect(clippy::disallowed_methods, reason = "the one place that reads it")]
pub fn now() -> Instant {
    Instant::now()
}

/// Wall time in milliseconds since 1970, for people, and for the ends of admin states, which must hold over a restart: no
/// decision reads it.
#[expect(clippy::disallowed_methods, reason = "the one place that reads it")]
pub fn unix_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
