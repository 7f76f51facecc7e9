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
pub mod meter;
mod network;
pub mod node;
mod recent;
mod site;

use std::collections::BTreeMap;
use std::sync::Arc;

use hdrhistogram::Histogram;

use super::balance::spill::{self, Pressure};
use super::geo::distance::UnitVector;
use super::health::breaker::{Cause, State, Step, Transition};
use super::model::{AdminState, ClassIndex, NodeIndex, SiteIndex};
use super::number::{from_u64, narrow};
use super::policy::{Affinity, Operation, Policy};
use super::score::Terms;
use super::signal::hot::HotTable;
use super::signal::observation::{
    AttemptResult, CacheResult, Dispatch, LoadReport, Outcome, ProbeResult,
};
use super::signal::{Admission, NodeSignals, Signals, SiteSignals, Standing};
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
use site::{HitCounts, SiteNotes, SiteView};

/// How often weights and terms are looked at, in ms.
const SLOW_TICK_MS: u64 = 1_000;

/// Horizon of request rates, in ms.
const RATE_MS: f64 = 5_000.0;

/// Utilisation above which a node, or a site, gives away more, and below which less.
const NODE_BOUNDS: (f64, f64) = (0.95, 0.85);
const SITE_BOUNDS: (f64, f64) = (0.90, 0.80);

/// A node has more requests in flight than most from this multiple of the mean on.
const HOT_IN_FLIGHT: f64 = 1.25;

/// The control loop; see the module.
#[derive(Debug)]
pub struct Control {
    salt: u64,
    nodes: Vec<NodeNotes>,
    sites: Vec<SiteNotes>,
    names: Names,
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
        self.ballast.clear();
        self.admission.clear();
        self.meter.clear();
        self.is_unsettled = true;
        self.signals.readmission.clear();
        self.signals.hot = HotTable::default();
        self.signals.standing.clear();
        self.signals.network = self.network.table();
        self.follow_terms(now, next);
        self.signals.sites = self.site_signals(now, next);
        self.signals.weights_version += 1;
        self.signals.terms_version += 1;
        Arc::new(self.signals.clone())
    }

    /// Forgets what was measured by cells of clients: the geo tables have changed, and with them the cells' numbers.
    pub fn forget_cells(&mut self) -> Arc<Signals> {
        self.recent.clear();
        self.network.clear();
        self.signals.network = self.network.table();
        Arc::new(self.signals.clone())
    }

    /// A decision was made.
    pub fn dispatched(&mut self, dispatch: &Dispatch, affinity: Affinity) {
        self.recent.insert(dispatch);
        self.ballast.dispatched(dispatch, affinity);
        if let Some(notes) = self.nodes.get_mut(dispatch.node.get()) {
            notes.dispatched += 1;
            notes.breaker.dispatched(dispatch.generation);
        }
    }

    /// An attempt at a node ended. Whether it was about a node there is.
    pub fn outcome(&mut self, now: Moment, outcome: &Outcome, next: Next<'_>) -> bool {
        let recent = outcome.decision.and_then(|number| self.recent.find(number));
        let salt = self.salt ^ u64::from(outcome.node.0) << 32;
        let Some(notes) = self.nodes.get_mut(outcome.node.get()) else {
            return false;
        };
        let operation = next.policy.operation();
        let class = recent.map_or(0, |recent| recent.class.get());
        notes.answered(now, outcome, (class, operation));
        let generation = recent.map(|recent| recent.generation);
        let transition = judge(now, notes, outcome, (generation, salt), next);
        let site = next.topology.site_of(outcome.node);
        let fetch_us = (outcome.cache == CacheResult::Miss && outcome.first_byte_us > 0)
            .then(|| notes.usual.map_or(0.0, |usual| usual.median_us))
            .map(|usual| f64::from(outcome.first_byte_us) - usual);
        if let Some(notes) = self.sites.get_mut(site.get()) {
            let success = outcome.succeeded();
            notes.attempts.add(
                now,
                operation.hit_max_age_ms,
                u32::from(success),
                u32::from(!success),
            );
            if let Some(hit) = outcome.cache.is_hit() {
                notes.count_hit((now, operation.hit_max_age_ms), class, hit);
            }
            if let Some(us) = fetch_us {
                let us = u32::try_from(super::number::to_u64(us)).unwrap_or(u32::MAX);
                notes.fetch.record(now, operation.hit_max_age_ms / 2, us);
            }
        }
        if let Some(cell) = recent.and_then(|recent| recent.cell)
            && outcome.client_round_trip_us > 0
        {
            self.network
                .record(now, (cell, site), outcome.client_round_trip_us);
        }
        self.note(outcome.node, transition);
        true
    }

    /// A node, or somebody for it, told of its load. Whether there is such a node.
    pub fn load(&mut self, now: Moment, node: NodeIndex, report: LoadReport) -> bool {
        let Some(notes) = self.nodes.get_mut(node.get()) else {
            return false;
        };
        notes.load = Some((report, now));
        true
    }

    /// A node told of its service times, as a histogram in microseconds. Whether there is such a node.
    pub fn service_times(
        &mut self,
        now: Moment,
        node: NodeIndex,
        times_us: &Histogram<u64>,
    ) -> bool {
        let notes = self.nodes.get_mut(node.get());
        notes.is_some_and(|notes| notes.service.merge(now, SERVICE_MERGE_MS, times_us))
    }

    /// A probe came back. Whether there is such a node.
    pub fn probed(&mut self, now: Moment, result: ProbeResult, next: Next<'_>) -> bool {
        let salt = self.salt ^ u64::from(result.node.0) << 32;
        let Some(notes) = self.nodes.get_mut(result.node.get()) else {
            return false;
        };
        let operation = next.policy.operation();
        let was_unhealthy = notes.probe.verdict() == Some(false);
        if notes.probe.observe(now, result.healthy, &operation.probe) {
            if was_unhealthy && result.healthy {
                notes.ramp_since = Some(now);
            }
            self.events.push(Event::Probe {
                node: result.node,
                healthy: result.healthy,
            });
            self.is_unsettled = true;
        }
        let step = next.step(salt, notes, now);
        let transition = notes.breaker.probed(now, result.healthy, &step);
        settle(now, notes, transition);
        self.note(result.node, transition);
        true
    }

    /// Closes a node's breaker at an operator's word. Whether there is such a node.
    pub fn reset_breaker(&mut self, now: Moment, node: NodeIndex, next: Next<'_>) -> bool {
        let Some(notes) = self.nodes.get_mut(node.get()) else {
            return false;
        };
        let step = next.step(self.salt, notes, now);
        let transition = notes.breaker.reset(now, &step);
        settle(now, notes, transition);
        self.note(node, transition);
        true
    }

    fn note(&mut self, node: NodeIndex, transition: Option<Transition>) {
        if let Some(transition) = transition {
            self.is_unsettled = true;
            self.events.push(Event::Breaker {
                node,
                to: transition.to,
                cause: transition.cause,
                flapping: transition.flapping,
            });
        }
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
        if is_slow_tick {
            self.last_slow_tick = now;
            self.learn_and_spill(now, next);
            self.follow_conditions(now, next);
            terms_changed = self.follow_terms(now, next);
            terms_changed |= self.follow_network(now, snapshot);
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

    fn count_rates(&mut self, passed_ms: f64, topology: &Topology) {
        let keep = libm::exp(-passed_ms / RATE_MS);
        for site in &mut self.sites {
            site.rate *= keep;
        }
        for (notes, node) in self.nodes.iter_mut().zip(topology.nodes()) {
            let now = f64::from(notes.dispatched) / passed_ms * 1_000.0;
            notes.rate = notes.rate * keep + now * (1.0 - keep);
            notes.dispatched = 0;
            if let Some(site) = self.sites.get_mut(node.site.get()) {
                site.rate += now * (1.0 - keep);
            }
        }
    }

    /// Learns what is usual for nodes in good times, and moves the thresholds of spill.
    fn learn_and_spill(&mut self, now: Moment, next: Next<'_>) {
        let operation = next.policy.operation();
        let means = self.mean_rates(next);
        let factors = balance_factors(next);
        for ((notes, node), at) in self
            .nodes
            .iter_mut()
            .zip(next.topology.nodes())
            .zip(0_usize..)
        {
            let good_times = notes.breaker.state() == State::Closed
                && notes.condition.level() == 0
                && notes.slowdown(now) < 1.5;
            if good_times || notes.usual.is_none() {
                notes.learn();
            }
            let utilisation = notes.utilisation(now, operation);
            let factor = factors.get(at).copied().flatten();
            let ratio = factor.map(|factor| {
                let mean = means.get(node.site.get()).copied().unwrap_or(0.0);
                spill::load_ratio((notes.rate, f64::from(node.capacity)), mean, factor)
            });
            // A bound on the load reads as a utilisation that is over when the bound is.
            let by_load = ratio.map(|ratio| ratio * NODE_BOUNDS.0);
            let pressure = Pressure {
                utilisation: match (utilisation, by_load) {
                    (Some(a), Some(b)) => Some(a.max(b)),
                    (a, b) => a.or(b),
                },
                bounds: NODE_BOUNDS,
            };
            notes.spill = spill::step(notes.spill, &pressure);
            let over =
                spill::is_exhausted(notes.spill) && utilisation.is_some_and(|u| u > NODE_BOUNDS.0);
            notes.exhausted_since = over.then(|| notes.exhausted_since.unwrap_or(now));
        }
        for (site, at) in self.sites.iter_mut().zip(0_u16..) {
            let mean = utilisation_of(now, &self.nodes, (SiteIndex(at), next));
            let pressure = Pressure {
                utilisation: mean,
                bounds: SITE_BOUNDS,
            };
            site.spill = spill::step(site.spill, &pressure);
        }
    }

    /// Requests per second and unit of weight at each site.
    fn mean_rates(&self, next: Next<'_>) -> Vec<f64> {
        let mut weights = vec![0.0; self.sites.len()];
        for node in next.topology.nodes() {
            if let Some(weight) = weights.get_mut(node.site.get())
                && node.state == AdminState::Ready
            {
                *weight += f64::from(node.capacity);
            }
        }
        let rates = self.sites.iter().zip(weights);
        rates
            .map(|(site, weight)| {
                if weight > 0.0 {
                    site.rate / weight
                } else {
                    0.0
                }
            })
            .collect()
    }

    /// Moves the conditions of nodes, the worst first, as far as the allowance goes.
    fn follow_conditions(&mut self, now: Moment, next: Next<'_>) {
        let operation = next.policy.operation();
        let all: f64 = next
            .topology
            .nodes()
            .iter()
            .map(|node| f64::from(node.capacity))
            .sum();
        let mut changes: Vec<(u8, NodeIndex)> = Vec::new();
        for (notes, at) in self.nodes.iter_mut().zip(0_u32..) {
            if notes.breaker.state() != State::Closed {
                continue;
            }
            let signal = notes.deserves(now, operation);
            if let Some(level) = notes.condition.observe(now, signal, &operation.weights) {
                changes.push((level, NodeIndex(at)));
            }
        }
        changes.sort_by_key(|(level, node)| (std::cmp::Reverse(*level), *node));
        for (level, index) in changes {
            let ratio = operation.moved_ratio_per_minute;
            let allowance = self.allowance.get_or_insert(Allowance::new(now, ratio));
            let Some(notes) = self.nodes.get_mut(index.get()) else {
                continue;
            };
            let weights = &operation.weights;
            let change = notes.condition.factor(weights) - condition::factor(level, weights);
            let share = f64::from(next.topology.node(index).capacity) / all * change.abs();
            if allowance.pay(now, share, ratio) {
                notes.condition.set(level);
                self.events.push(Event::Condition { node: index, level });
            }
        }
    }

    /// Makes the terms of all sites. Whether decisions should see others than before.
    fn follow_terms(&mut self, now: Moment, next: Next<'_>) -> bool {
        let (policy, topology) = (next.policy, next.topology);
        let operation = policy.operation();
        let classes = policy.classes().len() + 1;
        let count = self.sites.len();
        let members = members_by_site(topology);
        let mut standing = Vec::with_capacity(classes * count);
        let mut changed = self.signals.standing.len() != classes * count;
        for class in (0_u8..).map(ClassIndex).take(classes) {
            let means = self.tier_means(now, class, topology, operation);
            let seen = self.views(now, (class, &means), &members, next);
            let terms = |(view, at): (&SiteView, u16)| {
                let terms = policy
                    .score()
                    .standing_terms(SiteIndex(at), &view.estimates);
                (*view, terms)
            };
            let seen: Vec<(SiteView, Terms)> = seen.iter().zip(0_u16..).map(terms).collect();
            let signals: Vec<f32> = seen.iter().map(|(_, terms)| terms.standing_ms()).collect();
            let taken = self.take_terms(now, (class, classes), &signals, next);
            let any_taken = taken.contains(&true);
            changed |= any_taken;
            for (((view, terms), at), taken) in seen.into_iter().zip(0_u16..).zip(taken) {
                let site = SiteIndex(at);
                let before = self.signals.standing.get(class.get() * count + site.get());
                let mut held = before.map_or(terms, |before| before.terms);
                if taken {
                    self.events.push(Event::SiteTerms { site });
                } else if any_taken {
                    // The new terms of one site beside those of others from long ago would compare different times:
                    // what has changed for all since then is added to theirs.
                    let notes = self.sites.get(site.get());
                    let band = notes.and_then(|notes| notes.bands.get(class.get()));
                    let published = band.and_then(deadband::Deadband::published);
                    held.miss += published.map_or(0.0, |published| published - held.standing_ms());
                }
                standing.push(Standing {
                    terms: if taken { terms } else { held },
                    queue: view.queue,
                    miss: view.miss,
                    error: view.error,
                });
            }
        }
        self.signals.standing = standing;
        changed
    }

    /// What the terms of each site are made from.
    fn views(
        &self,
        now: Moment,
        (class, means): (ClassIndex, &[f64]),
        members: &[Vec<NodeIndex>],
        next: Next<'_>,
    ) -> Vec<SiteView> {
        let (topology, policy) = (next.topology, next.policy);
        let sites = self.sites.iter().zip(topology.sites()).zip(members);
        sites
            .map(|((notes, site), nodes)| {
                let mean = means.get(site.tier.get()).copied().unwrap_or(0.0);
                let nodes = nodes.iter().filter_map(|node| {
                    let capacity = f64::from(topology.node(*node).capacity);
                    self.nodes.get(node.get()).map(|notes| (notes, capacity))
                });
                let model = (policy.score(), policy.operation());
                site::view(now, notes, nodes, (class, mean), model)
            })
            .collect()
    }

    /// For which sites it is time that decisions see the terms as they are now.
    ///
    /// Only differences between the sites of a tier choose among them. So what changes for all alike, as when all caches
    /// warm up, is taken over for all at once and counts as no change; a site must differ from that by the margin.
    fn take_terms(
        &mut self,
        now: Moment,
        (class, classes): (ClassIndex, usize),
        signals: &[f32],
        next: Next<'_>,
    ) -> Vec<bool> {
        let operation = next.policy.operation();
        let mut taken = vec![false; signals.len()];
        for site in &mut self.sites {
            if site.bands.len() <= class.get() {
                site.bands
                    .resize(class.get() + 1, deadband::Deadband::default());
            }
        }
        for tier in 0..next.topology.tiers().len() {
            let of_tier = |at: &usize| {
                let site = next.topology.sites().get(*at);
                site.is_some_and(|site| site.tier.get() == tier)
            };
            let members: Vec<usize> = (0..signals.len()).filter(of_tier).collect();
            let common = self.common_change(class, signals, &members);
            for at in members {
                let (Some(notes), Some(signal)) = (self.sites.get_mut(at), signals.get(at)) else {
                    continue;
                };
                let rate = notes.rate;
                let Some(band) = notes.bands.get_mut(class.get()) else {
                    continue;
                };
                band.shift(common);
                let Some(held) = band.published() else {
                    band.set(*signal);
                    continue;
                };
                let margin = operation
                    .switch_ms
                    .max(operation.switch_ratio * held.abs().max(signal.abs()));
                let due = band.observe(now, *signal, (margin, operation.switch_dwell_ms));
                let all: f64 = self.sites.iter().map(|site| site.rate).sum();
                let share = if all > 0.0 { rate / all } else { 0.0 } / from_u64(classes as u64);
                let ratio = operation.moved_ratio_per_minute;
                let allowance = self.allowance.get_or_insert(Allowance::new(now, ratio));
                if due.is_some() && allowance.pay(now, share, ratio) {
                    let band = self
                        .sites
                        .get_mut(at)
                        .and_then(|site| site.bands.get_mut(class.get()));
                    if let Some(band) = band {
                        band.set(*signal);
                    }
                    if let Some(taken) = taken.get_mut(at) {
                        *taken = true;
                    }
                }
            }
        }
        taken
    }

    /// The median of how far the terms of some sites are from what decisions see of them.
    fn common_change(&self, class: ClassIndex, signals: &[f32], members: &[usize]) -> f32 {
        let change = |at: &usize| {
            let band = self.sites.get(*at)?.bands.get(class.get())?;
            Some(signals.get(*at)? - band.published()?)
        };
        let mut changes: Vec<f32> = members.iter().filter_map(change).collect();
        changes.sort_by(f32::total_cmp);
        changes.get(changes.len() / 2).copied().unwrap_or(0.0)
    }

    /// The mean hit ratio of each tier for a class.
    fn tier_means(
        &self,
        now: Moment,
        class: ClassIndex,
        topology: &Topology,
        operation: &Operation,
    ) -> Vec<f64> {
        (0..topology.tiers().len())
            .map(|tier| {
                let of_tier = topology
                    .nodes()
                    .iter()
                    .zip(&self.nodes)
                    .filter(|(node, _)| topology.site(node.site).tier.get() == tier);
                HitCounts::of(of_tier.map(|(_, notes)| notes), class).mean(now, operation)
            })
            .collect()
    }

    fn follow_network(&mut self, now: Moment, snapshot: &Snapshot) -> bool {
        let (topology, policy) = (snapshot.topology(), snapshot.policy());
        let cells = snapshot.geo().cell_vectors();
        let point_of = |(cell, site): (u32, SiteIndex)| -> Option<(UnitVector, UnitVector)> {
            let cell = *cells.get(cell as usize)?;
            let site = topology.sites().get(site.get())?;
            Some((cell, site.point))
        };
        let changed = self
            .network
            .observe(now, (policy.score(), policy.operation()), point_of);
        if changed {
            self.signals.network = self.network.table();
        }
        changed
    }

    /// What decisions will see of every node.
    fn node_signals(&mut self, now: Moment, next: Next<'_>) -> Vec<NodeSignals> {
        let operation = next.policy.operation();
        let any_bad = self.is_unsettled
            || self.admission.is_isolated()
            || self
                .signals
                .nodes
                .iter()
                .any(|node| node.admission != Admission::Admitted)
            || self
                .signals
                .readmission
                .iter()
                .any(|step| *step > Default::default())
            || self.nodes.iter().any(|notes| {
                notes.breaker.state() != State::Closed
                    || notes.probe.verdict() == Some(false)
                    || notes.exhausted_since.is_some()
            });
        self.is_unsettled = false;
        let admissions = any_bad.then(|| {
            let world = (next.topology, next.policy);
            self.admission
                .admissions(now, &self.nodes, world, &mut self.events)
        });
        let pools = next.policy.pools().iter();
        let has_unbound_pools = pools
            .filter_map(|pool| pool.plan.tiers.first())
            .any(|tier| tier.affinity == Affinity::None);
        let in_flight = |notes: &NodeNotes| {
            let reported = notes
                .load
                .filter(|(_, at)| now.since(*at) <= operation.load_max_age_ms);
            let median_s = f64::from(notes.median_ms().unwrap_or(1.0)) / 1_000.0;
            reported
                .and_then(|(report, _)| report.in_flight.map(f64::from))
                .unwrap_or(notes.rate * median_s)
        };
        let mean = if has_unbound_pools {
            self.nodes.iter().map(in_flight).sum::<f64>()
                / from_u64(self.nodes.len() as u64).max(1.0)
        } else {
            0.0
        };
        self.nodes
            .iter()
            .zip(0_u32..)
            .map(|(notes, at)| {
                let index = NodeIndex(at);
                let load = if has_unbound_pools {
                    in_flight(notes)
                } else {
                    0.0
                };
                NodeSignals {
                    admission: admissions
                        .as_ref()
                        .and_then(|all| all.get(index.get()).copied())
                        .unwrap_or_default(),
                    weight_factor: narrow(
                        notes.condition.factor(&operation.weights)
                            * notes.ramp(now, operation.slow_start_ms),
                    ),
                    headroom: narrow(self.ballast.headroom_of(index)),
                    spill: notes.spill,
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

    fn site_signals(&self, now: Moment, next: Next<'_>) -> Vec<SiteSignals> {
        let sites = self.sites.iter().zip(0_u16..);
        sites
            .map(|(site, at)| SiteSignals {
                spill: site.spill,
                utilisation: if site.spill > 0 {
                    let mean = utilisation_of(now, &self.nodes, (SiteIndex(at), next));
                    narrow(mean.unwrap_or(0.0))
                } else {
                    0.0
                },
            })
            .collect()
    }
}

/// Half of the window that a node's own histograms are merged into, in ms.
const SERVICE_MERGE_MS: u64 = 5_000;

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

/// What an outcome means for a node's breaker.
fn judge(
    now: Moment,
    notes: &mut NodeNotes,
    outcome: &Outcome,
    (generation, salt): (Option<u64>, u64),
    next: Next<'_>,
) -> Option<Transition> {
    // A node that sheds is busy, not broken: its load speaks for it.
    if !notes.breaker.concerns(generation) || outcome.result == AttemptResult::Shed {
        return None;
    }
    let operation = next.policy.operation();
    let step = next.step(salt, notes, now);
    let success = outcome.succeeded();
    let transition = match notes.breaker.state() {
        State::Closed => {
            notes
                .testimony
                .add(now, (outcome.reporter, success), &operation.breaker);
            let cause = (!success)
                .then(|| notes.testimony.verdict(now, &operation.breaker))
                .flatten();
            cause.and_then(|cause| notes.breaker.trip(now, cause, &step))
        }
        State::HalfOpen { .. } => {
            // Slow answers do not show that a node has recovered, unless they are slow for want of the object.
            let fetched = outcome.cache == CacheResult::Miss;
            let fast = fetched || !notes.is_slow(outcome.first_byte_us, operation);
            notes.breaker.probed(now, success && fast, &step)
        }
        State::Open { .. } => None,
    };
    settle(now, notes, transition);
    transition
}

/// What a change of the breaker means for the rest of the notes.
fn settle(now: Moment, notes: &mut NodeNotes, transition: Option<Transition>) {
    let Some(transition) = transition else { return };
    notes.begin_term();
    if transition.to == State::Closed {
        // It begins with an eighth of its weight; what its condition was is past.
        notes.ramp_since = Some(now);
        notes.condition.set(0);
        notes.service.clear();
    }
}

/// The nodes of each site.
fn members_by_site(topology: &Topology) -> Vec<Vec<NodeIndex>> {
    let mut members = vec![Vec::new(); topology.sites().len()];
    for (index, node) in topology.indexed_nodes() {
        if let Some(site) = members.get_mut(node.site.get()) {
            site.push(index);
        }
    }
    members
}

/// The mean utilisation of a site's nodes that take traffic, by weight; `None` when none told.
fn utilisation_of(
    now: Moment,
    nodes: &[NodeNotes],
    (site, next): (SiteIndex, Next<'_>),
) -> Option<f64> {
    let (mut sum, mut weights) = (0.0, 0.0);
    for (node, notes) in next.topology.nodes().iter().zip(nodes) {
        if node.site == site
            && node.state == AdminState::Ready
            && let Some(u) = notes.utilisation(now, next.policy.operation())
        {
            sum += u * f64::from(node.capacity);
            weights += f64::from(node.capacity);
        }
    }
    (weights > 0.0).then(|| sum / weights)
}

/// The least bound on its load that any pool sets a node.
fn balance_factors(next: Next<'_>) -> Vec<Option<f64>> {
    let mut factors = vec![None; next.topology.nodes().len()];
    for pool in next.policy.pools() {
        let (Some(factor), Some(tier)) = (pool.balance_factor, pool.plan.tiers.first()) else {
            continue;
        };
        for node in next.policy.node_set(tier.set).members() {
            if let Some(known) = factors.get_mut(node.get()) {
                *known = Some(known.map_or(factor, |known: f64| known.min(factor)));
            }
        }
    }
    factors
}
