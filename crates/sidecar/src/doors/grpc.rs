//! The decision service.
//!
//! A plain call of `Decide` is answered by hand ([`unary`]); everything else by the generated service.

use std::pin::Pin;
use std::task::{Context, Poll};

use http::HeaderMap;
use tokio_stream::Stream;
use tonic::{Request, Response, Status, Streaming};

use crate::clock;
use crate::doors::follow::{self, Parts};
use crate::doors::unary;
use crate::identity;
use crate::intake::decider::{Decider, Ruling};
use crate::intake::explained;
use crate::intake::explainers;
use crate::trace::context::Caller;
use crate::wire::WireError;
use crate::wire::answer::{self, Answer};
use crate::wire::proto::server::decision_service_server::DecisionService;
use crate::wire::proto::{
    DecideBatchRequest, DecideRequest, ExplainRequest, ExplainResponse, FollowRequest,
};
use crate::wire::question::Question;

pub use crate::wire::parts::MAX_BATCH;

/// Largest request message but a batch, in bytes; larger ones are refused at the length prefix.
pub const MAX_QUERY_BYTES: usize = 16 << 10;

/// Largest answer but a batch's, in bytes: an explanation has some 10 KiB.
pub const MAX_ANSWER_BYTES: usize = 64 << 10;

/// Largest batch, asked or answered, in bytes: 128 answers that name 8 nodes each have some 150 KiB.
pub const MAX_BATCH_BYTES: usize = 256 << 10;

fn invalid(error: &WireError) -> Status {
    Status::invalid_argument(error.to_string())
}

/// An answer of this service.
fn encode(ruling: &Ruling<'_>) -> Answer {
    Answer::single(&ruling.decision, &ruling.envelope, &ruling.published.nodes)
}

/// Decides one request of a stream; a bad one is answered with its faults, and the stream lives on.
fn decide_in_stream(decider: &Decider, request: &DecideRequest) -> Result<Answer, Status> {
    let question = Question::of(request);
    let caller = Caller::default();
    let answer =
        decider.on_published(|published| decider.decide_on(published, &question, caller, encode));
    let answer = answer.ok_or_else(|| decider.too_early())?;
    Ok(answer.unwrap_or_else(|error| Answer::error(&request.request_id, &error.to_string())))
}

impl unary::Method for Decider {
    const PATH: &'static str = "/tradewind.v1.DecisionService/Decide";
    const MAX_QUESTION_BYTES: usize = MAX_QUERY_BYTES;
    const MAX_ANSWER_BYTES: usize = MAX_ANSWER_BYTES;

    fn answer(
        &self,
        headers: &HeaderMap,
        question: &[u8],
        out: &mut Vec<u8>,
    ) -> Option<Result<(), Status>> {
        let question = Question::of_bytes(question)?;
        let decided = self.on_published(|published| {
            self.decide_on(published, &question, Caller::new(headers), |ruling| {
                let nodes = &ruling.published.nodes;
                answer::put(out, &ruling.decision, &ruling.envelope, nodes);
            })
        });
        let decided = decided.ok_or_else(|| self.too_early());
        Some(decided.and_then(|decided| decided.map_err(|error| invalid(&error))))
    }
}

#[tonic::async_trait]
impl DecisionService for Decider {
    async fn decide(&self, request: Request<DecideRequest>) -> Result<Response<Answer>, Status> {
        self.on_published(|published| {
            let question = Question::of(request.get_ref());
            let caller = Caller::new(request.metadata().as_ref());
            let decided = self.decide_on(published, &question, caller, encode);
            decided.map(Response::new).map_err(|error| invalid(&error))
        })
        .ok_or_else(|| self.too_early())?
    }

    async fn decide_batch(
        &self,
        request: Request<DecideBatchRequest>,
    ) -> Result<Response<Answer>, Status> {
        let (metadata, _, message) = request.into_parts();
        let requests = message.requests;
        self.on_published(|published| {
            let caller = Caller::new(metadata.as_ref());
            let mut batch = Answer::default();
            let mut faults = Vec::new();
            for (index, request) in requests.iter().enumerate() {
                match self.decide_on(published, &Question::of(request), caller, encode) {
                    Ok(answer) => batch.push(&answer),
                    Err(error) => faults.push(format!("requests[{index}]: {error}")),
                }
            }
            if faults.is_empty() {
                Ok(Response::new(batch))
            } else {
                Err(Status::invalid_argument(super::in_words(&faults)))
            }
        })
        .ok_or_else(|| self.too_early())?
    }

    type FollowStream = Parts;

    async fn follow(&self, request: Request<FollowRequest>) -> Result<Response<Parts>, Status> {
        let caller = identity::Caller::of(request.extensions());
        let who = (self.instance(), &caller);
        follow::open(self.state(), who, request.into_inner()).map(Response::new)
    }

    type DecideStreamStream = Decisions;

    async fn decide_stream(
        &self,
        request: Request<Streaming<DecideRequest>>,
    ) -> Result<Response<Decisions>, Status> {
        Ok(Response::new(Decisions {
            requests: request.into_inner(),
            decider: self.clone(),
        }))
    }

    async fn explain(
        &self,
        request: Request<ExplainRequest>,
    ) -> Result<Response<ExplainResponse>, Status> {
        let caller = identity::Caller::of(request.extensions());
        if !self.explainers().admit(clock::now(), &caller) {
            let most = explainers::QUOTA.per_second;
            return Err(Status::resource_exhausted(format!(
                "{caller} has asked for too many explanations, at most {most} a second are made for a caller"
            )));
        }
        let request = request.into_inner().request.unwrap_or_default();
        let turn = self.explainers().turn().await;
        let decider = self.clone();
        // Beside the worker, who decides meanwhile.
        let explained = tokio::task::spawn_blocking(move || {
            let explained = decider.on_published(|published| {
                let view = decider.state().view.load();
                explained::explain(decider.state(), published, &view, &request)
            });
            drop(turn);
            explained
        });
        let explained = explained.await;
        let explained = explained.map_err(|_lost| Status::internal("the service failed"))?;
        let explained = explained.ok_or_else(|| self.too_early())?;
        explained
            .map(Response::new)
            .map_err(|error| invalid(&error))
    }
}

/// Answers to a stream of requests, made as they are asked for.
#[derive(Debug)]
pub struct Decisions {
    requests: Streaming<DecideRequest>,
    decider: Decider,
}

impl Stream for Decisions {
    type Item = Result<Answer, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let polled = Pin::new(&mut self.requests).poll_next(context);
        polled.map(|next| next.map(|request| decide_in_stream(&self.decider, &request?)))
    }
}
