//! Recent decisions for people to look at: a sample, in a bounded ring, with client addresses cut to their network and
//! without the values of headers.
//!
//! A worker hands over what it has anyway (request, evaluation, snapshot); explaining and keeping is done on the
//! control runtime. When the queue is full the sample is dropped and counted: looking must not slow routing. How the attempts
//! of a kept decision went comes the same way, by a queue of its own, as far as it is told with the decision's id.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use tokio::sync::mpsc;

use crate::clock;
use crate::freshness::ToldFreshness;
use crate::intake::attempts::{Attempt, MAX_ATTEMPTS, Told};
use crate::state::{Published, State};
use crate::trace::context::TraceContext;
use crate::view::FleetView;
use crate::view::home;
use crate::wire::answer::{self, Envelope};
use crate::wire::proto;
use crate::wire::{QueryBuffer, QueryRoom, explanation, mask};
use tradewind_engine::decision::{Decision, Purity};
use tradewind_engine::evaluate::{Evaluation, Verdict};
use tradewind_engine::explanation::Explanation;
use tradewind_engine::signal::observation::{DecisionNumber, Outcome};

/// Samples that may wait to be kept.
const QUEUE: usize = 256;

/// Outcomes that may wait for their decisions: several of each.
const QUEUE_TOLD: usize = 1_024;

/// How much more often a decision is sampled that is refused or degraded.
pub const NOTABLE_FACTOR: f64 = 16.0;

/// A decision on its way into the ring.
#[derive(Debug)]
pub struct Sample {
    /// Names the decision.
    pub decision_id: String,
    /// What was asked.
    pub request: proto::DecideRequest,
    /// What its caller says that it is part of; not asked of what is only compared.
    pub parent: Option<TraceContext>,
    /// The outcome.
    pub evaluation: Evaluation,
    /// What was said of the object's freshness.
    pub freshness: ToldFreshness,
    /// What it was decided on.
    pub published: Arc<Published>,
    /// Whether it goes into the ring.
    pub is_kept: bool,
    /// Whether it is decided by the other lane as well.
    pub is_compared: bool,
}

/// A decision in the ring.
#[derive(Debug, Clone, Serialize)]
pub struct Kept {
    /// Counts the kept decisions of this process from 1.
    #[serde(skip)]
    pub number: u64,
    /// When it was kept, ms since 1970.
    pub at_unix_ms: u64,
    /// What was asked, masked: see [`mask`].
    pub request: proto::DecideRequest,
    /// What was answered.
    pub decision: proto::DecideResponse,
    /// Why.
    pub explanation: proto::Explanation,
    /// How its attempts went, in the order in which that was told; empty while nobody tells.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub attempts: Vec<Attempt>,
    /// What was told beyond those.
    #[serde(skip_serializing_if = "is_zero")]
    pub attempts_not_shown: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Kept {
    /// The attempt that ended the request, as far as it is told: of those with the highest number the last.
    pub fn last_attempt(&self) -> Option<&Attempt> {
        self.attempts.iter().max_by_key(|it| it.attempt)
    }

    /// Takes what is told of an attempt, at a node that was named.
    fn tell(&mut self, attempt: Attempt) {
        let mut named = self.decision.candidates.iter();
        if !named.any(|candidate| candidate.node == attempt.node) {
            return;
        }
        if self.attempts.len() < MAX_ATTEMPTS {
            self.attempts.push(attempt);
        } else {
            self.attempts_not_shown += 1;
        }
    }
}

/// Decisions by age, and where each is.
#[derive(Debug, Default)]
struct Ring {
    kept: VecDeque<Arc<Kept>>,
    /// [`Kept::number`] of each by the number that its id has; as many as there are decisions.
    numbers: HashMap<DecisionNumber, u64>,
}

impl Ring {
    /// Adds the newest, in the place of the oldest where there are `capacity`.
    fn push(&mut self, kept: Kept, capacity: usize) {
        if capacity == 0 {
            return;
        }
        if self.kept.len() >= capacity
            && let Some(oldest) = self.kept.pop_front()
            && let Some(number) = number_of(&oldest.decision.decision_id)
        {
            self.numbers.remove(&number);
        }
        if let Some(number) = number_of(&kept.decision.decision_id) {
            self.numbers.insert(number, kept.number);
        }
        self.kept.push_back(Arc::new(kept));
    }

    /// The decision whose id has this number. Those that are kept are counted without a gap.
    fn of_number(&mut self, number: DecisionNumber) -> Option<&mut Arc<Kept>> {
        let oldest = self.kept.front()?.number;
        let place = self.numbers.get(&number)?.checked_sub(oldest)?;
        self.kept.get_mut(usize::try_from(place).ok()?)
    }
}

/// The number that an id of this process has.
fn number_of(id: &str) -> Option<DecisionNumber> {
    let digits = id.get(..16)?;
    u64::from_str_radix(digits, 16).ok().map(DecisionNumber::of)
}

/// The ring of recent decisions.
#[derive(Debug)]
pub struct RecentDecisions {
    ring: Mutex<Ring>,
    counted: AtomicU64,
    capacity: usize,
    samples: mpsc::Sender<Sample>,
    told: mpsc::Sender<Told>,
    dropped: AtomicU64,
    told_dropped: AtomicU64,
}

/// What waits to be kept.
#[derive(Debug)]
pub struct Waiting {
    samples: mpsc::Receiver<Sample>,
    told: mpsc::Receiver<Told>,
}

impl RecentDecisions {
    /// A ring of `capacity` decisions, and the queues that [`RecentDecisions::keep_all`] empties into it.
    pub fn new(capacity: usize) -> (Arc<Self>, Waiting) {
        let (samples, queue) = mpsc::channel(QUEUE);
        let (told, queue_told) = mpsc::channel(QUEUE_TOLD);
        let recent = Self {
            ring: Mutex::default(),
            counted: AtomicU64::new(0),
            capacity,
            samples,
            told,
            dropped: AtomicU64::new(0),
            told_dropped: AtomicU64::new(0),
        };
        let waiting = Waiting {
            samples: queue,
            told: queue_told,
        };
        (Arc::new(recent), waiting)
    }

    /// Keeps samples, and what is told of them, until the task is aborted.
    pub async fn keep_all(self: Arc<Self>, mut waiting: Waiting, state: Arc<State>) {
        loop {
            tokio::select! {
                Some(sample) = waiting.samples.recv() => self.take(sample, &state),
                Some(told) = waiting.told.recv() => {
                    // A decision is handed over before it is answered, and told of after: so it is among those that wait by
                    // now. No more than wait are taken, or this would go on for as long as others come.
                    for _ in 0..QUEUE {
                        let Ok(sample) = waiting.samples.try_recv() else {
                            break;
                        };
                        self.take(sample, &state);
                    }
                    self.note(told);
                    tokio::task::yield_now().await;
                }
                else => return,
            }
        }
    }

    /// Compares a decision and keeps it, as far as that is wanted.
    fn take(&self, sample: Sample, state: &State) {
        if sample.is_compared {
            let Sample {
                published,
                request,
                evaluation,
                ..
            } = &sample;
            let (mut room, mut buffer) = (QueryRoom::default(), QueryBuffer::default());
            let reading = published.snapshot.reading();
            if let Ok(query) = buffer.read(request, &mut room, reading) {
                state.shadow.compare(published, &query, evaluation);
            }
        }
        if sample.is_kept {
            self.keep(sample, &state.view.load());
        }
    }

    /// Adds what is told to its decision, if that is kept.
    fn note(&self, told: Told) {
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = ring.of_number(told.number) {
            // Copied only where somebody is reading it just now.
            Arc::make_mut(kept).tell(told.attempt);
        }
    }

    /// Hands over what is told of an attempt whose decision may be kept; drops and counts it when the queue is full. Of a
    /// decision that was kept by another sample ratio than the one in force now it may be passed over.
    pub fn tell(&self, published: &Published, (outcome, message): (&Outcome, &proto::Outcome)) {
        let Some(number) = outcome.decision.filter(|it| !it.is_of_copy()) else {
            return;
        };
        let count = number.0 & (DecisionNumber::COPY - 1);
        let ratio = published.snapshot.policy().sample_ratio();
        if self.capacity == 0 || !is_sampled(count, ratio, true) {
            return;
        }
        let told = Told::of(number, published, (outcome, message));
        if self.told.try_send(told).is_err() {
            self.told_dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Outcomes dropped because the queue was full.
    pub fn told_dropped(&self) -> u64 {
        self.told_dropped.load(Ordering::Relaxed)
    }

    /// Hands a sample over; drops and counts it when the queue is full.
    pub fn offer(&self, sample: Sample) {
        if self.samples.try_send(sample).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Samples dropped because the queue was full.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// How many are kept at most.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// The newest `limit` decisions, newest first.
    pub fn recent(&self, limit: usize) -> Vec<Arc<Kept>> {
        let ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        ring.kept.iter().rev().take(limit).cloned().collect()
    }

    /// The decision called `id`, if it is still kept.
    pub fn find(&self, id: &str) -> Option<Arc<Kept>> {
        let ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        ring.kept
            .iter()
            .rev()
            .find(|kept| kept.decision.decision_id == id)
            .cloned()
    }

    /// Host and path of the newest kept decision with this hash of a key, as they were asked.
    pub fn url_of_key(&self, key_hash: &str) -> Option<String> {
        let ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        let mut newest = ring.kept.iter().rev();
        let kept = newest.find(|kept| kept.explanation.key_hash == key_hash)?;
        Some(format!("{}{}", kept.request.host, kept.request.path))
    }

    fn keep(&self, sample: Sample, view: &FleetView) {
        let Sample {
            decision_id,
            mut request,
            parent,
            evaluation,
            freshness: ToldFreshness { fresh, is_known },
            published,
            is_kept: _,
            is_compared: _,
        } = sample;
        let decision = Decision::new(&published.snapshot, &evaluation);
        let envelope = Envelope {
            request_id: &request.request_id,
            decision_id: &decision_id,
            revision: published.revision,
            policy_digest: published.digest_of(evaluation.lane),
            freshness_floor: request.object_version_floor,
            fresh,
            is_freshness_known: is_known,
            known_place: None,
        };
        let response = answer::message(&decision, &envelope);
        let Some(explained) = explained(&published, &request, &evaluation) else {
            return;
        };
        let times = home::times(view, &published.snapshot, evaluation.home);
        let why = explanation(&decision, &explained, times);
        mask(&mut request);
        log(&decision_id, parent, &published, &decision);
        let kept = Kept {
            number: self.counted.fetch_add(1, Ordering::Relaxed) + 1,
            at_unix_ms: clock::unix_ms(),
            request,
            decision: response,
            explanation: why,
            attempts: Vec::new(),
            attempts_not_shown: 0,
        };
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        ring.push(kept, self.capacity);
    }
}

/// One line of a decision that is kept, under the ids that its span has, where there is one.
fn log(
    decision_id: &str,
    parent: Option<TraceContext>,
    published: &Published,
    decision: &Decision<'_>,
) {
    if !tracing::enabled!(tracing::Level::DEBUG) {
        return;
    }
    let evaluation = decision.evaluation();
    let trace = parent.unwrap_or_else(|| TraceContext::of_decision(decision_id));
    let node = evaluation.picks.first().map(|pick| pick.node);
    let node = node.map(|node| &*published.snapshot.topology().node(node).id);
    tracing::debug!(
        decision_id,
        trace_id = trace.trace(),
        span_id = TraceContext::span_name(decision_id),
        rule = decision.rule_name(),
        node = node.unwrap_or_default(),
        reason = evaluation.reason.name(),
        generation = published.snapshot.generation(),
        revision = published.revision,
        policy = published.digest_of(evaluation.lane),
        "a sampled decision was made"
    );
}

fn explained(
    published: &Published,
    request: &proto::DecideRequest,
    evaluation: &Evaluation,
) -> Option<Explanation> {
    let (mut room, mut buffer) = (QueryRoom::default(), QueryBuffer::default());
    let reading = published.snapshot.reading();
    let query = buffer.read(request, &mut room, reading).ok()?;
    Some(Explanation::new(&published.snapshot, &query, evaluation))
}

/// Whether a decision is one that people look for: without a node, or degraded. What is not pure for other reasons is in the
/// ordinary course of things, such as the many requests for hot keys, and would fill the ring.
pub fn is_notable(verdict: Verdict, purity: Purity) -> bool {
    verdict != Verdict::Route || purity == Purity::Degraded
}

/// Whether the decision with this number is sampled: the same numbers always, spread evenly.
pub fn is_sampled(number: u64, ratio: f64, notable: bool) -> bool {
    let ratio = if notable {
        ratio * NOTABLE_FACTOR
    } else {
        ratio
    };
    // The upper 53 bits of a mixed number, as a share of 1 (SplitMix64's finaliser).
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^= mixed >> 31;
    tradewind_engine::number::from_u64(mixed >> 11) * (1.0 / 9_007_199_254_740_992.0) < ratio
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_refused_and_degraded_decisions_are_sampled_more_often() {
        for purity in Purity::ALL {
            let notable = is_notable(Verdict::Route, *purity);
            assert_eq!(notable, *purity == Purity::Degraded, "{purity:?}");
            assert!(is_notable(Verdict::Refuse, *purity));
            assert!(is_notable(Verdict::Shed, *purity));
        }
    }

    /// A decision with this number in its id, and in the ring.
    fn kept(number: u64) -> Kept {
        Kept {
            number,
            at_unix_ms: 0,
            request: proto::DecideRequest::default(),
            decision: proto::DecideResponse {
                decision_id: format!("0a0b{number:012x}00000000"),
                candidates: vec![proto::Candidate {
                    node: "a".to_owned(),
                    ..proto::Candidate::default()
                }],
                ..proto::DecideResponse::default()
            },
            explanation: proto::Explanation::default(),
            attempts: Vec::new(),
            attempts_not_shown: 0,
        }
    }

    fn attempt(node: &str, attempt: u8) -> Attempt {
        Attempt {
            node: node.to_owned(),
            attempt,
            result: "ok",
            status: Some(200),
            first_byte_ms: None,
            total_ms: None,
            hit: None,
            told_unix_ms: 1,
        }
    }

    #[test]
    fn the_ring_finds_what_it_has_by_number_and_forgets_the_rest() {
        let mut ring = Ring::default();
        for number in 1..=10 {
            ring.push(kept(number), 4);
        }
        assert_eq!((ring.kept.len(), ring.numbers.len()), (4, 4));
        for number in 1..=10 {
            let found = ring.of_number(DecisionNumber(number)).map(|it| it.number);
            assert_eq!(found, (number > 6).then_some(number));
        }
        assert!(ring.of_number(DecisionNumber(11)).is_none());
        let mut none = Ring::default();
        none.push(kept(1), 0);
        assert!(none.of_number(DecisionNumber(1)).is_none() && none.kept.is_empty());
    }

    #[test]
    fn attempts_at_named_nodes_are_kept_and_the_last_one_tells_how_it_ended() {
        let mut one = kept(1);
        one.tell(attempt("b", 1));
        assert!(one.last_attempt().is_none(), "nobody named b");
        one.tell(attempt("a", 2));
        one.tell(attempt("a", 1));
        assert_eq!(one.last_attempt().map(|it| it.attempt), Some(2));
        for _ in 0..20 {
            one.tell(attempt("a", 3));
        }
        assert_eq!(one.attempts.len(), MAX_ATTEMPTS);
        assert_eq!(one.attempts_not_shown, 14);
    }

    #[test]
    fn samples_come_at_their_ratio() {
        let share = |ratio, notable| {
            (0..100_000_u64)
                .filter(|n| is_sampled(*n, ratio, notable))
                .count()
        };
        assert_eq!(share(0.0, true), 0);
        assert_eq!(share(1.0, false), 100_000);
        assert!((900..1_100).contains(&share(0.01, false)));
        assert!((15_000..17_000).contains(&share(0.01, true)));
    }
}
