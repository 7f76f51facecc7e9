//! One request: its answer, and how far down the list it has come.

use std::time::{Duration, Instant};

use tradewind_client::answer::{Answer, Candidate};
use tradewind_client::{AttemptResult, Client, Outcome};

/// A request on its way.
#[derive(Debug, Default)]
pub(crate) struct Visit {
    pub(crate) answer: Option<Answer>,
    /// Attempts begun.
    attempts: usize,
    /// When the present attempt began, until it was told how it went.
    began: Option<Instant>,
    first_byte: Option<Duration>,
    /// Bytes of the answer's body.
    pub(crate) bytes: u64,
}

impl Visit {
    /// Begins the next attempt.
    pub(crate) fn next(&mut self) -> Option<Candidate> {
        let candidate = self.answer.as_ref()?.candidates.get(self.attempts)?.clone();
        self.attempts += 1;
        self.began = Some(now());
        self.first_byte = None;
        Some(candidate)
    }

    /// Whether another node may be tried.
    pub(crate) fn has_next(&self) -> bool {
        let most = self.answer.as_ref().map_or(0, |answer| answer.max_attempts);
        self.attempts < most
    }

    /// The answer's head is here.
    pub(crate) fn first_byte(&mut self) {
        self.first_byte = self.began.map(|began| began.elapsed());
    }

    /// Tells how the present attempt went; once.
    pub(crate) fn tell(&mut self, client: &Client, result: AttemptResult, status: u16) {
        let Some(began) = self.began.take() else {
            return;
        };
        let Some(answer) = &self.answer else { return };
        let Some(candidate) = answer.candidates.get(self.attempts.saturating_sub(1)) else {
            return;
        };
        let attempt = u32::try_from(self.attempts).unwrap_or(u32::MAX);
        client.told(Outcome {
            status: status.into(),
            time_to_first_byte: self.first_byte.and_then(|t| t.try_into().ok()),
            total: began.elapsed().try_into().ok(),
            bytes: self.bytes,
            ..answer.outcome(candidate, attempt, result)
        });
    }
}

#[expect(clippy::disallowed_methods, reason = "a proxy has a clock of its own")]
fn now() -> Instant {
    Instant::now()
}
