//! Endpoints pushed to an Envoy that asks nothing: weights, priorities, and what it refuses.

use std::collections::BTreeMap;
use std::time::Duration;

use tradewind::demo::nodes::NodeOptions;
use tradewind::sidecar::clock;

use super::Envoy;
use super::traffic::{self, Seen};
use crate::rig::{Setup, edit};
use crate::visits::HOST;

#[track_caller]
fn start(test: &str) -> Option<Envoy> {
    let setup = Setup {
        nodes: NodeOptions {
            miss: Duration::ZERO,
            ..NodeOptions::default()
        },
        ..Setup::default()
    };
    let mut envoy = Envoy::start_with(test, "eds.yaml", &[], setup)?;
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
fn a_refused_push_is_seen_and_the_old_weights_stay() {
    let Some(mut envoy) = start("a_refused_push_is_seen_and_the_old_weights_stay") else {
        return;
    };
    let before = shares(&envoy, 60);
    // Envoy takes no names where endpoints are pushed, addresses only.
    let address = envoy.rig.nodes.address("fra-1").unwrap();
    let named = "\"fra-1.nodes.example.com:80\"".to_owned();
    let began = clock::now();
    edit(
        &envoy.rig.file("topology.yaml"),
        &[(&format!("\"{address}\""), &named)],
    );
    let sidecar = &mut envoy.rig.sidecar;
    sidecar.until("the refusal is counted", |pages| {
        pages.metric("tradewind_xds_pushes_total{result=\"refused\"}") >= 1.0
    });
    let took = began.elapsed();
    assert!(took < Duration::from_secs(1), "{took:?}");
    let page = sidecar.page("/debug/envoy").json();
    let refused = page["subscribers"][0]["refused"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(refused.contains("fra-1.nodes.example.com"), "{refused}");
    assert_eq!(page["subscribers"][0]["node"], "edge-1");
    let after = shares(&envoy, 60);
    assert_eq!(
        before.keys().collect::<Vec<_>>(),
        after.keys().collect::<Vec<_>>()
    );
    // Put right, it is taken again.
    edit(
        &envoy.rig.file("topology.yaml"),
        &[(&named, &format!("\"{address}\""))],
    );
    sidecar_takes_again(&mut envoy);
    crate::tools::note(&format!("envoy: a refused push was seen after {took:?}"));
}

fn sidecar_takes_again(envoy: &mut Envoy) {
    envoy.rig.sidecar.until("the refusal is over", |pages| {
        pages.page("/debug/envoy").json()["subscribers"][0]["refused"].is_null()
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
    envoy.rig.sidecar.until("Envoy subscribes again", |pages| {
        pages.page("/debug/envoy").json()["subscribers"][0]["taken_version"]
            .as_str()
            .is_some_and(|version| !version.is_empty())
    });
    assert_eq!(envoy.stat("cluster.edge.update_rejected"), 0);
}
