//! How much each namespace may purge.

use std::collections::HashMap;

/// Selectors a second.
pub(super) const PER_SECOND: u64 = 5_000;

/// Selectors at once, for who has purged nothing for long: a million URLs are one burst.
const BURST: u64 = 1 << 20;

/// Most namespaces that are told apart; others count together.
const MAX_NAMESPACES: usize = 64;

/// When what a namespace has purged is worked off, by the generic cell rate algorithm (ITU-T I.371).
#[derive(Debug, Default)]
pub(super) struct Quotas(HashMap<String, u64>);

impl Quotas {
    /// Lets a namespace purge so many selectors at `now_ms`, or says in how many ms it may. More than the burst is never asked.
    pub(super) fn admit(
        &mut self,
        namespace: &str,
        selectors: usize,
        now_ms: u64,
    ) -> Result<(), u64> {
        let is_known = self.0.contains_key(namespace) || self.0.len() < MAX_NAMESPACES;
        let name = if is_known { namespace } else { "" };
        let due = self.0.entry(name.to_owned()).or_default();
        // In microseconds: a single selector takes less than a millisecond, and is to be counted.
        let now = now_ms.saturating_mul(1_000);
        let cost_us = u64::try_from(selectors).unwrap_or(BURST) * 1_000_000 / PER_SECOND;
        let next = (*due).max(now).saturating_add(cost_us);
        let ahead_us = next.saturating_sub(now);
        let most_us = BURST * 1_000_000 / PER_SECOND;
        if ahead_us > most_us {
            return Err((ahead_us - most_us).div_ceil(1_000));
        }
        *due = next;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_million_pass_at_once_and_then_five_thousand_a_second() {
        let mut quotas = Quotas::default();
        let now_ms = 1_000_000;
        let passed = (0..300).filter(|_| quotas.admit("shop", 4_096, now_ms).is_ok());
        assert_eq!(passed.count(), 256);
        let wait_ms = quotas.admit("shop", 4_096, now_ms).unwrap_err();
        assert!((700..900).contains(&wait_ms), "{wait_ms}");
        assert_eq!(quotas.admit("shop", 4_096, now_ms + wait_ms), Ok(()));
        assert_eq!(quotas.admit("other", 4_096, now_ms), Ok(()));
    }

    #[test]
    fn single_urls_count_too() {
        let mut quotas = Quotas::default();
        let passed = (0..2_000_000).filter(|_| quotas.admit("shop", 1, 0).is_ok());
        assert_eq!(passed.count(), 1 << 20);
    }

    #[test]
    fn namespaces_beyond_those_that_are_told_apart_share_one_quota() {
        let mut quotas = Quotas::default();
        for number in 0..1_000 {
            let name = format!("n{number}");
            let admitted = quotas.admit(&name, 4_096, 0);
            assert!(admitted.is_ok() || number > 256, "{number}");
        }
        assert!(quotas.0.len() <= MAX_NAMESPACES + 1);
        assert!(quotas.admit("yet-another", 4_096, 0).is_err());
    }
}
