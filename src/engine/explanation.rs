//! Why a decision fell as it did: every site in milliseconds, every node in its place, and what would change it.
//!
//! The other view of an [`Evaluation`]. It is made when somebody asks, from the same snapshot with the same functions,
//! so it can not tell another story than the answer.

use std::collections::BTreeMap;

use super::decision::Decision;
use super::evaluate::{Evaluation, MAX_SCORED_SITES, Rung, Sharing, sharing_of};
use super::geo::distance::{chord_squared, distance_km};
use super::model::{AdminState, NodeIndex, SiteIndex, names};
use super::policy::Plan;
use super::query::Query;
use super::rank;
use super::score::Terms;
use super::signal::{Admission, Evidence, Standing};
use super::snapshot::{RankTable, Roster, Snapshot};
use super::topology::Node;

/// Most sites an explanation lists.
pub const MAX_SITES_SHOWN: usize = 32;

/// Most nodes an explanation lists, first those in the key's order, then those eliminated.
pub const MAX_NODES_SHOWN: usize = 64;

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
    /// The best site outside the scope, and how much slower the chosen one would have to be for it to win, in ms.
    pub runner_up: Option<RunnerUp>,
    /// The second node in the key's order, and what would make it the first.
    pub second_node: Option<SecondNode>,
    /// How many sites share clients whose place is no better known than this one's; 0 where it is known well enough.
    pub sharing_sites: usize,
    /// Sites that are within the spread and do not share the key, because at most
    /// [`MAX_SCORED_SITES`] do.
    pub spread_cut: usize,
}

/// A site and its score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SiteLine {
    /// The site.
    pub site: SiteIndex,
    /// From the client's cell, in km; `None` where nothing is known of the client's place, and the network term is not
    /// known either.
    pub distance_km: Option<f32>,
    /// The parts of the score.
    pub terms: Terms,
    /// What the parts rest on.
    pub evidence: TermEvidence,
    /// Its place in the decision.
    pub standing: SiteStanding,
    /// Nodes that could be named there.
    pub admitted_nodes: usize,
}

/// What the terms of a site rest on; cost and bias are the policy's word.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct TermEvidence {
    /// For the network term.
    pub network: Evidence,
    /// For the queue term.
    pub queue: Evidence,
    /// For the miss term.
    pub miss: Evidence,
    /// For the error term.
    pub error: Evidence,
}

impl TermEvidence {
    /// Each with the name of its term.
    pub fn named(&self) -> [(&'static str, Evidence); 4] {
        let Self {
            network,
            queue,
            miss,
            error,
        } = *self;
        [
            ("network", network),
            ("queue", queue),
            ("miss", miss),
            ("error", error),
        ]
    }
}

/// A site's place in the decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SiteStanding {
    /// The key was ranked over its nodes.
    InScope,
    /// Shares clients like this one with the chosen one: too little is known of its place to tell them apart.
    Sharing,
    /// Could stand in when the chosen one fails.
    Fallback,
    /// Further behind the best than the bound allows.
    TooFar,
    /// No node of it could be named.
    NoNode,
}

/// A node and its fate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NodeLine {
    /// The node.
    pub node: NodeIndex,
    /// Its weight in the race.
    pub weight: f32,
    /// Its time in the race, in 1/weight; the smallest wins. `None` outside the sites that share the key.
    pub race: Option<f32>,
    /// Its place in the answer, from 1.
    pub place: Option<usize>,
    /// Why it could not be named.
    pub eliminated: Option<Elimination>,
}

/// Why a node could not be named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Elimination {
    /// The caller tried it already, or can not use it.
    ExcludedByCaller,
    /// Operators took it out of service.
    Maintenance,
    /// Operators let it run empty.
    Draining,
    /// It lacks a label that the rule requires.
    Capability,
    /// Its site stands outside the rule's fence.
    Geofence,
    /// Its breaker is open after failures.
    BreakerOpen,
    /// Its breaker is half open: it is tried with a slice of its keys, and this key is of another.
    Recovering,
    /// Probes say it is not well.
    Unhealthy,
    /// Its load is too high.
    Overloaded,
    /// Its site is further behind the best than the bound allows.
    TooFar,
}

/// The best site that was not used.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RunnerUp {
    /// The site.
    pub site: SiteIndex,
    /// It would win if the chosen site were slower by this, in ms.
    pub flip_ms: f32,
}

/// The node behind the owner.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SecondNode {
    /// The node.
    pub node: NodeIndex,
    /// It would own the key if its weight were larger by this factor.
    pub flip_weight_ratio: f32,
}

names! { Elimination {
    ExcludedByCaller = "excluded_by_caller",
    Maintenance = "maintenance",
    Draining = "draining",
    Capability = "capability",
    Geofence = "geofence",
    BreakerOpen = "breaker_open",
    Recovering = "recovering",
    Unhealthy = "unhealthy",
    Overloaded = "overloaded",
    TooFar = "too_far",
} }

names! { SiteStanding {
    InScope = "in_scope",
    Sharing = "sharing",
    Fallback = "fallback",
    TooFar = "too_far",
    NoNode = "no_node",
} }

impl Explanation {
    /// Explains `evaluation`, which was made from `snapshot` and `query`.
    pub fn new(snapshot: &Snapshot, query: &Query<'_>, evaluation: &Evaluation) -> Self {
        let Some(context) = Context::new(snapshot, query, evaluation) else {
            return Self::default();
        };
        let mut sites = context.sites();
        let mut nodes = context.nodes(&sites);
        let mut eliminated = BTreeMap::new();
        for reason in nodes.iter().filter_map(|line| line.eliminated) {
            *eliminated.entry(reason).or_default() += 1;
        }
        let runner_up = context.runner_up(&sites);
        let sharing_sites = context.sharing.map_or(0, |sharing| {
            let has_nodes = |line: &&SiteLine| line.standing != SiteStanding::NoNode;
            let shares =
                |line: &&SiteLine| context.shares(sharing, line.site, line.terms.total_ms());
            sites.iter().filter(has_nodes).filter(shares).count()
        });
        let second_node = context.second_node(&nodes);
        let spread_cut = context.spread_cut(&sites);
        let (site_count, node_count) = (sites.len(), nodes.len());
        sites.truncate(MAX_SITES_SHOWN);
        nodes.truncate(MAX_NODES_SHOWN);
        Self {
            sites_not_shown: site_count - sites.len(),
            sites,
            nodes_not_shown: node_count - nodes.len(),
            nodes,
            eliminated,
            runner_up,
            second_node,
            sharing_sites,
            spread_cut,
        }
    }
}

struct Context<'a> {
    snapshot: &'a Snapshot,
    evaluation: &'a Evaluation,
    plan: &'a Plan,
    /// All nodes of the pool, whatever the plan demands of them.
    members: &'a [NodeIndex],
    table: &'a RankTable,
    roster: &'a Roster,
    /// Among which sites the client was shared out, if it was.
    sharing: Option<Sharing>,
    tried: Vec<NodeIndex>,
    /// Those that the caller can use; empty for all.
    only: Vec<NodeIndex>,
}

impl<'a> Context<'a> {
    /// `None` when no plan was followed, so that there is nothing to explain but the reason.
    fn new(snapshot: &'a Snapshot, query: &Query<'_>, evaluation: &'a Evaluation) -> Option<Self> {
        let policy = snapshot.policy();
        let plan = Decision::new(snapshot, evaluation).plan()?;
        let tier = plan.tiers.get(usize::from(evaluation.tier))?;
        let pool = policy.pools().get(tier.pool.get())?.plan.tiers.first()?;
        let table = snapshot.table(tier.set);
        let tried = query.tried.iter();
        let roster = match evaluation.rung {
            // A caller that can use some nodes only may be on this rung alone.
            Rung::Panic | Rung::Refuse
                if !table.is_sufficient() && !table.everyone().is_empty() =>
            {
                table.everyone()
            }
            Rung::Origin if table.ready().is_empty() => table.everyone(),
            _ => table.ready(),
        };
        Some(Self {
            snapshot,
            evaluation,
            plan,
            members: policy.node_set(pool.set).members(),
            table,
            roster,
            sharing: sharing_of(snapshot, evaluation, plan, (table, roster)),
            tried: tried.filter_map(|id| policy.find_node(id)).collect(),
            only: query
                .only
                .iter()
                .filter_map(|id| policy.find_node(id))
                .collect(),
        })
    }

    /// Every node of the pool: first those in the answer, then by their race.
    fn nodes(&self, sites: &[SiteLine]) -> Vec<NodeLine> {
        let topology = self.snapshot.topology();
        let mut line_of_site = vec![None; topology.sites().len()];
        for line in sites {
            if let Some(place) = line_of_site.get_mut(line.site.get()) {
                *place = Some(line);
            }
        }
        let lines = self.members.iter().map(|node| {
            let site = line_of_site.get(topology.site_of(*node).get());
            self.node_line(*node, site.copied().flatten())
        });
        let mut lines: Vec<NodeLine> = lines.collect();
        let id = |line: &NodeLine| &topology.node(line.node).id;
        lines.sort_by(|a, b| {
            let place = |line: &NodeLine| line.place.unwrap_or(usize::MAX);
            let race = |line: &NodeLine| line.race.unwrap_or(f32::INFINITY);
            place(a)
                .cmp(&place(b))
                .then(race(a).total_cmp(&race(b)))
                .then_with(|| id(a).cmp(id(b)))
        });
        lines
    }

    /// Every site of the tier with its score, best first, those without nodes last.
    fn sites(&self) -> Vec<SiteLine> {
        let model = self.snapshot.policy().score();
        let signals = self.snapshot.signals();
        let all_sites = self.snapshot.topology().sites().len();
        let located = &self.evaluation.located;
        let cell = located.measured_cell();
        let measured = cell.map_or(&[] as &[_], |cell| signals.network.of_cell(cell));
        let mut lines: Vec<SiteLine> = (0_u16..)
            .zip(self.table.sites())
            .map(|(position, row)| {
                let chord = located
                    .spot
                    .map(|spot| chord_squared(spot.point, row.point));
                let measured = measured.iter().find(|measured| measured.site == row.site);
                let known = signals.standing(self.plan.class_index, row.site, all_sites);
                let standing = known.copied().unwrap_or_else(|| Standing {
                    terms: model.standing_terms(row.site, &model.prior()),
                    ..Standing::default()
                });
                let network = measured.map_or_else(
                    || {
                        chord.map_or(0.0, |chord| {
                            model.mean_geographic_ms(chord, located.place.radius)
                        })
                    },
                    |measured| measured.network_ms,
                );
                let terms = Terms {
                    network: network * model.network_weight,
                    cost: model.cost_ms(row.price_usd_per_gb, self.evaluation.expected_gb),
                    ..standing.terms
                };
                let evidence = TermEvidence {
                    network: measured.map_or_else(Evidence::default, |measured| measured.evidence),
                    queue: standing.queue,
                    miss: standing.miss,
                    error: standing.error,
                };
                let admitted_nodes = self
                    .roster
                    .segment(position)
                    .map_or(0, |segment| segment.len() as usize);
                SiteLine {
                    site: row.site,
                    distance_km: chord.map(distance_km),
                    terms,
                    evidence,
                    standing: self.standing(row.site, terms.total_ms(), admitted_nodes),
                    admitted_nodes,
                }
            })
            .collect();
        // Where sites share clients, their scores do not tell which of them was chosen.
        let group = |line: &SiteLine| match line.standing {
            SiteStanding::NoNode => 3,
            SiteStanding::InScope if self.sharing.is_some() => 0,
            SiteStanding::Sharing => 1,
            _ => 2,
        };
        lines.sort_by(|a, b| {
            group(a)
                .cmp(&group(b))
                .then(a.terms.total_ms().total_cmp(&b.terms.total_ms()))
                .then(a.site.cmp(&b.site))
        });
        lines
    }

    fn standing(&self, site: SiteIndex, total_ms: f32, admitted_nodes: usize) -> SiteStanding {
        let best_ms = self
            .evaluation
            .sites
            .first()
            .map_or(total_ms, |best| best.total_ms);
        if admitted_nodes == 0 {
            SiteStanding::NoNode
        } else if self.evaluation.scope_sites().any(|scoped| scoped == site) {
            SiteStanding::InScope
        } else if self
            .sharing
            .is_some_and(|sharing| self.shares(sharing, site, total_ms))
        {
            SiteStanding::Sharing
        } else if self
            .plan
            .max_detour_ms
            .is_some_and(|detour| total_ms > best_ms + detour)
        {
            SiteStanding::TooFar
        } else {
            SiteStanding::Fallback
        }
    }

    /// Whether a site with this score gets a share of clients like this one.
    fn shares(&self, sharing: Sharing, site: SiteIndex, total_ms: f32) -> bool {
        sharing.includes(total_ms, self.snapshot.topology().site(site).country)
    }

    /// Sites within the spread that are one too many to share the key; a better one that gave the client away is none.
    /// Which sites are near the one that a shared client was given to is another question.
    fn spread_cut(&self, sites: &[SiteLine]) -> usize {
        let Some(best) = self
            .evaluation
            .sites
            .first()
            .filter(|_| self.sharing.is_none())
        else {
            return 0;
        };
        let within = best.total_ms..=best.total_ms + self.plan.spread_ms;
        let cut = sites.iter().filter(|line| {
            let could_share =
                !matches!(line.standing, SiteStanding::InScope | SiteStanding::NoNode);
            could_share && within.contains(&line.terms.total_ms())
        });
        cut.count()
    }

    /// None where sites share the client: a hash decides among them, and no number of milliseconds.
    fn runner_up(&self, sites: &[SiteLine]) -> Option<RunnerUp> {
        if self.sharing.is_some() {
            return None;
        }
        let best_ms = self.evaluation.sites.first()?.total_ms;
        // A better one has given the client away; a little is left for rounding.
        let is_behind = |line: &&SiteLine| line.terms.total_ms() > best_ms - 0.01;
        let mut others = sites.iter().filter(is_behind);
        let other = others
            .find(|line| !matches!(line.standing, SiteStanding::InScope | SiteStanding::NoNode))?;
        Some(RunnerUp {
            site: other.site,
            flip_ms: other.terms.total_ms() - best_ms,
        })
    }

    fn node_line(&self, index: NodeIndex, site: Option<&SiteLine>) -> NodeLine {
        let node = self.snapshot.topology().node(index);
        let position = self.position_of(index, node);
        let in_scope = site.is_some_and(|line| line.standing == SiteStanding::InScope);
        let place = self
            .evaluation
            .picks
            .iter()
            .position(|pick| pick.node == index)
            .map(|at| at + 1);
        let ran = position.filter(|_| in_scope);
        NodeLine {
            node: index,
            weight: f32::from(node.capacity) * self.snapshot.signals().node(index).weight_factor,
            race: ran.map(|position| {
                rank::race_of(self.roster.columns(), position, self.evaluation.key)
            }),
            place,
            eliminated: if place.is_some() {
                None
            } else {
                self.elimination(index, node, site)
            },
        }
    }

    fn position_of(&self, index: NodeIndex, node: &Node) -> Option<u32> {
        let at = self
            .table
            .sites()
            .binary_search_by_key(&node.site, |row| row.site)
            .ok()?;
        let segment = self.roster.segment(u16::try_from(at).ok()?)?;
        self.roster.position_of(segment, index)
    }

    /// The second of those that ran at the chosen sites and could be named; the list itself may put another before it, so
    /// that it has two sites.
    fn second_node(&self, nodes: &[NodeLine]) -> Option<SecondNode> {
        let first = nodes.first()?.race?;
        let could = nodes
            .iter()
            .skip(1)
            .filter(|line| line.eliminated.is_none());
        let id = |node| &self.snapshot.topology().node(node).id;
        let second = could
            .filter_map(|line| Some((line.race.filter(|race| *race >= first)?, line.node)))
            .min_by(|a, b| a.0.total_cmp(&b.0).then_with(|| id(a.1).cmp(id(b.1))))?;
        Some(SecondNode {
            node: second.1,
            flip_weight_ratio: second.0 / first,
        })
    }

    fn elimination(
        &self,
        index: NodeIndex,
        node: &Node,
        site: Option<&SiteLine>,
    ) -> Option<Elimination> {
        let demands = &self.plan.demands;
        let signals = self.snapshot.signals();
        let admitted = self.position_of(index, node).is_some();
        let is_usable = self.only.is_empty() || self.only.contains(&index);
        if self.tried.contains(&index) || !is_usable {
            Some(Elimination::ExcludedByCaller)
        } else if !demands.capable(node) {
            Some(Elimination::Capability)
        } else if !demands.inside_fence(node, self.snapshot.topology()) {
            Some(Elimination::Geofence)
        } else if node.state == AdminState::Maintenance {
            Some(Elimination::Maintenance)
        } else if node.state == AdminState::Drain && !admitted {
            Some(Elimination::Draining)
        } else if !admitted {
            Some(match signals.node(index).admission {
                Admission::Overloaded => Elimination::Overloaded,
                Admission::BreakerOpen => Elimination::BreakerOpen,
                Admission::Probing { .. } | Admission::Admitted => Elimination::Recovering,
                Admission::Unknown | Admission::Unhealthy => Elimination::Unhealthy,
            })
        } else if site.is_some_and(|line| line.standing == SiteStanding::TooFar) {
            Some(Elimination::TooFar)
        } else {
            None
        }
    }
}

const _: () = assert!(
    MAX_SCORED_SITES <= MAX_SITES_SHOWN,
    "every scored site is shown"
);
