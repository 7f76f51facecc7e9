//! Where a client is, from the most certain source that knows.

use super::geo::cell::Cell;
use super::geo::distance::UnitVector;
use super::geo::group::Group;
use super::geo::place::{Confidence, Country, Place, Source};
use super::geo::ranges::CellIndex;
use super::policy::Routing;
use super::query::Query;
use super::snapshot::{LaneIndex, Snapshot};

/// A client's place, and its group: clients of one cell are scored alike.
#[derive(Debug, Clone, Copy)]
pub struct Located {
    /// What is known of the client.
    pub place: Place,
    /// Where distances are taken from; `None` for a client of which nothing is known, and for whom nothing stands in.
    pub spot: Option<Spot>,
}

/// A place on the grid.
#[derive(Debug, Clone, Copy)]
pub struct Spot {
    /// The cell it is in.
    pub cell: Cell,
    /// The cell's position in the geo tables; `None` for a cell that no file names.
    pub cell_index: Option<usize>,
    /// The cell's centre, which distances are taken from.
    pub point: UnitVector,
}

impl Located {
    /// Whether the place is a guess about a country or a wide region, or stands in for one that is not known.
    pub fn is_low_confidence(&self) -> bool {
        self.place.confidence() == Confidence::Low
    }

    /// Whom it shares its way to sites with; `None` for a client who may be anywhere in a wide region, and for one whose
    /// place is a guess.
    #[inline]
    pub fn group(&self) -> Option<Group> {
        let spot = self.spot.filter(|_| !self.place.is_vague())?;
        (!self.place.source.is_guess()).then_some(Group {
            cell: spot.cell,
            asn: self.place.asn,
        })
    }
}

/// Finds the client: the caller's word, then the policy's overrides, then the geo tables, then what stands in.
#[inline]
pub fn locate(snapshot: &Snapshot, query: &Query<'_>) -> Located {
    locate_in(snapshot, snapshot.lane_of(query), query)
}

/// The same as a lane of the snapshot has it.
#[inline]
pub fn locate_in(snapshot: &Snapshot, lane: LaneIndex, query: &Query<'_>) -> Located {
    let geo = snapshot.geo();
    let class = query.client.ip.and_then(|ip| geo.lookup(ip));
    let table = class.map(|class| (geo.place(class), geo.cell_of(class)));
    settle(snapshot, lane, query, table)
}

/// The same without geo tables, for a client of which somebody who has them once told what they say.
pub fn locate_told(snapshot: &Snapshot, query: &Query<'_>, told: Option<Place>) -> Located {
    let lane = snapshot.lane_of(query);
    settle(snapshot, lane, query, told.map(|place| (place, None)))
}

/// The same for a client whose place is known, whoever said so.
pub fn locate_at(snapshot: &Snapshot, place: Place) -> Located {
    let spot = spot_of(snapshot, &place, None);
    Located { place, spot }
}

/// Settles which source counts, given what the geo tables say of the client and where its cell stands in them.
#[inline]
fn settle(
    snapshot: &Snapshot,
    lane: LaneIndex,
    query: &Query<'_>,
    table: Option<(Place, Option<CellIndex>)>,
) -> Located {
    let client = &query.client;
    let routing = snapshot.lane(lane).routing();
    let (table, table_cell) = table.map_or((None, None), |(place, cell)| (Some(place), cell));
    let known = client.ip.and_then(|ip| routing.known_network(ip));
    let told = client.country.and_then(in_country_of_caller);
    // Who knows the country better than the others is not sent where they say, if that is in another one.
    let agrees =
        |country: Option<Country>| told.is_none() || country.is_none() || country == client.country;
    let mut cell_index = None;
    let mut place = if client.location.is_some() {
        Place::new(client.location, Source::Caller)
    } else if let Some(known) = known.filter(|known| agrees(known.country)) {
        Place::new(Some(known.location), Source::Override)
    } else if let Some(table) = table.filter(|t| t.cell().is_some() && agrees(t.country)) {
        cell_index = table_cell;
        table
    } else {
        told.unwrap_or_else(|| stand_in(snapshot, routing))
    };
    let default = place.country.filter(|_| place.source == Source::Default);
    place.country = client
        .country
        .or_else(|| known.and_then(|k| k.country))
        .or_else(|| table.and_then(|t| t.country))
        .or(default);
    place.asn = client.asn.or_else(|| table.and_then(|t| t.asn));
    let spot = spot_of(snapshot, &place, cell_index);
    Located { place, spot }
}

/// A place on the grid, and where its cell stands in the geo tables if that is known already.
#[inline]
fn spot_of(snapshot: &Snapshot, place: &Place, cell_index: Option<CellIndex>) -> Option<Spot> {
    let geo = snapshot.geo();
    place.cell().map(|cell| {
        let index = cell_index.or_else(|| geo.cell_index(cell));
        let index = index.map(CellIndex::index);
        let point = index
            .and_then(|index| geo.cell_vectors().get(index).copied())
            .unwrap_or_else(|| UnitVector::new(cell.center()));
        Spot {
            cell,
            cell_index: index,
            point,
        }
    })
}

/// The place of a client of whom the caller knows the country.
#[cold]
fn in_country_of_caller(country: Country) -> Option<Place> {
    Place::in_country(country, Source::Caller)
}

/// What stands in for the place of a client whom nobody can place: most likely it is near the sidecar it reached, else
/// where the policy says; else nothing does.
#[cold]
fn stand_in(snapshot: &Snapshot, routing: &Routing) -> Place {
    if let Some(here) = snapshot.here() {
        return Place::new(Some(here), Source::Here);
    }
    let Some(default) = routing.default_place() else {
        return Place::new(None, Source::Nowhere);
    };
    let mut place = Place::new(Some(default.location), Source::Default);
    place.country = default.country;
    place
}
