//! How much of the hot keys' traffic each node should take, so that all carry the same for their weight.
//!
//! The load of a node is what its ordinary keys bring, which is measured, plus its part of every hot key it carries,
//! which follows from the headrooms. So the headrooms that level can be *solved* for, by proportional fitting as in
//! Sinkhorn's method: each is multiplied by what the node should carry over what it would, a few times at each tick,
//! beginning from the last. A controller that waits for the loads to show what a change did (the design's first
//! proposal) needs seconds after every change of the table; this one is right at the next tick.

use std::collections::BTreeMap;

use crate::model::NodeIndex;

/// Rounds of fitting at a tick. Loads change little between ticks, so few are needed.
const ROUNDS: usize = 12;

/// Bounds of a headroom, the median being 1: beyond them a node that joins a key's copies would be flooded or left out.
const LEAST: f64 = 0.001;
const MOST: f64 = 50.0;

/// A node among those that share load.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NodeLoad {
    /// The node.
    pub node: NodeIndex,
    /// Its weight.
    pub weight: f64,
    /// Requests per second of its ordinary keys.
    pub cold_rate: f64,
}

/// A hot key and who carries it.
#[derive(Debug, Clone, PartialEq)]
pub struct Carried {
    /// Requests per second.
    pub rate: f64,
    /// Positions of its copies in the list of nodes.
    pub copies: Vec<usize>,
}

/// Fits `headroom`, one number for each of `nodes` (1 where nothing is known), to the loads.
pub fn fit(nodes: &[NodeLoad], keys: &[Carried], headroom: &mut Vec<f64>) {
    headroom.resize(nodes.len(), 1.0);
    if keys.is_empty() {
        headroom.fill(1.0);
        return;
    }
    let cold: f64 = nodes.iter().map(|node| node.cold_rate).sum();
    let hot: f64 = keys.iter().map(|key| key.rate).sum();
    let weight: f64 = nodes.iter().map(|node| node.weight).sum();
    let level = (cold + hot) / weight.max(1e-9);
    // A node that is over the level already still takes a little, so that it is known what it would take.
    let wanted: Vec<f64> = nodes
        .iter()
        .map(|node| (level * node.weight - node.cold_rate).max(0.01 * level * node.weight))
        .collect();
    let mut carried = vec![0.0; nodes.len()];
    for _ in 0..ROUNDS {
        carried.fill(0.0);
        for key in keys {
            let room = |at: &usize| headroom.get(*at).copied().unwrap_or(0.0);
            let all: f64 = key.copies.iter().map(room).sum();
            for at in &key.copies {
                let part = room(at) / all.max(1e-9) * key.rate;
                if let Some(sum) = carried.get_mut(*at) {
                    *sum += part;
                }
            }
        }
        for ((room, wanted), carried) in headroom.iter_mut().zip(&wanted).zip(&carried) {
            if *carried > 0.0 {
                *room *= (wanted / carried).clamp(0.25, 4.0);
            } else {
                *room = 1.0;
            }
        }
        normalise(headroom, &carried);
    }
}

/// Brings the median of those that carry something to 1, and all into their bounds. The median, because a node that
/// carries little whatever its headroom is must not push those of all others to their lower bound.
fn normalise(headroom: &mut [f64], carried: &[f64]) {
    let pairs = headroom.iter().zip(carried);
    let mut in_use: Vec<f64> = pairs
        .filter(|(_, carried)| **carried > 0.0)
        .map(|(room, _)| *room)
        .collect();
    in_use.sort_by(f64::total_cmp);
    let median = in_use
        .get(in_use.len() / 2)
        .copied()
        .unwrap_or(1.0)
        .max(1e-9);
    for room in headroom {
        *room = (*room / median).clamp(LEAST, MOST);
    }
}

/// Ordinary requests per second of each node, fading over some seconds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ColdRates {
    rates: BTreeMap<NodeIndex, f64>,
}

/// Horizon of the ordinary rates, in ms: they change slowly, and short ones are mostly noise.
const COLD_MS: f64 = 10_000.0;

impl ColdRates {
    /// Takes in what a tick of `passed_ms` counted.
    pub fn tick(&mut self, passed_ms: f64, counts: &BTreeMap<NodeIndex, u32>) {
        let keep = libm::exp(-passed_ms / COLD_MS);
        for rate in self.rates.values_mut() {
            *rate *= keep;
        }
        for (node, count) in counts {
            let now = f64::from(*count) / passed_ms * 1_000.0;
            *self.rates.entry(*node).or_default() += now * (1.0 - keep);
        }
    }

    /// A key of so many requests per second has become hot, or (negative) is not hot any more: its owner's ordinary rate
    /// changes by that at once, before the count shows it.
    pub fn shift(&mut self, owner: NodeIndex, rate: f64) {
        let own = self.rates.entry(owner).or_default();
        *own = (*own - rate).max(0.0);
    }

    /// Nodes have other positions now: `to` tells which; what is known of those without one is forgotten.
    pub fn carry(&mut self, to: impl Fn(NodeIndex) -> Option<NodeIndex>) {
        let rates = std::mem::take(&mut self.rates).into_iter();
        self.rates = rates
            .filter_map(|(node, rate)| Some((to(node)?, rate)))
            .collect();
    }

    /// A node's ordinary rate.
    pub fn of(&self, node: NodeIndex) -> f64 {
        self.rates.get(&node).copied().unwrap_or(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loads_come_out_level_where_the_copies_allow_it() {
        let nodes: Vec<NodeLoad> = [100.0, 60.0, 80.0, 40.0]
            .iter()
            .zip(0..)
            .map(|(cold, at)| NodeLoad {
                node: NodeIndex(at),
                weight: if at == 3 { 2.0 } else { 1.0 },
                cold_rate: *cold,
            })
            .collect();
        let keys = [
            Carried {
                rate: 150.0,
                copies: vec![0, 1, 2, 3],
            },
            Carried {
                rate: 70.0,
                copies: vec![1, 3],
            },
        ];
        let mut headroom = Vec::new();
        for _ in 0..5 {
            fit(&nodes, &keys, &mut headroom);
        }
        let loads = nodes.iter().enumerate().map(|(at, node)| {
            let parts = keys
                .iter()
                .filter(|key| key.copies.contains(&at))
                .map(|key| {
                    let all: f64 = key.copies.iter().map(|copy| headroom[*copy]).sum();
                    headroom[at] / all * key.rate
                });
            (node.cold_rate + parts.sum::<f64>()) / node.weight
        });
        for load in loads {
            assert!((load - 100.0).abs() < 3.0, "{load} where 100 is level");
        }
    }
}
