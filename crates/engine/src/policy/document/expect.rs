//! Expectations as written: claims about where the requests of a rule go, and what that costs them.

use std::collections::BTreeMap;

#[cfg(feature = "schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[cfg(feature = "schema")]
use crate::document::grammar::{CountryCode, Id};

/// A claim about the requests of a rule. It is held against what a plan finds out before a policy takes effect: exactly
/// one of `share`, `stays_within`, `expected_ms` and `refused`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ExpectDocument {
    /// Whose requests, of those that are the rule's; default all of them.
    #[serde(default)]
    pub of: WhoseDocument,
    /// How many of them go to a place first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<ShareDocument>,
    /// Where every node stands that an answer names, the later ones too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stays_within: Option<WhereDocument>,
    /// What the first node is expected to cost them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_ms: Option<ExpectedMsDocument>,
    /// How many of them may be refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<RefusedDocument>,
}

/// Whose requests a claim is about; all conditions must hold, each list holds when one of its entries does.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct WhoseDocument {
    /// The client's country, ISO 3166 alpha-2.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(
        feature = "schema",
        schemars(length(min = 1, max = 1_024), with = "Vec<CountryCode>")
    )]
    pub countries: Vec<String>,
    /// The client's autonomous system.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(
        feature = "schema",
        schemars(length(min = 1, max = 1_024), inner(range(min = 1)))
    )]
    pub asns: Vec<u32>,
    /// The content class given by the caller.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(
        feature = "schema",
        schemars(length(min = 1, max = 1_024), with = "Vec<Id>")
    )]
    pub classes: Vec<String>,
}

/// Nodes, by where they stand and what they are part of; all conditions must hold, each list holds when one of its entries
/// does. At least one condition.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct WhereDocument {
    /// The node's site.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(
        feature = "schema",
        schemars(length(min = 1, max = 1_024), with = "Vec<Id>")
    )]
    pub sites: Vec<String>,
    /// The node itself.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(
        feature = "schema",
        schemars(length(min = 1, max = 1_024), with = "Vec<Id>")
    )]
    pub nodes: Vec<String>,
    /// A pool that the node belongs to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(
        feature = "schema",
        schemars(length(min = 1, max = 1_024), with = "Vec<Id>")
    )]
    pub pools: Vec<String>,
    /// The tier of the node's site.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(
        feature = "schema",
        schemars(length(min = 1, max = 1_024), with = "Vec<Id>")
    )]
    pub tiers: Vec<String>,
    /// The country of the node's site, ISO 3166 alpha-2.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(
        feature = "schema",
        schemars(length(min = 1, max = 1_024), with = "Vec<CountryCode>")
    )]
    pub countries: Vec<String>,
    /// Labels of the node, all of them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// How many requests go to a place first; at least one bound.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ShareDocument {
    /// The place.
    pub at: WhereDocument,
    /// The least, in percent of the requests, 0 to 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = 100)))]
    pub at_least_percent: Option<f64>,
    /// The most, in percent of the requests, 0 to 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = 100)))]
    pub at_most_percent: Option<f64>,
}

/// What the first node is expected to cost, in ms, 0 to 60000; at least one bound. Requests of clients whose place nobody
/// knows are left out.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct ExpectedMsDocument {
    /// The most that the mean may be.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = 60_000)))]
    pub mean_at_most: Option<f64>,
    /// The most that half of the requests may cost.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = 60_000)))]
    pub p50_at_most: Option<f64>,
    /// The most that 99 of 100 requests may cost.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = 60_000)))]
    pub p99_at_most: Option<f64>,
}

/// How many requests may be refused.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RefusedDocument {
    /// The most, in percent of the requests, 0 to 100.
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = 100)))]
    pub at_most_percent: f64,
}
