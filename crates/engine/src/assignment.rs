//! Weights and priorities of a whole plan, for proxies that balance by themselves instead of asking for each request.
//!
//! What is lost against a decision: every client is taken to be where the proxy is, and keys have no owner. What is kept:
//! which sites are best from there, how much each node can take, and which are not well.

use super::evaluate::{self, ScoredFor, ScoredSite};
use super::geo::Location;
use super::locate;
use super::model::{AdminState, NodeIndex, SiteIndex};
use super::number;
use super::policy::{Action, Plan};
use super::query::{Client, Query};
use super::signal::{Admission, NodeSignals};
use super::snapshot::{LaneIndex, Snapshot};

/// Priorities told apart; sites beyond share the last.
pub const MAX_PRIORITIES: usize = 32;

/// How many parts a node's capacity is told in, so that a node at a small part of its weight still has a whole number.
const PARTS: f32 = 100.0;

/// The nodes of a plan, by site, best site first.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Assignment {
    /// At least one node each.
    pub sites: Vec<SiteShare>,
}

/// The nodes of a site.
#[derive(Debug, Clone, PartialEq)]
pub struct SiteShare {
    /// The site.
    pub site: SiteIndex,
    /// 0 is used first; each up to the highest is there.
    pub priority: u32,
    /// Its nodes but those in maintenance.
    pub nodes: Vec<NodeShare>,
}

/// A node's part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeShare {
    /// The node.
    pub node: NodeIndex,
    /// Relative to the others of all sites, 1 to 100,000.
    pub weight: u32,
    /// Whether it should be used.
    pub fitness: Fitness,
}

/// Whether a node should be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fitness {
    /// Yes.
    Well,
    /// When too few others are well.
    Doubtful,
    /// No.
    Unwell,
    /// For what it has begun.
    Draining,
}

/// The assignment for the pool, or else the rule, called `name`, seen from `place`; `None` if there is neither.
///
/// A pool has one step, a rule all of its own; the sites of a later step come after those of an earlier one. Sites within
/// the policy's spread of the best of their step share a priority.
pub fn assign(snapshot: &Snapshot, name: &str, place: Option<Location>) -> Option<Assignment> {
    let plan = plan_of(snapshot, name)?;
    let query = Query {
        client: Client {
            location: place,
            ..Client::default()
        },
        ..Query::default()
    };
    let located = locate::locate(snapshot, &query);
    let is_nowhere = located.spot.is_none();
    let scored_for = ScoredFor {
        plan,
        located: &located,
        expected_gb: number::gigabytes(plan.expected_bytes),
        lane: LaneIndex::First,
    };
    let mut assignment = Assignment::default();
    let mut listed = vec![false; snapshot.topology().nodes().len()];
    let mut priority = 0;
    for tier in &plan.tiers {
        let mut sites = evaluate::score_sites(snapshot, tier.set, scored_for);
        sites.sort_by(|a, b| a.total_ms.total_cmp(&b.total_ms).then(a.site.cmp(&b.site)));
        let mut best_ms = None;
        for ScoredSite { site, total_ms, .. } in sites {
            let set = snapshot.routing().node_set(tier.set);
            let of_site = set.sites().iter().find(|entry| entry.site == site);
            let members = of_site.map_or(&[] as &[_], |entry| set.members_of(entry));
            let new = members.iter().filter(|node| {
                let mark = listed.get_mut(node.get());
                mark.is_some_and(|mark| !std::mem::replace(mark, true))
            });
            let nodes: Vec<NodeShare> = new.filter_map(|node| share(snapshot, *node)).collect();
            if nodes.is_empty() {
                continue;
            }
            // Nobody knows which site is near a proxy that nobody can place: all are used alike.
            let is_near =
                best_ms.is_some_and(|best: f32| is_nowhere || total_ms <= best + plan.spread_ms);
            if !is_near && !assignment.sites.is_empty() {
                priority = (priority + 1).min(MAX_PRIORITIES - 1);
            }
            best_ms = best_ms.or(Some(total_ms));
            assignment.sites.push(SiteShare {
                site,
                priority: u32::try_from(priority).unwrap_or(u32::MAX),
                nodes,
            });
        }
    }
    Some(assignment)
}

fn plan_of<'s>(snapshot: &'s Snapshot, name: &str) -> Option<&'s Plan> {
    let routing = snapshot.routing();
    let pool = routing.pools().iter().find(|pool| &*pool.name == name);
    let rule = || {
        let mut rules = routing
            .rules()
            .iter()
            .filter(|rule| rule.action == Action::Route);
        rules.find(|rule| &*rule.name == name)
    };
    pool.map(|pool| &pool.plan)
        .or_else(|| rule().map(|rule| &rule.plan))
}

/// A node's part; `None` in maintenance.
fn share(snapshot: &Snapshot, index: NodeIndex) -> Option<NodeShare> {
    let node = snapshot.topology().node(index);
    let known = snapshot.signals().node(index);
    let (fitness, part) = match node.state {
        AdminState::Maintenance => return None,
        AdminState::Drain => (Fitness::Draining, 1.0),
        AdminState::Ready => fitness(&known),
    };
    let weight = f32::from(node.capacity) * known.weight_factor * part * PARTS;
    let whole = number::to_u64(f64::from(weight) + 0.5);
    Some(NodeShare {
        node: index,
        weight: u32::try_from(whole).unwrap_or(u32::MAX).max(1),
        fitness,
    })
}

/// Whether a node should be used, and with which part of its weight.
fn fitness(known: &NodeSignals) -> (Fitness, f32) {
    match known.admission {
        Admission::Admitted => (Fitness::Well, 1.0),
        Admission::Probing { slice } => (Fitness::Well, f32::from(slice) / 65_536.0),
        Admission::Overloaded | Admission::Unknown => (Fitness::Doubtful, 1.0),
        Admission::Unhealthy | Admission::BreakerOpen => (Fitness::Unwell, 1.0),
    }
}
