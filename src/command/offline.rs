//! Decisions without a sidecar: the same engine and the same messages, in this process.

use super::CommandError;
use super::request::RequestError;
use super::world::World;
use crate::engine::decision::Decision;
use crate::engine::evaluate::Evaluation;
use crate::engine::explanation::Explanation;
use crate::engine::freshness::Fresh;
use crate::sidecar::wire::answer::{self, Envelope};
use crate::sidecar::wire::{self, HomeTimes, proto};

/// The answer that a sidecar with this world would give.
pub(super) fn decide(
    world: &World,
    request: &proto::DecideRequest,
) -> Result<proto::DecideResponse, CommandError> {
    let answer = world.evaluate(request, |_, evaluation| message(world, request, evaluation));
    Ok(answer.map_err(RequestError::from)?)
}

/// The answer and its reasons, as a sidecar with this world would give them.
pub(super) fn explain(
    world: &World,
    request: &proto::DecideRequest,
) -> Result<proto::ExplainResponse, CommandError> {
    let answer = world.evaluate(request, |query, evaluation| {
        let explanation = Explanation::new(&world.snapshot, query, evaluation);
        let decision = Decision::new(&world.snapshot, evaluation);
        proto::ExplainResponse {
            decision: Some(message(world, request, evaluation)),
            explanation: Some(wire::explanation(
                &decision,
                &explanation,
                HomeTimes::default(),
            )),
        }
    });
    Ok(answer.map_err(RequestError::from)?)
}

/// An evaluation as the message a sidecar sends; without a decision id, since nothing keeps it.
pub(super) fn message(
    world: &World,
    request: &proto::DecideRequest,
    evaluation: &Evaluation,
) -> proto::DecideResponse {
    let envelope = Envelope {
        request_id: &request.request_id,
        decision_id: "",
        revision: 1,
        policy_digest: &world.policy_digest,
        freshness_floor: request.object_version_floor,
        fresh: Fresh::default(),
        is_freshness_known: true,
        known_place: None,
    };
    answer::message(&Decision::new(&world.snapshot, evaluation), &envelope)
}
