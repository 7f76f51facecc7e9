//! A fixed grid over the sphere, so that clients who live near each other are one group.
//!
//! The sphere is cut into [`BANDS`] bands of equal latitude, and each band into columns of equal longitude, fewer of
//! them towards the poles, so that cells stay about square. Two members of a cell are at most [`DIAMETER_KM`] apart,
//! which at 0.016 ms/km is 2 ms of geographic cost; the centre is at most half of that from any member.
//!
//! The grid depends on nothing but this file, so a cell means the same in every sidecar and in every recorded decision.

use std::fmt;

use super::Location;
use super::distance::EARTH_RADIUS_KM;

/// Upper bound of the distance between two members of one cell, in kilometres.
pub const DIAMETER_KM: f64 = 125.0;

/// Number of latitude bands. Each is 180/228 degrees, 87.8 km high. Even, so that the equator is an edge.
pub const BANDS: u16 = 228;

/// Height of a band in degrees.
const BAND_DEGREES: f64 = 180.0 / BANDS as f64;

/// Most a cell may be wide, in kilometres, along that edge of its band which is nearer to the equator. With 87.8 km of
/// height it makes a diagonal of 123.6 km, which leaves a little for rounding.
const WIDTH_KM: f64 = 87.0;

/// One cell of the grid.
///
/// Invariant: the upper half of the number is a band below [`BANDS`], the lower half a column of that band.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cell(u32);

impl Cell {
    /// The cell a location lies in. The two names of the antimeridian (-180 and 180) and all names of a pole agree.
    pub fn of(location: Location) -> Self {
        let latitude = location.latitude();
        let is_pole = latitude.abs() >= 90.0;
        let longitude = if is_pole || location.longitude() >= 180.0 {
            -180.0
        } else {
            location.longitude()
        };
        let band = floor_below((latitude + 90.0) / BAND_DEGREES, BANDS);
        let columns = columns(band);
        let column = floor_below((longitude + 180.0) / 360.0 * f64::from(columns), columns);
        Self(u32::from(band) << 16 | u32::from(column))
    }

    /// The number that names this cell: band from the south pole in the upper 16 bits, column from 180° W in the lower.
    pub fn id(self) -> u32 {
        self.0
    }

    /// The cell of that number, or `None` if the grid has no such cell.
    pub fn from_id(id: u32) -> Option<Self> {
        let cell = Self(id);
        (cell.band() < BANDS && cell.column() < columns(cell.band())).then_some(cell)
    }

    /// The middle of the cell in latitude and longitude; it lies in the cell, at most 62.5 km from any member.
    pub fn center(self) -> Location {
        let columns = f64::from(columns(self.band()));
        Location {
            latitude: -90.0 + (f64::from(self.band()) + 0.5) * BAND_DEGREES,
            longitude: -180.0 + (f64::from(self.column()) + 0.5) / columns * 360.0,
        }
    }

    fn band(self) -> u16 {
        (self.0 >> 16) as u16
    }

    fn column(self) -> u16 {
        (self.0 & 0xffff) as u16
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.band(), self.column())
    }
}

/// Number of columns of a band, 7 at the poles to 461 at the equator.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "between 1 and 461 by construction"
)]
fn columns(band: u16) -> u16 {
    let bands_to_equator = if band >= BANDS / 2 {
        band - BANDS / 2
    } else {
        BANDS / 2 - 1 - band.min(BANDS / 2 - 1)
    };
    let parallel = libm::cos((f64::from(bands_to_equator) * BAND_DEGREES).to_radians());
    let around_km = 2.0 * std::f64::consts::PI * EARTH_RADIUS_KM * parallel;
    libm::ceil(around_km / WIDTH_KM).max(1.0) as u16
}

/// The whole part of a number that is not negative, at most `count - 1`: the upper edge belongs to the last part.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "`as` saturates, and the number is not negative"
)]
fn floor_below(number: f64, count: u16) -> u16 {
    (number as u16).min(count.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geo::distance::{UnitVector, chord_squared, distance_km};
    use proptest::prelude::*;

    fn at(latitude: f64, longitude: f64) -> Location {
        Location::new(latitude, longitude).unwrap()
    }

    fn apart_km(a: Location, b: Location) -> f64 {
        f64::from(distance_km(chord_squared(
            UnitVector::new(a),
            UnitVector::new(b),
        )))
    }

    /// The four corners of a cell, and the points of its edges half way between.
    fn outline(cell: Cell) -> Vec<Location> {
        let center = cell.center();
        let half_width = 180.0 / f64::from(columns(cell.band()));
        let mut points = Vec::new();
        for north in [-0.5, 0.0, 0.5] {
            for east in [-1.0, 0.0, 1.0] {
                points.push(at(
                    (center.latitude() + north * BAND_DEGREES).clamp(-90.0, 90.0),
                    (center.longitude() + east * half_width).clamp(-180.0, 180.0),
                ));
            }
        }
        points
    }

    #[test]
    fn every_cell_of_the_grid_keeps_the_bounds() {
        let mut count = 0;
        let mut widest: f64 = 0.0;
        for band in 0..BANDS {
            let columns = u32::from(columns(band));
            count += columns;
            // Cells of one band are congruent: the first, the last and one in the middle stand for all.
            for column in [0, columns / 2, columns - 1] {
                let cell = Cell::from_id(u32::from(band) << 16 | column).unwrap();
                assert_eq!(Cell::of(cell.center()), cell);
                let outline = outline(cell);
                for a in &outline {
                    assert!(
                        apart_km(*a, cell.center()) <= DIAMETER_KM / 2.0,
                        "{cell}: {}",
                        apart_km(*a, cell.center())
                    );
                    for b in &outline {
                        widest = widest.max(apart_km(*a, *b));
                    }
                }
            }
            assert_eq!(Cell::from_id(u32::from(band) << 16 | columns), None);
        }
        assert!(widest <= DIAMETER_KM && widest > 120.0, "{widest}");
        assert!((60_000..70_000).contains(&count), "{count}");
        assert_eq!(Cell::from_id(u32::from(BANDS) << 16), None);
        assert_eq!(Cell::from_id(u32::MAX), None);
    }

    #[test]
    fn one_point_of_many_names_has_one_cell() {
        for latitude in [-90.0, 90.0] {
            for longitude in [-180.0, -17.0, 0.0, 90.0, 180.0] {
                assert_eq!(
                    Cell::of(at(latitude, longitude)),
                    Cell::of(at(latitude, 0.0))
                );
            }
        }
        for latitude in [-89.9, -45.0, 0.0, 12.5, 89.9] {
            assert_eq!(
                Cell::of(at(latitude, 180.0)),
                Cell::of(at(latitude, -180.0))
            );
        }
    }

    #[test]
    fn the_grid_is_the_one_of_every_other_build() {
        let cells = [
            (48.8566, 2.3522),
            (-33.8688, 151.2093),
            (0.0, 0.0),
            (90.0, 0.0),
            (-89.99, 179.99),
        ]
        .map(|(latitude, longitude)| Cell::of(at(latitude, longitude)).to_string());
        assert_eq!(cells, GOLDEN_CELLS);
        assert_eq!(
            (0..BANDS).map(|band| u32::from(columns(band))).sum::<u32>(),
            GOLDEN_COUNT
        );
    }

    const GOLDEN_CELLS: [&str; 5] = ["175/155", "71/355", "114/230", "227/0", "0/6"];
    const GOLDEN_COUNT: u32 = 67_358;

    proptest! {
        #[test]
        fn members_of_a_cell_are_near_each_other(
            latitude in -90.0..=90.0_f64, longitude in -180.0..=180.0_f64,
            north in -1.2..=1.2_f64, east in -1.2..=1.2_f64,
        ) {
            let a = at(latitude, longitude);
            let shrink = a.latitude().to_radians().cos().max(0.002);
            let b = at((latitude + north).clamp(-90.0, 90.0), (longitude + east / shrink).clamp(-180.0, 180.0));
            if Cell::of(a) == Cell::of(b) {
                prop_assert!(apart_km(a, b) <= DIAMETER_KM);
            }
            prop_assert!(apart_km(a, Cell::of(a).center()) <= DIAMETER_KM / 2.0);
            prop_assert_eq!(Cell::of(Cell::of(a).center()), Cell::of(a));
            prop_assert_eq!(Cell::from_id(Cell::of(a).id()), Some(Cell::of(a)));
        }

        #[test]
        fn polar_and_antimeridian_members_too(
            latitude in prop_oneof![89.0..=90.0_f64, -90.0..=-89.0_f64, -1.0..=1.0_f64],
            longitude in prop_oneof![-180.0..=180.0_f64, 179.0..=180.0_f64, -180.0..=-179.0_f64],
            other in (prop_oneof![89.0..=90.0_f64, -90.0..=-89.0_f64, -1.0..=1.0_f64], -180.0..=180.0_f64),
        ) {
            let (a, b) = (at(latitude, longitude), at(other.0, other.1));
            if Cell::of(a) == Cell::of(b) {
                prop_assert!(apart_km(a, b) <= DIAMETER_KM);
            }
            prop_assert!(apart_km(a, Cell::of(a).center()) <= DIAMETER_KM / 2.0);
        }
    }
}
