//! How often rules decide: now, over the last quarter of an hour, and when last.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use tradewind_engine::number::from_u64;

/// Length of a slice, in ms.
const SLICE_MS: u64 = 60_000;

/// Slices that are kept.
const SLICES: usize = 15;

/// How often each rule decides, by the row it is counted in.
#[derive(Debug, Default)]
pub struct RuleHits(Mutex<BTreeMap<usize, Row>>);

#[derive(Debug, Default)]
struct Row {
    total: u64,
    per_second: f64,
    last_unix_ms: Option<u64>,
    /// Decisions of each slice, the present one last.
    slices: VecDeque<u64>,
    slice: u64,
}

/// How often a rule decides.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Hits {
    /// Decisions a second, of the last seconds.
    pub per_second: f64,
    /// Decisions of the last quarter of an hour.
    pub lately: u64,
    /// When it last decided, ms since 1970; `None` if it has not since the start.
    pub last_unix_ms: Option<u64>,
}

impl RuleHits {
    /// Takes the counts by row as they are now, `ms` after they were taken last.
    pub fn record(
        &self,
        (now_unix_ms, ms): (u64, u64),
        counts: impl Iterator<Item = (usize, u64)>,
    ) {
        let mut rows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let slice = now_unix_ms / SLICE_MS;
        for (row, total) in counts {
            let known = rows.entry(row).or_default();
            let more = total.saturating_sub(known.total);
            known.total = total;
            known.per_second = from_u64(more) * 1_000.0 / from_u64(ms.max(1));
            if more > 0 {
                known.last_unix_ms = Some(now_unix_ms);
            }
            known.turn(slice);
            if let Some(present) = known.slices.back_mut() {
                *present += more;
            }
        }
    }

    /// What is known of the rule with this row.
    pub fn of(&self, row: usize) -> Hits {
        let rows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        rows.get(&row).map_or_else(Hits::default, |known| Hits {
            per_second: known.per_second,
            lately: known.slices.iter().sum(),
            last_unix_ms: known.last_unix_ms,
        })
    }

    /// Decisions of the last quarter of an hour, of all rules and of none.
    pub fn all_lately(&self) -> u64 {
        let rows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        rows.values().flat_map(|known| &known.slices).sum()
    }
}

impl Row {
    fn turn(&mut self, slice: u64) {
        let new = if self.slices.is_empty() {
            1
        } else {
            slice.saturating_sub(self.slice)
        };
        self.slice = self.slice.max(slice);
        for _ in 0..new.min(SLICES as u64) {
            if self.slices.len() >= SLICES {
                self.slices.pop_front();
            }
            self.slices.push_back(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_that_nobody_hits_any_more_says_when_it_was_hit() {
        let hits = RuleHits::default();
        assert_eq!(hits.of(3), Hits::default());
        for at in 0..12_u64 {
            hits.record((at * 5_000, 5_000), [(3, at * 10), (4, at)].into_iter());
        }
        let known = hits.of(3);
        assert_eq!(
            (known.per_second, known.lately, known.last_unix_ms),
            (2.0, 110, Some(55_000))
        );
        assert_eq!(hits.all_lately(), 121);
        for at in 12..200_u64 {
            hits.record((at * 5_000, 5_000), [(3, 110), (4, at)].into_iter());
        }
        let known = hits.of(3);
        assert_eq!(
            (known.per_second, known.lately, known.last_unix_ms),
            (0.0, 0, Some(55_000))
        );
        assert_eq!(
            hits.of(4).lately,
            15 * 12 - 4,
            "the present slice is not over"
        );
    }
}
