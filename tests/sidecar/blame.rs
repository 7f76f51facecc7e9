//! Whose fault a failure is, through the doors: what proxies tell of one object, one client and one node.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};
use tradewind::sidecar::clock;
use tradewind::sidecar::wire::proto::DecideResponse;

use crate::client::{Client, request};
use crate::server::{Files, Server};

/// Two towns of three nodes.
async fn fleet() -> (Files, Server) {
    let mut text = String::from(
        "apiVersion: tradewind/v1\nkind: Topology\nspec:\n  sites:\n  - {id: fra, lat: 50.1, lon: 8.6}\n  \
         - {id: muc, lat: 48.1, lon: 11.6}\n  nodes:\n",
    );
    for number in 0..6 {
        let site = ["fra", "muc"][number / 3];
        writeln!(
            text,
            "  - {{id: {site}-{number}, site: {site}, address: \"192.0.2.{number}:80\"}}"
        )
        .unwrap();
    }
    let policy = "apiVersion: tradewind/v1\nkind: Policy\nspec:\n  decision_log: {sample_ratio: 1}\n  pools:\n  \
                  - {name: edge, select: {tier: edge}, spread: {max_copies: 1}}\n  rules:\n  \
                  - {name: all, owner: tests, rollback: none, pools: [edge]}\n";
    let files = Files::empty();
    files.write("topology.yaml", &text);
    files.write("policy.yaml", policy);
    let server = files.setup().start().await;
    (files, server)
}

/// Traffic of Frankfurt for a while: `told` says of each request and attempt what the proxy tells, and whether it tries
/// on. The decisions of the last half second.
async fn traffic(
    server: &Server,
    client: &mut Client,
    lasting: Duration,
    told: impl Fn(usize, &str) -> (Value, bool),
) -> Vec<(usize, DecideResponse)> {
    let began = clock::now();
    let (mut number, mut late) = (0, Vec::new());
    while clock::now() < began + lasting {
        let mut lines = String::new();
        for _ in 0..20 {
            number += 1;
            let path = if number % 10 < 3 {
                "/one".to_owned()
            } else {
                format!("/object/{}", number * 7_919 % 10_007)
            };
            let answer = client.decide(request(&path)).await;
            for candidate in &answer.candidates {
                let (mut outcome, goes_on) = told(number, &candidate.node);
                outcome["node"] = json!(candidate.node);
                outcome["decision_id"] = json!(answer.decision_id);
                writeln!(lines, "{outcome}").unwrap();
                if !goes_on {
                    break;
                }
            }
            if clock::now() + Duration::from_millis(500) > began + lasting {
                late.push((number, answer));
            }
        }
        let mut door = server.query();
        let reply = door.ask(("POST", "/v1/outcomes"), &[], lines.as_bytes());
        let reply = reply.unwrap().json();
        assert_eq!(reply["refused"], json!({}), "{reply}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    late
}

fn good() -> Value {
    json!({ "result": "ok", "status": 200, "time_to_first_byte": "2ms", "cache_status": "HIT" })
}

/// The `what` of `/debug/nodes`, by node.
fn breakers(server: &Server) -> Vec<Value> {
    let page = server.get("/debug/nodes").json();
    let nodes = page["nodes"].as_array().unwrap().iter();
    nodes
        .map(|node| node["health"]["breaker"].clone())
        .collect()
}

/// One URL of three requests of ten fails at every node that is tried, and nothing else does.
#[tokio::test]
async fn one_url_that_fails_everywhere_opens_no_breaker_and_is_shown() {
    let (_files, server) = fleet().await;
    let mut client = server.client().await;
    let fails = json!({ "status": 500, "time_to_first_byte": "2ms", "cache_status": "MISS" });
    let late = traffic(&server, &mut client, Duration::from_secs(4), |number, _| {
        if number % 10 < 3 {
            (fails.clone(), true)
        } else {
            (good(), false)
        }
    })
    .await;
    let breakers = breakers(&server);
    assert!(
        breakers
            .iter()
            .all(|breaker| breaker["state"] == "closed" && breaker["cause"] == "none"),
        "{breakers:?}"
    );
    let reasons: Vec<&str> = late
        .iter()
        .map(|(_, answer)| answer.reason.as_str())
        .collect();
    assert!(
        reasons.iter().all(|reason| *reason == "owner"),
        "{reasons:?}"
    );
    let hot = server.get("/debug/hot").json();
    let failing = hot["failing"].as_array().unwrap();
    assert_eq!(failing.len(), 1, "{hot}");
    let object = &failing[0];
    assert_eq!(object["how"], "failing");
    assert_eq!(object["status"], 500);
    assert!(
        object["url"].as_str().unwrap().ends_with("/one"),
        "{object}"
    );
    assert!(object["nodes"].as_array().unwrap().len() >= 2, "{object}");
    assert_eq!(
        server.count("tradewind_failing_objects{how=\"failing\"}"),
        1
    );
    assert!(server.count("tradewind_object_failures_total") > 20);
}

/// A node of three sheds: its keys go to its neighbours in town. Then it is a client that is told so by every node.
#[tokio::test]
async fn a_node_that_sheds_is_left_for_its_neighbours_and_a_client_over_its_limit_for_nobody() {
    let (_files, server) = fleet().await;
    let mut client = server.client().await;
    let shed = json!({ "result": "shed", "status": 429 });
    let late = traffic(&server, &mut client, Duration::from_secs(3), |number, _| {
        if number % 8 == 0 {
            (shed.clone(), false)
        } else {
            (good(), false)
        }
    })
    .await;
    assert!(late.iter().all(|(_, answer)| answer.reason == "owner"));
    let late = traffic(&server, &mut client, Duration::from_secs(3), |_, node| {
        if node == "fra-1" {
            (shed.clone(), false)
        } else {
            (good(), false)
        }
    })
    .await;
    let breakers = breakers(&server);
    assert_eq!(breakers[1]["state"], "open", "{breakers:?}");
    assert_eq!(breakers[1]["cause"], "shedding");
    let others = [0, 2, 3, 4, 5];
    assert!(
        others.iter().all(|at| breakers[*at]["state"] == "closed"),
        "{breakers:?}"
    );
    for (_, answer) in &late {
        let first = &answer.candidates[0];
        assert!(
            first.node.starts_with("fra-") && first.node != "fra-1",
            "{first:?}"
        );
    }
}
