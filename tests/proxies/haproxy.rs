//! HAProxy with the configuration of `examples/haproxy`.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tradewind::sidecar::clock;
use tradewind_demo::nodes::Behaviour;

use crate::front::{Front, Kind};
use crate::http::request;
use crate::rig::{Asker, Setup, addresses};
use crate::tools::Tool;
use crate::visits::{HOST, client, follows, get};

const FILES: [&str; 2] = ["haproxy/haproxy.cfg", "haproxy/route.lua"];

fn haproxy(program: &Path, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(folder).arg("-f").arg("haproxy.cfg");
    command
}

pub(crate) const KIND: Kind = Kind {
    tool: Tool::Haproxy,
    files: &FILES,
    port: 8090,
    command: haproxy,
};

#[test]
fn haproxy_takes_the_configuration() {
    let Some(program) = Tool::Haproxy.path("haproxy_takes_the_configuration") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    crate::places::Places::default().copy(&FILES, folder.path());
    let checked = haproxy(&program, folder.path()).arg("-c").output().unwrap();
    let said = String::from_utf8_lossy(&checked.stderr);
    assert!(
        checked.status.success() && !said.contains("[WARNING]"),
        "{said}"
    );
}

#[test]
fn haproxy_uses_exactly_the_node_that_is_named() {
    let name = "haproxy_uses_exactly_the_node_that_is_named";
    let Some(haproxy) = Front::start_with(&KIND, name, Setup::quick(), |_places, _folder| {})
    else {
        return;
    };
    let mut grpc = Asker::of(&haproxy.rig.sidecar);
    let mut proxy = haproxy.connect();
    let mut used = BTreeSet::new();
    for number in 0..1_000 {
        let (path, client) = (
            format!("/object/{}?v={}", number * 7 % 400, number % 2),
            client(number),
        );
        let answer = get(&mut proxy, &path, &client);
        let decision = grpc.decide((HOST, &path), &client);
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(
            answer.header("x-node"),
            Some(&*decision.candidates[0].node),
            "{path} {client}"
        );
        used.insert(decision.candidates[0].node.clone());
    }
    assert_eq!(used.len(), 9, "all nodes have objects: {used:?}");
    let opened = haproxy
        .rig
        .sidecar
        .metric("tradewind_http_connections_accepted_total");
    assert!(opened < 20.0, "{opened} connections for 1,000 requests");
}

/// That a hundred requests are answered well by any node, each within `most`.
#[track_caller]
fn all_go_well(haproxy: &Front, most: Duration) {
    let mut proxy = haproxy.connect();
    for number in 0..100 {
        let began = clock::now();
        let answer = get(
            &mut proxy,
            &format!("/object/{}", number % 20),
            &client(number),
        );
        let took = began.elapsed();
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(answer.header("x-node").is_some());
        assert!(took < most, "{number} took {took:?}");
    }
}

#[test]
fn haproxy_does_without_a_dead_sidecar() {
    let Some(mut haproxy) = Front::start(&KIND, "haproxy_does_without_a_dead_sidecar") else {
        return;
    };
    haproxy.rig.sidecar.kill();
    all_go_well(&haproxy, Duration::from_secs(1));
    haproxy.rig.sidecar.restart();
    follows(&mut haproxy.process, &haproxy.rig, haproxy.address);
}

#[test]
fn haproxy_does_without_a_frozen_sidecar() {
    let Some(mut haproxy) = Front::start(&KIND, "haproxy_does_without_a_frozen_sidecar") else {
        return;
    };
    follows(&mut haproxy.process, &haproxy.rig, haproxy.address);
    haproxy.rig.sidecar.freeze();
    let began = clock::now();
    all_go_well(&haproxy, Duration::from_secs(1));
    let took = began.elapsed();
    assert!(took < Duration::from_secs(6), "{took:?}");
    haproxy.rig.sidecar.thaw();
    follows(&mut haproxy.process, &haproxy.rig, haproxy.address);
}

#[test]
fn haproxy_goes_elsewhere_only_when_it_cannot_connect() {
    let Some(haproxy) = Front::start(&KIND, "haproxy_goes_elsewhere_only_when_it_cannot_connect")
    else {
        return;
    };
    let mut grpc = Asker::of(&haproxy.rig.sidecar);
    let (path, asker) = ("/object/3", client(0));
    let first = &addresses(&grpc.decide((HOST, path), &asker))[0];
    let named = haproxy.rig.node_at(first);
    assert_eq!(haproxy.get(path, &asker).header("x-node"), Some(&*named));
    // Refused: another server, which HAProxy chooses by itself.
    haproxy.rig.behave(first, Behaviour::Refuse);
    let answer = haproxy.get(path, &asker);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_ne!(answer.header("x-node"), Some(&*named));
    // What a node answers is passed on, and one that does not answer is not asked again elsewhere.
    haproxy.rig.behave(first, Behaviour::Error);
    assert_eq!(haproxy.get(path, &asker).status, 503);
    haproxy.rig.behave(first, Behaviour::Hang);
    assert_eq!(haproxy.get(path, &asker).status, 504);
}

#[test]
fn haproxy_lets_no_client_choose() {
    if let Some(haproxy) = Front::start(&KIND, "haproxy_lets_no_client_choose") {
        no_client_chooses(&haproxy);
    }
}

/// That nothing that a client sends has a part in where it goes.
pub(crate) fn no_client_chooses(haproxy: &Front) {
    let mut grpc = Asker::of(&haproxy.rig.sidecar);
    let (path, asker) = ("/object/5", client(0));
    let decision = grpc.decide((HOST, path), &asker);
    let other = &*grpc.decide((HOST, path), &client(1)).candidates[0].address;
    assert_ne!(decision.candidates[0].address, other);
    let mut proxy = haproxy.connect();
    for (name, value) in [
        ("X-Route-Node", other),
        ("X-Route-Node-Id", &*haproxy.rig.node_at(other)),
        ("x-gateway-destination-endpoint", other),
        ("X-Client-IP", &*client(1)),
        ("X-Original-URI", "/object/77"),
        ("X-Original-Host", "other.example.com"),
        ("X-Route-Pool", "nowhere"),
        ("X-Route-Key", "chosen"),
        ("X-Route-Candidates", "9"),
        ("Accept", "a, b, c"),
    ] {
        let headers = [("Host", HOST), ("X-Forwarded-For", &*asker), (name, value)];
        let answer = proxy.get(path, &headers).unwrap();
        assert_eq!(answer.status, 200, "{name}: {answer:?}");
        assert_eq!(
            answer.header("x-node"),
            Some(&*decision.candidates[0].node),
            "{name}"
        );
        let inside = haproxy.connect().get("/internal/a", &headers).unwrap();
        assert_eq!(inside.status, 403, "{name}");
    }
    // What the sidecar cannot read is not let past its rules.
    let long = format!("/internal/{}", "v".repeat(8_200));
    assert_eq!(haproxy.get(&long, &asker).status, 414);
}

#[test]
fn haproxy_refuses_what_is_no_request() {
    let Some(haproxy) = Front::start(&KIND, "haproxy_refuses_what_is_no_request") else {
        return;
    };
    let long = "v".repeat(40_000);
    for (what, bytes) in [
        ("a long header", request("GET", "/a", &[("a", &long)], b"")),
        (
            "a bare CR in a header",
            b"GET /a HTTP/1.1\r\nHost: a\r\nX-Client-IP: 1\rX: 2\r\n\r\n".to_vec(),
        ),
        (
            "a bare CR in the target",
            b"GET /a\rb HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
        ),
        (
            "a zero byte",
            b"GET /a HTTP/1.1\r\nHost: a\r\nb: \0\r\n\r\n".to_vec(),
        ),
    ] {
        let mut connection = haproxy.connect();
        drop(connection.send(&bytes));
        let status = connection.reply().map_or(0, |reply| reply.status);
        assert!(matches!(status, 400 | 431), "{what}: {status}");
    }
}
