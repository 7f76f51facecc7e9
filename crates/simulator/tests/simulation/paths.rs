//! Clients with last miles, ways with detours, round trips told with noise: how often the truly best site is used.
//!
//! 339 sites around 40 cities, as dense as a large fleet; clients beside some of them and between them. Nothing but the
//! ways counts: the other terms are switched off. What is compared with is the truth, which the engine never sees; a site
//! is worse by more than the margin if its way takes 10 ms and 15 % longer than the best.
//!
//! `table_of_paths` is the table of docs/benchmarks.md: more cells, longer, and with a published list of places if it is
//! in `../shared/data` (it is not part of the repository).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::sync::Arc;

use tradewind_engine::geo::Location;
use tradewind_engine::geo::cell::Cell;
use tradewind_engine::model::SiteIndex;
use tradewind_engine::{policy, topology};
use tradewind_simulator::node::NodeModel;
use tradewind_simulator::paths::{PathModel, Paths, Tally};
use tradewind_simulator::random::Random;
use tradewind_simulator::rivals::Chooser;
use tradewind_simulator::traffic::{Traffic, Zipf};
use tradewind_simulator::{Setup, Simulation};

use crate::fleet::seconds;

/// Cities that sites stand around, each with how many of them.
const CITIES: [(f64, f64, usize); 40] = [
    (50.1, 8.7, 12),
    (51.5, -0.1, 10),
    (48.9, 2.4, 9),
    (52.4, 4.9, 8),
    (40.4, -3.7, 9),
    (45.5, 9.2, 9),
    (52.2, 21.0, 8),
    (59.3, 18.1, 8),
    (48.2, 16.4, 7),
    (41.0, 29.0, 7),
    (55.8, 37.6, 6),
    (30.0, 31.2, 6),
    (25.3, 55.3, 7),
    (19.1, 72.9, 10),
    (28.6, 77.2, 10),
    (13.1, 80.3, 7),
    (1.4, 103.8, 9),
    (-6.2, 106.8, 8),
    (13.8, 100.5, 8),
    (14.6, 121.0, 7),
    (22.3, 114.2, 9),
    (25.0, 121.5, 7),
    (35.7, 139.7, 10),
    (37.6, 127.0, 9),
    (-33.9, 151.2, 9),
    (-36.8, 174.8, 5),
    (-26.2, 28.0, 8),
    (6.5, 3.4, 7),
    (-1.3, 36.8, 6),
    (40.7, -74.0, 12),
    (38.9, -77.0, 10),
    (41.9, -87.6, 10),
    (32.8, -96.8, 10),
    (34.1, -118.2, 11),
    (47.6, -122.3, 8),
    (43.7, -79.4, 8),
    (19.4, -99.1, 8),
    (4.7, -74.1, 6),
    (-23.6, -46.6, 11),
    (-34.6, -58.4, 10),
];

/// Where a site stands.
type Spot = (f64, f64);

/// A fleet, clients in some cells, and the ways between them.
struct World {
    sites: Vec<Spot>,
    /// Where clients are, each in a cell of its own.
    clients: Vec<Spot>,
    /// Requests per second of each cell.
    rate: f64,
    seed: u64,
}

/// Near a place, within so many degrees.
fn near((lat, lon): Spot, spread: f64, random: &mut Random) -> Spot {
    let lat = lat + random.between(-spread, spread);
    (lat, lon + random.between(-spread, spread))
}

/// Degrees east within -180..180.
fn on_earth(lon: f64) -> f64 {
    (lon + 540.0).rem_euclid(360.0) - 180.0
}

/// Last miles of 0 to 80 ms by cell and operator, noise of 10 % and a jitter of 3 ms in the middle and 15 for one in twenty.
const MODEL: PathModel = PathModel {
    operators: 2,
    last_mile_ms: 80.0,
    noise: 0.1,
    jitter_ms: 3.0,
    told: 1.0,
};

impl World {
    /// 339 sites; clients beside some of them or up to some hundred kilometres away.
    fn metropolitan(cells: usize, rate: f64, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let mut sites = Vec::new();
        for (lat, lon, count) in CITIES {
            sites.extend((0..count).map(|_| near((lat, lon), 6.0, &mut random)));
        }
        Self::among(sites, cells, rate, seed)
    }

    fn among(sites: Vec<Spot>, cells: usize, rate: f64, seed: u64) -> Self {
        let mut random = Random::new(!seed);
        let beside = (0..cells).map(|at| near(sites[at * sites.len() / cells], 3.0, &mut random));
        Self {
            clients: beside.collect(),
            sites,
            rate,
            seed,
        }
    }

    /// Twenty sites in twenty cities, clients in the other twenty.
    fn regions(rate: f64, seed: u64) -> Self {
        let of = |first: usize| {
            CITIES
                .iter()
                .skip(first)
                .step_by(2)
                .map(|(lat, lon, _)| (*lat, *lon))
        };
        Self {
            sites: of(0).collect(),
            clients: of(1).collect(),
            rate,
            seed,
        }
    }

    fn run(self) -> Run {
        println!("seed {}", self.seed);
        let mut text = String::from("apiVersion: tradewind/v1\nkind: Topology\nspec:\n  sites:\n");
        let mut nodes = String::from("  nodes:\n");
        for (at, (lat, lon)) in self.sites.iter().enumerate() {
            let lon = on_earth(*lon);
            writeln!(text, "  - {{id: s{at:03}, lat: {lat:.2}, lon: {lon:.2}}}").expect("written");
            let port = 1_000 + at;
            writeln!(
                nodes,
                "  - {{id: n{at:03}, site: s{at:03}, address: \"192.0.2.1:{port}\"}}"
            )
            .expect("written");
        }
        let topology = topology::compile("topology", &(text + &nodes))
            .topology
            .expect("a fleet");
        let rules = "apiVersion: tradewind/v1\nkind: Policy\nspec:\n  score:\n    queue: {weight: 0}\n    \
                     miss: {weight: 0}\n    error: {weight: 0}\n  pools: [{name: edge, select: {tier: edge}}]\n  \
                     rules: [{name: all, owner: test, rollback: none, pools: [edge]}]\n";
        let compiled = policy::compile("policy", rules, &topology);
        let policy = compiled
            .policy
            .unwrap_or_else(|| panic!("{:?}", compiled.diagnostics.to_lines()));
        let cell = |(lat, lon): &Spot| {
            Cell::of(Location::new(lat.clamp(-89.0, 89.0), on_earth(*lon)).expect("a place"))
        };
        let mut cells: Vec<Cell> = self.clients.iter().map(cell).collect();
        cells.sort_unstable();
        cells.dedup();
        let mut simulation = Simulation::new(Setup {
            topology: Arc::new(topology),
            policy: Arc::new(policy),
            node: NodeModel::default(),
            traffic: Traffic {
                rate: self.rate * cells.len() as f64,
                keys: Zipf::new(20_000, 0.8),
                clients: cells.iter().map(|cell| cell.center()).collect(),
                flash_share: 0.0,
            },
            chooser: Chooser::Tradewind,
            seed: self.seed,
            sketch_keys: None,
        });
        simulation.paths = Some(Paths::new(MODEL));
        Run {
            simulation,
            cells,
            nearest: BTreeMap::new(),
            now_s: 0,
        }
    }
}

/// A run, with the cells that clients are in.
struct Run {
    simulation: Simulation,
    cells: Vec<Cell>,
    nearest: BTreeMap<Cell, SiteIndex>,
    now_s: u64,
}

impl Run {
    fn paths(&mut self) -> &mut Paths {
        self.simulation.paths.as_mut().expect("set at the start")
    }

    /// The `count` sites that are best from a cell.
    fn best(&mut self, cell: Cell, count: usize) -> Vec<SiteIndex> {
        let truths = self.simulation.truths(cell);
        let mut sites: Vec<SiteIndex> = (0_u16..).map(SiteIndex).take(truths.len()).collect();
        sites.sort_by(|a, b| truths[a.get()].total_cmp(&truths[b.get()]));
        sites.truncate(count);
        sites
    }

    /// Lets so many seconds pass, and tells what was counted in them.
    fn pass(&mut self, what: &str, passed_s: u64) -> Tally {
        let from_s = self.now_s;
        self.now_s += passed_s;
        self.simulation.run_until(seconds(self.now_s));
        self.simulation.take_report();
        let tally = self.paths().take_tally();
        println!(
            "| {what} | {from_s} to {} s | {:.2} % | {:.2} % | {:.2} % | {:.2} ms | {} |",
            self.now_s,
            tally.best_share() * 100.0,
            tally.worse_share() * 100.0,
            tally.tried as f64 / tally.requests as f64 * 100.0,
            tally.mean_lost_ms(),
            tally.switches.values().max().unwrap_or(&0),
        );
        tally
    }

    /// The ways to the best `count` sites of every second cell take longer than their distance says, by these in turn.
    fn break_ways(&mut self, count: usize, turns_ms: &[f64]) {
        for (at, cell) in self.cells.clone().into_iter().step_by(2).enumerate() {
            for (rank, site) in self.best(cell, count).into_iter().enumerate() {
                let detour_ms = turns_ms[(at + rank) % turns_ms.len()];
                self.paths().set_detour(cell, site, detour_ms);
            }
        }
    }

    /// The way to the nearest site of each cell takes so much longer than its distance says, from now on.
    fn set_nearest(&mut self, detour_ms: f64) {
        for cell in self.cells.clone() {
            let nearest = match self.nearest.get(&cell) {
                Some(nearest) => *nearest,
                None => self.best(cell, 1)[0],
            };
            self.nearest.insert(cell, nearest);
            self.paths().set_detour(cell, nearest, detour_ms);
        }
    }

    /// No way takes what its distance says: a lognormal factor of sigma 0.25, and half as much again for one in ten.
    fn scatter_ways(&mut self, seed: u64) {
        let mut random = Random::new(seed);
        for cell in self.cells.clone() {
            for (usual_ms, at) in self
                .simulation
                .truths(cell)
                .into_iter()
                .zip((0_u16..).map(SiteIndex))
            {
                let detour = if random.unit() < 0.1 { 1.5 } else { 1.0 };
                let factor = random.lognormal(0.25) * detour;
                self.paths().set_detour(cell, at, usual_ms * (factor - 1.0));
            }
        }
    }
}

/// What holds of any minute in which nothing is to be learned any more.
#[track_caller]
fn is_settled(tally: &Tally, best: f64) {
    assert!(tally.best_share() >= best, "{tally:?}");
    assert!(tally.worse_share() <= 0.02, "{tally:?}");
    assert!(
        tally.tried as f64 <= 0.01 * tally.requests as f64 + 3.0,
        "{tally:?}"
    );
}

#[test]
fn last_miles_move_nobody() {
    for (rate, seed) in [(0.1, 51), (1.0, 52), (20.0, 53)] {
        let mut run = World::metropolitan(12, rate, seed).run();
        let tally = run.pass(&format!("last miles, {rate}/s"), 300);
        is_settled(&tally, 0.99);
        assert!(tally.switches.is_empty(), "{tally:?}");
    }
}

#[test]
fn detours_are_found_within_a_minute() {
    // One round trip in ten seconds takes longer, for there is less to go by.
    for (rate, seed, learning_s) in [(0.1, 54, 600), (1.0, 55, 60), (20.0, 56, 60)] {
        let mut run = World::metropolitan(12, rate, seed).run();
        run.break_ways(1, &[140.0, 170.0, 200.0]);
        run.pass(&format!("detours, {rate}/s, learning"), learning_s);
        is_settled(&run.pass(&format!("detours, {rate}/s"), 240), 0.97);
    }
}

#[test]
fn a_detour_that_comes_is_left_within_a_minute() {
    let mut run = World::metropolitan(6, 20.0, 57).run();
    is_settled(&run.pass("before", 120), 0.99);
    run.set_nearest(150.0);
    run.pass("a detour comes", 60);
    is_settled(&run.pass("left", 60), 0.97);
}

#[test]
fn ways_that_no_distance_tells_are_learned() {
    let mut run = World::regions(20.0, 58).run();
    run.scatter_ways(58);
    run.pass("regions, 20/s, learning", 300);
    let tally = run.pass("regions, 20/s", 120);
    assert!(tally.worse_share() <= 0.02, "{tally:?}");
    assert!(
        tally.switches.values().all(|count| *count <= 1),
        "{tally:?}"
    );
}

/// The published list of one large fleet's places, where it is at hand.
fn published() -> Option<Vec<Spot>> {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../../shared/data/pops/aws-edge-locations.csv"
    );
    let Ok(text) = fs::read_to_string(path) else {
        println!("skipped: the published places: ../shared/data is not here");
        return None;
    };
    let spot = |line: &str| {
        let numbers: Vec<f64> = line
            .split(',')
            .filter_map(|field| field.parse().ok())
            .collect();
        let [lat, lon] = numbers[..] else { return None };
        Some((lat, lon))
    };
    Some(text.lines().filter_map(spot).collect())
}

#[test]
#[ignore = "some minutes: the table of docs/benchmarks.md"]
fn table_of_paths() {
    println!(
        "| what | when | at the best | worse by the margin | tried | lost | switches of a group |"
    );
    for rate in [0.1, 1.0, 20.0] {
        let mut run = World::metropolitan(40, rate, 61).run();
        is_settled(&run.pass(&format!("last miles, {rate}/s"), 900), 0.99);
        let mut run = World::metropolitan(40, rate, 62).run();
        run.break_ways(1, &[140.0, 170.0, 200.0]);
        for passed_s in [60, 60, 180, 300, 300] {
            run.pass(&format!("a detour of 140 to 200 ms, {rate}/s"), passed_s);
        }
        let mut run = World::metropolitan(40, rate, 66).run();
        run.break_ways(3, &[140.0, 60.0, 200.0]);
        for passed_s in [60, 240, 600, 900] {
            run.pass(
                &format!("three detours of 60 to 200 ms, {rate}/s"),
                passed_s,
            );
        }
        let mut run = World::regions(rate, 63).run();
        run.scatter_ways(63);
        for passed_s in [300, 600, 900] {
            run.pass(&format!("regions, {rate}/s"), passed_s);
        }
        if let Some(sites) = published() {
            let what = format!("{} published places, a detour, {rate}/s", sites.len());
            let mut run = World::among(sites, 40, rate, 64).run();
            run.break_ways(1, &[140.0, 170.0, 200.0]);
            for passed_s in [60, 60, 480] {
                run.pass(&what, passed_s);
            }
        }
    }
    let mut run = World::metropolitan(12, 1.0, 65).run();
    run.break_ways(1, &[140.0, 170.0, 200.0]);
    run.pass("hours, 1/s", 300);
    for _ in 0..4 {
        let tally = run.pass("hours, 1/s", 3_600);
        is_settled(&tally, 0.97);
        assert!(
            tally.switches.values().all(|count| *count <= 2),
            "{tally:?}"
        );
    }
    // Far from everything, so that the next site is much worse.
    let mut run = World::regions(20.0, 67).run();
    run.pass("far sites", 120);
    run.set_nearest(300.0);
    run.pass("far sites, a detour comes", 300);
    run.set_nearest(0.0);
    for _ in 0..3 {
        run.pass("far sites, the detour is gone", 1_200);
    }
}
