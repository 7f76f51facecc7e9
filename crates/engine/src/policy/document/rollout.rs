//! Rollouts as written: by which stages a new policy comes into force, and what must hold meanwhile.

#[cfg(feature = "schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::document::DurationMs;

/// How a policy that is rolled out takes the place of this one. What counts for a rollout is the section of the policy that
/// is in force, so that none can loosen its own guards.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct RolloutDocument {
    /// By what requests are told apart; default `auto`.
    pub cohort: CohortDocument,
    /// The stages, each with more than the one before; default 1, 5, 25 and 50 %, five minutes each. After the last the
    /// policy is in force for all.
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = 16)))]
    pub stages: Vec<StageDocument>,
    /// What must hold at every stage; default: errors and refusals at most one point more than for the others, and the
    /// 99th percentile of times to the first byte at most 25 % longer.
    #[cfg_attr(feature = "schema", schemars(length(min = 0, max = 16)))]
    pub guards: Vec<GuardDocument>,
    /// How long a stage waits beyond its own time for guards that have seen too little, up to 168h; default 1h.
    pub max_hold: DurationMs,
    /// What comes after that; default `pause`.
    pub when_inconclusive: WhenInconclusiveDocument,
    /// Whether a guard that fails takes the policy back by itself; else the rollout only pauses; default true.
    pub auto_rollback: bool,
    /// Sidecars begin at different times within this span, up to 1h; default 0ms.
    pub start_jitter: DurationMs,
}

/// By what requests are told apart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum CohortDocument {
    /// By object where the change moves keys among nodes, else by client group.
    #[default]
    Auto,
    /// By object, so that its copies move once.
    Key,
    /// By group of clients, so that each sees one policy.
    ClientGroup,
}

/// A share of the requests for a time.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct StageDocument {
    /// How many requests the new policy decides, in percent, 0.01 to 100.
    #[cfg_attr(feature = "schema", schemars(range(min = 0.01, max = 100)))]
    pub percent: f64,
    /// How long at least, up to 168h; default 5m.
    #[serde(default = "default_hold")]
    pub hold: DurationMs,
}

/// A bound on what is measured of the requests that the new policy decides; it needs `limit`, `worse_by` or both.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct GuardDocument {
    /// What is measured.
    pub metric: MetricDocument,
    /// The worst that it may be, in its unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = 600_000)))]
    pub limit: Option<f64>,
    /// How much worse it may be than for requests that the new policy does not decide: percent of that for times,
    /// percentage points for the others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = 1_000)))]
    pub worse_by: Option<f64>,
    /// Fewest samples that say anything, of either side, 1 to 1000000; default 1000.
    #[serde(default = "default_min_samples")]
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 1_000_000)))]
    pub min_samples: u32,
    /// How far back is looked, 1s to 10m; default 1m.
    #[serde(default = "default_window")]
    pub window: DurationMs,
}

/// What is measured, with its unit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum MetricDocument {
    /// Half of the answers have their first byte sooner than this, in ms.
    P50Ms,
    /// 99 of 100 answers have, in ms.
    P99Ms,
    /// Attempts that failed.
    #[default]
    ErrorPercent,
    /// Answers from a cache, of those that could be; less is worse.
    HitPercent,
    /// Answers that had to be fetched, of all.
    FetchPercent,
    /// Decisions that too much load gave to the next node or site.
    SpillPercent,
    /// Decisions that name no node where the other policy would.
    RefusedPercent,
    /// Decisions by a rung of the degradation ladder.
    DegradedPercent,
}

/// What comes of guards that have seen too little for too long.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum WhenInconclusiveDocument {
    /// The rollout stays at its stage until somebody decides.
    #[default]
    Pause,
    /// It goes on as if they had passed.
    Promote,
    /// The policy is taken back.
    RollBack,
}

impl MetricDocument {
    /// Whether it is a time: then what is worse is told in percent.
    pub const fn is_time(self) -> bool {
        matches!(self, Self::P50Ms | Self::P99Ms)
    }
}

impl Default for RolloutDocument {
    fn default() -> Self {
        let stage = |percent| StageDocument {
            percent,
            hold: default_hold(),
        };
        let guard = |metric, worse_by| GuardDocument {
            metric,
            limit: None,
            worse_by: Some(worse_by),
            min_samples: default_min_samples(),
            window: default_window(),
        };
        Self {
            cohort: CohortDocument::Auto,
            stages: [1.0, 5.0, 25.0, 50.0].map(stage).into(),
            guards: vec![
                guard(MetricDocument::ErrorPercent, 1.0),
                guard(MetricDocument::RefusedPercent, 1.0),
                guard(MetricDocument::P99Ms, 25.0),
            ],
            max_hold: DurationMs::from_ms(3_600_000),
            when_inconclusive: WhenInconclusiveDocument::Pause,
            auto_rollback: true,
            start_jitter: DurationMs::from_ms(0),
        }
    }
}

fn default_hold() -> DurationMs {
    DurationMs::from_ms(300_000)
}

fn default_min_samples() -> u32 {
    // A share of 1 % of a thousand is known to 0.3 points: a guard of one point, asked twice a second, seldom cries wolf.
    1_000
}

fn default_window() -> DurationMs {
    DurationMs::from_ms(60_000)
}
