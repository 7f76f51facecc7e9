//! The query door: `/v1/route` over plain HTTP.

use std::path::Path;

use tradewind::sidecar::wire::proto::{Client as Asker, DecideRequest, DecideResponse, Header};

use crate::client::request;
use crate::fleet;
use crate::http::{Connection, Reply};
use crate::server::{Files, Server, Setup};

impl Server {
    /// A connection to the query door.
    pub(crate) fn query(&self) -> Connection {
        Connection::tcp(self.http.unwrap()).unwrap()
    }
}

/// The headers by which a proxy asks.
const PROXY: [(&str, &str); 4] = [
    ("X-Original-URI", "/a?b=1"),
    ("X-Original-Method", "GET"),
    ("X-Original-Host", "video.example.com"),
    ("X-Client-IP", "192.0.2.7"),
];

/// The same by gRPC.
fn asked() -> DecideRequest {
    DecideRequest {
        host: "video.example.com".to_owned(),
        path: "/a?b=1".to_owned(),
        client: Some(Asker {
            ip: "192.0.2.7".to_owned(),
            ..Asker::default()
        }),
        ..DecideRequest::default()
    }
}

/// That an answer names the nodes of `decision`, in every header and in its body.
#[track_caller]
fn assert_names(reply: &Reply, decision: &DecideResponse) {
    let addresses: Vec<&str> = decision.candidates.iter().map(|c| &*c.address).collect();
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(reply.header("x-route-node"), addresses.first().copied());
    assert_eq!(
        reply.header("x-route-node-id"),
        Some(&*decision.candidates[0].node)
    );
    for number in 1..=8 {
        let fallback = reply.header(&format!("x-route-fallback-{number}"));
        assert_eq!(
            fallback,
            addresses.get(number).copied(),
            "fallback {number}"
        );
        // Outcomes are told of ids or addresses: both are there.
        let id = reply.header(&format!("x-route-fallback-{number}-id"));
        let candidate = decision.candidates.get(number);
        assert_eq!(id, candidate.map(|c| &*c.node), "fallback {number}");
    }
    let list = addresses.join(",");
    assert_eq!(reply.header("x-gateway-destination-endpoint"), Some(&*list));
    assert_eq!(reply.header("x-route-reason"), Some(&*decision.reason));
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    let id = reply.header("x-decision-id").unwrap();
    let body = reply.json();
    assert_eq!(body["decision_id"], id);
    // But for the id and the request id, it is the message that gRPC answers.
    let text = serde_json::to_string(decision).unwrap();
    let mut wanted: serde_json::Value = serde_json::from_str(&text).unwrap();
    wanted["decision_id"] = id.into();
    wanted["request_id"] = body["request_id"].clone();
    // A tick of the control loop may fall in between.
    wanted["snapshot_generation"] = body["snapshot_generation"].clone();
    assert_eq!(body, wanted);
}

#[tokio::test]
async fn headers_parameters_and_bodies_are_answered_as_grpc_is() {
    let files = Files::new();
    let server = files.setup().start().await;
    let mut grpc = server.client().await;
    let decision = grpc.decide(asked()).await;
    assert_eq!(decision.candidates.len(), 3);
    let mut http = server.query();
    assert_names(&http.get("/v1/route", &PROXY).unwrap(), &decision);
    let by_parameters =
        "/v1/route?host=video.example.com&path=/a%3Fb%3D1&client=192.0.2.7&method=GET";
    assert_names(&http.get(by_parameters, &[]).unwrap(), &decision);
    let body = br#"{"host": "video.example.com", "path": "/a?b=1", "client": {"ip": "192.0.2.7"}}"#;
    let reply = http.ask(("POST", "/v1/route"), &[], body).unwrap();
    assert_names(&reply, &decision);
    // The Host header stands in for X-Original-Host.
    let host = [("Host", "video.example.com"), PROXY[0], PROXY[3]];
    assert_names(&http.get("/v1/route", &host).unwrap(), &decision);
    // A HEAD request is answered like a GET, without the body.
    let head = http.ask(("HEAD", "/v1/route"), &PROXY, b"").unwrap();
    assert_eq!(
        head.header("x-route-node"),
        Some(&*decision.candidates[0].address)
    );
    assert_eq!(server.count("tradewind_http_connections_accepted_total"), 1);
    assert_eq!(server.count("tradewind_http_connections_open"), 1);
    let counted = "tradewind_decisions_total{pool=\"edge\",verdict=\"route\",reason=\"owner\",purity=\"pure\"}";
    assert_eq!(server.count(counted), 6);
}

#[tokio::test]
async fn many_objects_and_clients_are_answered_as_grpc_answers() {
    let server = Setup::example().start().await;
    let mut grpc = server.client().await;
    let mut http = server.query();
    for number in 0..400 {
        let path = format!("/object/{number}?v={}", number % 3);
        let ip = format!("198.18.{}.{}", number % 50, number % 250 + 1);
        let asked = DecideRequest {
            host: "www.example.com".to_owned(),
            path: path.clone(),
            method: "GET".to_owned(),
            client: Some(Asker {
                ip: ip.clone(),
                ..Asker::default()
            }),
            ..DecideRequest::default()
        };
        let decision = grpc.decide(asked).await;
        let headers = [
            ("Host", "www.example.com"),
            ("X-Original-URI", &path),
            ("X-Client-IP", &ip),
        ];
        assert_names(&http.get("/v1/route", &headers).unwrap(), &decision);
    }
}

#[tokio::test]
async fn what_steers_a_decision_can_be_told_in_headers() {
    let files = Files::new();
    let server = files.setup().start().await;
    let mut grpc = server.client().await;
    let mut http = server.query();
    let steered = DecideRequest {
        pool: "regional".to_owned(),
        key: b"film-7".to_vec(),
        candidates: 2,
        ..asked()
    };
    let decision = grpc.decide(steered).await;
    let extra = [
        ("X-Route-Pool", "regional"),
        ("X-Route-Key", "film-7"),
        ("X-Route-Candidates", "2"),
        ("X-Request-Id", "abc"),
    ];
    let reply = http
        .get("/v1/route", &[&PROXY[..], &extra].concat())
        .unwrap();
    assert_names(&reply, &decision);
    assert_eq!(reply.json()["request_id"], "abc");
    let parameters = "/v1/route?host=video.example.com&path=/a&client=192.0.2.7&pool=regional&key=film-7&candidates=2";
    assert_names(&http.get(parameters, &[]).unwrap(), &decision);
}

/// A policy that looks at a header, refuses a path, and has nothing for another host.
pub(crate) fn particular() -> String {
    fleet::policy("all").replace(
        "  rules:\n    - {name: all, ",
        "  otherwise: refuse
  rules:
    - {name: never, owner: tests, rollback: none, match: {paths: [{value: /forbidden}]}, action: refuse}
    - {name: mobile, owner: tests, rollback: none, match: {headers: [{name: x-device, exact: phone}]}, pools: [regional]}
    - {name: all, match: {hosts: [video.example.com]}, ",
    )
}

#[tokio::test]
async fn the_clients_headers_are_shown_to_the_policy() {
    let files = Files::new();
    files.write("policy.yaml", particular());
    let server = files.setup().start().await;
    let mut http = server.query();
    let reply = http.get("/v1/route", &PROXY).unwrap();
    assert_eq!(reply.json()["rule"], "all");
    let phone = [&PROXY[..], &[("X-Device", "phone")]].concat();
    let reply = http.get("/v1/route", &phone).unwrap();
    assert_eq!(reply.json()["rule"], "mobile");
    let mut grpc = server.client().await;
    let asked = DecideRequest {
        headers: vec![Header {
            name: "X-Device".to_owned(),
            value: "phone".to_owned(),
        }],
        ..asked()
    };
    assert_names(&reply, &grpc.decide(asked).await);
}

#[tokio::test]
async fn a_refusal_is_a_status_with_its_reason() {
    let files = Files::new();
    files.write("policy.yaml", particular());
    let server = files.setup().start().await;
    let mut http = server.query();
    for (path, status, reason) in [
        (
            "/v1/route?host=video.example.com&path=/forbidden/a",
            403,
            "refused_by_rule",
        ),
        ("/v1/route?host=other.example.com&path=/a", 404, "no_rule"),
        ("/v1/route?path=/a&pool=nowhere", 404, "unknown_pool"),
    ] {
        let reply = http.get(path, &[]).unwrap();
        assert_eq!(reply.status, status, "{path}: {reply:?}");
        assert_eq!(reply.header("x-route-reason"), Some(reason));
        assert_eq!(reply.header("x-route-node"), None);
        assert_eq!(reply.header("x-gateway-destination-endpoint"), None);
        assert!(reply.header("x-decision-id").is_some());
        assert_eq!(reply.json()["verdict"], "VERDICT_REFUSE");
        assert_eq!(reply.header("retry-after"), None);
    }
    // Every node that the rule may name is in maintenance: there is none, which may pass.
    let policy = std::fs::read_to_string(files.path("policy.yaml")).unwrap();
    let edge_only = policy.replace("pools: [edge, regional, origin]", "pools: [edge]");
    files.replace("policy.yaml", edge_only);
    files.replace(
        "topology.yaml",
        fleet::Fleet::usual().of_origin_only().text(),
    );
    server
        .until("no node is left", || {
            let reply = server.query().get("/v1/route", &PROXY).unwrap();
            reply.header("x-route-reason") == Some("no_node")
        })
        .await;
    let reply = http.get("/v1/route", &PROXY).unwrap();
    assert_eq!(
        (reply.status, reply.header("retry-after")),
        (503, Some("1"))
    );
}

#[tokio::test]
async fn before_the_first_good_policy_there_is_no_answer() {
    let files = Files::new();
    files.write("policy.yaml", "rules: [");
    let server = files.setup().start_unready().await;
    let mut http = server.query();
    let outcome = br#"{"node": "fra-1", "result": "ok"}"#;
    for reply in [
        http.get("/v1/route", &PROXY).unwrap(),
        http.ask(("POST", "/v1/route"), &[], b"{}").unwrap(),
        http.ask(("POST", "/v1/outcomes"), &[], outcome).unwrap(),
    ] {
        assert_eq!(
            (reply.status, reply.header("retry-after")),
            (503, Some("1")),
            "{reply:?}"
        );
        assert!(
            reply.json()["error"]
                .as_str()
                .unwrap()
                .contains("no policy is in force")
        );
    }
    files.replace("policy.yaml", fleet::policy("first"));
    server
        .until("it is ready", || server.get("/readyz").status == 200)
        .await;
    assert_eq!(http.get("/v1/route", &PROXY).unwrap().status, 200);
}

#[tokio::test]
async fn every_fault_of_a_request_is_named_at_once() {
    let server = Setup::example().start().await;
    let mut http = server.query();
    let long = "h".repeat(256);
    let headers = [
        ("X-Original-URI", "video"),
        ("X-Original-Host", &*long),
        ("X-Client-IP", "1.2.3"),
        ("X-Client-IP", "192.0.2.1"),
        ("X-Route-Candidates", "many"),
    ];
    let body = br#"{"hots": 1, "path": "video", "candidates": 9, "client": {"ip": "1.2.3"}, "dry_run": 3}"#;
    let wrong = [
        (
            http.get("/v1/route", &headers).unwrap(),
            &[
                "path: must begin",
                "host: has 256",
                "client.ip: `1.2.3`",
                "more than once",
                "`many`",
            ][..],
        ),
        (
            http.get(
                "/v1/route?colour=red&path=video&candidates=9&client=1.2.3&lat=1",
                &[],
            )
            .unwrap(),
            &[
                "`colour`",
                "path: must begin",
                "candidates: is 9",
                "client.ip: `1.2.3`",
                "lat and lon",
            ],
        ),
        (
            http.ask(("POST", "/v1/route"), &[], body).unwrap(),
            &[
                "`hots`",
                "path: must begin",
                "candidates: is 9",
                "client.ip: `1.2.3`",
                "dry_run: is",
            ],
        ),
        (
            http.get("/v1/route", &[]).unwrap(),
            &["x-original-uri is missing"],
        ),
        (
            http.ask(("POST", "/v1/route"), &[], b"{").unwrap(),
            &["not JSON"],
        ),
        (
            http.ask(("POST", "/v1/route?path=/a"), &[], b"{}").unwrap(),
            &["do not go together"],
        ),
    ];
    for (reply, parts) in wrong {
        assert_eq!(reply.status, 400, "{reply:?}");
        assert_eq!(reply.header("x-route-node"), None);
        let said = reply.json()["error"].as_str().unwrap().to_owned();
        for part in parts {
            assert!(said.contains(part), "{part} in {said}");
        }
    }
    assert_eq!(server.count("tradewind_decide_rejected_total"), 5);
}

#[tokio::test]
async fn other_pages_and_methods_say_what_there_is() {
    let server = Setup::example().start().await;
    let mut http = server.query();
    for path in [
        "/",
        "/v1",
        "/v1/route/",
        "/metrics",
        "/debug/explain?path=/a",
    ] {
        let reply = http.get(path, &[]).unwrap();
        assert_eq!(reply.status, 404, "{path}");
        assert!(reply.text().contains("/v1/route"), "{path}");
    }
    for (method, path, allowed) in [
        ("PUT", "/v1/route", "GET, HEAD, POST"),
        ("DELETE", "/v1/route", "GET, HEAD, POST"),
        ("GET", "/v1/outcomes", "POST"),
    ] {
        let reply = http.ask((method, path), &[], b"").unwrap();
        assert_eq!(
            (reply.status, reply.header("allow")),
            (405, Some(allowed)),
            "{method} {path}"
        );
    }
}

#[tokio::test]
async fn it_is_served_on_a_unix_socket() {
    let files = Files::new();
    let socket = files.root().join("http.sock");
    let setup = files
        .setup()
        .with("http", format!("unix:{}", socket.display()));
    let mut server = setup.start().await;
    let reply = Connection::unix(&socket)
        .unwrap()
        .get("/v1/route", &PROXY)
        .unwrap();
    let decision = server.client().await.decide(asked()).await;
    assert_names(&reply, &decision);
    server.signal("TERM");
    assert_eq!(server.ended().await.code(), Some(0));
    assert!(!Path::new(&socket).exists(), "the socket is gone");
}

#[tokio::test]
async fn ids_of_all_doors_differ_and_their_decisions_can_be_looked_up() {
    let files = Files::new();
    let server = files.setup().with("workers", "1").start().await;
    let mut grpc = server.client().await;
    let (mut one, mut other) = (server.query(), server.query());
    let mut ids = Vec::new();
    for number in 0..20 {
        ids.push(
            grpc.decide(request(&format!("/{number}")))
                .await
                .decision_id,
        );
        for http in [&mut one, &mut other] {
            let reply = http.get("/v1/route", &PROXY).unwrap();
            ids.push(reply.header("x-decision-id").unwrap().to_owned());
        }
    }
    let last = ids.last().cloned().unwrap();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 60);
    let page = format!("/debug/decisions/{last}");
    server
        .until("it is kept", || server.get(&page).status == 200)
        .await;
    assert_eq!(
        server.get(&page).json()["request"]["client"]["ip"],
        "192.0.2.0"
    );
}
