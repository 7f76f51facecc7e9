//! A decision, step by step: locate, match, choose a tier, score sites, rank nodes, list fallbacks.
//!
//! All the branching of a decision is here; what it calls is arithmetic. [`evaluate`] is total and a pure function of
//! its arguments: no clock, no lock, no counter, no allocation.

mod fallback;
mod later;
mod lead;
mod order;
mod restriction;
mod share;
mod sites;
mod widen;

use arrayvec::ArrayVec;

use super::hash::{self, KeyHash};
use super::locate::{self, Located};
use super::model::{NodeIndex, PoolIndex, RuleIndex, SiteIndex, names};
use super::policy::{Action, Affinity, Matched, PanicMode, Plan, PlanTier};
use super::query::{MAX_CANDIDATES, MAX_TRIED, Query};
use super::request::host::{HostRoom, normal_host};
use super::signal::Readmission;
use super::snapshot::{RankTable, Roster, Snapshot};

pub use share::{Sharing, sharing_of};
pub use sites::{MAX_SCORED_SITES, ScoredSite, score_sites};

/// The outcome of one query, from which answers and explanations are made.
#[derive(Debug, Clone)]
pub struct Evaluation {
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
    /// Position of the tier in the plan that was chosen. The first node is of it, unless all of its nodes were tried.
    pub tier: u8,
    /// The best sites of that tier, best first; the first `scope` of them share the key. For a client that is shared out,
    /// first those that share it.
    pub sites: ArrayVec<ScoredSite, MAX_SCORED_SITES>,
    /// How many of `sites` the key was ranked over.
    pub scope: u8,
    /// The nodes to use, in order.
    pub picks: ArrayVec<Pick, MAX_CANDIDATES>,
    /// The size the cost term was taken for, in gigabytes.
    pub expected_gb: f32,
}

/// Whether nodes are named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Use the nodes listed.
    Route,
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
    /// Of two nodes the one with less to do: the pool has no affinity.
    LessLoaded,
    /// The owner was tried already; the next in the key's order.
    OwnerTried,
    /// Every node of the best site was tried already; the owner at another site.
    SiteTried,
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
    /// What its site is expected to cost this client, in ms; `None` where that is not known, because the client's place
    /// is not.
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
    /// Later in the key's order at the same site (or sites).
    NextInOrder,
    /// At another site, best site first: the key's owner there, or the next in its order.
    NextSite,
    /// In a later tier: the key's owner there, or the next in its order.
    NextTier,
    /// The same at the origin.
    Origin,
}

names! { Verdict { Route = "route", Refuse = "refuse", } }
names! { Reason {
    Owner = "owner",
    HotCopy = "hot_copy",
    Spilled = "spilled",
    SiteSpilled = "site_spilled",
    Probe = "probe",
    LessLoaded = "less_loaded",
    OwnerTried = "owner_tried",
    SiteTried = "site_tried",
    Restricted = "restricted",
    Readmitted = "readmitted",
    NextTier = "next_tier",
    Panic = "panic",
    Origin = "origin",
    RefusedByRule = "refused_by_rule",
    NoRule = "no_rule",
    UnknownPool = "unknown_pool",
    NoNode = "no_node",
} }
names! { Rung {
    Normal = "normal",
    Unknown = "unknown",
    Overloaded = "overloaded",
    HalfOpen = "half_open",
    NextTier = "next_tier",
    Panic = "panic",
    Origin = "origin",
    Refuse = "refuse",
} }
names! { Role {
    Owner = "owner",
    HotCopy = "hot_copy",
    Probe = "probe",
    NextInOrder = "next_in_order",
    NextSite = "next_site",
    NextTier = "next_tier",
    Origin = "origin",
} }

/// The nodes that a caller has tried already.
type Tried = ArrayVec<NodeIndex, MAX_TRIED>;

/// Where the first node is looked for.
#[derive(Clone, Copy)]
struct Stage<'s> {
    /// Position of the tier in the plan.
    tier: usize,
    plan_tier: PlanTier,
    table: &'s RankTable,
    roster: &'s Roster,
    rung: Rung,
}

/// Decides one query.
#[inline]
pub fn evaluate(snapshot: &Snapshot, query: &Query<'_>) -> Evaluation {
    evaluate_at(snapshot, query, locate::locate(snapshot, query))
}

/// Decides one query of a client that was located already.
pub fn evaluate_at(snapshot: &Snapshot, query: &Query<'_>, located: Located) -> Evaluation {
    let mut room = HostRoom::new();
    let host = normal_host(query.host, &mut room);
    let policy = snapshot.policy();
    let matched = policy.match_query(query, host, (located.place.country, located.place.asn));
    let (plan, matched_by) = match matched {
        Matched::Rule(index, rule) if rule.action == Action::Refuse => {
            return Evaluation::refused(located, MatchedBy::Rule(index), Reason::RefusedByRule);
        }
        Matched::Rule(index, rule) => (&rule.plan, MatchedBy::Rule(index)),
        Matched::Pool(index, pool) => (&pool.plan, MatchedBy::Pool(index)),
        Matched::UnknownPool => {
            return Evaluation::refused(located, MatchedBy::Nothing, Reason::UnknownPool);
        }
        Matched::Nothing => {
            return Evaluation::refused(located, MatchedBy::Nothing, Reason::NoRule);
        }
    };
    let Some(stage) = choose_stage(snapshot, plan) else {
        return Evaluation::refused(located, matched_by, Reason::NoNode);
    };
    let object = plan.key.key_of(query, host);
    let keys = Keys { object, query };
    let request = Request {
        snapshot,
        plan,
        located,
        client: located.place.is_vague().then(|| keys.of_network()),
        keys,
        tried: query
            .tried
            .iter()
            .filter_map(|id| policy.find_node(id))
            .take(MAX_TRIED)
            .collect(),
        wanted: usize::from(query.candidates.unwrap_or(plan.candidates)).clamp(1, MAX_CANDIDATES),
        expected_gb: super::number::gigabytes(query.size_bytes.unwrap_or(plan.expected_bytes)),
    };
    let mut evaluation = fallback::list(&request, stage, matched_by);
    if !query.only.is_empty() {
        restriction::restrict(&request, (query.only, stage.rung), &mut evaluation);
    }
    evaluation
}

/// A query that found its plan, with all that is the same for every step.
struct Request<'s, 'q> {
    snapshot: &'s Snapshot,
    plan: &'s Plan,
    located: Located,
    /// What the client is shared out among sites by, if it is.
    client: Option<KeyHash>,
    keys: Keys<'q>,
    tried: Tried,
    wanted: usize,
    expected_gb: f32,
}

/// What nodes are ranked by, for each kind of affinity.
struct Keys<'q> {
    object: KeyHash,
    query: &'q Query<'q>,
}

impl Keys<'_> {
    fn for_affinity(&self, affinity: Affinity, located: &Located) -> KeyHash {
        match affinity {
            Affinity::Key => self.object,
            Affinity::Client => self.client(located),
            Affinity::None => self.of_request(located),
        }
    }

    /// What tells requests for one object apart: the request's id, else the client.
    fn of_request(&self, located: &Located) -> KeyHash {
        if self.query.request_id.is_empty() {
            KeyHash(self.object.0 ^ self.client(located).0.rotate_left(32))
        } else {
            hash::key(&[self.query.request_id])
        }
    }

    fn client(&self, located: &Located) -> KeyHash {
        match self.query.client.ip.map(|ip| ip.to_canonical()) {
            Some(std::net::IpAddr::V4(ip)) => hash::key(&[&ip.octets()]),
            Some(std::net::IpAddr::V6(ip)) => hash::key(&[&ip.octets()]),
            None => match &located.spot {
                Some(spot) => hash::key(&[&spot.cell.id().to_le_bytes()]),
                None => self.object,
            },
        }
    }

    /// What a client of a vague place is shared out among sites by: its network, else the object.
    #[cold]
    fn of_network(&self) -> KeyHash {
        match self.query.client.network() {
            Some(std::net::IpAddr::V4(ip)) => hash::key(&[&ip.octets()]),
            Some(std::net::IpAddr::V6(ip)) => hash::key(&[&ip.octets()]),
            None => self.object,
        }
    }
}

/// The first tier to look for nodes in, by the ladder of degradation: tiers before the origin of which enough is well,
/// then every node of such a tier that is not in maintenance, then the origin.
fn choose_stage<'s>(snapshot: &'s Snapshot, plan: &Plan) -> Option<Stage<'s>> {
    let policy = snapshot.policy();
    let stages = || {
        plan.tiers
            .iter()
            .copied()
            .enumerate()
            .map(|(tier, plan_tier)| {
                (
                    tier,
                    plan_tier,
                    snapshot.table(plan_tier.set),
                    policy.node_set(plan_tier.set).is_origin(),
                )
            })
    };
    // A plan that begins at the origin is not degraded by using it.
    let sufficient = stages()
        .find(|(tier, _, table, is_origin)| (*tier == 0 || !is_origin) && table.is_sufficient());
    if let Some((tier, plan_tier, table, _)) = sufficient {
        let rung = match (tier, table.readmission()) {
            (1.., _) => Rung::NextTier,
            (0, Readmission::None | Readmission::Insufficient) => Rung::Normal,
            (0, Readmission::Unknown) => Rung::Unknown,
            (0, Readmission::Overloaded) => Rung::Overloaded,
            (0, Readmission::HalfOpen) => Rung::HalfOpen,
        };
        return Some(Stage {
            tier,
            plan_tier,
            table,
            roster: table.ready(),
            rung,
        });
    }
    let mode = policy.panic_mode();
    let panicking = stages()
        .find(|(tier, _, table, is_origin)| {
            (*tier == 0 || !is_origin) && !table.everyone().is_empty()
        })
        .filter(|_| mode == PanicMode::AllReady);
    if let Some((tier, plan_tier, table, _)) = panicking {
        return Some(Stage {
            tier,
            plan_tier,
            table,
            roster: table.everyone(),
            rung: Rung::Panic,
        });
    }
    let origin = stages().find(|(_, _, table, is_origin)| {
        *is_origin && !(table.ready().is_empty() && table.everyone().is_empty())
    });
    let (tier, plan_tier, table, _) = origin.filter(|_| mode != PanicMode::Refuse)?;
    let roster = if table.ready().is_empty() {
        table.everyone()
    } else {
        table.ready()
    };
    Some(Stage {
        tier,
        plan_tier,
        table,
        roster,
        rung: Rung::Origin,
    })
}

impl Evaluation {
    fn refused(located: Located, matched: MatchedBy, reason: Reason) -> Self {
        Self {
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
            tier: 0,
            sites: ArrayVec::new(),
            scope: 0,
            picks: ArrayVec::new(),
            expected_gb: 0.0,
        }
    }

    /// The sites whose nodes the key was ranked over.
    pub fn scope_sites(&self) -> impl Iterator<Item = SiteIndex> + '_ {
        self.sites
            .iter()
            .take(usize::from(self.scope))
            .map(|scored| scored.site)
    }
}
