//! Load for one server at a time: closed loops of calls over a few connections, a thread for each connection.
//!
//! The bodies of all calls are encoded beforehand and answers are not decoded, so that every server is asked at the
//! same price.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use std::{fs, io, thread};

use bytes::Bytes;
use hdrhistogram::Histogram;
use http::uri::PathAndQuery;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Request;
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint as ChannelEndpoint};
use tradewind::sidecar::listen::socket::Endpoint;

use crate::peer::{self, Peer};
use crate::raw::RawCodec;

/// A server under test.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) name: &'static str,
    pub(crate) endpoint: Endpoint,
    /// What the names of its threads begin with.
    pub(crate) threads: &'static str,
    pub(crate) path: &'static str,
    /// Calls to make, over and over.
    pub(crate) messages: Arc<Vec<Bytes>>,
    /// Decisions asked for in one message.
    pub(crate) decisions: u32,
}

/// A pattern of load.
#[derive(Clone, Copy)]
pub(crate) struct Regime {
    pub(crate) name: &'static str,
    pub(crate) connections: usize,
    /// Calls open at once on each connection; messages on their way, for a stream.
    pub(crate) calls: usize,
    pub(crate) client: Client,
}

/// Who asks.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Client {
    /// Unary calls over a tonic channel.
    Tonic,
    /// One long-lived stream over a tonic channel.
    TonicStream,
    /// Unary calls as raw frames, at a fraction of the price of a channel; TCP only.
    Frames,
}

/// One round's figures.
#[derive(Clone, Debug)]
pub(crate) struct Round {
    pub(crate) decisions_per_s: f64,
    pub(crate) answers: u32,
    /// Processor time of the server's threads for each decision.
    pub(crate) cpu_us: f64,
    /// Time from call to answer in nanoseconds; empty for raw frames.
    pub(crate) latency_ns: Histogram<u32>,
}

/// What one connection saw.
struct Tally {
    answers: u32,
    latency_ns: Histogram<u32>,
}

impl Tally {
    fn new() -> Self {
        Self {
            answers: 0,
            // From a tenth of a microsecond to ten seconds.
            latency_ns: Histogram::new_with_bounds(100, 10_000_000_000, 2).unwrap(),
        }
    }

    fn count(&mut self, begun: Instant) {
        self.answers += 1;
        let ns = u64::try_from(begun.elapsed().as_nanos()).unwrap();
        self.latency_ns.saturating_record(ns);
    }

    fn add(&mut self, other: &Self) {
        self.answers += other.answers;
        self.latency_ns.add(&other.latency_ns).unwrap();
    }
}

/// Loads `target` for `length`.
pub(crate) fn load(target: &Target, regime: Regime, length: Duration) -> Round {
    let stop = Arc::new(AtomicBool::new(false));
    let before = cpu_ns(target.threads);
    let started = Instant::now();
    let clients: Vec<_> = (0..regime.connections)
        .map(|number| {
            let (target, stop) = (target.clone(), Arc::clone(&stop));
            // Every connection begins elsewhere in the list.
            let turn = Turn {
                at: number * target.messages.len() / regime.connections,
                messages: Arc::clone(&target.messages),
            };
            thread::spawn(move || match regime.client {
                Client::Frames => frames(&target, regime.calls, turn, &stop),
                Client::Tonic | Client::TonicStream => channel(&target, regime, turn, &stop),
            })
        })
        .collect();
    thread::sleep(length);
    stop.store(true, Ordering::Relaxed);
    let mut all = Tally::new();
    for client in clients {
        all.add(&client.join().unwrap());
    }
    let took = started.elapsed().as_secs_f64();
    let cpu = Duration::from_nanos(cpu_ns(target.threads) - before).as_secs_f64();
    let decisions = f64::from(all.answers * target.decisions).max(1.0);
    Round {
        decisions_per_s: decisions / took,
        answers: all.answers,
        cpu_us: cpu * 1e6 / decisions,
        latency_ns: all.latency_ns,
    }
}

/// The next message, round and round.
#[derive(Clone)]
struct Turn {
    messages: Arc<Vec<Bytes>>,
    at: usize,
}

impl Turn {
    fn next(&mut self) -> Bytes {
        self.at = (self.at + 1) % self.messages.len();
        self.messages[self.at].clone()
    }
}

fn channel(target: &Target, regime: Regime, turn: Turn, stop: &Arc<AtomicBool>) -> Tally {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let channel = connect(&target.endpoint).await;
        if regime.client == Client::TonicStream {
            return stream(channel, target.path, (turn, regime.calls), stop).await;
        }
        let stride = target.messages.len() / regime.calls;
        let tasks: Vec<_> = (0..regime.calls)
            .map(|number| {
                let mut turn = turn.clone();
                turn.at += number * stride;
                tokio::spawn(unary(channel.clone(), target.path, turn, Arc::clone(stop)))
            })
            .collect();
        let mut all = Tally::new();
        for task in tasks {
            all.add(&task.await.unwrap());
        }
        all
    })
}

async fn connect(endpoint: &Endpoint) -> Channel {
    match endpoint {
        Endpoint::Tcp(address) => {
            let channel = ChannelEndpoint::from_shared(format!("http://{address}")).unwrap();
            channel.tcp_nodelay(true).connect().await.unwrap()
        }
        Endpoint::Unix(path) => {
            let path = path.clone();
            let connector = tower::service_fn(move |_| {
                let path = path.clone();
                async move { Ok::<_, io::Error>(TokioIo::new(UnixStream::connect(path).await?)) }
            });
            let channel = ChannelEndpoint::from_static("http://localhost");
            channel.connect_with_connector(connector).await.unwrap()
        }
    }
}

async fn unary(
    channel: Channel,
    path: &'static str,
    mut turn: Turn,
    stop: Arc<AtomicBool>,
) -> Tally {
    let mut grpc = Grpc::new(channel);
    let mut tally = Tally::new();
    while !stop.load(Ordering::Relaxed) {
        let begun = Instant::now();
        grpc.ready().await.unwrap();
        let request = Request::new(turn.next());
        let path = PathAndQuery::from_static(path);
        let answer: tonic::Response<Bytes> = grpc.unary(request, path, RawCodec).await.unwrap();
        assert!(!answer.into_inner().is_empty(), "an answer has a body");
        tally.count(begun);
    }
    tally
}

/// Keeps `window` messages on their way over one stream.
async fn stream(
    channel: Channel,
    path: &'static str,
    (mut turn, window): (Turn, usize),
    stop: &AtomicBool,
) -> Tally {
    let mut grpc = Grpc::new(channel);
    grpc.ready().await.unwrap();
    let (ask, asked) = mpsc::channel(window);
    for _ in 0..window {
        ask.send(turn.next()).await.unwrap();
    }
    let requests = Request::new(ReceiverStream::new(asked));
    let path = PathAndQuery::from_static(path);
    let answers = grpc.streaming(requests, path, RawCodec).await.unwrap();
    let mut answers: tonic::Streaming<Bytes> = answers.into_inner();
    let mut tally = Tally::new();
    while !stop.load(Ordering::Relaxed) {
        let answer = answers.next().await.unwrap().unwrap();
        assert!(!answer.is_empty(), "an answer has a body");
        tally.answers += 1;
        ask.send(turn.next()).await.unwrap();
    }
    tally
}

/// Asks again for each answer, all that one read brought in one write.
fn frames(target: &Target, calls: usize, mut turn: Turn, stop: &AtomicBool) -> Tally {
    let Endpoint::Tcp(address) = target.endpoint else {
        unreachable!("raw frames go over TCP")
    };
    let mut peer = Peer::greet(address, &[(4, i32::MAX.unsigned_abs())]);
    let mut tally = Tally::new();
    let mut stream = 1;
    let mut call = |bytes: &mut Vec<u8>| {
        peer::push_call(bytes, stream, target.path, &turn.next());
        stream += 2;
    };
    let mut bytes = Vec::new();
    // The connection's window is opened once, for all that a round can bring.
    let window = 0x7000_0000_u32.to_be_bytes();
    peer::push_frame(&mut bytes, peer::WINDOW_UPDATE, 0, 0, &window);
    (0..calls).for_each(|_| call(&mut bytes));
    loop {
        io::Write::write_all(&mut peer.socket, &bytes).unwrap();
        bytes.clear();
        if stop.load(Ordering::Relaxed) {
            return tally;
        }
        assert!(peer.fill().unwrap() > 0, "the server closed the connection");
        while let Some((kind, flags, stream)) = peer.skip_frame() {
            match kind {
                peer::SETTINGS if flags & peer::ACK == 0 => {
                    peer::push_frame(&mut bytes, peer::SETTINGS, peer::ACK, 0, &[]);
                }
                peer::HEADERS if flags & peer::END_STREAM != 0 => {
                    tally.answers += 1;
                    call(&mut bytes);
                }
                peer::GOAWAY | peer::RST_STREAM => panic!("frame {kind} on stream {stream}"),
                _other => {}
            }
        }
    }
}

/// The usual size of an answer in bytes: the median of a few.
pub(crate) async fn answer_size(target: &Target) -> usize {
    let channel = connect(&target.endpoint).await;
    let mut sizes = Vec::new();
    for message in target.messages.iter().take(31) {
        sizes.push(ask(&channel, target.path, message.clone()).await.len());
    }
    sizes.sort_unstable();
    sizes[sizes.len() / 2]
}

async fn ask(channel: &Channel, path: &'static str, message: Bytes) -> Bytes {
    let mut grpc = Grpc::new(channel.clone());
    grpc.ready().await.unwrap();
    let path = PathAndQuery::from_static(path);
    let answer = grpc.unary(Request::new(message), path, RawCodec).await;
    answer.unwrap().into_inner()
}

/// Processor time of this process's threads whose name begins so, in nanoseconds.
pub(crate) fn cpu_ns(name: &str) -> u64 {
    let threads = fs::read_dir("/proc/self/task").unwrap();
    threads
        .map(|thread| thread.unwrap().path())
        .filter(|path| {
            fs::read_to_string(path.join("comm")).is_ok_and(|comm| comm.starts_with(name))
        })
        .filter_map(|path| fs::read_to_string(path.join("schedstat")).ok())
        .filter_map(|stat| stat.split(' ').next()?.parse::<u64>().ok())
        .sum()
}
