//! A running server's topology file is edited: only the keys that must move do.

use tradewind::sidecar::wire::proto::{DecideRequest, DecideResponse};

use crate::client::{Client, requests};
use crate::fleet::Fleet;
use crate::server::{Files, Server};

/// How many objects are asked for.
const KEYS: usize = 2_048;

/// A server, a client, and what is answered before anything changes.
struct Scene {
    files: Files,
    server: Server,
    client: Client,
    before: Vec<DecideResponse>,
}

impl Scene {
    async fn new() -> Self {
        let files = Files::new();
        let server = files.setup().start().await;
        let mut client = server.client().await;
        let before = client.decide_all(&asked()).await;
        Self {
            files,
            server,
            client,
            before,
        }
    }

    /// Puts a topology in force as the next revision, and asks for every object again.
    async fn with(&mut self, fleet: &Fleet) -> Vec<DecideResponse> {
        let next = self.server.revision() + 1;
        self.files.replace("topology.yaml", fleet.text());
        self.server.until_revision(next).await;
        let answers = self.client.decide_all(&asked()).await;
        assert!(answers.iter().all(|a| a.policy_revision == next));
        answers
    }

    /// The usual fleet again: every answer is as it was.
    async fn restored(&mut self) {
        let again = self.with(&Fleet::usual()).await;
        for (before, again) in self.before.iter().zip(&again) {
            assert_eq!(before.candidates, again.candidates);
        }
    }
}

/// For lists long enough to have the second of the key's order in them.
fn asked() -> Vec<DecideRequest> {
    let mut asked = requests(KEYS);
    for request in &mut asked {
        request.candidates = 4;
    }
    asked
}

fn node(answer: &DecideResponse, place: usize) -> &str {
    &answer.candidates[place].node
}

/// Checks that `lost` has no key left, each of its keys is at its former second, and no other key has moved.
fn assert_only_its_keys_moved(lost: &str, before: &[DecideResponse], after: &[DecideResponse]) {
    let mut moved = 0;
    for (before, after) in before.iter().zip(after) {
        if node(before, 0) == lost {
            assert_eq!(before.candidates[1].role, "next_in_order");
            assert_eq!(node(after, 0), node(before, 1), "to the former second");
            moved += 1;
        } else {
            assert_eq!(node(after, 0), node(before, 0), "collateral");
        }
        assert!(after.candidates.iter().all(|c| c.node != lost));
        assert_eq!(
            (after.purity.as_str(), after.rung.as_str()),
            ("pure", "normal")
        );
    }
    // One of eight equal nodes: 256 of 2,048 keys, give or take five deviations.
    assert!((180..=332).contains(&moved), "{moved} keys moved");
}

#[tokio::test]
async fn removing_a_node_moves_its_keys_only_and_adding_it_back_restores_them() {
    let mut scene = Scene::new().await;
    let after = scene.with(&Fleet::usual().without("fra-3")).await;
    assert_only_its_keys_moved("fra-3", &scene.before, &after);
    scene.restored().await;
}

#[tokio::test]
async fn draining_a_node_moves_its_keys_only_and_ends_without_a_trace() {
    let mut scene = Scene::new().await;
    let drained = Fleet::usual().change("fra-5", |node| node.state = "drain");
    let after = scene.with(&drained).await;
    assert_only_its_keys_moved("fra-5", &scene.before, &after);
    let nodes = scene.server.get("/debug/nodes?site=fra").json();
    let fra_5 = nodes["nodes"].as_array().unwrap();
    let fra_5 = fra_5.iter().find(|node| node["id"] == "fra-5").unwrap();
    assert_eq!(fra_5["state"], "drain");
    scene.restored().await;
}

#[tokio::test]
async fn a_larger_weight_only_gains_keys_and_a_smaller_one_only_loses_them() {
    let mut scene = Scene::new().await;
    let weight = |capacity| Fleet::usual().change("fra-2", |node| node.capacity = capacity);
    let owned = |answers: &[DecideResponse]| {
        let own = answers.iter().filter(|answer| node(answer, 0) == "fra-2");
        own.count()
    };
    let before = scene.before.clone();
    let heavier = scene.with(&weight(300)).await;
    for (before, after) in before.iter().zip(&heavier) {
        assert!(node(after, 0) == node(before, 0) || node(after, 0) == "fra-2");
    }
    // 300 of 1,000 parts.
    assert!(
        (510..=720).contains(&owned(&heavier)),
        "{}",
        owned(&heavier)
    );
    let lighter = scene.with(&weight(50)).await;
    for (before, after) in before.iter().zip(&lighter) {
        assert!(node(after, 0) == node(before, 0) || node(before, 0) == "fra-2");
    }
    // 50 of 750 parts.
    assert!((80..=195).contains(&owned(&lighter)), "{}", owned(&lighter));
    scene.restored().await;
}
