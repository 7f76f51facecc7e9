//! `ext_proc` instead of `ext_authz`: the endpoint-picker protocol, with a real Envoy.

use std::collections::BTreeSet;

use tradewind::demo::nodes::Behaviour;

use super::traffic;
use super::{Envoy, TELL_THE_LIST};
use crate::rig::{Asker, Setup, addresses};
use crate::visits::{HOST, client, follows};

#[track_caller]
fn start(test: &str) -> Option<Envoy> {
    Envoy::start_with(test, "ext_proc.yaml", &[TELL_THE_LIST], Setup::default())
}

#[test]
fn ext_proc_names_the_same_nodes_and_envoy_walks_them() {
    let Some(envoy) = start("ext_proc_names_the_same_nodes_and_envoy_walks_them") else {
        return;
    };
    let mut grpc = Asker::of(&envoy.rig.sidecar);
    let seen = traffic::all(&envoy, &traffic::made_up(1_000), 4);
    for one in &seen {
        let decision = grpc.decide((HOST, &one.visit.target), &one.visit.client);
        assert_eq!(addresses(&decision), one.listed, "{:?}", one.visit);
        assert_eq!(
            (one.listed.first(), one.attempts),
            (Some(&one.node), 1),
            "{one:?}"
        );
    }
    let used: BTreeSet<&String> = seen.iter().map(|one| &one.node).collect();
    assert_eq!(used.len(), 9, "{used:?}");
    traffic::walk_the_list(&envoy, &traffic::made_up(1)[0], Behaviour::Refuse);
}

#[test]
fn bodies_pass_through_ext_proc() {
    let test = "bodies_pass_through_ext_proc";
    let headers_only = "request_header_mode: SEND\n";
    for mode in ["STREAMED", "FULL_DUPLEX_STREAMED", "BUFFERED"] {
        let everything = format!(
            "request_header_mode: SEND\n                request_body_mode: {mode}\n                response_body_mode: {mode}\n"
        );
        let edits = [
            TELL_THE_LIST,
            (headers_only, &everything),
            ("response_header_mode: SKIP", "response_header_mode: SEND"),
            ("request_trailer_mode: SKIP", "request_trailer_mode: SEND"),
            ("response_trailer_mode: SKIP", "response_trailer_mode: SEND"),
        ];
        let Some(envoy) = Envoy::start_with(test, "ext_proc.yaml", &edits, Setup::default()) else {
            return;
        };
        let mut proxy = envoy.connect();
        let asker = client(0);
        let headers = [("Host", HOST), ("X-Forwarded-For", &*asker)];
        let sent = || envoy.stat("cluster.cache_nodes.upstream_cx_tx_bytes_total");
        let before = sent();
        let body = vec![b'x'; 30_000];
        // A demo node answers GET only, but reads what it is sent.
        let answer = proxy.ask(("POST", "/object/1"), &headers, &body).unwrap();
        assert_eq!(answer.status, 405, "{mode}: {answer:?}");
        assert!(answer.header("x-node").is_some() && answer.header("x-listed").is_some());
        assert!(
            sent() - before >= 30_000,
            "{mode}: {} bytes",
            sent() - before
        );
        let answer = proxy.get("/object/1", &headers).unwrap();
        assert_eq!(
            (answer.status, answer.body.len()),
            (200, 100),
            "{mode}: {answer:?}"
        );
    }
}

#[test]
fn the_node_that_served_is_told_by_ext_proc() {
    let test = "the_node_that_served_is_told_by_ext_proc";
    // No access log: what is told comes with the answer's headers.
    let edits = [
        TELL_THE_LIST,
        ("log_name: attempts", "log_name: unheard"),
        ("response_header_mode: SKIP", "response_header_mode: SEND"),
    ];
    let Some(mut envoy) = Envoy::start_with(test, "ext_proc.yaml", &edits, Setup::default()) else {
        return;
    };
    let seen = traffic::all(&envoy, &traffic::made_up(100), 1);
    assert!(
        seen.iter()
            .all(|one| one.status == 200 && one.attempts == 1)
    );
    let sidecar = &mut envoy.rig.sidecar;
    sidecar.until("all outcomes are told", |pages| {
        pages.metric("tradewind_outcomes_total{result=\"ok\"}") >= 100.0
    });
    assert!(
        sidecar.metric("tradewind_reports_refused_total{kind=\"outcome\",reason=\"unknown_node\"}")
            < 0.5
    );
}

#[test]
fn ext_proc_does_without_a_killed_sidecar() {
    let Some(mut envoy) = start("ext_proc_does_without_a_killed_sidecar") else {
        return;
    };
    traffic::all(&envoy, &traffic::made_up(50), 1);
    envoy.rig.sidecar.kill();
    for seen in traffic::all(&envoy, &traffic::made_up(50), 1) {
        assert!(seen.status == 200 && seen.listed.is_empty(), "{seen:?}");
    }
    envoy.rig.sidecar.restart();
    follows(&mut envoy.process, &envoy.rig, envoy.address);
}
