//! Peers that speak the wrong one of two protocols: they are told so in their own, and sent away.
//!
//! A connection that is only closed leaves a person guessing between a wrong port, a wrong protocol and a server that is
//! ill. So one answer is given, within a deadline and a few KiB, and then the connection ends.

use std::convert::Infallible;
use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::Notify;
use tokio::time;
use tonic::Status;
use tonic::body::Body;

use super::preface::Opened;

/// Longest first line of HTTP/1 that is read to know what was asked for, in bytes.
const MAX_LINE_BYTES: usize = 1_024;

/// Most bytes of the rest of a request that are read before the connection ends: what comes after would end it with a
/// reset, which takes the answer away from the peer.
const MAX_REST_BYTES: u64 = 64 << 10;

/// How long the peer may take to read its answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// Makes words of a path.
type Words = dyn Fn(&str) -> String + Send + Sync;

/// Says to a peer that speaks another protocol where its request would be answered; by the path it asks for.
#[derive(Clone, Default)]
pub struct Signpost(Option<Arc<Words>>);

impl Signpost {
    /// Answers with what `words` makes of the path, a sentence without control characters.
    pub fn new(words: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(words)))
    }

    /// Closes such connections without a word, as the default does too.
    pub fn none() -> Self {
        Self(None)
    }
}

impl fmt::Debug for Signpost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Signpost" } else { "None" })
    }
}

/// Answers whoever speaks without TLS, in the words of what they speak.
pub(crate) async fn answer<T>(stream: T, signpost: &Signpost)
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Ok(Ok(opened)) = time::timeout(PATIENCE, Opened::read(stream)).await else {
        return;
    };
    if opened.speaks_http2() {
        answer_http2(opened, signpost).await;
    } else {
        answer_http1(opened, signpost).await;
    }
}

/// Answers what begins like HTTP/1 and ends the connection.
pub(crate) async fn answer_http1<T>(mut stream: Opened<T>, signpost: &Signpost)
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let Some(words) = &signpost.0 else {
        return;
    };
    let told = time::timeout(PATIENCE, async {
        let path = read_path(&mut stream).await?;
        let words = words(&path);
        let answer = format!(
            "HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {}\r\n\
             connection: close\r\n\r\n{words}\n",
            words.len() + 1
        );
        stream.write_all(answer.as_bytes()).await.ok()?;
        stream.shutdown().await.ok()?;
        let mut rest = stream.take(MAX_REST_BYTES);
        tokio::io::copy(&mut rest, &mut tokio::io::sink())
            .await
            .ok()
    });
    // Whoever does not listen is not told.
    drop(told.await);
}

/// The path in a request's first line; `None` if this is not HTTP/1.
async fn read_path(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut line = Vec::new();
    while line.len() < MAX_LINE_BYTES {
        match stream.read_u8().await.ok()? {
            b'\r' | b'\n' => break,
            byte => line.push(byte),
        }
        // A method is a word in capitals, in practice; noise need not be read to its end.
        if line.len() == 1 && !line.iter().all(u8::is_ascii_uppercase) {
            return None;
        }
    }
    let line = String::from_utf8(line).ok()?;
    let mut words = line.split(' ');
    let (_method, path, version) = (words.next()?, words.next()?, words.next());
    // A line that is too long was cut, and its version with it.
    let is_http = version.is_none_or(|version| version.starts_with("HTTP/1"));
    is_http.then(|| path.to_owned())
}

/// Answers the first request of an HTTP/2 connection and ends it.
pub(crate) async fn answer_http2<T>(stream: Opened<T>, signpost: &Signpost)
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Some(words) = &signpost.0 else {
        return;
    };
    let answered = Notify::new();
    let service = service_fn(|request: Request<Incoming>| {
        answered.notify_one();
        let answer = turn_away(&request, words(request.uri().path()));
        async { Ok::<_, Infallible>(answer) }
    });
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(4)
        .initial_stream_window_size(64 << 10)
        .initial_connection_window_size(64 << 10)
        .max_header_list_size(16 << 10)
        .max_send_buf_size(16 << 10)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let ended = time::timeout(PATIENCE, async {
        tokio::select! {
            _ended = connection.as_mut() => return,
            () = answered.notified() => {}
        }
        connection.as_mut().graceful_shutdown();
        drop(connection.await);
    });
    drop(ended.await);
}

/// The answer to one request, as a gRPC status where that is what is waited for.
fn turn_away(request: &Request<Incoming>, words: String) -> Response<Body> {
    let kind = request.headers().get(header::CONTENT_TYPE);
    if kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc")) {
        return Status::unimplemented(words).into_http();
    }
    let mut answer = Response::new(Body::new(Full::new(Bytes::from(words + "\n"))));
    *answer.status_mut() = StatusCode::HTTP_VERSION_NOT_SUPPORTED;
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(header::CONTENT_TYPE, text);
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a peer that says this is answered.
    async fn answered(said: &[u8]) -> String {
        let (mut peer, ours) = tokio::io::duplex(8 << 10);
        peer.write_all(said).await.unwrap();
        peer.shutdown().await.unwrap();
        let opened = Opened::read(ours).await.unwrap();
        answer_http1(opened, &Signpost::new(|path| format!("asked for {path}"))).await;
        let mut answer = String::new();
        peer.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn plain_http_is_told_in_plain_http() {
        let answer = answered(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert!(
            answer.starts_with("HTTP/1.1 400 Bad Request\r\n"),
            "{answer}"
        );
        assert!(answer.contains("content-length: 19\r\n"), "{answer}");
        assert!(answer.ends_with("\r\n\r\nasked for /metrics\n"), "{answer}");
        let shortest = answered(b"GET / HTTP/1.0\r\n\r\n").await;
        assert!(shortest.ends_with("asked for /\n"), "{shortest}");
        let long = [b"GET /", "a".repeat(3_000).as_bytes()].concat();
        assert!(answered(&long).await.contains("asked for /aaa"));
    }

    #[tokio::test]
    async fn what_is_no_http_is_told_nothing() {
        for said in [
            &b"\x16\x03\x01\x02\x00\x01"[..],
            b"hello there\r\n",
            b"SSH-2.0-x\r\n",
            b"A B C\r\n",
        ] {
            assert_eq!(answered(said).await, "");
        }
    }
}
