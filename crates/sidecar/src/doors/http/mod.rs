//! The query door: decisions and outcomes over plain HTTP, for proxies and scripts that do not speak gRPC.
//!
//! `GET|POST /v1/route` answers a decision in headers (for a proxy) and as JSON (for people), `POST /v1/outcomes` takes
//! how attempts went, a JSON object a line. The desk runs on the workers, beside the gRPC services and on the same
//! [`Decider`] and [`Feedback`], so both ways give the same answers and count in the same counters. It tells paths apart
//! by hand: a router costs more than a decision.

mod outcomes;
mod route;

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::Serialize;
use tower::Service;

use crate::intake::decider::Decider;
use crate::intake::feedback::Feedback;
use crate::state::doors::Door;
use crate::state::{NO_POLICY, State};

/// Where decisions are asked for.
const ROUTE: &str = "/v1/route";

/// Where outcomes are told.
const OUTCOMES: &str = "/v1/outcomes";

/// How long to wait for the first good policy, in seconds.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Answers plain HTTP on one worker.
#[derive(Debug, Clone)]
pub struct HttpDesk {
    decider: Decider,
    feedback: Feedback,
    /// Knows the other doors.
    state: Arc<State>,
}

impl HttpDesk {
    /// The desk of the worker that these belong to.
    pub fn new(decider: Decider, feedback: Feedback, state: Arc<State>) -> Self {
        Self {
            decider,
            feedback,
            state,
        }
    }

    /// What is said of a path that is not served here.
    fn no_such_page(&self, path: &str) -> Response<Body> {
        let doors = self.state.doors.get();
        let elsewhere = doors.and_then(|doors| doors.elsewhere(Door::Http, path));
        let here = "there are GET and POST /v1/route, and POST /v1/outcomes";
        let words = elsewhere.map_or_else(
            || format!("no such page; {here}"),
            |elsewhere| format!("no such page; {elsewhere}; {here}"),
        );
        fault(StatusCode::NOT_FOUND, &words)
    }
}

impl Service<Request<Body>> for HttpDesk {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answering;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Answering {
        let answer = match (request.uri().path(), request.method()) {
            (ROUTE, &Method::GET | &Method::HEAD) => route::get(&self.decider, &request),
            (ROUTE, &Method::POST) => {
                let decider = self.decider.clone();
                return Answering::Later(Box::pin(route::post(decider, request)));
            }
            (OUTCOMES, &Method::POST) => {
                let feedback = self.feedback.clone();
                return Answering::Later(Box::pin(outcomes::post(feedback, request)));
            }
            (ROUTE, _) => not_allowed("GET, HEAD, POST"),
            (OUTCOMES, _) => not_allowed("POST"),
            (path, _) => self.no_such_page(path),
        };
        Answering::Now(Some(answer))
    }
}

/// An answer that comes later.
pub type BoxFuture = Pin<Box<dyn Future<Output = Response<Body>> + Send>>;

/// An answer, at hand already unless a body must be read first.
pub enum Answering {
    /// Taken when it is asked for.
    Now(Option<Response<Body>>),
    /// After the body.
    Later(BoxFuture),
}

impl std::fmt::Debug for Answering {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Now(_) => "Now",
            Self::Later(_) => "Later",
        })
    }
}

impl Future for Answering {
    type Output = Result<Response<Body>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Self::Now(answer) => answer
                .take()
                .map_or(Poll::Pending, |answer| Poll::Ready(Ok(answer))),
            Self::Later(answer) => answer.as_mut().poll(context).map(Ok),
        }
    }
}

/// Reads a body of at most `most` bytes, or answers why not.
async fn read_body(body: Body, most: usize) -> Result<Bytes, Box<Response<Body>>> {
    let read = Limited::new(body, most).collect().await;
    read.map(http_body_util::Collected::to_bytes)
        .map_err(|error| {
            let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error.as_ref());
            while let Some(error) = cause {
                if error.is::<LengthLimitError>() {
                    let words =
                        format!("the request's body is too large, at most {most} bytes are taken");
                    return Box::new(closing(fault(StatusCode::PAYLOAD_TOO_LARGE, &words)));
                }
                cause = error.source();
            }
            Box::new(closing(fault(
                StatusCode::BAD_REQUEST,
                "the request's body broke off",
            )))
        })
}

/// After a request that was not read to its end, nothing more can be read from its connection.
fn closing(mut answer: Response<Body>) -> Response<Body> {
    let close = HeaderValue::from_static("close");
    answer.headers_mut().insert(header::CONNECTION, close);
    answer
}

/// A JSON answer that nobody may keep; without a body where none is given.
fn json(status: StatusCode, body: Option<&impl Serialize>) -> Response<Body> {
    // Messages are plain data, which always can be written.
    let body = body.map(|body| serde_json::to_vec(body).unwrap_or_default());
    let mut answer = Response::new(body.map_or_else(Body::empty, Body::from));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.reserve(24);
    headers.insert(header::CONTENT_TYPE, JSON);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

fn fault(status: StatusCode, words: &str) -> Response<Body> {
    json(status, Some(&serde_json::json!({ "error": words })))
}

fn not_allowed(allowed: &'static str) -> Response<Body> {
    let mut answer = fault(
        StatusCode::METHOD_NOT_ALLOWED,
        &format!("allowed are {allowed}"),
    );
    let allowed = HeaderValue::from_static(allowed);
    answer.headers_mut().insert(header::ALLOW, allowed);
    answer
}

fn no_policy() -> Response<Body> {
    let mut answer = fault(StatusCode::SERVICE_UNAVAILABLE, NO_POLICY);
    answer
        .headers_mut()
        .insert(header::RETRY_AFTER, RETRY_AFTER);
    answer
}
