//! What a rollout costs in hits: the same change, told apart by object and by group of clients.

use tradewind_engine::geo::Location;
use tradewind_engine::snapshot::Cohort;
use tradewind_simulator::node::NodeModel;
use tradewind_simulator::traffic::{Traffic, Zipf};

use super::{governed, policy, spread, start};
use crate::fleet::{Fleet, seconds};

const NODES_AT_SITE: usize = 4;

/// A fleet with caches that hold a part of what is asked for.
#[derive(Debug, Clone, Copy)]
struct Scene {
    keys: u32,
    exponent: f64,
    /// Of all objects, how many fit into the caches of a site together, in percent.
    room_percent: usize,
    /// Requests a second.
    rate: f64,
    /// How long caches fill, and how long a rollout lasts before it is steady and after, in seconds.
    lengths: [u64; 4],
}

/// Hit ratios in percent.
#[derive(Debug, Clone, Copy)]
struct Hits {
    /// Right after half of the requests were given to the candidate.
    first: f64,
    /// When caches had time to make up for that.
    steady: f64,
}

/// The hit ratios of one seed without a rollout, by object and by group of clients.
struct Beside {
    none: Hits,
    key: Hits,
    client: Hits,
}

impl Scene {
    /// The same requests three times.
    fn beside(self, seed: u64) -> Beside {
        let [none, key, client] = [None, Some(Cohort::Key), Some(Cohort::ClientGroup)]
            .map(|cohort| self.run(cohort, seed));
        Beside { none, key, client }
    }

    /// The hit ratios while half of the requests are decided by a policy that makes its keys otherwise.
    fn run(self, cohort: Option<Cohort>, seed: u64) -> Hits {
        let fleet = Fleet {
            nodes_per_site: NODES_AT_SITE,
            ..Fleet::default()
        };
        let node = NodeModel {
            cache_objects: self.keys as usize * self.room_percent / 100 / NODES_AT_SITE,
            // Nodes are far from their limits: what is measured is where copies are.
            rate_per_capacity: 1_000.0,
            ..NodeModel::default()
        };
        let traffic = Traffic {
            rate: self.rate,
            keys: Zipf::new(self.keys, self.exponent),
            clients: clients(),
            flash_share: 0.0,
        };
        let half = "{stages: [{percent: 50, hold: 24h}], guards: []}";
        let in_force = policy(half, "pools: [edge]");
        let candidate = policy(half, "pools: [edge], key: {host: false}");
        let mut governed = governed(&fleet, &in_force, (node, traffic, seed));
        let [warm, first, settle, steady] = self.lengths;
        let mut now = warm;
        governed.run_until(seconds(now));
        if cohort.is_some() {
            // By object is what is chosen for such a change.
            let asked = cohort.filter(|it| *it == Cohort::ClientGroup);
            start(&mut governed, &candidate, asked);
            assert_eq!(governed.steward.rollout().map(|it| it.cohort), cohort);
        }
        let mut pass = |length: u64| {
            governed.simulation.take_report();
            now += length;
            governed.run_until(seconds(now));
            100.0 * governed.simulation.take_report().hit_ratio()
        };
        let first = pass(first);
        pass(settle);
        let steady = pass(steady);
        Hits { first, steady }
    }
}

/// One client in each of some hundred cells around the sites, so that half of the groups are about half of the clients.
fn clients() -> Vec<Location> {
    let around = Fleet::default().clients().into_iter().flat_map(|site| {
        (0..144_i32).filter_map(move |k| {
            let (lat, lon) = (f64::from(k % 12) - 6.0, f64::from(k / 12) * 2.0 - 12.0);
            Location::new(site.latitude() + lat, site.longitude() + lon)
        })
    });
    around.collect()
}

#[test]
fn half_of_the_objects_cost_no_hits_where_half_of_the_clients_cost_ten_points() {
    let scene = Scene {
        keys: 4_000,
        exponent: 0.8,
        room_percent: 20,
        rate: 1_000.0,
        lengths: [30, 20, 10, 40],
    };
    for seed in [41, 42] {
        let Beside { none, key, client } = scene.beside(seed);
        println!("seed {seed}: without {none:?}, by key {key:?}, by client group {client:?}");
        assert!(none.steady - key.steady <= 0.3, "{key:?} of {none:?}");
        assert!(none.steady - client.steady >= 7.0, "{client:?} of {none:?}");
    }
}

/// The table in docs/benchmarks.md.
#[test]
#[ignore = "takes ten minutes"]
fn table_of_rollouts() {
    const SEEDS: std::ops::RangeInclusive<u64> = 1..=5;
    println!(
        "| Zipf | room of a site | hits % without | by key | by client group | points lost by key | by client group | \
         first minute, by key | by client group |\n|---|---|---|---|---|---|---|---|---|"
    );
    for (exponent, room_percent) in [
        (0.8, 5),
        (0.8, 10),
        (0.8, 20),
        (0.8, 40),
        (1.0, 10),
        (1.0, 20),
    ] {
        let scene = Scene {
            keys: 20_000,
            exponent,
            room_percent,
            rate: 1_500.0,
            lengths: [120, 60, 60, 60],
        };
        let runs: Vec<Beside> = SEEDS.map(|seed| scene.beside(seed)).collect();
        let of = |value: fn(&Beside) -> f64| spread(runs.iter().map(value).collect());
        let hits = [
            of(|it| it.none.steady),
            of(|it| it.key.steady),
            of(|it| it.client.steady),
        ];
        let lost = [
            of(|it| it.none.steady - it.key.steady),
            of(|it| it.none.steady - it.client.steady),
            of(|it| it.none.first - it.key.first),
            of(|it| it.none.first - it.client.first),
        ];
        let [none, key, client] = hits.map(|(median, ..)| format!("{median:.2}"));
        let lost = lost.map(|(median, least, most)| format!("{median:.2} ({least:.2}..{most:.2})"));
        println!(
            "| {exponent:.1} | {room_percent} % | {none} | {key} | {client} | {} |",
            lost.join(" | ")
        );
    }
}
