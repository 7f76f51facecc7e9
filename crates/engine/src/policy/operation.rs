//! How the engine reacts to what happens: breakers, probes, weights, how long signals count, how much may change at once.
//!
//! Times are whole milliseconds, ratios 0 to 1.

use super::document::{
    BreakerDocument, PolicySpec, ProbeDocument, ProbeKind, SignalDocument, WeightsDocument,
};
use crate::document::{Checker, Code, DurationMs, Path};
use crate::number::narrow;

/// How often load is told, in ms: sidecars ask Envoy for it so often.
pub const LOAD_REPORT_PERIOD_MS: u64 = 1_000;

/// How the engine reacts to what happens; checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Operation {
    /// When a node is left alone, and for how long.
    pub breaker: BreakerDocument,
    /// How nodes are asked whether they are well.
    pub probe: ProbeDocument,
    /// How a node's weight follows its condition.
    pub weights: WeightsDocument,
    /// How long a node takes to its full weight after it joined or recovered, in ms.
    pub slow_start_ms: u64,
    /// Age in ms from which load fades.
    pub load_max_age_ms: u64,
    /// Age in ms from which times fade.
    pub latency_max_age_ms: u64,
    /// Age in ms from which ratios fade.
    pub hit_max_age_ms: u64,
    /// Age in ms from which verdicts of probes count as unknown.
    pub health_max_age_ms: u64,
    /// Change of a term that decisions see, in ms.
    pub switch_ms: f32,
    /// The same as a share of the site's score, 0 to 1.
    pub switch_ratio: f32,
    /// How long such a change must last, in ms.
    pub switch_dwell_ms: u64,
    /// Share of keys that may move without need in a minute, 0 to 1.
    pub moved_ratio_per_minute: f64,
    /// Share of a pool's weight that must be healthy, 0 to 1.
    pub min_healthy_ratio: f64,
    /// The utilisation that nodes are kept at by shedding requests, above 0 and at most 1; without it nothing is shed.
    pub max_utilisation: Option<f64>,
    /// What may be tried again; without it everything may be.
    pub retry_budget: Option<Retries>,
    /// How long any cache keeps anything at most, in ms.
    pub max_cache_ttl_ms: u64,
    /// Share of the recent decisions that a purge may cover unconfirmed, 0 to 1.
    pub purge_guard_ratio: f64,
    /// Share of the fleet's weight that a topology may take away unconfirmed, 0 to 1.
    pub max_removed_ratio: f64,
}

/// What may be tried again.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Retries {
    /// Further attempts as a share of requests, above 0.
    pub ratio: f64,
    /// Further attempts a second that are granted in any case.
    pub min_per_second: f64,
}

impl Operation {
    /// Checks the sections and makes them ready.
    pub(super) fn new(checker: &mut Checker<'_>, path: &Path<'_>, spec: &PolicySpec) -> Self {
        check(checker, path, spec);
        let age = |signal: &SignalDocument| signal.max_age.as_ms();
        let margin = &spec.score.switch_margin;
        Self {
            breaker: spec.breaker.clone(),
            probe: spec.probe.clone(),
            weights: spec.weights.clone(),
            slow_start_ms: spec.slow_start_window.as_ms(),
            load_max_age_ms: age(&spec.signals.load),
            latency_max_age_ms: age(&spec.signals.latency),
            hit_max_age_ms: age(&spec.signals.hit),
            health_max_age_ms: age(&spec.signals.health),
            switch_ms: narrow(margin.ms),
            switch_ratio: narrow(margin.percent / 100.0),
            switch_dwell_ms: margin.dwell.as_ms(),
            moved_ratio_per_minute: spec.change_budget.moved_percent_per_minute / 100.0,
            min_healthy_ratio: spec.panic.min_healthy_percent / 100.0,
            max_utilisation: (spec.overload.max_utilisation_percent).map(|percent| percent / 100.0),
            retry_budget: spec.retries.budget_percent.map(|percent| Retries {
                ratio: percent / 100.0,
                min_per_second: spec.retries.min_per_second,
            }),
            max_cache_ttl_ms: spec.freshness.max_ttl.as_ms(),
            purge_guard_ratio: spec.freshness.guard_percent / 100.0,
            max_removed_ratio: spec.topology_guard.max_removed_percent / 100.0,
        }
    }
}

#[expect(clippy::too_many_lines, reason = "a table of fields and their ranges")]
fn check(checker: &mut Checker<'_>, path: &Path<'_>, spec: &PolicySpec) {
    let (breaker, probe, weights) = (&spec.breaker, &spec.probe, &spec.weights);
    let count = |n: u32| f64::from(n);
    let percent = 0.0..=100.0;
    let numbers = [
        (
            "breaker",
            "consecutive_failures",
            count(breaker.consecutive_failures),
            1.0..=100.0,
        ),
        (
            "breaker",
            "success_rate_percent",
            breaker.success_rate_percent,
            percent.clone(),
        ),
        (
            "breaker",
            "request_volume",
            count(breaker.request_volume),
            1.0..=100_000.0,
        ),
        ("breaker", "slow_ratio", breaker.slow_ratio, 1.5..=100.0),
        (
            "breaker",
            "jitter_percent",
            breaker.jitter_percent,
            0.0..=50.0,
        ),
        (
            "breaker",
            "max_ejection_percent",
            breaker.max_ejection_percent,
            percent.clone(),
        ),
        (
            "breaker",
            "probe_percent",
            breaker.probe_percent,
            0.1..=50.0,
        ),
        (
            "breaker",
            "flap_openings",
            count(breaker.flap_openings),
            1.0..=10.0,
        ),
        (
            "probe",
            "unhealthy_threshold",
            count(probe.unhealthy_threshold),
            1.0..=20.0,
        ),
        (
            "probe",
            "healthy_threshold",
            count(probe.healthy_threshold),
            1.0..=20.0,
        ),
        ("weights", "step_log2", weights.step_log2, 0.1..=1.0),
        (
            "weights",
            "hysteresis_steps",
            weights.hysteresis_steps,
            0.5..=2.0,
        ),
        (
            "change_budget",
            "moved_percent_per_minute",
            spec.change_budget.moved_percent_per_minute,
            percent.clone(),
        ),
        (
            "topology_guard",
            "max_removed_percent",
            spec.topology_guard.max_removed_percent,
            percent.clone(),
        ),
    ];
    for (section, field, value, allowed) in numbers {
        checker.in_range(
            Code::P006,
            &path.field(section).field(field),
            value,
            &allowed,
        );
    }
    if let Some(percent) = spec.overload.max_utilisation_percent {
        let overload = path.field("overload");
        let path = overload.field("max_utilisation_percent");
        checker.in_range(Code::P006, &path, percent, &(50.0..=100.0));
    }
    let retries = path.field("retries");
    if let Some(percent) = spec.retries.budget_percent {
        let path = retries.field("budget_percent");
        checker.in_range(Code::P006, &path, percent, &(1.0..=100.0));
    }
    let least = retries.field("min_per_second");
    checker.in_range(
        Code::P006,
        &least,
        spec.retries.min_per_second,
        &(0.0..=10_000.0),
    );
    check_durations(checker, path, spec);
    check_probe(checker, &path.field("probe"), spec);
    check_load_age(checker, &path.field("signals"), spec);
}

#[expect(clippy::too_many_lines, reason = "a table of fields and their ranges")]
fn check_durations(checker: &mut Checker<'_>, path: &Path<'_>, spec: &PolicySpec) {
    let (breaker, probe, weights) = (&spec.breaker, &spec.probe, &spec.weights);
    let margin = &spec.score.switch_margin;
    let score = path.field("score");
    let switch = score.field("switch_margin");
    checker.in_range(Code::P006, &switch.field("ms"), margin.ms, &(0.0..=1_000.0));
    checker.in_range(
        Code::P006,
        &switch.field("percent"),
        margin.percent,
        &(0.0..=100.0),
    );
    let second = 1_000;
    let (minute, hour) = (60 * second, 3_600 * second);
    let sections = ["breaker", "probe", "weights", "signals"].map(|name| path.field(name));
    let [breaker_path, probe_path, weights_path, signals_path] = &sections;
    let signal_paths = ["load", "latency", "hit", "health"].map(|name| signals_path.field(name));
    let [load, latency, hit, health] = &signal_paths;
    let durations = [
        (
            breaker_path.field("window"),
            breaker.window,
            second..=5 * minute,
        ),
        (
            breaker_path.field("base_ejection_time"),
            breaker.base_ejection_time,
            second..=10 * minute,
        ),
        (
            breaker_path.field("max_ejection_time"),
            breaker.max_ejection_time,
            breaker.base_ejection_time.as_ms().min(hour)..=hour,
        ),
        (
            probe_path.field("interval"),
            probe.interval,
            second..=5 * minute,
        ),
        (probe_path.field("timeout"), probe.timeout, 10..=minute),
        (
            weights_path.field("dwell_down"),
            weights.dwell_down,
            0..=10 * minute,
        ),
        (weights_path.field("dwell_up"), weights.dwell_up, 0..=hour),
        (
            path.field("slow_start_window"),
            spec.slow_start_window,
            0..=hour,
        ),
        (switch.field("dwell"), margin.dwell, 0..=hour),
        (
            load.field("max_age"),
            spec.signals.load.max_age,
            second..=hour,
        ),
        (
            latency.field("max_age"),
            spec.signals.latency.max_age,
            second..=hour,
        ),
        (
            hit.field("max_age"),
            spec.signals.hit.max_age,
            second..=hour,
        ),
        (
            health.field("max_age"),
            spec.signals.health.max_age,
            second..=hour,
        ),
    ];
    for (path, value, allowed) in durations {
        checker.duration_in(&path, value, &allowed);
    }
}

fn check_probe(checker: &mut Checker<'_>, path: &Path<'_>, spec: &PolicySpec) {
    let probe = &spec.probe;
    let graphic = probe.path.len() <= 256 && probe.path.bytes().all(|byte| byte.is_ascii_graphic());
    let rooted = probe.kind != ProbeKind::Http || probe.path.starts_with('/');
    if !(graphic && rooted) {
        let help = "write up to 256 visible ASCII characters, for http beginning with `/`";
        checker.error(
            Code::P014,
            &path.field("path"),
            "not a path to probe".to_owned(),
            help,
        );
    }
    if probe.kind != ProbeKind::None
        && spec.signals.health.max_age.as_ms() < 3 * probe.interval.as_ms()
    {
        let help = "a single lost probe would make a verdict unknown; let max_age be three intervals or more";
        let message = format!(
            "verdicts count for {} only, and are made every {}",
            spec.signals.health.max_age, probe.interval
        );
        checker.warning(Code::P023, path, message, help);
    }
}

/// Load is the one signal whose period is known before it comes: sidecars ask Envoy for it so often, and say the same to
/// others who tell. Outcomes come as requests do, in batches of a tenth of a second.
fn check_load_age(checker: &mut Checker<'_>, path: &Path<'_>, spec: &PolicySpec) {
    let max_age = spec.signals.load.max_age;
    let least = 3 * LOAD_REPORT_PERIOD_MS;
    // Less than a second is out of range, which has been said.
    if (1_000..least).contains(&max_age.as_ms()) {
        let message = format!(
            "load counts for {max_age} only, and is told every {}",
            DurationMs::from_ms(LOAD_REPORT_PERIOD_MS)
        );
        let help = format!(
            "a single report that is late would make load unknown; let max_age be {} or more",
            DurationMs::from_ms(least)
        );
        checker.warning(
            Code::P047,
            &path.field("load").field("max_age"),
            message,
            &help,
        );
    }
}
