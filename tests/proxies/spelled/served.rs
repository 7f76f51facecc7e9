//! What a rule lets pass is answered by the node that is named, which is asked for the path that rules saw.

use std::collections::{BTreeMap, BTreeSet};

use super::{Seen, VERSIONS, Version, all};
use crate::http::Connection;
use crate::visits::{HOST, client};

#[test]
fn a_target_in_absolute_form_is_the_same_request() {
    for mut proxy in all("a_target_in_absolute_form_is_the_same_request") {
        let asker = client(1);
        let node = proxy.named("/hello?a=1", &asker);
        let headers = [("X-Forwarded-For", &*asker)];
        for (target, status) in [
            ("http://www.example.com/hello?a=1", 200),
            ("HTTP://www.example.com/%68ello?a=1", 200),
            ("http://www.example.com/internal/x", 403),
            ("http://www.example.com//internal/x", 403),
            ("http://www.example.com/a/../internal/x", 403),
        ] {
            let seen = proxy.ask(Version::Http1, target, &headers);
            if status == 403 {
                assert!(seen.is_refused(), "{proxy} {target}: {seen:?}");
                continue;
            }
            // Not every proxy takes schemes in capitals.
            if seen.status == 400 && target.starts_with("HTTP") {
                continue;
            }
            assert_eq!(seen.status, status, "{proxy} {target}: {seen:?}");
            assert_eq!(seen.node.as_deref(), Some(&*node), "{proxy} {target}");
            assert_eq!(
                seen.target.as_deref(),
                Some("/hello?a=1"),
                "{proxy} {target}"
            );
        }
    }
}

/// Headers of one letter and a number, as many as an honest client behind some proxies may send.
fn many(count: usize) -> Vec<(String, String)> {
    let headers = (0..count).map(|number| (format!("x-h{number}"), "v".to_owned()));
    headers.collect()
}

#[test]
fn headers_that_no_rule_reads_are_no_reason_to_refuse() {
    for mut proxy in all("headers_that_no_rule_reads_are_no_reason_to_refuse") {
        let asker = client(2);
        let node = proxy.named("/hello", &asker);
        let long = "v".repeat(8_000);
        for version in VERSIONS {
            for count in [0, 70, 130] {
                let many = many(count);
                let mut headers: Vec<(&str, &str)> = many
                    .iter()
                    .map(|(name, value)| (name.as_str(), value.as_str()))
                    .collect();
                headers.push(("X-Forwarded-For", &asker));
                headers.push(("X-Long", &long));
                let seen = proxy.ask(version, "/hello", &headers);
                let what = format!("{proxy} {version:?}, {count} headers: {seen:?}");
                assert_eq!(
                    (seen.status, seen.node.as_deref()),
                    (200, Some(&*node)),
                    "{what}"
                );
                let seen = proxy.ask(version, "/internal/x", &headers);
                assert!(seen.is_refused(), "{what}: {seen:?}");
            }
        }
    }
}

#[test]
fn long_targets_are_served_up_to_what_proxies_take() {
    for mut proxy in all("long_targets_are_served_up_to_what_proxies_take") {
        let asker = client(0);
        let headers = [("X-Forwarded-For", &*asker)];
        // Bars become three times as long in normal form, which the answer must have room for.
        // (Over HTTP/2 they are sent in two bytes each, which nginx counts.)
        for query in ["p".repeat(7_900), "|".repeat(4_000), "%7e".repeat(2_600)] {
            let target = format!("/hello?{query}");
            let node = proxy.named(&target, &asker);
            for version in VERSIONS {
                let seen = proxy.ask(version, &target, &headers);
                let what = query.chars().next().unwrap();
                assert_eq!(
                    seen.status, 200,
                    "{proxy} {version:?} {what}: {:?}",
                    seen.node
                );
                assert_eq!(
                    seen.node.as_deref(),
                    Some(&*node),
                    "{proxy} {version:?} {what}"
                );
            }
        }
    }
}

#[test]
fn of_two_address_lines_the_proxys_counts() {
    for mut proxy in all("of_two_address_lines_the_proxys_counts") {
        // What the client says of itself comes first; what the load balancer adds, last.
        let (said, real) = (client(1), client(2));
        let node = proxy.named("/object/2", &real);
        assert_ne!(node, proxy.named("/object/2", &said));
        let both = format!("{said}, {real}");
        for version in VERSIONS {
            for headers in [
                &[("X-Forwarded-For", &*said), ("X-Forwarded-For", &*real)][..],
                &[("X-Forwarded-For", &*both)],
                &[("X-Client-IP", &*said), ("X-Forwarded-For", &*real)],
            ] {
                let seen = proxy.ask(version, "/object/2", headers);
                assert_eq!(
                    seen.node.as_deref(),
                    Some(&*node),
                    "{proxy} {version:?} {headers:?}: {seen:?}"
                );
            }
        }
    }
}

#[test]
fn a_path_is_bytes() {
    for proxy in all("a_path_is_bytes") {
        let mut connection = Connection::tcp(proxy.http1).unwrap();
        let raw = b"GET /caf\xe9.jpg HTTP/1.1\r\nHost: www.example.com\r\n\r\n";
        connection.send(raw).unwrap();
        let seen = Seen::from(connection.reply().ok());
        // HAProxy and Envoy do not take them.
        if proxy.name == "nginx" {
            assert_eq!(seen.status, 200, "{seen:?}");
            assert_eq!(seen.target.as_deref(), Some("/caf%E9.jpg"));
        } else {
            assert!(seen.is_refused(), "{proxy}: {seen:?}");
        }
    }
}

#[test]
fn other_listeners_are_no_way_round() {
    for mut proxy in all("other_listeners_are_no_way_round") {
        let asker = client(2);
        let node = proxy.named("/object/4", &asker);
        let headers = [("Host", HOST), ("X-Forwarded-For", &*asker)];
        let unix = proxy.unix.as_deref();
        let unix = unix.map(|path| ("a Unix socket", Connection::unix(path).unwrap()));
        let ipv6 = proxy.ipv6;
        let ipv6 = ipv6.map(|address| ("IPv6", Connection::tcp(address).unwrap()));
        for (listener, mut connection) in unix.into_iter().chain(ipv6) {
            let seen = Seen::from(connection.get("/object/4", &headers).ok());
            let what = format!("{proxy}, {listener}: {seen:?}");
            assert_eq!(seen.status, 200, "{what}");
            // Whom they believe what the client's address is differs: nginx was told to believe the socket.
            if proxy.name == "nginx" && listener == "a Unix socket" {
                assert_eq!(seen.node.as_deref(), Some(&*node), "{what}");
            }
            let refused = Seen::from(connection.get("//internal/x", &headers).ok());
            assert!(refused.is_refused(), "{what}: {refused:?}");
        }
    }
}

/// An object in one of thirty spellings.
fn spelled(object: usize, spelling: usize) -> String {
    let before = ["/", "//", "/./", "/x/../", "/%2e/"][spelling % 5];
    let name = ["video", "%76ideo", "vid%65o"][spelling / 5 % 3];
    let accent = ["%C3%A9", "%c3%a9"][spelling / 15 % 2];
    format!(
        "{before}{name}/caf{accent}/{object}.mp4?v={object}&q=%{}",
        ["7e", "7E"][spelling % 2]
    )
}

fn canonical(object: usize) -> String {
    format!("/video/caf%C3%A9/{object}.mp4?v={object}&q=~")
}

#[test]
fn thirty_spellings_of_an_object_have_one_node_and_one_path() {
    const REQUESTS: usize = 2_000;
    for mut proxy in all("thirty_spellings_of_an_object_have_one_node_and_one_path") {
        let asker = client(0);
        let headers = [("X-Forwarded-For", &*asker)];
        let mut ways = VERSIONS.map(|version| proxy.way(version));
        let mut named = BTreeMap::new();
        for number in 0..REQUESTS {
            let (object, spelling) = (number / 30, number % 30);
            let target = spelled(object, spelling);
            let wanted = canonical(object);
            let node = named
                .entry(object)
                .or_insert_with(|| proxy.named(&wanted, &asker));
            let seen = ways[number % 2].ask("GET", &target, &headers);
            assert_eq!(
                seen.node.as_ref(),
                Some(&*node),
                "{proxy} {target}: {seen:?}"
            );
            // Envoy leaves hexadecimal digits and queries as they are; what they mean is the same.
            let reached = seen.target.unwrap_or_default();
            let reached = match proxy.name {
                "nginx" | "haproxy" => reached,
                _ => reached
                    .replace("%c3%a9", "%C3%A9")
                    .replace("%7e", "~")
                    .replace("%7E", "~"),
            };
            assert_eq!(reached, wanted, "{proxy} {target}");
        }
        let nodes: BTreeSet<_> = named.values().collect();
        assert!(nodes.len() > 1, "objects are spread: {nodes:?}");
        // One object has one entry in one cache.
        if matches!(proxy.name, "nginx" | "haproxy") {
            let caches = proxy.rig.nodes.counts();
            let misses: u64 = caches.iter().map(|one| one.requests - one.hits).sum();
            assert_eq!(misses, named.len() as u64, "{proxy}");
        }
    }
}
