//! Measured round trips between groups of clients and sites, as far as decisions see them.

use std::collections::HashMap;

use foldhash::fast::FixedState;

use super::Evidence;
use crate::engine::model::SiteIndex;

/// Most pairs of a cell and a site that are kept; the least recently used go first.
pub const MAX_PAIRS: usize = 4_096;

/// A measured pair.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measured {
    /// The site.
    pub site: SiteIndex,
    /// The network term in ms, prior included, without the policy's weight.
    pub network_ms: f32,
    /// What it rests on.
    pub evidence: Evidence,
}

/// The measured pairs by cell.
#[derive(Debug, Clone, Default)]
pub struct NetworkTable {
    ranges: HashMap<u32, (u32, u32), FixedState>,
    rows: Vec<Measured>,
}

impl NetworkTable {
    /// A table of pairs, which come sorted by cell.
    pub fn new(pairs: impl IntoIterator<Item = (u32, Measured)>) -> Self {
        let mut table = Self::default();
        for (cell, measured) in pairs {
            let at = u32::try_from(table.rows.len()).unwrap_or(u32::MAX);
            let (_, len) = table.ranges.entry(cell).or_insert((at, 0));
            *len += 1;
            table.rows.push(measured);
        }
        table
    }

    /// Whether nothing was measured.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// All pairs with their cells, in the order they were given in.
    pub fn pairs(&self) -> Vec<(u32, Measured)> {
        let ranges = self.ranges.iter();
        let mut ranges: Vec<_> = ranges.map(|(cell, (at, len))| (*at, *len, *cell)).collect();
        ranges.sort_unstable();
        let cells = ranges
            .into_iter()
            .flat_map(|(_, len, cell)| (0..len).map(move |_| cell));
        cells.zip(self.rows.iter().copied()).collect()
    }

    /// How many pairs there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// The sites measured from a cell.
    #[inline]
    pub fn of_cell(&self, cell: usize) -> &[Measured] {
        if self.rows.is_empty() {
            return &[];
        }
        let range = u32::try_from(cell)
            .ok()
            .and_then(|cell| self.ranges.get(&cell));
        let rows = range.and_then(|(at, len)| self.rows.get(*at as usize..(*at + *len) as usize));
        rows.unwrap_or_default()
    }
}
