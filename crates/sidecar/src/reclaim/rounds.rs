//! Who is told next: the loop on the thread that tells.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::MAX_IN_FLIGHT;
use super::floors::Floors;
use super::plan::Plan;
use super::tell::Node;
use crate::clock;
use crate::freshness::log;
use crate::freshness::progress::{NodeProgress, Progress};
use crate::freshness::records::Records;
use crate::probe::connect::Connector;
use crate::state::State;
use crate::wire::proto::Purged;
use tradewind_engine::freshness::floors::NodeFloors;
use tradewind_engine::freshness::tiers::{Member, Tiers};
use tradewind_engine::policy::Policy;
use tradewind_engine::time::Moment;
use tradewind_engine::topology::Topology;

/// How often it is looked whether something new was published, and whether somebody is stuck.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How often everybody is looked at, at most, however much is done meanwhile.
const LOOK_AT_MOST: Duration = Duration::from_millis(20);

/// How often what was done is written down, at most.
const KEEP_EVERY: Duration = Duration::from_secs(1);

/// Purges that a node is told of at once.
const AT_ONCE: usize = 64;

/// How long a node is left alone that did not do what it was told: twice as long each time, up to this.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What came of telling a node.
struct Ended {
    at: usize,
    /// Which plan it was of.
    plan: u64,
    result: Result<(), Box<str>>,
}

/// A node, as far as it is told.
#[derive(Default)]
struct Telling {
    is_told: bool,
    pause: Duration,
    not_before: Option<Instant>,
    failure: Option<Box<str>>,
}

/// What a plan was made of.
type Followed = (Arc<Policy>, Arc<Topology>);

/// Of which plan, which of its nodes has done all purges up to which.
type Done = (u64, usize, u64);

/// All that the loop owns.
pub(super) struct Rounds {
    state: Arc<State>,
    connector: Arc<Connector>,
    floors: Floors,
    followed: Option<Followed>,
    plan: Arc<Plan>,
    /// Counts plans.
    plans: u64,
    tiers: Tiers,
    telling: Vec<Telling>,
    tasks: JoinSet<Ended>,
    /// What nodes have done, of which plan.
    done: (mpsc::Sender<Done>, mpsc::Receiver<Done>),
    began: std::time::Instant,
    kept_at: Instant,
    looked_at: Option<Instant>,
    /// Whether something was done since then.
    is_news: bool,
    shown: Progress,
}

impl Rounds {
    pub(super) fn new(state: Arc<State>, floors: Floors) -> Self {
        Self {
            state,
            connector: Arc::new(Connector::default()),
            floors,
            followed: None,
            plan: Arc::default(),
            plans: 0,
            tiers: Tiers::default(),
            telling: Vec::new(),
            tasks: JoinSet::new(),
            done: mpsc::channel(AT_ONCE),
            began: clock::now(),
            kept_at: clock::timer_now(),
            looked_at: None,
            is_news: false,
            shown: Progress::default(),
        }
    }

    pub(super) async fn run(mut self, mut stopped: oneshot::Receiver<()>) {
        let mut heads = self.state.freshness.heads();
        loop {
            self.follow();
            let head = *heads.borrow_and_update();
            self.step(head);
            let pause = if self.is_news {
                LOOK_AT_MOST
            } else {
                LOOK_EVERY
            };
            tokio::select! {
                biased;
                _ = &mut stopped => break,
                Some((plan, at, sequence)) = self.done.1.recv() => {
                    self.did(plan, at, sequence);
                    self.hear();
                }
                Some(ended) = self.tasks.join_next(), if !self.tasks.is_empty() => {
                    // What it did before it ended was said before.
                    self.hear();
                    if let Ok(ended) = ended {
                        self.ended(ended);
                    }
                }
                _ = heads.changed() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
        self.tasks.abort_all();
        self.floors.keep();
    }

    /// Takes up what is published.
    fn follow(&mut self) {
        let published = self.state.published.load_full();
        let Some(published) = published else { return };
        let parts = published.snapshot.parts();
        let (policy, topology) = (&parts.policy, &parts.topology);
        let is_known = self.followed.as_ref().is_some_and(|(known, fleet)| {
            Arc::ptr_eq(known, policy) && Arc::ptr_eq(fleet, topology)
        });
        if is_known {
            return;
        }
        self.followed = Some((Arc::clone(policy), Arc::clone(topology)));
        let plan = Plan::new(policy, topology);
        let head = *self.state.freshness.heads().borrow();
        let members = plan.targets.iter().map(|target| {
            let floor = self.floors.of(&target.node, head);
            Member::new(target.place, floor, target.how.is_awaited)
        });
        self.tiers = Tiers::new(members.collect(), plan.parents.clone());
        self.telling = plan.targets.iter().map(|_| Telling::default()).collect();
        self.tasks.abort_all();
        self.plan = Arc::new(plan);
        self.plans += 1;
        self.looked_at = None;
    }

    fn step(&mut self, head: u64) {
        let is_due = self.looked_at.is_none_or(|at| at.elapsed() >= LOOK_AT_MOST);
        if is_due {
            self.looked_at = Some(clock::timer_now());
            self.is_news = false;
            self.look(head);
        }
        for at in 0..self.telling.len() {
            if self.tasks.len() >= MAX_IN_FLIGHT {
                break;
            }
            self.begin(at, head);
        }
    }

    /// Looks at everybody: what they say themselves, who is stuck, what is to be shown and kept.
    fn look(&mut self, head: u64) {
        let said: Vec<(usize, u64)> = self.state.freshness.records(|records| {
            let targets = self.plan.targets.iter().enumerate();
            let own = targets.filter_map(|(at, it)| Some((at, records.acknowledged(&it.node)?)));
            own.collect()
        });
        for (at, sequence) in said {
            self.did(self.plans, at, sequence);
        }
        self.tiers.tick(self.now(), head);
        self.show(head);
        if self.kept_at.elapsed() >= KEEP_EVERY {
            self.kept_at = clock::timer_now();
            self.floors.keep();
        }
    }

    /// Tells a node of the next purges that it may do, if there are any.
    fn begin(&mut self, at: usize, head: u64) {
        let (Some(telling), Some(target), Some(member)) = (
            self.telling.get_mut(at),
            self.plan.targets.get(at),
            self.tiers.members().get(at),
        ) else {
            return;
        };
        let (floor, to) = (member.floor, self.tiers.allowed(at, head));
        let rests = telling.not_before.is_some_and(|it| clock::timer_now() < it);
        if telling.is_told || rests || floor >= to {
            return;
        }
        telling.is_told = true;
        let node = Node {
            address: target.address.clone(),
            how: Arc::clone(&target.how),
            connector: Arc::clone(&self.connector),
        };
        let (state, plan) = (Arc::clone(&self.state), self.plans);
        let done = self.done.0.clone();
        self.tasks.spawn(async move {
            let (say, mut said) = mpsc::channel(AT_ONCE);
            let purges = purges(&state, floor, to).await;
            let is_last = purges.len() < AT_ONCE;
            let telling = async {
                let result = node.tell(purges, &say).await;
                // Behind the last there is nothing up to where it may go.
                if result.is_ok() && is_last {
                    let _gone = say.send(to).await;
                }
                drop(say);
                result
            };
            let saying = async {
                while let Some(sequence) = said.recv().await {
                    let _ending = done.send((plan, at, sequence)).await;
                }
            };
            let (result, ()) = tokio::join!(telling, saying);
            Ended { at, plan, result }
        });
    }

    /// Hears what else nodes have done.
    fn hear(&mut self) {
        while let Ok((plan, at, sequence)) = self.done.1.try_recv() {
            self.did(plan, at, sequence);
        }
    }

    fn did(&mut self, plan: u64, at: usize, sequence: u64) {
        let (Some(target), Some(member)) =
            (self.plan.targets.get(at), self.tiers.members().get(at))
        else {
            return;
        };
        if plan == self.plans && member.floor < sequence {
            self.is_news = true;
            self.floors.raise(&target.node, sequence);
            self.tiers.done(at, sequence);
            let counters = self.state.freshness.counters();
            counters.reclaimed.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn ended(&mut self, Ended { at, plan, result }: Ended) {
        let Some(telling) = self.telling.get_mut(at).filter(|_| plan == self.plans) else {
            return;
        };
        telling.is_told = false;
        self.is_news = true;
        match result {
            Ok(()) => *telling = Telling::default(),
            Err(why) => {
                let counters = self.state.freshness.counters();
                counters.reclaims_failed.fetch_add(1, Ordering::Relaxed);
                telling.pause = (telling.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
                telling.not_before = Some(clock::timer_now() + telling.pause);
                if telling.failure.is_none()
                    && let Some(target) = self.plan.targets.get(at)
                {
                    tracing::warn!(node = &*target.node, %why, "a node does not drop what was purged; it is told again until it does");
                }
                telling.failure = Some(why);
            }
        }
    }

    /// Shows how far everybody is, where that is news.
    fn show(&mut self, head: u64) {
        let targets = self.plan.targets.iter().zip(self.tiers.members());
        let nodes = targets.zip(&self.telling).enumerate();
        let nodes = nodes.map(|(at, ((target, member), telling))| NodeProgress {
            node: target.node.clone(),
            site: target.site.clone(),
            tier: target.tier.clone(),
            tier_place: target.tier_place,
            floor: member.floor,
            is_fenced: member.is_fenced(),
            waits_for: self
                .tiers
                .waits_for(at, head)
                .and_then(|other| self.plan.targets.get(other))
                .map(|other| other.node.clone()),
            failure: telling.failure.clone(),
        });
        let progress = Progress {
            nodes: nodes.collect(),
        };
        if progress != self.shown {
            let awaited = self.plan.targets.iter().zip(self.tiers.members());
            let awaited = awaited.filter(|(target, _)| target.how.is_awaited);
            let floors = awaited.map(|(target, member)| (target.node.clone(), member.floor));
            self.state.freshness.show_floors(NodeFloors::new(floors));
            self.state.freshness.show_progress(progress.clone());
            self.shown = progress;
        }
    }

    fn now(&self) -> Moment {
        let since = clock::now().saturating_duration_since(self.began);
        Moment(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}

/// The purges after `floor` and up to `to`, at most [`AT_ONCE`]: from memory, or from the log where they are older than that.
async fn purges(state: &State, floor: u64, to: u64) -> Vec<Purged> {
    let freshness = &state.freshness;
    let first = freshness.records(Records::first_held);
    let log = freshness.records(|it| it.log.clone().filter(|_| it.oldest < first));
    let is_wanted = move |purged: &Purged| purged.sequence > floor && purged.sequence <= to;
    if let Some(path) = log.filter(|_| first > floor + 1) {
        let read = tokio::task::spawn_blocking(move || {
            let mut found = Vec::new();
            let read = log::read(&path, |purged| {
                if is_wanted(&purged) && found.len() < AT_ONCE {
                    found.push(purged);
                }
            });
            read.map(|_| found)
        });
        match read.await {
            Ok(Ok(found)) => return found,
            Ok(Err(error)) => {
                tracing::error!(%error, "purges cannot be read that caches are to be told of");
            }
            Err(_) => {}
        }
    }
    let records = freshness.records(|it| it.after(floor, AT_ONCE));
    let purged = records.iter().map(|it| &it.purged);
    purged.filter(|it| is_wanted(it)).cloned().collect()
}
