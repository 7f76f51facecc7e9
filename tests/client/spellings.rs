//! One object, however it is spelled and whoever asks, has one node: by gRPC, the HTTP door, both of Envoy's filters, the
//! client library alone, `tradewind route` and `tradewind replay`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::process::{Command, Output};

use tonic::transport::{Channel, Endpoint};
use tradewind::sidecar::doors::envoy::DESTINATION;
use tradewind::sidecar::doors::envoy::proto::envoy as api;
use tradewind::sidecar::wire::proto::decision_service_client::DecisionServiceClient;

use api::config::core::v3::{HeaderMap, HeaderValue, HeaderValueOption};
use api::service::auth::v3::attribute_context::{HttpRequest, Request as Asked};
use api::service::auth::v3::authorization_client::AuthorizationClient;
use api::service::auth::v3::check_response::HttpResponse;
use api::service::auth::v3::{AttributeContext, CheckRequest};
use api::service::ext_proc::v3::external_processor_client::ExternalProcessorClient;
use api::service::ext_proc::v3::processing_request::Request as Part;
use api::service::ext_proc::v3::processing_response::Response;
use api::service::ext_proc::v3::{HttpHeaders, ProcessingRequest};

use crate::requests::plain;
use crate::sidecar::{Sidecar, until};

const HOST: &str = "other.example.org";
const CLIENT: &str = "198.18.0.1";

/// How the first segment may be spelled.
const HEADS: [&str; 10] = [
    "/objects",
    "//objects",
    "/./objects",
    "/x/../objects",
    "/%6Fbjects",
    "/%6f%62jects",
    "/../objects",
    "/%2e/objects",
    "/x/%2E%2e/objects",
    "/%2Fobjects",
];

/// How the rest may be.
const TAILS: [&str; 3] = ["caf%C3%A9/a-b", "caf%c3%a9//a%2Db", "café/./a-b"];

const REQUESTS: usize = 2_000;

/// What is sent, and which object it is.
fn requests() -> Vec<(String, usize)> {
    let spelled = (0..).flat_map(|object| {
        let tails = move |head| {
            TAILS
                .iter()
                .map(move |tail| format!("{head}/{object}/{tail}"))
        };
        HEADS.iter().flat_map(tails).map(move |path| (path, object))
    });
    spelled.take(REQUESTS).collect()
}

/// The first nodes that were named for an object, by who was asked.
type ByDoor = BTreeMap<&'static str, BTreeSet<String>>;

/// The same for each object.
#[derive(Debug, Default)]
struct Named(BTreeMap<usize, ByDoor>);

impl Named {
    fn add(&mut self, object: usize, door: &'static str, node: &str) {
        let doors = self.0.entry(object).or_default();
        doors.entry(door).or_default().insert(node.to_owned());
    }

    /// Asserts that each object has one node, whoever was asked.
    fn assert_one_each(&self, doors: usize) {
        assert_eq!(self.0.len(), REQUESTS.div_ceil(HEADS.len() * TAILS.len()));
        let mut all = BTreeSet::new();
        for (object, named) in &self.0 {
            let nodes: BTreeSet<&String> = named.values().flatten().collect();
            assert_eq!(
                (named.len(), nodes.len()),
                (doors, 1),
                "object {object}: {named:?}"
            );
            all.extend(nodes);
        }
        assert!(all.len() > 1, "the objects are spread over nodes: {all:?}");
    }
}

#[tokio::test]
async fn two_thousand_requests_in_thirty_spellings_have_one_node_for_each_object() {
    let mut sidecar = Sidecar::start_without_hot_keys().await;
    let mut named = Named::default();
    let endpoint = Endpoint::from_shared(format!("http://{}", sidecar.grpc)).unwrap();
    let channel = endpoint.connect().await.unwrap();
    let client = sidecar.client();
    until("there is a copy", async || client.following().is_some()).await;
    // Where the client is it learns from an answer.
    client.decide(&plain("/")).await.unwrap();
    let mut grpc = DecisionServiceClient::new(channel.clone());
    for (path, object) in requests() {
        let answer = grpc.decide(plain(&path)).await.unwrap().into_inner();
        named.add(object, "gRPC", &answer.candidates[0].address);
        named.add(object, "HTTP", &over_http(&sidecar, &path));
        named.add(object, "ext_authz", &by_ext_authz(&channel, &path).await);
        named.add(object, "ext_proc", &by_ext_proc(&channel, &path).await);
    }
    sidecar.kill();
    for (path, object) in requests() {
        let answer = client.decide_alone(&plain(&path)).unwrap();
        named.add(object, "client", &answer.candidates[0].address);
    }
    for (object, node) in replayed(&sidecar) {
        named.add(object, "replay", &node);
    }
    // A process for each would take a minute: one object in all spellings, the others in one.
    let every = HEADS.len() * TAILS.len();
    let some = requests().into_iter().enumerate();
    for (_, (path, object)) in some.filter(|(at, _)| *at < every || at % every == 0) {
        named.add(object, "route", &routed(&sidecar, &path));
    }
    named.assert_one_each(7);
}

fn over_http(sidecar: &Sidecar, path: &str) -> String {
    let headers = [
        ("X-Original-URI", path),
        ("X-Original-Host", HOST),
        ("X-Client-IP", CLIENT),
    ];
    let answer = sidecar.route(&headers);
    let mut lines = answer.lines();
    let node = lines.find_map(|line| line.strip_prefix("x-route-node: "));
    node.unwrap().to_owned()
}

/// The first node in the header that Envoy is told to set.
fn first_node(headers: Vec<HeaderValueOption>) -> String {
    let mut headers = headers.into_iter().filter_map(|option| option.header);
    let found = headers.find(|header| header.key == DESTINATION).unwrap();
    let raw = String::from_utf8(found.raw_value).unwrap();
    let list = if raw.is_empty() { found.value } else { raw };
    list.split(',').next().unwrap().to_owned()
}

fn who_asks() -> tonic::metadata::MetadataMap {
    let mut told = tonic::metadata::MetadataMap::new();
    told.insert(
        "x-tradewind-client-header",
        "x-forwarded-for".parse().unwrap(),
    );
    told
}

async fn by_ext_authz(channel: &Channel, path: &str) -> String {
    let http = HttpRequest {
        method: "GET".to_owned(),
        host: HOST.to_owned(),
        path: path.to_owned(),
        headers: [("x-forwarded-for".to_owned(), CLIENT.to_owned())].into(),
        ..HttpRequest::default()
    };
    let check = CheckRequest {
        attributes: Some(AttributeContext {
            request: Some(Asked { http: Some(http) }),
            ..AttributeContext::default()
        }),
    };
    let call = tonic::Request::from_parts(who_asks(), tonic::Extensions::default(), check);
    let answer = AuthorizationClient::new(channel.clone()).check(call).await;
    match answer.unwrap().into_inner().http_response.unwrap() {
        HttpResponse::OkResponse(ok) => first_node(ok.headers),
        HttpResponse::DeniedResponse(denied) => panic!("{path}: {denied:?}"),
    }
}

async fn by_ext_proc(channel: &Channel, path: &str) -> String {
    let shown = [
        (":authority", HOST),
        (":path", path),
        (":method", "GET"),
        ("x-forwarded-for", CLIENT),
    ];
    let headers = shown.map(|(key, value)| HeaderValue {
        key: key.to_owned(),
        raw_value: value.into(),
        ..HeaderValue::default()
    });
    let part = ProcessingRequest {
        request: Some(Part::RequestHeaders(HttpHeaders {
            headers: Some(HeaderMap {
                headers: headers.into(),
            }),
            end_of_stream: true,
        })),
        ..ProcessingRequest::default()
    };
    let parts = tokio_stream::once(part);
    let call = tonic::Request::from_parts(who_asks(), tonic::Extensions::default(), parts);
    let mut processor = ExternalProcessorClient::new(channel.clone());
    let mut answers = processor.process(call).await.unwrap().into_inner();
    let answer = answers.message().await.unwrap().unwrap();
    // To its end: a stream that is given up is reset, and who resets thousands is told to leave.
    assert!(answers.message().await.unwrap().is_none());
    match answer.response.unwrap() {
        Response::RequestHeaders(told) => {
            first_node(told.response.unwrap().header_mutation.unwrap().set_headers)
        }
        other => panic!("{path}: {other:?}"),
    }
}

/// The program with the files of a sidecar.
fn tradewind(sidecar: &Sidecar, command: &str, args: &[&str]) -> Output {
    let mut program = Command::new(env!("CARGO_BIN_EXE_tradewind"));
    program.env_clear().arg(command).args(args);
    for (flag, name) in [
        ("--policy", "policy.yaml"),
        ("--topology", "topology.yaml"),
        ("--geo", "geo.mmdb"),
    ] {
        program.arg(flag).arg(sidecar.file(name));
    }
    let output = program.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    output
}

fn routed(sidecar: &Sidecar, path: &str) -> String {
    let args = [
        "--host", HOST, "--path", path, "--client", CLIENT, "--format", "json",
    ];
    let output = tradewind(sidecar, "route", &args);
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    answer["candidates"][0]["address"]
        .as_str()
        .unwrap()
        .to_owned()
}

/// A line of the file of answers, as far as it is looked at.
#[derive(serde::Deserialize)]
struct Line {
    line: usize,
    candidates: Vec<Address>,
}

#[derive(serde::Deserialize)]
struct Address {
    address: String,
}

/// What a replay of the requests answers for each object.
fn replayed(sidecar: &Sidecar) -> Vec<(usize, String)> {
    let requests = requests();
    let log = requests.iter().fold(String::new(), |mut log, (path, _)| {
        writeln!(
            log,
            "{CLIENT} - - [24/Nov/2026:00:00:00 +0000] \"GET {path} HTTP/1.1\" 200 1 \"-\" \"-\""
        )
        .unwrap();
        log
    });
    fs::write(sidecar.file("access.log"), log).unwrap();
    let (log, answers) = (sidecar.file("access.log"), sidecar.file("answers"));
    let (log, answers) = (log.to_str().unwrap(), answers.to_str().unwrap());
    tradewind(
        sidecar,
        "replay",
        &[log, "--host", HOST, "--answers", answers],
    );
    let lines = fs::read_to_string(answers).unwrap();
    let read = lines.lines().map(|line| {
        let line: Line = serde_json::from_str(line).unwrap();
        (
            requests[line.line - 1].1,
            line.candidates[0].address.clone(),
        )
    });
    let read: Vec<_> = read.collect();
    assert_eq!(read.len(), REQUESTS);
    read
}
