//! `examples/prometheus/dashboard.json`, a dashboard for Grafana: made from the table of `panels`, and held against the metrics
//! of a running sidecar, so that no panel stays empty because it names what is not there.
//!
//! `UPDATE=1 cargo test --test sidecar dashboard` writes it anew.

mod panels;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use self::panels::{Panel, ROWS, Row, Unit};
use crate::families;
use crate::metrics_page::is_update;
use crate::prometheus::selectors;
use crate::server::Files;
use crate::{programs, scraper::Prometheus};

/// How Grafana narrows a selector to the sidecars that were chosen.
const CHOSEN: &str = "instance=~\"$instance\"";

/// Panels beside each other, and their size in the 24 columns that a dashboard has.
const ABREAST: usize = 3;
const WIDTH: usize = 8;
const HEIGHT: usize = 8;

fn source() -> Value {
    json!({"type": "prometheus", "uid": "${datasource}"})
}

/// A dashboard of these rows.
fn dashboard(rows: &[Row]) -> Value {
    let mut panels = Vec::new();
    let mut top = 0;
    for row in rows {
        let id = panels.len() + 1;
        panels.push(json!({
            "id": id, "type": "row", "title": row.title, "collapsed": false, "panels": [],
            "gridPos": {"x": 0, "y": top, "w": ABREAST * WIDTH, "h": 1},
        }));
        top += 1;
        for (at, of_row) in row.panels.iter().enumerate() {
            let place = json!({
                "x": at % ABREAST * WIDTH, "y": top + at / ABREAST * HEIGHT, "w": WIDTH, "h": HEIGHT,
            });
            panels.push(panel(of_row, panels.len() + 1, &place));
        }
        top += row.panels.len().div_ceil(ABREAST) * HEIGHT;
    }
    json!({
        "uid": "tradewind", "title": "Tradewind", "tags": ["tradewind"], "schemaVersion": 39, "version": 1,
        "editable": true, "graphTooltip": 1, "refresh": "30s", "timezone": "browser",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [
            {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"},
            {
                "name": "instance", "label": "Sidecar", "type": "query", "datasource": source(),
                "query": {"query": "label_values(tradewind_build_info, instance)", "refId": "instance"},
                "refresh": 2, "sort": 1, "multi": true, "includeAll": true,
                "current": {"text": "All", "value": "$__all"},
            },
        ]},
        "panels": panels,
    })
}

fn panel(panel: &Panel, id: usize, place: &Value) -> Value {
    let letters = 'A'..='Z';
    let targets: Vec<Value> = panel
        .queries
        .iter()
        .zip(letters)
        .map(|(query, letter)| {
            json!({
                "refId": letter.to_string(), "datasource": source(), "expr": query.promql(CHOSEN),
                "legendFormat": query.legend, "editorMode": "code", "range": true,
            })
        })
        .collect();
    let mut defaults =
        json!({"unit": panel.unit.name(), "custom": {"fillOpacity": 5, "showPoints": "never"}});
    if panel.unit != Unit::Level {
        defaults["min"] = json!(0);
    }
    json!({
        "id": id, "type": "timeseries", "title": panel.title, "description": panel.says,
        "datasource": source(), "gridPos": place, "targets": targets,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": {
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": true},
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
    })
}

fn all_panels() -> impl Iterator<Item = &'static Panel> {
    ROWS.iter().flat_map(|row| row.panels)
}

#[test]
fn the_file_is_what_the_table_says() {
    let text = format!("{:#}\n", dashboard(&ROWS));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/prometheus/dashboard.json");
    if is_update() {
        fs::write(path, text).unwrap();
        return;
    }
    assert_eq!(
        fs::read_to_string(path).unwrap(),
        text,
        "UPDATE=1 writes it anew"
    );
}

/// The words between these marks.
fn between<'a>(text: &'a str, open: &str, close: &str) -> Vec<&'a str> {
    let parts = text.split(open).skip(1);
    parts
        .filter_map(|part| Some(part.split_once(close)?.0))
        .collect()
}

#[tokio::test]
async fn every_panel_names_metrics_and_labels_that_there_are() {
    let server = families::usual().await;
    let families = families::of(&server).await;
    let mut named = BTreeSet::new();
    for panel in all_panels() {
        for query in panel.queries {
            let mut labels: BTreeSet<&str> = BTreeSet::from(["instance", "le"]);
            let expression = query.promql(CHOSEN);
            for selector in selectors(&expression) {
                let (name, matchers) = selector.split_once('{').unwrap();
                let family = families
                    .get(name)
                    .or_else(|| families.get(families::stem(name)));
                let family = family.unwrap_or_else(|| panic!("{}: no metric {name}", panel.title));
                for matcher in matchers.split(", ") {
                    let label = matcher.split(['=', '!']).next().unwrap();
                    let is_known = label == "instance" || family.labels.contains(label);
                    assert!(is_known, "{}: {name} has no label {label}", panel.title);
                }
                labels.extend(family.labels.iter().map(String::as_str));
                named.insert(name.to_owned());
            }
            let by = between(&expression, "by (", ")").into_iter();
            let by = by.flat_map(|list| list.split(", "));
            for label in by.chain(between(query.legend, "{{", "}}")) {
                assert!(labels.contains(label), "{}: no label {label}", panel.title);
            }
        }
    }
    assert!(named.len() > 35, "{}", named.len());
}

#[tokio::test]
async fn a_real_prometheus_evaluates_every_panel() {
    let server = families::usual().await;
    let Some(program) = programs::path("prometheus", "the dashboard by a real Prometheus") else {
        return;
    };
    let files = Files::empty();
    let prometheus = Prometheus::start(&program, &files, server.debug);
    server
        .until("it is scraped", || {
            prometheus.found("tradewind_build_info") > 0
        })
        .await;
    for panel in all_panels() {
        for query in panel.queries {
            // A variable of Grafana's: at least four scrapes.
            let expression = query
                .promql("instance=~\".+\"")
                .replace("$__rate_interval", "2s");
            // A fault in it is a failure of `found`.
            prometheus.found(&expression);
        }
    }
    // What is always there is seen.
    for expression in [
        "sum(rate(tradewind_decisions_total[2s]))",
        "sum(tradewind_node_attempts_total)",
    ] {
        server
            .until(expression, || prometheus.found(expression) > 0)
            .await;
    }
}
