//! Telemetry changes, plausibly and at random: how few keys move in a minute (R4).

use tradewind_engine::control::event::Event;
use tradewind_engine::control::meter::MoveCause;
use tradewind_engine::model::NodeIndex;
use tradewind_simulator::node::Fault;

use crate::fleet::{Fleet, seconds};

/// Share of keys that the default policy lets move in a minute.
const BUDGET: f64 = 0.10;

/// The most that one change of one of nine equal nodes can move, and of one of three sites: a change that costs more than
/// a minute's share happens when nothing is owed, and is worked off.
const ONE_NODE: f64 = 1.0 / 9.0;
const ONE_SITE: f64 = 1.0 / 3.0 + 0.02;

#[test]
fn a_shift_of_telemetry_moves_few_keys_a_minute() {
    for seed in 31..33_u64 {
        let mut simulation = Fleet::default().simulate(400.0, seed);
        simulation.run_until(seconds(120));
        simulation.take_report();
        let mut draw = seed;
        let mut next = |bound: u64| {
            draw = draw.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            (draw >> 33) % bound
        };
        let (mut moved, mut minutes, mut opened) = (0.0, 0.0, 0);
        for minute in 1..=8 {
            for node in (0..9).map(NodeIndex) {
                // Up to four times as slow, and some caches empty.
                let slowness = 1.0 + next(300) as f64 / 100.0;
                if next(3) == 0 {
                    simulation.set_fault(node, Fault::Slow(slowness));
                }
                if next(6) == 0 {
                    simulation.restart(node);
                }
            }
            simulation.run_until(seconds(120 + 60 * minute));
            let report = simulation.take_report();
            assert!(report.disruption.excess <= 0.0, "{:?}", report.disruption);
            let is_opening = |event: &&Event| matches!(event, Event::Breaker { .. });
            let breakers = report.events.iter().filter(is_opening).count();
            let levels = report
                .events
                .iter()
                .filter(|event| matches!(event, Event::Condition { .. }))
                .count();
            println!(
                "seed {seed}, minute {minute}: {:.3} of probe keys moved, {levels} levels, {breakers} breakers",
                report.disruption.moved
            );
            opened += breakers;
            if opened > 0 {
                // What breakers move is not bound by the budget.
                break;
            }
            let of_sites = report.disruption.by_cause[MoveCause::SiteTerms as usize];
            let of_nodes = report.disruption.moved - of_sites;
            assert!(of_nodes <= BUDGET + ONE_NODE, "{of_nodes} by nodes");
            moved += report.disruption.moved;
            minutes += 1.0;
            // The bucket holds a minute's share at first. A site that was left may come back at once, and pays later.
            assert!(
                moved <= BUDGET * (1.0 + minutes) + ONE_NODE + 2.0 * ONE_SITE,
                "{moved} in {minutes} minutes"
            );
        }
    }
}
