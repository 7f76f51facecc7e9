//! Metrics of the doors: connections, what was refused of them, and how long calls take.

use std::fmt;
use std::sync::atomic::Ordering;

use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use crate::identity::Role;
use crate::listen::counters::GateCounters;
use crate::listen::durations::BOUNDS_US;
use tradewind_engine::number::from_u64;

/// What every door counts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Doors<'a> {
    /// Of gRPC, Envoy's services among it.
    pub(super) grpc: &'a GateCounters,
    /// Of plain HTTP queries.
    pub(super) http: &'a GateCounters,
    /// Of operators.
    pub(super) admin: &'a GateCounters,
    /// Of pages and metrics.
    pub(super) debug: &'a GateCounters,
}

impl Doors<'_> {
    /// Writes all families.
    pub(super) fn encode(self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        self.encode_durations(encoder)?;
        let prefixes = [
            ("connections", self.grpc),
            ("http_connections", self.http),
            ("debug_connections", self.debug),
            ("admin_connections", self.admin),
        ];
        for (prefix, gate) in prefixes {
            encode_connections(prefix, gate, encoder)?;
        }
        Ok(())
    }

    fn encode_durations(self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Time from a request's head to its answer's, by door, without streams: of all calls, at the gRPC door of one in 64";
        let unit = Some(&Unit::Seconds);
        let kind = MetricType::Histogram;
        let mut family = encoder.encode_descriptor("call_duration", help, unit, kind)?;
        let doors = [
            ("grpc", self.grpc),
            ("http", self.http),
            ("admin", self.admin),
            ("debug", self.debug),
        ];
        for (door, gate) in doors {
            let counted = gate.durations();
            let bounds = BOUNDS_US.iter().map(|us| from_u64(*us) / 1e6);
            let bounds = bounds.chain([f64::INFINITY]);
            let buckets: Vec<(f64, u64)> = bounds.zip(counted.counts).collect();
            let sum = from_u64(counted.sum_ns) / 1e9;
            let count = counted.counts.iter().sum();
            let labels = [("door", door)];
            let mut series = family.encode_family(&labels)?;
            series.encode_histogram::<[(&str, &str); 0]>(sum, count, &buckets, None)?;
        }
        let help = "Calls refused since their callers lack a role, by door and role";
        let mut family = encoder.encode_descriptor("denied", help, None, MetricType::Counter)?;
        for (door, gate) in doors {
            for (role, denied) in Role::ALL.into_iter().zip(&gate.denied) {
                let labels = [("door", door), ("role", role.name())];
                ConstCounter::new(denied.load(Ordering::Relaxed))
                    .encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

fn encode_connections(
    prefix: &str,
    gate: &GateCounters,
    encoder: &mut DescriptorEncoder<'_>,
) -> fmt::Result {
    let counters = [
        ("accepted", "Connections accepted", &gate.accepted),
        (
            "refused_cap",
            "Connections closed at once, over the cap with no other to go",
            &gate.refused_cap,
        ),
        (
            "displaced",
            "Connections closed for newcomers, over the cap: idle ones, or of a host with a quarter or more of the places",
            &gate.displaced,
        ),
        (
            "refused_preface",
            "Connections refused for what they spoke: not HTTP/2 at a gRPC door, or HTTP/2 at another",
            &gate.refused_preface,
        ),
        (
            "accept_errors",
            "Errors while accepting",
            &gate.accept_errors,
        ),
        (
            "aged_out",
            "Connections asked to leave for their age",
            &gate.aged_out,
        ),
        (
            "stalled",
            "Connections closed since their peers did not take their answers",
            &gate.stalled,
        ),
        (
            "broken",
            "Connections ended by a fault of the protocol, the keepalive or the socket",
            &gate.broken,
        ),
        (
            "deadline_exceeded",
            "Calls ended at their deadline",
            &gate.deadline_exceeded,
        ),
        (
            "shed",
            "Calls refused for too many in flight",
            &gate.shed_in_flight,
        ),
        ("panics", "Panics in handlers, contained", &gate.panics),
        (
            "failed_handshakes",
            "TLS handshakes that failed or took too long",
            &gate.failed_handshakes,
        ),
    ];
    for (name, help, counter) in counters {
        let name = format!("{prefix}_{name}");
        let family = encoder.encode_descriptor(&name, help, None, MetricType::Counter)?;
        ConstCounter::new(counter.load(Ordering::Relaxed)).encode(family)?;
    }
    let name = format!("{prefix}_open");
    let family = encoder.encode_descriptor(&name, "Connections open", None, MetricType::Gauge)?;
    ConstGauge::new(i64::try_from(gate.open.load(Ordering::Relaxed)).unwrap_or(0))
        .encode(family)?;
    Ok(())
}
