//! The terms of sites, and when decisions see them change.

use super::allowance::Allowance;
use super::deadband::Deadband;
use super::event::Event;
use super::site::{self, HitCounts, SiteView};
use super::{Control, Next};
use crate::engine::geo::distance::UnitVector;
use crate::engine::model::{ClassIndex, NodeIndex, SiteIndex};
use crate::engine::number::from_u64;
use crate::engine::policy::Operation;
use crate::engine::score::Terms;
use crate::engine::signal::Standing;
use crate::engine::snapshot::Snapshot;
use crate::engine::time::Moment;
use crate::engine::topology::Topology;

impl Control {
    /// Makes the terms of all sites. Whether decisions should see others than before.
    pub(super) fn follow_terms(&mut self, now: Moment, next: Next<'_>) -> bool {
        let (policy, topology) = (next.policy, next.topology);
        let operation = policy.operation();
        let classes = policy.classes().len() + 1;
        let count = self.sites.len();
        let members = members_by_site(topology);
        let mut standing = Vec::with_capacity(classes * count);
        let mut changed = self.signals.standing.len() != classes * count;
        for class in (0_u8..).map(ClassIndex).take(classes) {
            let means = self.tier_means(now, class, topology, operation);
            let seen = self.views(now, (class, &means), &members, next);
            let terms = |(view, at): (&SiteView, u16)| {
                let terms = policy
                    .score()
                    .standing_terms(SiteIndex(at), &view.estimates);
                (*view, terms)
            };
            let seen: Vec<(SiteView, Terms)> = seen.iter().zip(0_u16..).map(terms).collect();
            let signals: Vec<f32> = seen.iter().map(|(_, terms)| terms.standing_ms()).collect();
            let taken = self.take_terms(now, (class, classes), &signals, next);
            let any_taken = taken.contains(&true);
            changed |= any_taken;
            for (((view, terms), at), taken) in seen.into_iter().zip(0_u16..).zip(taken) {
                let site = SiteIndex(at);
                let before = self.signals.standing.get(class.get() * count + site.get());
                let mut held = before.map_or(terms, |before| before.terms);
                if taken {
                    self.events.push(Event::SiteTerms { site });
                } else if any_taken {
                    // The new terms of one site beside those of others from long ago would compare different times:
                    // what has changed for all since then is added to theirs.
                    let notes = self.sites.get(site.get());
                    let band = notes.and_then(|notes| notes.bands.get(class.get()));
                    let published = band.and_then(Deadband::published);
                    held.miss += published.map_or(0.0, |published| published - held.standing_ms());
                }
                standing.push(Standing {
                    terms: if taken { terms } else { held },
                    queue: view.queue,
                    miss: view.miss,
                    error: view.error,
                });
            }
        }
        self.signals.standing = standing;
        changed
    }

    /// What the terms of each site are made from.
    pub(super) fn views(
        &self,
        now: Moment,
        (class, means): (ClassIndex, &[f64]),
        members: &[Vec<NodeIndex>],
        next: Next<'_>,
    ) -> Vec<SiteView> {
        let (topology, policy) = (next.topology, next.policy);
        let sites = self.sites.iter().zip(topology.sites()).zip(members);
        sites
            .map(|((notes, site), nodes)| {
                let mean = means.get(site.tier.get()).copied().unwrap_or(0.0);
                let nodes = nodes.iter().filter_map(|node| {
                    let capacity = f64::from(topology.node(*node).capacity);
                    self.nodes.get(node.get()).map(|notes| (notes, capacity))
                });
                let model = (policy.score(), policy.operation());
                site::view(now, notes, nodes, (class, mean), model)
            })
            .collect()
    }

    /// For which sites it is time that decisions see the terms as they are now.
    ///
    /// Only differences between the sites of a tier choose among them. So what changes for all alike, as when all caches
    /// warm up, is taken over for all at once and counts as no change; a site must differ from that by the margin.
    pub(super) fn take_terms(
        &mut self,
        now: Moment,
        (class, classes): (ClassIndex, usize),
        signals: &[f32],
        next: Next<'_>,
    ) -> Vec<bool> {
        let operation = next.policy.operation();
        let mut taken = vec![false; signals.len()];
        for site in &mut self.sites {
            if site.bands.len() <= class.get() {
                site.bands.resize(class.get() + 1, Deadband::default());
            }
        }
        for tier in 0..next.topology.tiers().len() {
            let of_tier = |at: &usize| {
                let site = next.topology.sites().get(*at);
                site.is_some_and(|site| site.tier.get() == tier)
            };
            let members: Vec<usize> = (0..signals.len()).filter(of_tier).collect();
            let common = self.common_change(class, signals, &members);
            for at in members {
                let (Some(notes), Some(signal)) = (self.sites.get_mut(at), signals.get(at)) else {
                    continue;
                };
                let rate = notes.rate;
                let Some(band) = notes.bands.get_mut(class.get()) else {
                    continue;
                };
                band.shift(common);
                let Some(held) = band.published() else {
                    band.set(*signal);
                    continue;
                };
                let margin = operation
                    .switch_ms
                    .max(operation.switch_ratio * held.abs().max(signal.abs()));
                let due = band.observe(now, *signal, (margin, operation.switch_dwell_ms));
                let all: f64 = self.sites.iter().map(|site| site.rate).sum();
                let share = if all > 0.0 { rate / all } else { 0.0 } / from_u64(classes as u64);
                let ratio = operation.moved_ratio_per_minute;
                let allowance = self.allowance.get_or_insert(Allowance::new(now, ratio));
                if due.is_some() && allowance.pay(now, share, ratio) {
                    let band = self
                        .sites
                        .get_mut(at)
                        .and_then(|site| site.bands.get_mut(class.get()));
                    if let Some(band) = band {
                        band.set(*signal);
                    }
                    if let Some(taken) = taken.get_mut(at) {
                        *taken = true;
                    }
                }
            }
        }
        taken
    }

    /// The median of how far the terms of some sites are from what decisions see of them.
    pub(super) fn common_change(
        &self,
        class: ClassIndex,
        signals: &[f32],
        members: &[usize],
    ) -> f32 {
        let change = |at: &usize| {
            let band = self.sites.get(*at)?.bands.get(class.get())?;
            Some(signals.get(*at)? - band.published()?)
        };
        let mut changes: Vec<f32> = members.iter().filter_map(change).collect();
        changes.sort_by(f32::total_cmp);
        changes.get(changes.len() / 2).copied().unwrap_or(0.0)
    }

    /// The mean hit ratio of each tier for a class.
    pub(super) fn tier_means(
        &self,
        now: Moment,
        class: ClassIndex,
        topology: &Topology,
        operation: &Operation,
    ) -> Vec<f64> {
        (0..topology.tiers().len())
            .map(|tier| {
                let of_tier = topology
                    .nodes()
                    .iter()
                    .zip(&self.nodes)
                    .filter(|(node, _)| topology.site(node.site).tier.get() == tier);
                HitCounts::of(of_tier.map(|(_, notes)| notes), class).mean(now, operation)
            })
            .collect()
    }

    pub(super) fn follow_network(&mut self, now: Moment, snapshot: &Snapshot) -> bool {
        let (topology, policy) = (snapshot.topology(), snapshot.policy());
        let cells = snapshot.geo().cell_vectors();
        let point_of = |(cell, site): (u32, SiteIndex)| -> Option<(UnitVector, UnitVector)> {
            let cell = *cells.get(cell as usize)?;
            let site = topology.sites().get(site.get())?;
            Some((cell, site.point))
        };
        let changed = self
            .network
            .observe(now, (policy.score(), policy.operation()), point_of);
        if changed {
            self.signals.network = self.network.table();
        }
        changed
    }
}

/// The nodes of each site.
fn members_by_site(topology: &Topology) -> Vec<Vec<NodeIndex>> {
    let mut members = vec![Vec::new(); topology.sites().len()];
    for (index, node) in topology.indexed_nodes() {
        if let Some(site) = members.get_mut(node.site.get()) {
            site.push(index);
        }
    }
    members
}
