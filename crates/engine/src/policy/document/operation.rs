//! How the engine reacts to what happens, as written: breakers, probes, weights, how long signals count, how much may change
//! at once.

#[cfg(feature = "schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::document::DurationMs;

/// When a node is left alone after failures, and for how long. The words are Envoy's where the meaning is the same.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct BreakerDocument {
    /// Failures in a row that open the breaker, 1 to 100; default 5.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 100)))]
    pub consecutive_failures: u32,
    /// A success ratio below this opens it, 0 to 100; default 80.
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = 100)))]
    pub success_rate_percent: f64,
    /// Requests in `window` below which the success ratio says nothing, 1 to 100000; default 20.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 100_000)))]
    pub request_volume: u32,
    /// How far back the success ratio looks, 1s to 5m; default 10s.
    pub window: DurationMs,
    /// A service time above this multiple of the node's own in good times, for three windows of 5 s, opens it; 1.5 to
    /// 100, default 3.
    #[cfg_attr(feature = "schema", schemars(range(min = 1.5, max = 100)))]
    pub slow_ratio: f64,
    /// How long it stays open the first time, 1s to 10m; doubles each time. Default 10s.
    pub base_ejection_time: DurationMs,
    /// How long it stays open at most, up to 1h; default 1m. Bounds how long a node that recovered goes unnoticed.
    pub max_ejection_time: DurationMs,
    /// How much ejection times differ between sidecars, 0 to 50; default 20.
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = 50)))]
    pub jitter_percent: f64,
    /// Share of a pool's weight that may be ejected, 0 to 100; default 34. One node of several may always be.
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = 100)))]
    pub max_ejection_percent: f64,
    /// Share of its own keys that a recovering node is tried with, 0.1 to 50; default 1.
    #[cfg_attr(feature = "schema", schemars(range(min = 0.1, max = 50)))]
    pub probe_percent: f64,
    /// Openings within 10 minutes after which a node must stay clean for a minute before it returns, 1 to 10; default 3.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 10)))]
    pub flap_openings: u32,
}

/// How nodes are asked whether they are well.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct ProbeDocument {
    /// How: `none` (default), `http`, `tcp` or `grpc`.
    pub kind: ProbeKind,
    /// The path asked for by `http`, the service asked for by `grpc`; default `/`.
    #[cfg_attr(
        feature = "schema",
        schemars(length(max = 256), regex(pattern = "^[!-~]*$"))
    )]
    pub path: String,
    /// How often each node is asked, 1s to 5m, jittered by 20 %; default 5s.
    pub interval: DurationMs,
    /// How long an answer may take, 10ms to 1m; default 1s.
    pub timeout: DurationMs,
    /// Failures in a row that make a node unhealthy, 1 to 20; default 3.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 20)))]
    pub unhealthy_threshold: u32,
    /// Successes in a row that make it healthy again, 1 to 20; default 2.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 20)))]
    pub healthy_threshold: u32,
}

/// How nodes are asked whether they are well.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct WeightsDocument {
    /// Size of a step in powers of two, 0.1 to 1; default 0.5 (half octaves).
    #[cfg_attr(feature = "schema", schemars(range(min = 0.1, max = 1)))]
    pub step_log2: f64,
    /// How far past a step the condition must be, in steps, 0.5 to 2; default 0.75.
    #[cfg_attr(feature = "schema", schemars(range(min = 0.5, max = 2)))]
    pub hysteresis_steps: f64,
    /// How long a worse condition must last, up to 10m; default 10s.
    pub dwell_down: DurationMs,
    /// How long a better one must last for one step up, up to 1h; default 15s.
    pub dwell_up: DurationMs,
}

/// How long what was observed counts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SignalDocument {
    /// Older than this it fades to its prior, halving with each such time; 1s to 1h.
    pub max_age: DurationMs,
}

/// What it takes to switch to another site.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct SwitchMarginDocument {
    /// A term of a site must have changed by this many milliseconds, 0 to 1000; default 10 …
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = 1000)))]
    pub ms: f64,
    /// … and by this share of the site's score, 0 to 100; default 15 …
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = 100)))]
    pub percent: f64,
    /// … for this long, up to 1h, before decisions see it; default 10s.
    pub dwell: DurationMs,
}

/// How many keys may change their node without need.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct ChangeBudgetDocument {
    /// Share of keys that changing conditions and scores may move, 0 to 100; default 10. Failures are not bound by it.
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = 100)))]
    pub moved_percent_per_minute: f64,
}

/// What becomes of requests when no node has room for them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct OverloadDocument {
    /// Nodes are kept at this utilisation by shedding requests that are not critical, low ones first, where no other node has
    /// room for them; what is above is a reserve for critical ones. 50 to 100; default: nothing is shed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(min = 50, max = 100)))]
    pub max_utilisation_percent: Option<f64>,
}

/// What is left for operators to confirm.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct TopologyGuardDocument {
    /// A topology that takes away more than this share of the fleet's weight is held until confirmed, 0 to 100; default
    /// 25.
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = 100)))]
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
            dwell: DurationMs::from_ms(10_000),
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
