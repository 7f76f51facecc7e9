//! The real steward drives a simulated fleet: what operators and files want, and what clients see of it.

use std::sync::Arc;

use tradewind_engine::edition::Names;
use tradewind_engine::geo::ranges::Ranges;
use tradewind_engine::lifecycle::{
    Entries, Event, Geo, Publish, Start, StateChange, Steward, Target, Wanted,
};
use tradewind_engine::model::AdminState;
use tradewind_engine::snapshot::GeoState;
use tradewind_simulator::Simulation;

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

/// A steward, and the fleet that does as it says.
struct Scene {
    steward: Steward,
    simulation: Simulation,
}

impl Scene {
    fn new() -> Self {
        let steward = Steward::new(Start {
            names: Names::new("policy.yaml", "topology.yaml"),
            kept: None,
            states: Entries::new(),
            geo: Geo {
                ranges: Arc::new(Ranges::default()),
                state: GeoState::NotConfigured,
            },
            knows_its_place: true,
        });
        let simulation = Fleet::default().simulate(200.0, 91);
        let mut scene = Self {
            steward,
            simulation,
        };
        assert!(scene.step(read(POLICY)).is_some());
        scene
    }

    /// Something happens; what is served from then on, if that is something else.
    fn step(&mut self, event: Event) -> Option<Publish> {
        let now_ms = self.simulation.now().0;
        let publish = self.steward.step(now_ms, event).publish;
        if let Some(publish) = &publish {
            self.simulation.serve(publish);
        }
        publish
    }

    /// The node that each of some keys is sent to.
    fn owners(&self) -> Vec<String> {
        let topology = self.simulation.snapshot().topology();
        let owner = |key| {
            let evaluation = self.simulation.ask(key, None);
            topology.node(evaluation.picks[0].node).id.to_string()
        };
        (0..500).map(owner).collect()
    }
}

fn read(policy: &str) -> Event {
    Event::Read(Wanted {
        policy: Ok(policy.into()),
        topology: Ok(TOPOLOGY.into()),
    })
}

/// The owners before and after, where they differ.
fn moves<'a>(before: &'a [String], after: &'a [String]) -> Vec<(&'a str, &'a str)> {
    let pairs = before.iter().zip(after);
    let moved = pairs.filter(|(before, after)| before != after);
    moved.map(|(before, after)| (&**before, &**after)).collect()
}

#[test]
fn a_drain_moves_the_nodes_keys_and_ends_by_itself_and_a_bad_policy_moves_none() {
    let mut scene = Scene::new();
    scene.simulation.run_until(seconds(60));
    let before = scene.owners();
    let drain = StateChange {
        target: Target::Node("fra-2".into()),
        state: AdminState::Drain,
        lasts_ms: Some(20_000),
        who: "ada".to_owned(),
        why: "tests".to_owned(),
    };
    assert!(scene.step(Event::SetState(drain)).is_some());
    let drained = scene.owners();
    let moved = moves(&before, &drained);
    assert!(moved.len() > 100, "about a third of the keys");
    assert!(moved.iter().all(|(from, _)| *from == "fra-2"));
    assert!(!drained.contains(&"fra-2".to_owned()));
    scene.simulation.run_until(seconds(79));
    assert!(scene.step(Event::Tick).is_none(), "it is not over yet");
    let before = scene.owners();
    assert!(scene.step(read("rules: [")).is_none());
    assert_eq!(scene.owners(), before, "a bad policy moves nothing");
    scene.simulation.run_until(seconds(80));
    let before = scene.owners();
    assert!(scene.step(Event::Tick).is_some());
    let after = scene.owners();
    let moved = moves(&before, &after);
    assert!(moved.len() > 100 && moved.iter().all(|(_, to)| *to == "fra-2"));
}
