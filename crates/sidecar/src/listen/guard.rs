//! The guard around each call: a place in the in-flight budget, a deadline, and a net for panics.
//!
//! It costs five additions to counters that only this worker writes, and for one call in 64 two looks at the clock. The timer is made only if the call
//! does not finish in its first poll, which a routing decision always does.

use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{Request, Response};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::{self, Sleep};
use tonic::Code;
use tower::util::Oneshot;

use super::counters::{self, GateCounters, Timed, WorkerGauges};
use super::entrance::{Method, Methods};
use super::loss::Loss;
use super::service::WorkerService;
use super::warden::{Call, ConnectionState, Sending};
use crate::identity::{Denied, Pass};

/// What all calls of one door on one worker have in common.
#[derive(Debug)]
pub(crate) struct CallTerms {
    /// Time for a unary call to give its answer's head.
    pub(crate) request_deadline: Duration,
    /// What holds for which paths.
    pub(crate) methods: Methods,
    /// Calls that each connection may have in flight, whatever others do.
    pub(crate) own_calls: u64,
    /// Calls this worker may have in flight beyond those.
    pub(crate) max_in_flight: u64,
    /// Which calls are timed.
    pub(crate) timed: Timed,
    /// Where faults are counted.
    pub(crate) counters: Arc<GateCounters>,
    /// This worker's gauges.
    pub(crate) gauges: Arc<WorkerGauges>,
}

/// A worker's service as one connection sees it.
#[derive(Debug)]
pub(crate) struct Guard<S> {
    service: S,
    terms: Arc<CallTerms>,
    connection: Arc<ConnectionState>,
    pass: Pass,
}

impl<S> Guard<S> {
    pub(crate) fn new(
        service: S,
        terms: Arc<CallTerms>,
        connection: Arc<ConnectionState>,
        pass: Pass,
    ) -> Self {
        Self {
            service,
            terms,
            connection,
            pass,
        }
    }
}

/// Looks whether a call may be made, and tells its service who makes it where that wants to know.
pub(super) fn admit<B>(
    pass: &Pass,
    method: Method,
    request: &mut Request<B>,
) -> Result<(), Box<Denied>> {
    let Some(role) = method.needs else {
        if method.names_caller {
            request.extensions_mut().insert(pass.caller().clone());
        }
        return Ok(());
    };
    if pass.has(role) && !method.names_caller {
        return Ok(());
    }
    let authorization = request.headers().get(AUTHORIZATION);
    let caller = pass.admit(role, authorization.map(HeaderValue::as_bytes))?;
    if method.names_caller {
        request.extensions_mut().insert(caller);
    }
    Ok(())
}

impl<S: WorkerService> hyper::service::Service<Request<Incoming>> for Guard<S> {
    type Response = Response<GuardedBody<S::AnswerBody>>;
    type Error = Infallible;
    type Future = GuardedCall<S>;

    fn call(&self, mut request: Request<Incoming>) -> GuardedCall<S> {
        let method = (self.terms.methods)(request.uri().path());
        let denied = admit(&self.pass, method, &mut request).err();
        let place = if let Some(denied) = &denied {
            self.terms.counters.count_denied(denied);
            None
        } else {
            Place::take(&self.terms, &self.connection)
        };
        if place.is_none() && denied.is_none() {
            counters::count(&self.terms.counters.shed_in_flight);
        }
        let streaming = method.is_streaming;
        let loss = (streaming && place.is_some())
            .then(|| Loss::watch(&self.pass, method, &request, &self.connection))
            .flatten();
        let is_timed = place.is_some() && !streaming;
        let started = is_timed.then(|| self.terms.gauges.begin(self.terms.timed));
        GuardedCall {
            started: started.flatten(),
            is_unary: !streaming,
            deadline: (!streaming || method.asks_once).then(|| {
                let asked = grpc_timeout(request.headers()).unwrap_or(Duration::MAX);
                self.terms.request_deadline.min(asked)
            }),
            call: Oneshot::new(self.service.clone(), request),
            timer: None,
            denied,
            loss,
            place,
            connection: Arc::clone(&self.connection),
        }
    }
}

/// A call's place among those in flight, given back on drop.
#[derive(Debug)]
struct Place {
    terms: Arc<CallTerms>,
    /// Whether it is of what all connections share.
    is_shared: bool,
    _call: Call,
}

impl Place {
    /// A place of the connection's own as long as it has one, else of those that all share: so who floods a door takes no
    /// place from who asks a little.
    fn take(terms: &Arc<CallTerms>, connection: &Arc<ConnectionState>) -> Option<Self> {
        let gauges = &terms.gauges;
        let is_shared = connection.calls() >= terms.own_calls;
        // One thread alone adds to these gauges, so a look before the addition cannot go stale.
        if is_shared {
            if counters::read(&gauges.shared) >= terms.max_in_flight {
                return None;
            }
            counters::count(&gauges.shared);
        }
        counters::count(&gauges.in_flight);
        Some(Self {
            terms: Arc::clone(terms),
            is_shared,
            _call: connection.begin_call(),
        })
    }

    /// The call's answer is there, or the time for it is over.
    fn end(&self, started: Option<Instant>) {
        if let Some(started) = started {
            self.terms.gauges.durations.record(started.elapsed());
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let gauges = &self.terms.gauges;
        counters::uncount(&gauges.in_flight);
        if self.is_shared {
            counters::uncount(&gauges.shared);
        }
    }
}

/// A call in progress under the guard.
pub(crate) struct GuardedCall<S: WorkerService> {
    call: Oneshot<S, Request<Incoming>>,
    is_unary: bool,
    /// Time from the first poll to the answer's head; `None` for a path on which questions are a stream.
    deadline: Option<Duration>,
    timer: Option<Pin<Box<Sleep>>>,
    /// `None` for calls that are not timed.
    started: Option<Instant>,
    /// Why it may not be made, if it may not.
    denied: Option<Box<Denied>>,
    /// Passed on to the answer's body; for streaming paths only, others are over soon.
    loss: Option<Loss>,
    /// Passed on to the answer's body; `None` from the start for a call that may not be made, or is over the in-flight budget.
    place: Option<Place>,
    connection: Arc<ConnectionState>,
}

impl<S: WorkerService> Future for GuardedCall<S> {
    type Output = Result<Response<GuardedBody<S::AnswerBody>>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if let Some(denied) = &this.denied {
            return Poll::Ready(Ok(denial(denied)));
        }
        let Some(place) = &this.place else {
            let message = "too many calls are in flight, try another server";
            return Poll::Ready(Ok(refusal(Code::ResourceExhausted, message)));
        };
        if let Some(denied) = lost(&mut this.loss, cx) {
            place.terms.counters.count_denied(&denied);
            return Poll::Ready(Ok(denial(&denied)));
        }
        let call = &mut this.call;
        // A service that panics is dropped with its call, so nobody sees what it left half done.
        match catch_unwind(AssertUnwindSafe(|| Pin::new(call).poll(cx))) {
            Ok(Poll::Ready(Ok(answer))) => return Poll::Ready(Ok(this.guard_body(answer))),
            Ok(Poll::Pending) => {}
            Err(_panic) => {
                counters::count(&place.terms.counters.panics);
                return Poll::Ready(Ok(refusal(Code::Internal, "the service failed")));
            }
        }
        let Some(deadline) = this.deadline else {
            return Poll::Pending;
        };
        let timer = this
            .timer
            .get_or_insert_with(|| Box::pin(time::sleep(deadline)));
        if timer.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        counters::count(&place.terms.counters.deadline_exceeded);
        place.end(this.started);
        let message = "the call took longer than the server allows";
        Poll::Ready(Ok(refusal(Code::DeadlineExceeded, message)))
    }
}

impl<S: WorkerService> GuardedCall<S> {
    fn guard_body(
        &mut self,
        answer: Response<S::AnswerBody>,
    ) -> Response<GuardedBody<S::AnswerBody>> {
        let (head, body) = answer.into_parts();
        let is_sent = self.is_unary && !body.is_end_stream();
        let sending = is_sent.then(|| self.connection.begin_sending());
        let is_followed = is_sent && self.connection.is_followed();
        let place = self.place.take();
        if let Some(place) = &place {
            place.end(self.started);
        }
        Response::from_parts(
            head,
            GuardedBody {
                body: Some(body),
                is_followed,
                last_byte: None,
                loss: self.loss.take(),
                place,
                _sending: sending,
            },
        )
    }
}

/// The body of an answer; holds the call's place until it has been sent or dropped.
#[derive(Debug)]
pub(crate) struct GuardedBody<B> {
    /// `None` for an answer of the guard's own, and after the service's body panicked.
    body: Option<B>,
    /// Whether the last byte of what it has goes out by itself: it is asked for only once all before it has gone out.
    is_followed: bool,
    last_byte: Option<Bytes>,
    loss: Option<Loss>,
    place: Option<Place>,
    _sending: Option<Sending>,
}

impl<B: Body<Data = Bytes> + Unpin> Body for GuardedBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        if let Some(denied) = lost(&mut self.loss, cx) {
            if let Some(place) = &self.place {
                place.terms.counters.count_denied(&denied);
            }
            // Dropped with what the service holds for it, so that nothing more is taken from the caller.
            (self.body, self.loss) = (None, None);
            let trailers = denied_headers(&denied);
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        if let Some(last) = self.last_byte.take() {
            return Poll::Ready(Some(Ok(Frame::data(last))));
        }
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        if let Ok(frame) = catch_unwind(AssertUnwindSafe(|| Pin::new(body).poll_frame(cx))) {
            let Poll::Ready(Some(Ok(mut frame))) = frame else {
                return frame;
            };
            if self.is_followed
                && let Some(data) = frame.data_mut()
                && data.len() > 1
            {
                self.last_byte = Some(data.split_off(data.len() - 1));
            }
            return Poll::Ready(Some(Ok(frame)));
        }
        self.body = None;
        if let Some(place) = &self.place {
            counters::count(&place.terms.counters.panics);
        }
        let trailers = status_headers(Code::Internal, "the service failed");
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.last_byte.is_none() && self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

/// Why a stream may go on no longer, once it may not.
fn lost(loss: &mut Option<Loss>, cx: &mut Context<'_>) -> Option<Denied> {
    match loss.as_mut()?.poll(cx) {
        Poll::Ready(denied) => Some(denied),
        Poll::Pending => None,
    }
}

/// The answer to a call that may not be made.
fn denial<B>(denied: &Denied) -> Response<GuardedBody<B>> {
    trailers_only(denied_headers(denied))
}

fn denied_headers(denied: &Denied) -> HeaderMap {
    let code = if denied.is_unproven() {
        Code::Unauthenticated
    } else {
        Code::PermissionDenied
    };
    let mut headers = status_headers(code, "");
    if let Ok(words) = HeaderValue::try_from(denied.words()) {
        headers.insert(GRPC_MESSAGE, words);
    }
    headers
}

/// An answer of the guard's own: gRPC's "trailers only" form.
fn refusal<B>(code: Code, message: &'static str) -> Response<GuardedBody<B>> {
    trailers_only(status_headers(code, message))
}

fn trailers_only<B>(status: HeaderMap) -> Response<GuardedBody<B>> {
    let mut answer = Response::new(GuardedBody {
        body: None,
        is_followed: false,
        last_byte: None,
        loss: None,
        place: None,
        _sending: None,
    });
    *answer.headers_mut() = status;
    answer
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    answer
}

const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// `message` must be plain ASCII without `%`, which gRPC would want encoded.
fn status_headers(code: Code, message: &'static str) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(3);
    headers.insert(
        HeaderName::from_static("grpc-status"),
        HeaderValue::from(code as i32),
    );
    headers.insert(GRPC_MESSAGE, HeaderValue::from_static(message));
    headers
}

/// The client's own deadline (`grpc-timeout: 100m`), or `None` if there is none or it is malformed.
fn grpc_timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    // The protocol allows eight digits and no sign.
    if digits.len() > 8 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(amount * 3_600)),
        "M" => Some(Duration::from_secs(amount * 60)),
        "S" => Some(Duration::from_secs(amount)),
        "m" => Some(Duration::from_millis(amount)),
        "u" => Some(Duration::from_micros(amount)),
        "n" => Some(Duration::from_nanos(amount)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timeout_of(value: &'static str) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert("grpc-timeout", HeaderValue::from_static(value));
        grpc_timeout(&headers)
    }

    #[test]
    fn the_clients_timeout_is_read_in_all_units() {
        assert_eq!(timeout_of("2H"), Some(Duration::from_hours(2)));
        assert_eq!(timeout_of("3M"), Some(Duration::from_mins(3)));
        assert_eq!(timeout_of("4S"), Some(Duration::from_secs(4)));
        assert_eq!(timeout_of("100m"), Some(Duration::from_millis(100)));
        assert_eq!(
            timeout_of("99999999u"),
            Some(Duration::from_micros(99_999_999))
        );
        assert_eq!(timeout_of("5n"), Some(Duration::from_nanos(5)));
    }

    #[test]
    fn a_malformed_timeout_is_no_timeout() {
        for value in [
            "",
            "m",
            "10",
            "+1m",
            "-1m",
            "1 m",
            "123456789m",
            "1x",
            "1.5S",
        ] {
            assert_eq!(timeout_of(value), None, "{value}");
        }
        assert_eq!(grpc_timeout(&HeaderMap::new()), None);
    }
}
