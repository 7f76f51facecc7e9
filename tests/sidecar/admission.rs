//! Who is turned away, through every door: because a limit is used up, or because no node has room.

use std::time::Duration;

use tradewind::sidecar::wire::proto::telemetry_service_client::TelemetryServiceClient;
use tradewind::sidecar::wire::proto::{DecideRequest, LoadReport, Verdict};

use crate::client::{Client, from_ip, request};
use crate::envoy_asking::{allowed, ask, asking, check, denied, immediate, process_one};
use crate::fleet::Fleet;
use crate::server::{Files, Server};

/// Hosts have a request in a hundred seconds, and what is low or normal gives way at 60 %.
const POLICY: &str = "apiVersion: tradewind/v1
kind: Policy
spec:
  geo: {default: {lat: 50.1, lon: 8.7}}
  overload: {max_utilisation_percent: 60}
  limits: [{name: tenants, rules: [limited], per: host, requests_per_second: 0.01}]
  pools: [{name: edge, select: {tier: edge}}]
  rules:
    - {name: limited, owner: tests, rollback: none, match: {paths: [{value: /limited}]}, pools: [edge]}
    - {name: critical, owner: tests, rollback: none, priority: critical, match: {paths: [{value: /critical}]}, pools: [edge]}
    - {name: low, owner: tests, rollback: none, priority: low, match: {paths: [{value: /low}]}, pools: [edge]}
    - {name: rest, owner: tests, rollback: none, pools: [edge]}
";

async fn start() -> (Server, Client) {
    let files = Files::new();
    files.write("policy.yaml", POLICY);
    let setup = files.setup().with("trusted-reporters", "127.0.0.1");
    let server = setup.start().await;
    let client = server.client().await;
    (server, client)
}

fn asked(host: &str, path: &str) -> DecideRequest {
    DecideRequest {
        host: host.to_owned(),
        client: Some(from_ip("198.18.0.9")),
        ..request(path)
    }
}

fn seconds(text: Option<&str>) -> u64 {
    text.unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_host_over_its_limit_is_told_when_to_come_back_through_every_door() {
    let (server, mut client) = start().await;
    let dry_run = DecideRequest {
        dry_run: true,
        ..asked("video.example.com", "/limited/0")
    };
    for _ in 0..3 {
        let answer = client.decide(dry_run.clone()).await;
        assert_eq!(
            answer.verdict(),
            Verdict::Route,
            "a dry run uses nothing up"
        );
    }
    let first = client
        .decide(asked("video.example.com", "/limited/1"))
        .await;
    assert_eq!(first.verdict(), Verdict::Route);
    let answer = client
        .decide(asked("Video.Example.Com:443", "/limited/2"))
        .await;
    assert_eq!(answer.verdict(), Verdict::Shed, "{answer:?}");
    assert_eq!((&*answer.reason, &*answer.rung), ("rate_limited", "shed"));
    assert!(answer.candidates.is_empty() && answer.ttl.is_none());
    let wait = answer.retry_after.unwrap();
    // Once in a hundred seconds, of which callers are told sixty at most, and as many by lot.
    assert!((60..=120).contains(&wait.seconds), "{wait:?}");
    let other = client
        .decide(asked("other.example.com", "/limited/1"))
        .await;
    assert_eq!(other.verdict(), Verdict::Route, "another tenant");

    let mut http = server.query();
    let page = "/v1/route?host=video.example.com&path=/limited/3&client=198.18.0.9";
    let reply = http.get(page, &[]).unwrap();
    assert_eq!(reply.status, 429, "{reply:?}");
    assert_eq!(reply.header("x-route-reason"), Some("rate_limited"));
    assert!((60..=120).contains(&seconds(reply.header("retry-after"))));
    assert_eq!(reply.json()["verdict"], "VERDICT_SHED");

    let asked = check("/limited/4", "198.18.0.9", &[]);
    let (status, headers) = denied(ask(&client, asked, &[]).await.unwrap());
    assert_eq!((status, &*headers["x-route-reason"]), (429, "rate_limited"));
    assert!(seconds(headers.get("retry-after").map(String::as_str)) >= 60);

    let (status, headers) = immediate(process_one(&client, asking("/limited/5")).await);
    assert_eq!((status, &*headers["x-route-reason"]), (429, "rate_limited"));
    assert!(seconds(headers.get("retry-after").map(String::as_str)) >= 60);

    let free = ask(&client, check("/free", "198.18.0.9", &[]), &[]).await;
    allowed(free.unwrap());
    let counted =
        "tradewind_shed_total{rule=\"limited\",priority=\"normal\",reason=\"rate_limited\"}";
    assert_eq!(server.count(counted), 4, "{}", server.get("/metrics").body);
}

/// Every edge node says so much of its load.
async fn tell_load(client: &Client, utilisation: f64) {
    let nodes = Fleet::usual().nodes.into_iter();
    let reports = nodes.map(|node| LoadReport {
        node: node.id,
        application_utilization: utilisation,
        ..LoadReport::default()
    });
    let mut telemetry = TelemetryServiceClient::new(client.channel.clone());
    let reports: Vec<LoadReport> = reports.collect();
    let answer = telemetry.report_load(tokio_stream::iter(reports)).await;
    assert_eq!(answer.unwrap().into_inner().refused.len(), 0);
}

/// How many of a hundred requests for different objects are turned away.
async fn turned_away(client: &mut Client, folder: &str) -> usize {
    let mut count = 0;
    for at in 0..100 {
        let answer = client
            .decide(asked("video.example.com", &format!("/{folder}/{at}")))
            .await;
        if answer.verdict() == Verdict::Shed {
            assert_eq!(answer.reason, "no_room", "{answer:?}");
            let wait = answer.retry_after.unwrap();
            assert!((5..=15).contains(&wait.seconds), "{wait:?}");
            count += 1;
        }
    }
    count
}

#[tokio::test]
async fn when_every_node_has_too_much_to_do_the_least_important_are_turned_away() {
    let (server, mut client) = start().await;
    tell_load(&client, 0.5).await;
    for folder in ["critical", "low", "rest"] {
        assert_eq!(turned_away(&mut client, folder).await, 0, "there is room");
    }
    // More than the bound, though not more than they can do at all: then nothing critical is ever shed.
    let mut shed = [0; 3];
    let waited = tokio::time::timeout(Duration::from_secs(15), async {
        while shed[2] == 0 {
            tell_load(&client, 0.9).await;
            // More is shed each second: those of more importance are asked about first.
            let critical = turned_away(&mut client, "critical").await;
            let rest = turned_away(&mut client, "rest").await;
            shed = [critical, turned_away(&mut client, "low").await, rest];
        }
    });
    waited.await.expect("requests are shed within seconds");
    assert_eq!(shed[0], 0, "nothing critical is shed: {shed:?}");
    assert!(shed[1] >= shed[2], "{shed:?}");
    server
        .until_said("the least important requests are shed")
        .await;
    let why = client.explain(asked("video.example.com", "/rest/0")).await;
    assert!(why.decision.is_some());
    let page = server.get("/metrics").body;
    assert!(
        page.contains("tradewind_shed_total{rule=\"low\",priority=\"low\",reason=\"no_room\"}"),
        "{page}"
    );
    assert!(
        !page.contains("tradewind_shed_total{rule=\"critical\""),
        "{page}"
    );
}
