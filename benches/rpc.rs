//! What an RPC costs, and how little of it is the decision: Decide beside a plain tonic echo of the same message
//! sizes, batches and streams beside single calls, the gate's workers beside tonic's default server, and tail latency
//! while snapshots are swapped.
//!
//! `cargo bench --bench rpc` prints tables; `cargo bench --bench rpc -- --test` runs everything once, quickly; with one or
//! more of `P1`, `P2`, `P6`, `P7` and `P8` after the `--`, only the tables of those goals are made; `-- watched` makes the
//! one of what it costs that people look, and only that. All servers stand in this process and are loaded in turn, many short rounds each, so that what else the machine does
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

#[path = "rpc/check.rs"]
mod check;
#[path = "rpc/client.rs"]
mod client;
#[path = "rpc/echo.rs"]
mod echo;
#[path = "../tests/listen/peer.rs"]
mod peer;
#[path = "support/published.rs"]
mod published;
#[path = "../tests/listen/echo.rs"]
mod raw;
#[path = "rpc/servers.rs"]
mod servers;
#[path = "rpc/watched.rs"]
mod watched;

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Waker};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hdrhistogram::Histogram;
use prost::Message as _;
use tonic::Request;
use tradewind::engine::evaluate::evaluate;
use tradewind::engine::snapshot::Snapshot;
use tradewind::sidecar::intake::counters::DecisionCounters;
use tradewind::sidecar::intake::decider::Decider;
use tradewind::sidecar::state::State;
use tradewind::sidecar::wire::proto::DecideBatchRequest;
use tradewind::sidecar::wire::proto::server::decision_service_server::DecisionService;

use client::{Client, Regime, Round, Target, load};
use servers::{Bench, Rivals};
use tradewind_bench::{Ask, Geography, Rules, Size};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

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

impl Bench {
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
    if quick || std::env::args().any(|argument| argument == "watched") {
        watched::watched(quick);
        if !quick {
            return;
        }
    }
    let geography = Geography::new(effort.networks, effort.requests);
    let bench = Bench::new(effort, &geography);
    let mut from_alone = std::env::args().skip_while(|argument| argument != "alone");
    if let Some(number) = from_alone.nth(1) {
        alone(&bench, number.parse().expect("0 to 5"));
        return bench.end();
    }
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
    println!("P1: calls beside an echo of the same sizes and path on the same gate, two workers");
    for (transport, rivals) in &bench.decides {
        println!("over {transport}");
        beside_its_echo(bench, rivals, &[PIPELINED, C4_M1, C1_M1]);
    }
    println!("over TCP");
    beside_its_echo(bench, &bench.decides[0].1, &[FRAMES]);
    beside_its_echo(bench, &bench.checks, &[PIPELINED, FRAMES, C4_M1]);
}

fn beside_its_echo(bench: &Bench, rivals: &Rivals, regimes: &[Regime]) {
    for &regime in regimes {
        let targets = [&rivals.echo, &rivals.served, &rivals.generated];
        let contenders = targets.map(|target| (target, regime));
        report(&contenders, &bench.in_turns(&contenders));
    }
}

/// Loads one server alone for ten seconds, for a tool that counts instructions by thread.
fn alone(bench: &Bench, number: usize) {
    let (decide, check) = (&bench.decides[0].1, &bench.checks);
    let targets = [decide, check].map(|rivals| [&rivals.echo, &rivals.served, &rivals.generated]);
    let target = targets.as_flattened()[number];
    let round = load(target, PIPELINED, Duration::from_secs(10));
    println!("{} {}: {} answers", target.name, target.path, round.answers);
}

/// The time of a decision alone, and of the whole handler, beside the CPU of a call.
fn share_of_the_decision(bench: &Bench) {
    println!("P2: the decision's part of a call");
    let counters = Arc::new(DecisionCounters::default());
    let (state, recent) = (Arc::clone(&bench.state), Arc::clone(&bench.recent));
    let decider = Decider::new(state, counters, recent, Arc::default(), (1, 3));
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
    let parts = tradewind_bench::parts(&topology, Rules::Hosts(10), geography);
    let first = published::publish(Snapshot::build(1, parts, None));
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
            candidate: None,
            snapshot: next,
            revision: before.revision,
            policy_digest: before.policy_digest.clone(),
            nodes: Arc::clone(&before.nodes),
            rows: before.rows.clone(),
            texts: before.texts.clone(),
        };
        drop(before);
        state.published.store(Some(Arc::new(next)));
        swapped += 1;
        thread::sleep(Duration::from_millis(100));
    }
    swapped
}
