//! One cache node: what it remembers, what it counts, and how it answers a request.

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use lru::LruCache;
use tokio::sync::watch;

use super::origin::Origin;
use super::{Behaviour, NodeCount, NodeOptions, NodePlan};
use tradewind_engine::number::from_u64;
use tradewind_sidecar::clock;

/// How much of what was asked for a node says, in bytes.
const MAX_TOLD_TARGET: usize = 1_024;

/// The page that answers whether the node is well without being counted as a request, for health checks.
pub const HEALTH_PATH: &str = "/healthz";

/// How many times longer a slow node takes.
const SLOW_FACTOR: u32 = 10;

/// How much one request counts in the hit ratio that a node tells.
const HIT_RATIO_STEP: f64 = 1.0 / 64.0;

/// A span over which requests are counted for the utilisation that a node tells.
const RATE_WINDOW: Duration = Duration::from_secs(1);

/// A cache node.
#[derive(Debug)]
pub(super) struct Node {
    id: String,
    site: String,
    pub(super) address: SocketAddr,
    options: NodeOptions,
    /// The body of every answer.
    body: Bytes,
    pub(super) behaviour: watch::Sender<Behaviour>,
    notes: Mutex<Notes>,
}

/// What changes with each request.
#[derive(Debug)]
struct Notes {
    /// What it holds, by path and query.
    cache: LruCache<Box<str>, ()>,
    requests: u64,
    hits: u64,
    hit_ratio: f64,
    rate: Rate,
}

/// Requests a second, over the last whole window.
#[derive(Debug)]
struct Rate {
    began: Instant,
    count: u32,
    last: f64,
}

/// What became of a request, for the headers of the answer.
#[derive(Debug, Clone, Copy)]
struct Looked {
    is_hit: bool,
    utilisation: f64,
    hit_ratio: f64,
}

impl Node {
    pub(super) fn new(plan: &NodePlan, address: SocketAddr, options: NodeOptions) -> Self {
        let room = NonZeroUsize::new(options.cache_objects).unwrap_or(NonZeroUsize::MIN);
        Self {
            id: plan.id.clone(),
            site: plan.site.clone(),
            address,
            options,
            body: vec![b'.'; options.body_bytes].into(),
            behaviour: watch::Sender::new(Behaviour::Well),
            notes: Mutex::new(Notes {
                cache: LruCache::new(room),
                requests: 0,
                hits: 0,
                hit_ratio: 0.0,
                rate: Rate {
                    began: clock::now(),
                    count: 0,
                    last: 0.0,
                },
            }),
        }
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn count(&self) -> NodeCount {
        let behaviour = *self.behaviour.borrow();
        let notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        NodeCount {
            id: self.id.clone(),
            site: self.site.clone(),
            address: self.address,
            requests: notes.requests,
            hits: notes.hits,
            behaviour,
        }
    }

    /// Answers a request, or ends its connection with an error.
    pub(super) async fn answer<B>(&self, request: Request<B>) -> io::Result<Response<Full<Bytes>>> {
        let mut behaviour = self.behaviour.subscribe();
        let now = *behaviour.borrow_and_update();
        let is_check = request.uri().path() == HEALTH_PATH;
        if now == Behaviour::Hang {
            if !is_check {
                self.count_request();
            }
            drop(behaviour.changed().await);
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        let refusal = match now {
            Behaviour::Error => Some(StatusCode::SERVICE_UNAVAILABLE),
            Behaviour::Shed => Some(StatusCode::TOO_MANY_REQUESTS),
            _ => None,
        };
        if let Some(status) = refusal {
            if !is_check {
                self.count_request();
            }
            return Ok(self.plain(status));
        }
        if is_check {
            self.take(now, Duration::ZERO).await;
            return Ok(self.plain(StatusCode::OK));
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            self.count_request();
            let mut answer = self.plain(StatusCode::METHOD_NOT_ALLOWED);
            let allowed = HeaderValue::from_static("GET, HEAD");
            answer.headers_mut().insert(header::ALLOW, allowed);
            return Ok(answer);
        }
        let object = request.uri().path_and_query();
        let object = object.map_or("/", |object| object.as_str());
        let origin = Origin::of(request.uri().path());
        let looked = self.look_up(object, origin);
        self.take(now, self.usual(looked, origin)).await;
        let mut answer = Response::new(Full::new(self.body.clone()));
        if origin == Origin::Failing {
            *answer.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        }
        self.sign(&mut answer, Some(looked));
        // Beyond ASCII too: a path is bytes. Proxies do not take heads of any size.
        let object = object
            .as_bytes()
            .get(..MAX_TOLD_TARGET)
            .unwrap_or(object.as_bytes());
        if let Ok(object) = HeaderValue::from_bytes(object) {
            answer.headers_mut().insert("x-target", object);
        }
        Ok(answer)
    }

    /// Lets the time pass that an answer takes.
    async fn take(&self, behaviour: Behaviour, usual: Duration) {
        let time = match behaviour {
            Behaviour::Slow => (usual * SLOW_FACTOR).max(self.options.slow_at_least),
            _ => usual,
        };
        if !time.is_zero() {
            tokio::time::sleep(time).await;
        }
    }

    fn count_request(&self) {
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        notes.requests += 1;
    }

    /// How long an answer takes a node that is well.
    fn usual(&self, looked: Looked, origin: Origin) -> Duration {
        let fetched = match origin {
            _ if looked.is_hit => Duration::ZERO,
            Origin::Slow => self.options.miss + self.options.slow_origin,
            Origin::Well | Origin::Failing => self.options.miss,
        };
        self.options.hit + fetched
    }

    /// Looks for an object in the cache, and puts it there unless it cannot be fetched.
    fn look_up(&self, object: &str, origin: Origin) -> Looked {
        let now = clock::now();
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        let is_hit = notes.cache.get(object).is_some();
        if !is_hit && origin != Origin::Failing {
            notes.cache.put(object.into(), ());
        }
        notes.requests += 1;
        notes.hits += u64::from(is_hit);
        let outcome = if is_hit { 1.0 } else { 0.0 };
        notes.hit_ratio += (outcome - notes.hit_ratio) * HIT_RATIO_STEP;
        let rate = notes.rate.count(now);
        Looked {
            is_hit,
            utilisation: rate / from_u64(self.options.capacity_rps.max(1).into()),
            hit_ratio: notes.hit_ratio,
        }
    }

    /// An answer without a body.
    fn plain(&self, status: StatusCode) -> Response<Full<Bytes>> {
        let mut answer = Response::new(Full::default());
        *answer.status_mut() = status;
        self.sign(&mut answer, None);
        answer
    }

    /// Says who answers, and how it fares.
    fn sign(&self, answer: &mut Response<Full<Bytes>>, looked: Option<Looked>) {
        let headers = answer.headers_mut();
        // Ids come from a topology, whose grammar fits into a header; one that does not is left out.
        let named = [("x-node", &self.id), ("x-site", &self.site)];
        for (name, value) in named {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(name, value);
            }
        }
        let Some(looked) = looked else { return };
        let cache = if looked.is_hit { "HIT" } else { "MISS" };
        headers.insert("x-cache", HeaderValue::from_static(cache));
        // ORCA's text form, as Envoy and gRPC read it. Zero would mean "not given" there.
        let load = format!(
            "TEXT cpu_utilization={:.3},named_metrics.hit_ratio={:.3}",
            looked.utilisation.max(0.001),
            looked.hit_ratio
        );
        if let Ok(load) = HeaderValue::from_str(&load) {
            headers.insert("endpoint-load-metrics", load);
        }
    }
}

impl Rate {
    /// Counts a request, and answers how many come in a second.
    fn count(&mut self, now: Instant) -> f64 {
        let passed = now.saturating_duration_since(self.began);
        if passed >= RATE_WINDOW {
            self.last = f64::from(self.count) / passed.as_secs_f64();
            self.count = 0;
            self.began = now;
        }
        self.count += 1;
        self.last
    }
}
