//! What a millisecond, a miss, an error and a dollar are worth, as written.

#[cfg(feature = "schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::SwitchMarginDocument;
use crate::document::DurationMs;
#[cfg(feature = "schema")]
use crate::document::grammar::Id;

/// The score of a site in milliseconds: the sum of seven terms, each with a weight.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct ScoreDocument {
    /// Time on the way: `base_ms` + `ms_per_km` * great-circle distance until measured.
    pub network: NetworkTermDocument,
    /// What a hit takes at the site's nodes.
    pub service: WeightDocument,
    /// Waiting at a busy node.
    pub queue: WeightDocument,
    /// Expected time lost to misses: (1 - hit ratio) * `fetch_ms`.
    pub miss: MissTermDocument,
    /// Expected time lost to errors.
    pub error: WeightDocument,
    /// Price of egress, turned into milliseconds; off while the weight is 0.
    pub cost: CostTermDocument,
    /// Milliseconds added to (or, negative, taken from) named sites.
    #[cfg_attr(feature = "schema", schemars(length(max = 5_000)))]
    pub bias: Vec<BiasDocument>,
    /// Sites further than this behind the best are not used for fallback; no bound while absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_detour: Option<DurationMs>,
    /// Sites within this of the best share their keys with it; 0ms: the best alone.
    pub spread: DurationMs,
    /// What it takes to switch to another site.
    pub switch_margin: SwitchMarginDocument,
}

/// A term's weight.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct WeightDocument {
    /// Factor on the term, 0 to 100; default 1.
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = 100)))]
    pub weight: f64,
}

/// The network term.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct NetworkTermDocument {
    /// Factor on the term, 0 to 100; default 1.
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = 100)))]
    pub weight: f64,
    /// Milliseconds to a site next door, 0 to 1000; default 5.
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = 1000)))]
    pub base_ms: f64,
    /// Milliseconds per kilometre of great circle, 0.001 to 1; default 0.016.
    #[cfg_attr(feature = "schema", schemars(range(min = 0.001, max = 1)))]
    pub ms_per_km: f64,
}

/// The miss term.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct MissTermDocument {
    /// Factor on the term, 0 to 100; default 1.
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = 100)))]
    pub weight: f64,
    /// Milliseconds to fetch a missing object from the parent until measured, 0 to 60000; default 40.
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = 60_000)))]
    pub fetch_ms: f64,
}

/// The cost term.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct CostTermDocument {
    /// Factor on the term, 0 to 100; default 0 (off).
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = 100)))]
    pub weight: f64,
    /// How many milliseconds one US dollar is worth, 0 to 1e9; default 0.
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = 1_000_000_000)))]
    pub ms_per_usd: f64,
}

/// A site that operators prefer or avoid.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct BiasDocument {
    /// The site.
    #[cfg_attr(feature = "schema", schemars(with = "Id"))]
    pub site: String,
    /// Milliseconds added to its score, -1000 to 1000.
    #[cfg_attr(feature = "schema", schemars(range(min = -1000, max = 1000)))]
    pub ms: f64,
}

impl Default for WeightDocument {
    fn default() -> Self {
        Self { weight: 1.0 }
    }
}

impl Default for NetworkTermDocument {
    fn default() -> Self {
        Self {
            weight: 1.0,
            base_ms: 5.0,
            ms_per_km: 0.016,
        }
    }
}

impl Default for MissTermDocument {
    fn default() -> Self {
        Self {
            weight: 1.0,
            fetch_ms: 40.0,
        }
    }
}
