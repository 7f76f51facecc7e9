//! How far nodes are that are told to drop what was purged.

use crate::wire::proto::{NodeBehind, TierPurges};

/// Most nodes that a status names.
const MAX_SHOWN: usize = 64;

/// A node that is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeProgress {
    /// Its id.
    pub node: Box<str>,
    /// Its site.
    pub site: Box<str>,
    /// Its tier.
    pub tier: Box<str>,
    /// Where that stands among tiers; parents have larger numbers.
    pub tier_place: usize,
    /// It has done all purges up to this one.
    pub floor: u64,
    /// Whether nobody waits for it.
    pub is_fenced: bool,
    /// The node that it waits for.
    pub waits_for: Option<Box<str>>,
    /// Why it has not done more, where it was told.
    pub failure: Option<Box<str>>,
}

/// How far all of them are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// The nodes that are told, parents first.
    pub nodes: Vec<NodeProgress>,
}

impl Progress {
    /// How far tiers are with a purge, parents first.
    pub fn tiers(&self, sequence: u64) -> Vec<TierPurges> {
        let mut tiers: Vec<TierPurges> = Vec::new();
        for node in &self.nodes {
            let is_same = tiers.last().is_some_and(|tier| *tier.tier == *node.tier);
            if !is_same {
                tiers.push(TierPurges {
                    tier: node.tier.to_string(),
                    ..TierPurges::default()
                });
            }
            let Some(tier) = tiers.last_mut() else {
                continue;
            };
            tier.nodes += 1;
            tier.done += u32::from(node.floor >= sequence);
            tier.fenced += u32::from(node.is_fenced && node.floor < sequence);
            if !node.is_fenced {
                tier.floor = if tier.floor == 0 {
                    node.floor
                } else {
                    tier.floor.min(node.floor)
                };
            }
        }
        tiers
    }

    /// Nodes that have not done a purge, those that others wait for first.
    pub fn behind(&self, sequence: u64) -> Vec<NodeBehind> {
        let behind = self.nodes.iter().filter(|node| node.floor < sequence);
        let mut behind: Vec<&NodeProgress> = behind.collect();
        behind.sort_by_key(|node| node.waits_for.is_some());
        let shown = behind.into_iter().take(MAX_SHOWN);
        let text = |words: &Option<Box<str>>| words.as_deref().unwrap_or_default().to_owned();
        shown
            .map(|node| NodeBehind {
                node: node.node.to_string(),
                site: node.site.to_string(),
                sequence: node.floor,
                fenced: node.is_fenced,
                waits_for: text(&node.waits_for),
                failure: text(&node.failure),
            })
            .collect()
    }
}
