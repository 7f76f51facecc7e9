//! Decisions by lane, counted while a candidate is tried, as a sidecar's workers do.

use tradewind_engine::control::cohorts::Decided;
use tradewind_engine::evaluate::{Evaluation, Reason, Rung, Verdict};
use tradewind_engine::model::LaneIndex;

/// What was counted since it was told last.
#[derive(Debug, Default)]
pub(super) struct Lanes([Decided; 2]);

impl Lanes {
    /// Counts a decision.
    pub(super) fn count(&mut self, evaluation: &Evaluation) {
        let [first, second] = &mut self.0;
        let decided = match evaluation.lane {
            LaneIndex::First => first,
            LaneIndex::Second => second,
        };
        let is_spilled = matches!(evaluation.reason, Reason::Spilled | Reason::SiteSpilled);
        *decided = decided.and(&Decided {
            all: 1,
            refused: (evaluation.verdict == Verdict::Refuse).into(),
            degraded: (evaluation.rung != Rung::Normal).into(),
            spilled: is_spilled.into(),
        });
    }

    /// What was counted since the last call, by lane.
    pub(super) fn take(&mut self) -> [Decided; 2] {
        std::mem::take(&mut self.0)
    }
}
