//! Whether it is this sidecar that is cut off, rather than the fleet that has failed.
//!
//! When more than half of the nodes of two or more sites, and of half of all sites, fail within ten seconds, the likeliest
//! cause is on this side. Then what failed in those seconds, and what fails in the next minute, is taken for well, and
//! every answer says `isolated`. A fleet that has really failed is left a minute later; fallback lists carry the
//! requests meanwhile.
//!
//! Half of all sites is asked for because a sidecar that loses its way to two sites of ten is right to leave them.

use crate::engine::time::Moment;

/// Failures this close together count as one event.
pub const EVENT_MS: u64 = 10_000;

/// How long verdicts stay frozen.
pub const FREEZE_MS: u64 = 60_000;

/// How the nodes of a site fare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SiteHealth {
    /// Its nodes that take traffic.
    pub nodes: u32,
    /// Those of them that failed within the last [`EVENT_MS`].
    pub failed_lately: u32,
}

/// Whether verdicts are frozen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Isolation {
    /// The time from which failures are not believed, and until when.
    frozen: Option<(Moment, Moment)>,
}

impl Isolation {
    /// Looks at all sites. Whether the freeze has begun or ended just now.
    pub fn observe(&mut self, now: Moment, sites: &[SiteHealth]) -> bool {
        if let Some((_, until)) = self.frozen {
            if now >= until {
                self.frozen = None;
                return true;
            }
            return false;
        }
        let used = sites.iter().filter(|site| site.nodes > 0).count();
        let failed = sites
            .iter()
            .filter(|site| site.nodes > 0 && 2 * site.failed_lately > site.nodes)
            .count();
        let isolated = failed >= 2 && 2 * failed >= used;
        if isolated {
            self.frozen = Some((now.minus(EVENT_MS), now.plus(FREEZE_MS)));
        }
        isolated
    }

    /// Whether verdicts are frozen.
    pub fn is_isolated(&self) -> bool {
        self.frozen.is_some()
    }

    /// Whether a failure since then is not believed.
    pub fn disbelieves(&self, since: Moment) -> bool {
        self.frozen.is_some_and(|(from, _)| since >= from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sites(failed: &[(u32, u32)]) -> Vec<SiteHealth> {
        let site = |(nodes, failed_lately): &(u32, u32)| SiteHealth {
            nodes: *nodes,
            failed_lately: *failed_lately,
        };
        failed.iter().map(site).collect()
    }

    #[test]
    fn two_of_three_sites_are_suspicious_two_of_ten_are_not() {
        let mut isolation = Isolation::default();
        assert!(!isolation.observe(Moment(0), &sites(&[(3, 3), (3, 1), (3, 0)])));
        assert!(isolation.observe(Moment(50_000), &sites(&[(3, 2), (3, 3), (3, 0)])));
        assert!(isolation.disbelieves(Moment(41_000)) && !isolation.disbelieves(Moment(39_000)));
        assert!(!isolation.observe(Moment(109_999), &[]));
        assert!(isolation.is_isolated());
        assert!(isolation.observe(Moment(110_000), &[]));
        assert!(!isolation.is_isolated());
        let mut ten = vec![(3, 0); 8];
        ten.extend([(3, 3), (3, 3)]);
        assert!(!isolation.observe(Moment(200_000), &sites(&ten)));
    }
}
