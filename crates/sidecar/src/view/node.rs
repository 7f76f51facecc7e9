//! A node as people see it.

use serde::{Serialize, Serializer};

use super::in_use::Use;
use super::troubles::{BreakerView, SpellView};
use tradewind_engine::control::NodeReport;
use tradewind_engine::control::totals::Totals;
use tradewind_engine::number::{from_u64, to_u64, us_to_ms};
use tradewind_engine::policy::Operation;
use tradewind_engine::signal::Admission;
use tradewind_engine::signal::agreed::AgreedCounts;
use tradewind_engine::signal::latency::Steps;
use tradewind_engine::time::Moment;

/// A node.
#[derive(Debug, Clone, Serialize)]
pub struct NodeView {
    /// What it may be named for.
    #[serde(serialize_with = "by_name")]
    pub admission: Admission,
    /// What says so.
    pub source: &'static str,
    /// Since when it is well, or is not, ms ago: what comes to speak against it meanwhile begins nothing new.
    pub since_ms: u64,
    /// Its bad time, or the last one if it is well; absent when it never had one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<SpellView>,
    /// When that was last observed, ms ago; absent when it never was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_ms: Option<u64>,
    /// It stays in use only because its pools have lost too much already.
    pub ejection_denied: bool,
    /// Its breaker.
    pub breaker: BreakerView,
    /// What probes find; absent when it is not probed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probe_healthy: Option<bool>,
    /// Share of its capacity that it races with, as decisions see it: condition times ramp, and 0 while it is not used for
    /// all of its keys.
    pub weight_ratio: f32,
    /// Its condition, 0 the best to 8.
    pub condition: u8,
    /// What its condition makes of its weight, 0 to 1.
    pub condition_ratio: f64,
    /// Since when its condition has not been the best, ms ago; absent while it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub condition_since_ms: Option<u64>,
    /// What is left to it of its weight since it came back, in eighths: 1/8 to 1.
    pub ramp_ratio: f64,
    /// How much of the hot keys' traffic it takes, relative to others.
    pub headroom: f32,
    /// Share of its keys that spill, 0 to 1.
    pub spill_ratio: f64,
    /// Share of the requests for it that are shed, 0 to 1.
    pub shed_ratio: f64,
    /// Requests per second sent to it by this sidecar.
    pub requests_per_second: f64,
    /// Median service time in ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_p50_ms: Option<f32>,
    /// 90th percentile in ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_p90_ms: Option<f32>,
    /// 99th percentile in ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_p99_ms: Option<f32>,
    /// Service times those are made from.
    pub service_samples: u64,
    /// Its usual median in ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usual_p50_ms: Option<f32>,
    /// Its usual 99th percentile in ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usual_p99_ms: Option<f32>,
    /// Those service times themselves: long, and so shown of one site at a time.
    #[serde(skip)]
    pub times: Steps,
    /// What it said of its utilisation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub utilisation: Option<f32>,
    /// How long ago, in ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load_age_ms: Option<u64>,
    /// Hits and misses over all classes.
    #[serde(skip)]
    pub hits: (u64, u64),
    /// Hit ratio over all classes, where hits and misses were told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hit_ratio: Option<f64>,
    /// What it said of its hit ratio, 0 to 1; for people only, because it does not say of which class or how many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub told_hit_ratio: Option<f32>,
    /// What came of it since it joined, for metrics.
    #[serde(skip)]
    pub totals: Totals,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn by_name<S: Serializer>(admission: &Admission, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(admission.name())
}

impl NodeView {
    /// Whether nothing keeps it from all of its keys: it is well, and races with its whole weight.
    pub fn is_whole(&self) -> bool {
        self.admission == Admission::Admitted && self.weight_ratio >= 1.0
    }
}

/// What is shown of a node that is used so.
pub(super) fn node_view(
    now: Moment,
    report: &NodeReport<'_>,
    (how, operation): (Use, &Operation),
) -> NodeView {
    let (notes, verdict) = (report.notes, &report.judgement);
    let spell = report.spell;
    let since = match spell {
        Some(spell) => spell.ended.unwrap_or(spell.since),
        None => verdict.since,
    };
    let sums = notes.hits.iter().map(AgreedCounts::known);
    let (hits, misses) = sums.fold((0, 0), |(a, b), (hit, miss)| (a + hit, b + miss));
    let times = notes.service.steps();
    let [p90_us] = times.quantiles([0.9]);
    NodeView {
        admission: report.signals.admission,
        source: verdict.source.name(),
        since_ms: now.since(since),
        trouble: spell.map(|spell| SpellView::new(now, &spell)),
        observed_ms: (verdict.observed_at > Moment::default())
            .then(|| now.since(verdict.observed_at)),
        ejection_denied: report.ejection_denied,
        breaker: BreakerView::new(now, report),
        probe_healthy: notes.probe.verdict(),
        weight_ratio: match how {
            Use::Whole => report.signals.weight_factor,
            Use::Slice | Use::Not => 0.0,
        },
        condition: notes.condition.level(),
        condition_ratio: notes.condition.factor(&operation.weights),
        condition_since_ms: notes.worse_since.map(|since| now.since(since)),
        ramp_ratio: notes.ramp(now, operation.slow_start_ms),
        headroom: report.signals.headroom,
        spill_ratio: f64::from(report.signals.spill) / 256.0,
        shed_ratio: if report.signals.shed > 0 {
            notes.overload.shed_ratio()
        } else {
            0.0
        },
        requests_per_second: notes.rate,
        service_p50_ms: notes.median_ms(),
        service_p90_ms: p90_us.map(|us| us_to_ms(to_u64(us))),
        service_p99_ms: notes.recent.map(|recent| us_to_ms(to_u64(recent.p99_us))),
        service_samples: notes.service.count(),
        usual_p50_ms: notes.usual.map(|usual| us_to_ms(to_u64(usual.median_us))),
        usual_p99_ms: notes.usual.map(|usual| us_to_ms(to_u64(usual.p99_us))),
        times,
        utilisation: notes.load.and_then(|(load, _)| load.utilisation),
        load_age_ms: notes.load.map(|(_, at)| now.since(at)),
        hits: (hits, misses),
        hit_ratio: (hits + misses > 0).then(|| from_u64(hits) / from_u64(hits + misses)),
        told_hit_ratio: notes.load.and_then(|(load, _)| load.hit_ratio),
        totals: notes.totals,
    }
}
