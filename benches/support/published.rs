//! A snapshot as the writer publishes it.

use std::sync::Arc;

use tradewind::engine::edition::Texts;
use tradewind::engine::snapshot::Snapshot;
use tradewind::sidecar::state::Published;
use tradewind::sidecar::state::rows::Rows;
use tradewind::sidecar::wire::answer::EncodedNodes;

/// A snapshot with what answers need beside it.
pub(crate) fn publish(snapshot: Snapshot) -> Published {
    Published {
        revision: 1,
        policy_digest: snapshot.policy().digest().short(),
        nodes: Arc::new(EncodedNodes::new(snapshot.topology())),
        rows: Rows {
            pools: vec![2; snapshot.routing().pools().len()],
            rules: Vec::new(),
            decided: vec![2; 64],
        },
        candidate: None,
        texts: Texts::default(),
        snapshot,
    }
}
