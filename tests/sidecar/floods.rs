//! Whole floods against the real process, with honest callers beside them: who is answered, how late, and what it costs.
//!
//! They take minutes and the machine to themselves, so they are run by hand (docs/testing.md). The rules that hold them off
//! have tests of their own, which run always: `tests/listen`, and the unit tests of `listen::seats` and `doors::earned`.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use prost::Message as _;
use tonic::transport::Endpoint;

use crate::client::{Client, request};
use crate::envoy_endpoints::TYPE_URL;
use crate::peer;
use crate::server::{Files, Server};
use tradewind::sidecar::clock::timer_now;
use tradewind::sidecar::doors::envoy::proto::envoy::config::core::v3::Node;
use tradewind::sidecar::doors::envoy::proto::envoy::service::discovery::v3::DiscoveryRequest;
use tradewind::sidecar::wire::proto::admin_service_client::AdminServiceClient;
use tradewind::sidecar::wire::proto::{
    AttemptResult, ExplainRequest, GetLogFilterRequest, Outcome, ReportRequest,
};

/// How long each flood lasts, and how much more memory the process may take for it.
const LASTS: Duration = Duration::from_secs(10);
const MAX_GROWTH_KB: u64 = 64 << 10;

/// The least part of honest calls that must be answered, and within how long an answer counts.
const MIN_ANSWERED: f64 = 0.999;
const IN_TIME: Duration = Duration::from_secs(1);

/// Between two calls of an honest caller.
const PACE: Duration = Duration::from_millis(2);

/// Calls by which a flood holds places.
const REPORT: &str = "/tradewind.v1.FeedbackService/Report";
const BATCH: &str = "/tradewind.v1.DecisionService/DecideBatch";
const DECIDE: &str = "/tradewind.v1.DecisionService/Decide";
const ENDPOINTS: &str = "/envoy.service.endpoint.v3.EndpointDiscoveryService/StreamEndpoints";
const EXPLAIN: &str = "/tradewind.v1.DecisionService/Explain";
const HEALTH: &str = "/grpc.health.v1.Health/Watch";
const ACCESS_LOGS: &str = "/envoy.service.accesslog.v3.AccessLogService/StreamAccessLogs";

/// A page that costs as much as an explanation.
const PAGE: &[u8] =
    b"GET /debug/explain?path=/a&client=198.18.1.1&candidates=8 HTTP/1.1\r\nhost: localhost\r\n\r\n";

/// Where a process can be attacked.
#[derive(Debug, Clone)]
struct Target {
    tcp: SocketAddr,
    unix: PathBuf,
    http: SocketAddr,
    debug: SocketAddr,
    admin: SocketAddr,
}

/// What floods have sent, or tried to.
static SENT_BYTES: AtomicU64 = AtomicU64::new(0);

/// A connection of a flood.
enum Line {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        SENT_BYTES.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        match self {
            Self::Tcp(stream) => stream.write_all(bytes),
            Self::Unix(stream) => stream.write_all(bytes),
        }
    }

    /// Reads what is there, without waiting for more than a moment; an error at the end of the stream.
    fn read_some(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; 64 << 10];
        let read = match self {
            Self::Tcp(stream) => stream.read(&mut bytes),
            Self::Unix(stream) => stream.read(&mut bytes),
        };
        match read {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                bytes.truncate(count);
                Ok(bytes)
            }
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                ) =>
            {
                Ok(Vec::new())
            }
            Err(error) => Err(error),
        }
    }
}

const MOMENT: Option<Duration> = Some(Duration::from_millis(1));

fn tcp(to: SocketAddr) -> io::Result<Line> {
    let stream = TcpStream::connect(to)?;
    stream.set_read_timeout(MOMENT)?;
    stream.set_write_timeout(Some(Duration::from_millis(200)))?;
    Ok(Line::Tcp(stream))
}

fn unix(to: &Path) -> io::Result<Line> {
    let stream = UnixStream::connect(to)?;
    stream.set_read_timeout(MOMENT)?;
    stream.set_write_timeout(Some(Duration::from_millis(200)))?;
    Ok(Line::Unix(stream))
}

/// A connection that has greeted with these settings.
fn greet(mut line: Line, settings: &[(u16, u32)]) -> io::Result<Line> {
    let mut hello = peer::PREFACE.to_vec();
    let settings: Vec<u8> = settings
        .iter()
        .flat_map(|(id, value)| id.to_be_bytes().into_iter().chain(value.to_be_bytes()))
        .collect();
    peer::push_frame(&mut hello, peer::SETTINGS, 0, 0, &settings);
    peer::push_frame(&mut hello, peer::SETTINGS, peer::ACK, 0, &[]);
    line.write(&hello)?;
    Ok(line)
}

/// What each connection of a flood does: how many of them, over which door, and what each sends on each stream.
struct Flood {
    name: &'static str,
    connections: usize,
    streams: u32,
    over: Over,
    what: What,
}

#[derive(Clone, Copy, PartialEq)]
enum Over {
    Tcp,
    Unix,
    Http,
    Debug,
    Admin,
}

#[derive(Clone, Copy)]
enum What {
    /// Nothing, not even a greeting.
    Silence,
    /// A greeting, and PINGs answered.
    Idle,
    /// Calls of this path that are opened and never end.
    Open(&'static str),
    /// The same, closed and opened anew when they have been answered.
    Again(&'static str),
    /// Messages that promise so many bytes and send one.
    Claim(&'static str, u32),
    /// Questions, for whose answers a window of so many bytes is opened.
    Window(u32),
    /// The same with a window of one byte, and one more question now and then whose answer is taken.
    Drip,
    /// Questions, whose answers are not read.
    Unread,
    /// Outcomes, as many as go.
    Outcomes,
    /// Explanations, each asked for as soon as the one before is there.
    Explanations,
    /// Pages, in the same way.
    Pages,
    /// Endpoints, subscribed to by an Envoy with a long name: three hundred clusters that nobody has.
    Subscriptions,
}

const FLOODS: &[Flood] = &[
    flood("idle streams, TCP", 80, 128, Over::Tcp, What::Open(REPORT)),
    flood(
        "idle streams, Unix",
        12,
        1_024,
        Over::Unix,
        What::Open(REPORT),
    ),
    flood(
        "calls without a body, TCP",
        100,
        128,
        Over::Tcp,
        What::Again(DECIDE),
    ),
    flood(
        "calls without a body, Unix",
        12,
        1_024,
        Over::Unix,
        What::Again(DECIDE),
    ),
    flood(
        "health watches, TCP",
        100,
        128,
        Over::Tcp,
        What::Open(HEALTH),
    ),
    flood(
        "health watches, Unix",
        12,
        1_024,
        Over::Unix,
        What::Open(HEALTH),
    ),
    flood(
        "256 KiB promised, TCP",
        100,
        128,
        Over::Tcp,
        What::Claim(BATCH, 256 << 10),
    ),
    flood(
        "256 KiB promised, Unix",
        12,
        1_024,
        Over::Unix,
        What::Claim(BATCH, 256 << 10),
    ),
    flood(
        "1 MiB promised, TCP",
        24,
        128,
        Over::Tcp,
        What::Claim(ACCESS_LOGS, 1 << 20),
    ),
    flood(
        "1 MiB promised, Unix",
        12,
        1_024,
        Over::Unix,
        What::Claim(ACCESS_LOGS, 1 << 20),
    ),
    flood(
        "16 KiB promised, TCP",
        24,
        128,
        Over::Tcp,
        What::Claim(ACCESS_LOGS, 16 << 10),
    ),
    flood(
        "endpoints of 300 names, TCP",
        8,
        128,
        Over::Tcp,
        What::Subscriptions,
    ),
    flood(
        "endpoints of 300 names, Unix",
        1,
        1_024,
        Over::Unix,
        What::Subscriptions,
    ),
    flood("no window, TCP", 100, 128, Over::Tcp, What::Window(0)),
    flood("no window, Unix", 12, 1_024, Over::Unix, What::Window(0)),
    flood(
        "a window of one byte, TCP",
        100,
        128,
        Over::Tcp,
        What::Window(1),
    ),
    flood(
        "a window of one byte, Unix",
        12,
        1_024,
        Over::Unix,
        What::Window(1),
    ),
    flood(
        "one answer taken now and then, TCP",
        100,
        100,
        Over::Tcp,
        What::Drip,
    ),
    flood(
        "one answer taken now and then, Unix",
        12,
        1_000,
        Over::Unix,
        What::Drip,
    ),
    flood("nothing read, TCP", 40, 0, Over::Tcp, What::Unread),
    flood("nothing read, Unix", 40, 0, Over::Unix, What::Unread),
    flood(
        "outcomes, one connection, TCP",
        1,
        0,
        Over::Tcp,
        What::Outcomes,
    ),
    flood(
        "outcomes, one connection, Unix",
        1,
        0,
        Over::Unix,
        What::Outcomes,
    ),
    flood("explanations, TCP", 100, 1, Over::Tcp, What::Explanations),
    flood("explanations, Unix", 100, 1, Over::Unix, What::Explanations),
    flood(
        "2,000 idle connections, gRPC, TCP",
        2_000,
        0,
        Over::Tcp,
        What::Idle,
    ),
    flood(
        "2,000 idle connections, gRPC, Unix",
        2_000,
        0,
        Over::Unix,
        What::Idle,
    ),
    flood(
        "1,100 silent connections, HTTP",
        1_100,
        0,
        Over::Http,
        What::Silence,
    ),
    flood(
        "300 silent connections, debug",
        300,
        0,
        Over::Debug,
        What::Silence,
    ),
    flood("pages, debug", 50, 0, Over::Debug, What::Pages),
    flood("64 idle connections, admin", 64, 0, Over::Admin, What::Idle),
];

const fn flood(
    name: &'static str,
    connections: usize,
    streams: u32,
    over: Over,
    what: What,
) -> Flood {
    Flood {
        name,
        connections,
        streams,
        over,
        what,
    }
}

impl Flood {
    /// Keeps it up until told to stop: in four threads, each with its part of the connections, which come back when closed.
    fn keep_up(&self, target: &Target, stop: &AtomicBool) {
        thread::scope(|scope| {
            let threads = self.connections.min(4);
            for part in 0..threads {
                let count = (self.connections + part) / threads;
                scope.spawn(move || self.keep_up_part(target, count, stop));
            }
        });
    }

    fn keep_up_part(&self, target: &Target, count: usize, stop: &AtomicBool) {
        let mut lines: Vec<Option<(Line, u32)>> = (0..count).map(|_| None).collect();
        while !stop.load(Ordering::Relaxed) {
            for line in &mut lines {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let now = match line.take() {
                    Some(line) => self.go_on(line),
                    None => self.begin(target),
                };
                *line = now.ok();
            }
            thread::sleep(Duration::from_millis(2));
        }
    }

    fn begin(&self, target: &Target) -> io::Result<(Line, u32)> {
        let line = match self.over {
            Over::Tcp => tcp(target.tcp),
            Over::Unix => unix(&target.unix),
            Over::Http => tcp(target.http),
            Over::Debug => tcp(target.debug),
            Over::Admin => tcp(target.admin),
        }?;
        let window = |bytes| (4, bytes);
        let mut line = match self.what {
            What::Silence => return Ok((line, 1)),
            What::Pages => line,
            What::Window(bytes) => greet(line, &[window(bytes)])?,
            What::Drip => greet(line, &[window(1)])?,
            _ => greet(line, &[])?,
        };
        self.send(&mut line, 1)?;
        Ok((line, 1 + 2 * self.streams))
    }

    /// Answers PINGs, and sends again what is to be sent more than once.
    fn go_on(&self, (mut line, next): (Line, u32)) -> io::Result<(Line, u32)> {
        if matches!(self.what, What::Unread) {
            self.send(&mut line, next)?;
            return Ok((line, next + 2));
        }
        let heard = line.read_some()?;
        if matches!(self.what, What::Pages) {
            if !heard.is_empty() {
                self.send(&mut line, next)?;
            }
            return Ok((line, next));
        }
        let answered = answer_pings(&mut line, &heard)?;
        if matches!(self.what, What::Drip) {
            take_one(&mut line, next)?;
            return Ok((line, next + 2));
        }
        let is_again = match self.what {
            What::Again(_) | What::Explanations => answered > 0,
            What::Outcomes => true,
            _ => false,
        };
        if is_again && next < 1 << 20 {
            self.send(&mut line, next)?;
            return Ok((line, next + 2 * self.streams.max(1)));
        }
        Ok((line, next))
    }

    fn send(&self, line: &mut Line, first: u32) -> io::Result<()> {
        let mut bytes = Vec::new();
        let streams = (0..self.streams).map(|n| first + 2 * n);
        match self.what {
            What::Silence | What::Idle => {}
            What::Open(path) | What::Again(path) => {
                let head = peer::head(path, 0);
                for stream in streams {
                    peer::push_frame(&mut bytes, peer::HEADERS, peer::END_HEADERS, stream, &head);
                }
            }
            What::Claim(path, length) => {
                let head = peer::head(path, 0);
                let mut promise = vec![0];
                promise.extend(length.to_be_bytes());
                promise.push(8);
                for stream in streams {
                    peer::push_frame(&mut bytes, peer::HEADERS, peer::END_HEADERS, stream, &head);
                    peer::push_frame(&mut bytes, peer::DATA, 0, stream, &promise);
                }
            }
            What::Window(_) | What::Drip => {
                let question = request("/flood").encode_to_vec();
                for stream in streams {
                    peer::push_call(&mut bytes, stream, DECIDE, &question);
                }
            }
            What::Explanations => {
                let question = ExplainRequest {
                    request: Some(request("/flood")),
                };
                for stream in streams {
                    peer::push_call(&mut bytes, stream, EXPLAIN, &question.encode_to_vec());
                }
            }
            What::Pages => bytes.extend_from_slice(PAGE),
            What::Subscriptions => {
                let head = peer::head(ENDPOINTS, 0);
                let subscription = behind_prefix(&subscription().encode_to_vec());
                for stream in streams {
                    peer::push_frame(&mut bytes, peer::HEADERS, peer::END_HEADERS, stream, &head);
                    peer::push_frame(&mut bytes, peer::DATA, 0, stream, &subscription);
                }
            }
            What::Unread => peer::push_call(
                &mut bytes,
                first,
                DECIDE,
                &request("/flood").encode_to_vec(),
            ),
            What::Outcomes => {
                if first == 1 {
                    let head = peer::head(REPORT, 0);
                    peer::push_frame(&mut bytes, peer::HEADERS, peer::END_HEADERS, 1, &head);
                }
                bytes.extend(some_outcomes());
            }
        }
        line.write(&bytes)
    }
}

/// Asks once more, and takes the answer.
fn take_one(line: &mut Line, stream: u32) -> io::Result<()> {
    let mut bytes = Vec::new();
    let question = request("/taken").encode_to_vec();
    peer::push_call(&mut bytes, stream, DECIDE, &question);
    let window = (64_u32 << 10).to_be_bytes();
    peer::push_frame(&mut bytes, peer::WINDOW_UPDATE, 0, stream, &window);
    line.write(&bytes)
}

/// A message as gRPC sends it.
fn behind_prefix(message: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0];
    bytes.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
    bytes.extend(message);
    bytes
}

fn subscription() -> DiscoveryRequest {
    let node = Node {
        id: "flood-".repeat(40),
        ..Node::default()
    };
    DiscoveryRequest {
        node: Some(node),
        resource_names: (0..300).map(|number| format!("unknown-{number}")).collect(),
        type_url: TYPE_URL.to_owned(),
        ..DiscoveryRequest::default()
    }
}

/// A batch of outcomes of a kind that costs little to send, in frames of the usual size.
fn some_outcomes() -> Vec<u8> {
    let outcome = Outcome {
        node: "fra-1".to_owned(),
        result: AttemptResult::Ok.into(),
        ..Outcome::default()
    };
    let batch = ReportRequest {
        outcomes: vec![outcome; 1_024],
        reporter: String::new(),
    };
    let message = behind_prefix(&batch.encode_to_vec());
    let mut bytes = Vec::new();
    for part in message.chunks(16 << 10) {
        peer::push_frame(&mut bytes, peer::DATA, 0, 1, part);
    }
    bytes
}

/// Answers the PINGs in what was heard; how many frames ended a stream.
fn answer_pings(line: &mut Line, heard: &[u8]) -> io::Result<usize> {
    let (mut rest, mut ended) = (heard, 0);
    while let Some((head, more)) = rest.split_first_chunk::<9>() {
        let length = usize::from(head[1]) << 8 | usize::from(head[2]);
        let Some((payload, later)) = more.split_at_checked(length) else {
            break;
        };
        if head[3] == peer::PING && head[4] & peer::ACK == 0 {
            let mut bytes = Vec::new();
            peer::push_frame(&mut bytes, peer::PING, peer::ACK, 0, payload);
            line.write(&bytes)?;
        }
        ended += usize::from(head[3] == peer::HEADERS && head[4] & peer::END_STREAM != 0);
        rest = later;
    }
    Ok(ended)
}

/// How honest callers fared.
#[derive(Debug, Default)]
struct Fared {
    asked: u32,
    answered: u32,
    took: Vec<Duration>,
}

impl Fared {
    fn note(&mut self, took: Option<Duration>) {
        self.asked += 1;
        if let Some(took) = took.filter(|took| *took < IN_TIME) {
            self.answered += 1;
            self.took.push(took);
        }
    }

    fn ratio(&self) -> f64 {
        f64::from(self.answered) / f64::from(self.asked.max(1))
    }

    fn words(&mut self) -> String {
        self.took.sort_unstable();
        let at = self.took.len() * 99 / 100;
        let p99 = self.took.get(at).copied().unwrap_or_default();
        format!(
            "{:.2} % of {}, p99 {:.1} ms",
            100.0 * self.ratio(),
            self.asked,
            p99.as_secs_f64() * 1e3
        )
    }
}

/// Asks at its pace, over one connection.
async fn ask_on(to: String, stop: Arc<AtomicBool>) -> Fared {
    let mut client = Client::connect(&to).await;
    let mut fared = Fared::default();
    while !stop.load(Ordering::Relaxed) {
        let began = timer_now();
        let asked = tokio::time::timeout(IN_TIME, client.try_decide(request("/honest"))).await;
        fared.note(matches!(asked, Ok(Ok(_))).then(|| began.elapsed()));
        tokio::time::sleep(PACE).await;
    }
    fared
}

/// Comes anew each time, asks once and goes: at the gRPC doors of proxies and operators, and at `/livez` and the query door.
async fn come_anew(target: Target, stop: Arc<AtomicBool>) -> (Fared, Fared) {
    let (mut grpc, mut plain) = (Fared::default(), Fared::default());
    while !stop.load(Ordering::Relaxed) {
        let began = timer_now();
        let asked = tokio::time::timeout(IN_TIME, ask_once(target.tcp)).await;
        grpc.note((asked == Ok(true)).then(|| began.elapsed()));
        let began = timer_now();
        let asked = tokio::time::timeout(IN_TIME, operate_once(target.admin)).await;
        grpc.note((asked == Ok(true)).then(|| began.elapsed()));
        for (address, path) in [
            (target.debug, "/livez"),
            (
                target.http,
                "/v1/route?host=www.example.com&path=/&client=198.18.0.1",
            ),
        ] {
            let began = timer_now();
            let asked = tokio::task::spawn_blocking(move || get(address, path)).await;
            let is_good = asked.unwrap().is_ok_and(|status| status == 200);
            plain.note(is_good.then(|| began.elapsed()));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    (grpc, plain)
}

async fn ask_once(at: SocketAddr) -> bool {
    let endpoint = Endpoint::from_shared(format!("http://{at}")).unwrap();
    let Ok(channel) = endpoint.connect().await else {
        return false;
    };
    let grpc = tradewind::sidecar::wire::proto::decision_service_client::DecisionServiceClient::new(
        channel,
    );
    let mut grpc = grpc;
    grpc.decide(request("/newcomer")).await.is_ok()
}

/// The same at the operators' door.
async fn operate_once(at: SocketAddr) -> bool {
    let endpoint = Endpoint::from_shared(format!("http://{at}")).unwrap();
    let Ok(channel) = endpoint.connect().await else {
        return false;
    };
    let mut operator = AdminServiceClient::new(channel);
    let asked = operator.get_log_filter(GetLogFilterRequest::default());
    asked.await.is_ok()
}

/// The status of a page, by a connection of its own.
fn get(at: SocketAddr, path: &str) -> io::Result<u16> {
    let mut stream = TcpStream::connect(at)?;
    stream.set_read_timeout(Some(IN_TIME))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    )?;
    let mut head = [0; 12];
    stream.read_exact(&mut head)?;
    let status = std::str::from_utf8(&head[9..])
        .ok()
        .and_then(|digits| digits.parse().ok());
    status.ok_or_else(|| io::ErrorKind::InvalidData.into())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes, with the machine to itself: docs/testing.md"]
async fn floods_of_every_kind_leave_the_honest_served_by_one_worker() {
    all(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes, with the machine to itself: docs/testing.md"]
async fn floods_of_every_kind_leave_the_honest_served_by_two_workers() {
    all(2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes, with the machine to itself: docs/testing.md"]
async fn floods_of_every_kind_leave_the_honest_served_by_eight_workers() {
    all(8).await;
}

/// Held by one test at a time: each needs the machine to itself.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// All floods, or those whose names have what the variable `FLOODS` says; each against a process of its own with so many workers.
async fn all(workers: usize) {
    let _alone = ALONE.lock().await;
    let mut missed = Vec::new();
    println!(
        "| {workers} workers: flood | TCP | Unix | newcomers, gRPC | newcomers, /livez and HTTP | memory before, most, after (MB) | sent (MB) |"
    );
    println!("|---|---|---|---|---|---|---|");
    #[expect(
        clippy::disallowed_methods,
        reason = "not a setting of the sidecar, but of who runs this by hand"
    )]
    let wanted = std::env::var("FLOODS").unwrap_or_default();
    for flood in FLOODS.iter().filter(|flood| flood.name.contains(&wanted)) {
        let files = Files::new();
        let socket = files.root().join("grpc.sock");
        let setup = files
            .setup()
            .also("listen", format!("unix:{}", socket.display()))
            .with("workers", workers.to_string());
        let server = setup.start().await;
        let target = Target {
            tcp: server.grpc[0],
            unix: socket.clone(),
            http: server.http.unwrap(),
            debug: server.debug,
            admin: server.admin,
        };
        if let Err(words) = one(flood, &server, target).await {
            missed.push(format!("{}: {words}", flood.name));
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

/// One flood, and the row about it; what of it is not as it must be.
async fn one(flood: &'static Flood, server: &Server, target: Target) -> Result<(), String> {
    let stop = Arc::new(AtomicBool::new(false));
    let by_tcp = tokio::spawn(ask_on(format!("http://{}", target.tcp), Arc::clone(&stop)));
    let by_unix = tokio::spawn(ask_on(
        format!("unix:{}", target.unix.display()),
        Arc::clone(&stop),
    ));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = server.memory_kb().map_or(0, |(_, now)| now);
    SENT_BYTES.store(0, Ordering::Relaxed);
    let flooding = {
        let (target, stop) = (target.clone(), Arc::clone(&stop));
        tokio::task::spawn_blocking(move || flood.keep_up(&target, &stop))
    };
    // Once the flood stands.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let newcomers = tokio::spawn(come_anew(target, Arc::clone(&stop)));
    tokio::time::sleep(LASTS).await;
    stop.store(true, Ordering::Relaxed);
    let mut tcp = by_tcp.await.unwrap();
    let mut unix = by_unix.await.unwrap();
    let (mut grpc, mut plain) = newcomers.await.unwrap();
    flooding.await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (most, after) = server.memory_kb().unwrap_or_default();
    #[expect(clippy::cast_precision_loss, reason = "shown to a tenth")]
    let sent_mb = SENT_BYTES.load(Ordering::Relaxed) as f64 / 1_048_576.0;
    println!(
        "| {} | {} | {} | {} | {} | {}, {}, {} | {sent_mb:.1} |",
        flood.name,
        tcp.words(),
        unix.words(),
        grpc.words(),
        plain.words(),
        before >> 10,
        most >> 10,
        after >> 10
    );
    let all = [
        ("TCP", &tcp),
        ("Unix", &unix),
        ("newcomers by gRPC", &grpc),
        ("newcomers by HTTP", &plain),
    ];
    let mut missed: Vec<String> = all
        .iter()
        .filter(|(_, fared)| fared.ratio() < MIN_ANSWERED)
        .map(|(name, fared)| format!("{name} {:.2} %", 100.0 * fared.ratio()))
        .collect();
    if most.saturating_sub(before) > MAX_GROWTH_KB {
        missed.push(format!("grew by {} MB", (most - before) >> 10));
    }
    if missed.is_empty() {
        Ok(())
    } else {
        Err(missed.join(", "))
    }
}
