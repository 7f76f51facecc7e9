//! This sidecar as a member of a fleet: the bus that carries what members tell each other.
//!
//! A thread of its own speaks to NATS (`bus`): it carries the log of purges that all share (`purges`), what members see, and
//! what the one with the chair concludes (`office`). Where no bus is
//! configured none of this runs. While the bus is away, everything goes on as it was, and purges are refused: whoever is told
//! that something is purged must be able to rely on it everywhere.

mod bus;
pub mod config;
mod known;
mod link;
mod office;
mod purges;
mod subjects;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use tokio::sync::{Notify, mpsc, oneshot};

use crate::clock;
use crate::freshness::Freshness;
use crate::freshness::shared::Shared;
use crate::wire::proto::{FleetEvidence, MemberReport, Roll};
use tradewind_engine::fleet::member::Member;
use tradewind_engine::policy::Operation;
use tradewind_engine::time::Moment;

use config::{EditionOrder, Followed, Publisher, StateOrder, Waiting};

/// A fleet, and this sidecar's place in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// Servers of NATS, at least one.
    pub servers: Vec<String>,
    /// What the fleet is called.
    pub fleet: String,
    /// What this sidecar is called in it.
    pub member: String,
    /// A file with a JWT and a seed, or with a seed.
    pub credentials: Option<PathBuf>,
    /// Whose certificates are believed; `None` for those that the system believes.
    pub ca: Option<PathBuf>,
    /// How many servers keep what is shared, where this sidecar makes the streams for it.
    pub replicas: u8,
}

/// How the bus is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It is tried for the first time.
    Coming,
    /// It is, and all of it can be used.
    Up,
    /// It is not, or not what is needed of it.
    Down {
        /// Why.
        why: String,
    },
}

/// What is counted of the bus.
#[derive(Debug, Default)]
pub struct Counters {
    /// How often it was reached.
    pub reached: AtomicU64,
    /// Purges that were heard.
    pub heard: AtomicU64,
    /// Purges that were appended.
    pub appended: AtomicU64,
    /// Purges that were not, because others came before.
    pub overtaken: AtomicU64,
    /// How often purges that were missed had to be asked for.
    pub replays: AtomicU64,
    /// Evidence that was not told, because the bus did not take it.
    pub untold: AtomicU64,
}

/// Who has the chair, as far as this member heard.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chair {
    /// What it is called; empty where none was heard of.
    pub name: String,
    /// Its time in office.
    pub epoch: u64,
    /// Whether it is this member.
    pub is_me: bool,
}

/// Why something cannot be done here, said once for each change; empty while it can.
#[derive(Debug, Default)]
struct Reason(Mutex<String>);

impl Reason {
    /// Whether it is another than before.
    fn is_new(&self, why: &str) -> bool {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = *known != why;
        why.clone_into(&mut known);
        is_new
    }

    fn get(&self) -> String {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn clear(&self) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }
}

/// Messages of evidence that may wait for the bus; what is more is dropped, for it would be old.
const MAX_TOLD: usize = 16;

/// What is to be put in force and waits for that.
const MAX_ORDERS: usize = 16;

/// Takes who is there, if anybody says so; and those that wait for it.
type RollReply = oneshot::Sender<Option<Roll>>;
type RollCalls = mpsc::UnboundedReceiver<RollReply>;

/// How long what is under way may take at the end.
const ENDS_WITHIN: Duration = Duration::from_millis(200);

/// How long it may take to hear who is there.
const ROLL_WITHIN: Duration = Duration::from_secs(3);

/// This sidecar's place in its fleet, for all who look.
#[derive(Debug)]
pub struct Fleet {
    /// As configured.
    pub membership: Membership,
    standing: RwLock<(Standing, u64)>,
    /// What is counted.
    pub counters: Counters,
    began: Instant,
    /// When it was seen last that no purge is missing here, and the last of them then; 0 where it never was since the bus was reached.
    heard_ms: AtomicU64,
    heard_at: AtomicU64,
    /// That it was seen again.
    is_heard: Notify,
    /// What it follows.
    member: Mutex<Member>,
    chair: RwLock<Chair>,
    /// Why nothing can be heard of it, as was said last.
    chairless: Reason,
    /// What this member told of itself last.
    report: RwLock<MemberReport>,
    /// What a chair judges by: this sidecar's policy, once it has one.
    pub operation: ArcSwapOption<Operation>,
    /// What is told, and where the bus takes it from.
    tell: mpsc::Sender<FleetEvidence>,
    told: Mutex<Option<mpsc::Receiver<FleetEvidence>>>,
    ask: mpsc::UnboundedSender<RollReply>,
    asked: Mutex<Option<RollCalls>>,
    /// What it has of what is published to all.
    followed: Mutex<Followed>,
    /// The way to publish, while there is one.
    publisher: ArcSwapOption<Publisher>,
    /// Why there is none, as was said last.
    configless: Reason,
    /// Who waits for a state to hold here.
    waiting: Waiting,
    /// Editions that are to be put in force here.
    editions: mpsc::Sender<EditionOrder>,
    /// States that are to be set here.
    states: mpsc::Sender<StateOrder>,
    /// Something else is waited for than before.
    is_due: Notify,
    /// Whose turn it is to put something in force here of what is published.
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl Fleet {
    fn new(
        membership: Membership,
        followed: Followed,
        (editions, states): (mpsc::Sender<EditionOrder>, mpsc::Sender<StateOrder>),
    ) -> Self {
        let (tell, told) = mpsc::channel(MAX_TOLD);
        let (ask, asked) = mpsc::unbounded_channel();
        Self {
            membership,
            standing: RwLock::new((Standing::Coming, clock::unix_ms())),
            counters: Counters::default(),
            began: clock::now(),
            heard_ms: AtomicU64::new(0),
            heard_at: AtomicU64::new(0),
            is_heard: Notify::new(),
            member: Mutex::default(),
            chair: RwLock::default(),
            chairless: Reason::default(),
            report: RwLock::default(),
            operation: ArcSwapOption::empty(),
            tell,
            told: Mutex::new(Some(told)),
            ask,
            asked: Mutex::new(Some(asked)),
            followed: Mutex::new(followed),
            publisher: ArcSwapOption::empty(),
            configless: Reason::default(),
            waiting: Waiting::default(),
            editions,
            states,
            is_due: Notify::new(),
            turn: Arc::default(),
        }
    }

    /// Asks, or tells, what it has of what is published.
    pub fn followed<T>(&self, ask: impl FnOnce(&mut Followed) -> T) -> T {
        ask(&mut self.followed.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The time as the fleet counts it here: from a clock that only goes on.
    pub fn now(&self) -> Moment {
        let since = clock::now().saturating_duration_since(self.began);
        Moment(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    /// No purge that the bus has is missing here now; the last is at this place.
    fn heard_all(&self, at: u64) {
        self.heard_at.store(at, Ordering::Relaxed);
        self.heard_ms.store(self.now().0.max(1), Ordering::Release);
        self.is_heard.notify_one();
    }

    /// From now on some may be missing.
    fn hears_nothing(&self) {
        self.heard_ms.store(0, Ordering::Release);
    }

    /// When none was missing last, since the bus was reached, and the place of the last then.
    fn last_heard_all(&self) -> (Option<Moment>, u64) {
        let ms = self.heard_ms.load(Ordering::Acquire);
        let at = self.heard_at.load(Ordering::Relaxed);
        ((ms > 0).then_some(Moment(ms)), at)
    }

    /// Asks, or tells, what this member follows.
    pub fn member<T>(&self, ask: impl FnOnce(&mut Member) -> T) -> T {
        ask(&mut self.member.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Who has the chair.
    pub fn chair(&self) -> Chair {
        self.chair
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn seen_chair(&self, change: impl FnOnce(&mut Chair)) {
        change(&mut self.chair.write().unwrap_or_else(PoisonError::into_inner));
    }

    /// What this member told of itself last.
    pub fn report(&self) -> MemberReport {
        let report = self.report.read();
        report.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// It tells this of itself from now on.
    pub fn tell_of_itself(&self, report: MemberReport) {
        *self.report.write().unwrap_or_else(PoisonError::into_inner) = report;
    }

    /// Tells the chair what was seen. What the bus does not take is dropped: nothing that is old is of use.
    pub fn tell(&self, evidence: FleetEvidence) {
        if self.tell.try_send(evidence).is_err() {
            self.counters.untold.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// All members, as their chair hears them; `None` where it does not answer.
    pub async fn roll(&self) -> Option<Roll> {
        let (reply, answer) = oneshot::channel();
        self.ask.send(reply).ok()?;
        // While the bus was never reached nobody takes what is asked.
        let answer = tokio::time::timeout(ROLL_WITHIN, answer).await.ok()?;
        answer.ok().flatten()
    }

    fn take_asked(&self) -> Option<RollCalls> {
        self.asked
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    fn take_told(&self) -> Option<mpsc::Receiver<FleetEvidence>> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(told) = told.as_mut() {
            // What waited while nobody took it is old.
            while told.try_recv().is_ok() {}
        }
        told.take()
    }

    fn give_back_told(&self, back: mpsc::Receiver<FleetEvidence>) {
        *self.told.lock().unwrap_or_else(PoisonError::into_inner) = Some(back);
    }

    /// How the bus is reached, and since when, in ms of Unix time.
    pub fn standing(&self) -> (Standing, u64) {
        let standing = self.standing.read();
        standing.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Nothing can be heard or said of the chair here, and why: once for each reason.
    fn without_chair(&self, why: &str) {
        if self.chairless.is_new(why) {
            tracing::warn!(
                fleet = self.membership.fleet,
                why,
                "nothing is heard of the chair of the fleet: this sidecar judges by itself"
            );
        }
    }

    /// What is published can be followed here, and is published by this.
    fn with_config(&self, publisher: Publisher) {
        self.publisher.store(Some(Arc::new(publisher)));
        self.configless.clear();
    }

    /// Nothing can be published or followed here, and why: once for each reason.
    fn without_config(&self, why: &str) {
        self.publisher.store(None);
        if self.configless.is_new(why) {
            tracing::warn!(
                fleet = self.membership.fleet,
                why,
                "what is published to the fleet is not followed: what is in force stays so"
            );
        }
    }

    /// Says how the bus is reached, once for each change.
    fn stand(&self, standing: Standing) {
        let mut known = self
            .standing
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if known.0 == standing {
            return;
        }
        match &standing {
            Standing::Coming => {}
            Standing::Up => tracing::info!(
                fleet = self.membership.fleet,
                "the bus of the fleet is reached"
            ),
            Standing::Down { why } => {
                tracing::warn!(
                    fleet = self.membership.fleet,
                    why,
                    "the bus of the fleet is not to be used: purges are refused"
                );
            }
        }
        *known = (standing, clock::unix_ms());
    }
}

/// What is to be put in force here: editions, and states, which do not wait for those.
pub type Orders = (mpsc::Receiver<EditionOrder>, mpsc::Receiver<StateOrder>);

/// The bus, running.
#[derive(Debug)]
pub struct Running {
    /// This sidecar's place in the fleet.
    pub fleet: Arc<Fleet>,
    /// What is to be put in force here, of what is published to all; taken by whoever does that.
    pub orders: Option<Orders>,
    end: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Running {
    /// Leaves the bus, and waits for that.
    pub fn stop(self) {
        // Where it ended by itself it has panicked, and there is nobody to be told.
        let _gone = self.end.send(());
        drop(self.thread.join());
    }
}

/// The two ends of the way between the keeper of purges and the bus.
pub fn way(membership: &Membership) -> (Shared, Asked) {
    let (bus, asked) = mpsc::unbounded_channel();
    let member = membership.member.clone();
    let fleet = membership.fleet.clone();
    let shared = Shared { member, fleet, bus };
    (shared, Asked(asked))
}

/// What the keeper asks.
#[derive(Debug)]
pub struct Asked(mpsc::UnboundedReceiver<crate::freshness::shared::Ask>);

/// Goes to the bus, and again whenever it was lost. In `state_dir` is what an earlier run followed.
///
/// # Errors
///
/// A thread that cannot be started.
pub fn start(
    membership: Membership,
    (freshness, state_dir): (Arc<Freshness>, Option<&Path>),
    asked: Asked,
) -> io::Result<Running> {
    let (edition, editions) = mpsc::channel(MAX_ORDERS);
    let (told, states) = mpsc::channel(MAX_ORDERS);
    let followed = Followed::read(state_dir);
    let fleet = Arc::new(Fleet::new(membership, followed, (edition, told)));
    let (end, ended) = oneshot::channel();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    // What was purged while this was away is not known before the bus says so.
    freshness.show_known(false);
    let of_thread = Arc::clone(&fleet);
    let named = thread::Builder::new().name("tradewind-fleet".to_owned());
    let thread = named.spawn(move || {
        let known = known::watch(Arc::clone(&of_thread), Arc::clone(&freshness));
        let carried = bus::carry(of_thread, freshness, asked.0);
        runtime.block_on(async {
            tokio::select! {
                () = carried => {}
                () = known => {}
                _ = ended => {}
            }
        });
        // A name that is being looked up keeps nobody waiting.
        runtime.shutdown_timeout(ENDS_WITHIN);
    })?;
    Ok(Running {
        fleet,
        orders: Some((editions, states)),
        end,
        thread,
    })
}
