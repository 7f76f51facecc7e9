//! The compiled table a request looks its client up in.
//!
//! Addresses are cut into ranges; each range names a *class* of clients (cell, country, operator, radius), each
//! class a cell; a class of which nothing but the country is known has the cell of that country's people. Both lists are dense and sorted, so what is compiled per class or per cell (site order, learned
//! costs) is an array.
//!
//! A /24 may hold more than one class, and a class need not end on any prefix: hence ranges, not prefixes.

use std::net::IpAddr;

use super::cell::Cell;
use super::distance::UnitVector;
use super::known::Known;
use super::place::{Asn, Country, Place, Source};
use super::radius::RadiusClass;
use super::steps::{NOTHING, Steps};
use super::tables::{V4Table, V6Table};
use super::{Location, countries};

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
pub(super) struct Class {
    /// Position in the cell table, or [`NOTHING`].
    pub(super) cell: u32,
    pub(super) asn: Option<Asn>,
    pub(super) country: Option<Country>,
    pub(super) radius: RadiusClass,
    /// Whether the cell is the one of the country's people.
    pub(super) is_country_only: bool,
}

impl Class {
    /// A class with the cell it is in, which is not in the table of cells yet.
    fn of(known: &Known) -> (Self, Option<Cell>) {
        let unplaced = known.country.filter(|_| known.cell.is_none());
        let centre = unplaced.and_then(countries::centre);
        let class = Self {
            cell: NOTHING,
            asn: known.asn,
            country: known.country,
            radius: centre.map_or(known.radius, |centre| centre.radius),
            is_country_only: centre.is_some(),
        };
        (
            class,
            known
                .cell
                .or(centre.map(|centre| Cell::of(centre.location))),
        )
    }
}

/// Address ranges and their classes. The default is the empty table, which locates nobody.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Ranges {
    pub(super) v4: V4Table,
    pub(super) v6: V6Table,
    /// Ascending by what the databases say: cell, country, operator, radius.
    pub(super) classes: Box<[Class]>,
    /// Ascending.
    pub(super) cells: Box<[Cell]>,
    /// One per cell.
    pub(super) centers: Box<[Location]>,
    /// One per cell.
    pub(super) vectors: Box<[UnitVector]>,
}

impl Ranges {
    /// Compiles merged steps whose values are positions in `known`.
    pub(super) fn new(known: &[Known], v4: Steps<u32>, v6: Steps<u128>) -> Self {
        let used = sorted_used(known, v4.values().iter().chain(v6.values()));
        let mut classes: Vec<(Class, Option<Cell>)> =
            used.iter().map(|(known, _)| Class::of(known)).collect();
        let mut cells: Vec<Cell> = classes.iter().filter_map(|(_, cell)| *cell).collect();
        cells.sort_unstable();
        cells.dedup();
        let position = |cell: Cell| {
            cells
                .binary_search(&cell)
                .ok()
                .and_then(|at| u32::try_from(at).ok())
        };
        for (class, cell) in &mut classes {
            class.cell = cell.and_then(position).unwrap_or(NOTHING);
        }
        let mut numbers = vec![NOTHING; known.len()];
        for ((_, old), new) in used.into_iter().zip(0_u32..) {
            if let Some(number) = numbers.get_mut(old) {
                *number = new;
            }
        }
        let renumber = |value: u32| numbers.get(value as usize).copied().unwrap_or(NOTHING);
        let centers: Box<[Location]> = cells.iter().map(|cell| cell.center()).collect();
        Self {
            v4: V4Table::new(v4, renumber),
            v6: V6Table::new(v6, renumber),
            classes: classes.into_iter().map(|(class, _)| class).collect(),
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
        place.radius = row.radius;
        place.is_country_only = row.is_country_only;
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
        (self.v4.range_count(), self.v6.range_count())
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

/// What some steps refer to, each with its position, in ascending order. A record nobody has makes no class.
fn sorted_used<'a>(
    known: &'a [Known],
    values: impl Iterator<Item = &'a u32>,
) -> Vec<(&'a Known, usize)> {
    let mut is_used = vec![false; known.len()];
    for value in values {
        if let Some(is_used) = is_used.get_mut(*value as usize) {
            *is_used = true;
        }
    }
    let numbered = known.iter().zip(0..).zip(is_used);
    let mut used: Vec<_> = numbered
        .filter_map(|(entry, is_used)| is_used.then_some(entry))
        .collect();
    used.sort_unstable_by_key(|(known, _)| **known);
    used
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geo::layer::{Layer, Record, compile};

    fn table(networks: &[(&str, &str)]) -> Ranges {
        let mut layer = Layer::new();
        for (network, country) in networks {
            let record = layer.intern(&Record {
                country: country.parse().ok(),
                ..Record::default()
            });
            layer.add(network.parse().unwrap(), record).unwrap();
        }
        compile(vec![layer])
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
        assert_eq!(compile(vec![]), ranges);
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
