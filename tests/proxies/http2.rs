//! A small HTTP/2 client that knows beforehand that it meets HTTP/2, as `curl --http2-prior-knowledge` does.

use std::net::SocketAddr;

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{Request, Uri};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};

use crate::http::Reply;

/// A connection that is kept.
pub(crate) struct Http2 {
    runtime: Runtime,
    sender: SendRequest<Full<Bytes>>,
}

impl Http2 {
    pub(crate) fn tcp(address: SocketAddr) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let sender = runtime.block_on(async {
            let stream = TcpStream::connect(address).await.unwrap();
            stream.set_nodelay(true).unwrap();
            let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream))
                .await
                .unwrap();
            // Ends with the connection, whose end requests see.
            tokio::spawn(async move { drop(connection.await) });
            sender
        });
        Self { runtime, sender }
    }

    /// Asks; `None` where the request cannot be written as HTTP/2, or its stream or connection was ended without an
    /// answer.
    pub(crate) fn ask(
        &mut self,
        (method, host, path): (&str, &str, &str),
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Option<Reply> {
        let path: PathAndQuery = path.parse().ok()?;
        let uri = Uri::builder()
            .scheme("http")
            .authority(host)
            .path_and_query(path);
        let mut request = Request::builder().method(method).uri(uri.build().ok()?);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::copy_from_slice(body))).ok()?;
        let Self { runtime, sender } = self;
        runtime.block_on(async {
            sender.ready().await.ok()?;
            let answer = sender.send_request(request).await.ok()?;
            let (head, body) = answer.into_parts();
            let headers = head.headers.iter().map(|(name, value)| {
                let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
                (name.as_str().to_owned(), value)
            });
            Some(Reply {
                status: head.status.as_u16(),
                headers: headers.collect(),
                body: body.collect().await.ok()?.to_bytes().to_vec(),
            })
        })
    }
}
