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

use std::fs;
use std::hint::black_box;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use prost::Message as _;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tradewind::client::options::Options;
use tradewind::client::{Asker, AttemptResult, Client, Outcome, Request};
use tradewind::engine::signal::{NodeSignals, Signals};
use tradewind::engine::snapshot::Snapshot;
use tradewind::sidecar::log_filter::NoSwitch;
use tradewind::sidecar::serve;
use tradewind::sidecar::settings::{Args, Settings};
use tradewind::sidecar::wire::follow::{read_state, state_message};

use tradewind_bench::{Geography, Rules, Size};

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
    told(&client(0), &runtime, if quick { 200 } else { 4_000 });
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

/// Connections that tell of their attempts, each once in a millisecond.
const TELLING: usize = 16;

/// What an outcome costs, sending and the sidecar's answer included: CPU of the client's only thread, more than what the same
/// connections take that tell nothing. Both take turns, five times.
fn told(client: &Client, runtime: &Runtime, rounds: u32) {
    let run = |tells| {
        // On the worker, not on the thread that waits for it.
        let measured = measured(client.clone(), tells, rounds);
        runtime.block_on(async { tokio::spawn(measured).await.unwrap() })
    };
    let mut costs: Vec<f64> = (0..5)
        .map(|_| {
            let idle = run(false);
            let telling = run(true);
            let outcomes = f64::from(rounds) * TELLING as f64;
            telling.saturating_sub(idle).as_nanos() as f64 / 1e3 / outcomes
        })
        .collect();
    costs.sort_by(f64::total_cmp);
    let counted = client.counters();
    let cost = |at: usize| costs.get(at).copied().unwrap_or(f64::NAN);
    println!(
        "told, us of CPU an outcome: {:.2} ({:.2} to {:.2}); {} taken, {} dropped",
        cost(2),
        cost(0),
        cost(4),
        counted.outcomes_taken,
        counted.outcomes_dropped
    );
}

async fn measured(client: Client, tells: bool, rounds: u32) -> Duration {
    let before = cpu_of_this_thread();
    let connections: Vec<_> = (0..TELLING)
        .map(|_| tokio::spawn(connection(client.clone(), tells, rounds)))
        .collect();
    for connection in connections {
        connection.await.unwrap();
    }
    // The last batch.
    tokio::time::sleep(Duration::from_millis(150)).await;
    cpu_of_this_thread().saturating_sub(before)
}

async fn connection(client: Client, tells: bool, rounds: u32) {
    let mut every = tokio::time::interval(Duration::from_millis(1));
    for attempt in 0..rounds {
        every.tick().await;
        if tells {
            client.told(Outcome {
                decision_id: "0123456789abcdef01234567".to_owned(),
                node: "fra-1".to_owned(),
                attempt: attempt % 3 + 1,
                result: AttemptResult::Ok.into(),
                ..Outcome::default()
            });
        }
    }
}

/// User and system time of whoever calls, as the kernel's scheduler counts it.
fn cpu_of_this_thread() -> Duration {
    let read = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    let ns = read.split(' ').next().unwrap().parse().unwrap();
    Duration::from_nanos(ns)
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
        let served = serve::serve(settings, Box::new(NoSwitch), announce, async {
            drop(ended.await);
        });
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
        let mut parts = tradewind_bench::parts(&topology, Rules::Hosts(10), &geography);
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
