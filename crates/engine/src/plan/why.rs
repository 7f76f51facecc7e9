//! Why a request goes elsewhere, in plain words: the first difference between two answers that explains the rest.

use super::answer::Answer;
use crate::evaluate::{MatchedBy, Reason};
use crate::explanation::{Elimination, Explanation, SiteLine};
use crate::model::{AdminState, NodeIndex};
use crate::topology::{Node, Site};

/// Terms nearer than this, in ms, have not changed: sums are rounded.
const ROUNDING_MS: f32 = 0.05;

/// Why `after` names another node first than `before`.
pub(super) fn why(before: &Answer<'_>, after: &Answer<'_>) -> String {
    let mut reasons = Vec::new();
    reasons.extend(other_rule(before, after));
    if let Some(refused) = refusal(after) {
        reasons.push(refused);
        return reasons.join("; ");
    }
    if let Some(refused) = refusal(before) {
        reasons.push(format!("before: {refused}"));
        return reasons.join("; ");
    }
    let steps = [
        node_fate,
        other_pool,
        other_place,
        other_site,
        other_key,
        other_weights,
        shared_sites,
    ];
    reasons.extend(steps.iter().find_map(|step| step(before, after)));
    if reasons.is_empty() {
        let [old, new] = [before, after].map(|answer| answer.evaluation.reason.name());
        reasons.push(format!("reason `{new}`, before `{old}`"));
    }
    reasons.join("; ")
}

fn other_rule(before: &Answer<'_>, after: &Answer<'_>) -> Option<String> {
    let [old, new] = [before, after].map(decided_by);
    (old != new).then(|| format!("{new} decides instead of {old}"))
}

fn decided_by(answer: &Answer<'_>) -> String {
    let routing = answer.snapshot.lane(answer.evaluation.lane).routing();
    match answer.evaluation.matched {
        MatchedBy::Rule(_) => answer
            .rule()
            .map_or_else(String::new, |rule| format!("rule `{}`", rule.name)),
        MatchedBy::Pool(pool) => format!("pool `{}`", routing.pool_name(pool)),
        MatchedBy::Nothing => "no rule".to_owned(),
    }
}

fn refusal(answer: &Answer<'_>) -> Option<String> {
    if answer.is_routed() {
        return None;
    }
    Some(match answer.evaluation.reason {
        Reason::RefusedByRule => format!("{} refuses it", decided_by(answer)),
        Reason::NoRule => "no rule matches it".to_owned(),
        Reason::UnknownPool => "it names a pool that does not exist".to_owned(),
        _ => format!("no node is left for {}", decided_by(answer)),
    })
}

/// The old node, where the new edition still has it.
fn old_node<'a>(before: &Answer<'_>, after: &Answer<'a>) -> Option<(NodeIndex, &'a Node)> {
    let routing = after.snapshot.lane(after.evaluation.lane).routing();
    let index = routing.find_node(&before.node()?.id)?;
    Some((index, after.snapshot.topology().node(index)))
}

/// What became of the old node, where it cannot be named first any more.
fn node_fate(before: &Answer<'_>, after: &Answer<'_>) -> Option<String> {
    let id = &before.node()?.id;
    let Some((index, node)) = old_node(before, after) else {
        return Some(format!("node `{id}` is gone"));
    };
    match node.state {
        AdminState::Maintenance => return Some(format!("node `{id}` is in maintenance")),
        AdminState::Drain if !after.could_name(index) => {
            return Some(format!("node `{id}` is drained"));
        }
        AdminState::Drain | AdminState::Ready => {}
    }
    if after.could_name(index) || pool(before) != pool(after) {
        return None;
    }
    let explanation = Explanation::new(after.snapshot, after.query, &after.evaluation);
    let line = explanation.nodes.iter().find(|line| line.node == index);
    let by = decided_by(after);
    Some(match line.map(|line| line.eliminated) {
        None => format!("node `{id}` is not in pool `{}`", pool(after)),
        Some(Some(Elimination::Capability)) => format!("node `{id}` lacks what {by} requires"),
        Some(Some(Elimination::Geofence)) => format!("node `{id}` is outside the geofence of {by}"),
        Some(Some(other)) => format!("node `{id}` cannot be named: {}", other.name()),
        Some(None) => return None,
    })
}

fn pool(answer: &Answer<'_>) -> String {
    answer.decision().pool_name().to_owned()
}

fn other_pool(before: &Answer<'_>, after: &Answer<'_>) -> Option<String> {
    let [old, new] = [before, after].map(pool);
    (old != new).then(|| format!("pool `{new}` instead of `{old}`"))
}

/// Whether the client is taken to be somewhere else.
fn other_place(before: &Answer<'_>, after: &Answer<'_>) -> Option<String> {
    let [old, new] = [before, after].map(|answer| answer.evaluation.located);
    let cell = |located: &crate::locate::Located| located.spot.map(|spot| spot.cell);
    (cell(&old) != cell(&new)).then(|| {
        let [old, new] = [old, new].map(|located| located.place.source.name());
        format!("the client is taken to be elsewhere, by `{new}` (before by `{old}`)")
    })
}

/// What the two sites cost, before and after.
fn other_site(before: &Answer<'_>, after: &Answer<'_>) -> Option<String> {
    let (old, new) = (before.site()?, after.site()?);
    if old.id == new.id {
        return None;
    }
    let [was, is] = [before, after].map(|answer| Lines::of(answer, (old, new)));
    let (Some(left), Some(chosen)) = (&is.left, &is.chosen) else {
        let (has_none, other) = if is.left.is_none() {
            (old, new)
        } else {
            (new, old)
        };
        let has_none = &has_none.id;
        return Some(format!(
            "`{}` instead: {} has no node at `{has_none}`",
            other.id,
            decided_by(after)
        ));
    };
    let costs = format!(
        "`{}` costs {:.1} ms and `{}` {:.1} ms",
        new.id, chosen.choice_ms, old.id, left.choice_ms
    );
    let (Some(left_before), Some(chosen_before)) = (&was.left, &was.chosen) else {
        return Some(format!("{costs}; before there was no node at `{}`", new.id));
    };
    let term = moved_term((old, left_before, left), (new, chosen_before, chosen))?;
    Some(format!(
        "{costs} (before {:.1} and {:.1}): {term}",
        chosen_before.choice_ms, left_before.choice_ms
    ))
}

/// Sites that share keys or clients, where nothing of what they cost has changed.
fn shared_sites(before: &Answer<'_>, after: &Answer<'_>) -> Option<String> {
    let (old, new) = (before.site()?, after.site()?);
    (old.id != new.id).then(|| {
        let id = &new.id;
        if after.evaluation.shared.is_some() {
            format!("its place is vague, sites share such clients, and `{id}` has it now")
        } else {
            format!("sites within the spread share such keys, and `{id}` has it now")
        }
    })
}

/// The lines of two sites in an explanation, where nodes of them could be named.
struct Lines {
    left: Option<SiteLine>,
    chosen: Option<SiteLine>,
}

impl Lines {
    fn of(answer: &Answer<'_>, (old, new): (&Site, &Site)) -> Self {
        let explanation = Explanation::new(answer.snapshot, answer.query, &answer.evaluation);
        let topology = answer.snapshot.topology();
        let line = |site: &Site| {
            let mut lines = explanation.sites.iter();
            lines
                .find(|line| topology.site(line.site).id == site.id && line.admitted_nodes > 0)
                .copied()
        };
        Self {
            left: line(old),
            chosen: line(new),
        }
    }
}

/// The term that speaks most for the change: one of the old site that grew, or of the new one that fell.
fn moved_term(
    (old, left_before, left): (&Site, &SiteLine, &SiteLine),
    (new, chosen_before, chosen): (&Site, &SiteLine, &SiteLine),
) -> Option<String> {
    let shifts = |id, was: &SiteLine, is: &SiteLine, sign: f32| {
        let terms = was.terms.named().into_iter().zip(is.terms.named());
        let shifts =
            terms.map(move |((name, was), (_, is))| (sign * (is - was), name, id, was, is));
        shifts.collect::<Vec<_>>()
    };
    let mut all = shifts(&old.id, left_before, left, 1.0);
    all.extend(shifts(&new.id, chosen_before, chosen, -1.0));
    let (shift, term, id, was, is) = all.into_iter().max_by(|a, b| a.0.total_cmp(&b.0))?;
    (shift > ROUNDING_MS).then(|| format!("{term} of `{id}` {was:.1} -> {is:.1} ms"))
}

fn other_key(before: &Answer<'_>, after: &Answer<'_>) -> Option<String> {
    let is_other = before.evaluation.key != after.evaluation.key;
    is_other.then(|| "its key is made in another way".to_owned())
}

/// A node at the same site that counts for more, or the old one for less.
fn other_weights(before: &Answer<'_>, after: &Answer<'_>) -> Option<String> {
    let (old, new) = (before.node()?, after.node()?);
    let routing = before.snapshot.lane(before.evaluation.lane).routing();
    let Some(known) = routing.find_node(&new.id) else {
        return Some(format!("node `{}` is new", new.id));
    };
    if !before.could_name(known) {
        return Some(format!("node `{}` may be named now", new.id));
    }
    let was = before.snapshot.topology().node(known);
    let (_, old_now) = old_node(before, after)?;
    let mut changes = [(was, new), (old, old_now)].into_iter();
    let (was, is) = changes.find(|(was, is)| was.capacity != is.capacity)?;
    Some(format!(
        "capacity of `{}` {} -> {}",
        is.id, was.capacity, is.capacity
    ))
}
