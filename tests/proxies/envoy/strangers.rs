//! What clients cannot do: choose their node, blame a decision on another, or get through what is no request.

use super::traffic::{self, Visit};
use super::{Envoy, TELL_THE_LIST};
use crate::http::request;
use crate::rig::{Asker, Setup, addresses};
use crate::visits::{HOST, client};

#[test]
fn envoy_lets_no_client_choose() {
    for config in ["envoy.yaml", "ext_proc.yaml"] {
        let test = "envoy_lets_no_client_choose";
        let Some(envoy) = Envoy::start_with(test, config, &[TELL_THE_LIST], Setup::default())
        else {
            return;
        };
        lets_no_client_choose(&envoy);
    }
}

pub(super) fn lets_no_client_choose(envoy: &Envoy) {
    let mut grpc = Asker::of(&envoy.rig.sidecar);
    let (path, asker) = ("/object/5", client(0));
    let order = addresses(&grpc.decide((HOST, path), &asker));
    let other = grpc
        .decide((HOST, path), &client(1))
        .candidates
        .remove(0)
        .address;
    assert_ne!(order[0], other);
    let mut proxy = envoy.connect();
    for (name, value) in [
        ("x-gateway-destination-endpoint", &*other),
        ("X-Gateway-Destination-Endpoint", &*other),
        ("x-gateway-destination-endpoint-subset", &*other),
        ("x-gateway-destination-endpoint-served", &*other),
        ("x-envoy-original-dst-host", &*other),
        ("x-envoy-external-address", &*client(1)),
        ("x-envoy-upstream-rq-per-try-timeout-ms", "1"),
        ("x-envoy-upstream-rq-timeout-ms", "1"),
        ("x-envoy-max-retries", "9"),
        ("x-tradewind-pool", "nowhere"),
        ("x-tradewind-candidates", "9"),
        ("x-tradewind-client-header", "x-chosen"),
        ("x-decision-id", "0123456789abcdef"),
        ("x-request-id", &*"r".repeat(200)),
    ] {
        let headers = [("Host", HOST), ("X-Forwarded-For", &*asker), (name, value)];
        let answer = proxy.get(path, &headers).unwrap();
        assert_eq!(answer.status, 200, "{name}: {answer:?}");
        assert_eq!(answer.header("x-listed"), Some(&*order.join(",")), "{name}");
        let node = envoy.rig.node_at(&order[0]);
        assert_eq!(answer.header("x-node"), Some(&*node), "{name}");
    }
    // What the policy refuses stays refused.
    let refused = proxy.get(
        "/internal/a",
        &[("Host", HOST), ("x-gateway-destination-endpoint", &*other)],
    );
    let refused = refused.unwrap();
    assert_eq!(refused.status, 403, "{refused:?}");
    assert_eq!(refused.header("x-route-reason"), Some("refused_by_rule"));
}

#[test]
fn nobody_chooses_when_the_sidecar_is_gone_either() {
    let test = "nobody_chooses_when_the_sidecar_is_gone_either";
    let Some(mut envoy) = Envoy::start(test) else {
        return;
    };
    envoy.rig.sidecar.kill();
    let other = envoy.rig.nodes.address("waw-3").unwrap().to_string();
    let mut proxy = envoy.connect();
    let headers = [("Host", HOST), ("x-gateway-destination-endpoint", &*other)];
    let nodes = (0..40).map(|_| {
        proxy
            .get("/object/1", &headers)
            .unwrap()
            .header("x-node")
            .map(str::to_owned)
    });
    let chosen = nodes
        .filter(|node| node.as_deref() == Some("waw-3"))
        .count();
    assert!(
        chosen < 30,
        "{chosen} of 40 requests went where the client wanted"
    );
}

#[test]
fn envoy_refuses_what_is_no_request() {
    let test = "envoy_refuses_what_is_no_request";
    let Some(envoy) = Envoy::start_with(test, "envoy.yaml", &[TELL_THE_LIST], Setup::default())
    else {
        return;
    };
    let status = |bytes: &[u8]| {
        let mut connection = envoy.connect();
        drop(connection.send(bytes));
        connection.reply().map_or(0, |reply| reply.status)
    };
    let long = "v".repeat(70_000);
    for (what, bytes, wanted) in [
        (
            "a long header",
            request("GET", "/a", &[("a", &long)], b""),
            431,
        ),
        (
            "a long target",
            request("GET", &format!("/{long}"), &[], b""),
            431,
        ),
        (
            "a CR in the name of a header",
            b"GET /a HTTP/1.1\r\nHost: a\r\nb\rc: 1\r\n\r\n".to_vec(),
            400,
        ),
        (
            "a bare CR in the target",
            b"GET /a\rb HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
            400,
        ),
        (
            "a zero byte",
            b"GET /a HTTP/1.1\r\nHost: a\r\nb: \0\r\n\r\n".to_vec(),
            400,
        ),
    ] {
        assert_eq!(status(&bytes), wanted, "{what}");
    }
}

#[test]
fn line_ends_make_no_headers_for_envoy() {
    let test = "line_ends_make_no_headers_for_envoy";
    let Some(envoy) = Envoy::start_with(test, "envoy.yaml", &[TELL_THE_LIST], Setup::default())
    else {
        return;
    };
    // A lone CR in a value is dropped by Envoy, a lone LF ends a line: neither makes a header that counts.
    let mut proxy = envoy.connect();
    for end in ["\r", "\n", "\r\n "] {
        let smuggled = "x-gateway-destination-endpoint: 127.0.0.1:1";
        let odd = format!("GET /a HTTP/1.1\r\nHost: {HOST}\r\nb: 1{end}{smuggled}\r\n\r\n");
        proxy.send(odd.as_bytes()).unwrap();
        let answer = proxy.reply().unwrap();
        assert_eq!(answer.status, 200, "{end:?}: {answer:?}");
        assert_eq!(answer.header("x-attempts"), Some("1"), "{end:?}");
        let listed = answer.header("x-listed").unwrap();
        assert!(
            listed.split(',').count() == 3 && !listed.contains("127.0.0.1:1,"),
            "{end:?}: {listed}"
        );
    }
    // Encoded line ends stay encoded: they are a part of the object's name.
    let odd = Visit {
        method: "GET".to_owned(),
        target: "/object/%0d%0ax-gateway-destination-endpoint:%20127.0.0.1:1".to_owned(),
        client: client(0),
    };
    let seen = traffic::visit(&envoy, &mut proxy, &odd);
    assert!(
        seen.status == 200 && seen.listed.first() == Some(&seen.node),
        "{seen:?}"
    );
    // What Envoy takes and the sidecar does not is refused: nobody gets past a rule by sending what cannot be read.
    let long = Visit {
        target: format!("/{}", "a".repeat(9_000)),
        ..odd
    };
    let seen = traffic::visit(&envoy, &mut proxy, &long);
    assert!(
        seen.status == 414 && seen.node.is_empty(),
        "{} {:?}",
        seen.status,
        seen.node
    );
}
