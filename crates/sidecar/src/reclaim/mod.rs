//! Tells caches to drop what was purged, parents first: for space, and for caches whose keys have no version.
//!
//! One thread of its own with a single-threaded runtime, so that a slow node or resolver holds up nothing else. Who is told, and
//! how, is the policy's `reclaim` of pools. Each node does purges in their order; which it may do is said by
//! [`engine::freshness::tiers`](tradewind_engine::freshness::tiers). What each has done is kept on disk, at most a second late: after a restart
//! some are told again of what they did, and none is left out.

mod floors;
mod plan;
mod request;
mod rounds;
mod tell;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::sync::oneshot;

use crate::state::State;
use floors::Floors;
use rounds::Rounds;

/// Nodes that are told at once, at most; those over it wait.
const MAX_IN_FLIGHT: usize = 64;

/// How long [`Reclaimer::stop`] waits for the thread.
const STOP_WITHIN: Duration = Duration::from_secs(1);

/// The thread that tells.
#[derive(Debug)]
pub struct Reclaimer {
    /// Dropping it stops the thread.
    stop: oneshot::Sender<()>,
    /// Disconnected once the thread has left.
    left: mpsc::Receiver<()>,
    thread: JoinHandle<()>,
}

impl Reclaimer {
    /// Starts to tell nodes of what `state` publishes. What they have done is kept in `state_dir`.
    ///
    /// # Errors
    ///
    /// A runtime or a thread that cannot be started.
    pub fn spawn(state: Arc<State>, state_dir: Option<&Path>) -> io::Result<Self> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(MAX_IN_FLIGHT)
            .build()?;
        let floors = Floors::read(state_dir);
        let (stop, stopped) = oneshot::channel();
        let (leaving, left) = mpsc::channel();
        let thread = thread::Builder::new()
            .name("tradewind-reclaim".to_owned())
            .spawn(move || {
                runtime.block_on(Rounds::new(state, floors).run(stopped));
                // A look-up of a name cannot be cut short; it ends by itself and is not waited for.
                runtime.shutdown_background();
                drop(leaving);
            })?;
        Ok(Self { stop, left, thread })
    }

    /// Ends what is on its way, keeps what was done, and waits for that, at most a second.
    ///
    /// Blocks the calling thread: call it where that is allowed.
    pub fn stop(self) {
        drop(self.stop);
        if self.left.recv_timeout(STOP_WITHIN) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!("whoever tells caches of purges is still busy and is left behind");
        } else if self.thread.join().is_err() {
            tracing::error!("whoever tells caches of purges had panicked");
        }
    }
}
