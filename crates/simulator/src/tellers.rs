//! Who tells the simulated sidecar how attempts went, and what may be wrong with them.

use hdrhistogram::Histogram;

use super::node::Served;
use tradewind_engine::model::NodeIndex;
use tradewind_engine::signal::observation::{
    AttemptResult, CacheResult, LoadReport, Outcome, Reporter,
};

/// The proxies of a simulation: each request comes through one of them, in turns.
#[derive(Debug, Clone, Copy)]
pub struct Tellers {
    /// How many there are.
    pub count: u16,
    /// One of them lies.
    pub lie: Option<(Reporter, Lie)>,
    /// One of them does not reach a node.
    pub cut_off: Option<(Reporter, NodeIndex)>,
    /// One of them keeps what it should tell, until this is over.
    pub withheld: Option<Reporter>,
}

impl Default for Tellers {
    fn default() -> Self {
        Self {
            count: 2,
            lie: None,
            cut_off: None,
            withheld: None,
        }
    }
}

/// What is told instead of the truth, of all nodes alike.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Lie {
    /// Every attempt failed.
    AllFail,
    /// Every attempt succeeded.
    AllWell,
    /// Every answer took so many microseconds.
    Took(u32),
    /// Every answer came from the cache, or none did and took so long.
    Caches(bool),
    /// Every node is used to this part of its capacity.
    Utilisation(f32),
    /// Every node answered a thousand million requests in so many microseconds, by a histogram.
    Histogram(u32),
}

impl Tellers {
    /// Who tells of a request.
    pub(super) fn of(&self, number: u64) -> Reporter {
        let turn = number.checked_rem(u64::from(self.count)).unwrap_or(0);
        Reporter(u16::try_from(turn).unwrap_or(0))
    }

    /// What becomes of an attempt on the way from the proxy to the node.
    pub(super) fn reach(&self, number: u64, node: NodeIndex, served: Served) -> Served {
        if self.cut_off != Some((self.of(number), node)) {
            return served;
        }
        Served {
            result: AttemptResult::Error,
            status: 0,
            took_us: 1_000,
            cache: CacheResult::Unknown,
        }
    }

    /// What is told of an outcome.
    pub(super) fn tell(&self, outcome: Outcome) -> Outcome {
        let lie = self.lie.filter(|(liar, _)| *liar == outcome.reporter);
        match lie.map(|(_, lie)| lie) {
            Some(Lie::AllFail) => Outcome {
                result: AttemptResult::Error,
                status: 503,
                first_byte_us: 1,
                ..outcome
            },
            Some(Lie::AllWell) => Outcome {
                result: AttemptResult::Ok,
                status: 200,
                first_byte_us: 1_000,
                cache: CacheResult::Hit,
                ..outcome
            },
            Some(Lie::Took(first_byte_us)) => Outcome {
                first_byte_us,
                ..outcome
            },
            Some(Lie::Caches(true)) => Outcome {
                cache: CacheResult::Hit,
                ..outcome
            },
            Some(Lie::Caches(false)) => Outcome {
                cache: CacheResult::Miss,
                first_byte_us: 5_000_000,
                ..outcome
            },
            Some(Lie::Utilisation(_) | Lie::Histogram(_)) | None => outcome,
        }
    }

    /// What each proxy says of a node's load, where one of them lies about that; else nodes speak for themselves.
    pub(super) fn loads(&self, truth: f32) -> Option<Vec<(Reporter, LoadReport)>> {
        let Some((liar, Lie::Utilisation(lie))) = self.lie else {
            return None;
        };
        let told = (0..self.count).map(Reporter).map(|reporter| {
            let utilisation = Some(if reporter == liar { lie } else { truth });
            let report = LoadReport {
                utilisation,
                ..LoadReport::default()
            };
            (reporter, report)
        });
        Some(told.collect())
    }

    /// The histogram that somebody tells of every node.
    pub(super) fn histogram(&self) -> Option<(Reporter, Histogram<u64>)> {
        let Some((liar, Lie::Histogram(time_us))) = self.lie else {
            return None;
        };
        let most = tradewind_engine::signal::observation::MAX_TIME_US;
        let mut times = Histogram::new_with_bounds(1, most, 2).ok()?;
        times.saturating_record_n(u64::from(time_us), 1_000_000_000);
        Some((liar, times))
    }
}
