//! Sidecars that freeze, end and come back.

use std::time::Duration;

use tradewind::client::Client;
use tradewind::client::answer::Source;

use crate::requests::plain;
use crate::sidecar::{Sidecar, until};
use tradewind::sidecar::clock::timer_now;

const DEADLINE: Duration = Duration::from_millis(100);

async fn until_asked(client: &Client) {
    until("the sidecar answers and a copy is there", async || {
        let answer = client.decide(&plain("/a")).await.unwrap();
        answer.source == Source::Sidecar && client.following().is_some()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_sidecar_costs_three_deadlines_and_then_nothing() {
    let sidecar = Sidecar::start().await;
    let client = sidecar.client_with(|options| options.deadline = DEADLINE);
    until_asked(&client).await;
    let before = client.counters();
    sidecar.freeze();

    let frozen = timer_now();
    for number in 0..1_000 {
        let answer = client.decide(&plain(&format!("/{number}"))).await.unwrap();
        assert_eq!(answer.source, Source::Local);
    }
    let took = frozen.elapsed();
    let after = client.counters();
    println!("1000 requests of a frozen sidecar took {took:?}");
    assert_eq!(after.timeouts - before.timeouts, 3);
    assert_eq!(after.local - before.local, 1_000);
    assert!(!client.is_asking());
    until("it was tried in vain", async || {
        client.counters().trials > after.trials
    })
    .await;
    assert!(!client.is_asking());

    sidecar.signal("CONT");
    let thawed = timer_now();
    until_asked(&client).await;
    println!("back after {:?}", thawed.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sidecar_that_is_started_again_is_asked_again() {
    let mut sidecar = Sidecar::start().await;
    let client = sidecar.client();
    until_asked(&client).await;
    for _ in 0..2 {
        sidecar.kill();
        let answer = client.decide(&plain("/a")).await.unwrap();
        assert_eq!(answer.source, Source::Local);
        let copies = client.counters().copies;
        sidecar.restart().await;
        until_asked(&client).await;
        until("it is followed again", async || {
            client.counters().copies > copies
        })
        .await;
    }
    let counters = client.counters();
    assert_eq!((counters.nothing, counters.bad_copies), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_fails_while_a_sidecar_drains() {
    let mut sidecar = Sidecar::start().await;
    let client = sidecar.client();
    until_asked(&client).await;
    let asking = tokio::spawn({
        let client = client.clone();
        async move {
            let mut sources = Vec::new();
            while sources.last() != Some(&Source::Local) {
                let answer = client.decide(&plain("/a")).await.unwrap();
                assert!(!answer.candidates.is_empty());
                sources.push(answer.source);
            }
            sources.len()
        }
    });
    sidecar.signal("TERM");
    let asked = asking.await.unwrap();
    println!("{asked} answers until it was gone");
    assert_eq!(client.counters().timeouts, 0);
    sidecar.restart().await;
    until_asked(&client).await;
}
