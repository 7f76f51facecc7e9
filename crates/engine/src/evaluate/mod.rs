//! A decision, step by step: locate, match, choose a tier, score sites, rank nodes, list fallbacks.
//!
//! All the branching of a decision is here; what it calls is arithmetic. [`evaluate`] is total and a pure function of
//! its arguments: no clock, no lock, no counter, no allocation.

mod behind;
mod detour;
mod fallback;
mod home;
mod keys;
mod later;
mod lead;
mod order;
mod overload;
mod parent;
mod reach;
mod restriction;
mod scorer;
mod share;
mod sites;
mod stage;
mod trial;
mod widen;

use arrayvec::ArrayVec;

use super::hash::KeyHash;
use super::locate::{self, Located};
use super::model::{NodeIndex, PoolIndex, RuleIndex, SiteIndex, names};
use super::policy::{Action, Matched, Plan, Routing, WhenFailures};
use super::query::{MAX_CANDIDATES, MAX_TRIED, Query};
use super::request::host::{HostRoom, normal_host};
use super::snapshot::{Lane, LaneIndex, Snapshot};
use behind::{LeftOut, Nobody};
use keys::Keys;
use stage::Stage;

pub use behind::Behind;
pub use scorer::{MAX_SCORED_SITES, ScoredSite};
pub use share::{Shared, Sharing};
pub use sites::{ScoredFor, score_sites};
pub use stage::Staged;

/// The outcome of one query, from which answers and explanations are made.
#[derive(Debug, Clone)]
pub struct Evaluation {
    /// The lane of the snapshot that decided.
    pub lane: LaneIndex,
    /// Whether nodes are named.
    pub verdict: Verdict,
    /// Why the verdict, or the first node, is what it is.
    pub reason: Reason,
    /// How far down the ladder of degradation the answer comes from.
    pub rung: Rung,
    /// The rule or pool that decided.
    pub matched: MatchedBy,
    /// Where the client is.
    pub located: Located,
    /// The key that nodes were ranked by.
    pub key: KeyHash,
    /// Which nodes were looked among, and why among those; `None` where no plan was followed.
    pub stage: Option<Staged>,
    /// The best sites of that tier, best first; the first `scope` of them share the key. For a client that is shared out,
    /// first those that share it.
    pub sites: ArrayVec<ScoredSite, MAX_SCORED_SITES>,
    /// How many of `sites` the key was ranked over.
    pub scope: u8,
    /// Sites of that tier that cost more than this, in ms, stand in for nobody.
    pub reach_ms: f32,
    /// The node that an undisturbed fleet would name first; `None` where no plan was followed, or operators let no node
    /// of its first tier take traffic.
    pub home: Option<NodeIndex>,
    /// How the client is shared out among sites; `None` for one whose place is known well enough to tell them apart.
    pub shared: Option<Shared>,
    /// The nodes to use, in order.
    pub picks: ArrayVec<Pick, MAX_CANDIDATES>,
    /// The size the cost term was taken for, in gigabytes.
    pub expected_gb: f32,
    /// Whether only the first node may be tried: the others would be more than the budget of retries.
    pub is_tried_once: bool,
    /// What the caller is told whose request is shed; `None` for every other.
    pub shed: Option<Shed>,
    /// The rules before the one that matched whose `when` could not be answered.
    pub when_failures: WhenFailures,
}

/// What the caller is told whose request is shed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shed {
    /// The node that had no room for it; `None` where that is not why.
    pub node: Option<NodeIndex>,
    /// In how many seconds it should come back.
    pub retry_after_s: u8,
}

/// Whether nodes are named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Use the nodes listed.
    Route,
    /// There is too much to do: come back later.
    Shed,
    /// Serve the request elsewhere or not at all.
    Refuse,
}

/// Why the verdict, or the first node, is what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// The key's owner at the best site.
    Owner,
    /// The key is hot: one of the several nodes that carry it.
    HotCopy,
    /// The key's owner has too much load; the next in the key's order.
    Spilled,
    /// The key's best site has too much load; the next best.
    SiteSpilled,
    /// The key's owner is recovering, and this key is of the slice it is tried with.
    Probe,
    /// Another site may be better than is known of it, and this key is of the slice that finds out.
    Trial,
    /// Of two nodes the one with less to do: the pool has no affinity.
    LessLoaded,
    /// The owner was tried already; the next in the key's order.
    OwnerTried,
    /// Every node of the best site was tried already; the owner at another site.
    SiteTried,
    /// The key's home is out: its breaker is open or half open, it is not well or has too much load.
    OwnerOut,
    /// The key's home, or its site, counts for less than its capacity, so that the race fell to another.
    Outweighed,
    /// What was measured of sites, or of the ways to them, speaks for another site than the home's; the owner there.
    Steered,
    /// The node that would be named first has not done a purge of the object: the first that has, or nobody has.
    PurgeBehind,
    /// The first of the nodes that the caller can use.
    Restricted,
    /// Too little of the pool is well: nodes are used again that would otherwise not be.
    Readmitted,
    /// Too little of an earlier tier is well.
    NextTier,
    /// Too little is well in every tier before the origin: every node that is not in maintenance is used.
    Panic,
    /// Nothing but the origin is left.
    Origin,
    /// The rule says so.
    RefusedByRule,
    /// No rule matches.
    NoRule,
    /// The pool that was asked for does not exist.
    UnknownPool,
    /// No node is left.
    NoNode,
    /// The node that would be named first has no room for requests of this priority.
    NoRoom,
    /// A limit of the policy is used up.
    RateLimited,
}

/// How far down the ladder of degradation an answer comes from; later is worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rung {
    /// Not degraded.
    Normal,
    /// Nodes are used again whose bad verdicts are old.
    Unknown,
    /// Nodes with too much load are used again.
    Overloaded,
    /// A share of what open breakers hold back is used again.
    HalfOpen,
    /// A later tier of the plan stands in.
    NextTier,
    /// Every node that is not in maintenance is used.
    Panic,
    /// Only the origin is left.
    Origin,
    /// Requests are shed, the least important first.
    Shed,
    /// Nothing is left.
    Refuse,
}

/// The rule or pool that decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MatchedBy {
    /// The first rule that matches.
    Rule(RuleIndex),
    /// The pool that the caller named.
    Pool(PoolIndex),
    /// Nothing matches.
    Nothing,
}

/// A node to use.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pick {
    /// The node.
    pub node: NodeIndex,
    /// What its site is expected to cost this client, in ms, by the best estimate; `None` where that is not known, because
    /// the client's place is not.
    pub expected_ms: Option<f32>,
    /// Why it is listed.
    pub role: Role,
}

/// Why a node is listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// First in the key's order.
    Owner,
    /// One of the nodes that carry a hot key.
    HotCopy,
    /// A node that is recovering, tried with a slice of its keys.
    Probe,
    /// At a site that is tried with a slice of all keys: the key's owner there.
    Trial,
    /// Later in the key's order at the same site (or sites).
    NextInOrder,
    /// At another site, best site first: the key's owner there, or the next in its order.
    NextSite,
    /// In a later tier: the key's owner there, or the next in its order.
    NextTier,
    /// The same at the origin.
    Origin,
}

names! { Verdict { Route = "route", Shed = "shed", Refuse = "refuse", } }
names! { Reason {
    Owner = "owner",
    HotCopy = "hot_copy",
    Spilled = "spilled",
    SiteSpilled = "site_spilled",
    Probe = "probe",
    Trial = "trial",
    LessLoaded = "less_loaded",
    OwnerTried = "owner_tried",
    SiteTried = "site_tried",
    OwnerOut = "owner_out",
    Outweighed = "outweighed",
    Steered = "steered",
    PurgeBehind = "purge_behind",
    Restricted = "restricted",
    Readmitted = "readmitted",
    NextTier = "next_tier",
    Panic = "panic",
    Origin = "origin",
    RefusedByRule = "refused_by_rule",
    NoRule = "no_rule",
    UnknownPool = "unknown_pool",
    NoNode = "no_node",
    NoRoom = "no_room",
    RateLimited = "rate_limited",
} }
names! { Rung {
    Normal = "normal",
    Unknown = "unknown",
    Overloaded = "overloaded",
    HalfOpen = "half_open",
    NextTier = "next_tier",
    Panic = "panic",
    Origin = "origin",
    Shed = "shed",
    Refuse = "refuse",
} }
names! { Role {
    Owner = "owner",
    HotCopy = "hot_copy",
    Probe = "probe",
    Trial = "trial",
    NextInOrder = "next_in_order",
    NextSite = "next_site",
    NextTier = "next_tier",
    Origin = "origin",
} }

/// The nodes that a caller has tried already.
pub(super) type Tried = ArrayVec<NodeIndex, MAX_TRIED>;

/// Decides one query.
#[inline]
pub fn evaluate(snapshot: &Snapshot, query: &Query<'_>) -> Evaluation {
    evaluate_in(snapshot, snapshot.lane_of(query), query)
}

/// Decides one query in a lane, whichever would be its own.
#[inline]
pub fn evaluate_in(snapshot: &Snapshot, lane: LaneIndex, query: &Query<'_>) -> Evaluation {
    decide(
        snapshot,
        lane,
        query,
        locate::locate_in(snapshot, lane, query),
        Nobody,
    )
}

/// Decides one query of a client that was located already.
pub fn evaluate_at(snapshot: &Snapshot, query: &Query<'_>, located: Located) -> Evaluation {
    decide(snapshot, snapshot.lane_of(query), query, located, Nobody)
}

fn decide(
    snapshot: &Snapshot,
    lane_index: LaneIndex,
    query: &Query<'_>,
    located: Located,
    left_out: impl LeftOut,
) -> Evaluation {
    let mut room = HostRoom::new();
    let host = normal_host(query.host, &mut room);
    let lane = snapshot.lane(lane_index);
    let routing = lane.routing();
    let mut failures = WhenFailures::default();
    let place = (located.place.country, located.place.asn);
    let child = query.child.and_then(|id| routing.find_node(id));
    let matched = match child {
        Some(_) => parent::matched(routing, query, (host, place), &mut failures),
        None => routing.match_query(query, host, place, &mut failures),
    };
    let refused = |matched, reason, when_failures| Evaluation {
        when_failures,
        ..Evaluation::refused(lane_index, located, matched, reason)
    };
    let (plan, matched_by) = match matched {
        Matched::Rule(index, rule) if rule.action == Action::Refuse => {
            return refused(MatchedBy::Rule(index), Reason::RefusedByRule, failures);
        }
        Matched::Rule(index, rule) => (&rule.plan, MatchedBy::Rule(index)),
        Matched::Pool(index, pool) => (&pool.plan, MatchedBy::Pool(index)),
        Matched::UnknownPool => {
            return refused(MatchedBy::Nothing, Reason::UnknownPool, failures);
        }
        Matched::Nothing => {
            return refused(MatchedBy::Nothing, Reason::NoRule, failures);
        }
    };
    let begin = child.map_or(0, |child| parent::begin(routing, (query, plan), child));
    let Some(stage) = stage::choose(lane, plan, begin) else {
        return refused(matched_by, Reason::NoNode, failures);
    };
    let object = plan.key.key_of(query, host);
    let keys = Keys { object, query };
    let mut tried = tried(routing, query);
    left_out.add_to(&mut tried);
    let request = Request {
        snapshot,
        lane,
        lane_index,
        plan,
        begin,
        child: child.map(|child| snapshot.topology().site_of(child)),
        located,
        client: located.place.is_vague().then(|| keys.of_network()),
        keys,
        tried,
        wanted: usize::from(query.candidates.unwrap_or(plan.candidates)).clamp(1, MAX_CANDIDATES),
        expected_gb: super::number::gigabytes(query.size_bytes.unwrap_or(plan.expected_bytes)),
    };
    let mut evaluation = fallback::list(&request, stage, matched_by);
    if !query.only.is_empty() {
        restriction::restrict(&request, query.only, &mut evaluation);
    }
    if snapshot.signals().turn > 0 {
        overload::admit(&request, &mut evaluation);
    }
    tell_estimates(&request, &mut evaluation);
    evaluation.when_failures = failures;
    evaluation
}

/// The nodes that the caller has tried already, and itself where it is one: nobody is its own parent.
#[inline]
pub(super) fn tried(routing: &Routing, query: &Query<'_>) -> Tried {
    let ids = query.child.iter().chain(query.tried);
    let known = ids.filter_map(|id| routing.find_node(id));
    known.take(MAX_TRIED).collect()
}

/// Sites are chosen by numbers that hold still; what is told of them is the best estimate.
#[inline]
fn tell_estimates(request: &Request<'_, '_>, evaluation: &mut Evaluation) {
    let signals = request.snapshot.signals();
    if signals.standing.is_empty() {
        return;
    }
    let topology = request.snapshot.topology();
    let class = request.lane.class(request.plan.class_index);
    for pick in &mut evaluation.picks {
        let site = topology.site_of(pick.node);
        let standing = signals.standing(class, site, topology.sites().len());
        if let (Some(told), Some(standing)) = (&mut pick.expected_ms, standing) {
            *told -= standing.held_ms;
        }
    }
}

/// A query that found its plan, with all that is the same for every step.
struct Request<'s, 'q> {
    snapshot: &'s Snapshot,
    lane: &'s Lane,
    lane_index: LaneIndex,
    plan: &'s Plan,
    /// The first tier of the plan that is asked for: 0, but for a node that asks for its parent.
    begin: usize,
    /// The site of the node that asks for its parent.
    child: Option<SiteIndex>,
    located: Located,
    /// What the client is shared out among sites by, if it is.
    client: Option<KeyHash>,
    keys: Keys<'q>,
    tried: Tried,
    wanted: usize,
    expected_gb: f32,
}

impl Evaluation {
    fn refused(lane: LaneIndex, located: Located, matched: MatchedBy, reason: Reason) -> Self {
        Self {
            lane,
            verdict: Verdict::Refuse,
            reason,
            rung: if reason == Reason::NoNode {
                Rung::Refuse
            } else {
                Rung::Normal
            },
            matched,
            located,
            key: KeyHash(0),
            stage: (reason == Reason::NoNode).then_some(Staged::NOWHERE),
            sites: ArrayVec::new(),
            scope: 0,
            reach_ms: f32::INFINITY,
            home: None,
            shared: None,
            picks: ArrayVec::new(),
            expected_gb: 0.0,
            is_tried_once: false,
            shed: None,
            when_failures: WhenFailures::default(),
        }
    }

    /// The node named first, or the one that would be if it had room.
    pub fn first_node(&self) -> Option<NodeIndex> {
        let named = self.picks.first().map(|pick| pick.node);
        named.or_else(|| self.shed?.node)
    }

    /// Turns the request away: no node is named, and the caller is told when to come back.
    pub fn turn_away(&mut self, reason: Reason, shed: Shed) {
        self.verdict = Verdict::Shed;
        self.reason = reason;
        self.rung = Rung::Shed;
        self.shed = Some(shed);
        self.is_tried_once = false;
        self.picks.clear();
    }

    /// The sites whose nodes the key was ranked over.
    pub fn scope_sites(&self) -> impl Iterator<Item = SiteIndex> + '_ {
        self.sites
            .iter()
            .take(usize::from(self.scope))
            .map(|scored| scored.site)
    }
}
