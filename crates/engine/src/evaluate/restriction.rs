//! Callers that can use some nodes only, such as an Envoy whose route selects a subset of its cluster.
//!
//! The list keeps its order. Where the nodes it leaves do not fill it, the others that the caller can use follow: tier by
//! tier, best site first, and at each site in the key's order, so that every sidecar names the same.

use std::cmp::Ordering;

use arrayvec::ArrayVec;

use super::scorer::{ScoredSite, Scorer};
use super::sites::Turn;
use super::{Evaluation, Pick, Reason, Request, Role, Rung, Staged, Verdict};
use crate::hash::KeyHash;
use crate::model::{AdminState, NodeIndex};
use crate::policy::PlanTier;
use crate::query::MAX_ONLY;
use crate::rank;
use crate::signal::Admission;

/// The nodes that a caller can use, in table order.
type Usable = ArrayVec<NodeIndex, MAX_ONLY>;

/// Leaves only nodes of `only` in the list, and fills it up with others of them.
pub(super) fn restrict(request: &Request<'_, '_>, only: &[&str], evaluation: &mut Evaluation) {
    let usable = usable(request, only);
    let first = evaluation.picks.first().map(|pick| pick.node);
    evaluation
        .picks
        .retain(|pick| usable.binary_search(&pick.node).is_ok());
    fill_up(request, &usable, evaluation);
    match evaluation.picks.first() {
        Some(pick) if first == Some(pick.node) => {}
        Some(_) => {
            evaluation.verdict = Verdict::Route;
            evaluation.reason = Reason::Restricted;
        }
        None => {
            evaluation.verdict = Verdict::Refuse;
            evaluation.reason = Reason::NoNode;
            evaluation.rung = Rung::Refuse;
        }
    }
}

/// The nodes of `only` that the plan may use, nobody twice.
fn usable(request: &Request<'_, '_>, only: &[&str]) -> Usable {
    let routing = request.lane.routing();
    let is_planned = |node: &NodeIndex| {
        let sets = request.plan.tiers.iter().skip(request.begin);
        let mut sets = sets.map(|tier| routing.node_set(tier.set));
        sets.any(|set| set.members().binary_search(node).is_ok())
    };
    let known = only.iter().filter_map(|id| routing.find_node(id));
    let mut usable: Usable = known.filter(is_planned).take(MAX_ONLY).collect();
    usable.sort_unstable();
    let mut before = None;
    usable.retain(|node| before.replace(*node) != Some(*node));
    usable
}

/// Appends nodes that may be named; if the list would stay empty, those that are not in maintenance.
fn fill_up(request: &Request<'_, '_>, usable: &Usable, evaluation: &mut Evaluation) {
    let rung = evaluation.stage.map_or(evaluation.rung, |stage| stage.rung);
    let topology = request.snapshot.topology();
    let signals = request.snapshot.signals();
    evaluation.rung = rung;
    append(request, usable, evaluation, |node| {
        let admitted = signals.node(node).admission == Admission::Admitted;
        admitted && topology.node(node).state == AdminState::Ready
    });
    if evaluation.picks.is_empty() {
        evaluation.rung = rung.max(Rung::Panic);
        append(request, usable, evaluation, |node| {
            topology.node(node).state != AdminState::Maintenance
        });
    }
}

fn append(
    request: &Request<'_, '_>,
    usable: &Usable,
    evaluation: &mut Evaluation,
    may_be_named: impl Fn(NodeIndex) -> bool,
) {
    let room = request.wanted.saturating_sub(evaluation.picks.len());
    if room == 0 {
        return;
    }
    let is_new = |node: &NodeIndex| {
        let is_listed = evaluation.picks.iter().any(|pick| pick.node == *node);
        !is_listed && !request.tried.contains(node)
    };
    let mut others = ArrayVec::<Other, MAX_ONLY>::new();
    for (at, tier) in request.plan.tiers.iter().enumerate().skip(request.begin) {
        let members = request.lane.routing().node_set(tier.set).members();
        let table = request.lane.table(tier.set);
        let scorer = Scorer::new(request, table, table.ready());
        let shared = scorer.shared();
        for node in usable
            .iter()
            .filter(|node| members.binary_search(node).is_ok())
        {
            let is_met = others.iter().any(|other| other.node == *node);
            if is_new(node) && !is_met && may_be_named(*node) {
                let turn = |site| scorer.turn(shared, site);
                others.extend(Other::new(
                    request,
                    evaluation.key,
                    (at, *node),
                    &scorer,
                    turn,
                ));
            }
        }
    }
    others.sort_unstable_by(|a, b| a.order(b, request));
    for other in others.iter().take(room) {
        evaluation.picks.push(Pick {
            node: other.node,
            expected_ms: request.expected_ms(other.site.total_ms),
            role: other.role(request, evaluation),
        });
    }
}

/// A node that is not of the list, and what its place is decided by.
#[derive(Clone, Copy)]
struct Other {
    node: NodeIndex,
    /// Position of its tier in the plan.
    tier: usize,
    site: ScoredSite,
    /// Its site's turn among those of the tier.
    turn: Turn,
    race: f32,
}

impl Other {
    fn new(
        request: &Request<'_, '_>,
        key: KeyHash,
        (tier, node): (usize, NodeIndex),
        scorer: &Scorer<'_>,
        turn: impl Fn(ScoredSite) -> Turn,
    ) -> Option<Self> {
        let of_node = request.snapshot.topology().node(node);
        let rows = scorer.table.sites();
        let at = rows.binary_search_by_key(&of_node.site, |row| row.site);
        let (site, _) = scorer.score_any(u16::try_from(at.ok()?).ok()?)?;
        let factor = request.snapshot.signals().node(node).weight_factor;
        let weight = f32::from(of_node.capacity) * factor;
        Some(Self {
            node,
            tier,
            site,
            turn: turn(site),
            race: rank::race_of_node(of_node.seed, weight, key),
        })
    }

    /// Tier by tier, best site first, and at each in the key's order.
    fn order(&self, other: &Self, request: &Request<'_, '_>) -> Ordering {
        let id = |one: &Self| &request.snapshot.topology().node(one.node).id;
        self.tier
            .cmp(&other.tier)
            .then(self.turn.cmp(other.turn))
            .then(self.race.total_cmp(&other.race))
            .then_with(|| id(self).cmp(id(other)))
    }

    fn role(&self, request: &Request<'_, '_>, evaluation: &Evaluation) -> Role {
        let routing = request.lane.routing();
        let is_origin = |tier: &PlanTier| routing.node_set(tier.set).is_origin();
        let stage = evaluation.stage.unwrap_or(Staged::NOWHERE);
        let is_later = self.tier > usize::from(stage.tier);
        match request.plan.tiers.get(self.tier) {
            Some(tier) if is_later && is_origin(tier) => Role::Origin,
            Some(_) if is_later => Role::NextTier,
            _ if evaluation.scope_sites().any(|site| site == self.site.site) => Role::NextInOrder,
            _ => Role::NextSite,
        }
    }
}
