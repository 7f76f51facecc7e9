//! Feeds the balance: counts requests by key and node, keeps the hot table and the headrooms that level the load.

use std::collections::BTreeMap;

use super::positions::Mapping;
use crate::balance::headroom::{self, Carried, ColdRates, NodeLoad};
use crate::balance::hot_keys::{Group, GroupKey, HotKeys};
use crate::model::{NodeIndex, SiteIndex};
use crate::policy::Affinity;
use crate::rank::{self, Segment, Top};
use crate::signal::hot::{HotKey, HotTable};
use crate::signal::observation::Dispatch;
use crate::snapshot::{RankTable, Roster, Snapshot};

/// The writer's notes on load by key and node.
#[derive(Debug, Default)]
pub(super) struct BallastNotes {
    keys: HotKeys,
    cold: ColdRates,
    cold_counts: BTreeMap<NodeIndex, u32>,
    group_rates: BTreeMap<Group, GroupRate>,
    headroom: BTreeMap<NodeIndex, f64>,
    hot: BTreeMap<GroupKey, Hot>,
}

#[derive(Debug, Default)]
struct GroupRate {
    count: u32,
    per_second: f64,
}

/// A key in the table: its rate, and its owner, whose ordinary load it was before.
#[derive(Debug, Clone, Copy)]
struct Hot {
    rate: f64,
    owner: Option<NodeIndex>,
}

/// Horizon of a group's rate, in ms.
const GROUP_MS: f64 = 5_000.0;

impl BallastNotes {
    /// Notes that count so many keys at a time.
    pub(super) fn counting(keys: usize) -> Self {
        Self {
            keys: HotKeys::counting(keys),
            ..Self::default()
        }
    }

    /// Counts a decision.
    pub(super) fn dispatched(&mut self, dispatch: &Dispatch, affinity: Affinity) {
        let group = (dispatch.set, dispatch.site);
        self.group_rates.entry(group).or_default().count += 1;
        if affinity != Affinity::None {
            self.keys.add(GroupKey {
                group,
                key: dispatch.key,
            });
        }
        if !dispatch.hot {
            *self.cold_counts.entry(dispatch.node).or_default() += 1;
        }
    }

    /// Positions are others now: what is known goes on at its new place, and only what is gone is forgotten.
    pub(super) fn carry(&mut self, mapping: &Mapping) {
        let group_of = |(set, site): Group| mapping.set(set).zip(mapping.site(site));
        let key_of = |key: GroupKey| {
            let group = group_of(key.group)?;
            Some(GroupKey { group, ..key })
        };
        self.keys.carry(group_of);
        self.cold.carry(|node| mapping.node(node));
        let cold_counts = std::mem::take(&mut self.cold_counts).into_iter();
        for (node, count) in cold_counts {
            if let Some(node) = mapping.node(node) {
                *self.cold_counts.entry(node).or_default() += count;
            }
        }
        let group_rates = std::mem::take(&mut self.group_rates).into_iter();
        for (group, rate) in group_rates {
            if let Some(group) = group_of(group) {
                let sum = self.group_rates.entry(group).or_default();
                sum.count += rate.count;
                sum.per_second += rate.per_second;
            }
        }
        let headroom = std::mem::take(&mut self.headroom).into_iter();
        self.headroom = headroom
            .filter_map(|(node, room)| Some((mapping.node(node)?, room)))
            .collect();
        let hot = std::mem::take(&mut self.hot).into_iter();
        self.hot = hot
            .filter_map(|(key, hot)| {
                let owner = hot.owner.and_then(|node| mapping.node(node));
                Some((key_of(key)?, Hot { owner, ..hot }))
            })
            .collect();
    }

    /// A node's headroom.
    pub(super) fn headroom_of(&self, node: NodeIndex) -> f64 {
        self.headroom.get(&node).copied().unwrap_or(1.0)
    }

    /// Lets `passed_ms` pass and answers the hot table; the headrooms are fitted to it.
    pub(super) fn tick(&mut self, passed_ms: f64, snapshot: &Snapshot) -> HotTable {
        self.cold.tick(passed_ms, &self.cold_counts);
        self.cold_counts.clear();
        let keep = libm::exp(-passed_ms / GROUP_MS);
        for rate in self.group_rates.values_mut() {
            let now = f64::from(rate.count) / passed_ms * 1_000.0;
            // The first tick is all there is to go by.
            rate.per_second = if rate.per_second > 0.0 {
                rate.per_second * keep + now * (1.0 - keep)
            } else {
                now
            };
            rate.count = 0;
        }
        self.group_rates.retain(|_, rate| rate.per_second > 0.01);
        let nodes_of = |(set, site): Group| {
            // Nobody is asked for what no lane has any more.
            let Some((lane, table)) = snapshot.find(set) else {
                return (0, 1);
            };
            let segment = position(table, site).and_then(|at| table.ready().segment(at));
            let nodes = segment.map_or(0, |segment| segment.len() as usize);
            let set = lane.numbered().position_of(set);
            (nodes, set.map_or(1, |set| lane.routing().max_copies(set)))
        };
        let hot = self.keys.tick(passed_ms, nodes_of);
        self.shift_owners(&hot, snapshot);
        self.fit(&hot, snapshot);
        HotTable::new(hot)
    }

    /// Moves the rates of keys that came into the table, or left it, from or to their owners' ordinary load.
    fn shift_owners(&mut self, hot: &[HotKey], snapshot: &Snapshot) {
        let mut now = BTreeMap::new();
        for key in hot {
            let group_key = GroupKey {
                group: (key.set, key.site),
                key: key.key,
            };
            let group = self.group_rates.get(&group_key.group);
            let rate = f64::from(key.share) * group.map_or(0.0, |rate| rate.per_second);
            let owner = self.hot.get(&group_key).map_or_else(
                || copies(snapshot, key, 1).first().copied(),
                |known| known.owner,
            );
            if let Some(owner) = owner.filter(|_| !self.hot.contains_key(&group_key)) {
                self.cold.shift(owner, rate);
            }
            now.insert(group_key, Hot { rate, owner });
        }
        for (key, left) in &self.hot {
            if let Some(owner) = left.owner.filter(|_| !now.contains_key(key)) {
                self.cold.shift(owner, -left.rate);
            }
        }
        self.hot = now;
    }

    /// Fits the headrooms of every group that has hot keys.
    fn fit(&mut self, hot: &[HotKey], snapshot: &Snapshot) {
        let mut groups: BTreeMap<Group, Vec<&HotKey>> = BTreeMap::new();
        for key in hot {
            groups.entry((key.set, key.site)).or_default().push(key);
        }
        for ((set, site), keys) in groups {
            let Some((roster, segment)) = named_at(snapshot, (set, site)) else {
                continue;
            };
            let nodes: Vec<NodeLoad> = segment
                .positions()
                .filter_map(|at| roster.node_at(at))
                .map(|node| NodeLoad {
                    node,
                    weight: f64::from(snapshot.topology().node(node).capacity)
                        * f64::from(snapshot.signals().node(node).weight_factor),
                    cold_rate: self.cold.of(node),
                })
                .collect();
            let place = |node: &NodeIndex| nodes.binary_search_by_key(node, |load| load.node).ok();
            let carried: Vec<Carried> = keys
                .iter()
                .map(|key| {
                    let group_key = GroupKey {
                        group: (set, site),
                        key: key.key,
                    };
                    Carried {
                        rate: self.hot.get(&group_key).map_or(0.0, |hot| hot.rate),
                        copies: copies(snapshot, key, usize::from(key.copies))
                            .iter()
                            .filter_map(place)
                            .collect(),
                    }
                })
                .collect();
            let mut room: Vec<f64> = nodes
                .iter()
                .map(|load| self.headroom_of(load.node))
                .collect();
            headroom::fit(&nodes, &carried, &mut room);
            for (load, room) in nodes.iter().zip(room) {
                self.headroom.insert(load.node, room);
            }
        }
    }
}

/// The nodes that carry a hot key now: the first of its own order at its site.
pub fn hot_key_nodes(snapshot: &Snapshot, key: &HotKey) -> Vec<NodeIndex> {
    copies(snapshot, key, usize::from(key.copies))
}

/// The nodes of a group that may be named.
fn named_at(snapshot: &Snapshot, (set, site): Group) -> Option<(&Roster, Segment)> {
    let (_, table) = snapshot.find(set)?;
    let segment = table.ready().segment(position(table, site)?)?;
    Some((table.ready(), segment))
}

/// The position of a site in a table.
fn position(table: &RankTable, site: SiteIndex) -> Option<u16> {
    let at = table
        .sites()
        .binary_search_by_key(&site, |row| row.site)
        .ok()?;
    u16::try_from(at).ok()
}

/// The first `count` nodes of a key's order at its site.
fn copies(snapshot: &Snapshot, key: &HotKey, count: usize) -> Vec<NodeIndex> {
    let Some((roster, segment)) = named_at(snapshot, (key.set, key.site)) else {
        return Vec::new();
    };
    let mut top = Top::new(count);
    rank::rank(roster.columns(), segment, key.key, &mut top);
    top.iter()
        .filter_map(|entry| roster.node_at(entry.position))
        .collect()
}
