//! What the process is told by signals of the system: to end, to look at its files again, or nothing.
//!
//! | signal | what it does |
//! |---|---|
//! | SIGTERM, SIGINT | ends, after calls in flight |
//! | SIGHUP | looks at the files again, at once |
//! | SIGUSR1, SIGUSR2 | nothing but a line in the log; without a handler they would end the process |
//! | SIGPIPE | nothing: Rust ignores it, and a peer that left is an error of its connection |
//!
//! Handlers stay for as long as the process lives, so none of these signals ever gets its default action back.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::ServeError;
use super::manager::Manager;
use crate::writer::Mailbox;
use crate::writer::watch::Bell;

/// Signals that must be taken before anything slow begins: a file may take seconds to be read.
#[derive(Debug)]
pub(super) struct Signalled {
    hangup: Signal,
    user_1: Signal,
    user_2: Signal,
}

impl Signalled {
    /// From now on, none of them ends the process.
    pub(super) fn new() -> Result<Self, ServeError> {
        let of = |kind| signal(kind).map_err(ServeError::Signals);
        Ok(Self {
            hangup: of(SignalKind::hangup())?,
            user_1: of(SignalKind::user_defined1())?,
            user_2: of(SignalKind::user_defined2())?,
        })
    }

    /// Asks the watch and the writer to look again on SIGHUP and every `poll`, for ever. Until they have, after SIGHUP, the service
    /// manager takes it for a reload.
    pub(super) async fn serve(
        mut self,
        (watch, mailbox, manager): (Bell, Mailbox, Arc<Manager>),
        poll: Duration,
    ) {
        loop {
            let mut pause = pin!(tokio::time::sleep(poll));
            loop {
                tokio::select! {
                    _ = self.user_1.recv() => note("SIGUSR1"),
                    _ = self.user_2.recv() => note("SIGUSR2"),
                    _ = self.hangup.recv() => {
                        tracing::info!("told to look at the files again");
                        manager.reloading().await;
                        watch.ring();
                        // Answered when they were read, or the writer has ended.
                        let _ended: Option<()> = mailbox.look().await;
                        manager.ready().await;
                        break;
                    }
                    () = &mut pause => {
                        watch.ring();
                        // Told directly too: whatever becomes of the watch, the poll finds what has changed.
                        mailbox.look_again();
                        break;
                    }
                }
            }
        }
    }
}

fn note(signal: &str) {
    tracing::info!(
        signal,
        "this signal does nothing here; SIGHUP looks at the files again, SIGTERM and SIGINT end"
    );
}

/// Completes at the first SIGTERM or SIGINT.
pub(super) fn shutdown() -> Result<impl Future<Output = ()>, ServeError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(ServeError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(ServeError::Signals)?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
