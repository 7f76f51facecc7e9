//! How closely a place is known, and what that makes of a distance.
//!
//! A geographic database says of many addresses no more than "somewhere in the United States": a point in the middle of
//! the country and a radius of 1,000 km. Taken at its word the point sends all of these clients to the one site that is
//! nearest to it. So a place that is known to within a few hundred kilometres only is a *disc*, and its distance from a
//! site is the mean over the disc: sites inside of it become nearly equal, which is all that is known of them.
//!
//! Radii are told apart in few classes, a factor of √2 from one to the next, so that classes of clients stay few too. The
//! means have no closed form on a sphere; they are tabulated (`table.rs`, made by `examples/fixtures`) at distances that
//! lie closer where the place is near, and interpolated with a square root and a few multiplications, each rounded once
//! as IEEE 754 says: the same bits everywhere. A place that is known more closely is a point, and nothing here touches
//! its distance.

mod table;

/// A place that is known to within this, in km, is a point.
pub const POINT_RADIUS_KM: f32 = 250.0;

/// The radius of each class of discs in km: √2 times the one before. The first three are for countries, whose people are
/// known to be spread over them.
pub const DISC_RADII_KM: [f32; 11] = [
    125.0, 177.0, 250.0, 354.0, 500.0, 707.0, 1_000.0, 1_414.0, 2_000.0, 2_828.0, 4_000.0,
];

/// Steps of the table from the centre of a disc to its antipode. Distances grow as the square of the step.
pub const DISC_STEPS: usize = 64;

/// Half the way around the earth in km: the distance of the last step.
const HALF_WAY_ROUND_KM: f32 = 20_015.115;

/// How closely a place is known: as a point, or as a disc of one of the radii told apart.
///
/// Invariant: 0 for a point, else the position in [`DISC_RADII_KM`] plus 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct RadiusClass(u8);

impl RadiusClass {
    /// A place that is known closely, or of which nothing is said.
    pub const POINT: Self = Self(0);

    /// The class of the radius in km within which somebody says that a place is: up to [`POINT_RADIUS_KM`], or no number,
    /// it is a point.
    pub fn of_accuracy_km(radius_km: f32) -> Self {
        if radius_km > POINT_RADIUS_KM {
            Self::of_disc_km(radius_km)
        } else {
            Self::POINT
        }
    }

    /// The smallest disc that is not smaller than this radius in km, and the largest of all for wider ones. What is not
    /// above 0 is a point.
    pub fn of_disc_km(radius_km: f32) -> Self {
        let bounds = [0.0].into_iter().chain(DISC_RADII_KM);
        let mut class = Self::POINT;
        for bound in bounds.take(DISC_RADII_KM.len()) {
            class.0 += u8::from(radius_km > bound);
        }
        class
    }

    /// The number that names this class.
    pub(super) fn number(self) -> u8 {
        self.0
    }

    /// The class of that number, or `None` if there is none.
    pub(super) fn from_number(number: u8) -> Option<Self> {
        (usize::from(number) <= DISC_RADII_KM.len()).then_some(Self(number))
    }

    /// Whether it is a point.
    #[inline]
    pub const fn is_point(self) -> bool {
        self.0 == 0
    }

    /// The radius of the disc in km; 0 for a point.
    pub fn km(self) -> f32 {
        let at = usize::from(self.0).checked_sub(1);
        let radius = at.and_then(|at| DISC_RADII_KM.get(at));
        radius.copied().unwrap_or(0.0)
    }

    /// What a client somewhere in the disc is away from a site, on average, in km, where the disc's centre is
    /// `centre_km` away. Never decreases when the centre is further away, and it is the distance itself for a point.
    #[inline]
    pub fn mean_km(self, centre_km: f32) -> f32 {
        if self.is_point() {
            return centre_km;
        }
        self.interpolated_km(centre_km)
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "steps are few and not negative; `as` cuts off the part that is taken up below"
    )]
    fn interpolated_km(self, centre_km: f32) -> f32 {
        let row = usize::from(self.0)
            .checked_sub(1)
            .and_then(|at| table::MEAN_KM.get(at));
        let steps = (centre_km / HALF_WAY_ROUND_KM).sqrt() * DISC_STEPS as f32;
        // The antipode is the end of the last step, not the beginning of one more.
        let step = (steps as usize).min(DISC_STEPS - 1);
        let part = steps - step as f32;
        match row.and_then(|row| row.get(step..step + 2)) {
            Some(&[from, to]) => from + (to - from) * part,
            _ => centre_km,
        }
    }

    /// How much further, in km, a site at the disc's edge is than one at its centre, on average; 0 for a point. Sites
    /// that differ by less cannot be told apart by what is known.
    pub fn tolerance_km(self) -> f32 {
        self.mean_km(self.km()) - self.mean_km(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geo::Location;
    use crate::geo::distance::{EARTH_RADIUS_KM, UnitVector, chord_squared, distance_km};
    use proptest::prelude::*;

    #[test]
    fn radii_that_databases_state_are_told_apart() {
        for (stated, wanted) in [
            (0.0, 0.0),
            (-1.0, 0.0),
            (f32::NAN, 0.0),
            (200.0, 0.0),
            (250.0, 0.0),
            (251.0, 354.0),
            (500.0, 500.0),
            (501.0, 707.0),
            (1_000.0, 1_000.0),
            (2_000.0, 2_000.0),
            (4_000.0, 4_000.0),
            (20_000.0, 4_000.0),
            (f32::INFINITY, 4_000.0),
        ] {
            let class = RadiusClass::of_accuracy_km(stated);
            let km = class.km();
            assert!((km - wanted).abs() < 0.5, "{stated}: {km}");
            assert_eq!(RadiusClass::of_disc_km(km), class, "{stated}");
        }
        for radius in DISC_RADII_KM {
            let class = RadiusClass::of_disc_km(radius);
            assert_eq!(class.km().to_bits(), radius.to_bits());
        }
        assert!((RadiusClass::of_disc_km(3.0).km() - 125.0).abs() < 0.5);
    }

    /// The mean distance to the places of a disc around the north pole, by going through many of them.
    fn counted_km(radius_km: f64, centre_km: f64) -> f64 {
        let (rings, spokes) = (120_u32, 240_u32);
        let north = 90.0 - (centre_km / EARTH_RADIUS_KM).to_degrees();
        let site = Location::new(north.max(-90.0), 0.0).unwrap();
        let site = UnitVector::new(site);
        let (mut sum, mut count) = (0.0, 0.0);
        let edge = 1.0 - (radius_km / EARTH_RADIUS_KM).cos();
        for ring in 0..rings {
            // Equal areas lie between equal heights.
            let height = 1.0 - edge * (f64::from(ring) + 0.5) / f64::from(rings);
            for spoke in 0..spokes {
                let longitude = (f64::from(spoke) + 0.5) / f64::from(spokes) * 360.0 - 180.0;
                let place = Location::new(height.asin().to_degrees(), longitude).unwrap();
                let chord = chord_squared(UnitVector::new(place), site);
                sum += f64::from(distance_km(chord));
                count += 1.0;
            }
        }
        sum / count
    }

    #[test]
    fn the_table_is_the_mean_over_the_disc() {
        for radius in DISC_RADII_KM {
            let class = RadiusClass::of_disc_km(radius);
            for part in [0.0, 0.3, 0.8, 1.0, 1.2, 2.0, 4.0] {
                let centre_km = radius * part;
                let counted = counted_km(f64::from(radius), f64::from(centre_km));
                let ours = f64::from(class.mean_km(centre_km));
                assert!(
                    (ours - counted).abs() < counted * 0.01 + 2.5,
                    "radius {radius}, {centre_km} km away: {ours} against {counted}"
                );
            }
            let opposite = f64::from(class.mean_km(HALF_WAY_ROUND_KM));
            let counted = counted_km(f64::from(radius), f64::from(HALF_WAY_ROUND_KM));
            assert!((opposite - counted).abs() < 20.0, "{opposite} {counted}");
        }
    }

    #[test]
    fn sites_in_a_disc_differ_by_less_than_its_radius() {
        let class = RadiusClass::of_disc_km(1_000.0);
        assert!((class.mean_km(0.0) - 665.0).abs() < 5.0);
        assert!((class.tolerance_km() - 464.0).abs() < 5.0);
        assert!(RadiusClass::POINT.tolerance_km().abs() < f32::EPSILON);
    }

    #[test]
    fn the_bits_are_those_of_every_other_platform() {
        let bits = [(354.0, 100.0), (1_000.0, 1_234.5), (4_000.0, 15_000.0)]
            .map(|(radius, km)| RadiusClass::of_disc_km(radius).mean_km(km).to_bits());
        assert_eq!(bits, GOLDEN_BITS);
    }

    /// Computed once and kept: any platform or compiler that gives other bits fails here.
    const GOLDEN_BITS: [u32; 3] = [1_132_137_180, 1_151_814_538, 1_181_043_639];

    proptest! {
        #[test]
        fn a_point_keeps_its_distance(km in 0.0..=20_100.0_f32) {
            prop_assert_eq!(RadiusClass::POINT.mean_km(km).to_bits(), km.to_bits());
        }

        #[test]
        fn further_away_is_never_nearer(
            radius in 0.0..=5_000.0_f32, a in 0.0..=20_100.0_f32, b in 0.0..=20_100.0_f32,
        ) {
            let class = RadiusClass::of_disc_km(radius);
            // A unit in the last place is lost where two steps meet.
            prop_assert!(class.mean_km(a.min(b)) <= class.mean_km(a.max(b)) + 0.002);
        }
    }
}
