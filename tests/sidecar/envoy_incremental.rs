//! Endpoints pushed incrementally (`DELTA_GRPC`), message by message: what has changed, and nothing else.

use std::collections::BTreeMap;

use tokio::sync::mpsc;
use tokio::time;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tradewind::sidecar::doors::envoy::proto::envoy as api;
use tradewind::sidecar::doors::envoy::proto::google::rpc;

use api::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use api::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};
use api::service::endpoint::v3::endpoint_discovery_service_client::EndpointDiscoveryServiceClient;

use crate::client::Client;
use crate::envoy_endpoints::{TYPE_URL, envoys, in_frankfurt, lines_of};
use crate::fleet::Fleet;
use crate::server::{Files, PATIENCE, Server};

const SENT: &str = "tradewind_xds_pushes_total{result=\"sent\"}";
const REFUSED: &str = "tradewind_xds_pushes_total{result=\"refused\"}";

/// An Envoy that has subscribed.
struct Envoy {
    requests: mpsc::Sender<DeltaDiscoveryRequest>,
    pushes: Streaming<DeltaDiscoveryResponse>,
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// The first request of a stream.
fn first(wanted: &[&str]) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest {
        node: Some(in_frankfurt()),
        type_url: TYPE_URL.to_owned(),
        resource_names_subscribe: names(wanted),
        ..DeltaDiscoveryRequest::default()
    }
}

impl Envoy {
    async fn open(client: &Client, request: DeltaDiscoveryRequest) -> Self {
        let (requests, queue) = mpsc::channel(4);
        requests.send(request).await.unwrap();
        let mut service = EndpointDiscoveryServiceClient::new(client.channel.clone());
        let pushes = service.delta_endpoints(ReceiverStream::new(queue)).await;
        Self {
            requests,
            pushes: pushes.unwrap().into_inner(),
        }
    }

    /// The next push, which must come.
    async fn push(&mut self) -> DeltaDiscoveryResponse {
        let push = time::timeout(PATIENCE, self.pushes.message()).await;
        push.unwrap().unwrap().unwrap()
    }

    /// Wants some names more and some no more.
    async fn change(&self, more: &[&str], no_more: &[&str]) {
        let request = DeltaDiscoveryRequest {
            type_url: TYPE_URL.to_owned(),
            resource_names_subscribe: names(more),
            resource_names_unsubscribe: names(no_more),
            ..DeltaDiscoveryRequest::default()
        };
        self.requests.send(request).await.unwrap();
    }

    /// Says what became of the push with this nonce.
    async fn answer(&self, nonce: &str, refused: Option<&str>) {
        let request = DeltaDiscoveryRequest {
            type_url: TYPE_URL.to_owned(),
            response_nonce: nonce.to_owned(),
            error_detail: refused.map(|why| rpc::Status {
                code: 3,
                message: why.to_owned(),
            }),
            ..DeltaDiscoveryRequest::default()
        };
        self.requests.send(request).await.unwrap();
    }
}

/// The names in a push, those that are taken away behind `-`.
fn told(push: &DeltaDiscoveryResponse) -> Vec<String> {
    assert_eq!(push.type_url, TYPE_URL);
    let changed = push.resources.iter().map(|one| one.name.clone());
    let removed = push.removed_resources.iter();
    changed
        .chain(removed.map(|name| format!("-{name}")))
        .collect()
}

fn table(push: &DeltaDiscoveryResponse) -> Vec<String> {
    lines_of(
        push.resources
            .iter()
            .map(|one| one.resource.as_ref().unwrap()),
    )
}

async fn start(files: &Files) -> (Server, Client) {
    let server = files.setup().start().await;
    let client = server.client().await;
    (server, client)
}

#[tokio::test]
async fn only_what_has_changed_is_pushed_and_what_is_not_there_is_said() {
    let files = Files::new();
    let (server, client) = start(&files).await;
    let mut envoy = Envoy::open(&client, first(&["origin", "regional", "nowhere"])).await;
    let push = envoy.push().await;
    assert_eq!(told(&push), ["origin", "regional", "-nowhere"]);
    assert_eq!(table(&push)[0], "origin 0 dub dub-1 10000 HEALTHY");
    envoy.answer(&push.nonce, None).await;
    server
        .until("it is taken", || {
            envoys(&server)[0]["taken_version"] == *push.system_version_info
        })
        .await;
    let shown = envoys(&server)[0].take();
    assert_eq!(
        (&shown["incremental"], &shown["node"]),
        (&true.into(), &"edge-7".into())
    );
    assert_eq!(shown["unknown_names"][0], "nowhere");
    // A pool that nobody here wants changes, then one of those wanted.
    let other = Fleet::usual().change("fra-1", |node| node.capacity = 50);
    files.replace("topology.yaml", other.text());
    server.until_revision(2).await;
    let own = other.change("dub-1", |node| node.capacity = 70);
    files.replace("topology.yaml", own.text());
    let second = envoy.push().await;
    assert_eq!(table(&second), ["origin 0 dub dub-1 7000 HEALTHY"]);
    assert_eq!((told(&second), &*second.nonce), (names(&["origin"]), "2"));
    assert_ne!(second.resources[0].version, push.resources[0].version);
    // What is wanted no more is not told; what is wanted again is, changed or not.
    envoy.change(&[], &["origin"]).await;
    let again = own.change("dub-1", |node| node.capacity = 80);
    files.replace("topology.yaml", again.text());
    server.until_revision(4).await;
    envoy.change(&["regional"], &[]).await;
    assert_eq!(told(&envoy.push().await), ["regional"]);
    envoy.change(&["origin"], &[]).await;
    assert_eq!(
        table(&envoy.push().await),
        ["origin 0 dub dub-1 8000 HEALTHY"]
    );
    assert_eq!(server.count(SENT), 4);
}

#[tokio::test]
async fn a_refused_push_is_shown_until_what_was_refused_is_taken() {
    let files = Files::new();
    let (server, client) = start(&files).await;
    let mut envoy = Envoy::open(&client, first(&["origin"])).await;
    let push = envoy.push().await;
    envoy.answer("99", Some("of another stream")).await;
    envoy
        .answer(&push.nonce, Some("malformed\u{7} address"))
        .await;
    server
        .until("the refusal is counted", || server.count(REFUSED) == 1)
        .await;
    let why = |server: &Server| envoys(server)[0]["refused"].clone();
    assert!(why(&server).as_str().unwrap().starts_with("malformed"));
    assert_eq!(server.count("tradewind_xds_subscribers_refusing"), 1);
    server.until_said("an Envoy refused endpoints").await;
    // Something else that is taken does not make it good.
    envoy.change(&["regional"], &[]).await;
    let other = envoy.push().await;
    assert_eq!(told(&other), ["regional"]);
    envoy.answer(&other.nonce, None).await;
    server
        .until("the other is taken", || {
            envoys(&server)[0]["taken_version"] == *other.system_version_info
        })
        .await;
    assert!(why(&server).is_string());
    // The same is not pushed again; what has changed is, and ends it.
    let changed = Fleet::usual().change("dub-1", |node| node.capacity = 70);
    files.replace("topology.yaml", changed.text());
    let third = envoy.push().await;
    assert_eq!((told(&third), &*third.nonce), (names(&["origin"]), "3"));
    envoy.answer(&third.nonce, None).await;
    server.until("it is taken", || why(&server).is_null()).await;
    assert_eq!(server.count(REFUSED), 1);
}

#[tokio::test]
async fn a_new_stream_goes_on_where_the_last_one_ended() {
    let files = Files::new();
    let (server, client) = start(&files).await;
    let mut envoy = Envoy::open(&client, first(&["origin", "regional"])).await;
    let push = envoy.push().await;
    let versions: BTreeMap<String, String> = push
        .resources
        .iter()
        .map(|one| (one.name.clone(), one.version.clone()))
        .collect();
    drop(envoy);
    server
        .until("it is gone", || {
            envoys(&server).as_array().unwrap().is_empty()
        })
        .await;
    let changed = Fleet::usual().change("dub-1", |node| node.capacity = 70);
    files.replace("topology.yaml", changed.text());
    server.until_revision(2).await;
    let again = DeltaDiscoveryRequest {
        initial_resource_versions: versions,
        ..first(&["origin", "regional"])
    };
    let mut envoy = Envoy::open(&client, again).await;
    assert_eq!(told(&envoy.push().await), ["origin"]);
}

#[tokio::test]
async fn who_names_nothing_or_a_star_gets_every_pool() {
    let files = Files::new();
    let (_server, client) = start(&files).await;
    for wanted in [&[][..], &["*"]] {
        let mut envoy = Envoy::open(&client, first(wanted)).await;
        assert_eq!(told(&envoy.push().await), ["edge", "origin", "regional"]);
        envoy.change(&["all"], &["*"]).await;
        assert_eq!(told(&envoy.push().await), ["all"]);
    }
}

#[tokio::test]
async fn the_aggregated_service_tells_changes_too() {
    let files = Files::new();
    let (_server, client) = start(&files).await;
    let clusters = DeltaDiscoveryRequest {
        type_url: "type.googleapis.com/envoy.config.cluster.v3.Cluster".to_owned(),
        ..first(&[])
    };
    let (requests, queue) = mpsc::channel(4);
    for request in [clusters, first(&["origin"])] {
        requests.send(request).await.unwrap();
    }
    let mut service = AggregatedDiscoveryServiceClient::new(client.channel.clone());
    let pushes = service
        .delta_aggregated_resources(ReceiverStream::new(queue))
        .await;
    let mut pushes = pushes.unwrap().into_inner();
    let push = time::timeout(PATIENCE, pushes.message()).await;
    let push = push.unwrap().unwrap().unwrap();
    assert_eq!(table(&push), ["origin 0 dub dub-1 10000 HEALTHY"]);
}
