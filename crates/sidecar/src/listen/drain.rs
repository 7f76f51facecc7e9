//! What a drain came to.

use std::time::Duration;

/// What a drain did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrainReport {
    /// Connections that finished by themselves after the drain began.
    pub drained: u64,
    /// Connections cut at the deadline, with calls in flight or a peer that did not read.
    pub cut: u64,
    /// Worker threads that were still busy at the end, in a service that blocks; they end with the process.
    pub workers_stuck: usize,
    /// How long it took.
    pub took: Duration,
}
