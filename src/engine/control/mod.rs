//! The control loop: observations in, [`Signals`] out, once a tick.
//!
//! [`Control`] owns everything about the fleet that changes. It is told of decisions, outcomes, load and probes as they
//! come, and at each tick turns them into the signals that the next snapshot holds. It reads no clock and draws no
//! random number: the sidecar's writer drives it with the monotonic clock, a simulation with a counter.
//!
//! How fast things act: breakers and the hot table at each tick (100 ms), weights and terms once a second and only after
//! their dwell.

pub mod admission;
mod allowance;
mod ballast;
pub mod condition;
mod deadband;
pub mod event;
mod ladder;
mod loads;
pub mod meter;
mod network;
pub mod node;
mod recent;
mod seen;
mod site;
mod terms;
mod told;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::health::breaker::{Cause, State, Step};
use super::model::{Digest, NodeIndex, SiteIndex};
use super::number::{from_u64, narrow};
use super::policy::{Operation, Policy};
use super::signal::hot::HotTable;
use super::signal::{NodeSignals, Signals};
use super::snapshot::Snapshot;
use super::time::Moment;
use super::topology::Topology;
use admission::{AdmissionNotes, Verdict};
use allowance::Allowance;
use ballast::BallastNotes;
use event::Event;
use meter::{Disruption, Meter};
use network::NetworkNotes;
use node::NodeNotes;
use recent::RecentDecisions;
use site::SiteNotes;
use told::settle;

/// How often weights and terms are looked at, in ms.
const SLOW_TICK_MS: u64 = 1_000;

/// The control loop; see the module.
#[derive(Debug)]
pub struct Control {
    salt: u64,
    nodes: Vec<NodeNotes>,
    sites: Vec<SiteNotes>,
    names: Names,
    /// The policy that sets and classes are numbered by.
    policy: Option<Digest>,
    recent: RecentDecisions,
    network: NetworkNotes,
    ballast: BallastNotes,
    admission: AdmissionNotes,
    allowance: Option<Allowance>,
    meter: Meter,
    signals: Signals,
    last_tick: Moment,
    last_slow_tick: Moment,
    /// Whether something happened that may change who may be named.
    is_unsettled: bool,
    events: Vec<Event>,
}

/// What positions meant when they were taken, to carry notes over to another topology.
#[derive(Debug, Default, PartialEq)]
struct Names {
    nodes: BTreeMap<Box<str>, NodeIndex>,
    sites: BTreeMap<Box<str>, SiteIndex>,
}

impl Names {
    fn of(topology: &Topology) -> Self {
        let nodes = topology.indexed_nodes();
        let sites = topology.sites().iter().zip((0_u16..).map(SiteIndex));
        Self {
            nodes: nodes.map(|(at, node)| (node.id.clone(), at)).collect(),
            sites: sites.map(|(site, at)| (site.id.clone(), at)).collect(),
        }
    }
}

/// What is told of a node for people.
#[derive(Debug, Clone, Copy)]
pub struct NodeReport<'a> {
    /// The writer's notes.
    pub notes: &'a NodeNotes,
    /// What they say by themselves.
    pub verdict: Verdict,
    /// What decisions see.
    pub signals: NodeSignals,
    /// Whether it stays in use only because its pools have lost too much already.
    pub ejection_denied: bool,
}

impl Control {
    /// A loop that knows nothing yet. `salt` differs between sidecars, so that they do not act in step.
    pub fn new(salt: u64) -> Self {
        Self {
            salt,
            nodes: Vec::new(),
            sites: Vec::new(),
            names: Names::default(),
            policy: None,
            recent: RecentDecisions::default(),
            network: NetworkNotes::default(),
            ballast: BallastNotes::default(),
            admission: AdmissionNotes::default(),
            allowance: None,
            meter: Meter::default(),
            signals: Signals::default(),
            last_tick: Moment::default(),
            last_slow_tick: Moment::default(),
            is_unsettled: true,
            events: Vec::new(),
        }
    }

    /// The same, counting so many keys at a time instead of the usual number.
    pub fn counting(salt: u64, keys: usize) -> Self {
        Self {
            ballast: BallastNotes::counting(keys),
            ..Self::new(salt)
        }
    }

    /// Takes over a fleet and policy that are about to be published, and answers what their first snapshot should hold.
    ///
    /// What is known of nodes that stay is kept; those that join begin with an eighth of their weight, except at the very
    /// first. Call it before the first observation, and whenever either changes.
    pub fn adopt(&mut self, now: Moment, next: Next<'_>) -> Arc<Signals> {
        let is_first = self.names.nodes.is_empty();
        let names = Names::of(next.topology);
        let same_fleet = names == self.names;
        let known = std::mem::replace(&mut self.names, names);
        let mut notes = std::mem::take(&mut self.nodes);
        let seen = std::mem::take(&mut self.signals.nodes);
        let slow_start_ms = next.policy.operation().slow_start_ms;
        for node in next.topology.nodes() {
            let at = known.nodes.get(&node.id).map(|at| at.get());
            let kept = at.and_then(|at| notes.get_mut(at)).map(std::mem::take);
            let kept = kept.unwrap_or_else(|| NodeNotes::joined((!is_first).then_some(now)));
            let signals = at.and_then(|at| seen.get(at).copied());
            self.signals
                .nodes
                .push(signals.unwrap_or_else(|| NodeSignals {
                    weight_factor: narrow(kept.ramp(now, slow_start_ms)),
                    ..NodeSignals::default()
                }));
            self.nodes.push(kept);
        }
        let mut sites = std::mem::take(&mut self.sites);
        for site in next.topology.sites() {
            let at = known.sites.get(&site.id).map(|at| at.get());
            let kept = at.and_then(|at| sites.get_mut(at)).map(std::mem::take);
            let mut kept = kept.unwrap_or_default();
            // What decisions see depends on the policy's weights too, so it is made anew from what is known.
            kept.bands.clear();
            self.sites.push(kept);
        }
        if !same_fleet {
            self.recent.clear();
            self.network.clear();
        }
        let policy = next.policy.digest();
        if !same_fleet || self.policy != Some(policy) {
            // Sets have other numbers now.
            self.ballast.clear();
            self.admission.clear();
            self.meter.clear();
            self.signals.readmission.clear();
            self.signals.hot = HotTable::default();
        }
        self.policy = Some(policy);
        self.is_unsettled = true;
        self.signals.standing.clear();
        self.signals.network = self.network.table();
        self.follow_terms(now, next);
        self.signals.sites = self.site_signals(now, next);
        self.signals.weights_version += 1;
        self.signals.terms_version += 1;
        Arc::new(self.signals.clone())
    }

    /// Forgets what was measured by cells of clients: the geo tables have changed, and with them the cells' numbers.
    pub fn forget_cells(&mut self) {
        self.recent.clear();
        self.network.clear();
    }

    /// Lets time pass to `now`, and answers what the next snapshot should hold; `None` when nothing changed.
    pub fn tick(&mut self, now: Moment, snapshot: &Snapshot) -> Option<Arc<Signals>> {
        let next = Next::after(snapshot);
        let passed_ms = from_u64(now.since(self.last_tick).max(1));
        self.last_tick = now;
        self.tick_breakers(now, next);
        self.count_rates(passed_ms, next.topology);
        let hot = self.ballast.tick(passed_ms, snapshot);
        let is_slow_tick = now.since(self.last_slow_tick) >= SLOW_TICK_MS;
        let mut terms_changed = false;
        let mut evidence_changed = false;
        if is_slow_tick {
            self.last_slow_tick = now;
            let before = self.signals.standing.clone();
            self.learn_and_spill(now, next);
            self.follow_conditions(now, next);
            terms_changed = self.follow_terms(now, next);
            terms_changed |= self.follow_network(now, snapshot);
            // Explanations tell what terms rest on, so they must see it age.
            evidence_changed = self.signals.standing != before;
        }
        let nodes = self.node_signals(now, next);
        let sites = self.site_signals(now, next);
        let readmission = self.admission.readmission();
        let isolated = self.admission.is_isolated();
        let known = &mut self.signals;
        let races = |nodes: &[NodeSignals]| -> Vec<_> {
            nodes
                .iter()
                .map(|node| (node.admission, node.weight_factor.to_bits()))
                .collect()
        };
        let reweighs = races(&known.nodes) != races(&nodes);
        let changed = reweighs
            || terms_changed
            || evidence_changed
            || known.nodes != nodes
            || known.sites != sites
            || known.readmission != readmission
            || known.isolated != isolated
            || known.hot.keys() != hot.keys();
        if !changed {
            return None;
        }
        known.weights_version += u64::from(reweighs);
        known.terms_version += u64::from(terms_changed);
        (known.nodes, known.sites) = (nodes, sites);
        (known.readmission, known.isolated, known.hot) = (readmission, isolated, hot);
        Some(Arc::new(self.signals.clone()))
    }

    /// Looks at a snapshot that was built from the last signals, with the disruption meter.
    pub fn published(&mut self, snapshot: &Snapshot, before: Option<&Snapshot>) {
        let same = before.is_some_and(|before| {
            before.signals().weights_version == snapshot.signals().weights_version
                && before.parts().policy.digest() == snapshot.parts().policy.digest()
                && Arc::ptr_eq(&before.parts().topology, &snapshot.parts().topology)
        });
        if same {
            self.meter.unchanged();
        } else {
            self.meter.observe(snapshot);
        }
    }

    /// What happened since the last call.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// What the last publication did to the probe keys, and what all did together.
    pub fn disruption(&self) -> (Disruption, Disruption) {
        (self.meter.last(), self.meter.totals())
    }

    /// What is known of a node.
    pub fn node_report(
        &self,
        now: Moment,
        node: NodeIndex,
        operation: &Operation,
    ) -> Option<NodeReport<'_>> {
        let notes = self.nodes.get(node.get())?;
        Some(NodeReport {
            notes,
            verdict: admission::verdict(now, notes, operation),
            signals: self.signals.node(node),
            ejection_denied: self.admission.denied().contains(&node),
        })
    }

    /// Pairs of a cell and a site whose round trips are kept, and how many had to go for others.
    pub fn network_pairs(&self) -> (usize, u64) {
        (self.network.len(), self.network.evicted())
    }

    /// What is left of the share of keys that may move without need.
    pub fn allowance_left(&self) -> Option<f64> {
        self.allowance.map(|allowance| allowance.left())
    }

    fn tick_breakers(&mut self, now: Moment, next: Next<'_>) {
        let slow = self
            .nodes
            .iter()
            .filter(|notes| notes.is_lastingly_slow(now));
        // When a third of the fleet is slow it is the traffic, not the nodes.
        let slow_is_telling = slow.count() * 3 <= self.nodes.len().max(3);
        for (notes, at) in self.nodes.iter_mut().zip(0_u32..) {
            let salt = self.salt ^ u64::from(at) << 32;
            let step = next.step(salt, notes, now);
            let mut transition = notes.breaker.tick(now, &step);
            let is_closed = notes.breaker.state() == State::Closed;
            if is_closed && slow_is_telling && notes.is_lastingly_slow(now) {
                transition = notes.breaker.trip(now, Cause::Slow, &step);
            }
            settle(now, notes, transition);
            if let Some(transition) = transition {
                self.is_unsettled = true;
                self.events.push(Event::Breaker {
                    node: NodeIndex(at),
                    to: transition.to,
                    cause: transition.cause,
                    flapping: transition.flapping,
                });
            }
        }
    }
}

/// What the next snapshot will be built with.
#[derive(Debug, Clone, Copy)]
pub struct Next<'a> {
    /// The fleet.
    pub topology: &'a Topology,
    /// The policy.
    pub policy: &'a Policy,
    /// The generation it will have.
    pub generation: u64,
}

impl<'a> Next<'a> {
    /// What follows `snapshot`, if neither fleet nor policy changes.
    pub fn after(snapshot: &'a Snapshot) -> Self {
        Self {
            topology: snapshot.topology(),
            policy: snapshot.policy(),
            generation: snapshot.generation() + 1,
        }
    }

    fn step(&self, salt: u64, notes: &NodeNotes, now: Moment) -> Step<'a> {
        let heard = |at: Moment| now.since(at) <= REPORTS_MS;
        Step {
            settings: &self.policy.operation().breaker,
            next_generation: self.generation,
            salt,
            reports_come: notes.last_outcome.is_some_and(heard),
        }
    }
}

/// Outcomes are taken to be reported for a node if one was within this, in ms.
const REPORTS_MS: u64 = 600_000;
