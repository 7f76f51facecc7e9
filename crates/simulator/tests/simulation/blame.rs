//! Whose fault a failure is: the node's, the object's or one client's.

use std::sync::Arc;

use tradewind_engine::control::event::Event;
use tradewind_engine::evaluate::Reason;
use tradewind_engine::geo::Location;
use tradewind_engine::model::NodeIndex;
use tradewind_engine::signal::{Admission, NodeSignals};
use tradewind_simulator::Simulation;
use tradewind_simulator::node::Fault;
use tradewind_simulator::world::{Habit, What};

use crate::fleet::{Fleet, node, seconds};

/// Milliseconds from a fault of one node to its breaker open, at so many requests per second and node.
fn time_to_open(fault: Fault, rate_per_node: f64, seed: u64) -> Option<u64> {
    let mut simulation = Fleet::default().simulate(rate_per_node * 9.0, seed);
    let bad = node(&simulation, "fra-01");
    simulation.run_until(seconds(20));
    simulation.set_fault(bad, fault);
    (1..=600).find_map(|tick| {
        simulation.run_until(seconds(20).plus(tick * 100));
        let admission = simulation.snapshot().signals().node(bad).admission;
        (admission == Admission::BreakerOpen).then_some(tick * 100)
    })
}

#[test]
fn a_failing_node_is_left_as_fast_as_ever() {
    for fault in [Fault::Failing, Fault::Hanging, Fault::Flapping(10.0)] {
        for rate in [5.0, 50.0, 500.0] {
            let mut times: Vec<u64> = (1..=5)
                .map(|seed| time_to_open(fault, rate, seed).expect("it is left"))
                .collect();
            times.sort_unstable();
            println!("{fault:?} at {rate} requests/s and node: left after {times:?} ms");
        }
    }
}

/// How a stretch of time went for everybody but the objects and clients that something is wrong with.
#[derive(Debug)]
struct Quiet {
    /// Changes of breakers.
    transitions: usize,
    /// Of 300 ordinary keys from each place, those that had another first node at the end of some second.
    moved: usize,
}

/// First nodes of ordinary keys, from every client.
fn first_nodes(simulation: &Simulation, clients: &[Location]) -> Vec<Option<NodeIndex>> {
    let asked = clients.iter().flat_map(|client| {
        let keys = 15_000..15_300;
        keys.map(|key| {
            simulation
                .ask(key, Some(*client))
                .picks
                .first()
                .map(|pick| pick.node)
        })
    });
    asked.collect()
}

/// Lets `lasting_s` pass, and looks every second.
fn watch(simulation: &mut Simulation, clients: &[Location], lasting_s: u64) -> Quiet {
    let before = first_nodes(simulation, clients);
    let mut moved = vec![false; before.len()];
    let since = simulation.events().len();
    for _ in 0..lasting_s {
        simulation.run_until(simulation.now().plus(1_000));
        let now = first_nodes(simulation, clients);
        for (moved, (before, now)) in moved.iter_mut().zip(before.iter().zip(now)) {
            *moved |= *before != now;
        }
    }
    let events = simulation.events().iter().skip(since);
    Quiet {
        transitions: events
            .filter(|event| matches!(event, Event::Breaker { .. }))
            .count(),
        moved: moved.iter().filter(|moved| **moved).count(),
    }
}

/// Six sites of three nodes, a client beside each, and a tier behind them that nobody asks while all is well.
fn six_sites() -> Fleet {
    Fleet {
        sites: 6,
        has_regional: true,
        ..Fleet::default()
    }
}

/// A key beyond all that are asked for otherwise.
const BAD_URL: u64 = 1 << 33;

/// F2: one URL for which the origin answers 500, at a share of one city's requests, with two more tries each.
fn one_url_fails_everywhere(share: f64, seed: u64) {
    let fleet = six_sites();
    let mut simulation = fleet.simulate(900.0, seed);
    simulation.run_until(seconds(120));
    simulation.take_report();
    simulation.world.failing.insert(BAD_URL, 500);
    simulation.world.habits = vec![Habit {
        client: 0,
        share,
        what: What::Key(BAD_URL),
    }];
    let quiet = watch(&mut simulation, &fleet.clients(), 120);
    let failing = simulation.control().blame().failing();
    println!("{share} of a city ask for a URL that fails: {quiet:?}, {failing:?}");
    assert_eq!((quiet.transitions, quiet.moved), (0, 0), "{quiet:?}");
    let [object] = failing.as_slice() else {
        panic!("{failing:?}");
    };
    assert!(object.nodes.len() >= 2 && object.status == 500 && !object.is_late);
    // It is served again, and forgotten ten seconds later.
    simulation.world.failing.clear();
    simulation.run_until(simulation.now().plus(12_000));
    assert_eq!(simulation.control().blame().failing(), []);
    let told = simulation.events().iter().filter_map(|event| match event {
        Event::Object { lasted_ms, .. } => Some(lasted_ms.is_some()),
        _ => None,
    });
    assert_eq!(
        told.collect::<Vec<_>>(),
        [false, true],
        "it begins and ends once"
    );
}

#[test]
fn one_url_that_fails_everywhere_blames_no_node() {
    one_url_fails_everywhere(0.1, 21);
    one_url_fails_everywhere(0.3, 22);
}

/// The same at an origin that fails for one of thirty objects, each asked for now and then.
#[test]
fn many_urls_that_fail_everywhere_blame_no_node() {
    let fleet = six_sites();
    let mut simulation = fleet.simulate(900.0, 23);
    simulation.run_until(seconds(120));
    simulation.take_report();
    simulation
        .world
        .failing
        .extend((0..15_000).step_by(30).map(|key| (key, 503)));
    let quiet = watch(&mut simulation, &fleet.clients(), 60);
    println!("an origin fails for one object of thirty: {quiet:?}");
    assert_eq!((quiet.transitions, quiet.moved), (0, 0), "{quiet:?}");
}

/// F3: one client, 12 % of a city's requests, is told 429 by every node.
#[test]
fn a_client_over_its_limit_moves_nobody() {
    let fleet = six_sites();
    let mut simulation = fleet.simulate(900.0, 24);
    simulation.run_until(seconds(120));
    simulation.take_report();
    simulation.world.habits = vec![Habit {
        client: 0,
        share: 0.12,
        what: What::Limited,
    }];
    let quiet = watch(&mut simulation, &fleet.clients(), 120);
    println!("a client over its limit: {quiet:?}");
    assert_eq!((quiet.transitions, quiet.moved), (0, 0), "{quiet:?}");
}

/// F3: one node of three sheds everything: its neighbours take its keys within seconds, and the site keeps its clients.
#[test]
fn a_node_that_sheds_loses_its_keys_to_its_neighbours() {
    let fleet = six_sites();
    let mut simulation = fleet.simulate(900.0, 25);
    simulation.run_until(seconds(120));
    simulation.take_report();
    let (shedding, clients) = (node(&simulation, "fra-01"), fleet.clients());
    let before = first_nodes(&simulation, &clients);
    simulation.set_fault(shedding, Fault::Shedding);
    simulation.run_until(simulation.now().plus(3_000));
    let report = simulation.take_report();
    let after = first_nodes(&simulation, &clients);
    let topology = Arc::clone(&simulation.snapshot().parts().topology);
    let site = |node: Option<NodeIndex>| node.map(|node| topology.site_of(node));
    let (mut left, mut stayed) = (0, 0);
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(site(*before), site(*after), "everybody stays in town");
        if *before == Some(shedding) {
            left += usize::from(after != before);
            stayed += usize::from(after == before);
        } else {
            assert_eq!(before, after, "keys of other nodes stay");
        }
    }
    println!(
        "a node sheds: {left} keys left it, {stayed} stay; {} of {} requests were told 429 in 3 s",
        report.unanswered, report.requests
    );
    assert!(stayed * 50 <= left, "{stayed} of {left}");
    assert!(report.unanswered * 20 < report.requests, "{report:?}");
    simulation.take_report();
    simulation.run_until(simulation.now().plus(30_000));
    let standing = first_nodes(&simulation, &clients);
    assert!(
        standing
            .iter()
            .zip(&before)
            .all(|(now, before)| site(*now) == site(*before))
    );
    simulation.set_fault(shedding, Fault::None);
    simulation.run_until(simulation.now().plus(120_000));
    assert_eq!(first_nodes(&simulation, &clients), before, "they return");
}

/// A client over its limit was told 429 by the one node that it asked; the nodes of other sites, which nobody asked
/// anything, were taken to shed nothing, and node after node was left.
#[test]
fn a_client_over_its_limit_with_nobody_beside_moves_nobody() {
    let fleet = Fleet {
        sites: 4,
        nodes_per_site: 1,
        ..Fleet::default()
    };
    let clients = fleet.clients();
    let mut simulation = fleet.simulate(30.0, 33);
    simulation.traffic().clients.truncate(1);
    simulation.world.habits = vec![Habit {
        client: 0,
        share: 1.0,
        what: What::Limited,
    }];
    let quiet = watch(&mut simulation, &clients, 30);
    assert_eq!((quiet.transitions, quiet.moved), (0, 0), "{quiet:?}");
}

/// F5b: the origin takes 1.5 s for one object of twenty. With the timeout of old, of 1 s, each of them fails at every node
/// that is asked; with the proxy's own, none.
#[test]
fn objects_with_a_slow_origin_blame_no_node() {
    for (patience_us, seed) in [(None, 26), (Some(15_000_000), 27)] {
        let fleet = six_sites();
        let mut simulation = fleet.simulate(900.0, seed);
        simulation.run_until(seconds(120));
        simulation.take_report();
        simulation.world.patience_us = patience_us;
        simulation.world.slow = Some((0.05, 1_500_000));
        let quiet = watch(&mut simulation, &fleet.clients(), 120);
        let report = simulation.take_report();
        println!(
            "one object of twenty takes 1.5 s, patience {patience_us:?}: {quiet:?}, {} of {} unanswered",
            report.unanswered, report.requests
        );
        assert_eq!((quiet.transitions, quiet.moved), (0, 0), "{quiet:?}");
        assert!(
            patience_us.is_none() || report.unanswered == 0,
            "{report:?}"
        );
    }
}

/// The same with objects that nobody asks for twice, at a twentieth of one city's requests.
#[test]
fn slow_objects_that_are_asked_for_once_blame_no_node() {
    let fleet = six_sites();
    let mut simulation = fleet.simulate(900.0, 28);
    simulation.run_until(seconds(120));
    simulation.take_report();
    // All that is fetched from now on is slow; what is in the caches is not.
    simulation.world.slow = Some((1.0, 1_500_000));
    simulation.world.habits = vec![Habit {
        client: 0,
        share: 0.05,
        what: What::Fresh,
    }];
    let quiet = watch(&mut simulation, &fleet.clients(), 60);
    println!("a twentieth of a city asks for fresh objects of a slow origin: {quiet:?}");
    assert_eq!(quiet.transitions, 0, "{quiet:?}");
}

/// A node that fails with one URL only, asked for one at a time, is left all the same when the next node serves it.
#[test]
fn a_node_that_fails_with_the_only_url_asked_for_is_left() {
    for fault in [Fault::Failing, Fault::Hanging, Fault::Refusing] {
        let fleet = Fleet::default();
        let mut simulation = fleet.simulate(1.0, 29);
        simulation.world.habits = (0..3)
            .map(|client| Habit {
                client,
                share: 1.0,
                what: What::Key(7),
            })
            .collect();
        simulation.run_until(seconds(60));
        simulation.take_report();
        let clients = fleet.clients();
        let owner = simulation.ask(7, Some(clients[0])).picks[0].node;
        simulation.set_fault(owner, fault);
        let mut asked = 0;
        while simulation.snapshot().signals().node(owner).admission == Admission::Admitted {
            simulation.run_until(simulation.now().plus(100));
            asked += simulation.take_report().first[owner.get()];
            // Two proxies take turns, and both must have seen five.
            assert!(asked < 20, "{fault:?}: {asked} requests and still in use");
        }
        println!("{fault:?}: left after {asked} requests for one URL");
        assert!(asked >= 5);
    }
}

fn edges(simulation: &Simulation, sites: &[&str]) -> Vec<NodeIndex> {
    let topology = simulation.snapshot().topology();
    let own = |id: &str| sites.iter().any(|site| id.starts_with(site));
    let nodes = topology.indexed_nodes().filter(|(_, node)| own(&node.id));
    nodes.map(|(index, _)| index).collect()
}

/// Breaks all nodes of some sites at 60 s, and tells whether this sidecar took itself for cut off, and what share of
/// requests nobody answered from `after_ms` on for twenty seconds.
fn sites_fail(
    fleet: &Fleet,
    sites: &[&str],
    fault: Fault,
    after_ms: u64,
) -> (bool, f64, Simulation) {
    let mut simulation = fleet.simulate(900.0, 30);
    simulation.run_until(seconds(60));
    simulation.take_report();
    for node in edges(&simulation, sites) {
        simulation.set_fault(node, fault);
    }
    simulation.run_until(seconds(60).plus(after_ms));
    let isolated = |simulation: &Simulation| simulation.events().contains(&Event::Isolated(true));
    let mut suspected = isolated(&simulation);
    simulation.take_report();
    simulation.run_until(seconds(80).plus(after_ms));
    suspected |= isolated(&simulation);
    let report = simulation.take_report();
    let unanswered = report.unanswered as f64 / report.requests as f64;
    println!(
        "{sites:?} {fault:?}: isolated {suspected}, {:.2} % unanswered",
        unanswered * 100.0
    );
    (suspected, unanswered, simulation)
}

/// F1: all edge sites refuse, the tier behind them is well.
#[test]
fn an_edge_tier_that_refuses_is_left_at_once_for_the_next() {
    let fleet = Fleet {
        has_regional: true,
        ..Fleet::default()
    };
    for fault in [Fault::Refusing, Fault::Failing] {
        let (suspected, unanswered, mut simulation) =
            sites_fail(&fleet, &["fra", "lon", "nyc"], fault, 3_000);
        assert!(unanswered < 0.01, "{unanswered} after three seconds");
        if fault == Fault::Failing {
            assert!(!suspected, "a 503 is an answer");
        }
        assert!(!simulation.snapshot().signals().isolated);
        simulation.run_until(simulation.now().plus(1_000));
        let report = simulation.take_report();
        let next_tier = report.reasons.get(&Reason::NextTier).copied().unwrap_or(0);
        assert!(
            next_tier * 100 >= report.requests * 95,
            "{:?}",
            report.reasons
        );
    }
}

/// F1: two sites of three hang, and the third answers.
#[test]
fn two_of_three_sites_hang_and_whoever_hears_the_third_is_not_cut_off() {
    let (suspected, unanswered, _) =
        sites_fail(&Fleet::default(), &["fra", "lon"], Fault::Hanging, 60_000);
    assert!(!suspected);
    assert!(unanswered < 0.05, "{unanswered}");
}

/// F1: nobody answers any more: that is this side's fault, for a minute; and when the way is back, all is as before at once.
#[test]
fn when_nobody_answers_the_sidecar_suspects_itself() {
    let all = ["fra", "lon", "nyc"];
    let fleet = Fleet::default();
    let clients = fleet.clients();
    let (suspected, _, mut simulation) = sites_fail(&fleet, &all, Fault::Hanging, 5_000);
    assert!(suspected && simulation.snapshot().signals().isolated);
    for node in edges(&simulation, &all) {
        simulation.set_fault(node, Fault::None);
    }
    simulation.take_report();
    simulation.run_until(simulation.now().plus(2_000));
    assert!(
        !simulation.snapshot().signals().isolated,
        "it ends with the first answer"
    );
    let admitted = |node: &NodeSignals| node.admission == Admission::Admitted;
    assert!(simulation.snapshot().signals().nodes.iter().all(admitted));
    simulation.take_report();
    let quiet = watch(&mut simulation, &clients, 20);
    let report = simulation.take_report();
    let is_object = |event: &Event| matches!(event, Event::Object { .. });
    assert!(
        !report.events.iter().any(is_object),
        "no object is to blame"
    );
    assert_eq!((quiet.moved, report.unanswered), (0, 0), "{quiet:?}");
}

#[test]
fn a_minute_later_what_nobody_answers_is_believed() {
    let all = ["fra", "lon", "nyc"];
    let (_, _, mut simulation) = sites_fail(&Fleet::default(), &all, Fault::Hanging, 5_000);
    simulation.run_until(seconds(60 + 59));
    assert!(simulation.snapshot().signals().isolated);
    simulation.run_until(seconds(60 + 66));
    assert!(!simulation.snapshot().signals().isolated);
}
