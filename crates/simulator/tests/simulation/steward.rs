//! The real steward drives a simulated fleet: what operators and files want, and what clients see of it.

use std::sync::Arc;

use tradewind_engine::edition::Names;
use tradewind_engine::geo::ranges::Ranges;
use tradewind_engine::lifecycle::{
    Entries, Event, Geo, Start, StateChange, Steward, Target, Wanted,
};
use tradewind_engine::model::AdminState;
use tradewind_engine::snapshot::GeoState;
use tradewind_simulator::Simulation;
use tradewind_simulator::governed::Governed;

use crate::fleet::{Fleet, seconds};

const TOPOLOGY: &str = "apiVersion: tradewind/v1
kind: Topology
spec:
  sites: [{id: fra, lat: 50.11, lon: 8.68}]
  nodes:
    - {id: fra-1, site: fra, address: \"192.0.2.1:80\"}
    - {id: fra-2, site: fra, address: \"192.0.2.2:80\"}
    - {id: fra-3, site: fra, address: \"192.0.2.3:80\"}
";

const POLICY: &str = "apiVersion: tradewind/v1
kind: Policy
spec:
  pools: [{name: all}]
  rules: [{name: all, owner: tests, rollback: none, pools: [all]}]
";

/// A steward without a past, which has read these.
pub(crate) fn govern(topology: &str, policy: &str, simulation: Simulation) -> Governed {
    let steward = Steward::new(Start {
        names: Names::new("policy.yaml", "topology.yaml"),
        kept: Vec::new(),
        last_number: 0,
        rollout: None,
        states: Entries::new(),
        geo: Geo {
            ranges: Arc::new(Ranges::default()),
            state: GeoState::NotConfigured,
        },
        knows_its_place: true,
    });
    let mut governed = Governed::new(steward, simulation);
    let read = Event::Read(Wanted {
        policy: Ok(policy.into()),
        topology: Ok(topology.into()),
    });
    assert!(governed.step(read).is_some(), "the texts are good");
    governed
}

/// The node that each of some keys is sent to.
fn owners(scene: &Governed) -> Vec<String> {
    let topology = scene.simulation.snapshot().topology();
    let owner = |key| {
        let evaluation = scene.simulation.ask(key, None);
        topology.node(evaluation.picks[0].node).id.to_string()
    };
    (0..500).map(owner).collect()
}

/// The owners before and after, where they differ.
fn moves<'a>(before: &'a [String], after: &'a [String]) -> Vec<(&'a str, &'a str)> {
    let pairs = before.iter().zip(after);
    let moved = pairs.filter(|(before, after)| before != after);
    moved.map(|(before, after)| (&**before, &**after)).collect()
}

#[test]
fn a_drain_moves_the_nodes_keys_and_ends_by_itself_and_a_bad_policy_moves_none() {
    let simulation = Fleet::default().simulate(200.0, 91);
    let mut scene = govern(TOPOLOGY, POLICY, simulation);
    scene.simulation.run_until(seconds(60));
    let before = owners(&scene);
    let drain = StateChange {
        target: Target::Node("fra-2".into()),
        state: AdminState::Drain,
        lasts_ms: Some(20_000),
        who: "ada".to_owned(),
        why: "tests".to_owned(),
    };
    assert!(scene.step(Event::SetState(drain)).is_some());
    let drained = owners(&scene);
    let moved = moves(&before, &drained);
    assert!(moved.len() > 100, "about a third of the keys");
    assert!(moved.iter().all(|(from, _)| *from == "fra-2"));
    assert!(!drained.contains(&"fra-2".to_owned()));
    scene.simulation.run_until(seconds(79));
    assert!(scene.step(Event::Tick).is_none(), "it is not over yet");
    let before = owners(&scene);
    let bad = Event::Read(Wanted {
        policy: Ok("rules: [".into()),
        topology: Ok(TOPOLOGY.into()),
    });
    assert!(scene.step(bad).is_none());
    assert_eq!(owners(&scene), before, "a bad policy moves nothing");
    scene.simulation.run_until(seconds(80));
    let before = owners(&scene);
    assert!(scene.step(Event::Tick).is_some());
    let after = owners(&scene);
    let moved = moves(&before, &after);
    assert!(moved.len() > 100 && moved.iter().all(|(_, to)| *to == "fra-2"));
}
