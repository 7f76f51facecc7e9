//! Decisions by lane, counted while a candidate is tried: what the guards of a rollout compare.

use std::sync::atomic::{AtomicU64, Ordering};

use tradewind_engine::control::cohorts::Decided;
use tradewind_engine::evaluate::{Evaluation, Reason, Rung, Verdict};
use tradewind_engine::model::LaneIndex;

/// What one worker counts. Only that worker writes; relaxed loads and stores are enough.
#[derive(Debug, Default)]
pub struct LaneCounters {
    lanes: [Lane; 2],
}

#[derive(Debug, Default)]
struct Lane {
    all: AtomicU64,
    refused: AtomicU64,
    degraded: AtomicU64,
    spilled: AtomicU64,
}

impl LaneCounters {
    /// Counts a decision. `is_refused_alone` is asked of one that names no node: whether the other lane would name some.
    pub fn count(&self, evaluation: &Evaluation, is_refused_alone: impl FnOnce() -> bool) {
        let lane = self.lane(evaluation.lane);
        let is_spilled = matches!(evaluation.reason, Reason::Spilled | Reason::SiteSpilled);
        bump(&lane.all, true);
        let is_refused = evaluation.verdict == Verdict::Refuse && is_refused_alone();
        bump(&lane.refused, is_refused);
        bump(&lane.degraded, evaluation.rung != Rung::Normal);
        bump(&lane.spilled, is_spilled);
    }

    /// What was counted so far, by lane.
    pub fn counted(&self) -> [Decided; 2] {
        LaneIndex::BOTH.map(|lane| {
            let lane = self.lane(lane);
            let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
            Decided {
                all: read(&lane.all),
                refused: read(&lane.refused),
                degraded: read(&lane.degraded),
                spilled: read(&lane.spilled),
            }
        })
    }

    fn lane(&self, lane: LaneIndex) -> &Lane {
        let [first, second] = &self.lanes;
        match lane {
            LaneIndex::First => first,
            LaneIndex::Second => second,
        }
    }
}

fn bump(counter: &AtomicU64, counts: bool) {
    let before = counter.load(Ordering::Relaxed);
    counter.store(before.wrapping_add(counts.into()), Ordering::Relaxed);
}
