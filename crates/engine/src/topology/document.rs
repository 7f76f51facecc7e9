//! The topology file as written: sites, and the nodes in them.

use std::collections::BTreeMap;

#[cfg(feature = "schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::document::Metadata;
#[cfg(feature = "schema")]
use crate::document::grammar::{CountryCode, HostAndPort, Id};
use crate::model::AdminState;

/// What `apiVersion` must say.
pub const API_VERSION: &str = "tradewind/v1";

/// What `kind` must say.
pub const KIND: &str = "Topology";

/// A whole topology file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct TopologyDocument {
    /// The version of this format: `tradewind/v1`.
    #[cfg_attr(feature = "schema", schemars(extend("const" = "tradewind/v1")))]
    pub api_version: String,
    /// What the file holds: `Topology`.
    #[cfg_attr(feature = "schema", schemars(extend("const" = "Topology")))]
    pub kind: String,
    /// Who owns the fleet, and what it is for.
    #[serde(default)]
    pub metadata: Metadata,
    /// The fleet.
    pub spec: TopologySpec,
    /// Says, as the last field, that nothing is missing behind it: true, or left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<bool>", extend("const" = true)))]
    pub end: Option<bool>,
}

/// The fleet itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct TopologySpec {
    /// The tiers, from the one nearest to clients to the origin. Default: edge, regional, origin.
    #[serde(default = "default_tiers")]
    #[cfg_attr(
        feature = "schema",
        schemars(length(min = 1, max = 8), with = "Vec<Id>")
    )]
    pub tiers: Vec<String>,
    /// The places where nodes stand.
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = 5_000)))]
    pub sites: Vec<SiteDocument>,
    /// The cache nodes.
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = 50_000)))]
    pub nodes: Vec<NodeDocument>,
}

/// A site (point of presence).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SiteDocument {
    /// A unique name, often an airport code.
    #[cfg_attr(feature = "schema", schemars(with = "Id"))]
    pub id: String,
    /// Degrees north, -90 to 90.
    #[cfg_attr(feature = "schema", schemars(range(min = -90, max = 90)))]
    pub lat: f64,
    /// Degrees east, -180 to 180.
    #[cfg_attr(feature = "schema", schemars(range(min = -180, max = 180)))]
    pub lon: f64,
    /// ISO 3166 alpha-2 code of the country it stands in; used by geofences.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<CountryCode>"))]
    pub country: Option<String>,
    /// One of `tiers`; default: the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<Id>"))]
    pub tier: Option<String>,
    /// Sites of a later tier that fill this one's misses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(
        feature = "schema",
        schemars(length(min = 0, max = 16), with = "Vec<Id>")
    )]
    pub parents: Vec<String>,
    /// What a gigabyte sent to clients costs here, in USD; 0 to 100; default 0.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = 100)))]
    pub price_usd_per_gb: f64,
    /// Words to select by; every node of the site has them too.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(feature = "schema", schemars(length(max = 32)))]
    pub labels: BTreeMap<String, String>,
    /// Whether the site takes traffic; default ready.
    #[serde(default, skip_serializing_if = "is_ready")]
    pub state: AdminState,
}

/// A cache node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct NodeDocument {
    /// A unique, stable name: placement of objects follows it, not the address.
    #[cfg_attr(feature = "schema", schemars(with = "Id"))]
    pub id: String,
    /// The site it stands in.
    #[cfg_attr(feature = "schema", schemars(with = "Id"))]
    pub site: String,
    /// `host:port` or `[ipv6]:port` that proxies connect to.
    #[cfg_attr(feature = "schema", schemars(with = "HostAndPort"))]
    pub address: String,
    /// Relative size, 1 to 1000; default 100.
    #[serde(
        default = "default_capacity",
        skip_serializing_if = "is_default_capacity"
    )]
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 1000)))]
    pub capacity: u16,
    /// Words to select by, added to the site's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(feature = "schema", schemars(length(max = 32)))]
    pub labels: BTreeMap<String, String>,
    /// Whether the node takes traffic; default ready.
    #[serde(default, skip_serializing_if = "is_ready")]
    pub state: AdminState,
}

fn default_tiers() -> Vec<String> {
    ["edge", "regional", "origin"].map(str::to_owned).to_vec()
}

fn default_capacity() -> u16 {
    100
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature serde asks for"
)]
fn is_default_capacity(capacity: &u16) -> bool {
    *capacity == default_capacity()
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature serde asks for"
)]
fn is_zero(value: &f64) -> bool {
    *value == 0.0
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature serde asks for"
)]
fn is_ready(state: &AdminState) -> bool {
    *state == AdminState::Ready
}
