//! `ext_proc`: one stream for each request, by the endpoint-picker protocol of the Kubernetes Gateway API.
//!
//! The request's headers are answered with the nodes, in the header and in the metadata namespace `envoy.lb`, the same in
//! both; a request with no node to go to is answered at once with a status of its own. Of a subset that Envoy hints at,
//! only nodes in it are named. Bodies and trailers are passed through. Where Envoy shows the answer's headers too, it also
//! shows which node served: that is taken as the outcomes of all attempts (`served`).
//!
//! The protocol: `docs/proposals/004-endpoint-picker-protocol` of kubernetes-sigs/gateway-api-inference-extension, v1.0.0.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::task::{Context, Poll};

use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Value};
use tokio_stream::Stream;
use tonic::{Request, Response, Status, Streaming};

use super::SERVED;
use super::ask::{Shown, Wishes};
use super::instruction::{self, Form, Instruction};
use super::proto::envoy::config::core::v3::{HeaderValue, Metadata};
use super::proto::envoy::extensions::filters::http::ext_proc::v3::processing_mode::BodySendMode;
use super::proto::envoy::service::ext_proc::v3::body_mutation::Mutation;
use super::proto::envoy::service::ext_proc::v3::external_processor_server::ExternalProcessor;
use super::proto::envoy::service::ext_proc::v3::processing_request::Request as Part;
use super::proto::envoy::service::ext_proc::v3::processing_response::Response as Answer;
use super::proto::envoy::service::ext_proc::v3::{
    BodyMutation, BodyResponse, CommonResponse, HeaderMutation, HeadersResponse, HttpBody,
    HttpHeaders, ImmediateResponse, ProcessingRequest, ProcessingResponse, StreamedBodyResponse,
    TrailersResponse,
};
use super::proto::envoy::r#type::v3::HttpStatus;
use super::served::{self, Decided, Head};
use crate::clock;
use crate::intake::decider::Decider;
use crate::intake::feedback::{Feedback, Telling};
use crate::state::Published;
use crate::trace::context::Caller;
use crate::wire::addresses::NodeAddresses;
use crate::wire::proto::{Outcome, ReportRequest};

/// The namespace of dynamic metadata in which load balancing looks.
const NAMESPACE: &str = "envoy.lb";

/// The namespace and the key of the hint at a subset of nodes.
const SUBSET: (&str, &str) = (
    "envoy.lb.subset_hint",
    "x-gateway-destination-endpoint-subset",
);

/// The name under which the filter's attributes come.
const ATTRIBUTES: &str = "envoy.filters.http.ext_proc";

/// Answers `ext_proc` on one worker.
#[derive(Debug, Clone)]
pub struct Processor {
    decider: Decider,
    feedback: Feedback,
}

impl Processor {
    /// The service of the worker that these belong to.
    pub fn new(decider: Decider, feedback: Feedback) -> Self {
        Self { decider, feedback }
    }
}

#[tonic::async_trait]
impl ExternalProcessor for Processor {
    type ProcessStream = Exchange;

    async fn process(
        &self,
        request: Request<Streaming<ProcessingRequest>>,
    ) -> Result<Response<Exchange>, Status> {
        let wishes = Wishes::of(request.metadata().as_ref());
        let telling = self.feedback.telling(&request);
        Ok(Response::new(Exchange {
            parts: request.into_inner(),
            decider: self.decider.clone(),
            telling,
            wishes,
            decided: None,
            pending: None,
            whole_bodies: Bodies::default(),
        }))
    }
}

/// What is said about one request, as it comes.
#[derive(Debug)]
pub struct Exchange {
    parts: Streaming<ProcessingRequest>,
    decider: Decider,
    telling: Telling,
    wishes: Wishes,
    decided: Option<Decided>,
    /// The outcome of a gRPC call that has not ended.
    pending: Option<Outcome>,
    whole_bodies: Bodies,
}

/// Whether bodies are sent in full and wanted back in full; else they only pass by.
#[derive(Debug, Clone, Copy, Default)]
struct Bodies {
    of_request: bool,
    of_response: bool,
}

impl Stream for Exchange {
    type Item = Result<ProcessingResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            let polled = Pin::new(&mut self.parts).poll_next(context);
            let Some(part) = std::task::ready!(polled) else {
                return Poll::Ready(None);
            };
            match part.and_then(|part| self.take(part)) {
                Ok(None) => {}
                Ok(Some(answer)) => return Poll::Ready(Some(Ok(answer))),
                Err(status) => return Poll::Ready(Some(Err(status))),
            }
        }
    }
}

impl Exchange {
    /// Takes one part of a request; `None` where no answer is wanted.
    fn take(&mut self, message: ProcessingRequest) -> Result<Option<ProcessingResponse>, Status> {
        let ProcessingRequest {
            request,
            metadata_context,
            attributes,
            observability_mode,
            protocol_config,
        } = message;
        if let Some(config) = protocol_config {
            let duplex = i32::from(BodySendMode::FullDuplexStreamed);
            self.whole_bodies = Bodies {
                of_request: config.request_body_mode == duplex,
                of_response: config.response_body_mode == duplex,
            };
        }
        let metadata = metadata_context.unwrap_or_default();
        let answer = match request {
            Some(Part::RequestHeaders(headers)) => {
                self.request_headers(headers, &metadata, &attributes)?
            }
            Some(Part::ResponseHeaders(headers)) => {
                self.response_headers(headers, &metadata, &attributes);
                bare(Answer::ResponseHeaders(HeadersResponse::default()))
            }
            Some(Part::RequestBody(body)) => {
                let body = passed_on(body, self.whole_bodies.of_request);
                bare(Answer::RequestBody(body))
            }
            Some(Part::ResponseBody(body)) => {
                let body = passed_on(body, self.whole_bodies.of_response);
                bare(Answer::ResponseBody(body))
            }
            Some(Part::RequestTrailers(_)) => bare(Answer::RequestTrailers(TrailersResponse {})),
            Some(Part::ResponseTrailers(trailers)) => {
                self.response_trailers(&trailers.trailers.unwrap_or_default().headers);
                bare(Answer::ResponseTrailers(TrailersResponse {}))
            }
            None => return Ok(None),
        };
        Ok((!observability_mode).then_some(answer))
    }

    /// Decides.
    fn request_headers(
        &mut self,
        headers: HttpHeaders,
        metadata: &Metadata,
        attributes: &BTreeMap<String, Struct>,
    ) -> Result<ProcessingResponse, Status> {
        let headers = headers.headers.unwrap_or_default().headers;
        let mut shown = Shown::of_headers(&headers);
        shown.peer = attribute(attributes, "source.address").unwrap_or_default();
        let ip = shown.client(&self.wishes);
        let caller = Caller {
            call: None,
            shown: shown.traceparent(),
        };
        let decided = self.decider.on_published(|published| {
            let reading = published.snapshot.reading();
            let mut question = shown.question(&ip, &self.wishes, reading);
            if let Some(subset) = subset(metadata) {
                question.only_nodes = ids(&subset, published);
                if question.only_nodes.is_empty() {
                    return Ok(no_node_of_subset());
                }
            }
            self.decider
                .decide_on(published, &question, caller, Instruction::of)
        });
        let decided = decided.ok_or_else(|| self.decider.too_early())?;
        let told = decided.or_else(|error| instruction::unreadable(&error))?;
        if let Instruction::Route(route) = &told {
            self.decided = Some(Decided {
                id: route.decision_id.clone(),
                nodes: route.nodes.clone(),
                since: clock::now(),
            });
        }
        Ok(answer(told, self.wishes.metadata))
    }

    /// Takes what the answer's headers say of the nodes that were asked, if they say which one served.
    fn response_headers(
        &mut self,
        headers: HttpHeaders,
        metadata: &Metadata,
        attributes: &BTreeMap<String, Struct>,
    ) {
        let decided = self.decided.take();
        let served = metadata.filter_metadata.get(NAMESPACE);
        let served = served.and_then(|fields| fields.fields.get(SERVED));
        let served = served.and_then(text_of);
        let Some(served) = served.or_else(|| attribute(attributes, "upstream.address")) else {
            return;
        };
        let attempts = attribute(attributes, "upstream.request_attempt_count");
        let head = Head {
            served,
            attempts: attempts.and_then(|count| count.parse().ok()).unwrap_or(0),
            details: attribute(attributes, "response.code_details"),
            headers: &headers.headers.unwrap_or_default().headers,
            is_all: headers.end_of_stream,
        };
        let learned = head.learn(decided.as_ref());
        self.pending = learned.pending;
        self.tell(learned.outcomes);
    }

    /// Takes what the answer's trailers say of a gRPC call, or that there are none.
    fn response_trailers(&mut self, trailers: &[HeaderValue]) {
        let ended = self
            .pending
            .take()
            .and_then(|pending| served::ended(pending, trailers));
        self.tell(ended.into_iter().collect());
    }

    fn tell(&mut self, outcomes: Vec<Outcome>) {
        if !outcomes.is_empty() {
            self.telling.outcomes(&ReportRequest {
                outcomes,
                // Whoever the peer is: an Envoy that tells by its log as well must not be two.
                reporter: String::new(),
            });
        }
    }
}

impl Drop for Exchange {
    /// Envoy ends the exchange when it has no more to show: trailers that it does not show are not waited for.
    fn drop(&mut self) {
        self.response_trailers(&[]);
    }
}

/// An answer that says nothing but that the part was taken.
fn bare(answer: Answer) -> ProcessingResponse {
    ProcessingResponse {
        response: Some(answer),
        dynamic_metadata: None,
    }
}

/// The answer to a piece of a body: itself where Envoy has let go of it, else nothing.
fn passed_on(body: HttpBody, in_full: bool) -> BodyResponse {
    let streamed = || BodyMutation {
        mutation: Some(Mutation::StreamedResponse(StreamedBodyResponse {
            body: body.body,
            end_of_stream: body.end_of_stream,
        })),
    };
    BodyResponse {
        response: in_full.then(|| CommonResponse {
            body_mutation: Some(streamed()),
            ..CommonResponse::default()
        }),
    }
}

fn answer(told: Instruction, with_metadata: bool) -> ProcessingResponse {
    match told {
        Instruction::Route(route) => {
            let metadata = || Value {
                kind: Some(Kind::StructValue(route.metadata())),
            };
            ProcessingResponse {
                dynamic_metadata: with_metadata.then(|| Struct {
                    fields: BTreeMap::from([(NAMESPACE.to_owned(), metadata())]),
                }),
                response: Some(Answer::RequestHeaders(HeadersResponse {
                    response: Some(CommonResponse {
                        header_mutation: Some(HeaderMutation {
                            set_headers: route.headers(Form::Raw),
                            remove_headers: route.removed(),
                        }),
                        ..CommonResponse::default()
                    }),
                })),
            }
        }
        Instruction::Refuse {
            status,
            reason,
            retry_after_s,
        } => bare(Answer::ImmediateResponse(ImmediateResponse {
            status: Some(HttpStatus {
                code: i32::from(status),
            }),
            headers: Some(HeaderMutation {
                set_headers: instruction::refusal_headers(reason, retry_after_s, Form::Raw),
                remove_headers: Vec::new(),
            }),
            body: Vec::new(),
            details: format!("tradewind_{reason}"),
        })),
    }
}

/// The nodes of a hint are none of ours.
fn no_node_of_subset() -> Instruction {
    Instruction::refusal(tradewind_engine::evaluate::Reason::NoNode, None)
}

/// The addresses of the subset that Envoy hints at; `None` without a hint.
fn subset(metadata: &Metadata) -> Option<Vec<&str>> {
    let (namespace, key) = SUBSET;
    let hint = metadata.filter_metadata.get(namespace)?.fields.get(key)?;
    Some(match hint.kind.as_ref()? {
        Kind::ListValue(ListValue { values }) => values.iter().filter_map(text_of).collect(),
        Kind::StringValue(text) => text.split(',').map(str::trim).collect(),
        _ => Vec::new(),
    })
}

/// The ids of the nodes at these addresses; others are not of the fleet, and are left out.
fn ids<'p>(addresses: &[&str], published: &'p Published) -> Vec<&'p str> {
    let known: &NodeAddresses = published.nodes.addresses();
    let topology = published.snapshot.topology();
    let nodes = addresses.iter().filter_map(|address| known.find(address));
    nodes
        .map(|node| &*topology.node(node).id)
        .take(tradewind_engine::query::MAX_ONLY)
        .collect()
}

fn text_of(value: &Value) -> Option<&str> {
    match value.kind.as_ref()? {
        Kind::StringValue(text) => Some(text),
        _ => None,
    }
}

/// An attribute that the filter was told to send; numbers come as text too.
fn attribute<'a>(attributes: &'a BTreeMap<String, Struct>, name: &str) -> Option<&'a str> {
    text_of(attributes.get(ATTRIBUTES)?.fields.get(name)?)
}
