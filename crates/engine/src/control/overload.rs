//! What nodes shed, once a second: the law is [`balance::overload`](crate::balance::overload).

use super::Next;
use super::event::Event;
use super::node::NodeNotes;
use crate::balance::overload::{Second, TURN_MS};
use crate::model::NodeIndex;
use crate::signal::NodeSignals;
use crate::time::Moment;

/// What is known of a node's load and of its neighbours'.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    /// Its utilisation, by its own word or by what it sheds itself.
    pub(super) utilisation: Option<f64>,
    /// Whether other nodes or sites could take over what it has too much.
    pub(super) others_have_room: bool,
}

impl NodeNotes {
    /// Moves what the node sheds, once a second; answers what it would be used were nothing shed.
    pub(super) fn shed(
        &mut self,
        now: Moment,
        node: NodeIndex,
        seen: Seen,
        (next, events): (Next<'_>, &mut Vec<Event>),
    ) -> Option<f64> {
        let second = Second {
            sent: std::mem::take(&mut self.sent),
            utilisation: seen.utilisation,
            others_have_room: seen.others_have_room,
        };
        let bound = next.policy.operation().max_utilisation;
        self.overload.step(&second, bound);
        let is = self.overload.level() > 0;
        if is != self.sheds_since.is_some() {
            let since = self.sheds_since.unwrap_or(now);
            self.sheds_since = is.then_some(now);
            events.push(Event::Shedding {
                node,
                is,
                ratio: self.overload.shed_ratio(),
                utilisation: seen.utilisation,
                lasted_ms: now.since(since),
            });
        }
        self.overload.demand().or(seen.utilisation)
    }
}

/// Which turn it is; 0 while no node sheds anything and everything may be tried again.
pub(super) fn turn(now: Moment, nodes: &[NodeSignals], retries_withheld: u8) -> u32 {
    if retries_withheld == 0 && nodes.iter().all(|node| node.shed == 0) {
        return 0;
    }
    // From 1 on; a number of 32 bits comes again after six centuries.
    u32::try_from(now.0 / TURN_MS % u64::from(u32::MAX)).unwrap_or(0) + 1
}
