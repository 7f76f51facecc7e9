//! One call of somebody who tells: what became of it so far, and how it is slowed down.

use std::time::Duration;

use tokio::time;
use tonic::Request;

use crate::identity::Caller;
use crate::wire::report::Summary;

/// How long nothing more is read of a stream that has told more than its reporter's quota, or what cannot be read. So the flow
/// control of the connection makes the sender wait, and what it sends beyond costs it and not the worker: full messages of
/// [`MAX_OUTCOMES`](super::MAX_OUTCOMES) come at about the rate of the quota then.
pub const REST: Duration = Duration::from_millis(20);

/// One call: who tells, and what became of it so far.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) caller: Caller,
    /// The message of a stream that is being read.
    pub(super) message: Option<u64>,
    /// Whether it has told too much, since that was last asked.
    pub(super) is_too_much: bool,
    pub(super) summary: Summary,
}

impl Call {
    pub(super) fn new<M>(request: &Request<M>) -> Self {
        // The gate tells of everybody; without a gate there is no address.
        Self::of(Caller::of(request.extensions()))
    }

    pub(super) fn of(caller: Caller) -> Self {
        Self {
            caller,
            message: None,
            is_too_much: false,
            summary: Summary::default(),
        }
    }

    /// Waits where it has told too much, before more is read of its stream.
    pub(super) async fn rest(&mut self) {
        if std::mem::take(&mut self.is_too_much) {
            time::sleep(REST).await;
        }
    }
}
