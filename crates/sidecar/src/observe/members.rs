//! Metrics of a sidecar's place in its fleet: there are none where it is alone.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::fleet::{self, Fleet};
use crate::freshness::Freshness;
use tradewind_engine::fleet::member;
use tradewind_engine::fleet::waves::Standing;
use tradewind_engine::number::from_u64;
use tradewind_engine::signal::Admission;

/// Writes all of them.
pub(super) fn encode(
    fleet: &Fleet,
    freshness: &Freshness,
    encoder: &mut DescriptorEncoder<'_>,
) -> fmt::Result {
    let now = fleet.now();
    let (standing, left) = fleet.member(|member| {
        let facts = member.facts().nodes.values();
        let left = facts.filter(|fact| fact.verdict != Admission::Admitted);
        (member.standing(now), left.count())
    });
    let chair = fleet.chair();
    let yes = |is: bool| f64::from(u8::from(is));
    let gauges = [
        (
            "fleet_bus_up",
            "Whether the bus of the fleet is reached and can be used",
            yes(fleet.standing().0 == fleet::Standing::Up),
        ),
        (
            "fleet_purges_unknown",
            "Whether others may have purged something that was not heard here, so that answers say that freshness is unknown",
            yes(!freshness.is_known()),
        ),
        (
            "fleet_chair",
            "Whether this sidecar has the chair of its fleet",
            yes(chair.is_me),
        ),
        (
            "fleet_epoch",
            "The time in office of the chair that was heard last; larger ones are later",
            from_u64(chair.epoch),
        ),
        (
            "fleet_left_nodes",
            "Nodes that the fleet has left, or tries with a slice of their keys",
            from_u64(left as u64),
        ),
    ];
    for (name, help, value) in gauges {
        let family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        ConstGauge::new(value).encode(family)?;
    }
    let help = "How far the chair's word counts here: it is heard, it has been silent, or this sidecar acts alone";
    let mut family = encoder.encode_descriptor("fleet_following", help, None, MetricType::Gauge)?;
    let kinds = [
        ("chair", member::Standing::Following),
        ("held", member::Standing::Held),
        ("alone", member::Standing::Alone),
    ];
    for (state, kind) in kinds {
        let is_so = ConstGauge::new(yes(standing == kind));
        is_so.encode(family.encode_family(&[("state", state)])?)?;
    }
    published(fleet, encoder)?;
    counts(fleet, encoder)
}

/// How this sidecar stands to what is published to all.
fn published(fleet: &Fleet, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let (revision, standing) = fleet.followed(|followed| followed.standing());
    let help = "The edition of the fleet that is in force here; 0 where none is";
    let family = encoder.encode_descriptor("fleet_revision", help, None, MetricType::Gauge)?;
    ConstGauge::new(from_u64(revision)).encode(family)?;
    let help = "Whether what was published last is in force here, waits for its wave, was refused, or was lost by the bus";
    let mut family = encoder.encode_descriptor("fleet_published", help, None, MetricType::Gauge)?;
    let states = [
        ("in_force", Standing::InForce),
        ("waits", Standing::Waits),
        ("refused", Standing::Refused),
        ("lost", Standing::Lost),
    ];
    for (state, kind) in states {
        let is_so = ConstGauge::new(f64::from(u8::from(standing == kind)));
        is_so.encode(family.encode_family(&[("state", state)])?)?;
    }
    Ok(())
}

/// What is counted of the bus.
fn counts(fleet: &Fleet, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let counters = &fleet.counters;
    let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let counts = [
        (
            "fleet_bus_reached",
            "Times that the bus was reached",
            &counters.reached,
        ),
        (
            "fleet_purges_heard",
            "Purges heard of the log that the fleet shares",
            &counters.heard,
        ),
        (
            "fleet_purges_appended",
            "Purges appended to it",
            &counters.appended,
        ),
        (
            "fleet_purges_overtaken",
            "Purges that others came before, and that were appended once more",
            &counters.overtaken,
        ),
        (
            "fleet_purges_replayed",
            "Times that purges which were missed had to be asked for",
            &counters.replays,
        ),
        (
            "fleet_evidence_untold",
            "Messages about nodes that the bus did not take",
            &counters.untold,
        ),
    ];
    for (name, help, counter) in counts {
        let family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        ConstCounter::new(of(counter)).encode(family)?;
    }
    Ok(())
}
