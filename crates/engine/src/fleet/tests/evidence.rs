//! F3: evidence that is doubled, overtaken or too old changes nothing, and rows add up in any order.

use proptest::prelude::*;

use super::{accusation, evidence, judge, operation, praise};
use crate::fleet::Echo;
use crate::fleet::Epoch;
use crate::fleet::evidence::{Evidence, NodeEvidence};
use crate::hash::NodeSeed;
use crate::time::Moment;

/// What a member tells at a step.
#[derive(Debug, Clone, Copy)]
struct Told {
    member: u64,
    node: u64,
    fails: bool,
    /// How often an old or doubled message comes along.
    noise: u8,
}

fn told() -> impl Strategy<Value = Told> {
    (1..=5_u64, 1..=3_u64, any::<bool>(), 0..=3_u8).prop_map(|(member, node, fails, noise)| Told {
        member,
        node,
        fails,
        noise,
    })
}

fn row(node: u64, fails: bool) -> NodeEvidence {
    if fails {
        accusation(node)
    } else {
        praise(node)
    }
}

fn any_row() -> impl Strategy<Value = NodeEvidence> {
    let counts = (0..50_u32, 0..50_u32, 0..9_u32, any::<bool>());
    let ages = (
        proptest::option::of(0..5_000_u32),
        proptest::option::of(0..5_000_u32),
        proptest::option::of(any::<bool>()),
    );
    let times = proptest::collection::vec(1..1_000_000_u32, 0..6);
    (counts, ages, times, 0..4_u64).prop_map(|(counts, ages, times, class)| {
        let (ok, failed, trailing, accuses) = counts;
        let mut row = NodeEvidence {
            sent: ok + failed,
            ok,
            failed,
            trailing,
            accuses,
            ok_age_ms: ages.0,
            streak_age_ms: ages.1,
            probe: ages.2,
            ..NodeEvidence::new(NodeSeed(1))
        };
        for us in times {
            row.times.record(us);
        }
        row.hits.insert(class, (ok, failed));
        row
    })
}

fn merged(rows: &[&NodeEvidence]) -> NodeEvidence {
    let mut sum = NodeEvidence::new(NodeSeed(1));
    for row in rows {
        sum.merge(row);
    }
    sum
}

proptest! {
    #[test]
    fn rows_add_up_in_any_order(a in any_row(), b in any_row(), c in any_row()) {
        let all = merged(&[&a, &b, &c]);
        prop_assert_eq!(&all, &merged(&[&c, &a, &b]));
        prop_assert_eq!(&all, &merged(&[&merged(&[&a, &c]), &b]));
        prop_assert_eq!(all.sent, a.sent + b.sent + c.sent);
    }

    #[test]
    fn what_is_doubled_overtaken_or_too_old_changes_nothing(
        history in proptest::collection::vec(told(), 1..60),
    ) {
        let operation = operation();
        let (mut clean, mut noisy) = (judge(&operation), judge(&operation));
        let mut before: Vec<Evidence> = Vec::new();
        for (step, told) in (1..).zip(history) {
            let now = Moment(step * 100);
            let message = evidence(told.member, step, vec![row(told.node, told.fails)]);
            clean.hear(now, &message, &operation).unwrap();
            noisy.hear(now, &message, &operation).unwrap();
            before.push(message.clone());
            // The same again, one that it overtook, and what could not be sent for too long.
            let others = before.iter().rev().take(usize::from(told.noise));
            for old in others {
                prop_assert!(noisy.hear(now, old, &operation).is_err());
            }
            let waited = Evidence {
                sequence: step + 1_000,
                age_ms: 2_001,
                rows: vec![accusation(told.node)],
                ..message.clone()
            };
            prop_assert!(noisy.hear(now, &waited, &operation).is_err());
            prop_assert_eq!(clean.tick(now, &operation), noisy.tick(now, &operation));
            prop_assert_eq!(clean.facts(), noisy.facts());
        }
    }
}

/// What members could not send during an outage, delivered all together at its end, opened two well nodes.
#[test]
fn what_was_under_way_for_too_long_is_nothing() {
    let operation = operation();
    let mut judge = judge(&operation);
    let now = Moment(30_000);
    let late = |at_ms| Evidence {
        heard: Echo {
            epoch: Epoch(1),
            at_ms,
        },
        ..evidence(1, at_ms, vec![accusation(5)])
    };
    assert!(judge.hear(now, &late(26_900), &operation).is_err());
    assert!(judge.hear(now, &late(27_100), &operation).is_ok());
    let of_another_chair = Evidence {
        heard: Echo::default(),
        ..evidence(2, 1, vec![accusation(5)])
    };
    assert!(judge.hear(now, &of_another_chair, &operation).is_err());
}
