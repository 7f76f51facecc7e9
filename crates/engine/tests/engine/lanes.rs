//! Two lanes of one snapshot: each decides as a snapshot of its policy alone would, whatever stands beside it.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::float_cmp,
    reason = "a small fleet that is told here, and numbers that must be the very same"
)]

use std::sync::Arc;

use tradewind_engine::decision::Decision;
use tradewind_engine::evaluate::{Evaluation, evaluate, evaluate_in};
use tradewind_engine::explanation::Explanation;
use tradewind_engine::geo::Location;
use tradewind_engine::geo::ranges::Ranges;
use tradewind_engine::policy::{self, Policy};
use tradewind_engine::query::{Client, Query};
use tradewind_engine::score::Terms;
use tradewind_engine::signal::{Admission, NodeSignals, Signals, Standing};
use tradewind_engine::snapshot::{
    BUCKETS, Candidate, Cohort, GeoState, LaneIndex, Parts, Snapshot, Split,
};
use tradewind_engine::topology;

const FLEET: &str = "apiVersion: tradewind/v1\nkind: Topology\nspec:\n  tiers: [edge, regional]\n  sites:\n  \
    - {id: fra, lat: 50.1, lon: 8.7}\n  - {id: par, lat: 48.9, lon: 2.4}\n  \
    - {id: ams, lat: 52.4, lon: 4.9, tier: regional}\n  nodes:\n  \
    - {id: fra-1, site: fra, address: \"192.0.2.1:80\"}\n  - {id: fra-2, site: fra, address: \"192.0.2.2:80\"}\n  \
    - {id: fra-3, site: fra, address: \"192.0.2.3:80\", labels: {ssd: \"yes\"}}\n  \
    - {id: par-1, site: par, address: \"192.0.2.4:80\"}\n  - {id: par-2, site: par, address: \"192.0.2.5:80\", labels: {ssd: \"yes\"}}\n  \
    - {id: ams-1, site: ams, address: \"192.0.2.6:80\"}\n";

const IN_FORCE: &str = "apiVersion: tradewind/v1\nkind: Policy\nspec:\n  \
    pools: [{name: edge, select: {tier: edge}}, {name: regional, select: {tier: regional}}]\n  \
    rules:\n  - {name: all, owner: a, rollback: x, pools: [edge, regional]}\n";

/// Another key, another score, a rule and a class before the others, and a place for clients whom nobody knows.
const CANDIDATE: &str = "apiVersion: tradewind/v1\nkind: Policy\nspec:\n  \
    geo: {default: {lat: 48.9, lon: 2.4}}\n  score: {miss: {weight: 2}, bias: [{site: par, ms: -30}]}\n  \
    classes: [{name: media}]\n  \
    pools: [{name: edge, select: {tier: edge}}, {name: regional, select: {tier: regional}}]\n  rules:\n  \
    - {name: media, owner: a, rollback: x, class: media, pools: [edge], require: {ssd: \"yes\"}, match: {hosts: [media.example.com]}}\n  \
    - {name: all, owner: a, rollback: x, pools: [edge, regional], key: {host: false}}\n";

struct World {
    parts: Parts,
    candidate: Arc<Policy>,
}

impl World {
    fn new() -> Self {
        let topology = Arc::new(topology::compile("topology", FLEET).topology.unwrap());
        let compile = |text: &str| {
            let compiled = policy::compile("policy", text, &topology);
            let words = compiled.diagnostics.to_lines().join("\n");
            Arc::new(compiled.policy.unwrap_or_else(|| panic!("{words}")))
        };
        let (policy, candidate) = (compile(IN_FORCE), compile(CANDIDATE));
        let parts = Parts {
            topology,
            policy,
            candidate: None,
            geo: Arc::new(Ranges::default()),
            geo_state: GeoState::NotConfigured,
            here: None,
            signals: Arc::new(signals()),
        };
        Self { parts, candidate }
    }

    fn both(&self) -> Snapshot {
        let parts = Parts {
            candidate: Some(shadow(&self.candidate)),
            ..self.parts.clone()
        };
        Snapshot::build(1, parts, None)
    }

    fn candidate_alone(&self) -> Snapshot {
        let parts = Parts {
            policy: Arc::clone(&self.candidate),
            ..self.parts.clone()
        };
        Snapshot::build(1, parts, None)
    }
}

/// One node is out, another light; of sites nothing is known yet.
fn signals() -> Signals {
    let mut nodes = vec![NodeSignals::default(); 6];
    nodes[0].admission = Admission::BreakerOpen;
    nodes[3].weight_factor = 0.25;
    Signals {
        nodes,
        ..Signals::default()
    }
}

fn queries() -> Vec<Query<'static>> {
    let hosts = ["www.example.com", "media.example.com"];
    let paths = [
        "/", "/a.mp4", "/b.mp4", "/c.mp4", "/d.mp4", "/e.mp4", "/f.mp4",
    ];
    let places = [Location::new(50.0, 8.0), Location::new(48.0, 2.0), None];
    let of_host = |host| paths.map(|path| (host, path));
    let asked = hosts.into_iter().flat_map(of_host);
    asked
        .flat_map(|(host, path)| places.map(|place| (host, path, place)))
        .map(|(host, path, location)| Query {
            host,
            path,
            client: Client {
                location,
                ..Client::default()
            },
            ..Query::default()
        })
        .collect()
}

/// All that an answer says.
fn told(snapshot: &Snapshot, evaluation: &Evaluation) -> String {
    let decision = Decision::new(snapshot, evaluation);
    let nodes: Vec<(&str, Option<u32>)> = decision
        .candidates()
        .map(|candidate| (&*candidate.node.id, candidate.expected_ms.map(f32::to_bits)))
        .collect();
    format!(
        "{:?} {:?} {:?} {} {} {nodes:?} {:?}",
        evaluation.verdict,
        evaluation.reason,
        decision.purity(),
        decision.rule_name(),
        decision.pool_name(),
        evaluation.key,
    )
}

#[test]
fn each_lane_decides_as_if_it_were_alone() {
    let world = World::new();
    let both = world.both();
    let first = Snapshot::build(1, world.parts.clone(), None);
    let second = world.candidate_alone();
    let mut differ = 0;
    for query in queries() {
        let of = |lane| {
            let evaluation = evaluate_in(&both, lane, &query);
            assert_eq!(evaluation.lane, lane);
            (
                told(&both, &evaluation),
                Explanation::new(&both, &query, &evaluation),
            )
        };
        let alone = |snapshot: &Snapshot| {
            let evaluation = evaluate(snapshot, &query);
            (
                told(snapshot, &evaluation),
                Explanation::new(snapshot, &query, &evaluation),
            )
        };
        assert_eq!(of(LaneIndex::First), alone(&first));
        assert_eq!(of(LaneIndex::Second), alone(&second));
        let own = evaluate(&both, &query);
        assert_eq!(
            told(&both, &own),
            alone(&first).0,
            "all are the first lane's"
        );
        differ += usize::from(of(LaneIndex::First).0 != of(LaneIndex::Second).0);
    }
    assert!(differ > 10, "{differ} differ");
}

#[test]
fn without_a_candidate_the_second_lane_is_the_first() {
    let world = World::new();
    let alone = Snapshot::build(1, world.parts.clone(), None);
    for query in queries() {
        let own = evaluate(&alone, &query);
        let asked = evaluate_in(&alone, LaneIndex::Second, &query);
        assert_eq!(told(&alone, &own), told(&alone, &asked));
    }
    assert_eq!(alone.lanes().count(), 1);
}

#[test]
fn what_both_lanes_have_is_there_once_and_has_one_number() {
    let world = World::new();
    let both = world.both();
    let [first, second] = [LaneIndex::First, LaneIndex::Second].map(|lane| both.lane(lane));
    let shared = second.tables().iter().filter(|table| {
        let other = first.find(table.number());
        other.is_some_and(|other| std::ptr::eq(other.ready(), table.ready()))
    });
    assert_eq!(shared.count(), 2, "edge and regional");
    assert_eq!(second.tables().len(), 3);
    assert_eq!(both.numbers().sets(), 3);
    // Built again, everything is taken over.
    let again = Snapshot::build(2, both.parts().clone(), Some(&both));
    for (was, is) in both.lanes().zip(again.lanes()) {
        for (was, is) in was.tables().iter().zip(is.tables()) {
            assert!(std::ptr::eq(was.ready(), is.ready()));
            assert!(std::ptr::eq(was.sites(), is.sites()));
        }
    }
}

#[test]
fn a_candidate_weighs_what_was_learned_by_its_own_score() {
    let world = World::new();
    let terms = Terms {
        miss: 8.0,
        ..Terms::default()
    };
    let known = Standing {
        terms,
        ..Standing::default()
    };
    let signals = Signals {
        standing: vec![known; 6],
        ..signals()
    };
    let parts = Parts {
        candidate: Some(shadow(&world.candidate)),
        signals: Arc::new(signals),
        ..world.parts.clone()
    };
    let both = Snapshot::build(1, parts, None);
    let query = Query {
        host: "www.example.com",
        path: "/",
        client: Client {
            location: Location::new(50.0, 8.0),
            ..Client::default()
        },
        ..Query::default()
    };
    for (lane, miss_ms) in [(LaneIndex::First, 8.0), (LaneIndex::Second, 16.0)] {
        let evaluation = evaluate_in(&both, lane, &query);
        let why = Explanation::new(&both, &query, &evaluation);
        for line in &why.sites {
            assert_eq!(line.terms.miss, miss_ms, "{lane:?}");
            assert!((line.terms.total_ms() - line.choice_ms).abs() < 1e-3);
        }
    }
}

/// A candidate that decides nothing.
fn shadow(policy: &Arc<Policy>) -> Candidate {
    Candidate {
        routing: Arc::clone(policy.routing()),
        split: Split::default(),
    }
}

#[test]
fn a_candidate_decides_its_share_and_nothing_else() {
    let world = World::new();
    for (cohort, buckets) in [(Cohort::Key, 2_500), (Cohort::ClientGroup, BUCKETS)] {
        let mut parts = world.parts.clone();
        let split = Split {
            cohort,
            buckets,
            salt: 5,
        };
        parts.candidate = Some(Candidate {
            split,
            ..shadow(&world.candidate)
        });
        let snapshot = Snapshot::build(1, parts, None);
        let mut seconds = 0_u16;
        for number in 0..1_000_u16 {
            let path = format!("/video/{number}.mp4");
            let query = Query {
                host: "www.example.com",
                path: &path,
                ..Query::default()
            };
            let lane = snapshot.lane_of(&query);
            let decided = evaluate(&snapshot, &query);
            let alone = evaluate_in(&snapshot, lane, &query);
            assert_eq!((decided.lane, &decided.picks), (lane, &alone.picks));
            assert_eq!(lane == LaneIndex::Second, split.has(&query));
            seconds += u16::from(lane == LaneIndex::Second);
        }
        let wanted = if buckets == BUCKETS {
            1_000..=1_000
        } else {
            200..=300
        };
        assert!(wanted.contains(&seconds), "{seconds}");
    }
}
