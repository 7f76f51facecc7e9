//! The query door: `/v1/outcomes`, a JSON object a line.

use serde_json::json;

use crate::client::request;
use crate::http::Reply;
use crate::server::{Files, Server};

fn tell(server: &Server, path: &str, lines: &str) -> Reply {
    let asked = server.query().ask(("POST", path), &[], lines.as_bytes());
    asked.unwrap()
}

const GOOD: &str = r#"{"node": "fra-1", "result": "ok", "status": 200, "time_to_first_byte": "0.012s", "total": "0.5s", "cache_status": "HIT", "bytes": 1000, "attempt": 1}"#;

#[tokio::test]
async fn outcomes_are_taken_line_by_line() {
    let files = Files::new();
    let server = files.setup().start().await;
    let decided = server.client().await.decide(request("/a")).await;
    let node = &decided.candidates[0].node;
    let of_decision = format!(
        r#"{{"decision_id": "{}", "node": "{node}", "result": "ATTEMPT_RESULT_ERROR"}}"#,
        decided.decision_id
    );
    let reply = tell(
        &server,
        "/v1/outcomes",
        &format!("{GOOD}\n\n{of_decision}\r\n{GOOD}"),
    );
    assert_eq!(reply.status, 200, "{reply:?}");
    let summary = reply.json();
    assert_eq!(summary["accepted"], 3);
    assert_eq!(summary["refused"], serde_json::json!({}));
    assert_eq!(server.count("tradewind_outcomes_total{result=\"ok\"}"), 2);
    assert_eq!(
        server.count("tradewind_outcomes_total{result=\"error\"}"),
        1
    );
}

#[tokio::test]
async fn a_bad_line_is_refused_with_its_reason_and_the_others_are_taken() {
    let files = Files::new();
    let server = files.setup().start().await;
    let lines = [
        GOOD,
        "not json",
        "",
        r#"{"node": "nowhere", "result": "ok"}"#,
        r#"{"node": "fra-1"}"#,
        r#"{"node": "fra-1", "result": "ok", "total": "soon", "colour": "red"}"#,
        r#"{"node": "fra-1", "result": "ok", "total": "-1s"}"#,
        GOOD,
    ];
    let reply = tell(&server, "/v1/outcomes?reporter=edge-1", &lines.join("\n"));
    assert_eq!(reply.status, 200, "{reply:?}");
    let summary = reply.json();
    assert_eq!(summary["accepted"], 2);
    let refused = serde_json::json!({ "undecodable": 2, "unknown_node": 1, "unknown_value": 1, "negative": 1 });
    assert_eq!(summary["refused"], refused);
    let faults = summary["faults"].to_string();
    for part in [
        "line 2: not JSON",
        "line 4: node: `nowhere`",
        "line 5: result",
        "line 6: unknown field `colour`, total: is `",
        "`colour`",
        "line 7: total",
    ] {
        assert!(faults.contains(part), "{part} in {faults}");
    }
    let counted = "tradewind_reports_refused_total{kind=\"outcome\",reason=\"undecodable\"}";
    assert_eq!(server.count(counted), 2);
}

/// What proxies told of it stands beside a decision that is kept, and what others say of it does not.
#[tokio::test]
async fn a_kept_decision_has_what_was_told_of_its_attempts() {
    let files = Files::new();
    let server = files.setup().start().await;
    let mut client = server.client().await;
    let decided = client.decide(request("/a")).await;
    let id = &decided.decision_id;
    let [first, second] = [0, 1].map(|at| &*decided.candidates[at].node);
    let other = server.get("/debug/nodes").json();
    let other = other["nodes"].as_array().unwrap().iter();
    let mut other = other.map(|node| node["id"].as_str().unwrap());
    let is_named = |node: &str| decided.candidates.iter().any(|it| it.node == node);
    let unnamed = other.find(|node| !is_named(node)).unwrap();
    let line = |id: &str, node: &str, rest: &str| {
        format!(r#"{{"decision_id": "{id}", "node": "{node}", {rest}}}"#)
    };
    let failed = r#""attempt": 1, "result": "error", "status": 503, "total": "0.002s""#;
    let good = r#""attempt": 2, "result": "ok", "status": 200, "time_to_first_byte": "0.012s", "total": "0.5s",
        "cache_status": "HIT""#
        .replace('\n', "");
    let forged = format!("{}00000000", id.get(..16).unwrap());
    let lines = [
        line(id, second, &good),
        line(id, first, failed),
        line(id, unnamed, failed),
        line(&forged, first, failed),
        GOOD.to_owned(),
    ];
    let reply = tell(&server, "/v1/outcomes", &lines.join("\n"));
    assert_eq!(reply.json()["accepted"], 4, "{reply:?}");
    let page = format!("/debug/decisions/{id}");
    let attempts = || server.get(&page).json()["attempts"].clone();
    let is_told = || attempts().as_array().is_some_and(|all| all.len() >= 2);
    server.until("both attempts are kept", is_told).await;
    // The last that was told: what comes after it is told later than all those.
    let later = client.decide(request("/b")).await;
    let node = &later.candidates[0].node;
    let told = line(&later.decision_id, node, failed);
    assert_eq!(tell(&server, "/v1/outcomes", &told).status, 200);
    let later = format!("/debug/decisions/{}", later.decision_id);
    let is_told = || server.get(&later).json().get("attempts").is_some();
    server.until("the later one is kept", is_told).await;
    let mut attempts = attempts();
    for attempt in attempts.as_array_mut().unwrap() {
        let fields = attempt.as_object_mut().unwrap();
        assert!(fields.remove("told_unix_ms").is_some() && fields.remove("told").is_some());
    }
    assert_eq!(
        attempts,
        json!([
            { "node": second, "attempt": 2, "result": "ok", "status": 200, "first_byte_ms": 12.0, "total_ms": 500.0,
              "hit": true },
            { "node": first, "attempt": 1, "result": "error", "status": 503, "total_ms": 2.0 },
        ])
    );
    let row = &server.get("/debug/decisions?contains=/a").json()["decisions"][0];
    assert_eq!(row["outcome"]["status"], 200, "{row}");
    assert_eq!(row["outcome"]["node"], second);
}

/// nginx knows nodes by `$upstream_addr`, and tells of all attempts at once.
#[tokio::test]
async fn nodes_are_told_by_their_addresses_and_attempts_in_lists() {
    let files = Files::new();
    let server = files.setup().start().await;
    let decided = server.client().await.decide(request("/a")).await;
    let [first, second] = [0, 1].map(|at| &*decided.candidates[at].address);
    let line = format!(
        r#"{{"decision_id": "{}", "node": "{first}, {second}", "status": "502, 200",
            "time_to_first_byte": "-, 0.012", "total": "0.001, 0.013", "cache_status": "MISS"}}"#,
        decided.decision_id
    );
    let lines = [
        &*line.replace('\n', ""),
        r#"{"node": "-", "status": "-", "time_to_first_byte": "-"}"#,
        r#"{"node": "fra-1", "result": "ok", "time_to_first_byte": "2ms"}"#,
        r#"{"node": "127.0.0.1:1", "result": "ok"}"#,
    ];
    let summary = tell(&server, "/v1/outcomes", &lines.join("\n")).json();
    assert_eq!(summary["accepted"], 3, "{summary}");
    assert_eq!(
        summary["refused"],
        serde_json::json!({ "unknown_node": 1 }),
        "{summary}"
    );
    assert_eq!(server.count("tradewind_outcomes_total{result=\"ok\"}"), 2);
    let failed = "tradewind_outcomes_total{result=\"error\"}";
    assert_eq!(server.count(failed), 1);
    // A line that tells of no attempt is read, and that is all.
    let reply = tell(&server, "/v1/outcomes", lines[1]);
    assert_eq!(
        (reply.status, &reply.json()["accepted"]),
        (200, &0.into()),
        "{reply:?}"
    );
}

#[tokio::test]
async fn what_is_wholly_unreadable_is_the_callers_mistake() {
    let files = Files::new();
    let server = files.setup().start().await;
    for (path, lines) in [
        ("/v1/outcomes", ""),
        ("/v1/outcomes", "\n\r\n"),
        ("/v1/outcomes", "[]\nnull"),
        ("/v1/outcomes?repotrer=a", GOOD),
    ] {
        let reply = tell(&server, path, lines);
        assert_eq!(reply.status, 400, "{path} {lines:?}: {reply:?}");
        reply.json();
    }
    assert_eq!(server.count("tradewind_outcomes_total{result=\"ok\"}"), 0);
}

#[tokio::test]
async fn a_web_page_tells_nothing() {
    let files = Files::new();
    let server = files.setup().start().await;
    for header in [
        ("Origin", "https://evil.example"),
        ("Sec-Fetch-Site", "cross-site"),
    ] {
        let mut door = server.query();
        let reply = door.ask(("POST", "/v1/outcomes"), &[header], GOOD.as_bytes());
        assert_eq!(reply.unwrap().status, 403, "{header:?}");
    }
}

#[tokio::test]
async fn lines_and_reporters_are_bounded() {
    let files = Files::new();
    let server = files.setup().start().await;
    let short = r#"{"node":"fra-1","result":"ok"}"#;
    let reply = tell(&server, "/v1/outcomes", &vec![short; 1_030].join("\n"));
    let summary = reply.json();
    assert_eq!((reply.status, &summary["accepted"]), (200, &1_024.into()));
    assert_eq!(summary["refused"]["too_many"], 6);
    let long_name = format!("/v1/outcomes?reporter={}", "r".repeat(65));
    let summary = tell(&server, &long_name, short).json();
    assert_eq!(summary["refused"]["too_long"], 1);
    let reply = tell(&server, "/v1/outcomes", &" ".repeat((256 << 10) + 1));
    assert_eq!(reply.status, 413, "{reply:?}");
}

#[tokio::test]
async fn f39_both_ways_to_tell_share_a_reporters_quota() {
    let files = Files::new();
    let server = files.setup().with("workers", "1").start().await;
    let short = r#"{"node":"fra-1","result":"ok"}"#;
    let batch = [short; 1_024].join("\n");
    let mut http = server.query();
    let mut refused = 0;
    // Three times what may be told at once; more where the machine is so slow that much of it is allowed again meanwhile.
    for told in 0.. {
        if told >= 300 && (refused > 0 || told >= 3_000) {
            break;
        }
        let reply = http
            .ask(("POST", "/v1/outcomes"), &[], batch.as_bytes())
            .unwrap();
        assert_eq!(reply.status, 200);
        refused += reply.json()["refused"]["quota"].as_u64().unwrap_or(0);
    }
    let counted = "tradewind_reports_refused_total{kind=\"outcome\",reason=\"quota\"}";
    assert_eq!(server.count(counted), i64::try_from(refused).unwrap());
    assert!(refused > 0);
}
