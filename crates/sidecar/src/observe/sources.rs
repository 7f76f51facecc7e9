//! How the sources of what is served fare, as metrics: policy, topology, geo files, and what callers are known by.

use std::fmt;
use std::sync::atomic::Ordering;

use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use crate::state::{GeoStatus, State, TlsStatus};

/// Writes all families.
pub(super) fn encode(state: &State, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    encode_reloads(state, encoder)?;
    encode_degraded(state, encoder)?;
    encode_certificate(state.credentials.load().tls.as_ref(), encoder)?;
    encode_geo(&state.status.load().geo, encoder)
}

fn encode_reloads(state: &State, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let reloads = &state.reloads;
    let families = [
        (
            "policy_reload",
            "policies",
            &reloads.policy_applied,
            &reloads.policy_refused,
        ),
        (
            "topology_reload",
            "topologies",
            &reloads.topology_applied,
            &reloads.topology_refused,
        ),
        (
            "geo_reload",
            "sets of geo files",
            &reloads.geo_applied,
            &reloads.geo_refused,
        ),
    ];
    for (name, what, applied, refused) in families {
        let help = format!("Reloads of {what} by result");
        let mut family = encoder.encode_descriptor(name, &help, None, MetricType::Counter)?;
        for (result, counter) in [("applied", applied), ("refused", refused)] {
            let count = ConstCounter::new(counter.load(Ordering::Relaxed));
            count.encode(family.encode_family(&[("result", result)])?)?;
        }
    }
    let help = "Times the last good texts could not be kept on disk";
    let family = encoder.encode_descriptor("store_failures", help, None, MetricType::Counter)?;
    ConstCounter::new(reloads.store_failed.load(Ordering::Relaxed)).encode(family)
}

fn encode_degraded(state: &State, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let status = state.status.load();
    let help = "1 while what is served is not what the source says";
    let mut family = encoder.encode_descriptor("source_degraded", help, None, MetricType::Gauge)?;
    let degraded = [
        ("policy", status.policy.state.is_degraded()),
        ("topology", status.topology.state.is_degraded()),
        ("geo", status.geo.state == "degraded"),
    ];
    let credentials = state.credentials.load();
    let tls = credentials.tls.as_ref();
    let tokens = credentials.tokens.as_ref();
    let grants = credentials.grants.as_ref();
    let configured = [
        tls.map(|tls| ("tls", tls.fault.is_some())),
        tokens.map(|tokens| ("tokens", tokens.fault.is_some())),
        grants.map(|grants| ("grants", grants.fault.is_some())),
    ];
    for (source, is_degraded) in degraded.into_iter().chain(configured.into_iter().flatten()) {
        ConstGauge::new(i64::from(is_degraded))
            .encode(family.encode_family(&[("source", source)])?)?;
    }
    Ok(())
}

fn encode_certificate(tls: Option<&TlsStatus>, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let help = "When the certificate that doors show ends, seconds since 1970; absent where no door speaks TLS";
    let name = "tls_certificate_end_timestamp";
    let unit = Some(&Unit::Seconds);
    let family = encoder.encode_descriptor(name, help, unit, MetricType::Gauge)?;
    if let Some(tls) = tls {
        let end = i64::try_from(tls.ends_epoch_s).unwrap_or(i64::MAX);
        ConstGauge::new(end).encode(family)?;
    }
    Ok(())
}

fn encode_geo(geo: &GeoStatus, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let help = "When each geo file says it was built, seconds since 1970";
    let mut family = encoder.encode_descriptor(
        "geo_build_timestamp",
        help,
        Some(&Unit::Seconds),
        MetricType::Gauge,
    )?;
    // 0 is what a file says that does not know.
    let dated = geo.files.iter().filter(|file| file.build_epoch_s > 0);
    for file in dated {
        let built = i64::try_from(file.build_epoch_s).unwrap_or(i64::MAX);
        ConstGauge::new(built).encode(family.encode_family(&[("file", file.path.as_str())])?)?;
    }
    Ok(())
}
