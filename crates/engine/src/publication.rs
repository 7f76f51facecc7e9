//! How the next snapshot comes about, whoever publishes it: a sidecar's writer, a simulation, a bench.
//!
//! The control loop goes on with what is about to be published, the snapshot is built of what it says, and the loop is
//! told of it; in this order, and on the same clock.

use std::sync::Arc;

use crate::control::{Control, Next};
use crate::signal::Signals;
use crate::snapshot::{Parts, Snapshot};
use crate::time::Moment;

/// The snapshot of another fleet, policy or geography, after `before`. What `parts` has of signals is not looked at: what
/// they are from now on, the loop says.
pub fn adopt(
    control: &mut Control,
    now: Moment,
    parts: Parts,
    before: Option<&Snapshot>,
) -> Snapshot {
    let next = Next {
        topology: &parts.topology,
        policy: &parts.policy,
        candidate: parts.candidate.as_ref().map(|it| &*it.routing),
        generation: generation_after(before),
    };
    let signals = control.adopt(now, next);
    build(control, now, Parts { signals, ..parts }, before)
}

/// The snapshot with other signals, after `before`: nothing else has changed.
pub fn renew(
    control: &mut Control,
    now: Moment,
    signals: Arc<Signals>,
    before: &Snapshot,
) -> Snapshot {
    let parts = Parts {
        signals,
        ..before.parts().clone()
    };
    build(control, now, parts, Some(before))
}

fn build(control: &mut Control, now: Moment, parts: Parts, before: Option<&Snapshot>) -> Snapshot {
    let snapshot = Snapshot::build(generation_after(before), parts, before);
    control.published(now, &snapshot);
    snapshot
}

/// Generations count up by one from 1.
fn generation_after(before: Option<&Snapshot>) -> u64 {
    1 + before.map_or(0, Snapshot::generation)
}
