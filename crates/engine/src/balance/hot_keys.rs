//! Which keys are hot, with hysteresis: a key that comes and goes at the edge of the table costs misses each time.

use std::collections::BTreeMap;

use crate::hash::KeyHash;
use crate::model::SiteIndex;
use crate::number::{from_u64, narrow};
use crate::policy::SetNumber;
use crate::signal::hot::{HotKey, MAX_COPIES, MAX_HOT_KEYS};
use crate::signal::sketch::{Counter, Sketch};

/// Keys counted.
const SKETCH_KEYS: usize = 16_384;

/// Horizons of the two sketches, in ms: one to rise at once, one to stay.
const FAST_MS: f64 = 2_000.0;
const SLOW_MS: f64 = 30_000.0;

/// A key is hot from this share of its fair share of one node on. Lower levels better and costs more copies.
const RISE: f64 = 0.03;

/// Below this it is not any more.
const STAY: f64 = 0.6 * RISE;

/// Counts below which a key is never hot: some eight and five requests a second. So few need no levelling.
const FAST_LEAST: f64 = 16.0;
const SLOW_LEAST: f64 = 150.0;

/// A key counted less often over either horizon cannot have its fair share's smallest part, and is only looked at if it is hot.
const LEAST_JUDGED: f64 = 8.0;

/// Copies of a key: enough that each carries at most this share of what one node should carry …
const SHARE_PER_COPY: f64 = 0.25;

/// … and at least so many: fewer level badly.
const MIN_COPIES: f64 = 8.0;

/// The nodes of a set at a site: what a key is hot among.
pub type Group = (SetNumber, SiteIndex);

/// A key among a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupKey {
    /// The group.
    pub group: Group,
    /// The key.
    pub key: KeyHash,
}

/// Counts of keys and groups, and which keys are hot.
#[derive(Debug)]
pub struct HotKeys {
    fast: Sketch<GroupKey>,
    slow: Sketch<GroupKey>,
    totals: BTreeMap<Group, Totals>,
    hot: BTreeMap<GroupKey, u8>,
}

/// Requests of a group, fading like the sketches do.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Totals {
    fast: f64,
    slow: f64,
}

impl Default for HotKeys {
    fn default() -> Self {
        Self::counting(SKETCH_KEYS)
    }
}

impl HotKeys {
    /// Counts so many keys at a time.
    pub fn counting(keys: usize) -> Self {
        Self {
            fast: Sketch::new(keys),
            slow: Sketch::new(keys),
            totals: BTreeMap::new(),
            hot: BTreeMap::new(),
        }
    }

    /// Groups have other names now: `to` tells which; what was counted for those without one is forgotten.
    pub fn carry(&mut self, to: impl Fn(Group) -> Option<Group>) {
        let key_of = |key: GroupKey| {
            let group = to(key.group)?;
            Some(GroupKey { group, ..key })
        };
        self.fast.rename(key_of);
        self.slow.rename(key_of);
        for (group, counted) in std::mem::take(&mut self.totals) {
            if let Some(group) = to(group) {
                let totals = self.totals.entry(group).or_default();
                totals.fast += counted.fast;
                totals.slow += counted.slow;
            }
        }
        for (key, copies) in std::mem::take(&mut self.hot) {
            if let Some(key) = key_of(key) {
                let known = self.hot.entry(key).or_default();
                *known = copies.max(*known);
            }
        }
    }

    /// Counts a request.
    pub fn add(&mut self, key: GroupKey) {
        self.fast.add(key);
        self.slow.add(key);
        let totals = self.totals.entry(key.group).or_default();
        totals.fast += 1.0;
        totals.slow += 1.0;
    }

    /// Lets `passed_ms` pass and answers the hot keys, hottest first; `nodes_of` tells the nodes of a group, and most
    /// copies of a key among them.
    pub fn tick(&mut self, passed_ms: f64, nodes_of: impl Fn(Group) -> (usize, u8)) -> Vec<HotKey> {
        let mut hot = BTreeMap::new();
        // Nearly all keys of a sketch are seldom asked for, and looking each up would be most of a tick's work.
        let often = |counter: &&Counter<GroupKey>| f64::from(counter.count) >= LEAST_JUDGED;
        let counters = self.slow.counters().iter().chain(self.fast.counters());
        for counter in counters.filter(often) {
            self.judge(counter.key, &nodes_of, &mut hot);
        }
        for key in self.hot.keys() {
            if self.slow.get(*key).or(self.fast.get(*key)).is_some() {
                self.judge(*key, &nodes_of, &mut hot);
            }
        }
        self.hot = hot
            .iter()
            .map(|(key, found)| (*key, found.copies))
            .collect();
        let mut keys: Vec<HotKey> = hot.into_values().collect();
        keys.sort_by(|a, b| b.share.total_cmp(&a.share).then(a.key.cmp(&b.key)));
        keys.truncate(MAX_HOT_KEYS);
        self.fade(passed_ms);
        keys
    }

    fn fade(&mut self, passed_ms: f64) {
        let [fast, slow] = [FAST_MS, SLOW_MS].map(|horizon| libm::exp(-passed_ms / horizon));
        if self.slow.total() < 0.5 {
            self.fast.clear();
            self.slow.clear();
        }
        self.fast.fade(narrow(fast));
        self.slow.fade(narrow(slow));
        self.totals.retain(|_, totals| {
            totals.fast *= fast;
            totals.slow *= slow;
            totals.slow > 0.01
        });
    }

    /// Takes a key in if its share, over either horizon, is high enough to rise or to stay.
    fn judge(
        &self,
        key: GroupKey,
        nodes_of: &impl Fn(Group) -> (usize, u8),
        hot: &mut BTreeMap<GroupKey, HotKey>,
    ) {
        if hot.contains_key(&key) {
            return;
        }
        let Some(totals) = self.totals.get(&key.group) else {
            return;
        };
        let known = self.hot.get(&key).copied();
        let (nodes, max_copies) = nodes_of(key.group);
        let nodes = from_u64(nodes as u64);
        if nodes < 2.0 || max_copies < 2 {
            return;
        }
        let fast = self.fast.get(key).map_or(0.0, sure);
        let slow = self.slow.get(key).map_or(0.0, sure);
        // Counts are random: a fast one must be above the bar by three of its deviations.
        let fast_is_high =
            fast - 3.0 * fast.sqrt() >= totals.fast * RISE / nodes && fast >= FAST_LEAST;
        let slow_is_high = slow - slow.sqrt() >= totals.slow * RISE / nodes && slow >= SLOW_LEAST;
        let stays = slow >= totals.slow * STAY / nodes || fast_is_high;
        if !(fast_is_high || slow_is_high || (known.is_some() && stays)) {
            return;
        }
        let slow_share = slow / totals.slow.max(1.0);
        let fast_share = fast / totals.fast.max(1.0);
        // The slow count is the better one while both agree.
        let deviation = fast.sqrt().max(1.0) / totals.fast.max(1.0);
        let share = if (fast_share - slow_share).abs() > 3.0 * deviation {
            fast_share
        } else {
            slow_share
        };
        let (set, site) = key.group;
        hot.insert(
            key,
            HotKey {
                key: key.key,
                set,
                site,
                share: narrow(share),
                copies: copies(share * nodes, known).min(max_copies),
            },
        );
    }
}

/// What a counter has counted for certain.
fn sure(counter: Counter<GroupKey>) -> f64 {
    f64::from(counter.count - counter.error)
}

/// How many nodes carry a key that alone would fill `nodes` of them; fewer than before only when far fewer would do.
fn copies(nodes: f64, before: Option<u8>) -> u8 {
    let wanted = (nodes / SHARE_PER_COPY)
        .ceil()
        .clamp(MIN_COPIES, f64::from(MAX_COPIES));
    let before = f64::from(before.unwrap_or(0));
    let kept = if wanted < before && wanted > 0.6 * before {
        before
    } else {
        wanted
    };
    crate::number::share_of_u8(kept / 256.0)
}
