//! Candidates that are rolled out over a simulated fleet, by the engine's own steward and guards.

mod guards;
mod warmth;

use tradewind_engine::lifecycle::{Event, RolloutRequest};
use tradewind_engine::snapshot::Cohort;
use tradewind_simulator::governed::Governed;
use tradewind_simulator::node::NodeModel;
use tradewind_simulator::rivals::Chooser;
use tradewind_simulator::traffic::Traffic;
use tradewind_simulator::{Setup, Simulation};

use crate::fleet::Fleet;
use crate::steward::govern;

/// A policy whose one rule has these fields beside the usual ones, and whose pool `pool` has the nodes of one half.
fn policy(rollout: &str, rule: &str) -> String {
    format!(
        "apiVersion: tradewind/v1\nkind: Policy\nspec:\n  rollout: {rollout}\n  pools:\n  \
         - {{name: edge, select: {{tier: edge}}}}\n  \
         - {{name: odd, select: {{labels: {{half: odd}}}}}}\n  \
         - {{name: even, select: {{labels: {{half: even}}}}}}\n  \
         rules:\n  - {{name: all, owner: tests, rollback: none, {rule}}}\n"
    )
}

/// A fleet whose nodes are like this, under a steward with this policy.
fn governed(
    fleet: &Fleet,
    policy: &str,
    (node, traffic, seed): (NodeModel, Traffic, u64),
) -> Governed {
    let topology = fleet.topology();
    let mut simulation = Simulation::new(Setup {
        policy: fleet.policy(&topology),
        topology,
        node,
        traffic,
        chooser: Chooser::Tradewind,
        seed,
        sketch_keys: None,
    });
    simulation.has_paths = true;
    govern(&fleet.topology_text(), policy, simulation)
}

/// Begins to roll out a candidate.
fn start(governed: &mut Governed, candidate: &str, cohort: Option<Cohort>) {
    let request = RolloutRequest {
        document: candidate.into(),
        unusable: None,
        if_revision: None,
        cohort,
        stages: Vec::new(),
        is_shadow: false,
        jitter: 0.0,
        who: "ada".to_owned(),
        why: "tests".to_owned(),
    };
    let publish = governed.step(Event::StartRollout(Box::new(request)));
    assert!(
        publish.is_some_and(|it| it.candidate.is_some()),
        "it begins"
    );
}

/// The median, and the least and the most.
fn spread(mut values: Vec<f64>) -> (f64, f64, f64) {
    values.sort_by(f64::total_cmp);
    (
        values[values.len() / 2],
        values[0],
        values[values.len() - 1],
    )
}
