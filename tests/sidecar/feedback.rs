//! What is told to the sidecar: outcomes, load, histograms; what of it is refused, and that the rest is taken.

use std::time::Duration;

use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_prost::ProstCodec;
use tradewind::sidecar::wire::proto::feedback_service_client::FeedbackServiceClient;
use tradewind::sidecar::wire::proto::telemetry_service_client::TelemetryServiceClient;
use tradewind::sidecar::wire::proto::{
    AttemptResult, CacheStatus, HistogramKind, LoadReport, NodeHistogram, Outcome,
    ReportHistogramsRequest, ReportRequest, ReportResponse,
};

use crate::client::{Client, refusal, request};
use crate::server::{Files, Server};

/// Written by the crate `hdrhistogram` 7.6: 309 values from 1 to 1,000,000, plain and compressed.
const HISTOGRAMS: [&str; 2] = [
    "1c849313000000170000000000000003000000000000000100000000d693a4003ff00000000000000002ef03d80481\
     07020281150202c11304cb4a02ad3002",
    "1c8493140000004a789c013f00c0ff1c849313000000170000000000000003000000000000000100000000d693a400\
     3ff00000000000000002ef03d8048107020281150202c11304cb4a02ad300203750a62",
];

type Told<M> = Result<M, Status>;

async fn tell(client: &Client, batch: ReportRequest) -> Told<ReportResponse> {
    let mut feedback = FeedbackServiceClient::new(client.channel.clone());
    let answered = feedback.report_unary(batch).await;
    answered.map(tonic::Response::into_inner)
}

async fn tell_all(client: &Client, batches: Vec<ReportRequest>) -> Told<ReportResponse> {
    let mut feedback = FeedbackServiceClient::new(client.channel.clone());
    let answered = feedback.report(tokio_stream::iter(batches)).await;
    answered.map(tonic::Response::into_inner)
}

async fn tell_load(client: &Client, reports: Vec<LoadReport>) -> Told<ReportResponse> {
    let mut telemetry = TelemetryServiceClient::new(client.channel.clone());
    let answered = telemetry.report_load(tokio_stream::iter(reports)).await;
    answered.map(tonic::Response::into_inner)
}

async fn tell_histograms(client: &Client, histograms: Vec<NodeHistogram>) -> Told<ReportResponse> {
    let mut telemetry = TelemetryServiceClient::new(client.channel.clone());
    let request = ReportHistogramsRequest {
        histograms,
        reporter: String::new(),
    };
    let answered = telemetry.report_histograms(request).await;
    answered.map(tonic::Response::into_inner)
}

fn batch(outcomes: Vec<Outcome>) -> ReportRequest {
    ReportRequest {
        outcomes,
        reporter: "tests".to_owned(),
    }
}

fn lasting(seconds: i64, nanos: i32) -> prost_types::Duration {
    prost_types::Duration { seconds, nanos }
}

/// Every field at a value that is taken.
fn outcome() -> Outcome {
    Outcome {
        decision_id: "00000000000000aF".to_owned(),
        node: "fra-1".to_owned(),
        attempt: 1,
        result: AttemptResult::Ok.into(),
        status: 200,
        time_to_first_byte: Some(lasting(0, 1_500)),
        total: Some(lasting(600, 0)),
        bytes: 1_000_000_000_000_000,
        cache_status: CacheStatus::Hit.into(),
        client_round_trip: Some(lasting(0, 0)),
        key: u64::MAX,
        decided: None,
    }
}

fn load() -> LoadReport {
    LoadReport {
        node: "fra-1".to_owned(),
        cpu_utilization: 0.5,
        mem_utilization: 1.0,
        application_utilization: 10.0,
        rps_fractional: 1e9,
        eps: 0.0,
        hit_ratio: Some(0.0),
        requests_in_flight: Some(3.0),
        egress_bytes_per_second: Some(1e15),
        named_metrics: [("temperature".to_owned(), -3.0)].into(),
        ..LoadReport::default()
    }
}

fn histogram(hex: &str) -> NodeHistogram {
    let digits: Vec<u8> = hex
        .chars()
        .filter_map(|digit| u8::try_from(digit.to_digit(16)?).ok())
        .collect();
    let bytes = digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]);
    NodeHistogram {
        node: "fra-1".to_owned(),
        kind: HistogramKind::ServiceTime.into(),
        hdr_v2: bytes.collect(),
    }
}

fn refused(kind: &str, reason: &str) -> String {
    format!("tradewind_reports_refused_total{{kind=\"{kind}\",reason=\"{reason}\"}}")
}

/// That all but one item were taken, and that one was refused for this reason.
#[track_caller]
fn assert_one_refused(answer: &ReportResponse, reason: &str, accepted: u64, what: &str) {
    assert_eq!(answer.accepted, accepted, "{what}: {answer:?}");
    assert_eq!(answer.refused, [(reason.to_owned(), 1)].into(), "{what}");
    assert_eq!(answer.faults.len(), 1, "{what}: {answer:?}");
}

async fn usual() -> (Files, Server, Client) {
    let files = Files::new();
    let server = files.setup().start().await;
    let client = server.client().await;
    (files, server, client)
}

#[tokio::test]
async fn a_node_may_be_named_by_its_address() {
    let (_files, server, mut client) = usual().await;
    let decided = client.decide(request("/a")).await;
    let told = |node: &str| Outcome {
        node: node.to_owned(),
        ..outcome()
    };
    let nodes = decided.candidates.iter().map(|c| told(&c.address));
    let nodes: Vec<Outcome> = nodes.chain([told("192.0.2.1:1")]).collect();
    let count = nodes.len() as u64 - 1;
    let answer = tell(&client, batch(nodes)).await.unwrap();
    assert_one_refused(&answer, "unknown_node", count, "an address of nobody");
    assert!(
        answer.faults[0].contains("`192.0.2.1:1` is not in the fleet"),
        "{answer:?}"
    );
    assert_eq!(server.count(&refused("outcome", "unknown_node")), 1);
}

#[tokio::test]
async fn outcomes_are_taken_one_batch_at_a_time_and_by_stream() {
    let (_files, server, client) = usual().await;
    let shed = Outcome {
        result: AttemptResult::Shed.into(),
        status: 0,
        ..outcome()
    };
    let answer = tell(&client, batch(vec![outcome(), shed.clone()])).await;
    let answer = answer.unwrap();
    assert_eq!((answer.accepted, answer.refused.len()), (2, 0));
    let batches = vec![batch(vec![outcome(); 3]); 5];
    let answer = tell_all(&client, batches).await.unwrap();
    assert_eq!((answer.accepted, answer.refused.len()), (15, 0));
    assert_eq!(server.count("tradewind_outcomes_total{result=\"ok\"}"), 16);
    assert_eq!(server.count("tradewind_outcomes_total{result=\"shed\"}"), 1);
    let none = tell_all(&client, Vec::new()).await.unwrap();
    assert_eq!(none, ReportResponse::default());
}

#[tokio::test]
async fn the_outcome_of_a_decision_is_taken() {
    let (_files, _server, mut client) = usual().await;
    let decision = client.decide(request("/a")).await;
    let told = Outcome {
        decision_id: decision.decision_id,
        node: decision.candidates[0].node.clone(),
        ..outcome()
    };
    let answer = tell(&client, batch(vec![told])).await.unwrap();
    assert_eq!(answer.accepted, 1);
}

/// Another value of one field, and the reason it is refused with.
type Fault<M> = (&'static str, fn(&mut M));

#[tokio::test]
async fn every_bad_outcome_is_refused_with_its_reason_and_the_good_ones_kept() {
    let (_files, server, client) = usual().await;
    let faults: [Fault<Outcome>; 24] = [
        ("unknown_node", |it| it.node = "fra-99".into()),
        ("unknown_node", |it| it.node = "x".repeat(10_000)),
        ("unknown_node", |it| it.node.clear()),
        ("bad_decision_id", |it| it.decision_id = "a".repeat(15)),
        ("bad_decision_id", |it| it.decision_id = "a".repeat(17)),
        ("bad_decision_id", |it| {
            it.decision_id = format!("+{:015}", 1);
        }),
        ("bad_decision_id", |it| it.decision_id = "é".repeat(8)),
        ("unknown_value", |it| it.result = 0),
        ("unknown_value", |it| it.result = 6),
        ("unknown_value", |it| it.result = -1),
        ("unknown_value", |it| it.cache_status = 99),
        ("out_of_range", |it| it.status = 99),
        ("out_of_range", |it| it.status = 600),
        ("out_of_range", |it| it.status = u32::MAX),
        ("out_of_range", |it| it.attempt = 256),
        ("out_of_range", |it| it.bytes = 1_000_000_000_000_001),
        ("out_of_range", |it| it.bytes = u64::MAX),
        ("negative", |it| {
            it.time_to_first_byte = Some(lasting(-1, 0));
        }),
        ("negative", |it| {
            it.total = Some(lasting(i64::MIN, i32::MIN));
        }),
        ("negative", |it| it.client_round_trip = Some(lasting(1, -1))),
        ("out_of_range", |it| it.total = Some(lasting(600, 1))),
        ("out_of_range", |it| {
            it.total = Some(lasting(i64::MAX, i32::MAX));
        }),
        ("out_of_range", |it| {
            it.total = Some(lasting(0, 1_000_000_000));
        }),
        ("out_of_range", |it| {
            it.client_round_trip = Some(lasting(601, 0));
        }),
    ];
    for (reason, spoil) in faults {
        let mut bad = outcome();
        spoil(&mut bad);
        let what = format!("{bad:?}");
        let answer = tell(&client, batch(vec![outcome(), bad, outcome()])).await;
        let answer = answer.unwrap();
        assert_one_refused(&answer, reason, 2, &what);
        assert!(answer.faults[0].starts_with("item 1: "), "{answer:?}");
        assert!(answer.faults[0].len() < 250, "{answer:?}");
    }
    assert_eq!(server.count("tradewind_outcomes_total{result=\"ok\"}"), 48);
    assert_eq!(server.count(&refused("outcome", "unknown_node")), 3);
    assert_eq!(server.count(&refused("outcome", "negative")), 3);
}

#[tokio::test]
async fn every_bad_load_is_refused_with_its_reason_and_the_good_ones_kept() {
    let (_files, server, client) = usual().await;
    let faults: [Fault<LoadReport>; 20] = [
        ("unknown_node", |it| it.node = "fra-99".into()),
        ("not_finite", |it| it.cpu_utilization = f64::NAN),
        ("not_finite", |it| {
            it.application_utilization = f64::INFINITY;
        }),
        ("not_finite", |it| it.mem_utilization = f64::NEG_INFINITY),
        ("not_finite", |it| it.hit_ratio = Some(f64::NAN)),
        ("negative", |it| it.cpu_utilization = -0.1),
        ("negative", |it| it.rps_fractional = -f64::MIN_POSITIVE),
        ("negative", |it| it.requests_in_flight = Some(-1.0)),
        ("out_of_range", |it| it.cpu_utilization = 10.1),
        ("out_of_range", |it| it.application_utilization = 1e308),
        ("out_of_range", |it| it.mem_utilization = 1.1),
        ("out_of_range", |it| it.rps_fractional = 1e308),
        ("out_of_range", |it| it.eps = 1e10),
        ("out_of_range", |it| it.hit_ratio = Some(1.01)),
        ("out_of_range", |it| it.requests_in_flight = Some(2e9)),
        ("out_of_range", |it| it.egress_bytes_per_second = Some(1e16)),
        ("not_finite", |it| {
            it.named_metrics.insert("x".into(), f64::NAN);
        }),
        ("not_finite", |it| {
            it.named_metrics.insert("x".into(), f64::NEG_INFINITY);
        }),
        ("too_long", |it| {
            it.named_metrics.insert("x".repeat(65), 1.0);
        }),
        ("too_many", |it| {
            it.named_metrics = (0..33).map(|n| (n.to_string(), 1.0)).collect();
        }),
    ];
    for (reason, spoil) in faults {
        let mut bad = load();
        spoil(&mut bad);
        let what = format!("{bad:?}");
        let answer = tell_load(&client, vec![load(), bad, load()]).await;
        let answer = answer.unwrap();
        assert_one_refused(&answer, reason, 2, &what);
        assert!(answer.faults[0].starts_with("message 1, "), "{answer:?}");
    }
    assert_eq!(server.count(&refused("load", "not_finite")), 6);
}

#[tokio::test]
async fn histograms_of_the_usual_encoding_are_taken() {
    let (_files, server, client) = usual().await;
    let good = HISTOGRAMS.map(histogram);
    let answer = tell_histograms(&client, good.to_vec()).await.unwrap();
    assert_eq!((answer.accepted, answer.refused.len()), (2, 0));
    let faults: [Fault<NodeHistogram>; 6] = [
        ("unknown_node", |it| it.node = "fra-99".into()),
        ("unknown_value", |it| it.kind = 0),
        ("undecodable", |it| it.hdr_v2.clear()),
        ("undecodable", |it| it.hdr_v2.truncate(50)),
        ("undecodable", |it| it.hdr_v2[0] = 0),
        ("out_of_range", |it| it.hdr_v2[15] = 9),
    ];
    for (reason, spoil) in faults {
        let mut bad = good[0].clone();
        spoil(&mut bad);
        let answer = tell_histograms(&client, vec![bad, good[1].clone()]).await;
        assert_one_refused(&answer.unwrap(), reason, 1, reason);
    }
    assert_eq!(server.count(&refused("histogram", "undecodable")), 3);
    let many = vec![good[0].clone(); 40];
    let answer = tell_histograms(&client, many).await.unwrap();
    assert_eq!(answer.accepted, 32);
    assert_eq!(answer.refused, [("too_many".to_owned(), 8)].into());
}

#[tokio::test]
async fn batches_and_names_are_bounded() {
    let (_files, _server, client) = usual().await;
    let answer = tell(&client, batch(vec![outcome(); 1_100])).await.unwrap();
    assert_eq!(answer.accepted, 1_024);
    assert_eq!(answer.refused, [("too_many".to_owned(), 76)].into());
    let bad = Outcome::default();
    let answer = tell(&client, batch(vec![bad; 100])).await.unwrap();
    assert_eq!(answer.refused, [("unknown_node".to_owned(), 100)].into());
    assert_eq!(answer.faults.len(), 8, "the first few are put into words");
    let shouting = ReportRequest {
        reporter: "x".repeat(65),
        ..batch(vec![outcome(); 3])
    };
    let answer = tell(&client, shouting).await.unwrap();
    assert_eq!(answer.refused, [("too_long".to_owned(), 3)].into());
    let huge = Outcome {
        node: "x".repeat(300 << 10),
        ..outcome()
    };
    refusal(tell(&client, batch(vec![huge])).await, Code::OutOfRange);
}

/// Sends outcomes as they are encoded, or not, each in a batch of its own.
async fn tell_raw(channel: &Channel, method: &str, outcomes: Vec<Vec<u8>>) -> Told<ReportResponse> {
    let mut grpc = tonic::client::Grpc::new(channel.clone());
    grpc.ready().await.unwrap();
    // A message of these bytes as its first field.
    let codec = ProstCodec::<Vec<u8>, ReportResponse>::default();
    let path = format!("/tradewind.v1.FeedbackService/{method}");
    let path = PathAndQuery::try_from(path).unwrap();
    let stream = tonic::Request::new(tokio_stream::iter(outcomes));
    let answered = grpc.client_streaming(stream, path, codec).await;
    answered.map(tonic::Response::into_inner)
}

#[tokio::test]
async fn an_unreadable_message_is_counted_and_its_stream_lives_on() {
    let (_files, server, client) = usual().await;
    let good = prost::Message::encode_to_vec(&outcome());
    let cut = good[..good.len() - 1].to_vec();
    let messages = vec![
        good.clone(),
        vec![0xff; 40],
        good.clone(),
        cut,
        good.clone(),
    ];
    let answer = tell_raw(&client.channel, "Report", messages).await.unwrap();
    assert_eq!(answer.accepted, 3);
    assert_eq!(answer.refused, [("undecodable".to_owned(), 2)].into());
    assert!(answer.faults[0].starts_with("message 1, "), "{answer:?}");
    let alone = tell_raw(&client.channel, "ReportUnary", vec![vec![0xff; 40]]).await;
    refusal(alone, Code::InvalidArgument);
    assert_eq!(server.count(&refused("outcome", "undecodable")), 3);
}

#[tokio::test]
async fn one_that_floods_meets_its_quota_while_decisions_go_on() {
    let files = Files::new();
    // So that another name is another reporter.
    let setup = files.setup().with("trusted-reporters", "127.0.0.1");
    let server = setup.start().await;
    let mut client = server.client().await;
    let flooding = server.client().await;
    let small = Outcome {
        node: "fra-1".to_owned(),
        result: AttemptResult::Ok.into(),
        ..Outcome::default()
    };
    let flood = vec![batch(vec![small.clone(); 1_024]); 400];
    let flood = tokio::spawn(async move { tell_all(&flooding, flood).await.unwrap() });
    let mut decisions = 0;
    while !flood.is_finished() || decisions < 50 {
        client.decide(request(&format!("/{decisions}"))).await;
        decisions += 1;
    }
    let answer = flood.await.unwrap();
    let over = answer.refused["quota"];
    assert_eq!(answer.accepted + over, 400 * 1_024);
    assert!(answer.accepted >= 100_000, "{answer:?}");
    assert!(server.metric(&refused("outcome", "quota")) > 0.0);
    let another = ReportRequest {
        outcomes: vec![small; 1_000],
        reporter: "another".to_owned(),
    };
    assert_eq!(tell(&client, another).await.unwrap().accepted, 1_000);
}

#[tokio::test]
async fn before_the_first_good_policy_nothing_is_taken() {
    let files = Files::empty();
    let server = files.setup().start_unready().await;
    let client = server.client().await;
    let code = Code::FailedPrecondition;
    refusal(tell(&client, batch(vec![outcome()])).await, code);
    refusal(tell_all(&client, Vec::new()).await, code);
    refusal(tell_load(&client, vec![load()]).await, code);
    refusal(
        tell_histograms(&client, HISTOGRAMS.map(histogram).to_vec()).await,
        code,
    );
}

#[tokio::test]
async fn a_stream_may_be_silent_for_longer_than_a_call_may_take() {
    let (_files, _server, client) = usual().await;
    let (sender, batches) = tokio::sync::mpsc::channel(1);
    let stream = tokio_stream::wrappers::ReceiverStream::new(batches);
    let mut feedback = FeedbackServiceClient::new(client.channel.clone());
    let call = tokio::spawn(async move { feedback.report(stream).await });
    for _ in 0..2 {
        sender.send(batch(vec![outcome()])).await.unwrap();
        // Calls that do not stream end after 500 ms.
        tokio::time::sleep(Duration::from_millis(700)).await;
    }
    drop(sender);
    let answer = call.await.unwrap().unwrap().into_inner();
    assert_eq!(answer.accepted, 2);
}

#[tokio::test]
async fn ids_of_decisions_come_once_whatever_the_door() {
    let files = Files::new();
    let socket = format!("unix:{}", files.root().join("sock").display());
    let server = files.setup().also("listen", &socket).start().await;
    let mut ids = std::collections::BTreeSet::new();
    for mut client in [server.client().await, Client::connect(&socket).await] {
        for _ in 0..20 {
            ids.insert(client.decide(request("/a")).await.decision_id);
        }
        assert_eq!(
            tell(&client, batch(vec![outcome()]))
                .await
                .unwrap()
                .accepted,
            1
        );
    }
    assert_eq!(ids.len(), 40);
}
