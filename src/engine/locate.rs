//! Where a client is, from the most certain source that knows.

use super::geo::cell::Cell;
use super::geo::distance::UnitVector;
use super::geo::place::{Confidence, Place, Source};
use super::geo::ranges::CellIndex;
use super::query::Query;
use super::snapshot::Snapshot;

/// A client's place, and its group: clients of one cell are scored alike.
#[derive(Debug, Clone, Copy)]
pub struct Located {
    /// What is known of the client.
    pub place: Place,
    /// The cell it is in.
    pub cell: Cell,
    /// The cell's position in the geo tables; `None` for a cell that no file names.
    pub cell_index: Option<usize>,
    /// The cell's centre, which distances are taken from.
    pub point: UnitVector,
}

impl Located {
    /// Whether the place is a guess about a country or a wide region.
    pub fn is_low_confidence(&self) -> bool {
        self.place.confidence == Confidence::Low
    }
}

/// Finds the client: the caller's word, then the policy's overrides, then the geo tables, then the policy's default.
#[inline]
pub fn locate(snapshot: &Snapshot, query: &Query<'_>) -> Located {
    let geo = snapshot.geo();
    let class = query.client.ip.and_then(|ip| geo.lookup(ip));
    let table = class.map(|class| (geo.place(class), geo.cell_of(class)));
    settle(snapshot, query, table)
}

/// The same without geo tables, for a client of which somebody who has them once told what they say.
pub fn locate_told(snapshot: &Snapshot, query: &Query<'_>, told: Option<Place>) -> Located {
    settle(snapshot, query, told.map(|place| (place, None)))
}

/// Settles which source counts, given what the geo tables say of the client and where its cell stands in them.
#[inline]
fn settle(
    snapshot: &Snapshot,
    query: &Query<'_>,
    table: Option<(Place, Option<CellIndex>)>,
) -> Located {
    let client = &query.client;
    let geo = snapshot.geo();
    let (table, table_cell) = table.map_or((None, None), |(place, cell)| (Some(place), cell));
    let known = client.ip.and_then(|ip| snapshot.policy().known_network(ip));
    let mut place = if client.location.is_some() {
        Place::new(client.location, Source::Caller)
    } else if let Some(known) = known {
        Place::new(Some(known.location), Source::Override)
    } else {
        table.unwrap_or_else(|| Place::new(None, Source::Database))
    };
    let mut cell_index = table_cell.filter(|_| place.source == Source::Database);
    let fallback = snapshot.policy().fallback_place();
    place.country = client
        .country
        .or_else(|| known.and_then(|k| k.country))
        .or_else(|| table.and_then(|t| t.country));
    place.asn = client.asn.or_else(|| table.and_then(|t| t.asn));
    let cell = place.cell().unwrap_or_else(|| {
        let (country, asn) = (place.country.or(fallback.country), place.asn);
        place = Place::new(Some(fallback.location), Source::Default);
        place.confidence = Confidence::Low;
        (place.country, place.asn) = (country, asn);
        Cell::of(fallback.location)
    });
    cell_index = cell_index.or_else(|| geo.cell_index(cell));
    let index = cell_index.map(CellIndex::index);
    let point = index
        .and_then(|index| geo.cell_vectors().get(index).copied())
        .unwrap_or_else(|| UnitVector::new(cell.center()));
    Located {
        place,
        cell,
        cell_index: index,
        point,
    }
}
