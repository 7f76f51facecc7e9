//! The control loop: observations in, [`Signals`] out, once a tick.
//!
//! [`Control`] owns everything about the fleet that changes. It is told of decisions, outcomes, load and probes as they
//! come, and at each tick turns them into the signals that the next snapshot holds. It reads no clock and draws no
//! random number: the sidecar's writer drives it with the monotonic clock, a simulation with a counter.
//!
//! How fast things act: breakers and the hot table at each tick (100 ms), weights and terms once a second and only after
//! their dwell.

pub mod admission;
pub(crate) mod allowance;
pub mod ballast;
mod bearing;
mod blame;
mod breakers;
mod carry;
mod changes;
pub mod cohorts;
pub mod condition;
pub mod credit;
mod deadband;
mod disagreement;
pub mod event;
pub mod facts;
pub mod heard;
mod judgement;
mod ladder;
mod levels;
mod loads;
pub mod meter;
mod network;
pub mod node;
mod on_trial;
mod others;
mod overload;
pub mod positions;
mod recent;
mod retrying;
mod room;
mod round;
mod settle;
mod shed;
mod site;
pub mod spell;
mod terms;
pub mod told;
pub mod totals;
pub mod trials;
mod trying;
mod unbelieved;
mod unwell;

use std::sync::Arc;

use super::health::blame::Blame;
use super::health::breaker::Step;
use super::model::NodeIndex;
use super::policy::{Numbered, Operation, Policy, Routing, SetNumber};
use super::score::ScoreModel;
use super::signal::{NodeSignals, Readmission, Signals};
use super::snapshot::Snapshot;
use super::time::Moment;
use super::topology::Topology;
use admission::{AdmissionNotes, Judgement};
use allowance::Allowance;
use ballast::BallastNotes;
use changes::ChangeNotes;
use cohorts::Cohorts;
use event::Event;
use facts::Facts;
use heard::Heard;
use meter::{Disruption, Meter};
use network::NetworkNotes;
use node::NodeNotes;
use positions::{Mapping, Positions};
use recent::RecentDecisions;
use retrying::RetryNotes;
use site::SiteNotes;
use spell::Spell;
use terms::Levels;
use trying::TryingNotes;
use unwell::Unwell;

/// How often weights and terms are looked at, in ms.
const SLOW_TICK_MS: u64 = 1_000;

/// A publication that moves this share of the keys, or more, is told of.
const TOLD_FROM: f64 = 0.01;

/// The control loop; see the module.
#[derive(Debug)]
pub struct Control {
    salt: u64,
    nodes: Vec<NodeNotes>,
    sites: Vec<SiteNotes>,
    /// The nodes of each site.
    members: Vec<Vec<NodeIndex>>,
    /// What is usual in each tier.
    levels: Levels,
    /// What positions stand for.
    positions: Positions,
    /// Where positions of the edition before are in this one.
    mapping: Mapping,
    /// What sets and classes of each lane are called.
    numbered: Vec<Numbered>,
    /// What the terms in force were weighed by.
    score: Option<ScoreModel>,
    recent: RecentDecisions,
    /// How requests fare in each lane, while there are two.
    cohorts: Option<Cohorts>,
    heard: Heard,
    network: NetworkNotes,
    /// How often what caches hold changes, by class.
    changes: Vec<ChangeNotes>,
    trying: TryingNotes,
    ballast: BallastNotes,
    blame: Blame,
    admission: AdmissionNotes,
    retrying: RetryNotes,
    allowance: Option<Allowance>,
    meter: Meter,
    unwell: Unwell,
    /// What was concluded last.
    facts: Arc<Facts>,
    /// What decisions see.
    signals: Signals,
    last_tick: Moment,
    last_slow_tick: Moment,
    /// Whether something happened that may change who may be named.
    is_unsettled: bool,
    events: Vec<Event>,
    /// Attempts since they were taken last; `None` where nobody takes them.
    attempts: Option<Vec<told::Attempted>>,
}

/// What is told of a node for people.
#[derive(Debug, Clone, Copy)]
pub struct NodeReport<'a> {
    /// The writer's notes.
    pub notes: &'a NodeNotes,
    /// What they say by themselves.
    pub judgement: Judgement,
    /// What decisions see.
    pub signals: NodeSignals,
    /// Its bad time, the last one if it is over; `None` if it never had one.
    pub spell: Option<Spell>,
    /// Whether it stays in use only because its pools have lost too much already.
    pub ejection_denied: bool,
}

/// What is told of a set of nodes for people.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct SetReport {
    /// How far its nodes are readmitted.
    pub step: Readmission,
    /// How far they were when too little of it was well first.
    pub first: Readmission,
    /// Since when too little of it is well.
    pub since: Option<Moment>,
    /// When a step is taken back, if as much stays well as is now.
    pub eases_at: Option<Moment>,
    /// How much of it is well; `None` where no node may take traffic, and before the first look.
    pub well: Option<WellShare>,
}

/// How much of a set is well, and how much must be, as shares of the capacity that operators let take traffic.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WellShare {
    /// What is well.
    pub is: f64,
    /// What must be, lest others are readmitted.
    pub needed: f64,
}

/// What is told of this sidecar's being cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Doubt {
    /// Since when failures are not believed.
    pub since: Moment,
    /// When they are believed again.
    pub until: Moment,
}

impl Control {
    /// A loop that knows nothing yet. `salt` differs between sidecars, so that they do not act in step.
    pub fn new(salt: u64) -> Self {
        Self {
            salt,
            nodes: Vec::new(),
            sites: Vec::new(),
            members: Vec::new(),
            levels: Levels::default(),
            positions: Positions::default(),
            mapping: Mapping::default(),
            numbered: Vec::new(),
            score: None,
            recent: RecentDecisions::default(),
            cohorts: None,
            heard: Heard::default(),
            network: NetworkNotes::default(),
            changes: Vec::new(),
            trying: TryingNotes::default(),
            ballast: BallastNotes::default(),
            blame: Blame::default(),
            admission: AdmissionNotes::default(),
            retrying: RetryNotes::default(),
            allowance: None,
            meter: Meter::default(),
            unwell: Unwell::default(),
            facts: Arc::default(),
            signals: Signals::default(),
            last_tick: Moment::default(),
            last_slow_tick: Moment::default(),
            is_unsettled: true,
            events: Vec::new(),
            attempts: None,
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
    /// Positions are mapped by what they stand for ([`positions`]): what is known of nodes, sites, sets and classes goes on,
    /// only what is gone is forgotten. Nodes that join begin with an eighth of their weight, except at the very first.
    /// Call it before the first observation, and whenever either changes.
    pub fn adopt(&mut self, now: Moment, next: Next<'_>) -> Arc<Signals> {
        let numbers = self.signals.numbers.after(next.topology, &next.routings());
        let positions = Positions::new(next.topology, Arc::new(numbers));
        let joins_at = (!self.positions.is_empty()).then_some(now);
        if joins_at.is_none() {
            // Decisions that come before the first tick are made now, not when clocks began.
            self.last_tick = now;
        }
        self.mapping = self.positions.mapping_to(&positions);
        self.positions = positions;
        self.take_numbers(next);
        self.meter.carry(&self.mapping);
        let mapping = &self.mapping;
        if !mapping.is_identity() {
            self.recent.carry(mapping);
            self.ballast.carry(mapping);
            self.admission.carry(mapping);
            self.unwell.carry(mapping);
            carry::notes((&mut self.nodes, &mut self.sites), mapping, joins_at);
            let known = (&mut self.signals, Arc::make_mut(&mut self.facts));
            carry::seen(known, mapping, (&self.nodes, now, next));
        }
        if !mapping.is_same_fleet() {
            self.blame.clear();
        }
        let changes = std::mem::take(&mut self.changes);
        self.changes = mapping.by_class(changes, |_| ChangeNotes::default());
        self.network.adopt(next, |site| mapping.site(site));
        self.adopt_sites(next);
        self.adopt_lifetimes(next);
        self.signals.paces = self.paces();
        self.rescore(next.routing().score());
        self.is_unsettled = true;
        self.facts_mut().network = self.network.table();
        self.follow_terms(now, next);
        self.follow_trials((now, 0), next);
        let sites = self.site_facts(now, next);
        let facts = self.facts_mut();
        facts.sites = sites;
        facts.terms_version += 1;
        facts.ways_version += 1;
        settle::take(&mut self.signals, &self.facts);
        self.signals.weights_version += 1;
        Arc::new(self.signals.clone())
    }

    /// Takes over what sets and classes are called from now on. The table stays the same one while it says the same, so that
    /// snapshots take over what they made by it.
    fn take_numbers(&mut self, next: Next<'_>) {
        let numbers = self.positions.numbers();
        if self.signals.numbers != *numbers {
            self.signals.numbers = Arc::clone(numbers);
        }
        let routings = next.routings().into_iter();
        self.numbered = routings
            .map(|routing| numbers.of_known(next.topology, routing))
            .collect();
    }

    /// Where positions of the edition before the last adoption are now, for what was still on its way then.
    pub fn mapping(&self) -> &Mapping {
        &self.mapping
    }

    /// Terms are made anew from what is known when what they are weighed by is another. What holds them still goes on unless
    /// what was observed weighs otherwise: preferences, ways and prices are not held.
    fn rescore(&mut self, model: &ScoreModel) {
        let known = self.score.replace(model.clone());
        if known.is_some_and(|known| known.weighs_sites_as(model)) {
            return;
        }
        // Of a site on trial too little is known to make them anew.
        for site in self.sites.iter_mut().filter(|site| site.on_trial.is_none()) {
            site.bands.clear();
        }
        self.facts_mut().standing.clear();
    }

    /// Lets time pass to `now`, and answers what the next snapshot should hold; `None` when nothing changed.
    pub fn tick(&mut self, now: Moment, snapshot: &Snapshot) -> Option<Arc<Signals>> {
        let facts = self.assess(now, snapshot);
        self.settle(now, &facts, Next::after(snapshot))
    }

    /// Looks at a snapshot that is published now, with the disruption meter.
    pub fn published(&mut self, now: Moment, snapshot: &Snapshot) {
        if self.meter.observe(now, snapshot) && self.meter.last().moved >= TOLD_FROM {
            self.events.push(Event::KeysMoved(self.meter.last()));
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
            judgement: admission::judgement(now, notes, operation),
            signals: self.signals.node(node),
            spell: self.unwell.spell(node),
            ejection_denied: self.admission.denied().contains(&node),
        })
    }

    /// What is known of a set.
    pub fn set_report(&self, set: SetNumber) -> SetReport {
        self.admission.set_report(set)
    }

    /// Since when this sidecar seems cut off, if it does.
    pub fn doubt(&self) -> Option<Doubt> {
        self.admission.doubt()
    }

    /// Pairs of a cell and a site whose round trips are kept, and how many had to go for others.
    pub fn network_pairs(&self) -> (usize, u64) {
        (self.network.len(), self.network.evicted())
    }

    /// What is left of the share of keys that may move without need.
    pub fn allowance_left(&self) -> Option<f64> {
        self.allowance.map(|allowance| allowance.left())
    }
}

/// What the next snapshot will be built with.
#[derive(Debug, Clone, Copy)]
pub struct Next<'a> {
    /// The fleet.
    pub topology: &'a Topology,
    /// The policy.
    pub policy: &'a Policy,
    /// The routing of the second lane, if there is to be one.
    pub candidate: Option<&'a Routing>,
    /// The generation it will have.
    pub generation: u64,
}

impl<'a> Next<'a> {
    /// What follows `snapshot`, if neither fleet nor policy changes.
    pub fn after(snapshot: &'a Snapshot) -> Self {
        Self {
            topology: snapshot.topology(),
            policy: snapshot.policy(),
            candidate: (snapshot.parts().candidate.as_ref()).map(|it| &*it.routing),
            generation: snapshot.generation() + 1,
        }
    }

    /// How requests are routed in each lane.
    fn routings(&self) -> Vec<&'a Routing> {
        std::iter::once(self.routing())
            .chain(self.candidate)
            .collect()
    }

    /// How requests are routed in the first lane.
    pub fn routing(&self) -> &'a Routing {
        self.policy.routing()
    }

    fn step(&self, salt: u64, notes: &NodeNotes, now: Moment) -> Step<'a> {
        let heard = |at: Moment| now.since(at) <= REPORTS_MS;
        Step {
            settings: &self.policy.operation().breaker,
            next_generation: self.generation,
            salt,
            reports_come: notes.last_outcome.is_some_and(heard),
            finding: notes.trials.finding(now),
        }
    }
}

/// Outcomes are taken to be reported for a node if one was within this, in ms.
const REPORTS_MS: u64 = 600_000;
