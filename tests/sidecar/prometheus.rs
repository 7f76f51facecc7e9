//! The alerts of `examples/prometheus`: by `promtool` against made-up series, and by a real Prometheus that scrapes a running
//! sidecar, so that no expression names what is not there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::authority::Authority;
use crate::client::request;
use crate::programs;
use crate::scraper::Prometheus;
use crate::server::{Files, Server, Setup};

/// What is said of the alerts: of those that take hours, at larger steps.
const TESTS: [&str; 2] = ["alerts_test.yaml", "alerts_of_hours_test.yaml"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub(crate) fn folder() -> PathBuf {
    root().join("examples/prometheus")
}

pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

fn yaml(path: &str) -> Value {
    serde_saphyr::from_str(&read(path)).unwrap()
}

/// The expression of every alert, by its name.
pub(crate) fn alerts() -> BTreeMap<String, String> {
    let rules = yaml("examples/prometheus/alerts.yaml");
    let groups = rules["groups"].as_array().unwrap().iter();
    let rules = groups.flat_map(|group| group["rules"].as_array().unwrap());
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    rules
        .map(|rule| (text(&rule["alert"]), text(&rule["expr"])))
        .collect()
}

/// The selectors of an expression: a metric's name with the matchers behind it.
pub(crate) fn selectors(expression: &str) -> BTreeSet<String> {
    let in_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut found = BTreeSet::new();
    let mut rest = expression;
    while let Some(start) = rest.find(in_name) {
        rest = rest.split_at(start).1;
        let end = rest.find(|c| !in_name(c)).unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        let matchers = match after.find('}') {
            Some(end) if after.starts_with('{') => after.split_at(end + 1).0,
            _ => "",
        };
        if name == "up" || name.starts_with("tradewind_") || name.starts_with("process_") {
            found.insert(format!("{name}{matchers}"));
        }
        rest = after.split_at(matchers.len()).1;
    }
    found
}

/// That a program ended well; what it printed.
#[track_caller]
fn good(output: &Output) -> String {
    let printed = String::from_utf8_lossy(&output.stdout);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{printed}");
    format!("{said}{printed}")
}

#[test]
fn selectors_are_found_with_their_matchers() {
    let found = selectors(
        "sum by (job) (rate(tradewind_a_total{b=\"c d\", e=~\"1|2\"}[5m])) / tradewind_f > 0.5 and on (job) up{job=\"x\"} == 0",
    );
    let found: Vec<&str> = found.iter().map(String::as_str).collect();
    let wanted = [
        "tradewind_a_total{b=\"c d\", e=~\"1|2\"}",
        "tradewind_f",
        "up{job=\"x\"}",
    ];
    assert_eq!(found, wanted);
}

#[test]
fn alerts_fire_when_they_should_and_are_silent_when_they_should_not() {
    let Some(promtool) = programs::path("promtool", "the alerts by promtool") else {
        return;
    };
    let run = |args: &[&str]| {
        let mut command = Command::new(&promtool);
        good(&command.args(args).current_dir(folder()).output().unwrap())
    };
    let said = run(&["check", "rules", "alerts.yaml"]);
    let all = format!("{} rules found", alerts().len());
    assert!(said.contains(&all), "{said}");
    run(&["check", "config", "prometheus.yaml"]);
    run(&[&["test", "rules"][..], &TESTS].concat());
}

#[test]
fn every_alert_is_tested_both_ways_and_is_in_the_runbook() {
    let alerts: BTreeSet<String> = alerts().into_keys().collect();
    let tests = TESTS.map(|file| yaml(&format!("examples/prometheus/{file}")));
    let tests = tests.iter().flat_map(|it| it["tests"].as_array().unwrap());
    let mut seen = BTreeMap::<String, BTreeSet<bool>>::new();
    for test in tests {
        for case in test["alert_rule_test"].as_array().unwrap() {
            let name = case["alertname"].as_str().unwrap().to_owned();
            let fires = !case["exp_alerts"].as_array().unwrap().is_empty();
            seen.entry(name).or_default().insert(fires);
        }
    }
    let both = BTreeSet::from([false, true]);
    let tested: BTreeSet<String> = seen
        .into_iter()
        .filter(|(_, seen)| *seen == both)
        .map(|(name, _)| name)
        .collect();
    assert_eq!(tested, alerts);
    let runbook = read("docs/runbook.md");
    let named: BTreeSet<String> = runbook
        .lines()
        .filter_map(|line| line.strip_prefix("| `Tradewind")?.split_once('`'))
        .map(|(name, rest)| {
            let name = format!("Tradewind{name}");
            let anchor = format!(" <a id=\"{}\"></a> |", name.to_lowercase());
            assert!(rest.starts_with(&anchor), "{name} has no anchor {anchor}");
            name
        })
        .collect();
    assert_eq!(named, alerts);
}

#[test]
fn every_alert_links_to_its_line_in_the_runbook() {
    let rules = yaml("examples/prometheus/alerts.yaml");
    let groups = rules["groups"].as_array().unwrap().iter();
    for rule in groups.flat_map(|group| group["rules"].as_array().unwrap()) {
        let name = rule["alert"].as_str().unwrap();
        let link = format!("docs/runbook.md#{}", name.to_lowercase());
        assert_eq!(rule["annotations"]["runbook_url"], link, "{name}");
    }
}

/// Names of metrics in a text.
fn metric_names(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let metrics = words.filter(|word| word.starts_with("tradewind_") && *word != "tradewind_");
    metrics.map(str::to_owned).collect()
}

#[tokio::test]
async fn every_metric_that_a_page_names_is_there() {
    // In a fleet, which has metrics of its own.
    let setup = Setup::example().with("bus", "nats://127.0.0.1:1");
    let server = setup.start().await;
    // What the control loop knows is there after its first tick.
    let ticked = || {
        server
            .metrics("")
            .text()
            .contains("\ntradewind_breaker_state{")
    };
    server.until("the control loop has ticked", ticked).await;
    // Families are told before they have samples; in the older format, counters by the name of their samples.
    let page = server.metrics("text/plain").text();
    let types = page.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let families: BTreeSet<&str> = types.filter_map(|line| line.split(' ').next()).collect();
    let docs = fs::read_dir(root().join("docs")).unwrap();
    let docs = docs.map(|page| format!("docs/{}", page.unwrap().file_name().display()));
    let is_page = |path: &String| Path::new(path).extension().is_some_and(|end| end == "md");
    let alerts = TESTS.into_iter().chain(["alerts.yaml"]);
    let alerts = alerts.map(|file| format!("examples/prometheus/{file}"));
    let pages = docs
        .filter(is_page)
        .chain(["README.md".to_owned()])
        .chain(alerts);
    let mut named = 0;
    for path in pages {
        // The library for C has files of this name.
        let all = metric_names(&read(&path)).into_iter();
        for name in all.filter(|name| name != "tradewind_c") {
            assert!(families.contains(name.as_str()), "{path} names {name}");
            named += 1;
        }
    }
    assert!(named > 30, "{named}");
}

#[tokio::test]
async fn the_older_format_has_no_fault_that_promtool_knows() {
    let server = Setup::example().start().await;
    let Some(promtool) = programs::path("promtool", "the metrics by promtool") else {
        return;
    };
    tell(&server).await;
    let text = server.metrics("text/plain").text();
    let mut child = Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    good(&child.wait_with_output().unwrap());
}

/// Lets a sidecar decide something and be told how it went.
pub(crate) async fn tell(server: &Server) {
    let decided = server.client().await.decide(request("/a")).await;
    let outcome = format!(
        r#"{{"decision_id": "{}", "node": "{}", "result": "ok", "status": 200, "time_to_first_byte": "0.012s", "cache_status": "HIT"}}"#,
        decided.decision_id, decided.candidates[0].node
    );
    let told = server
        .query()
        .ask(("POST", "/v1/outcomes"), &[], outcome.as_bytes());
    assert_eq!(told.unwrap().json()["accepted"], 1);
}

#[tokio::test]
async fn a_real_prometheus_finds_every_series_that_alerts_are_about() {
    // With TLS at a door that nobody asks here: one alert is about its certificate.
    let keys = Files::empty();
    let own = Authority::new("edge").certify("localhost", 2_099);
    own.write(&keys.config(), "own");
    let setup = Setup::example().with("tls-cert", keys.path("own.pem"));
    let setup = setup.with("tls-key", keys.path("own.key"));
    // And in a fleet, whose bus is nowhere: two are about that.
    let setup = setup.with("bus", "nats://127.0.0.1:1");
    let server = setup.with("tls-doors", "admin").start().await;
    let Some(program) = programs::path("prometheus", "the alerts by a real Prometheus") else {
        return;
    };
    tell(&server).await;
    let files = Files::empty();
    let prometheus = Prometheus::start(&program, &files, server.debug);
    let alerts = alerts();
    for selector in alerts.values().flat_map(|expression| selectors(expression)) {
        // There only where a pool has `reclaim`: `reclaim.rs` looks at it.
        if selector == "tradewind_purge_behind_nodes" {
            continue;
        }
        let what = format!("Prometheus finds {selector}");
        server
            .until(&what, || prometheus.found(&selector) > 0)
            .await;
    }
    let healthy: BTreeMap<_, _> = alerts
        .into_keys()
        .map(|name| (name, ("ok".to_owned(), String::new())))
        .collect();
    server
        .until("every alert is evaluated without an error", || {
            prometheus.health() == healthy
        })
        .await;
    // The scrape itself is well, in the format that Prometheus asks for.
    let targets = prometheus.data("/api/v1/targets").unwrap();
    let target = &targets["activeTargets"][0];
    assert_eq!(
        (&target["health"], &target["lastError"]),
        (&"up".into(), &"".into())
    );
    assert_eq!(
        prometheus.found("tradewind_decide_duration_seconds_bucket{le=\"+Inf\"}"),
        1
    );
}
