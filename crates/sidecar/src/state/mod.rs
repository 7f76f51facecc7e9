//! What all rooms share: the one published snapshot, and how its sources fare.

pub mod doors;
pub mod followers;
pub mod receipts;
pub mod rows;
pub mod shadow;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, ArcSwapOption};
use serde::Serialize;
use tokio::sync::watch;

use crate::freshness::Freshness;
use crate::log_filter;
use crate::signing::SealError;
use crate::state::doors::Doors;
use crate::state::receipts::Receipts;
use crate::view::FleetView;
use crate::view::events::Events;
use crate::view::guards::GuardHistory;
use crate::view::history::History;
use crate::view::journal::Journal;
use crate::view::rule_hits::RuleHits;
use crate::wire::answer::EncodedNodes;
use crate::wire::limiter::Limiter;
use followers::{Followers, Watchers};
use rows::{RowNames, Rows};
use shadow::Shadow;
use tradewind_engine::edition::Texts;
use tradewind_engine::lifecycle::notice::RolloutFate;
use tradewind_engine::lifecycle::{
    Degraded, DocumentStatus, Ended, Entries, Held, Revisions, Rolling, Statuses,
};
use tradewind_engine::model::LaneIndex;
use tradewind_engine::policy::Policy;
use tradewind_engine::snapshot::Snapshot;
use tradewind_engine::topology::Topology;

/// A snapshot and what answers need beside it; swapped as one, so that no answer mixes two.
#[derive(Debug)]
pub struct Published {
    /// Everything a decision reads.
    pub snapshot: Snapshot,
    /// Counts policies and topologies that took effect in this process.
    pub revision: u64,
    /// The policy's digest, shortened.
    pub policy_digest: String,
    /// What answers say of each node, encoded.
    pub nodes: Arc<EncodedNodes>,
    /// Where what the policy names is counted.
    pub rows: Rows,
    /// A candidate that is tried beside it.
    pub candidate: Option<PublishedCandidate>,
    /// What policy and topology were compiled from, for those who follow.
    pub texts: Texts,
}

/// What answers and counters need of a candidate.
#[derive(Debug, Clone)]
pub struct PublishedCandidate {
    /// Its digest, shortened.
    pub digest: String,
    /// Where what it names is counted.
    pub rows: Rows,
    /// The policy.
    pub policy: Arc<Policy>,
    /// What that was compiled from.
    pub text: Arc<str>,
}

impl Published {
    /// Where what the policy of a lane names is counted.
    #[inline]
    pub fn rows_of(&self, lane: LaneIndex) -> &Rows {
        match (lane, &self.candidate) {
            (LaneIndex::Second, Some(candidate)) => &candidate.rows,
            _ => &self.rows,
        }
    }

    /// The digest of the policy of a lane, shortened.
    #[inline]
    pub fn digest_of(&self, lane: LaneIndex) -> &str {
        match (lane, &self.candidate) {
            (LaneIndex::Second, Some(candidate)) => &candidate.digest,
            _ => &self.policy_digest,
        }
    }
}

/// Why nothing can be decided or told yet.
pub const NO_POLICY: &str = "no policy is in force yet, see /readyz on the debug door";

/// Shared by the writer, the doors and the metrics.
#[derive(Debug, Default)]
pub struct State {
    /// The one published snapshot; `None` before the first good policy.
    pub published: ArcSwapOption<Published>,
    /// How the sources fare.
    pub status: ArcSwap<Status>,
    /// Whether traffic should come here; for those who wait for a change.
    pub ready: watch::Sender<bool>,
    /// The fleet and what operators set, for those who wait for a change.
    pub fleet: watch::Sender<Fleet>,
    /// How policy and topology fare and what took effect, for those who wait for a change.
    pub sources: watch::Sender<Sources>,
    /// This sidecar's place among those that act as one; unset where it is alone.
    pub members: OnceLock<Arc<crate::fleet::Fleet>>,
    /// Turns of the writer, at least ten a second: they stand still while it hangs.
    pub turns: AtomicU64,
    /// What reloads came to.
    pub reloads: ReloadCounters,
    /// What became of entries of the audit log.
    pub audit: Arc<AuditCounters>,
    /// What became of decisions on their way to the decision log.
    pub decision_log: Arc<DecisionLogCounters>,
    /// What the control loop knows, for people and metrics; a second old at most.
    pub view: ArcSwap<FleetView>,
    /// What the control loop did, event by event.
    pub events: Events,
    /// What happened, in words: the loop's doing and that of operators.
    pub journal: Journal,
    /// How often rules decide.
    pub rule_hits: RuleHits,
    /// The last hours in numbers.
    pub history: History,
    /// What a candidate would have answered.
    pub shadow: Shadow,
    /// What the guards of the candidate said lately.
    pub guards: GuardHistory,
    /// The candidate that there is, and how the last one ended, for those who wait for a change.
    pub rollouts: watch::Sender<Rollouts>,
    /// The names of all that was ever counted by name.
    pub row_names: RowNames,
    /// What limits of the policy have let through.
    pub limiter: Limiter,
    /// Which versions of objects may be served.
    pub freshness: Arc<Freshness>,
    /// Places for followers.
    pub followers: Followers,
    /// Places for those who watch health.
    pub watchers: Watchers,
    /// What ids of decisions are tagged with.
    pub receipts: Receipts,
    /// Where the doors are, once all are open.
    pub doors: OnceLock<Doors>,
    /// What is written to the log.
    pub log_filter: ArcSwap<log_filter::Status>,
    /// How what callers are known by fares.
    pub credentials: ArcSwap<CredentialsStatus>,
    /// That the writer goes on.
    pub writer_ticks: Heartbeat,
}

/// When something that goes on all the time did so last.
#[derive(Debug, Default)]
pub struct Heartbeat {
    began: OnceLock<Instant>,
    /// Since then, in ms.
    last_ms: AtomicU64,
}

impl Heartbeat {
    /// It goes on at `now`.
    pub fn note(&self, now: Instant) {
        let since = now.saturating_duration_since(*self.began.get_or_init(|| now));
        let ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        self.last_ms.store(ms, Ordering::Relaxed);
    }

    /// How long ago that was; `None` where it has not begun.
    pub fn age(&self, now: Instant) -> Option<Duration> {
        let since = now.saturating_duration_since(*self.began.get()?);
        let last = Duration::from_millis(self.last_ms.load(Ordering::Relaxed));
        Some(since.saturating_sub(last))
    }
}

/// A candidate beside the policy in force, and how the last one ended.
#[derive(Debug, Clone, Default)]
pub struct Rollouts {
    /// The one that there is.
    pub rolling: Option<Arc<Rolling>>,
    /// How the last one ended.
    pub last: Option<Ended>,
    /// The revision in force.
    pub revision: u64,
    /// True from the moment shutdown begins.
    pub draining: bool,
}

/// How policy and topology fare, and what took effect.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// How the sources of both fare.
    pub statuses: Statuses,
    /// What took effect, as far as it is remembered.
    pub revisions: Revisions,
    /// True from the moment shutdown begins.
    pub draining: bool,
}

impl Sources {
    /// Whether nothing in it has changed.
    pub fn is_same(&self, other: &Self) -> bool {
        let newest = [self, other].map(|it| it.revisions.newest().map(Arc::as_ptr));
        newest[0] == newest[1] && self.statuses == other.statuses && self.draining == other.draining
    }
}

/// The fleet, and what operators set at run time.
#[derive(Debug, Clone, Default)]
pub struct Fleet {
    /// As its text says, without what operators set; `None` before the first good one.
    pub topology: Option<Arc<Topology>>,
    /// Counts policies and topologies that took effect.
    pub revision: u64,
    /// The admin states that are set.
    pub overrides: Arc<Entries>,
    /// A topology that waits to be confirmed.
    pub held: Option<Arc<Held>>,
    /// True from the moment shutdown begins.
    pub draining: bool,
}

impl Fleet {
    /// Whether nothing in it has changed: the very same parts.
    pub fn is_same(&self, other: &Self) -> bool {
        let topologies = (&self.topology, &other.topology);
        let same_topology = match topologies {
            (Some(own), Some(others)) => Arc::ptr_eq(own, others),
            (own, others) => own.is_none() && others.is_none(),
        };
        let same_held = match (&self.held, &other.held) {
            (Some(own), Some(others)) => Arc::ptr_eq(own, others),
            (own, others) => own.is_none() && others.is_none(),
        };
        same_topology
            && same_held
            && self.revision == other.revision
            && Arc::ptr_eq(&self.overrides, &other.overrides)
            && self.draining == other.draining
    }
}

/// What reloads came to, counted.
#[derive(Debug, Default)]
pub struct ReloadCounters {
    /// Policies that took effect.
    pub policy_applied: AtomicU64,
    /// Policies that were refused.
    pub policy_refused: AtomicU64,
    /// Topologies that took effect.
    pub topology_applied: AtomicU64,
    /// Topologies that were refused.
    pub topology_refused: AtomicU64,
    /// Sets of geo files that took effect.
    pub geo_applied: AtomicU64,
    /// Sets of geo files that were refused, wholly or in part.
    pub geo_refused: AtomicU64,
    /// Times what took effect could not be kept on disk.
    pub store_failed: AtomicU64,
    /// What became of rollouts.
    pub rollouts: RolloutCounters,
    /// Texts that were not used for the want of a good signature.
    pub unsigned: UnsignedCounters,
}

/// Texts that were not used for the want of a good signature, counted by the reason.
#[derive(Debug, Default)]
pub struct UnsignedCounters([AtomicU64; SealError::REASONS.len()]);

impl UnsignedCounters {
    /// Counts one, for a [reason](SealError::reason).
    pub fn count(&self, reason: &str) {
        for (_, counter) in self.each().filter(|(known, _)| *known == reason) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Each reason, with its counter.
    pub fn each(&self) -> impl Iterator<Item = (&'static str, &AtomicU64)> {
        SealError::REASONS.into_iter().zip(&self.0)
    }
}

/// What became of rollouts, counted.
#[derive(Debug, Default)]
pub struct RolloutCounters([AtomicU64; RolloutFate::ALL.len()]);

impl RolloutCounters {
    /// Counts one.
    pub fn count(&self, fate: RolloutFate) {
        let places = RolloutFate::ALL.iter().zip(&self.0);
        for (_, counter) in places.filter(|(known, _)| **known == fate) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Each fate by its name, with its counter.
    pub fn each(&self) -> impl Iterator<Item = (&'static str, &AtomicU64)> {
        let names = RolloutFate::ALL.iter().map(|fate| fate.name());
        names.zip(&self.0)
    }
}

/// What became of entries of the audit log, counted.
#[derive(Debug, Default)]
pub struct AuditCounters {
    /// Entries that are on disk.
    pub written: AtomicU64,
    /// Attempts to write that failed.
    pub failed: AtomicU64,
    /// Entries that are lost, because they could not be written.
    pub lost: AtomicU64,
}

/// What became of decisions on their way to the decision log, counted.
#[derive(Debug, Default)]
pub struct DecisionLogCounters {
    /// Those in the log.
    pub written: AtomicU64,
    /// Those that found the queue full.
    pub queue_full: AtomicU64,
    /// Those that could not be written.
    pub write_failed: AtomicU64,
    /// Of those in the log, those that cannot be made again, for nothing less than the client's address led to them.
    pub hidden: AtomicU64,
}

/// How the sources fare, for people.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Status {
    /// The policy.
    pub policy: DocumentStatus,
    /// The topology.
    pub topology: DocumentStatus,
    /// The geo files.
    pub geo: GeoStatus,
    /// Where this sidecar is, if anybody said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub here: Option<HereStatus>,
    /// True from the moment shutdown begins.
    pub draining: bool,
}

/// Where this sidecar is.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct HereStatus {
    /// As the settings say: the id of a site, or a point.
    pub setting: String,
    /// Degrees north and east; absent while no topology has had that site.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub location: Option<(f64, f64)>,
    /// What an operator should look at: the topology does not have that site.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
}

/// How what callers are known by fares: keys of TLS, and tokens.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct CredentialsStatus {
    /// The keys of TLS; absent where no door speaks it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsStatus>,
    /// The tokens; absent where no file of them is configured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<TokensStatus>,
    /// What is granted; absent without a settings file, when it is settled at the start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grants: Option<GrantsStatus>,
}

/// The certificate that doors show.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TlsStatus {
    /// The names that it is for.
    pub names: Vec<String>,
    /// When it ends, in seconds since 1970.
    pub ends_epoch_s: u64,
    /// Why newer files are refused; absent while what is in force is what the files hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
}

/// The tokens in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TokensStatus {
    /// How many there are.
    pub known: usize,
    /// Names to which something is granted and that none of them has; absent while each has one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
    /// Why a newer file is refused; absent while what is in force is what the file holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
}

/// What is granted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GrantsStatus {
    /// How many grants are in force, with what goes without saying.
    pub known: usize,
    /// Why the settings file of now is refused; absent while what is in force is what it grants.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
}

/// How the geo files fare.
#[derive(Debug, Clone, Default, Serialize)]
pub struct GeoStatus {
    /// `good`, `not_configured` or `degraded`.
    pub state: &'static str,
    /// The files in force.
    pub files: Vec<GeoFileStatus>,
    /// Since when files are refused, and why at first; absent while all are sound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub degraded: Option<Degraded>,
    /// Why files were refused, one line for each, and why there may be no tables.
    pub faults: Vec<String>,
    /// What an operator should know of the tables in force; stops nothing.
    pub warnings: Vec<String>,
    /// Cells of clients.
    pub cells: usize,
    /// Classes of clients.
    pub classes: usize,
    /// Heap memory of the tables in bytes.
    pub memory_bytes: usize,
}

/// A geo file in force.
#[derive(Debug, Clone, Default, Serialize)]
pub struct GeoFileStatus {
    /// Its path.
    pub path: String,
    /// What it says it is.
    pub database_type: String,
    /// When it says it was built, seconds since 1970.
    pub build_epoch_s: u64,
    /// The SHA-256 of its bytes.
    pub digest: String,
    /// Networks with a record.
    pub networks: usize,
    /// Distinct records with a value that cannot be true, such as a place at exactly 0, 0; the value was left out.
    pub faulty_records: usize,
    /// What its records say: `coordinates`, `countries`, `operators`.
    pub knows: Vec<&'static str>,
}
