//! Turning requests away where the node named first has no room for their priority, and granting further attempts.
//!
//! Whose turn it is to be shed is a lot: a hash of what is asked for, by whom, and when. So a request that is tried again
//! within the turn gets the same answer, and in the next one has another chance.

use super::{Evaluation, Reason, Request, Shed};
use crate::balance::overload;

/// Sheds the request if its lot is of the share that the node named first has no room for; else says whether it may be tried
/// again.
#[cold]
#[inline(never)]
pub(super) fn admit(request: &Request<'_, '_>, evaluation: &mut Evaluation) {
    let signals = request.snapshot.signals();
    let Some(first) = evaluation.picks.first() else {
        return;
    };
    let priority = request.plan.priority;
    let lot = request.keys.lot(&request.located, signals.turn);
    let [lot, later, attempts, ..] = lot.0.to_le_bytes();
    if overload::is_shed(signals.node(first.node).shed, priority, lot) {
        let shed = Shed {
            node: Some(first.node),
            retry_after_s: overload::retry_after_s(later),
        };
        evaluation.turn_away(Reason::NoRoom, shed);
        return;
    }
    // Whatever its priority: where all that passes is critical, its retries are what keeps a node from catching up.
    evaluation.is_tried_once = attempts < signals.retries_withheld;
}
