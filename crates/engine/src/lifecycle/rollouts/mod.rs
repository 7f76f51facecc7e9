//! A candidate beside the policy in force: rolled out stage by stage, or only looked at in the shadow of it.
//!
//! There is one at most. It stands on the policy in force: where another one comes into force it ends, and where another
//! fleet does it is compiled for that, or ends. What is kept of it lets a restart go on at the same stage; where that cannot
//! be, it ends, so that no process ever tries a candidate on more than it was told to.

mod changes;
mod course;

use std::sync::Arc;

use super::notice::RolloutFate;
use super::{ApplyError, Unusable};
use crate::document::Diagnostics;
use crate::edition::Edition;
use crate::model::Digest;
use crate::policy::Policy;
use crate::rollout::{Order, OrderError, Phase, Progress, Stage};
use crate::snapshot::{Cohort, Split};

/// A policy to roll out, or to look at.
#[derive(Debug, Clone, PartialEq)]
pub struct RolloutRequest {
    /// Its text.
    pub document: Arc<str>,
    /// Why that is refused, whatever it says, by what the host found out about it.
    pub unusable: Option<Unusable>,
    /// The number of the revision that must be in force; `None` for any.
    pub if_revision: Option<u64>,
    /// By what requests are told apart; `None` for what the policy in force says.
    pub cohort: Option<Cohort>,
    /// The stages; empty for what the policy in force says.
    pub stages: Vec<Stage>,
    /// Whether it is only looked at: it decides nothing, and does not come into force by itself.
    pub is_shadow: bool,
    /// Where this process is in the span over which sidecars begin, 0 to 1.
    pub jitter: f64,
    /// Who asks.
    pub who: String,
    /// Why.
    pub why: String,
}

/// What an operator asks of the rollout that there is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RolloutOrder {
    /// What.
    pub order: Order,
    /// Who asks.
    pub who: String,
    /// Why.
    pub why: String,
}

/// What is kept of a rollout.
#[derive(Debug, Clone, PartialEq)]
pub struct RolloutRecord {
    /// The candidate's text.
    pub document: Arc<str>,
    /// The digest of the policy that it stands on.
    pub base: Digest,
    /// Its stages.
    pub stages: Vec<Stage>,
    /// By what requests are told apart.
    pub cohort: Cohort,
    /// Whether it is only looked at.
    pub is_shadow: bool,
    /// The stage, from 0.
    pub stage: usize,
    /// Whether it goes on.
    pub phase: Phase,
    /// Since when it is at that stage, ms since 1970.
    pub stage_since_unix_ms: u64,
    /// When it began, ms since 1970.
    pub started_unix_ms: u64,
    /// Who wanted it.
    pub who: String,
    /// Why.
    pub why: String,
}

/// A candidate that is rolled out or looked at.
#[derive(Debug, Clone)]
pub struct Rolling {
    /// The candidate, with the fleet in force.
    pub candidate: Edition,
    /// How far it is; of one that is only looked at, nothing moves.
    pub progress: Progress,
    /// By what requests are told apart.
    pub cohort: Cohort,
    /// Whether it is only looked at.
    pub is_shadow: bool,
    /// What it changes, a line each.
    pub changes: Vec<String>,
    /// The digest of the policy that it stands on.
    pub base: Digest,
    /// The text of that.
    pub base_text: Arc<str>,
    /// When it began, ms since 1970.
    pub started_unix_ms: u64,
    /// Who wanted it.
    pub who: String,
    /// Why.
    pub why: String,
}

/// How the last rollout ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// The candidate's digest.
    pub digest: Digest,
    /// What became of it.
    pub fate: RolloutFate,
    /// Why.
    pub why: String,
    /// When, ms since 1970.
    pub at_unix_ms: u64,
}

/// A candidate as it is to be published.
#[derive(Debug, Clone)]
pub struct Tried {
    /// The candidate.
    pub policy: Arc<Policy>,
    /// What that was compiled from.
    pub text: Arc<str>,
    /// What it decides.
    pub split: Split,
}

/// What became of a rollout that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RolloutAnswer {
    /// Why the candidate is refused; without errors if it is not.
    pub faults: Diagnostics,
    /// What somebody should look at.
    pub warnings: Diagnostics,
}

/// Why a rollout was not begun or changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RolloutError {
    /// What would refuse any policy.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// There is one.
    #[error("policy {0} is tried already: see `tradewind rollout status`, abort it first")]
    UnderWay(String),
    /// There is none.
    #[error("no rollout is under way")]
    None,
    /// The candidate changes nothing that part of the requests could be tried with.
    #[error("{0}")]
    NothingToTry(&'static str),
    /// Nothing goes on with a candidate that is only looked at.
    #[error("the candidate is only looked at: abort it, and start a rollout")]
    Shadow,
    /// It cannot be done at this stage.
    #[error(transparent)]
    Order(#[from] OrderError),
}

impl Rolling {
    /// As it is to be published.
    pub(in crate::lifecycle) fn tried(&self) -> Tried {
        Tried {
            policy: Arc::clone(self.candidate.policy()),
            text: Arc::clone(self.candidate.policy_text()),
            split: Split {
                cohort: self.cohort,
                buckets: self.buckets(),
                salt: self.digest().salt(),
            },
        }
    }

    /// How many of all buckets it decides.
    pub fn buckets(&self) -> u16 {
        if self.is_shadow {
            0
        } else {
            self.progress.buckets()
        }
    }

    /// The candidate's digest.
    pub fn digest(&self) -> Digest {
        self.candidate.policy().digest()
    }

    /// What is kept of it.
    pub fn record(&self) -> RolloutRecord {
        RolloutRecord {
            document: Arc::clone(self.candidate.policy_text()),
            base: self.base,
            stages: self.progress.settings().stages.clone(),
            cohort: self.cohort,
            is_shadow: self.is_shadow,
            stage: self.progress.stage(),
            phase: self.progress.phase().clone(),
            stage_since_unix_ms: self.progress.stage_since_unix_ms(),
            started_unix_ms: self.started_unix_ms,
            who: self.who.clone(),
            why: self.why.clone(),
        }
    }
}
