//! Spans of decisions, as a collector of OpenTelemetry gets them: a server of OTLP in this process, and a real collector.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use tokio::net::TcpListener;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};
use tradewind::sidecar::doors::envoy::DECISION_ID;
use tradewind::sidecar::wire::proto::{self, DecideRequest};

use crate::client::{from_ip, request};
use crate::envoy_asking;
use crate::http::Connection;
use crate::ports::free_port;
use crate::programs;
use crate::server::{Files, Server, Setup};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

/// What a caller says that records its trace, or not.
fn traceparent(flags: &str) -> String {
    format!("00-{TRACE}-{PARENT}-{flags}")
}

/// A span with its attributes, and those of its resource, as texts.
#[derive(Debug, Clone)]
struct Got {
    span: Span,
    says: BTreeMap<String, String>,
    resource: BTreeMap<String, String>,
}

/// What a collector got so far.
#[derive(Debug, Clone, Default)]
struct Collected(Arc<Mutex<Vec<Got>>>);

fn texts(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |value: &Value| match value {
        Value::StringValue(text) => text.clone(),
        Value::IntValue(number) => number.to_string(),
        Value::DoubleValue(number) => number.to_string(),
        other => panic!("{other:?}"),
    };
    attributes
        .iter()
        .map(|pair| {
            let value = pair.value.as_ref().and_then(|value| value.value.as_ref());
            (pair.key.clone(), text(value.unwrap()))
        })
        .collect()
}

#[tonic::async_trait]
impl TraceService for Collected {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        for of_resource in request.into_inner().resource_spans {
            let resource = texts(&of_resource.resource.unwrap().attributes);
            for scope in of_resource.scope_spans {
                assert_eq!(scope.scope.unwrap().name, "tradewind");
                let got = scope.spans.into_iter().map(|span| Got {
                    says: texts(&span.attributes),
                    resource: resource.clone(),
                    span,
                });
                self.0.lock().unwrap().extend(got);
            }
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

/// A collector at an address.
struct Collector {
    address: SocketAddr,
    collected: Collected,
}

impl Collector {
    async fn start() -> Self {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0))).await
    }

    async fn start_at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let collected = Collected::default();
        let service = TraceServiceServer::new(collected.clone());
        tokio::spawn(async move {
            let incoming = TcpIncoming::from(listener);
            let server = tonic::transport::Server::builder().add_service(service);
            server.serve_with_incoming(incoming).await.unwrap();
        });
        Self { address, collected }
    }

    fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    fn spans(&self) -> Vec<Got> {
        self.collected.0.lock().unwrap().clone()
    }

    /// The span of a decision, once it is there.
    async fn span(&self, server: &Server, decision_id: &str) -> Got {
        let find = || {
            let mut spans = self.spans().into_iter();
            spans.find(|got| got.says["tradewind.decision_id"] == decision_id)
        };
        let what = format!("the span of {decision_id} is there");
        server.until(&what, || find().is_some()).await;
        find().unwrap()
    }
}

/// A policy that samples this share, and the server of it that sends spans to a collector.
async fn start(sampled: &str, endpoint: &str) -> Server {
    let files = Files::new();
    let policy = crate::fleet::policy("all");
    files.write(
        "policy.yaml",
        policy.replace("sample_ratio: 1", &format!("sample_ratio: {sampled}")),
    );
    files.setup().with("otlp-endpoint", endpoint).start().await
}

/// An id as people write it.
fn hex(id: &[u8]) -> String {
    id.iter()
        .fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

fn assert_is_child(got: &Got) {
    assert_eq!(hex(&got.span.trace_id), TRACE);
    assert_eq!(hex(&got.span.parent_span_id), PARENT);
    assert_eq!(got.span.span_id.len(), 8);
    assert_ne!(hex(&got.span.span_id), PARENT);
    // Its parent is in another process, and that is known.
    assert_eq!(got.span.flags & 0x300, 0x300);
}

fn with_parent<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    let parent = traceparent("01").parse().unwrap();
    request.metadata_mut().insert("traceparent", parent);
    request
}

fn asked(path: &str) -> DecideRequest {
    let mut asked = request(path);
    asked.client = Some(from_ip("203.0.113.77"));
    asked
}

/// Whose caller records its trace is traced though nothing is sampled; its span says what was decided.
#[tokio::test]
async fn a_span_is_the_child_of_who_asked_over_grpc() {
    let collector = Collector::start().await;
    let server = start("0", &collector.endpoint()).await;
    let mut client = server.client().await;
    let unsampled = client.decide(asked("/quiet")).await;
    let mut call = asked("/video/1.ts?token=secret");
    call.headers.push(proto::Header {
        name: "cookie".to_owned(),
        value: "secret".to_owned(),
    });
    let answer = client
        .grpc
        .decide(with_parent(call))
        .await
        .unwrap()
        .into_inner();
    let got = collector.span(&server, &answer.decision_id).await;
    assert_is_child(&got);
    assert_eq!(
        (got.span.name.as_str(), got.span.kind),
        ("tradewind.decide", 2)
    );
    let took_ns = got.span.end_time_unix_nano - got.span.start_time_unix_nano;
    assert!((1..1_000_000_000).contains(&took_ns), "{took_ns}");
    let first = &answer.candidates[0];
    for (name, value) in [
        ("tradewind.rule", "all"),
        ("tradewind.policy_digest", &answer.policy_digest),
        ("tradewind.revision", &answer.policy_revision.to_string()),
        (
            "tradewind.generation",
            &answer.snapshot_generation.to_string(),
        ),
        ("tradewind.lane", "in_force"),
        ("tradewind.verdict", "route"),
        ("tradewind.reason", &answer.reason),
        ("tradewind.purity", &answer.purity),
        ("tradewind.node", &first.node),
        ("tradewind.site", &first.site),
        ("client.address", "203.0.113.0"),
    ] {
        assert_eq!(got.says[name], *value, "{name}: {:?}", got.says);
    }
    assert!(!format!("{got:?}").contains("secret"), "{got:?}");
    assert_eq!(got.resource["service.name"], "tradewind");
    assert_eq!(got.resource["service.version"], env!("CARGO_PKG_VERSION"));
    assert!(!got.resource["service.instance.id"].is_empty());
    let ids: Vec<_> = collector
        .spans()
        .into_iter()
        .map(|got| got.says["tradewind.decision_id"].clone())
        .collect();
    assert_eq!(ids, [answer.decision_id], "not {}", unsampled.decision_id);
    // The collector has it before the sidecar is told so.
    let counted = || server.count("tradewind_spans_exported_total") == 1;
    server.until("it is counted", counted).await;
}

/// In a message, as proxies show what clients send; and in a batch.
#[tokio::test]
async fn the_clients_own_word_counts_where_the_call_has_none() {
    let collector = Collector::start().await;
    let server = start("0", &collector.endpoint()).await;
    let mut client = server.client().await;
    let mut call = asked("/a");
    call.headers.push(proto::Header {
        name: "Traceparent".to_owned(),
        value: traceparent("01"),
    });
    let answer = client.decide(call.clone()).await;
    assert_is_child(&collector.span(&server, &answer.decision_id).await);
    let answers = client.try_batch(vec![asked("/b"), call]).await.unwrap();
    assert_is_child(&collector.span(&server, &answers[1].decision_id).await);
    assert_eq!(collector.spans().len(), 2);
}

#[tokio::test]
async fn a_span_is_the_child_of_who_asked_over_http() {
    let collector = Collector::start().await;
    let server = start("0", &collector.endpoint()).await;
    let mut door = Connection::tcp(server.http.unwrap()).unwrap();
    let parent = traceparent("01");
    for (path, more) in [
        ("/v1/route?host=www.example.com&path=/a", None),
        ("/v1/route", Some(("x-original-uri", "/b"))),
    ] {
        let mut headers = vec![("traceparent", parent.as_str())];
        headers.extend(more);
        let reply = door.get(path, &headers).unwrap();
        assert_eq!(reply.status, 200, "{}", reply.text());
        let id = reply.json()["decision_id"].as_str().unwrap().to_owned();
        assert_is_child(&collector.span(&server, &id).await);
    }
}

/// By the span of Envoy that asks, or else by what the client's request shows; in both ways that Envoy has.
#[tokio::test]
async fn a_span_is_the_child_of_what_envoy_shows() {
    let collector = Collector::start().await;
    let server = start("0", &collector.endpoint()).await;
    let client = server.client().await;
    let parent = traceparent("01");
    let other = parent.replace(PARENT, "1111111111111111");
    let shown = [("traceparent", parent.as_str())];
    let misleading = [("traceparent", other.as_str())];
    for (headers, call) in [(&shown[..], &[][..]), (&misleading, &shown)] {
        let check = envoy_asking::check("/a", "203.0.113.77", headers);
        let answer = envoy_asking::ask(&client, check, call).await.unwrap();
        let id = &envoy_asking::allowed(answer)[DECISION_ID];
        assert_is_child(&collector.span(&server, id).await);
    }
    let mut part = envoy_asking::asking("/a");
    envoy_asking::show(&mut part, "traceparent", &parent);
    let answer = envoy_asking::process_one(&client, part).await;
    let id = envoy_asking::decision_id(answer);
    assert_is_child(&collector.span(&server, &id).await);
}

/// What is sampled is traced whatever its caller says; its trace is then its own, and found by its id.
#[tokio::test]
async fn a_sampled_decision_has_a_trace_of_its_own() {
    let collector = Collector::start().await;
    let server = start("1", &collector.endpoint()).await;
    let mut client = server.client().await;
    let first = client.decide(asked("/a")).await;
    let second = client.decide(asked("/b")).await;
    let first = collector.span(&server, &first.decision_id).await;
    let second = collector.span(&server, &second.decision_id).await;
    assert!(first.span.parent_span_id.is_empty());
    assert_ne!(first.span.trace_id, second.span.trace_id);
    assert_eq!(first.span.flags & 0x300, 0);
    let mut call = asked("/c");
    call.headers.push(proto::Header {
        name: "traceparent".to_owned(),
        value: traceparent("00"),
    });
    let third = client.decide(call).await;
    assert_is_child(&collector.span(&server, &third.decision_id).await);
}

/// Decisions go on as ever, one line tells of it, and another that it is over. What waited then arrives.
#[tokio::test]
async fn a_collector_that_is_gone_is_told_of_once_and_again_when_it_is_there() {
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let server = start("1", &format!("http://{address}")).await;
    let mut client = server.client().await;
    let first = client.decide(asked("/a")).await;
    server.until_said("the collector takes no spans").await;
    for _ in 0..100 {
        client.decide(asked("/b")).await;
    }
    let lost = "tradewind_spans_lost_total{cause=\"unreachable\"}";
    assert_eq!(server.count(lost), 100);
    let collector = Collector::start_at(address).await;
    server.until_said("the collector takes spans again").await;
    assert_eq!(
        server.log().matches("the collector takes no spans").count(),
        1
    );
    collector.span(&server, &first.decision_id).await;
    let after = client.decide(asked("/c")).await;
    collector.span(&server, &after.decision_id).await;
    assert_eq!(server.count(lost), 100);
}

/// What waits is sent before the process ends.
#[tokio::test]
async fn what_waits_is_sent_at_the_end() {
    let collector = Collector::start().await;
    let mut server = start("1", &collector.endpoint()).await;
    let mut client = server.client().await;
    let answer = client.decide(asked("/a")).await;
    server.signal("TERM");
    assert!(server.ended().await.success());
    let spans = collector.spans();
    assert_eq!(spans[0].says["tradewind.decision_id"], answer.decision_id);
}

#[tokio::test]
async fn without_a_collector_nothing_is_sent_and_the_metrics_say_so() {
    let server = Setup::example().start().await;
    server.client().await.decide(asked("/a")).await;
    assert_eq!(server.count("tradewind_spans_exported_total"), 0);
    for cause in ["queue_full", "unreachable", "refused"] {
        let sample = format!("tradewind_spans_lost_total{{cause=\"{cause}\"}}");
        assert_eq!(server.count(&sample), 0);
    }
    let (status, said) = Setup::example()
        .with("otlp-endpoint", "collector")
        .refused();
    assert!(!status.success());
    assert!(
        said.contains("otlp_endpoint is `collector`, must be like"),
        "{said}"
    );
}

/// The lines of decisions have the ids that their spans have, with a collector and without.
#[tokio::test]
async fn json_lines_of_decisions_have_the_ids_of_their_spans() {
    let collector = Collector::start().await;
    let files = Files::new();
    let setup = files.setup().with("log-format", "json");
    let setup = setup.with("log", "info,tradewind_sidecar::intake=debug");
    let server = setup
        .with("otlp-endpoint", collector.endpoint())
        .start()
        .await;
    let mut client = server.client().await;
    let answer = client.grpc.decide(with_parent(asked("/a"))).await;
    let id = answer.unwrap().into_inner().decision_id;
    server.until_said("a sampled decision was made").await;
    let log = server.log();
    let line = log
        .lines()
        .find(|line| line.contains("a sampled decision was made"));
    let line: serde_json::Value = serde_json::from_str(line.unwrap()).unwrap();
    let says = &line["fields"];
    let got = collector.span(&server, &id).await;
    let span = hex(&got.span.span_id);
    for (name, value) in [
        ("decision_id", id.as_str()),
        ("trace_id", TRACE),
        ("span_id", &span),
        ("rule", "all"),
        ("policy", &got.says["tradewind.policy_digest"]),
        ("node", &got.says["tradewind.node"]),
    ] {
        assert_eq!(says[name], value, "{line}");
    }
    assert!(!log.contains("203.0.113.77"), "{log}");
}

/// A collector of others that takes what we send: it prints every span.
#[tokio::test]
async fn a_real_collector_takes_spans() {
    let Some(program) = programs::path("rotel", "spans by a real collector") else {
        return;
    };
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let other = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let files = Files::empty();
    let log = files.root().join("collector.log");
    let mut collector = Command::new(program)
        .args(["start", "--exporter", "blackhole", "--debug-log", "traces"])
        .args(["--debug-log-verbosity", "detailed"])
        .args(["--otlp-grpc-endpoint", &address.to_string()])
        .args(["--otlp-http-endpoint", &other.to_string()])
        .stdin(Stdio::null())
        .stdout(std::fs::File::create(&log).unwrap())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let server = start("0", &format!("http://{address}")).await;
    let mut client = server.client().await;
    let answer = client.grpc.decide(with_parent(asked("/a"))).await;
    let id = answer.unwrap().into_inner().decision_id;
    let printed = || std::fs::read_to_string(&log).unwrap_or_default();
    server
        .until("the collector prints the span", || printed().contains(&id))
        .await;
    collector.kill().unwrap();
    collector.wait().unwrap();
    let printed = printed();
    for words in [
        TRACE,
        PARENT,
        "tradewind.decide",
        "tradewind.policy_digest",
        "service.instance.id",
    ] {
        assert!(printed.contains(words), "{words}: {printed}");
    }
}
