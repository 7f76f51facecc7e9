//! Fleets, policies and clients to simulate.

use std::fmt::Write as _;
use std::sync::Arc;

use tradewind_engine::geo::Location;
use tradewind_engine::model::NodeIndex;
use tradewind_engine::policy::{self, Policy};
use tradewind_engine::time::Moment;
use tradewind_engine::topology::{self, Topology};
use tradewind_simulator::node::NodeModel;
use tradewind_simulator::rivals::Chooser;
use tradewind_simulator::traffic::{Traffic, Zipf};
use tradewind_simulator::{Setup, Simulation};

/// Sites in the order they are made: where they stand.
const PLACES: [(&str, f64, f64); 10] = [
    ("fra", 50.11, 8.68),
    ("lon", 51.51, -0.13),
    ("nyc", 40.71, -74.01),
    ("sin", 1.35, 103.82),
    ("syd", -33.87, 151.21),
    ("gru", -23.55, -46.63),
    ("nrt", 35.76, 140.39),
    ("jnb", -26.20, 28.05),
    ("sea", 47.61, -122.33),
    ("dxb", 25.25, 55.36),
];

/// A fleet: edge sites with their nodes, and a regional tier of one site behind them where asked for.
pub(crate) struct Fleet {
    pub(crate) sites: usize,
    pub(crate) nodes_per_site: usize,
    pub(crate) capacity: fn(usize) -> usize,
    pub(crate) has_regional: bool,
    pub(crate) candidates: u8,
    pub(crate) spec: &'static str,
    /// Rules before the one that takes everything.
    pub(crate) rules: &'static str,
}

impl Default for Fleet {
    fn default() -> Self {
        Self {
            sites: 3,
            nodes_per_site: 3,
            capacity: |_| 100,
            has_regional: false,
            candidates: 3,
            spec: "",
            rules: "",
        }
    }
}

impl Fleet {
    /// The fleet as it is written; every second node has the label `half: odd`, the others `half: even`.
    pub(crate) fn topology_text(&self) -> String {
        let mut text = String::from(
            "apiVersion: tradewind/v1\nkind: Topology\nspec:\n  tiers: [edge, regional, origin]\n  sites:\n",
        );
        let places = PLACES.iter().take(self.sites);
        for (id, lat, lon) in places.clone() {
            writeln!(text, "  - {{id: {id}, lat: {lat}, lon: {lon}, tier: edge}}")
                .expect("written");
        }
        if self.has_regional {
            text.push_str("  - {id: reg, lat: 48.86, lon: 2.35, tier: regional}\n");
        }
        text.push_str("  nodes:\n");
        let mut count = 0;
        for (id, ..) in places {
            for k in 0..self.nodes_per_site {
                let capacity = (self.capacity)(count);
                count += 1;
                let half = if count % 2 == 0 { "even" } else { "odd" };
                writeln!(
                    text,
                    "  - {{id: {id}-{k:02}, site: {id}, address: \"192.0.2.{count}:80\", capacity: {capacity}, \
                     labels: {{half: {half}}}}}"
                )
                .expect("written");
            }
        }
        if self.has_regional {
            for k in 0..3 {
                writeln!(
                    text,
                    "  - {{id: reg-{k}, site: reg, address: \"198.51.100.{k}:80\"}}"
                )
                .expect("written");
            }
        }
        text
    }

    pub(crate) fn topology(&self) -> Arc<Topology> {
        let compiled = topology::compile("topology.yaml", &self.topology_text());
        Arc::new(
            compiled
                .topology
                .unwrap_or_else(|| panic!("{}", compiled.diagnostics.to_lines().join("\n"))),
        )
    }

    pub(crate) fn policy(&self, topology: &Topology) -> Arc<Policy> {
        let regional = if self.has_regional {
            (
                "  - {name: regional, select: {tier: regional}}\n",
                "edge, regional",
            )
        } else {
            ("", "edge")
        };
        let text = format!(
            "apiVersion: tradewind/v1\nkind: Policy\nspec:\n{}  pools:\n  - {{name: edge, select: {{tier: edge}}}}\n{}  \
             rules:\n{}  - {{name: all, owner: test, rollback: none, candidates: {}, pools: [{}]}}\n",
            self.spec, regional.0, self.rules, self.candidates, regional.1
        );
        let compiled = policy::compile("policy.yaml", &text, topology);
        Arc::new(
            compiled
                .policy
                .unwrap_or_else(|| panic!("{}", compiled.diagnostics.to_lines().join("\n"))),
        )
    }

    /// A client beside each site.
    pub(crate) fn clients(&self) -> Vec<Location> {
        let near = |(_, lat, lon): &(&str, f64, f64)| {
            Location::new(lat + 0.3, lon + 0.3).expect("a place")
        };
        PLACES.iter().take(self.sites).map(near).collect()
    }

    /// A simulation with a traffic of `rate` requests per second and some thousand keys.
    pub(crate) fn simulate(&self, rate: f64, seed: u64) -> Simulation {
        let topology = self.topology();
        println!("seed {seed}");
        Simulation::new(Setup {
            policy: self.policy(&topology),
            topology,
            node: NodeModel::default(),
            traffic: Traffic {
                rate,
                keys: Zipf::new(20_000, 0.8),
                clients: self.clients(),
                flash_share: 0.0,
            },
            chooser: Chooser::Tradewind,
            seed,
            sketch_keys: None,
        })
    }
}

pub(crate) fn seconds(seconds: u64) -> Moment {
    Moment(seconds * 1_000)
}

pub(crate) fn node(simulation: &Simulation, id: &str) -> NodeIndex {
    simulation
        .snapshot()
        .topology()
        .find_node(id)
        .expect("the node is there")
}
