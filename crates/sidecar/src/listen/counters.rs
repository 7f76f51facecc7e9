//! What the gate let in, refused, ended and shed, as plain atomics for the metrics room to read.
//!
//! Everything here is rare (per connection or per fault) apart from what [`WorkerGauges`] count of calls, which
//! each worker keeps on cache lines of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::durations::{Counted, Durations};
use crate::clock;
use crate::identity::{Denied, Role};

/// Counters (only ever rise) and gauges (rise and fall) of one gate and its workers.
///
/// All loads and stores are relaxed: each number is right by itself, no two are from the same instant.
#[derive(Debug, Default)]
pub struct GateCounters {
    /// Connections taken from the listeners, those refused afterwards included.
    pub accepted: AtomicU64,
    /// Connections closed at once because the gate was full of busy ones ([`super::limits::GateLimits::max_connections`]).
    pub refused_cap: AtomicU64,
    /// Connections closed because the gate was full and another came: idle ones, or of a host with a quarter or more of its places.
    pub displaced: AtomicU64,
    /// Connections closed because the HTTP/2 preface was wrong, cut short or late.
    pub refused_preface: AtomicU64,
    /// Errors of `accept`, such as no free file descriptor.
    pub accept_errors: AtomicU64,
    /// Gauge: connections open now, those still without a preface included.
    pub open: AtomicU64,
    /// Connections asked to leave because of their age.
    pub aged_out: AtomicU64,
    /// Connections closed because the peer did not take its answers ([`super::limits::Limits::send_deadline`]).
    pub stalled: AtomicU64,
    /// Connections ended by a protocol, keepalive or socket error.
    pub broken: AtomicU64,
    /// Connections that ended by themselves while the gate was draining.
    pub drained: AtomicU64,
    /// Connections cut at the drain deadline.
    pub cut: AtomicU64,
    /// Calls answered `DEADLINE_EXCEEDED` by the gate.
    pub deadline_exceeded: AtomicU64,
    /// Calls answered `RESOURCE_EXHAUSTED` because too many were in flight.
    pub shed_in_flight: AtomicU64,
    /// Panics in a service, each contained to its own call.
    pub panics: AtomicU64,
    /// TLS handshakes that failed, or did not end in time.
    pub failed_handshakes: AtomicU64,
    /// Calls that their callers may not make, by the role that was missing, in the order of [`Role::ALL`].
    pub denied: [AtomicU64; Role::ALL.len()],
    /// Per worker, by its number from 0.
    pub workers: Box<[Arc<WorkerGauges>]>,
}

impl GateCounters {
    /// Counters of a gate with so many workers.
    pub fn new(workers: usize) -> Self {
        Self {
            workers: (0..workers).map(|_| Arc::default()).collect(),
            ..Self::default()
        }
    }

    /// Counts a call that may not be made.
    pub(crate) fn count_denied(&self, denied: &Denied) {
        tracing::debug!(caller = %denied.caller, role = %denied.role, "a call is not allowed");
        if let Some(counter) = self.denied.get(denied.role as usize) {
            count(counter);
        }
    }

    /// How long the timed calls of all workers took.
    pub fn durations(&self) -> Counted {
        let workers = self.workers.iter().map(|worker| worker.durations.counted());
        workers.fold(Counted::default(), Counted::and)
    }
}

/// Which calls of a door are timed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Timed {
    /// One in 64 of each worker: reading the clock twice costs a quick call what some of its work does.
    #[default]
    Some,
    /// All.
    All,
}

impl Timed {
    /// The bits that are 0 in the number of a call that is timed.
    const fn mask(self) -> u64 {
        match self {
            Self::Some => 63,
            Self::All => 0,
        }
    }
}

/// What one worker counts of its calls, alone on its cache lines (128 bytes: processors fetch lines in pairs).
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct WorkerGauges {
    /// Gauge: connections given to this worker and not yet ended.
    pub open: AtomicU64,
    /// Gauge: calls in flight, from the request's head to the end of its answer's body.
    pub in_flight: AtomicU64,
    /// Gauge: those of them that are beyond what their connections have to themselves.
    pub(crate) shared: AtomicU64,
    /// Calls that might have been timed.
    calls: AtomicU64,
    /// How long timed calls took, from the request's head to that of its answer. Streams are not timed.
    pub durations: Durations,
}

impl WorkerGauges {
    /// The time at which a call begins, if it is to be timed.
    pub(crate) fn begin(&self, timed: Timed) -> Option<Instant> {
        let number = self.calls.load(Ordering::Relaxed);
        self.calls.store(number.wrapping_add(1), Ordering::Relaxed);
        (number & timed.mask() == 0).then(clock::now)
    }
}

/// Adds one to a counter.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Reads a counter or gauge.
pub(crate) fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

/// Takes one from a gauge.
pub(crate) fn uncount(gauge: &AtomicU64) {
    gauge.fetch_sub(1, Ordering::Relaxed);
}
