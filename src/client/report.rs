//! How attempts went, sent to the sidecar in batches.
//!
//! Each batch is a call of its own, not a message of one long stream: its answer says what became of it, so nothing is
//! lost unseen when the sidecar dies.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::counters::bump;
use super::{Outcome, Shared};
use crate::sidecar::wire::proto::ReportRequest;
use crate::sidecar::wire::proto::feedback_service_client::FeedbackServiceClient;

/// Most outcomes of a batch: half of what the sidecar takes.
const MAX_BATCH: usize = 512;

/// How long a batch waits for more.
const GATHER_FOR: Duration = Duration::from_millis(100);

/// How long the sidecar may take for a batch.
const SEND_WITHIN: Duration = Duration::from_secs(1);

/// Sends what comes out of the queue, for as long as the client lives.
pub(super) async fn run(shared: Arc<Shared>, mut queue: mpsc::Receiver<Outcome>) {
    let mut feedback = FeedbackServiceClient::new(shared.lines.side.clone());
    while let Some(first) = queue.recv().await {
        let mut outcomes = vec![first];
        let gather = async {
            while outcomes.len() < MAX_BATCH {
                let left = MAX_BATCH - outcomes.len();
                if queue.recv_many(&mut outcomes, left).await == 0 {
                    return;
                }
            }
        };
        // What was gathered when the time is over is in the batch: receiving loses nothing when it is given up.
        drop(tokio::time::timeout(GATHER_FOR, gather).await);
        let count = outcomes.len() as u64;
        let batch = ReportRequest {
            outcomes,
            reporter: shared.options.reporter.clone(),
        };
        match tokio::time::timeout(SEND_WITHIN, feedback.report_unary(batch)).await {
            Ok(Ok(response)) => {
                let response = response.into_inner();
                bump(&shared.counts.outcomes_taken, response.accepted);
                let refused = response.refused.values().sum();
                bump(&shared.counts.outcomes_refused, refused);
            }
            Ok(Err(_)) | Err(_) => bump(&shared.counts.outcomes_lost, count),
        }
    }
}
