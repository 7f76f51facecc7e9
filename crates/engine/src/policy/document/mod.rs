//! The policy file as written: pools, the score's weights, and the rules that choose among pools.
//!
//! Written out again, a document says every default but those of optional fields and lists: whoever compares two documents
//! (`difference`) reads the defaults off the types themselves.

mod example;
mod expect;
mod freshness;
mod gates;
mod limit;
mod operation;
mod rollout;
mod rule;
mod score;

use std::collections::BTreeMap;

#[cfg(feature = "schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[cfg(feature = "schema")]
use crate::document::grammar::{AddressPattern, CountryCode, Id, Method, Network};
use crate::document::{DurationMs, Metadata};
use crate::request::path::PathForm;

pub use example::{ExampleDocument, ExamplesDocument, ThenDocument};
pub use expect::{
    ExpectDocument, ExpectedMsDocument, RefusedDocument, ShareDocument, WhereDocument,
    WhoseDocument,
};
pub use freshness::{AdaptiveTtlDocument, FreshnessDocument, RuleFreshnessDocument};
pub use gates::GatesDocument;
pub use limit::{LimitDocument, LimitPer, RetriesDocument};
pub use operation::{
    BreakerDocument, ChangeBudgetDocument, OverloadDocument, ProbeDocument, ProbeKind,
    SignalDocument, SignalsDocument, SwitchMarginDocument, TopologyGuardDocument, WeightsDocument,
};
pub use rollout::{
    CohortDocument, GuardDocument, MetricDocument, RolloutDocument, StageDocument,
    WhenInconclusiveDocument,
};
pub use rule::{
    Action, KeyDocument, MatchDocument, NameMatchDocument, PathMatchDocument, PathMatchKind,
    Priority, RuleDocument,
};
pub use score::{
    BiasDocument, CostTermDocument, MissTermDocument, NetworkTermDocument, ScoreDocument,
    WeightDocument,
};

/// What `kind` must say.
pub const KIND: &str = "Policy";

/// A whole policy file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct PolicyDocument {
    /// The version of this format: `tradewind/v1`.
    #[cfg_attr(feature = "schema", schemars(extend("const" = "tradewind/v1")))]
    pub api_version: String,
    /// What the file holds: `Policy`.
    #[cfg_attr(feature = "schema", schemars(extend("const" = "Policy")))]
    pub kind: String,
    /// Who owns the policy, and what it is for.
    #[serde(default)]
    pub metadata: Metadata,
    /// The policy.
    pub spec: PolicySpec,
    /// Says, as the last field, that nothing is missing behind it: true, or left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<bool>", extend("const" = true)))]
    pub end: Option<bool>,
}

/// The policy itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct PolicySpec {
    /// Which node addresses may be named in answers.
    #[serde(default)]
    pub addresses: AddressesDocument,
    /// Where clients are when the geo files do not know, or know wrongly.
    #[serde(default)]
    pub geo: GeoDocument,
    /// How the paths of requests are read where servers differ.
    #[serde(default)]
    pub paths: PathForm,
    /// What a millisecond, a miss, an error and a dollar are worth.
    #[serde(default)]
    pub score: ScoreDocument,
    /// What happens when too little of a pool is left.
    #[serde(default)]
    pub panic: PanicDocument,
    /// When a node is left alone after failures, and for how long.
    #[serde(default)]
    pub breaker: BreakerDocument,
    /// How nodes are asked whether they are well.
    #[serde(default)]
    pub probe: ProbeDocument,
    /// How a node's weight follows its condition.
    #[serde(default)]
    pub weights: WeightsDocument,
    /// How long a node takes to its full weight after it joined or recovered, up to 1h; default 30s.
    #[serde(default = "default_slow_start")]
    pub slow_start_window: DurationMs,
    /// How long what was observed counts.
    #[serde(default)]
    pub signals: SignalsDocument,
    /// How many keys may change their node without need.
    #[serde(default)]
    pub change_budget: ChangeBudgetDocument,
    /// What becomes of requests when no node has room for them.
    #[serde(default)]
    pub overload: OverloadDocument,
    /// How many requests are let through, of all or of each who asks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", schemars(length(max = 64)))]
    pub limits: Vec<LimitDocument>,
    /// How often requests may be tried again.
    #[serde(default)]
    pub retries: RetriesDocument,
    /// How purges are kept, and which are to be confirmed.
    #[serde(default)]
    pub freshness: FreshnessDocument,
    /// What is left for operators to confirm.
    #[serde(default)]
    pub topology_guard: TopologyGuardDocument,
    /// Which decisions are kept for people to look at.
    #[serde(default)]
    pub decision_log: DecisionLogDocument,
    /// How much a change of this policy may do, by its plan.
    #[serde(default)]
    pub plan: GatesDocument,
    /// How a policy that is rolled out takes the place of this one.
    #[serde(default)]
    pub rollout: RolloutDocument,
    /// Named sets of nodes.
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = 256)))]
    pub pools: Vec<PoolDocument>,
    /// Kinds of content.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", schemars(length(max = 64)))]
    pub classes: Vec<ClassDocument>,
    /// Who goes where; the first that matches decides.
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = 10_000)))]
    pub rules: Vec<RuleDocument>,
    /// What becomes of requests that no rule matches. Needed unless the rules end with one that matches everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub otherwise: Option<Otherwise>,
}

/// What becomes of requests that no rule matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Otherwise {
    /// They are refused, with the reason `no_rule`.
    Refuse,
}

impl Default for PolicySpec {
    fn default() -> Self {
        Self {
            addresses: AddressesDocument::default(),
            geo: GeoDocument::default(),
            paths: PathForm::default(),
            score: ScoreDocument::default(),
            panic: PanicDocument::default(),
            breaker: BreakerDocument::default(),
            probe: ProbeDocument::default(),
            weights: WeightsDocument::default(),
            slow_start_window: default_slow_start(),
            signals: SignalsDocument::default(),
            change_budget: ChangeBudgetDocument::default(),
            overload: OverloadDocument::default(),
            limits: Vec::new(),
            retries: RetriesDocument::default(),
            freshness: FreshnessDocument::default(),
            topology_guard: TopologyGuardDocument::default(),
            decision_log: DecisionLogDocument::default(),
            plan: GatesDocument::default(),
            rollout: RolloutDocument::default(),
            pools: Vec::new(),
            classes: Vec::new(),
            rules: Vec::new(),
            otherwise: None,
        }
    }
}

/// Which node addresses may be named in answers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct AddressesDocument {
    /// Loopback, link-local, metadata and other refused ranges that this fleet does use, and names that its proxies look
    /// up (Envoy does not): networks, addresses, names or `.suffixes`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(
        feature = "schema",
        schemars(length(min = 0, max = 1_024), with = "Vec<AddressPattern>")
    )]
    pub allow: Vec<String>,
    /// When given, every node address must be in one of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(
        feature = "schema",
        schemars(length(min = 1, max = 1_024), with = "Vec<AddressPattern>")
    )]
    pub only: Vec<String>,
}

/// Corrections to the geo files.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct GeoDocument {
    /// Networks whose place is known better; the longest prefix wins.
    #[cfg_attr(feature = "schema", schemars(length(max = 100_000)))]
    pub overrides: Vec<OverrideDocument>,
    /// Where clients are taken to be whom nobody can place, by a sidecar that was not told where it is itself (`--here`).
    /// Without it such clients are spread over all sites by capacity.
    #[serde(rename = "default", skip_serializing_if = "Option::is_none")]
    pub fallback: Option<PlaceDocument>,
}

/// A network and where it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct OverrideDocument {
    /// The network, like `203.0.113.0/24`.
    #[cfg_attr(feature = "schema", schemars(with = "Network"))]
    pub cidr: String,
    /// Degrees north, -90 to 90.
    #[cfg_attr(feature = "schema", schemars(range(min = -90, max = 90)))]
    pub lat: f64,
    /// Degrees east, -180 to 180.
    #[cfg_attr(feature = "schema", schemars(range(min = -180, max = 180)))]
    pub lon: f64,
    /// ISO 3166 alpha-2 code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<CountryCode>"))]
    pub country: Option<String>,
}

/// A place on earth.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct PlaceDocument {
    /// Degrees north, -90 to 90.
    #[cfg_attr(feature = "schema", schemars(range(min = -90, max = 90)))]
    pub lat: f64,
    /// Degrees east, -180 to 180.
    #[cfg_attr(feature = "schema", schemars(range(min = -180, max = 180)))]
    pub lon: f64,
    /// ISO 3166 alpha-2 code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<CountryCode>"))]
    pub country: Option<String>,
}

/// What happens when too little of a pool is left.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct PanicDocument {
    /// Share of a pool's weight that must be healthy, 0 to 100; default 50.
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = 100)))]
    pub min_healthy_percent: f64,
    /// What is tried when no ready node is left in any tier before the origin.
    pub mode: PanicMode,
}

/// What is tried when no ready node is left in any tier before the origin.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum PanicMode {
    /// Every node not in maintenance, then the origin.
    #[default]
    AllReady,
    /// The origin at once.
    Origin,
    /// Refuse.
    Refuse,
}

/// Which decisions are kept for people to look at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct DecisionLogDocument {
    /// Share of decisions kept, 0 to 1; default 0.01. Degraded and refused ones are sampled 16 times as often.
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = 1)))]
    pub sample_ratio: f64,
}

/// A named set of nodes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct PoolDocument {
    /// A unique name.
    #[cfg_attr(feature = "schema", schemars(with = "Id"))]
    pub name: String,
    /// Which nodes belong to it; all conditions must hold.
    #[serde(default)]
    pub select: SelectDocument,
    /// What keeps requests on one node: the object's key, the client, or nothing.
    #[serde(default)]
    pub affinity: Affinity,
    /// How hot keys are spread.
    #[serde(default)]
    pub spread: SpreadDocument,
    /// Above this percentage of the mean load, a node's keys begin to spill to the next in their order, 101 to 1000;
    /// default: only when its utilisation says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(min = 101, max = 1000)))]
    pub hash_balance_factor: Option<f64>,
    /// How its nodes are told to drop what was purged; default: they are not told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reclaim: Option<ReclaimDocument>,
    /// What keeps its nodes from serving what was purged: versions in the keys of their caches, or that they have done the purge.
    #[serde(default)]
    pub freshness: FreshBy,
}

/// How keys that are asked for very often are spread over several nodes of a site.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct SpreadDocument {
    /// Most nodes that carry one key, 1 to 24; 1 is off. Default 24.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 24)))]
    pub max_copies: u8,
}

impl Default for SpreadDocument {
    fn default() -> Self {
        Self { max_copies: 24 }
    }
}

/// Conditions on nodes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct SelectDocument {
    /// The tier of the node's site.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<Id>"))]
    pub tier: Option<String>,
    /// The node's site is one of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", schemars(length(min = 1), with = "Vec<Id>"))]
    pub sites: Vec<String>,
    /// The node has all of these labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// What keeps nodes from serving what was purged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum FreshBy {
    /// The version of the object, which is part of the key of their caches.
    #[default]
    Version,
    /// That they have done its purges: who has not yet is named for it only where nobody else is left. Needs `reclaim` with a
    /// `wide_method`.
    Node,
}

/// How nodes are told over HTTP to drop what was purged, parents first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct ReclaimDocument {
    /// The method for a single object; default PURGE.
    #[cfg_attr(feature = "schema", schemars(with = "Method"))]
    pub method: String,
    /// The method for what is more than one object: a prefix, a host, a tag, a namespace; default: they are not told of such.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<Method>"))]
    pub wide_method: Option<String>,
    /// Where they listen for it; default: where they listen.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(min = 1)))]
    pub port: Option<u16>,
    /// A header that goes with each, `Name: value`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(length(min = 4, max = 512)))]
    pub header: Option<String>,
}

impl Default for ReclaimDocument {
    fn default() -> Self {
        Self {
            method: "PURGE".to_owned(),
            wide_method: None,
            port: None,
            header: None,
        }
    }
}

/// What keeps requests on one node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Affinity {
    /// The object: equal keys go to one node. For caches.
    #[default]
    Key,
    /// The client: one client's requests go to one node.
    Client,
    /// Nothing: requests spread evenly. For what cannot be cached.
    None,
}

/// A kind of content.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ClassDocument {
    /// A unique name.
    #[cfg_attr(feature = "schema", schemars(with = "Id"))]
    pub name: String,
    /// Typical size of an answer in bytes, for the cost term; default 100000.
    #[serde(default = "default_expected_bytes")]
    #[cfg_attr(
        feature = "schema",
        schemars(range(min = 0, max = 1_000_000_000_000_000_u64))
    )]
    pub expected_bytes: u64,
}

impl Default for PanicDocument {
    fn default() -> Self {
        Self {
            min_healthy_percent: 50.0,
            mode: PanicMode::AllReady,
        }
    }
}

impl Default for DecisionLogDocument {
    fn default() -> Self {
        Self { sample_ratio: 0.01 }
    }
}

/// Typical size of an answer in bytes when nothing says otherwise.
pub(super) fn default_expected_bytes() -> u64 {
    100_000
}

/// How long a node takes to its full weight when nothing says otherwise.
fn default_slow_start() -> DurationMs {
    DurationMs::from_ms(30_000)
}
