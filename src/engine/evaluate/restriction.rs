//! Callers that can use some nodes only, such as an Envoy whose route selects a subset of its cluster.
//!
//! The list keeps its order. Where the nodes it leaves do not fill it, the others that the caller can use follow in the
//! key's order, so that every sidecar names the same.

use super::{Evaluation, Pick, Reason, Request, Role, Rung, Verdict};
use crate::engine::model::{AdminState, NodeIndex};
use crate::engine::rank::{self, Columns, Top};
use crate::engine::signal::Admission;

/// Leaves only nodes of `only` in the list, and fills it up with others of them.
pub(super) fn restrict(request: &Request<'_, '_>, only: &[&str], evaluation: &mut Evaluation) {
    let policy = request.snapshot.policy();
    let mut usable: Vec<NodeIndex> = only.iter().filter_map(|id| policy.find_node(id)).collect();
    // In the order of the table, which decides ties; nobody twice.
    usable.sort_unstable();
    usable.dedup();
    let is_planned = |node: &NodeIndex| {
        let mut sets = request
            .plan
            .tiers
            .iter()
            .map(|tier| policy.node_set(tier.set));
        sets.any(|set| set.members().binary_search(node).is_ok())
    };
    usable.retain(is_planned);
    let first = evaluation.picks.first().map(|pick| pick.node);
    evaluation
        .picks
        .retain(|pick| usable.binary_search(&pick.node).is_ok());
    usable.retain(|node| {
        let listed = evaluation.picks.iter().any(|pick| pick.node == *node);
        !listed && !request.tried.contains(node)
    });
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

/// Appends nodes that may be named; if the list would stay empty, those that are not in maintenance.
fn fill_up(request: &Request<'_, '_>, usable: &[NodeIndex], evaluation: &mut Evaluation) {
    let topology = request.snapshot.topology();
    let signals = request.snapshot.signals();
    let is_well = |node: &NodeIndex| {
        let admitted = signals.node(*node).admission == Admission::Admitted;
        admitted && topology.node(*node).state == AdminState::Ready
    };
    append(request, usable.iter().copied().filter(is_well), evaluation);
    if evaluation.picks.is_empty() {
        let remains = |node: &NodeIndex| topology.node(*node).state != AdminState::Maintenance;
        append(request, usable.iter().copied().filter(remains), evaluation);
        evaluation.rung = evaluation.rung.max(Rung::Panic);
    }
}

fn append(
    request: &Request<'_, '_>,
    nodes: impl Iterator<Item = NodeIndex>,
    evaluation: &mut Evaluation,
) {
    let room = request.wanted.saturating_sub(evaluation.picks.len());
    let nodes: Vec<NodeIndex> = nodes.collect();
    if room == 0 || nodes.is_empty() {
        return;
    }
    let weighted = nodes.iter().map(|index| {
        let node = request.snapshot.topology().node(*index);
        let factor = request.snapshot.signals().node(*index).weight_factor;
        (node.seed, f32::from(node.capacity) * factor)
    });
    let (columns, segment) = Columns::of_nodes(weighted);
    let mut top = Top::new(room);
    rank::rank(&columns, segment, evaluation.key, &mut top);
    let ranked = top.iter();
    let ranked = ranked.filter_map(|entry| nodes.get(entry.position as usize));
    evaluation.picks.extend(ranked.map(|node| Pick {
        node: *node,
        // Its site was not scored for this list.
        expected_ms: None,
        role: Role::NextInOrder,
    }));
}
