//! Metrics of each site: what it costs, and what was sent there and came of that. There are few sites, so none is left out.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use crate::view::{FleetView, SiteView};
use tradewind_engine::control::totals::{FIRST_BYTE_BOUNDS_US, SiteTotals};
use tradewind_engine::number::from_u64;
use tradewind_engine::signal::observation::AttemptResult;
use tradewind_engine::topology::{Site, Topology};

/// Writes all families.
pub(super) fn encode(
    view: &FleetView,
    topology: &Topology,
    encoder: &mut DescriptorEncoder<'_>,
) -> fmt::Result {
    let sites: Vec<(&Site, &SiteView)> = topology.sites().iter().zip(&view.sites).collect();
    encode_choice(&sites, encoder)?;
    encode_totals(&sites, encoder)
}

/// What sites are chosen by.
fn encode_choice(sites: &[(&Site, &SiteView)], encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let help = "What a site is expected to cost a client besides the way there, by term, for requests without a class";
    let unit = Some(&Unit::Seconds);
    let mut family = encoder.encode_descriptor("site_cost", help, unit, MetricType::Gauge)?;
    for (site, known) in sites {
        let Some(first) = known.classes.first() else {
            continue;
        };
        for (term, ms) in &first.terms_ms {
            let labels = [("site", &*site.id), ("term", *term)];
            let seconds = f64::from(*ms) / 1_000.0;
            ConstGauge::new(seconds).encode(family.encode_family(&labels)?)?;
        }
    }
    let help = "Whether a site was left for a term of its score, and is tried with a slice of keys: 1 while it is";
    let mut family = encoder.encode_descriptor("site_on_trial", help, None, MetricType::Gauge)?;
    for (site, known) in sites {
        let is_tried = i64::from(known.trial.is_some());
        ConstGauge::new(is_tried).encode(family.encode_family(&[("site", &*site.id)])?)?;
    }
    let help = "Share of the groups of clients nearest to a site that use the next";
    let mut family =
        encoder.encode_descriptor("site_spill_ratio", help, None, MetricType::Gauge)?;
    for (site, known) in sites {
        ConstGauge::new(known.spill_ratio).encode(family.encode_family(&[("site", &*site.id)])?)?;
    }
    Ok(())
}

/// What came of sites: counted by site as well as by node, because nodes come and go and only some have metrics.
fn encode_totals(sites: &[(&Site, &SiteView)], encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let help = "Requests for which a node of a site was named first";
    let mut family = encoder.encode_descriptor("site_requests", help, None, MetricType::Counter)?;
    for (site, known) in sites {
        let labels = [("site", &*site.id)];
        ConstCounter::new(known.totals.all.sent).encode(family.encode_family(&labels)?)?;
    }
    let help = "Attempts at nodes of a site that were told and believed, by result";
    let mut family = encoder.encode_descriptor("site_attempts", help, None, MetricType::Counter)?;
    for (site, known) in sites {
        for (result, count) in AttemptResult::ALL.iter().zip(known.totals.all.attempts) {
            let labels = [("site", &*site.id), ("result", result.name())];
            ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
        }
    }
    let help = "Time to the first byte of answers of a site's nodes, as it was told";
    let unit = Some(&Unit::Seconds);
    let kind = MetricType::Histogram;
    let mut family = encoder.encode_descriptor("site_first_byte", help, unit, kind)?;
    for (site, known) in sites {
        let labels = [("site", &*site.id)];
        let SiteTotals {
            first_byte,
            first_byte_sum_us,
            ..
        } = &known.totals;
        let bounds = FIRST_BYTE_BOUNDS_US.iter().map(|us| f64::from(*us) / 1e6);
        let bounds = bounds.chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = bounds.zip(first_byte.iter().copied()).collect();
        family
            .encode_family(&labels)?
            .encode_histogram::<[(&str, &str); 0]>(
                from_u64(*first_byte_sum_us) / 1e6,
                first_byte.iter().sum(),
                &buckets,
                None,
            )?;
    }
    Ok(())
}
