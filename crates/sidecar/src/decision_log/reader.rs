//! Reads a log back: the texts, the state and the decision of each line, put together.

use std::collections::BTreeMap;
use std::sync::Arc;

use prost::Message;

use super::patch;
use super::record::{Begin, Decided, Lost, Record, State, VERSION};
use crate::wire::{base64, proto};

/// Most texts that are kept at once: a policy and a topology are in use, older ones may come again.
const MAX_TEXTS: usize = 64;

/// What stands in the log.
#[derive(Debug, Default)]
pub struct Reader {
    texts: BTreeMap<String, Arc<str>>,
    state: Option<(u64, Vec<u8>)>,
    message: Option<Arc<proto::FollowedState>>,
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
                let number = state.number;
                self.message = None;
                let bytes = self.bytes_of(state);
                self.state = None;
                let bytes = bytes.ok_or(ReadFault::NoState)?;
                let message = proto::FollowedState::decode(&*bytes);
                let message = message.map_err(|_| ReadFault::NoRecord)?;
                self.message = Some(Arc::new(message));
                self.state = Some((number, bytes));
            }
            Record::Decision(decided) => {
                let state = self.state.as_ref();
                let is_known = state.is_some_and(|(number, _)| *number == decided.state);
                let message = self.message.clone().filter(|_| is_known);
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

    fn bytes_of(&self, state: State) -> Option<Vec<u8>> {
        if let Some(full) = state.full {
            return base64::decode(&full);
        }
        let (number, before) = self.state.as_ref()?;
        if number + 1 != state.number {
            return None;
        }
        let mut bytes = before.clone();
        for (from, text) in state.patch {
            patch::apply(&mut bytes, from, &base64::decode(&text)?)?;
        }
        Some(bytes)
    }
}
