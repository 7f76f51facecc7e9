//! Decisions that are made for people to look at: neither counted nor kept.

use crate::intake::decider;
use crate::state::{Published, State};
use crate::view::FleetView;
use crate::view::home;
use crate::wire::answer;
use crate::wire::proto::{DecideRequest, ExplainResponse};
use crate::wire::question::Question;
use crate::wire::{QueryBuffer, QueryRoom, WireError, explanation};
use tradewind_engine::decision::Decision;
use tradewind_engine::evaluate::{Behind, evaluate};
use tradewind_engine::explanation::Explanation;
use tradewind_engine::freshness::Fresh;
use tradewind_engine::hash::KeyHash;

/// What is known of the freshness of the object that a request asks for.
#[derive(Debug)]
pub struct SeenObject {
    /// What may be served of it.
    pub fresh: Fresh,
    /// The hashes of everything that a purge of which would cover it.
    pub covering: Vec<KeyHash>,
    /// The namespace that it is looked for in; empty for none.
    pub namespace: String,
    /// The content class that its rule says it is of; empty for none.
    pub class: String,
    /// How long caches may keep it, in ms; `None` for what its origin says.
    pub cache_ttl_ms: Option<u32>,
    /// Why, where that follows how often it changes.
    pub cache_ttl_why: Option<String>,
}

/// Looks at the object that a request asks for, as one of `namespace` or of what its rule says; nothing is counted or kept.
pub fn see_object(
    state: &State,
    published: &Published,
    request: &DecideRequest,
    namespace: Option<&str>,
) -> Result<SeenObject, WireError> {
    let (mut room, mut buffer) = (QueryRoom::default(), QueryBuffer::default());
    let question = Question::of(request);
    let reading = published.snapshot.reading();
    let query = buffer.read_question(&question, &mut room, reading)?;
    let evaluation = evaluate(&published.snapshot, &query);
    let decision = Decision::new(&published.snapshot, &evaluation);
    let namespace = namespace.unwrap_or_else(|| decision.namespace());
    let (fresh, covering) = state.freshness.seen_in(namespace, &decision, &query);
    Ok(SeenObject {
        fresh,
        covering,
        namespace: namespace.to_owned(),
        class: decision.class().to_owned(),
        cache_ttl_ms: decision.cache_ttl_ms(),
        cache_ttl_why: decision.lifetime().map(|it| it.to_string()),
    })
}

/// Decides and explains a request.
pub fn explain(
    state: &State,
    published: &Published,
    view: &FleetView,
    request: &DecideRequest,
) -> Result<ExplainResponse, WireError> {
    let (mut room, mut buffer) = (QueryRoom::default(), QueryBuffer::default());
    let question = Question::of(request);
    let reading = published.snapshot.reading();
    let query = buffer.read_question(&question, &mut room, reading)?;
    let mut evaluation = evaluate(&published.snapshot, &query);
    let fresh = {
        let decision = Decision::new(&published.snapshot, &evaluation);
        state.freshness.of(&decision, &query)
    };
    let mut behind = Behind::new();
    if let Some(floors) = state.freshness.floors_below(fresh) {
        (evaluation, behind) = decider::past(published, &query, evaluation, fresh, &floors);
    }
    let decision = Decision::new(&published.snapshot, &evaluation);
    let why = Explanation::past(&published.snapshot, &query, &evaluation, &behind);
    let mut envelope = decider::envelope(published, &question, evaluation.lane, "");
    envelope.fresh = fresh;
    let times = home::times(view, &published.snapshot, evaluation.home);
    let mut explanation = explanation(&decision, &why, times);
    if fresh != Fresh::default() {
        let covering = decision.covering(&query);
        let sentences = state.freshness.records(|it| it.sentences(fresh, &covering));
        explanation.summary.extend(sentences);
    }
    let topology = published.snapshot.topology();
    let names = behind.iter().map(|node| &*topology.node(*node).id);
    let names: Vec<&str> = names.collect();
    if !names.is_empty() {
        let names = names.join(", ");
        let words = format!("{names} left out: the purge is not done there yet");
        explanation.summary.push(words);
    }
    let lifetime = decision.lifetime();
    explanation
        .summary
        .extend(lifetime.map(|it| it.to_string()));
    Ok(ExplainResponse {
        decision: Some(answer::message(&decision, &envelope)),
        explanation: Some(explanation),
    })
}
