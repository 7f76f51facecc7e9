//! Metrics of each node: what it counts for now, and what was sent to it and came of that.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::view::{FleetView, NodeView};
use tradewind_engine::signal::observation::AttemptResult;
use tradewind_engine::topology::{Node, Topology};

/// Nodes with metrics of their own; of larger fleets the first so many by id. Metrics of sites count the others too, and
/// `/debug/nodes?site=` shows them. Each has eleven series, of some 70 bytes a scrape.
const MAX_NODES: usize = 2_000;

/// A gauge of a node: its name, what it says, and where that is read.
type Gauge = (&'static str, &'static str, fn(&NodeView) -> f64);

/// All gauges.
const GAUGES: [Gauge; 5] = [
    (
        "node_weight_ratio",
        "Share of its capacity that a node races with: condition times ramp; 0 while it is not used for all of its keys",
        |node| f64::from(node.weight_ratio),
    ),
    (
        "breaker_state",
        "A node's breaker: 0 closed, 1 half open, 2 open",
        |node| f64::from(node.breaker.number),
    ),
    (
        "node_headroom_ratio",
        "How much of the hot keys' traffic a node takes, relative to others",
        |node| f64::from(node.headroom),
    ),
    (
        "node_spill_ratio",
        "Share of a node's keys that go to the next in their order",
        |node| node.spill_ratio,
    ),
    (
        "node_shed_ratio",
        "Share of the requests for a node that are turned away because it cannot do all of them",
        |node| node.shed_ratio,
    ),
];

/// Writes all families.
pub(super) fn encode(
    view: &FleetView,
    topology: &Topology,
    encoder: &mut DescriptorEncoder<'_>,
) -> fmt::Result {
    let known = topology.nodes().iter().zip(&view.nodes);
    let nodes: Vec<(&Node, &NodeView)> = known.take(MAX_NODES).collect();
    for (name, help, value) in GAUGES {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (node, view) in &nodes {
            let labels = [("node", &*node.id)];
            ConstGauge::new(value(view)).encode(family.encode_family(&labels)?)?;
        }
    }
    let help = "Requests for which a node was named first";
    let mut family = encoder.encode_descriptor("node_requests", help, None, MetricType::Counter)?;
    for (node, view) in &nodes {
        let labels = [("node", &*node.id)];
        ConstCounter::new(view.totals.sent).encode(family.encode_family(&labels)?)?;
    }
    let help = "Attempts at a node that were told and believed, by result";
    let mut family = encoder.encode_descriptor("node_attempts", help, None, MetricType::Counter)?;
    for (node, view) in &nodes {
        // All results from the start: the rate of a series that appears with its first failure is 0.
        for (result, count) in AttemptResult::ALL.iter().zip(view.totals.attempts) {
            let labels = [("node", &*node.id), ("result", result.name())];
            ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
        }
    }
    Ok(())
}
