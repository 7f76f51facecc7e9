//! `ext_authz`: Envoy's filter asks with every request, and sets the headers we answer with.
//!
//! Answers with the nodes in the header and, unless told not to, in metadata (in the filter's own namespace). A refusal is a denied response.
//! What the client did wrong (a path that cannot be read, a header that is too long) is a denied response too: nobody
//! gets past a rule by sending rubbish. What else keeps us from deciding (no policy yet, a wish that cannot be read) is an
//! error of the call, and Envoy does what its `failure_mode_allow` says.
//!
//! A plain call is answered by hand ([`unary`]), any other by the generated service.

use std::sync::Arc;

use http::HeaderMap;
use prost::Message;
use tonic::{Request, Response, Status};

use super::MAX_ASKED_BYTES;
use super::ask::{Shown, Wishes};
use super::check;
use super::instruction::{self, Form, Instruction};
use super::proto::envoy::service::auth::v3::authorization_server::Authorization;
use super::proto::envoy::service::auth::v3::check_response::HttpResponse;
use super::proto::envoy::service::auth::v3::{
    CheckRequest, CheckResponse, DeniedHttpResponse, OkHttpResponse,
};
use super::proto::envoy::r#type::v3::HttpStatus;
use super::proto::google::rpc;
use crate::doors::unary;
use crate::intake::decider::Decider;
use crate::state::Published;
use crate::trace::context::{Caller, TRACEPARENT};

/// Answers `ext_authz` on one worker.
#[derive(Debug, Clone)]
pub struct Authorizer {
    decider: Decider,
}

impl Authorizer {
    /// The service of the worker that `decider` belongs to.
    pub fn new(decider: Decider) -> Self {
        Self { decider }
    }

    fn decide(
        &self,
        published: &Arc<Published>,
        shown: &Shown<'_>,
        wishes: &Wishes,
        call: &HeaderMap,
    ) -> Result<CheckResponse, Status> {
        let ip = shown.client(wishes);
        let question = shown.question(&ip, wishes, published.snapshot.reading());
        let caller = Caller {
            call: Some(call),
            shown: shown.traceparent(),
        };
        let decided = self
            .decider
            .decide_on(published, &question, caller, Instruction::of);
        let told = decided.or_else(|error| instruction::unreadable(&error))?;
        Ok(answer(told, wishes.metadata))
    }
}

impl unary::Method for Authorizer {
    const PATH: &'static str = "/envoy.service.auth.v3.Authorization/Check";
    const MAX_QUESTION_BYTES: usize = MAX_ASKED_BYTES;
    const MAX_ANSWER_BYTES: usize = usize::MAX;

    fn answer(
        &self,
        headers: &HeaderMap,
        question: &[u8],
        out: &mut Vec<u8>,
    ) -> Option<Result<(), Status>> {
        let wishes = Wishes::of(headers);
        let decided = self.decider.on_published(|published| {
            let reading = published.snapshot.reading();
            let is_tracing = self.decider.is_tracing();
            let is_read = |name: &str| {
                reading.looks_at(name)
                    || wishes.names_client_by(name)
                    || (is_tracing && name == TRACEPARENT)
            };
            let shown = check::shown(question, is_read)?;
            Some(self.decide(published, &shown, &wishes, headers))
        });
        Some(decided??.and_then(|answer| {
            let encoded = answer.encode(out);
            encoded.map_err(|error| Status::internal(error.to_string()))
        }))
    }
}

#[tonic::async_trait]
impl Authorization for Authorizer {
    async fn check(
        &self,
        request: Request<CheckRequest>,
    ) -> Result<Response<CheckResponse>, Status> {
        let (metadata, _, message) = request.into_parts();
        let wishes = Wishes::of(metadata.as_ref());
        let attributes = message.attributes.unwrap_or_default();
        let shown = check::of_message(&attributes);
        let decided = self
            .decider
            .on_published(|published| self.decide(published, &shown, &wishes, metadata.as_ref()));
        let decided = decided.ok_or_else(|| self.decider.too_early())?;
        decided.map(Response::new)
    }
}

fn answer(told: Instruction, with_metadata: bool) -> CheckResponse {
    match told {
        Instruction::Route(route) => CheckResponse {
            status: Some(rpc::Status::default()),
            dynamic_metadata: with_metadata.then(|| route.metadata()),
            http_response: Some(HttpResponse::OkResponse(OkHttpResponse {
                headers: route.headers(Form::Text),
                headers_to_remove: route.removed(),
            })),
        },
        Instruction::Refuse {
            status,
            reason,
            retry_after_s,
        } => CheckResponse {
            status: Some(rpc::Status {
                code: tonic::Code::PermissionDenied.into(),
                message: reason.to_owned(),
            }),
            dynamic_metadata: None,
            http_response: Some(HttpResponse::DeniedResponse(DeniedHttpResponse {
                status: Some(HttpStatus {
                    code: i32::from(status),
                }),
                headers: instruction::refusal_headers(reason, retry_after_s, Form::Text),
                body: String::new(),
            })),
        },
    }
}
