//! Nodes that speak gRPC, as far as a proxy sees it: answers of 200 whose status stands in their trailers.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::sync::oneshot;

/// A message of three bytes, in gRPC's framing.
const MESSAGE: &[u8] = b"\0\0\0\0\x03abc";

/// One of them.
pub(crate) struct GrpcNode {
    pub(crate) address: SocketAddr,
    served: Arc<Served>,
}

struct Served {
    /// What it answers.
    status: AtomicU16,
    calls: AtomicU64,
}

/// Several; they end when this is dropped.
pub(crate) struct GrpcNodes {
    pub(crate) all: Vec<GrpcNode>,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl GrpcNode {
    /// Ends every call with this status from now on.
    pub(crate) fn answer(&self, status: u16) {
        self.served.status.store(status, Ordering::Relaxed);
    }

    /// Calls so far.
    pub(crate) fn calls(&self) -> u64 {
        self.served.calls.load(Ordering::Relaxed)
    }
}

impl GrpcNodes {
    pub(crate) fn start(count: usize) -> Self {
        let (mut all, mut listeners) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            listener.set_nonblocking(true).unwrap();
            let served = Arc::new(Served {
                status: AtomicU16::new(0),
                calls: AtomicU64::new(0),
            });
            all.push(GrpcNode {
                address: listener.local_addr().unwrap(),
                served: Arc::clone(&served),
            });
            listeners.push((listener, served));
        }
        let (end, ended) = oneshot::channel::<()>();
        let thread = thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                for (listener, served) in listeners {
                    let listener = TcpListener::from_std(listener).unwrap();
                    tokio::spawn(accept(listener, served));
                }
                drop(ended.await);
            });
        });
        Self {
            all,
            end: Some(end),
            thread: Some(thread),
        }
    }
}

impl Drop for GrpcNodes {
    fn drop(&mut self) {
        drop(self.end.take());
        drop(self.thread.take().map(JoinHandle::join));
    }
}

async fn accept(listener: TcpListener, served: Arc<Served>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let served = Arc::clone(&served);
        tokio::spawn(async move {
            let service = service_fn(|request: Request<Incoming>| {
                drop(request);
                let answer = served.answer();
                async move { Ok::<_, Infallible>(answer) }
            });
            let connection = http2::Builder::new(TokioExecutor::new());
            drop(
                connection
                    .serve_connection(TokioIo::new(stream), service)
                    .await,
            );
        });
    }
}

impl Served {
    fn answer(&self) -> Response<impl hyper::body::Body<Data = Bytes, Error = Infallible> + use<>> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let status = self.status.load(Ordering::Relaxed);
        let body = Full::new(Bytes::from_static(MESSAGE)).with_trailers(async move {
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", HeaderValue::from(status));
            Some(Ok(trailers))
        });
        let answer = Response::builder().header("content-type", "application/grpc");
        answer.body(body).unwrap()
    }
}
