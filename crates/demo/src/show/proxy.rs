//! The demo's proxy: asks the sidecar, fetches from the nodes of the answer in their order, and tells how it went.

use std::collections::BTreeMap;
use std::time::Duration;

use tradewind_client::answer::{Answer, Candidate};
use tradewind_client::options::Options;
use tradewind_client::{Asker, AttemptResult, CacheStatus, Client, Outcome, Request};
use tradewind_sidecar::clock;

use super::DemoError;
use crate::audience::Ask;
use crate::http::{Get, Got, HttpClient, NoAnswer};
use crate::nodes::NodePlan;
use crate::ways::Ways;

/// The host that all objects belong to.
const HOST: &str = "demo.example";

/// How the proxy calls itself.
const REPORTER: &str = "demo-proxy";

/// Outcomes that may wait to be told; later ones are not told.
const MAX_WAITING: usize = 16_384;

/// How long the sidecar may take to answer, and a node of which the answer does not say it.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// A proxy.
#[derive(Debug)]
pub(super) struct Proxy {
    sidecar: Client,
    http: HttpClient,
    /// Positions of nodes by name.
    positions: BTreeMap<String, usize>,
    ways: Ways,
}

/// What became of a request.
#[derive(Debug, Clone)]
pub(super) struct Done {
    /// What was asked of the sidecar.
    pub(super) request: Request,
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
    pub(super) fn connect(
        sidecar: String,
        plans: &[NodePlan],
        ways: Ways,
    ) -> Result<Self, DemoError> {
        let options = Options {
            reporter: REPORTER.to_owned(),
            // The story is about nodes: where the machine is slow, the sidecar is waited for.
            deadline: CALL_TIMEOUT,
            outcomes: MAX_WAITING,
            ..Options::at(sidecar)
        };
        let names = plans.iter().map(|plan| plan.id.clone());
        Ok(Self {
            sidecar: Client::connect(options).map_err(DemoError::Connect)?,
            http: HttpClient::default(),
            positions: names.zip(0..).collect(),
            ways,
        })
    }

    /// Serves one request, as a proxy does.
    pub(super) async fn serve(&self, ask: Ask) -> Done {
        let began = clock::now();
        let request = Request {
            host: HOST.to_owned(),
            path: ask.path(),
            client: Some(Asker {
                ip: ask.client.to_string(),
                ..Asker::default()
            }),
            ..Request::default()
        };
        let mut done = Done {
            object: ask.object,
            by_owner: false,
            tried: Vec::new(),
            served: None,
            took: Duration::ZERO,
            request,
        };
        if let Ok(answer) = self.sidecar.decide(&done.request).await {
            done.by_owner = answer.reason == "owner";
            self.walk(&ask, &answer, &mut done).await;
        }
        done.took = began.elapsed();
        done
    }

    /// Tries the nodes of the answer until one serves.
    async fn walk(&self, ask: &Ask, answer: &Answer, done: &mut Done) {
        for (attempt, candidate) in (1..).zip(&answer.candidates) {
            let Some(node) = self.positions.get(&candidate.node).copied() else {
                continue;
            };
            done.tried.push(node);
            let got = self.http.get(&get(candidate, &done.request)).await;
            let mut outcome = outcome(answer, (candidate, attempt), &got);
            // A real proxy stands at the site, and knows it of the connection on which the answer went out.
            if got.is_ok() {
                let round_trip = self.ways.round_trip(ask, &candidate.site);
                outcome.client_round_trip = round_trip.and_then(|time| time.try_into().ok());
            }
            let hit = outcome.cache_status() == CacheStatus::Hit;
            self.sidecar.told(outcome);
            if got.is_ok_and(|got| got.status < 400) {
                done.served = Some(Served { node, hit });
                return;
            }
        }
    }
}

fn get(candidate: &Candidate, request: &Request) -> Get {
    let patience = candidate.attempt_timeout;
    Get {
        address: candidate.address.clone(),
        host: request.host.clone(),
        target: request.path.clone(),
        header: None,
        patience: if patience.is_zero() {
            CALL_TIMEOUT
        } else {
            patience
        },
    }
}

/// What an attempt came to, as the sidecar is told.
fn outcome(
    answer: &Answer,
    (candidate, attempt): (&Candidate, u32),
    got: &Result<Got, NoAnswer>,
) -> Outcome {
    let result = match got {
        Ok(_) => AttemptResult::Ok,
        Err(NoAnswer::Timeout) => AttemptResult::Timeout,
        Err(NoAnswer::BrokeOff) => AttemptResult::Reset,
        Err(NoAnswer::Unreachable) => AttemptResult::Error,
    };
    let mut outcome = answer.outcome(candidate, attempt, result);
    if let Ok(got) = got {
        let cache = got.headers.get("x-cache").map(http::HeaderValue::as_bytes);
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
    outcome
}
