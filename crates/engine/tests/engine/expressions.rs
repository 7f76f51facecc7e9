//! Expressions in rules, as far as the whole policy has to do with them.

use std::fmt::Write as _;
use std::thread;

use tradewind_engine::document::Code;
use tradewind_engine::policy::{self, Policy};
use tradewind_engine::topology::{self, Topology};

fn fleet() -> Topology {
    let text = "apiVersion: tradewind/v1\nkind: Topology\nspec:\n  sites: [{id: a, lat: 1, lon: 1}]\n  \
        nodes: [{id: a1, site: a, address: \"192.0.2.1:80\"}]\n";
    topology::compile("topology", text).topology.unwrap()
}

/// A policy of rules with these fields, and one for the rest.
fn text(rules: &[&str]) -> String {
    let mut text =
        "apiVersion: tradewind/v1\nkind: Policy\nspec:\n  pools: [{name: all}]\n  rules:\n"
            .to_owned();
    for (number, fields) in rules.iter().chain(&["intent: the rest"]).enumerate() {
        writeln!(
            text,
            "  - {{name: r{number}, owner: us, rollback: none, pools: [all], {fields}}}"
        )
        .unwrap();
    }
    text
}

fn compiled(rules: &[&str]) -> Policy {
    let compiled = policy::compile("policy", &text(rules), &fleet());
    let found = compiled.diagnostics.to_lines().join("\n");
    compiled.policy.unwrap_or_else(|| panic!("{found}"))
}

fn codes(rules: &[&str]) -> Vec<Code> {
    let found = policy::check_alone("policy", &text(rules));
    found.items().iter().map(|found| found.code).collect()
}

#[test]
fn callers_are_told_which_headers_to_send() {
    let policy = compiled(&[
        "when: 'request.headers[\"x-b\"] == \"1\"', match: {headers: [{name: X-A}]}",
        "when: has(request.headers.cookie), key: {headers: [x-b]}",
    ]);
    let names = &policy.routing().reading().header_names;
    let names: Vec<&str> = names.iter().map(|name| &**name).collect();
    assert_eq!(names, ["cookie", "x-a", "x-b"]);
}

#[test]
fn a_rule_with_an_expression_covers_no_other_and_is_not_the_rest() {
    let (wide, narrow) = (
        "match: {paths: [{value: /a}]}",
        "match: {paths: [{value: /a/b}]}",
    );
    let when = |fields: &str| format!("{fields}, when: has(client.asn)");
    assert_eq!(codes(&[wide, narrow]), [Code::P020]);
    assert_eq!(codes(&[&when(wide), narrow]), []);
    assert_eq!(codes(&[&when(wide), &when(wide)]), []);
    assert_eq!(codes(&[wide, &when(narrow)]), [Code::P020]);
    let only = text(&[]).replace("intent: the rest", "when: has(client.asn)");
    let found = policy::check_alone("policy", &only);
    assert!(found.items().iter().any(|found| found.code == Code::P021));
}

#[test]
fn no_more_rules_have_one_than_are_allowed() {
    let rules = vec!["when: has(client.asn)"; 501];
    assert_eq!(codes(&rules), [Code::P036]);
    assert_eq!(codes(&rules[1..]), []);
}

/// A thread has 2 MiB, unless somebody says otherwise.
#[test]
fn the_deepest_that_is_read_needs_no_deep_stack() {
    let small = thread::Builder::new().stack_size(2 << 20);
    let reading = small.spawn(|| {
        for (one, end) in [
            ("(", "true"),
            ("1 + ", "1 == 1"),
            ("a.", "b"),
            ("true ? true : ", "true"),
            ("!", "true"),
            ("-", "1"),
            ("1 in ", "[1]"),
            ("request.path == '/' && ", "true"),
            ("a[", "1"),
            ("size(", "1"),
            ("[", "1"),
        ] {
            for count in [8, 10, 31, 32, 170] {
                let open = one.repeat(count) + end;
                for close in ["", ")", "]"] {
                    let when = format!("{open}{}", close.repeat(count));
                    drop(codes(&[&format!("when: \"{when}\"")]));
                }
            }
        }
    });
    reading.unwrap().join().unwrap();
}
