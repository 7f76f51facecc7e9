//! gRPC calls through Envoy, whose answers are 200 whatever came of them.

use super::{Envoy, PATIENT, TELL_NOTHING, TELL_THE_LIST};
use crate::grpc_nodes::GrpcNodes;
use crate::http2::Http2;
use crate::rig::Setup;
use crate::tools::note;
use crate::visits::{HOST, client};

/// Has Envoy speak HTTP/2 to nodes.
const HTTP2: (&str, &str) = (
    "  - name: cache_nodes\n    type: STATIC\n",
    "  - name: cache_nodes
    type: STATIC
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        \"@type\": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: { http2_protocol_options: {} }
",
);

/// How often a failing node may be met before it is left.
const MOST_FAILURES: u64 = 30;

fn a_node_that_fails_calls_is_left(test: &str, config: &str, edits: &[(&str, &str)], status: u16) {
    let nodes = GrpcNodes::start(9);
    let ports = nodes.all.iter().map(|node| node.address.port());
    let setup = Setup {
        elsewhere: (9_001..).zip(ports).collect(),
        ..Setup::default()
    };
    let edits = [&[TELL_THE_LIST, HTTP2][..], edits].concat();
    let Some(mut envoy) = Envoy::start_with(test, config, &edits, setup) else {
        return;
    };
    let mut proxy = Http2::tcp(envoy.address);
    let mut call = |number: usize| {
        let path = format!("/shop.Cart/Get{}", number % 200);
        let headers = [
            ("x-forwarded-for", &*client(0)),
            ("te", "trailers"),
            ("content-type", "application/grpc"),
        ];
        let answer = proxy
            .ask(("POST", HOST, &path), &headers, b"\0\0\0\0\0")
            .unwrap();
        assert_eq!(answer.status, 200);
        let listed = answer.header("x-listed").unwrap();
        listed.split(',').next().unwrap().to_owned()
    };
    let first = call(0);
    let failing = nodes
        .all
        .iter()
        .find(|node| node.address.to_string() == first)
        .unwrap();
    let before = failing.calls();
    failing.answer(status);
    let state = format!(
        "tradewind_breaker_state{{node=\"{}\"}}",
        node_at(&nodes, &first)
    );
    let mut number = 0;
    envoy.process.until("the breaker is open", || {
        number += 1;
        call(number);
        envoy.rig.sidecar.metric(&state) > 1.5
    });
    let failures = failing.calls() - before;
    note(&format!("{test}: left after {failures} failed calls"));
    assert!(failures <= MOST_FAILURES, "{failures}");
    let before = failing.calls();
    for number in 0..100 {
        assert_ne!(call(number), first, "call {number}");
    }
    assert_eq!(failing.calls(), before);
}

/// The name of the node at an address: they stand for the example's, in its order.
fn node_at(nodes: &GrpcNodes, address: &str) -> String {
    let at = nodes
        .all
        .iter()
        .position(|node| node.address.to_string() == address)
        .unwrap();
    format!("{}-{}", ["fra", "mad", "waw"][at / 3], at % 3 + 1)
}

#[test]
fn a_node_that_is_unavailable_in_trailers_is_left() {
    let test = "a_node_that_is_unavailable_in_trailers_is_left";
    a_node_that_fails_calls_is_left(test, "envoy.yaml", &[PATIENT], 14);
}

#[test]
fn ext_proc_alone_leaves_a_node_that_is_unavailable_in_trailers() {
    let test = "ext_proc_alone_leaves_a_node_that_is_unavailable_in_trailers";
    let edits = [
        TELL_NOTHING,
        ("message_timeout: 0.05s", "message_timeout: 2s"),
        ("response_header_mode: SKIP", "response_header_mode: SEND"),
        ("response_trailer_mode: SKIP", "response_trailer_mode: SEND"),
    ];
    a_node_that_fails_calls_is_left(test, "ext_proc.yaml", &edits, 14);
}
