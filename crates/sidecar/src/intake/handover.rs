//! What workers hand to the writer: decisions they made, and what they were told.
//!
//! Each worker has a [`Handover`] of its own, which only it fills and only the writer empties, every tick. A handover never makes
//! its worker wait: if the writer is at it just now, what comes is dropped; if it is full, the oldest is; both are
//! counted. The writer takes all of a handover by swapping buffers, so it holds the lock for a few nanoseconds.
//!
//! Positions of nodes, sites, sets and classes mean something only together with the topology and policy they were
//! looked up in. So every item carries the `fleet` it belongs to: [`Published::revision`](crate::state::Published) at
//! that moment. The writer drops items of another fleet than the one its control loop has adopted.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};

use hdrhistogram::Histogram;

use super::lanes::LaneCounters;
use tradewind_engine::control::cohorts::Decided;
use tradewind_engine::model::NodeIndex;
use tradewind_engine::policy::Affinity;
use tradewind_engine::signal::observation::{Dispatch, LoadReport, Outcome, Reporter, Standing};

/// Decisions that may wait in one handover: what a worker makes in a tick of 100 ms at 650,000 a second.
pub const MAX_DISPATCHES: usize = 65_536;

/// Outcomes and load reports that may wait in one handover.
pub const MAX_REPORTS: usize = 65_536;

/// Histograms that may wait in one handover, of 24 kB each.
pub const MAX_HISTOGRAMS: usize = 256;

/// A decision on its way to the writer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dispatched {
    /// The revision of the policy and topology that its positions belong to.
    pub fleet: u64,
    /// The decision.
    pub dispatch: Dispatch,
    /// What keeps requests on one node in the tier it was decided in.
    pub affinity: Affinity,
}

/// Something told, on its way to the writer.
#[derive(Debug, Clone, PartialEq)]
pub struct Reported {
    /// The revision of the policy and topology that its positions belong to.
    pub fleet: u64,
    /// Who told it, and how they stand to its node.
    pub from: (Reporter, Standing),
    /// What was told.
    pub report: Report,
}

/// What is told of nodes.
#[derive(Debug, Clone, PartialEq)]
pub enum Report {
    /// How an attempt went.
    Outcome(Outcome),
    /// How loaded a node is.
    Load(NodeIndex, LoadReport),
    /// How long a node took to answer, in microseconds.
    ServiceTimes(NodeIndex, Box<Histogram<u64>>),
}

/// All handovers, one for each worker.
#[derive(Debug)]
pub struct Intake {
    handovers: Box<[Arc<Handover>]>,
}

impl Intake {
    /// Inboxes for this many workers.
    pub fn new(workers: usize) -> Self {
        Self {
            handovers: (0..workers).map(|_| Arc::default()).collect(),
        }
    }

    /// Every handover, by worker.
    pub fn handovers(&self) -> &[Arc<Handover>] {
        &self.handovers
    }

    /// What all workers decided so far in each lane, while there were two.
    pub fn decided(&self) -> [Decided; 2] {
        let counted = self.handovers.iter().map(|it| it.lanes.counted());
        counted.fold(<[Decided; 2]>::default(), |[first, second], more| {
            [first.and(&more[0]), second.and(&more[1])]
        })
    }

    /// The handover of a worker; of one beyond the number given at the start, a handover that nobody empties.
    pub fn handover(&self, worker: usize) -> Arc<Handover> {
        self.handovers
            .get(worker)
            .map_or_else(Arc::default, Arc::clone)
    }
}

/// One worker's way to the writer.
#[derive(Debug)]
pub struct Handover {
    dispatches: Queue<Dispatched>,
    reports: Queue<Reported>,
    /// Apart from other reports because they are so much larger.
    histograms: Queue<Reported>,
    /// What this worker decided in each lane, while there are two.
    pub lanes: LaneCounters,
}

impl Default for Handover {
    fn default() -> Self {
        Self {
            dispatches: Queue::new(MAX_DISPATCHES),
            reports: Queue::new(MAX_REPORTS),
            histograms: Queue::new(MAX_HISTOGRAMS),
            lanes: LaneCounters::default(),
        }
    }
}

/// What was dropped on handovers since the start, by queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Dropped {
    /// Decisions.
    pub dispatches: u64,
    /// Outcomes and load reports.
    pub reports: u64,
    /// Histograms.
    pub histograms: u64,
}

impl Handover {
    /// Hands a decision over. For the handover's worker only.
    pub fn dispatched(&self, dispatched: Dispatched) {
        self.dispatches.push(dispatched);
    }

    /// Hands over something told. For the handover's worker only.
    pub fn reported(&self, reported: Reported) {
        match reported.report {
            Report::Outcome(_) | Report::Load(..) => self.reports.push(reported),
            Report::ServiceTimes(..) => self.histograms.push(reported),
        }
    }

    /// Takes all waiting decisions, oldest first, in exchange for `into`, which is emptied first. For the writer only; hand
    /// it the same buffer every time and nothing is allocated.
    pub fn drain_dispatches(&self, into: &mut VecDeque<Dispatched>) {
        self.dispatches.drain(into);
    }

    /// Takes everything told that waits, like [`Handover::drain_dispatches`]; histograms come last.
    pub fn drain_reports(
        &self,
        into: &mut VecDeque<Reported>,
        histograms: &mut VecDeque<Reported>,
    ) {
        self.reports.drain(into);
        self.histograms.drain(histograms);
    }

    /// What was dropped so far.
    pub fn dropped(&self) -> Dropped {
        Dropped {
            dispatches: self.dispatches.dropped.load(Ordering::Relaxed),
            reports: self.reports.dropped.load(Ordering::Relaxed),
            histograms: self.histograms.dropped.load(Ordering::Relaxed),
        }
    }
}

/// A bounded ring between one worker and the writer. Aligned to two cache lines, which processors fetch in pairs, so that
/// what one queue does is not felt on another.
#[derive(Debug)]
#[repr(align(128))]
struct Queue<T> {
    ring: Mutex<VecDeque<T>>,
    capacity: usize,
    /// Written by the worker only.
    dropped: AtomicU64,
}

impl<T> Queue<T> {
    /// The memory is reserved at once, so that no push ever allocates; the system gives it page by page when it is used.
    fn new(capacity: usize) -> Self {
        Self {
            ring: Mutex::new(VecDeque::with_capacity(capacity)),
            capacity,
            dropped: AtomicU64::new(0),
        }
    }

    #[inline]
    fn push(&self, item: T) {
        let mut ring = match self.ring.try_lock() {
            Ok(ring) => ring,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return self.count_dropped(),
        };
        // Dropped after the lock is given back.
        let _oldest = if ring.len() >= self.capacity {
            self.count_dropped();
            ring.pop_front()
        } else {
            None
        };
        ring.push_back(item);
        drop(ring);
    }

    fn drain(&self, into: &mut VecDeque<T>) {
        into.clear();
        into.reserve_exact(self.capacity);
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::swap(&mut *ring, into);
    }

    /// A load and a store instead of an atomic addition: the worker alone counts.
    #[cold]
    fn count_dropped(&self) {
        let dropped = self.dropped.load(Ordering::Relaxed);
        self.dropped.store(dropped + 1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(node: u32) -> Reported {
        Reported {
            fleet: 1,
            from: (Reporter(0), Standing::Own),
            report: Report::Load(NodeIndex(node), LoadReport::default()),
        }
    }

    #[test]
    fn a_full_queue_drops_its_oldest_and_counts_it() {
        let queue = Queue::new(3);
        for item in 0..5 {
            queue.push(item);
        }
        let mut taken = VecDeque::new();
        queue.drain(&mut taken);
        assert_eq!(taken, [2, 3, 4]);
        assert_eq!(queue.dropped.load(Ordering::Relaxed), 2);
        queue.drain(&mut taken);
        assert!(taken.is_empty(), "what was taken does not come back");
    }

    #[test]
    fn while_the_writer_is_at_it_what_comes_is_dropped_and_counted() {
        let queue = Queue::new(3);
        queue.push(1);
        let held = queue.ring.lock().unwrap();
        queue.push(2);
        drop(held);
        queue.push(3);
        let mut taken = VecDeque::new();
        queue.drain(&mut taken);
        assert_eq!(taken, [1, 3]);
        assert_eq!(queue.dropped.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn histograms_do_not_push_out_other_reports() {
        let handover = Handover::default();
        let times = || Box::new(Histogram::new_with_bounds(1, 1_000, 1).unwrap());
        handover.reported(load(7));
        for _ in 0..=MAX_HISTOGRAMS {
            handover.reported(Reported {
                fleet: 1,
                from: (Reporter(0), Standing::Own),
                report: Report::ServiceTimes(NodeIndex(0), times()),
            });
        }
        let (mut reports, mut histograms) = (VecDeque::new(), VecDeque::new());
        handover.drain_reports(&mut reports, &mut histograms);
        assert_eq!((reports.len(), histograms.len()), (1, MAX_HISTOGRAMS));
        assert_eq!(reports[0], load(7));
        let dropped = Dropped {
            histograms: 1,
            ..Dropped::default()
        };
        assert_eq!(handover.dropped(), dropped);
    }

    #[test]
    fn buffers_go_round_without_growing() {
        let handover = Handover::default();
        let (mut reports, mut histograms) = (VecDeque::new(), VecDeque::new());
        for _ in 0..3 {
            for node in 0..100 {
                handover.reported(load(node));
            }
            handover.drain_reports(&mut reports, &mut histograms);
            assert_eq!(reports.len(), 100);
            let capacity = handover.reports.ring.lock().unwrap().capacity();
            assert!((MAX_REPORTS..2 * MAX_REPORTS).contains(&capacity));
        }
    }

    #[test]
    fn a_writer_that_drains_meets_every_item_or_its_count() {
        let handover = Arc::new(Handover::default());
        let worker = Arc::clone(&handover);
        let pushing =
            std::thread::spawn(move || (0..100_000).for_each(|n| worker.reported(load(n))));
        let (mut reports, mut histograms) = (VecDeque::new(), VecDeque::new());
        let mut taken = 0;
        while !pushing.is_finished() {
            handover.drain_reports(&mut reports, &mut histograms);
            taken += reports.len();
        }
        pushing.join().unwrap();
        handover.drain_reports(&mut reports, &mut histograms);
        taken += reports.len();
        assert_eq!(
            u64::try_from(taken).unwrap() + handover.dropped().reports,
            100_000
        );
    }

    #[test]
    fn no_two_queues_share_a_cache_line() {
        assert_eq!(align_of::<Queue<Reported>>(), 128);
        assert_eq!(align_of::<Handover>(), 128);
    }
}
