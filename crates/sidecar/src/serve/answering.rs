//! An answer of a worker's services in the making.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::Response;
use hyper::body::Incoming;
use tonic::body::Body;
use tonic::codegen::BoxFuture;

use crate::doors::envoy::authorize::Authorizer;
use crate::doors::envoy::proto::envoy::service::auth::v3::authorization_server::AuthorizationServer;
use crate::doors::unary::{AnswerBody, Call};
use crate::intake::decider::Decider;
use crate::wire::proto::server::decision_service_server::DecisionServiceServer;

/// An answer in the making: of the methods that are answered by hand, or of any other, which costs a box.
pub(super) enum Answering {
    Decide(Call<Decider, DecisionServiceServer<Decider>, Incoming>),
    Check(Call<Authorizer, AuthorizationServer<Authorizer>, Incoming>),
    Other(BoxFuture<Response<Body>, Infallible>),
}

impl Future for Answering {
    type Output = Result<Response<AnswerBody>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Self::Decide(call) => Pin::new(call).poll(context),
            Self::Check(call) => Pin::new(call).poll(context),
            Self::Other(answer) => {
                let answer = ready!(answer.as_mut().poll(context));
                Poll::Ready(answer.map(|answer| answer.map(AnswerBody::Behind)))
            }
        }
    }
}
