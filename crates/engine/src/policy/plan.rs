//! What rules and pools say of the requests that are theirs.

use super::{Action, Affinity, Demands, Freshness, KeyRecipe, Priority, Reclaim, SetIndex};
use crate::date::Date;
use crate::model::{ClassIndex, PoolIndex};

/// A named set of nodes, and how to use it when a caller names it instead of matching rules.
#[derive(Debug)]
pub struct Pool {
    /// The unique name.
    pub name: Box<str>,
    /// The whole of it, which is the one step of its plan.
    pub tier: PlanTier,
    /// The plan for callers that name the pool.
    pub plan: Plan,
    /// Above this multiple of the mean load, a node's keys begin to spill.
    pub balance_factor: Option<f64>,
    /// How its nodes are told to drop what was purged; `None` where they are not.
    pub reclaim: Option<Reclaim>,
}

/// A kind of content.
#[derive(Debug)]
pub struct Class {
    /// The unique name.
    pub name: Box<str>,
    /// Typical size of an answer in bytes.
    pub expected_bytes: u64,
}

/// Who goes where.
#[derive(Debug)]
pub struct Rule {
    /// The unique name.
    pub name: Box<str>,
    /// The team to ask.
    pub owner: Box<str>,
    /// Why the rule exists.
    pub intent: Box<str>,
    /// How to undo it.
    pub rollback: Box<str>,
    /// The last day it is meant to be in force.
    pub expires: Option<Date>,
    /// The expression that must hold beside its `match`, as written.
    pub when: Option<Box<str>>,
    /// Whether it routes or refuses.
    pub action: Action,
    /// How it routes.
    pub plan: Plan,
}

/// How requests of one rule (or pool) are routed.
#[derive(Debug)]
pub struct Plan {
    /// Where to look for nodes, in order; not empty unless the rule refuses.
    pub tiers: Vec<PlanTier>,
    /// What makes the key.
    pub key: KeyRecipe,
    /// The content class.
    pub class: Option<Box<str>>,
    /// The same as a number: 0 for none, else its position in the policy's classes plus 1.
    pub class_index: ClassIndex,
    /// Typical size of an answer in bytes, for the cost term.
    pub expected_bytes: u64,
    /// How many nodes an answer names, 1 to 8.
    pub candidates: u8,
    /// Sites further than this behind the best are not used for fallback, in ms.
    pub max_detour_ms: Option<f32>,
    /// Sites within this of the best share their keys with it, in ms.
    pub spread_ms: f32,
    /// How long a proxy should wait for one node, in ms.
    pub attempt_timeout_ms: u32,
    /// Whether the rule says so. The default is for proxies without a bound of their own, and overrules nobody's.
    pub sets_attempt_timeout: bool,
    /// How long a proxy may reuse the answer, in ms; 0 not at all.
    pub ttl_ms: u32,
    /// What purges may name its requests by, and how long caches keep what they ask for.
    pub freshness: Freshness,
    /// Who is served when there is not room for all.
    pub priority: Priority,
    /// The limits that its requests count for, by their positions in the routing.
    pub limits: Box<[u8]>,
    /// What a node must be able to do and where it must stand; for explanations (the sets are filtered already).
    pub demands: Demands,
}

/// One step of a plan: a pool, as far as this plan may use it.
#[derive(Debug, Clone, Copy)]
pub struct PlanTier {
    /// The pool.
    pub pool: PoolIndex,
    /// Its nodes that meet the plan's demands.
    pub set: SetIndex,
    /// What keeps requests on one node.
    pub affinity: Affinity,
}

impl Pool {
    /// All of its nodes, whatever a rule may demand of them.
    pub fn set(&self) -> SetIndex {
        self.tier.set
    }
}
