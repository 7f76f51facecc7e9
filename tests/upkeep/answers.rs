//! An answer is encoded straight from the snapshot, and is byte for byte what the usual message would be.

#![expect(
    clippy::expect_used,
    reason = "helpers of tests, which the configuration does not cover"
)]

use std::sync::Arc;

use prost::Message as _;
use tradewind::engine::decision::Decision;
use tradewind::engine::evaluate::{Evaluation, Reason, Shed, evaluate};
use tradewind::engine::freshness::Fresh;
use tradewind::engine::geo::Location;
use tradewind::engine::geo::place::{Place, Source};
use tradewind::engine::geo::ranges::Ranges;
use tradewind::engine::policy;
use tradewind::engine::query::{Client, Query};
use tradewind::engine::snapshot::{GeoState, Parts, Snapshot};
use tradewind::engine::topology;
use tradewind::example;
use tradewind::sidecar::wire::answer::{Answer, EncodedNodes, Envelope, message};

fn snapshot(geo_state: GeoState) -> Snapshot {
    let topology = topology::compile("topology.yaml", example::TOPOLOGY).topology;
    let topology = Arc::new(topology.expect("the example is valid"));
    let policy = policy::compile("policy.yaml", example::POLICY, &topology).policy;
    let parts = Parts {
        policy: Arc::new(policy.expect("the policy is valid")),
        candidate: None,
        topology,
        geo: Arc::new(Ranges::default()),
        geo_state,
        here: None,
        signals: Arc::default(),
    };
    Snapshot::build(300, parts, None)
}

fn assert_same_bytes(snapshot: &Snapshot, query: &Query<'_>, envelope: &Envelope<'_>) {
    let mut evaluation = evaluate(snapshot, query);
    assert_same(snapshot, &evaluation, envelope);
    evaluation.is_tried_once = true;
    assert_same(snapshot, &evaluation, envelope);
    let shed = Shed {
        node: None,
        retry_after_s: 13,
    };
    evaluation.turn_away(Reason::RateLimited, shed);
    assert_same(snapshot, &evaluation, envelope);
}

fn assert_same(snapshot: &Snapshot, evaluation: &Evaluation, envelope: &Envelope<'_>) {
    let decision = Decision::new(snapshot, evaluation);
    let nodes = EncodedNodes::new(snapshot.topology());
    let answer = Answer::single(&decision, envelope, &nodes);
    let message = message(&decision, envelope);
    assert_eq!(answer.as_bytes(), message.encode_to_vec(), "{message:?}");
}

#[test]
fn answers_are_the_messages_they_stand_for() {
    let long_id = "r".repeat(128);
    let short = Envelope {
        request_id: "",
        decision_id: "0123456789abcdef01234567",
        revision: 1,
        policy_digest: "0011223344556677",
        freshness_floor: 0,
        fresh: Fresh::default(),
        is_freshness_known: true,
        known_place: None,
    };
    let long = Envelope {
        request_id: &long_id,
        revision: u64::MAX,
        freshness_floor: 1 << 40,
        fresh: Fresh {
            version: 60_000_000_000,
            not_older_than_s: 1_800_000_000,
        },
        is_freshness_known: true,
        known_place: Some(Place::new(Location::new(48.0, 8.0), Source::Database)),
        ..short
    };
    for state in [GeoState::Good, GeoState::Degraded] {
        let snapshot = snapshot(state);
        let ids: Vec<&str> = snapshot.topology().nodes().iter().map(|n| &*n.id).collect();
        for (candidates, path) in (1..=8).zip(
            ["/video/1.mp4", "/", "/api/x", "/img/a.png"]
                .into_iter()
                .cycle(),
        ) {
            for (latitude, tried) in [(48.0, 0), (-33.0, 3), (1.0, 16)] {
                let query = Query {
                    host: "www.example.com",
                    path,
                    candidates: Some(candidates),
                    tried: ids.get(..tried).unwrap(),
                    client: Client {
                        location: Location::new(latitude, 8.0),
                        ..Client::default()
                    },
                    ..Query::default()
                };
                assert_same_bytes(&snapshot, &query, &short);
                assert_same_bytes(&snapshot, &query, &long);
            }
        }
        let nowhere = Query {
            pool: Some("no-such-pool"),
            ..Query::default()
        };
        assert_same_bytes(&snapshot, &nowhere, &short);
    }
}
