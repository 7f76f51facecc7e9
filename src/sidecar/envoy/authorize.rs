//! `ext_authz`: Envoy's filter asks with every request, and sets the headers we answer with.
//!
//! Answers with the nodes in the header and, unless told not to, in metadata (in the filter's own namespace). A refusal is a denied response.
//! What the client did wrong (a path that cannot be read, a header that is too long) is a denied response too: nobody
//! gets past a rule by sending rubbish. What else keeps us from deciding (no policy yet, a wish that cannot be read) is an
//! error of the call, and Envoy does what its `failure_mode_allow` says.

use tonic::{Request, Response, Status};

use super::ask::{self, Shown, Wishes};
use super::proto::envoy::service::auth::v3::authorization_server::Authorization;
use super::proto::envoy::service::auth::v3::check_response::HttpResponse;
use super::proto::envoy::service::auth::v3::{
    AttributeContext, CheckRequest, CheckResponse, DeniedHttpResponse, OkHttpResponse,
};
use super::proto::envoy::r#type::v3::HttpStatus;
use super::proto::google::rpc;
use super::told::{self, Form, Told};
use crate::sidecar::decider::{Decider, NO_POLICY};

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
}

#[tonic::async_trait]
impl Authorization for Authorizer {
    async fn check(
        &self,
        request: Request<CheckRequest>,
    ) -> Result<Response<CheckResponse>, Status> {
        let wishes = Wishes::of(request.metadata());
        let shown = shown(request.into_inner().attributes.unwrap_or_default());
        let decided = self.decider.on_published(|published| {
            let question = shown.question(&wishes, published.snapshot.policy().reading());
            self.decider.decide_on(published, question, Told::of)
        });
        let decided = decided.ok_or_else(|| Status::failed_precondition(NO_POLICY))?;
        let told = decided.or_else(|error| told::unreadable(&error))?;
        Ok(Response::new(answer(told, wishes.metadata)))
    }
}

fn shown(attributes: AttributeContext) -> Shown {
    let http = attributes.request.and_then(|request| request.http);
    let http = http.unwrap_or_default();
    let headers = match http.header_map {
        Some(raw) => Shown::of_headers(raw.headers).headers,
        None => http.headers.into_iter().collect(),
    };
    Shown {
        host: http.host,
        path: http.path,
        method: http.method,
        headers,
        peer: attributes
            .source
            .map(|source| ask::ip_of(source.address))
            .unwrap_or_default(),
        id: http.id,
    }
}

fn answer(told: Told, with_metadata: bool) -> CheckResponse {
    match told {
        Told::Route(route) => CheckResponse {
            status: Some(rpc::Status::default()),
            dynamic_metadata: with_metadata.then(|| route.metadata()),
            http_response: Some(HttpResponse::OkResponse(OkHttpResponse {
                headers: route.headers(Form::Text),
                headers_to_remove: Vec::new(),
            })),
        },
        Told::Refuse { status, reason } => CheckResponse {
            status: Some(rpc::Status {
                code: tonic::Code::PermissionDenied.into(),
                message: reason.to_owned(),
            }),
            dynamic_metadata: None,
            http_response: Some(HttpResponse::DeniedResponse(DeniedHttpResponse {
                status: Some(HttpStatus {
                    code: i32::from(status),
                }),
                headers: vec![told::reason_header(reason, Form::Text)],
                body: String::new(),
            })),
        },
    }
}
