//! Expectations of a policy held against what came out: counted request by request, judged when somebody asks.
//!
//! A plan counts what would come out. The guards of a rollout can count what does: the counts are of answers, whoever made
//! them, and [`check`] is a function of the counts alone.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use serde::Serialize;

use super::answer::Answer;
use super::basis::Basis;
use super::costs::{Cost, Costs};
use super::ratio::share;
use super::words;
use crate::decision::Decision;
use crate::model::{RuleIndex, names};
use crate::policy::{Claim, Expectation, Policy};
use crate::query::Query;

/// Fewest requests that say something of a share or a mean: of so many, a share of one half is known to within 18 points,
/// 19 times of 20.
pub const MIN_REQUESTS: u64 = 30;

/// Fewest requests that say something of the 99th percentile: of fewer it is the dearest one.
pub const MIN_REQUESTS_P99: u64 = 100;

/// What is counted for the expectations of a policy.
#[derive(Debug, Clone)]
pub struct Tally {
    policy: Arc<Policy>,
    /// By rule: its expectations' positions in `counts`.
    by_rule: Vec<Range<usize>>,
    counts: Vec<Count>,
}

/// What is counted for one.
#[derive(Debug, Clone, Default)]
struct Count {
    /// Requests that it is about.
    asked: u64,
    /// How many they stand for.
    requests: u64,
    /// Of those, the ones that count: at the area, outside of it, or refused.
    counted: u64,
    costs: Costs,
    /// The first request that is answered with a node outside, and that node.
    outside: Option<String>,
}

/// What became of an expectation.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Checked {
    /// The rule that it stands in.
    pub rule: Box<str>,
    /// Its position in that rule's list, from 0.
    pub position: usize,
    /// What it claims, in words.
    pub claim: String,
    /// Whether that is so.
    pub upshot: Upshot,
    /// What came out, in words.
    pub came_out: String,
    /// Requests that it rests on.
    pub requests: u64,
    /// Fewest requests that it is judged by.
    pub needed: u64,
}

/// Whether an expectation is met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Upshot {
    /// It is.
    Held,
    /// It is not.
    Broken,
    /// Nobody can say: there were too few requests, or none that were sent.
    NotMeasured,
}

names! { Upshot {
    Held = "held",
    Broken = "broken",
    NotMeasured = "not_measured",
} }

impl Tally {
    /// Nothing counted yet for a policy.
    pub fn new(policy: &Arc<Policy>) -> Self {
        let expectations = policy.expectations();
        // They stand in the order of their rules.
        let of_rule = |rule: usize| {
            let start = expectations.partition_point(|it| it.rule.get() < rule);
            start..expectations.partition_point(|it| it.rule.get() <= rule)
        };
        let rules = match expectations.last() {
            Some(last) => last.rule.get() + 1,
            None => 0,
        };
        Self {
            by_rule: (0..rules).map(of_rule).collect(),
            counts: vec![Count::default(); expectations.len()],
            policy: Arc::clone(policy),
        }
    }

    /// Whether it counts for this policy.
    pub fn is_of(&self, policy: &Arc<Policy>) -> bool {
        Arc::ptr_eq(&self.policy, policy)
    }

    /// Counts a decision, which that policy's routing made of `query`, as `weight` of them.
    pub fn add(&mut self, decision: &Decision<'_>, query: &Query<'_>, weight: u64) {
        let answer = Answer {
            snapshot: decision.snapshot(),
            query,
            evaluation: Cow::Borrowed(decision.evaluation()),
        };
        self.add_answer(&answer, weight);
    }

    pub(super) fn add_answer(&mut self, answer: &Answer<'_>, weight: u64) {
        let rule = answer.rule_index().map(RuleIndex::get);
        let Some(range) = rule.and_then(|rule| self.by_rule.get(rule)) else {
            return;
        };
        let expectations = self
            .policy
            .expectations()
            .get(range.clone())
            .unwrap_or_default();
        let counts = self.counts.get_mut(range.clone()).unwrap_or_default();
        let place = &answer.evaluation.located.place;
        for (expectation, count) in expectations.iter().zip(counts) {
            let client = (place.country, place.asn);
            if expectation.of.includes(client, answer.query.class) {
                count.add(expectation, answer, weight);
            }
        }
    }
}

impl Count {
    fn add(&mut self, expectation: &Expectation, answer: &Answer<'_>, weight: u64) {
        self.asked += 1;
        self.requests += weight;
        let counts = match &expectation.claim {
            Claim::Share { at, .. } => answer.first().is_some_and(|node| at.has(node)),
            Claim::StaysWithin(area) => {
                let mut picks = answer.evaluation.picks.iter();
                let outside = picks.find(|pick| !area.has(pick.node));
                if let (Some(pick), None) = (outside, &self.outside) {
                    let node = answer.snapshot.topology().node(pick.node);
                    let request = words::request(answer.query);
                    self.outside = Some(format!("`{}` for {request}", node.id));
                }
                outside.is_some()
            }
            Claim::ExpectedMs { .. } => {
                if answer.is_routed() {
                    self.costs.add(answer.expected_ms(), weight);
                }
                false
            }
            Claim::Refused { .. } => !answer.is_routed(),
        };
        self.counted += if counts { weight } else { 0 };
    }

    fn check(&self, expectation: &Expectation, basis: Basis) -> (Upshot, String, u64) {
        let ratio = share(self.counted, self.requests);
        let percent = words::percent(ratio);
        let requests = self.requests;
        let enough = self.asked >= MIN_REQUESTS;
        if self.asked == 0 {
            let came_out = "no such request".to_owned();
            return (Upshot::NotMeasured, came_out, MIN_REQUESTS);
        }
        match &expectation.claim {
            Claim::StaysWithin(_) => {
                let Some(outside) = &self.outside else {
                    return (
                        judge(enough, true),
                        "no node outside".to_owned(),
                        MIN_REQUESTS,
                    );
                };
                let counted = self.counted;
                let came_out =
                    format!("{counted} of {requests} get a node outside, first {outside}");
                (Upshot::Broken, came_out, MIN_REQUESTS)
            }
            _ if basis == Basis::Probes => {
                let came_out = "made-up requests say nothing of it; give a log".to_owned();
                (Upshot::NotMeasured, came_out, MIN_REQUESTS)
            }
            Claim::Share {
                at_least, at_most, ..
            } => {
                let holds = at_least.is_none_or(|least| ratio >= least)
                    && at_most.is_none_or(|most| ratio <= most);
                (judge(enough, holds), percent, MIN_REQUESTS)
            }
            Claim::Refused { at_most } => (judge(enough, ratio <= *at_most), percent, MIN_REQUESTS),
            Claim::ExpectedMs { mean, p50, p99 } => {
                let needed = p99.map_or(MIN_REQUESTS, |_| MIN_REQUESTS_P99);
                let Some(cost) = self.costs.sum_up() else {
                    let came_out = "no request of known cost".to_owned();
                    return (Upshot::NotMeasured, came_out, needed);
                };
                let enough = self.asked.min(self.costs.known()) >= needed;
                let holds = keeps(&cost, [*mean, *p50, *p99]);
                (judge(enough, holds), words::cost(&cost), needed)
            }
        }
    }
}

/// Whether a cost keeps its bounds of mean, median and 99th percentile.
fn keeps(cost: &Cost, bounds: [Option<f64>; 3]) -> bool {
    let values = [cost.mean, cost.p50, cost.p99];
    let mut pairs = values.into_iter().zip(bounds);
    pairs.all(|(value, bound)| bound.is_none_or(|bound| value <= bound))
}

fn judge(enough: bool, holds: bool) -> Upshot {
    match (enough, holds) {
        (false, _) => Upshot::NotMeasured,
        (true, true) => Upshot::Held,
        (true, false) => Upshot::Broken,
    }
}

/// Holds the expectations of the policy that was counted for against the counts, in the document's order.
///
/// Of probes, only what must never be is judged: shares, costs and refusals are those of traffic. A node outside of
/// where clients must stay is one too many, however few requests there were.
pub fn check(tally: &Tally, basis: Basis) -> Vec<Checked> {
    let rules = tally.policy.routing().rules();
    let pairs = tally.policy.expectations().iter().zip(&tally.counts);
    let checked = pairs.map(|(expectation, count)| {
        let (upshot, came_out, needed) = count.check(expectation, basis);
        let rule = rules.get(expectation.rule.get());
        Checked {
            rule: rule.map(|rule| rule.name.clone()).unwrap_or_default(),
            position: expectation.position,
            claim: expectation.to_string(),
            upshot,
            came_out,
            requests: count.asked,
            needed,
        }
    });
    checked.collect()
}
