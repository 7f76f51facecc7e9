//! nginx and HAProxy tell how attempts went, by their logs and `tradewind tell`: a failing node is left, hits are known.

use std::time::Duration;

use tradewind::sidecar::clock;
use tradewind_demo::nodes::Behaviour;

use crate::front::{Front, Kind};
use crate::http::Connection;
use crate::rig::{Asker, addresses};
use crate::visits::{HOST, client, get};
use crate::{haproxy, nginx};

/// How often a failing node may be met before it is left.
const MOST_FAILURES: usize = 20;

/// Above this `tradewind_breaker_state` says open (2), not half open (1).
const BREAKER_IS_OPEN: f64 = 1.5;

/// Objects that clients of Frankfurt find at one node, and the node's address.
fn objects_of_one_node(grpc: &mut Asker) -> (String, Vec<String>) {
    let objects = (0..400).map(|number| format!("/object/{number}"));
    let mut own = String::new();
    let objects = objects.filter(|path| {
        let first = addresses(&grpc.decide((HOST, path), &client(0))).remove(0);
        if own.is_empty() {
            own.clone_from(&first);
        }
        own == first
    });
    let objects: Vec<String> = objects.collect();
    assert!(objects.len() > MOST_FAILURES, "{}", objects.len());
    (own, objects)
}

/// How long to wait for word of a failure before the next request: a proxy on a busy machine may not have waited for the
/// sidecar and gone to a node of its own choice, which is well.
const AGAIN_AFTER: Duration = Duration::from_secs(4);

/// Asks for an object until one more failure is told, or the node's breaker has opened by those told before: then the
/// request went elsewhere.
fn fail_once(front: &mut Front, path: &str, failures: &str, state: &str) {
    let address = front.address;
    let ask = || get(&mut Connection::tcp(address).unwrap(), path, &client(0));
    let sidecar = &mut front.rig.sidecar;
    let before = sidecar.metric(failures);
    ask();
    let mut asked = clock::now();
    sidecar.until("the failure is told", |pages| {
        if pages.metric(failures) > before || pages.metric(state) > BREAKER_IS_OPEN {
            return true;
        }
        if asked.elapsed() > AGAIN_AFTER {
            ask();
            asked = clock::now();
        }
        false
    });
}

/// A node fails: its requests are told of, until it is no longer named.
fn a_failing_node_is_left(kind: &Kind, behaviour: Behaviour, result: &str, test: &str) {
    let Some(mut front) = Front::start(kind, test) else {
        return;
    };
    front.tell();
    is_left(front, (behaviour, result), test);
}

/// The same of a proxy that tells.
pub(crate) fn is_left(mut front: Front, (behaviour, result): (Behaviour, &str), test: &str) {
    let mut grpc = Asker::of(&front.rig.sidecar);
    let (first, objects) = objects_of_one_node(&mut grpc);
    let node = front.rig.node_at(&first);
    front.rig.behave(&first, behaviour);
    // One at a time: the next request comes when the sidecar has been told of this one.
    let sample = format!("tradewind_outcomes_total{{result=\"{result}\"}}");
    let state = format!("tradewind_breaker_state{{node=\"{node}\"}}");
    let mut failures = 0;
    for path in &objects {
        if addresses(&grpc.decide((HOST, path), &client(0)))[0] != first {
            break;
        }
        fail_once(&mut front, path, &sample, &state);
        failures += 1;
    }
    let sidecar = &mut front.rig.sidecar;
    sidecar.until("the breaker is open", |pages| {
        pages.metric(&state) > BREAKER_IS_OPEN
    });
    // From now on requests are answered by nodes that are well, without a detour; but for one that did not wait for the
    // sidecar.
    let address = front.address;
    front.process.until("requests go elsewhere", || {
        let mut proxy = Connection::tcp(address).unwrap();
        let answer = get(&mut proxy, &objects[0], &client(0));
        answer.status == 200 && answer.header("x-node") != Some(&*node)
    });
    crate::tools::note(&format!(
        "{test}: the breaker opened after {failures} failures of `{behaviour}`"
    ));
}

#[test]
fn nginx_tells_of_refused_connections_until_the_node_is_left() {
    let test = "nginx_tells_of_refused_connections_until_the_node_is_left";
    a_failing_node_is_left(&nginx::KIND, Behaviour::Refuse, "error", test);
}

#[test]
fn nginx_tells_of_errors_until_the_node_is_left() {
    let test = "nginx_tells_of_errors_until_the_node_is_left";
    a_failing_node_is_left(&nginx::KIND, Behaviour::Error, "error", test);
}

#[test]
fn nginx_tells_of_timeouts_until_the_node_is_left() {
    let test = "nginx_tells_of_timeouts_until_the_node_is_left";
    a_failing_node_is_left(&nginx::KIND, Behaviour::Hang, "timeout", test);
}

#[test]
fn haproxy_tells_of_refused_connections_until_the_node_is_left() {
    let test = "haproxy_tells_of_refused_connections_until_the_node_is_left";
    a_failing_node_is_left(&haproxy::KIND, Behaviour::Refuse, "error", test);
}

#[test]
fn haproxy_tells_of_errors_until_the_node_is_left() {
    let test = "haproxy_tells_of_errors_until_the_node_is_left";
    a_failing_node_is_left(&haproxy::KIND, Behaviour::Error, "error", test);
}

#[test]
fn haproxy_tells_of_timeouts_until_the_node_is_left() {
    let test = "haproxy_tells_of_timeouts_until_the_node_is_left";
    a_failing_node_is_left(&haproxy::KIND, Behaviour::Hang, "timeout", test);
}

/// Every request is told once, with what its node's cache did.
fn hits_are_known(kind: &Kind, test: &str) {
    let Some(mut front) = Front::start(kind, test) else {
        return;
    };
    front.tell();
    all_is_told(front);
}

/// The same of a proxy that tells.
pub(crate) fn all_is_told(mut front: Front) {
    let mut proxy = front.connect();
    for number in 0..300 {
        let path = format!("/object/{}", number % 30);
        let answer = get(&mut proxy, &path, &client(0));
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    // Refused by a rule: no node had a part in it.
    assert_eq!(front.get("/internal/a", &client(0)).status, 403);
    let sidecar = &mut front.rig.sidecar;
    sidecar.until("every attempt is told", |pages| {
        pages.metric("tradewind_outcomes_total{result=\"ok\"}") >= 300.0
    });
    sidecar.until("hit ratios are known", |pages| {
        let nodes = pages.page("/debug/nodes").json();
        let mut nodes = nodes["nodes"].as_array().unwrap().iter();
        nodes.any(|node| node["health"]["hit_ratio"].as_f64() > Some(0.5))
    });
    for reason in ["unknown_node", "undecodable", "unknown_value"] {
        let refused =
            format!("tradewind_reports_refused_total{{kind=\"outcome\",reason=\"{reason}\"}}");
        assert!(sidecar.metric(&refused) < 0.5, "{reason}");
    }
    let others = ["error", "timeout", "reset", "shed"];
    for result in others {
        let sample = format!("tradewind_outcomes_total{{result=\"{result}\"}}");
        assert!(sidecar.metric(&sample) < 0.5, "{result}");
    }
}

#[test]
fn nginx_tells_what_caches_did() {
    hits_are_known(&nginx::KIND, "nginx_tells_what_caches_did");
}

#[test]
fn haproxy_tells_what_caches_did() {
    hits_are_known(&haproxy::KIND, "haproxy_tells_what_caches_did");
}
