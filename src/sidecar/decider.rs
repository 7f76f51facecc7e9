//! Deciding, whichever door asks: one value for each worker, so that what it counts is shared with nobody.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::audit::{self, Audit, Sample};
use super::clock;
use super::intake::{Dispatched, Lane};
use super::metrics::{DecisionCounters, TIMED_EVERY};
use super::state::{Published, State};
use super::wire::answer::{self, Envelope};
use super::wire::proto::{DecideRequest, ExplainResponse};
use super::wire::{QueryBuffer, QueryRoom, WireError, explanation};
use crate::engine::decision::{Decision, Purity};
use crate::engine::evaluate::{Evaluation, Reason, Verdict, evaluate};
use crate::engine::explanation::Explanation;
use crate::engine::geo::place::Place;
use crate::engine::query::Query;
use crate::engine::signal::observation::{DecisionNumber, Dispatch};
use crate::engine::snapshot::Snapshot;

/// Why nothing can be decided or told yet.
pub const NO_POLICY: &str = "no policy is in force yet, see /readyz on the debug door";

/// Answers decisions on one worker.
#[derive(Debug, Clone)]
pub struct Decider {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Arc<State>,
    counters: Arc<DecisionCounters>,
    audit: Arc<Audit>,
    lane: Arc<Lane>,
    /// The upper bits of every decision id of this worker: they tell processes (16 bits) and workers (8 bits) apart.
    id_prefix: u64,
    decisions: AtomicU64,
}

/// A decision, and what an answer says beyond it.
#[derive(Debug)]
pub struct Ruling<'a> {
    /// The decision itself.
    pub decision: Decision<'a>,
    /// What an answer says beyond it.
    pub envelope: Envelope<'a>,
    /// What it was decided on.
    pub published: &'a Published,
    /// What was asked, in the form that rules and keys see.
    pub query: &'a Query<'a>,
}

impl Decider {
    /// A decider for worker number `worker`, whose decisions go to `lane`. `instance` is a number unlike those of other
    /// processes. A worker has one, however many doors it serves: its ids must not come twice.
    pub fn new(
        state: Arc<State>,
        counters: Arc<DecisionCounters>,
        audit: Arc<Audit>,
        lane: Arc<Lane>,
        (instance, worker): (u16, usize),
    ) -> Self {
        let id_prefix = (u64::from(instance) << 48) | ((worker as u64 & 0xff) << 40);
        Self {
            shared: Arc::new(Shared {
                state,
                counters,
                audit,
                lane,
                id_prefix,
                decisions: AtomicU64::new(0),
            }),
        }
    }

    /// Runs `ask` on the snapshot in force, loaded once; `None` before the first good policy.
    pub fn on_published<T>(&self, ask: impl FnOnce(&Arc<Published>) -> T) -> Option<T> {
        self.shared.state.published.load().as_ref().map(ask)
    }

    /// What is shared with the writer.
    pub fn state(&self) -> &Arc<State> {
        &self.shared.state
    }

    /// Counts a request that could not be read, and gives all that is wrong with it: these faults and those of what of it
    /// could be read.
    pub fn reject(
        &self,
        published: &Published,
        request: &DecideRequest,
        faults: Vec<String>,
    ) -> WireError {
        self.shared.counters.count_rejected();
        WireError::of(request, faults, published.snapshot.policy().reading())
    }

    /// Decides one request, counts and samples it, and gives what `answer` makes of it.
    pub fn decide_on<A>(
        &self,
        published: &Arc<Published>,
        request: DecideRequest,
        answer: impl FnOnce(&Ruling<'_>) -> A,
    ) -> Result<A, WireError> {
        let shared = &*self.shared;
        // One worker counts, so a load and a store are enough.
        let number = shared.decisions.load(Ordering::Relaxed);
        shared.decisions.store(number + 1, Ordering::Relaxed);
        let started = number.is_multiple_of(TIMED_EVERY).then(clock::now);
        let id_number = shared.id_prefix | (number & 0xff_ffff_ffff);
        let id = DecisionId::new(id_number);
        let decided = decide(published, &request, id.as_str(), answer);
        let (evaluation, answer) = match decided {
            Ok(decided) => decided,
            Err(error) => {
                shared.counters.count_rejected();
                return Err(error);
            }
        };
        if let Some(started) = started {
            shared.counters.time(started.elapsed());
        }
        if !request.dry_run {
            let decision = Decision::new(&published.snapshot, &evaluation);
            shared.counters.count(&decision, &published.pool_rows);
            if let Some(dispatched) = dispatched(published, &decision, id_number) {
                shared.lane.dispatched(dispatched);
            }
            // A caller that can use some nodes only is restricted all the time.
            let usual = matches!(decision.purity(), Purity::Pure | Purity::Restricted);
            let notable = evaluation.verdict == Verdict::Refuse || !usual;
            if audit::is_sampled(number, published.snapshot.policy().sample_ratio(), notable) {
                let decision_id = id.as_str().to_owned();
                shared.audit.offer(Sample {
                    decision_id,
                    request,
                    evaluation,
                    published: Arc::clone(published),
                });
            }
        }
        Ok(answer)
    }
}

fn decide<A>(
    published: &Published,
    request: &DecideRequest,
    id: &str,
    answer: impl FnOnce(&Ruling<'_>) -> A,
) -> Result<(Evaluation, A), WireError> {
    let (mut room, mut buffer) = (QueryRoom::default(), QueryBuffer::default());
    let query = buffer.read(request, &mut room, published.snapshot.policy().reading())?;
    let evaluation = evaluate(&published.snapshot, &query);
    let mut envelope = envelope(published, request, id);
    if request.want_place {
        envelope.known_place = known_place(&published.snapshot, &query);
    }
    let answer = answer(&Ruling {
        decision: Decision::new(&published.snapshot, &evaluation),
        envelope,
        published,
        query: &query,
    });
    Ok((evaluation, answer))
}

/// What the geo files say of the client's address.
#[cold]
fn known_place(snapshot: &Snapshot, query: &Query<'_>) -> Option<Place> {
    let class = snapshot.geo().lookup(query.client.ip?)?;
    Some(snapshot.geo().place(class))
}

/// What the writer is told of a decision: nothing of one that names no node.
#[inline]
fn dispatched(published: &Published, decision: &Decision<'_>, id: u64) -> Option<Dispatched> {
    let evaluation = decision.evaluation();
    if evaluation.verdict != Verdict::Route {
        return None;
    }
    let plan = decision.plan()?;
    let tier = plan.tiers.get(usize::from(evaluation.tier))?;
    let cell = evaluation.located.measured_cell();
    Some(Dispatched {
        fleet: published.revision,
        dispatch: Dispatch {
            number: DecisionNumber::of(id),
            generation: published.snapshot.generation(),
            key: evaluation.key,
            set: tier.set,
            site: evaluation.sites.first()?.site,
            node: evaluation.picks.first()?.node,
            cell: cell.and_then(|cell| u32::try_from(cell).ok()),
            class: plan.class_index,
            hot: evaluation.reason == Reason::HotCopy,
        },
        affinity: tier.affinity,
    })
}

fn envelope<'a>(
    published: &'a Published,
    request: &'a DecideRequest,
    decision_id: &'a str,
) -> Envelope<'a> {
    Envelope {
        request_id: &request.request_id,
        decision_id,
        revision: published.revision,
        policy_digest: &published.policy_digest,
        freshness_floor: request.object_version_floor,
        known_place: None,
    }
}

/// Decides and explains a request; neither counted nor kept.
pub fn explain(
    published: &Published,
    request: &DecideRequest,
) -> Result<ExplainResponse, WireError> {
    let (mut room, mut buffer) = (QueryRoom::default(), QueryBuffer::default());
    let query = buffer.read(request, &mut room, published.snapshot.policy().reading())?;
    let evaluation = evaluate(&published.snapshot, &query);
    let decision = Decision::new(&published.snapshot, &evaluation);
    let why = Explanation::new(&published.snapshot, &query, &evaluation);
    Ok(ExplainResponse {
        decision: Some(answer::message(
            &decision,
            &envelope(published, request, ""),
        )),
        explanation: Some(explanation(&decision, &why)),
    })
}

/// A decision's name: 16 hexadecimal digits, on the stack.
struct DecisionId([u8; 16]);

impl DecisionId {
    fn new(number: u64) -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let digit = |at: usize| {
            let nibble = (number >> (60 - 4 * at)) & 0xf;
            DIGITS.get(nibble as usize).copied().unwrap_or(b'0')
        };
        Self(std::array::from_fn(digit))
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}
