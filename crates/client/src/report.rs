//! How attempts went, sent to the sidecar in batches.
//!
//! Who tells of an attempt puts it into a ring and goes on: no thread is woken for it. A timer empties the ring, ten times a
//! second, or at once when it is half full. Each batch is a call of its own, not a message of one long stream: its answer
//! says what became of it, so nothing is lost unseen when the sidecar dies.

use std::sync::Arc;
use std::time::Duration;

use arrayvec::ArrayString;
use crossbeam_queue::ArrayQueue;
use tokio::sync::Notify;

use super::counters::bump;
use super::keys::Way;
use super::{Outcome, Shared};
use tradewind_engine::model::MAX_ID_BYTES;
use tradewind_wire::proto::ReportRequest;
use tradewind_wire::proto::feedback_service_client::FeedbackServiceClient;
use tradewind_wire::receipt::DIGITS;

/// Most outcomes of a batch: half of what the sidecar takes.
const MAX_BATCH: usize = 512;

/// How often the ring is emptied. Outcomes are news for the control loop, which looks ten times a second too.
const EMPTY_EVERY: Duration = Duration::from_millis(100);

/// How long the sidecar may take for a batch.
const SEND_WITHIN: Duration = Duration::from_secs(1);

/// An outcome on its way. Its names may stand beside it, so that who tells of it needs nothing on the heap.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    outcome: Outcome,
    decision_id: ArrayString<DIGITS>,
    node: ArrayString<MAX_ID_BYTES>,
}

impl Waiting {
    /// An outcome of a decision at a node, if these are not longer than such names are.
    pub(super) fn named(outcome: Outcome, decision_id: &str, node: &str) -> Self {
        let short = ArrayString::from(decision_id)
            .ok()
            .zip(ArrayString::from(node).ok());
        let Some((decision_id, node)) = short else {
            return Self::from(Outcome {
                decision_id: decision_id.to_owned(),
                node: node.to_owned(),
                ..outcome
            });
        };
        Self {
            outcome,
            decision_id,
            node,
        }
    }

    /// As it is sent.
    fn whole(mut self) -> Outcome {
        for (own, beside) in [
            (&mut self.outcome.decision_id, &*self.decision_id),
            (&mut self.outcome.node, &*self.node),
        ] {
            if own.is_empty() {
                own.push_str(beside);
            }
        }
        self.outcome
    }
}

impl From<Outcome> for Waiting {
    fn from(outcome: Outcome) -> Self {
        Self {
            outcome,
            ..Self::default()
        }
    }
}

/// Outcomes that wait to be sent.
#[derive(Debug)]
pub(super) struct Ring {
    waiting: ArrayQueue<Waiting>,
    /// How many wait when the timer is not waited for: half of the places.
    hurry_at: usize,
    hurry: Notify,
}

impl Ring {
    /// A ring with so many places, at least one.
    pub(super) fn new(places: usize) -> Self {
        let places = places.max(1);
        Self {
            waiting: ArrayQueue::new(places),
            hurry_at: places.div_ceil(2),
            hurry: Notify::new(),
        }
    }

    /// Puts an outcome in; false if all places are taken, and it is dropped.
    pub(super) fn put(&self, outcome: Waiting) -> bool {
        let is_in = self.waiting.push(outcome).is_ok();
        // A wake-up that is already owed costs the next ones a load each.
        if self.waiting.len() >= self.hurry_at {
            self.hurry.notify_one();
        }
        is_in
    }

    /// Takes the next batch out; empty if nothing waits.
    fn batch(&self) -> Vec<Outcome> {
        let mut outcomes = Vec::with_capacity(self.waiting.len().min(MAX_BATCH));
        while outcomes.len() < MAX_BATCH
            && let Some(outcome) = self.waiting.pop()
        {
            outcomes.push(outcome.whole());
        }
        outcomes
    }
}

/// Sends what comes out of the ring, for as long as the client lives.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut feedback = FeedbackServiceClient::new(shared.lines.side.clone());
    loop {
        // Whichever comes first.
        drop(tokio::time::timeout(EMPTY_EVERY, shared.outcomes.hurry.notified()).await);
        loop {
            let outcomes = shared.outcomes.batch();
            if outcomes.is_empty() {
                break;
            }
            send(&shared, &mut feedback, outcomes).await;
        }
    }
}

async fn send(shared: &Shared, feedback: &mut FeedbackServiceClient<Way>, outcomes: Vec<Outcome>) {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(attempt: u32) -> Waiting {
        Waiting::from(Outcome {
            attempt,
            ..Outcome::default()
        })
    }

    #[test]
    fn names_stand_beside_an_outcome_and_in_it_when_it_is_sent() {
        for (id, node) in [
            ("0123456789abcdef01234567", "n".repeat(MAX_ID_BYTES)),
            ("0", "n".repeat(MAX_ID_BYTES + 1)),
            ("", String::new()),
        ] {
            let sent = Waiting::named(Outcome::default(), id, &node).whole();
            assert_eq!((&*sent.decision_id, &sent.node), (id, &node));
        }
        let own = Outcome {
            node: "own".to_owned(),
            ..Outcome::default()
        };
        assert_eq!(Waiting::from(own.clone()).whole(), own);
    }

    #[test]
    fn a_full_ring_takes_no_more_and_gives_what_it_has_in_order() {
        let ring = Ring::new(3);
        let taken: Vec<bool> = (0..5).map(|at| ring.put(outcome(at))).collect();
        assert_eq!(taken, [true, true, true, false, false]);
        let attempts: Vec<u32> = ring.batch().iter().map(|told| told.attempt).collect();
        assert_eq!(attempts, [0, 1, 2]);
        assert!(ring.batch().is_empty());
    }

    #[test]
    fn a_batch_has_its_bound() {
        let ring = Ring::new(2 * MAX_BATCH);
        for at in 0..=MAX_BATCH {
            assert!(ring.put(outcome(u32::try_from(at).unwrap())));
        }
        assert_eq!(ring.batch().len(), MAX_BATCH);
        assert_eq!(ring.batch().len(), 1);
    }

    #[tokio::test]
    async fn whoever_makes_it_half_full_wakes_the_sender_and_nobody_before() {
        use tokio::time::timeout;
        let ring = Ring::new(8);
        for at in 0..3 {
            ring.put(outcome(at));
        }
        let waited = timeout(Duration::from_millis(1), ring.hurry.notified()).await;
        assert!(waited.is_err(), "three of eight wait for the timer");
        ring.put(outcome(3));
        ring.hurry.notified().await;
    }
}
