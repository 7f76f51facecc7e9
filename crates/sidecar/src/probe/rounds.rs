//! Who is asked next: the loop on the prober's thread.
//!
//! Each node is in one of three stages: its next question is due at some moment, it waits for a free place, or it is
//! being asked. So no two probes of a node overlap. A node whose place, address or order has changed is begun anew, and
//! what was on its way to it is cut short and not told.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::mem;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use tokio::time::{Instant, MissedTickBehavior};

use super::ask::Order;
use super::connect::{Connector, Fault};
use super::schedule::Pace;
use super::{MAX_IN_FLIGHT, ProbeCounters, Probed};
use crate::clock;
use crate::state::State;
use tradewind_engine::model::AdminState;
use tradewind_engine::policy::Policy;
use tradewind_engine::topology::{Address, Topology};

/// How often it is looked whether something new was published: a load of a pointer. A new policy or topology is to be
/// taken up within a second.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// All that the loop owns.
pub(super) struct Rounds<R> {
    state: Arc<State>,
    report: R,
    counters: Arc<ProbeCounters>,
    salt: u64,
    connector: Arc<Connector>,
    /// What was last taken up.
    followed: Option<Followed>,
    order: Option<Arc<Order>>,
    /// By node id. At most as many as a topology has nodes, as are the next two.
    targets: BTreeMap<Arc<str>, Target>,
    /// The nodes in stage `Due`, each once; the next first.
    due: BinaryHeap<Reverse<Due>>,
    /// The nodes in stage `Waiting`, each once; longest first.
    waiting: VecDeque<Arc<str>>,
    in_flight: JoinSet<Answer>,
}

/// The documents that a plan was made of.
struct Followed {
    policy: Arc<Policy>,
    topology: Arc<Topology>,
}

/// When a node is to be asked; in order of time.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Due {
    at: Instant,
    node: Arc<str>,
}

/// A node that is probed.
struct Target {
    address: Address,
    pace: Pace,
    /// Questions asked.
    round: u64,
    /// When the next is due.
    next: Instant,
    stage: Stage,
}

enum Stage {
    Due,
    Waiting,
    Asked(InFlight),
}

/// A probe on its way; dropping it cuts it short.
struct InFlight(AbortHandle);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What a probe came to.
struct Answer {
    node: Arc<str>,
    found: Result<(), Fault>,
    took: Duration,
}

impl Target {
    fn new(address: Address, pace: Pace, next: Instant) -> Self {
        Self {
            address,
            pace,
            round: 0,
            next,
            stage: Stage::Due,
        }
    }

    fn due(&self, node: &Arc<str>) -> Due {
        Due {
            at: self.next,
            node: Arc::clone(node),
        }
    }

    fn is_asked_by(&self, task: Id) -> bool {
        matches!(&self.stage, Stage::Asked(in_flight) if in_flight.0.id() == task)
    }
}

impl<R: Fn(Probed)> Rounds<R> {
    pub(super) fn new(
        state: Arc<State>,
        report: R,
        counters: Arc<ProbeCounters>,
        salt: u64,
    ) -> Self {
        Self {
            state,
            report,
            counters,
            salt,
            connector: Arc::new(Connector::default()),
            followed: None,
            order: None,
            targets: BTreeMap::new(),
            due: BinaryHeap::new(),
            waiting: VecDeque::new(),
            in_flight: JoinSet::new(),
        }
    }

    /// Runs until `stopped` says so or its sender is gone; what is on its way then is cut short.
    pub(super) async fn run(mut self, mut stopped: oneshot::Receiver<()>) {
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let next = self.due.peek().map(|Reverse(due)| due.at);
            tokio::select! {
                biased;
                _ = &mut stopped => return,
                _ = look.tick() => self.follow(),
                Some(done) = self.in_flight.join_next_with_id() => self.take(done),
                () = until(next) => {}
            }
            self.ask_those_due();
        }
    }

    /// Takes up a new policy or topology. Other snapshots differ in what is known of nodes, which changes nothing here.
    fn follow(&mut self) {
        let Some(published) = self.state.published.load_full() else {
            return;
        };
        let parts = published.snapshot.parts();
        let followed = self.followed.as_ref();
        if followed.is_some_and(|followed| {
            Arc::ptr_eq(&followed.policy, &parts.policy)
                && Arc::ptr_eq(&followed.topology, &parts.topology)
        }) {
            return;
        }
        self.followed = Some(Followed {
            policy: Arc::clone(&parts.policy),
            topology: Arc::clone(&parts.topology),
        });
        self.plan(Order::of(&parts.policy.operation().probe), &parts.topology);
    }

    /// Keeps the nodes for which nothing has changed in their stage, begins the others, drops the rest.
    fn plan(&mut self, order: Option<Order>, topology: &Topology) {
        let same_order = order.as_ref() == self.order.as_deref();
        let mut before = mem::take(&mut self.targets);
        if !same_order {
            before.clear();
            self.order = order.map(Arc::new);
        }
        if let Some(order) = &self.order {
            let now = clock::timer_now();
            let asked = |state| state != AdminState::Maintenance;
            for node in topology.nodes().iter().filter(|node| asked(node.state)) {
                let kept = before.remove_entry(&*node.id);
                let kept = kept.filter(|(_, target)| target.address == node.address);
                let (id, target) = kept.unwrap_or_else(|| {
                    let pace = Pace::of(&node.id, self.salt);
                    let next = now + pace.first(order.interval);
                    let target = Target::new(node.address.clone(), pace, next);
                    (Arc::from(&*node.id), target)
                });
                self.targets.insert(id, target);
            }
        }
        let waits = |id: &Arc<str>| {
            let target = self.targets.get(id);
            target.is_some_and(|target| matches!(target.stage, Stage::Waiting))
        };
        self.waiting.retain(waits);
        let due = self.targets.iter();
        self.due = due
            .filter(|(_, target)| matches!(target.stage, Stage::Due))
            .map(|(id, target)| Reverse(target.due(id)))
            .collect();
        tracing::debug!(nodes = self.targets.len(), order = ?self.order, "nodes to probe");
    }

    /// Asks the nodes that are due, and lets those wait for which there is no place.
    fn ask_those_due(&mut self) {
        let now = clock::timer_now();
        while self.due.peek().is_some_and(|Reverse(due)| due.at <= now) {
            let Some(Reverse(Due { node, .. })) = self.due.pop() else {
                break;
            };
            if let Some(target) = self.targets.get_mut(&node) {
                if self.in_flight.len() + self.waiting.len() >= MAX_IN_FLIGHT {
                    self.counters.delayed.fetch_add(1, Ordering::Relaxed);
                }
                target.stage = Stage::Waiting;
                self.waiting.push_back(node);
            }
        }
        while self.in_flight.len() < MAX_IN_FLIGHT {
            let Some(node) = self.waiting.pop_front() else {
                break;
            };
            self.ask(node);
        }
        let waiting = u64::try_from(self.waiting.len()).unwrap_or(u64::MAX);
        self.counters.waiting.store(waiting, Ordering::Relaxed);
    }

    fn ask(&mut self, node: Arc<str>) {
        let (Some(order), Some(target)) = (&self.order, self.targets.get_mut(&node)) else {
            return;
        };
        let began = clock::timer_now();
        target.round += 1;
        target.next = began + target.pace.gap(target.round, order.interval);
        let (order, connector) = (Arc::clone(order), Arc::clone(&self.connector));
        let address = target.address.clone();
        let task = self.in_flight.spawn(async move {
            let found = order.ask(&connector, &address).await;
            Answer {
                node,
                found,
                took: began.elapsed(),
            }
        });
        target.stage = Stage::Asked(InFlight(task));
    }

    /// Tells what a probe came to, unless it was cut short since, and lets its node be due again.
    fn take(&mut self, done: Result<(Id, Answer), JoinError>) {
        let (task, answer) = match done {
            Ok(done) => done,
            Err(lost) => return self.lost(&lost),
        };
        let Answer { node, found, took } = answer;
        let asked = self.targets.get_mut(&node);
        let Some(target) = asked.filter(|target| target.is_asked_by(task)) else {
            return;
        };
        target.stage = Stage::Due;
        self.due.push(Reverse(target.due(&node)));
        let detail = match found {
            Ok(()) => None,
            Err(Fault::Node(failure)) => Some(failure),
            Err(Fault::Ours(error)) => {
                self.counters.local.fetch_add(1, Ordering::Relaxed);
                tracing::debug!(node = &*node, %error, "a node could not be probed");
                return;
            }
        };
        self.counters.count(detail);
        (self.report)(Probed {
            node: Box::from(&*node),
            healthy: detail.is_none(),
            took,
            detail,
        });
    }

    /// A probe has no answer: it was cut short by us, or it panicked, which must not end the probing of its node.
    fn lost(&mut self, lost: &JoinError) {
        if lost.is_cancelled() {
            return;
        }
        let mut targets = self.targets.iter_mut();
        if let Some((id, target)) = targets.find(|(_, target)| target.is_asked_by(lost.id())) {
            target.stage = Stage::Due;
            self.due.push(Reverse(target.due(id)));
            self.counters.local.fetch_add(1, Ordering::Relaxed);
            tracing::error!(node = &**id, error = %lost, "a probe was lost");
        }
    }
}

/// Ends at a moment, or never.
async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
