//! Round trips by group of clients and site: windows of times, bounded in number, and what decisions see of them.

use std::collections::{BTreeMap, BTreeSet};

use super::deadband::Deadband;
use crate::engine::geo::distance::{UnitVector, chord_squared};
use crate::engine::model::SiteIndex;
use crate::engine::number::narrow;
use crate::engine::policy::Operation;
use crate::engine::score::ScoreModel;
use crate::engine::signal::latency::Window;
use crate::engine::signal::network::{MAX_PAIRS, Measured, NetworkTable};
use crate::engine::signal::{Estimate, Evidence};
use crate::engine::time::Moment;

/// The geographic estimate counts as so many measurements.
const PRIOR_SAMPLES: f64 = 50.0;

/// Half of the window, in ms.
const HALF_WINDOW_MS: u64 = 15_000;

/// How exactly the least recently used pair is known, in ms.
const USE_STEP_MS: u64 = 1_000;

type Pair = (u32, SiteIndex);

/// The writer's notes on round trips.
#[derive(Debug, Default)]
pub(super) struct NetworkNotes {
    pairs: BTreeMap<Pair, Notes>,
    /// The pairs by when they were last used.
    by_use: BTreeSet<(Moment, Pair)>,
    evicted: u64,
}

#[derive(Debug, Default)]
struct Notes {
    times: Window,
    used: Moment,
    seen: Deadband,
    evidence: Evidence,
}

impl NetworkNotes {
    /// Takes in a round trip between a client of `cell` and `site`.
    pub(super) fn record(&mut self, now: Moment, pair: Pair, time_us: u32) {
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
        notes.times.record(now, HALF_WINDOW_MS, time_us);
    }

    /// Looks at every pair, once a second. Whether decisions should see something new.
    pub(super) fn observe(
        &mut self,
        now: Moment,
        (model, operation): (&ScoreModel, &Operation),
        point_of: impl Fn(Pair) -> Option<(UnitVector, UnitVector)>,
    ) -> bool {
        let mut changed = false;
        for (pair, notes) in &mut self.pairs {
            let Some((cell, site)) = point_of(*pair) else {
                continue;
            };
            let prior = f64::from(model.geographic_ms(chord_squared(cell, site)));
            let measured = notes.times.quantile_us(0.9).map(|us| us / 1_000.0);
            let estimate = Estimate::new(
                measured.map(|ms| (ms, notes.times.count())),
                (prior, PRIOR_SAMPLES),
                now.since(notes.times.last()),
                operation.latency_max_age_ms,
            );
            notes.evidence = estimate.evidence;
            if notes.seen.published().is_none() {
                // Before anything was published, decisions see the prior.
                notes.seen.set(narrow(prior));
            }
            let value = narrow(estimate.value);
            let margin = operation.switch_ms.max(operation.switch_ratio * value);
            if let Some(value) = notes
                .seen
                .observe(now, value, (margin, operation.switch_dwell_ms))
            {
                notes.seen.set(value);
                changed = true;
            }
        }
        changed
    }

    /// What decisions see.
    pub(super) fn table(&self) -> NetworkTable {
        NetworkTable::new(self.pairs.iter().filter_map(|((cell, site), notes)| {
            let measured = Measured {
                site: *site,
                network_ms: notes.seen.published()?,
                evidence: notes.evidence,
            };
            Some((*cell, measured))
        }))
    }

    /// How many pairs are kept.
    pub(super) fn len(&self) -> usize {
        self.pairs.len()
    }

    /// How many pairs had to go for others.
    pub(super) fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Forgets everything: cells or sites have other numbers now.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_pair_goes_first() {
        let mut notes = NetworkNotes::default();
        let count = u32::try_from(MAX_PAIRS).unwrap();
        for cell in 0..count {
            notes.record(Moment(u64::from(cell) * 2_000), (cell, SiteIndex(0)), 1_000);
        }
        let late = Moment(u64::from(count) * 2_000);
        notes.record(late, (0, SiteIndex(0)), 1_000);
        notes.record(late, (count, SiteIndex(0)), 1_000);
        assert_eq!((notes.len(), notes.evicted()), (MAX_PAIRS, 1));
        assert!(notes.pairs.contains_key(&(0, SiteIndex(0))));
        assert!(!notes.pairs.contains_key(&(1, SiteIndex(0))));
    }
}
