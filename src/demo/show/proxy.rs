//! The demo's proxy: asks the sidecar, fetches from the nodes of the answer in their order, and tells how it went.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tonic::Status;
use tonic::transport::{Channel, Endpoint};

use super::DemoError;
use crate::demo::audience::Ask;
use crate::demo::http::{Get, Got, HttpClient, NoAnswer};
use crate::demo::nodes::NodePlan;
use crate::sidecar::clock;
use crate::sidecar::wire::proto::decision_service_client::DecisionServiceClient;
use crate::sidecar::wire::proto::feedback_service_client::FeedbackServiceClient;
use crate::sidecar::wire::proto::{
    AttemptResult, CacheStatus, Candidate, Client, DecideRequest, DecideResponse, ExplainRequest,
    ExplainResponse, Outcome, ReportRequest,
};

/// The host that all objects belong to.
const HOST: &str = "demo.example";

/// How the proxy calls itself.
const REPORTER: &str = "demo-proxy";

/// Outcomes told in one call; as many as a call may hold.
const MAX_TOLD: usize = 1_024;

/// Outcomes that may wait to be told; later ones are not told.
const MAX_WAITING: usize = 16 * MAX_TOLD;

/// How long the sidecar may take to answer.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// A proxy.
#[derive(Debug)]
pub(super) struct Proxy {
    channel: Channel,
    http: HttpClient,
    /// Positions of nodes by name.
    positions: BTreeMap<String, usize>,
    outcomes: Mutex<Vec<Outcome>>,
}

/// What became of a request.
#[derive(Debug, Clone)]
pub(super) struct Done {
    /// What was asked of the sidecar.
    pub(super) request: DecideRequest,
    /// The object.
    pub(super) object: u32,
    /// Whether its first node was named because it owns the object.
    pub(super) by_owner: bool,
    /// The nodes it was sent to, in their order.
    pub(super) tried: Vec<usize>,
    /// The one that served it, if one did.
    pub(super) served: Option<Served>,
    /// From the question to the last byte.
    pub(super) took: Duration,
}

/// How a request was served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Served {
    /// By which node.
    pub(super) node: usize,
    /// Whether from its cache.
    pub(super) hit: bool,
}

impl Proxy {
    pub(super) async fn connect(grpc: String, plans: &[NodePlan]) -> Result<Self, DemoError> {
        let endpoint = Endpoint::from_shared(grpc).map_err(DemoError::Connect)?;
        let endpoint = endpoint.timeout(CALL_TIMEOUT).tcp_nodelay(true);
        let channel = endpoint.connect().await.map_err(DemoError::Connect)?;
        let names = plans.iter().map(|plan| plan.id.clone());
        Ok(Self {
            channel,
            http: HttpClient::default(),
            positions: names.zip(0..).collect(),
            outcomes: Mutex::default(),
        })
    }

    /// Serves one request, as a proxy does.
    pub(super) async fn serve(&self, ask: Ask) -> Done {
        let began = clock::now();
        let request = DecideRequest {
            host: HOST.to_owned(),
            path: ask.path(),
            client: Some(Client {
                ip: ask.client.to_string(),
                ..Client::default()
            }),
            ..DecideRequest::default()
        };
        let mut done = Done {
            object: ask.object,
            by_owner: false,
            tried: Vec::new(),
            served: None,
            took: Duration::ZERO,
            request,
        };
        if let Ok(answer) = self.decide(&done.request).await {
            done.by_owner = answer.reason == "owner";
            self.walk(&answer, &mut done).await;
        }
        done.took = began.elapsed();
        done
    }

    async fn decide(&self, request: &DecideRequest) -> Result<DecideResponse, Status> {
        let mut client = DecisionServiceClient::new(self.channel.clone());
        let answered = client.decide(request.clone()).await;
        answered.map(tonic::Response::into_inner)
    }

    /// Tries the nodes of the answer until one serves.
    async fn walk(&self, answer: &DecideResponse, done: &mut Done) {
        for (attempt, candidate) in (1..).zip(&answer.candidates) {
            let Some(node) = self.positions.get(&candidate.node).copied() else {
                continue;
            };
            done.tried.push(node);
            let got = self.http.get(&get(candidate, &done.request)).await;
            let outcome = outcome(answer, (candidate, attempt), &got);
            let hit = outcome.cache_status() == CacheStatus::Hit;
            self.note(outcome);
            if got.is_ok_and(|got| got.status < 400) {
                done.served = Some(Served { node, hit });
                return;
            }
        }
    }

    fn note(&self, outcome: Outcome) {
        let mut outcomes = self.outcomes.lock().unwrap_or_else(PoisonError::into_inner);
        if outcomes.len() < MAX_WAITING {
            outcomes.push(outcome);
        }
    }

    /// Tells the sidecar what came of attempts since the last call.
    pub(super) async fn tell(&self) {
        let waiting = {
            let mut outcomes = self.outcomes.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *outcomes)
        };
        let mut client = FeedbackServiceClient::new(self.channel.clone());
        for part in waiting.chunks(MAX_TOLD) {
            let told = client.report_unary(ReportRequest {
                outcomes: part.to_vec(),
                reporter: REPORTER.to_owned(),
            });
            // A proxy does not stop when nobody listens to how its attempts went; the expectations would show it.
            drop(told.await);
        }
    }

    /// Asks why a request would go where.
    pub(super) async fn explain(&self, request: DecideRequest) -> Option<ExplainResponse> {
        let mut client = DecisionServiceClient::new(self.channel.clone());
        let request = ExplainRequest {
            request: Some(request),
        };
        Some(client.explain(request).await.ok()?.into_inner())
    }
}

fn get(candidate: &Candidate, request: &DecideRequest) -> Get {
    let patience = candidate.attempt_timeout;
    let patience = patience.and_then(|patience| Duration::try_from(patience).ok());
    Get {
        address: candidate.address.clone(),
        host: request.host.clone(),
        target: request.path.clone(),
        header: None,
        patience: patience.unwrap_or(CALL_TIMEOUT),
    }
}

/// What an attempt came to, as the sidecar is told.
fn outcome(
    answer: &DecideResponse,
    (candidate, attempt): (&Candidate, u32),
    got: &Result<Got, NoAnswer>,
) -> Outcome {
    let mut outcome = Outcome {
        decision_id: answer.decision_id.clone(),
        node: candidate.node.clone(),
        attempt,
        ..Outcome::default()
    };
    match got {
        Ok(got) => {
            let cache = got.headers.get("x-cache").map(http::HeaderValue::as_bytes);
            outcome.set_result(AttemptResult::Ok);
            outcome.set_cache_status(match cache {
                Some(b"HIT") => CacheStatus::Hit,
                Some(b"MISS") => CacheStatus::Miss,
                _ => CacheStatus::Unspecified,
            });
            outcome.status = got.status.into();
            outcome.bytes = got.bytes;
            outcome.time_to_first_byte = got.first_byte.try_into().ok();
            outcome.total = got.total.try_into().ok();
        }
        Err(NoAnswer::Timeout) => outcome.set_result(AttemptResult::Timeout),
        Err(NoAnswer::BrokeOff) => outcome.set_result(AttemptResult::Reset),
        Err(NoAnswer::Unreachable) => outcome.set_result(AttemptResult::Error),
    }
    outcome
}
