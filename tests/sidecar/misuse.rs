//! Requests that are wrong: each is the caller's mistake and says so.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use prost::Message;
use tokio::task::JoinSet;
use tokio::time;
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{Service, ServiceExt};
use tradewind::sidecar::clock::timer_now;
use tradewind::sidecar::wire::proto::{self, DecideRequest, Header};

use crate::client::{Client, refusal, request};
use crate::server::{Files, Setup};

const DECIDE: &str = "/tradewind.v1.DecisionService/Decide";
const BATCH: &str = "/tradewind.v1.DecisionService/DecideBatch";

/// Sends a body as it stands, and gives what the call came to.
async fn raw(client: &Client, path: &str, body: Body) -> Code {
    let mut channel = client.channel.clone();
    let request = Request::post(format!("http://localhost{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(body)
        .unwrap();
    let answer: Response<Body> = channel.ready().await.unwrap().call(request).await.unwrap();
    if let Some(status) = Status::from_header_map(answer.headers()) {
        return status.code();
    }
    let whole = answer.into_body().collect().await.unwrap();
    let trailers = whole.trailers().cloned().unwrap_or_default();
    Status::from_header_map(&trailers).map_or(Code::Ok, |status| status.code())
}

/// A message behind its prefix.
fn framed(message: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0];
    bytes.extend_from_slice(&u32::try_from(message.len()).unwrap().to_be_bytes());
    bytes.extend_from_slice(message);
    bytes
}

fn whole(bytes: Vec<u8>) -> Body {
    Body::new(Full::new(Bytes::from(bytes)))
}

/// The beginning of a body whose rest never comes.
fn unfinished(bytes: Vec<u8>) -> Body {
    let begun = tokio_stream::once(Ok::<_, Infallible>(Frame::data(Bytes::from(bytes))));
    Body::new(StreamBody::new(tokio_stream::StreamExt::chain(
        begun,
        tokio_stream::pending(),
    )))
}

/// A header of these lengths.
fn header(name: usize, value: usize) -> Header {
    Header {
        name: "n".repeat(name),
        value: "v".repeat(value),
    }
}

#[tokio::test]
async fn every_wrong_field_is_named_at_once() {
    let server = Setup::example().start().await;
    let mut client = server.client().await;
    let wrong = DecideRequest {
        request_id: "r".repeat(129),
        pool: "p".repeat(65),
        host: "h".repeat(256),
        path: "video".to_owned(),
        method: "M".repeat(33),
        class: "c".repeat(65),
        tried_nodes: [vec!["t".repeat(65)], vec![String::new(); 16]].concat(),
        candidates: 9,
        client: Some(proto::Client {
            ip: "1.2.3".to_owned(),
            country: "Germany".to_owned(),
            location: Some(proto::Location {
                latitude: f64::NAN,
                longitude: 200.0,
            }),
            asn: 0,
        }),
        ..DecideRequest::default()
    };
    let said = refusal(client.try_decide(wrong).await, Code::InvalidArgument);
    for field in [
        "request_id: has 129 bytes",
        "pool: has 65",
        "host: has 256",
        "path: must begin",
        "method: has 33",
        "class: has 65",
        "tried_nodes: 17 given",
        "tried_nodes: has 65",
        "candidates: is 9",
        "client.ip: `1.2.3`",
        "client.country: `Germany`",
        "client.location: is NaN",
    ] {
        assert!(said.contains(field), "{field} in {said}");
    }
    assert_eq!(server.count("tradewind_decide_rejected_total"), 1);
}

#[tokio::test]
async fn texts_have_their_bounds_and_may_reach_them() {
    let server = Setup::example().start().await;
    let mut client = server.client().await;
    // A message has room for one of these at a time.
    let long = "v".repeat(8_193);
    let too_long = [
        (
            "path",
            DecideRequest {
                path: format!("/{}", "v".repeat(8_192)),
                ..DecideRequest::default()
            },
        ),
        (
            "query",
            DecideRequest {
                query: long.clone(),
                ..DecideRequest::default()
            },
        ),
        (
            "key",
            DecideRequest {
                key: long.into_bytes(),
                ..DecideRequest::default()
            },
        ),
    ];
    for (field, wrong) in too_long {
        let said = refusal(client.try_decide(wrong).await, Code::InvalidArgument);
        assert_eq!(
            said,
            format!("{field}: has 8193 bytes, at most 8192 are allowed")
        );
    }
    let longest = DecideRequest {
        request_id: "r".repeat(128),
        host: "h".repeat(255),
        path: format!("/{}", "p".repeat(8_191)),
        // No rule looks at them.
        headers: vec![header(8, 8); 200],
        tried_nodes: vec!["t".repeat(64); 16],
        candidates: 8,
        ..DecideRequest::default()
    };
    client.decide(longest).await;
    assert_eq!(server.count("tradewind_decide_rejected_total"), 3);
}

#[tokio::test]
async fn f36_a_message_over_the_bound_is_refused_at_its_prefix() {
    let server = Setup::example().start().await;
    let client = server.client().await;
    for (path, most) in [(DECIDE, 16 << 10), (BATCH, 256 << 10)] {
        for claimed in [most + 1, 5 << 20, u32::MAX] {
            let mut bytes = vec![0];
            bytes.extend_from_slice(&claimed.to_be_bytes());
            bytes.push(0);
            // The rest never comes: who waits for it runs into this deadline.
            let answered = time::timeout(
                Duration::from_secs(10),
                raw(&client, path, unfinished(bytes)),
            );
            let code = answered.await.unwrap();
            assert!(
                matches!(code, Code::OutOfRange | Code::ResourceExhausted),
                "{path} {claimed}: {code:?}"
            );
        }
    }
    let mut client = server.client().await;
    client.decide(request("/a")).await;
}

#[tokio::test]
async fn f37_what_is_no_message_is_the_callers_mistake() {
    let server = Setup::example().start().await;
    let client = server.client().await;
    let good = request("/a").encode_to_vec();
    let not_utf8 = [0x0a, 2, 0xff, 0xfe];
    let deep = (0..200).fold(Vec::new(), |inner, _| {
        // Field 100, unknown, a group inside a group.
        [vec![0xa3, 0x06], inner, vec![0xa4, 0x06]].concat()
    });
    for garbage in [
        &good[..good.len() - 3],
        &[0xff; 40],
        &not_utf8,
        &deep,
        b"GET / HTTP/1.1\r\n\r\n",
    ] {
        for path in [DECIDE, BATCH, "/tradewind.v1.DecisionService/Explain"] {
            let code = raw(&client, path, whole(framed(garbage))).await;
            assert_eq!(code, Code::InvalidArgument, "{path} {garbage:x?}");
        }
    }
    assert_eq!(raw(&client, DECIDE, whole(framed(&good))).await, Code::Ok);
    // Neither are no message at all, two of them, half of one, and one that claims to be compressed.
    let mut compressed = framed(&good);
    compressed[0] = 1;
    for (what, body) in [
        ("none", Vec::new()),
        ("half", framed(&good)[..20].to_vec()),
        ("compressed", compressed),
    ] {
        let code = raw(&client, DECIDE, whole(body)).await;
        assert!(
            !matches!(code, Code::Ok | Code::Unknown | Code::Unavailable),
            "{what}: {code:?}"
        );
    }
}

#[tokio::test]
async fn an_unknown_method_is_unimplemented() {
    let server = Setup::example().start().await;
    let client = server.client().await;
    for path in [
        "/tradewind.v1.DecisionService/Nothing",
        "/tradewind.v1.DecisionService/",
        "/tradewind.v2.DecisionService/Decide",
        "/",
    ] {
        let code = raw(&client, path, whole(framed(&[]))).await;
        assert_eq!(code, Code::Unimplemented, "{path}");
    }
}

#[tokio::test]
async fn who_had_everything_explained_had_the_workers_of_others() {
    let files = Files::new();
    let socket = files.root().join("grpc.sock");
    let setup = files
        .setup()
        .also("listen", format!("unix:{}", socket.display()));
    let server = setup.start().await;
    let greedy = server.client().await;
    let mut other = Client::connect(&format!("unix:{}", socket.display())).await;
    let began = timer_now();
    let mut asked = JoinSet::new();
    for number in 0..1_000 {
        let mut client = greedy.clone();
        asked.spawn(async move {
            let explained = client.try_explain(request(&format!("/{number}")));
            explained.await.map(drop)
        });
    }
    let outcomes = asked.join_all().await;
    let took_s = began.elapsed().as_secs_f64();
    let (explained, refused): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
    let most = 200.0 + 50.0 * took_s;
    #[expect(clippy::cast_precision_loss, reason = "a thousand at most")]
    let count = explained.len() as f64;
    assert!(count <= most + 1.0, "{count} in {took_s} s");
    assert!(!explained.is_empty());
    for refused in refused {
        let status = refused.unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    }
    // Others have a quota of their own.
    other.explain(request("/other")).await;
}
