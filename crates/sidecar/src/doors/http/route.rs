//! `/v1/route`: a decision in headers and as JSON.
//!
//! A request comes in one of three ways, never mixed: as a JSON body (POST), as parameters of the URL, or else in
//! headers.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::extract::Query;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};

use super::{RETRY_AFTER, fault, json, no_policy, read_body};
use crate::clock;
use crate::doors::grpc::MAX_QUERY_BYTES;
use crate::intake::decider::{Decider, Ruling};
use crate::trace::context::Caller;
use crate::wire::question::Question;
use crate::wire::{self, Asked, answer, names, purge, refusal_status};
use tradewind_engine::evaluate::Verdict;
use tradewind_engine::query::Query as Asking;
use tradewind_engine::request::Reading;

static NODE: HeaderName = HeaderName::from_static("x-route-node");
static NODE_ID: HeaderName = HeaderName::from_static("x-route-node-id");
/// The path and query as rules saw them, for proxies that hand nodes just that.
static PATH: HeaderName = HeaderName::from_static("x-route-path");
/// How many of the nodes may be tried, where that is not all.
static MAX_ATTEMPTS: HeaderName = HeaderName::from_static("x-route-max-attempts");
static REASON: HeaderName = HeaderName::from_static(names::REASON);
static DECISION_ID: HeaderName = HeaderName::from_static(names::DECISION_ID);
static DESTINATION: HeaderName = HeaderName::from_static(names::DESTINATION);

/// Where the nodes after the first are; as many as a decision can name.
static FALLBACKS: [HeaderName; 7] = [
    HeaderName::from_static("x-route-fallback-1"),
    HeaderName::from_static("x-route-fallback-2"),
    HeaderName::from_static("x-route-fallback-3"),
    HeaderName::from_static("x-route-fallback-4"),
    HeaderName::from_static("x-route-fallback-5"),
    HeaderName::from_static("x-route-fallback-6"),
    HeaderName::from_static("x-route-fallback-7"),
];

/// Their ids.
static FALLBACK_IDS: [HeaderName; 7] = [
    HeaderName::from_static("x-route-fallback-1-id"),
    HeaderName::from_static("x-route-fallback-2-id"),
    HeaderName::from_static("x-route-fallback-3-id"),
    HeaderName::from_static("x-route-fallback-4-id"),
    HeaderName::from_static("x-route-fallback-5-id"),
    HeaderName::from_static("x-route-fallback-6-id"),
    HeaderName::from_static("x-route-fallback-7-id"),
];

/// A request in the URL's parameters if it has any, else in headers.
pub(super) fn get(decider: &Decider, request: &Request<Body>) -> Response<Body> {
    let body = request.method() != Method::HEAD;
    if request.uri().query().is_none() {
        let headers = request.headers();
        return decide(decider, body, headers, |reading| {
            wire::from_headers(headers, reading)
        });
    }
    match Query::<BTreeMap<String, String>>::try_from_uri(request.uri()) {
        Ok(Query(parameters)) => decide(decider, body, request.headers(), |_| {
            wire::from_parameters(&parameters)
        }),
        Err(rejection) => fault(StatusCode::BAD_REQUEST, &rejection.body_text()),
    }
}

/// A request in the body.
pub(super) async fn post(decider: Decider, request: Request<Body>) -> Response<Body> {
    if request.uri().query().is_some() {
        let words = "parameters of the URL and a body do not go together: use GET, or put all into the body";
        return fault(StatusCode::BAD_REQUEST, words);
    }
    let (head, body) = request.into_parts();
    match read_body(body, MAX_QUERY_BYTES).await {
        Ok(body) => decide(&decider, true, &head.headers, |_| {
            wire::json::request(&body)
        }),
        Err(answer) => *answer,
    }
}

/// Decides what was asked, or answers with everything that is wrong with it. Proxies ask for heads: who reads headers only
/// need not wait for a body, nor close the connection because of one that it did not read.
fn decide(
    decider: &Decider,
    body: bool,
    headers: &HeaderMap,
    read: impl FnOnce(&Reading) -> Asked,
) -> Response<Body> {
    let answer = decider.on_published(|published| {
        let (request, faults) = read(published.snapshot.reading());
        if faults.is_empty() {
            let question = Question::of(&request);
            let caller = Caller::new(headers);
            decider.decide_on(published, &question, caller, |ruling| respond(ruling, body))
        } else {
            Err(decider.reject(published, &request, faults))
        }
    });
    match answer {
        Some(Ok(answer)) => answer,
        Some(Err(error)) => {
            let status = error.client_status().unwrap_or(StatusCode::BAD_REQUEST);
            fault(status, &error.to_string())
        }
        None => {
            decider.count_too_early();
            no_policy()
        }
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
    if let Some(shed) = ruling.decision.evaluation().shed {
        let seconds = HeaderValue::from(u16::from(shed.retry_after_s));
        headers.insert(header::RETRY_AFTER, seconds);
    }
    headers.insert(&REASON, HeaderValue::from_static(reason.name()));
    let mut put = |name: &HeaderName, value: String| {
        // Ids, addresses and normal paths are of strict grammars without control bytes, so that they always fit into a header.
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    };
    put(&DECISION_ID, message.decision_id);
    if message.max_attempts > 0 {
        put(&MAX_ATTEMPTS, message.max_attempts.to_string());
    }
    if ruling.decision.evaluation().verdict == Verdict::Route && !ruling.query.path.is_empty() {
        put(&PATH, target_of(ruling.query));
    }
    let (envelope, ttl_ms) = (&ruling.envelope, ruling.decision.cache_ttl_ms());
    let is_known = envelope.is_freshness_known;
    for (name, value) in purge::headers(envelope.fresh, is_known, ttl_ms, clock::unix_ms) {
        put(&HeaderName::from_static(name), value);
    }
    let addresses = message
        .candidates
        .iter()
        .map(|candidate| &*candidate.address);
    let addresses: Vec<&str> = addresses.collect();
    if !addresses.is_empty() {
        put(&DESTINATION, addresses.join(","));
    }
    let names = std::iter::once(&NODE).chain(&FALLBACKS);
    let ids = std::iter::once(&NODE_ID).chain(&FALLBACK_IDS);
    for ((name, id), candidate) in names.zip(ids).zip(message.candidates) {
        put(name, candidate.address);
        put(id, candidate.node);
    }
    answer
}

/// The target of a request in normal form.
fn target_of(query: &Asking<'_>) -> String {
    if query.query_string.is_empty() {
        query.path.to_owned()
    } else {
        format!("{}?{}", query.path, query.query_string)
    }
}
