//! The prober against real servers on loopback, good and bad.
//!
//! Each test publishes a policy and a topology of its own, as the writer does, and waits for what is told with a
//! deadline. The shortest interval is a second, so a first answer takes up to that.

#![expect(
    clippy::unwrap_used,
    reason = "a test's helpers may fail like the test itself"
)]

mod following;
mod kinds;
mod servers;
mod setup;
