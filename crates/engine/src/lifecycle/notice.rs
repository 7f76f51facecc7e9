//! What the steward has to say, as values: the host makes log lines and counters of them, later an audit trail too.

use std::sync::Arc;

use super::overlay::{Entry, StateChange, Target};
use super::settle::Outcome;
use crate::edition::Which;
use crate::model::Digest;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// A source was read, and there is something new to say of it.
    Source(SourceNotice),
    /// A text was given by a call.
    Given(GivenNotice),
    /// Something became of a candidate.
    Rollout(RolloutNotice),
    /// An operator set a state, or took it away.
    StateSet(StateChange),
    /// A state that an operator set has come to its end.
    StateEnded {
        /// What it was set for.
        target: Target,
        /// What it was.
        entry: Entry,
        /// How long it held, in ms.
        lasted_ms: u64,
    },
}

/// What became of the text of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceNotice {
    /// Whose it is.
    pub which: Which,
    /// The name of the source.
    pub source: Arc<str>,
    /// What became of it.
    pub outcome: Outcome,
    /// The digest of what is served now, shortened; empty while nothing is.
    pub serving_digest: String,
    /// Counts what took effect.
    pub revision: u64,
    /// Whether what took effect is what the process before this one had in force: then nothing has changed.
    pub is_resumed: bool,
    /// How long the source was refused before, in ms; `None` if it was not.
    pub refused_for_ms: Option<u64>,
    /// What it was refused for at first.
    pub first_fault: Option<String>,
}

/// What became of a text that was given by a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenNotice {
    /// Which document it is.
    pub which: Which,
    /// The digest of the text.
    pub digest: Digest,
    /// What became of it.
    pub fate: GivenFate,
    /// Who gave it; empty where nobody said so.
    pub who: String,
    /// Why.
    pub why: String,
}

/// What became of a text that was given by a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GivenFate {
    /// It took effect.
    Applied {
        /// As this revision.
        revision: u64,
    },
    /// It waits to be confirmed.
    Held {
        /// Why.
        because: String,
    },
    /// It is refused.
    Refused {
        /// Errors that were found.
        faults: usize,
    },
}

/// What became of a candidate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RolloutNotice {
    /// The candidate's digest.
    pub digest: Digest,
    /// What became of it.
    pub fate: RolloutFate,
    /// The same in words, with its numbers.
    pub what: String,
    /// Who wanted it; empty where it came about by itself.
    pub who: String,
    /// Why.
    pub why: String,
}

/// What became of a candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RolloutFate {
    /// It is tried or looked at from now on.
    Started,
    /// It decides another share, pauses or goes on.
    Changed,
    /// It is the policy in force.
    Completed,
    /// A guard took it back.
    RolledBack,
    /// An operator took it back.
    Aborted,
    /// What it stood on is not in force any more.
    Ended,
}

impl RolloutFate {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Started,
        Self::Changed,
        Self::Completed,
        Self::RolledBack,
        Self::Aborted,
        Self::Ended,
    ];

    /// The word for it in logs and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Changed => "changed",
            Self::Completed => "completed",
            Self::RolledBack => "rolled_back",
            Self::Aborted => "aborted",
            Self::Ended => "ended",
        }
    }
}
