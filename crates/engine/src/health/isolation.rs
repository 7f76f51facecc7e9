//! Whether it is this sidecar that is cut off, rather than the fleet that has failed.
//!
//! When more than half of the nodes of two or more sites, and of half of all sites, fail within ten seconds and nobody is
//! heard at all, the likeliest cause is on this side. Then what failed in those seconds, and what fails in the next
//! minute, is taken for well, and every answer says `isolated`. A fleet that has really failed is left a minute later.
//!
//! Whoever is heard shows that the way out is open: with the edge refusing and the regional tier well, or two sites of
//! three hanging, it is they that have failed, and the list must leave them at once. So a freeze neither begins nor lasts
//! while any node answers. What failed during a freeze that ends because the accused themselves answer shows nothing about
//! them: whoever keeps their breakers begins anew.
//!
//! Half of all sites is asked for because a sidecar that loses its way to two sites of ten is right to leave them.

use crate::time::Moment;

/// Failures this close together count as one event.
pub const EVENT_MS: u64 = 10_000;

/// How long verdicts stay frozen.
pub const FREEZE_MS: u64 = 60_000;

/// A node that answered within this is heard, in ms: two attempts' default timeouts, so that a fleet that has just begun to
/// hang has had the time to be missed.
pub const ANSWER_MS: u64 = 2_000;

/// How the nodes of a site fare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SiteHealth {
    /// Its nodes that take traffic.
    pub nodes: u32,
    /// Those of them that failed within the last [`EVENT_MS`].
    pub failed_lately: u32,
    /// Whether any of them answered within the last [`ANSWER_MS`].
    pub is_heard: bool,
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
        let is_heard = sites.iter().any(|site| site.is_heard);
        if let Some((_, until)) = self.frozen {
            let is_over = is_heard || now >= until;
            if is_over {
                self.frozen = None;
            }
            return is_over;
        }
        let used = sites.iter().filter(|site| site.nodes > 0).count();
        let failed = sites
            .iter()
            .filter(|site| site.nodes > 0 && 2 * site.failed_lately > site.nodes)
            .count();
        let isolated = !is_heard && failed >= 2 && 2 * failed >= used;
        if isolated {
            self.frozen = Some((now.minus(EVENT_MS), now.plus(FREEZE_MS)));
        }
        isolated
    }

    /// Whether verdicts are frozen.
    pub fn is_isolated(&self) -> bool {
        self.frozen.is_some()
    }

    /// Until when verdicts are frozen, if they are.
    pub fn until(&self) -> Option<Moment> {
        self.frozen.map(|(_, until)| until)
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
            is_heard: false,
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
    #[test]
    fn whoever_hears_anybody_is_not_cut_off() {
        let mut isolation = Isolation::default();
        let mut three = sites(&[(3, 3), (3, 3), (3, 0)]);
        three[2].is_heard = true;
        assert!(!isolation.observe(Moment(50_000), &three));
        three[2].is_heard = false;
        assert!(isolation.observe(Moment(52_000), &three));
        assert!(!isolation.observe(Moment(53_000), &three));
        three[0].is_heard = true;
        assert!(isolation.observe(Moment(54_000), &three), "it ends at once");
        assert!(!isolation.is_isolated());
    }
}
