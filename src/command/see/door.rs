//! The way to the debug door: pages as JSON over HTTP/1.1.

use std::error::Error;
use std::fmt::Write as _;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, HOST, HeaderValue};
use http::{Request, Response, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio_rustls::client::TlsStream;

use super::clean::clean;
use super::fault::{Address, DoorError, words_of};
use crate::command::keys::{KeyArgs, Keys};
use crate::engine::model::printable;

/// How long to wait for a connection.
const CONNECTING: Duration = Duration::from_secs(5);

/// How long to wait for an answer.
const ANSWERING: Duration = Duration::from_secs(30);

/// Largest answer taken, in bytes: 50,000 nodes in rows.
const MAX_ANSWER_BYTES: usize = 128 << 20;

/// Where to look.
#[derive(Debug, Clone, clap::Args)]
pub struct DoorArgs {
    /// The sidecar's debug door, HOST:PORT, <http://HOST:PORT> or <https://HOST:PORT>
    #[arg(
        long = "debug",
        value_name = "ADDRESS",
        default_value = "127.0.0.1:7071",
        env = "TRADEWIND_DEBUG"
    )]
    pub address: Address,
    /// How to be let in
    #[command(flatten)]
    pub keys: KeyArgs,
}

/// A page of the debug door, with what it is asked.
#[derive(Debug, Clone)]
pub(super) struct Page {
    path: &'static str,
    target: String,
}

impl Page {
    pub(super) fn at(path: &'static str) -> Self {
        Self {
            path,
            target: path.to_owned(),
        }
    }

    /// Adds a parameter.
    pub(super) fn with(mut self, name: &str, value: &str) -> Self {
        self.target
            .push(if self.target.contains('?') { '&' } else { '?' });
        self.target.push_str(name);
        self.target.push('=');
        for byte in value.bytes() {
            if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
                self.target.push(char::from(byte));
            } else {
                let written = write!(self.target, "%{byte:02X}");
                debug_assert!(written.is_ok(), "a string takes any text");
            }
        }
        self
    }

    /// Adds a parameter, where it is given.
    pub(super) fn with_any(self, name: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }
}

/// A debug door, with the machinery to ask it.
#[derive(Debug)]
pub(super) struct Door {
    runtime: Runtime,
    keys: Keys,
    pub(super) address: Address,
}

/// What is read of [`version`].
#[derive(Debug, Deserialize)]
struct Version {
    version: String,
}

impl Door {
    pub(super) fn open(args: &DoorArgs) -> Result<Self, DoorError> {
        let runtime = Builder::new_current_thread().enable_all().build();
        Ok(Self {
            runtime: runtime.map_err(DoorError::Runtime)?,
            keys: args
                .keys
                .read((args.address.scheme(), args.address.as_str()), b"http/1.1")?,
            address: args.address.clone(),
        })
    }

    /// Waits for `future`.
    pub(super) fn wait<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    /// What a page says, as it says it: for JSON only.
    pub(super) async fn raw(&self, page: &Page) -> Result<Value, DoorError> {
        let silent = || self.silent(page, ANSWERING);
        let whole = tokio::time::timeout(ANSWERING, async {
            let body = self.send(page).await?.into_body();
            let whole = Limited::new(body, MAX_ANSWER_BYTES).collect().await;
            whole.map_err(|source| self.broke(page, source))
        });
        let whole = whole.await.map_err(|_| silent())??;
        match serde_json::from_slice(&whole.to_bytes()) {
            Ok(value) => Ok(value),
            Err(source) => Err(self.shape(page, "something that is no sidecar", source)),
        }
    }

    /// What a page says, fit to be printed.
    pub(super) async fn read<T: DeserializeOwned>(&self, page: &Page) -> Result<T, DoorError> {
        let value = self.raw(page).await?;
        self.take(page, value).await
    }

    /// The same of what was read before.
    pub(super) async fn take<T: DeserializeOwned>(
        &self,
        page: &Page,
        value: Value,
    ) -> Result<T, DoorError> {
        match serde_json::from_value(clean(value)) {
            Ok(read) => Ok(read),
            Err(source) => Err(self.shape(page, &self.theirs().await, source)),
        }
    }

    /// What answers there, for an error.
    async fn theirs(&self) -> String {
        let said = self.raw(&Page::at("/debug/sidecar")).await.ok();
        let said = said.and_then(|value| serde_json::from_value::<Version>(value).ok());
        said.map_or_else(
            || "something of an unknown version".to_owned(),
            |said| format!("Tradewind {}", printable(&said.version, 40)),
        )
    }

    /// Begins to read a page that goes on.
    pub(super) async fn begin(&self, page: &Page) -> Result<Incoming, DoorError> {
        let answer = tokio::time::timeout(ANSWERING, self.send(page)).await;
        let answer = answer.map_err(|_| self.silent(page, ANSWERING))??;
        Ok(answer.into_body())
    }

    pub(super) fn silent(&self, page: &Page, within: Duration) -> DoorError {
        DoorError::Silent {
            door: self.address.clone(),
            page: page.path.to_owned(),
            seconds: within.as_secs(),
        }
    }

    pub(super) fn broke(
        &self,
        page: &Page,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> DoorError {
        DoorError::Broke {
            door: self.address.clone(),
            page: page.path.to_owned(),
            source: source.into(),
        }
    }

    pub(super) fn shape(&self, page: &Page, theirs: &str, source: serde_json::Error) -> DoorError {
        DoorError::Shape {
            door: self.address.clone(),
            page: page.path.to_owned(),
            theirs: theirs.to_owned(),
            source,
        }
    }

    /// Asks for a page; an answer that is an error is one.
    async fn send(&self, page: &Page) -> Result<Response<Incoming>, DoorError> {
        let connected = tokio::time::timeout(CONNECTING, self.connect()).await;
        let connected = connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let connected = connected.map_err(|source| DoorError::Connect {
            door: self.address.clone(),
            source,
        })?;
        let request = self.request(page)?;
        let answered = match connected {
            Connected::Plain(stream) => answer(stream, request).await,
            Connected::Tls(stream) => answer(*stream, request).await,
        };
        let answer = answered.map_err(|source| self.broke(page, source))?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let status = answer.status();
        let body = Limited::new(answer.into_body(), MAX_ANSWER_BYTES).collect();
        let body = body.await.map_err(|source| self.broke(page, source))?;
        Err(DoorError::Refused {
            door: self.address.clone(),
            page: page.path.to_owned(),
            status,
            words: words_of(status, &body.to_bytes()),
        })
    }

    async fn connect(&self) -> io::Result<Connected> {
        let address = self.address.as_str();
        Ok(match &self.keys.tls {
            None => Connected::Plain(TcpStream::connect(address).await?),
            Some(tls) => Connected::Tls(Box::new(tls.connect(address).await?)),
        })
    }

    fn request(&self, page: &Page) -> Result<Request<Empty<Bytes>>, DoorError> {
        let mut request = Request::new(Empty::new());
        let target = page.target.parse::<Uri>();
        *request.uri_mut() = target.map_err(|source| self.broke(page, source))?;
        let host = HeaderValue::from_str(self.address.as_str());
        let host = host.map_err(|source| self.broke(page, source))?;
        let headers = request.headers_mut();
        headers.insert(HOST, host);
        headers.insert(
            ACCEPT,
            HeaderValue::from_static("application/json, text/event-stream"),
        );
        if let Some(token) = &self.keys.authorization {
            headers.insert(AUTHORIZATION, token.clone());
        }
        Ok(request)
    }
}

/// A connection to a door.
enum Connected {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Asks on a connection of its own.
async fn answer<T>(
    stream: T,
    request: Request<Empty<Bytes>>,
) -> Result<Response<Incoming>, hyper::Error>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // It ends with what is read of it.
    tokio::spawn(async move { drop(connection.await) });
    sender.send_request(request).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_is_escaped() {
        let page = Page::at("/debug/explain")
            .with("path", "/a b&c=ü")
            .with_any("client", None);
        assert_eq!(
            page.with("x", "").target,
            "/debug/explain?path=/a%20b%26c%3D%C3%BC&x="
        );
    }
}
