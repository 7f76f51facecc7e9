//! Nothing is wrong, and every signal trembles: how few keys move.

use tradewind_engine::geo::Location;
use tradewind_engine::model::NodeIndex;
use tradewind_simulator::Simulation;

use crate::fleet::{Fleet, seconds};

/// What 64 clients' requests for 64 keys each would get.
fn answers(simulation: &Simulation) -> Vec<Option<NodeIndex>> {
    let clients = (0..64_i32).map(|k| {
        let (lat, lon) = (f64::from(k * 5 % 120 - 60), f64::from(k * 37 % 360 - 180));
        Location::new(lat, lon)
    });
    clients
        .flat_map(|client| (0..64).map(move |key| (key, client)))
        .map(|(key, client)| {
            simulation
                .ask(1_000_000 + key, client)
                .picks
                .first()
                .map(|pick| pick.node)
        })
        .collect()
}

#[test]
fn noise_moves_next_to_nothing_in_thirty_minutes() {
    let mut simulation = Fleet::default().simulate(600.0, 11);
    simulation.run_until(seconds(120));
    simulation.take_report();
    let mut before = answers(&simulation);
    let mut worst = 0.0_f64;
    for minute in 1..=30 {
        simulation.run_until(seconds(120 + 60 * minute));
        let now = answers(&simulation);
        let moved = before.iter().zip(&now).filter(|(a, b)| a != b).count();
        worst = worst.max(moved as f64 / before.len() as f64);
        before = now;
    }
    let report = simulation.take_report();
    println!(
        "30 min of noise: worst minute {:.3} % of answers, probe keys moved {:.4} of a minimum of {:.4}, excess {}",
        worst * 100.0,
        report.disruption.moved,
        report.disruption.minimum,
        report.disruption.excess
    );
    assert!(worst <= 0.005, "{worst} of answers moved in a minute");
    assert!(report.disruption.moved <= 30.0 * 0.005);
    assert!(report.disruption.excess <= 0.0);
    assert_eq!(report.strayed, 0);
}

#[test]
fn a_run_is_a_function_of_its_seed() {
    let image = |seed| {
        let mut simulation = Fleet::default().simulate(500.0, seed);
        simulation.run_until(seconds(30));
        let report = simulation.take_report();
        format!("{:?} {report:?}", simulation.snapshot().signals().nodes)
    };
    assert_eq!(image(12), image(12));
    assert_ne!(image(12), image(13));
}

#[test]
fn a_joining_node_ramps_up_and_moves_only_its_own_keys() {
    let small = Fleet::default();
    let large = Fleet {
        nodes_per_site: 4,
        ..Fleet::default()
    };
    let mut simulation = small.simulate(600.0, 14);
    simulation.run_until(seconds(60));
    let owners = |simulation: &Simulation| -> Vec<String> {
        let topology = simulation.snapshot().topology();
        let name = |node: Option<NodeIndex>| topology.node(node.expect("an answer")).id.to_string();
        answers(simulation).into_iter().map(name).collect()
    };
    let before = owners(&simulation);
    let topology = large.topology();
    let policy = large.policy(&topology);
    simulation.replace(topology, policy);
    let at_once = owners(&simulation);
    simulation.run_until(seconds(61));
    let ramping = owners(&simulation);
    simulation.run_until(seconds(100));
    let settled = owners(&simulation);
    let moved_to_new = |now: &[String]| {
        let moved = before.iter().zip(now).filter(|(a, b)| a != b);
        let moved: Vec<_> = moved.map(|(_, to)| to.clone()).collect();
        assert!(moved.iter().all(|to| to.ends_with("-03")), "{moved:?}");
        moved.len() as f64 / before.len() as f64
    };
    let shares = [&at_once, &ramping, &settled].map(|now| moved_to_new(now));
    println!("a node joins each site: {shares:?} of keys at once, after 1 s, after 40 s");
    // An eighth of the weight of four nodes is 1 in 25.
    assert!(
        (0.02..0.07).contains(&shares[0]) && (0.02..0.07).contains(&shares[1]),
        "{shares:?}"
    );
    assert!((0.2..0.3).contains(&shares[2]), "{shares:?}");
}
