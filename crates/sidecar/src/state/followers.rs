//! Places for those who keep a copy of what decisions are made from.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Most followers at once, of all workers.
pub const MAX_FOLLOWERS: usize = 16;

/// Places for followers.
#[derive(Debug, Clone)]
pub struct Followers(Arc<Semaphore>);

impl Default for Followers {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_FOLLOWERS)))
    }
}

impl Followers {
    /// How many there are.
    pub fn count(&self) -> usize {
        MAX_FOLLOWERS.saturating_sub(self.0.available_permits())
    }

    /// A place, given back when it is dropped; `None` when all are taken.
    pub fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.0).try_acquire_owned().ok()
    }
}
