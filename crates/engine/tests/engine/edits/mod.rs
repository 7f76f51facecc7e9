//! A policy is edited under load: the rule that changed begins anew, and of every other rule nothing is forgotten.
//!
//! Three rules with pools of their own, each with a hot key, a node that fails, a site that is slow, too few
//! nodes that are well, and answers that are still to come. What is known is counted by rule before and after an edit.

mod rollout;
mod scene;

use std::sync::Arc;

use tradewind_engine::evaluate::{Pick, Role, evaluate};
use tradewind_engine::geo::Location;
use tradewind_engine::query::{Client, Query};
use tradewind_engine::snapshot::{Candidate, LaneIndex, Parts, Snapshot, Split};

use scene::{Edit, RULES, SITES, believed_in_flight, known, policy_of, troubled};

#[test]
fn an_edit_that_means_nothing_to_a_rule_forgets_nothing_of_it() {
    for edit in [Edit::Comment, Edit::Order, Edit::New, Edit::Bias] {
        let mut state = troubled();
        let before = known(&state);
        let policy = policy_of(state.snapshot.topology(), edit);
        state.edit(policy, None);
        assert_eq!(known(&state), before);
        assert_eq!(state.control.disruption().0.excess, 0.0);
        let believed = believed_in_flight(&mut state);
        assert_eq!(believed.iter().sum::<u64>(), 200, "{believed:?}");
    }
}

#[test]
fn of_an_edited_rule_only_what_changed_is_forgotten() {
    let mut state = troubled();
    let mut before = known(&state);
    let policy = policy_of(state.snapshot.topology(), Edit::Require);
    state.edit(policy, None);
    let mut after = known(&state);
    println!("rule   hot keys  nodes out  number");
    for rule in RULES {
        let (was, is) = (&before[rule], &after[rule]);
        println!(
            "{rule:6} {:>3} -> {:<3} {:>3} -> {:<3} {:?} -> {:?}",
            was.hot_keys.len(),
            is.hot_keys.len(),
            was.out.len(),
            is.out.len(),
            was.number.unwrap(),
            is.number.unwrap()
        );
    }
    let (was, is) = (
        before.remove("video").unwrap(),
        after.remove("video").unwrap(),
    );
    assert_eq!(after, before, "of the other rules nothing is forgotten");
    // The rule has other nodes now, so its keys are carried by others; but nodes and sites are who they were.
    assert!(is.hot_keys.is_empty() && is.number != was.number);
    assert!(
        is.out
            .iter()
            .all(|(node, admission)| was.out.get(node) == Some(admission))
    );
    assert_eq!(is.terms, was.terms);
    let believed = believed_in_flight(&mut state);
    assert_eq!(believed.iter().sum::<u64>(), 200, "{believed:?}");
    // And the other way round: what was the rule's before is its own again, as far as it has not faded.
    let policy = policy_of(state.snapshot.topology(), Edit::None);
    state.edit(policy, None);
    let again = known(&state).remove("video").unwrap();
    assert_eq!(again.number, was.number);
    assert_eq!(again.hot_keys, was.hot_keys);
}

#[test]
fn numbers_hold_over_a_hundred_edits() {
    let mut state = troubled();
    let before = known(&state);
    let edits = [Edit::New, Edit::Order, Edit::Comment, Edit::Require];
    for edit in edits.into_iter().cycle().take(100) {
        let policy = policy_of(state.snapshot.topology(), edit);
        state.edit(policy, None);
    }
    let policy = policy_of(state.snapshot.topology(), Edit::None);
    state.edit(policy, None);
    assert_eq!(known(&state), before);
    let numbers = state.snapshot.numbers();
    assert_eq!(
        (numbers.sets(), numbers.classes()),
        (3, 4),
        "none is left over"
    );
}

#[test]
fn who_compiles_the_text_for_the_first_time_decides_alike() {
    let mut state = troubled();
    for edit in [Edit::Order, Edit::New] {
        let policy = policy_of(state.snapshot.topology(), edit);
        state.edit(policy, None);
    }
    let lane = state.snapshot.lane(LaneIndex::First);
    assert!(!lane.numbered().is_by_position());
    let parts = Parts {
        policy: policy_of(state.snapshot.topology(), Edit::New),
        signals: Arc::new(state.snapshot.signals_by_position().into_owned()),
        ..state.snapshot.parts().clone()
    };
    let copy = Snapshot::build(1, parts, None);
    assert!(copy.lane(LaneIndex::First).numbered().is_by_position());
    let answers = |snapshot: &Snapshot| -> Vec<_> {
        let asked = (0..2_000_u32).map(|number| {
            let host = format!("{}.example.com", RULES[number as usize % 3]);
            let (_, lat, lon) = SITES[number as usize / 3 % 2];
            let key = if number % 5 == 0 { 0 } else { number };
            let path = format!("/{key}");
            let query = Query {
                host: &host,
                path: &path,
                request_id: &number.to_le_bytes(),
                client: Client {
                    location: Location::new(lat, lon),
                    ..Client::default()
                },
                ..Query::default()
            };
            let evaluation = evaluate(snapshot, &query);
            (evaluation.reason, evaluation.picks)
        });
        asked.collect()
    };
    let own = answers(&state.snapshot);
    // A rung of the ladder is told before a hot key as the reason; the role of the node says it.
    let is_copy = |picks: &[Pick]| picks.first().is_some_and(|pick| pick.role == Role::HotCopy);
    assert!(own.iter().any(|(_, picks)| is_copy(picks)));
    assert_eq!(answers(&copy), own);
}

#[test]
fn a_candidate_beside_the_policy_changes_nothing_of_it_and_shares_what_is_the_same() {
    let mut state = troubled();
    let before = known(&state);
    let topology = Arc::clone(&state.snapshot.parts().topology);
    let (policy, candidate) = (
        policy_of(&topology, Edit::None),
        policy_of(&topology, Edit::Require),
    );
    let shadow = Candidate {
        routing: Arc::clone(candidate.routing()),
        split: Split::default(),
    };
    state.edit(policy, Some(shadow));
    assert_eq!(known(&state), before);
    let [first, second] =
        [LaneIndex::First, LaneIndex::Second].map(|lane| state.snapshot.lane(lane));
    for rule in second.routing().rules() {
        let own = second.table(rule.plan.tiers[0].set);
        let shared = first.find(own.number());
        let is_shared = shared.is_some_and(|table| std::ptr::eq(table.ready(), own.ready()));
        assert_eq!(is_shared, &*rule.name != "video", "{}", rule.name);
    }
    // Under load both go on, and when the candidate is promoted nothing is forgotten but what nobody asks for.
    state.run(100);
    let mut before = known(&state);
    state.edit(candidate, None);
    let mut after = known(&state);
    before.remove("video");
    after.remove("video");
    assert_eq!(after, before);
    let believed = believed_in_flight(&mut state);
    assert_eq!(believed.iter().sum::<u64>(), 200, "{believed:?}");
}
