//! What the sidecar knows and does, in plain words: differences between two views of its control loop.
//!
//! Nothing here knows what the demo does to the nodes.

use std::sync::Arc;

use super::told::{Event, Voice};
use crate::engine::number::from_u64;
use crate::sidecar::state::State;
use crate::sidecar::view::{FleetView, NodeView, Transition};
use crate::sidecar::wire::proto::{DecideRequest, ExplainResponse};

/// The last view that was looked at.
#[derive(Debug)]
pub(super) struct Watch {
    seen: Arc<FleetView>,
}

/// Something the sidecar did.
#[derive(Debug, PartialEq)]
pub(super) struct Change {
    pub(super) text: String,
    /// The node that loses its traffic by it, if one does.
    pub(super) left: Option<String>,
}

impl Watch {
    pub(super) fn new(state: &State) -> Self {
        Self {
            seen: state.view.load_full(),
        }
    }

    /// What changed since the last call. Views are made once a second.
    pub(super) fn look(&mut self, state: &State) -> Vec<Change> {
        let view = state.view.load_full();
        if Arc::ptr_eq(&view, &self.seen) {
            return Vec::new();
        }
        let before = std::mem::replace(&mut self.seen, view);
        changes(&before, &self.seen)
    }
}

fn changes(before: &FleetView, after: &FleetView) -> Vec<Change> {
    let mut found = breakers(before, after);
    let names = after.topology.iter().flat_map(|topology| topology.nodes());
    let nodes = names.zip(before.nodes.iter().zip(&after.nodes));
    for (name, (was, is)) in nodes {
        found.extend(weight(&name.id, was, is));
    }
    for (name, pool) in &after.pools {
        let was = before.pools.get(name).map_or("none", |was| was.readmission);
        if was != pool.readmission {
            let text = format!(
                "pool {name}: readmission {was} -> {}, by how much of it is well",
                pool.readmission
            );
            found.push(Change { text, left: None });
        }
    }
    if before.isolated != after.isolated {
        let text = if after.isolated {
            "most nodes failed at once: this sidecar may be cut off, so it leaves none of them"
        } else {
            "verdicts are believed again"
        };
        found.push(Change {
            text: text.to_owned(),
            left: None,
        });
    }
    found
}

/// Changes of breakers. A view tells how often each kind happened, not in which order: of a node's several, the one that
/// led to the present state was the last.
fn breakers(before: &FleetView, after: &FleetView) -> Vec<Change> {
    let known = |kind| before.transitions.get(kind).copied().unwrap_or(0);
    let mut kinds: Vec<&Transition> = after
        .transitions
        .iter()
        .filter(|(kind, count)| **count > known(*kind))
        .map(|(kind, _)| kind)
        .collect();
    let is_present = |(id, to, _): &Transition| {
        let present = node(after, id).map(|node| node.breaker.state);
        present == Some(*to)
    };
    kinds.sort_by_key(|kind| (&kind.0, is_present(kind)));
    // That a node was tried needs no line of its own when the next line says that it was tried and failed.
    let was_tried = |kind: &Transition| {
        let failed = |other: &&Transition| other.0 == kind.0 && other.2 == "probe_failed";
        kind.1 == "half_open" && !is_present(kind) && kinds.iter().any(failed)
    };
    let told = kinds.iter().filter(|kind| !was_tried(kind));
    told.map(|kind| transition(kind, node(after, &kind.0)))
        .collect()
}

fn node<'v>(view: &'v FleetView, id: &str) -> Option<&'v NodeView> {
    let topology = view.topology.as_ref()?;
    view.node(topology, topology.find_node(id)?)
}

/// A breaker's change.
fn transition((id, to, cause): &Transition, node: Option<&NodeView>) -> Change {
    let why = match *cause {
        "consecutive_failures" => "its answers failed several times in a row",
        "success_rate" => "too few of its answers were good",
        "slow" => "it was far slower than usual for 15 s",
        "probe_failed" => "it was tried again and failed",
        "probe_lost" => "what it was tried with never came back",
        "time_up" => "its time is up",
        "recovered" => "what it was tried with went well",
        "no_evidence" => "nobody asked for its keys",
        "reset" => "an operator reset it",
        other => other,
    };
    let then = match *to {
        "open" => node.and_then(|node| node.breaker.open_for_ms).map_or_else(
            || "it gets nothing for now".to_owned(),
            |ms| format!("it gets nothing for {:.1} s", from_u64(ms) / 1_000.0),
        ),
        "half_open" => "a slice of its keys tries it".to_owned(),
        _ => "it begins with an eighth of its weight".to_owned(),
    };
    let word = to.replace('_', " ");
    Change {
        text: format!("{id}: breaker {word}, because {why}; {then}"),
        // A node that was tried and failed had nothing left to lose.
        left: (*to == "open" && !cause.starts_with("probe")).then(|| id.to_string()),
    }
}

/// A change of weight that is not a breaker's.
fn weight(id: &str, was: &NodeView, is: &NodeView) -> Option<Change> {
    let percent = 100.0 * is.weight_ratio;
    if is.condition > was.condition {
        let times = match (is.service_p50_ms, is.usual_p50_ms) {
            (Some(now), Some(usual)) => {
                format!("half of its hits take over {now:.0} ms, {usual:.0} ms is usual for it")
            }
            _ => "too many of its answers failed".to_owned(),
        };
        return Some(Change {
            text: format!("{id}: weight cut to {percent:.0} %, because {times}"),
            left: Some(id.to_owned()),
        });
    }
    let whole = |node: &NodeView| node.weight_ratio >= 1.0 && node.admission == "admitted";
    if whole(is) && !whole(was) {
        let text = format!("{id}: has its whole weight again");
        return Some(Change { text, left: None });
    }
    let began = is.condition < was.condition && was.breaker.state == "closed";
    began.then(|| Change {
        text: format!("{id}: well again so far, weight raised to {percent:.0} %"),
        left: None,
    })
}

/// Who serves a request now that its node is left, in the sidecar's words; `None` if that is still the same node.
pub(super) fn who_takes_over(
    at_s: f64,
    left: &str,
    request: &DecideRequest,
    answer: &ExplainResponse,
) -> Option<Event> {
    let decision = answer.decision.as_ref()?;
    let first = decision.candidates.first().filter(|it| it.node != left)?;
    let names = decision.candidates.iter().map(|named| named.node.as_str());
    let list = names.collect::<Vec<_>>().join(", then ");
    let client = request.client.as_ref().map_or("", |client| &client.ip);
    let lines = &answer.explanation.as_ref()?.summary;
    // `FRA: 5.6 network + 20.0 miss = 25.6 ms at 37 km; 300 samples …`
    let site = format!("{}: ", first.site);
    let bill = lines.iter().find(|line| line.starts_with(&site));
    let bill = bill.and_then(|line| line.split(';').next());
    Some(Event {
        at_s,
        voice: Voice::Explanation,
        text: format!(
            "{} for {client} was {left}'s and goes to {list} now ({})",
            request.path,
            bill.unwrap_or(&decision.reason)
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(kinds: &[(&'static str, &'static str)]) -> FleetView {
        let kinds = kinds.iter();
        FleetView {
            transitions: kinds
                .map(|(to, cause)| (("a-1".into(), *to, *cause), 1))
                .collect(),
            ..FleetView::default()
        }
    }

    fn texts(after: &[(&'static str, &'static str)]) -> Vec<String> {
        let found = changes(&FleetView::default(), &view(after));
        found.into_iter().map(|change| change.text).collect()
    }

    #[test]
    fn breakers_are_put_into_words() {
        assert_eq!(
            texts(&[("open", "consecutive_failures")]),
            [
                "a-1: breaker open, because its answers failed several times in a row; it gets nothing for now"
            ]
        );
        assert_eq!(
            texts(&[("half_open", "time_up"), ("open", "probe_failed")]),
            ["a-1: breaker open, because it was tried again and failed; it gets nothing for now"],
            "one line for a try that failed"
        );
        let none = changes(&view(&[("open", "slow")]), &view(&[("open", "slow")]));
        assert_eq!(none, []);
    }

    #[test]
    fn only_a_node_that_had_traffic_loses_it() {
        let left = |after| changes(&FleetView::default(), &view(after))[0].left.clone();
        assert_eq!(left(&[("open", "slow")]).as_deref(), Some("a-1"));
        assert_eq!(left(&[("open", "probe_failed")]), None);
        assert_eq!(left(&[("closed", "recovered")]), None);
    }

    #[test]
    fn a_pool_and_the_sidecar_itself_are_told_of() {
        let mut after = FleetView::default();
        let pool = crate::sidecar::view::PoolView {
            readmission: "unknown",
            ..Default::default()
        };
        after.pools.insert("edge".to_owned(), pool);
        after.isolated = true;
        let found = changes(&FleetView::default(), &after);
        assert!(
            found[0]
                .text
                .contains("pool edge: readmission none -> unknown")
        );
        assert!(found[1].text.contains("may be cut off"));
    }
}
