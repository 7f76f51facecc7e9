//! This sidecar as a member of a fleet: the bus that carries what members tell each other.
//!
//! A thread of its own speaks to NATS ([`bus`]): it carries the log of purges that all share ([`purges`]). Where no bus is
//! configured none of this runs. While the bus is away, everything goes on as it was, and purges are refused: whoever is told
//! that something is purged must be able to rely on it everywhere.

mod bus;
mod link;
mod purges;
mod subjects;

use std::io;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::{self, JoinHandle};

use tokio::sync::{mpsc, oneshot};

use crate::clock;
use crate::freshness::Freshness;
use crate::freshness::shared::Shared;
use crate::settings::fleet::Membership;

/// How the bus is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It is tried for the first time.
    Coming,
    /// It is, and all of it can be used.
    Up,
    /// It is not, or not what is needed of it.
    Down {
        /// Why.
        why: String,
    },
}

/// What is counted of the bus.
#[derive(Debug, Default)]
pub struct Counters {
    /// How often it was reached.
    pub reached: AtomicU64,
    /// Purges that were heard.
    pub heard: AtomicU64,
    /// Purges that were appended.
    pub appended: AtomicU64,
    /// Purges that were not, because others came before.
    pub overtaken: AtomicU64,
    /// How often purges that were missed had to be asked for.
    pub replays: AtomicU64,
}

/// This sidecar's place in its fleet, for all who look.
#[derive(Debug)]
pub struct Fleet {
    /// As configured.
    pub membership: Membership,
    standing: RwLock<(Standing, u64)>,
    /// What is counted.
    pub counters: Counters,
}

impl Fleet {
    /// How the bus is reached, and since when, in ms of Unix time.
    pub fn standing(&self) -> (Standing, u64) {
        let standing = self.standing.read();
        standing.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Says how the bus is reached, once for each change.
    fn stand(&self, standing: Standing) {
        let mut known = self
            .standing
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if known.0 == standing {
            return;
        }
        match &standing {
            Standing::Coming => {}
            Standing::Up => tracing::info!(
                fleet = self.membership.fleet,
                "the bus of the fleet is reached"
            ),
            Standing::Down { why } => {
                tracing::warn!(
                    fleet = self.membership.fleet,
                    why,
                    "the bus of the fleet is not to be used: purges are refused"
                );
            }
        }
        *known = (standing, clock::unix_ms());
    }
}

/// The bus, running.
#[derive(Debug)]
pub struct Running {
    /// This sidecar's place in the fleet.
    pub fleet: Arc<Fleet>,
    end: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Running {
    /// Leaves the bus, and waits for that.
    pub fn stop(self) {
        // Where it ended by itself it has panicked, and there is nobody to be told.
        self.end.send(()).ok();
        drop(self.thread.join());
    }
}

/// The two ends of the way between the keeper of purges and the bus.
pub fn way(membership: &Membership) -> (Shared, Asked) {
    let (bus, asked) = mpsc::unbounded_channel();
    let member = membership.member.clone();
    (Shared { member, bus }, Asked(asked))
}

/// What the keeper asks.
#[derive(Debug)]
pub struct Asked(mpsc::UnboundedReceiver<crate::freshness::shared::Ask>);

/// Goes to the bus, and again whenever it was lost.
///
/// # Errors
///
/// A thread that cannot be started.
pub fn start(
    membership: Membership,
    freshness: Arc<Freshness>,
    asked: Asked,
) -> io::Result<Running> {
    let fleet = Arc::new(Fleet {
        membership,
        standing: RwLock::new((Standing::Coming, clock::unix_ms())),
        counters: Counters::default(),
    });
    let (end, ended) = oneshot::channel();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let of_thread = Arc::clone(&fleet);
    let named = thread::Builder::new().name("tradewind-fleet".to_owned());
    let thread = named.spawn(move || {
        let carried = bus::carry(of_thread, freshness, asked.0);
        runtime.block_on(async {
            tokio::select! {
                () = carried => {}
                _ = ended => {}
            }
        });
    })?;
    Ok(Running { fleet, end, thread })
}
