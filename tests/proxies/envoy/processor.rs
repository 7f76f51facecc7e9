//! `ext_proc` instead of `ext_authz`: the endpoint-picker protocol, with a real Envoy.

use std::collections::BTreeSet;
use std::time::Duration;

use tradewind::sidecar::clock;
use tradewind_demo::nodes::{Behaviour, NodeOptions};

use super::traffic;
use super::{Envoy, TELL_NOTHING, TELL_THE_LIST};
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
    // Envoy does without a list where a busy machine makes it wait longer than it has patience.
    let decided: Vec<_> = seen.iter().filter(|one| !one.listed.is_empty()).collect();
    assert!(decided.len() * 100 >= seen.len() * 99, "{}", decided.len());
    for one in decided {
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
        TELL_NOTHING,
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

/// A node of Frankfurt refuses connections under steady traffic: how long until it is left, and what was told meanwhile.
fn a_refusing_node_is_left(test: &str, edits: &[(&str, &str)]) -> Option<(Duration, u64, f64)> {
    let show = ("response_header_mode: SKIP", "response_header_mode: SEND");
    let edits = [&[TELL_THE_LIST, show][..], edits].concat();
    let setup = Setup {
        nodes: NodeOptions {
            miss: Duration::ZERO,
            ..NodeOptions::default()
        },
        ..Setup::default()
    };
    let mut envoy = Envoy::start_with(test, "ext_proc.yaml", &edits, setup)?;
    traffic::all(&envoy, &traffic::made_up(300), 4);
    envoy.rig.nodes.behave("fra-2", Behaviour::Refuse).unwrap();
    let began = clock::now();
    let address = envoy.address;
    let sidecar = &mut envoy.rig.sidecar;
    let (load, left_after) = traffic::under_load(address, 4, || {
        sidecar.until("the breaker is open", |pages| {
            pages.metric("tradewind_breaker_state{node=\"fra-2\"}") > 1.5
        });
        let left_after = began.elapsed();
        // So that what is on its way then is told, too.
        std::thread::sleep(Duration::from_millis(500));
        left_after
    });
    assert_eq!(load.lost, 0, "{load:?}");
    let told = |result| {
        let sample = format!("tradewind_outcomes_total{{result=\"{result}\"}}");
        sidecar.metric(&sample)
    };
    let told = told("ok") + told("error") + told("timeout") + told("reset");
    Some((left_after, load.requests + 300, told))
}

#[test]
fn the_phase_of_answers_is_enough_for_breakers() {
    let test = "the_phase_of_answers_is_enough_for_breakers";
    let Some((alone, ..)) = a_refusing_node_is_left(test, &[TELL_NOTHING]) else {
        return;
    };
    let Some((with_log, requests, told)) = a_refusing_node_is_left(test, &[]) else {
        return;
    };
    crate::tools::note(&format!(
        "{test}: open after {alone:.1?} by answers alone, {with_log:.1?} with the log; {told} outcomes of {requests} requests with both"
    ));
    for after in [alone, with_log] {
        assert!(after < Duration::from_secs(3), "{after:?}");
    }
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
