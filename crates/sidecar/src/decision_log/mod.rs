//! The decision log: a file of decisions that can be made again, bit for bit, on any machine.
//!
//! It holds what a decision is made from: the texts once, what was known of the fleet whenever that has changed (as followers
//! are told, [`follow`](crate::wire::follow)), and of each decision what was asked and what was answered. Of a client it holds
//! no more than decided: see [`least`]. [`record`] has the lines, [`reader`] reads them back.
//!
//! A worker hands over what it has anyway, and never waits: what finds the queue full is lost, counted, and told in the log.
//! Everything else is done by a thread of the log's own.

mod file;
mod keeper;
mod lanes;
pub mod least;
mod patch;
pub mod reader;
pub mod record;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use crate::state::{DecisionLogCounters, Published};
use crate::wire::proto;
use keeper::Keeper;
use tradewind_engine::decision::Purity;
use tradewind_engine::evaluate::{Evaluation, Verdict};

/// Decisions that may wait to be written.
const QUEUE: usize = 4_096;

/// A decision on its way into the log.
#[derive(Debug)]
pub struct Logged {
    /// Names the decision.
    pub decision_id: String,
    /// What was asked.
    pub request: proto::DecideRequest,
    /// The outcome.
    pub evaluation: Evaluation,
    /// What it was decided on.
    pub published: Arc<Published>,
}

/// What the log's thread is told.
enum Event {
    Decided(Box<Logged>),
    Stop,
}

/// Where workers hand decisions over.
#[derive(Debug)]
pub struct DecisionLog {
    events: SyncSender<Event>,
    waiting: Arc<AtomicUsize>,
    counters: Arc<DecisionLogCounters>,
}

/// The log's thread.
#[derive(Debug)]
pub struct Running {
    log: Arc<DecisionLog>,
    thread: JoinHandle<()>,
}

impl DecisionLog {
    /// Begins a log at `path`; what would make the file larger than `max_bytes` begins a new one, and the last one before
    /// that is kept as `path` with `.1` behind it.
    pub fn spawn(
        (path, max_bytes): (PathBuf, u64),
        counters: Arc<DecisionLogCounters>,
    ) -> io::Result<Running> {
        let (events, queue) = sync_channel(QUEUE);
        let waiting = Arc::new(AtomicUsize::new(0));
        let mut keeper = Keeper::new((path, max_bytes), Arc::clone(&counters));
        let left = Arc::clone(&waiting);
        let thread = thread::Builder::new()
            .name("tradewind-log".to_owned())
            .spawn(move || {
                keeper.begin();
                while let Ok(Event::Decided(logged)) = queue.recv() {
                    let others = left.fetch_sub(1, Ordering::Relaxed).saturating_sub(1);
                    keeper.keep(&logged, others == 0);
                }
                keeper.close();
            })?;
        let log = Arc::new(Self {
            events,
            waiting,
            counters,
        });
        Ok(Running { log, thread })
    }

    /// Whether a decision goes into the log: every one that is refused, shed, degraded or spilled, and of the others those that are
    /// sampled. One that finds no room is counted here, so that nothing is made ready for it.
    pub fn wants(&self, is_sampled: bool, verdict: Verdict, purity: Purity) -> bool {
        let is_notable =
            verdict != Verdict::Route || matches!(purity, Purity::Degraded | Purity::Spilled);
        if !is_sampled && !is_notable {
            return false;
        }
        let has_room = self.waiting.load(Ordering::Relaxed) < QUEUE;
        if !has_room {
            self.counters.queue_full.fetch_add(1, Ordering::Relaxed);
        }
        has_room
    }

    /// Hands a decision over; drops and counts it when the queue is full.
    pub fn offer(&self, logged: Logged) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        if self
            .events
            .try_send(Event::Decided(Box::new(logged)))
            .is_err()
        {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            self.counters.queue_full.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Running {
    /// Where workers hand decisions over.
    pub fn log(&self) -> &Arc<DecisionLog> {
        &self.log
    }

    /// Ends the log after the decisions already handed over. Waits for the disk.
    pub fn stop(self) {
        // A thread that has ended has written all it could.
        drop(self.log.events.send(Event::Stop));
        drop(self.thread.join());
    }
}

#[cfg(test)]
mod tests;
