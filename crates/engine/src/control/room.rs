//! Whether what a site or node would lose finds room elsewhere.
//!
//! Who is busy is slow, and so are those who would get what it loses. A node that loses weight for it makes its peers the
//! next to be slow: a site at 85 % went from one node to the next until none was left. And a site that is left loses all its clients at once. Where the next site has not as much room they take the overload along,
//! that site is left in turn, and in the end nobody is served: one of two sites at 105 % took both down within half a minute.
//! Such a site gives clients away slice by slice instead ([`spill`](crate::balance::spill)).

use super::loads::{NODE_BOUNDS, SITE_BOUNDS, utilisation_of};
use super::{Control, Next};
use crate::geo::distance::chord_squared;
use crate::model::{AdminState, NodeIndex, SiteIndex};
use crate::signal::Admission;
use crate::time::Moment;
use crate::topology::Site;

impl Control {
    /// Whether the nearest other site of its tier could take all of a site's clients without having to give some away
    /// itself. So it is taken to be where either has not told of its load.
    pub(super) fn fits_elsewhere(&self, now: Moment, site: SiteIndex, next: Next<'_>) -> bool {
        let utilisation = |site| utilisation_of(now, &self.nodes, (site, next));
        let Some(load) = utilisation(site).map(|u| u * self.capacity(site, next)) else {
            return true;
        };
        let Some(neighbour) = self.neighbour(site, next) else {
            return true;
        };
        utilisation(neighbour).is_none_or(|u| {
            let room = (SITE_BOUNDS.0 - u) * self.capacity(neighbour, next);
            load <= room
        })
    }

    /// Whether the other nodes of its site could take a share, 0 to 1, of what a node does now. So it is taken to be where
    /// any of them has not told of its load.
    pub(super) fn fits_at_site(
        &self,
        now: Moment,
        (node, share): (NodeIndex, f64),
        next: Next<'_>,
    ) -> bool {
        let utilisation = |node: NodeIndex| {
            let notes = self.nodes.get(node.get())?;
            notes.demand(now, next.policy.operation())
        };
        let capacity = |node: NodeIndex| f64::from(next.topology.node(node).capacity);
        let Some(load) = utilisation(node).map(|u| u * capacity(node) * share) else {
            return true;
        };
        let site = next.topology.site_of(node);
        let members = self.members.get(site.get()).into_iter().flatten();
        let is_used = |node: &NodeIndex| {
            next.topology.node(*node).state == AdminState::Ready
                && self.signals.node(*node).admission == Admission::Admitted
        };
        let others = members.filter(|other| **other != node && is_used(other));
        let mut room = 0.0;
        for other in others {
            let Some(u) = utilisation(*other) else {
                return true;
            };
            room += (NODE_BOUNDS.0 - u).max(0.0) * capacity(*other);
        }
        load <= room
    }

    /// What the nodes of a site weigh that operators let take traffic.
    fn capacity(&self, site: SiteIndex, next: Next<'_>) -> f64 {
        let members = self.members.get(site.get()).into_iter().flatten();
        let nodes = members.map(|index| next.topology.node(*index));
        let ready = nodes.filter(|node| node.state == AdminState::Ready);
        ready.map(|node| f64::from(node.capacity)).sum()
    }

    /// The nearest other site of the tier that was not left itself and has a node that may be named.
    fn neighbour(&self, site: SiteIndex, next: Next<'_>) -> Option<SiteIndex> {
        let own = next.topology.site(site);
        let is_used = |site: SiteIndex| {
            let mut members = self.members.get(site.get()).into_iter().flatten();
            let is_tried = self
                .sites
                .get(site.get())
                .is_some_and(|notes| notes.on_trial.is_some());
            !is_tried
                && members.any(|node| self.signals.node(*node).admission == Admission::Admitted)
        };
        let others = next.topology.sites().iter().zip((0_u16..).map(SiteIndex));
        let others = others.filter(|(other, at)| *at != site && other.tier == own.tier);
        let used = others.filter(|(_, at)| is_used(*at));
        let distance = |other: &Site| chord_squared(own.point, other.point);
        let nearest = used.min_by(|(a, _), (b, _)| distance(a).total_cmp(&distance(b)));
        nearest.map(|(_, at)| at)
    }
}
