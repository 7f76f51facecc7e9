//! HTTP/1.1: one connection that has come through a [`gate`](super::gate::Gate::open_http1).
//!
//! Two doors speak it, under the same bounds with other numbers: plain HTTP queries ([`Http1Limits::query`]), on the workers,
//! and the debug pages and metrics ([`Http1Limits::default`]), on a worker of their own. That one is not made for speed; it is
//! made so that nobody can exhaust the process through it.

use std::convert::Infallible;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Limited;
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time;
use tower::{Service, ServiceExt};

use super::counters::{self, GateCounters, Timed, WorkerGauges};
use super::entrance::Methods;
use super::guard;
use super::loss::Loss;
use super::porter::{Arrival, Host};
use super::preface::Opened;
use super::stranger::{self, Signpost};
use super::warden::{self, Call, ConnectionState, Phase, Terms};
use super::watched::{self, Watched};
use crate::identity::{Denied, Pass};

/// Bounds of an HTTP/1.1 door. The first number is that of the debug door, the second that of the query door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Http1Limits {
    /// Open connections; 256, 1,024: viewers of the console with a stream each, and the pools of a proxy's workers. For more,
    /// idle ones go, so that whoever opens them all cannot keep a probe of `/livez` out.
    pub max_connections: usize,
    /// Time for a request's head to arrive, and for which an idle connection is kept; 5 s, 30 s: a proxy's pool should
    /// outlive a lull.
    pub header_read_timeout: Duration,
    /// Largest head of a request; 16 KiB, 40 KiB: proxies hand on what the client sent (nginx takes 32 KiB) and add to it.
    /// Above it 431. The read buffer has twice that at most.
    pub max_header_bytes: usize,
    /// Most headers of a request; 64, 512: what the client sent, and what the proxy adds. What no rule looks at costs next
    /// to nothing, and is no reason to refuse what the proxy took. Above it 431.
    pub max_headers: usize,
    /// Largest body of a request; 256 KiB both. Above it 413.
    pub max_body_bytes: usize,
    /// Time for a request's body to arrive and its answer to begin; 5 s, 500 ms. Afterwards 503.
    pub request_deadline: Duration,
    /// Time in which a peer must take some of an answer; 5 s both. Afterwards the connection is closed.
    pub send_deadline: Duration,
    /// Age at which a connection is closed after the answer in hand; 5 min both.
    pub max_age: Duration,
}

impl Default for Http1Limits {
    fn default() -> Self {
        Self {
            max_connections: 256,
            header_read_timeout: Duration::from_secs(5),
            max_header_bytes: 16 * 1_024,
            max_headers: 64,
            max_body_bytes: 256 * 1_024,
            request_deadline: Duration::from_secs(5),
            send_deadline: Duration::from_secs(5),
            max_age: Duration::from_mins(5),
        }
    }
}

impl Http1Limits {
    /// For a proxy's queries: more and longer-lived connections, larger heads, and an answer soon or never.
    pub fn query() -> Self {
        Self {
            max_connections: 1_024,
            header_read_timeout: Duration::from_secs(30),
            max_header_bytes: 40 * 1_024,
            max_headers: 512,
            request_deadline: Duration::from_millis(500),
            ..Self::default()
        }
    }
}

/// What the HTTP/1.1 door can serve; implemented for everything that fits, such as `axum::Router`.
pub trait HttpService:
    Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send + 'static>
    + Clone
    + Send
    + Sync
    + 'static
{
}

impl<S> HttpService for S where
    S: Service<
            Request<Body>,
            Response = Response<Body>,
            Error = Infallible,
            Future: Send + 'static,
        > + Clone
        + Send
        + Sync
        + 'static
{
}

/// Speaks HTTP/1.1.
#[derive(Clone, Debug)]
pub(crate) struct Http1Host<S> {
    /// What it serves.
    pub(crate) service: S,
    /// The door's limits.
    pub(crate) limits: Http1Limits,
    /// What holds for which paths.
    pub(crate) methods: Methods,
    /// Where faults are counted.
    pub(crate) counters: Arc<GateCounters>,
    /// Where this worker counts its requests.
    pub(crate) gauges: Arc<WorkerGauges>,
    /// What peers that speak HTTP/2 are told.
    pub(crate) signpost: Signpost,
}

impl<S: HttpService> Host for Http1Host<S> {
    async fn serve<T>(self, stream: T, arrival: Arrival)
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Self {
            service,
            limits,
            methods,
            counters,
            gauges,
            signpost,
        } = self;
        let Arrival {
            pass,
            mut phase,
            state: control,
            ..
        } = arrival;
        let opened = tokio::select! {
            opened = time::timeout(limits.header_read_timeout, Opened::read(stream)) => opened,
            // Who has not said a word when the drain begins has no request in flight.
            _ = phase.wait_for(|phase| *phase >= Phase::Draining) => return,
            () = control.told_to_go() => return,
        };
        let stream = match opened {
            Ok(Ok(stream)) => stream,
            Ok(Err(_left)) => return,
            Err(_silent) => return counters::count(&counters.broken),
        };
        if stream.speaks_http2() {
            counters::count(&counters.refused_preface);
            return tokio::select! {
                () = stranger::answer_http2(stream, &signpost) => {}
                () = control.told_to_go() => {}
            };
        }
        let terms = Terms {
            max_age: limits.max_age,
            send_deadline: limits.send_deadline,
        };
        let _warden = warden::spawn(&control, terms, phase.clone(), &counters);
        let desk = Arc::new(Desk {
            service,
            limits,
            methods,
            pass,
            counters: Arc::clone(&counters),
            gauges,
        });
        let answering = Arc::clone(&control);
        let service = service_fn(move |request| {
            let call = answering.begin_call();
            Arc::clone(&desk).answer(request, Arc::clone(&answering), call)
        });
        let stream = TokioIo::new(Watched::new(stream, &control));
        let connection = builder(&limits).serve_connection(stream, service);
        watched::drive(
            connection,
            http1::Connection::graceful_shutdown,
            &control,
            || {},
        )
        .await
        .count(&counters, &phase);
    }
}

/// What all requests of a connection have in common.
struct Desk<S> {
    service: S,
    limits: Http1Limits,
    methods: Methods,
    pass: Pass,
    counters: Arc<GateCounters>,
    gauges: Arc<WorkerGauges>,
}

impl<S: HttpService> Desk<S> {
    /// Answers a request, if whoever sends it may.
    async fn answer(
        self: Arc<Self>,
        mut request: Request<Incoming>,
        connection: Arc<ConnectionState>,
        call: Call,
    ) -> Result<Response<Held>, Infallible> {
        let began = self.gauges.begin(Timed::All);
        let method = (self.methods)(request.uri().path());
        let loss = method
            .is_streaming
            .then(|| Loss::watch(&self.pass, method, &request, &connection));
        let answer = match guard::admit(&self.pass, method, &mut request) {
            Ok(()) => answer(self.service.clone(), request, self.limits, &self.counters).await,
            Err(denied) => {
                self.counters.count_denied(&denied);
                Ok(denial(&denied))
            }
        };
        if let Some(began) = began {
            self.gauges.durations.record(began.elapsed());
        }
        answer.map(|answer| {
            answer.map(|body| Held {
                body,
                loss: loss.flatten(),
                _call: call,
            })
        })
    }
}

/// The body of an answer, with the call that it ends.
#[derive(Debug)]
struct Held {
    body: Body,
    /// For pages that live on; HTTP/1.1 has no word for why such a one ends, but whoever asks again is told.
    loss: Option<Loss>,
    _call: Call,
}

impl hyper::body::Body for Held {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if let Some(loss) = &mut self.loss
            && loss.poll(cx).is_ready()
        {
            (self.body, self.loss) = (Body::empty(), None);
        }
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn builder(limits: &Http1Limits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .keep_alive(true)
        .header_read_timeout(limits.header_read_timeout)
        .max_headers(limits.max_headers)
        .max_header_size(limits.max_header_bytes)
        // The read buffer must hold a head of the largest size; hyper asks for at least 8 KiB.
        .max_buf_size(limits.max_header_bytes.max(8 * 1_024) * 2);
    builder
}

/// One request: body limit, deadline, and a net for panics.
async fn answer<S: HttpService>(
    service: S,
    request: Request<Incoming>,
    limits: Http1Limits,
    counters: &GateCounters,
) -> Result<Response<Body>, Infallible> {
    let declared = request.body().size_hint().lower();
    if usize::try_from(declared).map_or(true, |bytes| bytes > limits.max_body_bytes) {
        let most = limits.max_body_bytes;
        return Ok(refusal(
            StatusCode::PAYLOAD_TOO_LARGE,
            format_args!("the request's body is too large, at most {most} bytes are taken"),
        ));
    }
    let request = request.map(|body| Body::new(Limited::new(body, limits.max_body_bytes)));
    let mut call = pin!(service.oneshot(request));
    // A service that panics is dropped with its call, so nobody sees what it left half done.
    let call = std::future::poll_fn(|cx| {
        match catch_unwind(AssertUnwindSafe(|| call.as_mut().poll(cx))) {
            Ok(Poll::Ready(Ok(answer))) => Poll::Ready(Some(answer)),
            Ok(Poll::Pending) => Poll::Pending,
            Err(_panic) => Poll::Ready(None),
        }
    });
    Ok(match time::timeout(limits.request_deadline, call).await {
        Ok(Some(answer)) => answer,
        Ok(None) => {
            counters::count(&counters.panics);
            let message = format_args!("the service failed");
            refusal(StatusCode::INTERNAL_SERVER_ERROR, message)
        }
        Err(_late) => {
            counters::count(&counters.deadline_exceeded);
            refusal(
                StatusCode::SERVICE_UNAVAILABLE,
                format_args!("the request took longer than the server allows"),
            )
        }
    })
}

/// The answer to a request that its caller may not make.
fn denial(denied: &Denied) -> Response<Body> {
    // A browser or a tool that could show a token is asked for one.
    let may_show = denied.caller.name().is_none();
    let status = if may_show || denied.is_unproven() {
        StatusCode::UNAUTHORIZED
    } else {
        StatusCode::FORBIDDEN
    };
    let words = denied.words().replace(['"', '\\'], "'");
    let mut answer = refusal(status, format_args!("{words}"));
    if status == StatusCode::UNAUTHORIZED {
        let scheme = HeaderValue::from_static("Bearer");
        answer
            .headers_mut()
            .insert(header::WWW_AUTHENTICATE, scheme);
    }
    answer
}

/// An answer of the door's own, of the form that its pages' faults have, after which the connection closes: its request
/// may be half read. The message is plain words.
fn refusal(status: StatusCode, message: fmt::Arguments<'_>) -> Response<Body> {
    let mut answer = Response::new(Body::from(format!("{{\"error\":\"{message}\"}}")));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    let json = HeaderValue::from_static("application/json");
    headers.insert(header::CONTENT_TYPE, json);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    answer
}
