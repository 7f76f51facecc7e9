//! Where clients are, on the wire: what geo files say is told to callers who have none, and read by them.

use super::proto;
use tradewind_engine::geo::cell::Cell;
use tradewind_engine::geo::place::{Asn, Confidence, Country, Place, Source};
use tradewind_engine::geo::radius::RadiusClass;

/// A place as far as it is scored: to its cell and radius.
pub fn place_message(place: &Place) -> proto::ClientPlace {
    let center = place.cell().map(Cell::center);
    proto::ClientPlace {
        source: place.source.name().to_owned(),
        cell_center: center.map(|center| proto::Location {
            latitude: center.latitude(),
            longitude: center.longitude(),
        }),
        cell: place.cell().map_or(0, Cell::id),
        country: place.country.map_or_else(String::new, |c| c.to_string()),
        asn: place.asn.map_or(0, Asn::get),
        low_confidence: place.confidence() == Confidence::Low,
        radius_km: place.radius.km(),
        country_only: place.is_country_only,
    }
}

/// The place that such a message tells of; the very same cell comes out again. A cell or country that does not exist is
/// as if it were not known.
pub fn told_place(message: &proto::ClientPlace) -> Place {
    let cell = message.cell_center.as_ref().map(|_| message.cell);
    let cell = cell.and_then(Cell::from_id);
    let centered = cell.map(|cell| (cell, cell.center()));
    let mut place = Place::in_cell(centered, Source::Database);
    place.country = message.country.parse::<Country>().ok();
    place.asn = Asn::new(message.asn);
    place.radius = RadiusClass::of_disc_km(message.radius_km);
    place.is_country_only = message.country_only && cell.is_some();
    place
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tradewind_engine::geo::Location;

    proptest! {
        #[test]
        fn a_place_comes_back_as_it_was(
            at in proptest::option::of((-90.0..=90.0_f64, -180.0..=180.0_f64)),
            country in proptest::option::of("[A-Z]{2}"), asn in 0..=u32::MAX, radius_km in 0.0..=9_000.0_f32,
        ) {
            let cell = at.and_then(|(lat, lon)| Location::new(lat, lon)).map(Cell::of);
            let mut place = Place::in_cell(cell.map(|c| (c, c.center())), Source::Database);
            place.country = country.and_then(|country| country.parse().ok());
            place.asn = Asn::new(asn);
            place.radius = RadiusClass::of_disc_km(radius_km);
            place.is_country_only = cell.is_some() && radius_km > 5_000.0;
            prop_assert_eq!(told_place(&place_message(&place)), place);
        }
    }
}
