//! Nodes on real sockets, well and badly behaved.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::*;
use tradewind_engine::topology;

/// How long a test waits for what must not come, or must.
const PATIENCE: Duration = Duration::from_millis(1_500);

fn two() -> Nodes {
    let plans = [
        NodePlan::on_any_port("fra-1", "FRA"),
        NodePlan::on_any_port("ams-1", "AMS"),
    ];
    let options = NodeOptions {
        miss: Duration::from_millis(5),
        ..NodeOptions::default()
    };
    Nodes::start(&plans, options).unwrap()
}

/// A connection that is kept; each request is answered before the next.
struct Peer(TcpStream);

impl Peer {
    fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self(stream))
    }

    /// The head of the answer, in lower case, and the length of its body.
    fn ask(&mut self, method: &str, target: &str) -> io::Result<(String, usize)> {
        let head = format!("{method} {target} HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n");
        self.0.write_all(head.as_bytes())?;
        let mut text = Vec::new();
        while !text.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.0.read_exact(&mut byte)?;
            text.push(byte[0]);
        }
        let text = String::from_utf8(text).unwrap().to_lowercase();
        let length = text.split("content-length: ").nth(1);
        let length = length.map_or(0, |rest| rest.lines().next().unwrap().parse().unwrap());
        let mut body = vec![0; length];
        self.0.read_exact(&mut body)?;
        Ok((text, length))
    }
}

#[test]
fn a_node_answers_who_it_is_and_what_its_cache_did_on_one_connection() {
    let nodes = two();
    let mut peer = Peer::connect(nodes.address("ams-1").unwrap()).unwrap();
    let (first, length) = peer.ask("GET", "/a?x=1").unwrap();
    assert!(first.starts_with("http/1.1 200"), "{first}");
    for header in [
        "x-node: ams-1\r\n",
        "x-site: ams\r\n",
        "x-cache: miss\r\n",
        "x-target: /a?x=1\r\n",
        "endpoint-load-metrics: text cpu_utilization=0.001,named_metrics.hit_ratio=0.000\r\n",
    ] {
        assert!(first.contains(header), "{header} in {first}");
    }
    assert_eq!(length, 100);
    let (second, _) = peer.ask("GET", "/a?x=1").unwrap();
    let (other, _) = peer.ask("GET", "/a?x=2").unwrap();
    assert!(second.contains("x-cache: hit") && other.contains("x-cache: miss"));
    let (checked, _) = peer.ask("GET", HEALTH_PATH).unwrap();
    assert!(checked.starts_with("http/1.1 200"), "{checked}");
    let (posted, _) = peer.ask("POST", "/a").unwrap();
    assert!(posted.starts_with("http/1.1 405") && posted.contains("allow: get, head"));
    let counts = nodes.counts();
    assert_eq!((counts[0].requests, counts[1].requests), (0, 4));
    assert_eq!(counts[1].hits, 1);
}

#[test]
fn a_cache_forgets_what_was_not_asked_for_longest() {
    let options = NodeOptions {
        miss: Duration::ZERO,
        cache_objects: 2,
        body_bytes: 0,
        ..NodeOptions::default()
    };
    let nodes = Nodes::start(&[NodePlan::on_any_port("a", "A")], options).unwrap();
    let mut peer = Peer::connect(nodes.address("a").unwrap()).unwrap();
    let mut hits = Vec::new();
    for object in ["/1", "/2", "/1", "/3", "/2", "/1"] {
        let (head, length) = peer.ask("GET", object).unwrap();
        assert_eq!(length, 0);
        hits.push(head.contains("x-cache: hit"));
    }
    assert_eq!(hits, [false, false, true, false, false, false]);
}

#[test]
fn a_slow_node_takes_longer_and_a_failing_one_says_so_at_once() {
    let nodes = two();
    let mut peer = Peer::connect(nodes.address("fra-1").unwrap()).unwrap();
    nodes.behave("fra-1", Behaviour::Slow).unwrap();
    let began = tradewind_sidecar::clock::now();
    assert!(peer.ask("GET", "/a").unwrap().0.contains("200 ok"));
    assert!(began.elapsed() >= Duration::from_millis(200));
    nodes.behave("fra-1", Behaviour::Error).unwrap();
    let (failed, _) = peer.ask("GET", "/a").unwrap();
    assert!(failed.starts_with("http/1.1 503") && failed.contains("x-node: fra-1"));
    let (checked, _) = peer.ask("GET", HEALTH_PATH).unwrap();
    assert!(checked.starts_with("http/1.1 503"), "{checked}");
    assert_eq!(nodes.counts()[0].behaviour, Behaviour::Error);
    nodes.behave("fra-1", Behaviour::Shed).unwrap();
    let (shed, _) = peer.ask("GET", "/a").unwrap();
    assert!(shed.starts_with("http/1.1 429"), "{shed}");
    assert_eq!(nodes.counts()[0].requests, 3);
    assert_eq!(nodes.counts()[1].behaviour, Behaviour::Well);
}

#[test]
fn an_origin_does_badly_whichever_node_asks() {
    let options = NodeOptions {
        miss: Duration::from_millis(5),
        slow_origin: Duration::from_millis(300),
        ..NodeOptions::default()
    };
    let plans = ["a", "b"].map(|id| NodePlan::on_any_port(id, "A"));
    let nodes = Nodes::start(&plans, options).unwrap();
    for id in ["a", "b"] {
        let mut peer = Peer::connect(nodes.address(id).unwrap()).unwrap();
        for _ in 0..2 {
            let (failed, _) = peer.ask("GET", "/origin/failing/1").unwrap();
            assert!(
                failed.starts_with("http/1.1 500") && failed.contains("x-cache: miss"),
                "{failed}"
            );
        }
        for (cache, slow) in [("x-cache: miss", true), ("x-cache: hit", false)] {
            let began = tradewind_sidecar::clock::now();
            let (served, _) = peer.ask("GET", "/origin/slow/1").unwrap();
            assert!(
                served.starts_with("http/1.1 200") && served.contains(cache),
                "{served}"
            );
            assert_eq!(began.elapsed() >= Duration::from_millis(300), slow);
        }
    }
}

#[test]
fn a_hanging_node_accepts_and_cuts_off_once_it_is_well() {
    let nodes = two();
    nodes.behave("fra-1", Behaviour::Hang).unwrap();
    let address = nodes.address("fra-1").unwrap();
    let mut peer = Peer::connect(address).unwrap();
    peer.0
        .set_read_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    let kind = peer.ask("GET", "/a").unwrap_err().kind();
    assert!(matches!(
        kind,
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    ));
    nodes.behave("fra-1", Behaviour::Well).unwrap();
    peer.0.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(
        peer.0.read(&mut [0; 64]).unwrap_or(0),
        0,
        "it ends unanswered"
    );
    let mut next = Peer::connect(address).unwrap();
    assert!(next.ask("GET", "/a").unwrap().0.starts_with("http/1.1 200"));
}

#[test]
fn a_refusing_node_closes_everything_until_it_is_well() {
    let nodes = two();
    let address = nodes.address("fra-1").unwrap();
    let mut peer = Peer::connect(address).unwrap();
    peer.ask("GET", "/a").unwrap();
    for _ in 0..3 {
        nodes.behave("fra-1", Behaviour::Refuse).unwrap();
        // Twice is the same as once.
        nodes.behave("fra-1", Behaviour::Refuse).unwrap();
        assert!(
            peer.ask("GET", "/a").is_err(),
            "open connections are closed"
        );
        let refused = Peer::connect(address).err().map(|error| error.kind());
        assert_eq!(refused, Some(io::ErrorKind::ConnectionRefused));
        nodes.behave("fra-1", Behaviour::Well).unwrap();
        peer = Peer::connect(address).unwrap();
        assert!(peer.ask("GET", "/a").unwrap().0.contains("x-cache: hit"));
    }
}

#[test]
fn nodes_that_end_leave_their_ports() {
    let nodes = two();
    let address = nodes.address("fra-1").unwrap();
    let again = NodePlan {
        address,
        ..NodePlan::on_any_port("b", "B")
    };
    let taken = Nodes::start(std::slice::from_ref(&again), NodeOptions::default()).unwrap_err();
    let text = taken.to_string();
    assert!(
        text.contains("node `b` cannot listen on 127.0.0.1:"),
        "{text}"
    );
    nodes.stop();
    assert!(Peer::connect(address).is_err());
    Nodes::start(&[again], NodeOptions::default()).unwrap();
}

#[test]
fn what_cannot_be_started_is_named() {
    let far = |id: &str, address: &str| NodePlan {
        address: address.parse().unwrap(),
        ..NodePlan::on_any_port(id, "A")
    };
    let plans = [
        far("a", "0.0.0.0:1"),
        far("b", "127.0.0.9:0"),
        far("c", "10.0.0.1:1"),
    ];
    let text = Nodes::start(&plans, NodeOptions::default())
        .unwrap_err()
        .to_string();
    assert!(text.ends_with("a (0.0.0.0:1), c (10.0.0.1:1)"), "{text}");
    let twice = [far("a", "127.0.0.1:0"), far("a", "127.0.0.1:0")];
    let text = Nodes::start(&twice, NodeOptions::default())
        .unwrap_err()
        .to_string();
    assert_eq!(text, "node `a` is planned twice, must be once");

    let document = "apiVersion: tradewind/v1\nkind: Topology\nspec:\n  sites:\n  - {id: FRA, lat: 50, lon: 8}\n  nodes:\n  \
                    - {id: a, site: FRA, address: \"127.0.0.2:81\"}\n  - {id: b, site: FRA, address: \"10.0.0.1:80\"}\n  \
                    - {id: c, site: FRA, address: \"cache.example.net:80\"}\n";
    let topology = topology::compile("t", document).topology.unwrap();
    let text = NodePlan::of_topology(&topology).unwrap_err().to_string();
    assert!(
        text.ends_with("b (10.0.0.1:80), c (cache.example.net:80)"),
        "{text}"
    );
}

/// One request to the control door: status and body.
fn control(door: SocketAddr, method: &str, target: &str) -> (u16, serde_json::Value) {
    let mut stream = TcpStream::connect(door).unwrap();
    let head = format!("{method} {target} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let status = text.split(' ').nth(1).unwrap().parse().unwrap();
    let body = text.split("\r\n\r\n").nth(1).unwrap();
    (status, serde_json::from_str(body).unwrap_or_default())
}

#[test]
fn the_control_door_counts_commands_and_explains_itself() {
    let nodes = two();
    let door = nodes.open_control("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = nodes.address("ams-1").unwrap();
    Peer::connect(address).unwrap().ask("GET", "/a").unwrap();
    let (status, list) = control(door, "GET", "/nodes");
    assert_eq!(status, 200);
    assert_eq!(
        list[1],
        serde_json::json!({
            "id": "ams-1", "site": "AMS", "address": address, "requests": 1, "hits": 0, "behaviour": "well"
        })
    );
    let (status, _) = control(door, "POST", "/nodes/ams-1?behaviour=refuse");
    assert_eq!(status, 200);
    assert!(Peer::connect(address).is_err());
    assert_eq!(nodes.counts()[1].behaviour, Behaviour::Refuse);
    for (method, target, expected, message) in [
        (
            "POST",
            "/nodes/x?behaviour=well",
            404,
            "no node `x`, must be one of fra-1, ams-1",
        ),
        (
            "POST",
            "/nodes/ams-1?behaviour=bad",
            400,
            "must be one of well, slow, error, shed, hang, refuse",
        ),
        ("POST", "/nodes/ams-1", 400, "`` is not a behaviour"),
        ("GET", "/", 404, "no such page"),
    ] {
        let (status, body) = control(door, method, target);
        let error = body["error"].as_str().unwrap();
        assert!(
            status == expected && error.contains(message),
            "{target}: {status} {error}"
        );
    }
    let far = nodes
        .open_control("0.0.0.0:0".parse().unwrap())
        .unwrap_err();
    assert!(far.to_string().contains("the control door (0.0.0.0:0)"));
}
