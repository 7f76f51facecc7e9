//! `tradewind test`, and `check` with examples.

use crate::support::{Files, Ran, example, tradewind};
use tradewind::command::Exit;
use tradewind::example::{POLICY, TOPOLOGY};

/// Runs `command` on the example policy after a change, and the example topology.
fn changed(command: &str, from: &str, to: &str, more: &[&str]) -> Ran {
    assert!(POLICY.contains(from), "{from}");
    let files = Files::new();
    let policy = files.write("policy.yaml", POLICY.replace(from, to));
    let mut args = vec![command, &policy, "--topology", "TOPOLOGY"];
    let topology = files.write("topology.yaml", TOPOLOGY);
    args[3] = &topology;
    args.extend(more);
    let mut ran = tradewind(&args);
    for text in [&mut ran.out, &mut ran.error] {
        *text = text
            .replace(&policy, "policy.yaml")
            .replace(&topology, "topology.yaml");
    }
    ran
}

#[test]
fn the_examples_of_the_example_hold() {
    let ran = tradewind(&["test", &example("policy.yaml"), &example("topology.yaml")]);
    assert_eq!(
        (ran.exit, ran.error.as_str()),
        (Exit::Good, ""),
        "{}",
        ran.out
    );
    let lines: Vec<&str> = ran.out.lines().collect();
    assert_eq!(lines[0], "rule video");
    assert!(
        lines[1].starts_with(
            "  ok      match https://www.example.com/video/1.mp4?token=abc: rule video, node fra-"
        ),
        "{}",
        ran.out
    );
    let end = &lines[lines.len() - 3..];
    assert_eq!(end[0], "good: 6 examples, 6 hold, 0 do not");
    assert_eq!(
        end[1],
        "rules without an example: api, images, static-shards, everything-else"
    );
}

#[test]
fn a_rule_that_moved_its_clients_is_refused_with_the_line_of_the_example() {
    let change = ("paths: [{ value: /video }]", "paths: [{ value: /film }]");
    let ran = changed("test", change.0, change.1, &["--rule", "video"]);
    assert_eq!(ran.exit, Exit::Refused, "{}", ran.error);
    let line = 1 + POLICY
        .lines()
        .position(|line| line.contains("token=abc"))
        .unwrap();
    let said = format!(
        "  FAILED  match https://www.example.com/video/1.mp4?token=abc: rule `everything-else` instead of `video` (policy.yaml:{line})"
    );
    assert_eq!(ran.out.lines().nth(1), Some(said.as_str()), "{}", ran.out);
    assert!(
        ran.out.contains("failed: 4 examples, 2 hold, 2 do not"),
        "{}",
        ran.out
    );
    let checked = changed("check", change.0, change.1, &[]);
    assert_eq!(checked.exit, Exit::Refused);
    assert!(checked.out.contains("error[P037]"), "{}", checked.out);
    assert!(
        checked.out.contains(&format!("policy.yaml:{line}:")),
        "{}",
        checked.out
    );
}

#[test]
fn results_as_json_say_what_each_example_gets() {
    let ran = changed(
        "test",
        "then: { site: IAD }",
        "then: { site: NYC }",
        &["--format", "json"],
    );
    assert_eq!(ran.exit, Exit::Refused, "{}", ran.error);
    let report: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((&report["held"], &report["failed"]), (&5.into(), &1.into()));
    let failed = report["examples"].as_array().unwrap();
    let failed = failed
        .iter()
        .find(|example| example["holds"] == false)
        .unwrap();
    assert_eq!(failed["got"]["site"], "IAD");
    let wrong = [
        "site `IAD` instead of `NYC`",
        "the topology has no site `NYC`",
    ];
    assert_eq!(failed["wrong"], serde_json::json!(wrong));
}

#[test]
fn what_cannot_be_tried_is_said() {
    let ran = tradewind(&["test", &example("topology.yaml")]);
    assert_eq!(ran.exit, Exit::Usage);
    assert!(ran.error.contains("no policy is given"), "{}", ran.error);
    let ran = changed(
        "test",
        "value: /video",
        "value: /video",
        &["--rule", "vidoe"],
    );
    assert_eq!(ran.exit, Exit::Usage);
    assert!(
        ran.error.contains("no policy has a rule `vidoe`"),
        "{}",
        ran.error
    );
    let ran = changed("test", "candidates: 2", "candidates: 99", &[]);
    assert_eq!(ran.exit, Exit::Refused);
    assert!(ran.error.contains("error[P006]"), "{}", ran.error);
    let files = Files::new();
    let empty = files.write("empty.yaml", "a: 1\n");
    let ran = tradewind(&["test", &empty]);
    assert_eq!(ran.exit, Exit::Refused);
    assert!(ran.error.contains("kind"), "{}", ran.error);
}

#[test]
fn the_standard_input_can_be_given_once() {
    for args in [["test", "-", "-"], ["check", "-", "-"], ["diff", "-", "-"]] {
        let ran = tradewind(&args);
        assert_eq!(ran.exit, Exit::Usage);
        assert!(ran.error.contains("given more than once"), "{}", ran.error);
    }
}
