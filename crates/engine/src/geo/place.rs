//! What is known about where a client is: country, network operator, place on the grid, and how closely.

use std::fmt;
use std::num::NonZeroU32;

use super::cell::Cell;
pub use super::country::{Country, CountryError};
use super::radius::RadiusClass;
use super::{Location, countries};
use crate::model::names;

/// Accuracy radius in kilometres beyond which a location is of low confidence.
pub const LOW_CONFIDENCE_RADIUS_KM: f32 = 500.0;

/// The number of an autonomous system: whose network it is.
///
/// Never 0, which RFC 7607 reserves for "no system".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Asn(NonZeroU32);

impl Asn {
    /// A number 1..=4294967295, or `None` for 0.
    pub fn new(number: u32) -> Option<Self> {
        NonZeroU32::new(number).map(Self)
    }

    /// The bare number.
    pub fn get(self) -> u32 {
        self.0.get()
    }
}

impl fmt::Display for Asn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AS{}", self.0)
    }
}

/// How far a place may be trusted. A word for people: what is decided depends on the radius, not on this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Confidence {
    /// Known to a city or region: the accuracy radius is at most [`LOW_CONFIDENCE_RADIUS_KM`], or not stated.
    High,
    /// Only the country is known, or not even that, or the accuracy radius is wider, or the place is not the client's own
    /// but one that stands in for it.
    Low,
}

/// Who said where the client is, in order of precedence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// The caller gave a location or region with the query.
    Caller,
    /// A network in the policy overrides the databases.
    Override,
    /// The compiled databases.
    Database,
    /// Nothing was known; the sidecar's own place stands in.
    Here,
    /// Nothing was known; the policy's default stands in.
    Default,
    /// Nothing was known, and nothing stands in.
    Nowhere,
}

impl Source {
    /// Whether nothing was known of the client's own place.
    pub const fn is_guess(self) -> bool {
        matches!(self, Self::Here | Self::Default | Self::Nowhere)
    }
}

/// How closely a place is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Precision {
    /// As a point.
    Point,
    /// To a region: a disc.
    Region,
    /// To a country.
    Country,
    /// Not at all.
    Unknown,
}

names! { Source {
    Caller = "caller",
    Override = "override",
    Database = "database",
    Here = "here",
    Default = "default",
    Nowhere = "nowhere",
} }

names! { Precision {
    Point = "point",
    Region = "region",
    Country = "country",
    Unknown = "unknown",
} }

/// What is known about a client, or about a class of clients.
///
/// Invariant: the cell is that of the location; there is either both or neither. From the databases the location is
/// the centre of the cell, at most 62.5 km (1 ms) from what the record said: classes are kept apart by cell, country,
/// operator and radius only, which keeps tables small, and a decision then depends on nothing finer than the
/// explanation shows. Of a record with a country but no coordinates the location is where that country's people live on
/// average, with the radius that most of them live within (see [`countries`]).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Place {
    location: Option<Location>,
    cell: Option<Cell>,
    /// Country, if known.
    pub country: Option<Country>,
    /// Operator of the client's network, if known.
    pub asn: Option<Asn>,
    /// How closely the location is known.
    pub radius: RadiusClass,
    /// Whether the location is that of the country's people, for nothing but the country is known.
    pub is_country_only: bool,
    /// Who said so.
    pub source: Source,
}

impl Place {
    /// A place of which only the location is known, as a point, or nothing.
    pub fn new(location: Option<Location>, source: Source) -> Self {
        Self {
            location,
            cell: location.map(Cell::of),
            country: None,
            asn: None,
            radius: RadiusClass::POINT,
            is_country_only: false,
            source,
        }
    }

    /// A place known to its cell; its location is the centre of the cell, given by the caller who keeps it in a table.
    pub fn in_cell(cell: Option<(Cell, Location)>, source: Source) -> Self {
        Self {
            location: cell.map(|(_, center)| center),
            cell: cell.map(|(cell, _)| cell),
            ..Self::new(None, source)
        }
    }

    /// The place of a client of whom nothing but the country is known; `None` for a code that is no country's.
    pub fn in_country(country: Country, source: Source) -> Option<Self> {
        let centre = countries::centre(country)?;
        let cell = Cell::of(centre.location);
        Some(Self {
            country: Some(country),
            radius: centre.radius,
            is_country_only: true,
            ..Self::in_cell(Some((cell, cell.center())), source)
        })
    }

    /// How far the location may be trusted.
    pub fn confidence(&self) -> Confidence {
        let is_wide = self.radius.km() > LOW_CONFIDENCE_RADIUS_KM;
        if is_wide || self.is_country_only || self.cell.is_none() || self.source.is_guess() {
            Confidence::Low
        } else {
            Confidence::High
        }
    }

    /// How closely the location is known.
    pub fn precision(&self) -> Precision {
        if self.cell.is_none() {
            Precision::Unknown
        } else if self.is_country_only {
            Precision::Country
        } else if self.radius.is_point() {
            Precision::Point
        } else {
            Precision::Region
        }
    }

    /// Whether the client may be anywhere in so wide a region that sites share such clients.
    pub fn is_vague(&self) -> bool {
        !self.radius.is_point() || self.cell.is_none()
    }

    /// Where the client is: exactly as the caller or policy said, or the centre of the cell the databases gave.
    pub fn location(&self) -> Option<Location> {
        self.location
    }

    /// The cell of the location.
    pub fn cell(&self) -> Option<Cell> {
        self.cell
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn countries_are_two_letters_in_upper_case() {
        assert_eq!("fr".parse::<Country>().unwrap().to_string(), "FR");
        assert_eq!("De".parse::<Country>().unwrap().letters(), *b"DE");
        for wrong in ["", "F", "FRA", "F1", "é", "  ", "\0\0"] {
            let error = wrong.parse::<Country>().unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("country is `{wrong}`, must be two letters such as `FR`")
            );
        }
        assert!("AT".parse::<Country>().unwrap() < "BA".parse::<Country>().unwrap());
        assert_eq!(size_of::<Option<Country>>(), 2);
    }

    #[test]
    fn asn_zero_is_no_asn() {
        assert_eq!(Asn::new(0), None);
        assert_eq!(Asn::new(64_496).unwrap().to_string(), "AS64496");
        assert_eq!(size_of::<Option<Asn>>(), 4);
    }

    #[test]
    fn a_place_keeps_the_exact_location_it_was_given() {
        let paris = Location::new(48.8566, 2.3522).unwrap();
        let place = Place::new(Some(paris), Source::Caller);
        assert_eq!(place.location(), Some(paris));
        assert_eq!(place.cell(), Some(Cell::of(paris)));
        assert_eq!(place.confidence(), Confidence::High);
        assert!(!place.is_vague());
        let nothing = Place::new(None, Source::Database);
        assert_eq!(
            (nothing.confidence(), nothing.is_vague()),
            (Confidence::Low, true)
        );
        let default = Place::new(Some(paris), Source::Default);
        assert_eq!(
            (default.confidence(), default.is_vague()),
            (Confidence::Low, false)
        );
    }

    #[test]
    fn of_a_country_only_the_place_is_where_its_people_are() {
        let place = Place::in_country("us".parse().unwrap(), Source::Caller).unwrap();
        assert!(place.is_country_only && place.is_vague());
        assert_eq!(place.confidence(), Confidence::Low);
        assert_eq!(place.location(), place.cell().map(Cell::center));
        // A small country is a small disc, and a guess all the same.
        let place = Place::in_country("SG".parse().unwrap(), Source::Database).unwrap();
        assert!(place.radius.km() < LOW_CONFIDENCE_RADIUS_KM && place.is_vague());
        assert_eq!(place.confidence(), Confidence::Low);
        assert_eq!(
            Place::in_country("EU".parse().unwrap(), Source::Database),
            None
        );
    }
}
