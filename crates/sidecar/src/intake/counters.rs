//! Counters of decisions, one set for each worker so that cores share no cache line.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::state::rows::{MAX_ROWS, NONE, OTHER, Rows};
use tradewind_engine::decision::{Decision, Purity};
use tradewind_engine::evaluate::{MatchedBy, Reason, Verdict};
use tradewind_engine::geo::place::{Precision, Source};
use tradewind_engine::policy::Priority;

/// Upper bounds of the duration histogram, in nanoseconds.
pub const DURATION_BOUNDS_NS: [u64; 14] = [
    100, 200, 300, 400, 500, 750, 1_000, 1_500, 2_000, 5_000, 10_000, 50_000, 100_000, 1_000_000,
];

/// What requests are shed for.
pub const SHED_FOR: [Reason; 2] = [Reason::NoRoom, Reason::RateLimited];

/// Every how many decisions one is timed: reading the clock twice costs a fifth of a decision.
pub const TIMED_EVERY: u64 = 64;

/// What one worker counts. Only that worker writes; relaxed loads and stores are enough.
#[derive(Debug)]
pub struct DecisionCounters {
    decisions: Box<[AtomicU64]>,
    /// By who placed the client, then how closely.
    places: [AtomicU64; Source::ALL.len() * Precision::ALL.len()],
    /// By the rule's row.
    when_errors: Box<[AtomicU64]>,
    /// By the row of the rule that decided; those that no rule decided stand at [`NONE`].
    by_rule: Box<[AtomicU64]>,
    /// By the row of the rule, then priority, then why.
    shed: Box<[AtomicU64]>,
    rejected: AtomicU64,
    /// Asked while nothing was in force.
    too_early: AtomicU64,
    durations: [AtomicU64; DURATION_BOUNDS_NS.len() + 1],
    duration_sum_ns: AtomicU64,
}

impl Default for DecisionCounters {
    fn default() -> Self {
        let cells = MAX_ROWS * Reason::ALL.len() * Purity::ALL.len();
        Self {
            decisions: (0..cells).map(|_| AtomicU64::new(0)).collect(),
            places: std::array::from_fn(|_| AtomicU64::new(0)),
            when_errors: (0..MAX_ROWS).map(|_| AtomicU64::new(0)).collect(),
            by_rule: (0..MAX_ROWS).map(|_| AtomicU64::new(0)).collect(),
            shed: (0..MAX_ROWS * Priority::ALL.len() * SHED_FOR.len())
                .map(|_| AtomicU64::new(0))
                .collect(),
            rejected: AtomicU64::new(0),
            too_early: AtomicU64::new(0),
            durations: std::array::from_fn(|_| AtomicU64::new(0)),
            duration_sum_ns: AtomicU64::new(0),
        }
    }
}

impl DecisionCounters {
    /// Counts a decision; `rows` belong to the policy it was made with.
    pub fn count(&self, decision: &Decision<'_>, rows: &Rows) {
        let evaluation = decision.evaluation();
        let row = decision
            .tier()
            .and_then(|tier| rows.pools.get(tier.pool.get()).copied())
            .unwrap_or(NONE);
        let cell = cell(row, evaluation.reason, decision.purity());
        if let Some(counter) = self.decisions.get(cell) {
            bump(counter, 1);
        }
        let rule = match evaluation.matched {
            MatchedBy::Rule(rule) => rows.decided.get(rule.get()).copied().unwrap_or(OTHER),
            _ => NONE,
        };
        if let Some(counter) = self.by_rule.get(rule) {
            bump(counter, 1);
        }
        if evaluation.verdict == Verdict::Shed {
            let priority = decision.plan().map(|plan| plan.priority);
            let cell = shed_cell(rule, priority.unwrap_or_default(), evaluation.reason);
            if let Some(counter) = self.shed.get(cell) {
                bump(counter, 1);
            }
        }
        let place = &evaluation.located.place;
        if let Some(counter) = self.places.get(place_cell(place.source, place.precision())) {
            bump(counter, 1);
        }
        for rule in evaluation.when_failures.rules() {
            let row = rows.rules.get(rule.get()).copied();
            if let Some(counter) = self.when_errors.get(row.unwrap_or(OTHER)) {
                bump(counter, 1);
            }
        }
    }

    /// Counts a request that could not be read.
    pub fn count_rejected(&self) {
        bump(&self.rejected, 1);
    }

    /// Counts a request that came before anything was in force.
    pub fn count_too_early(&self) {
        bump(&self.too_early, 1);
    }

    /// Records how long a decision took.
    pub fn time(&self, took: Duration) {
        let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let bucket = DURATION_BOUNDS_NS
            .iter()
            .position(|bound| ns <= *bound)
            .unwrap_or(DURATION_BOUNDS_NS.len());
        if let Some(counter) = self.durations.get(bucket) {
            bump(counter, 1);
        }
        bump(&self.duration_sum_ns, ns);
    }
}

/// What is read of them, for `/metrics`.
impl DecisionCounters {
    /// Decisions of one kind.
    pub fn decisions(&self, row: usize, reason: Reason, purity: Purity) -> u64 {
        read(self.decisions.get(cell(row, reason, purity)))
    }

    /// Decisions whose client was placed so.
    pub fn places(&self, source: Source, precision: Precision) -> u64 {
        read(self.places.get(place_cell(source, precision)))
    }

    /// Decisions in which the `when` of the rule with this row could not be answered.
    pub fn when_errors(&self, row: usize) -> u64 {
        read(self.when_errors.get(row))
    }

    /// Decisions by the rule with this row.
    pub fn by_rule(&self, row: usize) -> u64 {
        read(self.by_rule.get(row))
    }

    /// Decisions by the rule with this row that were shed for this reason, one of [`SHED_FOR`].
    pub fn shed(&self, row: usize, priority: Priority, reason: Reason) -> u64 {
        read(self.shed.get(shed_cell(row, priority, reason)))
    }

    /// Requests that could not be read.
    pub fn rejected(&self) -> u64 {
        read(Some(&self.rejected))
    }

    /// Requests answered without a decision: they could not be read, or nothing was in force.
    pub fn unanswered(&self) -> u64 {
        self.rejected() + read(Some(&self.too_early))
    }

    /// Decisions timed, by where in [`DURATION_BOUNDS_NS`] they fell; the last is beyond all.
    pub fn durations(&self) -> [u64; DURATION_BOUNDS_NS.len() + 1] {
        std::array::from_fn(|bucket| read(self.durations.get(bucket)))
    }

    /// What the timed ones took together, in nanoseconds.
    pub fn duration_sum_ns(&self) -> u64 {
        read(Some(&self.duration_sum_ns))
    }
}

fn read(counter: Option<&AtomicU64>) -> u64 {
    counter.map_or(0, |counter| counter.load(Ordering::Relaxed))
}

fn shed_cell(row: usize, priority: Priority, reason: Reason) -> usize {
    let why = SHED_FOR.iter().position(|it| *it == reason).unwrap_or(0);
    (row * Priority::ALL.len() + usize::from(priority.rank())) * SHED_FOR.len() + why
}

fn place_cell(source: Source, precision: Precision) -> usize {
    source as usize * Precision::ALL.len() + precision as usize
}

/// A load and a store instead of an atomic addition: each counter has one writer.
fn bump(counter: &AtomicU64, by: u64) {
    counter.store(
        counter.load(Ordering::Relaxed).wrapping_add(by),
        Ordering::Relaxed,
    );
}

fn cell(row: usize, reason: Reason, purity: Purity) -> usize {
    (row * Reason::ALL.len() + reason as usize) * Purity::ALL.len() + purity as usize
}
