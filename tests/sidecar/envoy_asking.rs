//! Envoy's two ways to ask, `ext_authz` and `ext_proc`, message by message: what a real Envoy does not show (its tests are
//! in `tests/proxies`), such as the hints of a gateway.

use std::collections::BTreeMap;

use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Value};
use tonic::metadata::MetadataValue;
use tonic::{Code, Request, Status};
use tradewind::sidecar::doors::envoy::proto::envoy as api;
use tradewind::sidecar::doors::envoy::{DECISION_ID, DESTINATION, SERVED};
use tradewind::sidecar::wire::proto::DecideResponse;

use api::config::core::v3::address::Address as Place;
use api::config::core::v3::socket_address::PortSpecifier;
use api::config::core::v3::{
    Address, HeaderMap, HeaderValue, HeaderValueOption, Metadata, SocketAddress,
};
use api::extensions::filters::http::ext_proc::v3::processing_mode::BodySendMode;
use api::service::auth::v3::attribute_context::{HttpRequest, Peer, Request as Asked};
use api::service::auth::v3::authorization_client::AuthorizationClient;
use api::service::auth::v3::check_response::HttpResponse;
use api::service::auth::v3::{AttributeContext, CheckRequest, CheckResponse};
use api::service::ext_proc::v3::body_mutation::Mutation;
use api::service::ext_proc::v3::external_processor_client::ExternalProcessorClient;
use api::service::ext_proc::v3::processing_request::Request as Part;
use api::service::ext_proc::v3::processing_response::Response as Answer;
use api::service::ext_proc::v3::{
    HttpBody, HttpHeaders, HttpTrailers, ProcessingRequest, ProcessingResponse,
    ProtocolConfiguration,
};

use crate::client::{Client, from_ip, refusal, request};
use crate::fleet;
use crate::server::{Files, Server};

/// Three rules, one of which looks at a header, and clients placed by the policy itself.
const POLICY: &str = "apiVersion: tradewind/v1
kind: Policy
spec:
  slow_start_window: 0ms
  geo:
    overrides: [{cidr: 198.18.0.0/16, lat: 49.0, lon: 2.5}]
    default: {lat: 50.1, lon: 8.7}
  pools:
    - {name: edge, select: {tier: edge}, spread: {max_copies: 1}}
    - {name: origin, select: {tier: origin}}
  otherwise: refuse
  rules:
    - {name: closed, owner: tests, rollback: none, match: {paths: [{value: /closed}]}, action: refuse}
    - {name: beta, owner: tests, rollback: none, match: {headers: [{name: x-beta, exact: \"1\"}]}, pools: [origin]}
    - {name: all, owner: tests, rollback: none, match: {hosts: [video.example.com]}, pools: [edge], attempt_timeout: 250ms}
";

async fn start() -> (Server, Client) {
    let files = Files::new();
    files.write("policy.yaml", POLICY);
    let server = files.setup().start().await;
    let client = server.client().await;
    (server, client)
}

/// What the decision service says of the same request.
async fn decided(client: &mut Client, path: &str, ip: &str) -> DecideResponse {
    let mut asked = request(path);
    asked.client = Some(from_ip(ip));
    asked.dry_run = true;
    client.decide(asked).await
}

fn list(decision: &DecideResponse) -> String {
    let addresses = decision.candidates.iter();
    let addresses: Vec<&str> = addresses.map(|node| &*node.address).collect();
    addresses.join(",")
}

// --- ext_authz

pub(crate) fn check(path: &str, peer: &str, headers: &[(&str, &str)]) -> CheckRequest {
    let headers = headers.iter();
    let headers = headers.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let address = Place::SocketAddress(SocketAddress {
        address: peer.to_owned(),
        port_specifier: Some(PortSpecifier::PortValue(40_000)),
    });
    CheckRequest {
        attributes: Some(AttributeContext {
            source: Some(Peer {
                address: Some(Address {
                    address: Some(address),
                }),
            }),
            request: Some(Asked {
                http: Some(HttpRequest {
                    method: "GET".to_owned(),
                    host: "video.example.com".to_owned(),
                    path: path.to_owned(),
                    headers: headers.collect(),
                    ..HttpRequest::default()
                }),
            }),
            ..AttributeContext::default()
        }),
    }
}

/// Asks, with what Envoy's configuration adds to each call.
pub(crate) async fn ask(
    client: &Client,
    asked: CheckRequest,
    wishes: &[(&'static str, &str)],
) -> Result<CheckResponse, Status> {
    let mut call = Request::new(asked);
    for (name, value) in wishes {
        let value = MetadataValue::try_from(*value).unwrap();
        call.metadata_mut().insert(*name, value);
    }
    let mut authorization = AuthorizationClient::new(client.channel.clone());
    authorization
        .check(call)
        .await
        .map(tonic::Response::into_inner)
}

/// Headers by name, wherever their values stand.
fn by_name(headers: Vec<HeaderValueOption>) -> BTreeMap<String, String> {
    let headers = headers.into_iter().map(|option| {
        let header = option.header.unwrap();
        let raw = String::from_utf8(header.raw_value).unwrap();
        (header.key, if raw.is_empty() { header.value } else { raw })
    });
    headers.collect()
}

pub(crate) fn allowed(answer: CheckResponse) -> BTreeMap<String, String> {
    assert_eq!(answer.status.unwrap().code, 0);
    match answer.http_response.unwrap() {
        HttpResponse::OkResponse(ok) => by_name(ok.headers),
        HttpResponse::DeniedResponse(denied) => panic!("{denied:?}"),
    }
}

pub(crate) fn denied(answer: CheckResponse) -> (i32, BTreeMap<String, String>) {
    assert_ne!(answer.status.unwrap().code, 0);
    match answer.http_response.unwrap() {
        HttpResponse::DeniedResponse(denied) => {
            (denied.status.unwrap().code, by_name(denied.headers))
        }
        HttpResponse::OkResponse(ok) => panic!("{ok:?}"),
    }
}

#[tokio::test]
async fn ext_authz_answers_with_the_list_in_header_and_metadata() {
    let (server, mut client) = start().await;
    let decision = decided(&mut client, "/a?b=1", "198.18.0.9").await;
    let answer = ask(&client, check("/a?b=1", "198.18.0.9", &[]), &[])
        .await
        .unwrap();
    let metadata = answer.dynamic_metadata.clone().unwrap();
    let headers = allowed(answer);
    assert_eq!(headers[DESTINATION], list(&decision));
    assert_eq!(headers["x-envoy-upstream-rq-per-try-timeout-ms"], "250");
    assert_eq!(metadata.fields[DESTINATION], text(&list(&decision)));
    let without = [("x-tradewind-metadata", "off")];
    let without = ask(&client, check("/a?b=1", "198.18.0.9", &[]), &without)
        .await
        .unwrap();
    assert_eq!(without.dynamic_metadata, None);
    assert_eq!(allowed(without)[DESTINATION], list(&decision));
    // A bound that no rule sets is Envoy's own to set.
    let by_pool = [("x-tradewind-pool", "edge")];
    let by_pool = ask(&client, check("/a", "198.18.0.9", &[]), &by_pool);
    let unbound = allowed(by_pool.await.unwrap());
    assert_eq!(unbound.get("x-envoy-upstream-rq-per-try-timeout-ms"), None);
    // The decision it names can be looked up, as that of any other door.
    let id = &headers[DECISION_ID];
    assert_eq!(metadata.fields[DECISION_ID], text(id));
    assert_eq!(id.len(), 24);
    let counted = server.count("tradewind_decisions_total{pool=\"edge\",verdict=\"route\",reason=\"owner\",purity=\"pure\"}");
    assert_eq!(counted, 3, "{}", server.get("/metrics").body);
}

#[tokio::test]
async fn ext_authz_believes_the_header_that_the_configuration_names_and_no_other() {
    let (_server, mut client) = start().await;
    let here = decided(&mut client, "/a", "203.0.113.1").await;
    let paris = decided(&mut client, "/a", "198.18.0.9").await;
    assert_ne!(list(&here), list(&paris));
    let headers = [("x-forwarded-for", "198.18.0.9"), ("x-real", "198.18.0.9")];
    let asked = || check("/a", "203.0.113.1", &headers);
    let plain = ask(&client, asked(), &[]).await.unwrap();
    assert_eq!(allowed(plain)[DESTINATION], list(&here));
    let told = [("x-tradewind-client-header", "X-Real")];
    let told = ask(&client, asked(), &told).await.unwrap();
    assert_eq!(allowed(told)[DESTINATION], list(&paris));
    let absent = [("x-tradewind-client-header", "x-absent")];
    let absent = ask(&client, asked(), &absent).await.unwrap();
    assert_eq!(allowed(absent)[DESTINATION], list(&here));
}

#[tokio::test]
async fn ext_authz_matches_rules_by_header_and_takes_wishes_of_the_configuration() {
    let (_server, client) = start().await;
    let beta = ask(&client, check("/a", "203.0.113.1", &[("x-beta", "1")]), &[])
        .await
        .unwrap();
    assert_eq!(allowed(beta)[DESTINATION], fleet::address("dub-1"));
    let pool = [("x-tradewind-pool", "origin")];
    let pool = ask(&client, check("/a", "203.0.113.1", &[]), &pool)
        .await
        .unwrap();
    assert_eq!(allowed(pool)[DESTINATION], fleet::address("dub-1"));
    let two = [("x-tradewind-candidates", "2")];
    let two = ask(&client, check("/a", "203.0.113.1", &[]), &two)
        .await
        .unwrap();
    assert_eq!(allowed(two)[DESTINATION].split(',').count(), 2);
}

#[tokio::test]
async fn ext_authz_refuses_in_the_same_words_as_the_policy() {
    let (server, client) = start().await;
    let closed = ask(&client, check("/closed/a", "203.0.113.1", &[]), &[])
        .await
        .unwrap();
    let (status, headers) = denied(closed);
    assert_eq!(
        (status, &*headers["x-route-reason"]),
        (403, "refused_by_rule")
    );
    let mut nowhere = check("/a", "203.0.113.1", &[]);
    let attributes = nowhere.attributes.as_mut().unwrap();
    let http = attributes.request.as_mut().unwrap().http.as_mut().unwrap();
    http.host = "other.example.com".to_owned();
    let (status, headers) = denied(ask(&client, nowhere, &[]).await.unwrap());
    assert_eq!((status, &*headers["x-route-reason"]), (404, "no_rule"));
    // What the proxy did wrong is an error of the call: Envoy's own setting says what becomes of the request.
    let wish = [("x-tradewind-candidates", "many")];
    let said = refusal(
        ask(&client, check("/a", "203.0.113.1", &[]), &wish).await,
        Code::InvalidArgument,
    );
    assert!(said.contains("candidates"), "{said}");
    assert_eq!(server.count("tradewind_decide_rejected_total"), 1);
}

#[tokio::test]
async fn a_client_does_not_get_past_a_rule_by_being_unreadable() {
    let (server, client) = start().await;
    let long = format!("/closed/a?{}", "p".repeat(8_200));
    for (path, status) in [
        (long.as_str(), 414),
        ("/closed\\a", 400),
        ("/closed/%00", 400),
        ("/x/../closed/a#b", 400),
    ] {
        let answer = ask(&client, check(path, "203.0.113.1", &[]), &[]).await;
        let (denied, headers) = denied(answer.unwrap());
        assert_eq!(
            (denied, &*headers["x-route-reason"]),
            (status, "unreadable")
        );
    }
    let mut obscure = check("/closed/a", "203.0.113.1", &[]);
    let attributes = obscure.attributes.as_mut().unwrap();
    let http = attributes.request.as_mut().unwrap().http.as_mut().unwrap();
    http.host = "h".repeat(300);
    let (status, _) = denied(ask(&client, obscure, &[]).await.unwrap());
    assert_eq!(status, 400);
    assert_eq!(server.count("tradewind_decide_rejected_total"), 5);
}

#[tokio::test]
async fn a_client_does_not_get_past_a_rule_by_another_spelling() {
    let (_server, client) = start().await;
    for path in [
        "/closed/a",
        "//closed/a",
        "/./closed/a",
        "/x/../closed/a",
        "/%63losed/a",
        "/%63%6C%6f%73%65%64/a",
        "/x/%2e%2E/closed/a",
        "/%2Fclosed/a",
        "/x%2f..%2Fclosed/a",
        "/closed//a",
        "/../closed/a",
        "/closed%2Fa",
    ] {
        let answer = ask(&client, check(path, "203.0.113.1", &[]), &[]).await;
        let (status, headers) = denied(answer.unwrap());
        let reason = &*headers["x-route-reason"];
        assert_eq!((status, reason), (403, "refused_by_rule"), "{path}");
    }
}

// --- ext_proc

fn text(text: &str) -> Value {
    Value {
        kind: Some(Kind::StringValue(text.to_owned())),
    }
}

fn fields(fields: &[(&str, Value)]) -> Struct {
    let fields = fields.iter();
    Struct {
        fields: fields
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect(),
    }
}

fn headers(headers: &[(&str, &str)]) -> HttpHeaders {
    let headers = headers.iter().map(|(name, value)| HeaderValue {
        key: (*name).to_owned(),
        raw_value: value.as_bytes().to_vec(),
        ..HeaderValue::default()
    });
    HttpHeaders {
        headers: Some(HeaderMap {
            headers: headers.collect(),
        }),
        end_of_stream: true,
    }
}

pub(crate) fn asking(path: &str) -> ProcessingRequest {
    let shown = headers(&[
        (":authority", "video.example.com"),
        (":path", path),
        (":method", "GET"),
    ]);
    let source = fields(&[("source.address", text("198.18.0.9:40000"))]);
    ProcessingRequest {
        request: Some(Part::RequestHeaders(shown)),
        attributes: BTreeMap::from([("envoy.filters.http.ext_proc".to_owned(), source)]),
        ..ProcessingRequest::default()
    }
}

/// Shows one more header of a request.
pub(crate) fn show(part: &mut ProcessingRequest, name: &str, value: &str) {
    let Some(Part::RequestHeaders(shown)) = &mut part.request else {
        panic!("{part:?}");
    };
    let more = headers(&[(name, value)]).headers.unwrap();
    shown.headers.as_mut().unwrap().headers.extend(more.headers);
}

/// The same, by a gateway that allows these addresses only.
fn among(path: &str, subset: Value) -> ProcessingRequest {
    let hint = fields(&[("x-gateway-destination-endpoint-subset", subset)]);
    ProcessingRequest {
        metadata_context: Some(Metadata {
            filter_metadata: BTreeMap::from([("envoy.lb.subset_hint".to_owned(), hint)]),
        }),
        ..asking(path)
    }
}

async fn process(client: &Client, parts: Vec<ProcessingRequest>) -> Vec<ProcessingResponse> {
    let mut processor = ExternalProcessorClient::new(client.channel.clone());
    let answers = processor.process(tokio_stream::iter(parts)).await.unwrap();
    let mut answers = answers.into_inner();
    let mut all = Vec::new();
    while let Some(answer) = answers.message().await.unwrap() {
        all.push(answer);
    }
    all
}

pub(crate) async fn process_one(client: &Client, part: ProcessingRequest) -> ProcessingResponse {
    let mut answers = process(client, vec![part]).await;
    assert_eq!(answers.len(), 1);
    answers.remove(0)
}

/// The decision that an answer is of.
pub(crate) fn decision_id(answer: ProcessingResponse) -> String {
    let Some(Answer::RequestHeaders(answer)) = answer.response else {
        panic!("no headers");
    };
    let set = answer.response.unwrap().header_mutation.unwrap();
    by_name(set.set_headers)[DECISION_ID].clone()
}

/// The nodes named, which header and metadata must name alike.
fn named(answer: ProcessingResponse) -> String {
    let metadata = answer.dynamic_metadata.unwrap();
    let Some(Kind::StructValue(inner)) = metadata.fields["envoy.lb"].kind.clone() else {
        panic!("{metadata:?}");
    };
    let Some(Answer::RequestHeaders(answer)) = answer.response else {
        panic!("no headers");
    };
    let set = by_name(
        answer
            .response
            .unwrap()
            .header_mutation
            .unwrap()
            .set_headers,
    );
    assert_eq!(inner.fields[DESTINATION], text(&set[DESTINATION]));
    assert_eq!(inner.fields[DECISION_ID], text(&set[DECISION_ID]));
    set[DESTINATION].clone()
}

/// What a client is answered at once: the status and the headers.
pub(crate) fn immediate(answer: ProcessingResponse) -> (i32, BTreeMap<String, String>) {
    let Some(Answer::ImmediateResponse(answer)) = answer.response else {
        panic!("{answer:?}");
    };
    let status = answer.status.unwrap().code;
    (status, by_name(answer.headers.unwrap().set_headers))
}

#[tokio::test]
async fn ext_proc_names_the_same_nodes_in_header_and_metadata() {
    let (_server, mut client) = start().await;
    for path in ["/a", "/b?c=1"] {
        let decision = decided(&mut client, path, "198.18.0.9").await;
        assert_eq!(
            named(process_one(&client, asking(path)).await),
            list(&decision)
        );
    }
}

#[tokio::test]
async fn ext_proc_keeps_to_the_subset_that_a_gateway_hints_at() {
    let (_server, mut client) = start().await;
    let order = list(&decided(&mut client, "/a", "198.18.0.9").await);
    let order: Vec<&str> = order.split(',').collect();
    let [second, third] = [order[1], order[2]];
    let stranger = "192.0.2.7:80";
    let values = vec![text(third), text(stranger), text(second)];
    let as_list = Value {
        kind: Some(Kind::ListValue(ListValue { values })),
    };
    // Our order, whatever the hint's.
    let wanted = format!("{second},{third}");
    assert_eq!(
        named(process_one(&client, among("/a", as_list)).await),
        wanted
    );
    let as_text = text(&format!("{third}, {second}"));
    assert_eq!(
        named(process_one(&client, among("/a", as_text)).await),
        wanted
    );
    // None of them is ours, or none is named: no node may be used, and that is said at once.
    let empty = Value {
        kind: Some(Kind::ListValue(ListValue::default())),
    };
    for hint in [text(stranger), text(""), empty] {
        let (status, headers) = immediate(process_one(&client, among("/a", hint)).await);
        assert_eq!((status, &*headers["x-route-reason"]), (503, "no_node"));
    }
}

#[tokio::test]
async fn ext_proc_answers_at_once_where_no_node_serves() {
    let (_server, client) = start().await;
    let (status, headers) = immediate(process_one(&client, asking("/closed")).await);
    assert_eq!(
        (status, &*headers["x-route-reason"]),
        (403, "refused_by_rule")
    );
}

#[tokio::test]
async fn ext_proc_passes_bodies_and_trailers_on() {
    let (_server, client) = start().await;
    let body = |text: &str, end_of_stream| HttpBody {
        body: text.as_bytes().to_vec(),
        end_of_stream,
    };
    let part = |part| ProcessingRequest {
        request: Some(part),
        ..ProcessingRequest::default()
    };
    let parts = |mode: BodySendMode| {
        let first = ProcessingRequest {
            protocol_config: Some(ProtocolConfiguration {
                request_body_mode: mode.into(),
                response_body_mode: mode.into(),
            }),
            ..asking("/a")
        };
        vec![
            first,
            part(Part::RequestBody(body("one", false))),
            part(Part::RequestBody(body("two", true))),
            part(Part::RequestTrailers(HttpTrailers::default())),
            part(Part::ResponseHeaders(headers(&[(":status", "200")]))),
            part(Part::ResponseBody(body("three", true))),
            part(Part::ResponseTrailers(HttpTrailers::default())),
        ]
    };
    // What Envoy has let go of comes back as it was; what it holds itself needs no word.
    for (mode, comes_back) in [
        (BodySendMode::FullDuplexStreamed, true),
        (BodySendMode::Streamed, false),
        (BodySendMode::Buffered, false),
    ] {
        let answers = process(&client, parts(mode)).await;
        let pieces: Vec<(String, bool)> = answers
            .into_iter()
            .filter_map(|answer| match answer.response? {
                Answer::RequestBody(body) | Answer::ResponseBody(body) => body.response,
                _ => None,
            })
            .map(
                |common| match common.body_mutation.unwrap().mutation.unwrap() {
                    Mutation::StreamedResponse(piece) => {
                        (String::from_utf8(piece.body).unwrap(), piece.end_of_stream)
                    }
                },
            )
            .collect();
        let all = [("one", false), ("two", true), ("three", true)];
        let all = all.map(|(text, end)| (text.to_owned(), end)).to_vec();
        assert_eq!(
            pieces,
            if comes_back { all } else { Vec::new() },
            "{mode:?}"
        );
    }
    assert_eq!(
        process(&client, parts(BodySendMode::Streamed)).await.len(),
        7
    );
}

#[tokio::test]
async fn ext_proc_says_nothing_where_envoy_only_shows() {
    let (server, client) = start().await;
    let shown = ProcessingRequest {
        observability_mode: true,
        ..asking("/a")
    };
    assert_eq!(process(&client, vec![shown]).await, []);
    // It is decided and counted all the same.
    let counted = "tradewind_decisions_total{pool=\"edge\",verdict=\"route\",reason=\"owner\",purity=\"pure\"}";
    assert_eq!(server.count(counted), 1);
}

/// What Envoy shows of an answer when it says by attributes who served and after how many attempts.
fn answered(served: &str, attempts: &str, head: &[(&str, &str)]) -> ProcessingRequest {
    let attributes = fields(&[
        ("upstream.address", text(served)),
        ("upstream.request_attempt_count", text(attempts)),
    ]);
    ProcessingRequest {
        request: Some(Part::ResponseHeaders(HttpHeaders {
            end_of_stream: false,
            ..headers(head)
        })),
        attributes: BTreeMap::from([("envoy.filters.http.ext_proc".to_owned(), attributes)]),
        ..ProcessingRequest::default()
    }
}

#[tokio::test]
async fn ext_proc_blames_all_before_the_node_that_served() {
    let (server, mut client) = start().await;
    let order = list(&decided(&mut client, "/a", "198.18.0.9").await);
    let third = order.split(',').nth(2).unwrap();
    let ok = [(":status", "200")];
    process(&client, vec![asking("/a"), answered(third, "3", &ok)]).await;
    assert_eq!(server.count("tradewind_outcomes_total{result=\"ok\"}"), 1);
    let errors = "tradewind_outcomes_total{result=\"error\"}";
    assert_eq!(server.count(errors), 2);
    // Envoy does not know the first two: they were not asked.
    process(&client, vec![asking("/a"), answered(third, "1", &ok)]).await;
    assert_eq!(server.count(errors), 2);
}

#[tokio::test]
async fn ext_proc_waits_for_the_status_of_a_grpc_call() {
    let (server, mut client) = start().await;
    let order = list(&decided(&mut client, "/a", "198.18.0.9").await);
    let first = order.split(',').next().unwrap();
    let call = [(":status", "200"), ("content-type", "application/grpc")];
    let ends_with = |code| ProcessingRequest {
        request: Some(Part::ResponseTrailers(HttpTrailers {
            trailers: headers(&[("grpc-status", code)]).headers,
        })),
        ..ProcessingRequest::default()
    };
    let count = |result| server.count(&format!("tradewind_outcomes_total{{result=\"{result}\"}}"));
    for (code, error, shed) in [("0", 0, 0), ("14", 1, 0), ("8", 1, 1)] {
        let parts = vec![asking("/a"), answered(first, "1", &call), ends_with(code)];
        process(&client, parts).await;
        assert_eq!((count("error"), count("shed")), (error, shed), "{code}");
    }
    assert_eq!(count("ok"), 1);
    // Trailers that are not shown are not waited for.
    process(&client, vec![asking("/a"), answered(first, "1", &call)]).await;
    server.until("the call is told", || count("ok") == 2).await;
}

#[tokio::test]
async fn ext_proc_takes_the_node_that_served_as_an_outcome() {
    let (server, mut client) = start().await;
    let first = decided(&mut client, "/a", "198.18.0.9")
        .await
        .candidates
        .remove(0);
    for (address, known) in [(&*first.address, true), ("192.0.2.7:80", false)] {
        let by_whom = fields(&[(SERVED, text(address))]);
        let answered = ProcessingRequest {
            request: Some(Part::ResponseHeaders(headers(&[
                (":status", "200"),
                ("x-cache", "HIT"),
            ]))),
            metadata_context: Some(Metadata {
                filter_metadata: BTreeMap::from([("envoy.lb".to_owned(), by_whom)]),
            }),
            ..ProcessingRequest::default()
        };
        assert_eq!(
            process(&client, vec![asking("/a"), answered]).await.len(),
            2
        );
        if known {
            assert_eq!(server.count("tradewind_outcomes_total{result=\"ok\"}"), 1);
        }
    }
    let refused = "tradewind_reports_refused_total{kind=\"outcome\",reason=\"unknown_node\"}";
    assert_eq!(server.count(refused), 1);
    assert_eq!(server.count("tradewind_outcomes_total{result=\"ok\"}"), 1);
}
