//! What active probes find, smoothed by thresholds.

use crate::policy::document::ProbeDocument;
use crate::time::Moment;

/// A node's record with the prober.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ProbeRecord {
    /// Whether it is well; `None` before enough probes agreed.
    verdict: Option<bool>,
    since: Moment,
    observed_at: Moment,
    streak: u32,
    streak_is_good: bool,
}

impl ProbeRecord {
    /// Takes in a probe. Whether the verdict has changed.
    pub fn observe(&mut self, now: Moment, healthy: bool, settings: &ProbeDocument) -> bool {
        if self.streak_is_good == healthy {
            self.streak = self.streak.saturating_add(1);
        } else {
            (self.streak, self.streak_is_good) = (1, healthy);
        }
        self.observed_at = now;
        let needed = match (self.verdict, healthy) {
            // The first success is enough: a node is taken for healthy until shown otherwise.
            (None, true) => 1,
            (_, true) => settings.healthy_threshold,
            (_, false) => settings.unhealthy_threshold,
        };
        let changes = self.streak >= needed && self.verdict != Some(healthy);
        if changes {
            let was_known = self.verdict.is_some() || !healthy;
            self.verdict = Some(healthy);
            self.since = now;
            return was_known;
        }
        false
    }

    /// Whether it is well, so far as probes agree.
    pub fn verdict(&self) -> Option<bool> {
        self.verdict
    }

    /// Since when.
    pub fn since(&self) -> Moment {
        self.since
    }

    /// When it was last asked.
    pub fn observed_at(&self) -> Moment {
        self.observed_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_smooth_single_losses() {
        let settings = ProbeDocument::default();
        let mut record = ProbeRecord::default();
        assert!(!record.observe(Moment(0), true, &settings));
        assert_eq!(record.verdict(), Some(true));
        for at in 1..3 {
            assert!(!record.observe(Moment(at), false, &settings));
        }
        assert!(
            record.observe(Moment(3), false, &settings),
            "the third in a row"
        );
        assert_eq!((record.verdict(), record.since()), (Some(false), Moment(3)));
        assert!(!record.observe(Moment(4), true, &settings));
        assert!(record.observe(Moment(5), true, &settings));
        assert_eq!(record.verdict(), Some(true));
    }
}
