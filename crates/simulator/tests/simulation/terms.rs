//! Sites that turn slow, fail, are busy or lose their caches as a whole: how fast they are left, and how they come back.
//!
//! Two sites 7 km apart, all clients beside the first: the second is idle, and nobody has measured anything there.

use std::fmt::Write as _;
use std::sync::Arc;

use tradewind_engine::control::event::Event;
use tradewind_engine::control::trials::{Blame, TrialStep};
use tradewind_engine::evaluate::Reason;
use tradewind_engine::geo::Location;
use tradewind_engine::health::breaker::{Cause, State};
use tradewind_engine::model::NodeIndex;
use tradewind_engine::policy::{self, Policy};
use tradewind_engine::topology::{self, Topology};
use tradewind_simulator::node::{Fault, NodeModel};
use tradewind_simulator::rivals::Chooser;
use tradewind_simulator::traffic::{Traffic, Zipf};
use tradewind_simulator::{Setup, Simulation};

use crate::fleet::{node, seconds};

/// Where sites stand: the second this far to the east of the first, in degrees, and so on.
struct Town {
    sites: usize,
    apart_degrees: f64,
    nodes_per_site: usize,
}

/// 7 km.
const NEIGHBOURS: Town = Town {
    sites: 2,
    apart_degrees: 0.1,
    nodes_per_site: 3,
};

const NAMES: [&str; 4] = ["near", "next", "far", "last"];

impl Town {
    fn topology(&self) -> Arc<Topology> {
        let mut text = String::from("apiVersion: tradewind/v1\nkind: Topology\nspec:\n  sites:\n");
        let sites = NAMES.iter().take(self.sites);
        for (id, east) in sites.clone().zip(0_u8..) {
            let lon = 8.0 + f64::from(east) * self.apart_degrees;
            writeln!(text, "  - {{id: {id}, lat: 50.0, lon: {lon}}}").expect("written");
        }
        text.push_str("  nodes:\n");
        for (id, site) in sites.zip(0_u8..) {
            for k in 0..self.nodes_per_site {
                writeln!(
                    text,
                    "  - {{id: {id}-{k}, site: {id}, address: \"192.0.{site}.{k}:80\"}}"
                )
                .expect("written");
            }
        }
        Arc::new(
            topology::compile("topology", &text)
                .topology
                .expect("a fleet"),
        )
    }

    /// Clients beside the first site ask `rate` times a second.
    fn simulate(&self, rate: f64, seed: u64) -> Simulation {
        println!("seed {seed}");
        let topology = self.topology();
        Simulation::new(Setup {
            policy: plain(&topology),
            topology,
            node: NodeModel {
                service_us: 5_000.0,
                fetch_us: 20_000.0,
                rate_per_capacity: rate * 10.0,
                ..NodeModel::default()
            },
            traffic: Traffic {
                rate,
                keys: Zipf::new(20_000, 0.8),
                clients: vec![Location::new(50.0, 8.0).expect("a place")],
                flash_share: 0.0,
            },
            chooser: Chooser::Tradewind,
            seed,
            sketch_keys: None,
        })
    }
}

/// Attempts have time enough: it is slowness that counts here, not failures.
fn plain(topology: &Topology) -> Arc<Policy> {
    let text = "apiVersion: tradewind/v1\nkind: Policy\nspec:\n  pools: [{name: all, select: {tier: edge}}]\n  \
                rules: [{name: all, owner: test, rollback: none, pools: [all], attempt_timeout: 5s}]\n";
    Arc::new(
        policy::compile("policy", text, topology)
            .policy
            .expect("a policy"),
    )
}

/// The nodes of a site.
fn nodes_of(simulation: &Simulation, site: &str) -> Vec<NodeIndex> {
    let nodes = simulation.snapshot().topology().indexed_nodes();
    let own = nodes.filter(|(_, node)| node.id.starts_with(site));
    own.map(|(index, _)| index).collect()
}

fn set_fault(simulation: &mut Simulation, site: &str, fault: Fault) {
    for node in nodes_of(simulation, site) {
        simulation.set_fault(node, fault);
    }
}

/// Lets `length` seconds pass, and tells the share of a site in them.
fn share(simulation: &mut Simulation, site: &str, length: u64) -> f64 {
    simulation.take_report();
    let until = simulation.now().plus(length * 1_000);
    simulation.run_until(until);
    let report = simulation.take_report();
    nodes_of(simulation, site)
        .into_iter()
        .map(|node| report.share_of(node))
        .sum()
}

/// The first second from now in which a site has no more than, or no less than, a share of the requests.
fn until_share(
    simulation: &mut Simulation,
    site: &str,
    (wanted, within_s): (impl Fn(f64) -> bool, u64),
) -> Option<u64> {
    (1..=within_s).find(|_| wanted(share(simulation, site, 1)))
}

#[test]
fn a_site_that_turns_slow_is_left_within_twenty_seconds() {
    for (apart_degrees, sites, seed) in [(0.001, 2, 51), (0.1, 2, 52), (0.1, 3, 53)] {
        for rate in [40.0, 400.0] {
            let town = Town {
                sites,
                apart_degrees,
                ..NEIGHBOURS
            };
            let mut simulation = town.simulate(rate, seed);
            simulation.run_until(seconds(120));
            assert!(share(&mut simulation, "near", 10) > 0.99);
            set_fault(&mut simulation, "near", Fault::Slow(30.0));
            let left = until_share(&mut simulation, "near", (|share| share < 0.05, 60));
            println!(
                "{sites} sites {apart_degrees} degrees apart, {rate}/s: left after {left:?} s"
            );
            assert!(left.is_some_and(|s| s <= 20), "{left:?}");
            assert!(
                share(&mut simulation, "near", 120) < 0.02,
                "and it stays so"
            );
        }
    }
}

#[test]
fn a_site_that_was_slow_from_birth_is_left_within_twenty_seconds() {
    for (rate, seed) in [(40.0, 54), (400.0, 55)] {
        let mut simulation = NEIGHBOURS.simulate(rate, seed);
        set_fault(&mut simulation, "near", Fault::Slow(30.0));
        let left = until_share(&mut simulation, "near", (|share| share < 0.05, 60));
        println!("slow from birth, {rate}/s: left after {left:?} s");
        assert!(left.is_some_and(|s| s <= 20), "{left:?}");
    }
}

#[test]
fn where_all_sites_are_slow_nobody_moves_for_long() {
    let mut simulation = NEIGHBOURS.simulate(400.0, 56);
    for site in ["near", "next"] {
        set_fault(&mut simulation, site, Fault::Slow(30.0));
    }
    simulation.run_until(seconds(120));
    for _ in 0..15 {
        let near = share(&mut simulation, "near", 60);
        assert!(near > 0.97, "{near}");
    }
}

#[test]
fn a_slow_site_piles_nothing_on_its_last_node() {
    let mut simulation = NEIGHBOURS.simulate(400.0, 57);
    simulation.run_until(seconds(300));
    set_fault(&mut simulation, "near", Fault::Slow(30.0));
    simulation.take_report();
    for _ in 0..40 {
        let until = simulation.now().plus(1_000);
        simulation.run_until(until);
        let report = simulation.take_report();
        let shares = nodes_of(&simulation, "near")
            .into_iter()
            .map(|node| report.share_of(node));
        let most = shares.fold(0.0, f64::max);
        assert!(most < 0.5, "one node has {most} of all requests");
        let ejected = report.events.iter().any(|event| {
            matches!(
                event,
                Event::Breaker {
                    to: State::Open { .. },
                    cause: Cause::Slow,
                    ..
                }
            )
        });
        assert!(!ejected, "it is the site that is slow");
    }
}

#[test]
fn a_node_that_was_slow_from_its_first_minute_loses_weight() {
    let mut simulation = NEIGHBOURS.simulate(400.0, 58);
    let slow = node(&simulation, "near-1");
    simulation.set_fault(slow, Fault::Slow(10.0));
    simulation.run_until(seconds(60));
    simulation.take_report();
    simulation.run_until(seconds(90));
    let share = simulation.take_report().share_of(slow);
    println!("a node ten times slower than its peers from birth has {share:.3} of all requests");
    assert!(share < 0.07, "{share}");
}

/// Something is wrong with the nearest site for so long: how long after it is well it has traffic again, and all of it.
fn comes_back(fault: Fault, broken_s: u64, (rate, seed): (f64, u64)) -> (Option<u64>, Option<u64>) {
    let mut simulation = NEIGHBOURS.simulate(rate, seed);
    // Caches are warm sooner where more is asked for.
    simulation.run_until(seconds(if rate > 1_000.0 { 60 } else { 400 }));
    assert!(share(&mut simulation, "near", 10) > 0.98, "all is well");
    set_fault(&mut simulation, "near", fault);
    let until = simulation.now().plus(broken_s * 1_000);
    simulation.run_until(until);
    let left = share(&mut simulation, "near", 10);
    set_fault(&mut simulation, "near", Fault::None);
    let some = until_share(&mut simulation, "near", (|share| share >= 0.05, 300));
    let all = until_share(&mut simulation, "near", (|share| share >= 0.95, 300));
    let all = some.zip(all).map(|(some, all)| some + all);
    println!(
        "{fault:?} for {broken_s} s at {rate}/s: {:.1} % when left; traffic {some:?} s, all of it {all:?} s after it is well",
        left * 100.0
    );
    assert!(
        left < if rate < 40.0 { 0.2 } else { 0.05 },
        "{fault:?} for {broken_s} s at {rate}/s: {left}"
    );
    (some, all)
}

/// At 40 requests a second and at 4,000, broken for so many seconds.
fn check_return(fault: Fault, (seed, few_s, many_s): (u64, &[u64], u64)) {
    let few = few_s.iter().map(|broken_s| (40.0, *broken_s));
    for ((rate, broken_s), seed) in few.chain([(4_000.0, many_s)]).zip(seed..) {
        check_returned(
            (fault, broken_s, rate),
            comes_back(fault, broken_s, (rate, seed)),
        );
    }
}

#[track_caller]
fn check_returned(
    (fault, broken_s, rate): (Fault, u64, f64),
    (some, all): (Option<u64>, Option<u64>),
) {
    assert!(
        some.is_some_and(|s| s <= 120),
        "{fault:?} for {broken_s} s at {rate}/s: {some:?}"
    );
    assert!(
        all.is_some_and(|s| s <= 300),
        "{fault:?} for {broken_s} s at {rate}/s: {all:?}"
    );
}

#[test]
fn a_site_that_failed_comes_back() {
    check_return(Fault::Failing, (60, &[45, 300, 3_600], 45));
}

/// Of two requests a second the usual slice would bring the ten answers of a round in eight minutes.
#[test]
fn a_site_comes_back_where_little_is_asked_for() {
    let faults = [Fault::Failing, Fault::Slow(30.0), Fault::Busy(0.97)];
    for (fault, seed) in faults.into_iter().zip([100, 110, 120]) {
        for (rate, broken_s) in [(2.0, 45), (4.0, 45), (4.0, 300), (10.0, 45), (10.0, 300)] {
            check_returned(
                (fault, broken_s, rate),
                comes_back(fault, broken_s, (rate, seed)),
            );
        }
    }
}

#[test]
fn a_site_that_was_slow_comes_back() {
    check_return(Fault::Slow(30.0), (70, &[45, 300], 45));
}

#[test]
fn a_site_that_was_busy_comes_back() {
    check_return(Fault::Busy(0.97), (80, &[45, 300], 45));
}

/// What is missed shows in the ratio of two minutes, so it takes longer until such a site is left.
#[test]
fn a_site_that_lost_its_caches_comes_back() {
    check_return(Fault::Forgetful, (90, &[150, 600], 150));
}

/// `cargo test -p tradewind-simulator -- --ignored --nocapture after_an_hour`
#[test]
#[ignore = "a minute: hours of the same"]
fn a_site_comes_back_after_an_hour() {
    let faults = [Fault::Slow(30.0), Fault::Busy(0.97), Fault::Forgetful];
    for (fault, seed) in faults.into_iter().zip([130, 131, 132]) {
        check_returned((fault, 3_600, 40.0), comes_back(fault, 3_600, (40.0, seed)));
    }
}

#[test]
fn a_trial_has_a_beginning_and_an_end() {
    let mut simulation = NEIGHBOURS.simulate(400.0, 68);
    simulation.run_until(seconds(120));
    set_fault(&mut simulation, "near", Fault::Slow(30.0));
    simulation.take_report();
    simulation.run_until(seconds(180));
    let report = simulation.take_report();
    let trials = |events: &[Event]| -> Vec<(Blame, TrialStep)> {
        let of = events.iter().filter_map(|event| match event {
            Event::SiteTrial { blame, to, .. } => Some((*blame, *to)),
            _ => None,
        });
        of.collect()
    };
    assert_eq!(trials(&report.events), [(Blame::Service, TrialStep::Begun)]);
    let tried = report.reasons.get(&Reason::Trial).copied().unwrap_or(0);
    assert!(
        tried > 0 && tried * 50 < report.requests,
        "a slice of keys: {tried} of {}",
        report.requests
    );
    set_fault(&mut simulation, "near", Fault::None);
    simulation.run_until(seconds(240));
    let report = simulation.take_report();
    assert_eq!(
        trials(&report.events),
        [(Blame::Service, TrialStep::Passed)]
    );
}
