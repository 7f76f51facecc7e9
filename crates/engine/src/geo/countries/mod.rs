//! Where the people of a country live, for clients of whom nothing but the country is known.
//!
//! One point and one radius a country: the mean place of its cities' inhabitants, and the distance within which nine of
//! ten of them live. The table (`table.rs`) is made by `examples/fixtures` from a list of cities, where the source of the
//! figures is named. It is a guess about a crowd and says nothing of one client: a place made from it is always of low
//! confidence.

mod table;

use super::Location;
use super::country::Country;
use super::radius::RadiusClass;

/// The mean place of a country's people.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Centre {
    /// Where it is.
    pub location: Location,
    /// How far around it nine of ten of them live; never a point.
    pub radius: RadiusClass,
}

/// The centre of a country; `None` for a code that is no country of ISO 3166 (and not `XK`), such as `EU`.
pub fn centre(country: Country) -> Option<Centre> {
    let letters = country.letters();
    let at = table::ROWS
        .binary_search_by_key(&letters, |row| row.0)
        .ok()?;
    let (_, latitude, longitude, radius_km) = *table::ROWS.get(at)?;
    Some(Centre {
        location: Location::new(latitude, longitude)?,
        radius: RadiusClass::of_disc_km(f32::from(radius_km.max(1))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geo::distance::{UnitVector, chord_squared, distance_km};

    fn km_from(country: &str, latitude: f64, longitude: f64) -> f32 {
        let centre = centre(country.parse().unwrap()).unwrap();
        let other = Location::new(latitude, longitude).unwrap();
        distance_km(chord_squared(
            UnitVector::new(centre.location),
            UnitVector::new(other),
        ))
    }

    #[test]
    fn countries_are_where_their_people_are() {
        for (country, latitude, longitude, within_km) in [
            // Missouri, as the census has it; not the Kansas of the geometric centre.
            ("US", 37.4, -92.5, 400.0),
            ("DE", 50.9, 9.7, 150.0),
            // Far from the middle of the map: on the Volga, in the south-east, along the border.
            ("RU", 56.0, 45.0, 900.0),
            ("AU", -33.5, 145.5, 500.0),
            ("CA", 47.0, -84.0, 700.0),
            ("SG", 1.35, 103.8, 30.0),
            ("NZ", -39.5, 174.5, 200.0),
            // Across the antimeridian.
            ("FJ", -17.9, 178.1, 100.0),
        ] {
            let km = km_from(country, latitude, longitude);
            assert!(km < within_km, "{country}: {km} km");
        }
    }

    #[test]
    fn every_country_has_a_centre_and_other_codes_have_none() {
        assert_eq!(table::ROWS.len(), 250);
        assert!(table::ROWS.is_sorted_by(|a, b| a.0 < b.0));
        for (letters, ..) in table::ROWS {
            let country = Country::new(letters).unwrap();
            assert!(centre(country).is_some(), "{country}");
            assert_eq!(country.letters(), letters, "upper case");
        }
        for code in ["EU", "AP", "UK", "ZZ", "XX", "AA"] {
            assert_eq!(centre(code.parse().unwrap()), None, "{code}");
        }
    }

    #[test]
    fn no_country_is_a_point() {
        let km = |country: &str| centre(country.parse().unwrap()).unwrap().radius.km();
        assert!((km("US") - 2_828.0).abs() < 1.0, "{}", km("US"));
        for small in ["SG", "LU", "BE", "MT", "VA"] {
            assert!((km(small) - 125.0).abs() < 1.0, "{small}: {}", km(small));
        }
    }
}
