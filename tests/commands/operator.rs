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
