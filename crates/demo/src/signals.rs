//! When a person or a system asks the process to end.

use std::io;

use tokio::signal::unix::{SignalKind, signal};

/// Completes at the first SIGINT or SIGTERM from now on. Must be called within a runtime; from then on these signals do
/// nothing else in this process, and SIGUSR1 and SIGUSR2, which would end it by default, nothing at all.
pub fn end_asked_for() -> io::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    // Handlers stay when nobody waits for them any more.
    for meaningless in [SignalKind::user_defined1(), SignalKind::user_defined2()] {
        drop(signal(meaningless)?);
    }
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}
