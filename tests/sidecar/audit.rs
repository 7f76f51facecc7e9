//! The audit log of a running sidecar: whatever changes what is served is in it, and nobody rewrites it unseen.

use std::fs;
use std::process::Command;

use serde_json::Value;
use tradewind::example;
use tradewind::sidecar::wire::proto::admin_service_client::AdminServiceClient;
use tradewind::sidecar::wire::proto::set_admin_state_request::Target;
use tradewind::sidecar::wire::proto::topology_service_client::TopologyServiceClient;
use tradewind::sidecar::wire::proto::{
    AdminState, ApplyTopologyRequest, ResetBreakerRequest, SetAdminStateRequest,
};

use crate::fleet::{self, Fleet};
use crate::server::{Files, Server};

/// Runs `tradewind audit`: its exit status, and what it prints.
fn audit(files: &Files, args: &[&str]) -> (i32, String) {
    let done = Command::new(env!("CARGO_BIN_EXE_tradewind"))
        .arg("audit")
        .args(args)
        .arg("--state-dir")
        .arg(files.state())
        .env_clear()
        .output()
        .unwrap();
    let errors = String::from_utf8(done.stderr).unwrap();
    let said = String::from_utf8(done.stdout).unwrap() + &errors;
    (done.status.code().unwrap(), said)
}

fn entries(files: &Files) -> Vec<Value> {
    let (status, said) = audit(files, &["show", "--format", "json"]);
    assert_eq!(status, 0, "{said}");
    serde_json::from_str(&said).unwrap()
}

/// Kind and event of each entry.
fn events(files: &Files) -> Vec<String> {
    let words = |entry: &Value, name: &str| entry[name].as_str().unwrap().to_owned();
    let entries = entries(files);
    let both = |entry: &Value| format!("{} {}", words(entry, "kind"), words(entry, "event"));
    entries.iter().map(both).collect()
}

/// Waits until the log has so many entries, and gives the last one.
async fn nth(server: &Server, files: &Files, count: usize) -> Value {
    let what = format!("there are {count} audit entries");
    server.until(&what, || entries(files).len() >= count).await;
    let entries = entries(files);
    assert_eq!(entries.len(), count, "{:?}", events(files));
    entries[count - 1].clone()
}

fn drain(node: &str) -> SetAdminStateRequest {
    SetAdminStateRequest {
        target: Some(Target::Node(node.to_owned())),
        state: AdminState::Drain.into(),
        who: "ada".to_owned(),
        why: "disk is failing".to_owned(),
        ..SetAdminStateRequest::default()
    }
}

/// Kind, event and who.
fn said(entry: &Value) -> [&str; 3] {
    ["kind", "event", "who"].map(|name| entry[name].as_str().unwrap())
}

#[tokio::test]
async fn changes_of_files_are_recorded() {
    let files = Files::new();
    files.write("geo.mmdb", example::GEO);
    let setup = files.setup().with("geo", files.path("geo.mmdb"));
    let server = setup.start().await;
    nth(&server, &files, 4).await;
    let begun = [
        "start started",
        "geo applied",
        "policy applied",
        "topology applied",
    ];
    assert_eq!(events(&files), begun);

    files.replace("policy.yaml", fleet::policy("other"));
    let applied = nth(&server, &files, 5).await;
    assert_eq!(said(&applied), ["policy", "applied", "file"]);
    let what = &applied["what"];
    assert_ne!(what["before"], what["after"]);
    assert_eq!(what["given"], what["after"]);
    assert_eq!(what["revision"], 2);

    files.replace("policy.yaml", "{");
    let refused = nth(&server, &files, 6).await;
    assert_eq!(said(&refused), ["policy", "refused", "file"]);
    assert_eq!(refused["what"]["before"], refused["what"]["after"]);
    assert_eq!(refused["what"]["after"], what["after"]);
    assert_eq!(refused["what"]["faults"], 1);
    assert!(refused["what"]["lines"][0].is_string());

    files.replace("topology.yaml", Fleet::usual().without("fra-5").text());
    // The policy that is in force is not what its file says, once more.
    let moved = nth(&server, &files, 8).await;
    assert_eq!(events(&files)[6], "policy refused");
    assert_eq!(said(&moved), ["topology", "applied", "file"]);
    let ratio = moved["did"]["moved_ratio"].as_f64();
    assert!(ratio.is_none_or(|ratio| ratio > 0.0), "{moved}");

    files.replace("geo.mmdb", "no database");
    let geo = nth(&server, &files, 9).await;
    assert_eq!(said(&geo), ["geo", "refused", "file"]);
    assert_eq!(server.count("tradewind_audit_entries_total"), 9);
    assert_eq!(server.count("tradewind_audit_lost_total"), 0);
}

#[tokio::test]
async fn what_operators_do_is_recorded() {
    let files = Files::new();
    let server = files.setup().start().await;
    let at = format!("http://{}", server.admin);
    let mut topology = TopologyServiceClient::connect(at.clone()).await.unwrap();
    topology.set_admin_state(drain("fra-5")).await.unwrap();
    let set = nth(&server, &files, 4).await;
    assert_eq!(said(&set), ["admin_state", "set", "ada"]);
    assert_eq!(set["why"], "disk is failing");
    assert_eq!(set["what"]["target"], "node `fra-5`");
    assert_eq!(set["did"]["nodes_changed"], 1);

    let gone = ["fra-1", "fra-2", "fra-3", "fra-4", "nyc-1", "nyc-2"];
    let shrunk = gone.into_iter().fold(Fleet::usual(), Fleet::without);
    let document = |document: String| ApplyTopologyRequest {
        document,
        why: "tests".to_owned(),
        ..ApplyTopologyRequest::default()
    };
    topology.apply(document(shrunk.text())).await.unwrap();
    let held = nth(&server, &files, 5).await;
    assert_eq!(said(&held), ["topology", "held", "unknown"]);
    assert!(held["did"]["would_remove_ratio"].as_f64().unwrap() > 0.3);
    topology.apply(document("{".to_owned())).await.unwrap();
    let refused = nth(&server, &files, 6).await;
    assert_eq!(said(&refused), ["topology", "refused", "unknown"]);
    let other = ApplyTopologyRequest {
        if_digest: "0123456789abcdef".to_owned(),
        ..document(Fleet::usual().text())
    };
    topology.apply(other).await.unwrap_err();
    let refused = nth(&server, &files, 7).await;
    assert!(refused["what"]["because"].is_string(), "{refused}");

    let mut admin = AdminServiceClient::connect(at).await.unwrap();
    let node = "fra-1".to_owned();
    let reset = ResetBreakerRequest { node };
    admin.reset_breaker(reset).await.unwrap();
    let reset = nth(&server, &files, 8).await;
    assert_eq!(said(&reset), ["breaker_reset", "reset", "unknown"]);
}

#[tokio::test]
async fn the_log_goes_on_over_restarts_and_is_shown_in_parts() {
    let files = Files::new();
    let mut server = files.setup().start().await;
    let at = format!("http://{}", server.admin);
    let mut topology = TopologyServiceClient::connect(at).await.unwrap();
    topology.set_admin_state(drain("fra-5")).await.unwrap();
    nth(&server, &files, 4).await;
    server.signal("TERM");
    server.ended().await;
    assert_eq!(events(&files)[4], "stop stopped");
    let (status, found) = audit(&files, &["verify"]);
    assert_eq!((status, &*found), (0, "5 entries, 1 to 5, as written\n"));

    let server = files.setup().start().await;
    nth(&server, &files, 8).await;
    let begun = ["start started", "topology applied", "policy resumed"];
    assert_eq!(events(&files)[5..], begun);
    let (_, shown) = audit(&files, &["show", "--who", "ada"]);
    let line = "admin_state set, by ada: disk is failing\n";
    assert!(shown.contains(line), "{shown}");
    let (_, shown) = audit(&files, &["show", "--kind", "start,stop"]);
    let lines = shown.lines().filter(|line| line.contains(", by process"));
    assert_eq!(lines.count(), 3, "{shown}");
    let (_, shown) = audit(&files, &["show", "--since", "2100-01-01"]);
    assert_eq!(shown, "no such entries\n");
    let (_, shown) = audit(&files, &["show", "--limit", "1"]);
    assert!(shown.starts_with("8  2"), "{shown}");
    assert_eq!(audit(&files, &["verify"]).0, 0);
}

#[tokio::test]
async fn what_a_stranger_does_to_the_log_is_named() {
    let files = Files::new();
    let server = files.setup().start().await;
    files.replace("policy.yaml", fleet::policy("other"));
    nth(&server, &files, 4).await;
    // The head is written a moment after the entry.
    let head = files.state().join("audit.head");
    let counted =
        || fs::read_to_string(&head).is_ok_and(|text| text.contains("\"last_sequence\":4"));
    server
        .until("the head names the fourth entry", counted)
        .await;
    server.kill();
    let path = files.state().join("audit.log");
    let whole = fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = whole.split_inclusive('\n').collect();
    let named = |text: String, said: &str| {
        fs::write(&path, text).unwrap();
        let (status, found) = audit(&files, &["verify"]);
        assert!(status == 1 && found.contains(said), "{found}");
    };
    let (first, second, third, fourth) = (lines[0], lines[1], lines[2], lines[3]);
    named(
        whole.replace("\"revision\":2", "\"revision\":3"),
        "audit.log:4: entry 4 is not as it was written",
    );
    named([first, third, fourth].concat(), "entry 2 is missing");
    named([first, second, third].concat(), "entry 4 is missing");
    named(
        [first, third, second, fourth].concat(),
        "audit.log:3: entry 2 stands behind a later one",
    );
    named(
        [first, second, second, third, fourth].concat(),
        "audit.log:3: entry 2 is there once more",
    );
    named(String::new(), "entries 1 to 4 are missing");
    // A restart goes on where the log was, and hides nothing.
    named([first, second].concat(), "entries 3 to 4 are missing");
    let server = files.setup().start().await;
    nth(&server, &files, 6).await;
    assert_eq!(events(&files)[2], "log entries_missing");
    let (status, found) = audit(&files, &["verify"]);
    assert!(
        status == 1 && found.contains("entries 3 to 4 are missing"),
        "{found}"
    );
}

#[tokio::test]
async fn a_crash_in_the_middle_of_an_entry_is_told() {
    let files = Files::new();
    let server = files.setup().start().await;
    nth(&server, &files, 3).await;
    server.kill();
    let path = files.state().join("audit.log");
    let whole = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("{whole}{{\"sequence\":4,\"time\":\"20")).unwrap();
    let server = files.setup().start().await;
    nth(&server, &files, 7).await;
    assert_eq!(events(&files)[3..5], ["log cut_short", "start started"]);
    assert_eq!(audit(&files, &["verify"]).0, 0);
}
