//! What geo files say of a client, on the wire: told to callers who have none, and read by them.

use super::proto;
use crate::engine::geo::cell::Cell;
use crate::engine::geo::place::{Asn, Confidence, Country, Place, Source};

/// A place that the geo files gave, which is known to its cell.
pub(super) fn place_message(place: &Place) -> proto::ClientPlace {
    let center = place.cell().map(Cell::center);
    proto::ClientPlace {
        source: "database".to_owned(),
        cell_center: center.map(|center| proto::Location {
            latitude: center.latitude(),
            longitude: center.longitude(),
        }),
        cell: place.cell().map_or(0, Cell::id),
        country: place.country.map_or_else(String::new, |c| c.to_string()),
        asn: place.asn.map_or(0, Asn::get),
        low_confidence: place.confidence == Confidence::Low,
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
    place.confidence = if message.low_confidence {
        Confidence::Low
    } else {
        Confidence::High
    };
    place
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::geo::Location;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_place_comes_back_as_it_was(
            at in proptest::option::of((-90.0..=90.0_f64, -180.0..=180.0_f64)),
            country in proptest::option::of("[A-Z]{2}"), asn in 0..=u32::MAX, is_sure: bool,
        ) {
            let cell = at.and_then(|(lat, lon)| Location::new(lat, lon)).map(Cell::of);
            let mut place = Place::in_cell(cell.map(|c| (c, c.center())), Source::Database);
            place.country = country.and_then(|country| country.parse().ok());
            place.asn = Asn::new(asn);
            place.confidence = if is_sure { Confidence::High } else { Confidence::Low };
            prop_assert_eq!(told_place(&place_message(&place)), place);
        }
    }
}
