//! How many keys may move without need: a bucket that fills with time and that every voluntary change pays from.

use crate::time::Moment;

/// A token bucket in shares of all keys.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Allowance {
    left: f64,
    at: Moment,
}

impl Allowance {
    /// A full bucket: a minute's share.
    pub(crate) fn new(now: Moment, ratio_per_minute: f64) -> Self {
        Self {
            left: ratio_per_minute,
            at: now,
        }
    }

    /// Pays for a change that moves a share `cost` of all keys. Whether there was enough: a change that costs more than a
    /// full bucket may happen when the bucket is full, and then nothing else does until the debt is worked off.
    pub(crate) fn pay(&mut self, now: Moment, cost: f64, ratio_per_minute: f64) -> bool {
        let minutes = crate::number::from_u64(now.since(self.at)) / 60_000.0;
        self.left = (self.left + minutes * ratio_per_minute).min(ratio_per_minute);
        self.at = now;
        let pays = self.left >= cost.min(ratio_per_minute) && ratio_per_minute > 0.0;
        if pays {
            self.left -= cost;
        }
        pays
    }

    /// Pays for a change that nothing forbids: what is left may become a debt.
    pub(crate) fn owe(&mut self, cost: f64) {
        self.left -= cost;
    }

    /// What is left, as a share of all keys; negative while a debt is worked off.
    pub(crate) fn left(&self) -> f64 {
        self.left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_the_share_of_a_minute_and_one_change_of_any_size() {
        let mut allowance = Allowance::new(Moment(0), 0.1);
        let paid = (0..600_u64).filter(|second| allowance.pay(Moment(second * 1_000), 0.02, 0.1));
        assert_eq!(
            paid.count(),
            5 + 49,
            "0.1 at once and 0.1 in each of ten minutes"
        );
        let mut allowance = Allowance::new(Moment(0), 0.1);
        assert!(allowance.pay(Moment(0), 0.3, 0.1));
        assert!(!allowance.pay(Moment(60_000), 0.01, 0.1));
        assert!(allowance.pay(Moment(150_000), 0.01, 0.1));
    }
}
