//! Ways between groups of clients and sites: round trips come in, what is special about each path is what decisions see.
//!
//! - [`estimate`]: the arithmetic of last miles and paths.
//! - [`cell`]: that arithmetic for the groups of one cell, which lend each other what they know.
//! - [`explore`]: which path is worth a try.
//!
//! A group is a cell of the grid and, where it is known, an operator's network in it; beside its networks each measured
//! cell has a group of its own for clients of unknown networks and for networks nobody has heard of yet. Cells are named
//! by the grid and sites by their position, which is carried over by name: neither another geo file nor another topology
//! or policy makes what was learned worthless.

mod cell;
mod estimate;
mod explore;

use std::collections::{BTreeMap, BTreeSet};

use super::deadband::Deadband;
use super::{Control, Next};
use crate::geo::cell::Cell;
use crate::geo::distance::{UnitVector, chord_squared};
use crate::geo::group::Group;
use crate::model::{AdminState, SiteIndex};
use crate::number::{narrow, to_u64};
use crate::policy::Operation;
use crate::score::ScoreModel;
use crate::signal::centre::{Centre, Known};
use crate::signal::network::{GroupPaths, LastMile, MAX_PAIRS, Measured, NetworkTable};
use crate::signal::observation::Reporter;
use crate::signal::trial::Trial;
use crate::signal::{Admission, Evidence};
use crate::snapshot::Snapshot;
use crate::time::Moment;
use crate::topology::Topology;
use cell::Row;
use estimate::Offset;
use explore::Explorer;

/// How exactly the least recently used pair is known, in ms.
const USE_STEP_MS: u64 = 1_000;

/// Most reporters whose word on a pair is kept apart; the one that knows least goes for another.
const MAX_VOICES: usize = 8;

/// From so many reporters on none counts for more than a third, and the middle one decides.
const MANY_VOICES: usize = 3;

/// The variance of a median beside that of a mean of the same numbers: half of pi.
const MEDIAN_VARIANCE: f64 = std::f64::consts::FRAC_PI_2;

/// Of the margin by which a site must be worse to be left, a path has half: the other half is the other path's.
const BAND_SHARE: f32 = 0.5;

/// Explanations see evidence no older than this, in ms.
const EVIDENCE_MS: u64 = 10_000;

/// A held number this near to the geographic estimate is that estimate, in ms.
const SAME_MS: f32 = 0.01;

type Pair = (Group, SiteIndex);

/// The writer's notes on ways.
#[derive(Debug, Default)]
pub(super) struct NetworkNotes {
    pairs: BTreeMap<Pair, Notes>,
    /// The pairs by when they were last used.
    by_use: BTreeSet<(Moment, Pair)>,
    groups: BTreeMap<Group, GroupNotes>,
    explorer: Explorer,
    /// When decisions and explanations were last given a table.
    told: Moment,
    evicted: u64,
}

/// Notes on a pair.
#[derive(Debug, Default)]
struct Notes {
    voices: Vec<(Reporter, Centre)>,
    used: Moment,
    /// The geographic estimate in ms, once it is made.
    geographic_ms: Option<f32>,
    seen: Deadband,
    /// How much of the held number was observed when it was taken, 0 to 1.
    held_share: f32,
    estimate: Estimate,
}

/// What is known of a path now.
#[derive(Debug, Clone, Copy, Default)]
struct Estimate {
    /// The network term in ms and its variance.
    path: (f32, f32),
    /// The same if nothing were ever strange: see [`estimate::Special`].
    plain: (f32, f32),
    evidence: Evidence,
}

/// Notes on a group.
#[derive(Debug, Clone)]
struct GroupNotes {
    /// What every site pays.
    offset: Offset,
    /// Round trips measured from this very group, as far as they still count.
    count: f64,
    /// The path that is tried.
    trial: Option<Trial>,
}

impl NetworkNotes {
    /// Takes in a round trip between a client of the pair's group and its site.
    pub(super) fn record(&mut self, now: Moment, pair: Pair, told: (Reporter, u32)) {
        let (group, site) = pair;
        let whole = (group.whole_cell(), site);
        if whole != pair {
            self.touch(now, whole);
        }
        let (reporter, time_us) = told;
        self.touch(now, pair).hear(now, reporter, time_us);
    }

    /// The notes on a pair, which is in use.
    fn touch(&mut self, now: Moment, pair: Pair) -> &mut Notes {
        let is_new = !self.pairs.contains_key(&pair);
        if is_new
            && self.pairs.len() >= MAX_PAIRS
            && let Some((_, oldest)) = self.by_use.pop_first()
        {
            self.pairs.remove(&oldest);
            self.evicted += 1;
        }
        let notes = self.pairs.entry(pair).or_default();
        if is_new || now.since(notes.used) >= USE_STEP_MS {
            self.by_use.remove(&(notes.used, pair));
            notes.used = now;
            self.by_use.insert((now, pair));
        }
        notes
    }

    /// Goes on with another fleet or policy: `renumbered` gives the new position of a site that stays.
    pub(super) fn adopt(
        &mut self,
        next: Next<'_>,
        renumbered: impl Fn(SiteIndex) -> Option<SiteIndex>,
    ) {
        let pairs = std::mem::take(&mut self.pairs);
        let kept = pairs.into_iter().filter_map(|((group, site), mut notes)| {
            let site = renumbered(site)?;
            let now_ms = geographic_ms((next.topology, next.routing().score()), group.cell, site);
            // What is special about the path stays, whatever is assumed of it now.
            let before_ms = notes.geographic_ms.replace(now_ms);
            notes
                .seen
                .shift(before_ms.map_or(0.0, |before_ms| now_ms - before_ms));
            Some(((group, site), notes))
        });
        self.pairs = kept.collect();
        let by_use = self.pairs.iter().map(|(pair, notes)| (notes.used, *pair));
        self.by_use = by_use.collect();
        self.explorer.clear();
        for group in self.groups.values_mut() {
            // Whether it is still worth it is looked at within seconds.
            group.trial = group.trial.and_then(|trial| {
                let site = renumbered(trial.site)?;
                Some(Trial { site, ..trial })
            });
        }
    }

    /// Looks at every pair, once a second. Whether decisions or explanations should see something new.
    pub(super) fn observe(&mut self, now: Moment, world: &World<'_>) -> bool {
        let mut rows: Vec<Row> = Vec::with_capacity(self.pairs.len());
        for (pair, notes) in &mut self.pairs {
            let geographic_ms = *notes
                .geographic_ms
                .get_or_insert_with(|| world.geographic_ms(pair.0.cell, pair.1));
            rows.push(Row::new(*pair, geographic_ms, notes.known(now)));
        }
        let before = std::mem::take(&mut self.groups);
        let everywhere = cell::everywhere(before.values());
        for of_cell in rows.chunk_by_mut(|a, b| a.pair.0.cell == b.pair.0.cell) {
            cell::settle(of_cell, (&before, everywhere), &mut self.groups);
        }
        let mut changed = false;
        for (notes, row) in self.pairs.values_mut().zip(&rows) {
            changed |= notes.follow(now, row, world.operation);
        }
        let is_due = now.since(self.told) >= EVIDENCE_MS && !self.pairs.is_empty();
        let notes = (&self.pairs, &mut self.groups);
        changed |= self.explorer.explore(now, (&rows, notes), world);
        if changed || is_due {
            self.told = now;
        }
        changed || is_due
    }

    /// What decisions and explanations see.
    pub(super) fn table(&self) -> NetworkTable {
        let mut groups: Vec<(Group, GroupPaths)> = Vec::with_capacity(self.groups.len());
        for ((group, site), notes) in &self.pairs {
            if groups.last().is_none_or(|(last, _)| last != group) {
                let paths = GroupPaths {
                    last_mile: self.last_mile(*group),
                    ..GroupPaths::default()
                };
                groups.push((*group, paths));
            }
            let (Some((_, paths)), Some(held), Some(geographic_ms)) = (
                groups.last_mut(),
                notes.seen.published(),
                notes.geographic_ms,
            ) else {
                continue;
            };
            let measured = Measured {
                site: *site,
                network_ms: held,
                estimate_ms: notes.estimate.path.0,
                evidence: notes.estimate.evidence,
            };
            if (held - geographic_ms).abs() > SAME_MS {
                paths.moved.push(measured);
            } else {
                paths.others.push(measured);
            }
        }
        NetworkTable::lending(groups)
    }

    fn last_mile(&self, group: Group) -> Option<LastMile> {
        let notes = self.groups.get(&group).filter(|notes| notes.count > 0.0)?;
        Some(LastMile {
            ms: narrow(notes.offset.belief.ms),
            samples: u32::try_from(to_u64(notes.count.ceil())).unwrap_or(u32::MAX),
        })
    }

    /// The paths that are tried.
    pub(super) fn trials(&self) -> impl Iterator<Item = Trial> + '_ {
        self.groups.values().filter_map(|group| group.trial)
    }

    /// How many pairs are kept.
    pub(super) fn len(&self) -> usize {
        self.pairs.len()
    }

    /// How many pairs had to go for others.
    pub(super) fn evicted(&self) -> u64 {
        self.evicted
    }
}

/// What paths are looked at with.
pub(super) struct World<'a> {
    topology: &'a Topology,
    model: &'a ScoreModel,
    operation: &'a Operation,
    /// What a site costs beside the way there, in ms, as decisions see it.
    standing_ms: Vec<f32>,
    /// Whether a site has a node to name.
    is_open: Vec<bool>,
    /// The most that any plan allows a site to be further than the best.
    detour_ms: f32,
}

impl World<'_> {
    fn geographic_ms(&self, cell: Cell, site: SiteIndex) -> f32 {
        geographic_ms((self.topology, self.model), cell, site)
    }
}

/// The geographic estimate of the way from a cell to a site.
fn geographic_ms((topology, model): (&Topology, &ScoreModel), cell: Cell, site: SiteIndex) -> f32 {
    let from = UnitVector::new(cell.center());
    let site = topology.sites().get(site.get());
    site.map_or(0.0, |site| {
        model.geographic_ms(chord_squared(from, site.point))
    })
}

impl Notes {
    fn hear(&mut self, now: Moment, reporter: Reporter, time_us: u32) {
        let ms = narrow(f64::from(time_us) / 1_000.0);
        let own = self.voices.iter().position(|(voice, _)| *voice == reporter);
        let at = own.unwrap_or_else(|| {
            if self.voices.len() < MAX_VOICES {
                self.voices.push((reporter, Centre::default()));
                return self.voices.len() - 1;
            }
            let count = |centre: &Centre| centre.known(now).map_or(0.0, |known| known.count);
            let counts = self.voices.iter().map(|(_, centre)| count(centre));
            let least = counts.enumerate().min_by(|a, b| a.1.total_cmp(&b.1));
            let at = least.map_or(0, |(at, _)| at);
            if let Some(voice) = self.voices.get_mut(at) {
                *voice = (reporter, Centre::default());
            }
            at
        });
        if let Some((_, centre)) = self.voices.get_mut(at) {
            centre.add(now, ms);
        }
    }

    /// What the reporters say together: the mean of one or two, of more the median in which none counts for more than a
    /// third.
    fn known(&self, now: Moment) -> Option<Known> {
        let mut voices: Vec<Known> = self
            .voices
            .iter()
            .filter_map(|(_, c)| c.known(now))
            .collect();
        if voices.len() < 2 {
            return voices.pop();
        }
        let last = voices.iter().map(|voice| voice.last).max()?;
        let mut all: f64 = voices.iter().map(|voice| voice.count).sum();
        let is_many = voices.len() >= MANY_VOICES;
        if is_many {
            let most = all / 3.0;
            for voice in &mut voices {
                let capped = voice.count.min(most);
                voice.variance *= voice.count / capped;
                voice.count = capped;
            }
            all = voices.iter().map(|voice| voice.count).sum();
        }
        let weighted = |part: fn(&Known) -> f64, power: i32| -> f64 {
            let terms = voices
                .iter()
                .map(|v| part(v) * libm::pow(v.count / all, f64::from(power)));
            terms.sum()
        };
        let variance = weighted(|voice| voice.variance, 2);
        if !is_many {
            return Some(Known {
                ms: weighted(|voice| voice.ms, 1),
                count: all,
                variance,
                last,
            });
        }
        voices.sort_by(|a, b| a.ms.total_cmp(&b.ms));
        let mut below = 0.0;
        let middle = voices.iter().find(|voice| {
            below += voice.count;
            below >= all / 2.0
        })?;
        Some(Known {
            ms: middle.ms,
            count: all,
            variance: variance * MEDIAN_VARIANCE,
            last,
        })
    }

    /// Takes in what is known now. Whether it is time that decisions see it.
    fn follow(&mut self, now: Moment, row: &Row, operation: &Operation) -> bool {
        self.estimate = row.estimate(now);
        let (value, _) = self.estimate.path;
        if self.seen.published().is_none() {
            // Before anything was published, decisions see the prior.
            self.seen.set(row.geographic_ms);
        }
        // A band is for evidence that trembles. As evidence goes, so does the band: what it has left does not stay.
        let share = 1.0 - self.estimate.evidence.prior_share;
        let left = if share < self.held_share {
            share / self.held_share
        } else {
            1.0
        };
        let margin = band_ms(value, operation) * left;
        let due = self
            .seen
            .observe(now, value, (margin, operation.switch_dwell_ms));
        if let Some(value) = due {
            self.seen.set(value);
            self.held_share = share;
        }
        due.is_some()
    }
}

/// By how much a path must differ from what decisions see before they see it change.
fn band_ms(value: f32, operation: &Operation) -> f32 {
    BAND_SHARE * operation.switch_ms.max(operation.switch_ratio * value)
}

impl Control {
    /// Looks at the ways to sites. Whether decisions or explanations should see something new.
    pub(super) fn follow_network(&mut self, now: Moment, snapshot: &Snapshot) -> bool {
        let (topology, policy) = (snapshot.topology(), snapshot.policy());
        let signals = &self.signals;
        let count = topology.sites().len();
        let plans = policy.routing().rules().iter().map(|rule| &rule.plan);
        let plans = plans.chain(policy.routing().pools().iter().map(|pool| &pool.plan));
        let detours = plans.map(|plan| plan.max_detour_ms.unwrap_or(f32::INFINITY));
        let mut is_open = vec![false; count];
        for (index, node) in topology.indexed_nodes() {
            let is_named = signals.node(index).admission == Admission::Admitted;
            if let Some(open) = is_open.get_mut(node.site.get()) {
                *open |= is_named && node.state == AdminState::Ready;
            }
        }
        let standing = (self.facts.standing.iter()).map(|standing| standing.terms.standing_ms());
        let world = World {
            topology,
            model: policy.routing().score(),
            operation: policy.operation(),
            standing_ms: standing.take(count).collect(),
            is_open,
            detour_ms: detours.fold(0.0, f32::max),
        };
        let changed = self.network.observe(now, &world);
        if changed {
            let table = self.network.table();
            self.facts_mut().network = table;
        }
        changed
    }
}

#[cfg(test)]
mod tests;
