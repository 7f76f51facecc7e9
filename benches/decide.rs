//! What a whole decision costs: locate, match, score, rank, list three nodes, encode; and what snapshots cost to make
//! and to keep.
//!
//! `cargo bench --bench decide` prints tables; `cargo bench --bench decide -- --test` runs everything once, quickly.
//! Every request has a client, a path and so a key of its own, out of thousands. Scenes are timed in turns, so ratios
//! of one run hold where absolute times drift. A round goes through all requests and takes the time of each few hundred:
//! its figure is their median, which a pause of the thread does not move. What is printed is the median of the rounds,
//! with the 10th and 90th percentile.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::expect_used,
    clippy::cast_precision_loss,
    reason = "a benchmark reads the clock, prints a table, and has small numbers"
)]

#[path = "support/counting.rs"]
mod counting;
#[path = "support/published.rs"]
mod published;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use counting::Counting;
use published::publish;
use tradewind::engine::decision::Decision;
use tradewind::engine::evaluate::evaluate;
use tradewind::engine::explanation::Explanation;
use tradewind::engine::freshness::Fresh;
use tradewind::engine::geo::distance::UnitVector;
use tradewind::engine::locate::locate;
use tradewind::engine::nearest::Nearest;
use tradewind::engine::policy;
use tradewind::engine::query::Query;
use tradewind::engine::snapshot::{Parts, Snapshot};
use tradewind::engine::topology::{self, Topology};
use tradewind::sidecar::state::Published;
use tradewind::sidecar::wire::answer::{Answer, Envelope};
use tradewind::sidecar::wire::{QueryBuffer, QueryRoom};
use tradewind_bench::{Ask, Geography, Rules, Size};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Requests timed together: a tenth of a millisecond of decisions, far less than a turn of the scheduler.
const CHUNK: usize = 256;

/// How much to run.
#[derive(Clone, Copy)]
struct Effort {
    rounds: usize,
    requests: usize,
    networks: usize,
    rules: usize,
    large: Size,
}

fn main() {
    let quick = std::env::args().any(|argument| argument == "--test");
    let effort = if quick {
        Effort {
            rounds: 1,
            requests: 64,
            networks: 2_000,
            rules: 10,
            large: size(1_000, 100),
        }
    } else {
        Effort {
            rounds: 31,
            requests: 8_192,
            networks: 1_200_000,
            rules: 1_000,
            large: size(10_000, 1_000),
        }
    };
    let before = counting::live_bytes();
    let geography = Geography::new(effort.networks, effort.requests);
    println!(
        "geography: {} networks, {} cells, {} classes; {:.1} MB of tables\n",
        geography.networks,
        geography.ranges.cells().len(),
        geography.ranges.class_count(),
        megabytes(geography.ranges.memory_bytes()),
    );
    by_fleet(effort, &geography);
    by_rules(effort, &geography);
    writing(effort, &geography);
    memory(effort, &geography, before);
}

const fn size(nodes: usize, sites: usize) -> Size {
    Size { nodes, sites }
}

fn megabytes(bytes: usize) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// A snapshot and requests to it.
struct Scene {
    name: String,
    published: Published,
    asks: Vec<Ask>,
    /// Nodes all over the fleet, for callers that can use no others.
    only: Vec<String>,
}

/// The headers of a request, and the nodes that its caller can use.
type Lines<'a> = (&'a [(&'a str, &'a str)], &'a [&'a str]);

/// How many those are: as many as a subset of an Envoy's cluster may have.
const ONLY: usize = 16;

impl Scene {
    fn new(name: String, topology: &Arc<Topology>, rules: Rules, geography: &Geography) -> Self {
        let snapshot = Snapshot::build(1, tradewind_bench::parts(topology, rules, geography), None);
        let nodes = topology.nodes();
        let apart = nodes.len().div_ceil(ONLY);
        Self {
            name,
            only: nodes
                .iter()
                .step_by(apart)
                .map(|node| node.id.to_string())
                .collect(),
            published: publish(snapshot),
            asks: geography.asks(rules),
        }
    }

    fn envelope<'a>(&'a self, ask: &'a Ask) -> Envelope<'a> {
        Envelope {
            request_id: &ask.message.request_id,
            decision_id: "0123456789abcdef01234567",
            revision: self.published.revision,
            policy_digest: &self.published.policy_digest,
            freshness_floor: 0,
            fresh: Fresh::default(),
            is_freshness_known: true,
            known_place: None,
        }
    }

    /// Does one kind of work for every request; gives nanoseconds and allocations for each.
    fn run(&self, work: Work) -> Cost {
        let asks = match work {
            Work::Explain => self.asks.get(..CHUNK).unwrap_or(&self.asks),
            Work::Locate | Work::Evaluate | Work::Only | Work::Encode | Work::Read => &self.asks,
        };
        let headers: Vec<_> = asks.iter().map(Ask::headers).collect();
        let only: Vec<&str> = self.only.iter().map(String::as_str).collect();
        let mut times = Vec::with_capacity(asks.len());
        let before = counting::allocations();
        for (asks, headers) in asks.chunks(CHUNK).zip(headers.chunks(CHUNK)) {
            let start = Instant::now();
            for (ask, headers) in asks.iter().zip(headers) {
                self.work(work, ask, (headers, &only));
            }
            times.push(start.elapsed().as_nanos() as f64 / asks.len() as f64);
        }
        Cost {
            allocations: (counting::allocations() - before) as f64 / asks.len() as f64,
            ns: quantile(times.into_iter(), 50),
        }
    }

    fn work<'a>(&self, work: Work, ask: &'a Ask, (headers, only): Lines<'a>) {
        let snapshot = &self.published.snapshot;
        let (mut room, mut buffer) = (QueryRoom::default(), QueryBuffer::default());
        let query = match work {
            Work::Read => buffer
                .read(&ask.message, &mut room, snapshot.reading())
                .expect("requests are well formed"),
            Work::Only => Query {
                only,
                candidates: Some(8),
                ..ask.query(headers)
            },
            Work::Locate | Work::Evaluate | Work::Encode | Work::Explain => ask.query(headers),
        };
        if work == Work::Locate {
            black_box(locate(snapshot, black_box(&query)));
            return;
        }
        let evaluation = evaluate(snapshot, black_box(&query));
        let decision = Decision::new(snapshot, &evaluation);
        match work {
            Work::Locate | Work::Evaluate | Work::Only => drop(black_box(&evaluation)),
            Work::Encode | Work::Read => {
                let nodes = &self.published.nodes;
                drop(black_box(Answer::single(
                    &decision,
                    &self.envelope(ask),
                    nodes,
                )));
            }
            Work::Explain => drop(black_box(Explanation::new(snapshot, &query, &evaluation))),
        }
    }
}

/// What is done with a request.
#[derive(Clone, Copy, PartialEq)]
enum Work {
    /// The first step of a decision: where the client is.
    Locate,
    /// The decision alone.
    Evaluate,
    /// The same for a caller that can use some nodes only and wants as many as there may be.
    Only,
    /// The decision and its answer, encoded.
    Encode,
    /// The same from the message on.
    Read,
    /// The decision and its explanation.
    Explain,
}

#[derive(Clone, Copy)]
struct Cost {
    ns: f64,
    allocations: f64,
}

/// Runs every scene in turn, round by round. One list of costs for each scene.
fn in_turns(scenes: &[Scene], work: Work, rounds: usize) -> Vec<Vec<Cost>> {
    let mut costs = vec![Vec::new(); scenes.len()];
    // The first round warms up and is not counted.
    for round in 0..=rounds {
        for (scene, costs) in scenes.iter().zip(&mut costs) {
            let cost = scene.run(work);
            if round > 0 {
                costs.push(cost);
            }
        }
    }
    costs
}

fn quantile(values: impl Iterator<Item = f64>, percent: usize) -> f64 {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_unstable_by(f64::total_cmp);
    let at = sorted.len().saturating_sub(1) * percent / 100;
    sorted.get(at).copied().unwrap_or(0.0)
}

/// Prints one line for each scene; ratios to the scene at `reference`, round by round.
fn print_costs(scenes: &[Scene], works: &[(&str, Work)], rounds: usize, reference: usize) {
    for (what, work) in works {
        println!("{what}");
        let rounds = if *work == Work::Explain { 1 } else { rounds };
        let costs = in_turns(scenes, *work, rounds);
        for (scene, own) in scenes.iter().zip(&costs) {
            let ns = |percent| quantile(own.iter().map(|cost| cost.ns), percent);
            let others = costs.get(reference).into_iter().flatten();
            let ratios = own
                .iter()
                .zip(others)
                .map(|(cost, other)| cost.ns / other.ns);
            println!(
                "  {:38} {:9.1} ns  ({:.1}..{:.1})  x{:.2}  {} allocations",
                scene.name,
                ns(50),
                ns(10),
                ns(90),
                quantile(ratios, 50),
                quantile(own.iter().map(|cost| cost.allocations), 50),
            );
        }
        if matches!(work, Work::Evaluate | Work::Only) {
            let most = costs.iter().flatten().map(|cost| cost.allocations);
            assert!(
                most.fold(0.0, f64::max) < f64::MIN_POSITIVE,
                "a decision allocates"
            );
        }
    }
    println!();
}

fn by_fleet(effort: Effort, geography: &Geography) {
    println!("by fleet, 10 rules told apart by host; ratio to 256 nodes");
    let sizes = [
        Size::POOL_OF_64,
        size(64, 8),
        size(256, 32),
        size(1_000, 100),
        size(effort.large.nodes, effort.large.nodes / 40),
        effort.large,
    ];
    let scenes: Vec<Scene> = sizes
        .into_iter()
        .map(|size| {
            let name = format!("{} nodes, {} sites", size.nodes, size.sites);
            Scene::new(name, &size.topology(), Rules::Hosts(10), geography)
        })
        .collect();
    let works = [
        ("locate alone", Work::Locate),
        ("evaluate", Work::Evaluate),
        ("evaluate, 8 of 16 nodes", Work::Only),
        ("evaluate and encode", Work::Encode),
        ("read, evaluate and encode", Work::Read),
        ("evaluate and explain", Work::Explain),
    ];
    print_costs(&scenes, &works, effort.rounds, 2);
}

fn by_rules(effort: Effort, geography: &Geography) {
    println!("by rules, 64 nodes in 8 sites; ratio to one rule");
    let topology = size(64, 8).topology();
    let counts = [1, 10, 100, effort.rules];
    let hosts = counts.map(|count| (format!("{count} rules by host"), Rules::Hosts(count)));
    let prefixes = counts.map(|count| {
        let name = format!("{count} rules by prefix, any host");
        (name, Rules::Prefixes(count))
    });
    let header = counts.map(|count| {
        let name = format!("{count} rules by header, one path");
        (name, Rules::Header(count))
    });
    let expressions = [1, 10, 100, effort.rules.min(500)].map(|count| {
        let name = format!("{count} rules by expression, one path");
        (name, Rules::Expressions(count))
    });
    let scenes: Vec<Scene> = hosts
        .into_iter()
        .chain(prefixes)
        .chain(header)
        .chain(expressions)
        .map(|(name, rules)| Scene::new(name, &topology, rules, geography))
        .collect();
    print_costs(&scenes, &[("evaluate", Work::Evaluate)], effort.rounds, 0);
}

/// What the writer does, off the request path.
fn writing(effort: Effort, geography: &Geography) {
    println!(
        "off the request path: {} nodes in {} sites, {} rules; milliseconds",
        effort.large.nodes, effort.large.sites, effort.rules
    );
    let rules = Rules::Hosts(effort.rules);
    let (topology_text, policy_text) = (effort.large.topology_text(), rules.policy_text());
    let topology = effort.large.topology();
    let parts = tradewind_bench::parts(&topology, rules, geography);
    let built = Snapshot::build(1, parts.clone(), None);
    let edge = built.routing().node_sets().first().expect("two pools");
    let points: Vec<UnitVector> = edge.points(&topology);
    let cells = geography.ranges.cell_vectors();
    let rounds = effort.rounds.div_ceil(4);
    let measure = |what: &str, work: &mut dyn FnMut()| {
        let mut times = Vec::new();
        for _ in 0..=rounds {
            let start = Instant::now();
            work();
            times.push(start.elapsed().as_secs_f64() * 1e3);
        }
        let ms = |percent| quantile(times.iter().skip(1).copied(), percent);
        println!("  {what:44} {:9.3}  ({:.3}..{:.3})", ms(50), ms(10), ms(90));
    };
    measure("topology compile, from text", &mut || {
        drop(black_box(topology::compile("t", &topology_text)));
    });
    measure("policy compile, from text", &mut || {
        drop(black_box(policy::compile("p", &policy_text, &topology)));
    });
    measure("nearest sites of every cell", &mut || {
        drop(black_box(Nearest::new(points.clone(), cells)));
    });
    measure("snapshot, all of it", &mut || {
        drop(black_box(Snapshot::build(2, parts.clone(), None)));
    });
    measure("snapshot, policy or weights changed", &mut || {
        drop(black_box(Snapshot::build(3, parts.clone(), Some(&built))));
    });
    println!();
}

fn memory(effort: Effort, geography: &Geography, before: usize) {
    println!("memory: live bytes of the allocator");
    let bytes_of = |make: &dyn Fn() -> Box<dyn std::any::Any>| {
        let before = counting::live_bytes();
        let made = make();
        let bytes = counting::live_bytes() - before;
        drop(made);
        bytes
    };
    let rules = Rules::Hosts(effort.rules);
    let (large, geo) = (effort.large, geography.ranges.memory_bytes());
    let topology = large.topology();
    let of_topology = bytes_of(&|| Box::new(large.topology()));
    let of_policy = bytes_of(&|| Box::new(rules.policy(&topology)));
    let of_policy_of_one = bytes_of(&|| Box::new(Rules::Hosts(1).policy(&topology)));
    let parts: Parts = tradewind_bench::parts(&topology, rules, geography);
    let of_published = bytes_of(&|| Box::new(publish(Snapshot::build(1, parts.clone(), None))));
    let (nodes, rules) = (large.nodes, effort.rules);
    let print = |what: &str, bytes: usize| println!("  {what:44} {:9.2} MB", megabytes(bytes));
    print("geography", geo);
    print(&format!("topology of {nodes} nodes"), of_topology);
    print(&format!("policy of {rules} rules"), of_policy);
    print("snapshot tables and encoded nodes", of_published);
    let all = geo + of_topology + of_policy + of_published;
    print("all", all);
    print(
        "all, twice (old and new during a swap)",
        2 * (all - geo) + geo,
    );
    println!(
        "  a node takes {} bytes (topology, policy of one rule, tables), a rule {} bytes more",
        (of_topology + of_policy_of_one + of_published) / nodes,
        (of_policy - of_policy_of_one) / rules,
    );
    println!(
        "  live now, the requests and copies of this bench included: {:.1} MB",
        megabytes(counting::live_bytes() - before)
    );
}
