//! The two tables an address is looked up in, one of each family: sorted starts, and what holds from each on.
//!
//! Both are made for few cache misses: an index leads to the neighbourhood, keys are as short as they can be, and the
//! values lie apart from the keys, as only one of them is read.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::steps::{NOTHING, Steps};

/// Number of /16 networks in IPv4.
pub(super) const SLASH_16_COUNT: usize = 1 << 16;

/// IPv4 steps: all starts in ascending order, of which only the lower halves are kept.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct V4Table {
    /// For each /16, how many starts lie before it, and at the end the total; empty if there are no starts.
    pub(super) before: Box<[u32]>,
    /// Lower 16 bits of each start.
    pub(super) lows: Box<[u16]>,
    /// What holds from each start on: a class, or [`NOTHING`].
    pub(super) values: Box<[u32]>,
}

impl V4Table {
    pub(super) fn new(steps: Steps<u32>, renumber: impl Fn(u32) -> u32) -> Self {
        let (starts, values) = steps.into_columns();
        if starts.is_empty() {
            return Self::default();
        }
        let mut before = vec![0; SLASH_16_COUNT + 1];
        let mut position = 0;
        for (count, high) in before.iter_mut().zip(0_u64..) {
            while starts
                .get(position)
                .is_some_and(|start| u64::from(*start) < high << 16)
            {
                position += 1;
            }
            // IPv4 has at most 2^32 starts, and that many would not fit in memory.
            *count = u32::try_from(position).unwrap_or(NOTHING);
        }
        Self {
            before: before.into_boxed_slice(),
            lows: (starts.iter().map(|start| (start & 0xffff) as u16)).collect(),
            values: values.into_iter().map(renumber).collect(),
        }
    }

    #[inline]
    pub(super) fn lookup(&self, address: u32) -> Option<u32> {
        let high = (address >> 16) as usize;
        let low = (address & 0xffff) as u16;
        let from = *self.before.get(high)? as usize;
        let to = *self.before.get(high + 1)? as usize;
        let within = self
            .lows
            .get(from..to)?
            .partition_point(|start| *start <= low);
        // What holds at the start of the /16 is what the last start before it said.
        self.values.get((from + within).checked_sub(1)?).copied()
    }

    pub(super) fn located_starts(&self) -> impl Iterator<Item = IpAddr> {
        let highs = self
            .before
            .windows(2)
            .zip(0_u32..)
            .flat_map(|(pair, high)| match pair {
                &[from, to] => std::iter::repeat_n(high, (to - from) as usize),
                _ => std::iter::repeat_n(high, 0),
            });
        let starts = highs
            .zip(&self.lows)
            .map(|(high, low)| high << 16 | u32::from(*low));
        let located = starts
            .zip(&self.values)
            .filter(|(_, value)| **value != NOTHING);
        located.map(|(start, _)| IpAddr::V4(Ipv4Addr::from_bits(start)))
    }

    /// Number of ranges that have a class.
    pub(super) fn range_count(&self) -> usize {
        located_count(&self.values)
    }

    pub(super) fn memory_bytes(&self) -> usize {
        size_of_val::<[u32]>(&self.before)
            + size_of_val::<[u16]>(&self.lows)
            + size_of_val::<[u32]>(&self.values)
    }
}

/// The addresses in use for IPv6, `2000::/3`, are indexed by the 16 bits that follow.
const UNICAST_BITS: u32 = 3;

/// Those three bits.
const UNICAST: u64 = 0b001;

/// How far those 16 bits are from the end of the upper half of an address.
const INDEX_SHIFT: u32 = 64 - UNICAST_BITS - 16;

/// How many starts share a fence. 32 upper halves are four cache lines.
const FENCE_SPACING: usize = 32;

/// IPv6 steps, searched by the upper 64 bits of the address, in which nearly all starts differ: the index finds the
/// /19, then one search decides between every 32nd start, the *fences*, and another among 32.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct V6Table {
    /// For each /19 of `2000::/3`, how many fences lie before it, and at the end how many before the first address
    /// behind; empty if there are no starts.
    pub(super) before: Box<[u32]>,
    /// Upper half of every 32nd start, beginning with the first.
    pub(super) fences: Box<[u64]>,
    /// Upper 64 bits of each start.
    pub(super) highs: Box<[u64]>,
    /// Lower 64 bits of each start; empty if all are zero, as in most databases.
    pub(super) lows: Box<[u64]>,
    /// What holds from each start on: a class, or [`NOTHING`].
    pub(super) values: Box<[u32]>,
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the two halves of 128 bits, and counts of what fits in memory"
)]
impl V6Table {
    pub(super) fn new(steps: Steps<u128>, renumber: impl Fn(u32) -> u32) -> Self {
        let (starts, values) = steps.into_columns();
        let highs = starts.iter().map(|start| (start >> 64) as u64).collect();
        let has_lows = starts.iter().any(|start| *start as u64 != 0);
        let lows = if has_lows {
            starts.iter().map(|start| *start as u64).collect()
        } else {
            Box::default()
        };
        drop(starts);
        Self::of_columns(highs, lows, values.into_iter().map(renumber).collect())
    }

    /// The table of these starts, ascending, and their values; `lows` is empty where all lower halves are zero.
    pub(super) fn of_columns(highs: Box<[u64]>, lows: Box<[u64]>, values: Box<[u32]>) -> Self {
        if highs.is_empty() {
            return Self::default();
        }
        let fences: Box<[u64]> = highs.iter().copied().step_by(FENCE_SPACING).collect();
        let blocks =
            (0..=1_u64 << 16).map(|block| (UNICAST << 16).wrapping_add(block) << INDEX_SHIFT);
        Self {
            before: blocks
                .map(|block| fences.partition_point(|start| *start < block) as u32)
                .collect(),
            fences,
            highs,
            lows,
            values,
        }
    }

    /// What holds at an address.
    #[inline]
    pub(super) fn lookup(&self, address: u128) -> Option<u32> {
        let high = (address >> 64) as u64;
        let low = address as u64;
        let mut end = self.count_to(high);
        if !self.lows.is_empty() {
            // Among the starts with the same upper half, keep those whose lower half is reached.
            let begin = high.checked_sub(1).map_or(0, |below| self.count_to(below));
            end = begin
                + self
                    .lows
                    .get(begin..end)?
                    .partition_point(|start| *start <= low);
        }
        self.values.get(end.checked_sub(1)?).copied()
    }

    /// Number of starts whose upper half is at most `high`.
    #[inline]
    fn count_to(&self, high: u64) -> usize {
        let (begin, end) = self.fences_near(high);
        let fences = self.fences.get(begin..end).unwrap_or_default();
        let fence = begin + fences.partition_point(|start| *start <= high);
        // All fences counted but the last have only reached starts behind them.
        let from = fence.saturating_sub(1) * FENCE_SPACING;
        let to = (fence * FENCE_SPACING).min(self.highs.len());
        from + self
            .highs
            .get(from..to)
            .unwrap_or_default()
            .partition_point(|start| *start <= high)
    }

    /// Fences among which the search has to decide: those before are reached for certain, those behind are not.
    #[inline]
    fn fences_near(&self, high: u64) -> (usize, usize) {
        let everywhere = (0, self.fences.len());
        if high >> (64 - UNICAST_BITS) != UNICAST {
            return everywhere;
        }
        let block = (high >> INDEX_SHIFT & 0xffff) as usize;
        match self.before.get(block..block + 2) {
            Some(&[begin, end]) => (begin as usize, end as usize),
            _ => everywhere,
        }
    }

    /// The first address of each range that has a class.
    pub(super) fn located_starts(&self) -> impl Iterator<Item = IpAddr> {
        let lows = self.lows.iter().copied().chain(std::iter::repeat(0));
        let starts = self
            .highs
            .iter()
            .zip(lows)
            .map(|(high, low)| u128::from(*high) << 64 | u128::from(low));
        let located = starts
            .zip(&self.values)
            .filter(|(_, value)| **value != NOTHING);
        located.map(|(start, _)| IpAddr::V6(Ipv6Addr::from_bits(start)))
    }

    /// Number of ranges that have a class.
    pub(super) fn range_count(&self) -> usize {
        located_count(&self.values)
    }

    pub(super) fn memory_bytes(&self) -> usize {
        size_of_val::<[u32]>(&self.before)
            + size_of_val::<[u64]>(&self.fences)
            + size_of_val::<[u64]>(&self.highs)
            + size_of_val::<[u64]>(&self.lows)
            + size_of_val::<[u32]>(&self.values)
    }
}

fn located_count(values: &[u32]) -> usize {
    values.iter().filter(|value| **value != NOTHING).count()
}
