//! What Envoys tell, message by message: which entries of an access log say something about a node, and what; and what
//! load reports come to.

use std::collections::BTreeMap;

use prost_types::Duration;
use tokio::time;
use tokio_stream::StreamExt as _;
use tradewind::sidecar::doors::envoy::DECISION_ID;
use tradewind::sidecar::doors::envoy::proto::envoy as api;

use api::config::core::v3::address::Address as Place;
use api::config::core::v3::socket_address::PortSpecifier;
use api::config::core::v3::{Address, Node, SocketAddress};
use api::config::endpoint::v3::{
    ClusterStats, EndpointLoadMetricStats, UpstreamEndpointStats, UpstreamLocalityStats,
};
use api::data::accesslog::v3::{
    AccessLogCommon, HttpAccessLogEntry, HttpRequestProperties, HttpResponseProperties,
    ResponseFlags,
};
use api::service::accesslog::v3::StreamAccessLogsMessage;
use api::service::accesslog::v3::access_log_service_client::AccessLogServiceClient;
use api::service::accesslog::v3::stream_access_logs_message::{
    HttpAccessLogEntries, Identifier, LogEntries,
};
use api::service::load_stats::v3::LoadStatsRequest;
use api::service::load_stats::v3::load_reporting_service_client::LoadReportingServiceClient;

use crate::client::{Client, request};
use crate::server::{Files, PATIENCE, Server};

/// Two nodes with addresses as Envoy knows them.
const TOPOLOGY: &str = "apiVersion: tradewind/v1
kind: Topology
spec:
  sites:
    - {id: fra, lat: 50.03, lon: 8.57}
  nodes:
    - {id: fra-1, site: fra, address: \"192.0.2.1:80\"}
    - {id: fra-2, site: fra, address: \"[2001:db8::2]:80\"}
";

async fn start() -> (Server, Client) {
    let files = Files::new();
    files.write("topology.yaml", TOPOLOGY);
    let policy = crate::fleet::policy("all").replace("[edge, regional, origin]", "[edge]");
    let policy = policy
        .lines()
        .filter(|line| !line.contains("tier: regional") && !line.contains("tier: origin"));
    files.write("policy.yaml", policy.collect::<Vec<_>>().join("\n"));
    let server = files.setup().start().await;
    let client = server.client().await;
    (server, client)
}

fn address(host: &str) -> Address {
    Address {
        address: Some(Place::SocketAddress(SocketAddress {
            address: host.to_owned(),
            port_specifier: Some(PortSpecifier::PortValue(80)),
        })),
    }
}

fn lasting(millis: i32) -> Duration {
    Duration {
        seconds: 0,
        nanos: millis * 1_000_000,
    }
}

/// An attempt at a node that took 30 ms to its first byte.
fn attempt(host: &str, status: u32, flags: ResponseFlags) -> HttpAccessLogEntry {
    HttpAccessLogEntry {
        common_properties: Some(AccessLogCommon {
            upstream_remote_address: Some(address(host)),
            response_flags: Some(flags),
            time_to_first_upstream_tx_byte: Some(lasting(10)),
            time_to_first_upstream_rx_byte: Some(lasting(40)),
            time_to_last_upstream_rx_byte: Some(lasting(50)),
            upstream_request_attempt_count: 1,
            ..AccessLogCommon::default()
        }),
        request: Some(HttpRequestProperties {
            request_headers: BTreeMap::from([(
                DECISION_ID.to_owned(),
                "00000000000000af".to_owned(),
            )]),
        }),
        response: Some(HttpResponseProperties {
            response_code: (status > 0).then_some(status),
            response_body_bytes: 100,
            response_headers: BTreeMap::from([("x-cache".to_owned(), "HIT".to_owned())]),
            ..HttpResponseProperties::default()
        }),
    }
}

/// Tells entries of the log of this name, as one stream of as many messages.
async fn tell(client: &Client, log_name: &str, entries: Vec<HttpAccessLogEntry>) {
    let identifier = Identifier {
        node: Some(Node {
            id: "edge-7".to_owned(),
            ..Node::default()
        }),
        log_name: log_name.to_owned(),
    };
    // Only the first message says which log it is.
    let mut identifier = Some(identifier);
    let messages = entries.into_iter().map(|entry| StreamAccessLogsMessage {
        identifier: identifier.take(),
        log_entries: Some(LogEntries::HttpLogs(HttpAccessLogEntries {
            log_entry: vec![entry],
        })),
    });
    let messages: Vec<_> = messages.collect();
    let mut logs = AccessLogServiceClient::new(client.channel.clone());
    logs.stream_access_logs(tokio_stream::iter(messages))
        .await
        .unwrap();
}

/// How many outcomes of each result have been taken; those with none are left out.
fn outcomes(server: &Server) -> Vec<(&'static str, i64)> {
    let results = ["ok", "error", "timeout", "reset", "shed"];
    let counts = results.map(|result| {
        let sample = format!("tradewind_outcomes_total{{result=\"{result}\"}}");
        (result, server.count(&sample))
    });
    counts.into_iter().filter(|(_, count)| *count > 0).collect()
}

/// Status, flags, and the result that an attempt is taken for; empty if it says nothing of a node.
fn attempts_and_results() -> Vec<(u32, ResponseFlags, &'static str)> {
    let none = ResponseFlags::default;
    let flags = |set: fn(&mut ResponseFlags)| {
        let mut flags = none();
        set(&mut flags);
        flags
    };
    vec![
        (200, none(), "ok"),
        // The client's own fault is no fault of the node.
        (404, none(), "ok"),
        (503, none(), "error"),
        (429, none(), "shed"),
        (
            0,
            flags(|it| it.upstream_connection_failure = true),
            "error",
        ),
        (
            503,
            flags(|it| it.upstream_connection_failure = true),
            "error",
        ),
        (0, flags(|it| it.upstream_request_timeout = true), "timeout"),
        (
            504,
            flags(|it| it.upstream_request_timeout = true),
            "timeout",
        ),
        (0, flags(|it| it.stream_idle_timeout = true), "timeout"),
        (0, flags(|it| it.duration_timeout = true), "timeout"),
        (0, flags(|it| it.upstream_remote_reset = true), "reset"),
        (
            200,
            flags(|it| it.upstream_connection_termination = true),
            "reset",
        ),
        (0, flags(|it| it.upstream_protocol_error = true), "reset"),
        // Envoy's own bounds, and clients that leave.
        (503, flags(|it| it.upstream_overflow = true), ""),
        (503, flags(|it| it.no_healthy_upstream = true), ""),
        (
            0,
            flags(|it| it.downstream_connection_termination = true),
            "",
        ),
        (0, none(), ""),
    ]
}

#[tokio::test]
async fn an_attempt_is_an_outcome_by_its_flags_and_status() {
    for (status, flags, wanted) in attempts_and_results() {
        let (server, client) = start().await;
        let what = format!("{status} {flags:?}");
        let mut entry = attempt("192.0.2.1", status, flags);
        if flags.upstream_request_timeout {
            // Envoy's own answer: nothing came of the node.
            let common = entry.common_properties.as_mut().unwrap();
            common.time_to_first_upstream_rx_byte = None;
            common.time_to_last_upstream_rx_byte = None;
        }
        tell(&client, "attempts", vec![entry]).await;
        let wanted: Vec<_> = [(wanted, 1)]
            .into_iter()
            .filter(|(result, _)| !result.is_empty())
            .collect();
        assert_eq!(outcomes(&server), wanted, "{what}");
        let ignored = server.count("tradewind_envoy_log_ignored_total{why=\"nobody_asked\"}");
        assert_eq!(ignored, i64::from(wanted.is_empty()), "{what}");
    }
}

#[tokio::test]
async fn an_answer_that_comes_late_is_an_answer_all_the_same() {
    let (server, client) = start().await;
    let flags = ResponseFlags {
        upstream_request_timeout: true,
        ..ResponseFlags::default()
    };
    // Another node was asked meanwhile, for Envoy hedges; but this one was quicker in the end.
    tell(&client, "attempts", vec![attempt("192.0.2.1", 200, flags)]).await;
    assert_eq!(outcomes(&server), [("ok", 1)]);
}

#[tokio::test]
async fn a_grpc_call_is_an_outcome_by_its_status() {
    for (code, wanted) in [
        ("0", "ok"),
        ("5", "ok"),
        ("14", "error"),
        ("13", "error"),
        ("2", "error"),
        ("8", "shed"),
        // Its client gave up.
        ("1", ""),
    ] {
        let call = |in_trailers: bool| {
            let mut call = attempt("192.0.2.1", 200, ResponseFlags::default());
            let response = call.response.as_mut().unwrap();
            let place = if in_trailers {
                &mut response.response_trailers
            } else {
                &mut response.response_headers
            };
            place.insert("grpc-status".to_owned(), code.to_owned());
            call
        };
        let (server, client) = start().await;
        tell(&client, "attempts", vec![call(true), call(false)]).await;
        let wanted: Vec<_> = [(wanted, 2)]
            .into_iter()
            .filter(|(result, _)| !result.is_empty())
            .collect();
        assert_eq!(outcomes(&server), wanted, "{code}");
    }
}

#[tokio::test]
async fn attempts_say_how_long_a_node_took_and_whether_it_hit() {
    let (server, mut client) = start().await;
    let mut entries = Vec::new();
    for number in 0..60 {
        let answer = client.decide(request(&format!("/{number}"))).await;
        let host = if answer.candidates[0].node == "fra-1" {
            "192.0.2.1"
        } else {
            "2001:db8::2"
        };
        let mut entry = attempt(host, 200, ResponseFlags::default());
        let headers = &mut entry.request.as_mut().unwrap().request_headers;
        headers.insert(DECISION_ID.to_owned(), answer.decision_id);
        entries.push(entry);
    }
    tell(&client, "attempts", entries).await;
    assert_eq!(outcomes(&server), [("ok", 60)]);
    // From the request's first byte to the answer's: 30 ms of the 40 since Envoy began.
    server
        .until("both nodes' service times are known", || {
            let nodes = server.get("/debug/nodes").json()["nodes"].take();
            let known = |at: usize| nodes[at]["health"]["service_p50_ms"].as_f64();
            [known(0), known(1)]
                .iter()
                .all(|ms| ms.is_some_and(|ms| (29.0..31.5).contains(&ms)))
        })
        .await;
    let nodes = server.get("/debug/nodes").json()["nodes"].take();
    assert!(
        nodes[0]["health"]["hit_ratio"].as_f64() > Some(0.5),
        "{nodes}"
    );
}

#[tokio::test]
async fn logs_are_told_apart_by_name() {
    let (server, client) = start().await;
    let entry = |status, attempts| {
        let mut entry = attempt("192.0.2.1", status, ResponseFlags::default());
        let common = entry.common_properties.as_mut().unwrap();
        common.upstream_request_attempt_count = attempts;
        entry
    };
    let mut left = entry(0, 1);
    let flags = &mut left.common_properties.as_mut().unwrap().response_flags;
    flags.as_mut().unwrap().downstream_remote_reset = true;
    tell(
        &client,
        "requests",
        vec![entry(200, 1), entry(200, 2), entry(503, 9), left],
    )
    .await;
    tell(&client, "something", vec![entry(200, 1), entry(200, 1)]).await;
    assert_eq!(outcomes(&server), []);
    for (labels, count) in [
        ("ended=\"answered\",attempts=\"1\"", 1),
        ("ended=\"answered\",attempts=\"2\"", 1),
        ("ended=\"failed\",attempts=\"4+\"", 1),
        ("ended=\"client_left\",attempts=\"1\"", 1),
    ] {
        let sample = format!("tradewind_envoy_requests_total{{{labels}}}");
        assert_eq!(server.count(&sample), count, "{labels}");
    }
    let unnamed = "tradewind_envoy_log_ignored_total{why=\"unknown_log_name\"}";
    assert_eq!(server.count(unnamed), 2);
}

#[tokio::test]
async fn an_attempt_at_a_stranger_is_refused_and_the_rest_is_taken() {
    let (server, client) = start().await;
    let none = ResponseFlags::default;
    let mut nowhere = attempt("192.0.2.1", 200, none());
    nowhere
        .common_properties
        .as_mut()
        .unwrap()
        .upstream_remote_address = None;
    let entries = vec![
        attempt("192.0.2.99", 200, none()),
        nowhere,
        HttpAccessLogEntry::default(),
        attempt("192.0.2.1", 200, none()),
    ];
    tell(&client, "attempts", entries).await;
    assert_eq!(outcomes(&server), [("ok", 1)]);
    let refused = "tradewind_reports_refused_total{kind=\"outcome\",reason=\"unknown_node\"}";
    assert_eq!(server.count(refused), 1);
    let ignored = "tradewind_envoy_log_ignored_total{why=\"nobody_asked\"}";
    assert_eq!(server.count(ignored), 2);
}

fn metric(name: &str, sum: f64, requests: u64) -> EndpointLoadMetricStats {
    EndpointLoadMetricStats {
        metric_name: name.to_owned(),
        num_requests_finished_with_metric: requests,
        total_metric_value: sum,
    }
}

fn cluster(name: &str, hosts: &[&str]) -> ClusterStats {
    let endpoints = hosts.iter().map(|host| UpstreamEndpointStats {
        address: Some(address(host)),
        total_issued_requests: 200,
        total_requests_in_progress: 3,
        load_metric_stats: vec![
            metric("cpu_utilization", 30.0, 100),
            metric("named_metrics.hit_ratio", 90.0, 100),
            metric("named_metrics.temperature", 1e9, 100),
        ],
        ..UpstreamEndpointStats::default()
    });
    ClusterStats {
        cluster_name: name.to_owned(),
        upstream_locality_stats: vec![UpstreamLocalityStats {
            upstream_endpoint_stats: endpoints.collect(),
        }],
        load_report_interval: Some(Duration {
            seconds: 2,
            nanos: 0,
        }),
    }
}

#[tokio::test]
async fn load_reports_are_asked_for_and_taken() {
    let (server, client) = start().await;
    let report = LoadStatsRequest {
        cluster_stats: vec![
            // Our own door's cluster, which is nobody's node.
            cluster("tradewind", &["127.0.0.1"]),
            cluster("cache_nodes", &["192.0.2.1", "192.0.2.99"]),
        ],
        ..LoadStatsRequest::default()
    };
    // As Envoy does it: first it says who it is, then it reports.
    let requests = tokio_stream::iter([LoadStatsRequest::default(), report]);
    let requests = requests.chain(tokio_stream::pending());
    let mut service = LoadReportingServiceClient::new(client.channel.clone());
    let mut wishes = service
        .stream_load_stats(requests)
        .await
        .unwrap()
        .into_inner();
    let wish = time::timeout(PATIENCE, wishes.message())
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert!(wish.send_all_clusters && wish.report_endpoint_granularity);
    assert_eq!(wish.load_reporting_interval.unwrap().seconds, 1);
    server
        .until("the load is known", || {
            let node = server.get("/debug/nodes").json()["nodes"][0]["health"].take();
            let near = |name: &str, wanted: f64| {
                let told = node[name].as_f64();
                told.is_some_and(|told| (told - wanted).abs() < 0.01)
            };
            near("utilisation", 0.3) && near("told_hit_ratio", 0.9)
        })
        .await;
    // A stranger beside our nodes is worth a look; our own door is not.
    let refused = "tradewind_reports_refused_total{kind=\"load\",reason=\"unknown_node\"}";
    assert_eq!(server.count(refused), 1);
}
