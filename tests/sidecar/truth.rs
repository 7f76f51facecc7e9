//! What the sidecar says of bad times: since when, what came first, how they ended; and what a change of a file leaves alone.

use serde_json::Value;
use tradewind::sidecar::wire::proto::admin_service_client::AdminServiceClient;
use tradewind::sidecar::wire::proto::topology_service_client::TopologyServiceClient;
use tradewind::sidecar::wire::proto::{GetTopologyRequest, ResetBreakerRequest};

use crate::client::{request, requests};
use crate::fleet;
use crate::server::{Files, Server};

/// Asks for objects where only one node can be used, and tells how the attempts at it went.
async fn tell(server: &Server, node: &str, result: &str, times: usize) {
    let mut asked = requests(times);
    for request in &mut asked {
        request.path = format!("/{node}{}", request.path);
        request.only_nodes = vec![node.to_owned()];
    }
    let answers = server.client().await.decide_all(&asked).await;
    let line = |id: &str| {
        format!(r#"{{"decision_id": "{id}", "node": "{node}", "result": "{result}", "status": 0}}"#)
    };
    let lines: Vec<_> = answers
        .iter()
        .map(|answer| line(&answer.decision_id))
        .collect();
    let lines = lines.join("\n");
    let reply = server
        .query()
        .ask(("POST", "/v1/outcomes"), &[], lines.as_bytes());
    assert_eq!(reply.unwrap().status, 200);
}

fn node(server: &Server, id: &str) -> Value {
    let nodes = server.get("/debug/nodes").json();
    let mut nodes = nodes["nodes"].as_array().unwrap().iter();
    nodes.find(|node| node["id"] == id).unwrap()["health"].clone()
}

fn site(server: &Server, id: &str) -> Value {
    let sites = server.get("/debug/sites").json();
    let mut sites = sites["sites"].as_array().unwrap().iter();
    sites.find(|site| site["id"] == id).unwrap().clone()
}

/// The usual policy, whose hot keys several nodes carry.
fn policy(rule: &str) -> String {
    fleet::policy(rule).replace(", spread: {max_copies: 1}", "")
}

#[tokio::test]
async fn a_bad_time_is_told_from_its_beginning_to_its_end() {
    let files = Files::new();
    let server = files.setup().start().await;
    // One breaker of a pool with two nodes at another site may open: that site is not ready any more only when both are out.
    tell(&server, "fra-1", "error", 5).await;
    server
        .until("the breaker is open, and decisions know", || {
            let health = node(&server, "fra-1");
            health["admission"] == "breaker_open" && health["weight_ratio"] == 0.0
        })
        .await;
    let known = node(&server, "fra-1");
    assert_eq!(known["breaker"]["first_cause"], "consecutive_failures");
    assert_eq!(known["breaker"]["reopenings"], 0);
    assert_eq!(
        known["weight_ratio"], 0.0,
        "decisions give it nothing: {known}"
    );
    assert_eq!(known["trouble"]["first_source"], "outcomes");
    assert_eq!(known["trouble"]["over"], false);
    let fra = site(&server, "fra");
    assert_eq!(
        (&fra["ready_nodes"], &fra["ready"]),
        (&7.into(), &true.into())
    );
    let page = server.get("/debug/fleet").json();
    assert_eq!(page["nodes"][0]["id"], "fra-1", "{page}");
    assert_eq!(page["readiness"]["ready_nodes"], 16);
    assert_eq!(page["pools"]["edge"]["ready_nodes"], 13);
    let metric = "tradewind_pool_ready_nodes{pool=\"edge\"}";
    server
        .until("metrics say so", || server.count(metric) == 13)
        .await;
    // Operators are told the same, and by a reset what was forgotten.
    let channel = tonic::transport::Endpoint::from_shared(format!("http://{}", server.admin));
    let channel = channel.unwrap().connect().await.unwrap();
    let mut topology = TopologyServiceClient::new(channel.clone());
    let told = topology.get(GetTopologyRequest {}).await.unwrap();
    let told = told.into_inner().nodes;
    let told = told.iter().find(|node| node.id == "fra-1").unwrap();
    let health = told.health.as_ref().unwrap();
    assert_eq!(health.first_cause, "consecutive_failures");
    assert!(health.tried_again_in_ms.is_some_and(|ms| ms <= 12_000));
    let mut admin = AdminServiceClient::new(channel);
    let reset = admin.reset_breaker(ResetBreakerRequest {
        node: "fra-1".to_owned(),
    });
    let before = reset.await.unwrap().into_inner().before.unwrap();
    assert_eq!(before.admission, "breaker_open");
    server
        .until("it is well again", || {
            node(&server, "fra-1")["trouble"]["over"] == true
        })
        .await;
    assert_the_log_tells(&server).await;
}

/// The log has the beginning of the bad time, its end, and what it moved.
async fn assert_the_log_tells(server: &Server) {
    let mut log = String::new();
    // The lines come through a pipe of their own.
    server
        .until("its end is in the log", || {
            log = server.log();
            log.contains("a breaker closed") && log.contains("a publication moved keys")
        })
        .await;
    let line = |words: &str| {
        let line = log.lines().find(|line| line.contains(words));
        line.unwrap_or_else(|| panic!("{words} in {log}"))
            .to_owned()
    };
    let opened = line("a breaker opened");
    for part in ["node=\"fra-1\"", "gets_nothing_for_ms=", "bad_answers=5"] {
        assert!(opened.contains(part), "{part} in {opened}");
    }
    let closed = line("a breaker closed");
    for part in [
        "out_for_ms=",
        "first_cause=\"consecutive_failures\"",
        "reopenings=0",
    ] {
        assert!(closed.contains(part), "{part} in {closed}");
    }
    let moved = line("a publication moved keys");
    assert!(moved.contains("admission 0."), "{moved}");
}

#[tokio::test]
async fn a_site_whose_nodes_all_refuse_is_not_ready() {
    let files = Files::new();
    // Whoever is out is out: no budget keeps the last nodes of a pool in use.
    let strict = "spec:\n  breaker: {max_ejection_percent: 100}\n";
    files.write("policy.yaml", policy("all").replace("spec:\n", strict));
    let server = files.setup().start().await;
    for id in ["nyc-1", "nyc-2"] {
        tell(&server, id, "error", 5).await;
    }
    server
        .until("the site is not ready", || {
            site(&server, "nyc")["ready"] == false
        })
        .await;
    server
        .until("since when is told", || {
            site(&server, "nyc")["signals"]["not_ready_since_ms"].is_u64()
        })
        .await;
    let page = server.get("/readyz");
    assert_eq!(page.status, 200, "the sidecar itself is");
    let fleet = &page.json()["fleet"];
    assert_eq!(fleet["sites_not_ready"], serde_json::json!(["nyc"]));
    assert_eq!(fleet["ready_sites"], 4);
}

#[tokio::test]
async fn a_comment_in_the_policy_forgets_nothing() {
    let files = Files::new();
    files.write("policy.yaml", policy("all"));
    let server = files.setup().start().await;
    let mut client = server.client().await;
    tell(&server, "par-1", "error", 5).await;
    let hot = request("/hot");
    let copies = |page: &Value| page["hot_keys"][0]["copies"].as_u64();
    let mut page = Value::Null;
    for _ in 0..200 {
        // Some fifth of all requests at Frankfurt ask for one object.
        let mut batch = requests(100);
        batch.extend(std::iter::repeat_n(hot.clone(), 28));
        client.try_batch(batch).await.unwrap();
        page = server.get("/debug/hot").json();
        if copies(&page).is_some() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert!(copies(&page).is_some_and(|copies| copies > 1), "{page}");
    assert_eq!(page["hot_keys"][0]["pool"], "edge");
    server
        .until("a breaker is open", || {
            node(&server, "par-1")["admission"] == "breaker_open"
        })
        .await;
    let before = client.decide_all(&requests(500)).await;
    let commented = format!("# why we do this\n{}", policy("all"));
    let new_rule = "  rules:\n    - {name: new, owner: tests, rollback: none, pools: [regional], match: {hosts: [new.example.com]}}\n";
    for (revision, text) in [
        (2, commented),
        (3, policy("all").replace("  rules:\n", new_rule)),
    ] {
        files.replace("policy.yaml", text);
        server.until_revision(revision).await;
        let answer = client.decide(hot.clone()).await;
        assert_eq!(answer.policy_revision, revision);
        assert_eq!(answer.reason, "hot_copy", "{answer:?}");
        let after = client.decide_all(&requests(500)).await;
        for (before, after) in before.iter().zip(&after) {
            let named = |answer: &tradewind::sidecar::wire::proto::DecideResponse| {
                let nodes = answer.candidates.iter().map(|named| named.node.clone());
                nodes.collect::<Vec<_>>()
            };
            assert_eq!(named(before), named(after));
        }
        assert_eq!(node(&server, "par-1")["admission"], "breaker_open");
    }
    let moved = server.metric("tradewind_probe_moved_ratio_sum_total{cause=\"policy\"}");
    assert!(moved.abs() < 1e-9, "{moved}");
}

#[tokio::test]
async fn rungs_and_hot_keys_of_a_rule_with_a_fence_are_told() {
    let files = Files::new();
    let fenced = "  rules:\n    - {name: fenced, owner: tests, rollback: none, pools: [edge], geofence: [FR], match: {hosts: [fr.example.com]}}\n";
    files.write("policy.yaml", policy("all").replace("  rules:\n", fenced));
    let server = files.setup().start().await;
    let mut client = server.client().await;
    let mut hot = request("/hot");
    hot.host = "fr.example.com".to_owned();
    for _ in 0..40 {
        client.try_batch(vec![hot.clone(); 100]).await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let hot_keys = "tradewind_hot_keys{pool=\"edge\",rule=\"fenced\"}";
    server
        .until("it is counted", || server.count(hot_keys) == 1)
        .await;
    let page = server.get("/debug/hot").json();
    assert_eq!(page["hot_keys"][0]["rule"], "fenced", "{page}");
    for id in ["par-1", "par-2", "par-3"] {
        tell(&server, id, "error", 5).await;
    }
    let rung = "tradewind_degradation_rung{pool=\"edge\",rule=\"fenced\"}";
    server
        .until("too little of it is well", || server.count(rung) > 0)
        .await;
    let page = server.get("/debug/fleet").json();
    let part = &page["parts_of_pools"][0];
    assert_eq!(
        (&part["pool"], &part["rule"]),
        (&"edge".into(), &"fenced".into())
    );
    assert!(part["since_ms"].is_u64(), "{part}");
    assert_eq!(server.count("tradewind_degradation_rung{pool=\"edge\"}"), 0);
}

#[tokio::test]
async fn a_refused_file_is_told_of_until_it_is_good_again() {
    let files = Files::new();
    let server = files.setup().start().await;
    let good = fleet::policy("all");
    let bad = good.replace("pools: [edge, regional", "pools: [edges, regional");
    let policy = || server.get("/readyz").json()["policy"].clone();
    files.replace("policy.yaml", &bad);
    server
        .until("it is refused", || policy()["state"] == "last_good")
        .await;
    let first = policy()["degraded"].clone();
    assert!(
        first["first_fault"].as_str().unwrap().contains("edges"),
        "{first}"
    );
    files.replace("policy.yaml", "{");
    server
        .until("it is refused again", || {
            policy()["degraded"]["refusals"] == 2
        })
        .await;
    assert_eq!(policy()["degraded"]["first_fault"], first["first_fault"]);
    assert_eq!(
        policy()["degraded"]["since_unix_ms"],
        first["since_unix_ms"]
    );
    files.replace("policy.yaml", &good);
    server
        .until("it is served", || policy()["state"] == "serving")
        .await;
    assert_eq!(policy()["degraded"], Value::Null);
    let mut line = None;
    server
        .until("that is in the log", || {
            let log = server.log();
            let mut lines = log.lines();
            line = lines
                .find(|line| line.contains("a file is again what is served"))
                .map(str::to_owned);
            line.is_some()
        })
        .await;
    let line = line.unwrap();
    for part in ["refused_for_ms=", "digest=", "policy.yaml"] {
        assert!(line.contains(part), "{part} in {line}");
    }
}
