//! What the demo promises, held against what was measured.

use super::ledger::Ledger;
use super::story::{Act, BACK, LEFT, LOST_SITE, SLOW_NODE, Story};
use super::told::Expectation;
use crate::measure::ratio;

/// Seconds within which a slow node must be left.
const LEFT_WITHIN: usize = 20;

/// Seconds at the end over which shares are looked at.
const AT_THE_END: usize = 5;

/// How far the hit ratio may be below what one cache for each site would have had.
const HIT_RATIO_SLACK: f64 = 0.05;

/// Everything that is expected of a whole story.
pub(super) fn of(story: &Story, ledger: &Ledger) -> Vec<Expectation> {
    let mut all = vec![nobody_notices(ledger), objects_stay_together(ledger)];
    if story.has_slow_node() {
        all.push(slow_node_is_left(story, ledger));
        all.push(slow_node_is_back(story, ledger));
    }
    all.extend([
        list_is_enough(story, ledger),
        lost_site_is_left(story, ledger),
        lost_site_is_back(story, ledger),
        caches_are_of_use_again(story, ledger),
    ]);
    all
}

fn nobody_notices(ledger: &Ledger) -> Expectation {
    let all = ledger.sum(0..ledger.len());
    Expectation {
        expected: "every request is served, whatever happens".to_owned(),
        measured: format!("{} of {} failed", all.failed, all.requests),
        held: all.failed == 0 && all.requests > 0,
    }
}

fn objects_stay_together(ledger: &Ledger) -> Expectation {
    let ratios = ledger.hit_ratios();
    let [measured, best, scattered] =
        [ratios.measured, ratios.best, ratios.scattered].map(|ratio| 100.0 * ratio);
    Expectation {
        expected: "objects are not scattered: in good times, hits are within 5 points of one cache for each site"
            .to_owned(),
        measured: format!(
            "{measured:.1} % hits, {best:.1} % at best, {scattered:.1} % with any node of the site"
        ),
        held: ratios.measured >= ratios.best - HIT_RATIO_SLACK,
    }
}

fn slow_node_is_left(story: &Story, ledger: &Ledger) -> Expectation {
    let seconds = story.seconds(Act::Slow, ledger);
    let relative = |at: usize| ledger.relative(story.slow, at..at + 1, story.usual(ledger));
    // Two seconds in a row, since a single one can be luck.
    let left = seconds
        .clone()
        .find(|at| at + 1 < seconds.end && relative(*at) < LEFT && relative(at + 1) < LEFT);
    let after = left.map(|at| at + 1 - seconds.start);
    Expectation {
        expected: format!(
            "slow {SLOW_NODE} gets under 10 % of its usual share within {LEFT_WITHIN} s"
        ),
        measured: match after {
            Some(after) => format!("after {after} s"),
            None => format!("not within {} s", seconds.len()),
        },
        held: after.is_some_and(|after| after <= LEFT_WITHIN),
    }
}

fn list_is_enough(story: &Story, ledger: &Ledger) -> Expectation {
    let during = ledger.sum(story.seconds(Act::Down, ledger));
    Expectation {
        expected: format!("while {LOST_SITE} is down, the next node of the list serves"),
        measured: format!(
            "{} of {} requests needed it, {} failed",
            during.retried, during.requests, during.failed
        ),
        held: during.failed == 0 && during.retried > 0,
    }
}

fn lost_site_is_left(story: &Story, ledger: &Ledger) -> Expectation {
    let seconds = story.seconds(Act::Down, ledger);
    let last = seconds.end.saturating_sub(3).max(seconds.start)..seconds.end;
    let sum = ledger.sum(last);
    let share: f64 = story.lost.iter().map(|node| sum.share(*node)).sum();
    Expectation {
        expected: format!("soon {LOST_SITE} is not even asked, but for a try now and then"),
        measured: format!(
            "{:.1} % of attempts in the last 3 s of the outage",
            100.0 * share
        ),
        held: share < 0.05,
    }
}

fn slow_node_is_back(story: &Story, ledger: &Ledger) -> Expectation {
    let share = ledger.relative(story.slow, ledger.last(AT_THE_END), story.usual(ledger));
    Expectation {
        expected: format!("{SLOW_NODE} has its usual share at the end, 60 to 140 % of it"),
        measured: format!("{:.0} %", 100.0 * share),
        held: BACK.contains(&share),
    }
}

fn lost_site_is_back(story: &Story, ledger: &Ledger) -> Expectation {
    let (now, usual) = (ledger.last(AT_THE_END), story.usual(ledger));
    let shares: Vec<f64> = story
        .lost
        .iter()
        .map(|node| ledger.relative(*node, now.clone(), usual.clone()))
        .collect();
    let words: Vec<String> = shares.iter().map(|s| format!("{:.0}", 100.0 * s)).collect();
    Expectation {
        expected: format!("each node of {LOST_SITE} has its usual share at the end"),
        measured: format!("{} %", words.join(", ")),
        held: !shares.is_empty() && shares.iter().all(|share| BACK.contains(share)),
    }
}

fn caches_are_of_use_again(story: &Story, ledger: &Ledger) -> Expectation {
    let hit_ratio = |range| {
        let sum = ledger.sum(range);
        ratio(sum.hits, sum.requests - sum.failed).unwrap_or(0.0)
    };
    let before = hit_ratio(story.usual(ledger));
    let after = hit_ratio(ledger.last(AT_THE_END));
    Expectation {
        expected: "hits at the end are at least what they were before the first fault".to_owned(),
        measured: format!("{:.1} %, {:.1} % before", 100.0 * after, 100.0 * before),
        held: after >= before,
    }
}
