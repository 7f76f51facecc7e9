//! The four methods, over TCP and over a Unix socket.

use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;
use tradewind::sidecar::wire::proto::{DecideRequest, Verdict};

use crate::client::{Client, at, refusal, request, requests};
use crate::fleet;
use crate::server::{Files, Server};

/// A server of the usual files with both kinds of door, and a client on each.
async fn both_doors(files: &Files) -> (Server, [Client; 2]) {
    let socket = format!("unix:{}", files.root().join("sock").display());
    let server = files.setup().also("listen", &socket).start().await;
    let clients = [server.client().await, Client::connect(&socket).await];
    (server, clients)
}

#[tokio::test]
async fn a_decision_names_nodes_and_says_on_what_it_was_made() {
    let files = Files::new();
    let (server, clients) = both_doors(&files).await;
    for mut client in clients {
        let asked = DecideRequest {
            object_version_floor: 7,
            ..request("/a")
        };
        let answer = client.decide(asked.clone()).await;
        assert_eq!(answer.request_id, "of /a");
        assert_eq!(answer.verdict(), Verdict::Route);
        assert_eq!(
            (answer.rule.as_str(), answer.reason.as_str()),
            ("all", "owner")
        );
        assert_eq!(
            (answer.purity.as_str(), answer.rung.as_str()),
            ("pure", "normal")
        );
        assert_eq!(
            (answer.freshness_floor, answer.cache_hint.as_str()),
            (7, "store")
        );
        // The control loop may have published another snapshot since the first.
        assert_eq!(answer.policy_revision, 1);
        assert!(answer.snapshot_generation >= 1);
        assert_eq!(answer.policy_digest.len(), 16);
        assert_eq!(answer.decision_id.len(), 24);
        assert!(
            answer.notes.is_empty() && answer.error.is_empty(),
            "{answer:?}"
        );
        let roles: Vec<&str> = answer.candidates.iter().map(|c| c.role.as_str()).collect();
        assert_eq!(roles, ["owner", "next_site", "next_tier"]);
        let first = &answer.candidates[0];
        assert_eq!((first.site.as_str(), first.tier.as_str()), ("fra", "edge"));
        assert_eq!(first.address, fleet::address(&first.node));
        assert!(first.expected_ms.is_some_and(|ms| ms > 0.0) && first.attempt_timeout.is_some());

        let again = client.decide(asked).await;
        assert_ne!(again.decision_id, answer.decision_id);
        assert_eq!(again.candidates, answer.candidates);
        let tried = DecideRequest {
            tried_nodes: vec![first.node.clone()],
            ..request("/a")
        };
        let instead = client.decide(tried).await;
        let longer = DecideRequest {
            candidates: 4,
            ..request("/a")
        };
        let longer = client.decide(longer).await;
        assert_eq!(longer.candidates[1].role, "next_in_order");
        assert_eq!(instead.candidates[0].node, longer.candidates[1].node);
        assert_eq!(instead.reason, "owner_tried");
        assert_eq!(instead.purity, "restricted");
    }
    drop(server);
}

#[tokio::test]
async fn a_batch_keeps_its_order_and_its_bound() {
    let files = Files::new();
    let (server, clients) = both_doors(&files).await;
    for mut client in clients {
        let asked = requests(128);
        let answers = client.try_batch(asked.clone()).await.unwrap();
        assert_eq!(answers.len(), 128);
        for (request, answer) in asked.iter().zip(&answers) {
            assert_eq!(answer.request_id, request.request_id);
            let alone = client.decide(request.clone()).await;
            assert_eq!(alone.candidates, answer.candidates);
        }
        let said = refusal(client.try_batch(requests(129)).await, Code::InvalidArgument);
        assert!(
            said.contains("129") && said.contains("at most 128"),
            "{said}"
        );
        assert_eq!(client.try_batch(Vec::new()).await.unwrap(), []);

        let mut some_wrong = requests(4);
        some_wrong[1].path = "no slash".to_owned();
        some_wrong[3].candidates = 9;
        let said = refusal(client.try_batch(some_wrong).await, Code::InvalidArgument);
        assert!(
            said.contains("requests[1]: path: ") && said.contains("requests[3]: candidates: is 9"),
            "{said}"
        );
    }
    drop(server);
}

#[tokio::test]
async fn a_stream_answers_in_order_and_survives_a_bad_request() {
    let files = Files::new();
    let (server, clients) = both_doors(&files).await;
    for mut client in clients {
        // All are sent before the first answer is taken.
        let mut asked = requests(300);
        asked[100].path = "no slash".to_owned();
        let stream = client.grpc.decide_stream(tokio_stream::iter(asked.clone()));
        let mut answers = stream.await.unwrap().into_inner();
        for (number, request) in asked.iter().enumerate() {
            let answer = answers.next().await.unwrap().unwrap();
            assert_eq!(answer.request_id, request.request_id);
            assert_eq!(answer.error.is_empty(), number != 100, "{answer:?}");
            assert_eq!(answer.candidates.is_empty(), number == 100);
        }
        assert!(answers.next().await.is_none(), "it ends with its requests");

        // Each is answered without waiting for the next.
        let (send, outgoing) = mpsc::channel(1);
        let stream = client.grpc.decide_stream(ReceiverStream::new(outgoing));
        let mut answers = stream.await.unwrap().into_inner();
        for number in 0..20 {
            send.send(request(&format!("/{number}"))).await.unwrap();
            let answer = answers.next().await.unwrap().unwrap();
            assert_eq!(answer.request_id, format!("of /{number}"));
        }
    }
    drop(server);
}

#[tokio::test]
async fn an_explanation_tells_of_the_decision_it_belongs_to() {
    let files = Files::new();
    let (server, clients) = both_doors(&files).await;
    for mut client in clients {
        let asked = DecideRequest {
            candidates: 4,
            ..request("/a")
        };
        let decided = client.decide(asked.clone()).await;
        let explained = client.explain(asked).await;
        let (decision, why) = (explained.decision.unwrap(), explained.explanation.unwrap());
        assert_eq!(decision.candidates, decided.candidates);
        assert_eq!(decision.policy_digest, decided.policy_digest);
        assert_eq!(why.second_node, decided.candidates[1].node);
        assert_eq!(why.client.unwrap().source, "caller");
        assert_eq!(why.rule.unwrap().owner, "tests");
        assert_eq!(why.key_hash.len(), 16);
        assert_eq!(why.sites[0].site, "fra");
        assert_eq!(why.nodes[0].node, decided.candidates[0].node);
        assert!(!why.summary.is_empty());
        // The best site is the nearest, and another city has another.
        let new_york = DecideRequest {
            client: Some(at((40.7, -74.0))),
            ..request("/a")
        };
        let why = client.explain(new_york).await.explanation.unwrap();
        assert_eq!(why.sites[0].site, "nyc");
    }
    drop(server);
}
