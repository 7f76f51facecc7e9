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
pub mod rivals;
pub mod tellers;
pub mod traffic;
pub mod world;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

use arrayvec::ArrayVec;

use asked::Asked;
use lanes::Lanes;
use node::{CacheNode, Fault, NodeModel, Served};
use paths::Paths;
use random::Random;
use report::Report;
use rivals::{Chooser, Rival};
use tellers::Tellers;
use tradewind_engine::control::event::Event;
use tradewind_engine::control::{Control, Next};
use tradewind_engine::decision::Decision;
use tradewind_engine::evaluate::{Evaluation, Pick, Reason, Verdict, evaluate};
use tradewind_engine::geo::group::Group;
use tradewind_engine::geo::ranges::Ranges;
use tradewind_engine::lifecycle::Publish;
use tradewind_engine::model::NodeIndex;
use tradewind_engine::number::{from_u64, narrow, to_u64};
use tradewind_engine::policy::{Policy, Priority};
use tradewind_engine::publication;
use tradewind_engine::query::MAX_CANDIDATES;
use tradewind_engine::signal::observation::{
    DecisionNumber, Dispatch, LoadReport, Outcome, ProbeResult, Reporter, Standing,
};
use tradewind_engine::snapshot::{Candidate, GeoState, Parts, Snapshot};
use tradewind_engine::time::Moment;
use tradewind_engine::topology::Topology;
use traffic::Traffic;
use world::{What, World};

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

/// A request on its way down its list.
#[derive(Debug, Clone)]
struct Request {
    key: u64,
    is_limited: bool,
    priority: Priority,
    group: Option<Group>,
    began_us: u64,
    timeout_us: u64,
    picks: Attempts,
    attempt: u8,
}

/// An outcome on its way.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Pending {
    at_us: u64,
    number: u64,
    attempt: u8,
    node: NodeIndex,
    served: Served,
    round_trip_us: u32,
}

impl Eq for Pending {}

impl PartialOrd for Pending {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Pending {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let key = |pending: &Self| (pending.at_us, pending.number, pending.attempt);
        key(self).cmp(&key(other))
    }
}

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

    /// Decides a request as it would be decided now, without asking a node.
    pub fn ask(&self, key: u64, client: Option<tradewind_engine::geo::Location>) -> Evaluation {
        let asked = Asked::new(key, 0, self.has_paths);
        evaluate(&self.snapshot, &asked.by(client, None))
    }

    /// One request: decided, sent, retried down the list.
    fn request(&mut self) {
        let (usual, client) = self.setup.traffic.draw(&mut self.random);
        let clients = &self.setup.traffic.clients;
        let habit = self.world.habit((client, clients), &mut self.random);
        self.requests += 1;
        let number = self.requests;
        let key = World::key(habit, usual, number);
        let is_critical = self.critical_share > 0.0 && self.random.unit() < self.critical_share;
        let class = is_critical.then_some(CRITICAL);
        let asked = Asked::new(key, number, self.has_paths).of_class(class);
        let paths = self.paths.as_ref();
        let operator = paths.and_then(|paths| paths.draw_operator(&mut self.random));
        let mut evaluation = evaluate(&self.snapshot, &asked.by(client, operator));
        self.lanes.count(&evaluation);
        if let Some(node) = self.rival.choose(&self.snapshot, &evaluation, self.now_us) {
            if let Some(first) = evaluation.picks.first_mut() {
                first.node = node;
            }
            evaluation.reason = Reason::Owner;
        }
        self.report.decided(&self.snapshot, &evaluation);
        if let Some(paths) = &mut self.paths {
            paths.decided(&self.snapshot, &evaluation);
        }
        self.dispatch(number, &evaluation);
        let decision = Decision::new(&self.snapshot, &evaluation);
        let priority = decision.plan().map(|plan| plan.priority);
        let priority = priority.unwrap_or_default();
        if evaluation.verdict == Verdict::Shed {
            self.report.shed(priority);
            return;
        }
        let planned_us = decision
            .plan()
            .map_or(1_000_000, |plan| u64::from(plan.attempt_timeout_ms) * 1_000);
        (self.attempts)(&mut evaluation.picks);
        if evaluation.is_tried_once {
            evaluation.picks.truncate(1);
        }
        let timeout_us = self.world.patience_us.unwrap_or(planned_us);
        let request = Request {
            key,
            is_limited: habit == Some(What::Limited),
            priority,
            group: evaluation.located.group(),
            began_us: self.now_us,
            timeout_us,
            picks: evaluation.picks,
            attempt: 0,
        };
        self.attempt(number, request);
    }

    /// Sends a request to the next node of its list; later ones wait until it has failed.
    fn attempt(&mut self, number: u64, mut request: Request) {
        let pick = request.picks.get(usize::from(request.attempt));
        let Some((pick, node)) = pick.and_then(|pick| {
            let node = self.nodes.get_mut(pick.node.get())?;
            Some((*pick, node))
        }) else {
            let took_us = self.now_us - request.began_us;
            self.report.answered(request.priority, false, took_us);
            return;
        };
        let when = (self.now_us, request.timeout_us);
        let served = if request.is_limited {
            Served::SHED
        } else {
            let asked = (request.key, self.world.origin(request.key));
            node.serve(when, asked, &mut self.random)
        };
        let served = self.tellers.reach(number, pick.node, served);
        self.report.attempted(&served);
        let at_us = self.now_us + served.took_us;
        let round_trip_us = self.paths.as_mut().map_or(0, |paths| {
            let site = self.snapshot.topology().site_of(pick.node);
            paths.tell(&self.snapshot, (request.group, site), &mut self.random)
        });
        self.outcomes.push(Reverse(Pending {
            at_us,
            number,
            attempt: request.attempt,
            node: pick.node,
            served,
            round_trip_us,
        }));
        // Proxies pass on that it is too much, as they pass on a good answer.
        if matches!(served.status, 200 | 429) {
            let is_answered = served.status == 200;
            let took_us = at_us - request.began_us;
            self.report.answered(request.priority, is_answered, took_us);
        } else {
            request.attempt += 1;
            self.retries.insert((at_us, number), request);
        }
    }

    fn dispatch(&mut self, number: u64, evaluation: &Evaluation) {
        let decision = Decision::new(&self.snapshot, evaluation);
        let dispatch = decision.dispatch(DecisionNumber(number));
        let Some((dispatch, tier)) = dispatch.zip(decision.tier()) else {
            return;
        };
        // Every simulated request is decided by itself.
        let dispatch = Dispatch {
            is_reusable: false,
            ..dispatch
        };
        self.control.dispatched(&dispatch, tier.affinity);
    }

    /// What the sidecar's writer does: takes in what was told, lets the control loop act, publishes.
    fn tick(&mut self) {
        let now = self.now();
        self.next_tick = self.next_tick.plus(TICK_MS);
        self.deliver();
        if now >= self.next_load_report {
            self.next_load_report = now.plus(LOAD_REPORT_MS);
            self.report_load();
        }
        let told = self.told(self.now_us);
        self.control.decided(told, self.lanes.take());
        let signals = self.control.tick(told, &self.snapshot);
        if self.setup.chooser != Chooser::Tradewind {
            self.report.tick_window();
            return;
        }
        if let Some(signals) = signals {
            let next = publication::renew(&mut self.control, now, signals, &self.snapshot);
            self.publish(next);
        }
        self.report.events(&self.control.take_events());
        self.report.ticked(&self.snapshot);
    }

    fn publish(&mut self, snapshot: Snapshot) {
        self.report.disrupted(self.control.disruption().0);
        self.snapshot = snapshot;
    }

    fn deliver(&mut self) {
        if self.tellers.withheld.is_none() {
            for pending in std::mem::take(&mut self.withheld) {
                self.tell(pending, self.now_us);
            }
        }
        while let Some(Reverse(pending)) = self.outcomes.peek().copied() {
            if pending.at_us > self.now_us {
                return;
            }
            self.outcomes.pop();
            if self.is_deaf {
                continue;
            }
            if self.tellers.withheld == Some(self.tellers.of(pending.number)) {
                self.withheld.push(pending);
            } else {
                self.tell(pending, pending.at_us);
            }
        }
    }

    fn tell(&mut self, pending: Pending, at_us: u64) {
        let took = u32::try_from(pending.served.took_us).unwrap_or(u32::MAX);
        let first_byte = if pending.served.status == 0 { 0 } else { took };
        let outcome = self.tellers.tell(Outcome {
            decision: Some(DecisionNumber(pending.number)),
            attempt: pending.attempt + 1,
            reporter: self.tellers.of(pending.number),
            node: pending.node,
            result: pending.served.result,
            status: pending.served.status,
            first_byte_us: first_byte,
            cache: pending.served.cache,
            bytes: 10_000,
            client_round_trip_us: pending.round_trip_us,
            key: None,
        });
        let (at, next) = (self.told(at_us), Next::after(&self.snapshot));
        self.control.outcome(at, &outcome, next);
    }

    fn report_load(&mut self) {
        let now = self.told(self.now_us);
        let passed_us = from_u64(LOAD_REPORT_MS) * 1_000.0;
        let operation = self.setup.policy.operation();
        let histogram = self.tellers.histogram();
        for (node, at) in self.nodes.iter_mut().zip(0_u32..) {
            let utilisation = narrow(node.utilisation(passed_us, &mut self.random));
            if self.is_deaf {
                continue;
            }
            let node = NodeIndex(at);
            if let Some(loads) = self.tellers.loads(utilisation) {
                for (reporter, report) in loads {
                    let word = ((reporter, Standing::Proxy), report);
                    self.control.load(now, node, word, operation);
                }
            } else {
                let report = LoadReport {
                    utilisation: Some(utilisation),
                    ..LoadReport::default()
                };
                let word = ((Reporter(u16::MAX - 1), Standing::Own), report);
                self.control.load(now, node, word, operation);
            }
            if let Some((liar, times)) = &histogram {
                let word = ((*liar, Standing::Proxy), times);
                self.control.service_times(now, node, word);
            }
        }
    }

    /// What the control loop did since the last report was taken.
    pub fn events(&self) -> &[Event] {
        &self.report.events
    }
}
