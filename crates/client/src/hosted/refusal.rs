//! Why a request goes to no node, and what its client is answered.

use super::super::ruling::Ruling;
use tradewind_engine::evaluate::Verdict;
use tradewind_wire::names::UNREADABLE;
use tradewind_wire::refusal_status;

/// Why no node is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status to answer with.
    pub status: u16,
    /// Why, in one word.
    pub reason: &'static str,
    /// In how many seconds the client should come back, if that may help.
    pub retry_after_s: Option<u8>,
}

impl Refusal {
    /// While there is nothing to decide from.
    pub const NO_COPY: Self = Self {
        status: 503,
        reason: "no_copy",
        retry_after_s: Some(1),
    };

    /// Of a request that its client wrote so that it cannot be read.
    pub const fn unreadable(status: u16) -> Self {
        Self {
            status,
            reason: UNREADABLE,
            retry_after_s: None,
        }
    }

    /// Of a decision that names no node; `None` of one that does.
    pub fn of(ruling: &Ruling<'_>) -> Option<Self> {
        let evaluation = ruling.decision.evaluation();
        let reason = evaluation.reason;
        (evaluation.verdict != Verdict::Route).then(|| Self {
            status: refusal_status(reason).as_u16(),
            reason: reason.name(),
            retry_after_s: evaluation.shed.map(|shed| shed.retry_after_s),
        })
    }
}
