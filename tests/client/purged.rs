//! What was purged, and limits, in decisions that a client makes itself.

use std::fs;
use std::time::Duration;

use tonic::transport::{Channel, Endpoint};
use tradewind::client::answer::Answer;
use tradewind::client::{Client, Request};
use tradewind::sidecar::clock;
use tradewind::sidecar::wire::proto::decision_service_client::DecisionServiceClient;
use tradewind::sidecar::wire::proto::purge_selector::Of;
use tradewind::sidecar::wire::proto::purge_service_client::PurgeServiceClient;
use tradewind::sidecar::wire::proto::{PurgeSelector, SubmitPurgeRequest};

use crate::requests::{Random, any, plain};
use crate::sidecar::{Sidecar, policy, until};

/// How often the same is purged to see how soon that counts.
const ROUNDS: usize = 100;

/// The example policy with all that is said of freshness.
fn fresh_policy() -> String {
    policy().replace("spec:\n", "spec:\n  freshness: { max_ttl: 168h }\n")
}

async fn admin(sidecar: &Sidecar) -> PurgeServiceClient<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{}", sidecar.admin)).unwrap();
    PurgeServiceClient::connect(endpoint).await.unwrap()
}

async fn purge(
    admin: &mut PurgeServiceClient<Channel>,
    of: Of,
    change: fn(&mut SubmitPurgeRequest),
) -> u64 {
    let selector = PurgeSelector {
        of: Some(of),
        exact_query: false,
    };
    let mut request = SubmitPurgeRequest {
        selectors: vec![selector],
        confirm: true,
        ..SubmitPurgeRequest::default()
    };
    change(&mut request);
    admin.submit(request).await.unwrap().into_inner().sequence
}

/// Purges one object, for other tests; its version.
pub(crate) async fn purge_one(sidecar: &Sidecar, url: &str) -> u64 {
    let mut door = admin(sidecar).await;
    purge(&mut door, Of::Url(url.to_owned()), |_| ()).await
}

fn freshness(answer: &Answer) -> (u64, u64, u64, Option<Duration>, &str) {
    (
        answer.version,
        answer.not_older_than_unix_ms,
        answer.freshness_floor,
        answer.cache_ttl,
        &answer.namespace,
    )
}

/// Waits until the client knows of the last purge.
async fn until_it_knows(client: &Client, url: &str, version: u64) {
    let mut last = plain(url);
    last.dry_run = true;
    until("it is followed", async || {
        client.decide_alone(&last).unwrap().version == version
    })
    .await;
}

/// Purges 300 things of all kinds, and at last `/a`; its version.
async fn purge_much(random: &mut Random, door: &mut PurgeServiceClient<Channel>) -> u64 {
    for number in 0..300 {
        let object = random.below(5_000);
        let of = match random.below(8) {
            0 => Of::Prefix(format!("https://www.example.com/images/{number}")),
            1 => Of::Host(format!("s{}.static.example.com", object % 9)),
            2 => Of::Url(format!("https://www.example.com/images/{number}?w=1")),
            3 => Of::Url(format!("https://other.example.org/{object}")),
            _ => Of::Url(format!("https://www.example.com/api/{object}")),
        };
        let change: fn(&mut SubmitPurgeRequest) = match number % 3 {
            0 => |it| it.soft = true,
            1 => |it| {
                let selector = &mut it.selectors[0];
                selector.exact_query = matches!(selector.of, Some(Of::Url(_)));
            },
            _ => |_| (),
        };
        purge(door, of, change).await;
    }
    let all = Of::Prefix("https://www.example.com/video/".to_owned());
    purge(door, all, |it| it.soft = true).await;
    let last = Of::Url("https://other.example.org/a".to_owned());
    purge(door, last, |_| ()).await
}

/// Compares what the sidecar says of freshness with what the client says alone.
async fn compare(sidecar: &Sidecar, client: &Client, requests: &[Request]) {
    let endpoint = Endpoint::from_shared(format!("http://{}", sidecar.grpc)).unwrap();
    let mut raw = DecisionServiceClient::connect(endpoint).await.unwrap();
    let (mut versioned, mut softened) = (0, 0);
    for request in requests {
        let theirs = raw.decide(request.clone()).await.unwrap().into_inner();
        let own = client.decide_alone(request).unwrap();
        let cache_ttl = theirs.cache_ttl.map(|ttl| Duration::try_from(ttl).unwrap());
        let wanted = (
            theirs.version,
            theirs.not_older_than_unix_ms,
            theirs.freshness_floor,
            cache_ttl,
            &*theirs.namespace,
        );
        assert_eq!(freshness(&own), wanted, "{request:?}");
        versioned += usize::from(own.version > 0);
        softened += usize::from(own.not_older_than_unix_ms > 0);
    }
    println!("of 1000 the same, {versioned} of them with a version and {softened} with an age");
    assert!(versioned > 50 && softened > 50, "{versioned} {softened}");
}

async fn until_it_is_known(client: &Client, is_known: bool) {
    until("it is said whether there may be more", async || {
        let answer = client.decide_alone(&plain("/a")).unwrap();
        answer.is_freshness_known == is_known
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_decided_alone_is_as_fresh_as_what_the_sidecar_decides() {
    let mut random = Random(20_261_129);
    let mut sidecar = Sidecar::start_with(&fresh_policy()).await;
    let mut door = admin(&sidecar).await;
    // Of before the client is there, and of after.
    let first = Of::Url("https://www.example.com/video/1.mp4".to_owned());
    purge(&mut door, first, |_| ()).await;
    let client = sidecar.client_with(|options| options.cached_answers = 0);
    until("a copy is there", async || client.following().is_some()).await;
    let known = client.decide_alone(&plain("/a")).unwrap();
    assert!(known.is_freshness_known, "with the first copy");
    let version = purge_much(&mut random, &mut door).await;
    until_it_knows(&client, "/a", version).await;
    let requests: Vec<Request> = (0..1_000).map(|_| any(&mut random)).collect();
    compare(&sidecar, &client, &requests).await;
    let alone = || requests.iter().map(|it| client.decide_alone(it).unwrap());
    let before: Vec<Answer> = alone().collect();
    let is_as_before =
        || (alone().zip(&before)).all(|(now, before)| freshness(&now) == freshness(before));

    // It ends and begins again: what it had kept is known on both sides.
    sidecar.kill();
    until_it_is_known(&client, false).await;
    assert!(is_as_before());
    sidecar.restart().await;
    until_it_is_known(&client, true).await;
    assert!(is_as_before());

    // It loses all that it had: nothing is taken back, and what it purges from then on counts.
    sidecar.kill();
    fs::remove_dir_all(sidecar.file("state")).unwrap();
    sidecar.restart().await;
    let mut door = admin(&sidecar).await;
    let other = Of::Url("https://other.example.org/b".to_owned());
    let version = purge(&mut door, other, |_| ()).await;
    until_it_knows(&client, "/b", version).await;
    assert!(is_as_before());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purge_counts_at_once_where_it_is_decided_alone() {
    let _quiet = crate::QUIET.lock().await;
    let sidecar = Sidecar::start().await;
    let client = sidecar.client();
    until("a copy is there", async || client.following().is_some()).await;
    let mut admin_door = admin(&sidecar).await;
    let asked = plain("/a");
    let mut late_by = Vec::new();
    for _ in 0..ROUNDS {
        let of = Of::Url("https://other.example.org/a".to_owned());
        let version = purge(&mut admin_door, of, |_| ()).await;
        let purged = clock::now();
        while client.decide_alone(&asked).unwrap().version != version {
            assert!(
                purged.elapsed() < Duration::from_secs(10),
                "it is not followed"
            );
            tokio::task::yield_now().await;
        }
        late_by.push(purged.elapsed());
    }
    late_by.sort_unstable();
    println!(
        "in force at a follower {:.2?} after the purge was answered, in the middle of {ROUNDS}; {:.2?} at most",
        late_by[ROUNDS / 2],
        late_by[ROUNDS - 1]
    );
    // Far less than the second after which anything else is told.
    assert!(
        late_by[ROUNDS / 2] < Duration::from_millis(200),
        "{late_by:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_hold_where_it_is_decided_alone() {
    let limited = policy().replace(
        "spec:\n",
        "spec:\n  limits: [{ name: tenants, per: host, requests_per_second: 1, burst: 5 }]\n",
    );
    let mut sidecar = Sidecar::start_with(&limited).await;
    let client = sidecar.client();
    until("a copy is there", async || client.following().is_some()).await;
    sidecar.kill();
    let mut dry = plain("/a");
    dry.dry_run = true;
    for _ in 0..50 {
        assert!(
            !client.decide_alone(&dry).unwrap().is_refused,
            "a dry run uses nothing up"
        );
    }
    let asked: Vec<Answer> = (0..50)
        .map(|_| client.decide_alone(&plain("/a")).unwrap())
        .collect();
    let passed = asked.iter().filter(|answer| !answer.is_refused).count();
    assert!((5..10).contains(&passed), "{passed} of 50");
    let refused = asked.last().unwrap();
    assert_eq!((&*refused.reason, refused.version), ("rate_limited", 0));
    assert!(
        refused
            .retry_after
            .is_some_and(|after| after >= Duration::from_secs(1))
    );
}
