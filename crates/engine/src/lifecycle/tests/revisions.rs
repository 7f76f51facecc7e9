//! Revisions: what took effect, over calls, files, rollbacks and restarts.

use super::inputs::{
    P, T, apply, pair, policy_update, rollback, steward, steward_over, texts, update, wanted,
};
use super::sequences::in_force;
use super::transitions::{fates, kept, serving};
use crate::lifecycle::notice::Notice;
use crate::lifecycle::{
    ApplyError, Effects, Entries, Event, Fate, Keep, NoRevision, Origin, PolicyApplied,
    PolicyUpdate, Reply, Revision, Steward, Unusable, Wanted,
};
use crate::model::Digest;

fn answer(effects: Effects) -> Result<PolicyApplied, ApplyError> {
    match effects.reply {
        Some(Reply::Policy(answer)) => answer,
        other => panic!("no answer: {other:?}"),
    }
}

/// Number, parent and origin of a revision.
type Row = (u64, Option<u64>, Origin);

/// All that are remembered, the oldest first.
fn history(steward: &Steward) -> Vec<Row> {
    let all = steward.revisions().newest_first().rev();
    all.map(|it| (it.number, it.parent, it.origin)).collect()
}

/// A process that starts over what the one before kept.
fn restarted(before: &Steward, policy: P, topology: T) -> (Steward, Effects) {
    let all = before.revisions().newest_first();
    let kept: Vec<Revision> = all.map(|it| (**it).clone()).collect();
    let mut after = steward_over(kept, Entries::new());
    let effects = after.step(9_000, Event::Read(wanted(policy, topology)));
    (after, effects)
}

#[test]
fn a_policy_given_by_call_stays_until_its_source_changes() {
    let mut steward = serving(P::One, T::Usual);
    let effects = steward.step(2_000, apply(P::Two));
    assert_eq!(kept(&effects).pop(), Some((2, (P::Two, T::Usual))));
    assert!(effects.publish.is_some());
    let said = answer(effects).unwrap();
    assert_eq!((said.revision, said.in_force), (2, said.given));
    let given = steward.status().policy.given.clone().unwrap();
    assert_eq!((given.revision, given.who.as_str()), (2, "ada"));
    let effects = steward.step(3_000, Event::Read(wanted(P::One, T::Larger)));
    assert_eq!(fates(&effects), [("topology", Fate::Applied)]);
    assert_eq!(in_force(&steward), Some((P::Two, T::Larger)));
    let given = steward.status().policy.given.clone().unwrap();
    assert_eq!((given.revision, given.at_unix_ms), (2, 2_000), "not 3");
    let changed = Wanted {
        policy: Ok(format!("{}\n", P::One.text()).into()),
        ..wanted(P::One, T::Larger)
    };
    let effects = steward.step(4_000, Event::Read(changed));
    assert_eq!(fates(&effects), [("policy", Fate::Applied)]);
    assert_eq!(steward.status().policy.given, None);
    let origins = history(&steward).into_iter().map(|(.., origin)| origin);
    let files = Origin::Sources;
    assert_eq!(
        origins.collect::<Vec<_>>(),
        [files, Origin::Policy, files, files]
    );
}

#[test]
fn a_bad_policy_given_by_call_is_refused_to_whoever_gave_it() {
    let mut steward = serving(P::One, T::Usual);
    let effects = steward.step(2_000, apply(P::Bad));
    assert!(effects.publish.is_none() && effects.keep.is_empty());
    let said = answer(effects).unwrap();
    assert!(said.faults.has_errors() && said.revision == 1);
    let same = answer(steward.step(2_000, apply(P::One))).unwrap();
    assert!(same.revision == 1 && same.in_force == same.given);
    assert_eq!(steward.status().policy.given, None);
}

#[test]
fn who_expects_another_revision_changes_nothing() {
    let mut steward = serving(P::One, T::Usual);
    let of = |expected| {
        Event::ApplyPolicy(PolicyUpdate {
            if_revision: Some(expected),
            ..policy_update(P::Two)
        })
    };
    let stale = answer(steward.step(0, of(7))).unwrap_err();
    let (in_force, expected) = (1, 7);
    assert_eq!(stale, ApplyError::OtherRevision { in_force, expected });
    assert_eq!(answer(steward.step(0, of(1))).unwrap().revision, 2);
    assert!(
        answer(steward.step(0, of(1))).is_err(),
        "somebody was quicker"
    );
}

#[test]
fn going_back_is_a_newer_revision() {
    let mut steward = serving(P::One, T::Usual);
    let nowhere = answer(steward.step(0, rollback(None)));
    assert_eq!(nowhere, Err(ApplyError::NothingEarlier));
    let _given = steward.step(0, apply(P::Two));
    let _larger = steward.step(0, Event::ApplyTopology(update(T::Larger)));
    let effects = steward.step(0, rollback(None));
    assert_eq!(
        kept(&effects).pop(),
        Some((4, (P::One, T::Larger))),
        "the fleet stays"
    );
    assert_eq!(
        steward.status().policy.given,
        None,
        "it is the file's again"
    );
    let effects = steward.step(0, rollback(Some(2)));
    assert_eq!(kept(&effects).pop(), Some((5, (P::Two, T::Larger))));
    let last = history(&steward).pop();
    assert_eq!(last, Some((5, Some(4), Origin::Rollback(2))));
    let unknown = answer(steward.step(0, rollback(Some(9))));
    let (number, oldest, newest) = (9, 1, 5);
    let expected = NoRevision {
        number,
        oldest,
        newest,
    };
    assert_eq!(unknown, Err(expected.into()));
}

#[test]
fn a_policy_that_does_not_fit_the_fleet_of_today_is_not_gone_back_to() {
    let mut steward = serving(P::One, T::Usual);
    let moved = steward.step(0, Event::Read(wanted(P::Elsewhere, T::Moved)));
    assert!(moved.publish.is_some());
    let said = answer(steward.step(0, rollback(None))).unwrap();
    assert!(said.faults.has_errors());
    assert_eq!(in_force(&steward), Some((P::Elsewhere, T::Moved)));
}

#[test]
fn a_restart_goes_on_with_the_revision_in_force() {
    let mut first = serving(P::One, T::Usual);
    let _given = first.step(0, apply(P::Two));
    // The file is as it was: what was given holds.
    let (second, effects) = restarted(&first, P::One, T::Usual);
    assert_eq!(
        (in_force(&second), second.revision()),
        (in_force(&first), 2)
    );
    assert!(effects.keep.is_empty() && effects.publish.is_some());
    assert!(second.status().policy.given.is_some());
    // The file was changed meanwhile.
    let (third, effects) = restarted(&second, P::Elsewhere, T::Moved);
    assert_eq!(kept(&effects).pop(), Some((3, (P::Elsewhere, T::Moved))));
    // Nothing good is there any more.
    let (fourth, effects) = restarted(&third, P::Bad, T::Bad);
    assert_eq!(in_force(&fourth), Some((P::Elsewhere, T::Moved)));
    assert!(effects.keep.is_empty() && fourth.revision() == 3);
}

/// A console marked each restart as another fleet, of the revision that had been in force for days.
#[test]
fn a_restart_over_the_same_files_changes_nothing_and_says_so() {
    let resumed = |effects: &Effects| -> Vec<(&str, bool)> {
        let of_source = |notice: &Notice| match notice {
            Notice::Source(source) => Some((source.which.name(), source.is_resumed)),
            _ => None,
        };
        effects.say.iter().filter_map(of_source).collect()
    };
    let first = serving(P::One, T::Usual);
    let (_, effects) = restarted(&first, P::One, T::Usual);
    assert_eq!(
        resumed(&effects),
        [("topology", true)],
        "the policy is no news"
    );
    let (_, effects) = restarted(&first, P::Two, T::Usual);
    let said = resumed(&effects);
    assert!(said.contains(&("policy", false)), "{said:?}");
    assert!(!said.contains(&("topology", false)), "{said:?}");
}

#[test]
fn a_file_that_has_caught_up_with_a_call_decides_from_then_on_after_a_restart_too() {
    let mut first = serving(P::One, T::Usual);
    let _given = first.step(0, apply(P::Two));
    let effects = first.step(0, Event::Read(wanted(P::Two, T::Usual)));
    assert!(effects.publish.is_none(), "it is in force already");
    assert_eq!(
        kept(&effects).pop(),
        Some((2, (P::Two, T::Usual))),
        "as the file's"
    );
    let (second, _) = restarted(&first, P::One, T::Usual);
    assert_eq!(in_force(&second), Some((P::One, T::Usual)));
    assert_eq!(second.revision(), 3);
}

#[test]
fn a_file_that_cannot_be_read_for_a_while_takes_nothing_back() {
    let mut steward = serving(P::One, T::Usual);
    let _given = steward.step(0, apply(P::Two));
    let gone = Wanted {
        policy: Err(Unusable::unreadable("gone")),
        ..wanted(P::One, T::Usual)
    };
    assert_eq!(
        fates(&steward.step(0, Event::Read(gone))),
        [("policy", Fate::LastGood)]
    );
    let back = steward.step(0, Event::Read(wanted(P::One, T::Usual)));
    assert!(back.publish.is_none());
    assert_eq!(in_force(&steward), Some((P::Two, T::Usual)));
}

#[test]
fn what_could_not_be_kept_is_to_be_kept_again() {
    let mut steward = serving(P::One, T::Usual);
    let second = steward.step(0, apply(P::Two));
    assert_eq!(second.keep.len(), 2, "neither is known to be on disk");
    for keep in second.keep {
        assert!(steward.step(0, Event::Kept(keep)).is_nothing());
    }
    let third = steward.step(0, apply(P::One));
    assert_eq!(kept(&third), [(3, (P::One, T::Usual))]);
}

#[test]
fn of_what_was_kept_the_newest_that_can_be_used_is_gone_on_with() {
    let mut unusable = super::inputs::first(texts(P::Bad, T::Usual));
    unusable.number = 2;
    let usable = super::inputs::first(texts(P::One, T::Usual));
    let mut steward = steward_over(vec![usable, unusable], Entries::new());
    let effects = steward.step(0, Event::Read(wanted(P::Bad, T::Bad)));
    assert_eq!(kept(&effects).pop(), Some((3, (P::One, T::Usual))));
    assert_eq!(
        history(&steward).pop(),
        Some((3, Some(2), Origin::Rollback(1)))
    );
}

#[test]
fn a_revision_says_what_its_texts_are() {
    let mut empty = steward(None, Entries::new());
    let effects = empty.step(5, Event::Read(wanted(P::One, T::Usual)));
    let [Keep::Revision(first)] = &effects.keep[..] else {
        panic!("{:?}", effects.keep);
    };
    assert_eq!(
        (first.at_unix_ms, pair(&first.texts)),
        (5, (P::One, T::Usual))
    );
    let digest = Digest::of(first.texts.policy.as_bytes());
    assert_eq!(digest, empty.current().unwrap().policy().digest());
}
