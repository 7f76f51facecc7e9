//! Endpoints pushed to an Envoy that asks nothing: weights, priorities, and what it refuses.

use std::collections::BTreeMap;
use std::time::Duration;

use tradewind::sidecar::clock;
use tradewind_demo::nodes::NodeOptions;

use super::Envoy;
use super::traffic::{self, Seen};
use crate::rig::{Setup, edit};
use crate::visits::HOST;

/// Has Envoy ask for changes instead of all endpoints each time.
const INCREMENTALLY: (&str, &str) = (
    "        api_config_source:
          api_type: GRPC
          transport_api_version: V3
          grpc_services: [{ envoy_grpc: { cluster_name: tradewind_telemetry } }]
    connect_timeout",
    "        api_config_source:
          api_type: DELTA_GRPC
          transport_api_version: V3
          grpc_services: [{ envoy_grpc: { cluster_name: tradewind_telemetry } }]
    connect_timeout",
);

/// Has Envoy ask for changes over the aggregated service.
const AGGREGATED: [(&str, &str); 2] = [
    (
        "        api_config_source:
          api_type: GRPC
          transport_api_version: V3
          grpc_services: [{ envoy_grpc: { cluster_name: tradewind_telemetry } }]
    connect_timeout",
        "        ads: {}
    connect_timeout",
    ),
    (
        "static_resources:\n",
        "dynamic_resources:
  ads_config:
    api_type: DELTA_GRPC
    transport_api_version: V3
    grpc_services: [{ envoy_grpc: { cluster_name: tradewind_telemetry } }]

static_resources:\n",
    ),
];

#[track_caller]
fn start(test: &str) -> Option<Envoy> {
    start_with(test, &[])
}

/// The same, with a configuration that is changed.
#[track_caller]
fn start_with(test: &str, edits: &[(&str, &str)]) -> Option<Envoy> {
    let setup = Setup {
        nodes: NodeOptions {
            miss: Duration::ZERO,
            ..NodeOptions::default()
        },
        ..Setup::default()
    };
    let mut envoy = Envoy::start_with(test, "eds.yaml", edits, setup)?;
    let Envoy { process, rig, .. } = &mut envoy;
    process.until("Envoy took the endpoints", || {
        rig.sidecar
            .metric("tradewind_xds_pushes_total{result=\"taken\"}")
            >= 1.0
    });
    Some(envoy)
}

/// How many of `count` requests each node got.
fn shares(envoy: &Envoy, count: usize) -> BTreeMap<String, usize> {
    let mut shares = BTreeMap::new();
    let seen: Vec<Seen> = traffic::all(envoy, &traffic::made_up(count), 1);
    for one in seen {
        assert_eq!(one.status, 200, "{one:?}");
        *shares.entry(envoy.rig.node_at(&one.node)).or_default() += 1;
    }
    shares
}

/// Changes the topology, and gives the time until Envoy's picks show it.
fn until_picked(
    envoy: &mut Envoy,
    change: (&str, &str),
    shows: impl Fn(&BTreeMap<String, usize>) -> bool,
) -> Duration {
    let file = envoy.rig.file("topology.yaml");
    let began = clock::now();
    edit(&file, &[change]);
    loop {
        let shares = shares(envoy, 40);
        let took = began.elapsed();
        if shows(&shares) {
            return took;
        }
        assert!(took < Duration::from_secs(10), "{shares:?} after {took:?}");
    }
}

#[test]
fn weights_reach_envoys_picks_within_a_second() {
    let Some(mut envoy) = start("weights_reach_envoys_picks_within_a_second") else {
        return;
    };
    // It says that it is at Frankfurt, whose nodes are its first priority, with equal weights.
    let equal = shares(&envoy, 300);
    assert_eq!(
        equal.keys().collect::<Vec<_>>(),
        ["fra-1", "fra-2", "fra-3"]
    );
    assert!(
        equal.values().all(|share| (60..=140).contains(share)),
        "{equal:?}"
    );
    let mut times = Vec::new();
    for (node, share) in [("fra-2", 26), ("fra-3", 12), ("fra-1", 8)] {
        // From 100 as the others to ten times that.
        let (from, to) = (format!("{{ id: {node}, site: FRA,"), "capacity: 1000,");
        let change = (&*from, &*format!("{from} {to}"));
        let shows =
            |shares: &BTreeMap<String, usize>| shares.get(node).is_some_and(|part| *part >= share);
        times.push(until_picked(&mut envoy, change, shows));
    }
    assert!(
        times.iter().all(|took| *took < Duration::from_secs(1)),
        "{times:?}"
    );
    crate::tools::note(&format!("envoy: weights reached its picks after {times:?}"));
    let taken = envoy
        .rig
        .sidecar
        .metric("tradewind_xds_pushes_total{result=\"taken\"}");
    assert!(taken >= 4.0, "{taken}");
    assert!(
        envoy
            .rig
            .sidecar
            .metric("tradewind_xds_pushes_total{result=\"refused\"}")
            < 0.5
    );
}

#[test]
fn a_clients_header_chooses_nothing_where_endpoints_are_pushed() {
    let Some(envoy) = start("a_clients_header_chooses_nothing_where_endpoints_are_pushed") else {
        return;
    };
    let elsewhere = envoy.rig.nodes.address("waw-3").unwrap().to_string();
    let mut proxy = envoy.connect();
    for number in 0..30 {
        let headers = [
            ("Host", HOST),
            ("x-gateway-destination-endpoint", &*elsewhere),
        ];
        let answer = proxy.get(&format!("/object/{number}"), &headers).unwrap();
        assert_eq!(answer.header("x-site"), Some("FRA"), "{answer:?}");
    }
}

#[test]
fn changes_are_told_to_an_envoy_that_asks_for_changes_only() {
    let test = "changes_are_told_to_an_envoy_that_asks_for_changes_only";
    for edits in [&[INCREMENTALLY][..], &AGGREGATED] {
        let Some(mut envoy) = start_with(test, edits) else {
            return;
        };
        let equal = shares(&envoy, 300);
        assert!(
            equal.len() == 3 && equal.values().all(|share| (60..=140).contains(share)),
            "{equal:?}"
        );
        let change = (
            "{ id: fra-2, site: FRA,",
            "{ id: fra-2, site: FRA, capacity: 1000,",
        );
        let heavier =
            |shares: &BTreeMap<String, usize>| shares.get("fra-2").is_some_and(|part| *part >= 26);
        let took = until_picked(&mut envoy, change, heavier);
        assert!(took < Duration::from_secs(1), "{took:?}");
        let drain = (
            "{ id: fra-1, site: FRA,",
            "{ id: fra-1, site: FRA, state: drain,",
        );
        let took = until_picked(&mut envoy, drain, |shares| !shares.contains_key("fra-1"));
        assert!(took < Duration::from_secs(2), "{took:?}");
        let sidecar = &mut envoy.rig.sidecar;
        let shown = sidecar.page("/debug/envoy").json()["subscribers"][0].take();
        assert_eq!(
            (&shown["incremental"], &shown["node"]),
            (&true.into(), &"edge-1".into())
        );
        // What it has it keeps while nobody tells it, and it is told of changes when somebody does again.
        sidecar.kill();
        let without = shares(&envoy, 60);
        assert_eq!(without.keys().collect::<Vec<_>>(), ["fra-2", "fra-3"]);
        envoy.rig.sidecar.restart();
        until_subscribed_again(&mut envoy);
        let back = (
            "{ id: fra-1, site: FRA, state: drain,",
            "{ id: fra-1, site: FRA, capacity: 1000,",
        );
        let took = until_picked(&mut envoy, back, |shares| shares.contains_key("fra-1"));
        crate::tools::note(&format!("envoy: told of a change again after {took:?}"));
        assert_eq!(envoy.stat("cluster.edge.update_rejected"), 0);
        let refused = envoy
            .rig
            .sidecar
            .metric("tradewind_xds_pushes_total{result=\"refused\"}");
        assert!(refused < 0.5, "{refused}");
    }
}

#[test]
fn a_node_whose_address_is_a_name_was_refused_with_all_the_others() {
    let test = "a_node_whose_address_is_a_name_was_refused_with_all_the_others";
    for edits in [&[][..], &[INCREMENTALLY]] {
        let Some(mut envoy) = start_with(test, edits) else {
            return;
        };
        // Envoy takes no names where endpoints are pushed, addresses only.
        let address = envoy.rig.nodes.address("fra-1").unwrap();
        let named = "\"fra-1.nodes.example.com:80\"".to_owned();
        let by_name = (&*format!("\"{address}\""), &*named);
        until_picked(&mut envoy, by_name, |shares| !shares.contains_key("fra-1"));
        let shown = envoy.rig.sidecar.page("/debug/envoy").json()["subscribers"][0].take();
        assert_eq!(
            (&shown["nodes_left_out"], &shown["left_out"][0]),
            (&1.into(), &"fra-1".into())
        );
        assert!(shown["refused"].is_null(), "{shown}");
        assert_eq!(envoy.stat("cluster.edge.update_rejected"), 0);
        let by_address = (&*named, &*format!("\"{address}\""));
        until_picked(&mut envoy, by_address, |shares| {
            shares.contains_key("fra-1")
        });
    }
}

fn until_subscribed_again(envoy: &mut Envoy) {
    envoy.rig.sidecar.until("Envoy subscribes again", |pages| {
        !pages.page("/debug/envoy").json()["subscribers"][0].is_null()
    });
}

#[test]
fn drained_nodes_are_left_and_a_sidecars_death_changes_nothing() {
    let Some(mut envoy) = start("drained_nodes_are_left_and_a_sidecars_death_changes_nothing")
    else {
        return;
    };
    let took = until_picked(
        &mut envoy,
        (
            "{ id: fra-1, site: FRA,",
            "{ id: fra-1, site: FRA, state: drain,",
        ),
        |shares| !shares.contains_key("fra-1"),
    );
    assert!(took < Duration::from_secs(2), "{took:?}");
    envoy.rig.sidecar.kill();
    let without = shares(&envoy, 60);
    assert_eq!(without.keys().collect::<Vec<_>>(), ["fra-2", "fra-3"]);
    envoy.rig.sidecar.restart();
    until_subscribed_again(&mut envoy);
    assert_eq!(envoy.stat("cluster.edge.update_rejected"), 0);
}
