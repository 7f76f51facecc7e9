//! What a decision costs a proxy in Rust: asked, reused, decided alone, while the sidecar is well, frozen and gone.
//!
//! `cargo bench --bench client` prints a table; with `-- --test` everything runs once, quickly. The sidecar is the
//! embedded example with two workers, in this process; the client has a runtime of its own with one thread.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    reason = "a bench may fail loudly; it reads the clock and prints a table of small numbers"
)]

#[path = "fleet/mod.rs"]
mod fleet;

use std::hint::black_box;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use prost::Message as _;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tradewind::client::options::Options;
use tradewind::client::{Asker, Client, Request};
use tradewind::engine::signal::{NodeSignals, Signals};
use tradewind::engine::snapshot::Snapshot;
use tradewind::sidecar::serve;
use tradewind::sidecar::settings::{Args, Settings};
use tradewind::sidecar::wire::follow::{read_state, state_message};

use fleet::{Geography, Rules, Size};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let quick = std::env::args().any(|argument| argument == "--test");
    let calls = if quick { 50 } else { 20_000 };
    let (grpc, end) = sidecar();
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let client = |cached| {
        let _inside = runtime.enter();
        let mut options = Options::at(&grpc);
        options.deadline = Duration::from_secs(5);
        options.cached_answers = cached;
        Client::connect(options).unwrap()
    };
    let asking = client(0);
    while asking.following().is_none() {
        thread::sleep(Duration::from_millis(10));
    }
    println!("one call at a time        p50 us    p99 us");
    row("asked", &runtime, calls, async |at| {
        black_box(
            asking
                .decide(&request(at, "www.example.com"))
                .await
                .unwrap(),
        );
    });
    let reusing = client(8_192);
    row("reused", &runtime, calls, async |_| {
        let mut same = request(1, "s1.static.example.com");
        "/1.jpg".clone_into(&mut same.path);
        black_box(reusing.decide(&same).await.unwrap());
    });
    row("decided alone", &runtime, calls, async |at| {
        black_box(
            asking
                .decide_alone(&request(at, "www.example.com"))
                .unwrap(),
        );
    });
    drop(end);
    while asking.is_asking() {
        runtime
            .block_on(asking.decide(&request(0, "www.example.com")))
            .unwrap();
    }
    row("sidecar gone", &runtime, calls, async |at| {
        black_box(
            asking
                .decide(&request(at, "www.example.com"))
                .await
                .unwrap(),
        );
    });
    states(quick);
}

fn request(at: u64, host: &str) -> Request {
    Request {
        host: host.to_owned(),
        path: format!("/images/{at}.jpg"),
        client: Some(Asker {
            ip: format!("198.18.{}.{}", at % 100, at % 250),
            ..Asker::default()
        }),
        ..Request::default()
    }
}

fn row(name: &str, runtime: &Runtime, calls: u64, mut call: impl AsyncFnMut(u64)) {
    let mut seen = Histogram::<u32>::new(3).unwrap();
    runtime.block_on(async {
        for at in 0..calls {
            let began = Instant::now();
            call(at).await;
            seen.record(u64::try_from(began.elapsed().as_nanos()).unwrap())
                .unwrap();
        }
    });
    let us = |quantile| seen.value_at_quantile(quantile) as f64 / 1e3;
    println!("{name:22} {:9.1} {:9.1}", us(0.5), us(0.99));
}

/// A sidecar on a thread of its own, until the sender is dropped.
fn sidecar() -> (String, oneshot::Sender<()>) {
    let any = "127.0.0.1:0";
    let settings = Settings::new(Args {
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
    thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let announce = move |running: &serve::Running| {
            tell.send(running.grpc.first().unwrap().to_string())
                .unwrap();
        };
        let served = serve::serve(settings, announce, async { drop(ended.await) });
        runtime.block_on(served).unwrap();
    });
    (told.recv().unwrap(), end)
}

/// What a follower costs: once a second at most.
fn states(quick: bool) {
    println!("\na follower, once a second   bytes  made us  encoded us  read us");
    let geography = Geography::new(1_000, 100);
    for nodes in [64, 1_000, 10_000] {
        let sites = nodes / 8;
        let topology = Size { nodes, sites }.topology();
        let mut parts = fleet::parts(&topology, Rules::Hosts(10), &geography);
        let node = NodeSignals {
            weight_factor: 0.9,
            in_flight: 3.0,
            latency_ms: 1.5,
            ..NodeSignals::default()
        };
        let signals = Signals {
            nodes: vec![node; nodes],
            ..Signals::default()
        };
        parts.signals = signals.into();
        let snapshot = Snapshot::build(1, parts, None);
        let rounds = if quick { 1 } else { 200 };
        let (mut made, mut encoded, mut read) = (u128::MAX, u128::MAX, u128::MAX);
        let mut bytes = 0;
        for _ in 0..rounds {
            let began = Instant::now();
            let message = state_message(black_box(&snapshot), 1);
            made = made.min(began.elapsed().as_nanos());
            let began = Instant::now();
            bytes = black_box(message.encode_to_vec()).len();
            encoded = encoded.min(began.elapsed().as_nanos());
            let began = Instant::now();
            black_box(read_state(&message).unwrap());
            read = read.min(began.elapsed().as_nanos());
        }
        let us = |ns: u128| ns as f64 / 1e3;
        println!(
            "{nodes:6} nodes           {bytes:8} {:8.1} {:11.1} {:8.1}",
            us(made),
            us(encoded),
            us(read)
        );
    }
}
