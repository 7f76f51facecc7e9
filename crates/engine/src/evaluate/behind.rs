//! Nodes that have not done a purge of the object: left out as long as there is anybody else.

use arrayvec::ArrayVec;

use super::{Evaluation, Reason, Tried, Verdict, decide};
use crate::locate::Located;
use crate::model::NodeIndex;
use crate::query::{MAX_TRIED, Query};
use crate::snapshot::Snapshot;

/// Nodes that were left out.
pub type Behind = ArrayVec<NodeIndex, MAX_TRIED>;

/// Nodes that are left out of a list beside those that the caller has tried.
pub(super) trait LeftOut {
    fn add_to(self, tried: &mut Tried);
}

/// None, which costs nothing.
pub(super) struct Nobody;

impl LeftOut for Nobody {
    #[inline]
    fn add_to(self, _tried: &mut Tried) {}
}

impl LeftOut for &[NodeIndex] {
    fn add_to(self, tried: &mut Tried) {
        for node in self {
            // As many as there is room for: the others stay last resorts.
            if tried.try_push(*node).is_err() {
                return;
            }
        }
    }
}

impl Evaluation {
    /// Decides again without nodes that have not done a purge of the object, which `is_behind` tells; also which those are. They come last, where
    /// there is room, and stay where nobody else is left. `self` is what was decided on the same, of a client located so.
    #[must_use]
    pub fn past(
        self,
        snapshot: &Snapshot,
        query: &Query<'_>,
        located: Located,
        is_behind: impl Fn(NodeIndex) -> bool,
    ) -> (Self, Behind) {
        let mut behind = Behind::new();
        if self.verdict != Verdict::Route {
            return (self, behind);
        }
        let mut evaluation = self.clone();
        loop {
            let before = behind.len();
            for pick in &evaluation.picks {
                if is_behind(pick.node) && !behind.contains(&pick.node) && !behind.is_full() {
                    behind.push(pick.node);
                }
            }
            if behind.len() == before {
                break;
            }
            evaluation = decide(snapshot, self.lane, query, located, &*behind);
            if evaluation.verdict != Verdict::Route {
                // Nobody else is left: something old is better than nothing.
                let alone = Self {
                    reason: Reason::PurgeBehind,
                    ..self
                };
                return (alone, behind);
            }
        }
        if behind.is_empty() {
            return (self, behind);
        }
        let wanted = self.picks.len();
        let is_last = |node| behind.contains(&node) || is_behind(node);
        let (late, fresh): (Vec<_>, Vec<_>) =
            (evaluation.picks.iter().copied()).partition(|pick| is_last(pick.node));
        let more = self.picks.iter().filter(|pick| is_last(pick.node));
        let late: Vec<_> = late.into_iter().chain(more.copied()).collect();
        evaluation.picks.clear();
        for pick in fresh.into_iter().chain(late) {
            let is_listed = evaluation.picks.iter().any(|it| it.node == pick.node);
            if evaluation.picks.len() < wanted && !is_listed {
                evaluation.picks.push(pick);
            }
        }
        let first = |it: &Self| it.picks.first().map(|pick| pick.node);
        if first(&evaluation) == first(&self) {
            evaluation.reason = self.reason;
        } else {
            evaluation.reason = Reason::PurgeBehind;
        }
        (evaluation, behind)
    }
}
