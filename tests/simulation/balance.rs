//! Even load without moving ordinary keys: the hot table and headrooms, beside plain hashing and bounded loads.

use tradewind::engine::simulate::node::NodeModel;
use tradewind::engine::simulate::report::Report;
use tradewind::engine::simulate::rivals::Chooser;
use tradewind::engine::simulate::traffic::{Traffic, Zipf};
use tradewind::engine::simulate::{Setup, Simulation};

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
