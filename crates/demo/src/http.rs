//! A small HTTP/1.1 client with kept connections: what a proxy does towards a node, and a client towards a proxy.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{HOST, HeaderValue};
use http::{HeaderMap, HeaderName, Request, Uri};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use tradewind_sidecar::clock;

/// Connections kept for each address; further ones are closed after use.
const MAX_KEPT: usize = 256;

type Sender = SendRequest<Empty<Bytes>>;

/// A GET to send.
#[derive(Debug, Clone)]
pub struct Get {
    /// Whom to connect to, `host:port`.
    pub address: String,
    /// The `Host` header.
    pub host: String,
    /// Path and query.
    pub target: String,
    /// A further header.
    pub header: Option<(HeaderName, HeaderValue)>,
    /// How long the whole answer may take.
    pub patience: Duration,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Got {
    /// Its status.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// Bytes of its body.
    pub bytes: u64,
    /// From the request to the first byte of the answer.
    pub first_byte: Duration,
    /// From the request to the last byte of the answer.
    pub total: Duration,
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoAnswer {
    /// No connection, or a request that cannot be sent.
    Unreachable,
    /// Not in time.
    Timeout,
    /// The connection ended before the answer did.
    BrokeOff,
}

impl NoAnswer {
    /// The word used in output.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Timeout => "timeout",
            Self::BrokeOff => "broke_off",
        }
    }
}

/// A client; connections are kept for the next request to the same address.
#[derive(Debug, Default)]
pub struct HttpClient {
    kept: Mutex<BTreeMap<String, Vec<Sender>>>,
}

impl HttpClient {
    /// Sends a request and reads the whole answer.
    pub async fn get(&self, get: &Get) -> Result<Got, NoAnswer> {
        let began = clock::now();
        let answered = tokio::time::timeout(get.patience, self.try_get(get, began)).await;
        answered.unwrap_or(Err(NoAnswer::Timeout))
    }

    async fn try_get(&self, get: &Get, began: Instant) -> Result<Got, NoAnswer> {
        while let Some(sender) = self.take(&get.address) {
            match self.send(sender, get, began).await {
                // A kept connection may be closed by the other end just as it is used; that is nobody's failure.
                Err(NoAnswer::BrokeOff) => {}
                ended => return ended,
            }
        }
        let sender = connect(&get.address).await?;
        self.send(sender, get, began).await
    }

    async fn send(&self, mut sender: Sender, get: &Get, began: Instant) -> Result<Got, NoAnswer> {
        let request = request(get).ok_or(NoAnswer::Unreachable)?;
        sender.ready().await.map_err(|_| NoAnswer::BrokeOff)?;
        let answer = sender.send_request(request).await;
        let answer = answer.map_err(|_| NoAnswer::BrokeOff)?;
        let first_byte = began.elapsed();
        let (head, body) = answer.into_parts();
        let body = body.collect().await.map_err(|_| NoAnswer::BrokeOff)?;
        self.keep(&get.address, sender);
        Ok(Got {
            status: head.status.as_u16(),
            headers: head.headers,
            bytes: body.to_bytes().len() as u64,
            first_byte,
            total: began.elapsed(),
        })
    }

    /// A kept connection, the one used last first.
    fn take(&self, address: &str) -> Option<Sender> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = kept.get_mut(address)?;
        while let Some(sender) = kept.pop() {
            if !sender.is_closed() {
                return Some(sender);
            }
        }
        None
    }

    fn keep(&self, address: &str, sender: Sender) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = kept.entry(address.to_owned()).or_default();
        if kept.len() < MAX_KEPT && !sender.is_closed() {
            kept.push(sender);
        }
    }
}

async fn connect(address: &str) -> Result<Sender, NoAnswer> {
    let stream = TcpStream::connect(address).await;
    let stream = stream.map_err(|_| NoAnswer::Unreachable)?;
    // Without Nagle's delay where the socket allows it.
    drop(stream.set_nodelay(true));
    let shaken = http1::handshake(TokioIo::new(stream)).await;
    let (sender, connection) = shaken.map_err(|_| NoAnswer::Unreachable)?;
    // It ends with its sender, or when the other end closes it.
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender)
}

fn request(get: &Get) -> Option<Request<Empty<Bytes>>> {
    let mut request = Request::new(Empty::new());
    *request.uri_mut() = get.target.parse::<Uri>().ok()?;
    let host = HeaderValue::from_str(&get.host).ok()?;
    request.headers_mut().insert(HOST, host);
    if let Some((name, value)) = &get.header {
        request.headers_mut().insert(name, value.clone());
    }
    Some(request)
}
