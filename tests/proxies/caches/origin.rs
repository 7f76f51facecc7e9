//! An origin whose objects have revisions, and that remembers what it was asked.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::header::{CACHE_CONTROL, ETAG, IF_NONE_MATCH};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};

/// An object, by its path: queries are variants of it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Object {
    /// What every answer says; how often it has changed.
    pub(crate) revision: u64,
    /// How often it was sent, and how often it was said to be unchanged.
    pub(crate) sent: u64,
    pub(crate) unchanged: u64,
    /// The headers of the last request for it.
    pub(crate) asked: HeaderMap,
}

type Objects = Arc<Mutex<BTreeMap<String, Object>>>;

/// A running one; it ends when dropped.
#[derive(Debug)]
pub(crate) struct Origin {
    objects: Objects,
    runtime: Runtime,
}

impl Origin {
    pub(crate) fn start() -> Self {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        Self {
            objects: Objects::default(),
            runtime,
        }
    }

    /// One more address at which it answers.
    pub(crate) fn door(&self) -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
        let listener = self.runtime.block_on(listener).unwrap();
        let address = listener.local_addr().unwrap();
        self.runtime
            .spawn(serve(listener, Arc::clone(&self.objects)));
        address
    }

    /// Changes an object; its revision from now on.
    pub(crate) fn change(&self, path: &str) -> u64 {
        let mut objects = self.objects.lock().unwrap_or_else(PoisonError::into_inner);
        let object = objects.entry(path.to_owned()).or_default();
        object.revision += 1;
        object.revision
    }

    /// An object as it is.
    pub(crate) fn object(&self, path: &str) -> Object {
        let objects = self.objects.lock().unwrap_or_else(PoisonError::into_inner);
        objects.get(path).cloned().unwrap_or_default()
    }
}

async fn serve(listener: TcpListener, objects: Objects) {
    while let Ok((stream, _peer)) = listener.accept().await {
        drop(stream.set_nodelay(true));
        let objects = Arc::clone(&objects);
        let service = service_fn(move |request| {
            let answer = answer(&objects, &request);
            async { Ok::<_, Infallible>(answer) }
        });
        let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        // Ends with the connection, whose end the cache sees.
        tokio::spawn(async move { drop(connection.await) });
    }
}

fn answer<B>(objects: &Objects, request: &Request<B>) -> Response<Full<Bytes>> {
    let mut objects = objects.lock().unwrap_or_else(PoisonError::into_inner);
    let object = objects.entry(request.uri().path().to_owned()).or_default();
    object.asked = request.headers().clone();
    let tag = format!("\"{}\"", object.revision);
    let known = request.headers().get(IF_NONE_MATCH);
    let answer = Response::builder()
        .header(CACHE_CONTROL, "max-age=3600")
        .header(ETAG, &tag);
    if known.is_some_and(|known| known.as_bytes() == tag.as_bytes()) {
        object.unchanged += 1;
        let answer = answer.status(StatusCode::NOT_MODIFIED);
        return answer.body(Full::default()).unwrap();
    }
    object.sent += 1;
    let body = format!("{} {}", request.uri(), object.revision);
    answer.body(Full::from(body)).unwrap()
}
