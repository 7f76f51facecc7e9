//! The connections to the sidecar: two to ask over, and one for what is large or slow.
//!
//! Two, because one connection is one lost packet, one worker of the sidecar, one slow reader; a request goes to the one
//! with fewer in flight. Copies of snapshots and outcomes have a third, so that a text of megabytes never stands before
//! an answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tonic::Code;

use super::keys::{Keys, Way};
use super::options::{ConnectError, Options};
use tradewind_wire::proto::decision_service_client::DecisionServiceClient;
use tradewind_wire::proto::{DecideRequest, DecideResponse};

/// How long a connection may take to open.
const CONNECT_WITHIN: Duration = Duration::from_millis(250);

/// A connection on which nothing comes for so long is asked whether it still lives, and closed when it does not say so.
/// Without that, one that was cut silently would look well for a quarter of an hour.
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(5);
const KEEP_ALIVE_WITHIN: Duration = Duration::from_secs(2);

/// What may be on its way at once of a stream on the third connection: a whole state of thousands of nodes.
const SIDE_WINDOW_BYTES: u32 = 1 << 20;

/// Shortest and longest deadline of a call.
const DEADLINE: (Duration, Duration) = (Duration::from_millis(1), Duration::from_secs(10));

/// The connections.
#[derive(Debug)]
pub(super) struct Lines {
    asking: [Line; 2],
    /// For copies and outcomes.
    pub(super) side: Way,
    /// What they show.
    pub(super) keys: Arc<Keys>,
}

/// A connection, and how many requests are in flight on it.
#[derive(Debug)]
struct Line {
    client: DecisionServiceClient<Way>,
    in_flight: AtomicUsize,
}

/// What became of a call.
#[derive(Debug)]
pub(super) enum Reply {
    /// The sidecar decided.
    Answered(Box<DecideResponse>),
    /// The sidecar finds fault with the request.
    Refused(String),
    /// It did not come to an answer.
    Failed,
}

/// Why a call came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// The deadline passed.
    Timeout,
    /// Anything else.
    Unavailable,
}

impl Lines {
    /// Connections that open when they are first needed.
    pub(super) fn new(options: &Options) -> Result<Self, ConnectError> {
        let keys = Keys::read(options)?;
        let endpoint = options.endpoint()?;
        let endpoint = endpoint
            .connect_timeout(CONNECT_WITHIN)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEP_ALIVE_EVERY)
            .keep_alive_timeout(KEEP_ALIVE_WITHIN)
            .keep_alive_while_idle(true);
        let line = || Line {
            client: DecisionServiceClient::new(keys.way(&endpoint)),
            in_flight: AtomicUsize::new(0),
        };
        let asking = [line(), line()];
        let side = endpoint
            .initial_stream_window_size(SIDE_WINDOW_BYTES)
            .initial_connection_window_size(2 * SIDE_WINDOW_BYTES);
        Ok(Self {
            asking,
            side: keys.way(&side),
            keys,
        })
    }

    /// Asks over the connection with fewer requests in flight.
    pub(super) async fn ask(
        &self,
        request: DecideRequest,
        deadline: Duration,
    ) -> Result<Reply, Failure> {
        let [first, second] = &self.asking;
        let load = |line: &Line| line.in_flight.load(Ordering::Relaxed);
        let line = if load(second) < load(first) {
            second
        } else {
            first
        };
        line.ask(request, deadline).await
    }

    /// Whether both connections bring answers: an empty request is decided, and counted nowhere.
    pub(super) async fn both_answer(&self, deadline: Duration) -> bool {
        let [first, second] = &self.asking;
        let nothing = || DecideRequest {
            path: "/".to_owned(),
            dry_run: true,
            ..DecideRequest::default()
        };
        // One after the other: whether a line is well does not depend on the other's being busy.
        first.ask(nothing(), deadline).await.is_ok()
            && second.ask(nothing(), deadline).await.is_ok()
    }
}

impl Line {
    async fn ask(&self, request: DecideRequest, deadline: Duration) -> Result<Reply, Failure> {
        let _counted = InFlight::of(&self.in_flight);
        let mut client = self.client.clone();
        let (least, most) = DEADLINE;
        let called = tokio::time::timeout(deadline.clamp(least, most), client.decide(request));
        match called.await {
            Ok(Ok(response)) => Ok(Reply::Answered(Box::new(response.into_inner()))),
            Ok(Err(status)) => match status.code() {
                // The second is a message above the sidecar's bound.
                Code::InvalidArgument | Code::OutOfRange => {
                    Ok(Reply::Refused(status.message().to_owned()))
                }
                _ => Err(Failure::Unavailable),
            },
            Err(_elapsed) => Err(Failure::Timeout),
        }
    }
}

/// A request in flight, as long as this lives: callers may give up at any time.
struct InFlight<'a>(&'a AtomicUsize);

impl<'a> InFlight<'a> {
    fn of(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn addresses_are_ports_or_sockets() {
        for good in ["127.0.0.1:7070", "[::1]:1", "sidecar:7070", "unix:/run/a"] {
            assert!(Lines::new(&Options::at(good)).is_ok(), "{good}");
        }
        for bad in ["", "7070", ":7070", "a:b", "http://a:1", "a:70700", "unix:"] {
            let refused = Lines::new(&Options::at(bad)).unwrap_err();
            assert!(refused.to_string().contains(&format!("`{bad}`")), "{bad}");
        }
    }
}
