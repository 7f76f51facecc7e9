//! The client for proxies written in Rust: it asks the sidecar, and decides by itself while the sidecar does not answer.
//!
//! A decision is a pure function of a snapshot and a query, so the client keeps a copy of the snapshot and runs the very
//! same [`evaluate`](tradewind_engine::evaluate::evaluate): a sidecar that dies takes no affinity with it. What the copy has
//! not are the geo files; instead the client remembers what the sidecar said of each network it asked about. A client of
//! a network that nobody asked about is placed as one whom nobody can place: `docs/places.md`.
//!
//! [`Client::decide`] never fails for reasons of transport: [`Answer::source`] says where an answer comes from. It costs
//! one call while the sidecar is well, nothing while an answer may be reused, and no waiting once the sidecar has failed
//! three times in a row: from then on it is tried in the background until it is back.
//!
//! ```no_run
//! use tradewind_client::answer::Source;
//! use tradewind_client::options::Options;
//! use tradewind_client::{AttemptResult, Client, Request};
//!
//! # async fn proxy() -> Result<(), Box<dyn std::error::Error>> {
//! // Inside a Tokio runtime; the sidecar need not run yet.
//! let client = Client::connect(Options::at("127.0.0.1:7070"))?;
//!
//! let request = Request {
//!     host: "www.example.com".to_owned(),
//!     path: "/video/1.mp4".to_owned(),
//!     client: Some(tradewind_client::Asker {
//!         ip: "198.18.1.77".to_owned(),
//!         ..Default::default()
//!     }),
//!     ..Default::default()
//! };
//! let answer = client.decide(&request).await?;
//! if answer.source == Source::Nothing {
//!     // No sidecar was ever reached: do what a proxy without one would do.
//! }
//! for ((candidate, wait), attempt) in answer.attempts().zip(1..) {
//!     tokio::time::sleep(wait).await;
//!     // Connect to candidate.address, for candidate.attempt_timeout at most.
//!     let went_well = true;
//!     let result = if went_well { AttemptResult::Ok } else { AttemptResult::Error };
//!     client.told(answer.outcome(candidate, attempt, result));
//!     if went_well {
//!         break;
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! `docs/client.md` has the figures: what it does when the sidecar is well, slow and dead, and what that costs.

pub mod answer;
mod assembly;
mod breaker;
mod cache;
pub mod copy;
pub mod counters;
mod follow;
mod heard;
#[cfg(feature = "hosted")]
pub mod hosted;
mod keys;
mod last_good;
mod lines;
mod made;
pub mod options;
mod places;
mod placing;
mod purges;
mod report;
pub mod ruling;

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use answer::{Answer, Decided, Source};
use assembly::Copied;
use breaker::AskBreaker;
use cache::{Cache, Key};
use copy::LastCopy;
use counters::{Counters, Counts, bump};
use heard::Heard;
use lines::{Lines, Reply};
use made::Decisions;
use options::{ConnectError, Options};
use places::Places;
use purges::Purges;
use report::{Ring, Waiting};
use ruling::Ruling;
use tradewind_engine::geo::place::Place;
use tradewind_engine::request::Reading;
use tradewind_wire::answer::{self as wire_answer, Envelope};
use tradewind_wire::clock;
use tradewind_wire::limiter::Limiter;
use tradewind_wire::receipt::{self, CopyNumbers};
use tradewind_wire::{QueryBuffer, QueryRoom, WireError, proto, told_place};

/// A request to decide, field by field as `proto/tradewind/v1/decision.proto` describes it.
///
/// `dry_run` is heeded by the sidecar; `want_place` is the client's own affair.
pub type Request = proto::DecideRequest;

/// A request whose texts are borrowed: see [`Client::decide_with`].
pub use tradewind_wire::question::Question;

/// What is known of the client of a request.
pub type Asker = proto::Client;

/// How an attempt at a node went, as `proto/tradewind/v1/feedback.proto` describes it; see [`Decided::outcome`].
pub type Outcome = proto::Outcome;

/// The word for how an attempt went.
pub type AttemptResult = proto::AttemptResult;

/// What the cache of a node said of an object: hit, miss, and so on.
pub type CacheStatus = proto::CacheStatus;

/// A request that no sidecar would take: every wrong field, with the value seen and what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{faults}")]
pub struct InvalidRequest {
    faults: String,
    client_status: Option<u16>,
}

impl InvalidRequest {
    /// The HTTP status to answer the client with, where it is the client who did wrong, and not whoever asks for it: so nobody
    /// gets past a rule by sending what cannot be read. `None` too of what the sidecar found.
    pub fn client_status(&self) -> Option<u16> {
        self.client_status
    }
}

impl From<WireError> for InvalidRequest {
    fn from(error: WireError) -> Self {
        Self {
            faults: error.to_string(),
            client_status: error.client_status().map(|status| status.as_u16()),
        }
    }
}

/// What the client's own decisions are made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Following {
    /// Counts policies and topologies that took effect in the sidecar's process.
    pub revision: u64,
    /// Counts snapshots of the sidecar's process.
    pub generation: u64,
    /// SHA-256 of the policy's text, in hexadecimal.
    pub policy_digest: String,
    /// SHA-256 of the topology's text, in hexadecimal.
    pub topology_digest: String,
    /// Of 10,000 requests so many are decided by a candidate where the sidecar is asked. The client does not know it: what it
    /// decides itself it decides by the policy in force.
    pub candidate_buckets: u16,
}

/// Asks a sidecar; see the module. Clones share everything, and when the last is dropped its tasks end.
#[derive(Debug, Clone)]
pub struct Client {
    tasks: Arc<Tasks>,
}

/// What a client and its tasks share.
#[derive(Debug)]
struct Shared {
    options: Options,
    lines: Lines,
    breaker: AskBreaker,
    cache: Mutex<Cache>,
    places: Places,
    /// Clients whose networks are to be asked about in the background.
    wanted: placing::Wanted,
    /// The last copy of the sidecar's snapshot; `None` until the first.
    copied: ArcSwapOption<Copied>,
    /// What was purged.
    purges: Arc<Purges>,
    /// What limits of the policy have let through of what is decided here; made with the first policy that has any.
    limiter: OnceLock<Limiter>,
    /// How decisions made from it are named, so that the sidecar believes what is told of them.
    numbers: ArcSwapOption<CopyNumbers>,
    /// The last decisions made here.
    made: Decisions,
    outcomes: Ring,
    counts: Counts,
    /// When the sidecar was heard last over the stream of copies.
    heard: Heard,
}

/// The tasks of a client, which end with it.
#[derive(Debug)]
struct Tasks {
    shared: Arc<Shared>,
    running: [AbortHandle; 6],
}

impl Drop for Tasks {
    fn drop(&mut self) {
        for task in &self.running {
            task.abort();
        }
    }
}

impl Client {
    /// A client of the sidecar that `options` name. To be called inside a Tokio runtime, on which its tasks and
    /// connections live from then on; nothing is waited for, and no sidecar need run yet.
    pub fn connect(options: Options) -> Result<Self, ConnectError> {
        let runtime = Handle::try_current().map_err(|_| ConnectError::NoRuntime)?;
        let lines = Lines::new(&options)?;
        let shared = Arc::new(Shared {
            lines,
            breaker: AskBreaker::new(options.failures),
            cache: Mutex::new(Cache::new(options.cached_answers)),
            places: Places::new(options.known_networks),
            wanted: placing::Wanted::default(),
            copied: ArcSwapOption::empty(),
            purges: Arc::new(Purges::new(options.purged_entries, clock::now())),
            limiter: OnceLock::new(),
            numbers: ArcSwapOption::empty(),
            made: Decisions::new(options.kept_decisions()),
            outcomes: Ring::new(options.outcomes),
            counts: Counts::default(),
            heard: Heard::default(),
            options,
        });
        let running = [
            runtime.spawn(follow::run(Arc::clone(&shared))),
            runtime.spawn(report::run(Arc::clone(&shared))),
            runtime.spawn(breaker::run(Arc::clone(&shared))),
            runtime.spawn(placing::run(Arc::clone(&shared))),
            runtime.spawn(keys::run(Arc::clone(&shared))),
            runtime.spawn(purges::run(Arc::clone(&shared.purges))),
        ];
        let running = running.map(|task| task.abort_handle());
        Ok(Self {
            tasks: Arc::new(Tasks { shared, running }),
        })
    }

    /// Decides a request: by an answer that may be reused, by the sidecar, or from the last copy of what the sidecar
    /// decides from. Returns within the deadline of [`Options`]; only a request that is itself wrong is an error.
    pub async fn decide(&self, request: &Request) -> Result<Answer, InvalidRequest> {
        let shared = &*self.tasks.shared;
        let asker = read_asker(request)?;
        let mut key = None;
        if shared.options.cached_answers > 0 {
            let known = Key::of(request);
            if let Some(decided) = shared.cache().get(&known, clock::now()) {
                bump(&shared.counts.asked, 1);
                bump(&shared.counts.cached, 1);
                return Ok(Answer::new(Source::Cached, decided));
            }
            key = Some(known);
        }
        if shared.breaker.is_closed() {
            match shared.ask(request, asker).await {
                Reply::Answered(response) => {
                    bump(&shared.counts.asked, 1);
                    let decided = Arc::new(Decided::read(*response));
                    if let Some(key) = key {
                        shared.cache().put(&key, &decided, clock::now());
                    }
                    return Ok(Answer::new(Source::Sidecar, decided));
                }
                Reply::Refused(faults) => {
                    return Err(InvalidRequest {
                        faults,
                        client_status: None,
                    });
                }
                Reply::Failed => {}
            }
        }
        shared.decide_alone(request)
    }

    /// Decides a request without asking, as [`Client::decide`] would were the sidecar dead now: to see what that would
    /// change. Only a request that is itself wrong is an error.
    pub fn decide_alone(&self, request: &Request) -> Result<Answer, InvalidRequest> {
        self.tasks.shared.decide_alone(request)
    }

    /// The same for a request that is borrowed, and the decision is given to `then` before any string is made of it: for proxies
    /// that decide alone as a rule. `None` before the sidecar was ever reached; that counts as [`Source::Nothing`].
    pub fn decide_with<T>(
        &self,
        question: &Question<'_>,
        then: impl FnOnce(&Ruling<'_>) -> T,
    ) -> Result<Option<T>, InvalidRequest> {
        let decided = self.on_copy(|copy| copy.decide(question, then));
        if decided.is_none() {
            let counts = &self.tasks.shared.counts;
            bump(&counts.asked, 1);
            bump(&counts.nothing, 1);
        }
        decided.transpose()
    }

    /// Shows the last copy to `look`, which may decide on it; `None` before the first. It is in use for so long: look quickly.
    pub fn on_copy<T>(&self, look: impl FnOnce(LastCopy<'_>) -> T) -> Option<T> {
        let shared = &*self.tasks.shared;
        let copied = shared.copied.load();
        let copied = copied.as_deref()?;
        Some(look(LastCopy { shared, copied }))
    }

    /// Tells how an attempt at a node went. Never waits and wakes nobody: outcomes are sent in batches ten times a second,
    /// and when too many wait already this one is dropped and counted.
    pub fn told(&self, mut outcome: Outcome) {
        let shared = &self.tasks.shared;
        if let Some(number) = receipt::number_of(&outcome.decision_id) {
            shared.add_what_was_decided(number, &mut outcome);
        }
        shared.put(outcome.into());
    }

    /// The same of an outcome whose `decision_id` and `node` are empty: they are borrowed, and nothing is allocated.
    pub fn told_of(&self, decision_id: &str, node: &str, mut outcome: Outcome) {
        let shared = &self.tasks.shared;
        if let Some(number) = receipt::number_of(decision_id) {
            shared.add_what_was_decided(number, &mut outcome);
        }
        shared.put(Waiting::named(outcome, decision_id, node));
    }

    /// What was counted since the client was made.
    pub fn counters(&self) -> Counters {
        self.tasks.shared.counts.read()
    }

    /// What the client would decide from by itself now; `None` before the sidecar was ever reached.
    pub fn following(&self) -> Option<Following> {
        let copied = self.tasks.shared.copied.load();
        copied.as_ref().map(|copied| copied.following())
    }

    /// How long ago the sidecar last said, or let it be seen by its stream, that the copy is what it decides from; `None` before
    /// it was ever reached.
    pub fn heard_ago(&self) -> Option<Duration> {
        self.tasks.shared.heard.ago(clock::now())
    }

    /// How long ago the sidecar last said that all purges are known here that it knows; `None` if it never did.
    pub fn purges_heard_ago(&self) -> Option<Duration> {
        self.tasks.shared.purges.heard_ago(clock::now())
    }

    /// How many entries there are of what was purged.
    pub fn purged_entries(&self) -> usize {
        self.tasks.shared.purges.entries()
    }

    /// Whether requests go to the sidecar now, rather than being decided here because it failed too often.
    pub fn is_asking(&self) -> bool {
        self.tasks.shared.breaker.is_closed()
    }
}

impl Shared {
    /// Asks the sidecar, within the deadline, and learns where the client is.
    async fn ask(&self, request: &Request, asker: Option<IpAddr>) -> Reply {
        let mut sent = request.clone();
        sent.want_place = asker.is_some();
        let reply = self.lines.ask(sent, self.options.deadline).await;
        match reply {
            Ok(reply) => {
                self.breaker.succeeded();
                if let Reply::Answered(response) = &reply {
                    bump(&self.counts.answered, 1);
                    if let Some(asker) = asker {
                        let place = response.place.as_ref().map(told_place);
                        self.places.learn(asker, place, clock::now());
                    }
                }
                reply
            }
            Err(failure) => {
                self.counts.count_failure(failure);
                if self.breaker.failed() {
                    bump(&self.counts.opened, 1);
                    tracing::warn!("the sidecar does not answer, requests are decided without it");
                }
                Reply::Failed
            }
        }
    }

    /// Decides from the last copy, and writes the decision out.
    fn decide_alone(&self, request: &Request) -> Result<Answer, InvalidRequest> {
        let copied = self.copied.load();
        let Some(copied) = copied.as_deref() else {
            read_asker(request)?;
            bump(&self.counts.asked, 1);
            bump(&self.counts.nothing, 1);
            let decided = Arc::new(Decided::nothing(request.object_version_floor));
            return Ok(Answer::new(Source::Nothing, decided));
        };
        let copy = LastCopy {
            shared: self,
            copied,
        };
        let response = copy.decide(&Question::of(request), |ruling| {
            wire_answer::message(
                &ruling.decision,
                &Envelope {
                    request_id: &request.request_id,
                    decision_id: ruling.decision_id,
                    revision: copied.revision(),
                    policy_digest: copied.policy_digest(),
                    freshness_floor: request.object_version_floor,
                    fresh: ruling.fresh,
                    is_freshness_known: ruling.is_freshness_known,
                    known_place: None,
                },
            )
        })?;
        let decided = Decided::read(response);
        Ok(Answer::new(Source::Local, Arc::new(decided)))
    }

    /// Adds to an outcome what the sidecar, which did not make the decision, cannot know.
    fn add_what_was_decided(&self, number: u64, outcome: &mut Outcome) {
        if outcome.key != 0 {
            return;
        }
        // Of further attempts only the key is of interest.
        let is_first = outcome.attempt <= 1;
        if let Some(made) = self.made.get(number) {
            outcome.key = made.key;
            outcome.decided = is_first.then_some(made.decided);
        }
    }

    fn put(&self, outcome: Waiting) {
        if !self.outcomes.put(outcome) {
            bump(&self.counts.outcomes_dropped, 1);
        }
    }

    /// What the sidecar said of a client's place.
    fn place_of(&self, client: IpAddr) -> Option<Place> {
        match self.options.places {
            options::Places::Asked => self.places.find(client),
            options::Places::InBackground => {
                let want = |client| self.wanted.put(client);
                self.places.find_or(client, clock::now(), want)
            }
        }
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Checks a request as any sidecar would, whatever its policy looks at; the address of its client, if it has one.
fn read_asker(request: &Request) -> Result<Option<IpAddr>, InvalidRequest> {
    let (mut room, mut buffer) = (QueryRoom::default(), QueryBuffer::default());
    let read = buffer.read(request, &mut room, &Reading::default());
    Ok(read?.client.ip)
}
