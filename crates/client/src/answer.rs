//! What a client answers.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use super::{AttemptResult, Outcome};
use tradewind_engine::hash;
use tradewind_wire::answer::FRESHNESS_UNKNOWN;
use tradewind_wire::proto;

/// The longest wait before the first retry, in microseconds; before each further one it is twice as long.
const RETRY_BASE_US: u64 = 25_000;

/// An answer: a decision, and where it comes from. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Where it comes from.
    pub source: Source,
    decided: Arc<Decided>,
}

/// Where an answer comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// The sidecar decided this request.
    Sidecar,
    /// The sidecar decided the same request not longer ago than its answer may be reused.
    Cached,
    /// The client decided, from its last copy of what the sidecar decides from.
    Local,
    /// Nobody could: the sidecar does not answer and never has. Do what a proxy without a sidecar would do.
    Nothing,
}

/// A decision.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Decided {
    /// Names the decision where outcomes refer to it: 24 hexadecimal digits. Empty where the client decided and was never
    /// told how to name what it decides.
    pub decision_id: String,
    /// Whether to serve the request elsewhere or not at all. Then there are no candidates, and `reason` says why.
    pub is_refused: bool,
    /// How long to wait before asking again, where the request is refused because there is too much to do (over HTTP it is
    /// 429): differs between callers, so that they do not come back at once. `None` for every other answer.
    pub retry_after: Option<Duration>,
    /// How many of the candidates may be tried: further attempts have a budget. All of them, most often.
    pub max_attempts: usize,
    /// The nodes to use, in order; up to 8.
    pub candidates: Vec<Candidate>,
    /// The rule that decided; empty when the caller named a pool or nothing matched.
    pub rule: String,
    /// Why the verdict, or the first node, is what it is: a word of `DecideResponse.reason`; empty from
    /// [`Source::Nothing`].
    pub reason: String,
    /// Whether the first node is the one an undisturbed fleet would give: `pure`, `spilled`, `hot` or `degraded`.
    pub purity: String,
    /// How far down the ladder of degradation the answer comes from, `normal` to `refuse`.
    pub rung: String,
    /// How long the answer may be reused for the same request, from when it was made; `None` for not at all. The client
    /// itself does so.
    pub ttl: Option<Duration>,
    /// Lowest acceptable version of the object: that of the request, or what was purged last, if that is higher.
    pub freshness_floor: u64,
    /// The version of the object: caches must not serve what they have of another one, so it belongs into their keys; 0 of what never
    /// was purged.
    pub version: u64,
    /// What caches stored before this time, in ms since 1970, is to be revalidated before it is served; 0 for nothing.
    pub not_older_than_unix_ms: u64,
    /// How long caches may keep the object; `None` for what its origin says.
    pub cache_ttl: Option<Duration>,
    /// The namespace that the rule puts the object in; empty for none.
    pub namespace: String,
    /// Whether these are of all purges, but for those of the last seconds. Else whoever decided, the client or the sidecar, was
    /// not told of purges for a while, or never: what caches have may be older than it should be.
    pub is_freshness_known: bool,
    /// What to do with the object: `store` or `bypass`.
    pub cache_hint: String,
    /// What an operator should know, such as `default_location`.
    pub notes: Vec<String>,
    /// The digest of the policy: 16 hexadecimal digits.
    pub policy_digest: String,
    /// Counts policies and topologies that took effect in the sidecar's process.
    pub policy_revision: u64,
    /// Counts snapshots of the sidecar's process.
    pub snapshot_generation: u64,
}

/// A node to use.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// Its stable name.
    pub node: String,
    /// Where to connect to, `host:port`.
    pub address: String,
    /// Its site.
    pub site: String,
    /// Its site's tier.
    pub tier: String,
    /// What its site is expected to cost this client, in milliseconds; `None` where nobody knows, most often because
    /// nothing is known of where the client is.
    pub expected_ms: Option<f32>,
    /// How long to wait for it.
    pub attempt_timeout: Duration,
    /// Why it is listed: `owner`, `next_in_order`, `next_site` and so on.
    pub role: String,
}

impl Answer {
    pub(super) fn new(source: Source, decided: Arc<Decided>) -> Self {
        Self { source, decided }
    }
}

impl Deref for Answer {
    type Target = Decided;

    fn deref(&self) -> &Decided {
        &self.decided
    }
}

impl Decided {
    /// The candidates that may be tried, in order, each with how long to wait before it: nothing before the first, then up to
    /// 25 ms, 50 ms and so on, by a lot of the decision, so that retries of one failure do not come at once.
    pub fn attempts(&self) -> impl Iterator<Item = (&Candidate, Duration)> {
        let lot = hash::key(&[self.decision_id.as_bytes()]).0;
        let candidates = self.candidates.iter().take(self.max_attempts);
        candidates.zip(0_u32..).map(move |(candidate, retry)| {
            let most_us = (RETRY_BASE_US << retry) >> 1;
            let drawn = lot.rotate_left(16 * retry) & 0xffff;
            let wait_us = if retry == 0 {
                0
            } else {
                (most_us * drawn) >> 16
            };
            (candidate, Duration::from_micros(wait_us))
        })
    }

    /// The outcome of an attempt, the `attempt`-th of its request from 1, at one of the candidates. Status, times and
    /// bytes may be added to it.
    pub fn outcome(&self, candidate: &Candidate, attempt: u32, result: AttemptResult) -> Outcome {
        Outcome {
            decision_id: self.decision_id.clone(),
            node: candidate.node.clone(),
            attempt,
            result: result.into(),
            ..Outcome::default()
        }
    }

    /// What is answered when nobody can decide.
    pub(super) fn nothing(freshness_floor: u64) -> Self {
        Self {
            is_refused: true,
            freshness_floor,
            ..Self::default()
        }
    }

    pub(super) fn read(response: proto::DecideResponse) -> Self {
        Self {
            decision_id: response.decision_id,
            is_refused: response.verdict != i32::from(proto::Verdict::Route),
            retry_after: response.retry_after.map(duration),
            max_attempts: match usize::try_from(response.max_attempts) {
                Ok(0) | Err(_) => response.candidates.len(),
                Ok(most) => most.min(response.candidates.len()),
            },
            candidates: response.candidates.into_iter().map(candidate).collect(),
            rule: response.rule,
            reason: response.reason,
            purity: response.purity,
            rung: response.rung,
            ttl: response.ttl.map(duration).filter(|ttl| !ttl.is_zero()),
            freshness_floor: response.freshness_floor,
            version: response.version,
            not_older_than_unix_ms: response.not_older_than_unix_ms,
            cache_ttl: response.cache_ttl.map(duration),
            namespace: response.namespace,
            is_freshness_known: !response.notes.iter().any(|note| note == FRESHNESS_UNKNOWN),
            cache_hint: response.cache_hint,
            notes: response.notes,
            policy_digest: response.policy_digest,
            policy_revision: response.policy_revision,
            snapshot_generation: response.snapshot_generation,
        }
    }
}

fn candidate(candidate: proto::Candidate) -> Candidate {
    Candidate {
        node: candidate.node,
        address: candidate.address,
        site: candidate.site,
        tier: candidate.tier,
        expected_ms: candidate.expected_ms,
        attempt_timeout: candidate.attempt_timeout.map(duration).unwrap_or_default(),
        role: candidate.role,
    }
}

fn duration(duration: prost_types::Duration) -> Duration {
    Duration::try_from(duration).unwrap_or_default()
}
