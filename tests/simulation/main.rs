//! The engine in virtual time: what it does when nodes fail, signals tremble, crowds come and clocks jump.
//!
//! Every run prints its seed and is the same each time.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::cast_precision_loss,
    reason = "a fleet that can not be made is a failure; counts are small"
)]

mod balance;
mod failures;
mod fleet;
mod steady;

#[test]
#[ignore = "debug"]
fn debug_share() {
    use fleet::{node, seconds};
    let mut simulation = fleet::Fleet { nodes_per_site: 10, ..fleet::Fleet::default() }.simulate(3_000.0, 3);
    let bad = node(&simulation, "fra-03");
    simulation.run_until(seconds(120));
    simulation.set_fault(bad, tradewind::engine::simulate::node::Fault::Failing);
    simulation.take_report();
    for t in 0..20 {
        if t == 4 { simulation.set_fault(bad, tradewind::engine::simulate::node::Fault::None); }
        simulation.run_until(seconds(120 + 15 * (t + 1)));
        let report = simulation.take_report();
        let s = simulation.snapshot().signals();
        println!("{} share {:.2} hot {} imb {:.2} ev {:?}", 120+15*(t+1), report.share_of(bad)*30.0, report.hot_keys, report.mean_imbalance(), report.events);
        let r: Vec<_> = (0..10).map(|k| format!("{:.2}/{:.2}/{:.2}", report.share_of(tradewind::engine::model::NodeIndex(k))*30.0, s.nodes[k as usize].headroom, s.nodes[k as usize].weight_factor)).collect();
        println!("   {}", r.join(" "));
        let reasons: Vec<_> = report.reasons.iter().collect();
        println!("   {reasons:?}");
    }
}
