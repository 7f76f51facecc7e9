//! Answers are reused for as long as the policy lets them.

use tradewind::client::answer::Source;

use crate::requests::plain;
use crate::sidecar::{Sidecar, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_with_a_ttl_is_not_asked_for_twice() {
    let sidecar = Sidecar::start().await;
    let client = sidecar.client();
    let mut lasting = plain("/a");
    lasting.host = "s1.static.example.com".to_owned();
    lasting.request_id = "1".to_owned();
    let first = client.decide(&lasting).await.unwrap();
    assert_eq!((first.source, first.ttl.is_some()), (Source::Sidecar, true));
    lasting.request_id = "2".to_owned();
    let again = client.decide(&lasting).await.unwrap();
    assert_eq!(again.source, Source::Cached);
    assert_eq!(again.decision_id, first.decision_id);
    // Another object, and another client, are other requests.
    lasting.path = "/b".to_owned();
    assert_eq!(
        client.decide(&lasting).await.unwrap().source,
        Source::Sidecar
    );
    lasting.client = None;
    assert_eq!(
        client.decide(&lasting).await.unwrap().source,
        Source::Sidecar
    );
    // Without a ttl nothing is kept.
    for _ in 0..2 {
        assert_eq!(
            client.decide(&plain("/a")).await.unwrap().source,
            Source::Sidecar
        );
    }
    lasting.path = "/a".to_owned();
    lasting.client = plain("/a").client;
    until("its time is over", async || {
        client.decide(&lasting).await.unwrap().source == Source::Sidecar
    })
    .await;
}
