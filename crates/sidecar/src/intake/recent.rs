//! Recent decisions for people to look at: a sample, in a bounded ring, with client addresses cut to their network and
//! without the values of headers.
//!
//! A worker hands over what it has anyway (request, evaluation, snapshot); explaining and keeping is done on the
//! control runtime. When the queue is full the sample is dropped and counted: looking must not slow routing.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use tokio::sync::mpsc;

use crate::clock;
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

/// Samples that may wait to be kept.
const QUEUE: usize = 256;

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
}

/// The ring of recent decisions.
#[derive(Debug)]
pub struct RecentDecisions {
    ring: Mutex<VecDeque<Arc<Kept>>>,
    counted: AtomicU64,
    capacity: usize,
    samples: mpsc::Sender<Sample>,
    dropped: AtomicU64,
}

impl RecentDecisions {
    /// A ring of `capacity` decisions, and the queue that [`RecentDecisions::keep_all`] empties into it.
    pub fn new(capacity: usize) -> (Arc<Self>, mpsc::Receiver<Sample>) {
        let (samples, queue) = mpsc::channel(QUEUE);
        let recent = Self {
            ring: Mutex::new(VecDeque::with_capacity(capacity)),
            counted: AtomicU64::new(0),
            capacity,
            samples,
            dropped: AtomicU64::new(0),
        };
        (Arc::new(recent), queue)
    }

    /// Keeps samples until all senders are gone or the task is aborted.
    pub async fn keep_all(self: Arc<Self>, mut queue: mpsc::Receiver<Sample>, state: Arc<State>) {
        while let Some(sample) = queue.recv().await {
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
        ring.iter().rev().take(limit).cloned().collect()
    }

    /// The decision called `id`, if it is still kept.
    pub fn find(&self, id: &str) -> Option<Arc<Kept>> {
        let ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        ring.iter()
            .rev()
            .find(|kept| kept.decision.decision_id == id)
            .cloned()
    }

    /// Host and path of the newest kept decision with this hash of a key, as they were asked.
    pub fn url_of_key(&self, key_hash: &str) -> Option<String> {
        let ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        let mut newest = ring.iter().rev();
        let kept = newest.find(|kept| kept.explanation.key_hash == key_hash)?;
        Some(format!("{}{}", kept.request.host, kept.request.path))
    }

    fn keep(&self, sample: Sample, view: &FleetView) {
        let Sample {
            decision_id,
            mut request,
            parent,
            evaluation,
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
        };
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        if self.capacity == 0 {
            return;
        }
        if ring.len() >= self.capacity {
            ring.pop_front();
        }
        ring.push_back(Arc::new(kept));
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

/// Whether a decision is one that people look for: refused or degraded. What is not pure for other reasons is in the
/// ordinary course of things, such as the many requests for hot keys, and would fill the ring.
pub fn is_notable(verdict: Verdict, purity: Purity) -> bool {
    verdict == Verdict::Refuse || purity == Purity::Degraded
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
        }
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
