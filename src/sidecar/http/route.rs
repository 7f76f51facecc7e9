//! `/v1/route`: a decision in headers and as JSON.
//!
//! A request comes in one of three ways, never mixed: as a JSON body (POST), as parameters of the URL, or else in
//! headers.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::extract::Query;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};

use super::{RETRY_AFTER, fault, json, no_policy, read_body};
use crate::sidecar::decider::{Decider, Ruling};
use crate::sidecar::grpc::MAX_QUERY_BYTES;
use crate::sidecar::wire::{self, Asked, answer, names, refusal_status};

static NODE: HeaderName = HeaderName::from_static("x-route-node");
static NODE_ID: HeaderName = HeaderName::from_static("x-route-node-id");
static REASON: HeaderName = HeaderName::from_static(names::REASON);
static DECISION_ID: HeaderName = HeaderName::from_static(names::DECISION_ID);
static DESTINATION: HeaderName = HeaderName::from_static(names::DESTINATION);

/// The nodes after the first; as many as a decision can name.
static FALLBACKS: [HeaderName; 7] = [
    HeaderName::from_static("x-route-fallback-1"),
    HeaderName::from_static("x-route-fallback-2"),
    HeaderName::from_static("x-route-fallback-3"),
    HeaderName::from_static("x-route-fallback-4"),
    HeaderName::from_static("x-route-fallback-5"),
    HeaderName::from_static("x-route-fallback-6"),
    HeaderName::from_static("x-route-fallback-7"),
];

/// A request in the URL's parameters if it has any, else in headers.
pub(super) fn get(decider: &Decider, request: &Request<Body>) -> Response<Body> {
    let body = request.method() != Method::HEAD;
    if request.uri().query().is_none() {
        return decide(decider, wire::from_headers(request.headers()), body);
    }
    match Query::<BTreeMap<String, String>>::try_from_uri(request.uri()) {
        Ok(Query(parameters)) => decide(decider, wire::from_parameters(&parameters), body),
        Err(rejection) => fault(StatusCode::BAD_REQUEST, &rejection.body_text()),
    }
}

/// A request in the body.
pub(super) async fn post(decider: Decider, request: Request<Body>) -> Response<Body> {
    if request.uri().query().is_some() {
        let words = "parameters of the URL and a body do not go together: use GET, or put all into the body";
        return fault(StatusCode::BAD_REQUEST, words);
    }
    match read_body(request.into_body(), MAX_QUERY_BYTES).await {
        Ok(body) => decide(&decider, wire::json::request(&body), true),
        Err(answer) => *answer,
    }
}

/// Decides what was asked, or answers with everything that is wrong with it. Proxies ask for heads: who reads headers only
/// need not wait for a body, nor close the connection because of one that it did not read.
fn decide(decider: &Decider, (request, faults): Asked, body: bool) -> Response<Body> {
    let answer = decider.on_published(|published| {
        if faults.is_empty() {
            decider.decide_on(published, request, |ruling| respond(ruling, body))
        } else {
            Err(decider.reject(&request, faults))
        }
    });
    match answer {
        Some(Ok(answer)) => answer,
        Some(Err(error)) => fault(StatusCode::BAD_REQUEST, &error.to_string()),
        None => no_policy(),
    }
}

fn respond(ruling: &Ruling<'_>, body: bool) -> Response<Body> {
    let reason = ruling.decision.evaluation().reason;
    let message = answer::message(&ruling.decision, &ruling.envelope);
    let status = refusal_status(reason);
    let mut answer = json(status, body.then_some(&message));
    let headers = answer.headers_mut();
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(header::RETRY_AFTER, RETRY_AFTER);
    }
    headers.insert(&REASON, HeaderValue::from_static(reason.name()));
    let mut put = |name: &HeaderName, value: String| {
        // Ids and addresses are of a strict grammar without control bytes, so that they always fit into a header.
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    };
    put(&DECISION_ID, message.decision_id);
    let addresses = message
        .candidates
        .iter()
        .map(|candidate| &*candidate.address);
    let addresses: Vec<&str> = addresses.collect();
    if !addresses.is_empty() {
        put(&DESTINATION, addresses.join(","));
    }
    let names = std::iter::once(&NODE).chain(&FALLBACKS);
    for (name, candidate) in names.zip(message.candidates) {
        put(name, candidate.address);
        if *name == NODE {
            put(&NODE_ID, candidate.node);
        }
    }
    answer
}
