//! A whole sidecar inside this process, on ports that the system chooses.

use std::io;
use std::sync::mpsc as blocking;
use std::thread::JoinHandle;

use tokio::runtime::Builder;
use tokio::sync::oneshot;

use super::DemoError;
use crate::fleet::Files;
use tradewind_sidecar::listen::socket::Endpoint;
use tradewind_sidecar::log_filter::NoSwitch;
use tradewind_sidecar::serve::{self, Running, ServeError};
use tradewind_sidecar::settings::{Args, Settings};

/// Any port of this machine.
const ANY_PORT: &str = "127.0.0.1:0";

/// Worker threads: the demo's traffic needs no more.
const WORKERS: usize = 2;

/// A sidecar on a thread of its own; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) running: Running,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Host {
    /// Starts it on the documents in `files`; it answers when this returns.
    pub(super) fn start(files: &Files) -> Result<Self, DemoError> {
        let settings = Settings::new(Args {
            policy: Some(files.policy()),
            topology: Some(files.topology()),
            listen: vec![ANY_PORT.to_owned()],
            debug: ANY_PORT.parse().ok(),
            admin: Some(ANY_PORT.to_owned()),
            http: Some(ANY_PORT.to_owned()),
            state_dir: Some(files.directory().join("state")),
            workers: Some(WORKERS),
            ..Args::default()
        })?;
        let (started, wait) = blocking::sync_channel(1);
        let (end, ended) = oneshot::channel::<()>();
        let run = move || {
            let failed = started.clone();
            let served = run(settings, started, ended);
            if let Err(error) = served {
                drop(failed.send(Err(error)));
            }
        };
        let thread = std::thread::Builder::new().name("demo-sidecar".to_owned());
        let thread = thread.spawn(run).map_err(DemoError::Start)?;
        let running = wait
            .recv()
            .map_err(|_| DemoError::Start(io::Error::other("the sidecar's thread ended")))??;
        Ok(Self {
            running,
            end: Some(end),
            thread: Some(thread),
        })
    }

    /// Where it answers gRPC, `HOST:PORT`.
    pub(super) fn sidecar(&self) -> String {
        let endpoint = self.running.grpc.first();
        endpoint.map_or_else(String::new, ToString::to_string)
    }

    /// Where its debug door is.
    pub(super) fn debug(&self) -> &Endpoint {
        &self.running.debug
    }
}

fn run(
    settings: Settings,
    started: blocking::SyncSender<Result<Running, ServeError>>,
    ended: oneshot::Receiver<()>,
) -> Result<(), ServeError> {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(ServeError::Start)?;
    let announce = move |running: &Running| drop(started.send(Ok(running.clone())));
    let shutdown = async move { drop(ended.await) };
    runtime.block_on(serve::serve(
        settings,
        Box::new(NoSwitch),
        announce,
        shutdown,
    ))?;
    Ok(())
}

impl Drop for Host {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            // A panic over there has been printed by that thread.
            drop(thread.join());
        }
    }
}
