//! Where keys and clients are at home before and after: what moved, what had to, and what is cold.
//!
//! A *key* is an object as one client group asks for it: it has one first node, and it is counted once however often it
//! is asked for. Only what a node keeps is a key; requests to pools without affinity by key, and to the origin, have none.
//!
//! A key *moved* when its first node is another. It *had to* where the new edition could not name the old node first: the
//! node is gone, takes no traffic any more, or is not of the tier that the request's rule begins with. So many must move
//! wherever the others are placed: least possible. What balance asks for is not in it: nodes that are new or larger get
//! their share by keys that could have stayed.
//!
//! An object is *cold* at a node that has it afterwards and had it for nobody before. Each such pair is one fetch.

use std::collections::{HashMap, HashSet};

use foldhash::fast::FixedState;

use super::answer::{Answer, object};
use super::report::Moved;
use crate::hash::KeyHash;

/// Most keys, and most client groups, and most pairs of object and node, that are followed: some 24 bytes each. Later ones
/// are counted and left out.
const MAX_FOLLOWED: usize = 1 << 20;

/// What is known of homes.
#[derive(Debug, Default)]
pub(super) struct Homes {
    keys: HashSet<KeyHash, FixedState>,
    /// Whether a client group has moved.
    clients: HashMap<KeyHash, bool, FixedState>,
    copies: HashMap<KeyHash, Copy, FixedState>,
    pub(super) moved_keys: Moved,
    /// Keys that moved and had to.
    pub(super) forced_keys: u64,
    pub(super) moved_clients: Moved,
    /// Pairs of an object and a node where it is cold.
    pub(super) cold: u64,
    /// The same, each as often as the request that found it counts.
    pub(super) fetches: u64,
}

/// An object at a node.
#[derive(Debug, Clone, Copy, Default)]
struct Copy {
    is_before: bool,
    /// How much it counts as a fetch; nothing where it is none.
    weight: Option<u64>,
}

/// Both answers, and whether they name the same first node and site.
#[derive(Clone, Copy)]
pub(super) struct Pair<'a> {
    pub(super) before: &'a Answer<'a>,
    pub(super) after: &'a Answer<'a>,
    pub(super) same_node: bool,
    pub(super) had_to: bool,
}

impl Homes {
    /// Takes both answers to a request that counts as `weight` of them.
    pub(super) fn add(&mut self, pair: Pair<'_>, weight: u64) {
        let group = pair.before.group();
        let object = object(pair.before, pair.after);
        self.add_client(pair, group);
        if pair.before.is_kept() {
            self.add_key(pair, object, group);
        }
        self.add_copies(pair, object, weight);
    }

    fn add_client(&mut self, pair: Pair<'_>, group: KeyHash) {
        let Some(old) = pair.before.site() else {
            return;
        };
        let moved = pair.after.site().is_none_or(|new| new.id != old.id);
        if let Some(known) = self.clients.get_mut(&group) {
            self.moved_clients.moved += u64::from(moved && !*known);
            *known |= moved;
        } else if self.clients.len() < MAX_FOLLOWED {
            self.clients.insert(group, moved);
            self.moved_clients.looked_at += 1;
            self.moved_clients.moved += u64::from(moved);
        } else {
            self.moved_clients.not_followed += 1;
        }
    }

    fn add_key(&mut self, pair: Pair<'_>, object: KeyHash, group: KeyHash) {
        // Another rule may use other pools for the same object.
        let rule = |answer: &Answer<'_>| answer.rule_index().map_or(u16::MAX, |rule| rule.0);
        let key = object
            .then(&group.0.to_le_bytes())
            .then(&rule(pair.before).to_le_bytes())
            .then(&rule(pair.after).to_le_bytes());
        if self.keys.len() >= MAX_FOLLOWED && !self.keys.contains(&key) {
            self.moved_keys.not_followed += 1;
        } else if self.keys.insert(key) {
            self.moved_keys.looked_at += 1;
            self.moved_keys.moved += u64::from(!pair.same_node);
            self.forced_keys += u64::from(pair.had_to);
        }
    }

    fn add_copies(&mut self, pair: Pair<'_>, object: KeyHash, weight: u64) {
        if let Some(copy) = self.copy(pair.before, object) {
            copy.is_before = true;
            let spared = copy.weight.take();
            self.cold -= u64::from(spared.is_some());
            self.fetches -= spared.unwrap_or(0);
        }
        // What went past every cache went to the origin each time: a copy only spares it work.
        if pair.before.is_routed() && !pair.before.is_kept() {
            return;
        }
        let Some(copy) = self.copy(pair.after, object) else {
            return;
        };
        if !copy.is_before && copy.weight.is_none() {
            copy.weight = Some(weight);
            self.cold += 1;
            self.fetches += weight;
        }
    }

    /// The copy of an object at the first node of an answer, if that keeps it and is followed.
    fn copy(&mut self, answer: &Answer<'_>, object: KeyHash) -> Option<&mut Copy> {
        let node = answer.node().filter(|_| answer.is_kept())?;
        let pair = object.then(&node.seed.0.to_le_bytes());
        let is_full = self.copies.len() >= MAX_FOLLOWED && !self.copies.contains_key(&pair);
        (!is_full).then(|| self.copies.entry(pair).or_default())
    }
}
