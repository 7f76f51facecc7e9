//! Times of the rank kernel beside other ways to place a key, measured in turns within one run.
//!
//! `cargo bench --bench rank` prints tables; `cargo bench --bench rank -- --test` runs everything once, quickly.
//! Absolute times belong to the machine, so read the ratios. Each round times every contender once, one after another,
//! over thousands of different keys; a figure is the median of the rounds, with the 10th and 90th percentile.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::expect_used,
    clippy::cast_precision_loss,
    reason = "a benchmark reads the clock, prints a table, and has small numbers"
)]

use jumphash::JumpHasher;
use maglev::{ConsistentHasher, Maglev};
use pingora_ketama::{Bucket, Continuum};
use rendezvous_hash::{Capacity, KeyValueNode, RendezvousNodes, WeightedNode};
use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Instant;
use tradewind_engine::hash::{self, NodeSeed};
use tradewind_engine::rank::{self, Columns, Kernel, Segment, Top};

/// How much to run.
#[derive(Clone, Copy)]
struct Effort {
    rounds: usize,
    keys: usize,
    sizes: &'static [usize],
}

fn main() {
    let quick = std::env::args().any(|argument| argument == "--test");
    let effort = if quick {
        Effort {
            rounds: 1,
            keys: 32,
            sizes: &[8, 64, 1_000],
        }
    } else {
        Effort {
            rounds: 31,
            keys: 4_096,
            sizes: &[8, 32, 64, 128, 256, 1_000, 10_000],
        }
    };
    compare_peers(effort);
    scan(effort);
    several_sites(effort);
    reweight(effort);
    quality(if quick { 2_000 } else { 200_000 });
}

/// Takes a key and gives the number of its owner, having done all the work of its kind.
type Place = Box<dyn Fn(&str) -> usize>;

/// Makes a way to place keys on a number of nodes.
type Build = fn(usize) -> Place;

/// Something that places keys.
struct Contender {
    name: &'static str,
    place: Place,
    /// Keys in a round; fewer for the slow ones.
    keys: usize,
}

fn id(node: usize) -> String {
    format!("node-{node:05}")
}

/// Weights 1..4, as of a fleet that grew over the years.
fn weight(node: usize) -> u16 {
    1 + u16::try_from(node % 4).expect("below 4")
}

/// An address that tells the number of the node.
fn address(node: usize) -> SocketAddr {
    let number = u32::try_from(node).expect("small");
    SocketAddr::from((Ipv4Addr::from_bits(number), 8080))
}

fn node_at(address: &SocketAddr) -> usize {
    match address {
        SocketAddr::V4(v4) => v4.ip().to_bits() as usize,
        SocketAddr::V6(_) => 0,
    }
}

fn paths(count: usize) -> Vec<String> {
    (0..count)
        .map(|number| format!("cdn.example.com/video/2024/seg-{number:05}.m4s"))
        .collect()
}

fn table(nodes: impl Iterator<Item = usize>) -> (Columns, Segment) {
    Columns::of_nodes(nodes.map(|node| (NodeSeed::of_id(&id(node)), f32::from(weight(node)))))
}

/// The crate itself, from the bytes of the key to three candidates.
fn ours(nodes: impl Iterator<Item = usize>, kernel: Kernel) -> Place {
    let (columns, segment) = table(nodes);
    Box::new(move |path| {
        let mut top = Top::new(3);
        let key = hash::key(&[path.as_bytes()]);
        rank::rank_with(kernel, &columns, segment, key, &mut top);
        black_box(&top)
            .first()
            .map_or(0, |entry| entry.position as usize)
    })
}

/// Three candidates by `rendezvous_hash` with weights and its own hasher.
fn rendezvous(nodes: impl Iterator<Item = usize>) -> Place {
    let mut peer = RendezvousNodes::default();
    for node in nodes {
        let capacity = Capacity::new(f64::from(weight(node))).expect("positive");
        peer.insert(WeightedNode::new(
            KeyValueNode::new(id(node), node),
            capacity,
        ));
    }
    Box::new(move |path| {
        let mut three = peer.calc_candidates(&path).take(3);
        let first = three.next().map_or(0, |node| node.node.value);
        three.for_each(|node| {
            black_box(node.node.value);
        });
        first
    })
}

/// Three steps around the ring of `pingora-ketama`, which may give the same node again.
fn ketama(nodes: impl Iterator<Item = usize>) -> Place {
    let buckets: Vec<Bucket> = nodes
        .map(|node| Bucket::new(address(node), u32::from(weight(node))))
        .collect();
    let ring = Continuum::new(&buckets);
    Box::new(move |path| {
        let mut three = ring.node_iter(path.as_bytes()).take(3);
        let first = three.next().map_or(0, node_at);
        three.for_each(|address| {
            black_box(address);
        });
        first
    })
}

/// One node by `maglev`, which has neither weights nor a second choice. A capacity of 0 is its default.
fn maglev(nodes: impl Iterator<Item = usize>, capacity: usize) -> Place {
    let peer = Maglev::with_capacity(nodes.collect::<Vec<_>>(), capacity);
    Box::new(move |path| peer.get(path).copied().unwrap_or(0))
}

/// One node by `hashring`, one point for each node.
fn ring(nodes: impl Iterator<Item = usize>) -> Place {
    let mut peer = hashring::HashRing::new();
    peer.batch_add(nodes.collect());
    Box::new(move |path| peer.get(&path).copied().unwrap_or(0))
}

/// One node by jump hash: no weights, and only the last node can leave.
fn jump(nodes: usize) -> Place {
    let peer = JumpHasher::new_with_keys(1, 2);
    let slots = u32::try_from(nodes).expect("small");
    Box::new(move |path| peer.slot(&path, slots) as usize)
}

/// Nanoseconds for each call, one list for each contender, one value for each round.
fn time_in_turns(contenders: &[Contender], paths: &[String], rounds: usize) -> Vec<Vec<f64>> {
    let mut times = vec![Vec::new(); contenders.len()];
    // The first round warms up and is not counted.
    for round in 0..=rounds {
        for (contender, times) in contenders.iter().zip(&mut times) {
            let keys = paths.len().min(contender.keys);
            let start = Instant::now();
            for path in paths.iter().take(keys) {
                black_box((contender.place)(black_box(path)));
            }
            let time = start.elapsed().as_nanos() as f64 / keys as f64;
            if round > 0 {
                times.push(time);
            }
        }
    }
    times
}

fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let last = sorted.len().saturating_sub(1) as f64;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an index below the length"
    )]
    let index = (last * share).round() as usize;
    sorted.get(index).copied().unwrap_or(0.0)
}

fn print_times(contenders: &[Contender], times: &[Vec<f64>]) {
    let Some(reference) = times.first() else {
        return;
    };
    for (contender, times) in contenders.iter().zip(times) {
        let ratios: Vec<f64> = times.iter().zip(reference).map(|(t, r)| t / r).collect();
        println!(
            "  {:34} {:>11.1} ns  ({:.1}..{:.1})  x{:.2}",
            contender.name,
            quantile(times, 0.5),
            quantile(times, 0.1),
            quantile(times, 0.9),
            quantile(&ratios, 0.5),
        );
    }
}

fn compare_peers(effort: Effort) {
    let paths = paths(effort.keys);
    for &size in effort.sizes {
        println!("\n{size} nodes: from the bytes of a key to its nodes; ratio to the first line");
        let contender = |name, place| Contender {
            name,
            place,
            keys: usize::MAX,
        };
        let mut contenders = vec![
            contender(
                "tradewind, weighted top 3",
                ours(0..size, Kernel::fastest()),
            ),
            contender("the same, baseline", ours(0..size, Kernel::baseline())),
            contender("pingora-ketama, weighted 3 steps", ketama(0..size)),
            contender("hashring, one", ring(0..size)),
            contender("jump hash, one", jump(size)),
        ];
        // Its table of permutations takes 800 bytes for each pair of nodes.
        if size <= 256 {
            contenders.push(contender("maglev, one", maglev(0..size, 0)));
        }
        contenders.push(Contender {
            name: "rendezvous_hash, weighted top 3",
            place: rendezvous(0..size),
            keys: (400_000 / size).clamp(16, 4_096),
        });
        let times = time_in_turns(&contenders, &paths, effort.rounds);
        print_times(&contenders, &times);
    }
}

fn scan(effort: Effort) {
    println!("\nflat scan of 10,000 nodes, top 3: nanoseconds a node");
    let keys = paths(effort.keys.min(512));
    let contenders: Vec<Contender> = Kernel::all()
        .into_iter()
        .rev()
        .map(|kernel| Contender {
            name: kernel.name(),
            place: ours(0..10_000, kernel),
            keys: usize::MAX,
        })
        .collect();
    let times = time_in_turns(&contenders, &keys, effort.rounds);
    for (contender, times) in contenders.iter().zip(&times) {
        let per_node: Vec<f64> = times.iter().map(|time| time / 1e4).collect();
        println!(
            "  {:10} {:.3}  ({:.3}..{:.3})",
            contender.name,
            quantile(&per_node, 0.5),
            quantile(&per_node, 0.1),
            quantile(&per_node, 0.9)
        );
    }
}

/// What a decision does: one site of a large fleet, or a scope of a few sites.
fn several_sites(effort: Effort) {
    println!(
        "\n10,000 nodes in sites of 40, top 3 over a scope of sites; ratio to one pool of 256"
    );
    let mut columns = Columns::default();
    let segments: Vec<Segment> = (0..250)
        .map(|site| {
            let nodes = site * 40..site * 40 + 40;
            columns.push_segment(
                nodes.map(|node| (NodeSeed::of_id(&id(node)), f32::from(weight(node)))),
            )
        })
        .collect();
    let scope = |sites: usize| -> Place {
        let (columns, segments) = (columns.clone(), segments.clone());
        Box::new(move |path| {
            let key = hash::key(&[path.as_bytes()]);
            let mut top = Top::new(3);
            // The site depends on the client, so it varies too.
            let first = path
                .as_bytes()
                .iter()
                .map(|byte| usize::from(*byte))
                .sum::<usize>()
                % 240;
            for segment in segments.iter().skip(first).take(sites) {
                rank::rank(&columns, *segment, key, &mut top);
            }
            black_box(&top)
                .first()
                .map_or(0, |entry| entry.position as usize)
        })
    };
    let contender = |name, place| Contender {
        name,
        place,
        keys: usize::MAX,
    };
    let contenders = [
        contender("one pool of 256", ours(0..256, Kernel::fastest())),
        contender("one site of 40", scope(1)),
        contender("3 sites of 40", scope(3)),
        contender("8 sites of 40", scope(8)),
    ];
    let times = time_in_turns(&contenders, &paths(effort.keys), effort.rounds);
    print_times(&contenders, &times);
}

fn reweight(effort: Effort) {
    println!("\n10,000 nodes: microseconds");
    let (mut columns, segment) = table(0..10_000);
    let weights: Vec<f32> = (0..10_000)
        .map(|node| f32::from(weight(node)) * 0.5)
        .collect();
    let mut times = [Vec::new(), Vec::new(), Vec::new()];
    for _ in 0..=effort.rounds {
        let microseconds = |start: Instant| start.elapsed().as_nanos() as f64 / 1e3;
        let [at_once, one_by_one, copies] = &mut times;
        let start = Instant::now();
        columns.set_weights(black_box(segment), black_box(&weights));
        at_once.push(microseconds(start));
        let start = Instant::now();
        for (position, weight) in (0..).zip(&weights) {
            columns.set_weight(black_box(position), *weight);
        }
        one_by_one.push(microseconds(start));
        let start = Instant::now();
        let copy = black_box(columns.clone());
        copies.push(microseconds(start));
        drop(copy);
    }
    for (name, times) in ["new weights at once", "one by one", "copy of the table"]
        .iter()
        .zip(&times)
    {
        println!(
            "  {name:22} {:.1}  ({:.1}..{:.1})",
            quantile(times, 0.5),
            quantile(times, 0.1),
            quantile(times, 0.9)
        );
    }
}

/// Shares, and keys moved when the last of 64 nodes leaves (its own share is the least possible).
fn quality(keys: usize) {
    const NODES: usize = 64;
    println!(
        "\n{NODES} nodes, {keys} keys: greatest load / fair load, and keys moved / least possible when one leaves"
    );
    let paths = paths(keys);
    let total: f64 = (0..NODES).map(|node| f64::from(weight(node))).sum();
    let contenders: [(&str, bool, Build); 8] = [
        ("tradewind, weights 1..4", true, |nodes| {
            ours(0..nodes, Kernel::fastest())
        }),
        ("rendezvous_hash, weights 1..4", true, |nodes| {
            rendezvous(0..nodes)
        }),
        ("pingora-ketama, weights 1..4", true, |nodes| {
            ketama(0..nodes)
        }),
        ("hashring", false, |nodes| ring(0..nodes)),
        ("jump hash (last node)", false, jump),
        ("maglev, default capacity", false, |nodes| {
            maglev(0..nodes, 0)
        }),
        ("maglev, capacity kept", false, |nodes| {
            maglev(0..nodes, 6_400)
        }),
        ("key hash modulo nodes", false, |nodes| {
            Box::new(move |path| {
                let bits = hash::key(&[path.as_bytes()]).0;
                usize::try_from(bits % nodes as u64).expect("below the number of nodes")
            })
        }),
    ];
    for (name, weighted, build) in contenders {
        let (before, after) = (build(NODES), build(NODES - 1));
        let mut counts = vec![0_usize; NODES];
        let mut moved = 0;
        for path in &paths {
            let owner = before(path);
            if let Some(count) = counts.get_mut(owner) {
                *count += 1;
            }
            moved += usize::from(owner != after(path));
        }
        let worst = counts
            .iter()
            .enumerate()
            .map(|(node, &count)| {
                let share = if weighted {
                    f64::from(weight(node)) / total
                } else {
                    1.0 / NODES as f64
                };
                count as f64 / (keys as f64 * share)
            })
            .fold(0.0, f64::max);
        let least = counts.last().copied().unwrap_or(1).max(1);
        println!(
            "  {name:32} {worst:6.3}   {:8.3}",
            moved as f64 / least as f64
        );
    }
}
