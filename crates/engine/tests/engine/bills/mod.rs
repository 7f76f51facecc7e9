//! The bill of every site, computed apart from the engine: by the formulas of docs/signals.md, from what was told.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an oracle in plain arithmetic over a few small numbers; its set-ups are told"
)]

use std::sync::Arc;

use tradewind_engine::control::{Control, Next};
use tradewind_engine::evaluate::evaluate;
use tradewind_engine::explanation::Explanation;
use tradewind_engine::geo::Location;
use tradewind_engine::geo::ranges::Ranges;
use tradewind_engine::hash::KeyHash;
use tradewind_engine::model::{NodeIndex, SiteIndex};
use tradewind_engine::policy::{self, Affinity, ClassNumber, Priority, SetNumber};
use tradewind_engine::query::{Client, Query};
use tradewind_engine::signal::observation::{
    AttemptResult, CacheResult, DecisionNumber, Dispatch, LoadReport, Named, Outcome, Reporter,
    Standing,
};
use tradewind_engine::snapshot::{GeoState, LaneIndex, Parts, Snapshot};
use tradewind_engine::time::Moment;
use tradewind_engine::topology;

mod oracle;

use oracle::{before, oracle, way_ms};

const FLEET: &str = "apiVersion: tradewind/v1
kind: Topology
spec:
  sites:
  - {id: a, lat: 50.0, lon: 8.0}
  - {id: b, lat: 50.0, lon: 9.0}
  - {id: c, lat: 40.0, lon: -74.0}
  nodes:
  - {id: a-0, site: a, address: \"192.0.2.1:80\"}
  - {id: a-1, site: a, address: \"192.0.2.2:80\"}
  - {id: a-2, site: a, address: \"192.0.2.3:80\"}
  - {id: b-0, site: b, address: \"192.0.2.4:80\"}
  - {id: c-0, site: c, address: \"192.0.2.5:80\"}
";
const POLICY: &str = "apiVersion: tradewind/v1
kind: Policy
spec:
  score:
    service: {weight: 2}
    queue: {weight: 0.5}
    bias: [{site: b, ms: 3}]
  pools: [{name: all, select: {tier: edge}}]
  rules: [{name: all, owner: test, rollback: none, pools: [all]}]
";

/// What a site's nodes do, all of it in one second: hits at each node with their time, and at the first of them misses,
/// failures and a load.
#[derive(Debug, Clone, Copy, Default)]
struct Told {
    hits: u32,
    hit_ms: f64,
    misses: u32,
    fetch_ms: f64,
    failures: u32,
    utilisation: Option<f64>,
}

/// Three sites, and how long nothing more is told.
type SetUp = ([Told; 3], u64);

const SITES: [&str; 3] = ["a", "b", "c"];
const NODES: [u64; 3] = [3, 1, 1];

fn told(hits: u32, hit_ms: f64) -> Told {
    Told {
        hits,
        hit_ms,
        ..Told::default()
    }
}

#[expect(clippy::too_many_lines, reason = "twenty set-ups")]
fn set_ups() -> Vec<SetUp> {
    let none = Told::default();
    let usual = told(400, 4.0);
    let with = |told: Told, (misses, fetch_ms, failures): (u32, f64, u32)| Told {
        misses,
        fetch_ms,
        failures,
        ..told
    };
    let busy = |told: Told, utilisation| Told {
        utilisation: Some(utilisation),
        ..told
    };
    vec![
        ([none, none, none], 1),
        ([usual, none, none], 1),
        ([usual, usual, usual], 1),
        ([told(400, 150.0), none, none], 1),
        ([told(400, 150.0), usual, none], 1),
        ([told(400, 150.0), told(400, 150.0), none], 1),
        ([told(400, 60.0), told(400, 90.0), told(400, 120.0)], 1),
        ([told(7, 150.0), usual, usual], 1),
        ([told(400, 150.0), usual, usual], 45),
        ([told(400, 150.0), usual, usual], 400),
        ([busy(told(400, 20.0), 0.9), busy(usual, 0.5), none], 1),
        ([busy(told(400, 20.0), 0.97), usual, none], 12),
        ([busy(told(400, 30.0), 0.999), usual, usual], 1),
        ([busy(none, 0.9), usual, usual], 1),
        (
            [
                with(usual, (400, 44.0, 0)),
                with(usual, (20, 44.0, 0)),
                none,
            ],
            1,
        ),
        (
            [
                with(usual, (1_500, 204.0, 0)),
                with(usual, (900, 64.0, 0)),
                usual,
            ],
            1,
        ),
        (
            [
                with(usual, (1_500, 204.0, 0)),
                with(usual, (900, 64.0, 0)),
                usual,
            ],
            300,
        ),
        ([with(usual, (10, 44.0, 60)), usual, none], 1),
        (
            [with(usual, (10, 44.0, 60)), with(usual, (0, 0.0, 9)), usual],
            200,
        ),
        (
            [
                busy(with(told(400, 25.0), (600, 125.0, 90)), 0.8),
                busy(with(usual, (900, 44.0, 5)), 0.2),
                none,
            ],
            1,
        ),
        (
            [
                with(told(20, 4.0), (5, 104.0, 1)),
                with(usual, (800, 44.0, 0)),
                usual,
            ],
            30,
        ),
        (
            [
                none,
                with(usual, (900, 44.0, 30)),
                busy(told(400, 9.0), 0.6),
            ],
            130,
        ),
    ]
}

/// The engine: everything is told to a control loop, and the bill is read off an explanation.
struct Engine {
    control: Control,
    snapshot: Snapshot,
    now: Moment,
    number: u64,
}

impl Engine {
    fn new() -> Self {
        let topology = Arc::new(topology::compile("topology", FLEET).topology.unwrap());
        let policy = Arc::new(policy::compile("policy", POLICY, &topology).policy.unwrap());
        let mut control = Control::new(1);
        let next = Next {
            topology: &topology,
            policy: &policy,
            candidate: None,
            generation: 1,
        };
        let signals = control.adopt(Moment(0), next);
        let parts = Parts {
            topology,
            policy,
            candidate: None,
            geo: Arc::new(Ranges::default()),
            geo_state: GeoState::NotConfigured,
            here: None,
            signals,
        };
        Self {
            control,
            snapshot: Snapshot::build(1, parts, None),
            now: Moment(0),
            number: 0,
        }
    }

    /// Lets a second pass.
    fn tick(&mut self) {
        self.now = self.now.plus(1_000);
        if let Some(signals) = self.control.tick(self.now, &self.snapshot) {
            let parts = Parts {
                signals,
                ..self.snapshot.parts().clone()
            };
            let generation = self.snapshot.generation() + 1;
            self.snapshot = Snapshot::build(generation, parts, Some(&self.snapshot));
        }
    }

    fn outcome(&mut self, node: u32, (ms, status, cache): (f64, u16, CacheResult)) {
        self.number += 1;
        let number = DecisionNumber(self.number);
        let node = NodeIndex(node);
        let dispatch = Dispatch {
            number,
            generation: self.snapshot.generation(),
            lane: LaneIndex::First,
            key: KeyHash(self.number.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
            set: SetNumber(0),
            site: SiteIndex(0),
            node,
            group: None,
            class: ClassNumber(0),
            priority: Priority::Normal,
            hot: false,
            named: Named::new([node]),
            is_reusable: false,
            is_trial: false,
        };
        self.control.dispatched(&dispatch, Affinity::Key);
        let outcome = Outcome {
            decision: Some(number),
            attempt: 1,
            reporter: Reporter(1),
            node,
            result: AttemptResult::Ok,
            status,
            first_byte_us: (ms * 1_000.0) as u32,
            cache,
            bytes: 1_000,
            client_round_trip_us: 0,
            key: None,
        };
        let next = Next::after(&self.snapshot);
        assert!(self.control.outcome(self.now, &outcome, next));
    }

    /// Failures are spread among answers, so that no breaker opens.
    fn tell(&mut self, first: u32, nodes: u64, told: &Told) {
        for node in (first..).take(nodes as usize) {
            let (misses, failures) = if node == first {
                (told.misses, told.failures)
            } else {
                (0, 0)
            };
            let all = told.hits.max(misses).max(failures);
            let share = |of: u32, at: u32| (at + 1) * of / all.max(1) > at * of / all.max(1);
            for at in 0..all {
                if share(told.hits, at) {
                    self.outcome(node, (told.hit_ms, 200, CacheResult::Hit));
                }
                if share(misses, at) {
                    self.outcome(node, (told.fetch_ms, 200, CacheResult::Miss));
                }
                if share(failures, at) {
                    self.outcome(node, (1.0, 503, CacheResult::Unknown));
                }
            }
        }
        if told.utilisation.is_some() {
            let report = LoadReport {
                utilisation: told.utilisation.map(|u| u as f32),
                ..LoadReport::default()
            };
            let word = ((Reporter(9), Standing::Own), report);
            let operation = self.snapshot.policy().operation();
            let node = NodeIndex(first);
            assert!(self.control.load(self.now, node, word, operation));
        }
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "one comparison for each term")]
fn every_term_of_every_bill_is_what_the_page_says() {
    for set_up in set_ups() {
        let (told, silence_s) = &set_up;
        println!("{told:?}, {silence_s} s ago");
        let mut engine = Engine::new();
        for (first, (told, nodes)) in [0, 3, 4].into_iter().zip(told.iter().zip(NODES)) {
            for _ in 0..before(told, nodes) {
                engine.outcome(first, (0.0, 200, CacheResult::Hit));
            }
        }
        for _ in 0..80 {
            engine.tick();
        }
        for (first, (told, nodes)) in [0, 3, 4].into_iter().zip(told.iter().zip(NODES)) {
            engine.tell(first, nodes, told);
        }
        for _ in 0..*silence_s {
            engine.tick();
        }
        let query = Query {
            host: "example.com",
            path: "/",
            client: Client {
                location: Location::new(50.0, 8.0),
                ..Client::default()
            },
            ..Query::default()
        };
        let evaluation = evaluate(&engine.snapshot, &query);
        let explanation = Explanation::new(&engine.snapshot, &query, &evaluation);
        let bills = oracle(&set_up);
        let places = [(50.0, 8.0), (50.0, 9.0), (40.0, -74.0)];
        for line in &explanation.sites {
            let at = usize::from(line.site.0);
            let (bill, terms) = (bills[at], line.terms);
            // A cell is some 20 km wide; a histogram has steps of 6 %, and a product of two of them of 12 %.
            let of = [
                ("network", f64::from(terms.network), way_ms(places[at]), 0.5),
                (
                    "service",
                    f64::from(terms.service),
                    bill.service,
                    bill.service * 0.065 + 0.01,
                ),
                (
                    "queue",
                    f64::from(terms.queue),
                    bill.queue,
                    bill.queue * 0.065 + 0.01,
                ),
                (
                    "miss",
                    f64::from(terms.miss),
                    bill.miss,
                    bill.miss * 0.07 + 0.05,
                ),
                (
                    "error",
                    f64::from(terms.error),
                    bill.error,
                    bill.error * 0.001 + 0.01,
                ),
                ("cost", f64::from(terms.cost), 0.0, 0.0),
                ("bias", f64::from(terms.bias), [0.0, 3.0, 0.0][at], 0.0),
            ];
            for (term, shown, exact, allowed) in of {
                assert!(
                    (shown - exact).abs() <= allowed,
                    "{term} of {}: shown {shown}, by the page {exact}: {line:?}",
                    SITES[at]
                );
            }
            let sum: f64 = of.iter().map(|(_, shown, ..)| shown).sum();
            assert!((f64::from(terms.total_ms()) - sum).abs() < 0.001);
            let parts = [
                (line.evidence.service.samples, told[at].hits > 0),
                (
                    line.evidence.error.samples,
                    told[at].hits + told[at].failures > 0,
                ),
            ];
            assert!(parts.iter().all(|(samples, any)| (*samples > 0) == *any));
        }
        let first = evaluation.picks[0];
        let site = engine.snapshot.topology().site_of(first.node);
        let line = explanation
            .sites
            .iter()
            .find(|line| line.site == site)
            .unwrap();
        let told_ms = first.expected_ms.unwrap();
        assert!(
            (told_ms - line.terms.total_ms()).abs() < 0.001,
            "the answer tells the best estimate: {told_ms}, {line:?}"
        );
    }
}
