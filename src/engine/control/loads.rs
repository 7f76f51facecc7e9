//! Rates, conditions and spill: what follows from how much nodes do and how well.

use super::allowance::Allowance;
use super::event::Event;
use super::node::NodeNotes;
use super::{Control, Next, condition};
use crate::engine::balance::spill::{self, Pressure};
use crate::engine::health::breaker::State;
use crate::engine::model::{AdminState, NodeIndex, SiteIndex};
use crate::engine::time::Moment;
use crate::engine::topology::Topology;

/// Horizon of request rates, in ms.
const RATE_MS: f64 = 5_000.0;

/// Utilisation above which a node, or a site, gives away more, and below which less.
const NODE_BOUNDS: (f64, f64) = (0.95, 0.85);
const SITE_BOUNDS: (f64, f64) = (0.90, 0.80);

impl Control {
    pub(super) fn count_rates(&mut self, passed_ms: f64, topology: &Topology) {
        let keep = libm::exp(-passed_ms / RATE_MS);
        for site in &mut self.sites {
            site.rate *= keep;
        }
        for (notes, node) in self.nodes.iter_mut().zip(topology.nodes()) {
            let now = f64::from(notes.dispatched) / passed_ms * 1_000.0;
            notes.rate = notes.rate * keep + now * (1.0 - keep);
            notes.dispatched = 0;
            if let Some(site) = self.sites.get_mut(node.site.get()) {
                site.rate += now * (1.0 - keep);
            }
        }
    }

    /// Learns what is usual for nodes in good times, and moves the thresholds of spill.
    pub(super) fn learn_and_spill(&mut self, now: Moment, next: Next<'_>) {
        let operation = next.policy.operation();
        let means = self.mean_rates(next);
        let factors = balance_factors(next);
        for ((notes, node), at) in self
            .nodes
            .iter_mut()
            .zip(next.topology.nodes())
            .zip(0_usize..)
        {
            notes.refresh();
            let good_times = notes.breaker.state() == State::Closed
                && notes.condition.level() == 0
                && notes.slowdown(now) < 1.5;
            if good_times || notes.usual.is_none() {
                notes.learn();
            }
            let utilisation = notes.utilisation(now, operation);
            let factor = factors.get(at).copied().flatten();
            let ratio = factor.map(|factor| {
                let mean = means.get(node.site.get()).copied().unwrap_or(0.0);
                spill::load_ratio((notes.rate, f64::from(node.capacity)), mean, factor)
            });
            // A bound on the load reads as a utilisation that is over when the bound is.
            let by_load = ratio.map(|ratio| ratio * NODE_BOUNDS.0);
            let pressure = Pressure {
                utilisation: match (utilisation, by_load) {
                    (Some(a), Some(b)) => Some(a.max(b)),
                    (a, b) => a.or(b),
                },
                bounds: NODE_BOUNDS,
            };
            notes.spill = spill::step(notes.spill, &pressure);
            let over =
                spill::is_exhausted(notes.spill) && utilisation.is_some_and(|u| u > NODE_BOUNDS.0);
            notes.exhausted_since = over.then(|| notes.exhausted_since.unwrap_or(now));
        }
        for (site, at) in self.sites.iter_mut().zip(0_u16..) {
            let mean = utilisation_of(now, &self.nodes, (SiteIndex(at), next));
            let pressure = Pressure {
                utilisation: mean,
                bounds: SITE_BOUNDS,
            };
            site.spill = spill::step(site.spill, &pressure);
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
            let ratio = operation.moved_ratio_per_minute;
            let allowance = self.allowance.get_or_insert(Allowance::new(now, ratio));
            let Some(notes) = self.nodes.get_mut(index.get()) else {
                continue;
            };
            let weights = &operation.weights;
            let change = notes.condition.factor(weights) - condition::factor(level, weights);
            let share = f64::from(next.topology.node(index).capacity) / all * change.abs();
            if allowance.pay(now, share, ratio) {
                notes.condition.set(level);
                self.events.push(Event::Condition { node: index, level });
            }
        }
    }
}

/// The mean utilisation of a site's nodes that take traffic, by weight; `None` when none told.
pub(super) fn utilisation_of(
    now: Moment,
    nodes: &[NodeNotes],
    (site, next): (SiteIndex, Next<'_>),
) -> Option<f64> {
    let (mut sum, mut weights) = (0.0, 0.0);
    for (node, notes) in next.topology.nodes().iter().zip(nodes) {
        if node.site == site
            && node.state == AdminState::Ready
            && let Some(u) = notes.utilisation(now, next.policy.operation())
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
    for pool in next.policy.pools() {
        let (Some(factor), Some(tier)) = (pool.balance_factor, pool.plan.tiers.first()) else {
            continue;
        };
        for node in next.policy.node_set(tier.set).members() {
            if let Some(known) = factors.get_mut(node.get()) {
                *known = Some(known.map_or(factor, |known: f64| known.min(factor)));
            }
        }
    }
    factors
}
