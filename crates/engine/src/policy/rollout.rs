//! How a policy that is rolled out takes the place of this one.

use super::document::{GuardDocument, PolicySpec, StageDocument};
use crate::document::{Checker, Code, Path};

/// Most stages, and most guards.
const MAX_ENTRIES: usize = 16;

/// Longest time that a stage may last, in ms: a week.
const MAX_HOLD_MS: u64 = 168 * 3_600_000;

/// Longest window that a guard may look at, in ms.
pub const MAX_WINDOW_MS: u64 = 600_000;

/// Longest span over which sidecars begin, in ms.
const MAX_JITTER_MS: u64 = 3_600_000;

/// Checks the section.
pub(super) fn check(checker: &mut Checker<'_>, path: &Path<'_>, spec: &PolicySpec) {
    let path = path.field("rollout");
    let document = &spec.rollout;
    check_stages(checker, &path.field("stages"), &document.stages);
    check_guards(checker, &path.field("guards"), &document.guards);
    for (field, value, most) in [
        ("max_hold", document.max_hold, MAX_HOLD_MS),
        ("start_jitter", document.start_jitter, MAX_JITTER_MS),
    ] {
        checker.duration_in(&path.field(field), value, &(0..=most));
    }
}

fn check_stages(checker: &mut Checker<'_>, path: &Path<'_>, stages: &[StageDocument]) {
    if stages.is_empty() && checker.is_whole(path) {
        let message = "there is no stage".to_owned();
        let help = "leave it out for 1, 5, 25 and 50 %, or say one like {percent: 10, hold: 5m}";
        checker.error(Code::P006, path, message, help);
    }
    if !checker.at_most(Code::P006, path, stages.len(), MAX_ENTRIES) {
        return;
    }
    let mut before = 0.0;
    for (at, stage) in stages.iter().enumerate() {
        let path = path.index(at);
        let percent = path.field("percent");
        checker.in_range(Code::P006, &percent, stage.percent, &(0.01..=100.0));
        if stage.percent <= before {
            let message = format!("no more than the stage before, which has {before} %");
            let help = "stages only grow: what has moved to the new policy stays there";
            checker.error(Code::P006, &percent, message, help);
        }
        before = stage.percent;
        checker.duration_in(&path.field("hold"), stage.hold, &(0..=MAX_HOLD_MS));
    }
}

fn check_guards(checker: &mut Checker<'_>, path: &Path<'_>, guards: &[GuardDocument]) {
    if !checker.at_most(Code::P006, path, guards.len(), MAX_ENTRIES) {
        return;
    }
    for (at, guard) in guards.iter().enumerate() {
        let path = path.index(at);
        if guard.limit.is_none() && guard.worse_by.is_none() && checker.is_whole(&path) {
            let message = "a guard without a bound holds whatever happens".to_owned();
            let help = "add `limit`, the worst that it may be, or `worse_by`, beside the others";
            checker.error(Code::P006, &path, message, help);
        }
        let is_time = guard.metric.is_time();
        let most = if is_time { 600_000.0 } else { 100.0 };
        let most_worse = if is_time { 1_000.0 } else { 100.0 };
        for (field, value, most) in [
            ("limit", guard.limit, most),
            ("worse_by", guard.worse_by, most_worse),
        ] {
            if let Some(value) = value {
                checker.in_range(Code::P006, &path.field(field), value, &(0.0..=most));
            }
        }
        let samples = f64::from(guard.min_samples);
        let path_samples = path.field("min_samples");
        checker.in_range(Code::P006, &path_samples, samples, &(1.0..=1e6));
        let window = path.field("window");
        checker.duration_in(&window, guard.window, &(1_000..=MAX_WINDOW_MS));
    }
}
