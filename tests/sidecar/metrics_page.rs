//! `docs/metrics.md` has every family with its type, labels and help, as a sidecar tells them; and how many series there are.
//!
//! `UPDATE=1 cargo test --test sidecar metrics_page` writes the table anew.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::families;
use crate::server::Files;

/// What stands around the table.
const BEGIN: &str = "<!-- written by tests/sidecar/metrics_page.rs -->\n";
const END: &str = "<!-- end -->\n";

/// Whether pages are to be written and not compared.
pub(crate) fn is_update() -> bool {
    std::env::var_os("UPDATE").is_some()
}

#[tokio::test]
async fn the_page_has_every_metric_as_it_is() {
    let server = families::usual().await;
    let mut table = String::from("| metric | type | labels | what it says |\n|---|---|---|---|\n");
    for (name, family) in families::of(&server).await {
        let labels: Vec<String> = family
            .labels
            .iter()
            .map(|label| format!("`{label}`"))
            .collect();
        let (kind, labels, help) = (family.kind, labels.join(", "), family.help);
        assert!(!help.is_empty() && !help.contains('|'), "{name}: {help}");
        writeln!(table, "| `{name}` | {kind} | {labels} | {help} |").unwrap();
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md");
    let page = fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(BEGIN).unwrap();
    let (found, after) = rest.split_once(END).unwrap();
    if is_update() {
        fs::write(path, format!("{before}{BEGIN}{table}{END}{after}")).unwrap();
        return;
    }
    for (found, wanted) in found.lines().zip(table.lines()) {
        assert_eq!(found, wanted, "UPDATE=1 writes it anew");
    }
    assert_eq!(found.lines().count(), table.lines().count());
}

/// Names follow Prometheus's conventions, or they have been so for longer than anybody remembers.
#[tokio::test]
async fn names_say_what_is_counted_and_in_what() {
    let server = families::usual().await;
    for (name, family) in families::of(&server).await {
        let is_counter = family.kind == "counter";
        assert_eq!(is_counter, name.ends_with("_total"), "{name}");
        if family.kind == "histogram" {
            assert!(name.ends_with("_seconds"), "{name} is in seconds");
        }
        assert!(
            !name.contains("_ms") && !name.contains("_per_second"),
            "{name}"
        );
        assert!(family.labels.len() <= 4, "{name}: {:?}", family.labels);
        // Never of a request: no host, path, key or client.
        for label in &family.labels {
            let is_closed =
                !["host", "path", "key", "client", "url", "ip", "status"].contains(&label.as_str());
            assert!(is_closed, "{name} by {label}");
        }
    }
}

/// The largest fleet that is served in tests: 3,000 nodes at 300 sites.
#[tokio::test]
async fn of_a_large_fleet_the_page_is_bounded() {
    let mut topology = String::from("apiVersion: tradewind/v1\nkind: Topology\nspec:\n  sites:\n");
    for site in 0..300 {
        let (lat, lon) = (site % 12 * 10 - 59, site / 12 * 10 - 119);
        writeln!(topology, "  - {{id: s{site}, lat: {lat}, lon: {lon}}}").unwrap();
    }
    topology.push_str("  nodes:\n");
    for node in 0..3_000 {
        let (site, high, low) = (node / 10, node / 250, node % 250);
        writeln!(
            topology,
            "  - {{id: s{site}-{node}, site: s{site}, address: \"10.1.{high}.{low}:80\"}}"
        )
        .unwrap();
    }
    let files = Files::new();
    files.write("topology.yaml", topology);
    files.write(
        "policy.yaml",
        "apiVersion: tradewind/v1\nkind: Policy\nspec:\n  pools:\n  - {name: edge, select: {tier: edge}}\n  rules:\n  \
         - {name: all, owner: tests, rollback: none, pools: [edge]}\n",
    );
    let server = files.setup().start().await;
    let is_known = || {
        server
            .metrics("")
            .text()
            .contains("tradewind_node_attempts_total{")
    };
    server.until("the control loop has ticked", is_known).await;
    let page = server.metrics("").text();
    let series = page.lines().filter(|line| !line.starts_with('#')).count();
    let of = |label: &str| page.lines().filter(|line| line.contains(label)).count();
    let (nodes, sites) = (of("node=\""), of("site=\""));
    println!(
        "{series} series, {nodes} of nodes, {sites} of sites, {} bytes",
        page.len()
    );
    assert_eq!(nodes, 2_000 * 11);
    assert!(sites <= 300 * 30, "{sites}");
    assert!(series - nodes - sites < 600, "{series}");
    assert!(page.len() < 2_500_000, "{} bytes", page.len());
}
