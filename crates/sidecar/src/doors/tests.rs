//! What is answered by hand ([`unary`](super::unary)), with the generated services as the oracle: whatever the bytes, both
//! ways answer the same.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use hyper::body::{Body, Frame};
use proptest::prelude::*;
use prost::Message;
use tonic::codegen::BoxFuture;
use tonic::{Code, Status};
use tower::Service;

use crate::doors::envoy::MAX_ASKED_BYTES;
use crate::doors::envoy::authorize::Authorizer;
use crate::doors::envoy::proto::envoy::service::auth::v3::attribute_context::HttpRequest;
use crate::doors::envoy::proto::envoy::service::auth::v3::authorization_server::AuthorizationServer;
use crate::doors::envoy::proto::envoy::service::auth::v3::{
    AttributeContext, CheckRequest, attribute_context,
};
use crate::doors::grpc::{MAX_ANSWER_BYTES, MAX_QUERY_BYTES};
use crate::doors::unary::{AnswerBody, Generated, Method, Shortcut};
use crate::example;
use crate::intake::decider::Decider;
use crate::intake::recent::RecentDecisions;
use crate::state::rows::Rows;
use crate::state::{Published, State};
use crate::wire::answer::EncodedNodes;
use crate::wire::proto::server::decision_service_server::DecisionServiceServer;
use crate::wire::proto::{Client, DecideRequest, Header};
use tradewind_engine::edition::Texts;
use tradewind_engine::geo::ranges::Ranges;
use tradewind_engine::snapshot::{GeoState, Parts, Snapshot};
use tradewind_engine::{policy, topology};

/// What comes of a body, one after the other.
#[derive(Debug, Clone)]
enum Step {
    Data(Bytes),
    Trailers(HeaderMap),
    /// Nothing yet, but soon.
    Wait,
    /// Nothing more, ever.
    Hang,
    Fail(Code),
}

struct Steps(VecDeque<Step>);

impl Body for Steps {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        match self.0.pop_front() {
            None => Poll::Ready(None),
            Some(Step::Data(data)) => Poll::Ready(Some(Ok(Frame::data(data)))),
            Some(Step::Trailers(trailers)) => Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
            Some(Step::Fail(code)) => Poll::Ready(Some(Err(Status::new(code, "a body failed")))),
            Some(Step::Wait) => {
                context.waker().wake_by_ref();
                Poll::Pending
            }
            Some(Step::Hang) => {
                self.0.push_front(Step::Hang);
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }
}

/// All that goes over the wire: status, headers, frames of data, trailers.
#[derive(Debug, PartialEq)]
struct Spoken(http::StatusCode, HeaderMap, Vec<Bytes>, Vec<HeaderMap>);

/// The answer, or `None` where there is none for want of a question.
fn ask<S, B>(service: &mut S, request: Request<Steps>) -> Option<Spoken>
where
    S: Service<Request<Steps>, Response = Response<B>, Error = Infallible, Future: Unpin>,
    B: Body<Data = Bytes, Error = Status> + Unpin,
{
    let mut nobody = Context::from_waker(Waker::noop());
    let mut call = service.call(request);
    let mut polls = (0..64).map(|_| Pin::new(&mut call).poll(&mut nobody));
    let Poll::Ready(Ok(answer)) = polls.find(Poll::is_ready)? else {
        unreachable!("an answer that is ready");
    };
    let (head, mut body) = answer.into_parts();
    let mut spoken = Spoken(head.status, head.headers, Vec::new(), Vec::new());
    assert_eq!(body.size_hint().exact(), body.is_end_stream().then_some(0));
    while let Poll::Ready(Some(frame)) = Pin::new(&mut body).poll_frame(&mut nobody) {
        match frame.unwrap().into_data() {
            Ok(data) => spoken.2.push(data),
            Err(frame) => spoken.3.push(frame.into_trailers().unwrap()),
        }
    }
    assert!(body.is_end_stream(), "everything was sent");
    Some(spoken)
}

/// The example's policy in force.
fn state() -> Arc<State> {
    static STATE: LazyLock<Arc<State>> = LazyLock::new(example_state);
    Arc::clone(&STATE)
}

fn example_state() -> Arc<State> {
    let topology = topology::compile("topology.yaml", example::TOPOLOGY);
    let topology = Arc::new(topology.topology.unwrap());
    let policy = policy::compile("policy.yaml", example::POLICY, &topology);
    let policy = Arc::new(policy.policy.unwrap());
    let snapshot = Snapshot::build(
        1,
        Parts {
            topology,
            policy,
            geo: Arc::new(Ranges::default()),
            geo_state: GeoState::Good,
            here: None,
            signals: Arc::default(),
            candidate: None,
        },
        None,
    );
    let state = State::default();
    state.published.store(Some(Arc::new(Published {
        revision: 1,
        candidate: None,
        policy_digest: snapshot.policy().digest().short(),
        nodes: Arc::new(EncodedNodes::new(snapshot.topology())),
        rows: Rows {
            pools: vec![2; snapshot.routing().pools().len()],
            rules: Vec::new(),
            decided: Vec::new(),
        },
        texts: Texts::default(),
        snapshot,
    })));
    Arc::new(state)
}

/// Two of these number their decisions alike.
fn decider(state: &Arc<State>) -> Decider {
    let (recent, _samples) = RecentDecisions::new(1);
    let state = Arc::clone(state);
    Decider::new(state, Arc::default(), recent, Arc::default(), (1, 1))
}

/// Asks both ways.
struct Both<M, S> {
    by_hand: Shortcut<M, S>,
    generated: S,
}

impl<M: Method, S> Both<M, S>
where
    S: Generated<Steps>
        + Service<
            Request<Steps>,
            Response = Response<tonic::body::Body>,
            Error = Infallible,
            Future = BoxFuture<Response<tonic::body::Body>, Infallible>,
        >,
{
    fn ask(&mut self, path: &str, headers: &HeaderMap, steps: &[Step]) -> Option<Spoken> {
        let request = || {
            let mut request = Request::new(Steps(steps.iter().cloned().collect()));
            *request.uri_mut() = path.parse().unwrap();
            *request.headers_mut() = headers.clone();
            request
        };
        let by_hand = ask(&mut self.by_hand, request());
        let generated = ask(&mut self.generated, request());
        assert_eq!(by_hand, generated, "{path} {headers:?} {steps:?}");
        generated
    }

    /// Asks by the method's path.
    fn say(&mut self, steps: &[Step]) -> Option<Spoken> {
        self.ask(M::PATH, &HeaderMap::new(), steps)
    }
}

fn decide(state: &Arc<State>) -> Both<Decider, DecisionServiceServer<Decider>> {
    let server = |decider| {
        DecisionServiceServer::new(decider)
            .max_decoding_message_size(MAX_QUERY_BYTES)
            .max_encoding_message_size(MAX_ANSWER_BYTES)
    };
    let by_hand = decider(state);
    Both {
        by_hand: Shortcut::new(by_hand.clone(), server(by_hand)),
        generated: server(decider(state)),
    }
}

fn check(state: &Arc<State>) -> Both<Authorizer, AuthorizationServer<Authorizer>> {
    let server = |authorizer| {
        AuthorizationServer::new(authorizer).max_decoding_message_size(MAX_ASKED_BYTES)
    };
    let by_hand = Authorizer::new(decider(state));
    Both {
        by_hand: Shortcut::new(by_hand.clone(), server(by_hand)),
        generated: server(Authorizer::new(decider(state))),
    }
}

/// Good, bad and strange questions.
fn questions() -> Vec<DecideRequest> {
    let good = DecideRequest {
        request_id: "r-1".into(),
        host: "www.example.com".into(),
        path: "/video/1.mp4?token=1".into(),
        method: "GET".into(),
        headers: vec![Header {
            name: "Accept".into(),
            value: "text/html".into(),
        }],
        client: Some(Client {
            ip: "198.18.0.1".into(),
            ..Client::default()
        }),
        ..DecideRequest::default()
    };
    let changed = |change: fn(&mut DecideRequest)| {
        let mut request = good.clone();
        change(&mut request);
        request
    };
    vec![
        changed(|_| {}),
        DecideRequest::default(),
        changed(|request| request.want_place = true),
        changed(|request| request.dry_run = true),
        changed(|request| request.tried_nodes = vec!["no-such-node".into()]),
        changed(|request| request.candidates = 9),
        changed(|request| request.path = "no slash, but 100 % ä\n".into()),
        changed(|request| request.path = format!("/{}", "p".repeat(9_000))),
        changed(|request| request.path = format!("/{}", "p".repeat(17_000))),
    ]
}

fn checks() -> Vec<CheckRequest> {
    let of = |asked: DecideRequest| {
        let headers = asked.headers.into_iter();
        let http = HttpRequest {
            id: asked.request_id,
            method: asked.method,
            headers: headers.map(|header| (header.name, header.value)).collect(),
            header_map: None,
            path: asked.path,
            host: asked.host,
        };
        CheckRequest {
            attributes: Some(AttributeContext {
                request: Some(attribute_context::Request { http: Some(http) }),
                ..AttributeContext::default()
            }),
        }
    };
    questions().into_iter().map(of).collect()
}

/// A message with its head.
fn framed(flag: u8, message: &[u8]) -> Bytes {
    let length = u32::try_from(message.len()).unwrap();
    [&[flag], &length.to_be_bytes()[..], message]
        .concat()
        .into()
}

fn data(bytes: &[u8]) -> Step {
    Step::Data(Bytes::copy_from_slice(bytes))
}

/// Everything that can be strange about the frames of a message, but not about itself.
fn frames_of<M: Method, S>(both: &mut Both<M, S>, message: &[u8])
where
    S: Generated<Steps>
        + Service<
            Request<Steps>,
            Response = Response<tonic::body::Body>,
            Error = Infallible,
            Future = BoxFuture<Response<tonic::body::Body>, Infallible>,
        >,
{
    let whole = framed(0, message);
    let good = both.say(&[data(&whole)]).expect("an answer");
    let mut trailers = HeaderMap::new();
    trailers.insert("x-tradewind-candidates", "1".parse().unwrap());
    for rest in [
        vec![data(&[])],
        vec![Step::Wait],
        vec![Step::Hang],
        vec![Step::Trailers(trailers.clone())],
        vec![Step::Wait, Step::Trailers(trailers)],
        vec![Step::Fail(Code::Cancelled)],
        vec![Step::Fail(Code::Unavailable)],
        vec![data(&whole)],
        vec![data(&whole), data(&whole)],
        vec![Step::Wait, data(&whole)],
        vec![data(&framed(0, &[0xff]))],
        vec![data(&[0])],
        vec![data(&[7])],
    ] {
        let mut steps = vec![data(&whole)];
        steps.extend(rest.clone());
        both.say(&steps);
        steps.insert(0, data(&[]));
        steps.insert(0, Step::Wait);
        both.say(&steps);
    }
    both.say(&[data(&[&whole[..], &whole[..]].concat())]);
    for flag in [1, 2, 255] {
        both.say(&[data(&framed(flag, message))]);
        both.say(&[data(&framed(flag, message)), Step::Hang]);
    }
    let long = u32::try_from(message.len() + 1).unwrap().to_be_bytes();
    both.say(&[data(&[&[0], &long[..], message].concat())]);
    both.say(&[data(&[&[0], &[255; 4][..], message].concat()), Step::Hang]);
    for end in (0..whole.len()).filter(|end| *end < 300 || end % 997 == 0) {
        let (head, tail) = whole.split_at(end);
        both.say(&[data(head)]);
        let split = both.say(&[data(head), data(tail)]).expect("an answer");
        assert_eq!((split.0, &split.1), (good.0, &good.1));
        both.say(&[data(head), Step::Wait, data(tail)]);
    }
}

#[test]
fn frames_of_decide_are_taken_as_tonic_takes_them() {
    let state = state();
    for question in questions() {
        frames_of(&mut decide(&state), &question.encode_to_vec());
    }
    let nothing = decide(&state).say(&[]).expect("an answer");
    assert_eq!(nothing.1["grpc-message"], "Missing%20request%20message.");
}

#[test]
fn frames_of_check_are_taken_as_tonic_takes_them() {
    let state = state();
    for question in checks() {
        frames_of(&mut check(&state), &question.encode_to_vec());
    }
    check(&state).say(&[]);
}

#[test]
fn a_plain_call_is_answered_by_hand() {
    let state = state();
    let mut nobody = Context::from_waker(Waker::noop());
    for (question, end) in questions().iter().zip([vec![], vec![data(&[])]]) {
        let mut steps = VecDeque::from(end);
        steps.push_front(data(&framed(0, &question.encode_to_vec())));
        let mut request = Request::new(Steps(steps));
        *request.uri_mut() = Decider::PATH.parse().unwrap();
        let mut call = decide(&state).by_hand.call(request);
        let Poll::Ready(Ok(answer)) = Pin::new(&mut call).poll(&mut nobody) else {
            unreachable!("a decision waits for nothing");
        };
        assert!(matches!(answer.body(), AnswerBody::ByHand { .. }));
    }
}

#[test]
fn headers_of_a_call_are_taken_as_tonic_takes_them() {
    let state = state();
    let (question, check_question) = (&questions()[0], &checks()[0]);
    for (name, value) in [
        ("grpc-encoding", "identity"),
        ("grpc-encoding", "gzip"),
        ("grpc-encoding", "\u{e4}"),
        ("grpc-accept-encoding", "gzip,identity"),
        ("te", "nonsense"),
        ("content-type", "text/plain"),
        ("x-tradewind-candidates", "2"),
        ("x-tradewind-candidates", "many"),
        ("x-tradewind-pool", "no-such-pool"),
        ("x-tradewind-metadata", "off"),
        ("x-tradewind-client-header", "accept"),
    ] {
        let mut headers = HeaderMap::new();
        headers.insert(
            name,
            http::HeaderValue::from_bytes(value.as_bytes()).unwrap(),
        );
        for flag in [0, 1] {
            let whole = [data(&framed(flag, &question.encode_to_vec()))];
            let path = "/tradewind.v1.DecisionService/Decide";
            decide(&state).ask(path, &headers, &whole);
            let whole = [data(&framed(flag, &check_question.encode_to_vec()))];
            let path = "/envoy.service.auth.v3.Authorization/Check";
            check(&state).ask(path, &headers, &whole);
        }
    }
}

#[test]
fn other_methods_are_handed_on() {
    let state = state();
    let whole = [data(&framed(0, &questions()[0].encode_to_vec()))];
    for path in [
        "/tradewind.v1.DecisionService/DecideBatch",
        "/tradewind.v1.DecisionService/NoSuchMethod",
        "/",
    ] {
        decide(&state).ask(path, &HeaderMap::new(), &whole);
    }
}

#[test]
fn before_the_first_policy_both_say_so() {
    let state = Arc::default();
    let whole = [data(&framed(0, &questions()[0].encode_to_vec()))];
    let refused = decide(&state).say(&whole).expect("an answer");
    assert_eq!(refused.1["grpc-status"], "9");
    let whole = [data(&framed(0, &checks()[0].encode_to_vec()))];
    check(&state).say(&whole);
}

/// Bytes cut into frames at random, some of them late.
fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => prop::collection::vec(any::<u8>(), 0..24).prop_map(|bytes| data(&bytes)),
        4 => prop::collection::vec(any::<u8>(), 0..24).prop_map(|bytes| data(&framed(0, &bytes))),
        1 => Just(Step::Wait),
        1 => Just(Step::Fail(Code::Internal)),
    ];
    prop::collection::vec(step, 0..4)
}

/// An encoded message in which some bytes are others.
fn damaged(messages: &[Vec<u8>]) -> impl Strategy<Value = Vec<Step>> + use<> {
    let change = (any::<prop::sample::Index>(), any::<u8>());
    let changes = prop::collection::vec(change, 0..3);
    (prop::sample::select(messages.to_vec()), changes).prop_map(|(mut message, changes)| {
        for (at, byte) in changes {
            if !message.is_empty() {
                let at = at.index(message.len());
                message[at] = byte;
            }
        }
        vec![data(&framed(0, &message))]
    })
}

fn encoded(messages: &[impl Message]) -> Vec<Vec<u8>> {
    messages.iter().map(Message::encode_to_vec).collect()
}

proptest! {
    #[test]
    fn random_bytes_are_taken_as_tonic_takes_them(steps in steps()) {
        let state = state();
        decide(&state).say(&steps);
        check(&state).say(&steps);
    }

    #[test]
    fn damaged_questions_are_taken_as_tonic_takes_them(steps in damaged(&encoded(&questions()))) {
        decide(&state()).say(&steps);
    }

    #[test]
    fn damaged_checks_are_taken_as_tonic_takes_them(steps in damaged(&encoded(&checks()))) {
        check(&state()).say(&steps);
    }
}
