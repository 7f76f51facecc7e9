//! How the streams of a connection are run: a batch at a time, without a task each.
//!
//! hyper hands every new stream to an executor. Most calls here finish in their first poll: the request
//! has come whole and a decision waits for nothing. So the executor only collects; after the connection
//! has read all there is, each stream is polled once, and only what is still pending becomes a task. The
//! connection then writes the answers of the whole batch together.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Waker};

use hyper::rt::Executor;

type Stream = Pin<Box<dyn Future<Output = ()> + Send>>;

/// hyper's end: takes streams.
#[derive(Clone)]
pub(crate) struct WorkerExecutor {
    begun: Arc<Mutex<Vec<Stream>>>,
}

impl<F> Executor<F> for WorkerExecutor
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        self.begun
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Box::pin(stream));
    }
}

/// The connection's end: runs them.
pub(crate) struct Batch {
    begun: Arc<Mutex<Vec<Stream>>>,
    /// Empty between runs; keeps its capacity.
    running: Vec<Stream>,
}

impl Batch {
    pub(crate) fn new() -> Self {
        Self {
            begun: Arc::default(),
            running: Vec::new(),
        }
    }

    pub(crate) fn executor(&self) -> WorkerExecutor {
        WorkerExecutor {
            begun: Arc::clone(&self.begun),
        }
    }

    /// Polls each new stream once and spawns those that are not done.
    ///
    /// The first poll needs no waker: a task polls again as soon as it is spawned. A panic that got past
    /// the guard costs its own stream only, as it would in a task.
    pub(crate) fn run(&mut self) {
        std::mem::swap(
            &mut *self.begun.lock().unwrap_or_else(PoisonError::into_inner),
            &mut self.running,
        );
        let mut nobody = Context::from_waker(Waker::noop());
        for mut stream in self.running.drain(..) {
            let polled = catch_unwind(AssertUnwindSafe(|| stream.as_mut().poll(&mut nobody)));
            if polled.is_ok_and(|polled| polled.is_pending()) {
                drop(tokio::spawn(stream));
            }
        }
    }
}

impl Drop for Batch {
    /// A stream holds an executor and so, while it is here, itself.
    fn drop(&mut self) {
        self.begun
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test]
    async fn a_stream_is_polled_once_in_the_batch_and_goes_on_as_a_task() {
        let mut batch = Batch::new();
        let polls = Arc::new(AtomicU32::new(0));
        let seen = Arc::clone(&polls);
        let (finish, finished) = tokio::sync::oneshot::channel::<()>();
        let (tell, told) = tokio::sync::oneshot::channel();
        batch.executor().execute(async move {
            seen.fetch_add(1, Ordering::Relaxed);
            finished.await.unwrap();
            tell.send(()).unwrap();
        });
        assert_eq!(
            polls.load(Ordering::Relaxed),
            0,
            "nothing runs before the batch does"
        );
        batch.run();
        assert_eq!(polls.load(Ordering::Relaxed), 1);
        finish.send(()).unwrap();
        told.await.unwrap();
    }

    #[tokio::test]
    async fn a_panic_costs_its_own_stream_only() {
        let mut batch = Batch::new();
        let done = Arc::new(AtomicU32::new(0));
        batch
            .executor()
            .execute(async { panic!("a panic that a test asked for") });
        let ours = Arc::clone(&done);
        batch
            .executor()
            .execute(async move { ours.store(1, Ordering::Relaxed) });
        batch.run();
        assert_eq!(done.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn streams_that_never_ran_are_dropped_with_the_batch() {
        let batch = Batch::new();
        let held = Arc::new(());
        let (executor, ours) = (batch.executor(), Arc::clone(&held));
        executor.clone().execute(async move {
            drop((executor, ours));
        });
        assert_eq!(Arc::strong_count(&held), 2);
        drop(batch);
        assert_eq!(Arc::strong_count(&held), 1);
    }
}
