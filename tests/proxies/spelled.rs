//! One reading of every request: however a client spells it, rules and nodes see the same path, and what may not pass does
//! not. The same requests go through nginx, HAProxy and Envoy (both filters), over HTTP/1.1 and HTTP/2.
//!
//! Here proxies wait for the sidecar as long as it takes: a busy machine must not look like one that lets requests pass.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::envoy::Envoy;
use crate::front::Front;
use crate::http::{Connection, Reply, request};
use crate::http2::Http2;
use crate::places::free_port;
use crate::rig::{Asker, Rig, Setup};
use crate::visits::{HOST, client};
use crate::{haproxy, nginx};

/// A rule that looks at a header, beside the one for `/internal`.
const HEADER_RULE: (&str, &str) = (
    "    - name: everything\n",
    "    - name: beta
      owner: you
      rollback: remove the rule
      match:
        headers: [{ name: x-beta, exact: \"1\" }]
      action: refuse
    - name: everything\n",
);

/// A proxy, and what it stands in front of.
struct Proxy {
    name: &'static str,
    rig: Rig,
    grpc: Asker,
    /// Where it speaks HTTP/1.1, and where HTTP/2 from the first byte.
    http1: SocketAddr,
    http2: SocketAddr,
    /// Where else it listens.
    unix: Option<PathBuf>,
    ipv6: Option<SocketAddr>,
    /// Ends with this.
    _running: crate::process::Process,
}

/// A way to ask it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    Http1,
    Http2,
}

/// A connection of either version.
enum Way {
    Http1(Connection),
    Http2(Http2),
}

/// What came back of a request.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    /// 0 where the connection was ended without an answer.
    status: u16,
    node: Option<String>,
    /// What the node was asked for.
    target: Option<String>,
}

impl From<Option<Reply>> for Seen {
    fn from(reply: Option<Reply>) -> Self {
        let header = |name| {
            let value = reply.as_ref().and_then(|reply| reply.header(name));
            value.map(str::to_owned)
        };
        Self {
            status: reply.as_ref().map_or(0, |reply| reply.status),
            node: header("x-node"),
            target: header("x-target"),
        }
    }
}

impl Seen {
    /// Whether the client was told that it did wrong, and no node had a part in it.
    fn is_refused(&self) -> bool {
        self.node.is_none() && matches!(self.status, 0 | 400..=499)
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl Way {
    fn ask(&mut self, method: &str, target: &str, headers: &[(&str, &str)]) -> Seen {
        let host = headers
            .iter()
            .find(|(name, _)| *name == "Host")
            .map_or(HOST, |(_, host)| host);
        match self {
            Self::Http1(connection) => {
                let mut headers = headers.to_vec();
                if !headers.iter().any(|(name, _)| *name == "Host") {
                    headers.push(("Host", host));
                }
                let body = if method == "POST" { BODY } else { b"" };
                connection.ask((method, target), &headers, body).ok().into()
            }
            Self::Http2(connection) => {
                let headers: Vec<_> = headers
                    .iter()
                    .copied()
                    .filter(|(name, _)| *name != "Host")
                    .collect();
                let body = if method == "POST" { BODY } else { b"" };
                connection
                    .ask((method, host, target), &headers, body)
                    .into()
            }
        }
    }
}

/// What is sent with a POST: more than any proxy keeps in memory of a request.
static BODY: &[u8] = &[b'x'; 200_000];

impl Proxy {
    fn way(&self, version: Version) -> Way {
        match version {
            Version::Http1 => Way::Http1(Connection::tcp(self.http1).unwrap()),
            Version::Http2 => Way::Http2(Http2::tcp(self.http2)),
        }
    }

    /// One request on a connection of its own.
    fn ask(&self, version: Version, target: &str, headers: &[(&str, &str)]) -> Seen {
        self.way(version).ask("GET", target, headers)
    }

    /// The node that the sidecar names for a client that asks for a path.
    fn named(&mut self, path: &str, client: &str) -> String {
        let mut decision = self.grpc.decide((HOST, path), client);
        decision.candidates.remove(0).node
    }
}

fn nginx(test: &str) -> Option<Proxy> {
    let (http2, ipv6) = (free_port(), ipv6_port());
    let more = |listen: &str, folder: &str| {
        let ipv6 = ipv6.map_or_else(String::new, |port| format!("listen [::1]:{port};"));
        format!("{listen} listen 127.0.0.1:{http2} http2; listen unix:{folder}/in.sock; {ipv6}")
    };
    let front = Front::start_with(&nginx::KIND, test, setup(), |front, folder| {
        let listen = format!("listen {};", front.address(8080));
        let more = more(&listen, &folder.display().to_string());
        crate::rig::edit(
            &folder.join("nginx.conf"),
            &[
                (&listen, &more),
                ("proxy_read_timeout 100ms", "proxy_read_timeout 10s"),
                ("proxy_connect_timeout 50ms", "proxy_connect_timeout 10s"),
                ("proxy_read_timeout 1s", "proxy_read_timeout 10s"),
                (
                    "set_real_ip_from 127.0.0.1;",
                    "set_real_ip_from 127.0.0.1; set_real_ip_from unix:;",
                ),
            ],
        );
    })?;
    Some(of_front("nginx", front, (Some(http2), ipv6)))
}

fn haproxy(test: &str) -> Option<Proxy> {
    let ipv6 = ipv6_port();
    let front = Front::start_with(&haproxy::KIND, test, setup(), |front, folder| {
        let bind = format!("bind {}\n  # Who", front.address(8090));
        let unix = format!("bind unix@{}/in.sock", folder.display());
        let ipv6 = ipv6.map_or_else(String::new, |port| format!("bind [::1]:{port}"));
        let more = bind.replace("\n", &format!("\n  {unix}\n  {ipv6}\n"));
        crate::rig::edit(
            &folder.join("haproxy.cfg"),
            &[
                (&bind, &more),
                ("timeout connect 50ms", "timeout connect 10s"),
                ("timeout server 100ms", "timeout server 10s"),
                ("timeout server 1s", "timeout server 10s"),
            ],
        );
        crate::rig::edit(
            &folder.join("route.lua"),
            &[
                ("TIMEOUT_MS = 1000", "TIMEOUT_MS = 10000"),
                ("{ \"accept\" }", "{ \"accept\", \"x-beta\" }"),
            ],
        );
    })?;
    Some(of_front("haproxy", front, (None, ipv6)))
}

fn of_front(name: &'static str, front: Front, (http2, ipv6): (Option<u16>, Option<u16>)) -> Proxy {
    let unix = front.rig.file("proxy/in.sock");
    let Front {
        rig,
        process,
        address,
        ..
    } = front;
    Proxy {
        name,
        grpc: Asker::of(&rig.sidecar),
        rig,
        http1: address,
        http2: http2.map_or(address, |port| ([127, 0, 0, 1], port).into()),
        unix: Some(unix),
        ipv6: ipv6.map(|port| (std::net::Ipv6Addr::LOCALHOST, port).into()),
        _running: process,
    }
}

fn envoy(test: &str, config: &'static str) -> Option<Proxy> {
    let port = ipv6_port();
    let more = port.map_or_else(String::new, |port| {
        format!(
            "    additional_addresses: [{{ address: {{ socket_address: {{ address: \"::1\", port_value: {port} }} }} }}]\n"
        )
    });
    let filter_chains = format!("{more}    filter_chains:\n");
    let timeouts = match config {
        "envoy.yaml" => (
            "timeout: 0.05s\n                initial",
            "timeout: 10s\n                initial",
        ),
        _ => ("message_timeout: 0.05s", "message_timeout: 10s"),
    };
    let edits = [
        ("    filter_chains:\n", &*filter_chains),
        timeouts,
        ("per_try_timeout: 1s", "per_try_timeout: 10s"),
        // Nodes stay as they are throughout, however busy the machine is.
        ("log_name: attempts", "log_name: unheard"),
        ("[cpu_utilization, named_metrics.hit_ratio]", "[]"),
    ];
    let Envoy {
        rig,
        process,
        address,
        ..
    } = Envoy::start_with(test, config, &edits, setup())?;
    Some(Proxy {
        name: config,
        grpc: Asker::of(&rig.sidecar),
        rig,
        http1: address,
        http2: address,
        unix: None,
        ipv6: port.map(|port| (std::net::Ipv6Addr::LOCALHOST, port).into()),
        _running: process,
    })
}

fn setup() -> Setup {
    Setup {
        policy: vec![HEADER_RULE],
        ..Setup::default()
    }
}

/// A port of `::1`, where the machine has IPv6.
fn ipv6_port() -> Option<u16> {
    let port = free_port();
    let has_it = std::net::TcpListener::bind((std::net::Ipv6Addr::LOCALHOST, port)).is_ok();
    has_it.then_some(port)
}

/// Every proxy that can be had.
fn all(test: &str) -> impl Iterator<Item = Proxy> {
    let test = test.to_owned();
    (0..4).filter_map(move |number| match number {
        0 => nginx(&test),
        1 => haproxy(&test),
        2 => envoy(&test, "envoy.yaml"),
        _ => envoy(&test, "ext_proc.yaml"),
    })
}

const VERSIONS: [Version; 2] = [Version::Http1, Version::Http2];

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

/// Requests that can not be read, or hardly: each is answered rightly or refused, and never passes a rule.
#[test]
fn what_can_hardly_be_read_passes_no_rule() {
    let long_query = format!("?{}", "p".repeat(8_200));
    let long_host = "h".repeat(300);
    let long_value = "1".repeat(8_300);
    for mut proxy in all("what_can_hardly_be_read_passes_no_rule") {
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
            let is_odd = what.ends_with("backslash");
            // Where a backslash stands for itself, a node is asked for it encoded, and it is no way into `/internal`.
            let is_harmless = is_odd
                && seen
                    .target
                    .as_deref()
                    .is_some_and(|target| target.starts_with("/a%5C"));
            assert!(
                seen.is_refused() || is_harmless,
                "{proxy}, {what}: {seen:?}"
            );
        }
        // A path is bytes: who takes such requests may have them answered.
        let raw = b"GET /caf\xe9.jpg HTTP/1.1\r\nHost: www.example.com\r\n\r\n";
        let mut connection = Connection::tcp(proxy.http1).unwrap();
        connection.send(raw).unwrap();
        let seen = Seen::from(connection.reply().ok());
        match seen.status {
            200 => assert_eq!(seen.target.as_deref(), Some("/caf%E9.jpg"), "{proxy}"),
            _ => assert!(seen.is_refused(), "{proxy}: {seen:?}"),
        }
        if proxy.name == "nginx" {
            assert_eq!(seen.status, 200, "{seen:?}");
        }
        // All of it is the clients' fault, and none the sidecar's.
        assert_eq!(proxy.named("/hello", &client(0)).len(), 5);
    }
}

#[test]
fn other_listeners_are_no_way_round() {
    for mut proxy in all("other_listeners_are_no_way_round") {
        let asker = client(2);
        let node = proxy.named("/object/4", &asker);
        let headers = [("Host", HOST), ("X-Forwarded-For", &*asker)];
        let connect = |unix: bool| match unix {
            true => proxy
                .unix
                .as_deref()
                .map(|path| Connection::unix(path).unwrap()),
            false => proxy.ipv6.map(|address| Connection::tcp(address).unwrap()),
        };
        for is_unix in [true, false] {
            let Some(mut connection) = connect(is_unix) else {
                continue;
            };
            let seen = Seen::from(connection.get("/object/4", &headers).ok());
            let what = format!("{proxy}, a Unix socket: {is_unix}: {seen:?}");
            assert_eq!(seen.status, 200, "{what}");
            // nginx was told to believe what comes over the socket; nobody was told to believe `::1`.
            if is_unix && proxy.name == "nginx" || proxy.name.ends_with("yaml") {
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
            let asked = seen.target.unwrap_or_default();
            let asked = match proxy.name {
                "nginx" | "haproxy" => asked,
                _ => asked
                    .replace("%c3%a9", "%C3%A9")
                    .replace("%7e", "~")
                    .replace("%7E", "~"),
            };
            assert_eq!(asked, wanted, "{proxy} {target}");
        }
        let nodes: std::collections::BTreeSet<_> = named.values().collect();
        assert!(nodes.len() > 1, "objects are spread: {nodes:?}");
        // One object, one entry in one cache.
        let misses: u64 = proxy
            .rig
            .nodes
            .counts()
            .iter()
            .map(|node| node.requests - node.hits)
            .sum();
        let objects = named.len() as u64;
        if matches!(proxy.name, "nginx" | "haproxy") {
            assert_eq!(misses, objects, "{proxy}");
        }
    }
}
