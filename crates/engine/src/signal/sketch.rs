//! Which keys are asked for most, in bounded memory: Space-Saving (Metwally, Agrawal, El Abbadi 2005) with fading counts.
//!
//! A table of `capacity` keys. A key that is not in it takes the place of the one counted least and inherits its count,
//! so a count is never too small and too large by at most the least count. All counts fade by the same factor at each
//! tick, which turns them into rates over a horizon.
//!
//! The least is found without a heap: the lowest sixteenth of the table is sorted now and then, and its keys are replaced
//! in turn. So the one replaced is among the lowest sixteenth rather than the very least, which a test bounds, and an
//! update costs a look into a table and, for a new key, a step of the hand.

use std::collections::HashMap;
use std::hash::Hash;

use foldhash::fast::FixedState;

/// Counts of the most frequent keys.
#[derive(Debug, Clone)]
pub struct Sketch<K> {
    counters: Vec<Counter<K>>,
    positions: HashMap<K, u32, FixedState>,
    capacity: usize,
    /// Positions of the counters, least first, as of the last time they were sorted; the hand takes victims from here.
    victims: Vec<u32>,
    /// The greatest count of the victims when they were sorted: what still counts as least.
    victim_bound: f32,
    hand: usize,
    total: f64,
}

/// One key's count.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Counter<K> {
    /// The key.
    pub key: K,
    /// Its fading count; never too small.
    pub count: f32,
    /// By how much the count may be too large.
    pub error: f32,
}

impl<K: Copy + Eq + Hash> Sketch<K> {
    /// A sketch of `capacity` keys, at least 16.
    pub fn new(capacity: usize) -> Self {
        let capacity = capacity.max(16);
        Self {
            counters: Vec::with_capacity(capacity),
            positions: HashMap::with_capacity_and_hasher(capacity, FixedState::default()),
            capacity,
            victims: Vec::new(),
            victim_bound: 0.0,
            hand: 0,
            total: 0.0,
        }
    }

    /// Counts a key once.
    pub fn add(&mut self, key: K) {
        self.total += 1.0;
        if let Some(at) = self.positions.get(&key) {
            if let Some(counter) = self.counters.get_mut(*at as usize) {
                counter.count += 1.0;
            }
            return;
        }
        if self.counters.len() < self.capacity {
            let at = u32::try_from(self.counters.len()).unwrap_or(u32::MAX);
            self.positions.insert(key, at);
            self.counters.push(Counter {
                key,
                count: 1.0,
                error: 0.0,
            });
            return;
        }
        self.replace(key);
    }

    fn replace(&mut self, key: K) {
        let Some(at) = self.victim() else { return };
        if let Some(counter) = self.counters.get_mut(at as usize) {
            self.positions.remove(&counter.key);
            self.positions.insert(key, at);
            *counter = Counter {
                key,
                count: counter.count + 1.0,
                error: counter.count,
            };
        }
    }

    /// A counter among the least. Those sorted lowest are taken in turn; one that grew since is passed over, and when a
    /// sixteenth of the table was taken they are sorted anew.
    fn victim(&mut self) -> Option<u32> {
        loop {
            if self.hand >= self.victims.len() {
                self.sort_victims();
                if self.victims.is_empty() {
                    return None;
                }
            }
            let at = *self.victims.get(self.hand)?;
            self.hand += 1;
            let counter = self.counters.get(at as usize)?;
            if counter.count <= self.victim_bound {
                return Some(at);
            }
        }
    }

    fn sort_victims(&mut self) {
        let all = u32::try_from(self.counters.len()).unwrap_or(u32::MAX);
        self.victims = (0..all).collect();
        let keep = (self.counters.len() / 16).max(1);
        let count = |at: &u32| {
            self.counters
                .get(*at as usize)
                .map_or(0.0, |counter| counter.count)
        };
        let order = |a: &u32, b: &u32| count(a).total_cmp(&count(b)).then(a.cmp(b));
        if keep < self.victims.len() {
            self.victims.select_nth_unstable_by(keep, order);
        }
        self.victims.truncate(keep);
        self.victims.sort_unstable_by(order);
        self.victim_bound = self.victims.last().map_or(0.0, &count);
        self.hand = 0;
    }

    /// Multiplies every count by `factor`, 0 to 1.
    pub fn fade(&mut self, factor: f32) {
        self.total *= f64::from(factor);
        self.victim_bound *= factor;
        for counter in &mut self.counters {
            counter.count *= factor;
            counter.error *= factor;
        }
    }

    /// Gives every key another name; those without one are forgotten, and counts of those that become one are added.
    pub fn rename(&mut self, name: impl Fn(K) -> Option<K>) {
        self.positions.clear();
        let counters = std::mem::take(&mut self.counters);
        for counter in counters {
            let Some(key) = name(counter.key) else {
                self.total -= f64::from(counter.count - counter.error);
                continue;
            };
            let known = self.positions.get(&key);
            if let Some(known) = known.and_then(|at| self.counters.get_mut(*at as usize)) {
                known.count += counter.count;
                known.error += counter.error;
                continue;
            }
            let at = u32::try_from(self.counters.len()).unwrap_or(u32::MAX);
            self.positions.insert(key, at);
            self.counters.push(Counter { key, ..counter });
        }
        self.total = self.total.max(0.0);
        (self.victims, self.hand) = (Vec::new(), 0);
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = Self::new(self.capacity);
    }

    /// How many keys are counted at a time.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// The fading count of all keys together.
    pub fn total(&self) -> f64 {
        self.total
    }

    /// The count of a key; `None` when it is not among the most frequent.
    pub fn get(&self, key: K) -> Option<Counter<K>> {
        let at = self.positions.get(&key)?;
        self.counters.get(*at as usize).copied()
    }

    /// All counters, in no order that means anything.
    pub fn counters(&self) -> &[Counter<K>] {
        &self.counters
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_count_is_never_too_small_and_its_error_is_bounded(
            keys in proptest::collection::vec(0_u64..200, 1..4_000),
        ) {
            let mut sketch = Sketch::new(64);
            let mut exact = std::collections::BTreeMap::<u64, f32>::new();
            for key in &keys {
                sketch.add(*key);
                *exact.entry(*key).or_default() += 1.0;
            }
            for counter in sketch.counters() {
                let truth = exact[&counter.key];
                prop_assert!(counter.count >= truth, "{counter:?} but {truth}");
                prop_assert!(counter.count - counter.error <= truth, "{counter:?} but {truth}");
            }
        }
    }

    #[test]
    fn renamed_keys_keep_their_counts_and_one_that_is_gone_makes_room() {
        let mut sketch = Sketch::new(16);
        for key in [1_u64, 1, 1, 2, 2, 3, 4, 4] {
            sketch.add(key);
        }
        sketch.rename(|key| (key != 3).then_some(if key == 4 { 12 } else { key + 10 }));
        let count = |sketch: &Sketch<u64>, key| sketch.get(key).map(|counter| counter.count);
        assert_eq!(count(&sketch, 11), Some(3.0));
        assert_eq!(count(&sketch, 12), Some(4.0), "two that became one");
        assert_eq!((count(&sketch, 3), count(&sketch, 13)), (None, None));
        assert!((sketch.total() - 7.0).abs() < 1e-9);
        for key in 100..120 {
            sketch.add(key);
        }
        assert_eq!(count(&sketch, 12), Some(4.0));
        assert_eq!(sketch.counters().len(), 16);
    }

    #[test]
    fn frequent_keys_are_always_held() {
        // Every key above total/capacity must be in the table; a 16th more is allowed for the approximate least.
        let mut sketch = Sketch::new(256);
        let mut state = 7_u64;
        let mut drawn = vec![0_u32; 100_000];
        for _ in 0..400_000 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let u = crate::number::from_u64(state >> 11) / 9_007_199_254_740_992.0;
            // 1/u over the keys: key k has a share of about 1 / (k ln n).
            let key = usize::try_from(crate::number::to_u64(100_000_f64.powf(u))).unwrap();
            drawn[key.min(99_999)] += 1;
            sketch.add(key.min(99_999) as u64);
        }
        for (key, count) in drawn.iter().enumerate() {
            if *count > 400_000 / 256 * 17 / 16 {
                assert!(sketch.get(key as u64).is_some(), "key {key} of {count}");
            }
        }
    }
}
