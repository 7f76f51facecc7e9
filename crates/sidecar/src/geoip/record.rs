//! One record of a database, decoded leniently.
//!
//! Two layouts are in use: nested (`location.latitude`, `country.iso_code`, as in `GeoLite2`) and flat (`latitude`,
//! `country_code`, as in the original DB-IP files). Floats come in either width, integers in any, numbers now and then
//! as text. A value of an unexpected kind counts as absent, unknown keys are skipped without being decoded.
//!
//! One visitor serves all levels: it knows which *slot* of the record it stands in, and a slot knows its children.
//! Slots are at most three deep, so nothing a file nests deeper is followed.

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use tradewind_engine::geo::Location;
use tradewind_engine::geo::country;
use tradewind_engine::geo::layer::Record;
use tradewind_engine::geo::place::{Asn, Country};

/// The values of a record that matter here, from either layout.
#[derive(Debug, Default, PartialEq)]
pub(super) struct RawRecord {
    latitude: Option<f64>,
    longitude: Option<f64>,
    accuracy_radius_km: Option<f64>,
    country: Option<Country>,
    /// Where the network is registered: used if the country of the client is not known.
    registered_country: Option<Country>,
    asn: Option<Asn>,
    /// A country code or ASN that can be none was left out.
    has_fault: bool,
}

impl RawRecord {
    /// The record, and whether a value had to be left out because it cannot be true.
    pub(super) fn into_record(self) -> (Record, bool) {
        let location = self
            .latitude
            .zip(self.longitude)
            .map(|(latitude, longitude)| place(latitude, longitude));
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a radius is compared with a threshold only"
        )]
        let record = Record {
            location: location.flatten(),
            accuracy_radius_km: self.accuracy_radius_km.map(|radius| radius as f32),
            country: self.country.or(self.registered_country),
            asn: self.asn,
        };
        (record, self.has_fault || location == Some(None))
    }

    fn set_number(&mut self, slot: Slot, number: f64) {
        match slot {
            Slot::Latitude => self.latitude = Some(number),
            Slot::Longitude => self.longitude = Some(number),
            Slot::AccuracyRadius => self.accuracy_radius_km = Some(number),
            Slot::Asn | Slot::AsnNumber => {
                let whole = whole_number(number);
                self.has_fault |= whole.is_none();
                // 0 stands for "none" in some databases, which is no fault.
                self.asn = whole.and_then(Asn::new);
            }
            _ => {}
        }
    }

    fn set_text(&mut self, slot: Slot, text: &str) {
        match slot {
            Slot::CountryCode => {
                self.country = country_of(text);
                self.has_fault |= !text.is_empty() && text.parse::<Country>().is_err();
            }
            // Here some databases write a code, some a name.
            Slot::Country => self.country = country_of(text).or(self.country),
            Slot::RegisteredCountry | Slot::RegisteredCountryCode => {
                self.registered_country = country_of(text);
            }
            Slot::Asn | Slot::AsnNumber => {
                if let Ok(number) = text.strip_prefix("AS").unwrap_or(text).parse() {
                    self.set_number(slot, number);
                }
            }
            Slot::Latitude | Slot::Longitude | Slot::AccuracyRadius => {
                if let Ok(number) = text.parse() {
                    self.set_number(slot, number);
                }
            }
            Slot::Record | Slot::Location | Slot::Traits => {}
        }
    }
}

/// The place at these coordinates, if they can be true. Nobody lives at exactly 0, 0, in the Gulf of Guinea: that is what
/// coordinates become that were missing.
fn place(latitude: f64, longitude: f64) -> Option<Location> {
    let is_nowhere = latitude.abs() + longitude.abs() <= 0.0;
    Location::new(latitude, longitude).filter(|_| !is_nowhere)
}

/// A number as a `u32`, if it is one. Every `u32` is exact as a double.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "checked to be in range"
)]
fn whole_number(number: f64) -> Option<u32> {
    (0.0..=f64::from(u32::MAX))
        .contains(&number)
        .then_some(number as u32)
}

/// A place in the record that matters.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Slot {
    Record,
    Location,
    Country,
    CountryCode,
    RegisteredCountry,
    RegisteredCountryCode,
    Traits,
    Latitude,
    Longitude,
    AccuracyRadius,
    Asn,
    AsnNumber,
}

impl Slot {
    /// The slot of a key in this slot's map, or `None` if it does not matter.
    fn child(self, key: &str) -> Option<Self> {
        Some(match (self, key) {
            (Self::Record, "location") => Self::Location,
            (Self::Record, "country") => Self::Country,
            (Self::Record, "registered_country") => Self::RegisteredCountry,
            (Self::Record, "traits") => Self::Traits,
            (Self::Record, "country_code" | "country_iso_code")
            | (Self::Country, "iso_code" | "code") => Self::CountryCode,
            (Self::RegisteredCountry, "iso_code" | "code") => Self::RegisteredCountryCode,
            (Self::Record | Self::Location, "latitude" | "lat") => Self::Latitude,
            (Self::Record | Self::Location, "longitude" | "lon" | "lng") => Self::Longitude,
            (Self::Record | Self::Location, "accuracy_radius") => Self::AccuracyRadius,
            (Self::Record, "asn" | "as" | "autonomous_system") => Self::Asn,
            (Self::Record | Self::Traits, "autonomous_system_number" | "as_number")
            | (Self::Asn, "autonomous_system_number" | "number" | "asn") => Self::AsnNumber,
            _ => return None,
        })
    }
}

impl<'de> Deserialize<'de> for RawRecord {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut record = Self::default();
        Fill {
            record: &mut record,
            slot: Slot::Record,
        }
        .deserialize(deserializer)?;
        Ok(record)
    }
}

/// Fills a record with the value found in a slot.
struct Fill<'a> {
    record: &'a mut RawRecord,
    slot: Slot,
}

impl<'de> DeserializeSeed<'de> for Fill<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Fill<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_bytes<E>(self, _: &[u8]) -> Result<(), E> {
        Ok(())
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "no coordinate, radius or ASN is beyond 2^53"
    )]
    fn visit_i64<E>(self, number: i64) -> Result<(), E> {
        self.record.set_number(self.slot, number as f64);
        Ok(())
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "no coordinate, radius or ASN is beyond 2^53"
    )]
    fn visit_u64<E>(self, number: u64) -> Result<(), E> {
        self.record.set_number(self.slot, number as f64);
        Ok(())
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "no coordinate, radius or ASN is beyond 2^53"
    )]
    fn visit_u128<E>(self, number: u128) -> Result<(), E> {
        self.record.set_number(self.slot, number as f64);
        Ok(())
    }

    fn visit_f64<E>(self, number: f64) -> Result<(), E> {
        self.record.set_number(self.slot, number);
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.record.set_text(self.slot, text);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        while elements.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        while let Some(key) = entries.next_key::<&str>()? {
            match self.slot.child(key) {
                Some(slot) => entries.next_value_seed(Fill {
                    record: &mut *self.record,
                    slot,
                })?,
                None => {
                    entries.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

/// The country of a code; none for codes of no country, which databases write for regions (`EU`, `AP`) and for what they do
/// not know (`XX`, `ZZ`).
fn country_of(text: &str) -> Option<Country> {
    text.parse().ok().filter(|_| country::is_assigned(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(json: &str) -> (Record, bool) {
        serde_json::from_str::<RawRecord>(json)
            .unwrap()
            .into_record()
    }

    /// Coordinates, country, ASN, and whether there is a fault.
    type Facts = (Option<(f64, f64)>, String, u32, bool);

    fn place(json: &str) -> Facts {
        let (record, is_faulty) = record(json);
        (
            record
                .location
                .map(|location| (location.latitude(), location.longitude())),
            record
                .country
                .map(|country| country.to_string())
                .unwrap_or_default(),
            record.asn.map(Asn::get).unwrap_or_default(),
            is_faulty,
        )
    }

    #[test]
    fn both_layouts_say_the_same() {
        let expected = (Some((48.5, 2.25)), "FR".to_owned(), 64_496, false);
        for json in [
            r#"{"location": {"latitude": 48.5, "longitude": 2.25, "time_zone": "Europe/Paris"},
                "country": {"iso_code": "FR", "names": {"en": "France"}}, "autonomous_system_number": 64496}"#,
            r#"{"latitude": 48.5, "longitude": 2.25, "country_code": "fr", "asn": 64496, "city": ["x", {"y": 1}]}"#,
            r#"{"lat": "48.5", "lng": "2.25", "country": "FR", "asn": "AS64496"}"#,
            r#"{"location": {"latitude": 48.5, "longitude": 2.25}, "country": "France", "country_code": "FR",
                "traits": {"autonomous_system_number": 64496, "is_anycast": true}}"#,
            r#"{"latitude": 48.5, "longitude": 2.25, "country": {"code": "FR"}, "asn": {"number": 64496}}"#,
        ] {
            assert_eq!(place(json), expected, "{json}");
        }
    }

    #[test]
    fn a_code_of_no_country_says_nothing() {
        for code in ["EU", "AP", "XX", "ZZ"] {
            let record = format!(
                r#"{{"country": {{"iso_code": "{code}"}}, "registered_country": {{"iso_code": "US"}}}}"#
            );
            assert_eq!(place(&record).1, "US", "{code}");
        }
    }

    #[test]
    fn the_registered_country_stands_in() {
        assert_eq!(
            place(r#"{"registered_country": {"iso_code": "SE"}}"#).1,
            "SE"
        );
        assert_eq!(
            place(r#"{"registered_country": {"iso_code": "SE"}, "country": {"iso_code": "NO"}}"#).1,
            "NO"
        );
        assert_eq!(
            place(r#"{"country": {"iso_code": "NO"}, "registered_country": {"iso_code": "SE"}}"#).1,
            "NO"
        );
    }

    #[test]
    fn values_of_the_wrong_kind_are_absent() {
        let nothing = (None, String::new(), 0, false);
        for json in [
            "{}",
            "3",
            "[1, 2]",
            r#""text""#,
            "true",
            r#"{"location": 3, "country": [], "traits": "x", "asn": {"x": 1}}"#,
            r#"{"location": {"latitude": true, "longitude": {"deep": [1]}}}"#,
            r#"{"latitude": 3}"#,
            r#"{"country": {"iso_code": {"iso_code": "FR"}}}"#,
            r#"{"asn": 0}"#,
        ] {
            assert_eq!(place(json), nothing, "{json}");
        }
    }

    #[test]
    fn values_that_cannot_be_true_are_counted() {
        for json in [
            r#"{"latitude": 200, "longitude": 2}"#,
            r#"{"location": {"latitude": 0, "longitude": -180.5}}"#,
            r#"{"latitude": 0, "longitude": 0.0}"#,
            r#"{"location": {"latitude": -0.0, "longitude": 0}}"#,
            r#"{"country_code": "F7"}"#,
            r#"{"country": {"iso_code": "FRA"}}"#,
            r#"{"asn": 4294967296}"#,
            r#"{"asn": -1}"#,
        ] {
            assert_eq!(place(json), (None, String::new(), 0, true), "{json}");
        }
    }

    #[test]
    fn the_radius_is_kept() {
        let (record, _) = record(r#"{"location": {"accuracy_radius": 1000}}"#);
        assert_eq!(record.accuracy_radius_km, Some(1000.0));
    }
}
