//! A node's bad time, from its first sign to its end, however often what speaks against it changes meanwhile.
//!
//! A breaker that is tried and opens again has a new state each time, and a node may fail its probes before its breaker
//! opens. Who looks at night asks since when the node is out and what came first; so that is kept beside what holds now.

use super::judgement::{Judgement, Source};
use crate::health::breaker::{Breaker, Cause, State};
use crate::signal::Admission;
use crate::time::Moment;

/// A node's bad time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spell {
    /// When it began.
    pub since: Moment,
    /// When it ended; `None` while it lasts.
    pub ended: Option<Moment>,
    /// What the node might be named for at first.
    pub first_admission: Admission,
    /// What said so.
    pub first_source: Source,
    /// Why its breaker opened at first; none if it did not.
    pub first_cause: Cause,
    /// How often the breaker opened again.
    pub reopenings: u32,
    /// When the breaker first opened, if it did.
    pub first_opened: Option<Moment>,
    /// When the breaker last opened.
    opened: Option<Moment>,
}

impl Spell {
    /// One that begins with this judgement.
    pub(super) fn begin(judgement: &Judgement, breaker: &Breaker) -> Self {
        let mut spell = Self {
            since: judgement.since,
            ended: None,
            first_admission: judgement.admission,
            first_source: judgement.source,
            first_cause: Cause::None,
            reopenings: 0,
            first_opened: None,
            opened: None,
        };
        spell.go_on(breaker);
        spell
    }

    /// The node is still not well.
    pub(super) fn go_on(&mut self, breaker: &Breaker) {
        let State::Open { .. } = breaker.state() else {
            return;
        };
        let is_new = self.opened != Some(breaker.since());
        if is_new && self.opened.is_some() {
            self.reopenings = self.reopenings.saturating_add(1);
        } else if is_new {
            self.first_cause = breaker.cause();
            self.first_opened = Some(breaker.since());
        }
        self.opened = Some(breaker.since());
    }

    /// Whether it lasts still.
    pub fn lasts(&self) -> bool {
        self.ended.is_none()
    }

    /// How long it has lasted, or did, in ms.
    pub fn lasted_ms(&self, now: Moment) -> u64 {
        self.ended.unwrap_or(now).since(self.since)
    }
}
