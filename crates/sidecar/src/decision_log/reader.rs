//! Reads a log back: the texts, the state and the decision of each line, put together.

use std::collections::BTreeMap;
use std::sync::Arc;

use prost::Message;

use super::patch;
use super::record::{Begin, Decided, Lost, Record, State, VERSION};
use crate::wire::{base64, proto};

/// Most texts that are kept at once: a policy and a topology are in use, older ones may come again.
const MAX_TEXTS: usize = 64;

/// Lanes that a snapshot may have.
const MAX_LANES: u8 = 2;

/// What stands in the log.
#[derive(Debug, Default)]
pub struct Reader {
    texts: BTreeMap<String, Arc<str>>,
    /// By lane.
    states: BTreeMap<u8, Kept>,
}

/// The last state of a lane.
#[derive(Debug)]
struct Kept {
    number: u64,
    bytes: Vec<u8>,
    message: Arc<proto::FollowedState>,
}

/// What a line comes to.
#[derive(Debug)]
pub enum Read {
    /// A decision, and the state that it was made on.
    Decision(Box<Decided>, Arc<proto::FollowedState>),
    /// Decisions that are not there.
    Lost(Lost),
    /// Something that decisions are made from.
    Ground,
}

/// Why a line says nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadFault {
    /// It is no line of such a log.
    #[error("is no line of a decision log")]
    NoRecord,
    /// It was written by another version.
    #[error("is of version {0} of the format, this program reads version {VERSION}")]
    Version(u32),
    /// What it builds upon is not there, as where the beginning of a file was cut off.
    #[error("builds upon a state that is not there")]
    NoState,
}

impl Reader {
    /// Takes in a line, given without its end.
    pub fn take(&mut self, line: &[u8]) -> Result<Read, ReadFault> {
        let record = serde_json::from_slice(line).map_err(|_| ReadFault::NoRecord)?;
        match record {
            Record::Begin(Begin { version, .. }) => {
                *self = Self::default();
                if version != VERSION {
                    return Err(ReadFault::Version(version));
                }
            }
            Record::Text(text) => {
                if self.texts.len() >= MAX_TEXTS {
                    self.texts.pop_first();
                }
                self.texts.insert(text.digest, text.document.into());
            }
            Record::State(state) => {
                let (number, of_lane) = (state.number, state.lane);
                let before = self.states.remove(&of_lane);
                let bytes = bytes_of(state, before).ok_or(ReadFault::NoState)?;
                let message = proto::FollowedState::decode(&*bytes);
                let message = Arc::new(message.map_err(|_| ReadFault::NoRecord)?);
                let kept = Kept {
                    number,
                    bytes,
                    message,
                };
                if of_lane < MAX_LANES {
                    self.states.insert(of_lane, kept);
                }
            }
            Record::Decision(decided) => {
                let mut states = self.states.values();
                let state = states.find(|kept| kept.number == decided.state);
                let message = state.map(|kept| Arc::clone(&kept.message));
                return Ok(Read::Decision(decided, message.ok_or(ReadFault::NoState)?));
            }
            Record::Lost(lost) => return Ok(Read::Lost(lost)),
        }
        Ok(Read::Ground)
    }

    /// The text of a digest.
    pub fn text(&self, digest: &str) -> Option<&Arc<str>> {
        self.texts.get(digest)
    }
}

fn bytes_of(state: State, before: Option<Kept>) -> Option<Vec<u8>> {
    if let Some(full) = state.full {
        return base64::decode(&full);
    }
    let before = before.filter(|before| state.base == Some(before.number))?;
    let mut bytes = before.bytes;
    for (from, text) in state.patch {
        patch::apply(&mut bytes, from, &base64::decode(&text)?)?;
    }
    Some(bytes)
}
