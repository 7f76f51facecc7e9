//! A server that answers without thinking, as one would write it with tonic: yes, or the same list for all. It is this
//! program again, in a process of its own.

use std::pin::Pin;

use tokio::net::TcpListener;
use tokio_stream::{Stream, StreamExt as _};
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, Streaming};
use tradewind::sidecar::doors::envoy::DESTINATION;
use tradewind::sidecar::doors::envoy::proto::envoy as api;

use api::config::core::v3::{HeaderValue, HeaderValueOption};
use api::service::auth::v3::authorization_server::{Authorization, AuthorizationServer};
use api::service::auth::v3::check_response::HttpResponse;
use api::service::auth::v3::{CheckRequest, CheckResponse, OkHttpResponse};
use api::service::ext_proc::v3::external_processor_server::{
    ExternalProcessor, ExternalProcessorServer,
};
use api::service::ext_proc::v3::processing_response::Response as Answer;
use api::service::ext_proc::v3::{
    CommonResponse, HeaderMutation, HeadersResponse, ProcessingRequest, ProcessingResponse,
};

/// The list it gives where one is wanted.
#[derive(Debug, Clone)]
struct Stub {
    list: String,
}

/// Whether a call wants the list.
fn wants_list<T>(call: &Request<T>) -> bool {
    call.metadata()
        .get("x-answer")
        .is_some_and(|answer| answer == "list")
}

#[tonic::async_trait]
impl Authorization for Stub {
    async fn check(&self, call: Request<CheckRequest>) -> Result<Response<CheckResponse>, Status> {
        let mut ok = OkHttpResponse::default();
        if wants_list(&call) {
            ok.headers.push(HeaderValueOption {
                header: Some(HeaderValue {
                    key: DESTINATION.to_owned(),
                    value: self.list.clone(),
                    ..HeaderValue::default()
                }),
                ..HeaderValueOption::default()
            });
        }
        Ok(Response::new(CheckResponse {
            status: Some(api_status()),
            http_response: Some(HttpResponse::OkResponse(ok)),
            ..CheckResponse::default()
        }))
    }
}

fn api_status() -> tradewind::sidecar::doors::envoy::proto::google::rpc::Status {
    tradewind::sidecar::doors::envoy::proto::google::rpc::Status::default()
}

#[tonic::async_trait]
impl ExternalProcessor for Stub {
    type ProcessStream = Pin<Box<dyn Stream<Item = Result<ProcessingResponse, Status>> + Send>>;

    async fn process(
        &self,
        call: Request<Streaming<ProcessingRequest>>,
    ) -> Result<Response<Self::ProcessStream>, Status> {
        let list = wants_list(&call).then(|| self.list.clone());
        let answers = call.into_inner().map(move |part| {
            part.map(|_| {
                let mutation = list.clone().map(|list| HeaderMutation {
                    set_headers: vec![HeaderValueOption {
                        header: Some(HeaderValue {
                            key: DESTINATION.to_owned(),
                            raw_value: list.into_bytes(),
                            ..HeaderValue::default()
                        }),
                        ..HeaderValueOption::default()
                    }],
                    remove_headers: Vec::new(),
                });
                ProcessingResponse {
                    response: Some(Answer::RequestHeaders(HeadersResponse {
                        response: mutation.map(|mutation| CommonResponse {
                            header_mutation: Some(mutation),
                            ..CommonResponse::default()
                        }),
                    })),
                    dynamic_metadata: None,
                }
            })
        });
        Ok(Response::new(Box::pin(answers)))
    }
}

/// Serves at `address`, with the list that follows it: `127.0.0.1:1/127.0.0.1:2,127.0.0.1:3`.
pub(crate) fn serve(what: &str) {
    let (address, list) = what.split_once('/').unwrap();
    let stub = Stub {
        list: list.to_owned(),
    };
    // One thread, as Tradewind's one worker.
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind(address).await.unwrap();
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        let server = Server::builder()
            .add_service(AuthorizationServer::new(stub.clone()))
            .add_service(ExternalProcessorServer::new(stub));
        server.serve_with_incoming(incoming).await.unwrap();
    });
}
