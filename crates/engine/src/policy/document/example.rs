//! Examples as written: requests, and what is to become of them.

use std::collections::BTreeMap;

#[cfg(feature = "schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Action;
#[cfg(feature = "schema")]
use crate::document::grammar::{CountryCode, Id};

/// Requests that show what a rule is for. A policy by which one of them goes another way is refused.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct ExamplesDocument {
    /// Requests that are this rule's.
    #[serde(rename = "match", skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", schemars(length(max = 100)))]
    pub matching: Vec<ExampleDocument>,
    /// Requests that are not.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", schemars(length(max = 100)))]
    pub no_match: Vec<ExampleDocument>,
}

impl ExamplesDocument {
    /// How many there are.
    pub(in crate::policy) fn count(&self) -> usize {
        self.matching.len() + self.no_match.len()
    }
}

/// A request. It is decided by what the documents say alone: with every node ready, nothing measured, and clients where
/// the example or the policy places them, not the geo files, so that it comes out alike wherever it is tried.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", schemars(extend(
    "dependentRequired" = { "lat": ["lon"], "lon": ["lat"] }
)))]
pub struct ExampleDocument {
    /// What is asked for, like `https://www.example.com/video/1.mp4?t=5`.
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = 8_192)))]
    pub url: String,
    /// The method; default GET.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub method: String,
    /// Headers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// The client's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// The client's country, ISO 3166 alpha-2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<CountryCode>"))]
    pub country: Option<String>,
    /// The client's autonomous system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(min = 1)))]
    pub asn: Option<u32>,
    /// Where the client is, degrees north, -90 to 90.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(min = -90.0, max = 90.0)))]
    pub lat: Option<f64>,
    /// Where the client is, degrees east, -180 to 180.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(min = -180.0, max = 180.0)))]
    pub lon: Option<f64>,
    /// The content class that the caller gives, one of `classes`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<Id>"))]
    pub class: Option<String>,
    /// What is to become of it, beside the rule.
    #[serde(default)]
    pub then: ThenDocument,
}

/// What is to become of a request; what is left out may be anything.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct ThenDocument {
    /// The rule that it is instead; in `no_match` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<Id>"))]
    pub rule: Option<String>,
    /// Whether nodes are named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Action>,
    /// The site of the first node.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<Id>"))]
    pub site: Option<String>,
    /// The first node.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<Id>"))]
    pub node: Option<String>,
}
