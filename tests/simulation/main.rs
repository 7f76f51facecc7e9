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
    let mut simulation = fleet::Fleet { nodes_per_site: 10, ..fleet::Fleet::default() }.simulate(1_500.0, 3);
    let bad = node(&simulation, "fra-03");
    simulation.run_until(seconds(60));
    simulation.set_fault(bad, tradewind::engine::simulate::node::Fault::Failing);
    simulation.take_report();
    for t in 0..45 {
        if t == 15 { simulation.set_fault(bad, tradewind::engine::simulate::node::Fault::None); }
        simulation.run_until(seconds(60 + 4 * (t + 1)));
        let report = simulation.take_report();
        let s = simulation.snapshot().signals();
        let op = simulation.snapshot().policy().operation().clone();
        let r = simulation.control().node_report(simulation.now(), bad, &op).unwrap();
        println!("{} share {:.3} hot {} imb {:.2} adm {:?} den {} b {:?} ev {:?}", 60+4*(t+1), report.share_of(bad)*30.0, report.hot_keys, report.mean_imbalance(), s.nodes[3].admission, r.ejection_denied, r.notes.breaker, report.events);
    }
}
