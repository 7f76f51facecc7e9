//! What is usual in a tier: the prior of sites that were not measured.
//!
//! Measured and unmeasured sites must mean the same before they are compared: a site that pays what all pay would else be
//! left for one that nobody has looked at. So the prior of each number is the median of the sites that show it, together
//! with what the level was before. Of two middle ones the better counts: in a tier of two the bad site is not what all have
//! in common, and one site that turns bad alone does not take the level with it. Sites that all turn bad do, as soon as two
//! of them show it.

/// A level, as far as there is one. Lower is better.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Level {
    value: Option<f64>,
    /// What the first site to be measured is compared with.
    assumed: Option<f64>,
}

impl Level {
    /// A level where the first site to be measured may be a bad one: it counts as such above `assumed`.
    pub(super) const fn assuming(assumed: f64) -> Self {
        Self {
            value: None,
            assumed: Some(assumed),
        }
    }

    /// Takes in what the measured sites show; without any the level stays.
    pub(super) fn observe(&mut self, measured: impl Iterator<Item = f64>) {
        let mut values: Vec<f64> = measured.collect();
        if !values.is_empty() {
            values.extend(self.value.or(self.assumed));
            self.value = lower_median(&mut values);
        }
    }

    /// The level; `None` while nothing was measured.
    pub(super) fn value(self) -> Option<f64> {
        self.value
    }
}

/// The median; of two middle ones the lower. `None` of nothing.
pub(super) fn lower_median(values: &mut [f64]) -> Option<f64> {
    let middle = values.len().checked_sub(1)? / 2;
    let (_, median, _) = values.select_nth_unstable_by(middle, f64::total_cmp);
    Some(*median)
}

/// The value at which half of the weight is reached; of two middle ones the lower. `None` of nothing.
pub(super) fn weighted_median(values: &mut [(f64, f64)]) -> Option<f64> {
    values.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    let half = values.iter().map(|(_, weight)| weight).sum::<f64>() / 2.0;
    let mut reached = 0.0;
    let found = values.iter().find(|(_, weight)| {
        reached += weight;
        reached >= half
    });
    found.map(|(value, _)| *value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(level: &mut Level, measured: &[f64]) -> Option<f64> {
        level.observe(measured.iter().copied());
        level.value()
    }

    #[test]
    fn one_bad_site_is_no_level_and_two_are() {
        let mut level = Level::assuming(5.0);
        assert_eq!(after(&mut level, &[150.0]), Some(5.0), "slow from birth");
        assert_eq!(after(&mut level, &[150.0, 150.0]), Some(150.0));
        assert_eq!(after(&mut level, &[]), Some(150.0), "nothing is forgotten");
        assert_eq!(after(&mut level, &[150.0]), Some(150.0));
        assert_eq!(after(&mut level, &[4.0]), Some(4.0));
        assert_eq!(after(&mut level, &[4.0, 150.0]), Some(4.0), "a tier of two");
        assert_eq!(after(&mut level, &[4.0, 5.0, 150.0, 6.0]), Some(5.0));
    }

    #[test]
    fn the_first_to_be_measured_is_the_level_where_none_is_assumed() {
        let mut level = Level::default();
        assert_eq!(level.value(), None);
        assert_eq!(after(&mut level, &[0.7]), Some(0.7));
    }

    #[test]
    fn a_weighted_median_is_the_lower_of_two_middle_ones() {
        assert_eq!(weighted_median(&mut []), None);
        assert_eq!(weighted_median(&mut [(150.0, 1.0), (5.0, 1.0)]), Some(5.0));
        assert_eq!(weighted_median(&mut [(5.0, 1.0), (9.0, 1.1)]), Some(9.0));
    }
}
