//! One of three that tell lies, is cut off, or comes back with old news: what that changes for the others. Nothing.

use tradewind_engine::control::event::Event;
use tradewind_engine::health::breaker::State;
use tradewind_engine::model::NodeIndex;
use tradewind_engine::signal::Admission;
use tradewind_engine::signal::observation::Reporter;
use tradewind_engine::time::Moment;
use tradewind_simulator::Simulation;
use tradewind_simulator::node::Fault;
use tradewind_simulator::tellers::{Lie, Tellers};

use crate::fleet::{Fleet, node, seconds};

const LIAR: Reporter = Reporter(2);

/// Three proxies before 12 nodes in three sites.
fn three(rate: f64, seed: u64) -> Simulation {
    let fleet = Fleet {
        nodes_per_site: 4,
        ..Fleet::default()
    };
    let mut simulation = fleet.simulate(rate, seed);
    simulation.tellers.count = 3;
    simulation
}

/// The first nodes of some hundred keys, for a client beside each site.
fn first_nodes(simulation: &Simulation) -> Vec<Option<NodeIndex>> {
    let clients = Fleet::default().clients();
    let keys = (10_000..10_200).flat_map(|key| clients.iter().map(move |client| (key, *client)));
    let first = |(key, client)| {
        let picks = simulation.ask(key, Some(client)).picks;
        picks.first().map(|pick| pick.node)
    };
    keys.map(first).collect()
}

/// What the fleet and its clients look like after eighty seconds, of which the last fifty with this lie.
fn after(lie: Option<Lie>, seed: u64) -> (Vec<Option<NodeIndex>>, usize, f64) {
    let mut simulation = three(600.0, seed);
    simulation.run_until(seconds(30));
    simulation.tellers.lie = lie.map(|lie| (LIAR, lie));
    simulation.take_report();
    simulation.run_until(seconds(80));
    let report = simulation.take_report();
    let breakers = report.events.iter();
    let breakers = breakers
        .filter(|event| matches!(event, Event::Breaker { .. }))
        .count();
    let mut took_us = report.took_us;
    took_us.sort_unstable();
    let p99_us = *took_us.get(took_us.len() * 99 / 100).expect("requests");
    (first_nodes(&simulation), breakers, p99_us as f64 / 1_000.0)
}

/// One reporter emptied a healthy site, kept a slow node in use, or moved a whole group of clients, by any of six ways.
#[test]
fn no_lie_of_one_of_three_changes_a_decision() {
    let seed = 21;
    let (truth, none, usual_p99) = after(None, seed);
    assert_eq!(none, 0);
    for lie in [
        Lie::AllFail,
        Lie::AllWell,
        Lie::Took(600_000_000),
        Lie::Took(1),
        Lie::Caches(true),
        Lie::Caches(false),
        Lie::Utilisation(10.0),
        Lie::Utilisation(0.0),
        Lie::Histogram(599_000_000),
        Lie::Histogram(1),
    ] {
        let (told, breakers, p99) = after(Some(lie), seed);
        let moved = truth.iter().zip(&told).filter(|(a, b)| a != b).count();
        println!(
            "{lie:?}: {moved} of {} moved, p99 {p99:.1} ms beside {usual_p99:.1} ms",
            truth.len()
        );
        assert_eq!((moved, breakers), (0, 0), "{lie:?}");
        assert!(
            (0.9..1.1).contains(&(p99 / usual_p99)),
            "{lie:?}: {p99} beside {usual_p99}"
        );
    }
}

#[test]
fn one_of_three_that_lies_is_named_and_forgotten_when_it_ends() {
    let mut simulation = three(400.0, 22);
    simulation.run_until(seconds(30));
    simulation.tellers.lie = Some((LIAR, Lie::AllFail));
    simulation.take_report();
    simulation.run_until(seconds(120));
    let told = |simulation: &mut Simulation| -> Vec<(Reporter, bool)> {
        let events = simulation.take_report().events;
        let told = events.iter().filter_map(|event| match event {
            Event::Disagreement {
                reporter, is_over, ..
            } => Some((*reporter, *is_over)),
            _ => None,
        });
        told.collect()
    };
    assert_eq!(told(&mut simulation), [(LIAR, false)]);
    simulation.tellers.lie = None;
    // What it said counts for as long as a window is.
    simulation.run_until(seconds(120 + 420));
    assert_eq!(told(&mut simulation), [(LIAR, true)]);
}

/// A reporter kept failures of a minute to itself and told them five minutes later: the site was left.
#[test]
fn old_news_is_no_news() {
    let mut simulation = three(400.0, 23);
    simulation.run_until(seconds(30));
    let before = first_nodes(&simulation);
    let bad = node(&simulation, "fra-03");
    simulation.tellers.withheld = Some(LIAR);
    simulation.tellers.cut_off = Some((LIAR, bad));
    simulation.run_until(seconds(90));
    simulation.tellers.cut_off = None;
    simulation.run_until(seconds(300));
    simulation.tellers.withheld = None;
    simulation.take_report();
    simulation.run_until(seconds(330));
    let report = simulation.take_report();
    assert_eq!(report.events, [], "nothing happens");
    assert_eq!(first_nodes(&simulation), before);
}

/// One of three that had lost its own way to a node kept it out for all: closing gave everybody a veto.
#[test]
fn a_node_that_one_of_three_does_not_reach_is_back_for_the_others() {
    for seed in [24, 25, 26] {
        let mut simulation = three(1_200.0, seed);
        let bad = node(&simulation, "fra-03");
        simulation.run_until(seconds(30));
        simulation.set_fault(bad, Fault::Failing);
        simulation.run_until(seconds(35));
        assert_eq!(admission(&simulation, bad), Admission::BreakerOpen);
        simulation.set_fault(bad, Fault::None);
        simulation.tellers = Tellers {
            cut_off: Some((LIAR, bad)),
            ..simulation.tellers
        };
        let tried = until(&mut simulation, bad, |admission| {
            matches!(admission, Admission::Probing { .. })
        });
        let back = until(&mut simulation, bad, |admission| {
            admission == Admission::Admitted
        });
        println!("tried for {} ms", back.since(tried));
        assert!(back.since(tried) <= 10_000, "{} ms", back.since(tried));
        // And it stays: one of three is no majority.
        simulation.take_report();
        simulation.run_until(back.plus(60_000));
        let events = simulation.take_report().events;
        let opened = |event: &&Event| {
            matches!(
                event,
                Event::Breaker {
                    to: State::Open { .. },
                    ..
                }
            )
        };
        assert_eq!(events.iter().find(opened), None);
    }
}

/// One reporter closed the breaker of a node that failed still, as often as it liked.
#[test]
fn a_node_that_fails_still_is_not_brought_back_by_one_of_three() {
    let mut simulation = three(1_200.0, 27);
    let bad = node(&simulation, "fra-03");
    simulation.run_until(seconds(30));
    simulation.set_fault(bad, Fault::Failing);
    simulation.tellers.lie = Some((LIAR, Lie::AllWell));
    simulation.take_report();
    simulation.run_until(seconds(150));
    let report = simulation.take_report();
    let events = report.events.iter();
    let closed = events.filter(|event| {
        matches!(
            event,
            Event::Breaker {
                to: State::Closed,
                ..
            }
        )
    });
    assert_eq!(closed.count(), 0, "{:?}", report.events);
    assert_ne!(admission(&simulation, bad), Admission::Admitted);
}

/// The share of its keys that a node still has, as of those it had before.
fn kept(simulation: &Simulation, before: &[Option<NodeIndex>], node: NodeIndex) -> (usize, usize) {
    let had = before.iter().filter(|first| **first == Some(node)).count();
    let after = first_nodes(simulation);
    let has = after.iter().filter(|first| **first == Some(node)).count();
    (has, had)
}

/// One reporter kept a node in use that was ten times as slow, by telling that it was quick: all of its keys after forty seconds.
#[test]
fn a_slow_node_is_left_whatever_one_of_three_says_of_it() {
    let mut simulation = three(1_200.0, 29);
    let bad = node(&simulation, "fra-03");
    simulation.run_until(seconds(30));
    let before = first_nodes(&simulation);
    simulation.tellers.lie = Some((LIAR, Lie::Took(1)));
    simulation.set_fault(bad, Fault::Slow(10.0));
    simulation.run_until(seconds(50));
    let (has, had) = kept(&simulation, &before, bad);
    println!("after 20 s it has {has} of {had} keys");
    assert!(10 * has <= had, "{has} of {had}");
}

/// One that called two sites failed made the sidecar doubt itself, and a node that did fail kept three times its keys.
#[test]
fn a_node_that_fails_beside_one_of_three_that_calls_all_failed_is_left() {
    for lie in [Lie::AllFail, Lie::AllWell] {
        let mut simulation = three(1_200.0, 30);
        let bad = node(&simulation, "lon-01");
        simulation.run_until(seconds(30));
        simulation.tellers.lie = Some((LIAR, lie));
        simulation.run_until(seconds(60));
        simulation.take_report();
        simulation.set_fault(bad, Fault::Failing);
        let left = until(&mut simulation, bad, |admission| {
            admission != Admission::Admitted
        });
        let took_ms = left.since(seconds(60));
        let events = simulation.take_report().events;
        println!("{lie:?}: left after {took_ms} ms");
        assert!(took_ms <= 5_000, "{lie:?}: {took_ms} ms");
        assert!(!events.contains(&Event::Isolated(true)), "{lie:?}");
        assert_eq!(openings(&events), 1, "{lie:?}: no other");
    }
}

/// At a third of a request a second by each proxy, or one in ten seconds, the honest two may both be silent by chance for
/// several mean pauses: a dozen openings in two hours when five of these were enough.
#[test]
fn a_liar_of_three_ejects_no_node_that_is_seldom_asked() {
    for (rate, minutes, seed) in [(12.0, 10, 28), (12.0, 10, 33), (3.6, 20, 31)] {
        let mut simulation = three(rate, seed);
        simulation.run_until(seconds(60));
        simulation.tellers.lie = Some((LIAR, Lie::AllFail));
        simulation.take_report();
        simulation.run_until(seconds(60 + 60 * minutes));
        let opened = openings(&simulation.take_report().events);
        println!("{rate} requests/s, seed {seed}: {opened} openings in {minutes} minutes");
        assert_eq!(opened, 0, "{rate} requests/s, seed {seed}");
    }
}

fn openings(events: &[Event]) -> usize {
    let opened = events.iter().filter(|event| {
        matches!(
            event,
            Event::Breaker {
                to: State::Open { .. },
                ..
            }
        )
    });
    opened.count()
}

fn admission(simulation: &Simulation, node: NodeIndex) -> Admission {
    simulation.snapshot().signals().node(node).admission
}

/// Lets time pass until a node is admitted so.
fn until(simulation: &mut Simulation, node: NodeIndex, is: impl Fn(Admission) -> bool) -> Moment {
    let end = simulation.now().plus(120_000);
    while !is(admission(simulation, node)) {
        assert!(simulation.now() < end, "two minutes are over");
        let next = simulation.now().plus(100);
        simulation.run_until(next);
    }
    simulation.now()
}
