//! The fleet in force joined with all that is known of it: what pages and answers are made from.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::clock;
use crate::state::{Published, State};
use crate::view::standing::{self, Counts, Standing};
use crate::view::{FleetView, NodeView, SiteView};
use tradewind_engine::lifecycle::{Entries, Entry, Target};
use tradewind_engine::model::{NodeIndex, SiteIndex};
use tradewind_engine::topology::{Node, Site, Topology};

/// The fleet in force with all that is known of it.
pub(super) struct Fleet<'s> {
    pub(super) published: &'s Published,
    pub(super) view: &'s FleetView,
    overrides: Arc<Entries>,
    pub(super) now_unix_ms: u64,
    /// By node.
    pub(super) standings: Vec<Standing>,
    /// By site.
    pub(super) counts: Vec<Counts>,
}

impl<'s> Fleet<'s> {
    /// What is known now.
    pub(super) fn of(state: &State, published: &'s Published, view: &'s FleetView) -> Self {
        let mut fleet = Self {
            published,
            view,
            overrides: Arc::clone(&state.fleet.borrow().overrides),
            now_unix_ms: clock::unix_ms(),
            standings: Vec::new(),
            counts: Vec::new(),
        };
        let topology = fleet.topology();
        let standings = topology.indexed_nodes().map(|(index, node)| {
            let set = (fleet.set_for(node), fleet.now_unix_ms);
            standing::of_node(node.state, set, fleet.node(index))
        });
        fleet.standings = standings.collect();
        let mut of_site = vec![Vec::new(); topology.sites().len()];
        for (node, standing) in topology.nodes().iter().zip(&fleet.standings) {
            if let Some(site) = of_site.get_mut(node.site.get()) {
                site.push(standing);
            }
        }
        let counts = of_site.into_iter();
        let counts = counts.map(|site| Counts::of_one_site(site.into_iter()));
        fleet.counts = counts.collect();
        fleet
    }

    pub(super) fn topology(&self) -> &'s Topology {
        self.published.snapshot.topology()
    }

    pub(super) fn node(&self, index: NodeIndex) -> Option<&'s NodeView> {
        self.view
            .node(&self.published.snapshot.parts().topology, index)
    }

    pub(super) fn site(&self, index: SiteIndex) -> Option<&'s SiteView> {
        self.view
            .site(&self.published.snapshot.parts().topology, index)
    }

    /// What an operator set for a node or its site.
    pub(super) fn set_for(&self, node: &Node) -> Option<&Entry> {
        let site = &self.topology().site(node.site).id;
        let own = self.overrides.get(&Target::Node(node.id.clone()));
        own.or_else(|| self.overrides.get(&Target::Site(site.clone())))
    }

    /// Every site with its position.
    pub(super) fn sites(&self) -> impl Iterator<Item = (SiteIndex, &'s Site)> + Clone {
        (0_u16..).map(SiteIndex).zip(self.topology().sites())
    }

    /// How a site is.
    pub(super) fn standing_of(&self, site: SiteIndex) -> Standing {
        let counts = self.counts.get(site.get()).copied().unwrap_or_default();
        standing::of_site(&counts, self.site(site))
    }

    /// Labels of a site, as far as all its nodes have them.
    pub(super) fn labels_of(&self, site: SiteIndex) -> BTreeMap<&'s str, &'s str> {
        let mut nodes = self.topology().nodes().iter();
        let mut nodes = nodes.by_ref().filter(|node| node.site == site);
        let Some(first) = nodes.next() else {
            return BTreeMap::new();
        };
        let mut shared: BTreeMap<&str, &str> = first
            .labels
            .iter()
            .map(|(name, value)| (&**name, &**value))
            .collect();
        for node in nodes {
            shared.retain(|name, value| node.labels.get(*name).is_some_and(|known| known == value));
        }
        shared
    }
}
