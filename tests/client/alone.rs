//! What is decided without the sidecar is what the sidecar would decide.

use std::collections::BTreeMap;
use std::time::Duration;

use tonic::transport::Endpoint;
use tradewind::client::answer::{Answer, Source};
use tradewind::client::options::Options;
use tradewind::client::{AttemptResult, Client, Outcome, Request};
use tradewind::sidecar::wire::proto::decision_service_client::DecisionServiceClient;
use tradewind::sidecar::wire::proto::topology_service_client::TopologyServiceClient;
use tradewind::sidecar::wire::proto::{self, DecideResponse};

use crate::requests::{Random, any, plain};
use crate::sidecar::{Sidecar, free_address, until};

const SEED: u64 = 20_261_121;

fn nodes(answer: &Answer) -> Vec<&str> {
    let nodes = answer.candidates.iter();
    nodes.map(|candidate| candidate.node.as_str()).collect()
}

/// Compares the answers of the sidecar and of the client alone, each pair made from one snapshot: a batch is asked for,
/// and decided again when the client's copy has come to the snapshot that the sidecar decided it by. Where the copy went
/// past it, the batch is asked for once more, and a smaller one, so that a busy machine keeps up as well.
async fn compare_on_same_snapshots(client: &Client, sidecar: &Sidecar, requests: &[Request]) {
    let endpoint = Endpoint::from_shared(format!("http://{}", sidecar.grpc)).unwrap();
    let mut raw = DecisionServiceClient::connect(endpoint).await.unwrap();
    let (mut left, mut size) = (requests, 64);
    until("all is compared", async || {
        let batch = &left[..size.min(left.len())];
        let asked = raw.decide_batch(proto::DecideBatchRequest {
            requests: batch.to_vec(),
        });
        let theirs = asked.await.unwrap().into_inner().responses;
        match decided_alone_by(client, batch, theirs[0].snapshot_generation).await {
            Some(alone) => {
                for ((request, own), theirs) in batch.iter().zip(&alone).zip(&theirs) {
                    assert_same(request, own, theirs);
                }
                left = &left[batch.len()..];
                size = (size * 2).min(64);
            }
            None => size = (size / 2).max(8),
        }
        left.is_empty()
    })
    .await;
}

/// What the client decides alone by the snapshot of that generation, if it holds it long enough.
async fn decided_alone_by(
    client: &Client,
    requests: &[Request],
    generation: u64,
) -> Option<Vec<Answer>> {
    until("the copy has come", async || {
        let held = client.following();
        held.is_some_and(|held| held.generation >= generation)
    })
    .await;
    let alone = requests.iter().map(|request| client.decide_alone(request));
    let alone: Vec<Answer> = alone.map(Result::unwrap).collect();
    let same = alone
        .iter()
        .all(|own| own.snapshot_generation == generation);
    same.then_some(alone)
}

fn assert_same(request: &Request, own: &Answer, theirs: &DecideResponse) {
    let own_nodes = own.candidates.iter();
    let own_nodes: Vec<_> = own_nodes
        .map(|c| (c.node.as_str(), c.expected_ms.map(f32::to_bits)))
        .collect();
    let their_nodes = theirs.candidates.iter();
    let their_nodes: Vec<_> = their_nodes
        .map(|c| (c.node.as_str(), c.expected_ms.map(f32::to_bits)))
        .collect();
    assert_eq!(own_nodes, their_nodes, "{request:?}");
    assert_eq!((&own.reason, &own.rule), (&theirs.reason, &theirs.rule));
    assert_eq!((&own.notes, &own.purity), (&theirs.notes, &theirs.purity));
    assert_eq!(
        (&own.rung, &own.cache_hint),
        (&theirs.rung, &theirs.cache_hint)
    );
}

/// Makes the fleet uneven: a node that fails, others that are slow, round trips that were measured, keys asked often.
async fn disturb(client: &Client, random: &mut Random) {
    for _ in 0..1_500 {
        let mut request = any(random);
        request.dry_run = false;
        request.tried_nodes.clear();
        if random.below(3) == 0 {
            "/hot".clone_into(&mut request.path);
        }
        let answer = client.decide(&request).await.unwrap();
        let Some(first) = answer.candidates.first() else {
            continue;
        };
        let fails = first.node.ends_with("-1");
        let (result, status) = if fails {
            (AttemptResult::Error, 0)
        } else {
            (AttemptResult::Ok, 200)
        };
        let ms = |ms: u64| prost_types::Duration::try_from(Duration::from_millis(ms)).ok();
        client.told(Outcome {
            status,
            time_to_first_byte: ms(1 + random.below(90)),
            client_round_trip: ms(1 + random.below(60)),
            ..answer.outcome(first, 1, result)
        });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_sidecar_takes_no_affinity_with_it() {
    println!("seed {SEED}");
    let _quiet = crate::QUIET.lock().await;
    let mut random = Random(SEED);
    let mut sidecar = Sidecar::start().await;
    let client = sidecar.client_with(|options| options.cached_answers = 0);
    until("a copy is there", async || client.following().is_some()).await;
    disturb(&client, &mut random).await;
    let requests: Vec<Request> = (0..2_000).map(|_| any(&mut random)).collect();

    // Where they are is learnt from answers.
    for request in &requests {
        let answer = client.decide(request).await.unwrap();
        assert_eq!(answer.source, Source::Sidecar);
    }
    compare_on_same_snapshots(&client, &sidecar, &requests[..512]).await;
    let mut before = Vec::new();
    for request in &requests {
        before.push(client.decide(request).await.unwrap());
    }
    sidecar.kill();

    let (mut reasons, mut sites) = (BTreeMap::new(), Vec::new());
    let (mut same_order, mut same_first) = (0, 0);
    for (request, before) in requests.iter().zip(&before) {
        let after = client.decide(request).await.unwrap();
        assert_eq!(after.source, Source::Local);
        same_order += usize::from(nodes(&after) == nodes(before));
        same_first += usize::from(nodes(&after).first() == nodes(before).first());
        *reasons.entry(after.reason.clone()).or_insert(0) += 1;
        sites.extend(after.candidates.first().map(|first| first.site.clone()));
    }
    println!("of 2000 after up to a second: {same_first} the same node first, {same_order} all");
    // One in ten may have a new home meanwhile: signals go on moving until the end.
    assert!(same_first >= 1_800, "{same_first} go where they went");
    sites.sort_unstable();
    sites.dedup();
    println!("{reasons:?} at {} sites", sites.len());
    assert!(sites.len() > 10, "they are spread: {sites:?}");
    assert!(reasons.len() > 2, "they are of many kinds: {reasons:?}");
    let counters = client.counters();
    println!("{counters:?}");
    // Those decided beside the sidecar, some of them again, and those without it.
    assert!(counters.local >= 2_512);
    assert_eq!(counters.nothing, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_of_an_unknown_network_is_where_the_policy_says() {
    let mut sidecar = Sidecar::start().await;
    let client = sidecar.client();
    until("a copy is there", async || client.following().is_some()).await;
    sidecar.kill();
    let answer = client.decide(&plain("/a")).await.unwrap();
    assert_eq!(
        (answer.source, answer.candidates.is_empty()),
        (Source::Local, false)
    );
    assert_eq!(answer.notes, ["default_location"]);
    let mut wrong = plain("/a");
    wrong.path = "a".to_owned();
    let refused = client.decide(&wrong).await.unwrap_err().to_string();
    assert!(refused.starts_with("path: "), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_operators_drained_and_breakers_hold_back_stays_unused() {
    let mut sidecar = Sidecar::start().await;
    let client = sidecar.client();
    let order = client.decide(&plain("/a")).await.unwrap();
    let [drained, broken, ..] = order.candidates.as_slice() else {
        panic!("{order:?}");
    };
    let endpoint = Endpoint::from_shared(format!("http://{}", sidecar.admin)).unwrap();
    let mut admin = TopologyServiceClient::connect(endpoint).await.unwrap();
    let drain = proto::SetAdminStateRequest {
        target: Some(proto::set_admin_state_request::Target::Node(
            drained.node.clone(),
        )),
        state: proto::AdminState::Drain.into(),
        why: "a test".to_owned(),
        ..Default::default()
    };
    admin.set_admin_state(drain).await.unwrap();
    until("both are out", async || {
        // Of one decision a node is told of twice at most.
        for _ in 0..8 {
            let order = client.decide(&plain("/a")).await.unwrap();
            let named = order.candidates.iter().find(|one| one.node == broken.node);
            if let Some(broken) = named {
                client.told(order.outcome(broken, 1, AttemptResult::Error));
            }
        }
        let now = client.decide(&plain("/a")).await.unwrap();
        let held = client.following().map(|held| held.generation);
        let named = nodes(&now);
        let out = [drained, broken].map(|out| !named.contains(&out.node.as_str()));
        out == [true, true] && held == Some(now.snapshot_generation)
    })
    .await;
    sidecar.kill();
    let alone = client.decide(&plain("/a")).await.unwrap();
    assert_eq!(alone.source, Source::Local);
    for out in [drained, broken] {
        assert!(!nodes(&alone).contains(&out.node.as_str()), "{alone:?}");
    }
}

#[tokio::test]
async fn without_any_sidecar_nobody_can_decide_and_nobody_waits() {
    let mut options = Options::at(free_address().to_string());
    options.deadline = Duration::from_secs(5);
    let client = Client::connect(options).unwrap();
    for number in 0..50 {
        let answer = client.decide(&plain(&format!("/{number}"))).await.unwrap();
        assert_eq!(answer.source, Source::Nothing);
        assert!(answer.is_refused && answer.candidates.is_empty());
    }
    let counters = client.counters();
    assert_eq!((counters.nothing, counters.timeouts), (50, 0));
    assert_eq!((counters.unavailable, client.is_asking()), (3, false));
}
