//! How much a change may do, held against what it does.

use serde::Serialize;

use super::claims::Upshot;
use super::report::Report;
use crate::policy::Gates;

/// A gate that a change does not pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Breach {
    /// The field of `spec.plan`.
    pub gate: &'static str,
    /// What it does, and what it may, in words.
    pub text: String,
}

/// A figure that a gate bounds.
struct Figure {
    gate: &'static str,
    most: Option<f64>,
    /// `None` where nobody knows: then no bound is broken.
    value: Option<f64>,
    what: &'static str,
}

/// The gates that a change does not pass, in the order of the document. `gates` are those of the policy that is in force:
/// what a new policy says of gates holds for the change after it, so that none can loosen its own.
///
/// Where nothing was looked at, nothing is passed.
pub fn gates(report: &Report, gates: &Gates) -> Vec<Breach> {
    if report.requests.asked == 0 {
        let text = "no request could be looked at, so nobody knows what the change does";
        return vec![Breach {
            gate: "plan",
            text: text.to_owned(),
        }];
    }
    let figures = figures(report, gates).into_iter().filter_map(|figure| {
        let (most, value) = figure.most.zip(figure.value)?;
        (value > most).then(|| Breach {
            gate: figure.gate,
            text: format!("{value:.2} {}, allowed are {most}", figure.what),
        })
    });
    let claims = report.expectations.iter();
    let broken = claims
        .filter(|claim| gates.require_expectations && claim.upshot == Upshot::Broken)
        .map(|claim| Breach {
            gate: "require_expectations",
            text: format!(
                "rule `{}` expects: {}; it comes out at {}",
                claim.rule, claim.claim, claim.came_out
            ),
        });
    figures.chain(broken).collect()
}

fn figures(report: &Report, gates: &Gates) -> [Figure; 6] {
    let figure = |gate, (most, value), what| Figure {
        gate,
        most,
        value,
        what,
    };
    [
        figure(
            "max_moved_keys_percent",
            (
                gates.max_moved_keys_percent,
                Some(report.keys.all.moved_percent),
            ),
            "% of the keys get another first node",
        ),
        figure(
            "max_moved_clients_percent",
            (
                gates.max_moved_clients_percent,
                Some(report.clients.moved_percent),
            ),
            "% of the client groups get another first site",
        ),
        figure(
            "max_moved_requests_percent",
            (
                gates.max_moved_requests_percent,
                Some(report.requests.moved_percent),
            ),
            "% of the requests get another first node",
        ),
        figure(
            "max_extra_origin_percent",
            (
                gates.max_extra_origin_percent,
                Some(report.extra_origin.percent),
            ),
            "% of the requests are fetched from the origin once more",
        ),
        figure(
            "max_expected_increase_ms",
            (
                gates.max_expected_increase_ms,
                report.expected_ms.mean_increase,
            ),
            "ms more are expected on the mean",
        ),
        figure(
            "max_newly_refused_percent",
            (
                gates.max_newly_refused_percent,
                Some(report.newly_refused_percent),
            ),
            "% of the requests are refused that were routed",
        ),
    ]
}
