//! What the control loop costs, off the request path: taking in a decision and an outcome, a tick, and what the disruption
//! meter does at a publication that changed weights, by fleet size; and what versions of objects cost, those who look them up
//! and those who purge.
//!
//! `cargo bench --bench control` prints a table; with `-- --test` everything runs once, quickly. Goals (performance.md P9):
//! quantiles of 10,000 nodes within 20 ms a tick and 64 MB; under 1 % of a core for 1,000 nodes that report once a second.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a benchmark reads the clock, prints a table, and has small numbers"
)]

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Instant;

use tradewind::engine::control::{Control, Next};
use tradewind::engine::freshness::object::Object;
use tradewind::engine::freshness::purge::{Kind, Purge};
use tradewind::engine::freshness::selector::Selector;
use tradewind::engine::freshness::{Bounds, Ledger};
use tradewind::engine::geo::cell::Cell;
use tradewind::engine::geo::group::Group;
use tradewind::engine::geo::ranges::Ranges;
use tradewind::engine::hash::KeyHash;
use tradewind::engine::model::NodeIndex;
use tradewind::engine::policy::{self, Affinity, ClassNumber, Priority, SetNumber};
use tradewind::engine::publication;
use tradewind::engine::signal::observation::{
    AttemptResult, CacheResult, DecisionNumber, Dispatch, LoadReport, Named, Outcome, ProbeResult,
    Reporter, Standing,
};
use tradewind::engine::snapshot::{GeoState, LaneIndex, Parts, Snapshot};
use tradewind::engine::time::Moment;
use tradewind::engine::topology;

/// Outcomes recorded for each node before ticks are timed.
const WARM: u32 = 200;

fn main() {
    let quick = std::env::args().any(|argument| argument == "--test");
    println!(
        "{:>6}{:>14}{:>14}{:>16}{:>18}{:>18}{:>14}",
        "nodes", "dispatch ns", "outcome ns", "tick us", "each second's us", "publication us", "MB"
    );
    let sizes: &[u32] = if quick { &[100] } else { &[100, 1_000, 10_000] };
    for nodes in sizes {
        row(*nodes);
    }
    println!(
        "\n{:>9}{:>14}{:>14}{:>14}{:>16}{:>14}{:>10}",
        "purged", "none ns", "half ns", "prefixes ns", "purge of one ns", "of 1,000 ms", "MB"
    );
    let purged: &[usize] = if quick { &[4_096] } else { &[65_536, 1 << 20] };
    for entries in purged {
        row_of_versions(*entries);
    }
    println!(
        "\n{:>6}{:>8}{:>18}{:>18}{:>14}",
        "pairs", "groups", "round trip ns", "each second's us", "MB"
    );
    let groups: &[u32] = if quick { &[50] } else { &[50, 500, 2_048] };
    for groups in groups {
        row_of_paths(*groups);
    }
}

/// What it costs to look up the version of an object while so many are purged, and to purge.
fn row_of_versions(entries: usize) {
    let before = resident_mb();
    let mut ledger = Ledger::new(Bounds::default());
    let mut sequence = 0;
    let mut apply = |ledger: &mut Ledger, selectors: Vec<Selector>| {
        sequence += 1;
        let purge = Purge {
            sequence,
            namespace: "".into(),
            selectors,
            kind: Kind::Hard,
            over_ms: 0,
        };
        let started = Instant::now();
        ledger.apply(Moment(0), 0, &purge);
        started.elapsed()
    };
    let url = |host: &str, number: usize| Selector::Path {
        host: host.into(),
        path: path_of(number).into(),
    };
    let mut ones = Vec::new();
    let mut thousands = Vec::new();
    // A little less than there is room for, or the last ones would be made wider.
    for first in (0..entries * 15 / 16).step_by(1_000) {
        let selectors = (first..first + 1_000).map(|number| url("purged.example.com", number));
        thousands.push(apply(&mut ledger, selectors.collect()).as_secs_f64() * 1e3);
        ones.push(apply(&mut ledger, vec![url("one.example.com", first)]).as_nanos() as f64);
    }
    for number in 0..100 {
        let prefix = Selector::Prefix {
            host: "prefixes.example.com".into(),
            prefix: format!("/catalog/{number}").into(),
        };
        apply(&mut ledger, vec![prefix]);
    }
    let timed = |host: &str, far: usize| {
        // In no order, so that lines are looked up that no cache of the processor has.
        let paths: Vec<String> = (0..100_000_usize)
            .map(|number| path_of(number.wrapping_mul(7_919) % (far * 15 / 16)))
            .collect();
        let started = Instant::now();
        let mut found = 0;
        for path in &paths {
            let object = Object {
                host,
                path,
                ..Object::default()
            };
            found += u64::from(ledger.versions().look_up(&object).version > 0);
        }
        let ns = started.elapsed().as_nanos() as f64 / paths.len() as f64;
        (ns, found)
    };
    let (none, _) = timed("other.example.com", entries);
    let (half, found) = timed("purged.example.com", entries * 2);
    assert!((40_000..60_000).contains(&found), "{found} of 100,000");
    let (prefixes, _) = timed("prefixes.example.com", entries);
    println!(
        "{entries:>9}{none:>14.1}{half:>14.1}{prefixes:>14.1}{:>16.0}{:>14.3}{:>10.1}",
        median(&mut ones),
        median(&mut thousands),
        resident_mb() - before
    );
}

fn path_of(number: usize) -> String {
    format!("/catalog/item/{number}/image.jpg")
}

/// What round trips cost: groups of clients that each use eight sites.
fn row_of_paths(groups: u32) {
    const SITES: u32 = 8;
    let before = resident_mb();
    let mut bench = Bench::new(1_000);
    bench.tick(Moment(1_000));
    let without = bench.tick(Moment(2_000));
    let mut told_ns = Vec::new();
    for round in 0..24_u64 {
        let now = Moment(2_000 + round);
        for group in 0..groups {
            let group_of_clients = Group {
                cell: Cell::from_id(((60 + group / 300) << 16) | (group % 300)).unwrap(),
                asn: None,
            };
            // The same nodes for each, and so the same sites.
            bench.number = u64::from(group) * 1_000;
            bench.group = Some(group_of_clients);
            bench.dispatch(u64::from(SITES));
            let started = Instant::now();
            bench.outcomes(now, u64::from(SITES));
            told_ns.push(started.elapsed().as_nanos() as f64 / f64::from(SITES));
        }
    }
    let mut ticks: Vec<f64> = (3..33)
        .map(|second| bench.tick(Moment(second * 1_000)))
        .collect();
    let pairs = bench.control.network_pairs().0;
    println!(
        "{pairs:>6}{groups:>8}{:>18.0}{:>18.0}{:>14.1}",
        median(&mut told_ns),
        median(&mut ticks) - without,
        resident_mb() - before
    );
}

struct Bench {
    control: Control,
    snapshot: Snapshot,
    nodes: u32,
    number: u64,
    /// Whose requests they are, if round trips are told.
    group: Option<Group>,
}

impl Bench {
    fn new(nodes: u32) -> Self {
        let mut text = String::from("apiVersion: tradewind/v1\nkind: Topology\nspec:\n  sites:\n");
        for site in 0..nodes / 10 {
            let (lat, lon) = (f64::from(site % 120) - 60.0, f64::from(site % 350) - 175.0);
            writeln!(text, "  - {{id: s{site}, lat: {lat}, lon: {lon}}}").unwrap();
        }
        text.push_str("  nodes:\n");
        for node in 0..nodes {
            let site = node % (nodes / 10);
            writeln!(
                text,
                "  - {{id: n{node}, site: s{site}, address: \"n{node}.example.net:80\"}}"
            )
            .unwrap();
        }
        let topology = Arc::new(topology::compile("topology", &text).topology.unwrap());
        let text = "apiVersion: tradewind/v1\nkind: Policy\nspec:\n  pools: [{name: edge, select: {tier: edge}}]\n  \
                    rules: [{name: all, owner: bench, rollback: none, pools: [edge]}]\n";
        let policy = Arc::new(policy::compile("policy", text, &topology).policy.unwrap());
        let mut control = Control::new(1);
        let parts = Parts {
            topology,
            policy,
            candidate: None,
            geo: Arc::new(Ranges::default()),
            geo_state: GeoState::NotConfigured,
            here: None,
            signals: Arc::default(),
        };
        let snapshot = publication::adopt(&mut control, Moment(0), parts, None);
        Self {
            control,
            snapshot,
            nodes,
            number: 0,
            group: None,
        }
    }

    fn dispatch(&mut self, count: u64) {
        for _ in 0..count {
            self.number += 1;
            let node = NodeIndex(u32::try_from(self.number % u64::from(self.nodes)).unwrap());
            let dispatch = Dispatch {
                number: DecisionNumber(self.number),
                generation: 1,
                lane: LaneIndex::First,
                key: KeyHash(self.number.wrapping_mul(self.number) % 100_003),
                set: SetNumber(0),
                site: self.snapshot.topology().site_of(node),
                node,
                group: self.group,
                class: ClassNumber(0),
                priority: Priority::Normal,
                hot: false,
                named: Named::new([node]),
                is_reusable: false,
                is_trial: false,
            };
            self.control.dispatched(&dispatch, Affinity::Key);
        }
    }

    fn outcomes(&mut self, now: Moment, count: u64) {
        let from = self.number - count;
        for number in from + 1..=self.number {
            let outcome = Outcome {
                decision: Some(DecisionNumber(number)),
                attempt: 1,
                reporter: Reporter(0),
                node: NodeIndex(u32::try_from(number % u64::from(self.nodes)).unwrap()),
                result: AttemptResult::Ok,
                status: 200,
                first_byte_us: 1_500 + u32::try_from(number * 7_919 % 1_000).unwrap(),
                cache: CacheResult::Hit,
                bytes: 10_000,
                client_round_trip_us: self.group.map_or(0, |_| 30_000),
                key: None,
            };
            self.control
                .outcome(now, &outcome, Next::after(&self.snapshot));
        }
    }

    fn tick(&mut self, now: Moment) -> f64 {
        let started = Instant::now();
        std::hint::black_box(self.control.tick(now, &self.snapshot));
        started.elapsed().as_secs_f64() * 1e6
    }

    /// A node fails its probes, and a snapshot without it is published: what the meter takes to see what that moved.
    fn publication(&mut self, node: u32) -> f64 {
        let now = Moment(20_000 + u64::from(node) * 1_000);
        for _ in 0..3 {
            let result = ProbeResult {
                node: NodeIndex(node),
                healthy: false,
                took_us: 1_000,
            };
            self.control
                .probed(now, result, Next::after(&self.snapshot));
        }
        let signals = self.control.tick(now, &self.snapshot).unwrap();
        let parts = Parts {
            signals,
            ..self.snapshot.parts().clone()
        };
        let snapshot = Snapshot::build(self.snapshot.generation() + 1, parts, Some(&self.snapshot));
        let started = Instant::now();
        self.control.published(now, &snapshot);
        let took = started.elapsed().as_secs_f64() * 1e6;
        assert!(self.control.disruption().0.moved > 0.0 || self.nodes > 1_000);
        self.snapshot = snapshot;
        took
    }
}

fn row(nodes: u32) {
    let before = resident_mb();
    let mut bench = Bench::new(nodes);
    let count = u64::from(nodes.min(1_000));
    let (mut dispatch_ns, mut outcome_ns) = (Vec::new(), Vec::new());
    for round in 0..u64::from(WARM * nodes) / count {
        let now = Moment(round % 9_000);
        let started = Instant::now();
        bench.dispatch(count);
        dispatch_ns.push(started.elapsed().as_nanos() as f64 / count as f64);
        let started = Instant::now();
        bench.outcomes(now, count);
        outcome_ns.push(started.elapsed().as_nanos() as f64 / count as f64);
    }
    let (mut ticks, mut slow_ticks) = (Vec::new(), Vec::new());
    for tick in 0..60_u64 {
        for node in 0..nodes.min(if tick % 10 == 0 { nodes } else { 0 }) {
            let report = LoadReport {
                utilisation: Some(0.5),
                ..LoadReport::default()
            };
            let word = ((Reporter(0), Standing::Own), report);
            let operation = bench.snapshot.policy().operation();
            let now = Moment(9_000 + tick * 100);
            bench.control.load(now, NodeIndex(node), word, operation);
        }
        let took = bench.tick(Moment(9_000 + tick * 100));
        if tick % 10 == 0 {
            slow_ticks.push(took);
        } else {
            ticks.push(took);
        }
    }
    let mut publications: Vec<f64> = (0..10).map(|node| bench.publication(node)).collect();
    println!(
        "{nodes:>6}{:>14.0}{:>14.0}{:>16.0}{:>18.0}{:>18.0}{:>14.1}",
        median(&mut dispatch_ns),
        median(&mut outcome_ns),
        median(&mut ticks),
        median(&mut slow_ticks),
        median(&mut publications),
        resident_mb() - before
    );
}

fn median(figures: &mut [f64]) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// Memory of this process, in MB; 0 where the system does not tell.
fn resident_mb() -> f64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let resident = pages
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse::<f64>().ok());
    resident.unwrap_or(0.0) * 4_096.0 / 1e6
}
