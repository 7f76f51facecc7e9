//! What is published to all members of a fleet, put in force by the writer.

use tokio::sync::mpsc;

use crate::fleet::config::{Order, StateHeld, TextDone, TextOrder};
use crate::writer::Mailbox;
use tradewind_engine::document::Diagnostics;
use tradewind_engine::edition::Which;
use tradewind_engine::lifecycle::{ApplyError, Document, PolicyDocument, PolicyUpdate, Update};

/// Does what it is told, until nobody tells it anything any more, or the writer has ended.
pub(super) async fn obey(mut orders: mpsc::Receiver<Order>, mailbox: Mailbox) {
    while let Some(order) = orders.recv().await {
        match order {
            Order::Text(TextOrder {
                reply,
                which,
                text,
                signature,
                force,
                who,
                why,
            }) => {
                let (text, words) = ((text, signature), (who, why));
                let done = match which {
                    Which::Policy => policy(&mailbox, text, force, words).await,
                    Which::Topology => topology(&mailbox, text, force, words).await,
                };
                let Some(done) = done else { return };
                // Whoever told it may have left the bus.
                let _gone = reply.send(done);
            }
            Order::State(change, reply) => {
                let Some(set) = mailbox.set_admin_state(change).await else {
                    return;
                };
                let held = set.map(|set| StateHeld {
                    changed: set.changed,
                    is_kept: set.is_kept,
                });
                let _gone = reply.send(held);
            }
        }
    }
}

async fn policy(
    mailbox: &Mailbox,
    (text, signature): (String, String),
    force: bool,
    (who, why): (String, String),
) -> Option<TextDone> {
    let update = PolicyUpdate {
        document: PolicyDocument::Text(text.into()),
        if_revision: None,
        may_end_rollout: force,
        who,
        why,
    };
    Some(match mailbox.apply_policy(update, signature).await? {
        Ok(set) => judged(&set.applied.faults.split().0),
        Err(error) => failed(&error),
    })
}

async fn topology(
    mailbox: &Mailbox,
    (text, signature): (String, String),
    force: bool,
    (who, why): (String, String),
) -> Option<TextDone> {
    let update = Update {
        document: Document::Text(text),
        if_digest: String::new(),
        confirm_removal: force,
        who,
        why,
    };
    Some(match mailbox.apply_topology(update, signature).await? {
        Ok(set) => match set.applied.held {
            Some(because) => TextDone::Refused(because),
            None => judged(&set.applied.faults),
        },
        Err(error) => failed(&error),
    })
}

/// What faults come to: the first is told, and the log has all.
fn judged(faults: &Diagnostics) -> TextDone {
    match faults.to_lines().into_iter().next() {
        None => TextDone::InForce,
        Some(first) => TextDone::Refused(first),
    }
}

fn failed(error: &ApplyError) -> TextDone {
    match error {
        ApplyError::NothingInForce => TextDone::NotYet,
        error => TextDone::Refused(error.to_string()),
    }
}
