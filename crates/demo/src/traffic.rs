//! Requests through a proxy, and where they went: the proxy decides, the nodes sign their answers.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use serde::Serialize;
use tokio::runtime::Builder;
use tokio::task::{JoinError, JoinSet};

use super::http::{Get, Got, HttpClient, NoAnswer};
use super::measure::{microseconds, quantile_ms};
use tradewind_engine::number::from_u64;
use tradewind_sidecar::clock;

/// What the answer of a node that does not sign it is counted under.
const UNSIGNED: &str = "-";

/// The header that tells a proxy who the client is.
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Where and how to send requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The proxy, `host:port`.
    pub proxy: String,
    /// The `Host` header.
    pub host: String,
    /// Requests under way at once, at least 1.
    pub concurrency: usize,
    /// How long an answer may take.
    pub patience: Duration,
}

/// A request to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visit {
    /// Whom it is from, told by `X-Forwarded-For`.
    pub client: IpAddr,
    /// Path and query.
    pub target: String,
}

/// Where requests went.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Report {
    /// Requests sent.
    pub requests: u64,
    /// Those without an answer, and those answered with a status of 400 or more.
    pub failed: u64,
    /// Answers by status.
    pub statuses: BTreeMap<u16, u64>,
    /// Requests without an answer, by reason: `unreachable`, `timeout`, `broke_off`.
    pub unanswered: BTreeMap<&'static str, u64>,
    /// Answers by site and node, as they sign themselves; `-` for those that do not.
    pub nodes: Vec<NodeTraffic>,
    /// Median time in ms.
    pub p50_ms: Option<f64>,
    /// 99th percentile in ms.
    pub p99_ms: Option<f64>,
    /// From the first request to the last answer.
    pub seconds: f64,
}

/// What came from a node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct NodeTraffic {
    /// Its site, by `x-site`.
    pub site: String,
    /// The node, by `x-node`.
    pub node: String,
    /// Answers.
    pub answers: u64,
    /// Answers from the cache, by `x-cache`.
    pub hits: u64,
    /// Answers that had to be fetched.
    pub misses: u64,
}

/// Sends all visits through the proxy and waits for the answers; needs no runtime.
pub fn run(route: &Route, visits: impl Iterator<Item = Visit>) -> io::Result<Report> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(send_all(route, visits)))
}

type Ended = Result<(Result<Got, NoAnswer>, Duration), JoinError>;

async fn send_all(route: &Route, visits: impl Iterator<Item = Visit>) -> Report {
    let client = Arc::new(HttpClient::default());
    let mut count = Count::default();
    let mut under_way = JoinSet::new();
    let began = clock::now();
    for visit in visits {
        if under_way.len() >= route.concurrency
            && let Some(ended) = under_way.join_next().await
        {
            count.add(ended);
        }
        let get = get(route, visit);
        let client = Arc::clone(&client);
        under_way.spawn(async move {
            let began = clock::now();
            (client.get(&get).await, began.elapsed())
        });
    }
    while let Some(ended) = under_way.join_next().await {
        count.add(ended);
    }
    count.report(began.elapsed())
}

fn get(route: &Route, visit: Visit) -> Get {
    let client = HeaderValue::from_str(&visit.client.to_string()).ok();
    Get {
        address: route.proxy.clone(),
        host: route.host.clone(),
        target: visit.target,
        header: client.map(|client| (FORWARDED_FOR, client)),
        patience: route.patience,
    }
}

/// Counts while requests are under way.
#[derive(Debug, Default)]
struct Count {
    report: Report,
    nodes: BTreeMap<(String, String), NodeTraffic>,
    times_us: Vec<u64>,
}

impl Count {
    fn add(&mut self, ended: Ended) {
        // A task that panicked has been printed; it counts as one that broke off.
        let (answer, took) = ended.unwrap_or((Err(NoAnswer::BrokeOff), Duration::ZERO));
        let report = &mut self.report;
        report.requests += 1;
        self.times_us.push(microseconds(took));
        match answer {
            Ok(got) => {
                *report.statuses.entry(got.status).or_default() += 1;
                report.failed += u64::from(got.status >= 400);
                self.sign(&got);
            }
            Err(why) => {
                *report.unanswered.entry(why.name()).or_default() += 1;
                report.failed += 1;
            }
        }
    }

    fn sign(&mut self, got: &Got) {
        let header = |name: &str| {
            let value = got.headers.get(name).and_then(|value| value.to_str().ok());
            value.unwrap_or(UNSIGNED).to_owned()
        };
        let (site, node) = (header("x-site"), header("x-node"));
        let entry = self.nodes.entry((site.clone(), node.clone()));
        let counts = entry.or_insert_with(|| NodeTraffic {
            site,
            node,
            ..NodeTraffic::default()
        });
        counts.answers += 1;
        match header("x-cache").as_str() {
            "HIT" => counts.hits += 1,
            "MISS" => counts.misses += 1,
            _ => {}
        }
    }

    fn report(mut self, took: Duration) -> Report {
        self.times_us.sort_unstable();
        Report {
            nodes: self.nodes.into_values().collect(),
            p50_ms: quantile_ms(&self.times_us, 0.5),
            p99_ms: quantile_ms(&self.times_us, 0.99),
            seconds: from_u64(microseconds(took)) / 1e6,
            ..self.report
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audience::Audience;
    use crate::nodes::{Behaviour, NodeOptions, NodePlan, Nodes};

    fn route(nodes: &Nodes) -> Route {
        Route {
            proxy: nodes.address("a").unwrap().to_string(),
            host: "h".to_owned(),
            concurrency: 8,
            patience: Duration::from_millis(500),
        }
    }

    fn visits(count: usize) -> impl Iterator<Item = Visit> {
        Audience::new(1, 10, 0.9).take(count).map(|ask| Visit {
            client: ask.client.into(),
            target: ask.path(),
        })
    }

    #[test]
    fn answers_are_counted_by_who_signs_them() {
        let nodes = Nodes::start(&[NodePlan::on_any_port("a", "A")], NodeOptions::default());
        let nodes = nodes.unwrap();
        let report = run(&route(&nodes), visits(200)).unwrap();
        assert_eq!((report.requests, report.failed), (200, 0));
        assert_eq!(report.statuses, BTreeMap::from([(200, 200)]));
        let [only] = report.nodes.as_slice() else {
            panic!("{report:?}")
        };
        assert_eq!((only.site.as_str(), only.node.as_str()), ("A", "a"));
        assert!(only.misses <= 10 && only.hits + only.misses == 200);
        assert_eq!(nodes.counts()[0].requests, 200);
        assert!(report.p50_ms.unwrap() <= report.p99_ms.unwrap());
    }

    #[test]
    fn failures_are_told_apart() {
        let nodes = Nodes::start(&[NodePlan::on_any_port("a", "A")], NodeOptions::default());
        let nodes = nodes.unwrap();
        let route = route(&nodes);
        for (behaviour, unanswered) in [
            (Behaviour::Error, None),
            (Behaviour::Hang, Some("timeout")),
            (Behaviour::Refuse, Some("unreachable")),
        ] {
            nodes.behave("a", behaviour).unwrap();
            let report = run(&route, visits(4)).unwrap();
            assert_eq!((report.requests, report.failed), (4, 4), "{behaviour}");
            let keys: Vec<_> = report.unanswered.keys().copied().collect();
            assert_eq!(keys.first().copied(), unanswered, "{behaviour}");
        }
    }
}
