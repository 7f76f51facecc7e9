//! The Envoys that subscribe to endpoints, and what became of what was pushed to each.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

use crate::engine::model::printable;
use crate::sidecar::clock;

/// Longest text of an Envoy's that is kept, in bytes.
const MAX_TEXT_BYTES: usize = 512;

/// An Envoy, as shown under `/debug/envoy`.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Subscriber {
    /// The id it gives itself.
    pub node: String,
    /// The cluster it gives itself.
    pub cluster: String,
    /// The pools or rules it wants.
    pub names: Vec<String>,
    /// Those of them that the policy has not.
    pub unknown_names: Vec<String>,
    /// The last push.
    pub pushed_version: String,
    /// The last push that it took.
    pub taken_version: String,
    /// Why it refused the last push; absent when it did not.
    pub refused: Option<String>,
    /// When something last became of a push, ms since 1970.
    pub answered_unix_ms: u64,
}

/// All of them.
#[derive(Debug, Default)]
pub struct Subscribers {
    open: Mutex<BTreeMap<u64, Subscriber>>,
    opened: AtomicU64,
    /// Pushes made.
    pub pushes: AtomicU64,
    /// Pushes taken.
    pub taken: AtomicU64,
    /// Pushes refused.
    pub refused: AtomicU64,
}

impl Subscribers {
    /// A newcomer.
    pub fn open(self: &Arc<Self>) -> Subscription {
        let number = self.opened.fetch_add(1, Ordering::Relaxed);
        let subscription = Subscription {
            all: Arc::clone(self),
            number,
        };
        subscription.change(|_| ());
        subscription
    }

    /// Those whose streams are open.
    pub fn list(&self) -> Vec<Subscriber> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.values().cloned().collect()
    }
}

/// One Envoy's entry, for as long as its stream lives.
#[derive(Debug)]
pub struct Subscription {
    all: Arc<Subscribers>,
    number: u64,
}

impl Subscription {
    /// It says who it is.
    pub fn presents_itself(&self, node: &str, cluster: &str) {
        self.change(|own| {
            own.node = printable(node, MAX_TEXT_BYTES);
            own.cluster = printable(cluster, MAX_TEXT_BYTES);
        });
    }

    /// It wants these, of which some are not known.
    pub fn subscribes(&self, names: &[String], unknown: &[String]) {
        self.change(|own| {
            own.names = names.to_vec();
            own.unknown_names = unknown.to_vec();
        });
    }

    /// Something was pushed.
    pub fn pushed(&self, version: &str) {
        self.all.pushes.fetch_add(1, Ordering::Relaxed);
        self.change(|own| version.clone_into(&mut own.pushed_version));
    }

    /// It took the last push.
    pub fn took(&self, version: &str) {
        self.all.taken.fetch_add(1, Ordering::Relaxed);
        self.change(|own| {
            own.taken_version = printable(version, MAX_TEXT_BYTES);
            own.refused = None;
            own.answered_unix_ms = clock::unix_ms();
        });
    }

    /// It refused the last push.
    pub fn refused(&self, why: &str) {
        self.all.refused.fetch_add(1, Ordering::Relaxed);
        let why = printable(why, MAX_TEXT_BYTES);
        let node = self.change(|own| {
            own.refused = Some(why.clone());
            own.answered_unix_ms = clock::unix_ms();
            own.node.clone()
        });
        tracing::warn!(
            node,
            why,
            "an Envoy refused endpoints, it keeps those it had"
        );
    }

    fn change<T>(&self, change: impl FnOnce(&mut Subscriber) -> T) -> T {
        let mut open = self.all.open.lock().unwrap_or_else(PoisonError::into_inner);
        change(open.entry(self.number).or_default())
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut open = self.all.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.remove(&self.number);
    }
}
