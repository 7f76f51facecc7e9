//! A process that stands still for a moment, and askers that want more than they need: what others lose by it.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time;
use tradewind::sidecar::wire::proto::DecideRequest;

use crate::client::{Client, request, requests};
use crate::fleet;
use crate::server::Files;
use crate::stopped::until_stopped;

/// Stops, each with calls that are given up meanwhile.
const STOPS: usize = 5;

#[tokio::test]
async fn f04_honest_cancellations_of_a_frozen_sidecar_cost_no_connection() {
    let files = Files::new();
    let socket = files.root().join("grpc.sock");
    let unix = format!("unix:{}", socket.display());
    let setup = files.setup().also("listen", &unix);
    let server = setup.start().await;
    let tcp = format!("http://{}", server.grpc[0]);
    // As many as the door takes at once from one connection, nearly.
    for (to, at_once) in [(tcp, 120), (unix, 900)] {
        let mut client = Client::connect(&to).await;
        client.decide(request("/before")).await;
        let accepted = server.count("tradewind_connections_accepted_total");
        for stop in 0..STOPS {
            server.signal("STOP");
            until_stopped(server.id());
            let mut waiting = JoinSet::new();
            for number in 0..at_once {
                let mut client = client.clone();
                waiting.spawn(async move {
                    let asked = client.try_decide(request(&format!("/{stop}/{number}")));
                    time::timeout(Duration::from_millis(100), asked).await
                });
            }
            let outcomes = waiting.join_all().await;
            assert!(
                outcomes.iter().all(Result::is_err),
                "it does not stand still"
            );
            server.signal("CONT");
            client.decide(request("/after")).await;
        }
        assert_eq!(
            server.count("tradewind_connections_accepted_total"),
            accepted,
            "{to} was connected to anew"
        );
    }
}

/// Who asks for five keys ten thousand times over, where nodes give to others what is much asked for: how many keys of others go
/// elsewhere. What it comes to is in docs/trials.md; that it is not nothing is why asking needs a role.
#[tokio::test]
#[ignore = "it measures, docs/trials.md has the result"]
async fn an_asker_moves_keys_of_others_where_load_is_balanced() {
    let files = Files::new();
    let pool = "{name: edge, select: {tier: edge}, spread: {max_copies: 1}}";
    let balanced =
        "{name: edge, select: {tier: edge}, spread: {max_copies: 4}, hash_balance_factor: 125}";
    files.write("policy.yaml", fleet::policy("all").replace(pool, balanced));
    let server = files.setup().start().await;
    let mut canary = server.client().await;
    let first = |answers: Vec<tradewind::sidecar::wire::proto::DecideResponse>| -> Vec<String> {
        let nodes = answers.into_iter();
        nodes
            .map(|answer| answer.candidates[0].node.clone())
            .collect()
    };
    let before = first(canary.decide_all(&requests(300)).await);
    let mut greedy = server.client().await;
    let wanted: Vec<DecideRequest> = (0..50_000)
        .map(|n| request(&format!("/hot/{}", n % 5)))
        .collect();
    greedy.decide_all(&wanted).await;
    let after = first(canary.decide_all(&requests(300)).await);
    let moved = before.iter().zip(&after).filter(|(a, b)| a != b).count();
    println!("{moved} of {} keys of others moved", before.len());
}
