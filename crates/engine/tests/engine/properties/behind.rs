//! Nodes that have not done a purge of the object: never before one that has, and never instead of nothing.

use proptest::prelude::*;
use tradewind_engine::evaluate::{Reason, evaluate};
use tradewind_engine::explanation::{Elimination, Explanation};
use tradewind_engine::locate::locate;
use tradewind_engine::model::NodeIndex;

use super::config;
use super::worlds::{ask, build, geo, image, with_query, world};

proptest! {
    #![proptest_config(config(300))]

    #[test]
    fn who_is_behind_comes_last_and_nothing_else_changes(
        world in world(), asks in prop::collection::vec(ask(), 8), marks in any::<u64>(), mask in any::<u64>(),
    ) {
        let geo = geo(&world.clients);
        let snapshot = build(&world.fleet, &world.policy, &geo, None);
        // From few to most of them.
        for marked in [0, marks & mask, marks, marks | mask, u64::MAX] {
            let is_behind = |node: NodeIndex| marked >> (node.0 % 64) & 1 == 1;
            for ask in &asks {
                with_query(&world, ask, |query| {
                    let first = evaluate(&snapshot, query);
                    let located = locate(&snapshot, query);
                    let (after, behind) = first.clone().past(&snapshot, query, located, is_behind);
                    prop_assert_eq!(after.verdict, first.verdict);
                    prop_assert!(after.picks.len() <= first.picks.len());
                    prop_assert_eq!(after.picks.is_empty(), first.picks.is_empty());
                    prop_assert!(behind.iter().all(|node| is_behind(*node)));
                    let late: Vec<bool> = after.picks.iter().map(|pick| is_behind(pick.node)).collect();
                    prop_assert!(late.is_sorted(), "{late:?}");
                    let mut named: Vec<NodeIndex> = after.picks.iter().map(|pick| pick.node).collect();
                    named.sort_unstable();
                    named.dedup();
                    prop_assert_eq!(named.len(), after.picks.len());
                    if first.picks.iter().all(|pick| !is_behind(pick.node)) {
                        prop_assert_eq!(image(&after), image(&first));
                        prop_assert!(behind.is_empty());
                    } else if first.picks.first().map(|it| it.node) != after.picks.first().map(|it| it.node) {
                        prop_assert_eq!(after.reason, Reason::PurgeBehind);
                    }
                    let again = first.clone().past(&snapshot, query, located, is_behind);
                    prop_assert_eq!(image(&again.0), image(&after));
                    let lines = Explanation::past(&snapshot, query, &after, &behind).nodes;
                    for line in lines.iter().filter(|line| behind.contains(&line.node) && line.place.is_none()) {
                        prop_assert_eq!(line.eliminated, Some(Elimination::PurgeBehind));
                    }
                    Ok(())
                })?;
            }
        }
    }
}
