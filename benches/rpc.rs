//! What an RPC costs, and how little of it is the decision: Decide beside a plain tonic echo of the same message
//! sizes, batches and streams beside single calls, the gate's workers beside tonic's default server, and tail latency
//! while snapshots are swapped.
//!
//! `cargo bench --bench rpc` prints tables; `cargo bench --bench rpc -- --test` runs everything once, quickly; with one or
//! more of `P1`, `P2`, `P6`, `P7` and `P8` after the `--`, only the tables of those goals are made. All servers stand in this process and are loaded in turn, many short rounds each, so that what else the machine does
//! meets all alike. Keys and clients vary, thousands of each. Throughput is what is left of the machine once the client
//! has taken its part; the processor time of the server's threads per decision is the steadier figure.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    reason = "a bench may fail loudly; it reads the clock and prints a table of small numbers"
)]

#[path = "rpc/client.rs"]
mod client;
#[path = "rpc/echo.rs"]
mod echo;
#[path = "fleet/mod.rs"]
mod fleet;
#[path = "../tests/listen/peer.rs"]
mod peer;
#[path = "../tests/listen/echo.rs"]
mod raw;

use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Waker};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hdrhistogram::Histogram;
use prost::Message as _;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tonic::Request;
use tradewind::engine::evaluate::evaluate;
use tradewind::engine::snapshot::Snapshot;
use tradewind::sidecar::audit::Audit;
use tradewind::sidecar::decider::Decider;
use tradewind::sidecar::grpc;
use tradewind::sidecar::listen::gate::{Door, Gate};
use tradewind::sidecar::listen::limits::{GateLimits, Limits};
use tradewind::sidecar::listen::socket::Endpoint;
use tradewind::sidecar::listen::stranger::Signpost;
use tradewind::sidecar::listen::worker::Workers;
use tradewind::sidecar::metrics::DecisionCounters;
use tradewind::sidecar::state::State;
use tradewind::sidecar::wire::proto::DecideBatchRequest;
use tradewind::sidecar::wire::proto::server::decision_service_server::{
    DecisionService, DecisionServiceServer,
};

use client::{Client, Regime, Round, Target, load};
use echo::{Blob, Echo};
use fleet::{Ask, Geography, Rules, Size};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);
const DECIDE: &str = "/tradewind.v1.DecisionService/Decide";
const BATCH: &str = "/tradewind.v1.DecisionService/DecideBatch";
const STREAM: &str = "/tradewind.v1.DecisionService/DecideStream";

const PIPELINED: Regime = Regime {
    name: "c4 m32",
    connections: 4,
    calls: 32,
    client: Client::Tonic,
};
const C4_M1: Regime = Regime {
    name: "c4 m1",
    calls: 1,
    ..PIPELINED
};
const C1_M1: Regime = Regime {
    name: "c1 m1",
    connections: 1,
    ..C4_M1
};
const FRAMES: Regime = Regime {
    name: "c4 m32, client of raw frames",
    client: Client::Frames,
    ..PIPELINED
};

/// How much to run.
#[derive(Clone, Copy)]
struct Effort {
    rounds: usize,
    length: Duration,
    requests: usize,
    networks: usize,
    large: Size,
}

fn main() {
    let quick = std::env::args().any(|argument| argument == "--test");
    let effort = if quick {
        Effort {
            rounds: 1,
            length: Duration::from_millis(50),
            requests: 256,
            networks: 2_000,
            large: Size {
                nodes: 1_000,
                sites: 100,
            },
        }
    } else {
        Effort {
            rounds: 15,
            length: Duration::from_millis(400),
            requests: 8_192,
            networks: 1_200_000,
            large: Size {
                nodes: 10_000,
                sites: 1_000,
            },
        }
    };
    let geography = Geography::new(effort.networks, effort.requests);
    let bench = Bench::new(effort, &geography);
    let named: Vec<String> = std::env::args()
        .filter(|argument| argument.starts_with('P'))
        .collect();
    let is_wanted = |goal: &str| named.is_empty() || named.iter().any(|name| name == goal);
    if is_wanted("P1") {
        beside_an_echo(&bench);
    }
    if is_wanted("P2") {
        share_of_the_decision(&bench);
    }
    if is_wanted("P7") {
        batches_and_streams(&bench);
    }
    if is_wanted("P6") {
        beside_stock(&bench);
    }
    if is_wanted("P8") {
        swaps(&bench, &geography);
    }
    bench.end();
}

/// All servers, and what they are asked.
struct Bench {
    effort: Effort,
    control: Runtime,
    stock: Runtime,
    gates: Vec<Gate>,
    state: Arc<State>,
    audit: Arc<Audit>,
    asks: Vec<Ask>,
    messages: Arc<Vec<Bytes>>,
    /// Decide and echo, by transport.
    doors: Vec<(&'static str, Target, Target)>,
    one_worker: Target,
    default_server: Target,
}

impl Bench {
    fn new(effort: Effort, geography: &Geography) -> Self {
        let rules = Rules::Hosts(10);
        let state = Arc::new(State::default());
        let topology = Size {
            nodes: 64,
            sites: 8,
        }
        .topology();
        let snapshot = Snapshot::build(1, fleet::parts(&topology, rules, geography), None);
        state
            .published
            .store(Some(Arc::new(fleet::publish(snapshot))));
        let control = runtime("control", 1);
        let (audit, samples) = Audit::new(1_024);
        control.spawn(Arc::clone(&audit).keep_all(samples));
        let asks = geography.asks(rules);
        let encoded = asks
            .iter()
            .map(|ask| Bytes::from(ask.message.encode_to_vec()));
        let messages: Arc<Vec<Bytes>> = Arc::new(encoded.collect());
        let make = |worker| decisions(&state, &audit, worker);

        let mut gate = Gate::new(Workers::start(2).unwrap(), GateLimits::default());
        let decide_tcp = control.block_on(gate.open(door(Endpoint::Tcp(ANY)), |w| make(w.0)));
        let decide_tcp = target("decide", decide_tcp.unwrap(), DECIDE, &messages);
        let answer = answer_size(&decide_tcp);
        let echo = || {
            let answer = Arc::new(Blob::of_encoded_size(answer));
            Echo { answer }
        };
        let blobs = messages
            .iter()
            .map(|message| Bytes::from(Blob::of_encoded_size(message.len()).encode_to_vec()));
        let blobs: Arc<Vec<Bytes>> = Arc::new(blobs.collect());
        let echo_tcp = control.block_on(gate.open(door(Endpoint::Tcp(ANY)), |_| echo()));
        let echo_tcp = target("echo", echo_tcp.unwrap(), echo::PATH, &blobs);
        println!(
            "bytes of a question: {}, echoed {}; of an answer: {answer}, echoed {}",
            mean_len(&messages),
            mean_len(&blobs),
            answer_size(&echo_tcp),
        );
        let decide_unix = control.block_on(gate.open(door(socket("decide")), |w| make(w.0)));
        let decide_unix = target("decide", decide_unix.unwrap(), DECIDE, &messages);
        let echo_unix = control.block_on(gate.open(door(socket("echo")), |_| echo()));
        let echo_unix = target("echo", echo_unix.unwrap(), echo::PATH, &blobs);

        let mut single = Gate::new(Workers::start(1).unwrap(), GateLimits::default());
        let opened = control.block_on(single.open(door(Endpoint::Tcp(ANY)), |w| make(w.0)));
        let one_worker = target("gate, one worker", opened.unwrap(), DECIDE, &messages);
        let stock = runtime("stock", 2);
        let default_server = Target {
            name: "tonic's default server",
            endpoint: start_stock(&stock, make(0)),
            threads: "stock",
            ..one_worker.clone()
        };
        Self {
            effort,
            control,
            stock,
            gates: vec![gate, single],
            state,
            audit,
            asks,
            messages,
            doors: vec![
                ("TCP", decide_tcp, echo_tcp),
                ("Unix socket", decide_unix, echo_unix),
            ],
            one_worker,
            default_server,
        }
    }

    fn decide(&self) -> &Target {
        &self.doors[0].1
    }

    /// Loads each in turn, round by round.
    fn in_turns(&self, contenders: &[(&Target, Regime)]) -> Vec<Vec<Round>> {
        let mut seen = vec![Vec::new(); contenders.len()];
        for _round in 0..self.effort.rounds {
            for ((target, regime), seen) in contenders.iter().zip(&mut seen) {
                seen.push(load(target, *regime, self.effort.length));
            }
        }
        seen
    }

    fn end(self) {
        for gate in self.gates {
            self.control.block_on(gate.drain());
        }
        self.stock.shutdown_background();
    }
}

fn runtime(name: &str, threads: usize) -> Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let builder = builder.worker_threads(threads).thread_name(name);
    builder.enable_all().build().unwrap()
}

fn decisions(
    state: &Arc<State>,
    audit: &Arc<Audit>,
    worker: usize,
) -> DecisionServiceServer<Decider> {
    let counters = Arc::new(DecisionCounters::default());
    let (state, audit) = (Arc::clone(state), Arc::clone(audit));
    let decider = Decider::new(state, counters, audit, Arc::default(), (1, worker));
    DecisionServiceServer::new(decider)
        .max_decoding_message_size(grpc::MAX_BATCH_BYTES)
        .max_encoding_message_size(grpc::MAX_ANSWER_BYTES)
}

fn door(endpoint: Endpoint) -> Door {
    Door {
        endpoint,
        limits: Limits::trusted(),
        streaming: |path| path == STREAM,
        names_peer: |_path| false,
        signpost: Signpost::none(),
    }
}

fn socket(name: &str) -> Endpoint {
    let file = format!("tradewind-bench-{}-{name}.sock", std::process::id());
    Endpoint::Unix(std::env::temp_dir().join(file))
}

fn target(
    name: &'static str,
    endpoint: Endpoint,
    path: &'static str,
    messages: &Arc<Vec<Bytes>>,
) -> Target {
    Target {
        name,
        endpoint,
        // Each gate has threads of its own, called alike; only one is loaded at a time.
        threads: "tradewind-",
        path,
        messages: Arc::clone(messages),
        decisions: 1,
    }
}

/// What `tonic::transport::Server::builder().add_service(...)` under `#[tokio::main]` gives.
fn start_stock(runtime: &Runtime, service: DecisionServiceServer<Decider>) -> Endpoint {
    let listener = runtime.block_on(TcpListener::bind(ANY)).unwrap();
    let address = listener.local_addr().unwrap();
    let incoming = tonic::transport::server::TcpIncoming::from(listener).with_nodelay(Some(true));
    let server = tonic::transport::Server::builder().add_service(service);
    drop(runtime.spawn(server.serve_with_incoming(incoming)));
    Endpoint::Tcp(address)
}

/// The usual size of an answer: the median of a few.
fn answer_size(target: &Target) -> usize {
    let Endpoint::Tcp(address) = target.endpoint else {
        unreachable!("asked over TCP")
    };
    let few = target.messages.iter().take(31);
    let mut sizes: Vec<usize> = few
        .map(|message| client::answer_bytes(address, target.path, message))
        .collect();
    sizes.sort_unstable();
    sizes[sizes.len() / 2]
}

fn mean_len(messages: &[Bytes]) -> usize {
    messages.iter().map(Bytes::len).sum::<usize>() / messages.len()
}

/// Median, tenth and ninetieth percentile.
fn spread(values: impl Iterator<Item = f64>) -> (f64, f64, f64) {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let at = |tenths: usize| values[(values.len() - 1) * tenths / 10];
    (at(5), at(1), at(9))
}

/// Prints a line for each contender, and its ratios to the first, round by round.
fn report(contenders: &[(&Target, Regime)], seen: &[Vec<Round>]) {
    for ((target, regime), rounds) in contenders.iter().zip(seen) {
        let (speed, slow, fast) = spread(rounds.iter().map(|round| round.decisions_per_s));
        let (cpu, low, high) = spread(rounds.iter().map(|round| round.cpu_us));
        let pairs = || rounds.iter().zip(&seen[0]);
        let faster =
            spread(pairs().map(|(own, first)| own.decisions_per_s / first.decisions_per_s));
        let dearer = spread(pairs().map(|(own, first)| own.cpu_us / first.cpu_us));
        println!(
            "  {:24} {:30} {speed:8.0}/s ({slow:.0}..{fast:.0})  {cpu:6.2} us of CPU ({low:.2}..{high:.2})",
            target.name, regime.name
        );
        println!(
            "  {:24} {:30} x{:.3} of the first ({:.3}..{:.3})  x{:.3} of its CPU ({:.3}..{:.3})",
            "", "", faster.0, faster.1, faster.2, dearer.0, dearer.1, dearer.2
        );
    }
    println!();
}

fn beside_an_echo(bench: &Bench) {
    println!("P1: Decide beside an echo of the same sizes on the same gate, two workers");
    for (transport, decide, echo) in &bench.doors {
        println!("over {transport}");
        for regime in [PIPELINED, C4_M1, C1_M1] {
            let contenders = [(echo, regime), (decide, regime)];
            report(&contenders, &bench.in_turns(&contenders));
        }
    }
    let (_, decide, echo) = &bench.doors[0];
    let contenders = [(echo, FRAMES), (decide, FRAMES)];
    report(&contenders, &bench.in_turns(&contenders));
}

/// The time of a decision alone, and of the whole handler, beside the CPU of a call.
fn share_of_the_decision(bench: &Bench) {
    println!("P2: the decision's part of a call");
    let counters = Arc::new(DecisionCounters::default());
    let (state, audit) = (Arc::clone(&bench.state), Arc::clone(&bench.audit));
    let decider = Decider::new(state, counters, audit, Arc::default(), (1, 3));
    let published = bench.state.published.load_full().expect("published above");
    let headers: Vec<_> = bench.asks.iter().map(Ask::headers).collect();
    let mut nobody = Context::from_waker(Waker::noop());
    let (mut alone, mut handled) = (Vec::new(), Vec::new());
    // Timed 64 at a time, so that the median does not see the turns of other threads.
    for _round in 0..bench.effort.rounds {
        let asks = bench.asks.chunks(64).zip(headers.chunks(64));
        for ((asks, headers), messages) in asks.zip(bench.messages.chunks(64)) {
            let start = Instant::now();
            for (ask, headers) in asks.iter().zip(headers) {
                black_box(evaluate(&published.snapshot, &ask.query(headers)));
            }
            alone.push(ns_each(start, asks.len()));
            let requests: Vec<_> = messages
                .iter()
                .map(|message| Request::new(prost::Message::decode(message.clone()).unwrap()))
                .collect();
            let start = Instant::now();
            for request in requests {
                let mut call = decider.decide(request);
                let answer = call.as_mut().poll(&mut nobody);
                assert!(black_box(answer).is_ready(), "a decision waits for nothing");
            }
            handled.push(ns_each(start, messages.len()));
        }
    }
    let contenders = [FRAMES, PIPELINED, C4_M1, C1_M1].map(|regime| (bench.decide(), regime));
    let seen = bench.in_turns(&contenders);
    let (alone, handled) = (spread(alone.into_iter()).0, spread(handled.into_iter()).0);
    println!("  evaluate {alone:.0} ns; handler (read, evaluate, encode, count) {handled:.0} ns");
    for ((_, regime), rounds) in contenders.iter().zip(&seen) {
        let cpu_ns = spread(rounds.iter().map(|round| round.cpu_us)).0 * 1e3;
        println!(
            "  {:30} call {cpu_ns:.0} ns of CPU: evaluate {:.1} %, handler {:.1} %",
            regime.name,
            alone / cpu_ns * 100.0,
            handled / cpu_ns * 100.0
        );
    }
    println!();
}

fn ns_each(start: Instant, count: usize) -> f64 {
    start.elapsed().as_nanos() as f64 / count as f64
}

fn batches_and_streams(bench: &Bench) {
    println!("P7: decisions in batches of 128 and over long-lived streams, beside single calls");
    let batches = bench.asks.chunks_exact(128).map(|asks| {
        let requests = asks.iter().map(|ask| ask.message.clone()).collect();
        Bytes::from(DecideBatchRequest { requests }.encode_to_vec())
    });
    let batch = Target {
        name: "DecideBatch(128)",
        path: BATCH,
        messages: Arc::new(batches.collect()),
        decisions: 128,
        ..bench.decide().clone()
    };
    let stream = Target {
        name: "DecideStream",
        path: STREAM,
        ..bench.decide().clone()
    };
    let four = Regime {
        name: "c4 m2",
        calls: 2,
        ..PIPELINED
    };
    let window = |calls, name| Regime {
        name,
        calls,
        client: Client::TonicStream,
        ..PIPELINED
    };
    let contenders = [
        (bench.decide(), PIPELINED),
        (&batch, four),
        (&stream, window(32, "c4, 32 on their way")),
        (bench.decide(), C4_M1),
        (&stream, window(1, "c4, one on its way")),
    ];
    report(&contenders, &bench.in_turns(&contenders));
}

fn beside_stock(bench: &Bench) {
    println!("P6: two workers of the gate, one, and tonic's default server with two threads");
    let contenders = [
        (&bench.default_server, FRAMES),
        (bench.decide(), FRAMES),
        (&bench.one_worker, FRAMES),
        (&bench.default_server, PIPELINED),
        (bench.decide(), PIPELINED),
        (&bench.one_worker, PIPELINED),
    ];
    report(&contenders, &bench.in_turns(&contenders));
}

/// Tail latency with and without ten swaps a second of a large fleet's snapshot.
fn swaps(bench: &Bench, geography: &Geography) {
    let Size { nodes, sites } = bench.effort.large;
    println!(
        "P8: {nodes} nodes in {sites} sites, latency in us without swaps and with ten a second"
    );
    let topology = bench.effort.large.topology();
    let parts = fleet::parts(&topology, Rules::Hosts(10), geography);
    let first = fleet::publish(Snapshot::build(1, parts, None));
    bench.state.published.store(Some(Arc::new(first)));
    let length = bench.effort.length * 3;
    for regime in [C4_M1, PIPELINED] {
        let mut pairs = Vec::new();
        let mut swapped = 0;
        for _round in 0..bench.effort.rounds {
            let calm = load(bench.decide(), regime, length).latency_ns;
            let stop = Arc::new(AtomicBool::new(false));
            let (state, until) = (Arc::clone(&bench.state), Arc::clone(&stop));
            let writer = thread::spawn(move || swap_until(&until, &state));
            let busy = load(bench.decide(), regime, length).latency_ns;
            stop.store(true, Ordering::Relaxed);
            swapped += writer.join().unwrap();
            pairs.push((calm, busy));
        }
        println!("  {}, {swapped} swaps", regime.name);
        for (name, quantile) in [("p50", 0.5), ("p99", 0.99), ("p999", 0.999)] {
            let us = |seen: &Histogram<u32>| seen.value_at_quantile(quantile) as f64 / 1e3;
            let (calm, _, _) = spread(pairs.iter().map(|(calm, _)| us(calm)));
            let (busy, _, _) = spread(pairs.iter().map(|(_, busy)| us(busy)));
            let ratio = spread(pairs.iter().map(|(calm, busy)| us(busy) / us(calm)));
            println!(
                "    {name:5} {calm:9.1} {busy:9.1}  x{:.2} ({:.2}..{:.2})",
                ratio.0, ratio.1, ratio.2
            );
        }
    }
    println!();
}

/// Builds and publishes a snapshot every 100 ms, as the writer does when only weights or the policy change.
fn swap_until(stop: &AtomicBool, state: &State) -> usize {
    let mut swapped = 0;
    while !stop.load(Ordering::Relaxed) {
        let before = state.published.load_full().expect("published before");
        let parts = before.snapshot.parts().clone();
        let generation = before.snapshot.generation() + 1;
        let next = Snapshot::build(generation, parts, Some(&before.snapshot));
        let next = tradewind::sidecar::state::Published {
            snapshot: next,
            revision: before.revision,
            policy_digest: before.policy_digest.clone(),
            nodes: Arc::clone(&before.nodes),
            pool_rows: before.pool_rows.clone(),
            texts: Arc::clone(&before.texts),
        };
        drop(before);
        state.published.store(Some(Arc::new(next)));
        swapped += 1;
        thread::sleep(Duration::from_millis(100));
    }
    swapped
}
