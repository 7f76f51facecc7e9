//! Freshness as written: how long caches keep what they have, and what purges may name.

#[cfg(feature = "schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::document::DurationMs;
#[cfg(feature = "schema")]
use crate::document::grammar::Id;

/// How purges are kept, and which are to be confirmed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct FreshnessDocument {
    /// How long any cache keeps anything at most, 1m to 90d; default 168h (a week). Purges are remembered for as long.
    pub max_ttl: DurationMs,
    /// A purge that covers more than this share of the recent decisions is to be confirmed, 1 to 100 percent; default 20.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 100)))]
    pub guard_percent: f64,
}

impl Default for FreshnessDocument {
    fn default() -> Self {
        Self {
            max_ttl: DurationMs::from_ms(7 * 24 * 3_600_000),
            guard_percent: 20.0,
        }
    }
}

/// What purges may name requests of a rule by, and how long caches keep what they ask for.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct RuleFreshnessDocument {
    /// The namespace that tags are of, and that can be purged as a whole: that of a tenant, or a team.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<Id>"))]
    pub namespace: Option<String>,
    /// Names of groups that can be purged at once. `{1}` stands for the first segment of the path, and so on to `{9}`; a request
    /// that has no such segment has not the tag.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", schemars(length(max = 4)))]
    pub tags: Vec<String>,
    /// How long caches may keep it, 0ms to 90d; default: what its origin says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_ttl: Option<DurationMs>,
    /// The same, as it follows how often what is asked for of its content class changes; instead of `cache_ttl`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adaptive_ttl: Option<AdaptiveTtlDocument>,
}

/// How long caches may keep something that changes: between two bounds, by how much of what they answer may be old.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct AdaptiveTtlDocument {
    /// At least, and until caches have told of what they asked about again, 1s to 90d; default 1m.
    pub min: DurationMs,
    /// At most, from `min` to 90d; default 24h. It comes to this where every change is purged.
    pub max: DurationMs,
    /// How much of what caches answer may be older than it should be, 0.01 to 50 percent; default 1.
    #[cfg_attr(feature = "schema", schemars(range(min = 0.01, max = 50)))]
    pub staleness_percent: f64,
}

impl Default for AdaptiveTtlDocument {
    fn default() -> Self {
        Self {
            min: DurationMs::from_ms(60_000),
            max: DurationMs::from_ms(24 * 3_600_000),
            staleness_percent: 1.0,
        }
    }
}
