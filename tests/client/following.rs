//! What is followed: large fleets, changes, and not too many followers.

use std::fmt::Write;

use tonic::Code;
use tradewind::client::AttemptResult;
use tradewind::client::answer::Source;
use tradewind::example;
use tradewind::sidecar::wire::proto::FollowRequest;
use tradewind::sidecar::wire::proto::decision_service_client::DecisionServiceClient;

use crate::requests::plain;
use crate::sidecar::{Sidecar, until};

/// How many followers a sidecar has of one caller at most: half of its places.
const MOST: usize = 64;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changed_texts_are_followed_also_those_larger_than_a_message() {
    let mut sidecar = Sidecar::start().await;
    let client = sidecar.client();
    let following = || client.following();
    until("a copy is there", async || following().is_some()).await;
    let first = following().unwrap();

    // 6,000 more nodes: the text goes in several pieces.
    let mut fleet = example::TOPOLOGY.to_owned();
    for number in 0..6_000 {
        writeln!(
            fleet,
            "    - {{ id: more-{number}, site: LHR, address: \"more-{number}.cache.example.net:8080\" }}"
        )
        .unwrap();
    }
    assert!(fleet.len() > 300_000, "it has {} bytes", fleet.len());
    sidecar.replace("topology.yaml", &fleet);
    until("the larger fleet is followed", async || {
        following().is_some_and(|now| now.topology_digest != first.topology_digest)
    })
    .await;
    let second = following().unwrap();
    assert_eq!(second.policy_digest, first.policy_digest);
    assert_eq!(second.revision, first.revision + 1);

    let policy = sidecar.policy().replace("everything-else", "all-others");
    sidecar.replace("policy.yaml", &policy);
    until("the policy is followed", async || {
        following().is_some_and(|now| now.policy_digest != second.policy_digest)
    })
    .await;
    assert_eq!(following().unwrap().topology_digest, second.topology_digest);

    let before = client.decide(&plain("/a")).await.unwrap();
    sidecar.kill();
    let after = client.decide(&plain("/a")).await.unwrap();
    assert_eq!(
        (before.source, after.source),
        (Source::Sidecar, Source::Local)
    );
    assert_eq!(after.rule, "all-others");
    assert_eq!(after.candidates, before.candidates);
    assert!(after.candidates[0].node.starts_with("more-"), "{after:?}");
    assert_eq!(client.counters().bad_copies, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn followers_have_places_which_they_give_back() {
    let sidecar = Sidecar::start().await;
    let raw = DecisionServiceClient::connect(format!("http://{}", sidecar.grpc)).await;
    let raw = raw.unwrap();
    let mut streams = Vec::new();
    for _ in 0..MOST {
        let mut own = raw.clone();
        let mut stream = own
            .follow(FollowRequest::default())
            .await
            .unwrap()
            .into_inner();
        assert!(stream.message().await.unwrap().is_some());
        streams.push(stream);
    }
    assert_eq!(sidecar.metric("tradewind_followers"), 64);
    let refused = raw
        .clone()
        .follow(FollowRequest::default())
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused:?}");
    // Who may not follow may ask.
    let client = sidecar.client();
    let answer = client.decide(&plain("/a")).await.unwrap();
    assert_eq!((answer.source, client.following()), (Source::Sidecar, None));
    streams.truncate(1);
    until("there is a place", async || client.following().is_some()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_ends_with_its_last_clone() {
    let sidecar = Sidecar::start().await;
    let client = sidecar.client();
    let clone = client.clone();
    until("it follows", async || client.following().is_some()).await;
    drop(client);
    let answer = clone.decide(&plain("/a")).await.unwrap();
    assert_eq!(answer.source, Source::Sidecar);
    assert_eq!(sidecar.metric("tradewind_followers"), 1);
    drop(clone);
    until("nobody follows", async || {
        sidecar.metric("tradewind_followers") == 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_in_the_file_system_will_do() {
    let mut sidecar = Sidecar::start().await;
    let client = sidecar.client_with(|options| options.sidecar = sidecar.socket());
    until("it follows", async || client.following().is_some()).await;
    let asked = client.decide(&plain("/a")).await.unwrap();
    assert_eq!(asked.source, Source::Sidecar);
    client.told(asked.outcome(&asked.candidates[0], 1, AttemptResult::Ok));
    until("it was told", async || {
        client.counters().outcomes_taken == 1
    })
    .await;
    sidecar.kill();
    let alone = client.decide(&plain("/a")).await.unwrap();
    assert_eq!(alone.source, Source::Local);
    assert_eq!(alone.candidates, asked.candidates);
    sidecar.restart().await;
    until("it is asked again", async || {
        client.decide(&plain("/a")).await.unwrap().source == Source::Sidecar
    })
    .await;
}
