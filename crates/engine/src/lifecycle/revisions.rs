//! Revisions: what took effect, one after the other, how it came about, who wanted it and why.
//!
//! A number is never given twice: a restart goes on counting where the one before left off, and going back to an earlier
//! revision makes a newer one. So of two revisions the one with the larger number is the newer, whoever asks.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use crate::edition::{Texts, Which};
use crate::model::Digest;

/// Most revisions that are remembered. The newest is the one in force; older ones are forgotten first.
pub const MAX_REVISIONS: usize = 50;

/// Most bytes of texts that are remembered, those of the newest revision not counted: 50 fleets of a thousand nodes.
pub(super) const MAX_REVISION_BYTES: usize = 64 << 20;

/// Something that took effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision {
    /// Counts what took effect, from 1.
    pub number: u64,
    /// What was in force before; `None` of the first.
    pub parent: Option<u64>,
    /// The policy and the topology.
    pub texts: Texts,
    /// How it came about.
    pub origin: Origin,
    /// Who wanted it, as they said; empty where nobody said so.
    pub who: String,
    /// Why, as they said; empty where nobody said so.
    pub why: String,
    /// When it took effect, ms since 1970.
    pub at_unix_ms: u64,
    /// Which of the texts took the place of what their sources say.
    pub over: Over,
}

/// No such revision is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there is no revision {number}; remembered are {oldest} to {newest}")]
pub struct NoRevision {
    /// What was asked for.
    pub number: u64,
    /// The number of the oldest one remembered.
    pub oldest: u64,
    /// The number of the newest one.
    pub newest: u64,
}

/// How a revision came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Origin {
    /// The sources said so.
    Sources,
    /// A policy was given by a call.
    Policy,
    /// A topology was given by a call.
    Topology,
    /// A policy has passed the last stage of its rollout.
    Rollout,
    /// The policy of this earlier revision was put in force again.
    Rollback(u64),
}

/// What the sources said when a text that was given took its place. A given text holds until its source says something
/// else, over restarts too.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Over {
    /// The digest of the policy's source, while a given policy is in force.
    pub policy: Option<Digest>,
    /// The same of the topology.
    pub topology: Option<Digest>,
}

impl Origin {
    /// The word for it in logs, answers and files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sources => "file",
            Self::Policy => "policy_apply",
            Self::Topology => "topology_apply",
            Self::Rollout => "rollout",
            Self::Rollback(_) => "rollback",
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rollback(to) => write!(f, "rollback to {to}"),
            _ => f.write_str(self.name()),
        }
    }
}

/// The revisions that are remembered, and which of them are on disk.
#[derive(Debug, Clone, Default)]
pub struct Revisions {
    /// The newest last.
    known: VecDeque<Arc<Revision>>,
    /// Numbers of those that are not known to be on disk, in their order.
    unkept: VecDeque<u64>,
}

impl Revisions {
    /// Those that an earlier run kept, in any order. Of two with one number the first is taken.
    pub fn kept(revisions: Vec<Revision>) -> Self {
        let mut kept = Self::default();
        let mut sorted = revisions;
        sorted.sort_by_key(|it| it.number);
        sorted.dedup_by_key(|it| it.number);
        for revision in sorted {
            kept.add(revision);
        }
        kept.unkept.clear();
        kept
    }

    /// The newest: what is in force, or was when an earlier run ended.
    pub fn newest(&self) -> Option<&Arc<Revision>> {
        self.known.back()
    }

    /// All that are remembered, the newest first.
    pub fn newest_first(&self) -> impl DoubleEndedIterator<Item = &Arc<Revision>> {
        self.known.iter().rev()
    }

    /// The one with a number, if it is remembered.
    pub fn find(&self, number: u64) -> Option<&Arc<Revision>> {
        let at = self.known.binary_search_by_key(&number, |it| it.number);
        self.known.get(at.ok()?)
    }

    /// The one with a number.
    ///
    /// # Errors
    ///
    /// What is remembered, where that one is not.
    pub fn get(&self, number: u64) -> Result<&Arc<Revision>, NoRevision> {
        self.find(number).ok_or_else(|| {
            let end = |it: Option<&Arc<Revision>>| it.map_or(0, |it| it.number);
            NoRevision {
                number,
                oldest: end(self.known.front()),
                newest: end(self.known.back()),
            }
        })
    }

    /// The newest whose policy is not that of the newest: what going back goes back to.
    pub fn before_this_policy(&self) -> Option<&Arc<Revision>> {
        let newest = self.newest()?;
        self.newest_first()
            .find(|it| it.texts.policy != newest.texts.policy)
    }

    /// The revision that brought the text that is in force of a document, as far back as is remembered.
    pub(super) fn first_with(&self, which: Which) -> Option<&Arc<Revision>> {
        let text = |it: &Arc<Revision>| match which {
            Which::Policy => Arc::clone(&it.texts.policy),
            Which::Topology => Arc::clone(&it.texts.topology),
        };
        let newest = text(self.newest()?);
        let same = self.newest_first().take_while(|it| text(it) == newest);
        same.last()
    }

    /// Adds what takes effect now; forgets the oldest of too many. Texts equal to those before are shared with them.
    pub(super) fn add(&mut self, mut revision: Revision) {
        if let Some(newest) = self.newest() {
            share(&mut revision.texts.policy, &newest.texts.policy);
            share(&mut revision.texts.topology, &newest.texts.topology);
        }
        self.unkept.push_back(revision.number);
        self.known.push_back(Arc::new(revision));
        while self.known.len() > MAX_REVISIONS || self.bytes() > MAX_REVISION_BYTES {
            self.known.pop_front();
        }
        let oldest = self.known.front().map_or(0, |it| it.number);
        self.unkept.retain(|number| *number >= oldest);
    }

    /// Those that are not known to be on disk, the oldest first.
    pub(super) fn unkept(&self) -> impl Iterator<Item = &Arc<Revision>> {
        self.unkept.iter().filter_map(|number| self.find(*number))
    }

    /// This one is on disk; unless it has changed meanwhile.
    pub(super) fn is_kept(&mut self, kept: &Revision) {
        if self.find(kept.number).is_some_and(|it| **it == *kept) {
            self.unkept.retain(|unkept| *unkept != kept.number);
        }
    }

    /// Sources have changed to what is in force, or away from what was given in their place: no new revision, but where
    /// the newest stands is another matter at the next start. Whether that is new.
    pub(super) fn stands_over(&mut self, over: Over) -> bool {
        let Some(newest) = self.known.back_mut().filter(|it| it.over != over) else {
            return false;
        };
        Arc::make_mut(newest).over = over;
        let number = newest.number;
        if self.unkept.back() != Some(&number) {
            self.unkept.push_back(number);
        }
        true
    }

    /// The bytes of all texts but the newest one's; what neighbours share is counted once.
    fn bytes(&self) -> usize {
        let pairs = self.known.iter().zip(self.known.iter().skip(1));
        let own = |text: &Arc<str>, next: &Arc<str>| {
            if Arc::ptr_eq(text, next) {
                0
            } else {
                text.len()
            }
        };
        let of_pair = |(older, newer): (&Arc<Revision>, &Arc<Revision>)| {
            own(&older.texts.policy, &newer.texts.policy)
                + own(&older.texts.topology, &newer.texts.topology)
        };
        pairs.map(of_pair).sum()
    }
}

/// One text instead of two that are equal.
fn share(text: &mut Arc<str>, known: &Arc<str>) {
    if text == known {
        *text = Arc::clone(known);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revision(number: u64, policy: &str) -> Revision {
        Revision {
            number,
            parent: number.checked_sub(1).filter(|parent| *parent > 0),
            texts: Texts {
                policy: policy.into(),
                topology: "fleet".into(),
            },
            origin: Origin::Sources,
            who: String::new(),
            why: String::new(),
            at_unix_ms: number,
            over: Over::default(),
        }
    }

    #[test]
    fn the_oldest_are_forgotten_and_texts_are_shared() {
        let mut all = Revisions::default();
        for number in 1..=MAX_REVISIONS as u64 + 3 {
            all.add(revision(number, if number % 2 == 0 { "a" } else { "b" }));
        }
        assert_eq!(all.newest_first().count(), MAX_REVISIONS);
        assert!(all.find(3).is_none() && all.find(4).is_some());
        assert_eq!(all.unkept().count(), MAX_REVISIONS);
        let [newest, before] = [0, 1].map(|at| all.newest_first().nth(at).unwrap());
        assert!(Arc::ptr_eq(&newest.texts.topology, &before.texts.topology));
        assert_eq!(all.before_this_policy(), Some(before));
    }

    #[test]
    fn large_texts_are_forgotten_sooner_and_the_newest_never() {
        let large = "x".repeat(MAX_REVISION_BYTES / 2 + 1);
        let mut all = Revisions::default();
        for number in 1..=4 {
            all.add(revision(number, &format!("{number}{large}")));
        }
        let left: Vec<u64> = all.newest_first().map(|it| it.number).collect();
        assert_eq!(left, [4, 3]);
    }

    #[test]
    fn what_was_kept_comes_in_order_once() {
        let kept = vec![revision(7, "b"), revision(3, "a"), revision(7, "c")];
        let all = Revisions::kept(kept);
        assert_eq!(all.newest().unwrap().texts.policy, "b".into());
        assert_eq!(all.newest_first().count(), 2);
        assert_eq!(all.unkept().count(), 0);
    }

    #[test]
    fn what_is_not_on_disk_is_known() {
        let mut all = Revisions::kept(vec![revision(1, "a")]);
        all.add(revision(2, "b"));
        all.add(revision(3, "c"));
        let unkept = |all: &Revisions| all.unkept().map(|it| it.number).collect::<Vec<_>>();
        assert_eq!(unkept(&all), [2, 3]);
        let second = Arc::clone(all.find(2).unwrap());
        all.is_kept(&second);
        assert_eq!(unkept(&all), [3]);
    }
}
