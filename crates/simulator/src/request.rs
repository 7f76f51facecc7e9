//! A request: decided, sent, tried again down its list, told of.

use std::cmp::Reverse;

use super::asked::Asked;
use super::node::Served;
use super::world::{What, World};
use super::{Attempts, CRITICAL, Simulation};
use tradewind_engine::decision::Decision;
use tradewind_engine::evaluate::{Evaluation, Reason, Verdict, evaluate};
use tradewind_engine::geo::group::Group;
use tradewind_engine::model::NodeIndex;
use tradewind_engine::policy::Priority;
use tradewind_engine::signal::observation::{DecisionNumber, Dispatch};

/// A request on its way down its list.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) key: u64,
    pub(super) is_limited: bool,
    pub(super) priority: Priority,
    pub(super) group: Option<Group>,
    pub(super) began_us: u64,
    pub(super) timeout_us: u64,
    pub(super) picks: Attempts,
    pub(super) attempt: u8,
}

/// An outcome on its way.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Pending {
    pub(super) at_us: u64,
    pub(super) number: u64,
    pub(super) attempt: u8,
    pub(super) node: NodeIndex,
    pub(super) served: Served,
    pub(super) round_trip_us: u32,
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
    /// One request: decided, sent, retried down the list.
    pub(super) fn request(&mut self) {
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
    pub(super) fn attempt(&mut self, number: u64, mut request: Request) {
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
}
