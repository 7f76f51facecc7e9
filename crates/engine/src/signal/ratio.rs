//! Exact counts of good and bad over a sliding window of five slices.

use crate::time::Moment;

/// Slices of a window.
const SLICES: usize = 5;

/// Counts of two kinds in a sliding window.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Counts {
    slices: [(u32, u32); SLICES],
    /// The number of the slice that is filled now: time divided by the slice's length.
    slice: u64,
    last: Moment,
}

impl Counts {
    /// Counts `good` and `bad` more.
    pub fn add(&mut self, now: Moment, window_ms: u64, good: u32, bad: u32) {
        self.turn(now, window_ms);
        let at = usize::try_from(self.slice % SLICES as u64).unwrap_or(0);
        if let Some((all_good, all_bad)) = self.slices.get_mut(at) {
            *all_good = all_good.saturating_add(good);
            *all_bad = all_bad.saturating_add(bad);
        }
        self.last = now;
    }

    /// Takes back `bad` that were counted in vain, the youngest first; no more than there are.
    pub fn take_back(&mut self, now: Moment, window_ms: u64, bad: u32) {
        self.turn(now, window_ms);
        let mut left = bad;
        for age in 0..SLICES as u64 {
            let at = usize::try_from((self.slice + SLICES as u64 - age) % SLICES as u64);
            if let Some((_, all_bad)) = self.slices.get_mut(at.unwrap_or(0)) {
                let taken = left.min(*all_bad);
                *all_bad -= taken;
                left -= taken;
            }
        }
    }

    /// Good and bad within the window that ends now.
    pub fn sums(&self, now: Moment, window_ms: u64) -> (u64, u64) {
        self.turned_to(now, window_ms).known()
    }

    /// What is left of them within the window that ends now.
    #[must_use]
    pub fn turned_to(mut self, now: Moment, window_ms: u64) -> Self {
        self.turn(now, window_ms);
        self
    }

    /// Adds other counts, turned to the same time with the same window.
    pub fn absorb(&mut self, other: &Self) {
        for ((good, bad), (more_good, more_bad)) in self.slices.iter_mut().zip(&other.slices) {
            *good = good.saturating_add(*more_good);
            *bad = bad.saturating_add(*more_bad);
        }
        self.last = self.last.max(other.last);
    }

    /// Good and bad of the last window in which anything was counted, however long ago.
    pub fn known(&self) -> (u64, u64) {
        let add = |(a, b): (u64, u64), (good, bad): &(u32, u32)| {
            (a + u64::from(*good), b + u64::from(*bad))
        };
        self.slices.iter().fold((0, 0), add)
    }

    /// By how much the ratio of good ones rose from the older to the younger part of the window, the slice that is being
    /// filled left out. 1 where there is no older part to compare with: it has just begun. 0 where little came of late.
    pub fn rise(&self) -> f64 {
        let part = |ages: [u64; 2]| {
            let sums = ages.map(|age| {
                let at = (self.slice + SLICES as u64 - age) % SLICES as u64;
                let at = usize::try_from(at).unwrap_or(0);
                self.slices.get(at).copied().unwrap_or_default()
            });
            let [(a, b), (c, d)] = sums.map(|(good, bad)| (f64::from(good), f64::from(bad)));
            let all = a + b + c + d;
            (all >= 200.0).then(|| (a + c) / all)
        };
        match (part([4, 3]), part([2, 1])) {
            (Some(older), Some(younger)) => younger - older,
            (None, _) => 1.0,
            (Some(_), None) => 0.0,
        }
    }

    /// When something was last counted.
    pub fn last(&self) -> Moment {
        self.last
    }

    fn turn(&mut self, now: Moment, window_ms: u64) {
        let slice = now.0 / (window_ms / SLICES as u64).max(1);
        // Time may have gone on by many slices; no more than all need clearing.
        let passed = slice.saturating_sub(self.slice).min(SLICES as u64);
        for step in 1..=passed {
            let at = usize::try_from((self.slice + step) % SLICES as u64).unwrap_or(0);
            if let Some(counts) = self.slices.get_mut(at) {
                *counts = (0, 0);
            }
        }
        if passed == SLICES as u64 {
            self.slices = Default::default();
        }
        self.slice = self.slice.max(slice);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_leave_with_their_slice() {
        let mut counts = Counts::default();
        for second in 0..10 {
            counts.add(Moment(second * 1_000), 10_000, 9, 1);
        }
        assert_eq!(counts.sums(Moment(9_999), 10_000), (90, 10));
        assert_eq!(counts.sums(Moment(10_000), 10_000), (72, 8));
        assert_eq!(counts.sums(Moment(30_000), 10_000), (0, 0));
        assert_eq!(counts.known(), (90, 10));
    }

    #[test]
    fn what_was_counted_in_vain_is_taken_back() {
        let mut counts = Counts::default();
        for second in 0..10 {
            counts.add(Moment(second * 1_000), 10_000, 9, 1);
        }
        counts.take_back(Moment(9_000), 10_000, 3);
        assert_eq!(counts.sums(Moment(9_999), 10_000), (90, 7));
        counts.take_back(Moment(9_000), 10_000, 100);
        assert_eq!(counts.sums(Moment(9_999), 10_000), (90, 0));
    }

    /// A tier of cold caches was taken for one whose caches miss, within the first seconds: all were in the present slice.
    #[test]
    fn what_has_just_begun_is_taken_to_rise() {
        let mut counts = Counts::default();
        counts.add(Moment(0), 10_000, 300, 700);
        assert!(counts.rise() >= 1.0);
        for slice in 1..4 {
            counts.add(Moment(slice * 2_000), 10_000, 500, 500);
        }
        assert!((counts.rise() - 0.2).abs() < 1e-9, "beside the first slice");
        for slice in 4..8 {
            counts.add(Moment(slice * 2_000), 10_000, 500, 500);
        }
        assert!(counts.rise().abs() < 1e-9, "as many as before");
    }

    #[test]
    fn a_long_silence_clears_everything() {
        let mut counts = Counts::default();
        counts.add(Moment(0), 10_000, 5, 5);
        counts.add(Moment(3_600_000), 10_000, 1, 0);
        assert_eq!(counts.known(), (1, 0));
    }
}
