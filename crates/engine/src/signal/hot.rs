//! The hot table: keys that are asked for so much that one node should not carry them alone.

use crate::hash::KeyHash;
use crate::model::SiteIndex;
use crate::policy::SetNumber;

/// Most keys in the table.
pub const MAX_HOT_KEYS: usize = 4_096;

/// Most copies of one key.
pub const MAX_COPIES: u8 = 24;

/// A hot key.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HotKey {
    /// The key.
    pub key: KeyHash,
    /// The nodes it was ranked among.
    pub set: SetNumber,
    /// The site whose nodes carry it.
    pub site: SiteIndex,
    /// Its share of that site's requests, 0 to 1.
    pub share: f32,
    /// How many nodes carry it: the first so many of its own order.
    pub copies: u8,
}

impl HotKey {
    /// One number for key, set and site together.
    pub fn id(key: KeyHash, set: SetNumber, site: SiteIndex) -> u64 {
        let group = (set.get() as u64) << 16 | site.get() as u64;
        key.0 ^ group.wrapping_mul(0xd1b5_4a32_d192_ed03)
    }
}

/// The hot keys of a snapshot, found in a step or two.
#[derive(Debug, Clone, Default)]
pub struct HotTable {
    keys: Vec<HotKey>,
    /// Ids and copies by open addressing; a power of two in size, at most half full, 0 copies where free.
    slots: Vec<(u64, u8)>,
}

impl HotTable {
    /// A table of these keys; those past [`MAX_HOT_KEYS`] are left out, so give the hottest first.
    pub fn new(mut keys: Vec<HotKey>) -> Self {
        keys.truncate(MAX_HOT_KEYS);
        let mut slots = vec![(0, 0); (keys.len() * 2).next_power_of_two()];
        if keys.is_empty() {
            slots.clear();
        }
        for key in &keys {
            let id = HotKey::id(key.key, key.set, key.site);
            let mut at = start(id, slots.len());
            while slots.get(at).is_some_and(|(_, copies)| *copies > 0) {
                at = (at + 1) % slots.len();
            }
            if let Some(slot) = slots.get_mut(at) {
                *slot = (id, key.copies.max(1));
            }
        }
        Self { keys, slots }
    }

    /// How many copies a key has among the nodes of a set at a site; `None` when it is not hot there.
    #[inline]
    pub fn copies(&self, key: KeyHash, set: SetNumber, site: SiteIndex) -> Option<u8> {
        if self.slots.is_empty() {
            return None;
        }
        let id = HotKey::id(key, set, site);
        let mut at = start(id, self.slots.len());
        loop {
            let (known, copies) = *self.slots.get(at)?;
            if copies == 0 {
                return None;
            }
            if known == id {
                return Some(copies);
            }
            at = (at + 1) & (self.slots.len() - 1);
        }
    }

    /// The same keys among groups by other names: `to` tells which; those of groups without one are left out.
    #[must_use]
    pub fn renamed(
        &self,
        to: impl Fn((SetNumber, SiteIndex)) -> Option<(SetNumber, SiteIndex)>,
    ) -> Self {
        let keys = self.keys.iter().filter_map(|key| {
            let (set, site) = to((key.set, key.site))?;
            Some(HotKey { set, site, ..*key })
        });
        Self::new(keys.collect())
    }

    /// All hot keys, hottest first.
    pub fn keys(&self) -> &[HotKey] {
        &self.keys
    }
}

/// Where an id is looked for first.
#[inline]
fn start(id: u64, slots: usize) -> usize {
    (id.wrapping_mul(0xd6e8_feb8_6659_fd93) >> 32) as usize & (slots - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_is_in_it_only() {
        let set = SetNumber(0);
        let hot = |n: u64| HotKey {
            key: KeyHash(n.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
            set,
            site: SiteIndex((n % 3) as u16),
            share: 0.1,
            copies: 8,
        };
        let table = HotTable::new((0..500).map(hot).collect());
        for n in 0..500 {
            let key = hot(n);
            assert_eq!(table.copies(key.key, set, key.site), Some(8));
            assert_eq!(table.copies(key.key, set, SiteIndex(7)), None);
        }
        assert_eq!(table.copies(hot(501).key, set, hot(501).site), None);
        assert_eq!(
            HotTable::default().copies(KeyHash(0), set, SiteIndex(0)),
            None
        );
    }
}
