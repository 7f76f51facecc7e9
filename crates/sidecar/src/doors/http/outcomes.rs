//! `/v1/outcomes`: how attempts went, a JSON object a line.
//!
//! A line that cannot be read or believed is counted with its reason, as an outcome told over gRPC is, and the others
//! are taken. Lines are numbered from 1 in what is said of them. A line of a proxy's log may tell several attempts, or
//! none, where no node had a part in the request.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::extract::Query;
use http::{HeaderMap, Request, Response, StatusCode, header};

use super::{fault, json, no_policy, read_body};
use crate::identity::Caller;
use crate::intake::feedback::{Feedback, MAX_OUTCOMES, MAX_REPORT_BYTES, OutcomeLine};
use crate::wire;

/// Takes the lines of the body.
pub(super) async fn post(feedback: Feedback, request: Request<Body>) -> Response<Body> {
    if is_from_a_page(request.headers()) {
        let words =
            "a web page may not tell outcomes: `origin` or `sec-fetch-site` says that one asks";
        return fault(StatusCode::FORBIDDEN, words);
    }
    let reporter = match reporter(&request) {
        Ok(reporter) => reporter,
        Err(words) => return fault(StatusCode::BAD_REQUEST, &words),
    };
    // The gate tells of everybody who comes to this path.
    let caller = Caller::of(request.extensions());
    let body = match read_body(request.into_body(), MAX_REPORT_BYTES).await {
        Ok(body) => body,
        Err(answer) => return *answer,
    };
    let (mut outcomes, mut lines, mut readable) = (Vec::new(), 0, false);
    let mut beyond = 0;
    for (number, line) in (1..).zip(body.split(|byte| *byte == b'\n')) {
        if line.trim_ascii().is_empty() {
            continue;
        }
        lines += 1;
        if outcomes.len() >= MAX_OUTCOMES {
            beyond += 1;
            continue;
        }
        let told = wire::json::outcomes(line);
        readable |= told.is_ok();
        match told {
            Ok(told) => outcomes.extend(told.into_iter().map(|outcome| OutcomeLine {
                number,
                outcome: Ok(outcome),
            })),
            Err(fault) => outcomes.push(OutcomeLine {
                number,
                outcome: Err(fault),
            }),
        }
    }
    if lines == 0 {
        let words = "no outcome is given; a JSON object a line is expected";
        return fault(StatusCode::BAD_REQUEST, words);
    }
    let Some(summary) = feedback.take_lines(caller, &reporter, (&outcomes, beyond)) else {
        return no_policy();
    };
    let status = if readable {
        StatusCode::OK
    } else {
        StatusCode::BAD_REQUEST
    };
    json(status, Some(&summary))
}

/// Whether a browser asks for a page: any page elsewhere can make it send lines here. Programs send neither header.
fn is_from_a_page(headers: &HeaderMap) -> bool {
    headers.contains_key(header::ORIGIN) || headers.contains_key("sec-fetch-site")
}

/// Who tells, by the only parameter there is.
fn reporter(request: &Request<Body>) -> Result<String, String> {
    let parameters = Query::<BTreeMap<String, String>>::try_from_uri(request.uri());
    let Query(mut parameters) = parameters.map_err(|rejection| rejection.body_text())?;
    let reporter = parameters.remove("reporter").unwrap_or_default();
    if parameters.is_empty() {
        return Ok(reporter);
    }
    let unknown: Vec<_> = parameters.into_keys().collect();
    Err(format!(
        "unknown parameters: {}; allowed is reporter",
        unknown.join(", ")
    ))
}
