//! What a door can serve: any tower service that answers HTTP requests and cannot fail.

use std::convert::Infallible;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::{Body, Incoming};
use tower::{BoxError, Service};

/// A service for one worker: a generated tonic server, `tonic::service::Routes`, an `axum::Router`, or
/// a tower stack over one of them.
///
/// It is implemented for everything that fits; nobody implements it by hand. `Send` is asked for because
/// tonic's services are `Send` anyway and the gate then needs no second kind of task; a service is
/// nevertheless made once for each worker and used by that worker alone, so what it holds is not shared
/// between cores. The future must be `Unpin`, as boxed futures and those of tonic and axum are.
pub trait WorkerService:
    Service<
        Request<Incoming>,
        Response = Response<Self::AnswerBody>,
        Error = Infallible,
        Future: Send + Unpin + 'static,
    > + Clone
    + Send
    + 'static
{
    /// The body of its answers.
    type AnswerBody: Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static;
}

impl<S, B> WorkerService for S
where
    S: Service<
            Request<Incoming>,
            Response = Response<B>,
            Error = Infallible,
            Future: Send + Unpin + 'static,
        > + Clone
        + Send
        + 'static,
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    type AnswerBody = B;
}
