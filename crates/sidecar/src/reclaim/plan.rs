//! Who is told of purges, and who must have done them before.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use tradewind_engine::model::{AdminState, SiteIndex};
use tradewind_engine::policy::{Policy, Reclaim};
use tradewind_engine::topology::{Address, Topology};

/// A node that is told.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) node: Box<str>,
    pub(super) site: Box<str>,
    pub(super) tier: Box<str>,
    pub(super) tier_place: usize,
    /// Its site, as a position among those of the plan.
    pub(super) place: usize,
    pub(super) address: Address,
    pub(super) how: Arc<Reclaim>,
}

/// All nodes that are told, and the parents of their sites.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Parents first.
    pub(super) targets: Vec<Target>,
    /// By site, as positions.
    pub(super) parents: Vec<Vec<usize>>,
}

impl Plan {
    /// The nodes of pools with `reclaim`; who is in maintenance is not told and not waited for.
    pub(super) fn new(policy: &Policy, topology: &Topology) -> Self {
        let routing = policy.routing();
        let mut how: Vec<Option<Arc<Reclaim>>> = vec![None; topology.nodes().len()];
        for pool in routing.pools() {
            let Some(reclaim) = pool.reclaim.clone().map(Arc::new) else {
                continue;
            };
            for node in routing.node_set(pool.set()).members() {
                if let Some(place) = how.get_mut(node.get()) {
                    // Of a node in several pools the one that waits for it counts, else the first.
                    let is_wanted = place
                        .as_ref()
                        .is_none_or(|it| reclaim.is_awaited && !it.is_awaited);
                    if is_wanted {
                        *place = Some(Arc::clone(&reclaim));
                    }
                }
            }
        }
        let nodes = topology.nodes().iter().zip(how);
        let told = nodes.filter_map(|(node, how)| Some((node, how?)));
        let told = told.filter(|(node, _)| node.state != AdminState::Maintenance);
        let told: Vec<_> = told.collect();
        let mut places: BTreeMap<SiteIndex, usize> = BTreeMap::new();
        for (node, _) in &told {
            let next = places.len();
            places.entry(node.site).or_insert(next);
        }
        let mut parents = vec![Vec::new(); places.len()];
        for (site, place) in &places {
            if let Some(parents) = parents.get_mut(*place) {
                *parents = parents_of(topology, *site, &places);
            }
        }
        let mut targets: Vec<Target> = told
            .into_iter()
            .map(|(node, how)| {
                let site = topology.site(node.site);
                Target {
                    node: node.id.as_ref().into(),
                    site: site.id.as_ref().into(),
                    tier: topology.tier_name(site.tier).into(),
                    tier_place: site.tier.get(),
                    place: places.get(&node.site).copied().unwrap_or(0),
                    address: node.address.clone(),
                    how,
                }
            })
            .collect();
        targets.sort_by_key(|target| Reverse(target.tier_place));
        Self { targets, parents }
    }
}

/// The sites that nodes of a site may ask: the parents that it names, else all of the next tier that has any who are told.
fn parents_of(
    topology: &Topology,
    site: SiteIndex,
    places: &BTreeMap<SiteIndex, usize>,
) -> Vec<usize> {
    let here = topology.site(site);
    let named = here.parents.iter();
    let named: Vec<usize> = named.filter_map(|it| places.get(it).copied()).collect();
    if !here.parents.is_empty() {
        return named;
    }
    let tier_of = |site: &SiteIndex| topology.site(*site).tier;
    let later = places.keys().map(tier_of).filter(|tier| *tier > here.tier);
    let Some(next) = later.min() else {
        return Vec::new();
    };
    let of_next = places.iter().filter(|(site, _)| tier_of(site) == next);
    of_next.map(|(_, place)| *place).collect()
}
