//! The workers: one thread and one single-threaded runtime per core.
//!
//! Two multi-threaded habits cost a gRPC server half its pipelined throughput: a handler that wakes the
//! connection's task makes it run next, so answers leave one write each; and tasks wander between cores.
//! A runtime that has one thread runs all handlers of a batch first and writes their answers together.

use std::io;
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

use super::ListenError;

/// The number of a worker, from 0, below [`Workers::count`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerIndex(pub usize);

/// The worker threads. Dropping it stops them without waiting.
#[derive(Debug)]
pub struct Workers {
    threads: Vec<Worker>,
}

#[derive(Debug)]
struct Worker {
    runtime: Handle,
    /// Dropping it stops the thread.
    _stop: oneshot::Sender<()>,
    /// Disconnected once the thread has left. Locked by nobody: it makes the workers something that gates can share.
    left: Mutex<mpsc::Receiver<()>>,
}

impl Workers {
    /// Starts `count` threads named `tradewind-0`, `tradewind-1`, and so on; at least one.
    ///
    /// [`default_count`] is the usual `count`.
    pub fn start(count: usize) -> Result<Self, ListenError> {
        let threads = (0..count.max(1))
            .map(|index| {
                let name = format!("tradewind-{index}");
                Worker::start(name).map_err(|source| ListenError::Worker { index, source })
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { threads })
    }

    /// How many there are; at least 1.
    pub fn count(&self) -> usize {
        self.threads.len()
    }

    /// The runtimes, by worker number: work spawned on one runs on that worker's thread.
    pub(crate) fn runtimes(&self) -> Vec<Handle> {
        self.threads
            .iter()
            .map(|worker| worker.runtime.clone())
            .collect()
    }

    /// Stops all threads and waits for them, all together no longer than `patience`. Returns how many were
    /// still busy then (a service that blocks its thread); those end with the process.
    ///
    /// Blocks the calling thread: call it where that is allowed.
    pub fn stop(self, patience: Duration) -> usize {
        let waiting: Vec<_> = self
            .threads
            .into_iter()
            .map(|worker| {
                let left = worker.left.into_inner();
                left.unwrap_or_else(PoisonError::into_inner)
            })
            .collect();
        let slice = patience / u32::try_from(waiting.len()).unwrap_or(u32::MAX).max(1);
        waiting
            .into_iter()
            .filter(|left| left.recv_timeout(slice) == Err(mpsc::RecvTimeoutError::Timeout))
            .count()
    }
}

impl Worker {
    fn start(name: String) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let (leaving, left) = mpsc::channel();
        thread::Builder::new().name(name).spawn(move || {
            // An error only says that the sender was dropped, which is the signal too.
            let _ended: Result<(), _> = runtime.block_on(stopped);
            runtime.shutdown_background();
            drop(leaving);
        })?;
        Ok(Self {
            runtime: handle,
            _stop: stop,
            left: Mutex::new(left),
        })
    }
}

/// A thread with a runtime beside the workers, for what must keep neither them nor the doors waiting. Dropping it stops it without
/// waiting.
#[derive(Debug)]
pub struct Beside(Worker);

impl Beside {
    /// Starts it, as a thread of this name.
    pub fn start(name: &str) -> io::Result<Self> {
        Worker::start(name.to_owned()).map(Self)
    }

    /// Where to have work done.
    pub fn runtime(&self) -> &Handle {
        &self.0.runtime
    }
}

/// One worker per core that this process may use; 1 if the system does not say.
pub fn default_count() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_runs_on_the_named_thread_of_its_worker() {
        let workers = Workers::start(2).unwrap();
        for (index, runtime) in workers.runtimes().iter().enumerate() {
            let (tell, told) = mpsc::channel();
            runtime.spawn(async move {
                tell.send(thread::current().name().map(str::to_owned))
                    .unwrap();
            });
            let name = told.recv_timeout(Duration::from_secs(5)).unwrap();
            assert_eq!(name, Some(format!("tradewind-{index}")));
        }
        assert_eq!(workers.stop(Duration::from_secs(5)), 0);
    }

    #[test]
    fn a_panicking_task_leaves_its_worker_running() {
        let workers = Workers::start(1).unwrap();
        let runtime = workers.runtimes().remove(0);
        runtime.spawn(async { panic!("a panic that a test asked for") });
        let (tell, told) = mpsc::channel();
        runtime.spawn(async move { tell.send(()).unwrap() });
        told.recv_timeout(Duration::from_secs(5)).unwrap();
        assert_eq!(workers.stop(Duration::from_secs(5)), 0);
    }

    #[test]
    fn a_blocked_worker_is_reported_and_not_waited_for() {
        let workers = Workers::start(1).unwrap();
        let (release, released) = mpsc::channel::<()>();
        let (tell, told) = mpsc::channel();
        workers.runtimes().remove(0).spawn(async move {
            tell.send(()).unwrap();
            released.recv().unwrap_err();
        });
        told.recv().unwrap();
        assert_eq!(workers.stop(Duration::from_millis(20)), 1);
        drop(release);
    }
}
