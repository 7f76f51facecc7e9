//! Metrics of purges: how many, how soon they were in force, and what they take.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use crate::freshness::Freshness;
use tradewind_engine::number::from_u64;

/// Writes all of them.
pub(super) fn encode(freshness: &Freshness, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let counters = freshness.counters();
    let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let help = "Purges in force, by what they ask of what is stored";
    let mut family = encoder.encode_descriptor("purges", help, None, MetricType::Counter)?;
    for (kind, counter) in [("hard", &counters.hard), ("soft", &counters.soft)] {
        ConstCounter::new(of(counter)).encode(family.encode_family(&[("kind", kind)])?)?;
    }
    let counts = [
        ("purge_selectors", "What purges named", &counters.selectors),
        (
            "purges_refused",
            "Purges that were not taken in: over a quota, or too many at once",
            &counters.refused,
        ),
        (
            "purge_entries_widened",
            "Entries that were made wider because there were too many",
            &counters.widened,
        ),
        (
            "purge_entries_forgotten",
            "Entries that no cache can have anything older than",
            &counters.forgotten,
        ),
        (
            "purges_unkept",
            "Purges that could not be written to the log",
            &counters.unkept,
        ),
        (
            "purge_reclaims",
            "Purges that nodes were told of and did",
            &counters.reclaimed,
        ),
        (
            "purge_reclaims_failed",
            "Times that a node was told of a purge and did not do it",
            &counters.reclaims_failed,
        ),
    ];
    for (name, help, counter) in counts {
        let family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        ConstCounter::new(of(counter)).encode(family)?;
    }
    let help = "Time from the calls of purges until decisions saw them, all together";
    let family = encoder.encode_descriptor(
        "purge_in_force",
        help,
        Some(&Unit::Seconds),
        MetricType::Counter,
    )?;
    ConstCounter::new(from_u64(of(&counters.in_force_ns)) / 1e9).encode(family)?;
    let help = "Entries of purges that decisions look among";
    let family = encoder.encode_descriptor("purge_entries", help, None, MetricType::Gauge)?;
    gauge(of(&counters.entries)).encode(family)?;
    let help = "Memory of those entries";
    let family =
        encoder.encode_descriptor("purge_tables", help, Some(&Unit::Bytes), MetricType::Gauge)?;
    gauge(of(&counters.memory_bytes)).encode(family)?;
    let help = "The last purge";
    let family = encoder.encode_descriptor("purge_head", help, None, MetricType::Gauge)?;
    let head = *freshness.heads().borrow();
    gauge(head).encode(family)?;
    behind(freshness, head, encoder)
}

/// How many nodes of each site have not done the last purge, of those that are told.
fn behind(freshness: &Freshness, head: u64, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let help = "Nodes of a site that are told of purges and have not done all of them";
    let name = "purge_behind_nodes";
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    let progress = freshness.progress();
    let mut behind: BTreeMap<&str, u64> = BTreeMap::new();
    for node in &progress.nodes {
        *behind.entry(&node.site).or_default() += u64::from(node.floor < head);
    }
    for (site, count) in behind {
        gauge(count).encode(family.encode_family(&[("site", site)])?)?;
    }
    Ok(())
}

fn gauge(value: u64) -> ConstGauge<i64> {
    ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX))
}
