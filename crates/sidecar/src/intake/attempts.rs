//! How attempts of kept decisions went, as proxies tell it: what they say on its way to the decision.

use serde::Serialize;

use crate::clock;
use crate::state::Published;
use crate::wire::proto;
use tradewind_engine::number::from_u64;
use tradewind_engine::signal::observation::{DecisionNumber, Outcome};

/// Most attempts that are kept of one decision: a list has no more nodes, and an answer that is used again is told of once
/// for each use.
pub const MAX_ATTEMPTS: usize = 8;

/// How one attempt went.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Attempt {
    /// The node.
    pub node: String,
    /// Which attempt of its request it was, from 1; 0 where that is not told.
    pub attempt: u8,
    /// `ok`, `error`, `timeout`, `reset` or `shed`.
    pub result: &'static str,
    /// The HTTP status; absent where there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Time to the first byte; absent where that is not told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_byte_ms: Option<f64>,
    /// Time to the last byte; absent where that is not told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_ms: Option<f64>,
    /// Whether it came from a cache; absent where the cache had no say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hit: Option<bool>,
    /// When it was told, ms since 1970.
    pub told_unix_ms: u64,
}

/// What is told of a decision that may be kept.
#[derive(Debug)]
pub struct Told {
    /// The decision.
    pub number: DecisionNumber,
    /// What is told.
    pub attempt: Attempt,
}

impl Told {
    /// An outcome that was read, with what of its message is no signal.
    pub fn of(
        number: DecisionNumber,
        published: &Published,
        (outcome, message): (&Outcome, &proto::Outcome),
    ) -> Self {
        let node = published.snapshot.topology().node(outcome.node);
        let us = |us: u32| (us > 0).then(|| f64::from(us) / 1_000.0);
        Self {
            number,
            attempt: Attempt {
                node: node.id.to_string(),
                attempt: outcome.attempt,
                result: outcome.result.name(),
                status: (outcome.status > 0).then_some(outcome.status),
                first_byte_ms: us(outcome.first_byte_us),
                total_ms: message.total.as_ref().and_then(ms),
                hit: outcome.cache.is_hit(),
                told_unix_ms: clock::unix_ms(),
            },
        }
    }
}

/// A duration that was checked, in ms; `None` for none.
fn ms(duration: &prost_types::Duration) -> Option<f64> {
    let seconds = u64::try_from(duration.seconds).ok()?;
    let nanos = u32::try_from(duration.nanos).ok()?;
    let ms = from_u64(seconds) * 1_000.0 + f64::from(nanos) / 1e6;
    (ms > 0.0).then_some(ms)
}
