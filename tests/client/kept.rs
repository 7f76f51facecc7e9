//! Who decides alone as a rule: places are learned in the background, and the last copy is kept on disk.

use tradewind::client::answer::Source;
use tradewind::client::options::{Options, Places};
use tradewind::client::ruling::Ruling;
use tradewind::client::{Client, Question, Request};

use crate::requests::{Random, any, plain};
use crate::sidecar::{Sidecar, free_address, until};

/// The ids of the nodes that a decision names.
fn named(ruling: &Ruling<'_>) -> Vec<String> {
    let candidates = ruling.decision.candidates();
    candidates.map(|one| one.node.id.to_string()).collect()
}

fn alone(client: &Client, request: &Request) -> Vec<String> {
    let decided = client.decide_with(&Question::of(request), named);
    decided.unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn networks_that_nobody_asked_about_are_learned_in_the_background() {
    let _quiet = crate::QUIET.lock().await;
    let mut random = Random(20_261_128);
    let sidecar = Sidecar::start_without_hot_keys().await;
    let asking = sidecar.client_with(|options| options.cached_answers = 0);
    let client = sidecar.client_with(|options| options.places = Places::InBackground);
    until("a copy is there", async || client.following().is_some()).await;
    // The geo file parts 203.0.113.0/24, and a network is taken to be where its first client is.
    let is_whole = |request: &Request| {
        let client = request.client.as_ref();
        client.is_some_and(|client| !client.ip.starts_with("203.0.113."))
    };
    let requests: Vec<Request> = std::iter::repeat_with(|| any(&mut random))
        .filter(is_whole)
        .take(40)
        .collect();
    let mut same = 0;
    for request in &requests {
        let theirs = asking.decide(request).await.unwrap();
        let theirs: Vec<_> = theirs.candidates.iter().map(|one| &one.node).collect();
        same += usize::from(alone(&client, request).iter().eq(theirs));
    }
    assert!(same < requests.len(), "all are known from the start");
    until("all are known", async || {
        for request in &requests {
            let theirs = asking.decide(request).await.unwrap();
            assert_eq!(theirs.source, Source::Sidecar);
            let theirs: Vec<_> = theirs.candidates.iter().map(|one| &one.node).collect();
            if !alone(&client, request).iter().eq(theirs) {
                return false;
            }
        }
        true
    })
    .await;
    let counters = client.counters();
    assert!(
        counters.places_asked <= requests.len() as u64,
        "{counters:?}"
    );
    assert_eq!((counters.answered, counters.nothing), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_starts_without_a_sidecar_begins_with_the_last_good_copy() {
    let mut sidecar = Sidecar::start().await;
    let folder = tempfile::tempdir().unwrap();
    let keep = |options: &mut Options| options.last_good = Some(folder.path().to_owned());
    let version = crate::purged::purge_one(&sidecar, "https://other.example.org/a").await;
    let before = sidecar.client_with(keep);
    until("it is kept", async || before.counters().copies_kept > 0).await;
    assert!(before.heard_ago().is_some());
    let wanted = alone(&before, &plain("/a"));
    let followed = before.following();
    sidecar.kill();
    drop(before);

    let mut options = Options::at(free_address().to_string());
    keep(&mut options);
    let after = Client::connect(options.clone()).unwrap();
    until("it has begun", async || after.following().is_some()).await;
    assert_eq!(after.following(), followed);
    assert_eq!(alone(&after, &plain("/a")), wanted);
    let counters = after.counters();
    assert_eq!((counters.copies_restored, counters.copies), (1, 0));
    assert_eq!(after.heard_ago(), None, "nobody was heard");
    let answer = after.decide_alone(&plain("/a")).unwrap();
    assert_eq!(
        (answer.version, answer.is_freshness_known),
        (version, false)
    );

    let file = folder.path().join("last-good-copy");
    let mut bytes = std::fs::read(&file).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let spoilt = Client::connect(options).unwrap();
    // What is decided from would be there by the time that a connection was refused.
    until("the sidecar is not there", async || {
        drop(spoilt.decide(&plain("/a")).await.unwrap());
        !spoilt.is_asking()
    })
    .await;
    let decided = spoilt.decide_with(&Question::of(&plain("/a")), named);
    assert_eq!(decided.unwrap(), None);
}
