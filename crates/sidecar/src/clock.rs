//! The only reader of clocks: the ones that everybody shares, and that of the runtime's timers.

use tokio::time::Instant;

pub use tradewind_wire::clock::{now, unix_ms};

/// The clock of the runtime's timers, which stands still in tests that pause it: for deadlines that a timer keeps.
#[expect(clippy::disallowed_methods, reason = "the one place that reads it")]
pub fn timer_now() -> Instant {
    Instant::now()
}
