//! Nodes that turn slow, fail, hang and flap: how fast they are left, and how they come back.

use tradewind_engine::control::event::Event;
use tradewind_engine::evaluate::{Reason, Rung};
use tradewind_engine::health::breaker::State;
use tradewind_engine::model::NodeIndex;
use tradewind_engine::signal::{Admission, NodeSignals};
use tradewind_simulator::Simulation;
use tradewind_simulator::node::Fault;

use crate::fleet::{Fleet, node, seconds};

/// 30 nodes in three sites of ten, so that a node's fair share is 1/30.
fn fleet() -> Fleet {
    Fleet {
        nodes_per_site: 10,
        ..Fleet::default()
    }
}

/// The share of a node in the next `length` seconds, over what it had in quiet times.
fn share(simulation: &mut Simulation, node: NodeIndex, length: u64, usual: f64) -> f64 {
    simulation.take_report();
    let until = simulation.now().plus(length * 1_000);
    simulation.run_until(until);
    simulation.take_report().share_of(node) / usual
}

/// Breaks a node at 60 s for `broken_s`, and tells its share 20 s later and two minutes after it is well again.
fn left_and_back(fault: Fault, broken_s: u64, seed: u64) -> (f64, f64, usize) {
    let mut simulation = fleet().simulate(1_500.0, seed);
    let bad = node(&simulation, "fra-03");
    simulation.run_until(seconds(30));
    simulation.take_report();
    simulation.run_until(seconds(60));
    let usual = simulation.take_report().share_of(bad);
    assert!(
        (0.02..0.05).contains(&usual),
        "a fair share is 1/30: {usual}"
    );
    simulation.set_fault(bad, fault);
    simulation.run_until(seconds(80));
    let left = share(&mut simulation, bad, 10, usual);
    simulation.run_until(seconds(60 + broken_s));
    simulation.set_fault(bad, Fault::None);
    simulation.take_report();
    simulation.run_until(seconds(60 + broken_s + 120));
    let openings = simulation
        .events()
        .iter()
        .filter(|event| matches!(event, Event::Breaker { to: State::Open { .. }, node, .. } if *node != bad))
        .count();
    let back = share(&mut simulation, bad, 20, usual);
    println!(
        "{fault:?} for {broken_s} s: {:.1} % of its fair share after 20 s, {:.1} % two minutes after",
        left * 100.0,
        back * 100.0
    );
    (left, back, openings)
}

fn check(fault: Fault, broken_s: u64, seed: u64) {
    let (left, back, others) = left_and_back(fault, broken_s, seed);
    assert!(
        left <= 0.10,
        "{fault:?}: still {left} of its fair share after 20 s"
    );
    assert!(
        back >= 0.90,
        "{fault:?}: only {back} of its fair share two minutes after"
    );
    assert_eq!(others, 0, "no other node's breaker opened");
}

#[test]
fn a_node_ten_times_slower_is_left_and_comes_back() {
    check(Fault::Slow(10.0), 60, 3);
}

#[test]
fn a_node_that_fails_fast_does_not_attract_traffic() {
    check(Fault::Failing, 60, 3);
}

#[test]
fn a_node_that_hangs_is_left_and_comes_back() {
    check(Fault::Hanging, 60, 3);
}

#[test]
fn a_flapping_node_is_left_and_changes_few_answers() {
    check(Fault::Flapping(10.0), 60, 3);
    flap_for_five_minutes(10.0);
}

#[test]
#[ignore = "three minutes: the same for longer, and for slower and faster flapping"]
fn failures_that_last() {
    for fault in [Fault::Slow(10.0), Fault::Failing, Fault::Hanging] {
        check(fault, 200, 4);
    }
    for hertz in [1.0, 10.0, 100.0] {
        check(Fault::Flapping(hertz), 60, 3);
        check(Fault::Flapping(hertz), 200, 4);
        flap_for_five_minutes(hertz);
    }
}

fn flap_for_five_minutes(hertz: f64) {
    let mut simulation = fleet().simulate(1_500.0, 5);
    let bad = node(&simulation, "fra-03");
    simulation.run_until(seconds(30));
    simulation.set_fault(bad, Fault::Flapping(hertz));
    simulation.take_report();
    simulation.run_until(seconds(30 + 300));
    let report = simulation.take_report();
    let is_return = |event: &&Event| {
        matches!(
            event,
            Event::Breaker {
                to: State::Closed,
                ..
            }
        )
    };
    let closings = report.events.iter().filter(is_return).count();
    println!(
        "flapping at {hertz} Hz for 5 min: came back {closings} times, {:.2} % of keys moved",
        report.disruption.moved * 100.0
    );
    // Each return and each opening moves the keys of one node of thirty at most.
    assert!(closings <= 3, "came back {closings} times");
    assert!(report.disruption.moved <= 7.0 / 30.0 && report.disruption.excess <= 0.0);
}

#[test]
fn a_pool_whose_nodes_all_fail_gives_way_to_the_next_tier() {
    let fleet = Fleet {
        has_regional: true,
        ..Fleet::default()
    };
    let mut simulation = fleet.simulate(1_000.0, 6);
    simulation.run_until(seconds(30));
    for k in 0..9 {
        simulation.set_fault(NodeIndex(edge(&simulation, k)), Fault::Failing);
    }
    simulation.take_report();
    // They answer, though with 503: this sidecar is not cut off, and leaves them at once.
    simulation.run_until(seconds(33));
    let report = simulation.take_report();
    assert_eq!(report.empty, 0, "an answer always");
    assert!(!report.events.contains(&Event::Isolated(true)));
    simulation.run_until(seconds(60));
    assert_eq!(simulation.take_report().unanswered, 0);
    simulation.run_until(seconds(120));
    simulation.take_report();
    simulation.run_until(seconds(130));
    let report = simulation.take_report();
    assert_eq!(report.empty, 0);
    assert_eq!(report.unanswered, 0);
    let next_tier = report.reasons.get(&Reason::NextTier).copied().unwrap_or(0);
    assert!(
        next_tier * 100 >= report.requests * 99,
        "{:?}",
        report.reasons
    );
    for k in 0..9 {
        simulation.set_fault(NodeIndex(edge(&simulation, k)), Fault::None);
    }
    simulation.run_until(seconds(130 + 240));
    simulation.take_report();
    simulation.run_until(seconds(130 + 250));
    let report = simulation.take_report();
    let normal = report.rungs.get(&Rung::Normal).copied().unwrap_or(0);
    assert!(normal * 100 >= report.requests * 95, "{:?}", report.rungs);
}

/// The k-th edge node's position.
fn edge(simulation: &Simulation, k: u32) -> u32 {
    let topology = simulation.snapshot().topology();
    let edges = topology
        .indexed_nodes()
        .filter(|(_, node)| topology.site(node.site).tier.get() == 0);
    edges
        .map(|(index, _)| index.0)
        .nth(k as usize)
        .expect("nine edge nodes")
}

#[test]
fn everything_fails_and_something_is_named_still() {
    let mut simulation = Fleet::default().simulate(500.0, 7);
    simulation.run_until(seconds(30));
    for k in 0..9 {
        simulation.set_fault(NodeIndex(k), Fault::Hanging);
    }
    simulation.run_until(seconds(150));
    simulation.take_report();
    simulation.run_until(seconds(200));
    let report = simulation.take_report();
    assert_eq!(
        report.empty, 0,
        "0 empty lists while any admitted node exists"
    );
    let panicking = report.rungs.get(&Rung::Panic).copied().unwrap_or(0);
    assert!(panicking * 2 > report.requests, "{:?}", report.rungs);
}

#[test]
fn two_of_three_sites_fail_within_ten_seconds() {
    let mut simulation = Fleet::default().simulate(1_000.0, 8);
    simulation.run_until(seconds(30));
    let bad: Vec<NodeIndex> = simulation
        .snapshot()
        .topology()
        .indexed_nodes()
        .filter(|(_, node)| node.id.starts_with("fra") || node.id.starts_with("lon"))
        .map(|(index, _)| index)
        .collect();
    for node in &bad {
        simulation.set_fault(*node, Fault::Hanging);
    }
    simulation.take_report();
    simulation.run_until(seconds(50));
    let report = simulation.take_report();
    assert_eq!(report.empty, 0);
    assert!(
        !report.events.contains(&Event::Isolated(true)),
        "the third answers, so this side is not cut off: {:?}",
        report.events
    );
    simulation.run_until(seconds(150));
    simulation.take_report();
    simulation.run_until(seconds(160));
    let report = simulation.take_report();
    assert_eq!(report.empty, 0);
    assert!(
        report.unanswered * 20 < report.requests,
        "{} of {}",
        report.unanswered,
        report.requests
    );
}

#[test]
fn signals_go_stale_for_a_day_and_fade_to_their_priors() {
    let mut simulation = Fleet::default().simulate(200.0, 9);
    simulation.run_until(seconds(300));
    let before: Vec<_> = (10_000..10_500)
        .map(|key| first(&simulation, key))
        .collect();
    simulation.is_deaf = true;
    simulation.traffic().rate = 0.05;
    simulation.take_report();
    simulation.run_until(seconds(300 + 24 * 3_600));
    let report = simulation.take_report();
    assert_eq!(report.empty, 0);
    assert_eq!(
        report.rungs.keys().copied().collect::<Vec<_>>(),
        [Rung::Normal]
    );
    let after: Vec<_> = (10_000..10_500)
        .map(|key| first(&simulation, key))
        .collect();
    assert_eq!(before, after, "nothing was wrong, so nothing moved");
    let standing = &simulation.snapshot().signals().standing;
    assert!(
        standing
            .iter()
            .all(|site| site.miss.prior_share > 0.99 && site.error.prior_share > 0.99)
    );
}

fn first(simulation: &Simulation, key: u64) -> Option<NodeIndex> {
    simulation
        .ask(key, None)
        .picks
        .first()
        .map(|pick| pick.node)
}

#[test]
fn f47_a_clock_that_jumps_ejects_nothing() {
    const HOUR_MS: i64 = 3_600_000;
    for jump_ms in [HOUR_MS, -HOUR_MS, 24 * HOUR_MS, -24 * HOUR_MS] {
        let mut simulation = Fleet::default().simulate(300.0, 15);
        // Two days in, so that there is room to jump back.
        simulation.clock_offset_ms = 48 * HOUR_MS;
        simulation.run_until(seconds(60));
        simulation.take_report();
        simulation.clock_offset_ms += jump_ms;
        simulation.run_until(seconds(120));
        let report = simulation.take_report();
        let changes = report
            .events
            .iter()
            .filter(|event| matches!(event, Event::Breaker { .. } | Event::Isolated(_)));
        assert_eq!(changes.count(), 0, "{jump_ms} ms: {:?}", report.events);
        assert_eq!(
            report.rungs.keys().copied().collect::<Vec<_>>(),
            [Rung::Normal]
        );
        let admitted =
            |node: &NodeSignals| node.admission == Admission::Admitted && node.weight_factor >= 1.0;
        assert!(simulation.snapshot().signals().nodes.iter().all(admitted));
    }
}
