//! Gates as written: how much a change of the policy may do without somebody's word.

#[cfg(feature = "schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How much a change may do, by its plan. What counts for a change are the gates of the policy that is in force, so that
/// none can loosen its own. A gate that is left out is open.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct GatesDocument {
    /// Most keys that get another first node, in percent of those looked at, 0 to 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = 100)))]
    pub max_moved_keys_percent: Option<f64>,
    /// Most client groups that get another first site, in percent of those looked at, 0 to 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = 100)))]
    pub max_moved_clients_percent: Option<f64>,
    /// Most requests that get another first node, in percent of those looked at, 0 to 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = 100)))]
    pub max_moved_requests_percent: Option<f64>,
    /// Most fetches from the origin that the change makes, in percent of the requests looked at, 0 to 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = 100)))]
    pub max_extra_origin_percent: Option<f64>,
    /// Most that requests may cost more on the mean, in ms, 0 to 60000.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = 60_000)))]
    pub max_expected_increase_ms: Option<f64>,
    /// Most requests that are routed before and refused afterwards, in percent of those looked at, 0 to 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = 100)))]
    pub max_newly_refused_percent: Option<f64>,
    /// Whether a broken expectation of the new policy stops it; default true.
    pub require_expectations: bool,
}

impl Default for GatesDocument {
    fn default() -> Self {
        Self {
            max_moved_keys_percent: None,
            max_moved_clients_percent: None,
            max_moved_requests_percent: None,
            max_extra_origin_percent: None,
            max_expected_increase_ms: None,
            max_newly_refused_percent: None,
            require_expectations: true,
        }
    }
}
