//! Where a reporter says otherwise than the others, and about what.

use crate::model::{NodeIndex, SiteIndex, names};
use crate::time::Moment;

/// What reporters may disagree about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Topic {
    /// The share of attempts at a node that fail.
    Failures,
    /// The share of answers of a site that come from its caches.
    Hits,
    /// How long a node takes for an answer that needs no fetch: the median.
    Times,
}

names! { Topic {
    Failures = "failures",
    Hits = "hits",
    Times = "times",
} }

/// Where they disagree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Where {
    /// At a site.
    Site(SiteIndex),
    /// At a node.
    Node(NodeIndex),
}

/// A reporter's word that is far from what was agreed on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Apart {
    /// Where.
    pub place: Where,
    /// What it says: a ratio of 0 to 1, or microseconds.
    pub said: f64,
    /// What was agreed on.
    pub agreed: f64,
    /// How many answers it has told of there.
    pub answers: u64,
}

impl Apart {
    /// How far it is.
    pub(super) fn distance(&self) -> f64 {
        (self.said - self.agreed).abs()
    }
}

/// One reporter says otherwise than the others.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Disagreement {
    /// What it says where it is farthest from them.
    pub apart: Apart,
    /// Since when it is seen.
    pub since: Moment,
    /// When it was last seen.
    pub seen: Moment,
    /// Whether it has lasted long enough to be told.
    pub is_lasting: bool,
}
