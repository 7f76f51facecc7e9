//! The Envoys that subscribe to endpoints, and what became of what was pushed to each.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

use crate::clock;
use tradewind_engine::model::printable;

/// Longest text of an Envoy's that is kept, in bytes.
const MAX_TEXT_BYTES: usize = 512;

/// Most nodes left out that are named.
const MAX_NODES_NAMED: usize = 20;

/// An Envoy, as shown under `/debug/envoy`.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Subscriber {
    /// The id it gives itself.
    pub node: String,
    /// The cluster it gives itself.
    pub cluster: String,
    /// Whether it is told what has changed (`DELTA_GRPC`), and not all endpoints each time.
    pub incremental: bool,
    /// The pools or rules it wants.
    pub names: Vec<String>,
    /// Those of them that the policy has not.
    pub unknown_names: Vec<String>,
    /// Nodes it was not told of, because their address is a name, which it would refuse the whole of a push for.
    pub nodes_left_out: usize,
    /// The first 20 of them.
    pub left_out: Vec<String>,
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

    /// It is told what has changed, and not all endpoints each time.
    pub fn is_incremental(&self) {
        self.change(|own| own.incremental = true);
    }

    /// It wants these, of which some are not known.
    pub fn subscribes(&self, names: Vec<String>, unknown: Vec<String>) {
        self.change(|own| {
            own.names = names;
            own.unknown_names = unknown;
        });
    }

    /// It wants more names than are taken.
    pub fn wants_too_much(&self, wanted: usize, most: usize) {
        let node = self.change(|own| own.node.clone());
        tracing::warn!(
            node,
            wanted,
            most,
            "an Envoy subscribes to more names than are served, the rest is ignored"
        );
    }

    /// It is not told of these nodes, because their address is a name.
    pub fn leaves_out(&self, nodes: Vec<String>) {
        let count = nodes.len();
        let mut named = nodes;
        named.truncate(MAX_NODES_NAMED);
        let first = named.first().cloned().unwrap_or_default();
        let (node, is_news) = self.change(|own| {
            let is_news = own.left_out != named || own.nodes_left_out != count;
            own.nodes_left_out = count;
            own.left_out = named;
            (own.node.clone(), is_news)
        });
        if is_news && count > 0 {
            tracing::warn!(
                node,
                count,
                first,
                "nodes whose address is a name are left out of an Envoy's endpoints, which it takes as IP addresses only"
            );
        }
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

    /// It took this push, while what another told stands refused.
    pub fn took_another(&self, version: &str) {
        self.all.taken.fetch_add(1, Ordering::Relaxed);
        self.change(|own| {
            own.taken_version = printable(version, MAX_TEXT_BYTES);
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
