//! F2: members that act on the same stamp hold the same Facts to the bit, whatever is lost, doubled or out of order on the
//! way to them; and what a member acts on never falls.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{accusation, evidence, operation, praise};
use crate::fleet::facts::Facts;
use crate::fleet::judge::Judge;
use crate::fleet::member::{ALONE_MS, HELD_MS, Heard, Member, Standing, State};
use crate::fleet::{Epoch, Stamp};
use crate::time::Moment;

/// What becomes of a message on its way to one member.
#[derive(Debug, Clone, Copy)]
enum Way {
    Comes,
    IsLost,
    ComesTwice,
    /// It comes after so many later ones.
    ComesLate(u8),
}

fn way() -> impl Strategy<Value = Way> {
    prop_oneof![
        4 => Just(Way::Comes),
        1 => Just(Way::IsLost),
        1 => Just(Way::ComesTwice),
        1 => (1..5_u8).prop_map(Way::ComesLate),
    ]
}

/// A step: who fails for whom, what becomes of what is said, and whether another takes the chair.
type Turn = ((u64, u64, bool), [Way; 2], bool);

fn turn() -> impl Strategy<Value = Turn> {
    let told = (1..=4_u64, 1..=4_u64, any::<bool>());
    (told, [way(), way()], prop::bool::weighted(0.05))
}

proptest! {
    #[test]
    fn the_same_stamp_is_the_same_facts(turns in proptest::collection::vec(turn(), 1..120)) {
        let operation = operation();
        let mut judge = super::judge(&operation);
        let mut members = [Member::default(), Member::default()];
        let mut said: BTreeMap<Stamp, Facts> = BTreeMap::new();
        let mut late: Vec<(u64, usize, State)> = Vec::new();
        for (step, ((member, node, fails), ways, passes)) in (1_u64..).zip(turns) {
            let now = Moment(step * 500);
            if passes {
                // The next chair begins with what a member holds.
                let epoch = Epoch(judge.stamp().epoch.0 + 1);
                judge = Judge::new(now, (epoch, 7), (**members[0].facts()).clone(), &operation);
            }
            let row = if fails { accusation(node) } else { praise(node) };
            let mut told = evidence(member, step, vec![row]);
            told.heard = judge.echo(now);
            told.missed = members.iter().any(|member| member.told().missed);
            judge.hear(now, &told, &operation).unwrap();
            if let Some(state) = judge.tick(now, &operation) {
                // An earlier one is said again now and then, for whoever did not hear it.
                if state.stamp == judge.stamp() {
                    let known = said.entry(state.stamp).or_insert_with(|| judge.facts().clone());
                    prop_assert_eq!(&*known, judge.facts(), "one stamp, two Facts");
                }
                for (at, way) in ways.into_iter().enumerate() {
                    let times = match way {
                        Way::Comes => 1,
                        Way::ComesTwice => 2,
                        Way::IsLost => 0,
                        Way::ComesLate(by) => {
                            late.push((step + u64::from(by), at, state.clone()));
                            0
                        }
                    };
                    for _ in 0..times {
                        hears(&mut members[at], now, &state, &said)?;
                    }
                }
            }
            let (due, rest) = late.into_iter().partition(|(due, ..)| *due <= step);
            late = rest;
            for (_, at, state) in due {
                hears(&mut members[at], now, &state, &said)?;
            }
        }
    }
}

fn hears(
    member: &mut Member,
    now: Moment,
    state: &State,
    said: &BTreeMap<Stamp, Facts>,
) -> Result<(), TestCaseError> {
    let before = member.stamp();
    member.hear(now, state);
    prop_assert!(member.stamp() >= before);
    if let Some(facts) = said.get(&member.stamp()) {
        prop_assert_eq!(&**member.facts(), facts);
    }
    Ok(())
}

#[test]
fn a_member_that_missed_something_asks_for_the_whole_and_gets_it() {
    let operation = operation();
    let mut judge = super::judge(&operation);
    let mut member = Member::default();
    let whole = judge.tick(Moment(100), &operation).expect("the first");
    assert_eq!(member.hear(Moment(100), &whole), Heard::Applied);
    assert_eq!(member.hear(Moment(100), &whole), Heard::Confirmed, "twice");
    // They are listened to for a while before anything is decided.
    for (member, node) in [(1, 5), (2, 6), (3, 7)] {
        let told = evidence(member, 1, vec![praise(node)]);
        judge.hear(Moment(100), &told, &operation).expect("heard");
    }
    // A node fails for the only one that uses it, twice over; the word of the first time is lost.
    let tell = |judge: &mut Judge, member: u64, node, now, missed| {
        let mut told = evidence(member, now, vec![accusation(node)]);
        told.missed = missed;
        judge.hear(Moment(now), &told, &operation).expect("heard");
        let said = judge.tick(Moment(now + 50), &operation);
        said.expect("something changed")
    };
    tell(&mut judge, 1, 5, 2_200, false);
    let second = tell(&mut judge, 2, 6, 3_300, false);
    assert_eq!(member.hear(Moment(3_300), &second), Heard::Gap);
    assert!(member.told().missed);
    let third = tell(&mut judge, 3, 7, 4_400, true);
    assert_eq!(member.hear(Moment(4_400), &third), Heard::Applied);
    assert_eq!(&**member.facts(), judge.facts());
    assert_eq!(member.facts().nodes.len(), 3);
    assert!(!member.told().missed);
    assert_eq!(member.hear(Moment(4_500), &second), Heard::Old);
}

/// Of a thousand members one missed each word, and did not know before the chair spoke again a second later.
#[test]
fn a_change_that_a_member_did_not_hear_is_said_again() {
    let operation = operation();
    let mut judge = super::judge(&operation);
    let mut member = Member::default();
    let whole = judge.tick(Moment(100), &operation).expect("the first");
    member.hear(Moment(100), &whole);
    let told = evidence(1, 1, vec![praise(5)]);
    judge.hear(Moment(100), &told, &operation).expect("heard");
    let told = evidence(1, 2, vec![accusation(5)]);
    judge.hear(Moment(2_200), &told, &operation).expect("heard");
    let lost = judge.tick(Moment(2_200), &operation).expect("it is left");
    let said = [2_250, 2_300, 2_400].map(|at| judge.tick(Moment(at), &operation));
    let [None, Some(again), None] = said else {
        panic!("once: {said:?}")
    };
    assert_eq!((again.stamp, &again.nodes), (lost.stamp, &lost.nodes));
    assert_eq!(member.hear(Moment(2_300), &again), Heard::Applied);
    assert_eq!(member.hear(Moment(2_300), &lost), Heard::Old);
}

#[test]
fn a_silent_chairs_word_is_held_and_after_a_minute_each_is_alone() {
    let operation = operation();
    let mut judge = super::judge(&operation);
    let mut member = Member::default();
    assert_eq!(
        member.standing(Moment(0)),
        Standing::Alone,
        "never heard one"
    );
    let whole = judge.tick(Moment(100), &operation).expect("the first");
    member.hear(Moment(100), &whole);
    for (at, standing) in [
        (100, Standing::Following),
        (100 + HELD_MS - 1, Standing::Following),
        (100 + HELD_MS, Standing::Held),
        (100 + ALONE_MS - 1, Standing::Held),
        (100 + ALONE_MS, Standing::Alone),
    ] {
        assert_eq!(member.standing(Moment(at)), standing, "{at}");
    }
}
