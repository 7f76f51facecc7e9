//! The policy file as written: pools, the score's weights, and the rules that choose among pools.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::operation::{
    BreakerDocument, ChangeBudgetDocument, ProbeDocument, SignalsDocument, SwitchMarginDocument,
    TopologyGuardDocument, WeightsDocument,
};
use crate::engine::document::grammar::{
    AddressPattern, CountryCode, Day, HeaderName, HostName, Id, Method, Network, ParameterName,
    Words,
};
use crate::engine::document::{DurationMs, Metadata};
use crate::engine::request::path::PathForm;

/// What `kind` must say.
pub const KIND: &str = "Policy";

/// A whole policy file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct PolicyDocument {
    /// The version of this format: `tradewind/v1`.
    #[schemars(extend("const" = "tradewind/v1"))]
    pub api_version: String,
    /// What the file holds: `Policy`.
    #[schemars(extend("const" = "Policy"))]
    pub kind: String,
    /// Who owns the policy, and what it is for.
    #[serde(default)]
    pub metadata: Metadata,
    /// The policy.
    pub spec: PolicySpec,
}

/// The policy itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicySpec {
    /// Which node addresses may be named in answers.
    #[serde(default, skip_serializing_if = "is_default")]
    pub addresses: AddressesDocument,
    /// Where clients are when the geo files do not know, or know wrongly.
    #[serde(default, skip_serializing_if = "is_default")]
    pub geo: GeoDocument,
    /// How the paths of requests are read where servers differ.
    #[serde(default, skip_serializing_if = "is_default")]
    pub paths: PathForm,
    /// What a millisecond, a miss, an error and a dollar are worth.
    #[serde(default, skip_serializing_if = "is_default")]
    pub score: ScoreDocument,
    /// What happens when too little of a pool is left.
    #[serde(default, skip_serializing_if = "is_default")]
    pub panic: PanicDocument,
    /// When a node is left alone after failures, and for how long.
    #[serde(default, skip_serializing_if = "is_default")]
    pub breaker: BreakerDocument,
    /// How nodes are asked whether they are well.
    #[serde(default, skip_serializing_if = "is_default")]
    pub probe: ProbeDocument,
    /// How a node's weight follows its condition.
    #[serde(default, skip_serializing_if = "is_default")]
    pub weights: WeightsDocument,
    /// How long a node takes to its full weight after it joined or recovered, up to 1h; default 30s.
    #[serde(
        default = "default_slow_start",
        skip_serializing_if = "is_default_slow_start"
    )]
    pub slow_start_window: DurationMs,
    /// How long what was observed counts.
    #[serde(default, skip_serializing_if = "is_default")]
    pub signals: SignalsDocument,
    /// How many keys may change their node without need.
    #[serde(default, skip_serializing_if = "is_default")]
    pub change_budget: ChangeBudgetDocument,
    /// What is left for operators to confirm.
    #[serde(default, skip_serializing_if = "is_default")]
    pub topology_guard: TopologyGuardDocument,
    /// Which decisions are kept for people to look at.
    #[serde(default, skip_serializing_if = "is_default")]
    pub decision_log: DecisionLogDocument,
    /// Named sets of nodes.
    #[schemars(length(min = 1, max = 256))]
    pub pools: Vec<PoolDocument>,
    /// Kinds of content.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub classes: Vec<ClassDocument>,
    /// Who goes where; the first that matches decides.
    #[schemars(length(min = 1, max = 10_000))]
    pub rules: Vec<RuleDocument>,
    /// What becomes of requests that no rule matches. Needed unless the rules end with one that matches everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub otherwise: Option<Otherwise>,
}

/// What becomes of requests that no rule matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
            topology_guard: TopologyGuardDocument::default(),
            decision_log: DecisionLogDocument::default(),
            pools: Vec::new(),
            classes: Vec::new(),
            rules: Vec::new(),
            otherwise: None,
        }
    }
}

/// Which node addresses may be named in answers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AddressesDocument {
    /// Loopback, link-local, metadata and other refused ranges that this fleet does use, and names that its proxies look
    /// up (Envoy does not): networks, addresses, names or `.suffixes`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 0, max = 1_024), with = "Vec<AddressPattern>")]
    pub allow: Vec<String>,
    /// When given, every node address must be in one of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 1_024), with = "Vec<AddressPattern>")]
    pub only: Vec<String>,
}

/// Corrections to the geo files.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GeoDocument {
    /// Networks whose place is known better; the longest prefix wins.
    #[schemars(length(max = 100_000))]
    pub overrides: Vec<OverrideDocument>,
    /// Where clients are taken to be whom nobody can place, by a sidecar that was not told where it is itself (`--here`).
    /// Without it such clients are spread over all sites by capacity.
    #[serde(rename = "default", skip_serializing_if = "Option::is_none")]
    pub fallback: Option<PlaceDocument>,
}

/// A network and where it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OverrideDocument {
    /// The network, like `203.0.113.0/24`.
    #[schemars(with = "Network")]
    pub cidr: String,
    /// Degrees north, -90 to 90.
    #[schemars(range(min = -90, max = 90))]
    pub lat: f64,
    /// Degrees east, -180 to 180.
    #[schemars(range(min = -180, max = 180))]
    pub lon: f64,
    /// ISO 3166 alpha-2 code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<CountryCode>")]
    pub country: Option<String>,
}

/// A place on earth.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PlaceDocument {
    /// Degrees north, -90 to 90.
    #[schemars(range(min = -90, max = 90))]
    pub lat: f64,
    /// Degrees east, -180 to 180.
    #[schemars(range(min = -180, max = 180))]
    pub lon: f64,
    /// ISO 3166 alpha-2 code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<CountryCode>")]
    pub country: Option<String>,
}

/// The score of a site in milliseconds: the sum of six terms, each with a weight.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ScoreDocument {
    /// Time on the way: `base_ms` + `ms_per_km` * great-circle distance until measured.
    pub network: NetworkTermDocument,
    /// Waiting at a busy node.
    pub queue: WeightDocument,
    /// Expected time lost to misses: (1 - hit ratio) * `fetch_ms`.
    pub miss: MissTermDocument,
    /// Expected time lost to errors.
    pub error: WeightDocument,
    /// Price of egress, turned into milliseconds; off while the weight is 0.
    pub cost: CostTermDocument,
    /// Milliseconds added to (or, negative, taken from) named sites.
    #[schemars(length(max = 5_000))]
    pub bias: Vec<BiasDocument>,
    /// Sites further than this behind the best are not used for fallback; no bound while absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_detour: Option<DurationMs>,
    /// Sites within this of the best share their keys with it; 0ms: the best alone.
    pub spread: DurationMs,
    /// What it takes to switch to another site.
    #[serde(skip_serializing_if = "is_default")]
    pub switch_margin: SwitchMarginDocument,
}

/// A term's weight.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WeightDocument {
    /// Factor on the term, 0 to 100; default 1.
    #[schemars(range(min = 0, max = 100))]
    pub weight: f64,
}

/// The network term.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NetworkTermDocument {
    /// Factor on the term, 0 to 100; default 1.
    #[schemars(range(min = 0, max = 100))]
    pub weight: f64,
    /// Milliseconds to a site next door, 0 to 1000; default 5.
    #[schemars(range(min = 0, max = 1000))]
    pub base_ms: f64,
    /// Milliseconds per kilometre of great circle, 0.001 to 1; default 0.016.
    #[schemars(range(min = 0.001, max = 1))]
    pub ms_per_km: f64,
}

/// The miss term.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MissTermDocument {
    /// Factor on the term, 0 to 100; default 1.
    #[schemars(range(min = 0, max = 100))]
    pub weight: f64,
    /// Milliseconds to fetch a missing object from the parent until measured, 0 to 60000; default 40.
    #[schemars(range(min = 0, max = 60_000))]
    pub fetch_ms: f64,
}

/// The cost term.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CostTermDocument {
    /// Factor on the term, 0 to 100; default 0 (off).
    #[schemars(range(min = 0, max = 100))]
    pub weight: f64,
    /// How many milliseconds one US dollar is worth, 0 to 1e9; default 0.
    #[schemars(range(min = 0, max = 1_000_000_000))]
    pub ms_per_usd: f64,
}

/// A site that operators prefer or avoid.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BiasDocument {
    /// The site.
    #[schemars(with = "Id")]
    pub site: String,
    /// Milliseconds added to its score, -1000 to 1000.
    #[schemars(range(min = -1000, max = 1000))]
    pub ms: f64,
}

/// What happens when too little of a pool is left.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PanicDocument {
    /// Share of a pool's weight that must be healthy, 0 to 100; default 50.
    #[schemars(range(min = 0, max = 100))]
    pub min_healthy_percent: f64,
    /// What is tried when no ready node is left in any tier before the origin.
    pub mode: PanicMode,
}

/// What is tried when no ready node is left in any tier before the origin.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DecisionLogDocument {
    /// Share of decisions kept, 0 to 1; default 0.01. Degraded and refused ones are sampled 16 times as often.
    #[schemars(range(min = 0, max = 1))]
    pub sample_ratio: f64,
}

/// A named set of nodes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PoolDocument {
    /// A unique name.
    #[schemars(with = "Id")]
    pub name: String,
    /// Which nodes belong to it; all conditions must hold.
    #[serde(default, skip_serializing_if = "is_default")]
    pub select: SelectDocument,
    /// What keeps requests on one node: the object's key, the client, or nothing.
    #[serde(default, skip_serializing_if = "is_default")]
    pub affinity: Affinity,
    /// How hot keys are spread.
    #[serde(default, skip_serializing_if = "is_default")]
    pub spread: SpreadDocument,
    /// Above this percentage of the mean load, a node's keys begin to spill to the next in their order, 101 to 1000;
    /// default: only when its utilisation says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 101, max = 1000))]
    pub hash_balance_factor: Option<f64>,
}

/// How keys that are asked for very often are spread over several nodes of a site.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SpreadDocument {
    /// Most nodes that carry one key, 1 to 24; 1 is off. Default 24.
    #[schemars(range(min = 1, max = 24))]
    pub max_copies: u8,
}

impl Default for SpreadDocument {
    fn default() -> Self {
        Self { max_copies: 24 }
    }
}

/// Conditions on nodes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SelectDocument {
    /// The tier of the node's site.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Id>")]
    pub tier: Option<String>,
    /// The node's site is one of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1), with = "Vec<Id>")]
    pub sites: Vec<String>,
    /// The node has all of these labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// What keeps requests on one node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClassDocument {
    /// A unique name.
    #[schemars(with = "Id")]
    pub name: String,
    /// Typical size of an answer in bytes, for the cost term; default 100000.
    #[serde(default = "default_expected_bytes")]
    #[schemars(range(min = 0, max = 1_000_000_000_000_000_u64))]
    pub expected_bytes: u64,
}

/// Who goes where.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleDocument {
    /// A unique name, shown in every answer.
    #[schemars(with = "Id")]
    pub name: String,
    /// The team to ask at 3 a.m.
    #[schemars(with = "Words")]
    pub owner: String,
    /// Why the rule exists.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub intent: String,
    /// How to undo it.
    #[schemars(with = "Words")]
    pub rollback: String,
    /// The last day (YYYY-MM-DD) it is meant to be in force; checked, not enforced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Day>")]
    pub expires: Option<String>,
    /// Which requests; all conditions must hold, an empty one matches everything.
    #[serde(default, rename = "match", skip_serializing_if = "is_default")]
    pub matches: MatchDocument,
    /// What to do with them.
    #[serde(default, skip_serializing_if = "is_default")]
    pub action: Action,
    /// Pools in the order they are tried, nearest tier first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 0, max = 8), with = "Vec<Id>")]
    pub pools: Vec<String>,
    /// What makes two requests ask for the same object.
    #[serde(default, skip_serializing_if = "is_default")]
    pub key: KeyDocument,
    /// The kind of content, one of `classes`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Id>")]
    pub class: Option<String>,
    /// How many nodes an answer names, 1 to 8; default 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 8))]
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
    /// Labels a node must have to serve this (capability). Never relaxed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub require: BTreeMap<String, String>,
    /// Countries whose sites may serve this (geofence). Never relaxed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1), with = "Vec<CountryCode>")]
    pub geofence: Vec<String>,
}

/// What to do with a request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Name nodes of the rule's pools.
    #[default]
    Route,
    /// Name none.
    Refuse,
}

/// Conditions on a request. Each list holds when one of its entries does.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MatchDocument {
    /// Host names, or `*.example.com` for every name below.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 1_024), with = "Vec<HostName>")]
    pub hosts: Vec<String>,
    /// Paths.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 1_024))]
    pub paths: Vec<PathMatchDocument>,
    /// Methods, like GET.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 1_024), with = "Vec<Method>")]
    pub methods: Vec<String>,
    /// Headers, all of which must match.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 1_024))]
    pub headers: Vec<NameMatchDocument>,
    /// Query parameters, all of which must match.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 1_024))]
    pub query: Vec<NameMatchDocument>,
    /// The client's country, ISO 3166 alpha-2.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 1_024), with = "Vec<CountryCode>")]
    pub countries: Vec<String>,
    /// The client's autonomous system.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 1_024), inner(range(min = 1)))]
    pub asns: Vec<u32>,
    /// The client's network.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 1_024), with = "Vec<Network>")]
    pub cidrs: Vec<String>,
    /// The content class given by the caller.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 1_024), with = "Vec<Id>")]
    pub classes: Vec<String>,
}

impl MatchDocument {
    /// How many regular expressions it holds.
    pub(super) fn expressions(&self) -> usize {
        let by_path = self.paths.iter().map(|path| path.kind);
        let by_value = self.headers.iter().chain(&self.query);
        by_path
            .filter(|kind| *kind == PathMatchKind::RegularExpression)
            .count()
            + by_value.filter(|value| value.regex.is_some()).count()
    }
}

/// A condition on the path, in the Gateway API's terms.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(
    extend("if" = { "properties": { "type": { "const": "RegularExpression" } }, "required": ["type"] }),
    extend("else" = { "properties": { "value": { "pattern": r"^(/[^?#*\\\s]*|\*)$" } } })
)]
pub struct PathMatchDocument {
    /// How `value` is compared; default `PathPrefix`.
    #[serde(default, rename = "type")]
    pub kind: PathMatchKind,
    /// The path, prefix or expression.
    #[schemars(length(min = 1, max = 2_048))]
    pub value: String,
}

/// How a path is compared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("maxProperties" = 2))]
pub struct NameMatchDocument {
    /// The name; headers are compared without case.
    #[schemars(with = "ParameterName")]
    pub name: String,
    /// The whole value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2_048))]
    pub exact: Option<String>,
    /// The value's beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2_048))]
    pub prefix: Option<String>,
    /// A regular expression that must match the whole value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2_048))]
    pub regex: Option<String>,
}

/// What makes two requests ask for the same object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct KeyDocument {
    /// The host is part of the key; default true.
    pub host: bool,
    /// The path is part of the key; default true.
    pub path: bool,
    /// Query parameters that are part of the key, in this order; `["*"]` takes the query as it stands. Default none.
    #[schemars(length(min = 0, max = 32), with = "Vec<ParameterName>")]
    pub query: Vec<String>,
    /// Headers that are part of the key, in this order.
    #[schemars(length(min = 0, max = 32), with = "Vec<HeaderName>")]
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

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature serde asks for"
)]
fn is_default_slow_start(value: &DurationMs) -> bool {
    *value == default_slow_start()
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
