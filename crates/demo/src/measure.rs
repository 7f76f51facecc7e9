//! Arithmetic on what was counted and timed.

use std::time::Duration;

use tradewind_engine::number::{from_u64, to_u64};

/// A quantile, 0 to 1, of sorted microseconds, in milliseconds.
pub(super) fn quantile_ms(sorted_us: &[u64], quantile: f64) -> Option<f64> {
    let last = sorted_us.len().checked_sub(1)?;
    let at = to_u64(from_u64(last as u64) * quantile + 0.5);
    let us = sorted_us.get(usize::try_from(at).ok()?)?;
    Some(from_u64(*us) / 1_000.0)
}

/// A duration in whole microseconds.
pub(super) fn microseconds(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// A share of 0 to 1; `None` of nothing.
pub(super) fn ratio(part: u64, all: u64) -> Option<f64> {
    (all > 0).then(|| from_u64(part) / from_u64(all))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_what_is_there() {
        assert_eq!(quantile_ms(&[], 0.5), None);
        assert_eq!(quantile_ms(&[7_000], 0.99), Some(7.0));
        let times: Vec<u64> = (0..=100).map(|ms| ms * 1_000).collect();
        assert_eq!(quantile_ms(&times, 0.5), Some(50.0));
        assert_eq!(quantile_ms(&times, 0.99), Some(99.0));
        assert_eq!((ratio(1, 0), ratio(1, 4)), (None, Some(0.25)));
    }
}
