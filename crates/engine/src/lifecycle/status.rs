//! How the source of a document fares, for people: whether what is served is what it says, since when not, and why.

use serde::Serialize;

use super::revisions::Revision;
use super::settle::{Fate, Outcome};
use crate::model::Digest;

/// How a document fares; the debug door shows it as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct DocumentStatus {
    /// Where it is read from: a path, or `embedded example`.
    pub source: String,
    /// Whether what is served is what the source says.
    pub state: DocumentState,
    /// The digest of the text that is served, shortened; empty while nothing is.
    pub serving_digest: String,
    /// When that took effect, ms since 1970; 0 while nothing did.
    pub serving_since_unix_ms: u64,
    /// Why the source's present text is refused; one line a fault.
    pub faults: Vec<String>,
    /// What an operator should look at; does not stop the text from being served.
    pub warnings: Vec<String>,
    /// Since when the source is refused, unreadable or held, and why at first; absent while it is served.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub degraded: Option<Degraded>,
    /// The call that gave the text that is served, while that holds in the place of what the source says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub given: Option<Given>,
    /// Why a good text waits to be confirmed, with its digest; topologies only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held: Option<String>,
}

/// A call that gave a text, which holds until the source of the document changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Given {
    /// The revision that it became.
    pub revision: u64,
    /// Who called; empty where nobody said so.
    pub who: String,
    /// Why.
    pub why: String,
    /// When, ms since 1970.
    pub at_unix_ms: u64,
}

impl Given {
    /// The call that made this revision.
    pub(super) fn of(revision: &Revision) -> Self {
        Self {
            revision: revision.number,
            who: revision.who.clone(),
            why: revision.why.clone(),
            at_unix_ms: revision.at_unix_ms,
        }
    }
}

/// Whether what is served is what the source says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DocumentState {
    /// Nothing is served, because the source is refused, unreadable or not read yet.
    #[default]
    Missing,
    /// The source is good, and nothing is served because the other document is not.
    Waiting,
    /// It is.
    Serving,
    /// The source is refused, unreadable or held; the last good text is served.
    LastGood,
}

impl DocumentState {
    /// The word for it on the wire, as on the debug door.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Waiting => "waiting",
            Self::Serving => "serving",
            Self::LastGood => "last_good",
        }
    }

    /// Whether there is something wrong with the source, or doubtful.
    pub fn is_degraded(self) -> bool {
        match self {
            Self::Missing | Self::LastGood => true,
            Self::Waiting | Self::Serving => false,
        }
    }
}

/// A source that is not what is served, from the first refusal on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Degraded {
    /// Since when, ms since 1970.
    pub since_unix_ms: u64,
    /// What was wrong at first.
    pub first_fault: String,
    /// How many states of the source were refused since.
    pub refusals: u32,
}

impl Degraded {
    /// The source is refused, for the first time or once more.
    pub fn note(degraded: &mut Option<Self>, now_unix_ms: u64, fault: impl FnOnce() -> String) {
        let known = degraded.get_or_insert_with(|| Self {
            since_unix_ms: now_unix_ms,
            first_fault: fault(),
            refusals: 0,
        });
        known.refusals = known.refusals.saturating_add(1);
    }

    /// How long it has lasted, in ms.
    pub fn lasted_ms(&self, now_unix_ms: u64) -> u64 {
        now_unix_ms.saturating_sub(self.since_unix_ms)
    }
}

impl DocumentStatus {
    /// Of a source that was not read yet.
    pub(super) fn unread(source: &str) -> Self {
        Self {
            source: source.to_owned(),
            ..Self::default()
        }
    }

    /// The text of this digest is served, from now on if it is another one than before.
    pub(super) fn serve(&mut self, now_unix_ms: u64, digest: Digest) {
        let digest = digest.short();
        if self.serving_digest != digest {
            self.serving_digest = digest;
            self.serving_since_unix_ms = now_unix_ms;
        }
    }

    /// Notes what became of the source.
    pub(super) fn note(&mut self, now_unix_ms: u64, outcome: &Outcome) {
        self.faults = outcome.faults.to_lines();
        self.state = match outcome.fate {
            Fate::Unchanged | Fate::Applied => DocumentState::Serving,
            Fate::LastGood | Fate::Held => DocumentState::LastGood,
            Fate::Missing => DocumentState::Missing,
            Fate::Waiting => DocumentState::Waiting,
        };
        if outcome.fate.is_refusal() {
            let held = outcome.held.as_ref().map(ToString::to_string);
            let first = self.faults.first().cloned().or(held);
            debug_assert!(first.is_some(), "what is refused is refused for a reason");
            Degraded::note(&mut self.degraded, now_unix_ms, || {
                first.unwrap_or_default()
            });
        } else {
            self.warnings = outcome.warnings.to_lines();
            self.degraded = None;
        }
    }

    /// A text that was given by a call is served, whatever the source says; what that is refused for stays to be seen.
    pub(super) fn given(&mut self, now_unix_ms: u64, digest: Digest, warnings: Vec<String>) {
        self.serve(now_unix_ms, digest);
        self.warnings = warnings;
        if self.held.is_some() && self.faults.is_empty() {
            self.state = DocumentState::Serving;
            self.degraded = None;
        }
    }
}
