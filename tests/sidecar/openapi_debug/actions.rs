//! What an operator may do, and what is told of it.

use serde_json::{Value, json};

use super::book::Book;
use super::{ask, get};
use crate::client::requests;
use crate::fleet;
use crate::http::Reply;
use crate::server::{Files, Server};

const JSON: (&str, &str) = ("content-type", "application/json");

/// Asks for something to be done, of revision 1 in force.
fn act(book: &mut Book, server: &Server, action: &str, body: &Value) -> Reply {
    act_of(book, server, (action, "\"1\""), body)
}

/// The same of another revision.
pub(super) fn act_of(
    book: &mut Book,
    server: &Server,
    (action, revision): (&str, &str),
    body: &Value,
) -> Reply {
    let body = body.to_string();
    act_as(
        book,
        server,
        action,
        (&[JSON, ("if-match", revision)], &body),
    )
}

/// Names and values.
type Headers<'h> = &'h [(&'h str, &'h str)];

fn act_as(
    book: &mut Book,
    server: &Server,
    action: &str,
    (headers, body): (Headers<'_>, &str),
) -> Reply {
    let path = format!("/debug/actions/{action}");
    let reply = ask(server, ("POST", &path), headers, body.as_bytes());
    book.take(("POST", &path), &reply);
    reply
}

/// What a policy would do, of one that is good, one that is not and one that expects something.
pub(super) fn take_plans(book: &mut Book, server: &Server) {
    let good = fleet::policy("other");
    let refuses = good.replace("pools: [edge, regional, origin]", "action: refuse");
    let expects = good.replace(
        "rollback: none,",
        "rollback: none, expect: [{refused: {at_most_percent: 0}}, {expected_ms: {mean_at_most: 0.1}}],",
    );
    for (policy, is_good) in [
        (good.as_str(), true),
        (&refuses, true),
        (&expects, true),
        ("{", false),
    ] {
        let reply = ask(server, ("POST", "/debug/plan"), &[], policy.as_bytes());
        assert_eq!(reply.status, 200, "{reply:?}");
        book.take(("POST", "/debug/plan"), &reply);
        let planned = reply.json();
        assert_eq!(planned.get("report").is_some(), is_good, "{planned}");
        let faults = planned["faults"].as_array().unwrap();
        assert_eq!(faults.is_empty(), is_good, "{planned}");
    }
}

fn node(server: &Server, id: &str) -> Value {
    let nodes = get(server, "/debug/nodes").json();
    let mut nodes = nodes["nodes"].as_array().unwrap().iter();
    nodes.find(|node| node["id"] == id).unwrap().clone()
}

/// Waits until an event of this kind about a node has this word for what it is now.
async fn until_told(server: &Server, (kind, id): (&str, &str), to: &str, cause: Option<&str>) {
    let is_told = || {
        let events = get(server, "/debug/events").json();
        let mut events = events["events"].as_array().unwrap().iter();
        events.any(|event| {
            let is_own = event["kind"] == kind && event["node"] == id && event["to"] == to;
            is_own && cause.is_none_or(|cause| event["cause"] == cause)
        })
    };
    let what = format!("{kind} {to} of {id} is told");
    server.until(&what, is_told).await;
}

#[tokio::test]
async fn nobody_acts_on_what_is_out_of_date_and_nothing_is_done_by_looking() {
    let mut book = Book::open();
    let files = Files::new();
    let server = files.setup().start().await;
    let body = json!({ "node": "fra-1", "site": null, "reason": "tests" }).to_string();
    for action in ["drain", "undrain", "reset_breaker"] {
        let missing = act_as(&mut book, &server, action, (&[JSON], &body));
        assert_eq!(missing.status, 428, "{missing:?}");
        for wrong in ["\"99\"", "99", "", "*"] {
            let headers = [JSON, ("if-match", wrong)];
            let stale = act_as(&mut book, &server, action, (&headers, &body));
            assert_eq!(stale.status, 412, "{stale:?}");
        }
        for (name, value) in [
            ("sec-fetch-site", "cross-site"),
            ("origin", "http://pages.example.com"),
            ("host", "rebound.example.com"),
        ] {
            let headers = [JSON, ("if-match", "1"), (name, value)];
            let refused = act_as(&mut book, &server, action, (&headers, &body));
            assert_eq!(refused.status, 403, "{refused:?}");
        }
        let looked = get(&server, &format!("/debug/actions/{action}?node=fra-1"));
        assert_eq!(looked.status, 405, "{looked:?}");
    }
    let order = json!({ "action": "abort" }).to_string();
    let missing = act_as(&mut book, &server, "rollout", (&[JSON], &order));
    assert_eq!(missing.status, 428);
    let known = node(&server, "fra-1");
    assert_eq!(known["state"], "ready", "{known}");
    assert!(known.get("override").is_none(), "{known}");
    let unready = Files::empty().setup().start_unready().await;
    let busy = act_as(
        &mut book,
        &unready,
        "drain",
        (&[JSON, ("if-match", "0")], &body),
    );
    assert_eq!(busy.status, 503, "{busy:?}");
    let planned = ask(&unready, ("POST", "/debug/plan"), &[], b"{}");
    book.take(("POST", "/debug/plan"), &planned);
    assert_eq!(planned.status, 409, "{planned:?}");
}

#[tokio::test]
async fn a_node_is_drained_and_taken_back_and_its_breaker_reset() {
    let mut book = Book::open();
    let files = Files::new();
    let server = files.setup().start().await;
    let target = json!({ "node": "fra-1", "reason": "new disks", "for_ms": 3_600_000 });
    let done = act(&mut book, &server, "drain", &target);
    assert_eq!(done.status, 200, "{done:?}");
    until_told(&server, ("override", "fra-1"), "drain", None).await;
    let known = node(&server, "fra-1");
    assert_eq!(known["mark"], "drained", "{known}");
    assert_eq!(known["override"]["by"], "console");
    assert_eq!(known["override"]["reason"], "new disks");
    assert!(known["override"]["until"].is_string(), "{known}");
    let done = act(&mut book, &server, "undrain", &json!({ "node": "fra-1" }));
    assert_eq!(done.status, 200, "{done:?}");
    until_told(&server, ("override", "fra-1"), "ready", None).await;
    assert!(node(&server, "fra-1").get("override").is_none());
    let site = json!({ "site": "par", "reason": "power" });
    let done = act(&mut book, &server, "drain", &site);
    assert_eq!(done.status, 200, "{done:?}");
    let is_drained = || node(&server, "par-1")["mark"] == "drained";
    server.until("the site is drained", is_drained).await;
    fail(&server, "fra-2").await;
    until_told(&server, ("breaker", "fra-2"), "open", None).await;
    let done = act(
        &mut book,
        &server,
        "reset_breaker",
        &json!({ "node": "fra-2" }),
    );
    assert_eq!(done.status, 200, "{done:?}");
    until_told(&server, ("breaker", "fra-2"), "closed", Some("reset")).await;
    let is_closed = || node(&server, "fra-2")["health"]["breaker"]["state"] == "closed";
    server.until("the breaker is closed", is_closed).await;
}

/// Tells that a node fails.
async fn fail(server: &Server, node: &str) {
    let mut asked = requests(5);
    for request in &mut asked {
        request.only_nodes = vec![node.to_owned()];
    }
    let answers = server.client().await.decide_all(&asked).await;
    let lines = answers.iter().map(|answer| {
        let told = json!({
            "decision_id": answer.decision_id, "node": node, "result": "error", "status": 503,
        });
        format!("{told}\n")
    });
    let lines: String = lines.collect();
    let told = server
        .query()
        .ask(("POST", "/v1/outcomes"), &[], lines.as_bytes());
    assert_eq!(told.unwrap().status, 200);
}

#[tokio::test]
async fn what_cannot_be_done_is_refused_with_its_reason() {
    let mut book = Book::open();
    let files = Files::new();
    let server = files.setup().start().await;
    for (action, body, status, why) in [
        (
            "drain",
            json!({ "node": "nowhere", "reason": "tests" }),
            404,
            "nowhere",
        ),
        ("drain", json!({ "node": "fra-1" }), 400, "why"),
        (
            "drain",
            json!({ "reason": "tests" }),
            400,
            "neither node nor site",
        ),
        (
            "drain",
            json!({ "node": "fra-1", "site": "par", "reason": "tests" }),
            400,
            "both node and site",
        ),
        (
            "drain",
            json!({ "node": "fra-1", "reason": "tests", "for_ms": 999 }),
            400,
            "until",
        ),
        (
            "drain",
            json!({ "node": "fra-1", "colour": 1 }),
            400,
            "colour",
        ),
        ("drain", json!("fra-1"), 400, "Target"),
        ("undrain", json!({ "node": "nowhere" }), 404, "nowhere"),
        (
            "reset_breaker",
            json!({ "node": "nowhere" }),
            404,
            "nowhere",
        ),
        ("reset_breaker", json!({ "site": "fra" }), 400, "node"),
        ("rollout", json!({ "action": "pause" }), 409, "rollout"),
        (
            "rollout",
            json!({ "action": "stop" }),
            400,
            "pause, resume, promote or abort",
        ),
        ("rollout", json!({}), 400, "action"),
    ] {
        let reply = act(&mut book, &server, action, &body);
        assert_eq!(reply.status, status, "{action} {body}: {reply:?}");
        let said = reply.json()["error"].to_string();
        assert!(said.contains(why), "{action} {body}: {said}");
    }
}

#[tokio::test]
async fn what_is_no_message_is_refused() {
    let mut book = Book::open();
    let files = Files::new();
    let server = files.setup().start().await;
    let form = [("content-type", "text/plain"), ("if-match", "1")];
    let reply = act_as(&mut book, &server, "drain", (&form, r#"{"node": "fra-1"}"#));
    assert_eq!(reply.status, 415, "{reply:?}");
    let large = format!("\"{}\"", "x".repeat(256 << 10));
    let reply = act_as(
        &mut book,
        &server,
        "drain",
        (&[JSON, ("if-match", "1")], &large),
    );
    assert_eq!(reply.status, 413, "{reply:?}");
    let reply = ask(&server, ("POST", "/debug/plan"), &[], large.as_bytes());
    book.take(("POST", "/debug/plan"), &reply);
    assert_eq!(reply.status, 413, "{reply:?}");
    let reply = ask(&server, ("POST", "/debug/plan"), &[], b"\xff");
    book.take(("POST", "/debug/plan"), &reply);
    assert_eq!(reply.status, 400, "{reply:?}");
}

#[tokio::test]
async fn who_may_look_only_changes_nothing() {
    let body = json!({"node": "fra-1", "reason": "disk"}).to_string();
    let drain = ("POST", "/debug/actions/drain");
    let headers = [JSON, ("if-match", "\"1\"")];
    let files = Files::new();
    let looks = files.setup().with("allow", "loopback=observe");
    let server = looks.start().await;
    let reply = ask(&server, drain, &headers, body.as_bytes());
    assert_eq!(reply.status, 401, "{reply:?}");
    let why = reply.json()["error"].clone();
    assert!(
        why.as_str().unwrap().contains("needs the role `operate`"),
        "{why}"
    );
    assert_eq!(
        get(&server, "/debug/sidecar").json()["roles"],
        json!(["observe"])
    );
}
