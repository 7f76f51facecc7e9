//! Why a decision fell as it did: every site in milliseconds, every node in its place, and what would change it.
//!
//! The other view of an [`Evaluation`]. It is made when somebody asks, from the same snapshot with the same functions,
//! so it cannot tell another story than the answer.

mod flips;
mod home;
mod nodes;
mod sites;

use std::collections::{BTreeMap, BTreeSet};

use crate::decision::Decision;
use crate::evaluate::{self, Evaluation, MAX_SCORED_SITES, MatchedBy, Sharing, Tried};
use crate::model::{NodeIndex, RuleIndex, SiteIndex};
use crate::policy::{Plan, SetIndex};
use crate::query::Query;
use crate::request::host::{HostRoom, normal_host};
use crate::signal::network::LastMile;
use crate::snapshot::{Lane, RankTable, Roster, Snapshot};

pub use flips::{Flips, Joiner, NextSharer, RunnerUp, SecondNode};
pub use home::{Away, Home, TermShift};
pub use nodes::{Elimination, NodeLine};
pub use sites::{SiteLine, SiteStanding, TermEvidence};

/// Most sites an explanation lists.
pub const MAX_SITES_SHOWN: usize = 32;

/// Most nodes an explanation lists, first those in the key's order, then those eliminated.
pub const MAX_NODES_SHOWN: usize = 64;

/// Most rules that an explanation lists as not matching.
pub const MAX_RULES_SHOWN: usize = 32;

/// The whole story of one decision.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Explanation {
    /// Sites of the tier that was used, best first; at most [`MAX_SITES_SHOWN`].
    pub sites: Vec<SiteLine>,
    /// Sites left out of `sites`.
    pub sites_not_shown: usize,
    /// Nodes of the pool, in the key's order where they were ranked; at most [`MAX_NODES_SHOWN`].
    pub nodes: Vec<NodeLine>,
    /// Nodes left out of `nodes`.
    pub nodes_not_shown: usize,
    /// How many nodes of the pool each reason eliminated.
    pub eliminated: BTreeMap<Elimination, usize>,
    /// Where the key is at home, and why another node was named first.
    pub home: Option<Home>,
    /// What would change the answer.
    pub flips: Flips,
    /// How many sites share clients whose place is no better known than this one's; 0 where it is known well enough.
    pub sharing_sites: usize,
    /// What every site pays alike for clients like this one, as far as it was measured: no reason for one or the other.
    pub last_mile: Option<LastMile>,
    /// Sites that are within the spread and do not share the key, because at most
    /// [`MAX_SCORED_SITES`] do.
    pub spread_cut: usize,
    /// Rules before the one that matched whose `when` could not be answered, and so did not hold.
    pub when_failures: Vec<WhenFailure>,
    /// Sites none of whose nodes could be named; at most [`MAX_NODES_SHOWN`].
    pub eliminated_sites: Vec<EliminatedSite>,
    /// Rules before the one that matched, each with the condition that the request does not meet; at most
    /// [`MAX_RULES_SHOWN`].
    pub unmatched: Vec<Unmatched>,
}

/// A site that could not be chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EliminatedSite {
    /// The site.
    pub site: SiteIndex,
    /// What keeps most of its nodes out.
    pub why: Elimination,
    /// How many.
    pub nodes: usize,
}

/// A rule that does not match, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unmatched {
    /// The rule.
    pub rule: RuleIndex,
    /// The condition, with what the request has instead: `country is DE, and it is FR`.
    pub why: String,
}

/// A rule whose `when` could not be answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WhenFailure {
    /// The rule.
    pub rule: RuleIndex,
    /// Why not, in words: `no such key client.country`.
    pub why: String,
}

impl Explanation {
    /// Explains `evaluation`, which was made from `snapshot` and `query`.
    pub fn new(snapshot: &Snapshot, query: &Query<'_>, evaluation: &Evaluation) -> Self {
        Self::past(snapshot, query, evaluation, &[])
    }

    /// The same of an evaluation that was made without nodes that have not done a purge of the object.
    pub fn past(
        snapshot: &Snapshot,
        query: &Query<'_>,
        evaluation: &Evaluation,
        behind: &[NodeIndex],
    ) -> Self {
        let when_failures = when_failures(snapshot, query, evaluation);
        let unmatched = unmatched(snapshot, query, evaluation);
        let Some(context) = Context::new(snapshot, query, evaluation, behind) else {
            return Self {
                when_failures,
                unmatched,
                ..Self::default()
            };
        };
        let mut sites = context.sites();
        let mut nodes = context.nodes(&sites);
        let mut eliminated = BTreeMap::new();
        for reason in nodes.iter().filter_map(|line| line.eliminated) {
            *eliminated.entry(reason).or_default() += 1;
        }
        let sharing_sites = context.sharing.map_or(0, |sharing| {
            let has_nodes = |line: &&SiteLine| line.standing != SiteStanding::NoNode;
            let shares = |line: &&SiteLine| context.shares(sharing, line.site, line.choice_ms);
            sites.iter().filter(has_nodes).filter(shares).count()
        });
        let (home, flips) = (context.home(&sites), context.flips(&sites, &nodes));
        let spread_cut = context.spread_cut(&sites);
        let eliminated_sites = eliminated_sites(snapshot, &nodes);
        let (site_count, node_count) = (sites.len(), nodes.len());
        sites.truncate(MAX_SITES_SHOWN);
        nodes.truncate(MAX_NODES_SHOWN);
        Self {
            sites_not_shown: site_count - sites.len(),
            sites,
            nodes_not_shown: node_count - nodes.len(),
            nodes,
            eliminated,
            home,
            flips,
            sharing_sites,
            last_mile: context.last_mile(),
            spread_cut,
            when_failures,
            unmatched,
            eliminated_sites,
        }
    }
}

/// Sites whose every node was eliminated, with what most of them were for.
fn eliminated_sites(snapshot: &Snapshot, nodes: &[NodeLine]) -> Vec<EliminatedSite> {
    let topology = snapshot.topology();
    let named = nodes.iter().filter(|line| line.eliminated.is_none());
    let with_nodes: BTreeSet<SiteIndex> = named.map(|line| topology.site_of(line.node)).collect();
    let mut out: BTreeMap<SiteIndex, BTreeMap<Elimination, usize>> = BTreeMap::new();
    for line in nodes {
        let site = topology.site_of(line.node);
        if let Some(why) = line.eliminated.filter(|_| !with_nodes.contains(&site)) {
            *out.entry(site).or_default().entry(why).or_default() += 1;
        }
    }
    let out = out.into_iter().filter_map(|(site, reasons)| {
        // Of as many, the first in their order: what operators said before what was found.
        let most = reasons.iter().rev().max_by_key(|(_, count)| **count);
        let (why, nodes) = most.map(|(why, count)| (*why, *count))?;
        Some(EliminatedSite { site, why, nodes })
    });
    out.take(MAX_NODES_SHOWN).collect()
}

/// Why the expressions failed that did, asked once more: they say the same of the same request.
fn when_failures(
    snapshot: &Snapshot,
    query: &Query<'_>,
    evaluation: &Evaluation,
) -> Vec<WhenFailure> {
    let mut room = HostRoom::new();
    let host = normal_host(query.host, &mut room);
    let place = &evaluation.located.place;
    let routing = snapshot.lane(evaluation.lane).routing();
    let rules = evaluation.when_failures.rules().iter();
    let failures = rules.filter_map(|rule| {
        let why = routing.why_when_fails(*rule, query, host, (place.country, place.asn));
        debug_assert!(
            why.is_some(),
            "an expression says the same of a request each time"
        );
        Some(WhenFailure {
            rule: *rule,
            why: why?,
        })
    });
    failures.collect()
}

/// Which rules a request did not meet, up to the one that it did. One that matches is not asked for where the caller named
/// a pool.
fn unmatched(snapshot: &Snapshot, query: &Query<'_>, evaluation: &Evaluation) -> Vec<Unmatched> {
    let routing = snapshot.lane(evaluation.lane).routing();
    let before = match evaluation.matched {
        MatchedBy::Rule(rule) => rule.get(),
        MatchedBy::Nothing => routing.rules().len(),
        MatchedBy::Pool(_) => 0,
    };
    let mut room = HostRoom::new();
    let host = normal_host(query.host, &mut room);
    let place = &evaluation.located.place;
    let rules = (0_u16..).map(RuleIndex).take(before.min(MAX_RULES_SHOWN));
    let unmatched = rules.filter_map(|rule| {
        let why = routing.why_not(rule, query, host, (place.country, place.asn))?;
        Some(Unmatched { rule, why })
    });
    unmatched.collect()
}

struct Context<'a> {
    snapshot: &'a Snapshot,
    lane: &'a Lane,
    evaluation: &'a Evaluation,
    plan: &'a Plan,
    /// The nodes that were looked among.
    set: SetIndex,
    /// All nodes of the pool, whatever the plan demands of them.
    members: &'a [NodeIndex],
    table: &'a RankTable,
    roster: &'a Roster,
    /// Among which sites the client was shared out, if it was.
    sharing: Option<Sharing>,
    tried: Tried,
    /// Those that have not done a purge of the object.
    behind: &'a [NodeIndex],
    /// Whether a node asks for its parent: then its site's parents share the key, whatever they score.
    is_for_child: bool,
    /// Those that the caller can use; `None` for all.
    only: Option<Vec<NodeIndex>>,
}

impl<'a> Context<'a> {
    /// `None` when no plan was followed, so that there is nothing to explain but the reason.
    fn new(
        snapshot: &'a Snapshot,
        query: &Query<'_>,
        evaluation: &'a Evaluation,
        behind: &'a [NodeIndex],
    ) -> Option<Self> {
        let lane = snapshot.lane(evaluation.lane);
        let routing = lane.routing();
        let decision = Decision::new(snapshot, evaluation);
        let (plan, tier) = (decision.plan()?, decision.tier()?);
        let pool = routing.pools().get(tier.pool.get())?;
        let table = lane.table(tier.set);
        let only = query.only.iter().filter_map(|id| routing.find_node(id));
        Some(Self {
            snapshot,
            lane,
            evaluation,
            plan,
            set: tier.set,
            members: routing.node_set(pool.set()).members(),
            table,
            roster: table.roster(evaluation.stage?.roster),
            sharing: evaluation.shared.map(|shared| shared.among),
            is_for_child: query.child.and_then(|id| routing.find_node(id)).is_some(),
            tried: evaluate::tried(routing, query),
            behind,
            only: (!query.only.is_empty()).then(|| only.collect()),
        })
    }

    /// Whether the caller can use a node that it has not tried.
    fn may_be_used(&self, node: NodeIndex) -> bool {
        let can_use = self.only.as_ref().is_none_or(|only| only.contains(&node));
        can_use && !self.tried.contains(&node)
    }

    /// What every site pays alike.
    fn last_mile(&self) -> Option<LastMile> {
        let group = self.evaluation.located.group()?;
        self.snapshot.signals().network.last_mile(group)
    }
}

const _: () = assert!(
    MAX_SCORED_SITES <= MAX_SITES_SHOWN,
    "every scored site is shown"
);
