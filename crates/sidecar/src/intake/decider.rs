//! Deciding, whichever door asks: one value for each worker, so that what it counts is shared with nobody.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tonic::Status;

use crate::clock;
use crate::decision_log::{DecisionLog, Logged};
use crate::freshness::{Freshness, ToldFreshness};
use crate::intake::counters::{DecisionCounters, TIMED_EVERY};
use crate::intake::explainers::Explainers;
use crate::intake::handover::{Dispatched, Handover};
use crate::intake::recent::{self, RecentDecisions, Sample};
use crate::state::shadow::COMPARED_EVERY;
use crate::state::{NO_POLICY, Published, State};
use crate::trace::context::{Caller, TraceContext};
use crate::trace::{Traced, Traces};
use crate::wire::answer::Envelope;
use crate::wire::limiter::Limiter;
use crate::wire::proto::DecideRequest;
use crate::wire::question::Question;
use crate::wire::{QueryBuffer, QueryRoom, WireError};
use tradewind_engine::decision::Decision;
use tradewind_engine::evaluate::{Behind, Evaluation, Verdict, evaluate, evaluate_in};
use tradewind_engine::freshness::Fresh;
use tradewind_engine::freshness::floors::NodeFloors;
use tradewind_engine::geo::place::Place;
use tradewind_engine::locate::locate_in;
use tradewind_engine::model::LaneIndex;
use tradewind_engine::query::Query;
use tradewind_engine::signal::observation::DecisionNumber;
use tradewind_engine::snapshot::Snapshot;

/// Answers decisions on one worker.
#[derive(Debug, Clone)]
pub struct Decider {
    shared: Arc<Shared>,
    /// Where decisions are written down, if anywhere.
    log: Option<Arc<DecisionLog>>,
    /// Where spans are made of them, if anywhere.
    traces: Option<Arc<Traces>>,
    /// Those who may have some explained; of all workers, where it is told of them.
    explainers: Arc<Explainers>,
}

#[derive(Debug)]
struct Shared {
    state: Arc<State>,
    counters: Arc<DecisionCounters>,
    recent: Arc<RecentDecisions>,
    handover: Arc<Handover>,
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
    /// A decider for worker number `worker`, whose decisions go to `handover`. `instance` is a number unlike those of other
    /// processes. A worker has one, however many doors it serves: its ids must not come twice.
    pub fn new(
        state: Arc<State>,
        counters: Arc<DecisionCounters>,
        recent: Arc<RecentDecisions>,
        handover: Arc<Handover>,
        (instance, worker): (u16, usize),
    ) -> Self {
        let id_prefix = (u64::from(instance) << 48) | ((worker as u64 & 0xff) << 40);
        Self {
            shared: Arc::new(Shared {
                state,
                counters,
                recent,
                handover,
                id_prefix,
                decisions: AtomicU64::new(0),
            }),
            log: None,
            traces: None,
            explainers: Arc::default(),
        }
    }

    /// The same decider, whose decisions are written down.
    #[must_use]
    pub fn logging(self, log: Option<Arc<DecisionLog>>) -> Self {
        Self { log, ..self }
    }

    /// The same decider, of whose decisions spans are made.
    #[must_use]
    pub fn tracing(self, traces: Option<Arc<Traces>>) -> Self {
        Self { traces, ..self }
    }

    /// The same decider, which explains to these together with others.
    #[must_use]
    pub fn explaining_to(self, explainers: Arc<Explainers>) -> Self {
        Self { explainers, ..self }
    }

    /// Those who have something explained.
    pub fn explainers(&self) -> &Explainers {
        &self.explainers
    }

    /// Whether spans are made of decisions: then it is worth to look for what a request is part of.
    pub fn is_tracing(&self) -> bool {
        self.traces.is_some()
    }

    /// Runs `ask` on the snapshot in force, loaded once; `None` before the first good policy.
    pub fn on_published<T>(&self, ask: impl FnOnce(&Arc<Published>) -> T) -> Option<T> {
        self.shared.state.published.load().as_ref().map(ask)
    }

    /// Counts a request that came before the first good policy.
    pub fn count_too_early(&self) {
        self.shared.counters.count_too_early();
    }

    /// The same, and what it is refused with.
    pub fn too_early(&self) -> Status {
        self.count_too_early();
        Status::failed_precondition(NO_POLICY)
    }

    /// What the ids of this process's decisions begin with.
    pub fn instance(&self) -> u16 {
        let [high, low, ..] = self.shared.id_prefix.to_be_bytes();
        u16::from_be_bytes([high, low])
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
        WireError::of(request, faults, published.snapshot.reading())
    }

    /// Decides one request, counts and samples it, and gives what `answer` makes of it.
    pub fn decide_on<A>(
        &self,
        published: &Arc<Published>,
        question: &Question<'_>,
        caller: Caller<'_>,
        answer: impl FnOnce(&Ruling<'_>) -> A,
    ) -> Result<A, WireError> {
        let shared = &*self.shared;
        // One worker counts, so a load and a store are enough.
        let number = shared.decisions.load(Ordering::Relaxed);
        shared.decisions.store(number + 1, Ordering::Relaxed);
        let is_timed = number.is_multiple_of(TIMED_EVERY);
        let watch = self.watch(number, published, caller, question);
        let started = (is_timed || watch.is_timed).then(clock::now);
        let id_number = shared.id_prefix | (number & (DecisionNumber::COPY - 1));
        let id = shared.state.receipts.key().id(id_number);
        // A dry run uses nothing up.
        let limiter = (!question.dry_run).then_some(&shared.state.limiter);
        let world = World {
            published,
            limiter,
            freshness: &shared.state.freshness,
        };
        let decided = decide(&world, question, id.as_str(), answer);
        let (evaluation, freshness, answer) = match decided {
            Ok(decided) => decided,
            Err(error) => {
                shared.counters.count_rejected();
                return Err(error);
            }
        };
        let took = started.as_ref().map(Instant::elapsed);
        if is_timed && let Some(took) = took {
            shared.counters.time(took);
        }
        if !question.dry_run {
            let made = Made {
                number,
                id_number,
                id: id.as_str(),
                published,
                question,
                caller,
                is_followed: watch.is_followed,
                took,
                freshness,
            };
            self.hand_on(&made, evaluation);
        }
        Ok(answer)
    }

    /// What is to be known of a decision beforehand, so that a span can be made of it; nothing where none are made.
    fn watch(
        &self,
        number: u64,
        published: &Published,
        caller: Caller<'_>,
        question: &Question<'_>,
    ) -> Watch {
        if self.traces.is_none() {
            return Watch::default();
        }
        let parent = caller.parent(question);
        let is_followed = parent.is_some_and(|parent| parent.is_sampled());
        let ratio = published.snapshot.policy().sample_ratio();
        Watch {
            is_followed,
            is_timed: is_followed || recent::is_sampled(number, ratio, true),
        }
    }

    /// Counts a decision, and hands it to whoever wants it.
    fn hand_on(&self, made: &Made<'_>, evaluation: Evaluation) {
        let shared = &*self.shared;
        let (published, number) = (made.published, made.number);
        let decision = Decision::new(&published.snapshot, &evaluation);
        shared
            .counters
            .count(&decision, published.rows_of(evaluation.lane));
        let is_compared = published.candidate.is_some() && number.is_multiple_of(COMPARED_EVERY);
        if published.candidate.is_some() {
            let is_refused_alone = || is_routed_by_the_other(published, made.question, &evaluation);
            shared.handover.lanes.count(&evaluation, is_refused_alone);
        }
        if let Some(dispatched) = dispatched(published, &decision, made.id_number) {
            shared.handover.dispatched(dispatched);
        }
        let ratio = published.snapshot.policy().sample_ratio();
        let purity = decision.purity();
        if let Some(log) = &self.log
            && log.wants(
                recent::is_sampled(number, ratio, false),
                evaluation.verdict,
                purity,
            )
        {
            log.offer(Logged {
                decision_id: made.id.to_owned(),
                request: made.question.message(),
                evaluation: evaluation.clone(),
                published: Arc::clone(published),
            });
        }
        let notable = recent::is_notable(evaluation.verdict, purity);
        let is_kept = recent::is_sampled(number, ratio, notable);
        if let Some(traces) = &self.traces
            && (is_kept || made.is_followed)
        {
            traces.offer(|| made.traced(&evaluation));
        }
        if is_kept || is_compared {
            shared.recent.offer(Sample {
                decision_id: made.id.to_owned(),
                request: made.question.message(),
                parent: if is_kept { made.parent() } else { None },
                evaluation,
                freshness: made.freshness,
                published: Arc::clone(published),
                is_kept,
                is_compared,
            });
        }
    }
}

/// What is to be known of a decision before it is made.
#[derive(Debug, Clone, Copy, Default)]
struct Watch {
    /// Whether its caller records the trace that it is part of.
    is_followed: bool,
    /// Whether a span may be made of it.
    is_timed: bool,
}

/// A decision that was made, but for its outcome.
struct Made<'a> {
    number: u64,
    id_number: u64,
    id: &'a str,
    published: &'a Arc<Published>,
    question: &'a Question<'a>,
    caller: Caller<'a>,
    is_followed: bool,
    /// Where it was timed.
    took: Option<Duration>,
    freshness: ToldFreshness,
}

/// What a request is decided on.
struct World<'a> {
    published: &'a Published,
    limiter: Option<&'a Limiter>,
    freshness: &'a Freshness,
}

impl Made<'_> {
    /// What its caller says that it is part of.
    fn parent(&self) -> Option<TraceContext> {
        self.caller.parent(self.question)
    }

    #[cold]
    fn traced(&self, evaluation: &Evaluation) -> Traced {
        Traced {
            decision_id: self.id.to_owned(),
            request: self.question.message(),
            evaluation: evaluation.clone(),
            published: Arc::clone(self.published),
            parent: self.parent(),
            ended_unix_ns: clock::unix_ns(),
            took: self.took.unwrap_or_default(),
        }
    }
}

fn decide<A>(
    world: &World<'_>,
    question: &Question<'_>,
    id: &str,
    answer: impl FnOnce(&Ruling<'_>) -> A,
) -> Result<(Evaluation, ToldFreshness, A), WireError> {
    let published = world.published;
    let (mut room, mut buffer) = (QueryRoom::default(), QueryBuffer::default());
    let reading = published.snapshot.reading();
    let query = buffer.read_question(question, &mut room, reading)?;
    let mut evaluation = evaluate(&published.snapshot, &query);
    let mut fresh = {
        let decision = Decision::new(&published.snapshot, &evaluation);
        world.freshness.of(&decision, &query)
    };
    if let Some(floors) = world.freshness.floors_below(fresh) {
        evaluation = past(published, &query, evaluation, fresh, &floors).0;
    }
    if let Some(limiter) = world.limiter {
        limiter.check(clock::now, (&published.snapshot, &query), &mut evaluation);
    }
    let mut envelope = envelope(published, question, evaluation.lane, id);
    if question.want_place {
        envelope.known_place = known_place(&published.snapshot, &query);
    }
    let decision = Decision::new(&published.snapshot, &evaluation);
    // Nobody is told of what is not served.
    if decision.evaluation().verdict == Verdict::Route {
        envelope.is_freshness_known = world.freshness.is_known();
    } else {
        fresh = Fresh::default();
    }
    envelope.fresh = fresh;
    let told = ToldFreshness {
        fresh,
        is_known: envelope.is_freshness_known,
    };
    let answer = answer(&Ruling {
        decision,
        envelope,
        published,
        query: &query,
    });
    Ok((evaluation, told, answer))
}

/// Decides again without nodes that have not done the purge that the object's version is.
#[cold]
pub(super) fn past(
    published: &Published,
    query: &Query<'_>,
    evaluation: Evaluation,
    fresh: Fresh,
    floors: &NodeFloors,
) -> (Evaluation, Behind) {
    let topology = published.snapshot.topology();
    let located = locate_in(&published.snapshot, evaluation.lane, query);
    evaluation.past(&published.snapshot, query, located, |node| {
        floors.is_behind(&topology.node(node).id, fresh.version)
    })
}

/// Whether the lane that did not decide a request would name nodes for it. What both refuse is refused for good reason, and may
/// be most of what one of the two gets: a path that a rule refuses is one object.
#[cold]
fn is_routed_by_the_other(
    published: &Published,
    question: &Question<'_>,
    evaluation: &Evaluation,
) -> bool {
    let (mut room, mut buffer) = (QueryRoom::default(), QueryBuffer::default());
    let snapshot = &published.snapshot;
    let query = buffer.read_question(question, &mut room, snapshot.reading());
    let [first, second] = LaneIndex::BOTH;
    let other = if evaluation.lane == first {
        second
    } else {
        first
    };
    query.is_ok_and(|query| evaluate_in(snapshot, other, &query).verdict == Verdict::Route)
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
    Some(Dispatched {
        fleet: published.revision,
        dispatch: decision.dispatch(DecisionNumber::of(id))?,
        affinity: decision.tier()?.affinity,
    })
}

/// What an answer says beside its decision, with nothing of freshness and places yet.
pub(super) fn envelope<'a>(
    published: &'a Published,
    question: &Question<'a>,
    lane: LaneIndex,
    decision_id: &'a str,
) -> Envelope<'a> {
    Envelope {
        request_id: question.request_id,
        decision_id,
        revision: published.revision,
        policy_digest: published.digest_of(lane),
        freshness_floor: question.object_version_floor,
        fresh: Fresh::default(),
        is_freshness_known: true,
        known_place: None,
    }
}
