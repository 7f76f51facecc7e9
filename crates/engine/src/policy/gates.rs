//! How much a change of a policy may do, by its plan.

use super::document::{GatesDocument, PolicySpec};
use crate::document::{Checker, Code, Path};

/// How much a change may do; checked. What is absent is no bound.
#[derive(Debug, Clone, PartialEq)]
pub struct Gates {
    /// Most keys that get another first node, in percent.
    pub max_moved_keys_percent: Option<f64>,
    /// Most client groups that get another first site, in percent.
    pub max_moved_clients_percent: Option<f64>,
    /// Most requests that get another first node, in percent.
    pub max_moved_requests_percent: Option<f64>,
    /// Most fetches from the origin that it makes, in percent of the requests.
    pub max_extra_origin_percent: Option<f64>,
    /// Most that requests may cost more on the mean, in ms.
    pub max_expected_increase_ms: Option<f64>,
    /// Most requests that are routed before and refused afterwards, in percent.
    pub max_newly_refused_percent: Option<f64>,
    /// Whether a broken expectation of the new policy stops it.
    pub require_expectations: bool,
}

impl Gates {
    /// Checks the section and makes it ready.
    pub(super) fn new(checker: &mut Checker<'_>, path: &Path<'_>, spec: &PolicySpec) -> Self {
        let path = path.field("plan");
        let GatesDocument {
            max_moved_keys_percent,
            max_moved_clients_percent,
            max_moved_requests_percent,
            max_extra_origin_percent,
            max_expected_increase_ms,
            max_newly_refused_percent,
            require_expectations,
        } = spec.plan;
        for (field, value, most) in [
            ("max_moved_keys_percent", max_moved_keys_percent, 100.0),
            (
                "max_moved_clients_percent",
                max_moved_clients_percent,
                100.0,
            ),
            (
                "max_moved_requests_percent",
                max_moved_requests_percent,
                100.0,
            ),
            ("max_extra_origin_percent", max_extra_origin_percent, 100.0),
            (
                "max_expected_increase_ms",
                max_expected_increase_ms,
                60_000.0,
            ),
            (
                "max_newly_refused_percent",
                max_newly_refused_percent,
                100.0,
            ),
        ] {
            if let Some(value) = value {
                checker.in_range(Code::P006, &path.field(field), value, &(0.0..=most));
            }
        }
        Self {
            max_moved_keys_percent,
            max_moved_clients_percent,
            max_moved_requests_percent,
            max_extra_origin_percent,
            max_expected_increase_ms,
            max_newly_refused_percent,
            require_expectations,
        }
    }
}
