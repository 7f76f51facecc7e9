//! Even load without moving ordinary keys: the hot table and headrooms, beside plain hashing and bounded loads.

use tradewind_engine::control::event::Event;
use tradewind_engine::evaluate::Reason;
use tradewind_engine::geo::Location;
use tradewind_simulator::node::NodeModel;
use tradewind_simulator::report::Report;
use tradewind_simulator::rivals::Chooser;
use tradewind_simulator::traffic::{Traffic, Zipf};
use tradewind_simulator::{Setup, Simulation};

use crate::fleet::{Fleet, seconds};

/// 50 nodes at one place, 20,000 requests a second over 500,000 keys.
fn simulation(
    exponent: f64,
    capacity: fn(usize) -> usize,
    chooser: Chooser,
    exact: bool,
) -> Simulation {
    let fleet = Fleet {
        sites: 1,
        nodes_per_site: 50,
        capacity,
        ..Fleet::default()
    };
    let topology = fleet.topology();
    let mean = (0..50).map(capacity).sum::<usize>() / 50;
    Simulation::new(Setup {
        policy: fleet.policy(&topology),
        topology,
        // Nodes are far from their limits: what is measured is the choice alone.
        node: NodeModel {
            rate_per_capacity: 100_000.0 / mean as f64,
            ..NodeModel::default()
        },
        traffic: Traffic {
            rate: 20_000.0,
            keys: Zipf::new(500_000, exponent),
            clients: fleet.clients(),
            flash_share: 0.0,
        },
        chooser,
        seed: 1,
        sketch_keys: exact.then_some(1_000_000),
    })
}

struct Measured {
    mean: f64,
    p99: f64,
    hits: f64,
    strayed: u64,
    hot_keys: usize,
}

fn measure(mut simulation: Simulation, warm_s: u64, measured_s: u64) -> Measured {
    simulation.run_until(seconds(warm_s));
    simulation.take_report();
    simulation.run_until(seconds(warm_s + measured_s));
    let report: Report = simulation.take_report();
    Measured {
        mean: report.mean_imbalance(),
        p99: report.p99_imbalance(),
        hits: report.hit_ratio() * 100.0,
        strayed: report.strayed,
        hot_keys: report.hot_keys,
    }
}

fn alike(_: usize) -> usize {
    100
}

fn one_to_four(node: usize) -> usize {
    25 * (1 + node % 4)
}

#[test]
fn a_flash_crowd_is_spread_within_three_seconds() {
    let mut simulation = simulation(0.8, alike, Chooser::Tradewind, false);
    // A quarter of the traffic is enough to see it, and quicker.
    simulation.traffic().rate = 5_000.0;
    simulation.run_until(seconds(20));
    simulation.traffic().flash_share = 0.2;
    simulation.run_until(seconds(23));
    simulation.take_report();
    simulation.run_until(seconds(33));
    let report = simulation.take_report();
    println!(
        "flash crowd of 20 %: the fullest node has {:.2} times its fair share from the third second on, at most {:.2}",
        report.mean_imbalance(),
        report.p99_imbalance()
    );
    assert!(report.p99_imbalance() <= 2.0, "{}", report.p99_imbalance());
}

#[test]
fn load_comes_out_even_and_ordinary_keys_keep_their_node() {
    let m = measure(simulation(1.0, alike, Chooser::Tradewind, false), 12, 8);
    println!(
        "Zipf 1.0: max/avg {:.3}, p99 {:.3}, {} hot keys",
        m.mean, m.p99, m.hot_keys
    );
    assert!(m.mean <= 1.17 && m.p99 <= 1.35, "{} {}", m.mean, m.p99);
    assert_eq!(m.strayed, 0, "no key outside the hot table left its owner");
}

/// `cargo test --release --test simulation -- --ignored --nocapture table_of_balance`
#[test]
#[ignore = "takes minutes in release; the table of docs/benchmarks.md"]
fn table_of_balance() {
    println!("weights zipf chooser: max/avg mean, p99, hit %, strayed, hot keys");
    for (weights, capacity) in [("1", alike as fn(usize) -> usize), ("1..4", one_to_four)] {
        for exponent in [0.8, 1.0, 1.2] {
            for (name, chooser, exact) in [
                ("plain", Chooser::Plain, false),
                ("bounded ring 1.25", Chooser::BoundedRing(1.25), false),
                ("bounded load 1.25", Chooser::BoundedLoad(1.25), false),
                ("tradewind", Chooser::Tradewind, false),
                ("tradewind, exact counts", Chooser::Tradewind, true),
            ] {
                let m = measure(simulation(exponent, capacity, chooser, exact), 60, 60);
                println!(
                    "{weights:>5} {exponent} {name:>24}: {:.3} {:.3} {:.3} {} {}",
                    m.mean, m.p99, m.hits, m.strayed, m.hot_keys
                );
            }
        }
    }
}

/// What becomes of two sites while so many percent of what each can do are asked for around it.
#[derive(Debug)]
struct TwoSites {
    /// The share of all requests that one gives to the other, in the last half minute.
    given: f64,
    /// The share of all requests that nobody answered, from the first minute on.
    unanswered: f64,
    /// How often the terms of a site moved its clients.
    moves: usize,
}

fn two_sites(loads: [usize; 2], seed: u64) -> TwoSites {
    let fleet = Fleet {
        sites: 2,
        capacity: |_| 10,
        ..Fleet::default()
    };
    // Six nodes of 100 requests a second each.
    let rate = 3.0 * loads.iter().sum::<usize>() as f64;
    let mut simulation = fleet.simulate(rate, seed);
    // Each site's clients are spread over the country around it: what is given away are groups of clients.
    let around = |place: Location, at: usize| {
        let (north, east) = ((at % 7) as f64 - 3.0, (at / 7 % 7) as f64 - 3.0);
        Location::new(
            place.latitude() + 0.4 * north,
            place.longitude() + 0.4 * east,
        )
    };
    let beside = fleet.clients();
    let clients = beside
        .iter()
        .zip(loads)
        .flat_map(|(place, load)| (0..load).filter_map(move |at| around(*place, at)));
    simulation.traffic().clients = clients.collect();
    simulation.run_until(seconds(60));
    simulation.take_report();
    simulation.run_until(seconds(120));
    let before = simulation.take_report();
    simulation.run_until(seconds(150));
    let report = simulation.take_report();
    let spilled = report.reasons.get(&Reason::SiteSpilled).copied();
    let requests = (before.requests + report.requests) as f64;
    let events = before.events.iter().chain(&report.events);
    let two = TwoSites {
        given: spilled.unwrap_or(0) as f64 / report.requests as f64,
        unanswered: (before.unanswered + report.unanswered) as f64 / requests,
        moves: events
            .filter(|event| matches!(event, Event::SiteTerms { .. }))
            .count(),
    };
    println!("{loads:?} % of two sites: {two:?}");
    two
}

/// Two sites that are both above their bound gave each other half of their clients: nobody was relieved. And each node that
/// was busy, so slow, so lighter, made the next one busy, until none was left: from 85 % of what all can do.
#[test]
fn overload_everywhere_swaps_nobody() {
    for (loads, seed) in [([85, 85], 43), ([93, 93], 41)] {
        let two = two_sites(loads, seed);
        assert!(two.given < 0.01, "{two:?}");
        assert!(two.unanswered < 0.001, "{two:?}");
    }
}

/// A site at 105 % was left by all its clients at once; the other could not bear them, was left in turn, and within half a
/// minute nobody was served. At 120 % giving a 64th of them a second was too slow.
#[test]
fn an_overloaded_site_gives_to_one_that_has_room() {
    for (loads, seed) in [([105, 40], 42), ([120, 40], 43)] {
        let two = two_sites(loads, seed);
        assert!(two.given > 0.05, "{two:?}");
        assert!(two.unanswered < 0.001, "{two:?}");
        assert_eq!(two.moves, 0, "slices move, not all at once");
    }
}

/// `cargo test --release --test simulation -- --ignored --nocapture table_of_overload`
#[test]
#[ignore = "a minute: the table of docs/benchmarks.md"]
fn table_of_overload() {
    for loads in [
        [85, 85],
        [93, 93],
        [97, 97],
        [60, 100],
        [105, 40],
        [110, 60],
        [120, 40],
        [150, 20],
    ] {
        for seed in 41..44 {
            two_sites(loads, seed);
        }
    }
}
