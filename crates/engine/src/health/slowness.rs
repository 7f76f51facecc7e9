//! Whether a node's answers are lastingly slow, as one reporter or all together tell it.

use crate::time::Moment;

/// Length of a window in which too many slow answers count, and how many of them in a row.
const WINDOW_MS: u64 = 5_000;
const STREAK: u8 = 3;

/// A few answers say nothing of a 99th percentile.
const TELLING: u32 = 20;

/// Fewer do where so many are slow …
const SLOW_FROM: u32 = 3;

/// … and more than one in so many.
const ONE_IN_FEW: u32 = 4;

/// Slow answers in windows of five seconds: more than one in a hundred above the bound means that the 99th percentile is
/// above it. Where there are too few for that, more than one in four.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct SlowAnswers {
    since: Moment,
    all: u32,
    slow: u32,
    streak: u8,
}

impl SlowAnswers {
    /// Counts an answer.
    pub fn add(&mut self, now: Moment, slow: bool) {
        if now.since(self.since) >= WINDOW_MS {
            let enough = self.all >= TELLING && self.slow * 100 > self.all;
            let many = self.slow * ONE_IN_FEW > self.all;
            let is_slow = self.slow >= SLOW_FROM && (enough || many);
            self.streak = if is_slow {
                self.streak.saturating_add(1)
            } else {
                0
            };
            (self.since, self.all, self.slow) = (now, 0, 0);
        }
        self.all += 1;
        self.slow += u32::from(slow);
    }

    /// Whether they have been slow for three windows, and come still.
    pub fn is_lasting(&self, now: Moment) -> bool {
        self.streak >= STREAK && self.is_heard(now)
    }

    /// Whether answers come still.
    pub fn is_heard(&self, now: Moment) -> bool {
        self.all > 0 && now.since(self.since) < 2 * WINDOW_MS
    }
}
