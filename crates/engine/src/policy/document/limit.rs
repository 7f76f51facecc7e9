//! Limits of requests as written, and how often requests may be tried again.

#[cfg(feature = "schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[cfg(feature = "schema")]
use crate::document::grammar::Id;

/// So many requests a second and no more, of all together or of each of those who ask. A sidecar counts by itself: with
/// several a fleet lets through as many times as much.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct LimitDocument {
    /// A unique name.
    #[cfg_attr(feature = "schema", schemars(with = "Id"))]
    pub name: String,
    /// The rules whose requests count; none for all rules.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(
        feature = "schema",
        schemars(length(min = 0, max = 64), with = "Vec<Id>")
    )]
    pub rules: Vec<String>,
    /// Of whom so many.
    #[serde(default)]
    pub per: LimitPer,
    /// How many a second, 0.01 to 1000000.
    #[cfg_attr(feature = "schema", schemars(range(min = 0.01, max = 1_000_000)))]
    pub requests_per_second: f64,
    /// How many at once, 1 to 1000000; default: those of a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 1_000_000)))]
    pub burst: Option<u32>,
}

/// Of whom a limit lets so many requests through.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum LimitPer {
    /// Of all together.
    #[default]
    All,
    /// Of each host that is asked for: of each tenant.
    Host,
    /// Of each network of clients: /24 of IPv4, /48 of IPv6.
    Network,
    /// Of each address of a client.
    Client,
}

/// How often requests may be tried again, when first attempts fail.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct RetriesDocument {
    /// Further attempts in percent of requests, 1 to 100; default: as many as answers name nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 100)))]
    pub budget_percent: Option<f64>,
    /// So many a second may be made in any case, 0 to 10000; default 10.
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = 10_000)))]
    pub min_per_second: f64,
}

impl Default for RetriesDocument {
    fn default() -> Self {
        Self {
            budget_percent: None,
            min_per_second: 10.0,
        }
    }
}
