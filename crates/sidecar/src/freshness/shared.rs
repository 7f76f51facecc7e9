//! What the keeper and the bus of a fleet tell each other of the log of purges that all share.

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use tradewind_engine::fleet::purges::{Begin, Found, Place};

/// What the keeper asks of the bus.
#[derive(Debug)]
pub enum Ask {
    /// Append these, the first directly behind this place and each behind the one before; nothing where something else is there
    /// already. Answered by [`News::Appended`].
    Append {
        /// Counts what is asked, so that the answer is not taken for another's.
        batch: u64,
        /// The place.
        behind: u64,
        /// The messages.
        purges: Vec<Bytes>,
    },
}

/// What the bus tells the keeper.
#[derive(Debug)]
pub enum News {
    /// The bus is reached: where the keeper is.
    Reached(oneshot::Sender<Place>),
    /// What the log is like; where the keeper wants to hear from.
    Found {
        /// The log.
        found: Found,
        /// How old the first purge is that it still has, in ms; `None` where it has none.
        first_age_ms: Option<u64>,
        /// Takes the answer.
        reply: oneshot::Sender<Begin>,
    },
    /// A purge.
    Heard {
        /// Where it is.
        place: Place,
        /// Its message.
        purge: Bytes,
        /// How long ago it was appended, in ms, by the bus's clock; 0 of what comes as it is.
        age_ms: u64,
    },
    /// What became of what was to be appended: how many of it are in the log, as far as that is known, and the log's last place.
    Appended {
        /// What was asked.
        batch: u64,
        /// How many were taken.
        stored: usize,
        /// The last place; 0 where that is not known.
        last: u64,
        /// Whether the rest was refused, or it is not known what became of it; otherwise others came before.
        is_refused: bool,
    },
    /// The bus is not reached any more.
    Left,
}

/// The keeper's end of the way to the bus.
#[derive(Debug)]
pub struct Shared {
    /// What this sidecar is called.
    pub member: String,
    /// What its fleet is called.
    pub fleet: String,
    /// Takes what is asked of the bus.
    pub bus: mpsc::UnboundedSender<Ask>,
}
