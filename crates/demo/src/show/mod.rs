//! The whole story in one process: nine nodes, a sidecar, a proxy with its clients, two faults, and what came of them.

mod expectations;
mod host;
mod ledger;
mod proxy;
mod stage;
mod story;
mod told;
mod watch;

use std::io;

use tokio::runtime::Builder;

pub use told::{Begin, End, Event, Expectation, Record, Second, Tell, Voice};

use super::nodes::NodesError;
use super::signals;
use tradewind_sidecar::serve::ServeError;
use tradewind_sidecar::settings::SettingsError;

/// Requests per second that may be asked for.
pub const RATES: std::ops::RangeInclusive<u32> = 100..=2_000;

/// How the demo runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// Chooses clients and objects.
    pub seed: u64,
    /// Requests per second, within [`RATES`].
    pub requests_per_second: u32,
    /// Leaves out the slow node, and lets each act last only as long as it needs: under half a minute.
    pub quick: bool,
    /// Whether SIGINT and SIGTERM end it. They are the whole process's, so a test leaves them alone.
    pub heeds_signals: bool,
}

/// Why the demo cannot run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DemoError {
    /// The nodes cannot be started or told.
    #[error(transparent)]
    Nodes(#[from] NodesError),
    /// The documents cannot be written.
    #[error("the demo's files cannot be written to the system's directory for temporary files")]
    Files(#[source] io::Error),
    /// The sidecar's settings are refused.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The sidecar does not start.
    #[error("the demo's sidecar does not start")]
    Serve(#[from] ServeError),
    /// A thread or runtime could not be started.
    #[error("a thread or runtime cannot be started")]
    Start(#[source] io::Error),
    /// The sidecar cannot be reached.
    #[error("the demo's sidecar cannot be reached")]
    Connect(#[source] tradewind_client::options::ConnectError),
    /// What is told cannot be written.
    #[error("the output cannot be written")]
    Output(#[source] io::Error),
}

/// Runs the story to its end, or until a signal where those are heeded. `tell` is told everything as it happens.
pub fn run(plan: Plan, tell: &mut Tell<'_>) -> Result<End, DemoError> {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(DemoError::Start)?;
    runtime.block_on(async {
        // Before anything is started, so that nothing is left behind.
        let interrupted = interrupted(plan.heeds_signals)?;
        stage::play(plan, tell, interrupted).await
    })
}

/// Completes when the process is asked to end, if that is to be heeded.
fn interrupted(heeded: bool) -> Result<impl Future<Output = ()>, DemoError> {
    let asked = heeded.then(signals::end_asked_for).transpose();
    let asked = asked.map_err(DemoError::Start)?;
    Ok(async move {
        match asked {
            Some(asked) => asked.await,
            None => std::future::pending().await,
        }
    })
}
