//! What the control loop knows and did, as metrics. Labels come from the topology, the policy and closed enums.

use std::fmt;
use std::sync::atomic::Ordering;

use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use crate::observe::{nodes, sites};
use crate::probe::ProbeCounters;
use crate::view::{FleetView, PoolView};
use tradewind_engine::number::from_u64;

/// Writes all families.
pub fn encode(
    view: &FleetView,
    probes: &ProbeCounters,
    encoder: &mut DescriptorEncoder<'_>,
) -> fmt::Result {
    if let Some(topology) = &view.topology {
        nodes::encode(view, topology, encoder)?;
        sites::encode(view, topology, encoder)?;
    }
    encode_transitions(view, encoder)?;
    encode_pools(view, encoder)?;
    encode_disruption(view, encoder)?;
    view.hearing.encode(encoder)?;
    encode_probes(probes, encoder)
}

fn encode_transitions(view: &FleetView, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let help = "Changes of breakers, by node, new state and cause";
    let mut family =
        encoder.encode_descriptor("breaker_transitions", help, None, MetricType::Counter)?;
    for ((node, to, cause), count) in &view.transitions {
        let labels = [("node", &**node), ("to", *to), ("cause", *cause)];
        ConstCounter::new(*count).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

/// A gauge for each pool, and for each part of one that a rule may use.
fn by_pool(
    encoder: &mut DescriptorEncoder<'_>,
    (name, help): (&str, &str),
    view: &FleetView,
    value: impl Fn(&PoolView) -> f64,
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (pool, known) in &view.pools {
        let labels = [("pool", pool.as_str())];
        ConstGauge::new(value(known)).encode(family.encode_family(&labels)?)?;
    }
    for part in &view.parts {
        let labels = [("pool", part.pool.as_str()), ("rule", part.rule.as_str())];
        ConstGauge::new(value(&part.view)).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

fn encode_pools(view: &FleetView, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let rung = "How far a pool's nodes, or those of it that a rule may use, are readmitted: 0 not, 1 unknown, 2 overloaded, 3 half open, 4 not enough is left";
    by_pool(encoder, ("degradation_rung", rung), view, |pool| {
        f64::from(pool.readmission.step)
    })?;
    let ready = "Nodes of a pool, or those of it that a rule may use, that decisions use for all of their keys";
    by_pool(encoder, ("pool_ready_nodes", ready), view, |pool| {
        from_u64(pool.used.ready_nodes as u64)
    })?;
    let spill = "Mean share of a pool's keys that go to the next node in their order";
    by_pool(encoder, ("spill_ratio", spill), view, |pool| {
        pool.spill_ratio
    })?;
    let hot = "Keys that several nodes carry";
    by_pool(encoder, ("hot_keys", hot), view, |pool| {
        from_u64(pool.hot_keys as u64)
    })?;
    let help = "Objects that fail, or are slow, wherever they are asked for; 64 are told apart";
    let mut family = encoder.encode_descriptor("failing_objects", help, None, MetricType::Gauge)?;
    for how in ["failing", "slow"] {
        let count = view.failing.iter().filter(|object| object.how == how);
        let count = i64::try_from(count.count()).unwrap_or(i64::MAX);
        ConstGauge::new(count).encode(family.encode_family(&[("how", how)])?)?;
    }
    let help = "Failures that were known at once to be an object's, and count at no node";
    let family = encoder.encode_descriptor("object_failures", help, None, MetricType::Counter)?;
    ConstCounter::new(view.object_failures).encode(family)?;
    let help = "Age of the youngest signal of each kind";
    let unit = Some(&Unit::Seconds);
    let mut family = encoder.encode_descriptor("signal_age", help, unit, MetricType::Gauge)?;
    for (signal, ms) in &view.ages_ms {
        let seconds = from_u64(*ms) / 1_000.0;
        ConstGauge::new(seconds).encode(family.encode_family(&[("signal", *signal)])?)?;
    }
    Ok(())
}

fn encode_disruption(view: &FleetView, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let (last, totals) = view.disruption;
    let gauges = [
        (
            "probe_moved_ratio",
            "Probe keys that the last publication moved",
            last.moved,
        ),
        (
            "probe_moved_minimum_ratio",
            "The least it had to move",
            last.minimum,
        ),
        (
            "isolated",
            "1 while this sidecar seems cut off and verdicts are frozen",
            f64::from(u8::from(view.isolated)),
        ),
    ];
    for (name, help, value) in gauges {
        let family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        ConstGauge::new(value).encode(family)?;
    }
    let help = "Probe keys moved by all publications, each as a share, by what moved them";
    let mut family =
        encoder.encode_descriptor("probe_moved_ratio_sum", help, None, MetricType::Counter)?;
    for (cause, ratio) in totals.causes() {
        let labels = [("cause", cause.name())];
        ConstCounter::new(ratio).encode(family.encode_family(&labels)?)?;
    }
    let counters = [
        (
            "probe_moved_minimum_ratio_sum",
            "The least that all publications had to move",
            totals.minimum,
        ),
        (
            "probe_moved_excess_ratio_sum",
            "Probe keys moved without need; more than 0 is a fault of this program",
            totals.excess,
        ),
    ];
    for (name, help, value) in counters {
        let family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        ConstCounter::new(value).encode(family)?;
    }
    Ok(())
}

fn encode_probes(probes: &ProbeCounters, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let help = "Active probes of nodes, by result; `local` ones failed for a reason of our own and are not believed";
    let mut family = encoder.encode_descriptor("probes", help, None, MetricType::Counter)?;
    let results = [
        ("healthy", &probes.healthy),
        ("refused", &probes.refused),
        ("timeout", &probes.timeout),
        ("status", &probes.status),
        ("protocol", &probes.protocol),
        ("local", &probes.local),
    ];
    for (result, counter) in results {
        let count = ConstCounter::new(counter.load(Ordering::Relaxed));
        count.encode(family.encode_family(&[("result", result)])?)?;
    }
    let help = "Probes that wait because too many are on their way";
    let family = encoder.encode_descriptor("probes_waiting", help, None, MetricType::Gauge)?;
    let waiting = i64::try_from(probes.waiting.load(Ordering::Relaxed)).unwrap_or(i64::MAX);
    ConstGauge::new(waiting).encode(family)
}
