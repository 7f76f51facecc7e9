//! Which path of a group is worth a try: one that would win if it were as good as it may be, but does not as far as is
//! known.
//!
//! Without it a path that was bad once, or whose estimate is too high, would never be measured again. One path a group at
//! a time, a slice of keys (see [`Trials`](crate::signal::trial::Trials)); it ends by itself when enough is known.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::cell::Row;
use super::estimate::path_variance;
use super::{GroupNotes, Notes, Pair, SAME_MS, World, band_ms};
use crate::geo::cell::Cell;
use crate::geo::group::Group;
use crate::geo::place::Asn;
use crate::model::SiteIndex;
use crate::number::narrow;
use crate::signal::trial::{SLICE, Trial};
use crate::time::Moment;

/// A path may be better than its mean by so many standard deviations.
const DEVIATIONS: f32 = 2.0;

/// Groups that told nothing for so long try nothing, in ms.
const QUIET_MS: u64 = 600_000;

/// Of the nearest sites of each tier so many are looked at that were never measured from a cell.
const NEAR: usize = 16;

/// Most cells whose nearest sites are looked for in a second: each costs a distance to every site.
const NEW_CELLS: usize = 64;

/// Each cell is looked at once in so many seconds: trials last for minutes.
const EVERY: u64 = 5;

/// Of several paths worth a try the best few take turns, each for so long, in ms: one that no client of the group may use
/// must not stand before the others for ever.
const TURN_MS: u64 = 300_000;

/// In one turn of so many, every half hour, a path is tried that is known to be bad and would win if it were as its distance
/// says: what is known may be past. It costs a six-hundredth of the requests.
const SECOND_CHANCE: u64 = 6;

/// How many take turns.
const TURNS: usize = 4;

/// A site, with its geographic estimate.
type Near = (SiteIndex, f32);

/// What is kept of pairs and of groups.
type Kept<'k> = (
    &'k BTreeMap<Pair, Notes>,
    &'k mut BTreeMap<Group, GroupNotes>,
);

/// The nearest sites of each tier, by cell.
#[derive(Debug, Default)]
pub(super) struct Explorer {
    near: BTreeMap<Cell, Vec<Near>>,
}

/// A site, as seen from a group.
#[derive(Debug, Clone, Copy)]
struct Prospect {
    site: SiteIndex,
    /// The network term that decisions see.
    held_ms: f32,
    geographic_ms: f32,
    /// The network term as far as is known, and its variance.
    path: (f32, f32),
    /// The same if nothing were ever strange.
    plain: (f32, f32),
}

impl Prospect {
    /// Whether decisions take it for worse than its distance says.
    fn is_left(&self) -> bool {
        self.held_ms > self.geographic_ms + SAME_MS
    }

    /// The network term if it is as good as it may be, beside that of another.
    fn hoped_ms(&self, other: &Self) -> f32 {
        let hoped_ms = |(mean_ms, variance): (f32, f32)| {
            mean_ms - DEVIATIONS * (variance + other.path.1).sqrt()
        };
        hoped_ms(self.path).min(hoped_ms(self.plain))
    }
}

impl Explorer {
    pub(super) fn clear(&mut self) {
        self.near.clear();
    }

    /// Looks for paths to try. Whether any trial changed.
    pub(super) fn explore(
        &mut self,
        now: Moment,
        (rows, (pairs, groups)): (&[Row], Kept<'_>),
        world: &World<'_>,
    ) -> bool {
        let mut changed = false;
        let mut left = NEW_CELLS;
        let second = now.0 / 1_000;
        for of_cell in rows.chunk_by(|a, b| a.pair.0.cell == b.pair.0.cell) {
            let Some(cell) = of_cell.first().map(|row| row.pair.0.cell) else {
                continue;
            };
            if u64::from(cell.id()) % EVERY != second % EVERY {
                continue;
            }
            let near = match self.near.entry(cell) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(_) if left == 0 => continue,
                Entry::Vacant(room) => {
                    left -= 1;
                    room.insert(nearest(cell, world))
                }
            };
            let of_whole = of_cell.iter().filter(|row| row.pair.0.asn.is_none());
            let whole: Vec<Prospect> = of_whole.filter_map(|row| prospect(row, pairs)).collect();
            for of_group in of_cell.chunk_by(|a, b| a.pair.0 == b.pair.0) {
                let Some(group) = of_group.first().map(|row| row.pair.0) else {
                    continue;
                };
                let found = find(now, (of_group, pairs), (&whole, near), world);
                let trial = found.map(|(site, gain_ms)| Trial {
                    site,
                    group: Some(group),
                    gain_ms,
                    slice: SLICE,
                });
                if let Some(notes) = groups.get_mut(&group) {
                    let site = |trial: Option<Trial>| trial.map(|trial| trial.site);
                    changed |= site(notes.trial) != site(trial);
                    notes.trial = trial;
                }
            }
        }
        changed
    }
}

fn prospect(row: &Row, pairs: &BTreeMap<Pair, Notes>) -> Option<Prospect> {
    let notes = pairs.get(&row.pair)?;
    Some(Prospect {
        site: row.pair.1,
        held_ms: notes.seen.published()?,
        geographic_ms: row.geographic_ms,
        path: notes.estimate.path,
        plain: notes.estimate.plain,
    })
}

/// The nearest sites of each tier to a cell, with their geographic estimates.
fn nearest(cell: Cell, world: &World<'_>) -> Vec<Near> {
    let sites = world.topology.sites().iter().zip((0_u16..).map(SiteIndex));
    let mut by_tier: BTreeMap<usize, Vec<Near>> = BTreeMap::new();
    for (site, at) in sites {
        let of_tier = by_tier.entry(site.tier.get()).or_default();
        of_tier.push((at, world.geographic_ms(cell, at)));
    }
    for of_tier in by_tier.values_mut() {
        of_tier.sort_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)));
        of_tier.truncate(NEAR);
    }
    by_tier.into_values().flatten().collect()
}

/// A number for a group, so that not all have their second chances in the same minutes.
fn of_whom(rows: &[Row]) -> u32 {
    let group = rows.first().map(|row| row.pair.0);
    group.map_or(0, |group| group.cell.id() ^ group.asn.map_or(0, Asn::get))
}

/// Whether something was measured of it lately.
fn is_fresh_at(now: Moment, row: &Row) -> bool {
    row.known
        .is_some_and(|known| now.since(known.last) < QUIET_MS)
}

/// The site that a group should try, and how much less it may cost than decisions think.
fn find(
    now: Moment,
    (rows, pairs): (&[Row], &BTreeMap<Pair, Notes>),
    (whole, near): (&[Prospect], &[Near]),
    world: &World<'_>,
) -> Option<(SiteIndex, f32)> {
    let is_fresh = |row: &&Row| is_fresh_at(now, row);
    let weight = world.model.network_weight;
    let standing = |site: SiteIndex| world.standing_ms.get(site.get()).copied().unwrap_or(0.0);
    let held_ms = |site: &Prospect| site.held_ms * weight + standing(site.site);
    let tier = |site: SiteIndex| world.topology.sites().get(site.get()).map(|site| site.tier);
    let is_open = |site: SiteIndex| world.is_open.get(site.get()).copied().unwrap_or(false);
    let last = rows
        .iter()
        .filter(is_fresh)
        .max_by_key(|row| row.known.map(|known| known.last))?;
    let own_tier = tier(last.pair.1);
    let is_candidate = |site: SiteIndex| tier(site) == own_tier && is_open(site);
    let used = rows
        .iter()
        .filter(is_fresh)
        .filter(|row| is_candidate(row.pair.1));
    let best = used
        .filter_map(|row| prospect(row, pairs))
        .min_by(|a, b| held_ms(a).total_cmp(&held_ms(b)))?;
    let is_own = |site: SiteIndex| rows.binary_search_by_key(&site, |row| row.pair.1).is_ok();
    let is_whole = |site: SiteIndex| whole.iter().any(|other| other.site == site);
    let own = rows.iter().filter_map(|row| prospect(row, pairs));
    let of_cell = whole.iter().filter(|other| !is_own(other.site)).copied();
    let unmeasured = near
        .iter()
        .filter(|(site, _)| !is_own(*site) && !is_whole(*site));
    let unmeasured = unmeasured.map(|(site, geographic_ms)| {
        let variance = narrow(path_variance(f64::from(*geographic_ms)));
        let assumed = (*geographic_ms, variance);
        Prospect {
            site: *site,
            held_ms: *geographic_ms,
            geographic_ms: *geographic_ms,
            path: assumed,
            plain: assumed,
        }
    });
    let turn = now.0 / TURN_MS;
    let is_second_chance = (turn + u64::from(of_whom(rows))).is_multiple_of(SECOND_CHANCE);
    let best_ms = held_ms(&best);
    let is_eligible = |other: &Prospect| {
        let is_other = other.site != best.site && is_candidate(other.site);
        let is_near = (other.held_ms - best.held_ms) * weight <= world.detour_ms;
        is_other && is_near && held_ms(other) >= best_ms
    };
    let cost_ms = |other: &Prospect, network_ms: f32| network_ms * weight + standing(other.site);
    let own = own.filter(is_eligible);
    if is_second_chance {
        let left = own.clone().filter(Prospect::is_left);
        let hoped = left.map(|other| (cost_ms(&other, other.geographic_ms), other));
        let best = hoped.min_by(|(a, _), (b, _)| a.total_cmp(b));
        if let Some((_, other)) = best.filter(|(hoped_ms, _)| *hoped_ms < best_ms) {
            return Some((other.site, (other.held_ms - other.geographic_ms) * weight));
        }
    }
    let others = own.chain(of_cell.chain(unmeasured).filter(is_eligible));
    let worth = others.filter_map(|other| {
        let hoped_ms = other.hoped_ms(&best);
        // To be better by less than the band would change nothing.
        let band_ms = band_ms(hoped_ms.max(0.0), world.operation);
        let is_worth = cost_ms(&other, hoped_ms + band_ms) < best_ms;
        let gain_ms = (other.held_ms - hoped_ms) * weight;
        is_worth.then(|| (cost_ms(&other, hoped_ms), other.site, gain_ms))
    });
    let mut worth: Vec<(f32, SiteIndex, f32)> = worth.collect();
    worth.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let turns = worth.len().clamp(1, TURNS) as u64;
    let turn = usize::try_from(turn % turns).unwrap_or(0);
    worth.get(turn).map(|(_, site, gain_ms)| (*site, *gain_ms))
}
