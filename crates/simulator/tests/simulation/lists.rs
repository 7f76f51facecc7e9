//! Which default list fails least: three nodes, of which proxies try two or three, while parts of a fleet fail and nobody
//! has a verdict yet.

use tradewind_engine::evaluate::{Pick, Role};
use tradewind_engine::model::NodeIndex;
use tradewind_engine::query::MAX_CANDIDATES;
use tradewind_simulator::node::Fault;
use tradewind_simulator::{Attempts, Simulation};

use crate::fleet::{Fleet, seconds};

/// What a list of three is made of, from one of eight.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Shape {
    /// Owner, next in order, next site: all of one tier.
    OneTier,
    /// Owner, next in order, next tier.
    OneSite,
    /// Owner, next site, next tier: what the engine does.
    Spread,
}

const SHAPES: [Shape; 3] = [Shape::OneTier, Shape::OneSite, Shape::Spread];

impl Shape {
    fn roles(self) -> [Role; 2] {
        match self {
            Self::OneTier => [Role::NextInOrder, Role::NextSite],
            Self::OneSite => [Role::NextInOrder, Role::NextTier],
            Self::Spread => [Role::NextSite, Role::NextTier],
        }
    }
}

fn keep<const TRIES: usize>(shape: Shape, picks: &mut Attempts) {
    let listed: Vec<Pick> = picks.drain(..).collect();
    let first = listed.first().copied();
    let rest = shape.roles().map(|role| {
        let mut others = listed.iter().skip(1);
        others.find(|pick| pick.role == role).copied()
    });
    let chosen = first.into_iter().chain(rest.into_iter().flatten());
    picks.extend(chosen);
    // Where a tier has one site, or a recovering node comes first, there is nothing to shape.
    let known: Vec<NodeIndex> = picks.iter().map(|pick| pick.node).collect();
    let others = listed.iter().filter(|pick| !known.contains(&pick.node));
    picks.extend(others.copied());
    picks.truncate(TRIES.min(MAX_CANDIDATES));
}

/// What a proxy tries of a list.
fn tries(shape: Shape, tries: usize) -> fn(&mut Attempts) {
    match (shape, tries) {
        (Shape::OneTier, 2) => |picks| keep::<2>(Shape::OneTier, picks),
        (Shape::OneSite, 2) => |picks| keep::<2>(Shape::OneSite, picks),
        (Shape::Spread, 2) => |picks| keep::<2>(Shape::Spread, picks),
        (Shape::OneTier, _) => |picks| keep::<3>(Shape::OneTier, picks),
        (Shape::OneSite, _) => |picks| keep::<3>(Shape::OneSite, picks),
        (Shape::Spread, _) => |picks| keep::<3>(Shape::Spread, picks),
    }
}

/// Which nodes fail, by the beginnings of their ids.
const FAILURES: [(&str, &[&str]); 6] = [
    ("a node", &["fra-00"]),
    ("a site", &["fra"]),
    ("a site and the next tier", &["fra", "reg"]),
    ("two sites", &["fra", "lon"]),
    ("the tier", &["fra", "lon", "nyc"]),
    ("the next tier", &["reg"]),
];

fn fail(simulation: &mut Simulation, prefixes: &[&str]) {
    let topology = simulation.snapshot().topology();
    let is_bad = |id: &str| prefixes.iter().any(|prefix| id.starts_with(prefix));
    let bad: Vec<NodeIndex> = topology
        .indexed_nodes()
        .filter(|(_, node)| is_bad(&node.id))
        .map(|(index, _)| index)
        .collect();
    for node in bad {
        simulation.set_fault(node, Fault::Failing);
    }
}

/// Requests that nobody answered within half a minute of a failure, for each million.
fn unanswered(prefixes: &[&str], shape: Shape, tried: usize) -> u64 {
    let fleet = Fleet {
        has_regional: true,
        candidates: 8,
        ..Fleet::default()
    };
    let mut simulation = fleet.simulate(600.0, 31);
    simulation.attempts = tries(shape, tried);
    simulation.run_until(seconds(20));
    simulation.take_report();
    fail(&mut simulation, prefixes);
    simulation.run_until(seconds(50));
    let report = simulation.take_report();
    report.unanswered * 1_000_000 / report.requests.max(1)
}

/// What each shape fails of, with so many tries.
fn compare(tried: usize) -> Vec<(&'static str, [u64; 3])> {
    println!("{tried} tries; unanswered of a million within half a minute");
    let compared = FAILURES.iter().map(|(what, prefixes)| {
        let failed = SHAPES.map(|shape| unanswered(prefixes, shape, tried));
        let [one_tier, one_site, spread] = failed;
        println!("{what}: {one_tier} of one tier, {one_site} of one site, {spread} spread");
        (*what, failed)
    });
    compared.collect()
}

#[test]
fn the_default_list_fails_least() {
    for (what, [one_tier, one_site, spread]) in compare(3) {
        assert!(spread <= one_tier && spread <= one_site, "{what}");
    }
}

/// `cargo test --release --test simulation -- --ignored --nocapture table_of_lists`
#[test]
#[ignore = "a minute: the table of docs/benchmarks.md"]
fn table_of_lists() {
    compare(3);
    compare(2);
}

/// The lists that the engine makes by default are of that shape.
#[test]
fn edge_nodes_refuse_and_the_regional_tier_answers() {
    let fleet = Fleet {
        has_regional: true,
        ..Fleet::default()
    };
    let mut simulation = fleet.simulate(600.0, 32);
    simulation.run_until(seconds(20));
    simulation.take_report();
    fail(&mut simulation, &["fra", "lon", "nyc"]);
    simulation.run_until(seconds(80));
    let report = simulation.take_report();
    assert_eq!(report.empty, 0);
    assert_eq!(report.unanswered, 0, "of {}", report.requests);
}
