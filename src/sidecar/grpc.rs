//! The decision service: one value for each worker, so that what it counts is shared with nobody.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use tokio_stream::Stream;
use tonic::{Request, Response, Status, Streaming};

use super::audit::{self, Audit, Sample};
use super::clock;
use super::intake::{Dispatched, Lane};
use super::metrics::{DecisionCounters, TIMED_EVERY};
use super::state::{Published, State};
use super::wire::answer::{self, Answer, Envelope};
use super::wire::proto::server::decision_service_server::DecisionService;
use super::wire::proto::{DecideBatchRequest, DecideRequest, ExplainRequest, ExplainResponse};
use super::wire::{QueryBuffer, WireError, explanation};
use crate::engine::decision::{Decision, Purity};
use crate::engine::evaluate::{Evaluation, Reason, Verdict, evaluate};
use crate::engine::explanation::Explanation;
use crate::engine::signal::observation::{DecisionNumber, Dispatch};

/// Most requests in one batch.
pub const MAX_BATCH: usize = 128;

/// Largest request message but a batch, in bytes; larger ones are refused at the length prefix.
pub const MAX_QUERY_BYTES: usize = 16 << 10;

/// Largest answer but a batch's, in bytes: an explanation has some 10 KiB.
pub const MAX_ANSWER_BYTES: usize = 64 << 10;

/// Largest batch, asked or answered, in bytes: 128 answers that name 8 nodes each have some 150 KiB.
pub const MAX_BATCH_BYTES: usize = 256 << 10;

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

/// A request decided, with what it was decided on.
struct Decided {
    evaluation: Evaluation,
    answer: Answer,
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

    /// Runs `ask` on the snapshot in force, loaded once.
    fn on_published<T>(
        &self,
        ask: impl FnOnce(&Arc<Published>) -> Result<T, Status>,
    ) -> Result<T, Status> {
        match self.shared.state.published.load().as_ref() {
            Some(published) => ask(published),
            None => Err(Status::failed_precondition(
                "no policy is in force yet, see /readyz on the debug door",
            )),
        }
    }

    /// Decides, counts and samples one request.
    fn decide_on(
        &self,
        published: &Arc<Published>,
        request: DecideRequest,
    ) -> Result<Answer, WireError> {
        let shared = &*self.shared;
        // One worker counts, so a load and a store are enough.
        let number = shared.decisions.load(Ordering::Relaxed);
        shared.decisions.store(number + 1, Ordering::Relaxed);
        let started = number.is_multiple_of(TIMED_EVERY).then(clock::now);
        let id_number = shared.id_prefix | (number & 0xff_ffff_ffff);
        let id = DecisionId::new(id_number);
        let decided = answer_request(published, &request, id.as_str());
        let Decided { evaluation, answer } = match decided {
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
            let notable =
                evaluation.verdict == Verdict::Refuse || decision.purity() != Purity::Pure;
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

    /// Decides one request of a stream; a bad one is answered with its faults, and the stream lives on.
    fn decide_in_stream(&self, request: DecideRequest) -> Result<Answer, Status> {
        self.on_published(|published| {
            let request_id = request.request_id.clone();
            let decided = self.decide_on(published, request);
            Ok(decided.unwrap_or_else(|error| Answer::error(&request_id, &error.to_string())))
        })
    }
}

fn answer_request(
    published: &Published,
    request: &DecideRequest,
    id: &str,
) -> Result<Decided, WireError> {
    let mut buffer = QueryBuffer::default();
    let query = buffer.read(request)?;
    let evaluation = evaluate(&published.snapshot, &query);
    let decision = Decision::new(&published.snapshot, &evaluation);
    let answer = Answer::single(
        &decision,
        &envelope(published, request, id),
        &published.nodes,
    );
    Ok(Decided { evaluation, answer })
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
    let cell = evaluation.located.cell_index;
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
    }
}

/// Decides and explains a request; neither counted nor kept.
pub fn explain(
    published: &Published,
    request: &DecideRequest,
) -> Result<ExplainResponse, WireError> {
    let mut buffer = QueryBuffer::default();
    let query = buffer.read(request)?;
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

fn invalid(error: &WireError) -> Status {
    Status::invalid_argument(error.to_string())
}

#[tonic::async_trait]
impl DecisionService for Decider {
    async fn decide(&self, request: Request<DecideRequest>) -> Result<Response<Answer>, Status> {
        self.on_published(|published| {
            let decided = self.decide_on(published, request.into_inner());
            decided.map(Response::new).map_err(|error| invalid(&error))
        })
    }

    async fn decide_batch(
        &self,
        request: Request<DecideBatchRequest>,
    ) -> Result<Response<Answer>, Status> {
        let requests = request.into_inner().requests;
        if requests.len() > MAX_BATCH {
            let given = requests.len();
            let message = format!("requests: {given} given, at most {MAX_BATCH} are allowed");
            return Err(Status::invalid_argument(message));
        }
        self.on_published(|published| {
            let mut batch = Answer::default();
            let mut faults = Vec::new();
            for (index, request) in requests.into_iter().enumerate() {
                match self.decide_on(published, request) {
                    Ok(answer) => batch.push(&answer),
                    Err(error) => faults.push(format!("requests[{index}]: {error}")),
                }
            }
            if faults.is_empty() {
                Ok(Response::new(batch))
            } else {
                Err(Status::invalid_argument(faults.join("; ")))
            }
        })
    }

    type DecideStreamStream = Decisions;

    async fn decide_stream(
        &self,
        request: Request<Streaming<DecideRequest>>,
    ) -> Result<Response<Decisions>, Status> {
        Ok(Response::new(Decisions {
            requests: request.into_inner(),
            decider: self.clone(),
        }))
    }

    async fn explain(
        &self,
        request: Request<ExplainRequest>,
    ) -> Result<Response<ExplainResponse>, Status> {
        let request = request.into_inner().request.unwrap_or_default();
        self.on_published(|published| {
            let explained = explain(published, &request);
            explained
                .map(Response::new)
                .map_err(|error| invalid(&error))
        })
    }
}

/// Answers to a stream of requests, made as they are asked for.
#[derive(Debug)]
pub struct Decisions {
    requests: Streaming<DecideRequest>,
    decider: Decider,
}

impl Stream for Decisions {
    type Item = Result<Answer, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let polled = Pin::new(&mut self.requests).poll_next(context);
        polled.map(|next| next.map(|request| self.decider.decide_in_stream(request?)))
    }
}
