//! The nodes of one set, ready to be ranked, and its sites, ready to be scored.

use std::sync::Arc;

use super::basis::Basis;
use super::{Parts, Roster, RosterKind, Snapshot};
use crate::geo::distance::UnitVector;
use crate::geo::place::Country;
use crate::geo::ranges::Ranges;
use crate::model::{ClassIndex, SiteIndex};
use crate::nearest::Nearest;
use crate::policy::{NodeSet, SetIndex, SetNumber};
use crate::signal::{Readmission, Signals};
use crate::topology::Topology;

/// The nodes of one set, ready to be ranked, and its sites, ready to be scored.
#[derive(Debug, Clone)]
pub struct RankTable {
    number: SetNumber,
    rows: Arc<[SiteRow]>,
    nearest: Arc<Nearest>,
    least_price: f32,
    standing: Arc<Standing>,
    readmission: Readmission,
    ready: Arc<Roster>,
    /// All nodes that operators let take traffic, at their full weight, whatever is known of them: `ready` itself while
    /// that is the same.
    undisturbed: Arc<Roster>,
    /// All nodes not in maintenance, whatever is known of them; made only when too little of the set is well.
    everyone: Arc<Roster>,
}

/// What scoring a site needs, side by side.
#[derive(Debug, Clone, Copy)]
pub struct SiteRow {
    /// The site.
    pub site: SiteIndex,
    /// Where it stands.
    pub point: UnitVector,
    /// USD per gigabyte.
    pub price_usd_per_gb: f32,
    /// Its country, where the topology says so.
    pub country: Option<Country>,
}

/// For each content class the terms of each site that do not depend on the client, in ms.
#[derive(Debug, Default)]
struct Standing {
    /// By class, then site.
    sums_ms: Vec<f32>,
    /// The smallest sum of each class.
    least_ms: Vec<f32>,
    /// What is assumed of each site before anything is observed, in ms: the same for every class.
    assumed: Vec<f32>,
    /// The most that a site's sum lies above what is assumed of it, by class; none where no sum differs from that.
    most_shift_ms: Vec<Option<f32>>,
}

/// The terms of the sites of a table that do not depend on the client, for one class.
#[derive(Debug, Clone, Copy, Default)]
pub struct StandingTerms<'s> {
    /// Their sum in ms, by position in the set.
    pub sums_ms: &'s [f32],
    /// The smallest of these; no bound where nothing is known.
    pub least_ms: f32,
}

/// The tables made before, of which parts are taken over where they would be the same.
#[derive(Clone, Copy)]
pub(super) struct Reuse<'a> {
    /// That of the same set of the same lane of the snapshot before, and the signals it was made from.
    pub(super) known: Option<(&'a Signals, &'a RankTable)>,
    /// That of the same set of the lane beside it, which is made already.
    pub(super) beside: Option<&'a RankTable>,
    /// The snapshot before.
    pub(super) before: Option<&'a Snapshot>,
}

impl RankTable {
    /// The table of a set of a lane; parts that would be the same as in a table made before are taken over.
    pub(super) fn new(at: SetIndex, basis: &Basis, reuse: Reuse<'_>, parts: &Parts) -> Self {
        let Reuse {
            known,
            beside,
            before,
        } = reuse;
        let Parts {
            topology,
            geo,
            signals,
            ..
        } = parts;
        let (set, number) = (basis.routing().node_set(at), basis.numbered().set(at));
        let known_table = known.map(|(_, table)| table);
        let rows = beside.or(known_table);
        let rows = rows.map_or_else(|| rows_of(set, topology), |table| Arc::clone(&table.rows));
        let same_terms = known.filter(|(known, _)| known.terms_version == signals.terms_version);
        let standing = same_terms.map_or_else(
            || Arc::new(Standing::new(&rows, basis, parts)),
            |(_, table)| Arc::clone(&table.standing),
        );
        let readmission = signals.readmission(number);
        let same_weights = known.filter(|(known, table)| {
            known.weights_version == signals.weights_version && table.readmission == readmission
        });
        let (ready, everyone) = beside.or(same_weights.map(|(_, table)| table)).map_or_else(
            || Roster::pair(set, parts, readmission),
            |table| (Arc::clone(&table.ready), Arc::clone(&table.everyone)),
        );
        let undisturbed = if ready.is_undisturbed() {
            Arc::clone(&ready)
        } else {
            beside.or(known_table).map_or_else(
                || Arc::new(Roster::undisturbed(set, parts)),
                |table| Arc::clone(&table.undisturbed),
            )
        };
        let same_geo = before.is_some_and(|snapshot| Arc::ptr_eq(&snapshot.parts.geo, geo));
        let same_places = beside.or(known_table.filter(|_| same_geo));
        Self {
            number,
            nearest: same_places.map_or_else(
                || nearest(set.points(topology), geo, before),
                |table| Arc::clone(&table.nearest),
            ),
            least_price: rows
                .iter()
                .map(|row| row.price_usd_per_gb)
                .fold(f32::INFINITY, f32::min),
            rows,
            standing,
            readmission,
            ready,
            undisturbed,
            everyone,
        }
    }

    /// What its set is called in signals.
    #[inline]
    pub fn number(&self) -> SetNumber {
        self.number
    }

    /// The sites, in the set's order.
    pub fn sites(&self) -> &[SiteRow] {
        &self.rows
    }

    /// The sites nearest to a cell, as positions in [`RankTable::sites`].
    pub fn nearest_row(&self, cell: usize) -> &[u16] {
        self.nearest.row(cell)
    }

    /// The terms of the sites for a class that do not depend on the client, as they are known.
    #[inline]
    pub fn standing(&self, class: ClassIndex) -> StandingTerms<'_> {
        let from = class.get() * self.rows.len();
        let sums_ms = self.standing.sums_ms.get(from..from + self.rows.len());
        let least = self.standing.least_ms.get(class.get());
        StandingTerms {
            // A class of the routing has a row; one that it does not have is one of which nothing is known.
            sums_ms: sums_ms.unwrap_or_default(),
            least_ms: least.copied().unwrap_or(f32::NEG_INFINITY),
        }
    }

    /// What is assumed of each site before anything is observed, by position, in ms.
    pub fn assumed_ms(&self) -> &[f32] {
        &self.standing.assumed
    }

    /// The same as they are assumed before anything is observed.
    pub fn assumed(&self) -> StandingTerms<'_> {
        let sums_ms = self.assumed_ms();
        StandingTerms {
            sums_ms,
            least_ms: sums_ms.iter().copied().fold(f32::INFINITY, f32::min),
        }
    }

    /// The most that the terms of a site for a class lie above what is assumed of it, in ms; `None` where those of every
    /// site are as assumed.
    #[inline]
    pub fn most_shift_ms(&self, class: ClassIndex) -> Option<f32> {
        let most = self.standing.most_shift_ms.get(class.get());
        most.copied().flatten()
    }

    /// The lowest price of any site, USD per gigabyte.
    pub fn least_price(&self) -> f32 {
        self.least_price
    }

    /// The nodes of a kind.
    #[inline]
    pub fn roster(&self, kind: RosterKind) -> &Roster {
        match kind {
            RosterKind::Ready => &self.ready,
            RosterKind::Everyone => &self.everyone,
        }
    }

    /// The nodes that may be named, as far as they are readmitted.
    pub fn ready(&self) -> &Roster {
        &self.ready
    }

    /// All nodes that operators let take traffic, at their full weight.
    pub fn undisturbed(&self) -> &Roster {
        &self.undisturbed
    }

    /// All nodes not in maintenance; empty unless too little of the set is well.
    pub fn everyone(&self) -> &Roster {
        &self.everyone
    }

    /// How far nodes are readmitted, because too little of the set is well.
    pub fn readmission(&self) -> Readmission {
        self.readmission
    }

    /// Whether enough of the set is well to be used before later tiers.
    pub fn is_sufficient(&self) -> bool {
        self.readmission < Readmission::Insufficient && !self.ready.is_empty()
    }

    pub(super) fn memory_bytes(&self) -> usize {
        size_of_val(&*self.rows)
            + self.nearest.memory_bytes()
            + size_of_val(self.standing.sums_ms.as_slice())
            + size_of_val(self.standing.assumed.as_slice())
            + self.ready.memory_bytes()
            + self.everyone.memory_bytes()
            + if self.ready.is_undisturbed() {
                0
            } else {
                self.undisturbed.memory_bytes()
            }
    }
}

fn rows_of(set: &NodeSet, topology: &Topology) -> Arc<[SiteRow]> {
    let row = |entry: &crate::policy::SetSite| {
        let site = topology.site(entry.site);
        SiteRow {
            site: entry.site,
            point: site.point,
            price_usd_per_gb: site.price_usd_per_gb,
            country: site.country,
        }
    };
    set.sites().iter().map(row).collect()
}

impl Standing {
    fn new(rows: &[SiteRow], basis: &Basis, parts: &Parts) -> Self {
        let model = basis.routing().score();
        let assumed_ms = |row: &SiteRow| {
            let terms = model.standing_terms(row.site, &model.prior());
            terms.standing_ms()
        };
        let mut standing = Self {
            assumed: rows.iter().map(assumed_ms).collect(),
            ..Self::default()
        };
        let classes = basis.routing().classes().len() + 1;
        for class in (0_u8..).map(ClassIndex).take(classes) {
            let sum = |row: &SiteRow| {
                let known = basis.known_of(parts, class, row.site);
                known.map_or_else(|| assumed_ms(row), |known| known.choice_ms())
            };
            let from = standing.sums_ms.len();
            standing.sums_ms.extend(rows.iter().map(sum));
            let sums = standing.sums_ms.get(from..).unwrap_or_default();
            let least = sums.iter().copied().fold(f32::INFINITY, f32::min);
            let shifts = sums.iter().zip(&standing.assumed);
            let shifts = shifts.map(|(sum, assumed)| sum - assumed);
            let most = shifts
                .clone()
                .any(|shift| shift != 0.0)
                .then(|| shifts.fold(f32::NEG_INFINITY, f32::max));
            standing.least_ms.push(least);
            standing.most_shift_ms.push(most);
        }
        standing
    }
}

/// The rows for these sites: the ones made before when neither sites nor cells have changed.
fn nearest(points: Vec<UnitVector>, geo: &Arc<Ranges>, before: Option<&Snapshot>) -> Arc<Nearest> {
    let known = before
        .filter(|snapshot| Arc::ptr_eq(&snapshot.parts.geo, geo))
        .and_then(|snapshot| {
            snapshot
                .tables()
                .find(|table| table.nearest.is_for(&points))
                .map(|table| Arc::clone(&table.nearest))
        });
    known.unwrap_or_else(|| Arc::new(Nearest::new(points, geo.cell_vectors())))
}
