//! For every cell of clients, the nearest sites of a list, nearest first.
//!
//! Distances do not change while a fleet and its geo files stand, so the order is made once, off the request path. A
//! request walks its cell's row and stops as soon as no site further out can win.

use super::geo::distance::{UnitVector, chord_squared};

/// Sites kept per cell. A request that has to look further scans them all.
const MAX_ROW: usize = 32;

/// Bytes that the rows of one list may take before they are made shorter.
const MAX_BYTES: usize = 16 << 20;

/// Rows of site positions, one for each cell.
#[derive(Debug)]
pub struct Nearest {
    points: Vec<UnitVector>,
    row_len: usize,
    rows: Vec<u16>,
}

impl Nearest {
    /// Orders `points` (sites, at most 65,535) around each of `cells`.
    pub fn new(points: Vec<UnitVector>, cells: &[UnitVector]) -> Self {
        let affordable = MAX_BYTES / size_of::<u16>() / cells.len().max(1);
        let row_len = points.len().min(MAX_ROW).min(affordable.max(4));
        let mut rows = Vec::with_capacity(row_len * cells.len());
        let mut distances: Vec<(f32, u16)> = Vec::with_capacity(points.len());
        for cell in cells {
            distances.clear();
            distances.extend(
                points
                    .iter()
                    .map(|point| chord_squared(*cell, *point))
                    .zip(0_u16..),
            );
            let by_distance =
                |a: &(f32, u16), b: &(f32, u16)| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1));
            if row_len < distances.len() {
                distances.select_nth_unstable_by(row_len, by_distance);
            }
            distances.truncate(row_len);
            distances.sort_unstable_by(by_distance);
            rows.extend(distances.iter().map(|(_, position)| position));
        }
        Self {
            points,
            row_len,
            rows,
        }
    }

    /// Whether these rows were made for the same points.
    pub fn is_for(&self, points: &[UnitVector]) -> bool {
        self.points == points
    }

    /// The nearest sites of a cell, nearest first, as positions in the list; empty for an unknown cell.
    pub fn row(&self, cell: usize) -> &[u16] {
        let start = cell * self.row_len;
        self.rows
            .get(start..start + self.row_len)
            .unwrap_or_default()
    }

    /// Heap memory in bytes.
    pub fn memory_bytes(&self) -> usize {
        size_of_val(self.points.as_slice()) + size_of_val(self.rows.as_slice())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geo::Location;

    #[test]
    fn rows_are_sorted_by_distance() {
        let at = |lat: f64, lon: f64| UnitVector::new(Location::new(lat, lon).unwrap());
        let sites: Vec<UnitVector> = (0..100_u8).map(|k| at(0.0, f64::from(k))).collect();
        let nearest = Nearest::new(sites, &[at(0.0, 0.0), at(1.0, 50.2)]);
        assert_eq!(nearest.row(0), (0..32).collect::<Vec<u16>>());
        assert_eq!(
            nearest.row(1).iter().take(3).copied().collect::<Vec<u16>>(),
            vec![50, 51, 49]
        );
        assert!(nearest.row(2).is_empty());
    }
}
