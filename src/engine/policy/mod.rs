//! Routing policy: from the document people write to the tables a decision reads.
//!
//! A [`Policy`] that exists is valid, and it is compiled against one [`Topology`](super::topology::Topology): pools are resolved to sets of nodes,
//! sites to positions. A new topology means a new policy value from the same text.

mod compile;
mod conditions;
pub mod document;
mod expiry;
mod key;
mod limits;
mod matcher;
mod node_set;
pub mod operation;
mod overlap;
mod overrides;
mod scoring;

use std::collections::HashMap;
use std::net::IpAddr;

use foldhash::fast::FixedState;

pub use compile::{Compiled, check_alone, compile};
pub use document::{Action, Affinity, PanicMode, PolicyDocument};
pub use expiry::expired;
pub use key::KeyRecipe;
pub use limits::{MAX_CLASSES, MAX_POOLS, MAX_RULES};
pub use node_set::{Demands, NodeSet, SetIndex, SetSite};
pub use operation::Operation;

use super::date::Date;
use super::geo::Location;
use super::geo::place::{Asn, Country};
use super::model::{ClassIndex, Digest, NodeIndex, PoolIndex, RuleIndex};
use super::query::Query;
use super::request::Reading;
use super::score::ScoreModel;
use matcher::{Matcher, Origin};
use overrides::Overrides;

/// A valid routing policy, compiled against one topology.
#[derive(Debug)]
pub struct Policy {
    digest: Digest,
    name: String,
    score: ScoreModel,
    operation: Operation,
    panic_mode: PanicMode,
    sample_ratio: f64,
    pools: Vec<Pool>,
    classes: Vec<Class>,
    rules: Vec<Rule>,
    matcher: Matcher,
    node_sets: Vec<NodeSet>,
    /// By set: most nodes that carry one hot key.
    max_copies: Vec<u8>,
    overrides: Overrides,
    default_place: Option<Known>,
    nodes_by_id: HashMap<Box<str>, NodeIndex, FixedState>,
    reading: Reading,
}

/// A named set of nodes, and how to use it when a caller names it instead of matching rules.
#[derive(Debug)]
pub struct Pool {
    /// The unique name.
    pub name: Box<str>,
    /// The plan for callers that name the pool.
    pub plan: Plan,
    /// Above this multiple of the mean load, a node's keys begin to spill.
    pub balance_factor: Option<f64>,
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

/// What a policy knows of a network, or says of clients whom nobody can place.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Known {
    /// Where it is.
    pub location: Location,
    /// Its country.
    pub country: Option<Country>,
}

/// What a request matched.
#[derive(Debug, Clone, Copy)]
pub enum Matched<'a> {
    /// A rule.
    Rule(RuleIndex, &'a Rule),
    /// The pool that the caller named.
    Pool(PoolIndex, &'a Pool),
    /// The caller named a pool that does not exist.
    UnknownPool,
    /// No rule.
    Nothing,
}

impl Policy {
    /// The digest of the text it came from: the name of the revision.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The policy's name; may be empty.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What a millisecond, a miss, an error and a dollar are worth.
    pub fn score(&self) -> &ScoreModel {
        &self.score
    }

    /// How the engine reacts to what happens.
    pub fn operation(&self) -> &Operation {
        &self.operation
    }

    /// What is tried when no ready node is left.
    pub fn panic_mode(&self) -> PanicMode {
        self.panic_mode
    }

    /// Share of decisions kept for people to look at, 0 to 1.
    pub fn sample_ratio(&self) -> f64 {
        self.sample_ratio
    }

    /// All pools.
    pub fn pools(&self) -> &[Pool] {
        &self.pools
    }

    /// All content classes.
    pub fn classes(&self) -> &[Class] {
        &self.classes
    }

    /// All rules, first match first.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Whether any rule was to end before `today`.
    pub fn has_expired_rules(&self, today: Date) -> bool {
        let mut days = self.rules.iter().filter_map(|rule| rule.expires);
        days.any(|day| day < today)
    }

    /// The distinct sets of nodes that plans use.
    pub fn node_sets(&self) -> &[NodeSet] {
        &self.node_sets
    }

    /// The set at `index`; indices come from this policy only.
    #[expect(
        clippy::indexing_slicing,
        reason = "a SetIndex is made from this table's positions only"
    )]
    pub fn node_set(&self, index: SetIndex) -> &NodeSet {
        &self.node_sets[index.get()]
    }

    /// Most nodes of a set that carry one hot key; 1 is off. Where pools share a set, the least of theirs.
    pub fn max_copies(&self, set: SetIndex) -> u8 {
        self.max_copies.get(set.get()).copied().unwrap_or(1)
    }

    /// The pool's name; indices come from this policy only.
    pub fn pool_name(&self, pool: PoolIndex) -> &str {
        self.pools.get(pool.get()).map_or("", |pool| &pool.name)
    }

    /// How requests are read before they are matched.
    pub fn reading(&self) -> &Reading {
        &self.reading
    }

    /// The node that callers call `id`.
    pub fn find_node(&self, id: &str) -> Option<NodeIndex> {
        self.nodes_by_id.get(id).copied()
    }

    /// What the policy says of a client's network, longest prefix first.
    pub fn known_network(&self, ip: IpAddr) -> Option<Known> {
        self.overrides.find(ip)
    }

    /// Where clients are taken to be when nothing is known of them, if the policy says so.
    pub fn default_place(&self) -> Option<Known> {
        self.default_place
    }

    /// The plan for a request: the pool it names, or the first rule that matches. `host` is in normal form.
    pub fn match_query(
        &self,
        query: &Query<'_>,
        host: &str,
        place: (Option<Country>, Option<Asn>),
    ) -> Matched<'_> {
        if let Some(name) = query.pool {
            let found = (0_u16..)
                .map(PoolIndex)
                .zip(&self.pools)
                .find(|(_, pool)| &*pool.name == name);
            return found.map_or(Matched::UnknownPool, |(index, pool)| {
                Matched::Pool(index, pool)
            });
        }
        let (country, asn) = place;
        let rule = self
            .matcher
            .first_match(query, host, Origin { country, asn });
        match rule.and_then(|index| self.rules.get(index.get()).map(|rule| (index, rule))) {
            Some((index, rule)) => Matched::Rule(index, rule),
            None => Matched::Nothing,
        }
    }
}
