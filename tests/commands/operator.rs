//! The commands for operators, against a sidecar with the embedded example.

use tradewind::command::Exit;
use tradewind::sidecar::settings::Args;

use crate::support::{Files, Sidecar, json, tradewind};

/// The id of the fleet's first node, and of its site.
fn first_node(sidecar: &Sidecar) -> (String, String) {
    let fleet = json(&[
        "topology",
        "get",
        "--server",
        &sidecar.admin,
        "--format",
        "json",
    ]);
    let text = |name: &str| fleet["nodes"][0][name].as_str().unwrap().to_owned();
    (text("id"), text("site"))
}

#[test]
fn a_drain_is_told_of_and_undone() {
    let sidecar = Sidecar::start(Args::default());
    let (node, site) = first_node(&sidecar);
    let ask = |rest: &[&str]| {
        let server = ["--server", sidecar.admin.as_str(), "--why", "tests"];
        tradewind(&[&["drain"], rest, &server].concat())
    };
    let ran = ask(&[&node, "--until", "1h", "--who", "ada"]);
    assert_eq!((ran.exit, ran.error.as_str()), (Exit::Good, ""));
    assert!(
        ran.out
            .starts_with(&format!("node {node}: ready -> drain, 1 node changed\n")),
        "{}",
        ran.out
    );
    assert!(ran.out.contains("not kept on disk"), "no state directory");
    let got = tradewind(&["topology", "get", "--server", &sidecar.admin]);
    assert!(got.out.contains("tests (ada)"), "{}", got.out);
    let ran = ask(&["--site", &site, "--maintenance", "--format", "json"]);
    let answer: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(answer["effective"], "maintenance");
    let ran = ask(&[&node, "--undo"]);
    assert!(ran.out.contains("note: it stays in maintenance"));
    let ran = ask(&["nobody"]);
    assert_eq!(ran.exit, Exit::Refused);
    assert!(ran.error.contains("NOT_FOUND"), "{}", ran.error);
    assert_eq!(ask(&[]).exit, Exit::Usage);
    assert_eq!(ask(&[&node, "--undo", "--until", "1h"]).exit, Exit::Usage);
}

#[test]
fn a_topology_is_applied_refused_or_held() {
    let files = Files::new();
    let sidecar = Sidecar::start(Args::default());
    let ask = |rest: &[&str]| {
        let server = ["--server", sidecar.admin.as_str(), "--why", "tests"];
        tradewind(&[&["topology", "apply"], rest, &server].concat())
    };
    let ran = ask(&[&files.write("bad.yaml", "kind: Nothing\n")]);
    assert_eq!(ran.exit, Exit::Refused);
    assert!(ran.out.contains("error[") && ran.out.contains("refused, with"));
    let before = json(&[
        "topology",
        "get",
        "--server",
        &sidecar.admin,
        "--format",
        "json",
    ]);
    let whole = before["document"].as_str().unwrap();
    let same = ask(&[&files.write("same.yaml", whole)]);
    assert_eq!(same.exit, Exit::Good);
    assert!(same.out.starts_with("in force: digest"), "{}", same.out);
    // Every node that does not say how large it is becomes the smallest there is.
    let lines = whole.lines().map(|line| {
        let is_usual = line.contains(":8080\"") && !line.contains("capacity");
        let smallest = line.replace(":8080\"", ":8080\", capacity: 1");
        if is_usual { smallest } else { line.to_owned() }
    });
    let small = lines.collect::<Vec<_>>().join("\n");
    let path = files.write("small.yaml", small);
    let ran = ask(&[&path]);
    assert_eq!(ran.exit, Exit::Refused, "{}{}", ran.out, ran.error);
    assert!(
        ran.out.contains("held: takes away") && ran.out.contains("--held"),
        "{}",
        ran.out
    );
    let ran = ask(&[&path, "--confirm"]);
    assert_eq!(ran.exit, Exit::Good, "{}{}", ran.out, ran.error);
    assert!(ran.out.contains("revision 2"), "{}", ran.out);
}

#[test]
fn a_breaker_is_reset_and_an_unknown_node_refused() {
    let sidecar = Sidecar::start(Args::default());
    let (node, _) = first_node(&sidecar);
    let ran = tradewind(&["reset-breaker", &node, "--server", &sidecar.admin]);
    assert_eq!(ran.out, format!("node {node}: breaker reset\n"));
    let ran = tradewind(&["reset-breaker", "nobody", "--server", &sidecar.admin]);
    assert_eq!(ran.exit, Exit::Refused);
}

#[test]
fn the_log_is_changed_for_a_while_and_taken_back() {
    let sidecar = Sidecar::start(Args::default());
    let ask = |rest: &[&str]| {
        let server = ["--server", sidecar.admin.as_str()];
        tradewind(&[&["log-level"], rest, &server].concat())
    };
    let status = || tradewind(&["status", "--debug", &sidecar.debug]).out;
    assert_eq!(ask(&[]).out, "log: info, as configured\n");
    assert!(!status().contains("\n  log "), "{}", status());
    let ran = ask(&["info,tradewind=debug", "--why", "slow", "--who", "ada"]);
    assert_eq!((ran.exit, ran.error.as_str()), (Exit::Good, ""));
    assert_eq!(
        ran.out,
        "log: info -> info,tradewind=debug, 10 min more, then info again; slow (ada)\n"
    );
    let now = "log: info,tradewind=debug, ";
    assert!(ask(&[]).out.starts_with(now), "{}", ask(&[]).out);
    let said = status();
    let (_, line) = said.split_once("\n  log ").unwrap();
    assert!(
        line.contains("info,tradewind=debug, not info as configured, for ")
            && line.contains("; slow, by ada\n"),
        "{said}"
    );
    let ran = ask(&["--reset", "--format", "json"]);
    let answer: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(answer["previous"], "info,tradewind=debug");
    assert_eq!(answer["now"]["filter"], "info");
    assert_eq!(answer["now"]["until_unix_ms"], 0);
    assert_eq!(ask(&[]).out, "log: info, as configured\n");
}

#[test]
fn what_is_no_filter_changes_nothing_of_the_log() {
    let sidecar = Sidecar::start(Args::default());
    let ask = |rest: &[&str]| {
        let server = ["--server", sidecar.admin.as_str()];
        tradewind(&[&["log-level"], rest, &server].concat())
    };
    let bad: [&[&str]; 4] = [
        &["deubg"],
        &["info,tradewind=loud"],
        &["debug", "--for", "500ms"],
        &["debug", "--for", "25h"],
    ];
    let told = [
        "is no level",
        "cannot be read",
        "1000 to 86400000",
        "1000 to 86400000",
    ];
    for (bad, told) in bad.iter().zip(told) {
        let ran = ask(bad);
        assert_eq!(ran.exit, Exit::Refused, "{bad:?}");
        assert!(ran.error.contains("INVALID_ARGUMENT"), "{}", ran.error);
        assert!(ran.error.contains(told), "{}", ran.error);
    }
    assert_eq!(ask(&[]).out, "log: info, as configured\n");
    for wrong in [&["debug", "--reset"][..], &["--for", "1m"]] {
        assert_eq!(ask(wrong).exit, Exit::Usage, "{wrong:?}");
    }
}
