//! Where clients are: coordinates, distances, cells, and compiled address ranges.
//!
//! The idea: a request must not pay for decoding a geographic database (some hundred nanoseconds). So everything a
//! database says is compiled off the request path into *classes* of clients, and a request only finds the class of its
//! address in sorted ranges (some ten nanoseconds).
//!
//! - [`Location`]: a point on the sphere, in degrees.
//! - [`distance`]: unit vectors and great-circle distance, bit for bit the same on every platform.
//! - [`cell`]: a fixed grid, fine enough that costs inside one cell differ by no more than 2 ms.
//! - [`radius`]: how closely a place is known, and the mean distance from a disc.
//! - [`countries`]: where the people of each country live.
//! - [`place`]: what is known about a class of clients.
//! - [`group`]: clients that share their way to sites.
//! - [`layer`] and [`ranges`]: from networks with records to the compiled table.
//! - [`stored`]: the compiled table as bytes, and back.
//!
//! What it deliberately does not do: it reads no file and knows no database format (that is `sidecar::geoip`), and it
//! treats the earth as a sphere, because an ellipsoid moves distances by at most 0.6 % and network paths by far more.

pub mod cell;
pub mod countries;
pub mod country;
pub mod distance;
pub mod group;
mod known;
pub mod layer;
pub mod network;
pub mod place;
pub mod radius;
pub mod ranges;
mod steps;
pub mod stored;
mod tables;

/// A point on the sphere, in degrees.
///
/// Invariant: latitude is finite and in -90..=90, longitude is finite and in -180..=180.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Location {
    latitude: f64,
    longitude: f64,
}

impl Location {
    /// A location from degrees north and degrees east, or `None` if either is out of its range or not a number.
    pub fn new(latitude: f64, longitude: f64) -> Option<Self> {
        // NaN is in no range, so it is refused by the same comparison.
        ((-90.0..=90.0).contains(&latitude) && (-180.0..=180.0).contains(&longitude)).then_some(
            Self {
                latitude,
                longitude,
            },
        )
    }

    /// Degrees north, -90..=90.
    pub fn latitude(self) -> f64 {
        self.latitude
    }

    /// Degrees east, -180..=180.
    pub fn longitude(self) -> f64 {
        self.longitude
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_within_the_ranges_of_degrees() {
        assert!(Location::new(90.0, -180.0).is_some());
        assert!(Location::new(-90.0, 180.0).is_some());
        for (latitude, longitude) in [
            (90.000_001, 0.0),
            (0.0, -180.000_001),
            (f64::NAN, 0.0),
            (0.0, f64::NAN),
            (f64::INFINITY, 0.0),
            (0.0, f64::NEG_INFINITY),
        ] {
            assert_eq!(Location::new(latitude, longitude), None);
        }
    }
}
