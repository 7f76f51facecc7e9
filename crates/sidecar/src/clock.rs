//! The only reader of clocks: the ones that everybody shares, and that of the runtime's timers.

use prost_types::Timestamp;
use tokio::time::Instant;

pub use tradewind_wire::clock::{now, unix_ms, unix_ns};

/// A time as RFC 3339 has it, in UTC.
pub fn rfc3339(unix_ms: u64) -> String {
    let seconds = i64::try_from(unix_ms / 1_000).unwrap_or(i64::MAX);
    let ms = i32::try_from(unix_ms % 1_000).unwrap_or_default();
    let nanos = ms * 1_000_000;
    Timestamp { seconds, nanos }.to_string()
}

/// The clock of the runtime's timers, which stands still in tests that pause it: for deadlines that a timer keeps.
#[expect(clippy::disallowed_methods, reason = "the one place that reads it")]
pub fn timer_now() -> Instant {
    Instant::now()
}
