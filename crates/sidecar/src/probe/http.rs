//! Asks by HTTP/1.1: `GET` of a path, answered with 200 to 399.
//!
//! The head of the answer decides. The body is not read: it could be of any length, and the connection is closed anyway.

use bytes::Bytes;
use http::header::{CONNECTION, HOST, HeaderValue, USER_AGENT};
use http::uri::PathAndQuery;
use http::{Request, Uri};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::ProbeFailure;
use super::USER_AGENT_NAME;
use tradewind_engine::topology::Address;

/// Bytes of an answer's head that are read, at most.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// Asks over a connection that was just opened.
pub(super) async fn ask(
    stream: TcpStream,
    address: &Address,
    path: &PathAndQuery,
) -> Result<(), ProbeFailure> {
    let mut builder = http1::Builder::new();
    builder.max_buf_size(MAX_HEAD_BYTES);
    let shaken = builder
        .handshake::<_, Empty<Bytes>>(TokioIo::new(stream))
        .await;
    let (mut sender, connection) = shaken.map_err(not_understood)?;
    let request = request(address, path).ok_or(ProbeFailure::Protocol)?;
    let mut answered = std::pin::pin!(sender.send_request(request));
    // The connection reads and writes while the answer is awaited. When it ends first, it leaves the answer, or why
    // there is none.
    let answer = tokio::select! {
        biased;
        answer = &mut answered => answer,
        () = async move { drop(connection.await) } => answered.await,
    };
    match answer.map_err(not_understood)?.status().as_u16() {
        200..=399 => Ok(()),
        _ => Err(ProbeFailure::Status),
    }
}

fn request(address: &Address, path: &PathAndQuery) -> Option<Request<Empty<Bytes>>> {
    let host = HeaderValue::from_str(&address.to_string()).ok()?;
    let mut request = Request::new(Empty::new());
    *request.uri_mut() = Uri::from(path.clone());
    let headers = request.headers_mut();
    headers.insert(HOST, host);
    headers.insert(USER_AGENT, HeaderValue::from_static(USER_AGENT_NAME));
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    Some(request)
}

/// An error of hyper's client on an open connection: closed, reset, or not HTTP.
#[expect(
    clippy::needless_pass_by_value,
    reason = "takes what `map_err` hands on"
)]
fn not_understood(error: hyper::Error) -> ProbeFailure {
    tracing::trace!(%error, "a probe's answer was not understood");
    ProbeFailure::Protocol
}
