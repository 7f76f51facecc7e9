//! How often what caches hold changes without a purge, by content class: from what they found when they asked about it again.

use super::{Control, Next};
use crate::freshness::lifetime::{Adaptive, Findings, Pace};
use crate::number::from_u64;
use crate::policy::Lifetime;
use crate::signal::agreed::AgreedCounts;
use crate::signal::observation::{CacheResult, Outcome};
use crate::time::Moment;

/// What was found within this counts, in ms: six hours.
const WINDOW_MS: u64 = 6 * 3_600_000;

/// From so many findings on, those before have half their weight in how long things might be kept.
const MANY: u64 = 4_096;

/// What is known of a class. Of one whose lifetimes follow nothing, nothing is counted.
#[derive(Debug, Default)]
pub(super) struct ChangeNotes {
    /// The lifetimes that follow it.
    adaptive: Vec<Adaptive>,
    /// What was current when it was asked about again, and what had changed.
    found: AgreedCounts,
    /// What caches answered without asking about it.
    kept: AgreedCounts,
    /// For how long things might be kept that were asked about again, in ms, all together, and how many.
    ttls: (f64, u64),
    pace: Pace,
}

impl ChangeNotes {
    /// What somebody told.
    fn told(&mut self, now: Moment, outcome: &Outcome) {
        // Rules of one class may differ: of the shortest lifetime what is found speaks for the most changes.
        let ttls = self.adaptive.iter().map(|it| it.ttl_ms(self.pace));
        let Some(ttl_ms) = ttls.min() else { return };
        let when = (now, WINDOW_MS);
        let counted = match outcome.cache {
            CacheResult::Revalidated => (1, 0),
            CacheResult::Changed => (0, 1),
            CacheResult::Hit => {
                self.kept.add(when, outcome.reporter, (1, 0));
                return;
            }
            CacheResult::Unknown | CacheResult::Miss | CacheResult::Stale | CacheResult::Bypass => {
                return;
            }
        };
        self.found.add(when, outcome.reporter, counted);
        let (sum_ms, count) = &mut self.ttls;
        if *count >= MANY {
            (*sum_ms, *count) = (*sum_ms / 2.0, *count / 2);
        }
        (*sum_ms, *count) = (*sum_ms + f64::from(ttl_ms), *count + 1);
    }

    fn follow(&mut self) {
        let (current, changed) = self.found.known();
        let (kept, _) = self.kept.known();
        let (sum_ms, count) = self.ttls;
        self.pace = self.pace.after(&Findings {
            current,
            changed,
            mean_ttl_ms: sum_ms / from_u64(count.max(1)),
            kept,
        });
    }
}

impl Control {
    /// Takes over which lifetimes follow changes, for all classes there are. What is known goes on.
    pub(super) fn adopt_lifetimes(&mut self, next: Next<'_>) {
        let numbers = self.positions.numbers().classes();
        self.changes.resize_with(numbers, ChangeNotes::default);
        self.changes.iter_mut().for_each(|it| it.adaptive.clear());
        for (routing, numbered) in next.routings().into_iter().zip(&self.numbered) {
            for rule in routing.rules() {
                let class = numbered.class(rule.plan.class_index);
                let notes = self.changes.get_mut(class.get());
                if let (Lifetime::Adaptive(adaptive), Some(notes)) =
                    (rule.plan.freshness.lifetime, notes)
                {
                    notes.adaptive.push(adaptive);
                }
            }
        }
    }

    /// What an outcome says of how often its class changes.
    pub(super) fn note_changes(&mut self, now: Moment, class: usize, outcome: &Outcome) {
        if let Some(notes) = self.changes.get_mut(class) {
            notes.told(now, outcome);
        }
    }

    /// Looks at what was found.
    pub(super) fn follow_changes(&mut self) {
        let followed = self.changes.iter_mut();
        let followed = followed.filter(|notes| !notes.adaptive.is_empty());
        followed.for_each(ChangeNotes::follow);
    }

    /// How often what is asked for changes, by class; nothing while of none it is known.
    pub(super) fn paces(&self) -> Vec<Pace> {
        let paces = self.changes.iter().map(|notes| notes.pace);
        let known = paces.clone().any(|pace| pace != Pace::default());
        paces.filter(|_| known).collect()
    }
}
