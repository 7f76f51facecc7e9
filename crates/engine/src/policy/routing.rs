//! How requests are routed: pools, rules, and what sites are compared by.

use std::collections::HashMap;
use std::net::IpAddr;

use foldhash::fast::FixedState;

use super::matcher::{Conditions, Matcher, WhenFailures};
use super::origin::Origin;
use super::overrides::Overrides;
use super::{Class, NodeSet, PanicMode, Plan, Pool, RateLimit, Rule, SetIndex};
use crate::date::Date;
use crate::geo::Location;
use crate::geo::place::{Asn, Country};
use crate::model::{Digest, NodeIndex, PoolIndex, RuleIndex};
use crate::query::Query;
use crate::request::Reading;
use crate::score::ScoreModel;

/// How requests are routed, compiled against one topology. There may be two at the same time, side by side in the lanes of
/// a snapshot: of two policies, or of two editions of one.
#[derive(Debug)]
pub struct Routing {
    pub(super) digest: Digest,
    pub(super) score: ScoreModel,
    pub(super) panic_mode: PanicMode,
    pub(super) pools: Vec<Pool>,
    pub(super) classes: Vec<Class>,
    pub(super) rules: Vec<Rule>,
    pub(super) limits: Vec<RateLimit>,
    pub(super) matcher: Matcher,
    pub(super) node_sets: Vec<NodeSet>,
    /// By set: most nodes that carry one hot key.
    pub(super) max_copies: Vec<u8>,
    pub(super) overrides: Overrides,
    pub(super) default_place: Option<Known>,
    pub(super) nodes_by_id: HashMap<Box<str>, NodeIndex, FixedState>,
    pub(super) reading: Reading,
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

impl Routing {
    /// The digest of the text it came from: the name of the revision.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// What a millisecond, a miss, an error and a dollar are worth.
    pub fn score(&self) -> &ScoreModel {
        &self.score
    }

    /// What is tried when no ready node is left.
    pub fn panic_mode(&self) -> PanicMode {
        self.panic_mode
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

    /// Whether there are any limits.
    pub fn has_limits(&self) -> bool {
        !self.limits.is_empty()
    }

    /// The limits that requests of a plan count for.
    pub fn limits_of(&self, plan: &Plan) -> impl Iterator<Item = &RateLimit> {
        let positions = plan.limits.iter();
        positions.filter_map(|at| self.limits.get(usize::from(*at)))
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

    /// How many networks the policy says something of.
    pub fn known_networks(&self) -> usize {
        self.overrides.len()
    }

    /// Where clients are taken to be when nothing is known of them, if the policy says so.
    pub fn default_place(&self) -> Option<Known> {
        self.default_place
    }

    /// The plan for a request: the pool it names, or the first rule that matches. `host` is in normal form. Rules whose
    /// `when` could not be answered are added to `failures`.
    pub fn match_query(
        &self,
        query: &Query<'_>,
        host: &str,
        place: (Option<Country>, Option<Asn>),
        failures: &mut WhenFailures,
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
            .first_match(query, host, Origin { country, asn }, failures);
        match rule.and_then(|index| self.rules.get(index.get()).map(|rule| (index, rule))) {
            Some((index, rule)) => Matched::Rule(index, rule),
            None => Matched::Nothing,
        }
    }

    /// What a rule asks of a request beside its `when`, a condition each; empty for everything.
    pub fn conditions_of(&self, rule: RuleIndex) -> Vec<String> {
        let conditions = self.matcher.conditions(rule);
        conditions.map_or_else(Vec::new, Conditions::words)
    }

    /// Which condition of a rule a request does not meet, in words; `None` where it meets all. `host` is in normal form.
    pub fn why_not(
        &self,
        rule: RuleIndex,
        query: &Query<'_>,
        host: &str,
        (country, asn): (Option<Country>, Option<Asn>),
    ) -> Option<String> {
        let conditions = self.matcher.conditions(rule)?;
        let origin = Origin { country, asn };
        let unmet = conditions.first_unmet(query, host, origin);
        unmet.or_else(|| {
            let when = conditions.when.as_ref()?;
            let text = self.rules.get(rule.get())?.when.as_deref()?;
            match when.holds(query, host, origin) {
                Ok(true) => None,
                Ok(false) => Some(format!("when `{text}`, and it is not so")),
                Err(fault) => Some(format!(
                    "when `{text}`, which could not be answered: {fault}"
                )),
            }
        })
    }

    /// Why a rule's `when` cannot be answered for a request; `None` where it can. `host` is in normal form.
    pub fn why_when_fails(
        &self,
        rule: RuleIndex,
        query: &Query<'_>,
        host: &str,
        (country, asn): (Option<Country>, Option<Asn>),
    ) -> Option<String> {
        let when = self.matcher.conditions(rule)?.when.as_ref()?;
        let fault = when.holds(query, host, Origin { country, asn }).err()?;
        Some(fault.to_string())
    }
}
