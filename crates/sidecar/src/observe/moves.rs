//! What a revision moved, as the sample of decisions has it: each decided once more by what was in force before and by
//! what is now, on the state of that moment.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

use crate::intake::recent::Kept;
use crate::state::Published;
use crate::view::words;
use crate::wire::{QueryBuffer, QueryRoom};
use tradewind_engine::evaluate::{Evaluation, MatchedBy, evaluate};
use tradewind_engine::model::{NodeIndex, SiteIndex};

/// Revisions that this is remembered of.
const REMEMBERED: usize = 64;

/// Decisions that are decided once more at most: some ten milliseconds of work.
const MOST: usize = 4_096;

/// What a revision moved.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Moved {
    /// The revision.
    #[serde(skip)]
    pub revision: u64,
    /// Decisions that were decided by both.
    pub decisions: usize,
    /// Those that got another first node, or one more or less.
    pub moved: usize,
    /// Those of them that got another site.
    pub other_site: usize,
    /// By the rule that decides now: how many it decides, and how many of them moved. Those that no rule decides are under
    /// the empty name.
    pub by_rule: BTreeMap<Box<str>, (u64, u64)>,
}

impl Moved {
    /// The share that moved; 0 of nothing.
    pub fn ratio(&self) -> f64 {
        words::ratio(self.moved, self.decisions)
    }
}

/// What the last revisions moved.
#[derive(Debug, Default)]
pub struct Moves(Mutex<VecDeque<Arc<Moved>>>);

impl Moves {
    /// Remembers what a revision moved.
    pub fn add(&self, moved: Moved) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED {
            known.pop_front();
        }
        known.push_back(Arc::new(moved));
    }

    /// What the newest of them moved.
    pub fn newest(&self) -> Option<Arc<Moved>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.back().cloned()
    }

    /// What this revision moved.
    pub fn of(&self, revision: u64) -> Option<Arc<Moved>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.iter().find(|it| it.revision == revision).cloned()
    }
}

/// Decides the kept decisions by both.
pub fn compare(before: &Published, after: &Published, recent: &[Arc<Kept>]) -> Moved {
    let mut moved = Moved {
        revision: after.revision,
        ..Moved::default()
    };
    for kept in recent.iter().take(MOST) {
        let earlier = ask(before, kept, |it| first(before, it));
        let now = ask(after, kept, |it| (first(after, it), rule(after, it)));
        let (Some(earlier), Some((now, rule))) = (earlier, now) else {
            continue;
        };
        moved.decisions += 1;
        let of_rule = moved.by_rule.entry(rule).or_default();
        of_rule.0 += 1;
        if earlier != now {
            of_rule.1 += 1;
            moved.moved += 1;
            let site = |of: &First| of.as_ref().map(|(_, site)| site.clone());
            moved.other_site += usize::from(site(&earlier) != site(&now));
        }
    }
    moved
}

/// The first node that is named and its site; positions mean nothing over a change of the fleet.
type First = Option<(Box<str>, Box<str>)>;

fn ask<T>(published: &Published, kept: &Kept, look: impl FnOnce(&Evaluation) -> T) -> Option<T> {
    let (mut room, mut buffer) = (QueryRoom::default(), QueryBuffer::default());
    let snapshot = &published.snapshot;
    let query = buffer
        .read(&kept.request, &mut room, snapshot.reading())
        .ok()?;
    Some(look(&evaluate(snapshot, &query)))
}

fn first(published: &Published, evaluation: &Evaluation) -> First {
    let topology = published.snapshot.topology();
    let node: NodeIndex = evaluation.first_node()?;
    let site: SiteIndex = topology.site_of(node);
    Some((
        topology.node(node).id.clone(),
        topology.site(site).id.clone(),
    ))
}

fn rule(published: &Published, evaluation: &Evaluation) -> Box<str> {
    let MatchedBy::Rule(rule) = evaluation.matched else {
        return Box::default();
    };
    let rules = published.snapshot.routing().rules();
    rules
        .get(rule.get())
        .map_or_else(Box::default, |rule| rule.name.clone())
}
