//! One reading of every request: however a client spells it, rules and nodes see the same path, and what may not pass does
//! not. The same requests go through nginx, HAProxy and Envoy (both filters), over HTTP/1.1 and HTTP/2.
//!
//! Here proxies wait for the sidecar as long as it takes: a busy machine must not look like one that lets requests pass.

mod refused;
mod served;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use tempfile::TempDir;

use crate::envoy::Envoy;
use crate::front::Front;
use crate::http::{Connection, Reply};
use crate::http2::Http2;
use crate::ports::free_port;
use crate::rig::{Asker, Rig, Setup};
use crate::visits::HOST;
use crate::{haproxy, nginx};

/// A rule that looks at a header and one that only Spain may serve, beside the one for `/internal`.
const RULES: (&str, &str) = (
    "    - name: everything\n",
    "    - name: beta
      owner: you
      rollback: remove the rule
      match:
        headers: [{ name: x-beta, exact: \"1\" }]
      action: refuse
    - name: fenced
      owner: you
      rollback: remove the rule
      match:
        paths: [{ value: /fenced }]
      geofence: [ES]
      pools: [edge]
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
    /// Holds Envoy's socket.
    _folder: Option<TempDir>,
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
        let more = bind.replace('\n', &format!("\n  {unix}\n  {ipv6}\n"));
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
        _folder: None,
    }
}

fn envoy(test: &str, config: &'static str) -> Option<Proxy> {
    let (folder, port) = (tempfile::tempdir().unwrap(), ipv6_port());
    let unix = folder.path().join("in.sock");
    let mut more = vec![format!("{{ pipe: {{ path: \"{}\" }} }}", unix.display())];
    more.extend(
        port.map(|port| {
            format!("{{ socket_address: {{ address: \"::1\", port_value: {port} }} }}")
        }),
    );
    let more: Vec<String> = more
        .iter()
        .map(|address| format!("{{ address: {address} }}"))
        .collect();
    let listener = format!(
        "    additional_addresses: [{}]\n    filter_chains:\n",
        more.join(", ")
    );
    let patience = match config {
        "envoy.yaml" => (
            "timeout: 0.05s\n                initial",
            "timeout: 10s\n                initial",
        ),
        _ => ("message_timeout: 0.05s", "message_timeout: 10s"),
    };
    let edits = [
        ("    filter_chains:\n", &*listener),
        patience,
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
        unix: Some(unix),
        ipv6: port.map(|port| (std::net::Ipv6Addr::LOCALHOST, port).into()),
        _running: process,
        _folder: Some(folder),
    })
}

fn setup() -> Setup {
    Setup {
        policy: vec![RULES],
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

/// Both.
const VERSIONS: [Version; 2] = [Version::Http1, Version::Http2];
