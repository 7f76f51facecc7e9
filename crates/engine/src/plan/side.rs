//! Where the requests of one edition go, counted.

use std::collections::BTreeMap;

use super::answer::Answer;
use super::costs::Costs;
use super::ratio::share;
use super::report::{HitChange, Hits, RuleHits, Share};
use crate::model::{NodeIndex, RuleIndex};
use crate::snapshot::Snapshot;

/// Where the requests of one edition go.
#[derive(Debug)]
pub(super) struct Side<'s> {
    pub(super) snapshot: &'s Snapshot,
    /// Requests that are routed.
    routed: u64,
    /// By node: requests that it is the first for.
    nodes: Vec<u64>,
    /// By rule: requests that it decides.
    rules: Vec<u64>,
    pub(super) no_rule: u64,
    pub(super) costs: Costs,
}

impl<'s> Side<'s> {
    pub(super) fn new(snapshot: &'s Snapshot) -> Self {
        Self {
            snapshot,
            routed: 0,
            nodes: vec![0; snapshot.topology().nodes().len()],
            rules: vec![0; snapshot.routing().rules().len()],
            no_rule: 0,
            costs: Costs::default(),
        }
    }

    pub(super) fn add(&mut self, answer: &Answer<'_>, weight: u64) {
        let rule = answer.rule_index().map(RuleIndex::get);
        match rule.and_then(|rule| self.rules.get_mut(rule)) {
            Some(count) => *count += weight,
            None => self.no_rule += weight,
        }
        let first = answer.first().map(NodeIndex::get);
        if let Some(count) = first.and_then(|node| self.nodes.get_mut(node)) {
            *count += weight;
            self.routed += weight;
            self.costs.add(answer.expected_ms(), weight);
        }
    }

    /// Requests by node, and by site.
    fn by_id(&self) -> (Counts<'s>, Counts<'s>) {
        let topology = self.snapshot.topology();
        let mut sites: Counts<'s> = topology.sites().iter().map(|it| (&*it.id, 0)).collect();
        let mut nodes = Counts::new();
        for (node, count) in topology.nodes().iter().zip(&self.nodes) {
            *sites.entry(&topology.site(node.site).id).or_default() += count;
            nodes.insert(&node.id, *count);
        }
        (sites, nodes)
    }
}

/// Requests by id.
type Counts<'s> = BTreeMap<&'s str, u64>;

/// Where requests go, by site and by node; whatever has none on both sides is left out.
pub(super) fn shares(before: &Side<'_>, after: &Side<'_>) -> (Vec<Share>, Vec<Share>) {
    let (old_sites, old_nodes) = before.by_id();
    let (new_sites, new_nodes) = after.by_id();
    let routed = (before.routed, after.routed);
    (
        merged(&old_sites, &new_sites, routed),
        merged(&old_nodes, &new_nodes, routed),
    )
}

fn merged(old: &Counts<'_>, new: &Counts<'_>, routed: (u64, u64)) -> Vec<Share> {
    let mut all: BTreeMap<&str, Hits> = BTreeMap::new();
    for (id, count) in old {
        all.entry(id).or_default().before = *count;
    }
    for (id, count) in new {
        all.entry(id).or_default().after = *count;
    }
    let used = all.into_iter().filter(|(_, hits)| *hits != Hits::default());
    used.map(|(id, requests)| Share {
        id: id.into(),
        requests,
        before: share(requests.before, routed.0),
        after: share(requests.after, routed.1),
    })
    .collect()
}

/// How often each rule decides: those of `after` in order, then those that only `before` has.
pub(super) fn rules(before: &Side<'_>, after: &Side<'_>) -> Vec<RuleHits> {
    let named = |side: &Side<'_>| {
        let rules = side.snapshot.routing().rules().iter();
        let named = rules.zip(side.rules.clone());
        named
            .map(|(rule, count)| (rule.name.clone(), count))
            .collect::<Vec<_>>()
    };
    let (old, new) = (named(before), named(after));
    let old_by_name: BTreeMap<_, _> = old.iter().map(|(name, count)| (name, *count)).collect();
    let new_by_name: BTreeMap<_, _> = new.iter().map(|(name, count)| (name, *count)).collect();
    let gone = old
        .iter()
        .filter(|(name, _)| !new_by_name.contains_key(name));
    let all = new.iter().chain(gone).map(|(name, _)| name);
    all.map(|name| {
        let before = old_by_name.get(name).copied();
        let after = new_by_name.get(name).copied();
        RuleHits {
            rule: name.clone(),
            before,
            after,
            change: HitChange::of(before, after),
        }
    })
    .collect()
}
