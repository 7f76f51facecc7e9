//! Freshness: purges on their way into force, and what decisions say of versions.
//!
//! A purge comes by the admin door. The [`keeper`], a thread of its own, gives it its sequence, writes it to the [`log`] and
//! lets the engine's ledger take it in; then it is in force for every decision, and the caller is told. Decisions read the
//! versions of the ledger without a lock ([`Freshness::of`]), and nothing at all before the first purge.
//!
//! In a fleet the bus has the log that all share ([`shared`]): a purge is appended there, and is in force at each sidecar when
//! that hears it.
//!
//! Sequences are milliseconds since 2025 or one more than the last, whichever is larger: so that of two sidecars without a bus,
//! or of one that has lost its disk, the later purge has the larger number, and none is used twice.

pub mod keeper;
pub mod log;
pub mod progress;
mod quota;
pub mod records;
pub mod shared;
pub mod telling;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockWriteGuard};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::sync::{oneshot, watch};

use crate::clock;
use keeper::{Inbox, Order};
use progress::Progress;
use records::Records;
use shared::News;
use tradewind_engine::decision::Decision;
use tradewind_engine::freshness::floors::NodeFloors;
use tradewind_engine::freshness::selector::Selector;
use tradewind_engine::freshness::{Fresh, Versions};
use tradewind_engine::hash::KeyHash;
use tradewind_engine::query::Query;

/// A purge that somebody wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// Names it: the same again within ten minutes is the same purge. Empty for one that cannot be asked again.
    pub id: String,
    /// The namespace; empty for none.
    pub namespace: String,
    /// What it covers.
    pub selectors: Vec<Selector>,
    /// Whether what is stored is to be revalidated only.
    pub is_soft: bool,
    /// Over how many ms it comes into force; 0 for at once.
    pub over_ms: u64,
    /// After how many ms it is to be purged again; 0 for never.
    pub repeat_ms: u64,
    /// Who wants it, as far as that is proven.
    pub who: String,
    /// Why.
    pub why: String,
    /// The mark of the purge that it says again, because the bus lost that; 0 of a new one.
    pub again_of: u64,
}

/// A purge that is in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submitted {
    /// Its place in the log.
    pub sequence: u64,
    /// Whether it is on disk.
    pub is_kept: bool,
    /// Whether it had been purged under the same id before.
    pub is_repeated: bool,
    /// What became wider by it.
    pub widened: Vec<String>,
    /// From the call until decisions saw it.
    pub in_force_after: Duration,
}

/// Why a purge is not taken in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PurgeError {
    /// Its namespace has purged too much.
    #[error("{} has purged more than {} selectors a second for too long; the next will be taken in {} ms", of_namespace(.namespace), quota::PER_SECOND, .retry_ms)]
    OverQuota {
        /// The namespace.
        namespace: String,
        /// When it may purge again.
        retry_ms: u64,
    },
    /// Too many wait.
    #[error("{} purges wait already", keeper::MAX_WAITING)]
    Busy,
    /// Its id is another purge's.
    #[error(
        "the id `{id}` names another purge, version {version}: each needs one of its own for ten minutes"
    )]
    OtherPurge {
        /// The id.
        id: String,
        /// The version of the other one.
        version: String,
    },
    /// Too many purges wait to be purged again.
    #[error("{} purges wait to be purged again already", keeper::MAX_REPEATS)]
    Repeating,
    /// Too much comes into force slice by slice.
    #[error(
        "{paced} selectors come into force slice by slice already, at most {} may; purge at once, or wait",
        tradewind_engine::freshness::purge::MAX_PACED
    )]
    Pacing {
        /// How many do.
        paced: usize,
    },
    /// The bus of the fleet is not reached, or does not take it.
    #[error(
        "the bus of the fleet does not take it, so it cannot be relied on: try again, under the same id where it has one; \
         `tradewind fleet` says how the bus is reached"
    )]
    Apart,
    /// The bus takes no message of this size.
    #[error(
        "it has {bytes} bytes, and what the fleet shares has at most {most}: purge in several parts"
    )]
    TooLarge {
        /// Its message.
        bytes: usize,
        /// The most.
        most: usize,
    },
    /// The sidecar ends.
    #[error("the sidecar is shutting down")]
    Ended,
}

fn of_namespace(namespace: &str) -> String {
    if namespace.is_empty() {
        "who names no namespace".to_owned()
    } else {
        format!("the namespace `{namespace}`")
    }
}

/// What is counted of purges.
#[derive(Debug, Default)]
pub struct PurgeCounters {
    /// Purges in force since the start, hard ones.
    pub hard: AtomicU64,
    /// The same, soft ones.
    pub soft: AtomicU64,
    /// Selectors of both.
    pub selectors: AtomicU64,
    /// Purges that were not taken in.
    pub refused: AtomicU64,
    /// Entries that were made wider.
    pub widened: AtomicU64,
    /// Entries that were forgotten because nothing older can be stored.
    pub forgotten: AtomicU64,
    /// Purges that could not be written to the log; they are in force until the process ends.
    pub unkept: AtomicU64,
    /// Entries that there are.
    pub entries: AtomicU64,
    /// Memory of their tables, in bytes.
    pub memory_bytes: AtomicU64,
    /// Where this sidecar is in the log that its fleet shares; 0 where it is alone.
    pub place: AtomicU64,
    /// Nanoseconds from call to force, of all purges.
    pub in_force_ns: AtomicU64,
    /// Purges that a node was told of and did.
    pub reclaimed: AtomicU64,
    /// Times that a node was told of one and did not do it.
    pub reclaims_failed: AtomicU64,
}

/// What was said of an object's freshness with a decision.
#[derive(Debug, Clone, Copy)]
pub struct ToldFreshness {
    /// What may be served of it.
    pub fresh: Fresh,
    /// Whether all purges were known then.
    pub is_known: bool,
}

/// Freshness, shared by those who decide, purge and look.
#[derive(Debug, Default)]
pub struct Freshness {
    /// What decisions look at; `None` before the first purge.
    versions: ArcSwapOption<Versions>,
    records: RwLock<Records>,
    /// How far nodes are that are told to drop what was purged.
    progress: ArcSwap<Progress>,
    /// The same of those that are named only once they have, for decisions.
    floors: ArcSwap<NodeFloors>,
    /// The least of these floors, its bits inverted: 0 stands for no such node.
    least_floor: AtomicU64,
    /// The last sequence, for those who wait for the next purge.
    head: watch::Sender<u64>,
    /// Whether others may have purged something that is not known here: in a fleet, while its bus is not heard.
    is_unknown: AtomicBool,
    /// Whether all that a fleet had purged when this came to it is in force here.
    caught_up: watch::Sender<bool>,
    inbox: Mutex<Option<Arc<Inbox>>>,
    /// How long purges are remembered, in ms; 0 before a policy says so.
    life_ms: AtomicU64,
    counters: PurgeCounters,
}

impl Freshness {
    /// What may be served of the object that a decision is about.
    #[inline]
    pub fn of(&self, decision: &Decision<'_>, query: &Query<'_>) -> Fresh {
        let versions = self.versions.load();
        let versions = versions.as_ref();
        versions.map_or_else(Fresh::default, |versions| decision.fresh(versions, query))
    }

    /// What may be served of that object if it were of this namespace, and the hashes of what covers it then.
    pub fn seen_in(
        &self,
        namespace: &str,
        decision: &Decision<'_>,
        query: &Query<'_>,
    ) -> (Fresh, Vec<KeyHash>) {
        let versions = self.versions.load();
        let versions = versions.as_ref().map(|it| &**it);
        decision.seen_in(namespace, versions, query)
    }

    /// What is counted.
    pub fn counters(&self) -> &PurgeCounters {
        &self.counters
    }

    /// Whether all purges are known here that were made a few seconds ago.
    #[inline]
    pub fn is_known(&self) -> bool {
        !self.is_unknown.load(Ordering::Relaxed)
    }

    /// Where this sidecar is in the log that its fleet shares: up to there all is in force.
    pub fn place(&self) -> u64 {
        self.counters.place.load(Ordering::Relaxed)
    }

    /// Whether they are, from now on.
    pub fn show_known(&self, is_known: bool) {
        self.is_unknown.store(!is_known, Ordering::Relaxed);
    }

    /// How far nodes are that are told to drop what was purged.
    pub fn progress(&self) -> Arc<Progress> {
        self.progress.load_full()
    }

    /// Shows how far they are.
    pub fn show_progress(&self, progress: Progress) {
        self.progress.store(Arc::new(progress));
    }

    /// Nodes that may not have done the purge that an object's version is; `None` where all that are awaited have, which is the usual case.
    #[inline]
    pub fn floors_below(&self, fresh: Fresh) -> Option<Arc<NodeFloors>> {
        let least = !self.least_floor.load(Ordering::Relaxed);
        (least < fresh.version).then(|| self.floors.load_full())
    }

    /// What nodes have done that are named only once they have.
    pub fn show_floors(&self, floors: NodeFloors) {
        let least = floors.least();
        // Whoever sees a lower least finds the floors that it is of, or higher ones.
        self.floors.store(Arc::new(floors));
        self.least_floor.store(!least, Ordering::Release);
    }

    /// Asks something of what is known of purges.
    pub fn records<T>(&self, ask: impl FnOnce(&Records) -> T) -> T {
        ask(&self.records.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The last sequence, now and whenever it changes.
    pub fn heads(&self) -> watch::Receiver<u64> {
        self.head.subscribe()
    }

    /// Waits until all that its fleet had purged when this came to the bus is in force here.
    pub async fn caught_up(&self) {
        let mut caught_up = self.caught_up.subscribe();
        // The sender lives as long as this does.
        let _never_closed = caught_up.wait_for(|is| *is).await;
    }

    /// All that a fleet had purged when this came to it is in force here.
    fn catches_up(&self) {
        self.caught_up
            .send_if_modified(|is| !std::mem::replace(is, true));
    }

    /// What nodes have done that are named only once they have.
    pub fn floors(&self) -> Arc<NodeFloors> {
        self.floors.load_full()
    }

    /// The version that everything has at least.
    pub fn floor(&self) -> u64 {
        let versions = self.versions.load();
        versions.as_ref().map_or(0, |it| it.floor().version)
    }

    /// How long purges are remembered, in ms; 0 before a policy says so.
    pub fn life_ms(&self) -> u64 {
        self.life_ms.load(Ordering::Relaxed)
    }

    /// Purges, and answers once that is in force.
    ///
    /// # Errors
    ///
    /// Nothing is purged then.
    pub async fn submit(&self, wish: Wish) -> Result<Submitted, PurgeError> {
        let began = clock::now();
        let (reply, answer) = oneshot::channel();
        let taken = self.inbox().ok_or(PurgeError::Ended)?.put(Order {
            wish,
            began,
            is_admitted: false,
            reply: Some(reply),
        });
        let answered = match taken {
            Ok(()) => answer.await.unwrap_or(Err(PurgeError::Ended)),
            Err(error) => Err(error),
        };
        if answered.is_err() {
            self.counters.refused.fetch_add(1, Ordering::Relaxed);
        }
        answered
    }

    /// A node has done all purges up to this one; answers the last that there is, or that too many nodes say so.
    pub fn acknowledge(&self, node: &str, sequence: u64) -> Result<u64, records::TooManyNodes> {
        self.records_mut().acknowledge(node, sequence)?;
        Ok(*self.head.borrow())
    }

    /// How long purges are to be remembered from now on, in ms: as long as caches may have what is older.
    pub fn keep_for(&self, life_ms: u64) {
        self.life_ms.store(life_ms, Ordering::Relaxed);
        if let Some(inbox) = self.inbox() {
            inbox.keep_for(life_ms);
        }
    }

    /// Takes what the bus tells.
    pub fn put(&self, news: News) {
        if let Some(inbox) = self.inbox() {
            inbox.hear(news);
        }
    }

    /// Takes what the bus tells, once there is room for it.
    pub async fn hear(&self, news: News) {
        self.has_room().await;
        self.put(news);
    }

    /// Waits until more news can be taken.
    pub async fn has_room(&self) {
        while self.inbox().is_some_and(|inbox| !inbox.has_room()) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    fn records_mut(&self) -> RwLockWriteGuard<'_, Records> {
        self.records.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn inbox(&self) -> Option<Arc<Inbox>> {
        let inbox = self.inbox.lock().unwrap_or_else(PoisonError::into_inner);
        inbox.clone()
    }
}
