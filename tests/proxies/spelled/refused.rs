//! What a rule refuses goes to no node, however it is asked for.

use std::process::Command;

use super::{Seen, VERSIONS, all};
use crate::http::{Connection, request};
use crate::visits::{HOST, client};

/// `/internal/x`, which a rule refuses, as clients may write it.
const REFUSED: [&str; 15] = [
    "/internal/x",
    "//internal/x",
    "///internal///x",
    "/./internal/x",
    "/a/../internal/x",
    "/a/b/../../internal/./x",
    "/%69nternal/x",
    "/%69%6e%74%65%72%6E%61%6c/x",
    "/%2e/internal/x",
    "/a/%2e%2e/internal/x",
    "/a/%2E./internal/x",
    "/internal%2fx",
    "/%2finternal/x",
    "/a/..%2finternal/x",
    "/internal/a/%2e%2e/x",
];

#[test]
fn no_spelling_passes_a_refusal() {
    for mut proxy in all("no_spelling_passes_a_refusal") {
        let node = proxy.named("/hello", &client(0));
        for version in VERSIONS {
            let mut way = proxy.way(version);
            for target in REFUSED {
                for method in ["GET", "HEAD", "POST"] {
                    let seen = way.ask(method, target, &[]);
                    let what = format!("{proxy} {version:?} {method} {target}: {seen:?}");
                    // A refusal may come before a body was read, and the connection end with it.
                    let is_cut = method == "POST" && seen.status == 0;
                    assert!(
                        seen.is_refused() && (seen.status == 403 || is_cut),
                        "{what}"
                    );
                    if method == "POST" {
                        way = proxy.way(version);
                    }
                }
            }
            // Above the root there is the root, or a request that the proxy does not take.
            let seen = proxy.ask(version, "/../../internal/x", &[]);
            assert!(seen.is_refused(), "{proxy} {version:?}: {seen:?}");
            // What is not refused goes to the node that is named, also on the way that refusals went.
            let asker = client(0);
            let seen = way.ask("GET", "/a/../%68ello", &[("X-Forwarded-For", &asker)]);
            assert_eq!(
                seen.node.as_deref(),
                Some(&*node),
                "{proxy} {version:?} {seen:?}"
            );
            assert_eq!(
                seen.target.as_deref(),
                Some("/hello"),
                "{proxy} {version:?}"
            );
        }
    }
}

/// A proxy that cannot put its question, or not take the answer, must not take the sidecar for dead.
#[test]
fn no_length_passes_a_refusal() {
    let accept = "a".repeat(7_900);
    for proxy in all("no_length_passes_a_refusal") {
        for version in VERSIONS {
            for length in [
                4_000, 7_900, 12_000, 15_000, 15_200, 15_300, 16_000, 31_500, 33_000,
            ] {
                for (what, headers) in [
                    ("nothing", vec![]),
                    ("a long header", vec![("Accept", &*accept)]),
                ] {
                    for byte in ["p", "|", "%7e"] {
                        let query = byte.repeat(length / byte.len());
                        let target = format!("/internal/x?{query}");
                        let seen = proxy.ask(version, &target, &headers);
                        assert!(
                            seen.is_refused(),
                            "{proxy} {version:?}, {length} bytes of {byte}, {what}: {seen:?}"
                        );
                    }
                }
            }
        }
    }
}

/// A rule that names nodes is not served by others because these are away.
#[test]
fn a_geofence_without_nodes_is_served_by_nobody() {
    for proxy in all("a_geofence_without_nodes_is_served_by_nobody") {
        assert_eq!(proxy.ask(VERSIONS[0], "/fenced/a", &[]).status, 200);
        let server = proxy.rig.sidecar.admin.to_string();
        let away = Command::new(env!("CARGO_BIN_EXE_tradewind"))
            .args(["drain", "--site", "MAD", "--maintenance", "--why", "tests"])
            .args(["--server", &server])
            .output();
        let away = away.unwrap();
        assert!(away.status.success(), "{away:?}");
        for version in VERSIONS {
            for path in ["/fenced/a", "//fenced/a", "/fenced/a?|||"] {
                let seen = proxy.ask(version, path, &[]);
                assert_eq!(
                    (seen.status, &seen.node),
                    (503, &None),
                    "{proxy} {version:?} {path}: {seen:?}"
                );
            }
        }
    }
}

/// Requests that cannot be read, or hardly: each is answered rightly or refused, and never passes a rule.
#[test]
fn what_can_hardly_be_read_passes_no_rule() {
    let long_query = format!("?{}", "p".repeat(8_200));
    let long_host = "h".repeat(300);
    let long_value = "1".repeat(8_300);
    for proxy in all("what_can_hardly_be_read_passes_no_rule") {
        for version in VERSIONS {
            for (what, suffix, headers) in [
                ("a long query", &*long_query, vec![]),
                ("a long host", "", vec![("Host", &*long_host)]),
                (
                    "a long header that a rule reads",
                    "",
                    vec![("x-beta", &*long_value)],
                ),
                (
                    "a header that a rule reads, twice",
                    "",
                    vec![("x-beta", "1"), ("x-beta", "2")],
                ),
                ("no host", "", vec![("Host", "")]),
                (
                    "a host that is an address",
                    "",
                    vec![("Host", "[2001:db8::1]:80")],
                ),
                (
                    "an address that is none",
                    "",
                    vec![("X-Forwarded-For", "unknown")],
                ),
                (
                    "an address with a port",
                    "",
                    vec![("X-Forwarded-For", "192.0.2.1:443")],
                ),
            ] {
                let target = format!("/internal/x{suffix}");
                let seen = proxy.ask(version, &target, &headers);
                assert!(seen.is_refused(), "{proxy} {version:?}, {what}: {seen:?}");
                // What no rule forbids may be served or refused, but is no failure of ours.
                let seen = proxy.ask(version, &format!("/hello{suffix}"), &headers);
                assert!(
                    seen.status < 500 && (seen.status == 200) == seen.node.is_some(),
                    "{proxy} {version:?}, {what}: {seen:?}"
                );
            }
            let seen = proxy.ask(version, "/hello", &[("x-beta", "1")]);
            assert!(seen.is_refused(), "{proxy} {version:?}: {seen:?}");
        }
    }
}

/// Bytes that no good client sends.
#[test]
fn bytes_that_can_hardly_be_read_pass_no_rule() {
    for proxy in all("bytes_that_can_hardly_be_read_pass_no_rule") {
        for (what, bytes) in [
            ("bytes beyond ASCII", &b"/internal/caf\xe9"[..]),
            ("UTF-8", "/internal/café".as_bytes()),
            ("a backslash", b"/a\\..\\internal/x"),
            ("an encoded backslash", b"/a%5c..%5cinternal/x"),
            ("an encoded NUL", b"/internal/x%00.jpg"),
            ("a fragment", b"/internal/x#y"),
            ("no slash", b"internal/x"),
            ("a user", b"http://user@www.example.com/internal/x"),
        ] {
            let head = request("GET", "TARGET", &[("Host", HOST)], b"");
            let head = String::from_utf8(head).unwrap();
            let (before, after) = head.split_once("TARGET").unwrap();
            let message = [before.as_bytes(), bytes, after.as_bytes()].concat();
            let mut connection = Connection::tcp(proxy.http1).unwrap();
            connection.send(&message).unwrap();
            let seen = Seen::from(connection.reply().ok());
            // Where an encoded backslash stands for itself a node is asked for it so, and it is no way into `/internal`.
            let target = seen.target.as_deref();
            let is_harmless = target.is_some_and(|target| target.starts_with("/a%5C"));
            assert!(
                seen.is_refused() || is_harmless,
                "{proxy}, {what}: {seen:?}"
            );
        }
    }
}
