//! A table from hashes to numbers that only rise, read by every worker while one thread writes to it.
//!
//! Numbers rise and nothing is ever taken away, so a reader needs no copy and no lock: what it sees of each hash is what held a
//! moment ago, or what holds now. What has to go goes by a new table ([`ledger`](super::ledger)).
//!
//! A line of memory has seven slots, of 24 bits of a hash and a number of 40, and a floor for what found no slot. A hash that
//! shares its line and its 24 bits with another, or whose line is full, has a number that is too high, never one that is too
//! low: with four entries to a line the first happens to one look-up in ten million, the second to one line in twenty.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::hash::KeyHash;

/// How many entries a line has when a table is full, on average.
pub(super) const FULL_LINE: usize = 4;

/// Bits of a slot that are the number.
const NUMBER_BITS: u32 = 40;

/// The largest number that a table holds.
pub const MAX_NUMBER: u64 = (1 << NUMBER_BITS) - 1;

/// Slots of a line; the last is its floor.
const SLOTS: usize = 8;

/// How two numbers for one hash become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Merge {
    /// The larger.
    Max,
    /// The bits of both.
    Bits,
}

#[derive(Debug)]
#[repr(align(64))]
struct Line([AtomicU64; SLOTS]);

/// The table; see the module.
#[derive(Debug)]
pub(super) struct Lines {
    merge: Merge,
    /// Two bits of 64 for each hash of a line: most hashes that are not there are told from it alone.
    filter: Box<[AtomicU64]>,
    all: Box<[Line]>,
}

impl Lines {
    /// An empty table with room for so many entries.
    pub(super) fn with_room(entries: usize, merge: Merge) -> Self {
        let lines = entries.div_ceil(FULL_LINE).next_power_of_two();
        Self {
            merge,
            filter: (0..lines).map(|_| AtomicU64::new(0)).collect(),
            all: (0..lines).map(|_| Line(Default::default())).collect(),
        }
    }

    /// How many entries it takes before it is full.
    pub(super) fn room(&self) -> usize {
        self.all.len() * FULL_LINE
    }

    /// Heap memory in bytes.
    pub(super) fn memory_bytes(&self) -> usize {
        self.all.len() * (size_of::<Line>() + size_of::<AtomicU64>())
    }

    /// The number of a hash, or a higher one; 0 for one that was never raised.
    #[inline]
    pub(super) fn get(&self, hash: KeyHash) -> u64 {
        let (at, bits) = (self.line_of(hash), filter_bits(hash));
        let seen = self.filter.get(at);
        if seen.is_none_or(|seen| seen.load(Ordering::Relaxed) & bits != bits) {
            return 0;
        }
        self.all.get(at).map_or(0, |line| self.find(line, hash))
    }

    #[inline(never)]
    fn find(&self, line: &Line, hash: KeyHash) -> u64 {
        let [slots @ .., floor] = &line.0;
        let tag = tag_of(hash);
        let mut found = 0;
        // An entry that is moved to the floor is there before its slot is another's. So the floor is read last.
        for slot in slots {
            let slot = slot.load(Ordering::Acquire);
            if slot >> NUMBER_BITS == tag {
                found = self.merged(found, slot & MAX_NUMBER);
            }
        }
        self.merged(found, floor.load(Ordering::Acquire))
    }

    /// Lets a hash have at least this number, 1 to [`MAX_NUMBER`]; whether its line was full. Only one thread may call this.
    pub(super) fn raise(&self, hash: KeyHash, number: u64) -> bool {
        let number = number.min(MAX_NUMBER);
        let at = self.line_of(hash);
        let (Some(line), Some(filter)) = (self.all.get(at), self.filter.get(at)) else {
            return false;
        };
        let is_full = self.put(line, tag_of(hash), number);
        filter.fetch_or(filter_bits(hash), Ordering::Release);
        is_full
    }

    fn put(&self, line: &Line, tag: u64, number: u64) -> bool {
        let [slots @ .., floor] = &line.0;
        let of = |slot: &AtomicU64| slot.load(Ordering::Relaxed);
        let known = slots.iter().find(|slot| {
            let slot = of(slot);
            slot != 0 && slot >> NUMBER_BITS == tag
        });
        if let Some(slot) = known {
            let number = self.merged(of(slot) & MAX_NUMBER, number);
            slot.store(tag << NUMBER_BITS | number, Ordering::Release);
            return false;
        }
        if let Some(slot) = slots.iter().find(|slot| of(slot) == 0) {
            slot.store(tag << NUMBER_BITS | number, Ordering::Release);
            return false;
        }
        // The one with the lowest number makes room: the floor rises least by it.
        let lowest = slots.iter().min_by_key(|slot| of(slot) & MAX_NUMBER);
        if let Some(slot) = lowest {
            let raised = self.merged(floor.load(Ordering::Relaxed), of(slot) & MAX_NUMBER);
            floor.store(raised, Ordering::Release);
            slot.store(tag << NUMBER_BITS | number, Ordering::Release);
        }
        true
    }

    #[inline]
    fn merged(&self, one: u64, other: u64) -> u64 {
        match self.merge {
            Merge::Max => one.max(other),
            Merge::Bits => one | other,
        }
    }

    /// By the upper bits: the lower ones are the tag.
    #[inline]
    fn line_of(&self, hash: KeyHash) -> usize {
        usize::try_from(hash.0 >> 32).unwrap_or(0) & (self.all.len() - 1)
    }
}

#[inline]
fn tag_of(hash: KeyHash) -> u64 {
    hash.0 & 0xff_ffff
}

/// Two of 64 bits, by bits of the hash that choose neither its line nor its tag.
#[inline]
fn filter_bits(hash: KeyHash) -> u64 {
    let one = 1 << ((hash.0 >> 24) & 63);
    let mixed = hash.0.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    one | 1 << (mixed >> 58)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::atomic::AtomicBool;

    use super::*;
    use crate::hash;

    fn hash_of(number: u64) -> KeyHash {
        hash::key(&[&number.to_le_bytes()])
    }

    #[test]
    fn every_number_is_found_again_and_few_are_higher() {
        let lines = Lines::with_room(1 << 14, Merge::Max);
        assert_eq!(lines.room(), 1 << 14);
        let mut told = BTreeMap::new();
        for round in 0..(1_u64 << 14) {
            let key = round % 15_000;
            lines.raise(hash_of(key), round + 1);
            told.insert(key, round + 1);
        }
        let higher = told
            .iter()
            .filter(|(key, number)| {
                let found = lines.get(hash_of(**key));
                assert!(found >= **number, "{key} is at {found} after {number}");
                found > **number
            })
            .count();
        assert!(higher * 50 < told.len(), "{higher} of {}", told.len());
    }

    #[test]
    fn what_was_never_raised_is_told_from_the_filter_nearly_always() {
        let lines = Lines::with_room(1 << 14, Merge::Max);
        for key in 0..1 << 14 {
            lines.raise(hash_of(key), 1);
        }
        let others = (1 << 20)..(1 << 20) + 100_000;
        let found = others.filter(|key| lines.get(hash_of(*key)) > 0).count();
        // One in twenty lines is full, and raises what passes its filter.
        assert!(found < 500, "{found} of 100,000");
    }

    #[test]
    fn a_table_that_is_too_small_errs_upwards() {
        let lines = Lines::with_room(4, Merge::Max);
        for key in 0..1_000 {
            lines.raise(hash_of(key), key + 1);
        }
        for key in 0..1_000 {
            assert!(lines.get(hash_of(key)) > key);
        }
    }

    #[test]
    fn a_reader_never_sees_a_number_fall() {
        let lines = Lines::with_room(8, Merge::Max);
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut last = [0; 32];
                while !is_over.load(Ordering::Relaxed) {
                    for (key, last) in (0..).zip(&mut last) {
                        let now = lines.get(hash_of(key));
                        assert!(now >= *last, "{key} fell from {last} to {now}");
                        *last = now;
                    }
                }
            });
            // Four times what it has room for, so that floors rise all the time.
            for round in 0..100_000 {
                lines.raise(hash_of(round % 32), round + 1);
            }
            is_over.store(true, Ordering::Relaxed);
        });
    }

    #[test]
    fn bits_are_put_together() {
        let lines = Lines::with_room(64, Merge::Bits);
        lines.raise(hash_of(7), 0b0010);
        lines.raise(hash_of(7), 0b1000);
        assert_eq!(lines.get(hash_of(7)), 0b1010);
        assert_eq!(lines.get(hash_of(8)), 0);
    }
}
