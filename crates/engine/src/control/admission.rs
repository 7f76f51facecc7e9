//! From judgements to admissions: which node may be named, as far as it is believed that it should not be.

use std::collections::BTreeSet;

use super::event::Event;
use super::ladder::{Ladder, Weights};
use super::node::NodeNotes;
use super::positions::Mapping;
use super::spell::Spell;
use super::{Doubt, SetReport};
use crate::health::budget::{self, Member};
use crate::health::isolation::{ANSWER_MS, EVENT_MS, Isolation, SiteHealth};
use crate::model::{AdminState, NodeIndex};
use crate::policy::{NodeSet, Operation, Policy, SetNumber};
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
    /// Since when each node has not been well, by position: a breaker that is tried and opens again has not failed anew.
    unwell_since: Vec<Option<Moment>>,
    /// The last bad time of each node, by position.
    spells: Vec<Option<Spell>>,
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

    /// Whether what speaks against a node is not believed, because it came up while this sidecar seemed cut off.
    pub fn disbelieves(&self, node: NodeIndex) -> bool {
        let since = self.unwell_since.get(node.get()).copied().flatten();
        since.is_some_and(|since| self.isolation.disbelieves(since))
    }

    /// The nodes whose breakers are open but that stay in use, because their pools have lost too much already.
    pub fn denied(&self) -> &BTreeSet<NodeIndex> {
        &self.denied
    }

    /// A node's last bad time.
    pub(super) fn spell(&self, node: NodeIndex) -> Option<Spell> {
        self.spells.get(node.get()).copied().flatten()
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
        self.unwell_since = mapping.by_node(std::mem::take(&mut self.unwell_since), |_| None);
        self.spells = mapping.by_node(std::mem::take(&mut self.spells), |_| None);
    }

    /// What every node is admitted for.
    pub fn admissions(
        &mut self,
        now: Moment,
        nodes: &[NodeNotes],
        fleet: Fleet<'_>,
        events: &mut Vec<Event>,
    ) -> Vec<Admission> {
        let Fleet {
            topology, policy, ..
        } = fleet;
        let operation = policy.operation();
        let judgements: Vec<Judgement> = nodes
            .iter()
            .map(|notes| judgement(now, notes, operation))
            .collect();
        self.unwell_since.resize(judgements.len(), None);
        for (since, judgement) in self.unwell_since.iter_mut().zip(&judgements) {
            *since = (judgement.admission != Admission::Admitted)
                .then(|| since.unwrap_or(judgement.since));
        }
        self.follow_spells(now, (nodes, &judgements), operation, events);
        self.suspect_isolation(now, (&judgements, nodes), topology, events);
        let mut believed: Vec<Admission> = judgements
            .iter()
            .zip(&self.unwell_since)
            .map(|(judgement, since)| {
                if since.is_some_and(|since| self.isolation.disbelieves(since)) {
                    Admission::Admitted
                } else {
                    judgement.admission
                }
            })
            .collect();
        self.climb(now, &believed, fleet, events);
        self.keep_budget(&mut believed, (topology, policy), events);
        believed
    }

    /// Sees whose bad time begins, goes on or ends.
    fn follow_spells(
        &mut self,
        now: Moment,
        (nodes, judgements): (&[NodeNotes], &[Judgement]),
        operation: &Operation,
        events: &mut Vec<Event>,
    ) {
        self.spells.resize(judgements.len(), None);
        let nodes = nodes.iter().zip(judgements).zip(0_u32..);
        for (slot, ((notes, judgement), at)) in self.spells.iter_mut().zip(nodes) {
            let is_well = judgement.admission == Admission::Admitted;
            let before = slot.filter(Spell::lasts);
            *slot = match before {
                None if is_well => continue,
                None => Some(Spell::begin(judgement, &notes.breaker)),
                Some(mut spell) => {
                    spell.go_on(&notes.breaker);
                    spell.ended = is_well.then_some(now);
                    Some(spell)
                }
            };
            let was = before.is_some_and(|spell| spell.first_source == Source::LoadReports);
            let begins = before.is_none() && judgement.source == Source::LoadReports;
            if let Some(spell) = slot.filter(|_| begins || (was && is_well)) {
                events.push(Event::Overloaded {
                    node: NodeIndex(at),
                    is: begins,
                    utilisation: notes.utilisation(now, operation),
                    lasted_ms: spell.lasted_ms(now),
                });
            }
        }
    }

    fn suspect_isolation(
        &mut self,
        now: Moment,
        (judgements, nodes): (&[Judgement], &[NodeNotes]),
        topology: &Topology,
        events: &mut Vec<Event>,
    ) {
        let mut sites = vec![SiteHealth::default(); topology.sites().len()];
        let judgements = judgements.iter().zip(&self.unwell_since);
        for ((node, notes), (judgement, since)) in
            topology.nodes().iter().zip(nodes).zip(judgements)
        {
            if let Some(site) = sites.get_mut(node.site.get())
                && node.state == AdminState::Ready
            {
                site.nodes += 1;
                let failed = !matches!(
                    judgement.admission,
                    Admission::Admitted | Admission::Overloaded | Admission::Unknown
                );
                let lately = since.is_some_and(|since| now.since(since) <= EVENT_MS);
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
        (topology, policy): (&Topology, &Policy),
        events: &mut Vec<Event>,
    ) {
        let by_breaker = |admission: &Admission| {
            matches!(
                admission,
                Admission::BreakerOpen | Admission::Probing { .. }
            )
        };
        if !believed.iter().any(by_breaker) {
            self.denied.clear();
            return;
        }
        // The longest ejected first, so that no new failure brings an old one back.
        let mut order: Vec<usize> = (0..believed.len())
            .filter(|at| believed.get(*at).is_some_and(by_breaker))
            .collect();
        let since = |at: &usize| self.unwell_since.get(*at).copied().flatten();
        let was_denied = |at: &usize| {
            let index = NodeIndex(u32::try_from(*at).unwrap_or(u32::MAX));
            self.denied.contains(&index)
        };
        order.sort_by_key(|at| (was_denied(at), since(at), *at));
        let mut ranks = vec![None; believed.len()];
        for (rank, at) in (0_u32..).zip(&order) {
            if let Some(place) = ranks.get_mut(*at) {
                *place = Some(rank);
            }
        }
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
                    rank: ranks.get(node.get()).copied().flatten(),
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
