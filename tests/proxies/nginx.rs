//! nginx with the configuration of `examples/nginx`.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tradewind::sidecar::clock;
use tradewind_demo::nodes::Behaviour;

use crate::front::{Front, Kind};
use crate::http::request;
use crate::rig::{Asker, Setup, addresses, edit};
use crate::tools::Tool;
use crate::visits::{HOST, client, follows, get};

const FILES: [&str; 3] = ["nginx/nginx.conf", "nginx/nodes.conf", "nginx/nodes.map"];

fn nginx(program: &Path, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .arg("-p")
        .arg(folder)
        .arg("-c")
        .arg(folder.join("nginx.conf"));
    command
}

pub(crate) const KIND: Kind = Kind {
    tool: Tool::Nginx,
    files: &FILES,
    port: 8080,
    command: nginx,
};

#[test]
fn nginx_takes_the_configuration() {
    let Some(program) = Tool::Nginx.path("nginx_takes_the_configuration") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let mut places = crate::places::Places::default();
    places.copy(&FILES, folder.path());
    let tested = nginx(&program, folder.path()).arg("-t").output().unwrap();
    let said = String::from_utf8_lossy(&tested.stderr);
    assert!(
        tested.status.success() && !said.contains("[warn]"),
        "{said}"
    );
}

#[test]
fn nginx_uses_exactly_the_node_that_is_named() {
    let name = "nginx_uses_exactly_the_node_that_is_named";
    let Some(nginx) = Front::start_with(&KIND, name, Setup::quick(), |_places, _folder| {}) else {
        return;
    };
    let mut grpc = Asker::of(&nginx.rig.sidecar);
    let mut http = nginx.rig.sidecar.query();
    let mut proxy = nginx.connect();
    let mut used = std::collections::BTreeSet::new();
    let accepted = || {
        nginx
            .rig
            .sidecar
            .metric("tradewind_http_connections_accepted_total")
    };
    let before = accepted();
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
        let headers = [
            ("Host", HOST),
            ("X-Original-URI", &*path),
            ("X-Client-IP", &*client),
        ];
        let named = http.get("/v1/route", &headers).unwrap();
        assert_eq!(
            named.header("x-route-node"),
            Some(&*decision.candidates[0].address)
        );
        used.insert(decision.candidates[0].node.clone());
    }
    assert_eq!(used.len(), 9, "all nodes have objects: {used:?}");
    // Its pool keeps connections to the sidecar.
    let opened = accepted() - before;
    assert!(opened < 20.0, "{opened} connections for 1,000 requests");
}

#[test]
fn nginx_falls_back_in_the_sidecars_order() {
    let Some(nginx) = Front::start(&KIND, "nginx_falls_back_in_the_sidecars_order") else {
        return;
    };
    let mut grpc = Asker::of(&nginx.rig.sidecar);
    let client = client(0);
    for (number, behaviour) in [Behaviour::Refuse, Behaviour::Error, Behaviour::Hang]
        .into_iter()
        .enumerate()
    {
        let path = format!("/object/{number}");
        let decision = grpc.decide((HOST, &path), &client);
        let order = addresses(&decision);
        assert_eq!(order.len(), 3);
        for (failing, address) in order.iter().enumerate() {
            let answer = nginx.get(&path, &client);
            let wanted = &decision.candidates[failing].node;
            assert_eq!(answer.status, 200, "{behaviour} {failing}: {answer:?}");
            assert_eq!(
                answer.header("x-node"),
                Some(&**wanted),
                "{behaviour} {failing}"
            );
            nginx.rig.behave(address, behaviour);
        }
        // All three fail: nginx does not go on to nodes of its own choice.
        let answer = nginx.get(&path, &client);
        assert!(
            (502..=504).contains(&answer.status),
            "{behaviour}: {answer:?}"
        );
        for address in &order {
            nginx.rig.behave(address, Behaviour::Well);
        }
    }
}

#[test]
fn nginx_tried_every_node_though_its_attempts_were_spent() {
    let test = "nginx_tried_every_node_though_its_attempts_were_spent";
    for most in 1..=3 {
        // In the place of what the sidecar says while further attempts are withheld.
        let told = format!("$route_most   {most};");
        let said = "$route_most   $upstream_http_x_route_max_attempts;";
        let nginx = Front::start_with(&KIND, test, Setup::default(), |_places, folder| {
            edit(&folder.join("nginx.conf"), &[(said, &told)]);
        });
        let Some(nginx) = nginx else { return };
        let decision = Asker::of(&nginx.rig.sidecar).decide((HOST, "/a"), &client(0));
        for (failing, address) in addresses(&decision).iter().enumerate() {
            let answer = nginx.get("/a", &client(0));
            let is_spent = failing >= most;
            assert_eq!(
                answer.status == 502,
                is_spent,
                "{most} {failing}: {answer:?}"
            );
            nginx.rig.behave(address, Behaviour::Refuse);
        }
    }
}

#[test]
fn nginx_passes_a_nodes_own_answer_on() {
    let Some(nginx) = Front::start(&KIND, "nginx_passes_a_nodes_own_answer_on") else {
        return;
    };
    // What the policy refuses is refused, and what the sidecar cannot read is not let past its rules.
    assert_eq!(nginx.get("/internal/a", &client(0)).status, 403);
    let long = format!("/internal/a?{}", "q".repeat(8_150));
    assert_eq!(nginx.get(&long, &client(0)).status, 403);
    let unreadable = nginx.get("/object/%00", &client(0));
    assert_eq!(unreadable.status, 400, "{unreadable:?}");
    // A node's own 403 is passed on like any other of its answers: it is not taken for ours.
    let posted = nginx
        .connect()
        .ask(("POST", "/object/1"), &[("Host", HOST)], b"body");
    let posted = posted.unwrap();
    assert_eq!(
        (posted.status, posted.header("x-route-reason")),
        (405, None)
    );
    let asked = nginx
        .connect()
        .ask(("HEAD", "/object/1"), &[("Host", HOST)], b"");
    assert_eq!(asked.unwrap().status, 200);
}

/// That a hundred requests are answered well by any node, each within `most`, and how long the slowest took.
#[track_caller]
fn all_go_well(nginx: &Front, most: Duration) -> Duration {
    let mut proxy = nginx.connect();
    let mut slowest = Duration::ZERO;
    for number in 0..100 {
        let began = clock::now();
        let path = format!("/object/{}", number % 20);
        let answer = get(&mut proxy, &path, &client(number));
        let took = began.elapsed();
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(answer.header("x-node").is_some());
        assert!(took < most, "{number} took {took:?}");
        slowest = slowest.max(took);
    }
    slowest
}

#[test]
fn nginx_does_without_a_dead_sidecar() {
    let Some(mut nginx) = Front::start(&KIND, "nginx_does_without_a_dead_sidecar") else {
        return;
    };
    nginx.rig.sidecar.kill();
    all_go_well(&nginx, Duration::from_secs(1));
    // Without a sidecar an object still has one node.
    let first = nginx
        .get("/object/1", &client(0))
        .header("x-node")
        .map(str::to_owned);
    for number in 0..10 {
        let answer = nginx.get("/object/1", &client(number));
        assert_eq!(answer.header("x-node"), first.as_deref());
    }
    nginx.rig.sidecar.restart();
    follows(&mut nginx.process, &nginx.rig, nginx.address);
}

#[test]
fn nginx_does_without_a_frozen_sidecar() {
    let Some(mut nginx) = Front::start(&KIND, "nginx_does_without_a_frozen_sidecar") else {
        return;
    };
    nginx.get("/object/1", &client(0));
    nginx.rig.sidecar.freeze();
    let began = clock::now();
    let slowest = all_go_well(&nginx, Duration::from_secs(1));
    let took = began.elapsed();
    // A few requests wait for it, the others do not even ask; a miss at a node takes 20 ms.
    assert!(slowest >= Duration::from_millis(90), "{slowest:?}");
    assert!(took < Duration::from_secs(6), "{took:?}");
    nginx.rig.sidecar.thaw();
    follows(&mut nginx.process, &nginx.rig, nginx.address);
}

#[test]
fn nginx_lets_no_client_choose() {
    let Some(nginx) = Front::start(&KIND, "nginx_lets_no_client_choose") else {
        return;
    };
    no_client_chooses(&nginx);
    // The location that asks the sidecar is not for clients.
    assert_eq!(nginx.get("/_route", &client(0)).status, 403);
}

/// That nothing that a client sends has a part in where it goes.
pub(crate) fn no_client_chooses(nginx: &Front) {
    let mut grpc = Asker::of(&nginx.rig.sidecar);
    let (path, asker) = ("/object/5", client(0));
    let decision = grpc.decide((HOST, path), &asker);
    let elsewhere = grpc.decide((HOST, path), &client(1));
    let other = &*elsewhere.candidates[0].address;
    assert_ne!(decision.candidates[0].address, other);
    let mut proxy = nginx.connect();
    for (name, value) in [
        ("X-Route-Node", other),
        ("X-Route-Fallback-1", other),
        ("x-gateway-destination-endpoint", other),
        ("X-Client-IP", &*client(1)),
        ("X-Real-IP", &*client(1)),
        ("X_Client_IP", &*client(1)),
        ("X-Original-URI", "/object/77"),
        ("X-Original-Host", "other.example.com"),
        ("X-Original-Method", "PURGE"),
        ("X-Route-Pool", "nowhere"),
        ("X-Route-Key", "chosen"),
        ("X-Route-Candidates", "9"),
        ("X-Decision-Id", "0123456789abcdef"),
        ("X-Request-Id", &*"r".repeat(200)),
        ("Content-Length", "0"),
    ] {
        let headers = [("Host", HOST), ("X-Forwarded-For", &*asker), (name, value)];
        let answer = proxy.get(path, &headers).unwrap();
        assert_eq!(answer.status, 200, "{name}: {answer:?}");
        assert_eq!(
            answer.header("x-node"),
            Some(&*decision.candidates[0].node),
            "{name}"
        );
        let inside = proxy.get("/internal/a", &headers).unwrap();
        assert_eq!(inside.status, 403, "{name}");
    }
}

#[test]
fn nginx_refuses_what_is_no_request() {
    let Some(nginx) = Front::start(&KIND, "nginx_refuses_what_is_no_request") else {
        return;
    };
    let status = |bytes: &[u8]| {
        let mut connection = nginx.connect();
        drop(connection.send(bytes));
        connection.reply().map_or(0, |reply| reply.status)
    };
    let long = "v".repeat(9_000);
    for (what, bytes, statuses) in [
        (
            "a long header",
            request("GET", "/a", &[("a", &long)], b""),
            [400, 431],
        ),
        (
            "a long target",
            request("GET", &format!("/{long}"), &[], b""),
            [414, 414],
        ),
        (
            "a bare CR in a header",
            b"GET /a HTTP/1.1\r\nHost: a\r\nX-Client-IP: 1\rX: 2\r\n\r\n".to_vec(),
            [400, 400],
        ),
        (
            "a bare CR in the target",
            b"GET /a\rb HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
            [400, 400],
        ),
        (
            "a zero byte",
            b"GET /a HTTP/1.1\r\nHost: a\r\nb: \0\r\n\r\n".to_vec(),
            [400, 400],
        ),
    ] {
        let answered = status(&bytes);
        assert!(statuses.contains(&answered), "{what}: {answered}");
    }
    // Encoded line ends stay encoded: they are a part of the object's name.
    let answer = nginx.get("/object/%0d%0aX-Route-Node:%20127.0.0.1:1", &client(0));
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("x-route-node"), None);
}
