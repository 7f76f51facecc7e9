//! The best few sites of a table for one client.

use arrayvec::ArrayVec;

use super::Request;
use super::share::Sharing;
use crate::engine::geo::distance::{UnitVector, chord_squared};
use crate::engine::geo::radius::RadiusClass;
use crate::engine::hash::KeyHash;
use crate::engine::locate::{self, Located};
use crate::engine::model::{ClassIndex, SiteIndex};
use crate::engine::number;
use crate::engine::policy::{Plan, SetIndex};
use crate::engine::query::Query;
use crate::engine::score::ScoreModel;
use crate::engine::signal::network::Measured;
use crate::engine::snapshot::{RankTable, Roster, Snapshot};

/// Most sites kept for one decision; so at most this many share a key. Each is ranked for itself, so more of them would make
/// each decision of a wide spread dearer, and an object shared by more is hardly stored less often (docs/hashing.md).
pub const MAX_SCORED_SITES: usize = 8;

/// A site and its score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScoredSite {
    /// The site.
    pub site: SiteIndex,
    /// Its position in the set.
    pub position: u16,
    /// What it is expected to cost this client, in ms; without the network term where nothing is known of its place.
    pub total_ms: f32,
}

/// Every site of a set with what it is expected to cost a client, best first, whether or not it has a node to name.
pub fn score_sites(
    snapshot: &Snapshot,
    plan: &Plan,
    set: SetIndex,
    query: &Query<'_>,
) -> Vec<ScoredSite> {
    let located = locate::locate(snapshot, query);
    let table = snapshot.table(set);
    let network = &snapshot.signals().network;
    let (point, way) = way_to(&located);
    let scorer = Scorer {
        model: snapshot.policy().score(),
        table,
        roster: table.ready(),
        located: &located,
        point,
        way,
        client: None,
        expected_gb: number::gigabytes(plan.expected_bytes),
        class: plan.class_index,
        measured: (located.measured_cell()).map_or(&[], |cell| network.of_cell(cell)),
    };
    let positions = (0_u16..).take(table.sites().len());
    let all = positions.filter_map(|position| scorer.score_any(position));
    let mut sites: Vec<ScoredSite> = all.map(|(site, _)| site).collect();
    sites.sort_by(|a, b| a.total_ms.total_cmp(&b.total_ms).then(a.site.cmp(&b.site)));
    sites
}

/// How the network term of a site that was not measured comes about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// From the distance of a point.
    Point,
    /// From the mean distance of a disc.
    Disc(RadiusClass),
    /// Not at all: nothing is known of the client's place.
    Unknown,
}

/// Where distances to a client are taken from, and how.
pub(super) fn way_to(located: &Located) -> (UnitVector, Way) {
    let radius = located.place.radius;
    match &located.spot {
        Some(spot) if radius.is_point() => (spot.point, Way::Point),
        Some(spot) => (spot.point, Way::Disc(radius)),
        None => (UnitVector::default(), Way::Unknown),
    }
}

/// Scores sites for one client.
pub(super) struct Scorer<'s> {
    pub(super) model: &'s ScoreModel,
    pub(super) table: &'s RankTable,
    pub(super) roster: &'s Roster,
    pub(super) located: &'s Located,
    /// What distances are taken from, unless the way is unknown.
    pub(super) point: UnitVector,
    pub(super) way: Way,
    /// What a client is shared out among sites by, if it is.
    pub(super) client: Option<KeyHash>,
    pub(super) expected_gb: f32,
    pub(super) class: ClassIndex,
    /// The sites whose round trip from the client's cell was measured.
    pub(super) measured: &'s [Measured],
}

impl<'s> Scorer<'s> {
    /// For the client and the object of a request.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "most of its callers are cold")]
    pub(super) fn new(
        request: &'s Request<'_, '_>,
        table: &'s RankTable,
        roster: &'s Roster,
    ) -> Self {
        let network = &request.snapshot.signals().network;
        let (point, way) = way_to(&request.located);
        Self {
            model: request.snapshot.policy().score(),
            table,
            roster,
            located: &request.located,
            point,
            way,
            client: request.client,
            expected_gb: request.expected_gb,
            class: request.plan.class_index,
            measured: (request.located.measured_cell()).map_or(&[], |cell| network.of_cell(cell)),
        }
    }
}

impl Scorer<'_> {
    /// The `count` best sites that have a node to name, best first; ties go to the lower id.
    ///
    /// Sites come nearest first, so the network term only grows: once even a site without any other handicap could not
    /// enter the list, none behind it can. Where the row of the client's cell ends before that, all sites are scored.
    /// Measured sites do not keep that order; there are few of them, so they are scored first, wherever they stand.
    pub(super) fn best(&self, count: usize) -> ArrayVec<ScoredSite, MAX_SCORED_SITES> {
        let count = count.clamp(1, MAX_SCORED_SITES);
        match self.client {
            Some(client) => self.best_shared((count, client), self.sharing(), |_| true),
            None => self.best_of(count, |_| true),
        }
    }

    /// The best in reach behind `last`, as many as are kept.
    #[cold]
    pub(super) fn best_behind(
        &self,
        last: Option<ScoredSite>,
        max_ms: f32,
    ) -> ArrayVec<ScoredSite, MAX_SCORED_SITES> {
        let shared = self.shared();
        let last = last.map(|last| self.turn(shared, last));
        let is_behind = |site: ScoredSite| {
            let turn = self.turn(shared, site);
            last.is_none_or(|last| turn > last) && site.total_ms <= max_ms
        };
        match shared {
            Some((client, sharing)) => {
                self.best_shared((MAX_SCORED_SITES, client), sharing, is_behind)
            }
            None => self.best_of(MAX_SCORED_SITES, is_behind),
        }
    }

    /// Among which sites the client is shared out, and by what, if it is.
    pub(super) fn shared(&self) -> Option<(KeyHash, Sharing)> {
        self.client.map(|client| (client, self.sharing()))
    }

    /// A site's turn, to be compared with those of others of the table: the best has the least.
    pub(super) fn turn(
        &self,
        shared: Option<(KeyHash, Sharing)>,
        site: ScoredSite,
    ) -> (bool, f32, u16) {
        match shared {
            Some((client, sharing)) if self.shares(sharing, site) => {
                let race = self.roster.site_race(site.position, client);
                (false, race, site.position)
            }
            _ => (true, site.total_ms, site.position),
        }
    }

    #[inline]
    fn best_of(
        &self,
        count: usize,
        is_wanted: impl Fn(ScoredSite) -> bool,
    ) -> ArrayVec<ScoredSite, MAX_SCORED_SITES> {
        let mut best = ArrayVec::new();
        let score = |position| {
            let scored = self.score(position);
            scored.filter(|(site, _)| is_wanted(*site))
        };
        let row = self
            .located
            .spot
            .and_then(|spot| spot.cell_index)
            .map(|cell| self.table.nearest_row(cell))
            .unwrap_or_default();
        let least_other_ms = self.table.least_standing_ms(self.class)
            + self
                .model
                .cost_ms(self.table.least_price(), self.expected_gb);
        for measured in self.measured {
            let rows = self.table.sites();
            let at = rows.binary_search_by_key(&measured.site, |row| row.site);
            let position = at.ok().and_then(|at| u16::try_from(at).ok());
            if let Some((scored, _)) = position.and_then(score) {
                insert(&mut best, count, scored);
            }
        }
        for position in row {
            let Some((scored, network_ms)) = score(*position) else {
                continue;
            };
            if self.measured_ms(scored.site).is_some() {
                continue;
            }
            let worst: f32 = if best.len() < count {
                f32::INFINITY
            } else {
                best.last().map_or(0.0, |s: &ScoredSite| s.total_ms)
            };
            // A little is left for rounding: the sum is taken in another order than a score is.
            // Biases make scores negative, so the allowance goes by their size.
            if network_ms + least_other_ms > worst + worst.abs() * 0.000_01 + 0.001 {
                return best;
            }
            insert(&mut best, count, scored);
        }
        if row.len() < self.table.sites().len() {
            best.clear();
            for position in (0_u16..).take(self.table.sites().len()) {
                if let Some((scored, _)) = score(position) {
                    insert(&mut best, count, scored);
                }
            }
        }
        best
    }

    /// The score of the site at `position` and its network term; `None` when it has no node to name.
    #[inline]
    pub(super) fn score(&self, position: u16) -> Option<(ScoredSite, f32)> {
        self.roster.segment(position)?;
        self.score_any(position)
    }

    /// The same whether or not the site has a node to name.
    #[inline]
    pub(super) fn score_any(&self, position: u16) -> Option<(ScoredSite, f32)> {
        let row = self.table.sites().get(usize::from(position))?;
        let network_ms = self.measured_ms(row.site).unwrap_or_else(|| {
            let chord = chord_squared(self.point, row.point);
            match self.way {
                Way::Point => self.model.network_ms(chord),
                Way::Disc(radius) => self.model.mean_network_ms(chord, radius),
                Way::Unknown => 0.0,
            }
        });
        let cost_ms = self.model.cost_ms(row.price_usd_per_gb, self.expected_gb);
        let total_ms = (network_ms + self.table.standing_ms(self.class, position)) + cost_ms;
        Some((
            ScoredSite {
                site: row.site,
                position,
                total_ms,
            },
            network_ms,
        ))
    }
}

impl Scorer<'_> {
    /// The network term of a site that was measured from the client's cell, in ms.
    #[inline]
    fn measured_ms(&self, site: SiteIndex) -> Option<f32> {
        let found = self.measured.iter().find(|measured| measured.site == site);
        found.map(|measured| measured.network_ms * self.model.network_weight)
    }
}

/// Puts a site in its place, which is most often the last, and drops the worst beyond `count`.
fn insert(best: &mut ArrayVec<ScoredSite, MAX_SCORED_SITES>, count: usize, scored: ScoredSite) {
    let after =
        |other: &ScoredSite| (other.total_ms, other.position) > (scored.total_ms, scored.position);
    if best.len() == count {
        if !best.last().is_some_and(after) {
            return;
        }
        best.pop();
    }
    best.push(scored);
    let mut unsorted = best.as_mut_slice();
    while let [rest @ .., other, own] = unsorted
        && after(other)
    {
        std::mem::swap(other, own);
        let rest_and_own = rest.len() + 1;
        unsorted = unsorted.get_mut(..rest_and_own).unwrap_or_default();
    }
}
