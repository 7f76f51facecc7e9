//! A gRPC service by hand, over raw bytes, for the tests and the bench of the accept gate.

#![allow(dead_code, reason = "each binary that includes this uses its own part")]

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes};
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame};
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::{Code, Status};
use tower::{BoxError, Service};

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Messages as they are.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RawCodec;

impl Codec for RawCodec {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for RawCodec {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(message);
        Ok(())
    }
}

impl Decoder for RawCodec {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}

/// The service; its methods are the arms of `call`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Echo;

/// Whether a path of [`Echo`] streams.
pub(crate) fn streams(path: &str) -> bool {
    path.ends_with("/Watch")
}

impl NamedService for Echo {
    const NAME: &'static str = "test.Echo";
}

impl<B> Service<Request<B>> for Echo
where
    B: Body<Error: Into<BoxError> + Send> + Send + 'static,
{
    type Response = Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = BoxFuture<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let method = request.uri().path().rsplit('/').next().unwrap_or_default();
        match method {
            "Unary" => Box::pin(async { Ok(Grpc::new(RawCodec).unary(Unary, request).await) }),
            // Waits as many milliseconds as the message says.
            "Sleep" => Box::pin(async { Ok(Grpc::new(RawCodec).unary(Sleep, request).await) }),
            // Gives 64 KiB.
            "Large" => Box::pin(async { Ok(Grpc::new(RawCodec).unary(Large, request).await) }),
            "Hang" => Box::pin(std::future::pending()),
            "Panic" => panic!("a panic that a test asked for"),
            "PanicInBody" => Box::pin(async { Ok(answer(PanickingBody)) }),
            // A stream that never gives anything.
            "Watch" => Box::pin(async { Ok(answer(SilentBody)) }),
            _unknown => Box::pin(async {
                Ok(Status::new(Code::Unimplemented, "no such method").into_http())
            }),
        }
    }
}

fn answer(
    body: impl Body<Data = Bytes, Error = Status> + Send + 'static,
) -> Response<tonic::body::Body> {
    let mut answer = Response::new(tonic::body::Body::new(body.boxed_unsync()));
    let grpc = http::HeaderValue::from_static("application/grpc");
    answer
        .headers_mut()
        .insert(http::header::CONTENT_TYPE, grpc);
    answer
}

struct Unary;

impl UnaryService<Bytes> for Unary {
    type Response = Bytes;
    type Future = std::future::Ready<Result<tonic::Response<Bytes>, Status>>;

    fn call(&mut self, request: tonic::Request<Bytes>) -> Self::Future {
        std::future::ready(Ok(tonic::Response::new(request.into_inner())))
    }
}

struct Sleep;

impl UnaryService<Bytes> for Sleep {
    type Response = Bytes;
    type Future = BoxFuture<Result<tonic::Response<Bytes>, Status>>;

    fn call(&mut self, request: tonic::Request<Bytes>) -> Self::Future {
        Box::pin(async move {
            let text = String::from_utf8_lossy(request.get_ref()).into_owned();
            let millis = text.parse().map_err(|_| Status::invalid_argument(text))?;
            tokio::time::sleep(Duration::from_millis(millis)).await;
            Ok(tonic::Response::new(request.into_inner()))
        })
    }
}

struct Large;

impl UnaryService<Bytes> for Large {
    type Response = Bytes;
    type Future = std::future::Ready<Result<tonic::Response<Bytes>, Status>>;

    fn call(&mut self, _request: tonic::Request<Bytes>) -> Self::Future {
        std::future::ready(Ok(tonic::Response::new(Bytes::from(vec![7; 64 * 1_024]))))
    }
}

struct PanickingBody;

impl Body for PanickingBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        panic!("a panic that a test asked for");
    }
}

struct SilentBody;

impl Body for SilentBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Poll::Pending
    }
}
