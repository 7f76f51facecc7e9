//! Decisions made again, on what they were made on.

use std::sync::Arc;

use crate::engine::decision::Decision;
use crate::engine::edition::{Edition, Known, Names, Texts, Which};
use crate::engine::evaluate::Evaluation;
use crate::engine::freshness::Fresh;
use crate::engine::snapshot::Snapshot;
use crate::sidecar::decision_log::least::{self, evaluate_known};
use crate::sidecar::decision_log::reader::Reader;
use crate::sidecar::decision_log::record::{Asked, Decided, decoded};
use crate::sidecar::wire::answer::{self, Envelope};
use crate::sidecar::wire::follow::rebuild::Rebuilding;
use crate::sidecar::wire::follow::{StateFault, read_state};
use crate::sidecar::wire::proto::{DecideRequest, DecideResponse, FollowedState};
use crate::sidecar::wire::{QueryBuffer, QueryRoom};

/// What decisions are made on: rebuilt when the log says that something has changed.
#[derive(Debug, Default)]
pub(super) struct Again {
    rebuilding: Rebuilding,
    edition: Option<Edition>,
    ground: Option<Ground>,
}

/// What the last decision was made on.
#[derive(Debug)]
struct Ground {
    state: Arc<FollowedState>,
    snapshot: Snapshot,
    policy_digest: String,
}

/// A decision that was made again.
pub(super) struct Made {
    /// What was asked, as far as it was kept.
    pub(super) request: DecideRequest,
    /// What was known of the client.
    pub(super) known: least::Known,
    /// What was answered then.
    pub(super) given: DecideResponse,
    /// What is answered now.
    pub(super) answer: DecideResponse,
}

/// Why a decision cannot be made again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    /// Its line is broken.
    #[error("is not as it was written")]
    Broken,
    /// A text is missing.
    #[error("builds upon a {0} that is not in the log")]
    NoText(Which),
    /// A text cannot be used here.
    #[error("builds upon a {0} that this program refuses: {1}")]
    Refused(Which, String),
    /// The state cannot be read.
    #[error("builds upon a state that cannot be read: {0}")]
    State(#[from] StateFault),
    /// The request is one that this program refuses.
    #[error("was asked something that this program refuses: {0}")]
    Request(String),
}

impl Again {
    /// Makes a decision again.
    pub(super) fn make(
        &mut self,
        decided: &Decided,
        asked: &Asked,
        ground: (&Arc<FollowedState>, &Reader),
    ) -> Result<Made, Fault> {
        let (request, known) = asked.read().ok_or(Fault::Broken)?;
        let given: DecideResponse = decoded(&decided.answer).ok_or(Fault::Broken)?;
        let ground = self.on(ground)?;
        let evaluate = |evaluation: &Evaluation| {
            let envelope = Envelope {
                request_id: &request.request_id,
                decision_id: &decided.id,
                revision: ground.state.revision,
                policy_digest: &ground.policy_digest,
                freshness_floor: request.object_version_floor,
                fresh: Fresh::default(),
                is_freshness_known: true,
                known_place: None,
            };
            answer::message(&Decision::new(&ground.snapshot, evaluation), &envelope)
        };
        let answer = decide(&ground.snapshot, (&request, &known), evaluate);
        let answer = answer.map_err(Fault::Request)?;
        Ok(Made {
            request,
            known,
            given,
            answer,
        })
    }

    /// The edition and the snapshot of the last decision.
    pub(super) fn last(&self) -> Option<(&Edition, &Snapshot)> {
        Some((self.edition.as_ref()?, &self.ground.as_ref()?.snapshot))
    }

    /// What is to be decided on in this state.
    fn on(&mut self, (state, reader): (&Arc<FollowedState>, &Reader)) -> Result<&Ground, Fault> {
        let is_same = |ground: &Ground| Arc::ptr_eq(&ground.state, state);
        if !self.ground.as_ref().is_some_and(is_same) {
            let told = read_state(state)?;
            let edition = self.edition(state, reader)?;
            let policy_digest = edition.policy().digest().short();
            let before = self.ground.as_ref().map(|ground| &ground.snapshot);
            let snapshot = self.rebuilding.next(&edition, &told, before);
            self.ground = Some(Ground {
                state: Arc::clone(state),
                snapshot: snapshot.map_err(Fault::NoText)?,
                policy_digest,
            });
            self.edition = Some(edition);
        }
        self.ground.as_ref().ok_or(Fault::Broken)
    }

    /// The texts of a state, compiled; the last edition where they are the same.
    fn edition(&self, state: &FollowedState, reader: &Reader) -> Result<Edition, Fault> {
        let text = |which, digest: &str| {
            let text = reader.text(digest).map(Arc::clone);
            text.ok_or(Fault::NoText(which))
        };
        let texts = Texts {
            policy: text(Which::Policy, &state.policy_digest)?,
            topology: text(Which::Topology, &state.topology_digest)?,
        };
        let known = Known {
            reuse: self.edition.as_ref(),
            was_in_force: true,
        };
        let names = Names::new(Which::Policy.name(), Which::Topology.name());
        Edition::compile(&texts, &names, known).map_err(|refused| {
            let lines = refused.findings.to_lines();
            Fault::Refused(refused.which, lines.into_iter().next().unwrap_or_default())
        })
    }
}

/// Decides what was asked on a snapshot, and makes something of that; or the words of why it is refused.
pub(super) fn decide<T>(
    snapshot: &Snapshot,
    (request, known): (&DecideRequest, &least::Known),
    and_then: impl FnOnce(&Evaluation) -> T,
) -> Result<T, String> {
    let (mut room, mut buffer) = (QueryRoom::default(), QueryBuffer::default());
    let reading = snapshot.routing().reading();
    let query = buffer.read(request, &mut room, reading);
    let query = query.map_err(|error| error.to_string())?;
    Ok(and_then(&evaluate_known(snapshot, &query, known)))
}
