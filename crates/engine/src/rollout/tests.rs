//! The machine, step by step.

use super::*;
use crate::control::cohorts::Decided;

const MINUTE: u64 = 60_000;

fn settings() -> Settings {
    let stage = |buckets| Stage {
        buckets,
        hold_ms: 5 * MINUTE,
    };
    Settings {
        cohort: None,
        stages: vec![stage(100), stage(2_500), stage(BUCKETS)],
        guards: vec![Guard {
            metric: Metric::ErrorPercent,
            limit: None,
            worse_by: Some(1.0),
            min_samples: 100,
            window_ms: MINUTE,
        }],
        max_hold_ms: 60 * MINUTE,
        when_inconclusive: WhenInconclusive::Pause,
        auto_rollback: true,
        start_jitter_ms: 0,
    }
}

/// So many answers on either side, and failures among those of the candidate.
fn fared(samples: u64, failed: u64) -> Seen {
    let side = |failed| Fared {
        decided: Decided {
            all: samples,
            ..Decided::default()
        },
        answered: samples - failed,
        failed,
        ..Fared::default()
    };
    Seen {
        fared: vec![[side(0), side(failed)]],
        broken: None,
    }
}

fn stage_of(progress: &Progress) -> (usize, u16) {
    (progress.stage() + 1, progress.buckets())
}

#[test]
fn it_goes_up_stage_by_stage_and_completes() {
    let mut progress = Progress::new(0, settings(), 0.0);
    let good = fared(1_000, 0);
    assert_eq!(progress.step(5 * MINUTE - 1, good.clone()), Step::Stay);
    let mut shares = Vec::new();
    for minute in [5, 10, 15] {
        shares.push(stage_of(&progress));
        let step = progress.step(minute * MINUTE, good.clone());
        let is_last = minute == 15;
        assert_eq!(step == Step::Complete, is_last, "{step:?}");
    }
    assert_eq!(shares, [(1, 100), (2, 2_500), (3, BUCKETS)]);
}

#[test]
fn a_guard_that_fails_takes_it_back_at_once() {
    let mut progress = Progress::new(0, settings(), 0.0);
    let Step::RollBack { why } = progress.step(3_000, fared(200, 3)) else {
        panic!("{progress:?}");
    };
    assert_eq!(
        why,
        "error_percent is 1.50 % over 200 samples, may be 1 points worse than 0.00 %"
    );
}

#[test]
fn a_guard_that_fails_only_pauses_where_nothing_is_taken_back_by_itself() {
    let manual = Settings {
        auto_rollback: false,
        ..settings()
    };
    let mut progress = Progress::new(0, manual, 0.0);
    assert!(matches!(
        progress.step(1, fared(200, 3)),
        Step::Changed { .. }
    ));
    assert_eq!(progress.step(2, fared(200, 3)), Step::Stay, "said once");
    assert_eq!(progress.buckets(), 100, "it stays at its stage");
}

#[test]
fn too_little_traffic_holds_it_and_then_asks_for_somebody() {
    let mut progress = Progress::new(0, settings(), 0.0);
    let little = fared(99, 0);
    assert_eq!(progress.step(64 * MINUTE, little.clone()), Step::Stay);
    let step = progress.step(65 * MINUTE, little.clone());
    assert!(matches!(step, Step::Changed { .. }), "{step:?}");
    let Phase::Paused { why } = progress.phase() else {
        panic!("{progress:?}");
    };
    assert!(
        why.starts_with("too little was seen to judge: error_percent"),
        "{why}"
    );
    let resumed = progress.order(66 * MINUTE, Order::Resume, "more traffic now");
    assert!(resumed.is_ok());
    assert_eq!(
        progress.step(70 * MINUTE, fared(500, 0)),
        Step::Stay,
        "held anew"
    );
    progress.step(71 * MINUTE, fared(500, 0));
    assert_eq!(stage_of(&progress), (2, 2_500));
}

#[test]
fn operators_pause_promote_reverse_and_abort() {
    let mut progress = Progress::new(0, settings(), 0.0);
    progress.order(1, Order::Promote, "sure of it").unwrap();
    assert_eq!(stage_of(&progress), (2, 2_500));
    let nowhere = progress.order(2, Order::Reverse(2), "no");
    assert_eq!(nowhere, Err(OrderError::NoSuchStage { at: 2, to: 2 }));
    progress.order(3, Order::Reverse(1), "less").unwrap();
    assert_eq!(stage_of(&progress), (1, 100));
    let again = progress.order(4, Order::Pause, "twice");
    assert_eq!(again, Err(OrderError::Already("paused")));
    assert_eq!(progress.step(90 * MINUTE, fared(500, 0)), Step::Stay);
    // What is paused is watched all the same.
    let step = progress.step(91 * MINUTE, fared(500, 50));
    assert!(matches!(step, Step::RollBack { .. }), "{step:?}");
    let abort = progress.order(5, Order::Abort, "enough").unwrap();
    let why = "enough".to_owned();
    assert_eq!(abort, Step::RollBack { why });
}

#[test]
fn sidecars_begin_one_after_the_other() {
    let jittered = Settings {
        start_jitter_ms: 10_000,
        ..settings()
    };
    let mut progress = Progress::new(1_000, jittered, 0.5);
    assert_eq!(progress.buckets(), 0);
    assert_eq!(progress.step(5_999, Seen::default()), Step::Stay);
    assert!(matches!(
        progress.step(6_000, Seen::default()),
        Step::Changed { .. }
    ));
    assert_eq!(stage_of(&progress), (1, 100));
    assert_eq!(progress.windows_ms(16_000).collect::<Vec<_>>(), [10_000]);
}

#[test]
fn a_stage_is_watched_by_itself() {
    let mut progress = Progress::new(0, settings(), 0.0);
    progress.order(50_000, Order::Promote, "on").unwrap();
    assert_eq!(progress.windows_ms(53_000).collect::<Vec<_>>(), [3_000]);
    assert_eq!(progress.windows_ms(200_000).collect::<Vec<_>>(), [MINUTE]);
}

#[test]
fn where_it_left_off_it_goes_on() {
    let now = 3 * MINUTE;
    let mut progress = Progress::resumed(now, settings(), 1, Phase::Running);
    assert_eq!(stage_of(&progress), (2, 2_500));
    progress.step(9 * MINUTE, fared(500, 0));
    assert_eq!(stage_of(&progress), (3, BUCKETS));
    let lost = Progress::resumed(now, settings(), 7, Phase::Running);
    assert_eq!(stage_of(&lost), (1, 100), "never more than is known");
}

#[test]
fn an_expectation_that_is_broken_is_as_good_as_a_guard_that_fails() {
    let mut progress = Progress::new(0, settings(), 0.0);
    let why = "rule `eu` expects: stays within EU".to_owned();
    let step = progress.step(
        1_000,
        Seen {
            broken: Some(why.clone()),
            ..fared(500, 0)
        },
    );
    assert_eq!(step, Step::RollBack { why });
}

#[test]
fn where_everything_is_tried_it_is_compared_with_the_others_of_the_stage_before() {
    let mut progress = Progress::new(0, settings(), 0.0);
    for minute in [5, 10] {
        progress.step(minute * MINUTE, fared(1_000, 0));
    }
    assert_eq!(stage_of(&progress), (3, BUCKETS));
    let alone = |failed| Seen {
        fared: vec![[Fared::default(), fared(1_000, failed).fared[0][1]]],
        broken: None,
    };
    assert_eq!(progress.step(11 * MINUTE, alone(0)), Step::Stay);
    assert_eq!(progress.judgements()[0].verdict, Verdict::Pass);
    let step = progress.step(12 * MINUTE, alone(20));
    assert!(matches!(step, Step::RollBack { .. }), "{step:?}");
    // With nothing seen before, nothing can be said.
    let at_once = Settings {
        stages: vec![settings().stages[2]],
        ..settings()
    };
    let mut progress = Progress::new(0, at_once, 0.0);
    assert_eq!(progress.step(6 * MINUTE, alone(0)), Step::Stay);
    assert_eq!(progress.judgements()[0].verdict, Verdict::Inconclusive);
}

#[test]
fn who_waits_to_begin_is_not_begun_by_a_pause() {
    let jittered = Settings {
        start_jitter_ms: 10_000,
        ..settings()
    };
    let mut progress = Progress::new(0, jittered.clone(), 1.0);
    progress.order(1, Order::Pause, "not now").unwrap();
    assert_eq!(
        (progress.buckets(), progress.step(90_000, Seen::default())),
        (0, Step::Stay)
    );
    progress.order(91_000, Order::Resume, "now").unwrap();
    assert_eq!(stage_of(&progress), (1, 100));
    let mut promoted = Progress::new(0, jittered, 1.0);
    promoted.order(1, Order::Promote, "at once").unwrap();
    assert_eq!(
        stage_of(&promoted),
        (1, 100),
        "it begins with its first stage"
    );
}
