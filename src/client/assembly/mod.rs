//! Snapshots put together again from what the sidecar told of its own.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Following;
use crate::engine::decision::Decision;
use crate::engine::evaluate::evaluate_at;
use crate::engine::geo::place::Place;
use crate::engine::geo::ranges::Ranges;
use crate::engine::locate;
use crate::engine::model::AdminState;
use crate::engine::policy::{self, Policy};
use crate::engine::signal::Signals;
use crate::engine::snapshot::{Parts, Snapshot};
use crate::engine::topology::{self, Topology};
use crate::sidecar::store::Texts;
use crate::sidecar::wire::answer::{self, Envelope};
use crate::sidecar::wire::follow::{StateFault, Told, read_state};
use crate::sidecar::wire::{QueryBuffer, QueryRoom, WireError, proto};

/// A copy of the sidecar's snapshot: it decides as the sidecar did when it told of it.
#[derive(Debug)]
pub(super) struct Copied {
    snapshot: Snapshot,
    revision: u64,
    policy_digest: String,
}

impl Copied {
    /// Decides a request of a client of which the sidecar once told what its geo files say.
    pub(super) fn decide(
        &self,
        request: &proto::DecideRequest,
        told: Option<Place>,
    ) -> Result<proto::DecideResponse, WireError> {
        let (mut room, mut buffer) = (QueryRoom::default(), QueryBuffer::default());
        let query = buffer.read(request, &mut room, self.snapshot.policy().reading())?;
        let located = locate::locate_told(&self.snapshot, &query, told);
        let evaluation = evaluate_at(&self.snapshot, &query, located);
        let decision = Decision::new(&self.snapshot, &evaluation);
        Ok(answer::message(
            &decision,
            &Envelope {
                request_id: &request.request_id,
                decision_id: "",
                revision: self.revision,
                policy_digest: &self.policy_digest,
                freshness_floor: request.object_version_floor,
                known_place: None,
            },
        ))
    }

    pub(super) fn following(&self) -> Following {
        Following {
            revision: self.revision,
            generation: self.snapshot.generation(),
            policy_digest: self.snapshot.policy().digest().to_string(),
            topology_digest: self.snapshot.topology().digest().to_string(),
        }
    }
}

/// Why a copy can not be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum CopyFault {
    /// The state can not be read.
    #[error(transparent)]
    State(#[from] StateFault),
    /// A text is not the one that the state belongs to.
    #[error("the {0} that was told is not the one whose digest was told")]
    OtherText(&'static str),
    /// A text does not compile here.
    #[error("the {0} that was told can not be used: {1}")]
    Unusable(&'static str, String),
}

/// What was put together so far; what has not changed is taken over into the next copy.
#[derive(Debug, Default)]
pub(super) struct Assembly {
    texts: Texts,
    compiled: Option<Compiled>,
    /// The cells that round trips are known of, and the table of them.
    geo: Arc<Ranges>,
    before: Option<Arc<Copied>>,
}

#[derive(Debug)]
struct Compiled {
    /// As its text says.
    topology: Arc<Topology>,
    policy: Arc<Policy>,
    /// The topology with the nodes in these states.
    in_states: (Vec<AdminState>, Arc<Topology>),
}

/// Texts that came with a state.
#[derive(Debug, Default)]
pub(super) struct NewTexts {
    pub(super) policy: Option<String>,
    pub(super) topology: Option<String>,
}

impl Assembly {
    /// The digests of the texts that need not be told again.
    pub(super) fn holds(&self) -> proto::FollowRequest {
        let digests = self.compiled.as_ref().map(|compiled| {
            let policy = compiled.policy.digest().to_string();
            (policy, compiled.topology.digest().to_string())
        });
        let (policy_digest, topology_digest) = digests.unwrap_or_default();
        proto::FollowRequest {
            policy_digest,
            topology_digest,
        }
    }

    /// Forgets the texts, so that they are told again; the last copy stays in use.
    pub(super) fn forget(&mut self) {
        *self = Self {
            before: self.before.take(),
            ..Self::default()
        };
    }

    /// The next copy. Compiles texts and builds tables, so it may take a while.
    pub(super) fn next(
        &mut self,
        texts: NewTexts,
        state: &proto::FollowedState,
    ) -> Result<Arc<Copied>, CopyFault> {
        let told = read_state(state)?;
        self.take_texts(texts)?;
        let compiled = self
            .compiled
            .as_mut()
            .ok_or(CopyFault::OtherText("topology"))?;
        if compiled.topology.digest().to_string() != told.topology_digest {
            return Err(CopyFault::OtherText("topology"));
        }
        if compiled.policy.digest().to_string() != told.policy_digest {
            return Err(CopyFault::OtherText("policy"));
        }
        compiled.lay_over(&told.node_states);
        if self.geo.cells() != told.cells {
            self.geo = Arc::new(Ranges::of_cells(told.cells.clone()));
        }
        let before = self.before.as_ref().map(|before| &before.snapshot);
        let parts = Parts {
            topology: Arc::clone(&compiled.in_states.1),
            policy: Arc::clone(&compiled.policy),
            geo: Arc::clone(&self.geo),
            geo_state: told.geo_state,
            here: told.here,
            signals: Arc::new(versioned(&told, before.map(Snapshot::signals))),
        };
        let copied = Arc::new(Copied {
            policy_digest: compiled.policy.digest().short(),
            snapshot: Snapshot::build(told.generation, parts, before),
            revision: told.revision,
        });
        self.before = Some(Arc::clone(&copied));
        Ok(copied)
    }

    /// Compiles what is new.
    fn take_texts(&mut self, texts: NewTexts) -> Result<(), CopyFault> {
        if texts.policy.is_none() && texts.topology.is_none() {
            return Ok(());
        }
        let known = self.compiled.take().filter(|_| texts.topology.is_none());
        if let Some(policy) = texts.policy {
            self.texts.policy = policy;
        }
        if let Some(topology) = texts.topology {
            self.texts.topology = topology;
        }
        let topology = if let Some(known) = known {
            known.topology
        } else {
            let compiled = topology::compile("topology", &self.texts.topology);
            let faults = || compiled.diagnostics.to_lines().join("; ");
            let topology = compiled.topology;
            Arc::new(topology.ok_or_else(|| CopyFault::Unusable("topology", faults()))?)
        };
        let compiled = policy::compile("policy", &self.texts.policy, &topology);
        let faults = || compiled.diagnostics.to_lines().join("; ");
        let policy = compiled.policy;
        let policy = policy.ok_or_else(|| CopyFault::Unusable("policy", faults()))?;
        self.compiled = Some(Compiled {
            in_states: (Vec::new(), Arc::clone(&topology)),
            topology,
            policy: Arc::new(policy),
        });
        Ok(())
    }
}

impl Compiled {
    /// Puts nodes into the states that hold; the same table as before where they do already.
    fn lay_over(&mut self, states: &[AdminState]) {
        if self.in_states.0 == states {
            return;
        }
        let nodes = self.topology.nodes().iter().zip(states);
        let stricter = nodes.filter(|(node, state)| node.state < **state);
        let named: BTreeMap<_, _> = stricter
            .map(|(node, state)| (node.id.clone(), *state))
            .collect();
        self.in_states = (states.to_vec(), Arc::new(self.topology.with_states(&named)));
    }
}

/// The signals that were told, with versions that change when what they stand for does: the sidecar's own count would
/// begin anew when it is restarted.
fn versioned(told: &Told, before: Option<&Signals>) -> Signals {
    let mut signals = told.signals.clone();
    let Some(before) = before else {
        return signals;
    };
    let weights = |signals: &Signals| -> Vec<_> {
        let nodes = signals.nodes.iter();
        nodes.map(|n| (n.admission, n.weight_factor)).collect()
    };
    let same_weights = weights(&signals) == weights(before);
    let same_terms = signals.standing == before.standing;
    signals.weights_version = before.weights_version + u64::from(!same_weights);
    signals.terms_version = before.terms_version + u64::from(!same_terms);
    signals
}

#[cfg(test)]
mod tests;
