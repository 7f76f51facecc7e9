//! Telling of purges in their order: from memory, and from the log those that are older.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::records::Records;
use super::{Freshness, log};
use crate::wire::proto::Purged;

/// Purges that are taken from memory, or read from the log, at once.
const AT_ONCE: usize = 64;

/// Whoever is told.
pub trait Hearer: Send {
    /// Hears of a purge; whether it wants to hear more.
    fn hear(&mut self, purged: &Purged) -> impl Future<Output = bool> + Send;
}

/// Tells of all purges after `after` that there are, which becomes the last that was told; whether there is still somebody to tell.
pub async fn tell_after(
    freshness: &Arc<Freshness>,
    after: &mut u64,
    hearer: &mut impl Hearer,
) -> bool {
    loop {
        let first = freshness.records(Records::first_held);
        let is_missing =
            first > *after + 1 && freshness.records(|it| it.log.is_some() && it.oldest < first);
        if is_missing && !tell_from_log(freshness, (after, first), hearer).await {
            return false;
        }
        let next = freshness.records(|it| it.after(*after, AT_ONCE));
        if next.is_empty() {
            return true;
        }
        for record in next {
            *after = record.purged.sequence;
            if !hearer.hear(&record.purged).await {
                return false;
            }
        }
    }
}

/// Tells of purges that are in the log only, up to the first that is held in memory.
async fn tell_from_log(
    freshness: &Arc<Freshness>,
    (after, first): (&mut u64, u64),
    hearer: &mut impl Hearer,
) -> bool {
    let Some(path) = freshness.records(|it| it.log.clone()) else {
        return true;
    };
    let (read, mut purges) = mpsc::channel(AT_ONCE);
    let from = *after;
    let reading = tokio::task::spawn_blocking(move || {
        log::read(&path, |purged| {
            if purged.sequence > from && purged.sequence < first {
                // Whoever is told may have gone.
                drop(read.blocking_send(purged));
            }
        })
    });
    let mut is_there = true;
    while let Some(purged) = purges.recv().await {
        *after = purged.sequence.max(*after);
        is_there = is_there && hearer.hear(&purged).await;
    }
    match reading.await {
        Ok(Ok(_)) => is_there,
        _ => false,
    }
}
