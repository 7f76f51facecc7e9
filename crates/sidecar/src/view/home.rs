//! Since when a key's home is out, and when it is tried again: what the control loop's view adds to an explanation.

use std::sync::Arc;

use crate::view::FleetView;
use crate::wire::HomeTimes;
use tradewind_engine::model::NodeIndex;
use tradewind_engine::snapshot::Snapshot;

/// What `view` knows of the node that a key is at home at.
pub fn times(view: &FleetView, snapshot: &Snapshot, home: Option<NodeIndex>) -> HomeTimes {
    let fleet = view.topology.as_ref();
    let is_same = fleet.is_some_and(|fleet| Arc::ptr_eq(fleet, &snapshot.parts().topology));
    let node = home
        .filter(|_| is_same)
        .and_then(|home| view.nodes.get(home.get()));
    node.map_or_else(HomeTimes::default, |node| HomeTimes {
        since_ms: Some(node.since_ms),
        retry_ms: node.breaker.open_for_ms,
        cause: (node.breaker.number > 0).then_some(node.breaker.cause),
    })
}
