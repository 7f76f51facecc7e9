//! The fleet and the policies of these tests, as texts.

use std::fmt::Write;

/// The sites, each with its number of nodes. The third number of an address is the site's place here, the fourth the node's.
const SIZES: [(&str, u8); 5] = [("fra", 8), ("par", 4), ("nyc", 2), ("ams", 2), ("dub", 1)];

/// Where a node of the usual fleet listens.
pub(crate) fn address(id: &str) -> String {
    let (site, number) = id.split_once('-').unwrap();
    let at = SIZES.iter().position(|(name, _)| *name == site).unwrap();
    format!("10.0.{}.{number}:8080", at + 1)
}

/// The node of the usual fleet with this IP address.
pub(crate) fn node_at(ip: &str) -> String {
    let parts: Vec<usize> = ip.split('.').map(|part| part.parse().unwrap()).collect();
    format!("{}-{}", SIZES[parts[2] - 1].0, parts[3])
}

/// A node of the fleet.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) id: String,
    pub(crate) site: &'static str,
    pub(crate) address: String,
    pub(crate) capacity: u16,
    pub(crate) state: &'static str,
}

/// Three edge sites, one regional, one origin.
#[derive(Debug, Clone)]
pub(crate) struct Fleet {
    pub(crate) nodes: Vec<Node>,
}

impl Fleet {
    pub(crate) fn usual() -> Self {
        let nodes = SIZES.into_iter().flat_map(|(site, size)| {
            (1..=size).map(move |number| Node {
                id: format!("{site}-{number}"),
                site,
                address: address(&format!("{site}-{number}")),
                capacity: 100,
                state: "ready",
            })
        });
        Self {
            nodes: nodes.collect(),
        }
    }

    pub(crate) fn without(mut self, id: &str) -> Self {
        self.nodes.retain(|node| node.id != id);
        self
    }

    /// The same with everything in maintenance but the origin: a fleet of which nothing takes traffic would be held.
    pub(crate) fn of_origin_only(mut self) -> Self {
        for node in self.nodes.iter_mut().filter(|node| node.site != "dub") {
            node.state = "maintenance";
        }
        self
    }

    pub(crate) fn change(mut self, id: &str, change: impl FnOnce(&mut Node)) -> Self {
        change(self.nodes.iter_mut().find(|node| node.id == id).unwrap());
        self
    }

    /// The topology file.
    pub(crate) fn text(&self) -> String {
        let mut text = String::from(
            "apiVersion: tradewind/v1
kind: Topology
spec:
  sites:
    - {id: fra, lat: 50.03, lon: 8.57, country: DE, parents: [ams]}
    - {id: par, lat: 49.01, lon: 2.55, country: FR, parents: [ams]}
    - {id: nyc, lat: 40.64, lon: -73.78, country: US, parents: [ams]}
    - {id: ams, lat: 52.31, lon: 4.76, country: NL, tier: regional}
    - {id: dub, lat: 53.42, lon: -6.27, country: IE, tier: origin}
  nodes:
",
        );
        for Node {
            id,
            site,
            address,
            capacity,
            state,
        } in &self.nodes
        {
            writeln!(
                text,
                "    - {{id: {id}, site: {site}, address: \"{address}\", capacity: {capacity}, state: {state}}}"
            )
            .unwrap();
        }
        text
    }
}

/// A policy whose only rule has this name; every decision is kept. What a key's answer is does not depend on how often it
/// was asked for, nor a node's weight on when it joined.
pub(crate) fn policy(rule: &str) -> String {
    format!(
        "apiVersion: tradewind/v1
kind: Policy
spec:
  decision_log: {{sample_ratio: 1}}
  slow_start_window: 0ms
  pools:
    - {{name: edge, select: {{tier: edge}}, spread: {{max_copies: 1}}}}
    - {{name: regional, select: {{tier: regional}}, spread: {{max_copies: 1}}}}
    - {{name: origin, select: {{tier: origin}}, spread: {{max_copies: 1}}}}
  rules:
    - {{name: {rule}, owner: tests, rollback: none, pools: [edge, regional, origin]}}
"
    )
}

/// Policies that must be refused, each for another reason.
pub(crate) fn bad_policies() -> [String; 5] {
    let good = policy("bad");
    [
        "{".to_owned(),
        String::new(),
        good.replace("pools: [edge, regional", "pools: [edges, regional"),
        good.replace("rollback: none, ", ""),
        good.replace("  rules:", "  wheels:"),
    ]
}
