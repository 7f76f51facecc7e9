//! From judgements to admissions: which node may be named, as far as it is believed that it should not be.

use std::collections::BTreeSet;

use super::event::Event;
use super::facts::NodeFacts;
use super::ladder::{Ladder, Weights};
use super::node::NodeNotes;
use super::positions::Mapping;
use super::{Doubt, SetReport};
use crate::health::budget::{self, Member};
use crate::health::isolation::{ANSWER_MS, EVENT_MS, Isolation, SiteHealth};
use crate::model::{AdminState, NodeIndex};
use crate::policy::{NodeSet, Policy, SetNumber};
use crate::signal::{Admission, Readmission};
use crate::time::Moment;
use crate::topology::Topology;

pub use super::judgement::{Judgement, Source, judgement};

/// The writer's notes on who may be named.
#[derive(Debug, Default)]
pub struct AdmissionNotes {
    isolation: Isolation,
    ladders: Vec<Ladder>,
    denied: BTreeSet<NodeIndex>,
    isolated_since: Option<Moment>,
}

/// Whose nodes they are.
#[derive(Debug, Clone, Copy)]
pub struct Fleet<'a> {
    /// The fleet.
    pub topology: &'a Topology,
    /// The policy.
    pub policy: &'a Policy,
    /// Every set of nodes that requests may be decided among, each once.
    pub sets: &'a [(SetNumber, &'a NodeSet)],
}

impl AdmissionNotes {
    /// Whether judgements are frozen.
    pub fn is_isolated(&self) -> bool {
        self.isolation.is_isolated()
    }

    /// Whether what speaks against a node since then is not believed, because it came up while this sidecar seemed cut off.
    pub fn disbelieves(&self, unwell_since: Option<Moment>) -> bool {
        unwell_since.is_some_and(|since| self.isolation.disbelieves(since))
    }

    /// The nodes whose breakers are open but that stay in use, because their pools have lost too much already.
    pub fn denied(&self) -> &BTreeSet<NodeIndex> {
        &self.denied
    }

    /// What is told of a set for people.
    pub(super) fn set_report(&self, set: SetNumber) -> SetReport {
        let ladder = self.ladders.get(set.get());
        ladder.map(Ladder::report).unwrap_or_default()
    }

    /// Since when judgements are frozen, if they are.
    pub(super) fn doubt(&self) -> Option<Doubt> {
        let (since, until) = self.isolated_since.zip(self.isolation.until())?;
        Some(Doubt { since, until })
    }

    /// How far each set is readmitted.
    pub fn readmission(&self) -> Vec<Readmission> {
        self.ladders.iter().map(|ladder| ladder.step()).collect()
    }

    /// Positions are others now: what is known goes on at its new place.
    pub(super) fn carry(&mut self, mapping: &Mapping) {
        self.ladders = mapping.by_set(std::mem::take(&mut self.ladders));
        let denied = std::mem::take(&mut self.denied).into_iter();
        self.denied = denied.filter_map(|node| mapping.node(node)).collect();
    }

    /// What every node is admitted for. `nodes` says who was heard.
    pub fn admissions(
        &mut self,
        now: Moment,
        (facts, nodes): (&[NodeFacts], &[NodeNotes]),
        fleet: Fleet<'_>,
        events: &mut Vec<Event>,
    ) -> Vec<Admission> {
        self.suspect_isolation(now, (facts, nodes), fleet.topology, events);
        let mut believed: Vec<Admission> = facts
            .iter()
            .map(|facts| {
                if self.disbelieves(facts.unwell_since) {
                    Admission::Admitted
                } else {
                    facts.verdict
                }
            })
            .collect();
        self.climb(now, &believed, fleet, events);
        self.keep_budget(&mut believed, (facts, fleet), events);
        believed
    }

    fn suspect_isolation(
        &mut self,
        now: Moment,
        (facts, nodes): (&[NodeFacts], &[NodeNotes]),
        topology: &Topology,
        events: &mut Vec<Event>,
    ) {
        let mut sites = vec![SiteHealth::default(); topology.sites().len()];
        for ((node, notes), facts) in topology.nodes().iter().zip(nodes).zip(facts) {
            if let Some(site) = sites.get_mut(node.site.get())
                && node.state == AdminState::Ready
            {
                site.nodes += 1;
                let failed = !matches!(
                    facts.verdict,
                    Admission::Admitted | Admission::Overloaded | Admission::Unknown
                );
                let lately = (facts.unwell_since).is_some_and(|since| now.since(since) <= EVENT_MS);
                site.failed_lately += u32::from(failed && lately);
                let heard = |(at, _): (Moment, bool)| now.since(at) <= ANSWER_MS;
                site.is_heard |= notes.last_answer.is_some_and(heard);
            }
        }
        if self.isolation.observe(now, &sites) {
            let is = self.isolation.is_isolated();
            self.isolated_since = is.then_some(now);
            events.push(Event::Isolated(is));
        }
    }

    /// Moves every set on its ladder.
    fn climb(
        &mut self,
        now: Moment,
        believed: &[Admission],
        fleet: Fleet<'_>,
        events: &mut Vec<Event>,
    ) {
        let topology = fleet.topology;
        let min_ratio = fleet.policy.operation().min_healthy_ratio;
        let last = fleet.sets.iter().map(|(number, _)| number.get()).max();
        let numbers = last.map_or(0, |last| last + 1);
        self.ladders.resize(numbers, Ladder::default());
        for (number, set) in fleet.sets {
            let Some(ladder) = self.ladders.get_mut(number.get()) else {
                continue;
            };
            let mut weights = Weights::default();
            for node in set.members() {
                let known = topology.node(*node);
                let admission = believed.get(node.get()).copied().unwrap_or_default();
                if known.state == AdminState::Ready {
                    weights.add(f64::from(known.capacity), admission);
                }
            }
            let before = ladder.report();
            if ladder.observe(now, &weights, min_ratio) {
                events.push(Event::Readmission {
                    set: *number,
                    to: ladder.step(),
                    from: before.step,
                    well_ratio: weights.well_ratio(),
                    lasted_ms: before.since.map_or(0, |since| now.since(since)),
                });
            }
        }
    }

    /// Takes back ejections by breakers that would take more of some pool than may be.
    fn keep_budget(
        &mut self,
        believed: &mut [Admission],
        (facts, fleet): (&[NodeFacts], Fleet<'_>),
        events: &mut Vec<Event>,
    ) {
        let Fleet {
            topology, policy, ..
        } = fleet;
        if !believed.iter().any(|admission| is_by_breaker(*admission)) {
            self.denied.clear();
            return;
        }
        let rank = |node: NodeIndex| {
            let admission = believed.get(node.get()).copied()?;
            let place = facts.get(node.get())?.place;
            // Whose place nobody knows goes last, but is counted: no Facts eject more than may be.
            is_by_breaker(admission).then(|| place.unwrap_or(u32::MAX))
        };
        let max_ratio = policy.operation().breaker.max_ejection_percent / 100.0;
        let mut denied = BTreeSet::new();
        for pool in policy.routing().pools() {
            let ready = policy
                .routing()
                .node_set(pool.set())
                .members()
                .iter()
                .filter(|node| topology.node(**node).state == AdminState::Ready);
            let members: Vec<Member> = ready
                .map(|node| Member {
                    node: *node,
                    weight: f64::from(topology.node(*node).capacity),
                    rank: rank(*node),
                })
                .collect();
            let ejected: BTreeSet<NodeIndex> =
                budget::ejected(&members, max_ratio).into_iter().collect();
            let failing = members.iter().filter(|member| member.rank.is_some());
            denied.extend(
                failing
                    .map(|member| member.node)
                    .filter(|node| !ejected.contains(node)),
            );
        }
        for node in &denied {
            if let Some(admission) = believed.get_mut(node.get()) {
                *admission = Admission::Admitted;
            }
            if !self.denied.contains(node) {
                events.push(Event::EjectionDenied { node: *node });
            }
        }
        self.denied = denied;
    }
}

/// Whether it is a breaker that keeps the node from being named for all of its keys.
pub(super) fn is_by_breaker(admission: Admission) -> bool {
    matches!(
        admission,
        Admission::BreakerOpen | Admission::Probing { .. }
    )
}
