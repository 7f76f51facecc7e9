//! A node's condition: how much of its usual weight it deserves, in steps that noise cannot move.
//!
//! A weight that follows a signal moves keys whenever the signal does: drawn anew with 10 % of noise it moves 3.4 % of
//! all keys each time. So a condition has nine levels, half octaves apart; it changes only when the signal is well past
//! the border of a level (hysteresis) and has been so for a while (dwell); it may fall several levels at once and rises one
//! at a time.

use crate::policy::document::WeightsDocument;
use crate::time::Moment;

/// Levels below the best.
pub const LEVELS: u8 = 8;

/// A node's level, and what pulls at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Condition {
    /// 0 is the best; each step down divides the weight by 2^`step_log2`.
    level: u8,
    /// Since when the signal has asked for a worse level, and the best level it asked for since.
    worse: Option<(Moment, u8)>,
    /// Since when it has asked for a better one.
    better: Option<Moment>,
}

impl Condition {
    /// The level, 0 (best) to [`LEVELS`].
    pub fn level(self) -> u8 {
        self.level
    }

    /// The factor on the weight: `2^(-step * level)`.
    pub fn factor(self, settings: &WeightsDocument) -> f64 {
        factor(self.level, settings)
    }

    /// Looks at the signal, a share of 0 to 1 of what the node deserves. Answers the level that it is time to go to.
    pub fn observe(&mut self, now: Moment, signal: f64, settings: &WeightsDocument) -> Option<u8> {
        let steps = -libm::log2(signal.clamp(1e-6, 1.0)) / settings.step_log2;
        let level = f64::from(self.level);
        let asked = nearest_level(steps);
        if steps > level + settings.hysteresis_steps && asked > self.level {
            self.better = None;
            let (since, least) = self.worse.unwrap_or((now, asked));
            // Not the worst of a bad moment but what was asked for all the time.
            let least = least.min(asked);
            self.worse = Some((since, least));
            let due = now.since(since) >= settings.dwell_down.as_ms();
            return due.then_some(least);
        }
        self.worse = None;
        if steps < level - settings.hysteresis_steps {
            let since = *self.better.get_or_insert(now);
            let due = now.since(since) >= settings.dwell_up.as_ms();
            return due.then(|| self.level.saturating_sub(1));
        }
        self.better = None;
        None
    }

    /// Goes to a level.
    pub fn set(&mut self, level: u8) {
        *self = Self {
            level: level.min(LEVELS),
            worse: None,
            better: None,
        };
    }
}

/// The factor of a level.
pub fn factor(level: u8, settings: &WeightsDocument) -> f64 {
    libm::exp2(-settings.step_log2 * f64::from(level))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped to the levels"
)]
fn nearest_level(steps: f64) -> u8 {
    (steps + 0.5).clamp(0.0, f64::from(LEVELS)) as u8
}

/// What a node deserves by its service time: all of it up to one and a half times its usual, then falling with the square,
/// so that ten times as slow is as little as there is.
pub fn by_slowness(slowdown: f64) -> f64 {
    let ratio = (1.5 / slowdown.max(1.5)).min(1.0);
    ratio * ratio
}

/// What a node deserves by its success ratio: all of it down to 98 %, then falling with the fourth power.
pub fn by_success(ratio: f64) -> f64 {
    let ratio = (ratio / 0.98).clamp(0.0, 1.0);
    ratio * ratio * ratio * ratio
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_of_ten_percent_moves_nothing() {
        let settings = WeightsDocument::default();
        let mut condition = Condition::default();
        for second in 0..3_600_u64 {
            let noise = 0.9 + 0.02 * f64::from(u32::try_from(second % 11).unwrap());
            let asked = condition.observe(Moment(second * 1_000), by_slowness(noise), &settings);
            assert_eq!(asked, None);
        }
    }

    #[test]
    fn falls_at_once_after_the_dwell_and_rises_step_by_step() {
        let settings = WeightsDocument::default();
        let mut condition = Condition::default();
        let mut at = 0;
        let mut reached = |condition: &mut Condition, signal: f64, from: u64| {
            at = from;
            loop {
                if let Some(level) = condition.observe(Moment(at), signal, &settings) {
                    condition.set(level);
                    return (level, at - from);
                }
                at += 1_000;
            }
        };
        assert_eq!(reached(&mut condition, by_slowness(10.0), 0), (8, 10_000));
        assert_eq!(reached(&mut condition, 1.0, 60_000), (7, 15_000));
        assert_eq!(reached(&mut condition, 1.0, 80_000), (6, 15_000));
    }

    #[test]
    fn a_bad_moment_is_forgotten() {
        let settings = WeightsDocument::default();
        let mut condition = Condition::default();
        for at in [0, 5_000, 9_000] {
            assert_eq!(condition.observe(Moment(at), 0.1, &settings), None);
        }
        assert_eq!(condition.observe(Moment(9_500), 1.0, &settings), None);
        assert_eq!(condition.observe(Moment(11_000), 0.1, &settings), None);
    }
}
