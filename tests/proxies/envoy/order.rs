//! Which node gets a request: the first that was named, and when that fails the next, in the order that was named.

use std::collections::BTreeSet;
use std::time::Duration;

use tradewind_demo::nodes::{Behaviour, NodeOptions};

use super::traffic::{self, Seen};
use super::{Envoy, PATIENT, TELL_NOTHING, TELL_THE_LIST};
use crate::rig::{Asker, Setup, addresses};
use crate::visits::HOST;

/// Nodes that answer at once, clients placed by the real database, and a patience with nodes that hang that is short, and
/// long for a node that is well on a busy machine.
pub(super) fn real(test: &str) -> Option<Setup> {
    let database = traffic::shared(test, "geo/dbip-city-subset-flat.mmdb")?;
    Some(Setup {
        nodes: NodeOptions {
            miss: Duration::ZERO,
            ..NodeOptions::default()
        },
        args: vec!["--geo".to_owned(), database.display().to_string()],
        policy: vec![(
            "      candidates: 3\n",
            "      candidates: 3\n      attempt_timeout: 400ms\n",
        )],
        ..Setup::default()
    })
}

/// How many were answered by the node that stands first in the list when those of `failing` are left out.
fn in_order(seen: &[Seen], failing: &BTreeSet<String>) -> usize {
    let is_in_order = |one: &&Seen| {
        let mut left = one.listed.iter().filter(|node| !failing.contains(*node));
        let skipped = one
            .listed
            .iter()
            .take_while(|node| failing.contains(*node))
            .count();
        left.next() == Some(&one.node) && one.attempts == skipped + 1
    };
    seen.iter().filter(is_in_order).count()
}

fn odd_ones(seen: &[Seen], failing: &BTreeSet<String>) -> Vec<String> {
    let odd = seen
        .iter()
        .filter(|one| in_order(std::slice::from_ref(one), failing) == 0);
    odd.take(5).map(|one| format!("{one:?}")).collect()
}

#[test]
fn envoy_sends_all_of_a_real_log_to_the_nodes_that_are_named() {
    let test = "envoy_sends_all_of_a_real_log_to_the_nodes_that_are_named";
    let (Some(visits), Some(setup)) = (traffic::access_log(test), real(test)) else {
        return;
    };
    let Some(mut envoy) = Envoy::start_with(test, "envoy.yaml", &[TELL_THE_LIST, PATIENT], setup)
    else {
        return;
    };
    let seen = traffic::all(&envoy, &visits, 8);
    let nobody = BTreeSet::new();
    assert_eq!(
        in_order(&seen, &nobody),
        10_000,
        "{:#?}",
        odd_ones(&seen, &nobody)
    );
    let used: BTreeSet<&String> = seen.iter().map(|one| &one.node).collect();
    assert_eq!(used.len(), 9, "{used:?}");
    // What Envoy passed on is what the sidecar says to anybody else.
    let mut grpc = Asker::of(&envoy.rig.sidecar);
    for one in seen.iter().step_by(20) {
        let path = &one.visit.target;
        let decision = grpc.decide((HOST, path), &one.visit.client);
        assert_eq!(addresses(&decision), one.listed, "{:?}", one.visit);
    }
    // Every attempt is told, once; and every request is counted.
    let attempts: usize = seen.iter().map(|one| one.attempts).sum();
    assert_eq!(attempts, 10_000);
    envoy.rig.sidecar.until("every outcome has come", |pages| {
        pages.metric("tradewind_outcomes_total{result=\"ok\"}") >= 10_000.0
            && pages.metric("tradewind_envoy_requests_total{ended=\"answered\",attempts=\"1\"}")
                >= 10_000.0
    });
    let told = envoy
        .rig
        .sidecar
        .metric("tradewind_outcomes_total{result=\"ok\"}");
    assert!((told - 10_000.0).abs() < 0.5, "{told}");
    crate::tools::note("envoy: 10000 of 10000 requests of the access log on the node named first");
}

/// One node in each city fails in some way.
fn fails(test: &str, behaviour: Behaviour) {
    let (Some(visits), Some(setup)) = (traffic::access_log(test), real(test)) else {
        return;
    };
    // The sidecar does not learn of it, so the failing nodes stay named and each request finds its own way round.
    let edits = [TELL_THE_LIST, TELL_NOTHING, PATIENT];
    let Some(envoy) = Envoy::start_with(test, "envoy.yaml", &edits, setup) else {
        return;
    };
    let failing =
        ["fra-1", "mad-1", "waw-1"].map(|id| envoy.rig.nodes.address(id).unwrap().to_string());
    for node in &failing {
        envoy.rig.behave(node, behaviour);
    }
    let failing = BTreeSet::from(failing);
    // Most of them wait for a node that hangs.
    let seen = traffic::all(&envoy, &visits, 64);
    let met = seen.iter().filter(|one| {
        one.listed
            .first()
            .is_some_and(|node| failing.contains(node))
    });
    let met = met.count();
    assert!(met > 2_000, "only {met} requests met a failing node");
    assert_eq!(
        in_order(&seen, &failing),
        10_000,
        "{:#?}",
        odd_ones(&seen, &failing)
    );
    let lost = seen.iter().filter(|one| one.status >= 500).count();
    assert_eq!(lost, 0);
    crate::tools::note(&format!(
        "envoy: {met} of 10000 requests met a node with `{behaviour}`, 100 % went on to the next of the list"
    ));
}

#[test]
fn envoy_goes_on_in_order_when_a_node_refuses_connections() {
    fails(
        "envoy_goes_on_in_order_when_a_node_refuses_connections",
        Behaviour::Refuse,
    );
}

#[test]
fn envoy_goes_on_in_order_when_a_node_answers_503() {
    fails(
        "envoy_goes_on_in_order_when_a_node_answers_503",
        Behaviour::Error,
    );
}

#[test]
fn envoy_goes_on_in_order_when_a_node_hangs() {
    fails("envoy_goes_on_in_order_when_a_node_hangs", Behaviour::Hang);
}

#[test]
fn envoy_walks_the_whole_list_and_no_further() {
    let test = "envoy_walks_the_whole_list_and_no_further";
    let edits = [TELL_THE_LIST, TELL_NOTHING, PATIENT];
    let Some(envoy) = Envoy::start_with(test, "envoy.yaml", &edits, Setup::default()) else {
        return;
    };
    let visit = &traffic::made_up(1)[0];
    let order = traffic::walk_the_list(&envoy, visit, Behaviour::Error);
    // All three fail: Envoy does not go on to nodes of its own choice.
    let seen = traffic::visit(&envoy, &mut envoy.connect(), visit);
    assert_eq!((seen.status, seen.attempts), (503, 3), "{seen:?}");
    assert_eq!(Some(&seen.node), order.last(), "{seen:?}");
}
