//! What must hold of breakers whatever happens, in virtual time: alone, and driven by the control loop of a small fleet.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::cast_precision_loss,
    reason = "small numbers, and a document that does not compile is a failure"
)]

use std::collections::BTreeSet;

use proptest::prelude::*;
use tradewind_engine::health::breaker::{Breaker, Cause, State, Step, Transition};
use tradewind_engine::health::trials::{Finding, Trials};
use tradewind_engine::policy::document::BreakerDocument;
use tradewind_engine::signal::observation::Reporter;
use tradewind_engine::time::Moment;

mod fleet;

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(cases)
    }
}

/// Something that happens to a breaker.
#[derive(Debug, Clone, Copy)]
enum Act {
    Wait(u64),
    Trip,
    Dispatch,
    Probe(bool),
    Reset,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => (0..30_000_u64).prop_map(Act::Wait),
        2 => Just(Act::Trip),
        2 => Just(Act::Dispatch),
        4 => any::<bool>().prop_map(Act::Probe),
        1 => Just(Act::Reset),
    ]
}

fn step(settings: &BreakerDocument, generation: u64, reports_come: bool) -> Step<'_> {
    Step {
        settings,
        next_generation: generation,
        salt: 0x5eed,
        reports_come,
        finding: Finding::Open,
    }
}

/// What a lone reporter finds by a trial.
fn found(success: bool) -> Finding {
    if success {
        Finding::Well
    } else {
        Finding::Failing
    }
}

/// A trial by a lone reporter.
fn tried(breaker: &mut Breaker, now: Moment, success: bool, step: &Step<'_>) -> Option<Transition> {
    let step = Step {
        finding: found(success),
        ..*step
    };
    breaker.probed(now, success, &step)
}

/// Whether a breaker may go from one state to the other; an operator may close it whatever it was.
fn is_allowed(from: State, to: State, cause: Cause) -> bool {
    matches!(
        (from, to, cause),
        (State::Closed, State::Open { .. }, _)
            | (State::Open { .. }, State::HalfOpen { .. }, Cause::TimeUp)
            | (
                State::HalfOpen { .. },
                State::Closed | State::Open { .. },
                _
            )
            | (_, State::Closed, Cause::Reset)
    )
}

proptest! {
    #![proptest_config(config(512))]

    /// B1: closed, open, half open, and from there either way; each change raises the term, and nothing else does. The
    /// time of an ejection is within its bounds.
    #[test]
    fn states_follow_each_other_and_terms_rise(
        acts in prop::collection::vec(act(), 1..200),
        reports_come in any::<bool>(),
    ) {
        let settings = BreakerDocument::default();
        let (mut breaker, mut now) = (Breaker::default(), Moment(1_000_000));
        for (act, generation) in acts.into_iter().zip(1_u64..) {
            let before = breaker;
            let step = step(&settings, generation / 3, reports_come);
            let transition = match act {
                Act::Wait(ms) => {
                    now = now.plus(ms);
                    breaker.tick(now, &step)
                }
                Act::Trip => breaker.trip(now, Cause::ConsecutiveFailures, &step),
                Act::Dispatch => {
                    breaker.dispatched(generation / 3);
                    None
                }
                Act::Probe(success) => tried(&mut breaker, now, success, &step),
                Act::Reset => breaker.reset(now, &step),
            };
            let Some(transition) = transition else {
                prop_assert_eq!(breaker.term(), before.term());
                prop_assert_eq!(breaker.state().name(), before.state().name());
                continue;
            };
            prop_assert_eq!(transition.from, before.state());
            prop_assert_eq!(transition.to, breaker.state());
            prop_assert!(is_allowed(transition.from, transition.to, transition.cause), "{transition:?}");
            prop_assert!(breaker.term() > before.term() && breaker.term() >= generation / 3);
            prop_assert_eq!((breaker.cause(), breaker.since()), (transition.cause, now));
            if let State::Open { until } = breaker.state() {
                let ms = until.since(now) as f64;
                prop_assert!((8_000.0..=72_000.0).contains(&ms), "open for {ms} ms");
            }
        }
    }

    /// B4: however it came to be half open, it leaves that state when nothing comes back, whether requests were sent to
    /// it or not and whether outcomes are reported at all; and it ends closed when nobody asks any more.
    #[test]
    fn no_breaker_stays_half_open(
        acts in prop::collection::vec(act(), 1..100),
        reports_come in any::<bool>(),
        asked in any::<bool>(),
        probe_percent in 0.1..50.0_f64,
        flap_openings in 1..=10_u32,
    ) {
        let settings = BreakerDocument { probe_percent, flap_openings, ..BreakerDocument::default() };
        let (mut breaker, mut now) = (Breaker::default(), Moment(1_000_000));
        for (act, generation) in acts.into_iter().zip(1_u64..) {
            let step = step(&settings, generation, reports_come);
            match act {
                Act::Wait(ms) => { now = now.plus(ms); breaker.tick(now, &step); }
                Act::Trip => { breaker.trip(now, Cause::SuccessRate, &step); }
                Act::Dispatch => breaker.dispatched(u64::MAX),
                Act::Probe(success) => { tried(&mut breaker, now, success, &step); }
                Act::Reset => {}
            }
        }
        // Flapping is over 10 minutes after the last opening; the slice is widened six times at most.
        for second in 0..1_800_u64 {
            now = now.plus(1_000);
            let step = step(&settings, 1_000 + second, reports_come);
            breaker.tick(now, &step);
            if asked {
                breaker.dispatched(u64::MAX);
            }
            let since = breaker.since();
            if let State::HalfOpen { .. } = breaker.state() {
                prop_assert!(now.since(since) <= 700_000, "half open since {since:?}, now {now:?}");
            }
        }
        if !asked || !reports_come {
            prop_assert_eq!(breaker.state(), State::Closed);
        }
    }
}

/// B6: every course that the trials of a half-open node by three reporters can take, with pauses between them, up to six
/// steps. It never closes while more than half of those who tried it find that it fails, nor on the word of one alone; it
/// never opens while at least half find it well; and it is never left undecided once all have spoken three times together.
#[test]
#[expect(
    clippy::too_many_lines,
    reason = "one walk over all courses, told in one place"
)]
fn every_course_of_trials_ends_as_its_majority_says() {
    const STEPS: u32 = 6;
    let settings = BreakerDocument::default();
    let mut ends = [0_u32; 3];
    // Two for each reporter, and two pauses.
    for course in 0..8_u32.pow(STEPS) {
        let (mut breaker, mut now) = (Breaker::default(), Moment(1_000_000));
        breaker.trip(now, Cause::SuccessRate, &step(&settings, 1, true));
        now = now.plus(60_000);
        breaker.tick(now, &step(&settings, 2, true));
        let mut trials = Trials::of_jury(3);
        let mut words: [Vec<bool>; 3] = Default::default();
        let (mut code, mut began) = (course, None);
        for taken in 0..STEPS {
            let what = code % 8;
            code /= 8;
            let transition = if what < 6 {
                let (who, success) = (what / 2, what % 2 == 0);
                began.get_or_insert(now);
                words
                    .get_mut(who as usize)
                    .expect("one of three")
                    .push(success);
                let reporter = Reporter(u16::try_from(who).expect("small"));
                trials.add(now, (reporter, success));
                let step = Step {
                    finding: trials.finding(now),
                    ..step(&settings, 3, true)
                };
                breaker.probed(now, success, &step)
            } else {
                now = now.plus(if what == 6 { 500 } else { 20_000 });
                let step = Step {
                    finding: trials.finding(now),
                    ..step(&settings, 3, true)
                };
                breaker.tick(now, &step)
            };
            let spoke = words.iter().filter(|words| !words.is_empty());
            let fails = |words: &&Vec<bool>| {
                let bad = words.iter().filter(|success| !**success).count();
                words.last() == Some(&false) || 5 * bad > words.len()
            };
            let (voices, failing) = (spoke.clone().count(), spoke.clone().filter(fails).count());
            let count: usize = words.iter().map(Vec::len).sum();
            let waited = began.is_some_and(|began| now.since(began) >= 20_000);
            let Some(transition) = transition else {
                let is_decided = voices < 3 || count < 3 || 2 * failing <= voices;
                assert!(
                    is_decided,
                    "{course:o} is undecided after {taken} steps: {words:?}"
                );
                continue;
            };
            // Where nobody asks any more, what little was found decides.
            let is_left = matches!(breaker.cause(), Cause::NoEvidence) || count < 3;
            match transition.to {
                _ if is_left => {
                    let found_bad = words.iter().flatten().any(|success| !success);
                    let is_closed = transition.to == State::Closed;
                    let follows = if is_closed {
                        2 * failing <= voices
                    } else {
                        found_bad
                    };
                    assert!(follows, "{course:o}: {transition:?}, {words:?}");
                    ends[usize::from(!is_closed)] += 1;
                }
                State::Closed => {
                    let good = words.iter().flatten().filter(|success| **success).count();
                    assert!(good >= 3 && 2 * failing <= voices, "{course:o}: {words:?}");
                    assert!(
                        voices >= 2 || waited,
                        "{course:o}: one alone closed it: {words:?}"
                    );
                    ends[0] += 1;
                }
                State::Open { .. } => {
                    assert!(2 * failing > voices && count >= 3, "{course:o}: {words:?}");
                    assert!(
                        voices >= 2 || waited,
                        "{course:o}: one alone opened it: {words:?}"
                    );
                    ends[1] += 1;
                }
                State::HalfOpen { .. } => panic!("{transition:?}"),
            }
            break;
        }
        ends[2] += u32::from(matches!(breaker.state(), State::HalfOpen { .. }));
    }
    assert_eq!(ends.iter().sum::<u32>(), 8_u32.pow(STEPS));
    assert!(ends.iter().all(|count| *count > 1_000), "{ends:?}");
}

/// Opens a breaker and lets it fail again and again; the times it stays open.
fn ejections(settings: &BreakerDocument, salt: u64, count: usize) -> Vec<u64> {
    let (mut breaker, mut now) = (Breaker::default(), Moment(1_000_000));
    let step = |generation| Step {
        salt,
        ..step(settings, generation, true)
    };
    breaker.trip(now, Cause::SuccessRate, &step(1));
    let mut times = Vec::new();
    for generation in 2_u64.. {
        let State::Open { until } = breaker.state() else {
            panic!("{breaker:?}")
        };
        times.push(until.since(now));
        if times.len() == count {
            break;
        }
        assert_eq!(
            breaker.tick(Moment(until.0 - 1), &step(2 * generation)),
            None
        );
        now = until;
        breaker.tick(now, &step(2 * generation));
        tried(&mut breaker, now, false, &step(2 * generation + 1));
    }
    times
}

#[test]
fn ejections_double_up_to_the_longest_and_differ_between_sidecars() {
    let settings = BreakerDocument::default();
    let mut firsts = BTreeSet::new();
    for salt in 0..200_u64 {
        let times = ejections(&settings, salt << 32, 6);
        for (ms, bound) in times
            .iter()
            .zip([10_000_u64, 20_000, 40_000, 60_000, 60_000, 60_000])
        {
            assert!((bound * 8 / 10..=bound * 12 / 10).contains(ms), "{times:?}");
        }
        firsts.extend(times.first().copied());
    }
    assert!(firsts.len() > 100, "{} different times", firsts.len());
    assert!(firsts.first().is_some_and(|ms| *ms < 8_500));
    assert!(firsts.last().is_some_and(|ms| *ms > 11_500));
}

/// A breaker that has just closed after so many openings, each lasting until its time is up.
fn recovered(settings: &BreakerDocument, openings: usize, mut now: Moment) -> (Breaker, Moment) {
    let mut breaker = Breaker::default();
    for generation in 0..openings as u64 {
        let step = step(settings, 10 * generation, true);
        breaker.trip(now, Cause::SuccessRate, &step);
        let State::Open { until } = breaker.state() else {
            panic!("{breaker:?}")
        };
        now = until;
        breaker.tick(now, &step);
        for _ in 0..3 {
            tried(&mut breaker, now, true, &step);
        }
    }
    (breaker, now)
}

#[test]
fn time_in_health_halves_the_next_ejection() {
    let settings = BreakerDocument {
        jitter_percent: 0.0,
        ..BreakerDocument::default()
    };
    for (calm_ms, expected_ms) in [
        (0, 40_000),
        (19_999, 40_000),
        (20_000, 20_000),
        (40_000, 10_000),
    ] {
        let (mut breaker, closed) = recovered(&settings, 2, Moment(1_000_000));
        assert_eq!(breaker.state(), State::Closed);
        let now = closed.plus(calm_ms);
        breaker.trip(now, Cause::Slow, &step(&settings, 99, true));
        let until = now.plus(expected_ms);
        assert_eq!(breaker.state(), State::Open { until }, "{calm_ms} ms well");
    }
}

#[test]
fn a_flapping_node_returns_after_a_clean_minute_only() {
    let settings = BreakerDocument::default();
    let (mut breaker, mut now) = recovered(&settings, 3, Moment(1_000_000));
    assert_eq!(
        breaker.state().name(),
        "half_open",
        "three successes are not enough now"
    );
    assert!(breaker.is_flapping(now, &settings));
    let mut generation = 100;
    let mut second = |breaker: &mut Breaker, success: bool| {
        now = now.plus(1_000);
        generation += 1;
        let step = step(&settings, generation, true);
        tried(breaker, now, success, &step);
        let step = Step {
            finding: found(success),
            ..step
        };
        breaker.tick(now, &step);
        breaker.state().name()
    };
    for _ in 0..50 {
        assert_eq!(second(&mut breaker, true), "half_open");
    }
    assert_eq!(
        second(&mut breaker, false),
        "half_open",
        "it is not left again"
    );
    for k in 0..59 {
        assert_eq!(
            second(&mut breaker, true),
            "half_open",
            "second {k} of the new minute"
        );
    }
    assert_eq!(second(&mut breaker, true), "closed");
}

#[test]
fn a_reset_closes_and_forgets() {
    let settings = BreakerDocument {
        jitter_percent: 0.0,
        ..BreakerDocument::default()
    };
    let (mut breaker, now) = recovered(&settings, 3, Moment(1_000_000));
    let term = breaker.term();
    let reset = breaker.reset(now, &step(&settings, 200, true));
    assert!(reset.is_some_and(
        |change| change.cause == Cause::Reset && !change.flapping || change.to == State::Closed
    ));
    assert!(breaker.term() > term && !breaker.is_flapping(now, &settings));
    breaker.trip(now, Cause::Slow, &step(&settings, 201, true));
    let until = now.plus(10_000);
    assert_eq!(breaker.state(), State::Open { until }, "as the first time");
}
