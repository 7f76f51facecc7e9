//! Spans of decisions, handed to a collector of OpenTelemetry (OTLP over gRPC) where one is configured.
//!
//! A worker hands over what it has anyway, for decisions that are in the sample and for those whose caller records its trace,
//! and never waits. A thread of its own makes spans of them and sends them in batches. What finds no room, or no
//! collector, is lost and counted: a collector that is down must cost nothing. Only the headers' `traceparent` is read.

pub mod context;
#[cfg(feature = "otlp")]
mod exporter;
#[cfg(feature = "otlp")]
mod span;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::settings::otlp::Collector;
use crate::state::Published;
use crate::trace::context::TraceContext;
use crate::wire::proto;
use tradewind_engine::evaluate::Evaluation;

/// Decisions that may wait for the exporter, as the standard has it (`OTEL_BSP_MAX_QUEUE_SIZE`).
const QUEUE: usize = 2_048;

/// A decision on its way to the collector.
#[derive(Debug)]
pub struct Traced {
    /// Names the decision.
    pub decision_id: String,
    /// What was asked.
    pub request: proto::DecideRequest,
    /// The outcome.
    pub evaluation: Evaluation,
    /// What it was decided on.
    pub published: Arc<Published>,
    /// What the caller said it is part of.
    pub parent: Option<TraceContext>,
    /// When it was decided, ns since 1970.
    pub ended_unix_ns: u64,
    /// How long that took.
    pub took: Duration,
}

/// What became of spans.
#[derive(Debug, Default)]
pub struct TraceCounters {
    /// Spans that the collector took.
    pub exported: AtomicU64,
    /// Decisions that found the queue full.
    pub queue_full: AtomicU64,
    /// Decisions made, and spans kept, while the collector did not answer.
    pub unreachable: AtomicU64,
    /// Spans that the collector refused.
    pub refused: AtomicU64,
}

/// Where workers hand decisions over.
#[derive(Debug)]
pub struct Traces {
    queue: mpsc::Sender<Box<Traced>>,
    /// Whether the collector answered last.
    is_open: AtomicBool,
    counters: Arc<TraceCounters>,
}

/// The exporter's thread.
#[derive(Debug)]
pub struct Running {
    traces: Arc<Traces>,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Traces {
    /// Begins to send spans to a collector. `instance` tells this process from others.
    pub fn spawn(
        collector: &Collector,
        instance: &str,
        counters: Arc<TraceCounters>,
    ) -> io::Result<Running> {
        let (queue, decided) = mpsc::channel(QUEUE);
        let traces = Arc::new(Self {
            queue,
            is_open: AtomicBool::new(true),
            counters,
        });
        let (stop, stopped) = oneshot::channel();
        let thread = start(collector, instance, Arc::clone(&traces), decided, stopped)?;
        Ok(Running {
            traces,
            stop,
            thread,
        })
    }

    /// Hands a decision over, which is made ready only if there is room for it.
    pub fn offer(&self, ready: impl FnOnce() -> Traced) {
        if !self.is_open.load(Ordering::Relaxed) {
            self.counters.unreachable.fetch_add(1, Ordering::Relaxed);
            return;
        }
        match self.queue.try_reserve() {
            Ok(room) => room.send(Box::new(ready())),
            Err(_full) => {
                self.counters.queue_full.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

impl Running {
    /// Where workers hand decisions over.
    pub fn traces(&self) -> &Arc<Traces> {
        &self.traces
    }

    /// Ends after what waits is sent, or two seconds. Blocks.
    pub fn stop(self) {
        // A thread that has ended already waits for nothing.
        drop(self.stop);
        drop(self.thread.join());
    }
}

#[cfg(feature = "otlp")]
use exporter::start;

/// Without the feature no settings name a collector.
#[cfg(not(feature = "otlp"))]
fn start(
    _collector: &Collector,
    _instance: &str,
    _traces: Arc<Traces>,
    _decided: mpsc::Receiver<Box<Traced>>,
    _stopped: oneshot::Receiver<()>,
) -> io::Result<JoinHandle<()>> {
    Err(io::ErrorKind::Unsupported.into())
}
