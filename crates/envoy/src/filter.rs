//! The HTTP filter: decides each request as its headers come, and sets what Envoy's router and load balancing go by.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::abi::{self, Defining, Metric, Stream};
use crate::config::FilterConfig;
use crate::told::Told;
use tradewind_client::copy::LastCopy;
use tradewind_client::hosted::config::WithoutCopy;
use tradewind_client::hosted::contain;
use tradewind_client::hosted::follower::Follower;
use tradewind_client::hosted::refusal::Refusal;
use tradewind_client::{InvalidRequest, Question};
use tradewind_engine::request::text_of;
use tradewind_wire::asker;
use tradewind_wire::names::{
    ATTEMPT_TIMEOUT, CACHE_TTL, DECISION_ID, DESTINATION, FRESHNESS, MAX_AGE, MAX_RETRIES, REASON,
    RETRY_AFTER, UNKNOWN, VERSION,
};
use tradewind_wire::question::Asker;

/// Longest request id that is used, in bytes.
const MAX_REQUEST_ID_BYTES: usize = 128;

/// What Envoy does after the filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Goes on.
    Continue,
    /// Nothing: the request is answered.
    Answered,
}

/// A filter of Envoy's configuration, for all of its requests.
#[derive(Debug)]
pub(crate) struct Filter {
    config: FilterConfig,
    /// `None` where Envoy only looks at its configuration.
    follower: Option<Arc<Follower>>,
    counts: Counts,
    metrics: Metrics,
    /// Whether it was said that questions cannot be asked as configured.
    has_complained: AtomicBool,
}

/// What was counted, and not shown among Envoy's counters yet.
#[derive(Debug, Default)]
struct Counts {
    decided: AtomicU64,
    refused: AtomicU64,
    without_copy: AtomicU64,
    freshness_unknown: AtomicU64,
}

/// What is shown among Envoy's own counters and gauges.
#[derive(Debug, Default)]
struct Metrics {
    decided: Option<Metric>,
    refused: Option<Metric>,
    without_copy: Option<Metric>,
    freshness_unknown: Option<Metric>,
    panics: Option<Metric>,
    outcomes_dropped: Option<Metric>,
    copy_age_s: Option<Metric>,
    purges_age_s: Option<Metric>,
    purged_entries: Option<Metric>,
    revision: Option<Metric>,
    candidate_buckets: Option<Metric>,
}

impl Metrics {
    fn define(defining: &Defining<'_>) -> Self {
        Self {
            decided: defining.counter("tradewind.decided"),
            refused: defining.counter("tradewind.refused"),
            without_copy: defining.counter("tradewind.without_copy"),
            freshness_unknown: defining.counter("tradewind.freshness_unknown"),
            panics: defining.gauge("tradewind.panics"),
            outcomes_dropped: defining.gauge("tradewind.outcomes_dropped"),
            copy_age_s: defining.gauge("tradewind.copy_age_seconds"),
            purges_age_s: defining.gauge("tradewind.purges_age_seconds"),
            purged_entries: defining.gauge("tradewind.purged_entries"),
            revision: defining.gauge("tradewind.revision"),
            candidate_buckets: defining.gauge("tradewind.candidate_buckets_left_out"),
        }
    }
}

impl Filter {
    /// A filter as configured, or all that is wrong with that.
    pub(crate) fn new(name: &[u8], config: &[u8], defining: &Defining<'_>) -> Result<Self, String> {
        let config = FilterConfig::read(name, config)?;
        let follower = if abi::is_validation() {
            None
        } else {
            Some(Follower::of(config.wanted.options(), "filter_config")?)
        };
        Ok(Self {
            config,
            follower,
            counts: Counts::default(),
            metrics: Metrics::define(defining),
            has_complained: AtomicBool::new(false),
        })
    }

    /// Decides a request.
    pub(crate) fn request(&self, stream: &mut Stream<'_>) -> Next {
        let mut told = Told::taken();
        let decided = self.decide(stream, &mut told);
        let next = match (decided, told.refusal) {
            (false, _) => self.without_copy(stream),
            (true, Some(refusal)) => {
                self.counts.refused.fetch_add(1, Ordering::Relaxed);
                refuse(stream, refusal)
            }
            (true, None) => {
                self.counts.decided.fetch_add(1, Ordering::Relaxed);
                if !told.is_freshness_known {
                    let unknown = &self.counts.freshness_unknown;
                    unknown.fetch_add(1, Ordering::Relaxed);
                }
                route(stream, &told);
                Next::Continue
            }
        };
        told.give_back();
        next
    }

    /// Whether it could be decided; then `told` has what.
    fn decide(&self, stream: &Stream<'_>, told: &mut Told) -> bool {
        let Some(follower) = self.follower.as_ref().filter(|_| !contain::stands_aside()) else {
            return false;
        };
        if follower.is_due() {
            self.show(stream, follower);
        }
        let ask = |copy: LastCopy<'_>| self.ask(&copy, stream, told);
        // A panic in here is as if there were no copy.
        match contain::contained(|| follower.client.on_copy(ask)).flatten() {
            Some(Ok(())) => true,
            Some(Err(invalid)) => {
                let status = invalid.client_status();
                told.refusal = status.map(Refusal::unreadable);
                if status.is_none() {
                    self.complain(&invalid);
                }
                status.is_some()
            }
            None => false,
        }
    }

    fn ask(
        &self,
        copy: &LastCopy<'_>,
        stream: &Stream<'_>,
        told: &mut Told,
    ) -> Result<(), InvalidRequest> {
        let text = |name| stream.header(name).map(text_of).unwrap_or_default();
        let (host, path, method) = (text(":authority"), text(":path"), text(":method"));
        let id = text("x-request-id");
        let given = match &self.config.client_header {
            Some(name) => stream.last_line(name).or_else(|| stream.peer()),
            None => stream.peer(),
        };
        let given = given.map(text_of).unwrap_or_default();
        let ip = asker::address_in(&given);
        let names = &copy.reading().header_names;
        let shown: Vec<(&str, Cow<'_, str>)> = names
            .iter()
            .flat_map(|name| stream.lines(name).map(move |line| (&**name, text_of(line))))
            .collect();
        let question = Question {
            request_id: if id.len() > MAX_REQUEST_ID_BYTES {
                ""
            } else {
                &id
            },
            pool: &self.config.wanted.pool,
            child_node: &self.config.wanted.child,
            candidates: self.config.wanted.candidates,
            host: &host,
            path: &path,
            method: &method,
            headers: shown
                .iter()
                .map(|(name, value)| (*name, &**value))
                .collect(),
            client: Some(Asker {
                ip: &ip,
                ..Asker::default()
            }),
            ..Question::default()
        };
        copy.decide(&question, |ruling| told.put(ruling))
    }

    fn without_copy(&self, stream: &mut Stream<'_>) -> Next {
        self.counts.without_copy.fetch_add(1, Ordering::Relaxed);
        match self.config.wanted.without_copy {
            WithoutCopy::Refuse => refuse(stream, Refusal::NO_COPY),
            WithoutCopy::Balance => {
                // A client must not pick its node, nor blame an attempt on the decision of another.
                for name in [DESTINATION, DECISION_ID, VERSION, MAX_AGE, CACHE_TTL] {
                    stream.remove(name);
                }
                stream.set(FRESHNESS, UNKNOWN);
                Next::Continue
            }
        }
    }

    #[cold]
    fn complain(&self, invalid: &InvalidRequest) {
        if !self.has_complained.swap(true, Ordering::Relaxed) {
            tracing::warn!(%invalid, "a request cannot be asked about as this filter is configured");
        }
    }

    /// Shows what was counted since the last time.
    #[cold]
    fn show(&self, stream: &Stream<'_>, follower: &Follower) {
        let counts = [
            (&self.counts.decided, self.metrics.decided),
            (&self.counts.refused, self.metrics.refused),
            (&self.counts.without_copy, self.metrics.without_copy),
            (
                &self.counts.freshness_unknown,
                self.metrics.freshness_unknown,
            ),
        ];
        for (count, metric) in counts {
            let by = count.swap(0, Ordering::Relaxed);
            if let Some(metric) = metric.filter(|_| by > 0) {
                stream.count(metric, by);
            }
        }
        let client = &follower.client;
        let seconds = |age: Option<Duration>| age.map_or(0, |age| age.as_secs());
        let purged = u64::try_from(client.purged_entries()).unwrap_or(u64::MAX);
        let following = client.on_copy(|copy| (copy.revision(), copy.candidate_buckets()));
        let (revision, candidate) = following.unwrap_or_default();
        let gauges = [
            (self.metrics.panics, contain::panics()),
            (
                self.metrics.outcomes_dropped,
                client.counters().outcomes_dropped,
            ),
            (self.metrics.copy_age_s, seconds(client.heard_ago())),
            (
                self.metrics.purges_age_s,
                seconds(client.purges_heard_ago()),
            ),
            (self.metrics.purged_entries, purged),
            (self.metrics.revision, revision),
            (self.metrics.candidate_buckets, u64::from(candidate)),
        ];
        for (metric, value) in gauges {
            if let Some(metric) = metric {
                stream.show(metric, value);
            }
        }
    }
}

/// Sets what Envoy goes by. Whatever a client sent under these names is overwritten or removed.
fn route(stream: &mut Stream<'_>, told: &Told) {
    stream.set(DESTINATION, &told.nodes);
    if told.decision_id.is_empty() {
        stream.remove(DECISION_ID);
    } else {
        stream.set(DECISION_ID, &told.decision_id);
    }
    if let Some(ms) = told.attempt_timeout_ms.as_text() {
        stream.set(ATTEMPT_TIMEOUT, ms);
    }
    if let Some(retries) = told.retries.as_text() {
        stream.set(MAX_RETRIES, retries);
    }
    let version = (!told.version.is_empty()).then_some(&*told.version);
    let freshness = (!told.is_freshness_known).then_some(UNKNOWN);
    for (name, value) in [
        (VERSION, version),
        (MAX_AGE, told.max_age_s.as_text()),
        (CACHE_TTL, told.cache_ttl_s.as_text()),
        (FRESHNESS, freshness),
    ] {
        match value {
            Some(value) => stream.set(name, value),
            None => stream.remove(name),
        }
    }
}

fn refuse(stream: &mut Stream<'_>, refusal: Refusal) -> Next {
    let Refusal { status, reason, .. } = refusal;
    match refusal.retry_after_s {
        Some(seconds) => {
            let seconds = seconds.to_string();
            let headers = [(REASON, reason), (RETRY_AFTER, &*seconds)];
            stream.respond(status, headers, reason);
        }
        None => stream.respond(status, [(REASON, reason)], reason),
    }
    Next::Answered
}
