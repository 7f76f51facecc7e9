//! Asks each node now and then whether it is well, and tells every answer as it came.
//!
//! One thread of its own with a single-threaded runtime: a slow node or resolver holds up nothing that answers
//! requests. What is asked, how and how often is the policy's section `probe`; who is asked is the topology, without
//! nodes in maintenance. Both are followed as they are published.
//!
//! What this room does not do: judge. A single lost probe says little; how many in a row make a verdict is decided in
//! [`engine::health::probe`](tradewind_engine::health::probe), by the one who owns that record.

mod ask;
pub mod connect;
mod grpc;
mod http;
mod rounds;
mod schedule;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::sync::oneshot;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::clock;
use crate::state::State;
use rounds::Rounds;

/// Who we say we are, so that operators can tell probes from traffic in their logs.
const USER_AGENT_NAME: &str = "tradewind-probe";

/// Probes on their way at once, at most; those over it wait. Bounds sockets and lookups of names.
pub const MAX_IN_FLIGHT: usize = 64;

/// How long [`Prober::stop`] waits for the thread.
const STOP_WITHIN: Duration = Duration::from_secs(1);

/// What one probe of a node came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probed {
    /// The node's id.
    pub node: Box<str>,
    /// Whether it said that it is well.
    pub healthy: bool,
    /// From the first step (looking up the name, connecting) to the answer; at most the policy's timeout, and what the
    /// thread was late.
    pub took: Duration,
    /// Why it is not healthy; `None` exactly when it is.
    pub detail: Option<ProbeFailure>,
}

/// Why a node is not healthy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProbeFailure {
    /// No connection: refused, unreachable, or a host name that nobody knows.
    Refused,
    /// Not answered within the policy's timeout.
    Timeout,
    /// Answered, and not well: an HTTP status outside 200 to 399, or gRPC health other than SERVING.
    Status,
    /// Connected and then not understood: closed before an answer, or an answer in another protocol.
    Protocol,
}

impl ProbeFailure {
    /// The word used in logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Timeout => "timeout",
            Self::Status => "status",
            Self::Protocol => "protocol",
        }
    }
}

/// What probes came to, counted.
///
/// All are relaxed: each number is right by itself, no two are from the same instant. Probes that a new policy or
/// topology cut short are not counted.
#[derive(Debug, Default)]
pub struct ProbeCounters {
    /// Nodes found healthy.
    pub healthy: AtomicU64,
    /// See [`ProbeFailure::Refused`].
    pub refused: AtomicU64,
    /// See [`ProbeFailure::Timeout`].
    pub timeout: AtomicU64,
    /// See [`ProbeFailure::Status`].
    pub status: AtomicU64,
    /// See [`ProbeFailure::Protocol`].
    pub protocol: AtomicU64,
    /// Probes that failed for a reason of our own, such as no free file descriptor; they say nothing of a node and are
    /// not told.
    pub local: AtomicU64,
    /// Probes that had to wait because [`MAX_IN_FLIGHT`] were on their way.
    pub delayed: AtomicU64,
    /// Gauge: probes that wait now.
    pub waiting: AtomicU64,
}

impl ProbeCounters {
    /// Counts a probe that was told.
    fn count(&self, detail: Option<ProbeFailure>) {
        let counter = match detail {
            None => &self.healthy,
            Some(ProbeFailure::Refused) => &self.refused,
            Some(ProbeFailure::Timeout) => &self.timeout,
            Some(ProbeFailure::Status) => &self.status,
            Some(ProbeFailure::Protocol) => &self.protocol,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// The thread that probes. Dropping it stops it without waiting.
#[derive(Debug)]
pub struct Prober {
    /// Dropping it stops the thread.
    stop: oneshot::Sender<()>,
    /// Disconnected once the thread has left.
    left: mpsc::Receiver<()>,
    thread: JoinHandle<()>,
    counters: Arc<ProbeCounters>,
}

impl Prober {
    /// Starts to probe what `state` publishes; nothing is asked before it does.
    ///
    /// `report` is called on the prober's thread for every probe that says something of a node. It should be quick, as
    /// sending on a channel is: no probe starts or ends meanwhile. If it panics, the probing ends.
    pub fn spawn(state: Arc<State>, report: impl Fn(Probed) + Send + 'static) -> io::Result<Self> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(MAX_IN_FLIGHT)
            .build()?;
        let counters = Arc::<ProbeCounters>::default();
        let rounds = Rounds::new(state, report, Arc::clone(&counters), instance_salt());
        let (stop, stopped) = oneshot::channel();
        let (leaving, left) = mpsc::channel();
        let thread = thread::Builder::new()
            .name("tradewind-probe".to_owned())
            .spawn(move || {
                runtime.block_on(rounds.run(stopped));
                // A lookup of a name cannot be cut short; it ends by itself and is not waited for.
                runtime.shutdown_background();
                drop(leaving);
            })?;
        Ok(Self {
            stop,
            left,
            thread,
            counters,
        })
    }

    /// What probes came to so far.
    pub fn counters(&self) -> &Arc<ProbeCounters> {
        &self.counters
    }

    /// Ends all probes and waits for the thread, at most a second. Nothing is reported afterwards, unless a report
    /// blocked for so long.
    ///
    /// Blocks the calling thread: call it where that is allowed.
    pub fn stop(self) {
        drop(self.stop);
        if self.left.recv_timeout(STOP_WITHIN) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!("the prober is still busy and is left behind");
        } else if self.thread.join().is_err() {
            tracing::error!("the prober had panicked");
        }
    }
}

/// What tells this process from others that ask the same nodes.
fn instance_salt() -> u64 {
    xxh3_64_with_seed(&std::process::id().to_le_bytes(), clock::unix_ms())
}
