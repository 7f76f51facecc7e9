//! What happened, in words and with its time: what a page, a terminal or a stream shows of the past of this process.
//!
//! What the control loop does comes by the minute, what operators do by the day. Each has room of its own, so that a bad
//! hour does not wash away the policy change that began it.

mod control;
mod lifecycle;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use tokio::sync::watch;

pub use control::{blame_words, cause_words, of_event, rung_words};
pub use lifecycle::{of_notice, state_words};

/// Most entries of the control loop that are kept; an entry takes some 400 bytes.
pub const MAX_SIGNALS: usize = 1_024;

/// Most entries about files, policies and operators that are kept.
pub const MAX_CHANGES: usize = 256;

/// How something is, as it is marked for people: each has a shape, a colour and words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    /// Nothing is known.
    Unknown,
    /// Well.
    #[default]
    Well,
    /// A change that somebody made.
    Flag,
    /// Operators let it take nothing.
    Drained,
    /// It is tried with a slice of its keys.
    Tried,
    /// Not well.
    Warn,
    /// Out, or failing.
    Bad,
}

/// What an entry is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A policy or fleet took effect.
    Revision,
    /// A text is refused, or is not any more.
    Refused,
    /// A fleet took effect, or waits to be confirmed.
    Topology,
    /// Geo files took effect or are refused.
    Geo,
    /// An operator set a state, or it ended.
    Override,
    /// Something became of a candidate.
    Rollout,
    /// A breaker changed.
    Breaker,
    /// A failing node stays in use.
    Denied,
    /// Probes came to another verdict.
    Probe,
    /// A node's load is too high, or is not any more.
    Overload,
    /// A node sheds requests, or none any more.
    Shedding,
    /// A node's weight changed.
    Condition,
    /// Nodes of a pool are readmitted, or not any more.
    Readmission,
    /// A site was left and is tried, or is not any more.
    SiteTrial,
    /// A publication gave keys to other nodes.
    Moved,
    /// This sidecar seems cut off, or not any more.
    Isolated,
    /// An object fails wherever it is asked for, or does not any more.
    Object,
    /// A reporter says otherwise than the others, or does not any more.
    Disagreement,
}

impl Kind {
    /// Whether it is an operator's doing rather than the loop's.
    const fn is_change(self) -> bool {
        matches!(
            self,
            Self::Revision
                | Self::Refused
                | Self::Topology
                | Self::Geo
                | Self::Override
                | Self::Rollout
        )
    }
}

/// Something that happened.
#[derive(Debug, Clone, Serialize)]
pub struct Entry {
    /// Counts the entries of this process from 1: where one is missing, it has been forgotten.
    pub number: u64,
    /// When, in ms since 1970.
    pub at_unix_ms: u64,
    /// What it is about.
    pub kind: Kind,
    /// How that is now.
    pub mark: Mark,
    /// In two or three words, for a flag on a time axis.
    pub title: String,
    /// In a sentence.
    pub words: String,
    /// What else is known of it.
    #[serde(flatten)]
    pub about: About,
}

/// What an entry names; absent where it does not apply.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct About {
    /// The node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<Box<str>>,
    /// The site, also of the node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub site: Option<Box<str>>,
    /// The pool.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pool: Option<Box<str>>,
    /// The rule that may use a part of the pool only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<Box<str>>,
    /// What it is now, in the word of metrics and logs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<&'static str>,
    /// Why, in the word of metrics and logs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<&'static str>,
    /// The share of keys that got another node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub moved_ratio: Option<f64>,
    /// The part of it that nothing made necessary.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub needless_ratio: Option<f64>,
    /// The revision that took effect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// Who wanted it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub who: Option<String>,
    /// Why they did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// Something to be entered.
#[derive(Debug, Clone, PartialEq)]
pub struct Note {
    /// See [`Entry::kind`].
    pub kind: Kind,
    /// See [`Entry::mark`].
    pub mark: Mark,
    /// See [`Entry::title`].
    pub title: String,
    /// See [`Entry::words`].
    pub words: String,
    /// See [`Entry::about`].
    pub about: About,
}

/// The last entries.
#[derive(Debug, Default)]
pub struct Journal {
    rings: Mutex<Rings>,
    newest: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Rings {
    signals: VecDeque<Arc<Entry>>,
    changes: VecDeque<Arc<Entry>>,
    counted: u64,
}

impl Journal {
    /// Enters a note, and forgets the oldest of its kind where there is no room.
    pub fn enter(&self, at_unix_ms: u64, note: Note) {
        let mut rings = self.rings.lock().unwrap_or_else(PoisonError::into_inner);
        rings.counted += 1;
        let number = rings.counted;
        let entry = Arc::new(Entry {
            number,
            at_unix_ms,
            kind: note.kind,
            mark: note.mark,
            title: note.title,
            words: note.words,
            about: note.about,
        });
        let (ring, most) = if note.kind.is_change() {
            (&mut rings.changes, MAX_CHANGES)
        } else {
            (&mut rings.signals, MAX_SIGNALS)
        };
        if ring.len() >= most {
            ring.pop_front();
        }
        ring.push_back(entry);
        drop(rings);
        self.newest.send_replace(number);
    }

    /// Those after the one of this number, the oldest first; from 0 on all that are kept.
    pub fn since(&self, number: u64) -> Vec<Arc<Entry>> {
        let rings = self.rings.lock().unwrap_or_else(PoisonError::into_inner);
        let both = rings.signals.iter().chain(&rings.changes);
        let mut newer: Vec<_> = both
            .filter(|entry| entry.number > number)
            .cloned()
            .collect();
        newer.sort_unstable_by_key(|entry| entry.number);
        newer
    }

    /// How many there have been.
    pub fn counted(&self) -> u64 {
        *self.newest.borrow()
    }

    /// The newest number, for those who wait for a change.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(kind: Kind) -> Note {
        Note {
            kind,
            mark: Mark::Warn,
            title: "title".to_owned(),
            words: "Words.".to_owned(),
            about: About::default(),
        }
    }

    #[test]
    fn a_bad_hour_does_not_wash_away_the_change_that_began_it() {
        let journal = Journal::default();
        journal.enter(1, note(Kind::Revision));
        for at in 0..5_000 {
            journal.enter(2 + at, note(Kind::Breaker));
        }
        let kept = journal.since(0);
        assert_eq!(kept.len(), MAX_SIGNALS + 1);
        assert_eq!(
            kept.first().map(|entry| (entry.number, entry.kind)),
            Some((1, Kind::Revision))
        );
        assert!(kept.windows(2).all(|pair| pair[0].number < pair[1].number));
        assert_eq!(journal.counted(), 5_001);
        assert_eq!(journal.since(5_000).len(), 1);
    }

    #[test]
    fn what_does_not_apply_is_absent() {
        let journal = Journal::default();
        journal.enter(7, note(Kind::Isolated));
        let shown = serde_json::to_value(&*journal.since(0)[0]).unwrap();
        let expected = serde_json::json!({
            "number": 1, "at_unix_ms": 7, "kind": "isolated", "mark": "warn", "title": "title", "words": "Words.",
        });
        assert_eq!(shown, expected);
    }
}
