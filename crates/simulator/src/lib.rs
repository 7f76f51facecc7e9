//! A fleet in virtual time: the real evaluation and the real control loop, with simulated nodes, clients and faults.
//!
//! Nothing here is a model of the engine: requests go through [`evaluate`], outcomes into [`Control`], and snapshots are
//! built from what it says, at the tick, as the sidecar's writer does. What is simulated is the world: nodes with queues
//! and caches, requests, retries down the list, late outcomes. A run is a function of its inputs and its seed.

mod asked;
pub mod fleet;
pub mod governed;
mod lanes;
pub mod node;
pub mod paths;
pub mod random;
pub mod report;
mod request;
pub mod rivals;
pub mod tellers;
mod tick;
pub mod traffic;
pub mod world;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

use arrayvec::ArrayVec;

use asked::Asked;
use lanes::Lanes;
use node::{CacheNode, Fault, NodeModel};
use paths::Paths;
use random::Random;
use report::Report;
use request::{Pending, Request};
use rivals::{Chooser, Rival};
use tellers::Tellers;
use tradewind_engine::control::event::Event;
use tradewind_engine::control::{Control, Next};
use tradewind_engine::evaluate::{Evaluation, Pick, evaluate};
use tradewind_engine::geo::ranges::Ranges;
use tradewind_engine::lifecycle::Publish;
use tradewind_engine::model::NodeIndex;
use tradewind_engine::number::to_u64;
use tradewind_engine::policy::Policy;
use tradewind_engine::publication;
use tradewind_engine::query::MAX_CANDIDATES;
use tradewind_engine::signal::observation::ProbeResult;
use tradewind_engine::snapshot::{Candidate, GeoState, Parts, Snapshot};
use tradewind_engine::time::Moment;
use tradewind_engine::topology::Topology;
use traffic::Traffic;
use world::World;

/// How often the control loop runs, in ms.
const TICK_MS: u64 = 100;

/// How often nodes report their load, in ms.
const LOAD_REPORT_MS: u64 = 1_000;

/// The content class that some requests tell: see [`Simulation::critical_share`].
pub const CRITICAL: &str = "critical";

/// What is simulated.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The fleet.
    pub topology: Arc<Topology>,
    /// The policy.
    pub policy: Arc<Policy>,
    /// How nodes behave.
    pub node: NodeModel,
    /// What is asked.
    pub traffic: Traffic,
    /// Who chooses.
    pub chooser: Chooser,
    /// What random numbers are drawn from.
    pub seed: u64,
    /// Keys that the control loop counts at a time, instead of its own number; for comparing with exact counts.
    pub sketch_keys: Option<usize>,
}

/// A running simulation.
#[derive(Debug)]
pub struct Simulation {
    setup: Setup,
    random: Random,
    control: Control,
    snapshot: Snapshot,
    nodes: Vec<CacheNode>,
    rival: Rival,
    now_us: u64,
    next_request_us: u64,
    next_tick: Moment,
    next_load_report: Moment,
    /// Outcomes on their way to the sidecar, soonest first.
    outcomes: BinaryHeap<Reverse<Pending>>,
    /// Requests whose last attempt has failed, by when they try the next node.
    retries: BTreeMap<(u64, u64), Request>,
    requests: u64,
    report: Report,
    /// What goes wrong beyond the nodes.
    pub world: World,
    /// Outcomes and load are not reported while this is set: the signals go stale.
    pub is_deaf: bool,
    /// What proxies make of a list: whom they try, in order. All of it, unless told otherwise.
    pub attempts: fn(&mut Attempts),
    /// Who tells of them.
    pub tellers: Tellers,
    /// Outcomes that somebody keeps.
    withheld: Vec<Pending>,
    /// The ways between clients and sites, if round trips are told.
    pub paths: Option<Paths>,
    /// Requests say a path, of which the policy makes the key, instead of the key itself.
    pub has_paths: bool,
    /// Decisions that the control loop was not told of yet.
    lanes: Lanes,
    /// The share of requests that tell the content class [`CRITICAL`], 0 to 1; the others tell none.
    pub critical_share: f64,
    /// How far the clock that the control loop is told is from the simulation's, in ms; may change at any time.
    pub clock_offset_ms: i64,
}

/// The nodes that a request is sent to, one after the other while they fail.
pub type Attempts = ArrayVec<Pick, MAX_CANDIDATES>;

impl Simulation {
    /// A fleet that has just started.
    pub fn new(setup: Setup) -> Self {
        let mut control = setup.sketch_keys.map_or_else(
            || Control::new(setup.seed),
            |keys| Control::counting(setup.seed, keys),
        );
        let parts = Parts {
            topology: Arc::clone(&setup.topology),
            policy: Arc::clone(&setup.policy),
            candidate: None,
            geo: Arc::new(Ranges::default()),
            geo_state: GeoState::NotConfigured,
            here: None,
            signals: Arc::default(),
        };
        let snapshot = publication::adopt(&mut control, Moment(0), parts, None);
        let nodes: Vec<CacheNode> = setup
            .topology
            .nodes()
            .iter()
            .map(|node| CacheNode::new(setup.node, node.capacity))
            .collect();
        let capacities = setup.topology.nodes().iter().map(|node| node.capacity);
        Self {
            random: Random::new(setup.seed),
            report: Report::new(capacities.collect()),
            rival: Rival::new(setup.chooser, &setup.topology),
            control,
            snapshot,
            nodes,
            now_us: 0,
            next_request_us: 0,
            next_tick: Moment(TICK_MS),
            next_load_report: Moment(LOAD_REPORT_MS),
            outcomes: BinaryHeap::new(),
            retries: BTreeMap::new(),
            requests: 0,
            world: World::default(),
            is_deaf: false,
            attempts: |_| {},
            tellers: Tellers::default(),
            withheld: Vec::new(),
            paths: None,
            has_paths: false,
            lanes: Lanes::default(),
            critical_share: 0.0,
            clock_offset_ms: 0,
            setup,
        }
    }

    /// Lets time pass to `until`.
    pub fn run_until(&mut self, until: Moment) {
        let until_us = until.0.saturating_mul(1_000);
        while self.now_us < until_us {
            let tick_us = self.next_tick.0.saturating_mul(1_000);
            let retry = self.retries.first_key_value().map(|(at, _)| *at);
            let request_us = if self.setup.traffic.rate > 0.0 {
                self.next_request_us
            } else {
                u64::MAX
            };
            if let Some((at_us, number)) = retry
                && at_us < tick_us.min(until_us).min(request_us)
            {
                self.now_us = at_us;
                if let Some(request) = self.retries.remove(&(at_us, number)) {
                    self.attempt(number, request);
                }
            } else if self.next_request_us < tick_us.min(until_us) && self.setup.traffic.rate > 0.0
            {
                self.now_us = self.next_request_us;
                self.request();
                let mean_us = 1e6 / self.setup.traffic.rate;
                self.next_request_us += to_u64(self.random.exponential(mean_us)).max(1);
            } else if tick_us <= until_us {
                self.now_us = tick_us;
                self.tick();
            } else {
                self.now_us = until_us;
            }
        }
    }

    /// The time.
    pub fn now(&self) -> Moment {
        Moment(self.now_us / 1_000)
    }

    /// The time that the control loop is told.
    fn told(&self, us: u64) -> Moment {
        Moment((us / 1_000).saturating_add_signed(self.clock_offset_ms))
    }

    /// The snapshot in force.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// The control loop.
    pub fn control(&self) -> &Control {
        &self.control
    }

    /// What was counted since the last call.
    pub fn take_report(&mut self) -> Report {
        let fresh = self.report.fresh();
        std::mem::replace(&mut self.report, fresh)
    }

    /// The traffic from here on.
    pub fn traffic(&mut self) -> &mut Traffic {
        if self.setup.traffic.rate <= 0.0 {
            self.next_request_us = self.now_us;
        }
        &mut self.setup.traffic
    }

    /// What is wrong with a node from here on.
    pub fn set_fault(&mut self, node: NodeIndex, fault: Fault) {
        if let Some(node) = self.nodes.get_mut(node.get()) {
            node.fault = fault;
        }
    }

    /// A node loses its cache.
    pub fn restart(&mut self, node: NodeIndex) {
        if let Some(node) = self.nodes.get_mut(node.get()) {
            node.restart();
        }
    }

    /// An active probe of a node comes back.
    pub fn probe(&mut self, node: NodeIndex, healthy: bool) {
        let result = ProbeResult {
            node,
            healthy,
            took_us: 1_000,
        };
        let now = self.now();
        self.control
            .probed(now, result, Next::after(&self.snapshot));
    }

    /// Serves what a steward says, as a sidecar's writer does. Where clients are stays the simulation's own.
    pub fn serve(&mut self, publish: &Publish) {
        let policy = Arc::clone(publish.edition.policy());
        let candidate = publish.candidate.as_ref().map(|it| Candidate {
            routing: Arc::clone(it.policy.routing()),
            split: it.split,
        });
        self.adopt(Arc::clone(&publish.topology), policy, candidate);
    }

    /// Another fleet and policy take the place of these, as when an operator changes the files. Nodes are new where they
    /// have new names; outcomes and retries on their way go on.
    pub fn replace(&mut self, topology: Arc<Topology>, policy: Arc<Policy>) {
        self.adopt(topology, policy, None);
    }

    fn adopt(
        &mut self,
        topology: Arc<Topology>,
        policy: Arc<Policy>,
        candidate: Option<Candidate>,
    ) {
        let mut before: Vec<(Box<str>, CacheNode)> = self
            .setup
            .topology
            .nodes()
            .iter()
            .map(|node| node.id.clone())
            .zip(std::mem::take(&mut self.nodes))
            .collect();
        for node in topology.nodes() {
            let known = before.iter().position(|(id, _)| *id == node.id);
            let kept = known.map(|at| before.swap_remove(at).1);
            let kept = kept.unwrap_or_else(|| CacheNode::new(self.setup.node, node.capacity));
            self.nodes.push(kept);
        }
        (self.setup.topology, self.setup.policy) = (topology, policy);
        let parts = Parts {
            topology: Arc::clone(&self.setup.topology),
            policy: Arc::clone(&self.setup.policy),
            candidate,
            ..self.snapshot.parts().clone()
        };
        let now = self.now();
        let tried = parts.candidate.as_ref().map(|it| it.split.salt);
        let told = self.told(self.now_us);
        self.control.watch_cohorts(told, tried);
        let next = publication::adopt(&mut self.control, now, parts, Some(&self.snapshot));
        self.carry_on();
        self.publish(next);
        if !self.control.mapping().is_identity() {
            let capacities = self.setup.topology.nodes().iter().map(|node| node.capacity);
            self.report = Report::new(capacities.collect());
        }
    }

    /// What is on its way names nodes by positions that were: those that are gone never answer.
    fn carry_on(&mut self) {
        let mapping = self.control.mapping();
        let outcomes = self.outcomes.drain().filter_map(|Reverse(pending)| {
            let node = mapping.node(pending.node)?;
            Some(Reverse(Pending { node, ..pending }))
        });
        self.outcomes = outcomes.collect();
        for request in self.retries.values_mut() {
            let picks = request.picks.iter().filter_map(|pick| {
                let node = mapping.node(pick.node)?;
                Some(Pick { node, ..*pick })
            });
            request.picks = picks.collect();
        }
    }

    fn publish(&mut self, snapshot: Snapshot) {
        self.report.disrupted(self.control.disruption().0);
        self.snapshot = snapshot;
    }

    /// Decides a request as it would be decided now, without asking a node.
    pub fn ask(&self, key: u64, client: Option<tradewind_engine::geo::Location>) -> Evaluation {
        let asked = Asked::new(key, 0, self.has_paths);
        evaluate(&self.snapshot, &asked.by(client, None))
    }

    /// What the control loop did since the last report was taken.
    pub fn events(&self) -> &[Event] {
        &self.report.events
    }
}
