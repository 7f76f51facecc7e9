//! Wishes as purges of the log, and purges of the log as wishes.

use crate::freshness::Wish;
use crate::wire::proto::{PurgeSelector, Purged};
use crate::wire::purge::{self as messages, selector_message};
use tradewind_engine::freshness::purge::Purge;

/// What a wish covers, as messages.
pub(super) fn messages_of(wish: &Wish) -> Vec<PurgeSelector> {
    let selectors = wish.selectors.iter();
    selectors.map(selector_message).collect()
}

/// What a purge of the log covers. What cannot be read of it, this release would not have written.
pub(super) fn readable(purged: &Purged) -> Purge {
    let purge = messages::purge(purged);
    let lost = purged.selectors.len() - purge.selectors.len();
    if lost > 0 {
        let version = messages::version_text(purged.sequence);
        tracing::error!(
            version,
            lost,
            "part of a purge cannot be read: what it covered may be served again"
        );
    }
    purge
}

/// The wish that a purge was, but for its id and its times: for one that is purged again.
pub(super) fn wish_of(purged: &Purged) -> Wish {
    Wish {
        id: String::new(),
        namespace: purged.namespace.clone(),
        selectors: messages::purge(purged).selectors,
        is_soft: purged.not_older_than_unix_ms > 0,
        over_ms: 0,
        repeat_ms: 0,
        who: purged.who.clone(),
        why: purged.why.clone(),
        again_of: 0,
    }
}
