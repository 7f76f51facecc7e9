//! The nodes a plan may use in one pool: members by site, fixed until the policy or the topology changes.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::geo::distance::UnitVector;
use crate::geo::place::Country;
use crate::model::{NodeIndex, SiteIndex};
use crate::topology::{Node, Topology};

/// A set's position in the policy's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SetIndex(pub(super) u16);

impl SetIndex {
    /// The set at a position of a policy's table.
    pub fn new(position: u16) -> Self {
        Self(position)
    }

    /// The position as an offset into the table.
    pub fn get(self) -> usize {
        usize::from(self.0)
    }
}

/// Nodes of one pool that meet one plan's demands. Never empty.
#[derive(Debug, PartialEq, Eq)]
pub struct NodeSet {
    members: Vec<NodeIndex>,
    sites: Vec<SetSite>,
    is_origin: bool,
}

/// A site with at least one member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetSite {
    /// The site.
    pub site: SiteIndex,
    /// Its members' positions in [`NodeSet::members`].
    pub members: Range<usize>,
}

/// What a plan demands of nodes beyond being in the pool; never relaxed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Demands {
    /// Labels the node must have.
    pub labels: BTreeMap<String, String>,
    /// Countries its site may stand in; empty for any.
    pub countries: Vec<Country>,
}

impl Demands {
    /// Whether the node has every label.
    pub fn capable(&self, node: &Node) -> bool {
        has_labels(&node.labels, &self.labels)
    }

    /// Whether the node's site stands inside the fence.
    pub fn inside_fence(&self, node: &Node, topology: &Topology) -> bool {
        self.countries.is_empty()
            || topology
                .site(node.site)
                .country
                .is_some_and(|country| self.countries.contains(&country))
    }
}

/// Whether `labels` has every pair of `wanted`.
pub(super) fn has_labels(
    labels: &BTreeMap<String, String>,
    wanted: &BTreeMap<String, String>,
) -> bool {
    wanted
        .iter()
        .all(|(name, value)| labels.get(name) == Some(value))
}

impl NodeSet {
    /// Groups members by site. `members` comes in table order, so sites stand together.
    pub(super) fn new(members: Vec<NodeIndex>, topology: &Topology) -> Self {
        let mut sites: Vec<SetSite> = Vec::new();
        for (at, node) in members.iter().enumerate() {
            let site = topology.node(*node).site;
            match sites.last_mut() {
                Some(last) if last.site == site => last.members.end = at + 1,
                _ => sites.push(SetSite {
                    site,
                    members: at..at + 1,
                }),
            }
        }
        let last_tier = topology.tiers().len().saturating_sub(1);
        let is_origin = last_tier > 0
            && sites
                .iter()
                .all(|s| topology.site(s.site).tier.get() == last_tier);
        Self {
            members,
            sites,
            is_origin,
        }
    }

    /// The nodes, in table order.
    pub fn members(&self) -> &[NodeIndex] {
        &self.members
    }

    /// The nodes of one of the set's sites.
    pub fn members_of(&self, site: &SetSite) -> &[NodeIndex] {
        self.members.get(site.members.clone()).unwrap_or_default()
    }

    /// The sites with members, in table order.
    pub fn sites(&self) -> &[SetSite] {
        &self.sites
    }

    /// Whether all nodes are of the last tier: behind them there is nothing.
    pub fn is_origin(&self) -> bool {
        self.is_origin
    }

    /// The sites' places on the unit sphere, in the set's order.
    pub fn points(&self, topology: &Topology) -> Vec<UnitVector> {
        self.sites
            .iter()
            .map(|site| topology.site(site.site).point)
            .collect()
    }
}
