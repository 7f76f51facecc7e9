//! The compiled table a request looks its client up in.
//!
//! Addresses are cut into ranges; each range names a *class* of clients (cell, country, operator, confidence), each
//! class a cell. Both tables are dense and sorted, so what is compiled per class or per cell (site order, learned
//! costs) is an array. IPv4: the ranges of each /16 are found through an index and keep only their lower 16 bits, six
//! bytes a range. IPv6: a search over every 32nd start, which stay in the cache, and then within 32.
//!
//! A /24 may hold more than one class, and a class need not end on any prefix: hence ranges, not prefixes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Location;
use super::cell::Cell;
use super::distance::UnitVector;
use super::layer::Known;
use super::place::{Asn, Confidence, Country, Place, Source};
use super::steps::{NOTHING, Steps};

/// Position of a class in the table that gave it out, from 0, dense.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClassIndex(u32);

impl ClassIndex {
    /// As an index into an array with one element per class.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// Position of a cell in [`Ranges::cells`] of the table that gave it out, from 0, dense.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CellIndex(u32);

impl CellIndex {
    /// As an index into an array with one element per cell.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// A row of the class table, twelve bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Class {
    /// Position in the cell table, or [`NOTHING`].
    cell: u32,
    asn: Option<Asn>,
    country: Option<Country>,
    confidence: Confidence,
}

/// Address ranges and their classes. The default is the empty table, which locates nobody.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Ranges {
    v4: V4Ranges,
    v6: V6Ranges,
    /// Ascending by cell, country, operator, confidence.
    classes: Box<[Class]>,
    /// Ascending.
    cells: Box<[Cell]>,
    /// One per cell.
    centers: Box<[Location]>,
    /// One per cell.
    vectors: Box<[UnitVector]>,
}

impl Ranges {
    /// Compiles merged steps whose values are positions in `known`.
    pub(super) fn new(known: &[Known], v4: Steps<u32>, v6: Steps<u128>) -> Self {
        let mut cells: Vec<Cell> = known.iter().filter_map(|known| known.cell).collect();
        cells.sort_unstable();
        cells.dedup();
        let (classes, places) = sorted_classes(known, &cells);
        let renumber = |value: u32| places.get(value as usize).copied().unwrap_or(NOTHING);
        let centers: Box<[Location]> = cells.iter().map(|cell| cell.center()).collect();
        Self {
            v4: V4Ranges::new(v4, renumber),
            v6: V6Ranges::new(v6, renumber),
            classes,
            vectors: centers.iter().copied().map(UnitVector::new).collect(),
            centers,
            cells: cells.into_boxed_slice(),
        }
    }

    /// The class of an address, or `None` if no database knows it. An IPv4 address written as IPv6 (`::ffff:a.b.c.d`)
    /// is looked up as what it is; other ways to embed IPv4 (6to4, Teredo) are not followed, as their use has ended.
    #[inline]
    pub fn lookup(&self, address: IpAddr) -> Option<ClassIndex> {
        let value = match address {
            IpAddr::V4(v4) => self.v4.lookup(v4.to_bits()),
            IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
                Some(v4) => self.v4.lookup(v4.to_bits()),
                None => self.v6.lookup(v6.to_bits()),
            },
        };
        value.filter(|value| *value != NOTHING).map(ClassIndex)
    }

    /// What is known about a class. A class of another table may give any place, but never a panic.
    pub fn place(&self, class: ClassIndex) -> Place {
        let Some(row) = self.classes.get(class.index()) else {
            return Place::new(None, Source::Database);
        };
        let cell = self
            .cells
            .get(row.cell as usize)
            .copied()
            .zip(self.centers.get(row.cell as usize).copied());
        let mut place = Place::in_cell(cell, Source::Database);
        place.country = row.country;
        place.asn = row.asn;
        place.confidence = row.confidence;
        place
    }

    /// The cell of a class, or `None` if its location is not known.
    #[inline]
    pub fn cell_of(&self, class: ClassIndex) -> Option<CellIndex> {
        self.classes
            .get(class.index())
            .map(|row| row.cell)
            .filter(|cell| *cell != NOTHING)
            .map(CellIndex)
    }

    /// The position of a cell, or `None` if no class lies in it: to use what is compiled per cell for a caller's own
    /// location too.
    pub fn cell_index(&self, cell: Cell) -> Option<CellIndex> {
        let position = self.cells.binary_search(&cell).ok()?;
        u32::try_from(position).ok().map(CellIndex)
    }

    /// The distinct cells, ascending, in the order of [`CellIndex`].
    pub fn cells(&self) -> &[Cell] {
        &self.cells
    }

    /// The direction of each cell's centre, in the order of [`CellIndex`], to take distances from.
    pub fn cell_vectors(&self) -> &[UnitVector] {
        &self.vectors
    }

    /// Number of classes. Every [`ClassIndex`] is below it.
    pub fn class_count(&self) -> usize {
        self.classes.len()
    }

    /// Number of IPv4 and of IPv6 ranges that have a class.
    pub fn range_counts(&self) -> (usize, usize) {
        let count = |values: &[u32]| values.iter().filter(|value| **value != NOTHING).count();
        (count(&self.v4.values), count(&self.v6.values))
    }

    /// Whether the table locates nobody.
    pub fn is_empty(&self) -> bool {
        self.classes.is_empty()
    }

    /// First addresses of up to `count` ranges that have a class, spread evenly over the table, half IPv4 and half
    /// IPv6 where there are enough of both: the same for the same table.
    pub fn sample(&self, count: usize) -> Vec<IpAddr> {
        let (v4, v6) = self.range_counts();
        let v6_share = v6.min((count / 2).max(count.saturating_sub(v4)));
        let mut addresses = spread(v4, count - v6_share, self.v4.located_starts());
        addresses.extend(spread(v6, v6_share, self.v6.located_starts()));
        addresses
    }

    /// Heap memory of the table in bytes.
    pub fn memory_bytes(&self) -> usize {
        self.v4.memory_bytes()
            + self.v6.memory_bytes()
            + size_of_val::<[Class]>(&self.classes)
            + size_of_val::<[Cell]>(&self.cells)
            + size_of_val::<[Location]>(&self.centers)
            + size_of_val::<[UnitVector]>(&self.vectors)
    }
}

/// Sorts the classes, and gives for each old position the new one.
fn sorted_classes(known: &[Known], cells: &[Cell]) -> (Box<[Class]>, Vec<u32>) {
    let mut order: Vec<(&Known, usize)> = known.iter().zip(0..).collect();
    order.sort_unstable_by_key(|(known, _)| **known);
    let mut places = vec![NOTHING; known.len()];
    for ((_, old), new) in order.iter().zip(0_u32..) {
        if let Some(place) = places.get_mut(*old) {
            *place = new;
        }
    }
    let position = |cell: Cell| {
        cells
            .binary_search(&cell)
            .ok()
            .and_then(|at| u32::try_from(at).ok())
    };
    let classes = order.iter().map(|(known, _)| Class {
        cell: known.cell.and_then(position).unwrap_or(NOTHING),
        asn: known.asn,
        country: known.country,
        confidence: known.confidence,
    });
    (classes.collect(), places)
}

/// Up to `wanted` of `total` addresses, evenly spaced.
fn spread(total: usize, wanted: usize, addresses: impl Iterator<Item = IpAddr>) -> Vec<IpAddr> {
    if wanted == 0 {
        return Vec::new();
    }
    addresses
        .step_by(total.div_ceil(wanted).max(1))
        .take(wanted)
        .collect()
}

/// Number of /16 networks in IPv4.
const SLASH_16_COUNT: usize = 1 << 16;

/// IPv4 steps: all starts in ascending order, of which only the lower halves are kept.
#[derive(Debug, Clone, PartialEq, Default)]
struct V4Ranges {
    /// For each /16, how many starts lie before it, and at the end the total; empty if there are no starts.
    before: Box<[u32]>,
    /// Lower 16 bits of each start.
    lows: Box<[u16]>,
    /// What holds from each start on: a class, or [`NOTHING`].
    values: Box<[u32]>,
}

impl V4Ranges {
    fn new(steps: Steps<u32>, renumber: impl Fn(u32) -> u32) -> Self {
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
            lows: starts.iter().map(|start| (start & 0xffff) as u16).collect(),
            values: values.into_iter().map(renumber).collect(),
        }
    }

    #[inline]
    fn lookup(&self, address: u32) -> Option<u32> {
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

    fn located_starts(&self) -> impl Iterator<Item = IpAddr> {
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

    fn memory_bytes(&self) -> usize {
        size_of_val::<[u32]>(&self.before)
            + size_of_val::<[u16]>(&self.lows)
            + size_of_val::<[u32]>(&self.values)
    }
}

/// How many starts share a fence. 32 upper halves are four cache lines.
const FENCE_SPACING: usize = 32;

/// IPv6 steps, searched by the upper 64 bits of the address, in which nearly all starts differ.
#[derive(Debug, Clone, PartialEq, Default)]
struct V6Ranges {
    /// Upper half of every 32nd start, beginning with the first.
    fences: Box<[u64]>,
    /// Upper 64 bits of each start.
    highs: Box<[u64]>,
    /// Lower 64 bits of each start; empty if all are zero, as in most databases.
    lows: Box<[u64]>,
    /// What holds from each start on: a class, or [`NOTHING`].
    values: Box<[u32]>,
}

impl V6Ranges {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the two halves of 128 bits"
    )]
    fn new(steps: Steps<u128>, renumber: impl Fn(u32) -> u32) -> Self {
        let (starts, values) = steps.into_columns();
        let highs: Box<[u64]> = starts.iter().map(|start| (start >> 64) as u64).collect();
        let has_lows = starts.iter().any(|start| *start as u64 != 0);
        Self {
            fences: highs.iter().copied().step_by(FENCE_SPACING).collect(),
            highs,
            lows: if has_lows {
                starts.iter().map(|start| *start as u64).collect()
            } else {
                Box::default()
            },
            values: values.into_iter().map(renumber).collect(),
        }
    }

    #[inline]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the two halves of 128 bits"
    )]
    fn lookup(&self, address: u128) -> Option<u32> {
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
        // All fences counted but the last have only reached starts behind them.
        let fence = self.fences.partition_point(|start| *start <= high);
        let from = fence.saturating_sub(1) * FENCE_SPACING;
        let to = (fence * FENCE_SPACING).min(self.highs.len());
        from + self
            .highs
            .get(from..to)
            .unwrap_or_default()
            .partition_point(|start| *start <= high)
    }

    fn located_starts(&self) -> impl Iterator<Item = IpAddr> {
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

    fn memory_bytes(&self) -> usize {
        size_of_val::<[u64]>(&self.fences)
            + size_of_val::<[u64]>(&self.highs)
            + size_of_val::<[u64]>(&self.lows)
            + size_of_val::<[u32]>(&self.values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::geo::layer::{Layer, Record, compile};

    fn table(networks: &[(&str, &str)]) -> Ranges {
        let mut layer = Layer::new();
        for (network, country) in networks {
            let record = layer.intern(&Record {
                country: country.parse().ok(),
                ..Record::default()
            });
            layer.add(network.parse().unwrap(), record).unwrap();
        }
        compile(&[layer])
    }

    fn country(ranges: &Ranges, address: &str) -> Option<String> {
        let class = ranges.lookup(address.parse().unwrap())?;
        ranges
            .place(class)
            .country
            .map(|country| country.to_string())
    }

    #[test]
    fn ranges_end_where_their_networks_end() {
        let ranges = table(&[
            ("0.0.0.0/32", "AA"),
            ("10.255.0.0/16", "BB"),
            ("11.0.0.0/8", "BB"),
            ("255.255.255.255/32", "CC"),
            ("::/128", "DD"),
            ("2001:db8::/32", "EE"),
            ("2001:db9::1/128", "FF"),
            ("2001:db9::4/126", "GG"),
            ("ffff:ffff:ffff:ffff::/64", "HH"),
        ]);
        for (address, expected) in [
            ("0.0.0.0", Some("AA")),
            ("0.0.0.1", None),
            ("10.254.255.255", None),
            ("10.255.0.0", Some("BB")),
            ("11.128.3.4", Some("BB")),
            ("12.0.0.0", None),
            ("255.255.255.254", None),
            ("255.255.255.255", Some("CC")),
            ("::", Some("DD")),
            ("::1", None),
            ("2001:db7:ffff:ffff:ffff:ffff:ffff:ffff", None),
            ("2001:db8:1::", Some("EE")),
            ("2001:db9::", None),
            ("2001:db9::1", Some("FF")),
            ("2001:db9::2", None),
            ("2001:db9::7", Some("GG")),
            ("2001:db9::8", None),
            ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Some("HH")),
            ("::ffff:11.1.2.3", Some("BB")),
        ] {
            assert_eq!(country(&ranges, address).as_deref(), expected, "{address}");
        }
        // 10.255/16 and 11/8 are adjacent and equal: one range.
        assert_eq!(ranges.range_counts(), (3, 5));
        assert_eq!(ranges.class_count(), 8);
    }

    #[test]
    fn the_empty_table_locates_nobody() {
        let ranges = Ranges::default();
        assert_eq!(country(&ranges, "192.0.2.1"), None);
        assert_eq!(country(&ranges, "2001:db8::1"), None);
        assert!(ranges.is_empty() && ranges.sample(10).is_empty());
        assert_eq!(compile(&[]), ranges);
        assert_eq!(
            ranges.place(ClassIndex(3)),
            Place::new(None, Source::Database)
        );
    }

    #[test]
    fn a_sample_is_spread_and_located() {
        let networks: Vec<(String, &str)> = (0..200)
            .map(|n| (format!("10.{n}.0.0/20"), "FR"))
            .chain((0..50).map(|n| (format!("2001:db8:{n:x}::/64"), "DE")))
            .collect();
        let ranges = table(
            &networks
                .iter()
                .map(|(network, country)| (network.as_str(), *country))
                .collect::<Vec<_>>(),
        );
        for count in [0, 1, 2, 7, 64, 1000] {
            let sample = ranges.sample(count);
            assert!(
                sample.len() <= count && sample.len() >= count.min(250) * 2 / 3,
                "{count}: {}",
                sample.len()
            );
            assert!(
                sample
                    .iter()
                    .all(|address| ranges.lookup(*address).is_some())
            );
        }
        assert!(ranges.sample(64).iter().any(IpAddr::is_ipv6));
    }
}
