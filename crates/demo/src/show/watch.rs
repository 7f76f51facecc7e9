//! What the sidecar does, in plain words: the events of its control loop.
//!
//! Nothing here knows what the demo does to the nodes.

use tradewind_client::Request;
use tradewind_engine::control::event::{Event as Did, Seen};
use tradewind_engine::health::breaker::{Cause, State as Breaker};
use tradewind_engine::number::from_u64;
use tradewind_sidecar::intake::explained;
use tradewind_sidecar::state::State;
use tradewind_sidecar::view::events::Happened;
use tradewind_sidecar::wire::proto::ExplainResponse;

use super::told::{Event, Voice};

/// How far the sidecar's events were told.
#[derive(Debug, Default)]
pub(super) struct Watch {
    told: u64,
}

/// Something the sidecar did.
#[derive(Debug, PartialEq)]
pub(super) struct Change {
    pub(super) text: String,
    /// The node that loses its traffic by it, if one does.
    pub(super) left: Option<String>,
}

impl Watch {
    /// What happened since the last call.
    pub(super) fn look(&mut self, state: &State) -> Vec<Change> {
        let happened = state.events.since(self.told);
        self.told = happened.last().map_or(self.told, |last| last.number);
        let changes = happened.iter().filter_map(|happened| change(happened));
        changes.collect()
    }
}

/// An event in words; `None` for what a demo of a minute need not tell.
fn change(happened: &Happened) -> Option<Change> {
    let about = happened
        .about
        .as_deref()
        .unwrap_or("one of an earlier policy");
    let quiet = |text| Change { text, left: None };
    Some(match happened.event {
        Did::Breaker { to, cause, .. } => breaker(about, to, cause, happened),
        Did::Condition {
            level, from, seen, ..
        } => {
            let percent = 100.0 * happened.weight_ratio?;
            weight(about, (level, from), percent, &seen)
        }
        Did::Readmission { from, to, .. } => {
            let (from, to) = (from.name(), to.name());
            quiet(format!(
                "pool {about}: readmission {from} -> {to}, by how much of it is well"
            ))
        }
        Did::Isolated(true) => quiet(
            "most nodes failed at once: this sidecar may be cut off, so it leaves none of them"
                .to_owned(),
        ),
        Did::Isolated(false) => quiet("verdicts are believed again".to_owned()),
        _ => return None,
    })
}

/// A breaker's change.
fn breaker(id: &str, to: Breaker, cause: Cause, happened: &Happened) -> Change {
    let why = match cause {
        Cause::ConsecutiveFailures => "its answers failed several times in a row",
        Cause::SuccessRate => "too few of its answers were good",
        Cause::Slow => "it was far slower than usual for 15 s",
        Cause::ProbeFailed => "it was tried again and failed",
        Cause::ProbeLost => "what it was tried with never came back",
        Cause::TimeUp => "its time is up",
        Cause::Recovered => "what it was tried with went well",
        Cause::NoEvidence => "nobody asked for its keys",
        Cause::Reset => "an operator reset it",
        Cause::Shedding => "it shed most of what it was asked",
        Cause::IsolationOver => "this sidecar was cut off and is no more",
        Cause::None => "nothing is known",
    };
    let then = match to {
        Breaker::Open { until } => {
            let ms = until.since(happened.at);
            format!("it gets nothing for {:.1} s", from_u64(ms) / 1_000.0)
        }
        Breaker::HalfOpen { .. } => "a slice of its keys tries it".to_owned(),
        Breaker::Closed => "it begins with an eighth of its weight".to_owned(),
    };
    let word = to.name().replace('_', " ");
    // A node that was tried and failed had nothing left to lose.
    let was_tried = matches!(cause, Cause::ProbeFailed | Cause::ProbeLost);
    let is_left = matches!(to, Breaker::Open { .. }) && !was_tried;
    Change {
        text: format!("{id}: breaker {word}, because {why}; {then}"),
        left: is_left.then(|| id.to_owned()),
    }
}

/// A change of weight that is not a breaker's; level 0 is the best.
fn weight(id: &str, (level, from): (u8, u8), percent: f64, seen: &Seen) -> Change {
    if level < from {
        return Change {
            text: format!("{id}: well again so far, weight raised to {percent:.0} %"),
            left: None,
        };
    }
    let times = match (seen.median_ms, seen.usual_median_ms) {
        (Some(now), Some(usual)) => {
            format!("half of its hits take over {now:.0} ms, {usual:.0} ms is usual for it")
        }
        _ => "too many of its answers failed".to_owned(),
    };
    Change {
        text: format!("{id}: weight cut to {percent:.0} %, because {times}"),
        left: Some(id.to_owned()),
    }
}

/// Why a request would go where, as things are now; `None` before the first snapshot.
pub(super) fn explained(state: &State, request: &Request) -> Option<ExplainResponse> {
    let published = state.published.load_full()?;
    explained::explain(state, &published, &state.view.load(), request).ok()
}

/// Who serves a request now that its node is left, in the sidecar's words; `None` if that is still the same node.
pub(super) fn who_takes_over(
    at_s: f64,
    left: &str,
    request: &Request,
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

    fn seen(median_ms: Option<f32>) -> Seen {
        Seen {
            median_ms,
            usual_median_ms: Some(22.0),
            ..Seen::default()
        }
    }

    #[test]
    fn a_node_that_turns_slow_loses_weight_and_its_traffic() {
        let cut = weight("a-1", (8, 0), 6.25, &seen(Some(205.0)));
        assert_eq!(
            cut.text,
            "a-1: weight cut to 6 %, because half of its hits take over 205 ms, 22 ms is usual for it"
        );
        assert_eq!(cut.left.as_deref(), Some("a-1"));
        let failing = weight("a-1", (2, 0), 50.0, &seen(None));
        assert!(
            failing
                .text
                .ends_with("because too many of its answers failed")
        );
    }

    #[test]
    fn a_node_that_is_well_again_loses_nothing() {
        let raised = weight("a-1", (3, 4), 35.4, &seen(Some(22.0)));
        assert_eq!(raised.text, "a-1: well again so far, weight raised to 35 %");
        assert_eq!(raised.left, None);
    }
}
