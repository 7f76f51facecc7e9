//! What changed, in words: each story is two texts and the lines that are said of them.

use super::*;

const TOP: &str = "apiVersion: tradewind/v1\nkind: Policy\n";

const POLICY: &str = "\
apiVersion: tradewind/v1
kind: Policy
metadata: {name: p, owner: edge-team}
spec:
  geo:
    overrides:
    - {cidr: 192.0.2.0/24, lat: 1, lon: 2}
  score:
    miss: {weight: 1, fetch_ms: 40}
    max_detour: 150ms
  pools:
  - {name: edge, select: {tier: edge, labels: {role: edge}}}
  - {name: origin, select: {tier: origin}}
  classes:
  - {name: video, expected_bytes: 4000000}
  rules:
  - name: video
    owner: media
    rollback: delete it
    match: {hosts: [a.example.com, b.example.com], paths: [{value: /v}]}
    pools: [edge, origin]
    max_detour: 40ms
  - {name: api, owner: web, rollback: none, match: {hosts: [api.example.com]}, pools: [origin]}
  - {name: rest, owner: web, rollback: none, pools: [edge, origin]}
";

const TOPOLOGY: &str = "\
apiVersion: tradewind/v1
kind: Topology
spec:
  sites:
  - {id: FRA, lat: 50, lon: 8, country: DE}
  - {id: PAR, lat: 48, lon: 2}
  nodes:
  - {id: fra-1, site: FRA, address: \"192.0.2.1:80\"}
  - {id: fra-2, site: FRA, address: \"192.0.2.2:80\"}
  - {id: par-1, site: PAR, address: \"192.0.2.3:80\", labels: {disk: ssd}}
";

fn read(which: Which, text: &str) -> Reading {
    Reading::read(which, "text", text).unwrap_or_else(|found| panic!("{:?}", found.to_lines()))
}

fn differences(which: Which, old: &str, new: &str) -> Vec<Difference> {
    between(&read(which, old), &read(which, new)).unwrap()
}

fn lines(which: Which, old: &str, new: &str) -> Vec<String> {
    let found = differences(which, old, new);
    found.iter().map(ToString::to_string).collect()
}

/// The lines that are said when `edits` are made in the policy above.
fn said_of_policy(edits: &[(&str, &str)]) -> Vec<String> {
    lines(Which::Policy, POLICY, &edited(POLICY, edits))
}

fn said_of_topology(edits: &[(&str, &str)]) -> Vec<String> {
    lines(Which::Topology, TOPOLOGY, &edited(TOPOLOGY, edits))
}

fn edited(text: &str, edits: &[(&str, &str)]) -> String {
    let mut text = text.to_owned();
    for (from, to) in edits {
        assert_eq!(text.matches(from).count(), 1, "{from:?} stands once");
        text = text.replace(from, to);
    }
    text
}

#[test]
fn values_are_told_with_what_they_were() {
    for (from, to, line) in [
        (
            "max_detour: 40ms",
            "max_detour: 60ms",
            "rule video: max_detour 40ms -> 60ms",
        ),
        (
            "role: edge",
            "role: cache",
            "pool edge: select.labels.role edge -> cache",
        ),
        ("weight: 1,", "weight: 2,", "score.miss.weight 1 -> 2"),
        (
            "owner: edge-team",
            "owner: core",
            "metadata.owner edge-team -> core",
        ),
        (
            "lat: 1,",
            "lat: 1.5,",
            "override 192.0.2.0/24: lat 1 -> 1.5",
        ),
        (
            "bytes: 4000000",
            "bytes: 5000000",
            "class video: expected_bytes 4000000 -> 5000000",
        ),
        (
            "rollback: delete it",
            "rollback: ask us",
            "rule video: rollback \"delete it\" -> \"ask us\"",
        ),
    ] {
        assert_eq!(said_of_policy(&[(from, to)]), [line], "{to}");
    }
}

#[test]
fn what_is_left_to_a_default_is_told_with_its_value() {
    for (from, to, line) in [
        (
            "    max_detour: 40ms\n",
            "",
            "rule video: max_detour 40ms -> 150ms (default)",
        ),
        (
            "    max_detour: 40ms\n",
            "    max_detour: 40ms\n    candidates: 5\n",
            "rule video: candidates 3 (default) -> 5",
        ),
        (
            "  pools:\n",
            "  breaker: {window: 20s}\n  pools:\n",
            "breaker.window 10s (default) -> 20s",
        ),
        (
            "  pools:\n",
            "  slow_start_window: 1m\n  pools:\n",
            "slow_start_window 30s (default) -> 1m",
        ),
        (
            "{tier: origin}}",
            "{tier: origin}, affinity: none}",
            "pool origin: affinity key (default) -> none",
        ),
        (
            "{tier: origin}}",
            "{tier: origin}, hash_balance_factor: 150}",
            "pool origin: hash_balance_factor is new: 150",
        ),
        (
            "    max_detour: 150ms\n",
            "",
            "score.max_detour is gone, was 150ms",
        ),
    ] {
        assert_eq!(said_of_policy(&[(from, to)]), [line], "{to}");
    }
}

#[test]
fn what_means_the_same_is_no_difference() {
    for (from, to) in [
        // Defaults, written.
        (
            "    max_detour: 40ms\n",
            "    max_detour: 40ms\n    candidates: 3\n    ttl: 0ms\n    action: route\n",
        ),
        (
            "    max_detour: 40ms\n",
            "    max_detour: 40ms\n    key: {host: true, query: []}\n",
        ),
        (
            "  pools:\n",
            "  breaker: {window: 10s}\n  signals: {load: {max_age: 5s}}\n  pools:\n",
        ),
        // Other words for it.
        ("max_detour: 40ms", "max_detour: \"40ms\" # near"),
        ("weight: 1,", "weight: 1.0,"),
        (
            "[a.example.com, b.example.com]",
            "[b.example.com, A.Example.com, a.example.com]",
        ),
        ("max_detour: 150ms", "max_detour: 0m150ms"),
        // Order that says nothing.
        (
            "  - {name: edge, select: {tier: edge, labels: {role: edge}}}\n  - {name: origin, select: {tier: origin}}\n",
            "  - {name: origin, select: {tier: origin}}\n  - {name: edge, select: {labels: {role: edge}, tier: edge}}\n",
        ),
    ] {
        assert_eq!(said_of_policy(&[(from, to)]), [""; 0], "{to}");
    }
    // A second that is written overrules a proxy's own bound, the usual second does not.
    assert_eq!(
        said_of_policy(&[(
            "    max_detour: 40ms\n",
            "    max_detour: 40ms\n    attempt_timeout: 1s\n"
        )]),
        ["rule video: attempt_timeout is new: 1s"]
    );
    assert_eq!(
        said_of_topology(&[(
            "  sites:\n",
            "  tiers: [edge, regional, origin]\n  sites:\n"
        )]),
        [""; 0]
    );
    assert_eq!(
        said_of_topology(&[
            (
                "country: DE}",
                "country: DE, tier: edge, price_usd_per_gb: 0, state: ready}"
            ),
            ("\"192.0.2.1:80\"}", "192.0.2.1:80, capacity: 100}"),
        ]),
        [""; 0]
    );
}

#[test]
fn lists_gain_and_lose() {
    for (from, to, line) in [
        (
            "[a.example.com, b.example.com]",
            "[b.example.com, c.example.com]",
            "rule video: match.hosts gains c.example.com; loses a.example.com",
        ),
        (
            "hosts: [a.example.com, b.example.com], ",
            "",
            "rule video: match.hosts is gone, was a.example.com, b.example.com",
        ),
        (
            "{value: /v}",
            "{value: /v}, {type: Exact, value: /w}",
            "rule video: match.paths gains {type: Exact, value: /w}",
        ),
        (
            "    pools: [edge, origin]\n",
            "    pools: [origin, edge]\n",
            "rule video: pools [edge, origin] -> [origin, edge]",
        ),
        (
            "max_detour: 40ms",
            "geofence: [FR, de]\n    max_detour: 40ms",
            "rule video: geofence is new: FR, DE",
        ),
        (
            "max_detour: 40ms",
            "require: {disk: ssd}\n    max_detour: 40ms",
            "rule video: require.disk is new: ssd",
        ),
    ] {
        assert_eq!(said_of_policy(&[(from, to)]), [line], "{to}");
    }
}

#[test]
fn entries_come_go_and_move() {
    let blue =
        "  - {name: blue, owner: x, rollback: y, match: {hosts: [x.example.com]}, pools: [edge]}\n";
    let first = format!("  rules:\n{blue}");
    assert_eq!(
        said_of_policy(&[("  rules:\n", &first)]),
        ["rule blue is new, before rule video"]
    );
    let last = format!("{POLICY}{blue}");
    assert_eq!(
        lines(Which::Policy, POLICY, &last),
        ["rule blue is new, behind rule rest"]
    );
    assert_eq!(lines(Which::Policy, &last, POLICY), ["rule blue is gone"]);
    let api = "  - {name: api, owner: web, rollback: none, match: {hosts: [api.example.com]}, pools: [origin]}\n";
    let up = format!("  rules:\n{api}");
    let moved = edited(&edited(POLICY, &[(api, "")]), &[("  rules:\n", &up)]);
    assert_eq!(
        lines(Which::Policy, POLICY, &moved),
        ["rule api moved before rule video"]
    );
    assert_eq!(
        lines(Which::Policy, &moved, POLICY),
        ["rule video moved before rule api"]
    );
    assert_eq!(
        said_of_topology(&[
            (
                "  - {id: fra-1, site: FRA, address: \"192.0.2.1:80\"}\n",
                ""
            ),
            (
                "\"192.0.2.2:80\"}",
                "\"192.0.2.2:80\", capacity: 200, state: drain}"
            ),
            ("labels: {disk: ssd}", "labels: {disk: nvme, rack: r1}"),
        ]),
        [
            "node fra-1 is gone",
            "node fra-2: capacity 100 (default) -> 200",
            "node fra-2: state ready (default) -> drain",
            "node par-1: labels.disk ssd -> nvme",
            "node par-1: labels.rack is new: r1",
        ]
    );
}

#[test]
fn what_others_take_from_a_field_is_told_once() {
    // `rest` and `api` take their `max_detour` from the score; `video` has its own.
    assert_eq!(
        said_of_policy(&[("max_detour: 150ms", "max_detour: 200ms")]),
        ["score.max_detour 150ms -> 200ms"]
    );
    assert_eq!(
        said_of_topology(&[("  sites:\n", "  tiers: [cache, origin]\n  sites:\n")]),
        ["tiers [edge, regional, origin] (default) -> [cache, origin]"]
    );
}

#[test]
fn the_order_is_that_of_the_new_text() {
    let new = format!(
        "{TOP}spec:\n  rules:\n  - {{name: rest, pools: [origin, edge], rollback: none, owner: us}}\n  pools:\n  \
         - {{name: origin}}\n  - {{name: edge}}\n  score: {{spread: 1ms}}\n"
    );
    assert_eq!(
        lines(Which::Policy, POLICY, &new),
        [
            "metadata.name is gone, was p",
            "metadata.owner is gone, was edge-team",
            "rule video is gone",
            "rule api is gone",
            "rule rest: pools [edge, origin] -> [origin, edge]",
            "rule rest: owner web -> us",
            "pool origin: select.tier is gone, was origin",
            "pool edge: select.tier is gone, was edge",
            "pool edge: select.labels.role is gone, was edge",
            "score.max_detour is gone, was 150ms",
            "score.spread 0ms (default) -> 1ms",
            "override 192.0.2.0/24 is gone",
            "class video is gone",
        ]
    );
}

#[test]
fn two_of_one_name_are_told_apart_by_their_order() {
    let twin = |ms: u8| {
        format!(
            "{TOP}spec:\n  pools: [{{name: edge}}]\n  rules:\n  - {{name: a, owner: x, rollback: y, pools: [edge]}}\n  \
             - {{name: a, owner: x, rollback: y, pools: [edge], spread: {ms}ms}}\n"
        )
    };
    assert_eq!(
        lines(Which::Policy, &twin(1), &twin(2)),
        ["rule a: spread 1ms -> 2ms"]
    );
}

#[test]
fn a_difference_says_what_it_may_change() {
    for (from, to, reach) in [
        (
            "[a.example.com, b.example.com]",
            "[b.example.com]",
            &[Reach::Matching][..],
        ),
        (
            "    max_detour: 40ms\n",
            "    key: {query: [w]}\n    max_detour: 40ms\n",
            &[Reach::Placement],
        ),
        (
            "role: edge",
            "role: cache",
            &[Reach::Placement, Reach::Site],
        ),
        ("max_detour: 40ms", "max_detour: 60ms", &[Reach::Site]),
        (
            "max_detour: 40ms",
            "max_detour: 40ms\n    ttl: 5s",
            &[Reach::Operation],
        ),
        ("owner: media", "owner: video", &[Reach::Words]),
    ] {
        let found = differences(Which::Policy, POLICY, &edited(POLICY, &[(from, to)]));
        let reaches: Vec<_> = found.iter().map(|difference| difference.reach).collect();
        assert_eq!(reaches, [reach], "{to}");
    }
}

#[test]
fn every_row_is_there_once_and_lies_below_its_list() {
    for which in [Which::Policy, Which::Topology] {
        let table = fields(which);
        for row in table {
            let same = table.iter().filter(|other| other.path == row.path);
            assert_eq!(same.count(), 1, "{}", row.path);
            assert!(
                !row.reach.is_empty() && row.reach.is_sorted(),
                "{}",
                row.path
            );
            if let Some((list, _)) = row.path.rsplit_once("[]") {
                assert!(field::find(table, list).is_some(), "{list}");
            }
        }
    }
}

#[test]
fn documents_of_two_kinds_are_not_compared() {
    let (policy, topology) = (read(Which::Policy, POLICY), read(Which::Topology, TOPOLOGY));
    let error = between(&policy, &topology).unwrap_err();
    assert_eq!(
        error.to_string(),
        "a policy and a topology cannot be compared, must be two of one kind"
    );
}

#[test]
fn what_cannot_be_read_is_not_compared() {
    for text in ["", "a: [", "kind: Policy", TOPOLOGY] {
        let found = Reading::read(Which::Policy, "text", text).unwrap_err();
        assert!(found.has_errors(), "{text}");
    }
}

#[test]
fn a_name_cannot_act_on_a_terminal() {
    let hostile = edited(
        POLICY,
        &[("labels: {role: edge}", "labels: {\"\\e[31m\": \"\\e[0m\"}")],
    );
    for line in lines(Which::Policy, POLICY, &hostile) {
        assert!(!line.contains('\u{1b}'), "{line:?}");
    }
}
