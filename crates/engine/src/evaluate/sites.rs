//! The best few sites of a table for one client.

use std::cmp::Ordering;

use arrayvec::ArrayVec;

use super::scorer::{MAX_SCORED_SITES, ScoredSite, Scorer, measured, way_to};
use super::share::Shared;
use crate::hash::KeyHash;
use crate::locate::Located;
use crate::policy::{Plan, SetIndex};
use crate::snapshot::{LaneIndex, Snapshot};

/// When a site's turn comes among those of its table: the best has the least.
#[derive(Debug, Clone, Copy)]
pub(super) struct Turn {
    /// Whether it comes behind those that share the client.
    is_behind: bool,
    /// Its race among those that share the client, else its score.
    order: f32,
    position: u16,
}

impl Turn {
    pub(super) fn cmp(self, other: Self) -> Ordering {
        self.is_behind
            .cmp(&other.is_behind)
            .then(self.order.total_cmp(&other.order))
            .then(self.position.cmp(&other.position))
    }
}

/// What sites are scored for, outside of a decision.
#[derive(Debug, Clone, Copy)]
pub struct ScoredFor<'a> {
    /// The plan that the set is of.
    pub plan: &'a Plan,
    /// The client.
    pub located: &'a Located,
    /// The size the cost term is taken for, in gigabytes.
    pub expected_gb: f32,
    /// The lane that the plan is of.
    pub lane: LaneIndex,
}

/// Every site of a set with what it is chosen by, in the set's order, whether or not it has a node to name.
pub fn score_sites(
    snapshot: &Snapshot,
    set: SetIndex,
    scored_for: ScoredFor<'_>,
) -> Vec<ScoredSite> {
    let ScoredFor {
        plan,
        located,
        expected_gb,
        lane,
    } = scored_for;
    let lane = snapshot.lane(lane);
    let table = lane.table(set);
    let network = &snapshot.signals().network;
    let (point, way) = way_to(located);
    let scorer = Scorer {
        model: lane.routing().score(),
        table,
        roster: table.ready(),
        located,
        point,
        way,
        client: None,
        expected_gb,
        standing: table.standing(plan.class_index),
        measured: measured(network, located),
    };
    let positions = (0_u16..).take(table.sites().len());
    let all = positions.filter_map(|position| scorer.score_any(position));
    all.map(|(site, _)| site).collect()
}

impl Scorer<'_> {
    /// The `count` best sites that have a node to name, best first; ties go to the lower id.
    ///
    /// Sites come nearest first, so the network term only grows: once even a site without any other handicap could not
    /// enter the list, none behind it can. Where the row of the client's cell ends before that, all sites are scored.
    /// Measured sites do not keep that order; there are few of them, so they are scored first, wherever they stand.
    pub(super) fn best(&self, count: usize) -> ArrayVec<ScoredSite, MAX_SCORED_SITES> {
        self.best_among(self.shared().as_ref(), count)
    }

    /// The same where it is known how the client is shared out, if it is.
    #[inline]
    pub(super) fn best_among(
        &self,
        shared: Option<&Shared>,
        count: usize,
    ) -> ArrayVec<ScoredSite, MAX_SCORED_SITES> {
        let count = count.clamp(1, MAX_SCORED_SITES);
        match shared {
            Some(shared) => self.best_shared(*shared, count, |_| true),
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
            last.is_none_or(|last| turn.cmp(last).is_gt()) && site.total_ms <= max_ms
        };
        match shared {
            Some(shared) => self.best_shared(shared, MAX_SCORED_SITES, is_behind),
            None => self.best_of(MAX_SCORED_SITES, is_behind),
        }
    }

    /// How the client is shared out, if it is.
    #[inline]
    pub(super) fn shared(&self) -> Option<Shared> {
        self.client.map(|by| self.shared_by(by))
    }

    #[cold]
    #[inline(never)]
    fn shared_by(&self, by: KeyHash) -> Shared {
        let among = self.sharing();
        Shared { by, among }
    }

    /// A site's turn, to be compared with those of others of the table.
    pub(super) fn turn(&self, shared: Option<Shared>, site: ScoredSite) -> Turn {
        match shared {
            Some(shared) if self.shares(shared.among, site) => Turn {
                is_behind: false,
                order: self.roster.site_race(site.position, shared.by),
                position: site.position,
            },
            _ => Turn {
                is_behind: true,
                order: site.total_ms,
                position: site.position,
            },
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
        let least_other_ms = self.standing.least_ms
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
