//! A node dies under traffic, and a real Prometheus tells of that: by the alert that is about it, and by no other.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::loopback;
use crate::programs;
use crate::prometheus::read;
use crate::scraper::Prometheus;
use crate::server::{Files, PATIENCE};
use tradewind::sidecar::clock;

/// The alerts with seconds for minutes, so that an hour passes in one. Prometheus here scrapes and evaluates sixty times as
/// often, too.
fn sped_up(rules: &str) -> String {
    let mut text = rules.to_owned();
    for (hours, seconds) in [("[1h]", "[60s]"), ("[6h]", "[360s]")] {
        text = text.replace(hours, seconds);
    }
    for minutes in [1, 2, 5, 10, 15, 30] {
        text = text.replace(&format!("[{minutes}m]"), &format!("[{minutes}s]"));
        text = text.replace(&format!("for: {minutes}m\n"), &format!("for: {minutes}s\n"));
    }
    assert!(!text.contains("m]") && !text.contains("h]") && !text.contains("m\n"));
    text
}

/// What fires just now: the alert, and the node that it is about.
fn firing(prometheus: &Prometheus) -> BTreeSet<(String, String)> {
    let alerts = prometheus.firing().into_iter();
    let label = |labels: &serde_json::Value, name: &str| {
        labels[name].as_str().unwrap_or_default().to_owned()
    };
    alerts
        .map(|alert| {
            (
                label(&alert["labels"], "alertname"),
                label(&alert["labels"], "node"),
            )
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_node_fires_its_alert_and_no_other() {
    let Some(program) = programs::path("prometheus", "a node's death by a real Prometheus") else {
        return;
    };
    // One of twelve has fewer keys than `TradewindKeysMove` bears.
    let (_files, mut nodes, server) = loopback::fleet(12).await;
    let mut client = server.client().await;
    let asking = tokio::spawn(async move {
        loop {
            loopback::traffic(&mut client, Duration::from_secs(1)).await;
        }
    });
    let files = Files::empty();
    let rules = sped_up(&read("examples/prometheus/alerts.yaml"));
    let prometheus = Prometheus::start_with(&program, &files, server.debug, &rules);
    let wanted = BTreeSet::from([("TradewindBreakerOpen".to_owned(), "fra-2".to_owned())]);
    let mut seen = BTreeSet::new();
    let mut watch = async |what: &str, least: Duration, holds: &dyn Fn() -> bool| {
        let began = clock::now();
        while began.elapsed() < least || !holds() {
            assert!(began.elapsed() < least + PATIENCE, "in vain until {what}");
            seen.extend(firing(&prometheus));
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let sent = "tradewind_node_requests_total{node=\"fra-2\"} > 0";
    // Minutes of the rules, each a second here.
    let lasting = Duration::from_secs;
    watch("it is scraped", lasting(6), &|| prometheus.found(sent) > 0).await;
    nodes[2].kill();
    watch("the node's alert fires", lasting(6), &|| {
        firing(&prometheus) == wanted
    })
    .await;
    nodes[2].restart().await;
    watch("no alert fires", lasting(6), &|| {
        firing(&prometheus).is_empty()
    })
    .await;
    asking.abort();
    assert_eq!(seen, wanted, "before, between and after");
}
