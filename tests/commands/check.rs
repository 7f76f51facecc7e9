//! `tradewind check`.

use crate::support::{Files, example, json, tradewind, tradewind_in};
use tradewind::command::Exit;
use tradewind::example::{POLICY, TOPOLOGY};

/// A policy of one rule, with `more` in the rule.
fn policy(more: &str) -> String {
    format!(
        "apiVersion: tradewind/v1\nkind: Policy\nspec:\n  geo: {{ default: {{ lat: 50.1, lon: 8.7 }} }}\n  pools: [{{ name: edge, select: {{ tier: edge }} }}]\n  \
         rules:\n    - name: all\n      owner: team\n      rollback: none\n      pools: [edge]\n{more}"
    )
}

#[test]
fn the_example_is_good_in_any_order() {
    let (policy, topology) = (example("policy.yaml"), example("topology.yaml"));
    for files in [[&policy, &topology], [&topology, &policy]] {
        let ran = tradewind(&["check", "--deny-warnings", files[0], files[1]]);
        assert_eq!(
            (ran.exit, ran.error.as_str()),
            (Exit::Good, ""),
            "{}",
            ran.out
        );
        let lines: Vec<&str> = ran.out.lines().collect();
        assert_eq!(
            lines,
            [
                &*format!("policies are checked against `{topology}`"),
                "good: 2 files checked, 0 errors, 0 warnings"
            ]
        );
    }
}

#[test]
fn a_policy_alone_is_checked_against_the_example_and_says_so() {
    let ran = tradewind(&["check", &example("policy.yaml")]);
    assert_eq!(ran.exit, Exit::Good);
    assert!(
        ran.out.contains("against the embedded example topology"),
        "{}",
        ran.out
    );
    let files = Files::new();
    let other = TOPOLOGY.replace("disk: nvme", "disk: none");
    let other = files.write("other.yaml", other);
    let ran = tradewind(&["check", &example("policy.yaml"), "--topology", &other]);
    assert_eq!(ran.exit, Exit::Refused);
    assert!(ran.out.contains("error[P009]"), "{}", ran.out);
}

#[test]
fn every_fault_is_shown_with_its_place() {
    let files = Files::new();
    let bad = POLICY
        .replace("candidates: 2", "candidates: 99")
        .replace("pools: [edge-any, origin]", "pools: [edge-some, origin]")
        .replace(
            "owner: media-team@example.com",
            "ownr: media-team@example.com",
        );
    let bad = files.write("bad.yaml", bad);
    let ran = tradewind(&["check", &bad]);
    assert_eq!(ran.exit, Exit::Refused);
    for part in [
        "candidates: 99",
        "ownr",
        "error[",
        "refused: 1 file checked",
    ] {
        assert!(ran.out.contains(part), "{part} in {}", ran.out);
    }
    assert!(!ran.out.contains('\u{1b}'));
    assert!(tradewind_in(&["check", &bad], true).out.contains('\u{1b}'));
}

#[test]
fn findings_as_json_are_an_array() {
    let files = Files::new();
    let bad = files.write("bad.yaml", policy("      candidates: 99\n"));
    let found = json(&["check", "--format", "json", &bad]);
    let found = found.as_array().unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0]["code"], "P006");
    assert_eq!(found[0]["path"], "spec.rules[0].candidates");
    assert_eq!(
        (&found[0]["line"], &found[0]["severity"]),
        (&11.into(), &"error".into())
    );
    let good = json(&["check", "--format", "json", &example("topology.yaml")]);
    assert_eq!(good.as_array().map(Vec::len), Some(0));
}

#[test]
fn expired_rules_are_warnings() {
    let files = Files::new();
    let path = files.write("p.yaml", policy("      expires: 2026-01-01\n"));
    let check = |more: &[&str]| {
        let args: Vec<&str> = ["check", path.as_str()]
            .iter()
            .chain(more)
            .copied()
            .collect();
        tradewind(&args)
    };
    // The last day itself is still good.
    assert!(check(&[]).out.contains("0 errors, 0 warnings"));
    let late = check(&["--today", "2026-01-02"]);
    assert_eq!(late.exit, Exit::Good);
    assert!(
        late.out
            .contains("warning[C001]: the rule `all` expired on 2026-01-01"),
        "{}",
        late.out
    );
    assert!(
        late.out.contains("11 |       expires: 2026-01-01"),
        "{}",
        late.out
    );
    let denied = check(&["--today", "2026-01-02", "--deny-warnings"]);
    assert_eq!(denied.exit, Exit::Refused);
    assert_eq!(check(&["--today", "tomorrow"]).exit, Exit::Usage);
}

#[test]
fn what_is_neither_policy_nor_topology_is_refused() {
    let files = Files::new();
    for (text, part) in [
        ("kind: Fleet\n", "D011"),
        ("a: 1\n", "does not say what it is"),
        ("a: [\n", "error[D"),
        ("", "error["),
    ] {
        let path = files.write("x.yaml", text);
        let ran = tradewind(&["check", &path]);
        assert_eq!(ran.exit, Exit::Refused, "{text:?}");
        assert!(ran.out.contains(part), "{part} in {}", ran.out);
    }
}

#[test]
fn a_policy_beside_a_refused_topology_is_checked_in_all_else() {
    let files = Files::new();
    let topology = files.write("t.yaml", TOPOLOGY.replace("lat: 51.47", "lat: 151.47"));
    let policy = files.write(
        "p.yaml",
        policy("      candidates: many\n      match: { countries: [UK] }\n"),
    );
    let ran = tradewind(&["check", &topology, &policy]);
    assert_eq!(ran.exit, Exit::Refused);
    for part in [
        "T006",
        "many",
        "without a topology",
        "D005",
        "did you mean GB?",
        "3 errors",
    ] {
        assert!(ran.out.contains(part), "{part} in {}", ran.out);
    }
}

#[test]
fn wrong_calls_are_wrong_usage() {
    let (policy, topology) = (example("policy.yaml"), example("topology.yaml"));
    let ran = tradewind(&["check", &policy, &topology, &topology]);
    assert_eq!(ran.exit, Exit::Usage);
    assert_eq!(
        ran.error,
        "tradewind: 2 topologies are given, policies can be checked against one\n"
    );
    let ran = tradewind(&["check", "no-such-file.yaml"]);
    assert_eq!(ran.exit, Exit::Usage);
    assert!(
        ran.error
            .starts_with("tradewind: `no-such-file.yaml` cannot be read: "),
        "{}",
        ran.error
    );
}
