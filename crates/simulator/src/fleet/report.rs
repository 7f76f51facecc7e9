//! What came of a run.

use std::fmt;

use tradewind_engine::fleet::Epoch;
use tradewind_engine::number::from_u64;
use tradewind_engine::time::Moment;

use super::hub::Carried;

/// Figures of a run.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// By second: how often any two agree, at any site.
    pub any_two: Vec<f64>,
    /// By second: how often two agree that stand beside the same site, at that site.
    pub neighbours: Vec<f64>,
    /// Nodes that failed.
    pub failures: Vec<Failure>,
    /// Nodes that the chair left though they were well.
    pub wrong_openings: u64,
    /// Accusations that few shared, counted by the chair that dismissed most.
    pub dismissed: u64,
    /// Messages that came to a chair and were not heard.
    pub unheard: u64,
    /// Who had the chair, from when.
    pub chairs: Vec<(Moment, Epoch)>,
    /// What went over the bus.
    pub carried: Carried,
}

/// A node that failed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Failure {
    /// The node, by position.
    pub node: usize,
    /// When.
    pub began: Moment,
    /// Whether its whole site did.
    pub of_site: bool,
    /// Attempts that failed there.
    pub attempts: u64,
    /// After how long 99.9 % of all sidecars had left it, in ms; `None` where they never had.
    pub left_ms: Option<u64>,
}

impl Report {
    pub(super) fn failure(&mut self, now: Moment, (node, of_site): (usize, bool)) {
        self.failures.push(Failure {
            node,
            began: now,
            of_site,
            attempts: 0,
            left_ms: None,
        });
    }

    pub(super) fn failed(&mut self, node: usize) {
        let mut failures = self.failures.iter_mut().rev();
        if let Some(failure) = failures.find(|failure| failure.node == node) {
            failure.attempts += 1;
        }
    }

    /// The mean of failed attempts a node, of whole sites or of single nodes.
    pub fn attempts(&self, of_site: bool) -> f64 {
        let failures = self.failures.iter().filter(|it| it.of_site == of_site);
        let counts: Vec<u64> = failures.map(|it| it.attempts).collect();
        from_u64(counts.iter().sum()) / from_u64(counts.len() as u64).max(1.0)
    }

    /// After how long 99.9 % had left a node, in ms: of a share `q` of nodes no later; nodes that were never left count as
    /// left after an hour. `None` where none failed.
    pub fn left_ms(&self, of_site: bool, q: f64) -> Option<u64> {
        let failures = self.failures.iter().filter(|it| it.of_site == of_site);
        let mut times: Vec<u64> = failures.map(|it| it.left_ms.unwrap_or(3_600_000)).collect();
        times.sort_unstable();
        let last = times.len().checked_sub(1)?;
        let at = tradewind_engine::number::to_u64(from_u64(last as u64) * q + 0.5);
        times.get(usize::try_from(at).ok()?.min(last)).copied()
    }
}

/// The mean and the least of shares, in percent.
pub fn percent(shares: &[f64]) -> (f64, f64) {
    let mean = shares.iter().sum::<f64>() / from_u64(shares.len() as u64).max(1.0);
    let least = shares.iter().copied().fold(1.0, f64::min);
    (100.0 * mean, 100.0 * least)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (any, any_least) = percent(&self.any_two);
        let (near, near_least) = percent(&self.neighbours);
        write!(
            f,
            "{any:.3} / {any_least:.3} | {near:.3} / {near_least:.2} | {:.0}",
            self.attempts(false)
        )?;
        let seconds = |ms: Option<u64>| ms.map_or(0.0, |ms| from_u64(ms) / 1_000.0);
        let left = |of_site, q| seconds(self.left_ms(of_site, q));
        let is_of_site = self.failures.iter().any(|failure| failure.of_site);
        if is_of_site {
            write!(f, " (site {:.0})", self.attempts(true))?;
        }
        write!(f, " | {:.1} / {:.1}", left(false, 0.5), left(false, 0.99))?;
        if is_of_site {
            write!(
                f,
                " (site {:.1} / {:.1})",
                left(true, 0.5),
                left(true, 0.99)
            )?;
        }
        let per_second =
            |count: u64| from_u64(count) / from_u64(self.any_two.len() as u64).max(1.0);
        let Carried {
            evidence, states, ..
        } = self.carried;
        let size = |(count, bytes): (u64, u64)| from_u64(bytes) / from_u64(count).max(1.0);
        write!(
            f,
            " | {} ({}) | {:.0} x {:.0} B | {:.1} x {:.0} B",
            self.wrong_openings,
            self.dismissed,
            per_second(evidence.0),
            size(evidence),
            per_second(states.0),
            size(states)
        )
    }
}
