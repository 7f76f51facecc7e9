//! What becomes of streams under way when what their callers are known by counts no more.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::Frame;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::task::JoinHandle;
use tokio::time;
use tradewind::sidecar::clock::unix_ms;
use tradewind::sidecar::identity::Role;
use tradewind::sidecar::serve::methods;

use crate::authority::{Authority, Certified};
use crate::entrances::{FAR, World, token};
use crate::server::{PATIENCE, Server};

/// How a stream ended: its status and what is said of it.
type Ended = (String, String);

/// A stream under way.
struct Stream {
    path: &'static str,
    ended: JoinHandle<Ended>,
}

impl Stream {
    async fn ended(self) -> Ended {
        let ended = time::timeout(PATIENCE, self.ended).await;
        ended
            .unwrap_or_else(|_| panic!("{} goes on", self.path))
            .unwrap()
    }
}

fn told(headers: &HeaderMap) -> Option<Ended> {
    let text = |name: &str| {
        let value = headers.get(name)?;
        Some(value.to_str().unwrap().to_owned())
    };
    Some((
        text("grpc-status")?,
        text("grpc-message").unwrap_or_default(),
    ))
}

/// What a caller says: of a stream that only listens one empty message, of others nothing for as long as it lives.
fn said(path: &str) -> BoxBody<Bytes, std::convert::Infallible> {
    let listens = ["Follow", "Watch", "WatchStatus"]
        .iter()
        .any(|name| path.ends_with(&format!("/{name}")));
    if listens {
        return Full::new(Bytes::from_static(&[0; 5])).boxed();
    }
    let nothing = tokio_stream::pending::<Result<Frame<Bytes>, std::convert::Infallible>>();
    StreamBody::new(nothing).boxed()
}

/// Begins a stream by somebody who shows a certificate or a token.
async fn begin(
    world: &World,
    server: &Server,
    (path, role): (&'static str, Role),
    shown: Option<&Certified>,
) -> Stream {
    let at = if methods::GRPC.iter().any(|(known, _)| *known == path) {
        server.grpc[0]
    } else {
        server.admin
    };
    let stream = world.authority.peer(shown, b"h2").connect(at).await;
    let (mut sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream.unwrap()))
            .await
            .unwrap();
    tokio::spawn(connection);
    let mut request = Request::post(format!("https://localhost{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    if shown.is_none() {
        request = request.header("authorization", format!("Bearer {}", token(role)));
    }
    let request = request.body(said(path)).unwrap();
    let ended = tokio::spawn(async move {
        let answer = sender.send_request(request).await.unwrap();
        if let Some(ended) = told(answer.headers()) {
            return ended;
        }
        let mut body = answer.into_body();
        while let Some(frame) = body.frame().await {
            if let Ok(trailers) = frame.unwrap().into_trailers() {
                return told(&trailers).unwrap();
            }
        }
        panic!("{path} ends without a status");
    });
    Stream { path, ended }
}

/// Each stream of each door that needs a role.
fn streams() -> impl Iterator<Item = (&'static str, Role)> {
    let all = methods::GRPC.iter().chain(methods::ADMIN);
    let streaming = all.filter(|(_, method)| method.is_streaming);
    // The two doors have reflection by the same name: once is enough.
    let mut seen = std::collections::BTreeSet::new();
    streaming
        .filter_map(|(path, method)| Some((*path, method.needs?)))
        .filter(move |(path, _)| seen.insert(*path))
}

async fn all_under_way(world: &World, server: &Server, shows_certificates: bool) -> Vec<Stream> {
    let mut all = Vec::new();
    for (path, role) in streams() {
        let shown = shows_certificates.then(|| world.certificate(role));
        all.push(begin(world, server, (path, role), shown.as_ref()).await);
    }
    time::sleep(Duration::from_millis(300)).await;
    for stream in &all {
        assert!(!stream.ended.is_finished(), "{} has ended", stream.path);
    }
    assert!(all.len() > 12, "{}", all.len());
    all
}

#[tokio::test]
async fn a_token_that_was_taken_away_kept_its_streams() {
    let world = World::new();
    let server = world.setup("grpc,admin").start().await;
    let all = all_under_way(&world, &server, false).await;
    world
        .files
        .replace("tokens", "other another-token-with-letters\n");
    server.signal("HUP");
    for stream in all {
        let path = stream.path;
        let (status, words) = stream.ended().await;
        assert_eq!(status, "16", "{path}: {words}");
        assert!(
            words.starts_with("this token is not known here"),
            "{path}: {words}"
        );
    }
}

#[tokio::test]
async fn a_certificate_of_an_authority_that_is_believed_no_more_kept_its_streams() {
    let world = World::new();
    let server = world.setup("grpc,admin").start().await;
    let all = all_under_way(&world, &server, true).await;
    world
        .files
        .replace("ca.pem", Authority::new("another").pem.clone());
    server.signal("HUP");
    for stream in all {
        let path = stream.path;
        let (status, words) = stream.ended().await;
        assert_eq!(status, "16", "{path}: {words}");
        assert!(words.contains("counts no more"), "{path}: {words}");
    }
}

#[tokio::test]
async fn a_certificate_that_has_ended_kept_its_stream() {
    let world = World::new();
    let server = world.setup("grpc").start().await;
    let lasts = unix_ms() / 1_000 + 3;
    let name = "spiffe://edge.example/tell";
    let short = world.authority.certify_until(name, lasts);
    let long = world.authority.certify(name, FAR);
    let path = ("/tradewind.v1.FeedbackService/Report", Role::Tell);
    let ending = begin(&world, &server, path, Some(&short)).await;
    let staying = begin(&world, &server, path, Some(&long)).await;
    time::sleep(Duration::from_millis(300)).await;
    assert!(!ending.ended.is_finished(), "it counts yet");
    let (status, words) = ending.ended().await;
    assert_eq!(status, "16", "{words}");
    assert!(words.contains("counts no more"), "{words}");
    assert!(unix_ms() / 1_000 >= lasts);
    assert!(!staying.ended.is_finished());
}

#[tokio::test]
async fn who_may_look_no_longer_went_on_looking_at_the_events_of_the_debug_door() {
    let world = World::new();
    let server = world.setup("debug").start_unready().await;
    let look = async || {
        let peer = world.authority.peer(None, b"http/1.1");
        let stream = peer.connect(server.debug).await.unwrap();
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let request = Request::get("/debug/stream?topics=overview")
            .header("host", "localhost")
            .header("authorization", format!("Bearer {}", token(Role::Observe)));
        let request = request.body(Empty::<Bytes>::new()).unwrap();
        sender.send_request(request).await.unwrap()
    };
    let answer = look().await;
    assert_eq!(answer.status(), 200);
    let mut events = answer.into_body();
    events.frame().await.unwrap().unwrap();
    world
        .files
        .replace("tokens", "other another-token-with-letters\n");
    server.signal("HUP");
    let ended = time::timeout(PATIENCE, events.collect()).await;
    ended.expect("events go on").unwrap();
    assert_eq!(look().await.status(), 401);
}
