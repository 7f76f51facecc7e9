//! Snapshots put together again from what was told of them: by followers, and by those who replay a log.

use std::sync::Arc;

use super::SidecarState;
use tradewind_engine::edition::{Edition, Which};
use tradewind_engine::geo::ranges::Ranges;
use tradewind_engine::model::AdminState;
use tradewind_engine::signal::Signals;
use tradewind_engine::snapshot::{Parts, Snapshot};
use tradewind_engine::topology::{LaidOver, States, Topology};

/// What is taken over from one snapshot to the next.
#[derive(Debug, Default)]
pub struct Rebuilding {
    in_states: LaidOver,
    /// Where clients are comes with their requests; always the same value, so that tables made for it are taken over.
    no_geo: Arc<Ranges>,
}

impl Rebuilding {
    /// The next snapshot, after `before`: of this edition, as `told`. Which text is another one than that of the state, if
    /// one is.
    pub fn next(
        &mut self,
        edition: &Edition,
        told: &SidecarState,
        before: Option<&Snapshot>,
    ) -> Result<Snapshot, Which> {
        if edition.topology().digest().to_string() != told.topology_digest {
            return Err(Which::Topology);
        }
        if edition.policy().digest().to_string() != told.policy_digest {
            return Err(Which::Policy);
        }
        let states = stricter(edition.topology(), &told.node_states);
        let parts = Parts {
            topology: self.in_states.of(edition.topology(), states),
            policy: Arc::clone(edition.policy()),
            candidate: None,
            geo: Arc::clone(&self.no_geo),
            geo_state: told.geo_state,
            here: told.here,
            signals: Arc::new(versioned(told, before.map(Snapshot::signals))),
        };
        Ok(Snapshot::build(told.generation, parts, before))
    }
}

/// The nodes that are in a stricter state than the topology says, of the states of all in its order.
fn stricter(topology: &Topology, states: &[AdminState]) -> States {
    let nodes = topology.nodes().iter().zip(states);
    let stricter = nodes.filter(|(node, state)| node.state < **state);
    stricter
        .map(|(node, state)| (node.id.clone(), *state))
        .collect()
}

/// The signals that were told, with versions that change when what they stand for does: the sidecar's own count would
/// begin anew when it is restarted.
fn versioned(told: &SidecarState, before: Option<&Signals>) -> Signals {
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
