//! Envoy's access log over gRPC: what became of each attempt, and of each request.
//!
//! The log called `attempts` belongs on the router (`upstream_log`): an entry for each attempt at a node, taken as its
//! outcome. The log called `requests` belongs on the connection manager: an entry for each request, only counted (how many
//! attempts it took, how it ended). They are told apart by name, for an attempt must not count twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prost_types::Duration;
use tonic::{Request, Response, Status, Streaming};

use super::proto::envoy::data::accesslog::v3::{
    AccessLogCommon, HttpAccessLogEntry, HttpResponseProperties, ResponseFlags,
};
use super::proto::envoy::service::accesslog::v3::access_log_service_server::AccessLogService;
use super::proto::envoy::service::accesslog::v3::stream_access_logs_message::LogEntries;
use super::proto::envoy::service::accesslog::v3::{
    StreamAccessLogsMessage, StreamAccessLogsResponse,
};
use super::{DECISION_ID, DESTINATION, ask};
use crate::intake::feedback::{Feedback, MAX_OUTCOMES, Telling};
use crate::state::{Published, State};
use crate::wire::attempt::{self, Flags};
use crate::wire::proto::{AttemptResult, Outcome, ReportRequest};
use crate::wire::{cache, grpc_status};

/// The name of the log whose entries are attempts.
pub const ATTEMPTS: &str = "attempts";

/// The name of the log whose entries are requests.
pub const REQUESTS: &str = "requests";

/// The tag of an attempt that holds the round trip to whoever opened the connection to Envoy, `%DOWNSTREAM_CX_RTT%`.
pub const ROUND_TRIP: &str = "client_round_trip_ms";

/// The header in which Envoy hands on who the client is.
const CLIENT: &str = "x-envoy-external-address";

/// How a request ended, for the metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ending {
    /// With an answer below 500.
    Answered,
    /// With an answer of 500 or above, from a node or from Envoy.
    Failed,
    /// The client left.
    ClientLeft,
}

impl Ending {
    /// Every value, in order, with the word used in metrics.
    pub const ALL: [(Self, &'static str); 3] = [
        (Self::Answered, "answered"),
        (Self::Failed, "failed"),
        (Self::ClientLeft, "client_left"),
    ];
}

/// Attempts that are told apart in the metrics: 0, 1, 2, 3, and 4 or more.
pub const ATTEMPT_COUNTS: [&str; 5] = ["0", "1", "2", "3", "4+"];

/// What one worker counts of access logs. Only that worker writes.
#[derive(Debug, Default)]
pub struct AccessLogCounters {
    requests: [[AtomicU64; ATTEMPT_COUNTS.len()]; Ending::ALL.len()],
    /// Attempts that say nothing about a node: nobody was asked, or the client left.
    pub ignored: AtomicU64,
    /// Entries of logs with another name.
    pub unnamed: AtomicU64,
}

impl AccessLogCounters {
    /// Requests that ended so after so many attempts (a position in [`ATTEMPT_COUNTS`]).
    pub fn requests(&self, ending: Ending, attempts: usize) -> u64 {
        let cell = self.requests.get(ending as usize);
        let cell = cell.and_then(|row| row.get(attempts));
        cell.map_or(0, |cell| cell.load(Ordering::Relaxed))
    }

    fn count_request(&self, entry: &HttpAccessLogEntry) {
        let common = entry.common_properties.as_ref();
        let attempts = common.map_or(0, |common| common.upstream_request_attempt_count);
        let attempts = usize::try_from(attempts).unwrap_or(usize::MAX);
        let column = attempts.min(ATTEMPT_COUNTS.len() - 1);
        let cell = self.requests.get(ending(entry) as usize);
        if let Some(cell) = cell.and_then(|row| row.get(column)) {
            cell.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Takes access logs on one worker.
#[derive(Debug, Clone)]
pub struct AccessLogs {
    state: Arc<State>,
    feedback: Feedback,
    counters: Arc<AccessLogCounters>,
}

impl AccessLogs {
    /// The service of the worker that `feedback` and `counters` belong to.
    pub fn new(state: Arc<State>, feedback: Feedback, counters: Arc<AccessLogCounters>) -> Self {
        Self {
            state,
            feedback,
            counters,
        }
    }

    /// Takes one message of a log.
    fn take(&self, log: &str, telling: &mut Telling, entries: Vec<HttpAccessLogEntry>) {
        match log {
            ATTEMPTS => self.take_attempts(telling, entries),
            REQUESTS => {
                for entry in &entries {
                    self.counters.count_request(entry);
                }
            }
            _ => {
                let count = entries.len() as u64;
                self.counters.unnamed.fetch_add(count, Ordering::Relaxed);
            }
        }
    }

    fn take_attempts(&self, telling: &mut Telling, entries: Vec<HttpAccessLogEntry>) {
        let published = self.state.published.load();
        let Some(published) = published.as_ref() else {
            return;
        };
        let given = entries.len();
        let outcomes = entries
            .into_iter()
            .filter_map(|entry| outcome(entry, published));
        let mut outcomes: Vec<Outcome> = outcomes.collect();
        let ignored = given - outcomes.len();
        self.counters
            .ignored
            .fetch_add(ignored as u64, Ordering::Relaxed);
        while !outcomes.is_empty() {
            let rest = outcomes.split_off(outcomes.len().min(MAX_OUTCOMES));
            telling.outcomes(&ReportRequest {
                outcomes: std::mem::replace(&mut outcomes, rest),
                // Whoever the peer is: an Envoy that tells by `ext_proc` as well must not be two.
                reporter: String::new(),
            });
        }
    }
}

#[tonic::async_trait]
impl AccessLogService for AccessLogs {
    async fn stream_access_logs(
        &self,
        request: Request<Streaming<StreamAccessLogsMessage>>,
    ) -> Result<Response<StreamAccessLogsResponse>, Status> {
        let mut telling = self.feedback.telling(&request);
        let mut messages = request.into_inner();
        let mut draining = self.state.fleet.subscribe();
        // Which log it is, from the first message.
        let mut log = String::new();
        loop {
            let message = tokio::select! {
                message = messages.message() => message?,
                // A stream lives as long as Envoy; the end must not wait for it.
                _ = draining.wait_for(|fleet| fleet.draining) => None,
            };
            let Some(message) = message else { break };
            if let Some(identifier) = message.identifier {
                log = identifier.log_name;
            }
            if let Some(LogEntries::HttpLogs(entries)) = message.log_entries {
                self.take(&log, &mut telling, entries.log_entry);
            }
            telling.rest().await;
        }
        Ok(Response::new(StreamAccessLogsResponse {}))
    }
}

/// How a request ended.
fn ending(entry: &HttpAccessLogEntry) -> Ending {
    let flags = entry.common_properties.as_ref();
    let flags = flags.and_then(|common| common.response_flags.as_ref());
    match status(entry.response.as_ref()) {
        0 if flags.is_some_and(client_left) => Ending::ClientLeft,
        0 | 500.. => Ending::Failed,
        _ => Ending::Answered,
    }
}

fn client_left(flags: &ResponseFlags) -> bool {
    flags.downstream_connection_termination
        || flags.downstream_remote_reset
        || flags.downstream_protocol_error
}

/// The status of an answer, or the one that its gRPC status stands for; 0 for none.
fn status(response: Option<&HttpResponseProperties>) -> u32 {
    let Some(response) = response else { return 0 };
    let trailer = response.response_trailers.get(grpc_status::NAME);
    let found = trailer.or_else(|| response.response_headers.get(grpc_status::NAME));
    let code = response.response_code.unwrap_or(0);
    grpc_status::of_answer(code, found.map(String::as_str))
}

/// What an attempt says about its node; `None` if it says nothing.
fn outcome(entry: HttpAccessLogEntry, published: &Published) -> Option<Outcome> {
    let common = entry.common_properties?;
    let response = entry.response;
    let address = ask::socket_of(common.upstream_remote_address.as_ref())?;
    let status = status(response.as_ref());
    let result = result(&common, status)?;
    let node = published.nodes.addresses().at(address).map_or_else(
        // Refused and counted as an unknown node, with its address for whoever looks into it.
        || address.to_string(),
        |node| published.snapshot.topology().node(node).id.to_string(),
    );
    let header = |name: &str| {
        let headers = response.as_ref().map(|response| &response.response_headers);
        headers
            .and_then(|headers| headers.get(name))
            .map(String::as_str)
    };
    let cache_status = cache::status(header).into();
    let sent = common.time_to_first_upstream_tx_byte;
    let since_sent = |until: Option<Duration>| between(sent?, until?);
    let mut asked = entry.request.unwrap_or_default().request_headers;
    let list = asked.get(DESTINATION).map_or("", String::as_str);
    let place = attempt::place(list, address);
    // The log of the router, which has an entry for each attempt, does not count them (Envoy 1.40).
    let attempt = place.unwrap_or(common.upstream_request_attempt_count.min(255));
    Some(Outcome {
        client_round_trip: round_trip(&common, asked.get(CLIENT)),
        decision_id: asked.remove(DECISION_ID).unwrap_or_default(),
        node,
        attempt,
        result: result.into(),
        status,
        time_to_first_byte: since_sent(common.time_to_first_upstream_rx_byte),
        total: since_sent(common.time_to_last_upstream_rx_byte),
        bytes: response.map_or(0, |response| response.response_body_bytes),
        cache_status,
        ..Outcome::default()
    })
}

/// The round trip between the client and Envoy. It is that of the connection, so it is the client's only where he opened it
/// himself, and no proxy in front of us.
fn round_trip(common: &AccessLogCommon, client: Option<&String>) -> Option<Duration> {
    let direct = common.downstream_direct_remote_address.as_ref();
    let direct = direct.and_then(|address| ask::socket_of(Some(address)));
    let is_direct =
        |client: &String| direct.is_some_and(|direct| client.parse() == Ok(direct.ip()));
    if !client.is_none_or(is_direct) {
        return None;
    }
    let ms = common.custom_tags.get(ROUND_TRIP)?.parse().ok()?;
    std::time::Duration::from_millis(ms).try_into().ok()
}

/// How an attempt went; `None` if the node had no part in it.
fn result(common: &AccessLogCommon, status: u32) -> Option<AttemptResult> {
    let told = common.response_flags.unwrap_or_default();
    let flags = Flags::given([
        (told.no_healthy_upstream, Flags::NO_HEALTHY_UPSTREAM),
        (
            told.upstream_request_timeout,
            Flags::UPSTREAM_REQUEST_TIMEOUT,
        ),
        (told.upstream_remote_reset, Flags::UPSTREAM_REMOTE_RESET),
        (
            told.upstream_connection_failure,
            Flags::UPSTREAM_CONNECTION_FAILURE,
        ),
        (
            told.upstream_connection_termination,
            Flags::UPSTREAM_CONNECTION_TERMINATION,
        ),
        (told.upstream_overflow, Flags::UPSTREAM_OVERFLOW),
        (told.stream_idle_timeout, Flags::STREAM_IDLE_TIMEOUT),
        (told.duration_timeout, Flags::DURATION_TIMEOUT),
        (told.upstream_protocol_error, Flags::UPSTREAM_PROTOCOL_ERROR),
    ]);
    let failed = !common.upstream_transport_failure_reason.is_empty();
    let is_whole = common.time_to_last_upstream_rx_byte.is_some();
    attempt::result(flags.with_failure(failed), status, is_whole)
}

/// From one moment to another, both counted from the same start; `None` if they stand the wrong way round.
fn between(from: Duration, until: Duration) -> Option<Duration> {
    let nanos = |at: Duration| i128::from(at.seconds) * 1_000_000_000 + i128::from(at.nanos);
    let between = u64::try_from(nanos(until) - nanos(from)).ok()?;
    std::time::Duration::from_nanos(between).try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doors::envoy::proto::envoy::config::core::v3::address::Address as Place;
    use crate::doors::envoy::proto::envoy::config::core::v3::socket_address::PortSpecifier;
    use crate::doors::envoy::proto::envoy::config::core::v3::{Address, SocketAddress};

    #[test]
    fn a_round_trip_is_the_clients_only_without_a_proxy_between() {
        let place = Place::SocketAddress(SocketAddress {
            address: "203.0.113.9".to_owned(),
            port_specifier: Some(PortSpecifier::PortValue(40_000)),
        });
        let logged = |tag: &str| AccessLogCommon {
            downstream_direct_remote_address: Some(Address {
                address: Some(place.clone()),
            }),
            custom_tags: [(ROUND_TRIP.to_owned(), tag.to_owned())].into(),
            ..AccessLogCommon::default()
        };
        let ms = |tag, client: Option<&str>| {
            let found = round_trip(&logged(tag), client.map(str::to_owned).as_ref())?;
            Some((found.seconds, found.nanos / 1_000_000))
        };
        assert_eq!(ms("25", Some("203.0.113.9")), Some((0, 25)));
        assert_eq!(ms("1025", None), Some((1, 25)));
        assert_eq!(
            ms("25", Some("198.51.100.7")),
            None,
            "of the balancer between"
        );
        assert_eq!(ms("-", Some("203.0.113.9")), None);
    }
}
