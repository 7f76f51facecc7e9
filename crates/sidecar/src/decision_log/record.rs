//! The lines of the log: JSON objects with one field, whose name says what it is. Messages stand in them as protobuf in
//! base64, because only bytes come back as they were; what people look for stands beside them in words.

use prost::Message;
use serde::{Deserialize, Serialize};

use super::least::{Known, Least};
use crate::wire::{base64, place_message, proto, told_place};
use tradewind_engine::geo::place::Source;

/// What the first line of a log begins with.
pub const FIRST_BYTES: &str = "{\"begin\":{\"format\":\"tradewind-decisions\"";

/// The format's name in that line.
pub(super) const FORMAT: &str = "tradewind-decisions";

/// The version of the format that is written here.
pub const VERSION: u32 = 1;

/// A line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Record {
    /// A file begins, or a process goes on with one: what comes needs nothing from before.
    Begin(Begin),
    /// A text that states refer to.
    Text(Text),
    /// What was known of the fleet, for the decisions that follow.
    State(State),
    /// A decision.
    Decision(Box<Decided>),
    /// Decisions that would stand here.
    Lost(Lost),
}

/// The beginning of a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begin {
    /// What it is a log of.
    pub format: String,
    /// The version of the format.
    pub version: u32,
    /// When, ms since 1970.
    pub unix_ms: u64,
}

/// A policy or a topology.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Text {
    /// `policy` or `topology`.
    pub kind: String,
    /// Its SHA-256.
    pub digest: String,
    /// The text.
    pub document: String,
}

/// What was known of the fleet and of how one lane routes, as a `FollowedState`: whole, or by what is another byte than in
/// an earlier state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Counts states of the process; decisions name it.
    pub number: u64,
    /// The lane that it is of: 0 for the policy in force, 1 for one that is tried beside it.
    #[serde(default, skip_serializing_if = "is_first")]
    pub lane: u8,
    /// The state of this lane that a patch is of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<u64>,
    /// All of it, in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub full: Option<String>,
    /// Bytes in base64 and where they begin.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub patch: Vec<(usize, String)>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde asks")]
fn is_first(lane: &u8) -> bool {
    *lane == 0
}

/// Decisions that are not there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lost {
    /// How many.
    pub count: u64,
    /// Why: `queue_full` or `write_failed`.
    pub because: String,
}

/// A decision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Decided {
    /// Names it, as in the answer.
    pub id: String,
    /// When it was written, ms since 1970.
    pub unix_ms: u64,
    /// The state that it was made on.
    pub state: u64,
    /// The rule that matched; empty for none.
    pub rule: String,
    /// What was asked for, without what could open a door.
    pub host: String,
    /// The same.
    pub path: String,
    /// `route` or `refuse`.
    pub verdict: String,
    /// Why.
    pub reason: String,
    /// Whose answer an undisturbed fleet would give.
    pub purity: String,
    /// The nodes, in order.
    pub nodes: Vec<String>,
    /// What it is made again from; absent where that would name the client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<Asked>,
    /// The `DecideResponse`, in base64.
    pub answer: String,
}

/// What a decision is made again from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// How much of the client is left: a name of [`Left`](super::least::Left).
    pub client: String,
    /// The `DecideRequest`, in base64.
    pub request: String,
    /// Where the client was taken to be, as a `ClientPlace` in base64: by the geo files, or by `source`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// Who said so, where the place is the one that counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

impl Asked {
    /// What is left of a request.
    pub(super) fn of(least: &Least) -> Self {
        let (place, source) = match least.known {
            Known::Told(place) => (place, None),
            Known::Located(place) => (Some(place), Some(place.source.name().to_owned())),
        };
        let place = place.map(|place| encoded(&place_message(&place)));
        Self {
            client: least.left.name().to_owned(),
            request: encoded(&least.request),
            place,
            source,
        }
    }

    /// The request, and what was known of its client; `None` where it is not as it was written.
    pub fn read(&self) -> Option<(proto::DecideRequest, Known)> {
        let place = match &self.place {
            Some(place) => Some(told_place(&decoded(place)?)),
            None => None,
        };
        let known = match &self.source {
            None => Known::Told(place),
            Some(name) => {
                let mut all = Source::ALL.iter();
                let source = all.find(|source| source.name() == name)?;
                let mut place = place?;
                place.source = *source;
                Known::Located(place)
            }
        };
        Some((decoded(&self.request)?, known))
    }
}

/// A message in base64.
pub(super) fn encoded(message: &impl Message) -> String {
    base64::encode(&message.encode_to_vec())
}

/// A message in base64, read.
pub fn decoded<M: Message + Default>(text: &str) -> Option<M> {
    M::decode(&*base64::decode(text)?).ok()
}
