//! What a site costs one client.

use super::Request;
use crate::geo::distance::{UnitVector, chord_squared};
use crate::geo::radius::RadiusClass;
use crate::hash::KeyHash;
use crate::locate::Located;
use crate::model::SiteIndex;
use crate::score::ScoreModel;
use crate::signal::network::{Measured, NetworkTable};
use crate::snapshot::{RankTable, Roster, StandingTerms};

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
    /// What it is chosen by, in ms: what it is expected to cost this client, held still; without the network term where
    /// nothing is known of its place.
    pub total_ms: f32,
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

/// The paths from a client's group that are not what their distance says.
#[inline]
pub(super) fn measured<'s>(network: &'s NetworkTable, located: &Located) -> &'s [Measured] {
    if network.is_empty() {
        return &[];
    }
    network.of_group(located.group())
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
    /// What sites cost whoever the client is.
    pub(super) standing: StandingTerms<'s>,
    /// The paths from the client's group that are not what their distance says, by site.
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
            model: request.lane.routing().score(),
            table,
            roster,
            located: &request.located,
            point,
            way,
            client: request.client,
            expected_gb: request.expected_gb,
            standing: table.standing(request.plan.class_index),
            measured: measured(network, &request.located),
        }
    }

    /// The same with nothing known of how the fleet behaves: sites cost what is assumed of them, and every node that
    /// operators let take traffic may be named.
    pub(super) fn undisturbed(request: &'s Request<'_, '_>, table: &'s RankTable) -> Self {
        Self {
            standing: table.assumed(),
            measured: &[],
            ..Self::new(request, table, table.undisturbed())
        }
    }
}

impl Scorer<'_> {
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
        let standing_ms = self.standing.sums_ms.get(usize::from(position));
        let total_ms = (network_ms + standing_ms.copied().unwrap_or(0.0)) + cost_ms;
        Some((
            ScoredSite {
                site: row.site,
                position,
                total_ms,
            },
            network_ms,
        ))
    }

    /// What the way to the site at `position` costs, in ms: its network and cost terms.
    pub(super) fn way_ms(&self, position: u16) -> Option<f32> {
        let (_, network_ms) = self.score_any(position)?;
        let row = self.table.sites().get(usize::from(position))?;
        Some(network_ms + self.model.cost_ms(row.price_usd_per_gb, self.expected_gb))
    }

    /// The network term of a site whose path from the client's group is not what its distance says, in ms.
    #[inline]
    pub(super) fn measured_ms(&self, site: SiteIndex) -> Option<f32> {
        if self.measured.is_empty() {
            return None;
        }
        let sites = self.measured;
        let at = sites.binary_search_by_key(&site, |measured| measured.site);
        let found = at.ok().and_then(|at| sites.get(at));
        found.map(|measured| measured.network_ms * self.model.network_weight)
    }
}
