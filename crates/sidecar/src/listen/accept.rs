//! Taking connections from a listener without ever ending or spinning.
//!
//! A listener that has a connection waiting stays readable while `accept` fails, so a loop that simply
//! tries again burns a core for as long as descriptors are short, and one that gives up never comes back.

use std::io;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use tokio::time::{self, Instant};

use super::counters;
use super::socket::{Accepted, Listener};
use crate::clock;

/// At most one log line on accept errors in this time.
const LOG_EVERY: Duration = Duration::from_secs(1);

/// A listener with a pause after errors.
#[derive(Debug)]
pub(crate) struct Acceptor {
    listener: Listener,
    backoff: Duration,
    /// When the last line was logged, and the errors not logged since.
    logged: Option<Instant>,
    unlogged: u64,
}

impl Acceptor {
    pub(crate) fn new(listener: Listener, backoff: Duration) -> Self {
        Self {
            listener,
            backoff,
            logged: None,
            unlogged: 0,
        }
    }

    /// The next connection, however long that takes. Safe to cancel.
    pub(crate) async fn next(&mut self, errors: &AtomicU64) -> Accepted {
        loop {
            let error = match self.listener.accept().await {
                Ok(accepted) => return accepted,
                Err(error) => error,
            };
            counters::count(errors);
            self.log(&error);
            // A connection that its peer gave up is off the queue; there is nothing to wait for.
            if !is_the_peers(&error) {
                time::sleep(self.backoff).await;
            }
        }
    }

    fn log(&mut self, error: &io::Error) {
        let now = clock::timer_now();
        if self
            .logged
            .is_some_and(|at| now.duration_since(at) < LOG_EVERY)
        {
            self.unlogged += 1;
            return;
        }
        self.logged = Some(now);
        let unlogged = std::mem::take(&mut self.unlogged);
        tracing::warn!(endpoint = %self.listener.endpoint(), %error, unlogged, "cannot accept a connection");
    }
}

fn is_the_peers(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}
