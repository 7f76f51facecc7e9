//! Envoy's load reporting service: how its clusters fare, as often as we ask, with what nodes say of themselves in the
//! header `endpoint-load-metrics` (ORCA).

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;

use prost_types::Duration;
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tonic::{Request, Response, Status, Streaming};

use super::ask;
use super::proto::envoy::config::endpoint::v3::{
    ClusterStats, EndpointLoadMetricStats, UpstreamEndpointStats,
};
use super::proto::envoy::service::load_stats::v3::load_reporting_service_server::LoadReportingService;
use super::proto::envoy::service::load_stats::v3::{LoadStatsRequest, LoadStatsResponse};
use crate::intake::feedback::{Feedback, Telling};
use crate::state::{Published, State};
use crate::wire::proto::LoadReport;
use tradewind_engine::policy::LOAD_REPORT_PERIOD_MS;

/// How often Envoy reports, in whole seconds: a load signal is taken for old after five of them unless the policy says
/// otherwise.
const INTERVAL_S: i64 = LOAD_REPORT_PERIOD_MS.cast_signed() / 1_000;

/// Takes load reports on one worker.
#[derive(Debug, Clone)]
pub struct LoadStats {
    state: Arc<State>,
    feedback: Feedback,
}

impl LoadStats {
    /// The service of the worker that `feedback` belongs to.
    pub fn new(state: Arc<State>, feedback: Feedback) -> Self {
        Self { state, feedback }
    }
}

#[tonic::async_trait]
impl LoadReportingService for LoadStats {
    type StreamLoadStatsStream =
        Pin<Box<dyn Stream<Item = Result<LoadStatsResponse, Status>> + Send>>;

    async fn stream_load_stats(
        &self,
        request: Request<Streaming<LoadStatsRequest>>,
    ) -> Result<Response<Self::StreamLoadStatsStream>, Status> {
        let telling = self.feedback.telling(&request);
        let (answers, queue) = mpsc::channel(1);
        let wish = LoadStatsResponse {
            clusters: Vec::new(),
            send_all_clusters: true,
            load_reporting_interval: Some(Duration {
                seconds: INTERVAL_S,
                nanos: 0,
            }),
            report_endpoint_granularity: true,
        };
        // There is room for one, and this is the only one.
        drop(answers.try_send(Ok(wish)));
        let state = Arc::clone(&self.state);
        tokio::spawn(take_all(state, request.into_inner(), telling, answers));
        Ok(Response::new(Box::pin(Answers(queue))))
    }
}

/// What is answered; ends when nobody sends any more.
struct Answers(mpsc::Receiver<Result<LoadStatsResponse, Status>>);

impl Stream for Answers {
    type Item = Result<LoadStatsResponse, Status>;

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        self.0.poll_recv(context)
    }
}

/// Takes reports until the stream ends, the answers are no longer wanted, or shutdown begins.
async fn take_all(
    state: Arc<State>,
    mut messages: Streaming<LoadStatsRequest>,
    mut telling: Telling,
    answers: mpsc::Sender<Result<LoadStatsResponse, Status>>,
) {
    let mut draining = state.fleet.subscribe();
    loop {
        let message = tokio::select! {
            message = messages.message() => message.ok().flatten(),
            () = answers.closed() => None,
            _ = draining.wait_for(|fleet| fleet.draining) => None,
        };
        let Some(message) = message else { return };
        if let Some(published) = state.published.load().as_ref() {
            for report in reports(&message.cluster_stats, published) {
                telling.load_by_proxy(&report);
            }
        }
        telling.rest().await;
    }
}

/// One report for each node, summed over the clusters and places it is of.
///
/// Envoy reports on all of its clusters. One that has no node of the fleet is none of ours (our own address is in one);
/// an address that stands beside nodes of the fleet is told all the same, and refused as an unknown node.
fn reports(clusters: &[ClusterStats], published: &Published) -> Vec<LoadReport> {
    let known = published.nodes.addresses();
    let mut nodes: BTreeMap<String, Sums> = BTreeMap::new();
    for cluster in clusters {
        let seconds = cluster.load_report_interval.map_or(0.0, seconds);
        let places = cluster.upstream_locality_stats.iter();
        let endpoints = places.flat_map(|place| &place.upstream_endpoint_stats);
        let addressed = endpoints.filter_map(|endpoint| {
            let address = ask::socket_of(endpoint.address.as_ref())?;
            Some((endpoint, address, known.at(address)))
        });
        let addressed: Vec<_> = addressed.collect();
        if addressed.iter().all(|(_, _, node)| node.is_none()) {
            continue;
        }
        for (endpoint, address, node) in addressed {
            let node = node.map_or_else(
                || address.to_string(),
                |node| published.snapshot.topology().node(node).id.to_string(),
            );
            nodes.entry(node).or_default().add(endpoint, seconds);
        }
    }
    nodes
        .into_iter()
        .map(|(node, sums)| sums.report(node))
        .collect()
}

fn seconds(duration: Duration) -> f64 {
    std::time::Duration::try_from(duration).map_or(0.0, |duration| duration.as_secs_f64())
}

/// What is known of a node.
#[derive(Debug, Default)]
struct Sums {
    requests_per_second: f64,
    errors_per_second: f64,
    in_flight: f64,
    cpu: Mean,
    application: Mean,
    hits: Mean,
}

/// A mean of what a node says with its answers.
#[derive(Debug, Default, Clone, Copy)]
struct Mean {
    sum: f64,
    count: f64,
}

impl Mean {
    fn add(&mut self, stats: &EndpointLoadMetricStats) {
        self.sum += stats.total_metric_value;
        self.count += tradewind_engine::number::from_u64(stats.num_requests_finished_with_metric);
    }

    fn value(self) -> Option<f64> {
        (self.count > 0.0).then(|| self.sum / self.count)
    }
}

impl Sums {
    fn add(&mut self, endpoint: &UpstreamEndpointStats, seconds: f64) {
        let number = tradewind_engine::number::from_u64;
        if seconds > 0.0 {
            self.requests_per_second += number(endpoint.total_issued_requests) / seconds;
            self.errors_per_second += number(endpoint.total_error_requests) / seconds;
        }
        self.in_flight += number(endpoint.total_requests_in_progress);
        for stats in &endpoint.load_metric_stats {
            // A metric that the application names itself comes with or without the prefix.
            let name = stats.metric_name.as_str();
            match name.strip_prefix("named_metrics.").unwrap_or(name) {
                "cpu_utilization" => self.cpu.add(stats),
                "application_utilization" => self.application.add(stats),
                "hit_ratio" | "hit_rate" => self.hits.add(stats),
                _ => {}
            }
        }
    }

    fn report(self, node: String) -> LoadReport {
        LoadReport {
            node,
            cpu_utilization: self.cpu.value().unwrap_or(0.0),
            application_utilization: self.application.value().unwrap_or(0.0),
            rps_fractional: self.requests_per_second,
            eps: self.errors_per_second,
            hit_ratio: self.hits.value(),
            requests_in_flight: Some(self.in_flight),
            ..LoadReport::default()
        }
    }
}
