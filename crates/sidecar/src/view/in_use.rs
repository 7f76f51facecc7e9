//! Which nodes decisions use, as the snapshot in force has them: what files say of a node is half of it.
//!
//! A node is ready when some pool's requests may go to it for all of its keys. One that is left out for its breaker, its
//! health or its load is not, nor is one that operators drain or that no pool has; one that is readmitted is. Where too
//! little of a pool is left, decisions use another tier or everybody there is: nodes used for want of better ones are not
//! ready.

use serde::Serialize;

use tradewind_engine::model::NodeIndex;
use tradewind_engine::policy::{Pool, SetIndex};
use tradewind_engine::rank::Segment;
use tradewind_engine::snapshot::{Roster, Snapshot};

/// Most names in a list of what is not ready.
const MAX_NAMED: usize = 20;

/// How decisions use a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Use {
    /// Not at all.
    #[default]
    Not,
    /// For a slice of its keys.
    Slice,
    /// For all of its keys.
    Whole,
}

/// How many of some nodes are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Counted {
    /// All of them.
    pub nodes: usize,
    /// Those used for all of their keys.
    pub ready_nodes: usize,
    /// Those tried with a slice of their keys.
    pub probing_nodes: usize,
    /// Whether any is used for all of its keys.
    pub ready: bool,
}

/// What of the fleet is not ready, for `/readyz`.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Readiness {
    /// All nodes.
    #[serde(flatten)]
    pub all: Counted,
    /// Sites.
    pub sites: usize,
    /// Sites with a node that is ready.
    pub ready_sites: usize,
    /// The first of those without, by id.
    pub sites_not_ready: Vec<String>,
    /// The first of the pools without a node that is ready, in the policy's order.
    pub pools_not_ready: Vec<String>,
}

/// How every node is used, by position.
pub fn of_nodes(snapshot: &Snapshot) -> Vec<Use> {
    let mut used = vec![Use::Not; snapshot.topology().nodes().len()];
    let pools = snapshot.routing().pools().iter();
    let mut sets: Vec<SetIndex> = pools.map(Pool::set).collect();
    sets.sort_unstable();
    sets.dedup();
    for set in sets {
        let roster = snapshot.table(set).ready();
        let sites = snapshot.routing().node_set(set).sites().len();
        for position in (0_u16..).take(sites) {
            mark(&mut used, roster, (roster.segment(position), Use::Whole));
            mark(&mut used, roster, (roster.probing(position), Use::Slice));
        }
    }
    used
}

fn mark(used: &mut [Use], roster: &Roster, (segment, how): (Option<Segment>, Use)) {
    let positions = segment.into_iter().flat_map(Segment::positions);
    for node in positions.filter_map(|at| roster.node_at(at)) {
        if let Some(known) = used.get_mut(node.get()) {
            *known = how.max(*known);
        }
    }
}

impl Counted {
    /// Counts some of the nodes.
    pub fn of(nodes: impl IntoIterator<Item = NodeIndex>, used: &[Use]) -> Self {
        let mut counted = Self::default();
        for node in nodes {
            let how = used.get(node.get()).copied().unwrap_or_default();
            counted.nodes += 1;
            counted.ready_nodes += usize::from(how == Use::Whole);
            counted.probing_nodes += usize::from(how == Use::Slice);
        }
        counted.ready = counted.ready_nodes > 0;
        counted
    }

    /// The same for the nodes of each site, by position.
    pub fn by_site(snapshot: &Snapshot, used: &[Use]) -> Vec<Self> {
        let topology = snapshot.topology();
        let mut sites = vec![Vec::new(); topology.sites().len()];
        for (index, node) in topology.indexed_nodes() {
            if let Some(site) = sites.get_mut(node.site.get()) {
                site.push(index);
            }
        }
        let sites = sites.into_iter();
        sites.map(|nodes| Self::of(nodes, used)).collect()
    }

    /// The same for the members of a set.
    pub fn in_set(snapshot: &Snapshot, set: SetIndex, used: &[Use]) -> Self {
        let members = snapshot.routing().node_set(set).members();
        Self::of(members.iter().copied(), used)
    }
}

impl Readiness {
    /// What of a snapshot's fleet is not ready.
    pub fn of(snapshot: &Snapshot) -> Self {
        let used = of_nodes(snapshot);
        let topology = snapshot.topology();
        let sites = Counted::by_site(snapshot, &used);
        let named = topology.sites().iter().zip(&sites);
        let not_ready = named.filter(|(_, counted)| !counted.ready);
        let pools = snapshot
            .routing()
            .pools()
            .iter()
            .filter(|pool| !Counted::in_set(snapshot, pool.set(), &used).ready);
        Self {
            all: Counted::of(topology.indexed_nodes().map(|(index, _)| index), &used),
            sites: sites.len(),
            ready_sites: sites.iter().filter(|counted| counted.ready).count(),
            sites_not_ready: not_ready
                .take(MAX_NAMED)
                .map(|(site, _)| site.id.to_string())
                .collect(),
            pools_not_ready: pools
                .take(MAX_NAMED)
                .map(|pool| pool.name.to_string())
                .collect(),
        }
    }
}
