//! Bad times for people: since when, what came first, how often anew, and when it is tried again.
//!
//! Who is woken asks these before anything else, of nodes, pools, sources and of the sidecar itself.

use serde::Serialize;

use tradewind_engine::control::spell::Spell;
use tradewind_engine::control::{Doubt, NodeReport, SetReport};
use tradewind_engine::health::breaker::{Cause, State};
use tradewind_engine::number::from_u64;
use tradewind_engine::signal::{Admission, Readmission};
use tradewind_engine::time::Moment;

/// A node's bad time: the present one, or the last if it is over.
#[derive(Debug, Clone, Serialize)]
pub struct SpellView {
    /// How long ago it began, in ms.
    pub since_ms: u64,
    /// How long it lasted, or has so far, in ms.
    pub lasted_ms: u64,
    /// Whether it is over.
    pub over: bool,
    /// What the node might be named for at first.
    pub first_admission: &'static str,
    /// What said so.
    pub first_source: &'static str,
    /// Why its breaker opened at first; absent when it did not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_cause: Option<&'static str>,
    /// How often the breaker opened again.
    pub reopenings: u32,
}

impl SpellView {
    /// What is shown of a bad time.
    pub fn new(now: Moment, spell: &Spell) -> Self {
        Self {
            since_ms: now.since(spell.since),
            lasted_ms: spell.lasted_ms(now),
            over: !spell.lasts(),
            first_admission: spell.first_admission.name(),
            first_source: spell.first_source.name(),
            first_cause: (spell.first_cause != Cause::None).then(|| spell.first_cause.name()),
            reopenings: spell.reopenings,
        }
    }
}

/// A breaker.
#[derive(Debug, Clone, Serialize)]
pub struct BreakerView {
    /// `closed`, `open` or `half_open`.
    pub state: &'static str,
    /// 0, 2 or 1.
    #[serde(skip)]
    pub number: u8,
    /// Why.
    pub cause: &'static str,
    /// Since when it is closed, or is not, ms ago: being tried and opening again begins nothing new.
    pub since_ms: u64,
    /// Why it opened at first; absent while it is closed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_cause: Option<&'static str>,
    /// How often it opened again since then; absent while it is closed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reopenings: Option<u32>,
    /// For how long it stays open still, in ms: then the node is tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open_for_ms: Option<u64>,
    /// The share of its keys that a node is tried with now; absent unless it is half open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tried_with_ratio: Option<f64>,
}

impl BreakerView {
    /// What is shown of a node's breaker.
    pub fn new(now: Moment, report: &NodeReport<'_>) -> Self {
        let breaker = &report.notes.breaker;
        let state = breaker.state();
        let spell = report.spell.filter(Spell::lasts);
        let spell = spell.filter(|_| state != State::Closed);
        let since = spell.and_then(|spell| spell.first_opened);
        Self {
            state: state.name(),
            number: state.number(),
            cause: breaker.cause().name(),
            since_ms: now.since(since.unwrap_or(breaker.since())),
            first_cause: spell.map(|spell| spell.first_cause.name()),
            reopenings: spell.map(|spell| spell.reopenings),
            open_for_ms: match state {
                State::Open { until } => Some(until.since(now)),
                State::Closed | State::HalfOpen { .. } => None,
            },
            tried_with_ratio: match report.judgement.admission {
                Admission::Probing { slice } => Some(f64::from(slice) / 65_536.0),
                _ => None,
            },
        }
    }
}

/// How far nodes are readmitted, because too little is well.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct ReadmissionView {
    /// `none` in good times.
    pub readmission: &'static str,
    /// The same as a number, 0 to 4.
    pub step: u8,
    /// How long ago too little was well first, in ms; absent in good times.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since_ms: Option<u64>,
    /// How far nodes were readmitted then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_readmission: Option<&'static str>,
    /// When a step is taken back if all stays as well as it is, in ms; absent while too little is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eases_in_ms: Option<u64>,
    /// The share of the capacity that is well, of what operators let take traffic; absent where that is nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub well_ratio: Option<f64>,
    /// The share that must be, lest others are readmitted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub needs_ratio: Option<f64>,
}

impl ReadmissionView {
    /// What is shown of a set: `step` is what decisions see, the rest what the control loop knows.
    pub fn new(now: Moment, step: Readmission, report: &SetReport) -> Self {
        let number = Readmission::ALL.iter().position(|other| *other == step);
        let lasts = report.since.is_some();
        Self {
            readmission: step.name(),
            step: u8::try_from(number.unwrap_or(0)).unwrap_or(0),
            since_ms: report.since.map(|since| now.since(since)),
            first_readmission: lasts.then(|| report.first.name()),
            eases_in_ms: report.eases_at.filter(|_| lasts).map(|at| at.since(now)),
            well_ratio: report.well.map(|well| well.is),
            needs_ratio: report.well.map(|well| well.needed),
        }
    }
}

/// This sidecar seems cut off.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct DoubtView {
    /// How long ago that began, in ms.
    pub since_ms: u64,
    /// In how long failures are believed again, in ms.
    pub believed_in_ms: u64,
}

impl DoubtView {
    /// What is shown of it.
    pub fn new(now: Moment, doubt: Doubt) -> Self {
        Self {
            since_ms: now.since(doubt.since),
            believed_in_ms: doubt.until.since(now),
        }
    }
}

/// A time in words, as precisely as people want it: `1.7 s`, `45 s`, `12 min`, `3.5 h`.
pub fn in_words(ms: u64) -> String {
    let seconds = from_u64(ms) / 1_000.0;
    if seconds < 10.0 {
        format!("{seconds:.1} s")
    } else if seconds < 120.0 {
        format!("{seconds:.0} s")
    } else if seconds < 7_200.0 {
        format!("{:.0} min", seconds / 60.0)
    } else {
        format!("{:.1} h", seconds / 3_600.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_put_into_words() {
        let words = [1_700, 45_400, 720_000, 12_600_000].map(in_words);
        assert_eq!(words, ["1.7 s", "45 s", "12 min", "3.5 h"]);
    }
}
