//! Rules as written: what they match, which pools they try, what makes the key.

use std::collections::BTreeMap;

#[cfg(feature = "schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ExamplesDocument, ExpectDocument, RuleFreshnessDocument};
use crate::document::DurationMs;
#[cfg(feature = "schema")]
use crate::document::grammar::{
    CountryCode, Day, HeaderName, HostName, Id, Method, Network, ParameterName, Words,
};

/// Who goes where.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RuleDocument {
    /// A unique name, shown in every answer.
    #[cfg_attr(feature = "schema", schemars(with = "Id"))]
    pub name: String,
    /// The team to ask at 3 a.m.
    #[cfg_attr(feature = "schema", schemars(with = "Words"))]
    pub owner: String,
    /// Why the rule exists.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub intent: String,
    /// How to undo it.
    #[cfg_attr(feature = "schema", schemars(with = "Words"))]
    pub rollback: String,
    /// The last day (YYYY-MM-DD) it is meant to be in force; checked, not enforced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<Day>"))]
    pub expires: Option<String>,
    /// Which requests; all conditions must hold, an empty one matches everything.
    #[serde(default, rename = "match")]
    pub matches: MatchDocument,
    /// A CEL expression over `request` and `client` that must hold too. One that cannot be answered does not hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = 4_096)))]
    pub when: Option<String>,
    /// What to do with them.
    #[serde(default)]
    pub action: Action,
    /// Who is served when there is not room for all.
    #[serde(default)]
    pub priority: Priority,
    /// Pools in the order they are tried, nearest tier first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(
        feature = "schema",
        schemars(length(min = 0, max = 8), with = "Vec<Id>")
    )]
    pub pools: Vec<String>,
    /// What makes two requests ask for the same object.
    #[serde(default)]
    pub key: KeyDocument,
    /// The kind of content, one of `classes`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<Id>"))]
    pub class: Option<String>,
    /// How many nodes an answer names, 1 to 8; default 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 8)))]
    pub candidates: Option<u8>,
    /// Instead of `score.max_detour`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_detour: Option<DurationMs>,
    /// Instead of `score.spread`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spread: Option<DurationMs>,
    /// How long a proxy should wait for one node, 1ms to 10m; default 1s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt_timeout: Option<DurationMs>,
    /// How long a proxy may reuse the answer for the same request, up to 1h; default 0ms (not at all).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<DurationMs>,
    /// What purges may name its requests by, and how long caches keep what they ask for.
    #[serde(default)]
    pub freshness: RuleFreshnessDocument,
    /// Labels a node must have to serve this (capability). Never relaxed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub require: BTreeMap<String, String>,
    /// Countries whose sites may serve this (geofence). Never relaxed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(
        feature = "schema",
        schemars(length(min = 1), with = "Vec<CountryCode>")
    )]
    pub geofence: Vec<String>,
    /// Requests that show what the rule is for.
    #[serde(default)]
    pub examples: ExamplesDocument,
    /// Claims about where its requests go, which a plan checks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", schemars(length(max = 20)))]
    pub expect: Vec<ExpectDocument>,
}

/// What to do with a request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Name nodes of the rule's pools.
    #[default]
    Route,
    /// Name none.
    Refuse,
}

/// Who is served when there is not room for all, the least important first in order.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// Shed before all others.
    Low,
    /// Shed once everything low is.
    #[default]
    Normal,
    /// Keeps its node when others spill, and is shed once everything else is.
    Critical,
}

crate::model::names! { Priority {
    Low = "low",
    Normal = "normal",
    Critical = "critical",
} }

impl Priority {
    /// Its place among all of them, from 0, which is shed first.
    pub const fn rank(self) -> u8 {
        self as u8
    }
}

/// Conditions on a request. Each list holds when one of its entries does.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct MatchDocument {
    /// Host names, or `*.example.com` for every name below.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(
        feature = "schema",
        schemars(length(min = 1, max = 1_024), with = "Vec<HostName>")
    )]
    pub hosts: Vec<String>,
    /// Paths.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = 1_024)))]
    pub paths: Vec<PathMatchDocument>,
    /// Methods, like GET.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(
        feature = "schema",
        schemars(length(min = 1, max = 1_024), with = "Vec<Method>")
    )]
    pub methods: Vec<String>,
    /// Headers, all of which must match.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = 1_024)))]
    pub headers: Vec<NameMatchDocument>,
    /// Query parameters, all of which must match.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = 1_024)))]
    pub query: Vec<NameMatchDocument>,
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
    /// The client's network.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(
        feature = "schema",
        schemars(length(min = 1, max = 1_024), with = "Vec<Network>")
    )]
    pub cidrs: Vec<String>,
    /// The content class given by the caller.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(
        feature = "schema",
        schemars(length(min = 1, max = 1_024), with = "Vec<Id>")
    )]
    pub classes: Vec<String>,
}

impl MatchDocument {
    /// How many regular expressions it holds.
    pub(in crate::policy) fn expressions(&self) -> usize {
        let by_path = self.paths.iter().map(|path| path.kind);
        let by_value = self.headers.iter().chain(&self.query);
        by_path
            .filter(|kind| *kind == PathMatchKind::RegularExpression)
            .count()
            + by_value.filter(|value| value.regex.is_some()).count()
    }
}

/// A condition on the path, in the Gateway API's terms.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", schemars(
    extend("if" = { "properties": { "type": { "const": "RegularExpression" } }, "required": ["type"] }),
    extend("else" = { "properties": { "value": { "pattern": r"^(/[^?#*\\\s]*|\*)$" } } })
))]
pub struct PathMatchDocument {
    /// How `value` is compared; default `PathPrefix`.
    #[serde(default, rename = "type")]
    pub kind: PathMatchKind,
    /// The path, prefix or expression.
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = 2_048)))]
    pub value: String,
}

/// How a path is compared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
pub enum PathMatchKind {
    /// The whole path.
    Exact,
    /// Whole path elements from the start: `/a` matches `/a` and `/a/b`, not `/ab`.
    #[default]
    PathPrefix,
    /// A regular expression that must match the whole path.
    RegularExpression,
}

/// A condition on a header or query parameter. With none of `exact`, `prefix` and `regex`, it must only be present.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", schemars(extend("maxProperties" = 2)))]
pub struct NameMatchDocument {
    /// The name; headers are compared without case.
    #[cfg_attr(feature = "schema", schemars(with = "ParameterName"))]
    pub name: String,
    /// The whole value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(length(max = 2_048)))]
    pub exact: Option<String>,
    /// The value's beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(length(max = 2_048)))]
    pub prefix: Option<String>,
    /// A regular expression that must match the whole value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(length(max = 2_048)))]
    pub regex: Option<String>,
}

/// What makes two requests ask for the same object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct KeyDocument {
    /// The host is part of the key; default true.
    pub host: bool,
    /// The path is part of the key; default true.
    pub path: bool,
    /// Query parameters that are part of the key, in this order; `["*"]` takes the query as it stands. Default none.
    #[cfg_attr(
        feature = "schema",
        schemars(length(min = 0, max = 32), with = "Vec<ParameterName>")
    )]
    pub query: Vec<String>,
    /// Headers that are part of the key, in this order.
    #[cfg_attr(
        feature = "schema",
        schemars(length(min = 0, max = 32), with = "Vec<HeaderName>")
    )]
    pub headers: Vec<String>,
}

impl Default for KeyDocument {
    fn default() -> Self {
        Self {
            host: true,
            path: true,
            query: Vec::new(),
            headers: Vec::new(),
        }
    }
}
