//! What a candidate would have answered: live requests decided by both lanes, off the way of their answers.
//!
//! A worker hands over one request in so many while there is a candidate; it is decided once more on the control runtime.
//! So much of that is done a second at most, and what it costs is counted: looking must not slow routing.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::clock;
use crate::state::Published;
use tradewind_engine::decision::Decision;
use tradewind_engine::evaluate::{Evaluation, evaluate_in};
use tradewind_engine::model::LaneIndex;
use tradewind_engine::plan::{self, Basis, Checked, Tally, Upshot};
use tradewind_engine::policy::Policy;
use tradewind_engine::query::Query;

/// One decision in so many is compared.
pub const COMPARED_EVERY: u64 = 16;

/// Most comparisons a second: some milliseconds of the control runtime.
const MAX_A_SECOND: u32 = 2_000;

/// Most rules that are told apart; the rest is one.
const MAX_RULES: usize = 256;

/// What stands for rules beyond that.
const OTHER_RULES: &str = "other";

/// How two answers to one request differ, the greatest difference first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// One names nodes, the other does not.
    Verdict,
    /// Their first nodes are at different sites.
    Site,
    /// Their first nodes are different ones at one site.
    Node,
    /// Another rule decided, and the first node is the same.
    Rule,
}

impl Kind {
    /// The word for it in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Verdict => "verdict",
            Self::Site => "site",
            Self::Node => "node",
            Self::Rule => "rule",
        }
    }
}

/// What was compared of one candidate.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Compared {
    /// The candidate's digest, shortened.
    pub digest: String,
    /// Requests decided by both.
    pub requests: u64,
    /// Requests by the rule of the policy in force and by how the answers differ.
    pub disagreements: BTreeMap<String, BTreeMap<Kind, u64>>,
    /// What deciding them once more took, in ms.
    pub took_ms: f64,
}

/// Compares, and keeps what came of it.
#[derive(Debug, Default)]
pub struct Shadow {
    compared: Mutex<Compared>,
    /// What the candidate's expectations say of the requests that were compared.
    tally: Mutex<Option<Tally>>,
    turn: Mutex<Option<(Instant, u32)>>,
    skipped: AtomicU64,
}

impl Shadow {
    /// Decides a request by the lane that did not decide it, and notes how the answers differ.
    pub fn compare(&self, published: &Published, query: &Query<'_>, evaluation: &Evaluation) {
        let Some(candidate) = &published.candidate else {
            return;
        };
        if !self.takes_turn() {
            self.skipped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let began = clock::now();
        let Some((rule, kind)) = self.difference(published, query, evaluation) else {
            return;
        };
        let took = began.elapsed();
        let mut compared = self.compared();
        if compared.digest != candidate.digest {
            *compared = Compared {
                digest: candidate.digest.clone(),
                ..Compared::default()
            };
        }
        compared.requests += 1;
        compared.took_ms += took.as_secs_f64() * 1_000.0;
        if let Some(kind) = kind {
            let is_known = compared.disagreements.contains_key(&rule);
            let has_room = is_known || compared.disagreements.len() < MAX_RULES;
            let rule = if has_room {
                rule
            } else {
                OTHER_RULES.to_owned()
            };
            *compared
                .disagreements
                .entry(rule)
                .or_default()
                .entry(kind)
                .or_default() += 1;
        }
    }

    /// The first expectation of the candidate that is broken, in words. Rollouts ask, so that no policy comes into force that
    /// does not do what it says.
    pub fn broken_expectation(&self, candidate: &Arc<Policy>) -> Option<String> {
        let mut checked = self.expectations(candidate).into_iter();
        let broken = checked.find(|it| it.upshot == Upshot::Broken)?;
        Some(format!(
            "rule `{}` expects: {}; it comes out at {}",
            broken.rule, broken.claim, broken.came_out
        ))
    }

    /// What became of the expectations of this candidate; nothing where it was not compared yet.
    pub fn expectations(&self, candidate: &Arc<Policy>) -> Vec<Checked> {
        let tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        let tally = tally.as_ref().filter(|tally| tally.is_of(candidate));
        tally.map_or_else(Vec::new, |tally| plan::check(tally, Basis::Traffic))
    }

    /// Counts what the candidate answers, for its expectations.
    fn count(&self, policy: &Arc<Policy>, tried: &Decision<'_>, query: &Query<'_>) {
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        let known = tally.take().filter(|known| known.is_of(policy));
        let mut counted = known.unwrap_or_else(|| Tally::new(policy));
        counted.add(tried, query, 1);
        *tally = Some(counted);
    }

    /// What came of it, for the candidate compared last.
    pub fn seen(&self) -> Compared {
        self.compared().clone()
    }

    /// Requests that were handed over and not compared, because there were too many.
    pub fn skipped(&self) -> u64 {
        self.skipped.load(Ordering::Relaxed)
    }

    fn compared(&self) -> std::sync::MutexGuard<'_, Compared> {
        self.compared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether one more may be compared in this second.
    fn takes_turn(&self) -> bool {
        let now = clock::now();
        let mut turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, count) = turn
            .filter(|(since, _)| now.duration_since(*since) < Duration::from_secs(1))
            .unwrap_or((now, 0));
        *turn = Some((since, count + 1));
        count < MAX_A_SECOND
    }
}

impl Shadow {
    /// The rule of the policy in force that decides a request, and how the two answers differ, if they do.
    fn difference(
        &self,
        published: &Published,
        query: &Query<'_>,
        evaluation: &Evaluation,
    ) -> Option<(String, Option<Kind>)> {
        let snapshot = &published.snapshot;
        let [first, second] = LaneIndex::BOTH.map(|lane| {
            if lane == evaluation.lane {
                evaluation.clone()
            } else {
                evaluate_in(snapshot, lane, query)
            }
        });
        let [in_force, tried] = [&first, &second].map(|it| Decision::new(snapshot, it));
        let policy = &published.candidate.as_ref()?.policy;
        self.count(policy, &tried, query);
        let place = |decision: &Decision<'_>| {
            let pick = decision.evaluation().picks.first()?;
            Some((snapshot.topology().site_of(pick.node), pick.node))
        };
        let kind = match (place(&in_force), place(&tried)) {
            _ if first.verdict != second.verdict => Some(Kind::Verdict),
            (Some((site, _)), Some((other, _))) if site != other => Some(Kind::Site),
            (one, other) if one != other => Some(Kind::Node),
            _ if in_force.rule_name() != tried.rule_name() => Some(Kind::Rule),
            _ => None,
        };
        Some((in_force.rule_name().to_owned(), kind))
    }
}
