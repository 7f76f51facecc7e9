//! What a change does, in figures. As JSON it is what `tradewind plan --format json` writes.

use serde::Serialize;

use super::basis::Basis;
use super::claims::Checked;
use super::costs::Cost;
use super::ratio::percent;
use crate::model::names;

/// Most moves that are told one by one.
pub const MAX_EXAMPLES: usize = 10;

/// What a change does.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// What all of it rests on.
    pub rests_on: Basis,
    /// Requests that get another first node, or none any more, or one where there was none.
    pub requests: Requests,
    /// Keys that get another first node.
    pub keys: Keys,
    /// Client groups of which some request gets another first site.
    pub clients: Moved,
    /// What first nodes are expected to cost.
    pub expected_ms: ExpectedMs,
    /// What the origin gets to do.
    pub extra_origin: ExtraOrigin,
    /// Requests that are routed and were refused, and the other way round, by reason.
    pub verdicts: Vec<VerdictChange>,
    /// Requests that were routed and are refused, in percent.
    pub newly_refused_percent: f64,
    /// Where requests go, by the id of the first node's site.
    pub sites: Vec<Share>,
    /// Where requests go, by the id of the first node.
    pub nodes: Vec<Share>,
    /// Which rules decide: those of the new edition in order, then those that it has not.
    pub rules: Vec<RuleHits>,
    /// Requests that no rule decides.
    pub no_rule: Hits,
    /// The first moves of their kind, at most [`MAX_EXAMPLES`].
    pub examples: Vec<Move>,
    /// What became of the expectations of the new policy, in the document's order.
    pub expectations: Vec<Checked>,
}

/// Requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Requests {
    /// Requests that were asked.
    pub asked: u64,
    /// How many they stand for; the same where each stands for itself.
    pub looked_at: u64,
    /// Of those, how many moved.
    pub moved: u64,
    /// The same in percent.
    pub moved_percent: f64,
}

/// Things of a kind, and how many of them moved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Moved {
    /// How many there were.
    pub looked_at: u64,
    /// How many of them moved.
    pub moved: u64,
    /// The same in percent; 0 where there were none.
    pub moved_percent: f64,
    /// Requests of which it was not known whether they brought another, for there were too many.
    pub not_followed: u64,
}

/// Keys: objects as one client group asks for them, that a node keeps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Keys {
    /// How many, and how many moved.
    #[serde(flatten)]
    pub all: Moved,
    /// How many had to move, wherever the others are placed: their old first node is gone, takes no traffic any more, or
    /// is not of the tier that their rule begins with.
    pub least_possible: u64,
    /// The same in percent.
    pub least_possible_percent: f64,
}

/// What first nodes are expected to cost, in ms; absent where nobody knows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct ExpectedMs {
    /// Before.
    pub before: Option<Cost>,
    /// Afterwards.
    pub after: Option<Cost>,
    /// How much more the requests cost on the mean of which both are known.
    pub mean_increase: Option<f64>,
}

/// What the origin gets to do while the caches fill, if no other cache has what is cold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct ExtraOrigin {
    /// Fetches, each as often as the request that makes it counts.
    pub fetches: u64,
    /// The same in percent of the requests.
    pub percent: f64,
    /// Of those, objects at nodes that did not have them: one fetch for each.
    pub cold_objects: u64,
    /// Of those, requests that go to the origin now, and went to a cache before.
    pub past_caches: u64,
}

/// Requests whose verdict is another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VerdictChange {
    /// Before.
    pub before: Said,
    /// Afterwards.
    pub after: Said,
    /// How many.
    pub requests: u64,
}

/// A verdict, and the word for why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Said {
    /// `route` or `refuse`.
    pub verdict: &'static str,
    /// As in answers.
    pub reason: &'static str,
}

/// Requests before and afterwards.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Hits {
    /// Before.
    pub before: u64,
    /// Afterwards.
    pub after: u64,
}

/// How many requests go somewhere.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Share {
    /// The id.
    pub id: Box<str>,
    /// Requests.
    pub requests: Hits,
    /// Of all that were routed before, 0 to 1.
    pub before: f64,
    /// Of all that are routed afterwards, 0 to 1.
    pub after: f64,
}

/// How often a rule decides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RuleHits {
    /// The rule.
    pub rule: Box<str>,
    /// Requests before; absent where there was no such rule.
    pub before: Option<u64>,
    /// Requests afterwards; absent where there is no such rule any more.
    pub after: Option<u64>,
    /// What that comes to.
    pub change: HitChange,
}

/// What became of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HitChange {
    /// Some requests before, and some afterwards.
    Hit,
    /// None before.
    NewlyHit,
    /// None afterwards.
    HitNoMore,
    /// None at all.
    NeverHit,
}

names! { HitChange {
    Hit = "hit",
    NewlyHit = "newly_hit",
    HitNoMore = "hit_no_more",
    NeverHit = "never_hit",
} }

/// A request that moved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Move {
    /// What is asked for, without what follows `?`.
    pub request: String,
    /// Who asks, as far as a place: never an address.
    pub client: String,
    /// Where it went; absent where it was refused.
    pub from: Option<Stop>,
    /// Where it goes; absent where it is refused.
    pub to: Option<Stop>,
    /// Why, in words.
    pub why: String,
}

/// A node, and its site.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Stop {
    /// The node's id.
    pub node: Box<str>,
    /// Its site's.
    pub site: Box<str>,
}

impl Moved {
    /// The same, with the percentage.
    pub(super) fn in_percent(self) -> Self {
        Self {
            moved_percent: percent(self.moved, self.looked_at),
            ..self
        }
    }
}

impl HitChange {
    /// What requests before and afterwards come to.
    pub(super) fn of(before: Option<u64>, after: Option<u64>) -> Self {
        let is_hit = |requests: Option<u64>| requests.is_some_and(|requests| requests > 0);
        match (is_hit(before), is_hit(after)) {
            (true, true) => Self::Hit,
            (false, true) => Self::NewlyHit,
            (true, false) => Self::HitNoMore,
            (false, false) => Self::NeverHit,
        }
    }
}
