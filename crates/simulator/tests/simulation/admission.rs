//! More is asked for than a fleet can do: who is served, and how much is served in all.

use tradewind_engine::control::event::Event;
use tradewind_engine::policy::Priority;
use tradewind_simulator::Simulation;
use tradewind_simulator::report::Report;

use crate::fleet::{Fleet, seconds};

/// What the six nodes can do together, in requests a second.
const CAPACITY: f64 = 2_400.0;

/// Two sites of three nodes, 400 requests a second each.
const SITES: Fleet = Fleet {
    sites: 2,
    nodes_per_site: 3,
    capacity: |_| 40,
    has_regional: false,
    candidates: 3,
    spec: "",
    rules: "  - {name: critical, owner: test, rollback: none, priority: critical, match: {classes: [critical]}, pools: [edge]}\n",
};

/// The same with a bound on what nodes are used.
const BOUNDED: Fleet = Fleet {
    spec: "  classes: [{name: critical}]\n  overload: {max_utilisation_percent: 90}\n  retries: {budget_percent: 20}\n",
    ..SITES
};

/// The same without.
const UNBOUNDED: Fleet = Fleet {
    spec: "  classes: [{name: critical}]\n",
    ..SITES
};

/// What became of requests over a stretch of time.
#[derive(Debug)]
struct Served {
    /// Answers a second.
    goodput: f64,
    /// Share of critical requests that got no answer, whyever.
    critical_lost: f64,
    /// Share of the others that were turned away.
    others_shed: f64,
    /// Share of the others that were not turned away, and got no answer.
    others_lost: f64,
}

impl Served {
    fn of(report: &Report, seconds: u64) -> Self {
        let [low, normal, critical] = [Priority::Low, Priority::Normal, Priority::Critical]
            .map(|priority| report.of(priority));
        let others = |what: fn(&tradewind_simulator::report::Fates) -> u64| {
            (what(&low) + what(&normal)) as f64
        };
        let asked = others(|it| it.answered + it.unanswered + it.shed);
        let all = critical.answered + critical.unanswered + critical.shed;
        Self {
            goodput: (others(|it| it.answered) + critical.answered as f64) / seconds as f64,
            critical_lost: (critical.unanswered + critical.shed) as f64 / all.max(1) as f64,
            others_shed: others(|it| it.shed) / asked.max(1.0),
            others_lost: others(|it| it.unanswered) / asked.max(1.0),
        }
    }
}

/// A fleet that has been asked for 60 % of what it can do for a minute, a fifth of it critical.
fn warm(fleet: &Fleet, seed: u64) -> Simulation {
    let mut simulation = fleet.simulate(0.6 * CAPACITY, seed);
    simulation.critical_share = 0.2;
    simulation.run_until(seconds(60));
    simulation.take_report();
    simulation
}

/// From one moment to the next so much of what it can do is asked for, for so long.
fn surge(simulation: &mut Simulation, load: f64, lasts_s: u64) -> Served {
    simulation.traffic().rate = load * CAPACITY;
    let from_s = simulation.now().0 / 1_000;
    simulation.run_until(seconds(from_s + lasts_s));
    let report = simulation.take_report();
    let kinds = |wanted: fn(&Event) -> bool| report.events.iter().filter(|it| wanted(it)).count();
    println!(
        "  {} changes of breakers, {} of weights, {} of readmission, {} of terms; first: {:?}",
        kinds(|it| matches!(it, Event::Breaker { .. })),
        kinds(|it| matches!(it, Event::Condition { .. })),
        kinds(|it| matches!(it, Event::Readmission { .. })),
        kinds(|it| matches!(it, Event::SiteTerms { .. })),
        report.first,
    );
    Served::of(&report, lasts_s)
}

/// The most that the fleet answers in a second, whatever it is asked for.
fn peak(seed: u64) -> f64 {
    let loads = [0.85, 0.9, 0.95, 1.0];
    let served = loads.map(|load| surge(&mut warm(&UNBOUNDED, seed), load, 60).goodput);
    served.into_iter().fold(0.0, f64::max)
}

/// Twice of what the fleet can do is asked for from one moment to the next: critical requests are answered as ever, as many
/// others as there is room for, and what is turned away is told so at once.
#[test]
fn at_twice_its_capacity_critical_requests_are_served_and_the_rest_is_shed() {
    let seed = 51;
    let peak = peak(seed);
    let mut simulation = warm(&BOUNDED, seed);
    let served = surge(&mut simulation, 2.0, 120);
    println!("peak {peak:.0}/s; at twice the capacity: {served:?}");
    assert!(served.critical_lost <= 0.001, "{served:?}");
    assert!(served.goodput >= 0.9 * peak, "{served:?} of {peak}");
    assert!((0.5..0.8).contains(&served.others_shed), "{served:?}");
    let after = surge(&mut simulation, 0.6, 60);
    println!("and the minute after it: {after:?}");
    assert!(
        after.others_shed < 0.2 && after.others_lost < 0.001,
        "{after:?}"
    );
    let calm = surge(&mut simulation, 0.6, 30);
    assert!(calm.others_shed <= 0.0, "everything passes again: {calm:?}");
}

/// Below the bound nothing is shed, though load trembles.
#[test]
fn nothing_is_shed_while_there_is_room() {
    let mut simulation = warm(&BOUNDED, 52);
    simulation.traffic().rate = 0.75 * CAPACITY;
    simulation.run_until(seconds(180));
    let report = simulation.take_report();
    assert!(Served::of(&report, 120).others_shed <= 0.0);
    let begun = |event: &&Event| matches!(event, Event::Shedding { .. });
    assert_eq!(report.events.iter().filter(begun).count(), 0);
}

/// `cargo test --release -p tradewind-simulator -- --ignored --nocapture table_of_admission`
#[test]
#[ignore = "minutes: the table of docs/benchmarks.md"]
fn table_of_admission() {
    println!("peak {:.0}/s of {CAPACITY}", peak(51));
    for load in [2.0, 3.0, 5.0, 0.8, 1.0, 1.2, 1.5] {
        for (name, fleet) in [("with", BOUNDED), ("without", UNBOUNDED)] {
            for seed in 51..54 {
                let served = surge(&mut warm(&fleet, seed), load, 120);
                println!("{load:.1} {name:>7}: {served:?}");
            }
        }
    }
}
