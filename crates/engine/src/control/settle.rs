//! The second half of a tick: what this process does about the [`Facts`], as [`Signals`] for its decisions.
//!
//! Whoever concluded the Facts, no more of a pool is ejected than the policy allows, sets are readmitted when too little of
//! them is left, and nothing is believed while this process seems cut off.

use std::sync::Arc;

use super::admission::Fleet;
use super::facts::{Facts, NodeFacts};
use super::node::NodeNotes;
use super::{Control, Next, condition, overload};
use crate::number::{from_u64, narrow};
use crate::policy::{Affinity, NodeSet, Numbered, Operation, SetNumber};
use crate::signal::{Admission, NodeSignals, Readmission, Signals};
use crate::time::Moment;

/// A node has more requests in flight than most from this multiple of the mean on.
const HOT_IN_FLIGHT: f64 = 1.25;

impl Control {
    /// Answers what the next snapshot should hold; `None` when nothing changed since the last.
    pub fn settle(&mut self, now: Moment, facts: &Facts, next: Next<'_>) -> Option<Arc<Signals>> {
        let nodes = self.node_signals(now, facts, next);
        let readmission = self.admission.readmission();
        let isolated = self.admission.is_isolated();
        let retries_withheld = self.retrying.withheld();
        let turn = overload::turn(now, &nodes, retries_withheld);
        let paces = self.paces();
        let known = &mut self.signals;
        let races = |nodes: &[NodeSignals]| -> Vec<_> {
            nodes
                .iter()
                .map(|node| (node.admission, node.weight_factor.to_bits()))
                .collect()
        };
        let reweighs = races(&known.nodes) != races(&nodes);
        let changed = reweighs
            || (known.terms_version, known.ways_version)
                != (facts.terms_version, facts.ways_version)
            // Explanations tell what terms rest on, so they must see it age.
            || known.standing != facts.standing
            || known.nodes != nodes
            || known.sites != facts.sites
            || known.readmission != readmission
            || known.isolated != isolated
            || known.paces != paces
            || (known.turn, known.retries_withheld) != (turn, retries_withheld)
            || known.hot.keys() != facts.hot.keys();
        if !changed {
            return None;
        }
        known.weights_version += u64::from(reweighs);
        (known.nodes, known.paces) = (nodes, paces);
        (known.turn, known.retries_withheld) = (turn, retries_withheld);
        (known.readmission, known.isolated) = (readmission, isolated);
        known.hot = facts.hot.clone();
        take(known, facts);
        Some(Arc::new(self.signals.clone()))
    }

    /// What decisions will see of every node.
    fn node_signals(&mut self, now: Moment, facts: &Facts, next: Next<'_>) -> Vec<NodeSignals> {
        let operation = next.policy.operation();
        let admissions = self.admissions(now, &facts.nodes, next);
        let mut pools = next.routing().pools().iter();
        let has_unbound_pools = pools.any(|pool| pool.tier.affinity == Affinity::None);
        // Who has how much to do is a matter of this moment, which only this process sees in time.
        let in_flight = |notes: &NodeNotes| in_flight(now, notes, operation);
        let mean = if has_unbound_pools {
            self.nodes.iter().map(in_flight).sum::<f64>()
                / from_u64(self.nodes.len() as u64).max(1.0)
        } else {
            0.0
        };
        let factors = Factors::new(operation);
        let facts = facts.nodes.iter().copied();
        let facts = facts.chain(std::iter::repeat(NodeFacts::default()));
        let nodes = self.nodes.iter().zip(facts).zip(0..);
        nodes
            .map(|((notes, facts), at): (_, usize)| {
                let load = if has_unbound_pools {
                    in_flight(notes)
                } else {
                    0.0
                };
                NodeSignals {
                    admission: admissions
                        .as_ref()
                        .and_then(|all| all.get(at).copied())
                        .unwrap_or_default(),
                    weight_factor: factors.of(&facts),
                    headroom: facts.headroom,
                    spill: facts.spill,
                    full: facts.full,
                    shed: facts.shed,
                    is_hot: has_unbound_pools && load > mean * HOT_IN_FLIGHT,
                    in_flight: narrow(load),
                    latency_ms: if has_unbound_pools {
                        notes.median_ms().unwrap_or(0.0)
                    } else {
                        0.0
                    },
                }
            })
            .collect()
    }

    /// What every node is admitted for; `None` while nothing speaks against any.
    fn admissions(
        &mut self,
        now: Moment,
        facts: &[NodeFacts],
        next: Next<'_>,
    ) -> Option<Vec<Admission>> {
        let known = &self.signals;
        let any_bad = self.is_unsettled
            || self.admission.is_isolated()
            || (known.nodes.iter()).any(|node| node.admission != Admission::Admitted)
            || (known.readmission.iter()).any(|step| *step > Readmission::None)
            || (facts.iter()).any(|facts| facts.verdict != Admission::Admitted);
        self.is_unsettled = false;
        any_bad.then(|| {
            let sets = sets_of(&self.numbered, next);
            let fleet = Fleet {
                topology: next.topology,
                policy: next.policy,
                sets: &sets,
            };
            self.admission
                .admissions(now, (facts, &self.nodes), fleet, &mut self.events)
        })
    }
}

/// Takes over what decisions see of Facts as they are, whoever may be named.
pub(super) fn take(signals: &mut Signals, facts: &Facts) {
    signals.standing.clone_from(&facts.standing);
    signals.sites.clone_from(&facts.sites);
    signals.network = facts.network.clone();
    signals.trials = facts.trials.clone();
    signals.terms_version = facts.terms_version;
    signals.ways_version = facts.ways_version;
}

/// What is left of a weight at each level of condition.
struct Factors([f64; condition::LEVELS as usize + 1]);

impl Factors {
    fn new(operation: &Operation) -> Self {
        let mut levels = 0_u8..;
        Self(std::array::from_fn(|_| {
            condition::factor(levels.next().unwrap_or(0), &operation.weights)
        }))
    }

    /// A node's condition times its ramp.
    fn of(&self, facts: &NodeFacts) -> f32 {
        let level = usize::from(facts.level.min(condition::LEVELS));
        let factor = self.0.get(level).copied().unwrap_or(1.0);
        narrow(factor * f64::from(facts.ramp.clamp(1, 8)) / 8.0)
    }
}

/// Requests in flight at a node, as it told, or as its rate and its times say.
fn in_flight(now: Moment, notes: &NodeNotes, operation: &Operation) -> f64 {
    let reported = notes
        .load
        .filter(|(_, at)| now.since(*at) <= operation.load_max_age_ms);
    let median_s = f64::from(notes.median_ms().unwrap_or(1.0)) / 1_000.0;
    reported
        .and_then(|(report, _)| report.in_flight.map(f64::from))
        .unwrap_or(notes.rate * median_s)
}

/// The sets of all lanes, each once.
fn sets_of<'a>(numbered: &[Numbered], next: Next<'a>) -> Vec<(SetNumber, &'a NodeSet)> {
    let lanes = numbered.iter().zip(next.routings());
    let sets = lanes.flat_map(|(numbered, routing)| {
        let numbers = numbered.sets().iter().copied();
        numbers.zip(routing.node_sets())
    });
    let mut sets: Vec<_> = sets.collect();
    sets.sort_by_key(|(number, _)| *number);
    sets.dedup_by_key(|(number, _)| *number);
    sets
}
