//! Who follows the sidecar: one for each of its addresses in a process, however many name it, on a thread of its own.
//!
//! Configurations come and go while a proxy runs: what is changed is made anew, and the old one drains. So a follower lives as long
//! as anybody holds it, and the next one finds it again. In a process that was forked off there are no threads of before, so it
//! begins followers of its own.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use std::{mem, process, thread};

use tokio::runtime::Builder;
use tokio::sync::oneshot;

use super::super::Client;
use super::super::options::Options;

/// How often what was counted is due among the proxy's counters.
const SHOWN_EVERY: Duration = Duration::from_secs(1);

/// How long the runtime may take to end: the proxy is not kept waiting.
const END_WITHIN: Duration = Duration::from_millis(100);

/// The followers by the address of their sidecar.
static ALL: Mutex<BTreeMap<String, Weak<Follower>>> = Mutex::new(BTreeMap::new());

/// Follows one sidecar, for as long as anybody holds it.
#[derive(Debug)]
pub struct Follower {
    /// Decides, and tells of outcomes.
    pub client: Client,
    options: Options,
    /// The process that its thread is in.
    process: u32,
    /// Set once a second; who finds it set shows what was counted.
    is_due: Arc<AtomicBool>,
    /// Ends its thread when dropped.
    _end: oneshot::Sender<()>,
}

impl Follower {
    /// The follower of the sidecar that `options` name; it is begun if there is none. `place` is what the options are called in what
    /// is wrong with them.
    pub fn of(options: Options, place: &str) -> Result<Arc<Self>, String> {
        let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
        let known = all.get(&options.sidecar).and_then(Weak::upgrade);
        if let Some(known) = known {
            if known.is_of_this_process() {
                return known.is_as_in(&options, place).map(|()| known);
            }
            // Its thread is not here, so it cannot be ended here either.
            mem::forget(known);
        }
        let begun = Arc::new(Self::begin(options.clone())?);
        // Those that are gone are few, and leave with the next one that is begun.
        all.retain(|_, follower| follower.strong_count() > 0);
        all.insert(options.sidecar, Arc::downgrade(&begun));
        Ok(begun)
    }

    /// The follower of the sidecar at this address, if there is one.
    pub fn find(sidecar: &str) -> Weak<Self> {
        let all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(sidecar).cloned().unwrap_or_default()
    }

    /// Whether its thread is in this process, and not in the one that this was forked off.
    pub fn is_of_this_process(&self) -> bool {
        self.process == process::id()
    }

    /// Whether what was counted is due to be shown; the first who asks is told.
    pub fn is_due(&self) -> bool {
        // Most find it not set, and need not write.
        self.is_due.load(Ordering::Relaxed) && self.is_due.swap(false, Ordering::Relaxed)
    }

    /// All of one process share a follower, so they have to want the same of it.
    fn is_as_in(&self, wanted: &Options, place: &str) -> Result<(), String> {
        let sidecar = &wanted.sidecar;
        let mut faults = Vec::new();
        if self.options.last_good != wanted.last_good {
            let shown = |options: &Options| match &options.last_good {
                Some(folder) => format!("`{}`", folder.display()),
                None => "none".to_owned(),
            };
            faults.push(format!(
                "{place}.last_good is {}, but {sidecar} is followed with {} already, and a process has one for each sidecar",
                shown(wanted),
                shown(&self.options)
            ));
        }
        if self.options.reporter != wanted.reporter {
            faults.push(format!(
                "{place}.reporter is `{}`, but {sidecar} is followed as `{}` already, and a process is one for each sidecar",
                wanted.reporter, self.options.reporter
            ));
        }
        if faults.is_empty() {
            Ok(())
        } else {
            Err(faults.join("; "))
        }
    }

    /// Begins a thread on which the client lives.
    fn begin(options: Options) -> Result<Self, String> {
        let (tell, told) = mpsc::sync_channel(1);
        let (end, ended) = oneshot::channel();
        let is_due = Arc::new(AtomicBool::new(false));
        let (own, due) = (options.clone(), Arc::clone(&is_due));
        let begun = thread::Builder::new()
            .name("tradewind".to_owned())
            .spawn(move || run(own, &tell, ended, &due));
        begun.map_err(|error| format!("no thread could be begun: {error}"))?;
        let client = told.recv();
        let client = client.map_err(|_| "its thread ended at once".to_owned())??;
        Ok(Self {
            client,
            options,
            process: process::id(),
            is_due,
            _end: end,
        })
    }
}

/// The thread of a follower, until `ended`.
fn run(
    options: Options,
    tell: &mpsc::SyncSender<Result<Client, String>>,
    mut ended: oneshot::Receiver<()>,
    is_due: &AtomicBool,
) {
    let runtime = Builder::new_current_thread()
        .enable_all()
        // One makes copies, another takes what was purged meanwhile.
        .max_blocking_threads(2)
        .thread_name("tradewind")
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            // Whoever waits for it is there.
            drop(tell.send(Err(format!("no runtime could be begun: {error}"))));
            return;
        }
    };
    runtime.block_on(async {
        let client = Client::connect(options).map_err(|error| error.to_string());
        drop(tell.send(client));
        // Until the sender is dropped.
        while tokio::time::timeout(SHOWN_EVERY, &mut ended).await.is_err() {
            is_due.store(true, Ordering::Relaxed);
        }
    });
    runtime.shutdown_timeout(END_WITHIN);
}
