//! The wall clock is set while states hold: each lasts as long as it was to, by a clock that only goes on.

use super::inputs::{P, T};
use super::transitions::serving;
use crate::lifecycle::{Entries, Event, Keep, Now, StateChange, Steward, Target};
use crate::model::AdminState;

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;

/// When tests begin, ms since 1970.
const START: u64 = 1_800_000_000_000;

/// A moment so long after the start, with a wall clock that somebody has set by `set`.
fn at(steady_ms: u64, set: i64) -> Now {
    Now {
        unix_ms: (START + steady_ms).saturating_add_signed(set),
        steady_ms,
    }
}

fn drained(lasts_ms: u64) -> Steward {
    let mut steward = serving(P::One, T::Usual);
    let change = StateChange {
        target: Target::Node("a1".into()),
        state: AdminState::Drain,
        lasts_ms: Some(lasts_ms),
        who: String::new(),
        why: "tests".to_owned(),
    };
    let effects = steward.step(at(0, 0), Event::SetState(change));
    assert!(effects.reply.is_some());
    steward
}

fn until(entries: &Entries) -> Vec<Option<u64>> {
    entries.values().map(|entry| entry.until_unix_ms).collect()
}

#[test]
fn a_drain_ends_when_it_should_whatever_the_wall_clock_is_set_to() {
    for set in [HOUR, -HOUR, DAY, -DAY] {
        let mut steward = drained(600_000);
        let effects = steward.step(at(300_000, set), Event::Tick);
        // What is kept is of the new clock, so that a restart ends it at the same moment.
        let [Keep::States(kept)] = &effects.keep[..] else {
            panic!("{effects:?}");
        };
        let end = (START + 600_000).saturating_add_signed(set);
        assert_eq!(until(kept), [Some(end)], "{set}");
        assert!(effects.publish.is_none());
        assert!(
            steward.step(at(599_999, set), Event::Tick).is_nothing(),
            "{set}"
        );
        let ended = steward.step(at(600_000, set), Event::Tick);
        assert!(
            ended.publish.is_some() && steward.states_set().is_empty(),
            "{set}"
        );
    }
}

#[test]
fn a_clock_that_is_set_back_again_leaves_all_as_it_was() {
    let mut steward = drained(600_000);
    let before = until(steward.states_set());
    for set in [DAY, 0, -HOUR, 0] {
        let effects = steward.step(at(100_000, set), Event::Tick);
        assert_eq!(effects.keep.len(), 1);
    }
    assert_eq!(until(steward.states_set()), before);
}

#[test]
fn a_clock_that_is_slewed_by_less_than_a_second_moves_nothing() {
    let mut steward = drained(600_000);
    assert!(steward.step(at(300_000, 900), Event::Tick).is_nothing());
    assert!(steward.step(at(300_000, -900), Event::Tick).is_nothing());
}
