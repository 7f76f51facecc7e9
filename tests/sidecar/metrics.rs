//! `/metrics`: the format that is asked for, and what is said of the program and its process.

use std::collections::BTreeSet;

use tradewind::sidecar::observe::version;

use crate::http::{Connection, Reply};
use crate::openmetrics;
use crate::server::{Server, Setup};

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What Prometheus 2 asks for.
const PROMETHEUS_2: &str = "application/openmetrics-text;version=1.0.0,\
                            application/openmetrics-text;version=0.0.1;q=0.75,\
                            text/plain;version=0.0.4;q=0.5,*/*;q=0.1";

impl Server {
    /// The metrics, as somebody gets them who accepts these types; an empty text is no header.
    pub(crate) fn metrics(&self, accept: &str) -> Reply {
        let headers = [("Accept", accept)];
        let headers = if accept.is_empty() { &[][..] } else { &headers };
        let mut debug = Connection::tcp(self.debug).unwrap();
        debug.get("/metrics", headers).unwrap()
    }
}

/// The series of a page, without their values.
fn series(page: &str) -> BTreeSet<&str> {
    let samples = page.lines().filter(|line| !line.starts_with('#'));
    samples
        .filter_map(|line| Some(line.rsplit_once(' ')?.0))
        .collect()
}

#[tokio::test]
async fn the_format_is_the_one_that_is_asked_for() {
    let server = Setup::example().start().await;
    for (accept, wanted) in [
        ("", OPEN_METRICS),
        ("*/*", OPEN_METRICS),
        (PROMETHEUS_2, OPEN_METRICS),
        ("text/plain", PROMETHEUS),
        ("text/plain;version=0.0.4;q=1,*/*;q=0.1", PROMETHEUS),
        (
            "application/openmetrics-text;q=0.2, text/plain;q=0.3",
            PROMETHEUS,
        ),
        ("text/html", OPEN_METRICS),
    ] {
        let reply = server.metrics(accept);
        assert_eq!(reply.status, 200, "{accept}");
        assert_eq!(reply.header("content-type"), Some(wanted), "{accept}");
        assert_eq!(reply.header("vary"), Some("accept"), "{accept}");
        let text = reply.text();
        if wanted == OPEN_METRICS {
            openmetrics::read(&text).unwrap();
        } else {
            assert!(
                !text.contains("# EOF") && !text.contains("# UNIT"),
                "{text}"
            );
        }
    }
    let (new, old) = (
        server.metrics("").text(),
        server.metrics("text/plain").text(),
    );
    assert_eq!(series(&new), series(&old), "both show the same");
    // In the older format a counter's family is called like its samples.
    assert!(
        new.contains("\n# TYPE tradewind_outcomes counter\n"),
        "{new}"
    );
    assert!(
        old.contains("\n# TYPE tradewind_outcomes_total counter\n"),
        "{old}"
    );
}

#[tokio::test]
async fn the_build_is_told_by_its_labels() {
    let server = Setup::example().start().await;
    let sample = format!(
        "tradewind_build_info{{version=\"{}\",commit=\"{}\",target=\"{}\",rustc=\"{}\"}}",
        version::VERSION,
        version::COMMIT,
        version::TARGET,
        version::RUSTC
    );
    assert_eq!(server.count(&sample), 1);
}

#[tokio::test]
async fn the_process_is_told_of_where_the_system_knows() {
    let server = Setup::example().start().await;
    let now = tradewind::sidecar::clock::unix_ms() / 1_000;
    let started = server.count("process_start_time_seconds");
    let age = i64::try_from(now).unwrap() - started;
    // One is cut to whole seconds, the other rounded.
    assert!((-1..60).contains(&age), "started {age} s ago");
    if !cfg!(target_os = "linux") {
        return;
    }
    let megabyte = 1_048_576.0;
    let resident = server.metric("process_resident_memory_bytes") / megabyte;
    let mapped = server.metric("process_virtual_memory_bytes") / megabyte;
    assert!((1.0..2_048.0).contains(&resident), "{resident} MB");
    assert!(mapped >= resident, "{mapped} MB");
    let open = server.count("process_open_fds");
    assert!((5..500).contains(&open), "{open}");
    assert!(server.count("process_max_fds") >= open);
    // More connections are more files, and work takes time.
    let connections: Vec<_> = (0..40).map(|_| server.query()).collect();
    server
        .until("connections are counted", || {
            server.count("process_open_fds") >= open + 40
        })
        .await;
    drop(connections);
    let used = || server.metric("process_cpu_seconds_total");
    let before = used();
    server.until("time is counted", || used() > before).await;
}

#[tokio::test]
async fn what_alerts_wait_for_is_shown_before_it_happens() {
    let server = Setup::example().start().await;
    let page = server.metrics("").text();
    let shown = series(&page);
    for sample in [
        "tradewind_decisions_total{pool=\"\",verdict=\"refuse\",reason=\"no_rule\",purity=\"pure\"}",
        "tradewind_decisions_total{pool=\"edge\",verdict=\"refuse\",reason=\"no_node\",purity=\"degraded\"}",
        "tradewind_decisions_total{pool=\"edge\",verdict=\"route\",reason=\"next_tier\",purity=\"degraded\"}",
        "tradewind_reports_refused_total{kind=\"outcome\",reason=\"unknown_node\"}",
        "tradewind_envoy_requests_total{ended=\"answered\",attempts=\"4+\"}",
        "tradewind_xds_pushes_total{result=\"refused\"}",
        "tradewind_connections_shed_total",
    ] {
        assert!(shown.contains(sample), "{sample} in {page}");
        assert_eq!(server.count(sample), 0, "{sample}");
    }
}

#[tokio::test]
async fn calls_are_timed_by_door() {
    let server = Setup::example().start().await;
    crate::prometheus::tell(&server).await;
    let count = |door: &str| {
        let sample = format!("tradewind_call_duration_seconds_count{{door=\"{door}\"}}");
        server.count(&sample)
    };
    // The first call of each worker is timed.
    assert_eq!((count("grpc"), count("http"), count("admin")), (1, 1, 0));
    assert!(count("debug") > 2, "{}", count("debug"));
    let took = server.metric("tradewind_call_duration_seconds_sum{door=\"grpc\"}");
    assert!((0.000_001..0.5).contains(&took), "{took} s");
}

#[tokio::test]
async fn what_was_told_is_counted_by_node_and_site() {
    let server = Setup::example().start().await;
    crate::prometheus::tell(&server).await;
    let sum = |name: &str| -> f64 {
        let page = server.metrics("").text();
        let samples = page.lines().filter(|line| line.starts_with(name));
        samples
            .map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap())
            .sum()
    };
    server
        .until("it is counted", || {
            sum("tradewind_node_attempts_total{") > 0.0
        })
        .await;
    for (name, wanted) in [
        ("tradewind_node_requests_total{", 1.0),
        ("tradewind_node_attempts_total{", 1.0),
        ("tradewind_site_requests_total{", 1.0),
        ("tradewind_site_attempts_total{", 1.0),
        ("tradewind_site_first_byte_seconds_count{", 1.0),
        ("tradewind_site_first_byte_seconds_sum{", 0.012),
    ] {
        assert!((sum(name) - wanted).abs() < 1e-9, "{name}: {}", sum(name));
    }
    // Its failures are shown before there is one, beside the one that is good.
    let page = server.metrics("").text();
    let good = page.lines().find(|line| {
        line.starts_with("tradewind_node_attempts_total{") && line.ends_with("result=\"ok\"} 1")
    });
    let failed = good
        .unwrap()
        .replace("result=\"ok\"} 1", "result=\"reset\"} 0");
    assert!(page.lines().any(|line| line == failed), "{failed}");
}
