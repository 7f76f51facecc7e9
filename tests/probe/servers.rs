//! Servers on loopback that answer well, badly or not at all, and keep count. They end when dropped.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tonic::transport::server::TcpIncoming;
use tonic_health::ServingStatus;

/// A server and what it has seen.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    seen: Arc<Seen>,
    /// Ended with it, connections included.
    _tasks: JoinSet<()>,
}

#[derive(Default)]
struct Seen {
    accepted: AtomicUsize,
    open: AtomicUsize,
    /// A line for each request.
    heard: Mutex<Vec<String>>,
}

impl Server {
    /// Answers every request with this status.
    pub(crate) async fn http(status: u16) -> Self {
        Self::accepting(move |stream, seen| async move {
            let service = service_fn(move |request: Request<Incoming>| {
                seen.heard.lock().unwrap().push(line(&request));
                let answer = Response::builder().status(status);
                std::future::ready(answer.body(Full::new(Bytes::from_static(b"so it is"))))
            });
            let served = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            // Probes of another kind are no HTTP.
            drop(served.await);
        })
        .await
    }

    /// Answers for this service only.
    pub(crate) async fn grpc(service: &'static str, status: ServingStatus) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (mut reporter, health) = tonic_health::server::health_reporter();
        // The whole server is known from the start.
        reporter.clear_service_status("").await;
        reporter.set_service_status(service, status).await;
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let served = tonic::transport::Server::builder()
                .add_service(health)
                .serve_with_incoming(TcpIncoming::from(listener));
            served.await.unwrap();
            drop(reporter);
        });
        Self {
            address,
            seen: Arc::default(),
            _tasks: tasks,
        }
    }

    /// Accepts, reads and never answers.
    pub(crate) async fn silent() -> Self {
        Self::saying(b"").await
    }

    /// Accepts and closes.
    pub(crate) async fn closing() -> Self {
        Self::accepting(|stream, _seen| async move { drop(stream) }).await
    }

    /// Says this once it is asked something, and then waits for the peer to close.
    pub(crate) async fn saying(words: &'static [u8]) -> Self {
        Self::accepting(move |mut stream, _seen| async move {
            let asked = stream
                .read(&mut [0; 1_024])
                .await
                .is_ok_and(|read| read > 0);
            if asked && stream.write_all(words).await.is_ok() {
                wait_for_end(&mut stream).await;
            }
        })
        .await
    }

    /// The same, a byte every 20 ms.
    pub(crate) async fn dripping(words: &'static [u8]) -> Self {
        Self::accepting(move |mut stream, _seen| async move {
            for byte in words {
                tokio::time::sleep(Duration::from_millis(20)).await;
                if stream.write_all(&[*byte]).await.is_err() {
                    return;
                }
            }
            wait_for_end(&mut stream).await;
        })
        .await
    }

    /// Runs `serve` for each connection.
    async fn accepting<F, S>(serve: S) -> Self
    where
        S: Fn(TcpStream, Arc<Seen>) -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::<Seen>::default();
        let ours = Arc::clone(&seen);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _peer) = listener.accept().await.unwrap();
                ours.accepted.fetch_add(1, Ordering::SeqCst);
                ours.open.fetch_add(1, Ordering::SeqCst);
                let serving = serve(stream, Arc::clone(&ours));
                let seen = Arc::clone(&ours);
                connections.spawn(async move {
                    serving.await;
                    seen.open.fetch_sub(1, Ordering::SeqCst);
                });
                while connections.try_join_next().is_some() {}
            }
        });
        Self {
            address,
            seen,
            _tasks: tasks,
        }
    }

    /// Connections accepted so far.
    pub(crate) fn accepted(&self) -> usize {
        self.seen.accepted.load(Ordering::SeqCst)
    }

    /// Connections open now.
    pub(crate) fn open(&self) -> usize {
        self.seen.open.load(Ordering::SeqCst)
    }

    /// The requests so far, a line each.
    pub(crate) fn heard(&self) -> Vec<String> {
        self.seen.heard.lock().unwrap().clone()
    }
}

/// An address where nobody listens.
pub(crate) fn refused() -> SocketAddr {
    // The lowest port: the system gives it to nobody, and a test has no right to it.
    SocketAddr::from(([127, 0, 0, 1], 1))
}

/// A request's method, target and the headers that matter.
fn line(request: &Request<Incoming>) -> String {
    let header = |name: &str| {
        let value = request.headers().get(name);
        value.map_or("none", |value| value.to_str().unwrap())
    };
    format!(
        "{} {} host: {} user-agent: {} connection: {}",
        request.method(),
        request.uri(),
        header("host"),
        header("user-agent"),
        header("connection"),
    )
}

/// Reads until the peer closes or resets.
async fn wait_for_end(stream: &mut TcpStream) {
    let mut bytes = [0; 1_024];
    while stream.read(&mut bytes).await.is_ok_and(|read| read > 0) {}
}
