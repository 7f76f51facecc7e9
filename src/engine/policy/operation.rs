//! How the engine reacts to what happens: breakers, probes, weights, how long signals count, how much may change at once.
//!
//! The sections of the document are at the top, what is made of them ([`Operation`]) at the end. Times are whole
//! milliseconds, ratios 0 to 1.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::document::PolicySpec;
use crate::engine::document::{Checker, Code, DurationMs, Path};
use crate::engine::number::narrow;

/// When a node is left alone after failures, and for how long. The words are Envoy's where the meaning is the same.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BreakerDocument {
    /// Failures in a row that open the breaker, 1 to 100; default 5.
    #[schemars(range(min = 1, max = 100))]
    pub consecutive_failures: u32,
    /// A success ratio below this opens it, 0 to 100; default 80.
    #[schemars(range(min = 0, max = 100))]
    pub success_rate_percent: f64,
    /// Requests in `window` below which the success ratio says nothing, 1 to 100000; default 20.
    #[schemars(range(min = 1, max = 100_000))]
    pub request_volume: u32,
    /// How far back the success ratio looks, 1s to 5m; default 10s.
    pub window: DurationMs,
    /// A service time above this multiple of the node's own in good times, for three windows of 5 s, opens it; 1.5 to
    /// 100, default 3.
    #[schemars(range(min = 1.5, max = 100))]
    pub slow_ratio: f64,
    /// How long it stays open the first time, 1s to 10m; doubles each time. Default 10s.
    pub base_ejection_time: DurationMs,
    /// How long it stays open at most, up to 1h; default 1m. Bounds how long a node that recovered goes unnoticed.
    pub max_ejection_time: DurationMs,
    /// How much ejection times differ between sidecars, 0 to 50; default 20.
    #[schemars(range(min = 0, max = 50))]
    pub jitter_percent: f64,
    /// Share of a pool's weight that may be ejected, 0 to 100; default 34. One node of several may always be.
    #[schemars(range(min = 0, max = 100))]
    pub max_ejection_percent: f64,
    /// Share of its own keys that a recovering node is tried with, 0.1 to 50; default 1.
    #[schemars(range(min = 0.1, max = 50))]
    pub probe_percent: f64,
    /// Openings within 10 minutes after which a node must stay clean for a minute before it returns, 1 to 10; default 3.
    #[schemars(range(min = 1, max = 10))]
    pub flap_openings: u32,
}

/// How nodes are asked whether they are well.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ProbeDocument {
    /// How: `none` (default), `http`, `tcp` or `grpc`.
    pub kind: ProbeKind,
    /// The path asked for by `http`, the service asked for by `grpc`; default `/`.
    #[schemars(length(max = 256), regex(pattern = "^[!-~]*$"))]
    pub path: String,
    /// How often each node is asked, 1s to 5m, jittered by 20 %; default 5s.
    pub interval: DurationMs,
    /// How long an answer may take, 10ms to 1m; default 1s.
    pub timeout: DurationMs,
    /// Failures in a row that make a node unhealthy, 1 to 20; default 3.
    #[schemars(range(min = 1, max = 20))]
    pub unhealthy_threshold: u32,
    /// Successes in a row that make it healthy again, 1 to 20; default 2.
    #[schemars(range(min = 1, max = 20))]
    pub healthy_threshold: u32,
}

/// How nodes are asked whether they are well.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProbeKind {
    /// They are not.
    #[default]
    None,
    /// GET answers 200 to 399.
    Http,
    /// A connection is accepted.
    Tcp,
    /// `grpc.health.v1.Health/Check` answers SERVING.
    Grpc,
}

/// How a node's weight follows its condition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WeightsDocument {
    /// Size of a step in powers of two, 0.1 to 1; default 0.5 (half octaves).
    #[schemars(range(min = 0.1, max = 1))]
    pub step_log2: f64,
    /// How far past a step the condition must be, in steps, 0.5 to 2; default 0.75.
    #[schemars(range(min = 0.5, max = 2))]
    pub hysteresis_steps: f64,
    /// How long a worse condition must last, up to 10m; default 10s.
    pub dwell_down: DurationMs,
    /// How long a better one must last for one step up, up to 1h; default 15s.
    pub dwell_up: DurationMs,
}

/// How long what was observed counts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SignalsDocument {
    /// Utilisation, from load reports; default 5s.
    pub load: SignalDocument,
    /// Service and network times; default 30s.
    pub latency: SignalDocument,
    /// Hit and error ratios; default 120s.
    pub hit: SignalDocument,
    /// Verdicts of probes; default 30s.
    pub health: SignalDocument,
}

/// How long one kind of signal counts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SignalDocument {
    /// Older than this it fades to its prior, halving with each such time; 1s to 1h.
    pub max_age: DurationMs,
}

/// What it takes to switch to another site.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SwitchMarginDocument {
    /// A term of a site must have changed by this many milliseconds, 0 to 1000; default 10 …
    #[schemars(range(min = 0, max = 1000))]
    pub ms: f64,
    /// … and by this share of the site's score, 0 to 100; default 15 …
    #[schemars(range(min = 0, max = 100))]
    pub percent: f64,
    /// … for this long, up to 1h, before decisions see it; default 30s.
    pub dwell: DurationMs,
}

/// How many keys may change their node without need.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ChangeBudgetDocument {
    /// Share of keys that changing conditions and scores may move, 0 to 100; default 10. Failures are not bound by it.
    #[schemars(range(min = 0, max = 100))]
    pub moved_percent_per_minute: f64,
}

/// What is left for operators to confirm.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TopologyGuardDocument {
    /// A topology that takes away more than this share of the fleet's weight is held until confirmed, 0 to 100; default
    /// 25.
    #[schemars(range(min = 0, max = 100))]
    pub max_removed_percent: f64,
}

impl Default for BreakerDocument {
    fn default() -> Self {
        Self {
            consecutive_failures: 5,
            success_rate_percent: 80.0,
            request_volume: 20,
            window: DurationMs::from_ms(10_000),
            slow_ratio: 3.0,
            base_ejection_time: DurationMs::from_ms(10_000),
            max_ejection_time: DurationMs::from_ms(60_000),
            jitter_percent: 20.0,
            max_ejection_percent: 34.0,
            probe_percent: 1.0,
            flap_openings: 3,
        }
    }
}

impl Default for ProbeDocument {
    fn default() -> Self {
        Self {
            kind: ProbeKind::None,
            path: "/".to_owned(),
            interval: DurationMs::from_ms(5_000),
            timeout: DurationMs::from_ms(1_000),
            unhealthy_threshold: 3,
            healthy_threshold: 2,
        }
    }
}

impl Default for WeightsDocument {
    fn default() -> Self {
        Self {
            step_log2: 0.5,
            hysteresis_steps: 0.75,
            dwell_down: DurationMs::from_ms(10_000),
            dwell_up: DurationMs::from_ms(15_000),
        }
    }
}

impl Default for SignalsDocument {
    fn default() -> Self {
        let aged = |ms| SignalDocument {
            max_age: DurationMs::from_ms(ms),
        };
        Self {
            load: aged(5_000),
            latency: aged(30_000),
            hit: aged(120_000),
            health: aged(30_000),
        }
    }
}

impl Default for SwitchMarginDocument {
    fn default() -> Self {
        Self {
            ms: 10.0,
            percent: 15.0,
            dwell: DurationMs::from_ms(30_000),
        }
    }
}

impl Default for ChangeBudgetDocument {
    fn default() -> Self {
        Self {
            moved_percent_per_minute: 10.0,
        }
    }
}

impl Default for TopologyGuardDocument {
    fn default() -> Self {
        Self {
            max_removed_percent: 25.0,
        }
    }
}

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
    /// Share of the fleet's weight that a topology may take away unconfirmed, 0 to 1.
    pub max_removed_ratio: f64,
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
    check_durations(checker, path, spec);
    check_probe(checker, &path.field("probe"), spec);
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
        if !allowed.contains(&value.as_ms()) {
            let [least, most] = [*allowed.start(), *allowed.end()].map(DurationMs::from_ms);
            let help = format!("allowed are {least} to {most}");
            checker.error(Code::P006, &path, format!("{value} is out of range"), &help);
        }
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
