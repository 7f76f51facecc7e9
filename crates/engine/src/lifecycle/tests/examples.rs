//! What examples of a policy come to: a new one is refused for them, one in force is not.

use std::sync::Arc;

use super::inputs::{P, T, steward, wanted};
use super::transitions::{fates, serving};
use crate::document::Code;
use crate::edition::Texts;
use crate::lifecycle::notice::{Notice, SourceNotice};
use crate::lifecycle::{Effects, Entries, Event, Fate, Keep, Wanted};

/// A policy that shows by an example that its first node is `b1`, or that there is one called `nobody`.
fn with_example(node: &str) -> Arc<str> {
    let examples =
        format!("examples: {{match: [{{url: 'http://a.example/', then: {{node: {node}}}}}]}}");
    let text = P::One.text();
    let text = text.replace("pools: [all]}", &format!("pools: [all], {examples}}}"));
    assert!(text.contains(node));
    text.into()
}

#[test]
fn an_example_that_comes_out_otherwise_refuses_a_new_policy() {
    let mut steward = serving(P::One, T::Usual);
    let sources = Wanted {
        policy: Ok(with_example("nobody")),
        ..wanted(P::One, T::Usual)
    };
    let effects = steward.step(2_000, Event::Read(sources));
    assert!(effects.publish.is_none());
    assert_eq!(fates(&effects), [("policy", Fate::LastGood)]);
    let degraded = steward.status().policy.degraded.as_ref().unwrap();
    assert!(
        degraded.first_fault.contains("P037"),
        "{}",
        degraded.first_fault
    );
}

#[test]
fn a_topology_that_an_example_does_not_expect_is_taken_over_a_restart_too() {
    let row = |id: &str| format!("    - {{id: {id}, site: b, address: \"{id}.example.net:80\"}}\n");
    let policy = with_example("b1");
    let only_b1: Arc<str> = T::Usual.text().replace(&row("b2"), "").into();
    let more: String = (2..9).map(|number| row(&format!("b{number}"))).collect();
    let other: Arc<str> = format!("{only_b1}{more}").into();
    let sources = |topology: &Arc<str>| Wanted {
        policy: Ok(Arc::clone(&policy)),
        topology: Ok(Arc::clone(topology)),
    };
    let mut running = steward(None, Entries::new());
    let first = running.step(1_000, Event::Read(sources(&only_b1)));
    let kept = Texts {
        policy: Arc::clone(&policy),
        topology: Arc::clone(&only_b1),
    };
    let [Keep::Revision(revision)] = &first.keep[..] else {
        panic!("{:?}", first.keep);
    };
    assert_eq!(revision.texts, kept);
    let effects = running.step(2_000, Event::Read(sources(&other)));
    let codes = |effects: &Effects| -> Vec<Code> {
        let of_policy = effects.say.iter().filter_map(|notice| match notice {
            Notice::Source(SourceNotice { outcome, .. }) => Some(&outcome.warnings),
            _ => None,
        });
        let items = of_policy.flat_map(|found| found.items().iter());
        items.map(|found| found.code).collect()
    };
    assert!(effects.publish.is_some());
    assert_eq!(running.status().policy.degraded, None);
    let mut restarted = steward(Some(kept), Entries::new());
    let effects = restarted.step(3_000, Event::Read(sources(&other)));
    assert!(effects.publish.is_some());
    assert!(
        codes(&effects).contains(&Code::P038),
        "{:?}",
        codes(&effects)
    );
}
