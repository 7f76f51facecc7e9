//! The plain service that decisions are measured against: tonic with prost messages of one `bytes` field.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::BoxFuture;
use tonic::server::{Grpc, UnaryService};
use tonic_prost::ProstCodec;
use tower::{BoxError, Service};

/// Paths by which it is called: as long as those of the methods it stands beside, because reading a path is a part of a call.
pub(crate) const PATH_LIKE_DECIDE: &str = "/tradewind.v1.DecisionService/Repeat";
pub(crate) const PATH_LIKE_CHECK: &str = "/envoy.service.auth.v3.Authorization/Shout";

/// A message of bytes.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Blob {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) data: Vec<u8>,
}

impl Blob {
    /// The message that takes about so many bytes on the wire: the field's key and length are two or three of them.
    pub(crate) fn of_encoded_size(bytes: usize) -> Self {
        let around = if bytes > 129 { 3 } else { 2 };
        Self {
            data: vec![b'e'; bytes.saturating_sub(around)],
        }
    }
}

/// Reads a message, and answers another of a given size.
#[derive(Clone, Debug)]
pub(crate) struct Echo {
    pub(crate) answer: Arc<Blob>,
}

impl UnaryService<Blob> for Echo {
    type Response = Blob;
    type Future = BoxFuture<tonic::Response<Blob>, Status>;

    fn call(&mut self, request: tonic::Request<Blob>) -> Self::Future {
        let answer = Blob::clone(&self.answer);
        Box::pin(async move {
            drop(request.into_inner());
            Ok(tonic::Response::new(answer))
        })
    }
}

impl<B> Service<Request<B>> for Echo
where
    B: hyper::body::Body<Error: Into<BoxError> + Send> + Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Response<Body>, Infallible>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    /// As in generated code.
    fn call(&mut self, request: Request<B>) -> Self::Future {
        let method = self.clone();
        Box::pin(async move {
            let codec = ProstCodec::<Blob, Blob>::default();
            Ok(Grpc::new(codec).unary(method, request).await)
        })
    }
}
