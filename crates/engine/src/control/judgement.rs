//! What a node's own record says of whether it may be named.

use super::node::NodeNotes;
use crate::health::breaker::State;
use crate::model::names;
use crate::policy::Operation;
use crate::signal::Admission;
use crate::time::Moment;

/// How long a load that stays too high with all the spill there is keeps a node out, in ms.
const EXHAUSTED_MS: u64 = 10_000;

/// What a node's record says by itself, and since when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judgement {
    /// What it would be admitted for.
    pub admission: Admission,
    /// Since when.
    pub since: Moment,
    /// What said so.
    pub source: Source,
    /// When that was last observed.
    pub observed_at: Moment,
}

/// What a judgement rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// Nothing speaks against the node.
    Default,
    /// How its answers went.
    Outcomes,
    /// Active probes.
    Probes,
    /// Its own reports.
    LoadReports,
}

names! { Source {
    Default = "default",
    Outcomes = "outcomes",
    Probes = "probes",
    LoadReports = "load_reports",
} }

/// What a node's own record says. Traffic outranks probes: a node that answers is well, whatever its health page says.
pub fn judgement(now: Moment, notes: &NodeNotes, operation: &Operation) -> Judgement {
    let breaker = &notes.breaker;
    let by_breaker = |admission| Judgement {
        admission,
        since: breaker.since(),
        source: Source::Outcomes,
        observed_at: notes.last_outcome.unwrap_or(breaker.since()),
    };
    match breaker.state() {
        State::Open { .. } => return by_breaker(Admission::BreakerOpen),
        State::HalfOpen { .. } => {
            let slice = breaker.slice(&operation.breaker);
            return by_breaker(Admission::Probing { slice });
        }
        State::Closed => {}
    }
    if notes.probe.verdict() == Some(false) {
        let (good, bad) = notes.testimony.sums(now, &operation.breaker);
        let enough = good + bad >= u64::from(operation.breaker.request_volume);
        let answers = enough && good >= 19 * bad;
        if !answers {
            let age = now.since(notes.probe.observed_at());
            let admission = if age > operation.health_max_age_ms {
                Admission::Unknown
            } else {
                Admission::Unhealthy
            };
            return Judgement {
                admission,
                since: notes.probe.since(),
                source: Source::Probes,
                observed_at: notes.probe.observed_at(),
            };
        }
    }
    let exhausted = notes.exhausted_since;
    if let Some(since) = exhausted.filter(|since| now.since(*since) >= EXHAUSTED_MS) {
        return Judgement {
            admission: Admission::Overloaded,
            since,
            source: Source::LoadReports,
            observed_at: notes.load.map_or(since, |(_, at)| at),
        };
    }
    Judgement {
        admission: Admission::Admitted,
        since: breaker.since(),
        source: Source::Default,
        observed_at: notes.last_outcome.unwrap_or_default(),
    }
}
