//! What it costs decisions that somebody looks: Decide while nobody does, beside viewers of the console, and beside a
//! scrape each second, at a whole sidecar of 300 sites and 3,000 nodes.
//!
//! Windows of all kinds come in turns within one run, and each is compared with the unwatched one of its own round. The
//! sidecar, its callers and its viewers share the machine; what the sidecar's own threads take is counted by thread.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use prost::Message as _;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tradewind::sidecar::listen::socket::Endpoint;
use tradewind::sidecar::log_filter::NoSwitch;
use tradewind::sidecar::serve;
use tradewind::sidecar::settings::{Args, Settings};
use tradewind::sidecar::wire::proto;

use crate::client::{self, Regime, Round, Target, cpu_ns};
use crate::{DECIDE, PIPELINED, spread};
use tradewind_bench::{Geography, Random, Rules, Size};

/// What the threads of the sidecar are called: workers, the writer and their like; and the one of the debug door.
const SIDECAR: &str = "tradewind-";
const CONTROL: &str = "control";

/// The thread of those who look.
const VIEWERS: &str = "viewers";

/// How long windows last.
#[derive(Clone, Copy)]
struct Lengths {
    rounds: usize,
    /// Before what is measured: viewers come, and get a whole of everything first.
    settle: Duration,
    measured: Duration,
}

/// Who looks during a window.
#[derive(Clone, Copy)]
struct Watched {
    name: &'static str,
    viewers: usize,
    /// As a page of the console asks for them.
    topics: &'static str,
    is_scraped: bool,
}

const NOBODY: Watched = Watched {
    name: "nobody",
    viewers: 0,
    topics: "",
    is_scraped: false,
};

/// A busy machine may take longer than the settling to show fifty viewers their first bytes; a door that shows none takes for ever.
const SHOWN_BY: Duration = Duration::from_secs(20);

const KINDS: [Watched; 6] = [
    NOBODY,
    Watched {
        name: "a scrape each second",
        is_scraped: true,
        ..NOBODY
    },
    Watched {
        name: "1 viewer of the map",
        viewers: 1,
        topics: "overview,state",
        ..NOBODY
    },
    Watched {
        name: "50 viewers of the first page",
        viewers: 50,
        topics: "overview,events",
        ..NOBODY
    },
    Watched {
        name: "50 viewers of the map",
        viewers: 50,
        topics: "overview,state",
        ..NOBODY
    },
    Watched {
        name: "50 of the map, and scraped",
        viewers: 50,
        topics: "overview,state",
        is_scraped: true,
    },
];

/// One window's figures.
#[derive(Clone)]
struct Window {
    round: Round,
    /// Processor time of the sidecar's threads, and of the one with the debug door, in percent of a core.
    sidecar: f64,
    control: f64,
    /// What viewers read, in MB a second.
    read: f64,
}

/// Prints the table.
pub(crate) fn watched(is_quick: bool) {
    let lengths = if is_quick {
        Lengths {
            rounds: 1,
            settle: Duration::from_millis(300),
            measured: Duration::from_millis(100),
        }
    } else {
        Lengths {
            rounds: 10,
            settle: Duration::from_millis(1_500),
            measured: Duration::from_secs(4),
        }
    };
    let sidecar = Sidecar::start();
    let target = sidecar.target();
    let mut seen = vec![Vec::new(); KINDS.len()];
    for _round in 0..lengths.rounds {
        for (kind, seen) in KINDS.iter().zip(&mut seen) {
            seen.push(window(&sidecar, &target, (*kind, lengths)));
        }
    }
    report(&seen);
    sidecar.end();
}

fn window(sidecar: &Sidecar, target: &Target, (kind, lengths): (Watched, Lengths)) -> Window {
    const REGIME: Regime = PIPELINED;
    let audience = Audience::begin(sidecar.debug, kind);
    client::load(target, REGIME, lengths.settle);
    let shown_by = Instant::now() + SHOWN_BY;
    while (kind.viewers > 0 || kind.is_scraped) && audience.bytes() == 0 {
        assert!(
            Instant::now() < shown_by,
            "{}: nothing was shown",
            kind.name
        );
        client::load(target, REGIME, lengths.settle);
    }
    let before = (cpu_ns(SIDECAR), cpu_ns(CONTROL), audience.bytes());
    let began = Instant::now();
    let round = client::load(target, REGIME, lengths.measured);
    let took = began.elapsed();
    let of_a_core = |ns: u64| 100.0 * Duration::from_nanos(ns).as_secs_f64() / took.as_secs_f64();
    let control = of_a_core(cpu_ns(CONTROL) - before.1);
    let window = Window {
        round,
        sidecar: of_a_core(cpu_ns(SIDECAR) - before.0) + control,
        control,
        read: (audience.bytes() - before.2) as f64 / 1e6 / took.as_secs_f64(),
    };
    audience.end();
    window
}

fn report(seen: &[Vec<Window>]) {
    println!(
        "Decide at c4 m32 over TCP, 300 sites and 3,000 nodes, by who looks; ratios to the window of nobody in the same round"
    );
    let p99 = |window: &Window| window.round.latency_ns.value_at_quantile(0.99) as f64 / 1e6;
    let mut controls = Vec::new();
    for (kind, windows) in KINDS.iter().zip(seen) {
        let (speed, low, high) = spread(windows.iter().map(|it| it.round.decisions_per_s));
        let (late, early, latest) = spread(windows.iter().map(p99));
        let pairs = || windows.iter().zip(&seen[0]);
        let faster = spread(
            pairs().map(|(it, alone)| it.round.decisions_per_s / alone.round.decisions_per_s),
        );
        let later = spread(pairs().map(|(it, alone)| p99(it) / p99(alone)));
        let dearer = spread(pairs().map(|(it, alone)| it.round.cpu_us / alone.round.cpu_us));
        let (control, least, most) = spread(windows.iter().map(|it| it.control));
        let (sidecar, ..) = spread(windows.iter().map(|it| it.sidecar));
        let (read, ..) = spread(windows.iter().map(|it| it.read));
        controls.push(control);
        println!(
            "  {:29} {speed:7.0}/s ({low:.0}..{high:.0})  x{:.3} ({:.3}..{:.3});  p99 {late:.2} ms ({early:.2}..{latest:.2})  x{:.3} ({:.3}..{:.3})",
            kind.name, faster.0, faster.1, faster.2, later.0, later.1, later.2
        );
        println!(
            "  {:29} workers' CPU a decision x{:.3} ({:.3}..{:.3});  CPU of a core: debug door {control:.1} % ({least:.1}..{most:.1}), sidecar {sidecar:.1} %;  {read:.2} MB/s",
            "", dearer.0, dearer.1, dearer.2
        );
    }
    let more = |at: usize| controls[at] - controls[0];
    println!(
        "  CPU of a core for a scrape a second {:.2} %, for a first viewer of the map {:.2} %, for each of 50 {:.3} % (first page {:.3} %)\n",
        more(1),
        more(2),
        more(4) / 50.0,
        more(3) / 50.0
    );
}

/// A whole sidecar, on threads of its own.
struct Sidecar {
    grpc: Endpoint,
    debug: SocketAddr,
    end: oneshot::Sender<()>,
    thread: JoinHandle<()>,
    _files: TempDir,
}

impl Sidecar {
    fn start() -> Self {
        let files = tempfile::tempdir().unwrap();
        let write = |name: &str, text: String| {
            let path = files.path().join(name);
            std::fs::write(&path, text).unwrap();
            Some(path)
        };
        let size = Size {
            nodes: 3_000,
            sites: 300,
        };
        let any = "127.0.0.1:0";
        let settings = Settings::new(Args {
            policy: write("policy.yaml", Rules::Hosts(10).policy_text()),
            topology: write("topology.yaml", size.topology_text()),
            listen: vec![any.to_owned()],
            debug: any.parse().ok(),
            admin: Some(any.to_owned()),
            http: Some(any.to_owned()),
            workers: Some(2),
            ..Args::default()
        });
        let settings = settings.unwrap();
        let (tell, told) = mpsc::channel();
        let (end, ended) = oneshot::channel::<()>();
        let thread = thread::Builder::new().name(CONTROL.to_owned());
        let thread = thread.spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            let announce = move |running: &serve::Running| {
                let debug = running.debug.to_string();
                tell.send((running.grpc[0].clone(), debug.parse().unwrap()))
                    .unwrap();
            };
            let served = serve::serve(settings, Box::new(NoSwitch), announce, async {
                drop(ended.await);
            });
            runtime.block_on(served).unwrap();
        });
        let (grpc, debug) = told.recv().unwrap();
        Self {
            grpc,
            debug,
            end,
            thread: thread.unwrap(),
            _files: files,
        }
    }

    /// Requests of clients all over the world, each for a key of its own.
    fn target(&self) -> Target {
        let mut random = Random(5);
        let asks = Geography::new(2_000, 8_192).asks(Rules::Hosts(10));
        let messages = asks.into_iter().map(|ask| {
            let (latitude, longitude) = (
                f64::from(random.below(120)) - 55.0,
                f64::from(random.below(360)) - 180.0,
            );
            let client = proto::Client {
                location: Some(proto::Location {
                    latitude,
                    longitude,
                }),
                ..ask.message.client.clone().unwrap_or_default()
            };
            let asked = proto::DecideRequest {
                client: Some(client),
                ..ask.message
            };
            asked.encode_to_vec().into()
        });
        Target {
            name: "decide",
            endpoint: self.grpc.clone(),
            threads: SIDECAR,
            path: DECIDE,
            messages: Arc::new(messages.collect()),
            decisions: 1,
        }
    }

    fn end(self) {
        drop(self.end);
        self.thread.join().unwrap();
    }
}

/// Those who look, on a thread of their own.
struct Audience {
    bytes: Arc<AtomicU64>,
    end: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Audience {
    fn begin(debug: SocketAddr, kind: Watched) -> Self {
        let bytes = Arc::new(AtomicU64::new(0));
        let (end, ended) = oneshot::channel::<()>();
        let thread = thread::Builder::new().name(VIEWERS.to_owned());
        let read = Arc::clone(&bytes);
        let thread = thread.spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut all = JoinSet::new();
                for _viewer in 0..kind.viewers {
                    let path = format!("/debug/stream?topics={}", kind.topics);
                    all.spawn(view(debug, path, Arc::clone(&read)));
                }
                if kind.is_scraped {
                    all.spawn(scrape(debug, Arc::clone(&read)));
                }
                drop(ended.await);
                all.shutdown().await;
            });
        });
        Self {
            bytes,
            end,
            thread: thread.unwrap(),
        }
    }

    fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    fn end(self) {
        drop(self.end);
        self.thread.join().unwrap();
    }
}

/// Reads what changes, for ever.
async fn view(debug: SocketAddr, path: String, read: Arc<AtomicU64>) {
    let mut socket = TcpStream::connect(debug).await.unwrap();
    let asked = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    socket.write_all(asked.as_bytes()).await.unwrap();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let count = socket.read(&mut buffer).await.unwrap();
        assert!(count > 0, "the stream ended");
        read.fetch_add(count as u64, Ordering::Relaxed);
    }
}

/// Reads all metrics each second, as Prometheus does, for ever.
async fn scrape(debug: SocketAddr, read: Arc<AtomicU64>) {
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    loop {
        tick.tick().await;
        let mut socket = TcpStream::connect(debug).await.unwrap();
        let asked = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        socket.write_all(asked.as_bytes()).await.unwrap();
        let mut body = Vec::new();
        socket.read_to_end(&mut body).await.unwrap();
        read.fetch_add(body.len() as u64, Ordering::Relaxed);
    }
}
