//! Many sidecars in virtual time around the engine's own [`fleet`](tradewind_engine::fleet): what each tells, who has the
//! chair, what all follow, over a bus that loses, doubles and delays.
//!
//! Left out: rankings, caches and terms of sites; how often two sidecars would send a key to the same node follows from the
//! weights that each acts on, in closed form ([`agreement`]). Time goes in ticks of 100 ms, which is also the least that a
//! sidecar takes to act.

pub mod agreement;
pub mod hub;
pub mod land;
mod measure;
pub mod report;
pub mod scenario;
pub mod sidecar;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hub::{Hub, Letter, Message};
use land::{Health, seed};
use report::Report;
use scenario::Scenario;
use sidecar::Sidecar;
use tradewind_engine::fleet::judge::Judge;
use tradewind_engine::fleet::lease::{Action, Event};
use tradewind_engine::fleet::member::State;
use tradewind_engine::hash::NodeSeed;
use tradewind_engine::number::from_u64;
use tradewind_engine::policy::Operation;
use tradewind_engine::signal::Admission;
use tradewind_engine::time::Moment;

use crate::random::Random;

/// How often everybody acts, in ms.
const TICK_MS: u64 = 100;

/// A node that was well again for so long is not left for its failure any more, in ms.
const AFTERMATH_MS: u64 = 5_000;

/// Sidecars that want the chair.
const ELIGIBLE: usize = 5;

/// A run.
#[derive(Debug)]
pub struct Fleet {
    scenario: Scenario,
    operation: Operation,
    random: Random,
    now: Moment,
    hub: Hub,
    sidecars: Vec<Sidecar>,
    /// What each sidecar uses: nodes by position, their names, and requests a second.
    uses: Vec<Vec<(usize, f64)>>,
    named_uses: Vec<Vec<(NodeSeed, f64)>>,
    /// By node: who uses it, and how often.
    users: Vec<Vec<(usize, f64)>>,
    seeds: Vec<NodeSeed>,
    index: BTreeMap<NodeSeed, usize>,
    health: Vec<Health>,
    /// When each node failed last, and when that ended.
    failed_until: Vec<Option<Moment>>,
    /// Nodes that are looked at at every tick, because something happens to them.
    watched: BTreeSet<usize>,
    /// Nodes that the chair holds for left.
    left: BTreeSet<NodeSeed>,
    report: Report,
}

impl Fleet {
    /// A run of `scenario`, by a policy's `operation`.
    pub fn new(scenario: Scenario, operation: Operation) -> Self {
        let scale = scenario.scale;
        let mut random = Random::new(scenario.seed);
        let mut sidecars: Vec<Sidecar> = (0..scale.members)
            .map(|at| Sidecar::new(&format!("sidecar-{at}"), at < ELIGIBLE))
            .collect();
        for (at, sidecar) in sidecars.iter_mut().enumerate() {
            let lies = at >= ELIGIBLE && random.unit() < scenario.liars;
            sidecar.lies = lies.then_some(scenario.lies);
        }
        let seeds: Vec<NodeSeed> = (0..scale.nodes()).map(seed).collect();
        let index = seeds.iter().copied().zip(0..).collect();
        let uses: Vec<Vec<(usize, f64)>> = (0..scale.members)
            .map(|at| scale.uses(at).collect())
            .collect();
        let mut asked_by = vec![Vec::new(); scale.nodes()];
        for (member, uses) in uses.iter().enumerate() {
            for (node, rate) in uses {
                if let Some(members) = asked_by.get_mut(*node) {
                    members.push((member, *rate));
                }
            }
        }
        let named = |uses: &Vec<(usize, f64)>| {
            let named = uses.iter();
            named
                .filter_map(|(node, rate)| Some((*seeds.get(*node)?, *rate)))
                .collect()
        };
        let health = (0..scale.nodes()).map(|_| Health::WELL).collect();
        Self {
            hub: Hub::new(scale.members, scenario.faults, scenario.seed),
            named_uses: uses.iter().map(named).collect(),
            failed_until: vec![None; scale.nodes()],
            now: Moment(0),
            watched: BTreeSet::new(),
            left: BTreeSet::new(),
            report: Report::default(),
            scenario,
            operation,
            random,
            sidecars,
            uses,
            users: asked_by,
            seeds,
            index,
            health,
        }
    }

    /// Runs it to its end.
    pub fn run(mut self) -> Report {
        while self.now.0 < self.scenario.seconds * 1_000 {
            self.now = self.now.plus(TICK_MS);
            self.happen();
            self.deliver();
            self.serve();
            self.act();
            self.watch();
            self.measure();
        }
        self.report.carried = self.hub.carried;
        self.report
    }

    /// What the scenario has for this moment.
    fn happen(&mut self) {
        let now = self.now;
        let scale = self.scenario.scale;
        // Everybody knows what is usual before anything is slow.
        if now.0 == self.scenario.slow_from_ms {
            for node in 0..scale.nodes() {
                if self.random.unit() < self.scenario.slow_share
                    && let Some(health) = self.health.get_mut(node)
                {
                    health.slowdown = self.random.between(2.0, 6.0);
                }
            }
        }
        if self.scenario.is_time_to_fail(now) {
            let node = self.random.bits() % (scale.nodes() as u64);
            self.fail(usize::try_from(node).unwrap_or(0), false);
        }
        if self.scenario.site_fails_at_ms == Some(now.0) {
            for node in 0..scale.nodes_per_site {
                self.fail(node, true);
            }
        }
        if self.scenario.chair_dies_at_ms == Some(now.0)
            && let Some(chair) = self.sidecars.iter_mut().find(|it| it.judge.is_some())
        {
            (chair.is_dead, chair.judge) = (true, None);
        }
        if let Some(cut) = self.scenario.cut {
            self.hub.keeps = cut.keeps;
            if now.0 == cut.from_ms {
                let members = (ELIGIBLE..scale.members).filter(|_| self.random.unit() < cut.share);
                let members = members.collect();
                self.hub.cut(now, members);
            } else if now.0 == cut.to_ms {
                self.hub.cut(now, BTreeSet::new());
            }
        }
        for (health, until) in self.health.iter_mut().zip(&self.failed_until) {
            health.fails = until.is_some_and(|until| now < until);
        }
    }

    fn fail(&mut self, node: usize, of_site: bool) {
        let until = self.now.plus(self.scenario.fails_for_ms);
        if let Some(slot) = self.failed_until.get_mut(node) {
            if slot.is_some_and(|until| self.now < until) {
                return;
            }
            *slot = Some(until);
            self.report.failure(self.now, (node, of_site));
        }
    }

    /// Hands over what has come.
    fn deliver(&mut self) {
        while let Some((at, letter)) = self.hub.next(self.now) {
            if let Message::Set(action) = letter.message {
                let Some((answer, is_new)) = self.hub.set(action) else {
                    continue;
                };
                let message = Message::Store(answer);
                let to = letter.from;
                self.hub.send(
                    at,
                    Letter {
                        from: to,
                        to,
                        message,
                    },
                );
                if is_new {
                    for to in 0..ELIGIBLE.min(self.sidecars.len()) {
                        let message = Message::Store(self.hub.held());
                        self.hub.send(
                            at,
                            Letter {
                                from: to,
                                to,
                                message,
                            },
                        );
                    }
                }
                continue;
            }
            let Some(sidecar) = self.sidecars.get_mut(letter.to).filter(|it| !it.is_dead) else {
                continue;
            };
            match letter.message {
                Message::State(state) => {
                    sidecar.member.hear(at, &state);
                }
                Message::Evidence(evidence) => {
                    if let Some(judge) = &mut sidecar.judge {
                        self.report.unheard +=
                            u64::from(judge.hear(at, &evidence, &self.operation).is_err());
                    }
                }
                Message::Store(event) => self.lease(at, letter.to, event),
                Message::Set(_) => {}
            }
        }
    }

    /// A step of a sidecar's lease, and what follows.
    fn lease(&mut self, now: Moment, member: usize, event: Event) {
        let Some(sidecar) = self.sidecars.get_mut(member) else {
            return;
        };
        for action in sidecar.lease.step(now, event) {
            match action {
                Action::Begin(epoch) => {
                    let held = (**sidecar.member.facts()).clone();
                    let who = (epoch, sidecar.id.0);
                    sidecar.judge = Some(Judge::new(now, who, held, &self.operation));
                    self.report.chairs.push((now, epoch));
                }
                Action::Stop => sidecar.judge = None,
                Action::Set { .. } => {
                    let letter = Letter {
                        from: member,
                        to: member,
                        message: Message::Set(action),
                    };
                    self.hub.send(now, letter);
                }
            }
        }
    }

    /// Requests come: at nodes that are watched at each tick, at others once a second.
    fn serve(&mut self) {
        let now = self.now;
        let tick_s = from_u64(TICK_MS) / 1_000.0;
        for node in self.watched.clone() {
            let users = self.users.get(node).cloned().unwrap_or_default();
            for (member, rate) in users {
                self.ask(member, node, rate * tick_s);
            }
        }
        for member in 0..self.sidecars.len() {
            let Some(sidecar) = self.sidecars.get(member) else {
                continue;
            };
            if sidecar.is_dead || sidecar.lies.is_some() || now.0 % 1_000 != sidecar.phase_ms {
                continue;
            }
            let uses = self.uses.get(member).cloned().unwrap_or_default();
            for (node, rate) in uses {
                if !self.watched.contains(&node) {
                    self.ask(member, node, rate);
                }
            }
        }
    }

    /// A sidecar sends so many requests to a node, in the mean, if it uses all of it.
    fn ask(&mut self, member: usize, node: usize, expected: f64) {
        let (Some(sidecar), Some(seed), Some(health)) = (
            self.sidecars.get_mut(member),
            self.seeds.get(node),
            self.health.get(node),
        ) else {
            return;
        };
        if sidecar.is_dead {
            return;
        }
        let (_, used) = sidecar.view(*seed, &self.operation);
        let count = land::arrivals(expected * used, &mut self.random);
        for _ in 0..count {
            // Whoever leaves a node within a tick leaves it at once.
            if health.fails && sidecar.view(*seed, &self.operation).1 <= 0.0 {
                break;
            }
            let time_us = land::attempt(*health, &mut self.random);
            if health.fails {
                self.report.failed(node);
            }
            if sidecar.lies.is_none() {
                sidecar.saw(self.now, (*seed, time_us), &self.operation);
            }
        }
    }

    /// Everybody acts: breakers, leases, evidence; the chair speaks.
    fn act(&mut self) {
        let now = self.now;
        for member in 0..self.sidecars.len() {
            let Some(sidecar) = self.sidecars.get_mut(member).filter(|it| !it.is_dead) else {
                continue;
            };
            sidecar.tick(now, &self.operation);
            if member < ELIGIBLE {
                self.lease(now, member, Event::Tick);
            }
            let uses = self.named_uses.get(member).map_or(&[][..], Vec::as_slice);
            let told = (self.sidecars.get_mut(member)).and_then(|it| it.tell(now, uses));
            if let Some(evidence) = told.map(Arc::new) {
                for to in 0..ELIGIBLE.min(self.sidecars.len()) {
                    if self.sidecars.get(to).is_some_and(|it| it.judge.is_some()) {
                        let message = Message::Evidence(Arc::clone(&evidence));
                        self.hub.send(
                            now,
                            Letter {
                                from: member,
                                to,
                                message,
                            },
                        );
                    }
                }
            }
        }
        for from in 0..ELIGIBLE.min(self.sidecars.len()) {
            let judge = self.sidecars.get_mut(from).and_then(|it| it.judge.as_mut());
            let Some(judge) = judge else { continue };
            let state = judge.tick(now, &self.operation);
            self.report.dismissed = self.report.dismissed.max(judge.counts().dismissed);
            if let Some(state) = state.map(Arc::new) {
                self.note(&state);
                for to in 0..self.sidecars.len() {
                    let message = Message::State(Arc::clone(&state));
                    self.hub.send(now, Letter { from, to, message });
                }
            }
        }
    }

    /// Counts what the chair says, and nodes that it leaves though they are well.
    fn note(&mut self, state: &State) {
        self.hub.carried.states.0 += 1;
        self.hub.carried.states.1 += state.size() as u64;
        for (seed, fact) in &state.nodes {
            if fact.place.is_none() {
                self.left.remove(seed);
                continue;
            }
            let node = self.index.get(seed).copied().unwrap_or(usize::MAX);
            let until = self.failed_until.get(node).copied().flatten();
            let fails = until.is_some_and(|until| self.now < until.plus(AFTERMATH_MS));
            if self.left.insert(*seed) && fact.verdict == Admission::BreakerOpen && !fails {
                self.report.wrong_openings += 1;
            }
        }
        for seed in &state.well {
            self.left.remove(seed);
        }
    }

    /// Which nodes are looked at at every tick from now on.
    fn watch(&mut self) {
        let failing = self.health.iter().zip(0..).filter(|(it, _)| it.fails);
        let mut watched: BTreeSet<usize> = failing.map(|(_, node)| node).collect();
        let position = |seed: &NodeSeed| self.index.get(seed).copied();
        for sidecar in &self.sidecars {
            watched.extend(sidecar.own.keys().filter_map(position));
            if sidecar.judge.is_some() {
                watched.extend(sidecar.member.hearings().iter().filter_map(position));
            }
        }
        watched.extend(self.left.iter().filter_map(position));
        self.watched = watched;
    }
}
