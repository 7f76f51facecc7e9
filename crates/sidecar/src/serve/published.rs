//! What is published to all members of a fleet, put in force by the writer.

use tokio::sync::mpsc;

use crate::clock;
use crate::fleet::Orders;
use crate::fleet::config::{Done, EditionOrder, Held, StateHeld, StateOrder, Text};
use crate::writer::{Mailbox, StateSet};
use tradewind_engine::document::Diagnostics;
use tradewind_engine::lifecycle::{
    ApplyError, Document, PolicyDocument, PolicyUpdate, StateChange, StateError, Update,
};
use tradewind_engine::model::AdminState;

/// How far apart two ends of a state may be that are the same, in ms: of one told again the time left is counted anew.
const SAME_END_MS: u64 = 2_000;

/// Does what it is told, until nobody tells it anything any more, or the writer has ended.
pub(super) async fn obey((editions, states): Orders, mailbox: Mailbox) {
    tokio::join!(put_in_force(editions, &mailbox), set(states, &mailbox));
}

async fn put_in_force(mut editions: mpsc::Receiver<EditionOrder>, mailbox: &Mailbox) {
    while let Some(order) = editions.recv().await {
        let Some(done) = edition(mailbox, &order).await else {
            return;
        };
        // Whoever told it may have left the bus.
        let _gone = order.reply.send(done);
    }
}

/// Puts an edition in force: the topology first, which the policy was tried with; but a topology may take away what only the
/// policy before it needs. `None` when the writer has ended.
async fn edition(mailbox: &Mailbox, order: &EditionOrder) -> Option<Done> {
    let words = (&*order.who, &*order.why);
    let mut topology_done = match &order.topology {
        Some(text) => topology(mailbox, text, words).await?,
        None => Done::InForce,
    };
    let policy_done = match &order.policy {
        Some(text) => policy(mailbox, text, words).await?,
        None => Done::InForce,
    };
    if let (Some(text), Done::Refused(_), Done::InForce) =
        (&order.topology, &topology_done, &policy_done)
    {
        topology_done = topology(mailbox, text, words).await?;
    }
    Some(match (topology_done, policy_done) {
        (Done::Refused(why), _) => Done::Refused(format!("topology: {why}")),
        (_, Done::Refused(why)) => Done::Refused(format!("policy: {why}")),
        (Done::InForce, done) | (done, _) => done,
    })
}

async fn policy(mailbox: &Mailbox, text: &Text, (who, why): (&str, &str)) -> Option<Done> {
    let update = PolicyUpdate {
        document: PolicyDocument::Text(text.text.as_str().into()),
        if_revision: None,
        may_end_rollout: text.force,
        who: who.to_owned(),
        why: why.to_owned(),
    };
    let done = mailbox.apply_policy(update, text.signature.clone()).await?;
    Some(match done {
        Ok(set) => judged(&set.applied.faults.split().0),
        Err(error) => failed(&error),
    })
}

async fn topology(mailbox: &Mailbox, text: &Text, (who, why): (&str, &str)) -> Option<Done> {
    let update = Update {
        document: Document::Text(text.text.clone()),
        if_digest: String::new(),
        confirm_removal: text.force,
        who: who.to_owned(),
        why: why.to_owned(),
    };
    let done = mailbox
        .apply_topology(update, text.signature.clone())
        .await?;
    Some(match done {
        Ok(set) => match set.applied.held {
            Some(because) => Done::Refused(because),
            None => judged(&set.applied.faults),
        },
        Err(error) => failed(&error),
    })
}

/// What faults come to: the first is told, and the log has all.
fn judged(faults: &Diagnostics) -> Done {
    match faults.to_lines().into_iter().next() {
        None => Done::InForce,
        Some(first) => Done::Refused(first),
    }
}

fn failed(error: &ApplyError) -> Done {
    match error {
        ApplyError::NothingInForce | ApplyError::RolloutUnderWay { .. } => {
            Done::NotYet(error.to_string())
        }
        error => Done::Refused(error.to_string()),
    }
}

async fn set(mut states: mpsc::Receiver<StateOrder>, mailbox: &Mailbox) {
    while let Some(StateOrder {
        change,
        is_news,
        reply,
    }) = states.recv().await
    {
        let held = if !is_news && is_so(mailbox, &change).await {
            Ok(None)
        } else {
            let Some(set) = mailbox.set_admin_state(change).await else {
                return;
            };
            as_held(set)
        };
        let _gone = reply.send(held);
    }
}

fn as_held(set: Result<StateSet, StateError>) -> Held {
    set.map(|set| {
        Some(StateHeld {
            changed: set.changed,
            is_kept: set.is_kept,
        })
    })
}

/// Whether a state is set as it is to be: a sidecar that begins hears all that were ever set.
async fn is_so(mailbox: &Mailbox, change: &StateChange) -> bool {
    let Some(in_force) = mailbox.fleet().await else {
        return false;
    };
    let entry = in_force.fleet.overrides.get(&change.target);
    let Some(entry) = entry else {
        return change.state == AdminState::Ready;
    };
    let now_unix_ms = clock::unix_ms();
    let until = change.lasts_ms.map(|it| now_unix_ms.saturating_add(it));
    let is_same_end = match (until, entry.until_unix_ms) {
        (Some(one), Some(other)) => one.abs_diff(other) < SAME_END_MS,
        (one, other) => one == other,
    };
    entry.state == change.state && is_same_end
}
