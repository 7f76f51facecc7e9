//! Times as counts by quarter octave: small on the way, exact to add, within 9 % of what was measured.

use crate::number::{from_u64, to_u64};

/// Quarter octaves from 1 µs to 2^24 µs, which is 17 s; what is longer counts with the last.
const BUCKETS: u8 = 96;

/// Counts of times by quarter octave, sparse: one place for each that occurred, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Octaves {
    counts: Vec<(u8, u32)>,
}

impl Octaves {
    /// Counts a time in microseconds.
    pub fn record(&mut self, us: u32) {
        self.add(bucket(us), 1);
    }

    /// Adds what another counted, in proportion where that is more than `most`. The order of additions does not matter.
    pub fn merge(&mut self, other: &Self, most: u32) {
        let all = other.count();
        for (bucket, count) in &other.counts {
            let count = u64::from(*count);
            let scaled = if all > u64::from(most) {
                (count * u64::from(most)).div_ceil(all)
            } else {
                count
            };
            self.add(*bucket, u32::try_from(scaled).unwrap_or(u32::MAX));
        }
    }

    /// Halves all counts, so that what is new soon outweighs what is old.
    pub fn halve(&mut self) {
        for (_, count) in &mut self.counts {
            *count /= 2;
        }
        self.counts.retain(|(_, count)| *count > 0);
    }

    /// How many times were counted.
    pub fn count(&self) -> u64 {
        self.counts.iter().map(|(_, count)| u64::from(*count)).sum()
    }

    /// How many different quarter octaves occurred: what it takes on the way.
    pub fn len(&self) -> usize {
        self.counts.len()
    }

    /// Whether no time was counted.
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// The time in microseconds that a share `q` (0 to 1) of all does not exceed, within 9 %; `None` of no times.
    pub fn quantile_us(&self, q: f64) -> Option<f64> {
        let wanted = from_u64(self.count()) * q.clamp(0.0, 1.0);
        let mut below = 0_u64;
        for (bucket, count) in &self.counts {
            below += u64::from(*count);
            if from_u64(below) >= wanted {
                return Some(middle_us(*bucket));
            }
        }
        None
    }

    /// Each quarter octave that occurred, and how often.
    pub fn counts(&self) -> impl Iterator<Item = (u8, u32)> {
        self.counts.iter().copied()
    }

    /// Counts told by another; quarter octaves that there are not are left out.
    pub fn of_counts(counts: impl IntoIterator<Item = (u8, u32)>) -> Self {
        let mut octaves = Self::default();
        for (bucket, count) in counts {
            if bucket < BUCKETS && count > 0 {
                octaves.add(bucket, count);
            }
        }
        octaves
    }

    fn add(&mut self, bucket: u8, count: u32) {
        match self.counts.binary_search_by_key(&bucket, |(at, _)| *at) {
            Ok(place) => {
                if let Some((_, known)) = self.counts.get_mut(place) {
                    *known = known.saturating_add(count);
                }
            }
            Err(place) => self.counts.insert(place, (bucket, count)),
        }
    }
}

/// The name of the quarter octave that a time in microseconds falls into: 1 and more.
pub fn name(us: f64) -> u8 {
    bucket(u32::try_from(to_u64(us)).unwrap_or(u32::MAX)) + 1
}

/// The time in microseconds that a [`name`] stands for; `None` of 0, which names none.
pub fn time_us(name: u8) -> Option<f64> {
    name.checked_sub(1).map(middle_us)
}

fn middle_us(bucket: u8) -> f64 {
    libm::exp2((f64::from(bucket) + 0.5) / 4.0)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped to the buckets"
)]
fn bucket(us: u32) -> u8 {
    let quarters = 4.0 * libm::log2(f64::from(us.max(1)));
    quarters.clamp(0.0, f64::from(BUCKETS - 1)) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_told_within_nine_percent() {
        for us in [1, 2, 99, 1_000, 1_234, 50_000, 999_999, 16_000_000] {
            let mut times = Octaves::default();
            times.record(us);
            let told = times.quantile_us(0.5).unwrap() / f64::from(us);
            assert!((0.91..1.0 / 0.91).contains(&told), "{us} µs: {told}");
        }
        assert_eq!(Octaves::default().quantile_us(0.5), None);
    }

    #[test]
    fn quantiles_of_what_many_told_are_those_of_all() {
        let mut all = Octaves::default();
        for member in 0..10 {
            let mut told = Octaves::default();
            (0..90).for_each(|_| told.record(2_000 + member));
            (0..10).for_each(|_| told.record(40_000));
            all.merge(&told, u32::MAX);
        }
        let median = all.quantile_us(0.5).unwrap();
        let p99 = all.quantile_us(0.99).unwrap();
        assert!((1_800.0..2_300.0).contains(&median), "{median}");
        assert!((36_000.0..44_000.0).contains(&p99), "{p99}");
        assert_eq!((all.count(), all.len()), (1_000, 2));
        all.halve();
        assert_eq!(all.count(), 500);
        let mut few = Octaves::default();
        few.merge(&all, 50);
        assert_eq!((few.count(), few.len()), (50, 2));
        assert_eq!(few.quantile_us(0.5), time_us(name(median)));
    }
}
