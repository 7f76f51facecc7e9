//! What must hold of answers whatever is known of the fleet: signals are drawn at random, within what is admitted.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "small numbers, and a document that does not compile is a failure"
)]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;

use proptest::prelude::*;
use tradewind_engine::control::{Control, Next};
use tradewind_engine::decision::Decision;
use tradewind_engine::evaluate::{Reason, Rung, Verdict, evaluate};
use tradewind_engine::explanation::Explanation;
use tradewind_engine::geo::Location;
use tradewind_engine::geo::ranges::Ranges;
use tradewind_engine::model::{AdminState, NodeIndex, SiteIndex};
use tradewind_engine::policy::SetNumber;
use tradewind_engine::query::{Client, Query};
use tradewind_engine::score::Terms;
use tradewind_engine::signal::hot::{HotKey, HotTable};
use tradewind_engine::signal::observation::ProbeResult;
use tradewind_engine::signal::{
    Admission, NodeSignals, Readmission, Signals, SiteSignals, Standing,
};
use tradewind_engine::snapshot::{GeoState, Parts, Snapshot};
use tradewind_engine::time::Moment;
use tradewind_engine::{policy, topology};

const STATES: [&str; 4] = ["ready", "ready", "drain", "maintenance"];

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(cases)
    }
}

/// A fleet: site and tier of each node are given by its position, its capacity and state are given. The pools overlap.
fn snapshot(nodes: &[(u16, usize)], (sites, pools): (usize, &str), signals: Signals) -> Snapshot {
    let places = [
        ("fra", 50.0, 8.6, "edge"),
        ("par", 48.9, 2.3, "edge"),
        ("nyc", 40.7, -74.0, "edge"),
        ("ams", 52.3, 4.8, "regional"),
        ("cmh", 40.0, -82.9, "origin"),
    ];
    let mut text = String::from(
        "apiVersion: tradewind/v1\nkind: Topology\nspec:\n  tiers: [edge, regional, origin]\n  sites:\n",
    );
    for (id, lat, lon, tier) in places.iter().take(sites) {
        writeln!(
            text,
            "  - {{id: {id}, lat: {lat}, lon: {lon}, tier: {tier}}}"
        )
        .expect("written");
    }
    text.push_str("  nodes:\n");
    for (at, (capacity, state)) in nodes.iter().enumerate() {
        let (site, state) = (places[at % sites].0, STATES[*state]);
        writeln!(
            text,
            "  - {{id: n{at:02}, site: {site}, address: \"192.0.2.{at}:80\", capacity: {capacity}, state: {state}}}"
        )
        .expect("written");
    }
    let topology = topology::compile("topology", &text)
        .topology
        .expect("a fleet");
    let text = format!("apiVersion: tradewind/v1\nkind: Policy\nspec:\n{pools}");
    let compiled = policy::compile("policy", &text, &topology);
    let policy = compiled.policy.expect("a policy");
    let parts = Parts {
        topology: Arc::new(topology),
        policy: Arc::new(policy),
        candidate: None,
        geo: Arc::new(Ranges::default()),
        geo_state: GeoState::NotConfigured,
        here: None,
        signals: Arc::new(signals),
    };
    Snapshot::build(1, parts, None)
}

const ONE_POOL: &str = "  pools: [{name: all}]\n  rules: [{name: all, owner: t, rollback: r, candidates: 8, pools: [all]}]\n";

const OVERLAPPING_POOLS: &str = "  pools:\n  - {name: edge, select: {tier: edge}}\n  - {name: all}\n  - {name: origin, select: {tier: origin}}\n  \
     rules: [{name: all, owner: t, rollback: r, pools: [edge, all, origin]}]\n";

fn ask<'q>(key: &'q [u8], request_id: &'q [u8], candidates: u8) -> Query<'q> {
    Query {
        host: "h",
        path: "/",
        key: Some(key),
        request_id,
        candidates: Some(candidates),
        client: Client {
            location: Location::new(50.1, 8.7),
            ..Client::default()
        },
        ..Query::default()
    }
}

fn admission() -> impl Strategy<Value = Admission> {
    prop_oneof![
        3 => Just(Admission::Admitted),
        2 => any::<u16>().prop_map(|slice| Admission::Probing { slice }),
        1 => Just(Admission::Overloaded),
        1 => Just(Admission::Unknown),
        1 => Just(Admission::Unhealthy),
        1 => Just(Admission::BreakerOpen),
    ]
}

prop_compose! {
    fn node_signals()(
        admission in admission(),
        weight_factor in prop_oneof![Just(1.0_f32), 0.001..=1.0_f32],
        headroom in 0.02..=3.0_f32,
        (spill, full) in (prop_oneof![Just(0_u8), any::<u8>()], prop_oneof![Just(0_u8), any::<u8>()]),
        (is_hot, in_flight, latency_ms) in (any::<bool>(), 0.0..1e9_f32, 0.0..6e5_f32),
    ) -> NodeSignals {
        NodeSignals { admission, weight_factor, headroom, spill, full, shed: 0, is_hot, in_flight, latency_ms }
    }
}

prop_compose! {
    fn standing()(
        (service, queue) in (0.0..=6e5_f32, 0.0..=500.0_f32),
        (miss, error) in (0.0..=6e5_f32, 0.0..=250.0_f32),
        held_ms in -1e3..=1e3_f32,
    ) -> Standing {
        Standing { terms: Terms { service, queue, miss, error, ..Terms::default() }, held_ms, ..Standing::default() }
    }
}

prop_compose! {
    /// Anything that may be known of fifteen nodes at five sites in up to four sets.
    fn signals()(
        nodes in prop::collection::vec(node_signals(), 15),
        sites in prop::collection::vec((any::<u8>(), prop_oneof![Just(0_u8), any::<u8>()], 0.0..10.0_f32), 5),
        standing in prop::collection::vec(standing(), 5),
        readmission in prop::collection::vec(0..5_usize, 4),
        isolated in any::<bool>(),
    ) -> Signals {
        let site = |(spill, full, utilisation)| SiteSignals { spill, full, utilisation };
        Signals {
            nodes,
            sites: sites.into_iter().map(site).collect(),
            standing,
            readmission: readmission.into_iter().map(|at| Readmission::ALL[at]).collect(),
            isolated,
            ..Signals::default()
        }
    }
}

/// An answer with its reasons, as bytes.
fn image(snapshot: &Snapshot, query: &Query<'_>) -> String {
    let evaluation = evaluate(snapshot, query);
    let explanation = Explanation::new(snapshot, query, &evaluation);
    let purity = Decision::new(snapshot, &evaluation).purity();
    format!("{evaluation:?} {purity:?} {explanation:?}")
}

proptest! {
    #![proptest_config(config(256))]

    /// P2 and the replay of a decision: whatever is known, a list comes as long as one node is not in maintenance, names
    /// nobody twice and nobody in maintenance, and the same snapshot made again gives the same answer and explanation.
    #[test]
    fn there_is_a_list_whatever_is_known(
        nodes in prop::collection::vec((1..=1_000_u16, 0..4_usize), 15),
        signals in signals(),
        keys in prop::collection::vec(any::<u64>(), 16),
        candidates in 1..=8_u8,
    ) {
        let fleet = (5, OVERLAPPING_POOLS);
        let made = snapshot(&nodes, fleet, signals.clone());
        let again = snapshot(&nodes, fleet, signals);
        let usable = nodes.iter().any(|(_, state)| STATES[*state] != "maintenance");
        for key in keys {
            let key = key.to_le_bytes();
            let query = ask(&key, b"r", candidates);
            let evaluation = evaluate(&made, &query);
            prop_assert_eq!(evaluation.verdict == Verdict::Route, usable);
            prop_assert!(evaluation.picks.len() <= usize::from(candidates));
            let named: BTreeSet<NodeIndex> = evaluation.picks.iter().map(|pick| pick.node).collect();
            prop_assert_eq!(named.len(), evaluation.picks.len(), "{:?}", evaluation.picks);
            for pick in &evaluation.picks {
                let state = made.topology().node(pick.node).state;
                prop_assert!(state != AdminState::Maintenance && pick.expected_ms.is_none_or(f32::is_finite));
            }
            prop_assert_eq!(image(&made, &query), image(&again, &query));
        }
    }

    /// At one site, where a list of eight is the whole order: a spilled key goes to the next of its order and a hot one to
    /// one of the first, all others to the first; and a list of one begins as a long one does.
    #[test]
    fn hot_and_spilled_keys_stay_near_the_front_of_their_order(
        capacities in prop::collection::vec(1..=1_000_u16, 1..=8),
        signals in signals(),
        copies in 2..=6_u8,
        keys in prop::collection::vec(any::<u64>(), 16),
    ) {
        let nodes: Vec<(u16, usize)> = capacities.iter().map(|capacity| (*capacity, 0)).collect();
        let fleet = (1, ONE_POOL);
        let plain = Signals {
            nodes: signals.nodes.iter().map(|node| NodeSignals { spill: 0, ..*node }).collect(),
            readmission: signals.readmission.clone(),
            ..Signals::default()
        };
        let plain = snapshot(&nodes, fleet, plain);
        let keys: Vec<[u8; 8]> = keys.into_iter().map(u64::to_le_bytes).collect();
        let hot = keys.iter().step_by(2).map(|key| HotKey {
            key: evaluate(&plain, &ask(key, b"r", 8)).key,
            set: SetNumber(0),
            site: SiteIndex(0),
            share: 0.1,
            copies,
        });
        let told = Signals { hot: HotTable::new(hot.collect()), ..signals };
        let told = snapshot(&nodes, fleet, told);
        for (at, key) in keys.iter().enumerate() {
            let request_id = [at as u8];
            let evaluation = evaluate(&told, &ask(key, &request_id, 8));
            let usual = evaluate(&plain, &ask(key, &request_id, 8));
            let probes = usual.reason == Reason::Probe;
            // A key of a recovering node's slice goes there first; it is not of the order.
            let order: Vec<NodeIndex> =
                usual.picks.iter().skip(usize::from(probes)).map(|pick| pick.node).collect();
            let first = evaluation.picks.first().expect("a list").node;
            let short = evaluate(&told, &ask(key, &request_id, 1));
            prop_assert_eq!(short.picks.first().map(|pick| pick.node), Some(first));
            let place = order.iter().position(|node| *node == first);
            match evaluation.reason {
                Reason::HotCopy => {
                    prop_assert!(place.is_some_and(|place| place < usize::from(copies)), "{place:?}");
                }
                Reason::Spilled => prop_assert_eq!(place, Some(1)),
                Reason::Owner => prop_assert_eq!(place, Some(0)),
                _ => {}
            }
        }
    }
}

/// What is answered after so many of the nodes failed their probes: the rung, and the nodes that any key may go to.
fn after_probes(capacities: &[u16], failed: &[usize]) -> (Rung, usize) {
    let nodes: Vec<(u16, usize)> = capacities.iter().map(|capacity| (*capacity, 0)).collect();
    let mut control = Control::new(1);
    let first = snapshot(&nodes, (1, ONE_POOL), Signals::default());
    let next = Next {
        topology: first.topology(),
        policy: first.policy(),
        candidate: None,
        generation: 1,
    };
    control.adopt(Moment(1_000_000), next);
    for (at, _) in (0_u32..).zip(capacities) {
        for _ in 0..3 {
            let result = ProbeResult {
                node: NodeIndex(at),
                healthy: !failed.contains(&(at as usize)),
                took_us: 1_000,
            };
            control.probed(Moment(1_000_100), result, Next::after(&first));
        }
    }
    let signals = control.tick(Moment(1_000_200), &first);
    let signals = signals.map_or_else(Signals::default, |signals| (*signals).clone());
    let told = snapshot(&nodes, (1, ONE_POOL), signals);
    let evaluation = evaluate(&told, &ask(b"key", b"r", 8));
    (evaluation.rung, evaluation.picks.len())
}

/// P1: as with Envoy's panic threshold of 50 %, below that share of healthy weight all nodes are used, and from it on only
/// the healthy ones. Envoy counts hosts; with equal weights that is the same. Unlike Envoy, a fleet without any healthy
/// node is used as a whole even where the threshold is 0.
#[test]
fn readmission_follows_the_share_of_healthy_weight() {
    let equal = [100_u16; 8];
    for failed in 0..=8_usize {
        let which: Vec<usize> = (0..failed).collect();
        let expected = if failed <= 4 {
            (Rung::Normal, 8 - failed)
        } else {
            (Rung::Panic, 8)
        };
        assert_eq!(
            after_probes(&equal, &which),
            expected,
            "{failed} of 8 failed"
        );
    }
    for (capacities, failed, expected) in [
        (
            &[50_u16, 50] as &[u16],
            &[0_usize] as &[usize],
            (Rung::Normal, 1),
        ),
        (&[51, 49], &[0], (Rung::Panic, 2)),
        (&[51, 49], &[1], (Rung::Normal, 1)),
        (&[100, 1, 1, 1], &[1, 2, 3], (Rung::Normal, 1)),
        (&[100, 1, 1, 1], &[0], (Rung::Panic, 4)),
        (&[1], &[0], (Rung::Panic, 1)),
    ] {
        assert_eq!(
            after_probes(capacities, failed),
            expected,
            "{capacities:?} {failed:?}"
        );
    }
}
