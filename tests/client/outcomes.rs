//! Outcomes arrive, and never hold anybody up.

use tradewind::client::AttemptResult;

use crate::requests::plain;
use crate::sidecar::{Sidecar, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outcomes_arrive_and_wrong_ones_are_counted() {
    let sidecar = Sidecar::start().await;
    let client = sidecar.client_with(|options| options.reporter = "proxy-1".to_owned());
    let answer = client.decide(&plain("/a")).await.unwrap();
    let first = answer.candidates.first().unwrap();
    for attempt in 1..=200 {
        client.told(answer.outcome(first, attempt, AttemptResult::Ok));
    }
    let mut stranger = first.clone();
    stranger.node = "nobody".to_owned();
    client.told(answer.outcome(&stranger, 1, AttemptResult::Ok));
    until("all were taken", async || {
        let counters = client.counters();
        (counters.outcomes_taken, counters.outcomes_refused) == (200, 1)
    })
    .await;
    assert_eq!(
        sidecar.metric("tradewind_outcomes_total{result=\"ok\"}"),
        200
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outcomes_of_a_frozen_sidecar_are_dropped_not_waited_for() {
    let sidecar = Sidecar::start().await;
    let client = sidecar.client_with(|options| options.outcomes = 100);
    let answer = client.decide(&plain("/a")).await.unwrap();
    let first = answer.candidates.first().unwrap();
    sidecar.freeze();
    for _ in 0..10_000 {
        client.told(answer.outcome(first, 1, AttemptResult::Ok));
    }
    let dropped = client.counters().outcomes_dropped;
    // Those of the queue, and what its task took out meanwhile.
    assert!(dropped >= 10_000 - 100 - 512, "{dropped} dropped");
    until("what was sent is given up", async || {
        let counters = client.counters();
        counters.outcomes_lost + counters.outcomes_dropped == 10_000
    })
    .await;
}
