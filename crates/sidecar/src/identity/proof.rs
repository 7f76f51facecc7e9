//! Proofs: what a connection has shown once, and for how long that counts.

use tokio::sync::watch;

/// That what a connection has proven still counts. Once it does not, it never does again.
#[derive(Debug, Clone)]
pub struct Proof(watch::Sender<bool>);

impl Default for Proof {
    fn default() -> Self {
        Self(watch::Sender::new(true))
    }
}

impl Proof {
    /// What was proven counts no more.
    pub fn end(&self) {
        self.0.send_replace(false);
    }

    /// Whether it still counts.
    pub fn counts(&self) -> bool {
        *self.0.borrow()
    }

    /// Completes when it counts no more.
    pub async fn ended(&self) {
        // The sender is ours, so there is no other end than the one that is waited for.
        drop(self.0.subscribe().wait_for(|counts| !counts).await);
    }
}
