//! Great-circle distance on a sphere, cheap enough to be taken for every site of every decision.
//!
//! A location is turned once into a point on the unit sphere. The straight line (chord) between two such points is
//! three subtractions and three products away, and `chord² / 4` is exactly the haversine of the angle between them, so
//! `angle = 2 asin(sqrt(chord² / 4))`. The chord keeps its digits for near points, where a dot product loses them.
//!
//! Every step is one IEEE 754 single operation in a fixed order (add, subtract, multiply, square root, minimum); the
//! arcsine is a polynomial of our own. The sine and cosine of a location come from `libm`, whose code is the same on all
//! platforms, unlike that of the standard library. So distances are identical everywhere, as decisions must be.
//!
//! Accuracy: within 0.01 % + 10 m of the haversine formula in doubles, except that near the antipode the rounding of the
//! chord costs up to 10 km of 20,015 (0.05 %).

use super::Location;

/// Mean radius of the earth in kilometres (IUGG).
pub const EARTH_RADIUS_KM: f64 = 6371.0088;

/// Twice the radius, in single precision: the factor from `asin(sqrt(haversine))` to kilometres.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the nearest single is what is wanted"
)]
const DIAMETER_KM: f32 = (2.0 * EARTH_RADIUS_KM) as f32;

/// A point on the unit sphere: `x` towards (0° N, 0° E), `y` towards (0° N, 90° E), `z` towards the north pole.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct UnitVector {
    /// Component towards 0° N, 0° E, -1..=1.
    pub x: f32,
    /// Component towards 0° N, 90° E, -1..=1.
    pub y: f32,
    /// Component towards the north pole, -1..=1.
    pub z: f32,
}

impl UnitVector {
    /// The direction of a location as seen from the centre of the earth.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "singles carry 0.4 m, far finer than any geographic database"
    )]
    pub fn new(location: Location) -> Self {
        let latitude = location.latitude().to_radians();
        let longitude = location.longitude().to_radians();
        let parallel = libm::cos(latitude);
        Self {
            x: (parallel * libm::cos(longitude)) as f32,
            y: (parallel * libm::sin(longitude)) as f32,
            z: libm::sin(latitude) as f32,
        }
    }
}

impl From<Location> for UnitVector {
    fn from(location: Location) -> Self {
        Self::new(location)
    }
}

/// Square of the straight line through the earth between two points, in units of the radius: 0 to 4 (plus rounding).
///
/// It grows with the distance, so it orders sites by nearness without the arcsine.
#[inline]
pub fn chord_squared(from: UnitVector, to: UnitVector) -> f32 {
    let x = to.x - from.x;
    let y = to.y - from.y;
    let z = to.z - from.z;
    x * x + y * y + z * z
}

/// Great-circle distance in kilometres, 0 to 20,015, of two points whose chord squared is given.
///
/// Never decreases when the chord grows: every coefficient is positive and every operation rounds monotonically.
#[inline]
pub fn distance_km(chord_squared: f32) -> f32 {
    use std::f32::consts::FRAC_PI_2;
    // The haversine of the angle. Rounding can push an antipodal pair just past 1.
    let haversine = smaller(chord_squared * 0.25, 1.0);
    // asin(sqrt(q)) = pi/2 - asin(sqrt(1 - q)) keeps the polynomial on 0..=0.5; where 1 - q is taken it is exact.
    let near = arcsine_of_root(smaller(haversine, 1.0 - haversine));
    let half_angle = if haversine > 0.5 {
        FRAC_PI_2 - near
    } else {
        near
    };
    DIAMETER_KM * half_angle
}

/// The smaller of two numbers that are not NaN: one instruction, where `f32::min` must also think of NaN.
#[inline]
fn smaller(one: f32, other: f32) -> f32 {
    if one < other { one } else { other }
}

/// `asin(sqrt(square))` for 0..=0.5, within 3e-6 of its value.
///
/// The polynomial interpolates `(asin(s) / s - 1) / s²` at the Chebyshev nodes of 0..=0.5 in `s²`. Degree 4 is the
/// highest that has positive coefficients only, which is what makes the distance provably monotone.
#[inline]
fn arcsine_of_root(square: f32) -> f32 {
    let mut sum = 0.073_949_13_f32;
    sum = sum * square + 0.002_197_659_8;
    sum = sum * square + 0.050_199_38;
    sum = sum * square + 0.074_636_85;
    sum = sum * square + 0.166_670_32;
    let root = square.sqrt();
    root + root * (square * sum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn haversine_km(a: Location, b: Location) -> f64 {
        let half = |from: f64, to: f64| ((to - from).to_radians() / 2.0).sin().powi(2);
        let cosines = a.latitude().to_radians().cos() * b.latitude().to_radians().cos();
        let q = half(a.latitude(), b.latitude()) + cosines * half(a.longitude(), b.longitude());
        2.0 * EARTH_RADIUS_KM * q.min(1.0).sqrt().asin()
    }

    fn ours_km(a: Location, b: Location) -> f64 {
        f64::from(distance_km(chord_squared(a.into(), b.into())))
    }

    fn at(latitude: f64, longitude: f64) -> Location {
        Location::new(latitude, longitude).unwrap()
    }

    #[test]
    fn known_distances_come_out() {
        let paris = at(48.8566, 2.3522);
        let new_york = at(40.7128, -74.0060);
        assert!((ours_km(paris, new_york) - 5837.2).abs() < 1.0);
        assert!(ours_km(paris, paris).abs() < f64::EPSILON);
        let half_way_round = std::f64::consts::PI * EARTH_RADIUS_KM;
        assert!((ours_km(at(90.0, 0.0), at(-90.0, 0.0)) - half_way_round).abs() < 1.0);
        assert!((ours_km(at(0.0, 180.0), at(0.0, -180.0))).abs() < 0.01);
    }

    #[test]
    fn the_bits_are_those_of_every_other_platform() {
        let v = UnitVector::new(at(48.8566, 2.3522));
        let w = UnitVector::new(at(-33.8688, 151.2093));
        let bits = [
            v.x,
            v.y,
            v.z,
            w.x,
            chord_squared(v, w),
            distance_km(chord_squared(v, w)),
        ]
        .map(f32::to_bits);
        assert_eq!(bits, GOLDEN_BITS);
    }

    /// Computed once and kept: any platform or compiler that gives other bits fails here.
    const GOLDEN_BITS: [u32; 6] = [
        1_059_605_199,
        1_021_130_344,
        1_061_210_338,
        3_208_268_030,
        1_081_184_598,
        1_183_088_908,
    ];

    #[test]
    fn the_seam_of_the_arcsine_is_monotone() {
        // Every single in a wide band around chord² = 2, where the two branches meet.
        let seam = 2.0_f32.to_bits();
        let mut last = 0.0;
        for bits in seam - 200_000..seam + 200_000 {
            let km = distance_km(f32::from_bits(bits));
            assert!(km >= last, "{km} after {last} at {}", f32::from_bits(bits));
            last = km;
        }
    }

    proptest! {
        #[test]
        fn it_agrees_with_haversine(
            a in (-90.0..=90.0_f64, -180.0..=180.0_f64),
            b in (-90.0..=90.0_f64, -180.0..=180.0_f64),
        ) {
            let (a, b) = (at(a.0, a.1), at(b.0, b.1));
            let exact = haversine_km(a, b);
            let allowed = if exact > 19_000.0 { 10.0 } else { 0.01 + exact * 1e-4 };
            prop_assert!((ours_km(a, b) - exact).abs() <= allowed, "{} against {exact}", ours_km(a, b));
        }

        #[test]
        fn near_points_agree_to_ten_metres(
            latitude in -89.0..=89.0_f64, longitude in -179.0..=179.0_f64,
            north in -0.5..=0.5_f64, east in -0.5..=0.5_f64,
        ) {
            let (a, b) = (at(latitude, longitude), at(latitude + north, longitude + east));
            let exact = haversine_km(a, b);
            prop_assert!((ours_km(a, b) - exact).abs() <= 0.01 + exact * 1e-4);
        }

        #[test]
        fn a_longer_chord_is_never_a_shorter_way(a in 0.0..=4.0_f32, b in 0.0..=4.0_f32) {
            prop_assert!(distance_km(a.min(b)) <= distance_km(a.max(b)));
        }
    }
}
