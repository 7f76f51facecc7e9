//! `tradewind diff`.

use crate::support::{Files, Ran, example, json, tradewind};
use tradewind::command::Exit;
use tradewind::example::{POLICY, TOPOLOGY};

/// What is said of two texts.
fn diff(old: &str, new: &str) -> Ran {
    let files = Files::new();
    let (old, new) = (files.write("old.yaml", old), files.write("new.yaml", new));
    tradewind(&["diff", &old, &new])
}

#[test]
fn a_reviewer_reads_what_changed_and_how_far_it_goes() {
    let blue = "  rules:\n    - { name: blue, owner: web, rollback: delete it, match: { hosts: [blue.example.com] }, pools: \
                [edge] }\n";
    let new = POLICY
        .replace("  rules:\n", blue)
        .replace(
            "hosts: [www.example.com]",
            "hosts: [www.example.com, m.example.com]",
        )
        .replace("      candidates: 2\n", "")
        .replace("max_detour: 150ms", "max_detour: 100ms")
        .replace(
            "owner: privacy-team@example.com",
            "owner: legal@example.com",
        );
    let ran = diff(POLICY, &new);
    assert_eq!((ran.exit, ran.error.as_str()), (Exit::Refused, ""));
    let lines: Vec<&str> = ran.out.lines().collect();
    assert_eq!(
        lines,
        [
            "score.max_detour 150ms -> 100ms",
            "rule blue is new, before rule video",
            "rule video: match.hosts gains m.example.com",
            "rule api: candidates 2 -> 3 (default)",
            "rule account-eu: owner privacy-team@example.com -> legal@example.com",
            "differs: 5 changes, 2 to which requests match a rule, 2 to which site is chosen, 1 to words",
        ]
    );
}

#[test]
fn a_fleet_is_compared_node_by_node() {
    let new = TOPOLOGY
        .replace("id: LHR, lat: 51.47", "id: LHR, lat: 51.5")
        .replace("id: fra-1,", "id: fra-9,");
    assert_ne!(new, TOPOLOGY);
    let ran = diff(TOPOLOGY, &new);
    assert_eq!(ran.exit, Exit::Refused, "{}", ran.error);
    let lines: Vec<&str> = ran.out.lines().collect();
    assert_eq!(lines[0], "site LHR: lat 51.47 -> 51.5");
    assert_eq!(lines[1..3], ["node fra-1 is gone", "node fra-9 is new"]);
    assert!(lines[3].starts_with("differs: 3 changes, "), "{}", lines[3]);
}

#[test]
fn what_means_the_same_is_said_to() {
    let ran = diff(POLICY, POLICY);
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Good, "the same\n"));
    let new = POLICY.replace(
        "      candidates: 2\n",
        "      # Two.\n      candidates: 2\n      ttl: 0ms\n",
    );
    let ran = diff(POLICY, &new);
    assert_eq!(
        (ran.exit, ran.out.as_str()),
        (Exit::Good, "means the same: only the text has changed\n")
    );
}

#[test]
fn differences_as_json_have_values_and_reach() {
    let files = Files::new();
    let new = POLICY
        .replace("      candidates: 2\n", "")
        .replace("hosts: [www.example.com]", "hosts: [m.example.com]")
        .replace(
            "    - name: regional\n      select: { tier: regional }\n",
            "",
        );
    let new = files.write("new.yaml", new);
    let said = json(&["diff", "--format", "json", &example("policy.yaml"), &new]);
    assert_eq!(
        (&said["kind"], &said["verdict"]),
        (&"policy".into(), &"differs".into())
    );
    let found = said["differences"].as_array().unwrap();
    assert_eq!(found.len(), 3, "{said:#}");
    assert_eq!(
        found[0],
        serde_json::json!({
            "about": {"kind": "pool", "name": "regional"},
            "change": "removed",
            "before": {"name": "regional", "select": {"tier": "regional"}, "affinity": "key", "freshness": "version", "spread": {"max_copies": 24}},
            "reach": ["placement", "site"],
            "text": "pool regional is gone",
        })
    );
    assert_eq!(
        found[1],
        serde_json::json!({
            "about": {"kind": "rule", "name": "video"},
            "field": "match.hosts",
            "change": "changed",
            "before": ["www.example.com"],
            "after": ["m.example.com"],
            "gained": ["m.example.com"],
            "lost": ["www.example.com"],
            "reach": ["matching"],
            "text": "rule video: match.hosts gains m.example.com; loses www.example.com",
        })
    );
    assert_eq!(
        found[2],
        serde_json::json!({
            "about": {"kind": "rule", "name": "api"},
            "field": "candidates",
            "change": "changed",
            "before": 2,
            "after": 3,
            "after_is_default": true,
            "reach": ["site"],
            "text": "rule api: candidates 2 -> 3 (default)",
        })
    );
    let same = json(&["diff", "--format", "json", &new, &new]);
    assert_eq!(
        same,
        serde_json::json!({"kind": "policy", "verdict": "same", "differences": []})
    );
}

#[test]
fn what_cannot_be_compared_is_trouble_and_no_difference() {
    let (policy, topology) = (example("policy.yaml"), example("topology.yaml"));
    let ran = tradewind(&["diff", &policy, &topology]);
    assert_eq!(ran.exit, Exit::Usage);
    assert_eq!(
        ran.error,
        "tradewind: a policy and a topology cannot be compared, must be two of one kind\n"
    );
    let ran = diff(POLICY, &POLICY.replace("candidates: 2", "candidates: many"));
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Usage, ""));
    for part in [
        "candidates: many",
        "error[D005]",
        "new.yaml` cannot be compared, it has 1 error",
    ] {
        assert!(ran.error.contains(part), "{part} in {}", ran.error);
    }
    let ran = diff(POLICY, "a: 1\n");
    assert_eq!(ran.exit, Exit::Usage);
    assert!(
        ran.error.contains("does not say what it is"),
        "{}",
        ran.error
    );
    assert_eq!(
        tradewind(&["diff", &policy, "no-such-file.yaml"]).exit,
        Exit::Usage
    );
}
