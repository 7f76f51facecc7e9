//! When nodes are asked, and how a new policy or topology changes that.

use std::sync::Arc;
use std::time::Duration;

use tokio::time;
use tradewind::sidecar::probe::{MAX_IN_FLIGHT, ProbeFailure};

use crate::servers::Server;
use crate::setup::{PATIENCE, Setup, assert_told, read, ready, until};
use tradewind::sidecar::clock::timer_now;

#[tokio::test]
async fn a_node_is_asked_again_about_every_interval() {
    let server = Server::http(200).await;
    let mut setup = Setup::new(
        "kind: http, interval: 1s",
        &[ready("fra-1", server.address)],
    );
    setup.next().await;
    let mut before = timer_now();
    for _ in 0..3 {
        setup.next().await;
        let gap = before.elapsed();
        before = timer_now();
        // What is late is the test's, so only the lower bound is sharp: 0.8 s, less what the one before was late.
        assert!(gap > Duration::from_millis(600), "after {gap:?}");
        assert!(gap < Duration::from_secs(3), "after {gap:?}");
    }
}

#[tokio::test]
async fn probes_of_a_node_do_not_overlap() {
    let silent = Server::silent().await;
    let mut setup = Setup::new(
        "kind: http, interval: 1s, timeout: 1800ms",
        &[ready("fra-1", silent.address)],
    );
    assert_eq!(setup.next().await.detail, Some(ProbeFailure::Timeout));
    let before = timer_now();
    assert_eq!(setup.next().await.detail, Some(ProbeFailure::Timeout));
    // The next was due long before, and began only when this one had ended.
    assert!(before.elapsed() > Duration::from_millis(1_500));
    assert!(silent.accepted() <= 3);
}

#[tokio::test]
async fn it_stops_within_a_second_whatever_is_on_its_way() {
    let silent = Server::silent().await;
    let mut setup = Setup::new(
        "kind: http, interval: 1s, timeout: 1m",
        &[ready("fra-1", silent.address)],
    );
    until("it is asked", || silent.open() == 1).await;
    let began = timer_now();
    setup.prober.stop();
    assert!(began.elapsed() < Duration::from_secs(1));
    until("the probe is cut short", || silent.open() == 0).await;
    let told = time::timeout(PATIENCE, setup.told.recv()).await;
    assert_eq!(
        told.unwrap(),
        None,
        "nothing is told, and the thread is gone"
    );
}

#[tokio::test]
async fn a_policy_that_asks_nobody_stops_the_probing_at_once() {
    let server = Server::http(200).await;
    let silent = Server::silent().await;
    let nodes = [
        ready("good", server.address),
        ready("silent", silent.address),
    ];
    let http = "kind: http, interval: 1s, timeout: 1m";
    let mut setup = Setup::new(http, &nodes);
    until("both are asked", || {
        silent.open() == 1 && !server.heard().is_empty()
    })
    .await;
    // A policy with the same probes leaves what is on its way alone.
    setup.publish("other", http, &nodes);
    let asked = server.heard().len();
    until("the good one is asked twice more", || {
        server.heard().len() >= asked + 2
    })
    .await;
    assert_eq!((silent.open(), silent.accepted()), (1, 1));
    setup.publish("other", "kind: none", &nodes);
    until("the probe on its way is cut short", || silent.open() == 0).await;
    setup.drain();
    let asked = server.heard().len();
    time::sleep(Duration::from_millis(1_300)).await;
    assert_eq!(server.heard().len(), asked, "longer than any gap");
    assert_eq!(setup.drain(), []);
    assert_eq!(read(&setup.prober.counters().timeout), 0);
    // And on again, by other means.
    setup.publish("other", "kind: tcp, interval: 1s", &nodes);
    assert_told(
        &setup.first_of(2).await,
        &[("good", "healthy"), ("silent", "healthy")],
    );
}

#[tokio::test]
async fn nodes_in_maintenance_are_not_probed() {
    let [one, two, three] = [
        Server::http(200).await,
        Server::http(200).await,
        Server::http(200).await,
    ];
    let node = |id: &'static str, server: &Server, state: &'static str| {
        (id, server.address.to_string(), state)
    };
    let probe = "kind: http, interval: 1s";
    let mut setup = Setup::new(
        probe,
        &[
            node("drains", &one, "drain"),
            node("rests", &two, "maintenance"),
        ],
    );
    for _ in 0..2 {
        assert_eq!(&*setup.next().await.node, "drains");
    }
    assert!(two.heard().is_empty());
    // One rests, one is back, one has moved; all within a second and the first wait.
    setup.publish(
        "all",
        probe,
        &[
            node("drains", &one, "maintenance"),
            node("rests", &three, "ready"),
        ],
    );
    until("the moved one is asked", || three.heard().len() >= 2).await;
    let asked = one.heard().len();
    until("it is asked again", || three.heard().len() >= 4).await;
    assert_eq!(one.heard().len(), asked);
    assert!(two.heard().is_empty());
}

#[tokio::test]
async fn no_more_than_64_are_on_their_way() {
    let silent = Server::silent().await;
    let ids: Vec<_> = (0..80).map(|number| format!("fra-{number}")).collect();
    let nodes: Vec<_> = ids.iter().map(|id| ready(id, silent.address)).collect();
    let mut setup = Setup::new("kind: http, interval: 1s, timeout: 3s", &nodes);
    let counters = Arc::clone(setup.prober.counters());
    until("the rest wait", || {
        silent.open() == 64 && read(&counters.waiting) == 16
    })
    .await;
    assert!(read(&counters.delayed) >= 16);
    assert_eq!(silent.accepted(), MAX_IN_FLIGHT);
    // Those that waited have their turn, and their time does not begin before it.
    let told = setup.first_of(80).await;
    assert!(
        told.values()
            .all(|probed| probed.detail == Some(ProbeFailure::Timeout))
    );
}
