//! What a policy says of rollouts, made ready.

use super::{Guard, Metric, Settings, Stage, WhenInconclusive};
use crate::policy::{
    CohortDocument, GuardDocument, MetricDocument, RolloutDocument, StageDocument,
    WhenInconclusiveDocument,
};
use crate::snapshot::{BUCKETS, Cohort};

impl Settings {
    /// As a policy says, which was checked.
    pub fn of(document: &RolloutDocument) -> Self {
        Self {
            cohort: match document.cohort {
                CohortDocument::Auto => None,
                CohortDocument::Key => Some(Cohort::Key),
                CohortDocument::ClientGroup => Some(Cohort::ClientGroup),
            },
            stages: document.stages.iter().map(stage).collect(),
            guards: document.guards.iter().map(guard).collect(),
            max_hold_ms: document.max_hold.as_ms(),
            when_inconclusive: match document.when_inconclusive {
                WhenInconclusiveDocument::Pause => WhenInconclusive::Pause,
                WhenInconclusiveDocument::Promote => WhenInconclusive::Promote,
                WhenInconclusiveDocument::RollBack => WhenInconclusive::RollBack,
            },
            auto_rollback: document.auto_rollback,
            start_jitter_ms: document.start_jitter.as_ms(),
        }
    }
}

fn stage(stage: &StageDocument) -> Stage {
    Stage {
        buckets: buckets(stage.percent),
        hold_ms: stage.hold.as_ms(),
    }
}

/// How many of the [`BUCKETS`] a percentage is; at least one.
pub fn buckets(percent: f64) -> u16 {
    let exact = (percent / 100.0 * f64::from(BUCKETS)).round();
    let whole = crate::number::to_u64(exact).clamp(1, BUCKETS.into());
    u16::try_from(whole).unwrap_or(BUCKETS)
}

fn guard(guard: &GuardDocument) -> Guard {
    Guard {
        metric: metric(guard.metric),
        limit: guard.limit,
        worse_by: guard.worse_by,
        min_samples: guard.min_samples.into(),
        window_ms: guard.window.as_ms(),
    }
}

fn metric(metric: MetricDocument) -> Metric {
    match metric {
        MetricDocument::P50Ms => Metric::P50Ms,
        MetricDocument::P99Ms => Metric::P99Ms,
        MetricDocument::ErrorPercent => Metric::ErrorPercent,
        MetricDocument::HitPercent => Metric::HitPercent,
        MetricDocument::FetchPercent => Metric::FetchPercent,
        MetricDocument::SpillPercent => Metric::SpillPercent,
        MetricDocument::RefusedPercent => Metric::RefusedPercent,
        MetricDocument::DegradedPercent => Metric::DegradedPercent,
    }
}
