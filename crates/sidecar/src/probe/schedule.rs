//! When each node is asked: often enough, and never all of them at once.
//!
//! Nodes that came with one file would be asked in one burst, and sidecars started by one deployment would ask the same
//! node together. So the first question waits for a part of the interval, and every later gap is up to a fifth shorter
//! or longer. Both follow from a hash of the node's id, the round and a salt of this process: no source of chance is
//! needed, and a test can say what comes out.

use std::time::Duration;

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The moments at which one node is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pace {
    /// Uniform; from the node's id and the salt.
    seed: u64,
}

impl Pace {
    /// The pace of a node as seen by the process with this salt.
    pub(super) fn of(node: &str, salt: u64) -> Self {
        Self {
            seed: xxh3_64_with_seed(node.as_bytes(), salt),
        }
    }

    /// How long the first question waits: from 0 to less than `interval`.
    pub(super) fn first(self, interval: Duration) -> Duration {
        self.part(0, interval)
    }

    /// How long after question `round` (from 1) the next is due: 0.8 to 1.2 of `interval`.
    pub(super) fn gap(self, round: u64, interval: Duration) -> Duration {
        interval * 4 / 5 + self.part(round, interval * 2 / 5)
    }

    /// A part of `most`, uniform, for a round; in whole microseconds.
    fn part(self, round: u64, most: Duration) -> Duration {
        let share = xxh3_64_with_seed(&round.to_le_bytes(), self.seed) >> 32;
        // Intervals are at most 5 minutes: under 2^29 µs, so the product is under 2^61.
        let most_us = u64::try_from(most.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(most_us.saturating_mul(share) >> 32)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const INTERVAL: Duration = Duration::from_secs(5);

    fn nodes() -> impl Iterator<Item = String> {
        (0..1_000).map(|number| format!("fra-{number}"))
    }

    fn mean(all: &[Duration]) -> Duration {
        all.iter().sum::<Duration>() / u32::try_from(all.len()).unwrap()
    }

    #[test]
    fn first_questions_are_spread_over_the_interval() {
        let firsts: Vec<_> = nodes().map(|id| Pace::of(&id, 1).first(INTERVAL)).collect();
        assert!(firsts.iter().all(|first| *first < INTERVAL));
        for tenth in 0..10 {
            let from = INTERVAL * tenth / 10;
            let within = |first: &&Duration| (from..from + INTERVAL / 10).contains(*first);
            let count = firsts.iter().filter(within).count();
            assert!((60..=140).contains(&count), "tenth {tenth} has {count}");
        }
    }

    #[test]
    fn gaps_keep_their_bounds_and_their_mean() {
        let pace = Pace::of("fra-1", 1);
        let gaps: Vec<_> = (1..=10_000)
            .map(|round| pace.gap(round, INTERVAL))
            .collect();
        let (least, most) = (INTERVAL * 4 / 5, INTERVAL * 6 / 5);
        assert!(gaps.iter().all(|gap| (least..=most).contains(gap)));
        let off = mean(&gaps).abs_diff(INTERVAL);
        assert!(off < INTERVAL / 100, "off by {off:?}");
        // The whole range is used.
        assert!(gaps.iter().any(|gap| *gap < least + INTERVAL / 50));
        assert!(gaps.iter().any(|gap| *gap + INTERVAL / 50 > most));
    }

    #[test]
    fn nodes_and_processes_do_not_keep_step() {
        let mut seen = BTreeSet::new();
        for id in nodes() {
            for salt in [1, 2] {
                let pace = Pace::of(&id, salt);
                assert_eq!(pace, Pace::of(&id, salt), "the same again");
                seen.insert([pace.gap(1, INTERVAL), pace.gap(2, INTERVAL)]);
            }
        }
        assert_eq!(seen.len(), 2_000, "no two share two gaps");
        let firsts: Vec<_> = [1, 2]
            .map(|salt| Pace::of("fra-1", salt).first(INTERVAL))
            .into();
        assert_ne!(firsts[0], firsts[1]);
    }

    #[test]
    fn an_interval_of_nothing_is_no_fault() {
        let pace = Pace::of("fra-1", 1);
        assert_eq!(pace.first(Duration::ZERO), Duration::ZERO);
        assert_eq!(pace.gap(1, Duration::ZERO), Duration::ZERO);
    }
}
