//! Rates, conditions and spill: what follows from how much nodes do and how well.

use super::allowance::Allowance;
use super::event::{Event, Seen};
use super::levels::lower_median;
use super::node::{NodeNotes, SLOW_FROM};
use super::{Control, Next, condition, overload};
use crate::balance::spill::{self, Pressure};
use crate::health::breaker::State;
use crate::model::{AdminState, NodeIndex, SiteIndex};
use crate::time::Moment;
use crate::topology::{Node, Topology};

/// Horizon of request rates, in ms.
const RATE_MS: f64 = 5_000.0;

/// Utilisation above which a node, or a site, gives away more, and below which less.
pub(super) const NODE_BOUNDS: (f64, f64) = (0.95, 0.85);
pub(super) const SITE_BOUNDS: (f64, f64) = (0.90, 0.80);

impl Control {
    pub(super) fn count_rates(&mut self, passed_ms: f64, topology: &Topology) {
        let keep = libm::exp(-passed_ms / RATE_MS);
        for site in &mut self.sites {
            site.rate *= keep;
        }
        for (notes, node) in self.nodes.iter_mut().zip(topology.nodes()) {
            let now = f64::from(notes.dispatched) / passed_ms * 1_000.0;
            notes.rate = notes.rate * keep + now * (1.0 - keep);
            notes.credit.sent(self.last_tick, notes.dispatched);
            let sent = u64::from(std::mem::take(&mut notes.dispatched));
            notes.totals.sent += sent;
            if let Some(site) = self.sites.get_mut(node.site.get()) {
                site.totals.all.sent += sent;
                site.rate += now * (1.0 - keep);
            }
        }
    }

    /// Learns what is usual for nodes in good times, and moves the thresholds of spill.
    pub(super) fn learn_and_spill(&mut self, now: Moment, next: Next<'_>) {
        let operation = next.policy.operation();
        let means = self.mean_rates(next);
        let factors = balance_factors(next);
        self.nodes.iter_mut().for_each(NodeNotes::refresh);
        self.compare_peers(now);
        let mut pressures = Vec::with_capacity(self.nodes.len());
        let mut sheds = self.sheds(now, next).into_iter().peekable();
        for ((notes, node), at) in self
            .nodes
            .iter_mut()
            .zip(next.topology.nodes())
            .zip(0_u32..)
        {
            let good_times = notes.breaker.state() == State::Closed
                && notes.condition.level() == 0
                && notes.slowdown(now) < SLOW_FROM;
            if good_times || notes.usual.is_none() {
                notes.learn();
            }
            let utilisation = notes.utilisation(now, operation);
            let factor = factors.get(NodeIndex(at).get()).copied().flatten();
            let ratio = factor.map(|factor| {
                let mean = means.get(node.site.get()).copied().unwrap_or(0.0);
                spill::load_ratio((notes.rate, f64::from(node.capacity)), mean, factor)
            });
            // Nodes that shed are told of in their order.
            let shed = sheds.next_if(|(node, _)| *node == NodeIndex(at));
            let by_shed = shed.and_then(|(_, shed)| shed.utilisation);
            let most = |one: Option<f64>, other: Option<f64>| {
                [one, other].into_iter().flatten().reduce(f64::max)
            };
            let at_site = self.sites.get(node.site.get());
            let seen = overload::Seen {
                utilisation: most(utilisation, by_shed),
                others_have_room: notes.others_have_room
                    || at_site.is_some_and(|site| site.others_have_room),
            };
            let demand = notes.shed(now, NodeIndex(at), seen, (next, &mut self.events));
            // A bound on the load reads as a utilisation that is over when the bound is.
            let by_load = ratio.map(|ratio| ratio * NODE_BOUNDS.0);
            let pressure = Pressure {
                utilisation: most(demand, by_load),
                bounds: NODE_BOUNDS,
            };
            notes.full = spill::fill(notes.full, &pressure);
            pressures.push(pressure);
        }
        self.spill_nodes(now, next, &pressures);
        self.spill_sites(now, next);
    }

    /// Moves what nodes give away to others of their site.
    fn spill_nodes(&mut self, now: Moment, next: Next<'_>, pressures: &[Pressure]) {
        let operation = next.policy.operation();
        let nodes = next.topology.nodes();
        let mut with_room = vec![0_usize; self.sites.len()];
        let mut below_bound = vec![0_usize; self.sites.len()];
        let takes = |notes: &NodeNotes, node: &Node| {
            node.state == AdminState::Ready && spill::has_room(notes.full)
        };
        let bound = operation.max_utilisation.unwrap_or(1.0);
        let is_below = |notes: &NodeNotes| {
            notes
                .demand(now, operation)
                .is_none_or(|demand| demand < bound)
        };
        for (notes, node) in self.nodes.iter().zip(nodes) {
            if let Some(count) = with_room.get_mut(node.site.get()) {
                *count += usize::from(takes(notes, node));
            }
            if let Some(count) = below_bound.get_mut(node.site.get()) {
                *count += usize::from(takes(notes, node) && is_below(notes));
            }
        }
        for ((notes, node), pressure) in self.nodes.iter_mut().zip(nodes).zip(pressures) {
            let at_site = with_room.get(node.site.get()).copied().unwrap_or(0);
            let others = at_site - usize::from(takes(notes, node)).min(at_site);
            notes.spill = spill::step(notes.spill, pressure, others > 0);
            let below = below_bound.get(node.site.get()).copied().unwrap_or(0);
            let own = usize::from(takes(notes, node) && is_below(notes));
            notes.others_have_room = below > own && !spill::is_exhausted(notes.spill);
            let over = spill::is_exhausted(notes.spill)
                && (notes.utilisation(now, operation)).is_some_and(|u| u > NODE_BOUNDS.0);
            notes.exhausted_since = over.then(|| notes.exhausted_since.unwrap_or(now));
        }
    }

    /// Moves what sites give away to others that some set of nodes has too.
    fn spill_sites(&mut self, now: Moment, next: Next<'_>) {
        let nodes = &self.nodes;
        let mut pressures = Vec::with_capacity(self.sites.len());
        for (site, at) in self.sites.iter_mut().zip(0_u16..) {
            let pressure = Pressure {
                utilisation: utilisation_of(now, nodes, (SiteIndex(at), next)),
                bounds: SITE_BOUNDS,
            };
            site.full = spill::fill(site.full, &pressure);
            pressures.push(pressure);
        }
        let bound = next.policy.operation().max_utilisation.unwrap_or(1.0);
        let is_below = |site: SiteIndex| {
            let pressure: Option<&Pressure> = pressures.get(site.get());
            pressure.is_none_or(|pressure| pressure.utilisation.is_none_or(|u| u < bound))
        };
        let mut has_others = vec![false; self.sites.len()];
        let mut relieved = vec![false; self.sites.len()];
        for set in next.routing().node_sets() {
            let takes = |site: SiteIndex| {
                let known = self.sites.get(site.get());
                known.is_some_and(|known| spill::has_room(known.full))
            };
            let with_room = set.sites().iter().filter(|entry| takes(entry.site));
            let count = with_room.clone().count();
            let below = with_room.filter(|entry| is_below(entry.site)).count();
            for entry in set.sites() {
                if let Some(found) = has_others.get_mut(entry.site.get()) {
                    *found |= below > usize::from(takes(entry.site) && is_below(entry.site));
                }
                if let Some(found) = relieved.get_mut(entry.site.get()) {
                    *found |= count > usize::from(takes(entry.site));
                }
            }
        }
        let room = relieved.into_iter().zip(has_others);
        for ((site, pressure), (has_room, has_others)) in
            self.sites.iter_mut().zip(pressures).zip(room)
        {
            site.spill = spill::step(site.spill, &pressure, has_room);
            site.others_have_room = has_others && !spill::is_exhausted(site.spill);
        }
    }

    /// Lets nodes know what is usual among those of their site, and whether most of them are slow.
    fn compare_peers(&mut self, now: Moment) {
        for members in &self.members {
            let nodes = members.iter().filter_map(|at| self.nodes.get(at.get()));
            let used = nodes
                .clone()
                .filter(|notes| notes.breaker.state() == State::Closed);
            let medians = used.filter_map(|notes| notes.fresh_median_us(now));
            let mut medians: Vec<f64> = medians.collect();
            let peers_us = (medians.len() > 1)
                .then(|| lower_median(&mut medians))
                .flatten();
            let (mut slow, mut known) = (0, 0);
            for is_slow in nodes.filter_map(|notes| notes.is_of_slow(now)) {
                known += 1;
                slow += usize::from(is_slow);
            }
            for at in members {
                if let Some(notes) = self.nodes.get_mut(at.get()) {
                    (notes.peers_us, notes.site_is_slow) = (peers_us, 2 * slow > known);
                }
            }
        }
    }

    /// Requests per second and unit of weight at each site.
    pub(super) fn mean_rates(&self, next: Next<'_>) -> Vec<f64> {
        let mut weights = vec![0.0; self.sites.len()];
        for node in next.topology.nodes() {
            if let Some(weight) = weights.get_mut(node.site.get())
                && node.state == AdminState::Ready
            {
                *weight += f64::from(node.capacity);
            }
        }
        let rates = self.sites.iter().zip(weights);
        rates
            .map(|(site, weight)| {
                if weight > 0.0 {
                    site.rate / weight
                } else {
                    0.0
                }
            })
            .collect()
    }

    /// Moves the conditions of nodes, the worst first, as far as the allowance goes.
    pub(super) fn follow_conditions(&mut self, now: Moment, next: Next<'_>) {
        let operation = next.policy.operation();
        let all: f64 = next
            .topology
            .nodes()
            .iter()
            .map(|node| f64::from(node.capacity))
            .sum();
        let mut changes: Vec<(u8, NodeIndex)> = Vec::new();
        for (notes, at) in self.nodes.iter_mut().zip(0_u32..) {
            if notes.breaker.state() != State::Closed {
                continue;
            }
            let signal = notes.deserves(now, operation);
            if let Some(level) = notes.condition.observe(now, signal, &operation.weights) {
                changes.push((level, NodeIndex(at)));
            }
        }
        changes.sort_by_key(|(level, node)| (std::cmp::Reverse(*level), *node));
        for (level, index) in changes {
            let weights = &operation.weights;
            let change = self.nodes.get(index.get()).map_or(0.0, |notes| {
                notes.condition.factor(weights) - condition::factor(level, weights)
            });
            if change > 0.0 && !self.fits_at_site(now, (index, change), next) {
                continue;
            }
            let ratio = operation.moved_ratio_per_minute;
            let allowance = self.allowance.get_or_insert(Allowance::new(now, ratio));
            let Some(notes) = self.nodes.get_mut(index.get()) else {
                continue;
            };
            let share = f64::from(next.topology.node(index).capacity) / all * change.abs();
            if allowance.pay(now, share, ratio) {
                let from = notes.condition.level();
                notes.condition.set(level);
                let since = *notes.worse_since.get_or_insert(now);
                if level == 0 {
                    notes.worse_since = None;
                }
                self.events.push(Event::Condition {
                    node: index,
                    level,
                    from,
                    seen: Seen::of(notes, notes.testimony.told()),
                    lasted_ms: now.since(since),
                });
            }
        }
    }
}

/// The mean utilisation that a site's nodes which take traffic would have if they shed nothing, by weight; `None` when none
/// told.
pub(super) fn utilisation_of(
    now: Moment,
    nodes: &[NodeNotes],
    (site, next): (SiteIndex, Next<'_>),
) -> Option<f64> {
    let (mut sum, mut weights) = (0.0, 0.0);
    for (node, notes) in next.topology.nodes().iter().zip(nodes) {
        if node.site == site
            && node.state == AdminState::Ready
            && let Some(u) = notes.demand(now, next.policy.operation())
        {
            sum += u * f64::from(node.capacity);
            weights += f64::from(node.capacity);
        }
    }
    (weights > 0.0).then(|| sum / weights)
}

/// The least bound on its load that any pool sets a node.
fn balance_factors(next: Next<'_>) -> Vec<Option<f64>> {
    let mut factors = vec![None; next.topology.nodes().len()];
    for pool in next.routing().pools() {
        let Some(factor) = pool.balance_factor else {
            continue;
        };
        for node in next.routing().node_set(pool.set()).members() {
            if let Some(known) = factors.get_mut(node.get()) {
                *known = Some(known.map_or(factor, |known: f64| known.min(factor)));
            }
        }
    }
    factors
}
