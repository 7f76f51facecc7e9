//! The accept gate with one single-threaded runtime per core against the stock server on the default
//! runtime, the same echo service behind both (goal P6: 1.7 times at 4 connections of 32 streams).
//!
//! Both serve in this process at the same time and are loaded in turn, many short rounds each, so that what
//! else the machine does meets both alike. The load is raw frames written by one thread per connection, which
//! costs far less than a real client. Given: answers per second (the client takes its part of the machine) and
//! the processor time of the server's threads per answer (steadier). `cargo bench --bench listen -- --test`
//! runs each once, quickly.

#![expect(clippy::unwrap_used, reason = "a bench may fail loudly")]
#![expect(
    clippy::indexing_slicing,
    reason = "the peer reads frames whose length it has checked"
)]
#![expect(clippy::print_stdout, reason = "its report")]

#[path = "../tests/listen/echo.rs"]
mod echo;
#[path = "../tests/listen/peer.rs"]
mod peer;

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use tradewind::sidecar::listen::entrance::{Entrance, Method};
use tradewind::sidecar::listen::gate::{Door, Gate};
use tradewind::sidecar::listen::limits::{GateLimits, Limits};
use tradewind::sidecar::listen::socket::Endpoint;
use tradewind::sidecar::listen::worker::{self, Workers};

use echo::Echo;
use peer::Peer;
use tradewind::sidecar::clock::timer_now;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);
/// About what a decision's question and answer come to.
const MESSAGE: [u8; 64] = [b'q'; 64];

/// A server under test: where it is and what its threads are called.
struct Target {
    name: &'static str,
    address: SocketAddr,
    threads: &'static str,
}

/// A pattern of load.
#[derive(Clone, Copy)]
struct Regime {
    name: &'static str,
    connections: usize,
    streams: u32,
}

/// One round's figures.
#[derive(Clone, Copy)]
struct Round {
    answers_per_s: f64,
    cpu_us: f64,
}

fn main() {
    let quick = std::env::args().any(|argument| argument == "--test");
    let (rounds, length) = if quick {
        (1, Duration::from_millis(50))
    } else {
        (15, Duration::from_millis(400))
    };
    let control = runtime("control", 1);
    let stock_runtime = runtime("stock", worker::default_count());
    let mut gates = Vec::new();
    let mut targets = vec![start_stock(&stock_runtime)];
    targets.push(start_gate(&control, &mut gates, "gate", false));
    targets.push(start_gate(&control, &mut gates, "gate, routes", true));

    let regimes = [
        Regime {
            name: "c4 m32",
            connections: 4,
            streams: 32,
        },
        Regime {
            name: "c4 m1",
            connections: 4,
            streams: 1,
        },
        Regime {
            name: "c1 m1",
            connections: 1,
            streams: 1,
        },
    ];
    for regime in regimes {
        let mut seen = vec![Vec::new(); targets.len()];
        for _round in 0..rounds {
            for (target, seen) in targets.iter().zip(&mut seen) {
                seen.push(load(target, regime, length));
            }
        }
        report(regime, &targets, &seen);
    }
    for gate in gates {
        control.block_on(gate.drain());
    }
    stock_runtime.shutdown_background();
}

fn runtime(name: &str, threads: usize) -> Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder
        .worker_threads(threads)
        .thread_name(name)
        .enable_all()
        .build()
        .unwrap()
}

/// What `tonic::transport::Server::builder().add_service(...)` under `#[tokio::main]` gives.
fn start_stock(runtime: &Runtime) -> Target {
    let listener = runtime.block_on(TcpListener::bind(ANY)).unwrap();
    let address = listener.local_addr().unwrap();
    let incoming = tonic::transport::server::TcpIncoming::from(listener).with_nodelay(Some(true));
    let server = tonic::transport::Server::builder().add_service(Echo);
    drop(runtime.spawn(server.serve_with_incoming(incoming)));
    Target {
        name: "stock",
        address,
        threads: "stock",
    }
}

fn start_gate(
    control: &Runtime,
    gates: &mut Vec<Gate>,
    name: &'static str,
    routes: bool,
) -> Target {
    // Each gate has threads of its own, called alike; only one is loaded at a time.
    let workers = Workers::start(worker::default_count()).unwrap();
    let mut gate = Gate::new(workers, GateLimits::default());
    let door = Door {
        endpoint: Endpoint::Tcp(ANY),
        limits: Limits::trusted(),
        entrance: Entrance {
            methods: |path| Method {
                is_streaming: echo::streams(path),
                ..Method::OPEN
            },
            ..Entrance::open()
        },
    };
    let opened = if routes {
        control.block_on(gate.open(door, |_worker| tonic::service::Routes::new(Echo).prepare()))
    } else {
        control.block_on(gate.open(door, |_worker| Echo))
    };
    let Endpoint::Tcp(address) = opened.unwrap() else {
        unreachable!("asked for TCP")
    };
    gates.push(gate);
    Target {
        name,
        address,
        threads: "tradewind-",
    }
}

/// Keeps `streams` calls open on each connection for `length`, and counts the answers.
fn load(target: &Target, regime: Regime, length: Duration) -> Round {
    let stop = Arc::new(AtomicBool::new(false));
    let before = cpu_ns(target.threads);
    let started = timer_now();
    let clients: Vec<_> = (0..regime.connections)
        .map(|_| {
            let stop = Arc::clone(&stop);
            let peer = Peer::greet(target.address, &[(4, i32::MAX.unsigned_abs())]);
            thread::spawn(move || drive(peer, regime.streams, &stop))
        })
        .collect();
    thread::sleep(length);
    stop.store(true, Ordering::Relaxed);
    let answers: u32 = clients
        .into_iter()
        .map(|client| client.join().unwrap())
        .sum();
    let took = started.elapsed();
    let cpu = cpu_ns(target.threads) - before;
    Round {
        answers_per_s: f64::from(answers) / took.as_secs_f64(),
        cpu_us: Duration::from_nanos(cpu).as_secs_f64() * 1e6 / f64::from(answers.max(1)),
    }
}

/// Asks again for each answer, all that one read brought in one write.
fn drive(mut peer: Peer, streams: u32, stop: &AtomicBool) -> u32 {
    let mut next = 1;
    let mut call = |bytes: &mut Vec<u8>| {
        peer::push_call(bytes, next, "/test.Echo/Unary", &MESSAGE);
        next += 2;
    };
    let mut bytes = Vec::new();
    // The connection's window is opened once, for all that a round can bring.
    peer::push_frame(
        &mut bytes,
        peer::WINDOW_UPDATE,
        0,
        0,
        &0x7000_0000_u32.to_be_bytes(),
    );
    (0..streams).for_each(|_| call(&mut bytes));
    let mut answers = 0;
    loop {
        std::io::Write::write_all(&mut peer.socket, &bytes).unwrap();
        bytes.clear();
        if stop.load(Ordering::Relaxed) {
            return answers;
        }
        assert!(peer.fill().unwrap() > 0, "the server closed the connection");
        while let Some((kind, flags, stream)) = peer.skip_frame() {
            match kind {
                peer::SETTINGS if flags & peer::ACK == 0 => {
                    peer::push_frame(&mut bytes, peer::SETTINGS, peer::ACK, 0, &[]);
                }
                peer::HEADERS if flags & peer::END_STREAM != 0 => {
                    answers += 1;
                    call(&mut bytes);
                }
                peer::GOAWAY | peer::RST_STREAM => panic!("frame {kind} on stream {stream}"),
                _other => {}
            }
        }
    }
}

/// Processor time of this process's threads whose name begins so, in nanoseconds.
fn cpu_ns(name: &str) -> u64 {
    let threads = fs::read_dir("/proc/self/task")
        .unwrap()
        .map(|thread| thread.unwrap().path());
    threads
        .filter(|path| {
            fs::read_to_string(path.join("comm")).is_ok_and(|comm| comm.starts_with(name))
        })
        .filter_map(|path| fs::read_to_string(path.join("schedstat")).ok())
        .filter_map(|stat| stat.split(' ').next()?.parse::<u64>().ok())
        .sum()
}

/// Median, tenth and ninetieth percentile.
fn spread(mut values: Vec<f64>) -> (f64, f64, f64) {
    values.sort_by(f64::total_cmp);
    let at = |tenths: usize| values[(values.len() - 1) * tenths / 10];
    (at(5), at(1), at(9))
}

fn report(regime: Regime, targets: &[Target], seen: &[Vec<Round>]) {
    println!(
        "{}: median (10 %..90 % of {} rounds)",
        regime.name,
        seen[0].len()
    );
    for (target, rounds) in targets.iter().zip(seen) {
        let (speed, slow, fast) = spread(rounds.iter().map(|round| round.answers_per_s).collect());
        let (cpu, low, high) = spread(rounds.iter().map(|round| round.cpu_us).collect());
        print!("  {:14} {speed:8.0}/s ({slow:.0}..{fast:.0})", target.name);
        println!("  {cpu:6.2} us of server CPU per answer ({low:.2}..{high:.2})");
        // Rounds side by side, so that a slow second of the machine is in both.
        let pairs = || rounds.iter().zip(&seen[0]);
        let faster = pairs()
            .map(|(ours, stock)| ours.answers_per_s / stock.answers_per_s)
            .collect();
        let cheaper = pairs()
            .map(|(ours, stock)| stock.cpu_us / ours.cpu_us)
            .collect();
        let (speed, slow, fast) = spread(faster);
        let (cpu, low, high) = spread(cheaper);
        print!(
            "  {:14} {speed:.2}x the throughput ({slow:.2}..{fast:.2})",
            ""
        );
        println!("  {cpu:.2}x less CPU ({low:.2}..{high:.2})");
    }
}
