//! The fleet as dense tables: tiers, sites, nodes and parents, ready to be indexed by a decision.

mod address;
mod compile;
pub mod document;
mod laid_over;
pub mod removal;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use address::{Address, AddressError, AddressPattern, Host, PatternError, RefusedRange};
pub use compile::{Compiled, MAX_NODES, MAX_SITES, compile};
pub use document::{API_VERSION, TopologyDocument};
pub use laid_over::{LaidOver, States};

use super::geo::Location;
use super::geo::distance::UnitVector;
use super::geo::place::Country;
use super::hash::NodeSeed;
use super::model::{AdminState, Digest, NodeIndex, SiteIndex, TierIndex};
use crate::document::{Mark, Names};

/// A fleet that is known to be valid: at least one node, every reference resolved.
#[derive(Debug, Clone)]
pub struct Topology {
    /// What findings call the file it came from.
    file: Arc<str>,
    digest: Digest,
    name: String,
    tiers: Vec<String>,
    sites: Vec<Site>,
    nodes: Vec<Node>,
    /// The site of each node once more, side by side: nodes are wide, and a decision asks for their sites only.
    sites_of_nodes: Vec<SiteIndex>,
    /// By node: where its address stands in the file.
    address_marks: Arc<[Mark]>,
}

/// A place where nodes stand.
#[derive(Debug, Clone)]
pub struct Site {
    /// The unique name.
    pub id: Box<str>,
    /// How near to clients.
    pub tier: TierIndex,
    /// Where it stands.
    pub location: Location,
    /// The same as a vector, for distances.
    pub point: UnitVector,
    /// The country it stands in, where known.
    pub country: Option<Country>,
    /// Sites of a later tier that fill its misses, in table order.
    pub parents: Vec<SiteIndex>,
    /// USD per gigabyte sent to clients, 0 to 100.
    pub price_usd_per_gb: f32,
    /// What operators said of the whole site.
    pub state: AdminState,
}

/// A cache node.
#[derive(Debug, Clone)]
pub struct Node {
    /// The unique, stable name.
    pub id: Box<str>,
    /// The site it stands in.
    pub site: SiteIndex,
    /// Where proxies connect to.
    pub address: Address,
    /// Relative size, 1 to 1000.
    pub capacity: u16,
    /// The site's labels and its own.
    pub labels: BTreeMap<String, String>,
    /// The stricter of what operators said of the node and of its site.
    pub state: AdminState,
    /// What ranking hashes against keys; from the id alone.
    pub seed: NodeSeed,
}

impl Topology {
    /// What findings call the file it came from.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The digest of the file it came from.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The fleet's name; may be empty.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The tiers' names, nearest to clients first.
    pub fn tiers(&self) -> &[String] {
        &self.tiers
    }

    /// All sites, sorted by id.
    pub fn sites(&self) -> &[Site] {
        &self.sites
    }

    /// All nodes, sorted by site id, then node id.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The site at `index`; indices come from this topology only.
    #[expect(
        clippy::indexing_slicing,
        reason = "a SiteIndex is made from this table's positions only"
    )]
    pub fn site(&self, index: SiteIndex) -> &Site {
        &self.sites[index.get()]
    }

    /// The node at `index`; indices come from this topology only.
    #[expect(
        clippy::indexing_slicing,
        reason = "a NodeIndex is made from this table's positions only"
    )]
    pub fn node(&self, index: NodeIndex) -> &Node {
        &self.nodes[index.get()]
    }

    /// The site of the node at `index`; indices come from this topology only.
    #[expect(
        clippy::indexing_slicing,
        reason = "made of the node table, position by position"
    )]
    pub fn site_of(&self, index: NodeIndex) -> SiteIndex {
        self.sites_of_nodes[index.get()]
    }

    /// The name of a tier.
    pub fn tier_name(&self, tier: TierIndex) -> &str {
        self.tiers.get(tier.get()).map_or("", String::as_str)
    }

    /// The site called `id`.
    pub fn find_site(&self, id: &str) -> Option<SiteIndex> {
        let at = self
            .sites
            .binary_search_by(|site| (*site.id).cmp(id))
            .ok()?;
        u16::try_from(at).ok().map(SiteIndex)
    }

    /// The node called `id`. Linear: for commands and debug pages; requests use the policy's table.
    pub fn find_node(&self, id: &str) -> Option<NodeIndex> {
        let at = self.nodes.iter().position(|node| &*node.id == id)?;
        u32::try_from(at).ok().map(NodeIndex)
    }

    /// What sites are called, for findings about those who name them.
    pub fn site_names(&self) -> Names<'_> {
        let names = self.sites.iter().map(|site| &*site.id);
        Names::new("site", format!("spec.sites of `{}`", self.file), names)
    }

    /// What tiers are called, for findings about those who name them.
    pub fn tier_names(&self) -> Names<'_> {
        let names = self.tiers.iter().map(String::as_str);
        Names::new("tier", format!("spec.tiers of `{}`", self.file), names)
    }

    /// What nodes are called, for findings about those who name them.
    pub fn node_names(&self) -> Names<'_> {
        let names = self.nodes.iter().map(|node| &*node.id);
        Names::new("node", format!("spec.nodes of `{}`", self.file), names)
    }

    /// Where the address of one of its nodes stands in the file.
    pub fn address_mark(&self, node: &Node) -> Mark {
        let order = |other: &Node| (other.site, &other.id).cmp(&(node.site, &node.id));
        let at = self.nodes.binary_search_by(order).ok();
        let mark = at.and_then(|at| self.address_marks.get(at));
        mark.copied().unwrap_or_default()
    }

    /// All nodes with their indices.
    pub fn indexed_nodes(&self) -> impl Iterator<Item = (NodeIndex, &Node)> + Clone {
        (0_u32..).map(NodeIndex).zip(&self.nodes)
    }

    /// The same fleet, with the nodes named in `states` in the stricter of their own state and the one given there.
    ///
    /// Digest and indices stay what they are, so a policy that was compiled against this fleet fits that one too:
    /// compiling never asks for states. Names that no node has are passed over.
    #[must_use]
    pub fn with_states(&self, states: &States) -> Self {
        let mut fleet = self.clone();
        for node in &mut fleet.nodes {
            if let Some(state) = states.get(&node.id) {
                node.state = node.state.max(*state);
            }
        }
        fleet
    }

    /// The same fleet with every site and node ready, as a policy's examples are tried on it.
    #[must_use]
    pub fn all_ready(&self) -> Self {
        let mut fleet = self.clone();
        for node in &mut fleet.nodes {
            node.state = AdminState::Ready;
        }
        for site in &mut fleet.sites {
            site.state = AdminState::Ready;
        }
        fleet
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_laid_over_a_node_can_only_be_stricter() {
        let text = r#"
apiVersion: tradewind/v1
kind: Topology
metadata: { name: small, owner: us }
spec:
  tiers: [edge]
  sites:
    - { id: FRA, lat: 50.1, lon: 8.7 }
    - { id: AMS, lat: 52.3, lon: 4.9 }
  nodes:
    - { id: fra-1, site: FRA, address: "10.0.0.1:80", state: drain }
    - { id: fra-2, site: FRA, address: "10.0.0.2:80" }
    - { id: ams-1, site: AMS, address: "10.0.0.3:80" }
"#;
        let fleet = compile("topology.yaml", text).topology.unwrap();
        let id = |at: usize| fleet.nodes()[at].id.clone();
        let states = BTreeMap::from([
            (id(0), AdminState::Maintenance),
            (id(1), AdminState::Drain),
            ("nobody".into(), AdminState::Drain),
        ]);
        let laid_over = fleet.with_states(&states);
        assert_eq!(laid_over.digest(), fleet.digest());
        for ((index, before), after) in fleet.indexed_nodes().zip(laid_over.nodes()) {
            assert_eq!((&before.id, before.site), (&after.id, after.site));
            assert_eq!(laid_over.site_of(index), fleet.site_of(index));
            let asked = states.get(&before.id).copied().unwrap_or_default();
            assert_eq!(after.state, before.state.max(asked), "{}", before.id);
        }
        let eased = laid_over.with_states(&BTreeMap::from([(id(0), AdminState::Ready)]));
        assert_eq!(eased.nodes()[0].state, AdminState::Maintenance);
    }
}
