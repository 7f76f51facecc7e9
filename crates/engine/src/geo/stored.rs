//! A compiled table as bytes and back, so that a start need not compile it again.
//!
//! Columns are written as they are kept, each with its length before it and all numbers little-endian; what follows from
//! other columns is computed anew. Reading checks every order and bound that look-ups rely on, so bytes that were
//! spoilt, or made up, give an error or a table that answers, never a panic. Whether they are the ones that were written
//! is for whoever keeps them to know, by a checksum.
//!
//! Both go through a small buffer: a table takes its own memory, not that of its bytes as well.
//!
//! The structs are taken apart and put together with all their fields here, so that a new one does not compile until
//! it is written too. Any change of what is written, or of what a class means, is a new [`FORMAT_VERSION`]; the centres of
//! countries and the radii that are told apart are part of that.

use super::cell::Cell;
use super::distance::UnitVector;
use super::place::{Asn, Country};
use super::radius::RadiusClass;
use super::ranges::{Class, Ranges};
use super::steps::NOTHING;
use super::tables::{SLASH_16_COUNT, V4Table, V6Table};

/// Changes whenever the bytes, or what they mean, do.
pub const FORMAT_VERSION: u32 = 1;

/// Bytes handed over at once. A multiple of every width.
const CHUNK_BYTES: usize = 64 << 10;

/// Bytes of a class: cell, operator, country, radius, whether only the country is known.
const CLASS_BYTES: usize = 12;

/// Why bytes are no table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Damage {
    /// Fewer bytes than the lengths within them say.
    #[error("it ends too early")]
    Short,
    /// More bytes than the table has.
    #[error("it goes on behind its end")]
    Long,
    /// Values of a column that cannot be.
    #[error("its column of {column} is out of order or out of bounds")]
    Column {
        /// The column.
        column: &'static str,
    },
}

/// Takes bytes, in order.
pub type Put<'a> = dyn FnMut(&[u8]) + 'a;

/// Fills a piece of memory with the bytes that come next; false where there are not as many.
pub type Fill<'a> = dyn FnMut(&mut [u8]) -> bool + 'a;

/// Hands the bytes of a table to `put`, piece by piece.
pub fn write(ranges: &Ranges, put: &mut Put<'_>) {
    let Ranges {
        v4,
        v6,
        classes,
        cells,
        // Both follow from the cells.
        centers: _,
        vectors: _,
    } = ranges;
    let V4Table {
        before,
        lows,
        values,
    } = v4;
    column(put, before, u32::to_le_bytes);
    column(put, lows, u16::to_le_bytes);
    column(put, values, u32::to_le_bytes);
    let V6Table {
        // Both follow from the starts.
        before: _,
        fences: _,
        highs,
        lows,
        values,
    } = v6;
    column(put, highs, u64::to_le_bytes);
    column(put, lows, u64::to_le_bytes);
    column(put, values, u32::to_le_bytes);
    column(put, classes, class_bytes);
    column(put, cells, |cell| cell.id().to_le_bytes());
}

/// Reads a table of `length` bytes, which `fill` gives.
pub fn read(length: u64, fill: &mut Fill<'_>) -> Result<Ranges, Damage> {
    let mut columns = Columns { left: length, fill };
    let v4 = v4_table(
        columns.next(u32::from_le_bytes)?,
        columns.next(u16::from_le_bytes)?,
        columns.next(u32::from_le_bytes)?,
    )?;
    let v6 = v6_table(
        columns.next(u64::from_le_bytes)?,
        columns.next(u64::from_le_bytes)?,
        columns.next(u32::from_le_bytes)?,
    )?;
    let classes = columns.next(class_of)?;
    let classes: Option<Box<[Class]>> = classes.into_iter().collect();
    let cells = columns.next(|bytes| Cell::from_id(u32::from_le_bytes(bytes)))?;
    let cells: Option<Box<[Cell]>> = cells.into_iter().collect();
    if columns.left > 0 {
        return Err(Damage::Long);
    }
    let cells = cells.filter(|cells| cells.is_sorted_by(|one, next| one < next));
    let cells = cells.ok_or(Damage::Column { column: "cells" })?;
    let is_cell = |class: &Class| class.cell == NOTHING || (class.cell as usize) < cells.len();
    let classes = classes.filter(|classes| classes.iter().all(is_cell));
    let classes = classes.ok_or(Damage::Column { column: "classes" })?;
    let is_class = |value: &u32| *value == NOTHING || (*value as usize) < classes.len();
    if !v4.values.iter().all(is_class) {
        return Err(Damage::Column {
            column: "IPv4 classes",
        });
    }
    if !v6.values.iter().all(is_class) {
        return Err(Damage::Column {
            column: "IPv6 classes",
        });
    }
    let centers: Box<[_]> = cells.iter().map(|cell| cell.center()).collect();
    Ok(Ranges {
        v4,
        v6,
        classes,
        vectors: centers.iter().copied().map(UnitVector::new).collect(),
        centers,
        cells,
    })
}

fn v4_table(before: Vec<u32>, lows: Vec<u16>, values: Vec<u32>) -> Result<V4Table, Damage> {
    let is_index = match (before.as_slice(), lows.is_empty()) {
        ([], is_empty) => is_empty,
        ([first, .., last], _) => {
            let is_whole = *first == 0 && *last as usize == lows.len();
            is_whole && before.len() == SLASH_16_COUNT + 1 && before.is_sorted()
        }
        _ => false,
    };
    let is_sorted = before.iter().zip(before.iter().skip(1)).all(|(from, to)| {
        let starts = lows.get(*from as usize..*to as usize);
        starts.is_some_and(|starts| starts.is_sorted_by(|one, next| one < next))
    });
    if !is_index || !is_sorted || values.len() != lows.len() {
        return Err(Damage::Column {
            column: "IPv4 starts",
        });
    }
    Ok(V4Table {
        before: before.into_boxed_slice(),
        lows: lows.into_boxed_slice(),
        values: values.into_boxed_slice(),
    })
}

fn v6_table(highs: Vec<u64>, lows: Vec<u64>, values: Vec<u32>) -> Result<V6Table, Damage> {
    let is_sorted = if lows.is_empty() {
        highs.is_sorted_by(|one, next| one < next)
    } else {
        let starts = highs.iter().zip(&lows);
        lows.len() == highs.len() && starts.is_sorted_by(|one, next| one < next)
    };
    if !is_sorted || values.len() != highs.len() {
        return Err(Damage::Column {
            column: "IPv6 starts",
        });
    }
    Ok(V6Table::of_columns(
        highs.into_boxed_slice(),
        lows.into_boxed_slice(),
        values.into_boxed_slice(),
    ))
}

fn class_bytes(class: Class) -> [u8; CLASS_BYTES] {
    let Class {
        cell,
        asn,
        country,
        radius,
        is_country_only,
    } = class;
    let written = cell
        .to_le_bytes()
        .into_iter()
        .chain(asn.map_or(0, Asn::get).to_le_bytes())
        .chain(country.map_or([0; 2], Country::letters))
        .chain([radius.number(), u8::from(is_country_only)]);
    let mut bytes = [0; CLASS_BYTES];
    for (into, byte) in bytes.iter_mut().zip(written) {
        *into = byte;
    }
    bytes
}

fn class_of(bytes: [u8; CLASS_BYTES]) -> Option<Class> {
    let (cell, rest) = bytes.split_first_chunk()?;
    let (asn, rest) = rest.split_first_chunk()?;
    let (letters, rest) = rest.split_first_chunk::<2>()?;
    let country = Country::new(*letters);
    let is_country = *letters == [0; 2] || country.is_some_and(|known| known.letters() == *letters);
    let &[radius, is_country_only @ 0..=1] = rest else {
        return None;
    };
    is_country.then_some(Class {
        cell: u32::from_le_bytes(*cell),
        asn: Asn::new(u32::from_le_bytes(*asn)),
        country,
        radius: RadiusClass::from_number(radius)?,
        is_country_only: is_country_only == 1,
    })
}

/// Hands over a column: how many values, then each.
fn column<T: Copy, const N: usize>(
    put: &mut Put<'_>,
    values: &[T],
    bytes_of: impl Fn(T) -> [u8; N],
) {
    put(&(values.len() as u64).to_le_bytes());
    let mut chunk = Vec::with_capacity(CHUNK_BYTES);
    for values in values.chunks((CHUNK_BYTES / N).max(1)) {
        chunk.clear();
        for value in values {
            chunk.extend_from_slice(&bytes_of(*value));
        }
        put(&chunk);
    }
}

/// The columns still to be read.
struct Columns<'a> {
    /// Bytes left.
    left: u64,
    fill: &'a mut Fill<'a>,
}

impl Columns<'_> {
    /// The next column. No more memory is taken than the bytes left can need.
    fn next<T, const N: usize>(
        &mut self,
        value_of: impl Fn([u8; N]) -> T,
    ) -> Result<Vec<T>, Damage> {
        let mut count = [0; 8];
        self.fill(&mut count)?;
        let count = u64::from_le_bytes(count);
        if count
            .checked_mul(N as u64)
            .is_none_or(|bytes| bytes > self.left)
        {
            return Err(Damage::Short);
        }
        let mut left = usize::try_from(count).map_err(|_| Damage::Short)?;
        let mut values = Vec::with_capacity(left);
        let mut chunk = vec![0; CHUNK_BYTES.min(left.saturating_mul(N))];
        while left > 0 {
            let taken = left.min(chunk.len() / N);
            let bytes = chunk.get_mut(..taken * N).unwrap_or_default();
            self.fill(bytes)?;
            values.extend(
                bytes
                    .as_chunks::<N>()
                    .0
                    .iter()
                    .map(|value| value_of(*value)),
            );
            left -= taken;
        }
        Ok(values)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), Damage> {
        let left = self.left.checked_sub(bytes.len() as u64);
        self.left = left.ok_or(Damage::Short)?;
        if (self.fill)(bytes) {
            Ok(())
        } else {
            Err(Damage::Short)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geo::Location;
    use crate::geo::layer::{Layer, Record, compile};

    fn bytes_of(ranges: &Ranges) -> Vec<u8> {
        let mut bytes = Vec::new();
        write(ranges, &mut |piece| bytes.extend_from_slice(piece));
        bytes
    }

    fn table_of(bytes: &[u8]) -> Result<Ranges, Damage> {
        let mut rest = bytes;
        read(bytes.len() as u64, &mut |into| {
            let Some((taken, left)) = rest.split_at_checked(into.len()) else {
                return false;
            };
            into.copy_from_slice(taken);
            rest = left;
            true
        })
    }

    /// Positions of bytes, without most of the index of the /16s, which is long and says the same again and again.
    fn ends(bytes: &[u8]) -> impl Iterator<Item = usize> {
        (0..200).chain(8 + (SLASH_16_COUNT - 200) * 4..bytes.len())
    }

    /// A table with everything in it: both families, starts within a /64, operators alone, countries alone.
    fn table() -> Ranges {
        let mut layer = Layer::new();
        let mut add = |network: &str, record: Record| {
            let record = layer.intern(&record);
            layer.add(network.parse().unwrap(), record).unwrap();
        };
        for n in 0..40_u8 {
            let record = Record {
                location: Location::new(f64::from(n) / 2.0, f64::from(n)),
                accuracy_radius_km: Some(f32::from(n) * 30.0),
                country: Country::new(*b"FR").filter(|_| n % 3 == 0),
                asn: Asn::new(u32::from(n % 5)),
            };
            add(&format!("198.18.{n}.0/25"), record);
            add(&format!("2001:db8::{n:x}:0/112"), record);
        }
        let country = Country::new(*b"DE");
        let record = Record {
            country,
            ..Record::default()
        };
        add("203.0.113.0/24", record);
        add("2001:db9::/32", record);
        let asn = Asn::new(64_496);
        add(
            "240.0.0.0/4",
            Record {
                asn,
                ..Record::default()
            },
        );
        compile(vec![layer])
    }

    #[test]
    fn a_table_comes_back_as_it_was() {
        for ranges in [Ranges::default(), table()] {
            assert_eq!(table_of(&bytes_of(&ranges)), Ok(ranges));
        }
        let bytes = bytes_of(&table());
        assert_eq!(table_of(&[&bytes[..], &[0]].concat()), Err(Damage::Long));
        for length in ends(&bytes).chain((0..bytes.len()).step_by(9973)) {
            assert_eq!(table_of(&bytes[..length]), Err(Damage::Short), "{length}");
        }
    }

    #[test]
    fn lying_lengths_take_no_memory() {
        let bytes = bytes_of(&table());
        for length in [u64::MAX, u64::MAX / 4, 1 << 40, bytes.len() as u64] {
            let mut lying = bytes.clone();
            lying[..8].copy_from_slice(&length.to_le_bytes());
            assert_eq!(table_of(&lying), Err(Damage::Short));
        }
    }

    /// Whatever byte is turned over: an error, or a table that answers for every address.
    #[test]
    fn spoilt_bytes_give_an_error_or_a_table_that_answers() {
        let bytes = bytes_of(&table());
        let mut refused = 0;
        for (at, turned) in ends(&bytes)
            .step_by(7)
            .zip([1, 0x80, 0xff].into_iter().cycle())
        {
            let mut spoilt = bytes.clone();
            spoilt[at] ^= turned;
            let Ok(ranges) = table_of(&spoilt) else {
                refused += 1;
                continue;
            };
            for address in ranges.sample(32) {
                let class = ranges.lookup(address).unwrap();
                let cell = ranges.cell_of(class);
                assert_eq!(ranges.place(class).cell().is_some(), cell.is_some());
                assert!(cell.is_none_or(|cell| cell.index() < ranges.cells().len()));
            }
        }
        assert!(refused > 100, "{refused}");
    }
}
