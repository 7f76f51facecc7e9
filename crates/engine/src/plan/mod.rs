//! The plan of a change: what a new edition does to requests, before it takes effect.
//!
//! Each request is decided by both editions, on snapshots with the same signals and the same geography, and the two answers
//! are compared: [`Planner`] takes one request at a time and keeps counts, so a log of any length needs the same memory.
//! Decisions are a pure function of snapshot and query, so what a plan says of a request is what will come of it.
//!
//! Requests are those of a log or a sample, else made up ([`of_probes`]); the report says what it rests on.
//! [`gates`] holds it against what the policy in force lets a change do, [`check`] the expectations of the new policy.
//!
//! What it does not see: what the change does to load, and so to spill and to hot keys, which follow it when it is in
//! force; and what other caches could spare the origin.

mod answer;
mod basis;
mod claims;
mod costs;
mod gate;
mod homes;
mod probes;
mod ratio;
mod report;
mod side;
mod why;
mod words;

use std::collections::{BTreeMap, BTreeSet};

use crate::model::NodeIndex;
use crate::number::from_u64;
use crate::query::Query;
use crate::snapshot::Snapshot;
use answer::Answer;
use homes::{Homes, Pair};
use ratio::percent;
use side::Side;

pub use basis::Basis;
pub use claims::{Checked, MIN_REQUESTS, MIN_REQUESTS_P99, Tally, Upshot, check};
pub use costs::Cost;
pub use gate::{Breach, gates};
pub use probes::{MAX_PROBES, of_probes};
pub use report::{
    ExpectedMs, ExtraOrigin, HitChange, Hits, Keys, MAX_EXAMPLES, Move, Moved, Report, Requests,
    RuleHits, Said, Share, Stop, VerdictChange,
};

/// A request as each edition reads it: policies may differ in what the normal form of a path is, and which headers count.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'q> {
    /// As the edition before reads it.
    pub before: &'q Query<'q>,
    /// As the edition after reads it.
    pub after: &'q Query<'q>,
}

impl<'q> Asked<'q> {
    /// A request that both read alike.
    pub fn alike(query: &'q Query<'q>) -> Self {
        Self {
            before: query,
            after: query,
        }
    }
}

/// Compares two editions, request by request.
#[derive(Debug)]
pub struct Planner<'s> {
    basis: Basis,
    before: Side<'s>,
    after: Side<'s>,
    /// By node of the edition before: the same node of the edition after.
    after_of: Vec<Option<NodeIndex>>,
    asked: u64,
    requests: u64,
    moved: u64,
    homes: Homes,
    /// By how much requests cost more of which both costs are known, and how many there are.
    increase: (f64, u64),
    past_caches: u64,
    newly_refused: u64,
    verdicts: BTreeMap<(Said, Said), u64>,
    kinds: BTreeSet<MoveKind>,
    examples: Vec<Move>,
    claims: Tally,
}

/// What tells one kind of move from another: rule afterwards, and the two sites.
type MoveKind = (Option<Box<str>>, Option<Box<str>>, Option<Box<str>>);

impl<'s> Planner<'s> {
    /// Compares `before` with `after`, each a snapshot of one routing, both with the same signals and the same geography;
    /// `basis` is what the requests are.
    pub fn new(before: &'s Snapshot, after: &'s Snapshot, basis: Basis) -> Self {
        let nodes = before.topology().nodes().iter();
        let routing = after.routing();
        Self {
            basis,
            before: Side::new(before),
            after: Side::new(after),
            after_of: nodes.map(|node| routing.find_node(&node.id)).collect(),
            asked: 0,
            requests: 0,
            moved: 0,
            homes: Homes::default(),
            increase: (0.0, 0),
            past_caches: 0,
            newly_refused: 0,
            verdicts: BTreeMap::new(),
            kinds: BTreeSet::new(),
            examples: Vec::new(),
            claims: Tally::new(&after.parts().policy),
        }
    }

    /// Has a request decided by both, which stands for `weight` requests: 1 for one of a log, 100 for one of a sample of one
    /// in a hundred.
    pub fn observe(&mut self, asked: Asked<'_>, weight: u32) {
        let before = Answer::of(self.before.snapshot, asked.before);
        let after = Answer::of(self.after.snapshot, asked.after);
        let weight = u64::from(weight);
        self.asked += 1;
        self.requests += weight;
        self.before.add(&before, weight);
        self.after.add(&after, weight);
        self.claims.add_answer(&after, weight);
        self.compare_costs(&before, &after, weight);
        self.compare_verdicts(&before, &after, weight);
        if before.is_kept() && after.goes_to_origin() {
            self.past_caches += weight;
        }
        let old = before.first().and_then(|node| self.now(node));
        let same_node = match before.first() {
            Some(_) => old.is_some() && old == after.first(),
            None => after.first().is_none(),
        };
        let had_to = !same_node && !old.is_some_and(|node| after.could_name(node));
        let pair = Pair {
            before: &before,
            after: &after,
            same_node,
            had_to,
        };
        self.homes.add(pair, weight);
        if !same_node {
            self.moved += weight;
            self.show(&before, &after);
        }
    }

    /// What came out.
    pub fn finish(self) -> Report {
        let (increase_ms, increased) = self.increase;
        let fetches = self.homes.fetches + self.past_caches;
        let moved_keys = self.homes.moved_keys.in_percent();
        let forced = self.homes.forced_keys;
        let (sites, nodes) = side::shares(&self.before, &self.after);
        let verdicts = self.verdicts.into_iter();
        Report {
            rests_on: self.basis,
            requests: Requests {
                asked: self.asked,
                looked_at: self.requests,
                moved: self.moved,
                moved_percent: percent(self.moved, self.requests),
            },
            keys: Keys {
                all: moved_keys,
                least_possible: forced,
                least_possible_percent: percent(forced, moved_keys.looked_at),
            },
            clients: self.homes.moved_clients.in_percent(),
            expected_ms: ExpectedMs {
                before: self.before.costs.sum_up(),
                after: self.after.costs.sum_up(),
                mean_increase: (increased > 0).then(|| increase_ms / from_u64(increased)),
            },
            extra_origin: ExtraOrigin {
                fetches,
                percent: percent(fetches, self.requests),
                cold_objects: self.homes.cold,
                past_caches: self.past_caches,
            },
            verdicts: verdicts
                .map(|((before, after), requests)| VerdictChange {
                    before,
                    after,
                    requests,
                })
                .collect(),
            newly_refused_percent: percent(self.newly_refused, self.requests),
            sites,
            nodes,
            rules: side::rules(&self.before, &self.after),
            no_rule: Hits {
                before: self.before.no_rule,
                after: self.after.no_rule,
            },
            examples: self.examples,
            expectations: check(&self.claims, self.basis),
        }
    }

    /// The node of the edition after that is a node of the edition before.
    fn now(&self, node: NodeIndex) -> Option<NodeIndex> {
        self.after_of.get(node.get()).copied().flatten()
    }

    fn compare_costs(&mut self, before: &Answer<'_>, after: &Answer<'_>, weight: u64) {
        if let (Some(old), Some(new)) = (before.expected_ms(), after.expected_ms()) {
            self.increase.0 += f64::from(new - old) * from_u64(weight);
            self.increase.1 += weight;
        }
    }

    fn compare_verdicts(&mut self, before: &Answer<'_>, after: &Answer<'_>, weight: u64) {
        if before.is_routed() == after.is_routed() {
            return;
        }
        if before.is_routed() {
            self.newly_refused += weight;
        }
        let [old, new] = [before, after].map(|answer| Said {
            verdict: answer.evaluation.verdict.name(),
            reason: answer.evaluation.reason.name(),
        });
        *self.verdicts.entry((old, new)).or_default() += weight;
    }

    /// Keeps a move as an example, if it is the first of its kind and there is room.
    fn show(&mut self, before: &Answer<'_>, after: &Answer<'_>) {
        if self.examples.len() >= MAX_EXAMPLES {
            return;
        }
        let site = |answer: &Answer<'_>| answer.site().map(|site| site.id.clone());
        let rule = after.rule().map(|rule| rule.name.clone());
        if !self.kinds.insert((rule, site(before), site(after))) {
            return;
        }
        let stop = |answer: &Answer<'_>| {
            let (node, site) = (answer.node()?, answer.site()?);
            Some(Stop {
                node: node.id.clone(),
                site: site.id.clone(),
            })
        };
        self.examples.push(Move {
            request: words::request(after.query),
            client: words::client(&after.evaluation.located),
            from: stop(before),
            to: stop(after),
            why: why::why(before, after),
        });
    }
}
