//! From verdicts to admissions: which node may be named, as far as it is believed that it should not be.

use std::collections::BTreeSet;

use super::event::Event;
use super::ladder::{Ladder, Weights};
use super::node::NodeNotes;
use crate::engine::health::breaker::State;
use crate::engine::health::budget::{self, Member};
use crate::engine::health::isolation::{EVENT_MS, Isolation, SiteHealth};
use crate::engine::model::{AdminState, NodeIndex, names};
use crate::engine::policy::{Operation, Policy, SetIndex};
use crate::engine::signal::{Admission, Readmission};
use crate::engine::time::Moment;
use crate::engine::topology::Topology;

/// How long a load that stays too high with all the spill there is keeps a node out, in ms.
const EXHAUSTED_MS: u64 = 10_000;

/// The writer's notes on who may be named.
#[derive(Debug, Default)]
pub struct AdmissionNotes {
    isolation: Isolation,
    ladders: Vec<Ladder>,
    denied: BTreeSet<NodeIndex>,
    /// Since when each node has not been well, by position: a breaker that is tried and opens again has not failed anew.
    unwell_since: Vec<Option<Moment>>,
}

/// What a node's record says by itself, and since when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// What it would be admitted for.
    pub admission: Admission,
    /// Since when.
    pub since: Moment,
    /// What said so.
    pub source: Source,
    /// When that was last observed.
    pub observed_at: Moment,
}

/// What a verdict rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// Nothing speaks against the node.
    Default,
    /// How its answers went.
    Outcomes,
    /// Active probes.
    Probes,
    /// Its own reports.
    LoadReports,
}

names! { Source {
    Default = "default",
    Outcomes = "outcomes",
    Probes = "probes",
    LoadReports = "load_reports",
} }

/// What a node's own record says. Traffic outranks probes: a node that answers is well, whatever its health page says.
pub fn verdict(now: Moment, notes: &NodeNotes, operation: &Operation) -> Verdict {
    let breaker = &notes.breaker;
    let by_breaker = |admission| Verdict {
        admission,
        since: breaker.since(),
        source: Source::Outcomes,
        observed_at: notes.last_outcome.unwrap_or(breaker.since()),
    };
    match breaker.state() {
        State::Open { .. } => return by_breaker(Admission::BreakerOpen),
        State::HalfOpen { .. } => {
            let slice = breaker.slice(&operation.breaker);
            return by_breaker(Admission::Probing { slice });
        }
        State::Closed => {}
    }
    if notes.probe.verdict() == Some(false) {
        let (good, bad) = notes.testimony.sums(now, &operation.breaker);
        let enough = good + bad >= u64::from(operation.breaker.request_volume);
        let answers = enough && good >= 19 * bad;
        if !answers {
            let age = now.since(notes.probe.observed_at());
            let admission = if age > operation.health_max_age_ms {
                Admission::Unknown
            } else {
                Admission::Unhealthy
            };
            return Verdict {
                admission,
                since: notes.probe.since(),
                source: Source::Probes,
                observed_at: notes.probe.observed_at(),
            };
        }
    }
    let exhausted = notes.exhausted_since;
    if let Some(since) = exhausted.filter(|since| now.since(*since) >= EXHAUSTED_MS) {
        return Verdict {
            admission: Admission::Overloaded,
            since,
            source: Source::LoadReports,
            observed_at: notes.load.map_or(since, |(_, at)| at),
        };
    }
    Verdict {
        admission: Admission::Admitted,
        since: breaker.since(),
        source: Source::Default,
        observed_at: notes.last_outcome.unwrap_or_default(),
    }
}

impl AdmissionNotes {
    /// Whether verdicts are frozen.
    pub fn is_isolated(&self) -> bool {
        self.isolation.is_isolated()
    }

    /// The nodes whose breakers are open but that stay in use, because their pools have lost too much already.
    pub fn denied(&self) -> &BTreeSet<NodeIndex> {
        &self.denied
    }

    /// How far each set is readmitted.
    pub fn readmission(&self) -> Vec<Readmission> {
        self.ladders.iter().map(|ladder| ladder.step()).collect()
    }

    /// Forgets what belongs to positions: they have changed.
    pub fn clear(&mut self) {
        self.ladders.clear();
        self.denied.clear();
        self.unwell_since.clear();
    }

    /// What every node is admitted for.
    pub fn admissions(
        &mut self,
        now: Moment,
        nodes: &[NodeNotes],
        (topology, policy): (&Topology, &Policy),
        events: &mut Vec<Event>,
    ) -> Vec<Admission> {
        let operation = policy.operation();
        let verdicts: Vec<Verdict> = nodes
            .iter()
            .map(|notes| verdict(now, notes, operation))
            .collect();
        self.unwell_since.resize(verdicts.len(), None);
        for (since, verdict) in self.unwell_since.iter_mut().zip(&verdicts) {
            *since =
                (verdict.admission != Admission::Admitted).then(|| since.unwrap_or(verdict.since));
        }
        self.suspect_isolation(now, &verdicts, topology, events);
        let mut believed: Vec<Admission> = verdicts
            .iter()
            .zip(&self.unwell_since)
            .map(|(verdict, since)| {
                if since.is_some_and(|since| self.isolation.disbelieves(since)) {
                    Admission::Admitted
                } else {
                    verdict.admission
                }
            })
            .collect();
        self.climb(now, &believed, (topology, policy), events);
        self.keep_budget(&mut believed, (topology, policy), events);
        believed
    }

    fn suspect_isolation(
        &mut self,
        now: Moment,
        verdicts: &[Verdict],
        topology: &Topology,
        events: &mut Vec<Event>,
    ) {
        let mut sites = vec![SiteHealth::default(); topology.sites().len()];
        let verdicts = verdicts.iter().zip(&self.unwell_since);
        for (node, (verdict, since)) in topology.nodes().iter().zip(verdicts) {
            if let Some(site) = sites.get_mut(node.site.get())
                && node.state == AdminState::Ready
            {
                site.nodes += 1;
                let failed = !matches!(
                    verdict.admission,
                    Admission::Admitted | Admission::Overloaded | Admission::Unknown
                );
                let lately = since.is_some_and(|since| now.since(since) <= EVENT_MS);
                site.failed_lately += u32::from(failed && lately);
            }
        }
        if self.isolation.observe(now, &sites) {
            events.push(Event::Isolated(self.isolation.is_isolated()));
        }
    }

    /// Moves every set on its ladder.
    fn climb(
        &mut self,
        now: Moment,
        believed: &[Admission],
        (topology, policy): (&Topology, &Policy),
        events: &mut Vec<Event>,
    ) {
        let min_ratio = policy.operation().min_healthy_ratio;
        self.ladders
            .resize(policy.node_sets().len(), Ladder::default());
        let sets = policy
            .node_sets()
            .iter()
            .zip(0_u16..)
            .zip(&mut self.ladders);
        for ((set, at), ladder) in sets {
            let mut weights = Weights::default();
            for node in set.members() {
                let known = topology.node(*node);
                let admission = believed.get(node.get()).copied().unwrap_or_default();
                if known.state == AdminState::Ready {
                    weights.add(f64::from(known.capacity), admission);
                }
            }
            if ladder.observe(now, &weights, min_ratio) {
                events.push(Event::Readmission {
                    set: SetIndex::new(at),
                    to: ladder.step(),
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
        for pool in policy.pools() {
            let Some(tier) = pool.plan.tiers.first() else {
                continue;
            };
            let ready = policy
                .node_set(tier.set)
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
