//! A bus that speaks TLS and asks who somebody is: the permissions of docs/fleet.md are what members need, and are not more.

use std::fs;
use std::time::Duration;

use nkeys::KeyPair;
use tokio::time;
use tonic::Code;
use tradewind::sidecar::clock::timer_now;
use tradewind::sidecar::wire::proto::fleet_service_client::FleetServiceClient;
use tradewind::sidecar::wire::proto::policy_service_client::PolicyServiceClient;
use tradewind::sidecar::wire::proto::purge_selector::Of;
use tradewind::sidecar::wire::proto::purge_service_client::PurgeServiceClient;
use tradewind::sidecar::wire::proto::{
    ApplyPolicyRequest, Following, PurgeSelector, RollRequest, SubmitPurgeRequest,
};

use crate::authority::Authority;
use crate::bus::Bus;
use crate::client::request;
use crate::fleet::policy;
use crate::server::{Files, PATIENCE, Server};

/// What the page says that a member needs.
fn permissions() -> String {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/fleet.md");
    let page = fs::read_to_string(page).unwrap();
    let (_, rest) = page.split_once("    { nkey: NKEY_OF_B").unwrap();
    let (block, _) = rest.split_once("\n\n").unwrap();
    format!("{{ nkey: NKEY_OF_B{block}")
}

async fn member(name: &str, seed: &str, authority: &Authority, bus: &Bus) -> (Files, Server) {
    let files = Files::new();
    files.write("seed", seed);
    files.write("ca.pem", &authority.pem);
    let setup = files.setup().with("bus", bus.url()).with("fleet", "edge");
    let setup = setup
        .with("member", name)
        .with("bus-ca", files.path("ca.pem"));
    let setup = setup.with("bus-credentials", files.path("seed"));
    let server = setup.start().await;
    (files, server)
}

/// A bus for two members, of which the first may publish and make streams, and the second what the page says.
fn guarded(authority: &Authority, [a, b]: [&KeyPair; 2]) -> Option<Bus> {
    let shown = tempfile::tempdir().unwrap();
    authority
        .certify("localhost", 2_099)
        .write(shown.path(), "bus");
    let of_b = permissions().replace("NKEY_OF_B", &b.public_key());
    let more = ", \"tradewind.edge.config.>\", \"$JS.API.STREAM.PURGE.TRADEWIND_edge_CONFIG\", \"$JS.API.STREAM.CREATE.*\"";
    let of_a = of_b
        .replace(&b.public_key(), &a.public_key())
        .replace("evidence.b", "evidence.a")
        .replace("\"_INBOX.>\"\n", &format!("\"_INBOX.>\"{more}\n"));
    let settings = format!(
        "tls {{ cert_file: '{0}/bus.pem', key_file: '{0}/bus.key' }}\nauthorization {{ users = [\n{of_a}\n{of_b}\n] }}\n",
        shown.path().display()
    );
    let test = "a_member_needs_what_the_page_says_and_may_do_no_more";
    // It has read them when it listens.
    Bus::with_settings(test, Some(settings))
}

#[tokio::test]
async fn a_member_needs_what_the_page_says_and_may_do_no_more() {
    let authority = Authority::new("tests");
    let [a, b, stranger] = [(); 3].map(|()| KeyPair::new_user());
    let Some(bus) = guarded(&authority, [&a, &b]) else {
        return;
    };
    // It makes the streams.
    let (_files_a, first) = member("a", &a.seed().unwrap(), &authority, &bus).await;
    first.until_said("the bus of the fleet is reached").await;
    let (_files_b, second) = member("b", &b.seed().unwrap(), &authority, &bus).await;
    second.until_said("the bus of the fleet is reached").await;
    let (_files_c, third) = member("c", &stranger.seed().unwrap(), &authority, &bus).await;

    let of = |server: &Server| format!("http://{}", server.admin);
    let mut fleet = FleetServiceClient::connect(of(&second)).await.unwrap();
    let give_up = timer_now() + PATIENCE;
    loop {
        let roll = fleet.roll(RollRequest {}).await.unwrap().into_inner();
        if roll.members.len() == 2 && roll.following() == Following::Chair {
            break;
        }
        assert!(timer_now() < give_up, "{roll:#?}\n{}", second.log());
        time::sleep(Duration::from_millis(50)).await;
    }
    let purge = SubmitPurgeRequest {
        selectors: vec![PurgeSelector {
            of: Some(Of::Url("https://video.example.com/x".to_owned())),
            exact_query: false,
        }],
        ..SubmitPurgeRequest::default()
    };
    let mut purges = PurgeServiceClient::connect(of(&second)).await.unwrap();
    let answer = purges.submit(purge.clone()).await.unwrap().into_inner();
    let version = answer.sequence;
    let mut client = first.client().await;
    while client.decide(request("/x")).await.version < version {
        assert!(timer_now() < give_up, "{}", first.log());
        time::sleep(Duration::from_millis(5)).await;
    }

    let publish = |rule: &str| ApplyPolicyRequest {
        force: true,
        document: policy(rule),
        why: "tests".to_owned(),
        everywhere: true,
        within_ms: Some(0),
        ..ApplyPolicyRequest::default()
    };
    let mut policies = PolicyServiceClient::connect(of(&first)).await.unwrap();
    let answer = policies
        .apply(publish("second"))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(answer.fleet_revision, Some(1), "{answer:?}");
    let mut client = second.client().await;
    while client.decide(request("/a")).await.rule != "second" {
        assert!(timer_now() < give_up, "{}", second.log());
        time::sleep(Duration::from_millis(20)).await;
    }
    let mut policies = PolicyServiceClient::connect(of(&second)).await.unwrap();
    let refused = policies.apply(publish("third")).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused}");

    let mut purges = PurgeServiceClient::connect(of(&third)).await.unwrap();
    let refused = purges.submit(purge).await.unwrap_err();
    assert_eq!(
        refused.code(),
        Code::Unavailable,
        "who is not let in purges nothing"
    );
}
