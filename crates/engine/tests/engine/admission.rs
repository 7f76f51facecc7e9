//! Requests are shed as the levels of nodes say: the least important first, as many as was decided, the same ones as long
//! as the turn lasts.

#![expect(
    clippy::expect_used,
    clippy::cast_precision_loss,
    reason = "small numbers, and a document that does not compile is a failure"
)]

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use tradewind_engine::balance::overload::{MAX_LEVEL, share};
use tradewind_engine::decision::Decision;
use tradewind_engine::evaluate::{Evaluation, Reason, Rung, Verdict, evaluate};
use tradewind_engine::explanation::{Away, Explanation};
use tradewind_engine::geo::Location;
use tradewind_engine::geo::ranges::Ranges;
use tradewind_engine::policy::Priority;
use tradewind_engine::query::{Client, Query};
use tradewind_engine::signal::{NodeSignals, Signals};
use tradewind_engine::snapshot::{GeoState, Parts, Snapshot};
use tradewind_engine::{policy, topology};

const NODES: usize = 4;

const POLICY: &str = "apiVersion: tradewind/v1
kind: Policy
spec:
  overload: {max_utilisation_percent: 90}
  pools: [{name: edge}]
  rules:
    - {name: low, owner: us, rollback: none, priority: low, match: {classes: [low]}, pools: [edge]}
    - {name: critical, owner: us, rollback: none, priority: critical, match: {classes: [critical]}, pools: [edge]}
    - {name: normal, owner: us, rollback: none, pools: [edge]}
  classes: [{name: low}, {name: critical}]
";

/// Four nodes at two sites, which shed and spill so.
fn snapshot(levels: [u16; NODES], spill: u8, turn: u32) -> Snapshot {
    let mut fleet = "apiVersion: tradewind/v1\nkind: Topology\nspec:\n  tiers: [edge]\n  sites:\n    - {id: a, tier: edge, lat: 50, lon: 8}\n    - {id: b, tier: edge, lat: 50, lon: 9}\n  nodes:\n".to_owned();
    for (at, site) in ["a", "a", "b", "b"].into_iter().enumerate() {
        let node = format!(
            "    - {{id: n{at}, site: {site}, address: '192.0.2.{}:80', capacity: 10}}\n",
            at + 1
        );
        fleet.push_str(&node);
    }
    let topology = topology::compile("topology.yaml", &fleet);
    let topology = topology.topology.expect("the fleet is good");
    let policy = policy::compile("policy.yaml", POLICY, &topology);
    let found = format!("{:?}", policy.diagnostics);
    let nodes = levels.map(|shed| NodeSignals {
        shed,
        spill,
        ..NodeSignals::default()
    });
    let parts = Parts {
        topology: Arc::new(topology),
        policy: Arc::new(policy.policy.expect(&found)),
        candidate: None,
        geo: Arc::new(Ranges::default()),
        geo_state: GeoState::NotConfigured,
        here: None,
        signals: Arc::new(Signals {
            nodes: nodes.to_vec(),
            turn,
            ..Signals::default()
        }),
    };
    Snapshot::build(1, parts, None)
}

fn ask(path: &str, priority: Priority, client: u64) -> Query<'_> {
    let near = Location::new(50.0, 8.1).expect("a place");
    Query {
        host: "www.example.com",
        path,
        class: (priority != Priority::Normal).then_some(priority.name()),
        client: Client::made_up(near, client),
        ..Query::default()
    }
}

fn image(snapshot: &Snapshot, query: &Query<'_>) -> String {
    let evaluation = evaluate(snapshot, query);
    let explanation = Explanation::new(snapshot, query, &evaluation);
    format!("{evaluation:?} {explanation:?}")
}

/// The share of requests of a priority that are shed, of so many for different objects.
fn shed_ratio(snapshot: &Snapshot, priority: Priority, requests: u32) -> f64 {
    let paths: Vec<String> = (0..requests).map(|at| format!("/{at}")).collect();
    let shed = paths.iter().zip(0..).filter(|(path, client)| {
        evaluate(snapshot, &ask(path, priority, *client)).verdict == Verdict::Shed
    });
    shed.count() as f64 / f64::from(requests)
}

fn check_shed(snapshot: &Snapshot, query: &Query<'_>, evaluation: &Evaluation) {
    let decision = Decision::new(snapshot, evaluation);
    let shed = evaluation.shed.expect("it says when to come back");
    assert!((5..=15).contains(&shed.retry_after_s));
    assert_eq!(
        (evaluation.reason, evaluation.rung),
        (Reason::NoRoom, Rung::Shed)
    );
    assert!(evaluation.picks.is_empty() && decision.ttl_ms() == 0);
    assert_eq!(decision.candidates().count(), 0);
    let home = Explanation::new(snapshot, query, evaluation)
        .home
        .expect("it has one");
    assert_eq!(home.away.map(Away::name), Some("no_room"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    /// Who is shed: nobody at a node that sheds nothing; nobody while anything less important passes at that node; the same
    /// again and again; and whoever is not gets the answer that he would get of a fleet that sheds nothing.
    #[test]
    fn the_least_important_go_first_and_nobody_else_notices(
        levels in prop::array::uniform4(prop_oneof![Just(0_u16), 0..=MAX_LEVEL]),
        spill in prop_oneof![Just(0_u8), any::<u8>()],
        turn in 1..=u32::MAX,
        keys in prop::collection::vec(any::<u32>(), 32),
    ) {
        let (made, again) = (snapshot(levels, spill, turn), snapshot(levels, spill, turn));
        let calm = snapshot([0; NODES], spill, 0);
        for key in keys {
            let path = format!("/{key}");
            for priority in Priority::ALL.iter().copied() {
                let query = ask(&path, priority, u64::from(key % 97));
                let evaluation = evaluate(&made, &query);
                prop_assert_eq!(image(&made, &query), image(&again, &query));
                let usual = evaluate(&calm, &query);
                let node = usual.picks[0].node;
                let level = levels[node.get()];
                prop_assert_eq!(evaluation.first_node(), Some(node), "shedding moves nobody");
                if evaluation.verdict == Verdict::Shed {
                    prop_assert!(share(level, priority) > 0);
                    check_shed(&made, &query, &evaluation);
                } else {
                    prop_assert!(share(level, priority) < 256);
                    prop_assert_eq!(format!("{usual:?}"), format!("{evaluation:?}"));
                }
                if priority == Priority::Critical {
                    let own = evaluate(&snapshot([0; NODES], 0, 0), &query);
                    prop_assert_eq!(node, own.picks[0].node, "critical requests keep their node");
                }
            }
        }
    }

    /// Of 8,000 requests the share that is shed is within two points of what was decided.
    #[test]
    fn the_share_that_is_shed_is_what_was_decided(level in 0..=MAX_LEVEL, turn in 1..1_000_u32) {
        let made = snapshot([level; NODES], 0, turn);
        for priority in Priority::ALL.iter().copied() {
            let decided = f64::from(share(level, priority)) / 256.0;
            let shed = shed_ratio(&made, priority, 8_000);
            prop_assert!((shed - decided).abs() <= 0.02, "{priority:?}: {shed} of {decided}");
        }
    }
}

/// Half of the requests are shed for a minute: each of a thousand callers is served in some turns and shed in others, and
/// nobody is shed in more than eleven of twelve.
#[test]
fn nobody_is_shed_for_as_long_as_it_lasts() {
    let turns: Vec<Snapshot> = (1..=12)
        .map(|turn| snapshot([384; NODES], 0, turn))
        .collect();
    let mut by_count = BTreeMap::<usize, u32>::new();
    for client in 0..1_000 {
        let query = ask("/live/index.m3u8", Priority::Normal, client);
        let shed = turns
            .iter()
            .filter(|made| evaluate(made, &query).verdict == Verdict::Shed);
        *by_count.entry(shed.count()).or_default() += 1;
    }
    let mean: f64 = by_count
        .iter()
        .map(|(count, callers)| *count as f64 * f64::from(*callers))
        .sum::<f64>()
        / 1_000.0;
    assert!((5.7..=6.3).contains(&mean), "{by_count:?}");
    let unlucky: u32 = by_count.range(12..).map(|(_, callers)| callers).sum();
    assert!(
        unlucky <= 2,
        "one in 4,096 is shed in all of twelve turns: {by_count:?}"
    );
}

/// Who is shed at a level is shed at every higher one: as the overload grows or ends nobody changes places with another.
#[test]
fn lots_are_nested() {
    let paths: Vec<String> = (0..500).map(|at| format!("/{at}")).collect();
    let mut before = 0;
    for level in (256..=512).step_by(32) {
        let made = snapshot([level; NODES], 0, 7);
        let shed = paths.iter().filter(|path| {
            let verdict = evaluate(&made, &ask(path, Priority::Normal, 1)).verdict;
            verdict == Verdict::Shed
        });
        let shed = shed.count();
        assert!(shed >= before, "{level}");
        before = shed;
    }
    assert_eq!(before, paths.len());
}
