//! Endpoints pushed to Envoys, message by message: what is in a push, when one comes, and what becomes of it.

use prost::Message;
use prost_types::value::Kind;
use prost_types::{Any, Struct, Value};
use tokio::sync::mpsc;
use tokio::time;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tradewind::sidecar::doors::envoy::proto::envoy as api;
use tradewind::sidecar::doors::envoy::proto::google::rpc;

use api::config::core::v3::address::Address as Place;
use api::config::core::v3::{HealthStatus, Locality, Node};
use api::config::endpoint::v3::ClusterLoadAssignment;
use api::config::endpoint::v3::lb_endpoint::HostIdentifier;
use api::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use api::service::discovery::v3::{DiscoveryRequest, DiscoveryResponse};
use api::service::endpoint::v3::endpoint_discovery_service_client::EndpointDiscoveryServiceClient;

use crate::client::Client;
use crate::fleet::{self, Fleet, policy};
use crate::server::{Files, PATIENCE, Server};

pub(crate) const TYPE_URL: &str =
    "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment";

/// An Envoy that has subscribed.
pub(crate) struct Envoy {
    requests: mpsc::Sender<DiscoveryRequest>,
    pushes: Streaming<DiscoveryResponse>,
}

/// Who it says it is: beside Frankfurt.
pub(crate) fn in_frankfurt() -> Node {
    let number = |number| Value {
        kind: Some(Kind::NumberValue(number)),
    };
    let place = [("latitude", 50.1), ("longitude", 8.7)];
    let place = place.map(|(name, value)| (name.to_owned(), number(value)));
    Node {
        id: "edge-7".to_owned(),
        cluster: "edge".to_owned(),
        metadata: Some(Struct {
            fields: place.into(),
        }),
        ..Node::default()
    }
}

fn at_site(zone: &str) -> Node {
    Node {
        id: "edge-8".to_owned(),
        locality: Some(Locality {
            zone: zone.to_owned(),
            ..Locality::default()
        }),
        ..Node::default()
    }
}

impl Envoy {
    pub(crate) async fn subscribe(client: &Client, node: Node, names: &[&str]) -> Self {
        let (requests, queue) = mpsc::channel(4);
        requests.send(wanting(Some(node), names)).await.unwrap();
        let mut service = EndpointDiscoveryServiceClient::new(client.channel.clone());
        let pushes = service.stream_endpoints(ReceiverStream::new(queue)).await;
        Self {
            requests,
            pushes: pushes.unwrap().into_inner(),
        }
    }

    /// The next push, which must come.
    pub(crate) async fn push(&mut self) -> DiscoveryResponse {
        let push = time::timeout(PATIENCE, self.pushes.message()).await;
        // One comes in time, and the stream lives.
        push.unwrap().unwrap().unwrap()
    }

    /// Says what became of a push: taken, or refused for a reason.
    pub(crate) async fn answer(
        &self,
        push: &DiscoveryResponse,
        names: &[&str],
        refused: Option<&str>,
    ) {
        let answer = DiscoveryRequest {
            version_info: push.version_info.clone(),
            response_nonce: push.nonce.clone(),
            error_detail: refused.map(|why| rpc::Status {
                code: 3,
                message: why.to_owned(),
            }),
            ..wanting(None, names)
        };
        self.requests.send(answer).await.unwrap();
    }
}

fn wanting(node: Option<Node>, names: &[&str]) -> DiscoveryRequest {
    DiscoveryRequest {
        node,
        resource_names: names.iter().map(|name| (*name).to_owned()).collect(),
        type_url: TYPE_URL.to_owned(),
        ..DiscoveryRequest::default()
    }
}

/// A push as a table: `name priority site node weight health`, one line for each endpoint.
fn table(push: &DiscoveryResponse) -> Vec<String> {
    lines_of(&push.resources)
}

/// Resources as lines of such a table.
pub(crate) fn lines_of<'a>(resources: impl IntoIterator<Item = &'a Any>) -> Vec<String> {
    let mut lines = Vec::new();
    for any in resources {
        assert_eq!(any.type_url, TYPE_URL);
        let cluster = ClusterLoadAssignment::decode(&*any.value).unwrap();
        for locality in cluster.endpoints {
            let zone = locality.locality.unwrap().zone;
            for endpoint in locality.lb_endpoints {
                let health = HealthStatus::try_from(endpoint.health_status).unwrap();
                let Some(HostIdentifier::Endpoint(at)) = endpoint.host_identifier else {
                    panic!("no endpoint");
                };
                let Some(Place::SocketAddress(socket)) = at.address.unwrap().address else {
                    panic!("no socket");
                };
                let node = fleet::node_at(&socket.address);
                let weight = endpoint.load_balancing_weight.unwrap();
                assert!(weight >= 1, "Envoy refuses the whole push otherwise");
                lines.push(format!(
                    "{} {} {zone} {node} {weight} {}",
                    cluster.cluster_name,
                    locality.priority,
                    health.as_str_name()
                ));
            }
        }
    }
    lines
}

pub(crate) fn envoys(server: &Server) -> serde_json::Value {
    server.get("/debug/envoy").json()["subscribers"].take()
}

#[tokio::test]
async fn an_envoy_gets_its_nearest_site_first_and_the_others_behind() {
    let fleet = Fleet::usual()
        .change("fra-2", |node| node.capacity = 50)
        .change("fra-3", |node| node.state = "drain")
        .change("fra-4", |node| node.state = "maintenance");
    let files = Files::new();
    files.write("topology.yaml", fleet.text());
    let server = files.setup().start().await;
    let client = server.client().await;
    let mut envoy = Envoy::subscribe(&client, in_frankfurt(), &["edge"]).await;
    let push = envoy.push().await;
    assert_eq!(
        table(&push),
        [
            "edge 0 fra fra-1 10000 HEALTHY",
            "edge 0 fra fra-2 5000 HEALTHY",
            "edge 0 fra fra-3 10000 DRAINING",
            "edge 0 fra fra-5 10000 HEALTHY",
            "edge 0 fra fra-6 10000 HEALTHY",
            "edge 0 fra fra-7 10000 HEALTHY",
            "edge 0 fra fra-8 10000 HEALTHY",
            "edge 1 par par-1 10000 HEALTHY",
            "edge 1 par par-2 10000 HEALTHY",
            "edge 1 par par-3 10000 HEALTHY",
            "edge 1 par par-4 10000 HEALTHY",
            "edge 2 nyc nyc-1 10000 HEALTHY",
            "edge 2 nyc nyc-2 10000 HEALTHY",
        ]
    );
    // A rule has all of its pools, step by step.
    let mut whole = Envoy::subscribe(&client, at_site("par"), &["all"]).await;
    let sites = table(&whole.push().await);
    let mut steps: Vec<String> = sites
        .iter()
        .map(|line| {
            line.split(' ')
                .skip(1)
                .take(2)
                .collect::<Vec<_>>()
                .join(" ")
        })
        .collect();
    steps.dedup();
    assert_eq!(steps, ["0 par", "1 fra", "2 nyc", "3 ams", "4 dub"]);
}

#[tokio::test]
async fn a_push_comes_when_something_has_changed_and_only_then() {
    let files = Files::new();
    let server = files.setup().start().await;
    let client = server.client().await;
    let mut envoy = Envoy::subscribe(&client, in_frankfurt(), &["origin", "nowhere"]).await;
    let first = envoy.push().await;
    assert_eq!(table(&first), ["origin 0 dub dub-1 10000 HEALTHY"]);
    envoy.answer(&first, &["origin", "nowhere"], None).await;
    server
        .until("the push is taken", || {
            envoys(&server)[0]["taken_version"] == *first.version_info
        })
        .await;
    assert_eq!(envoys(&server)[0]["unknown_names"][0], "nowhere");
    // Another pool's change is none of its business; its own is.
    let other = Fleet::usual().change("fra-1", |node| node.capacity = 50);
    files.replace("topology.yaml", other.text());
    server.until_revision(2).await;
    let own = other.change("dub-1", |node| node.capacity = 70);
    files.replace("topology.yaml", own.text());
    let second = envoy.push().await;
    assert_eq!(table(&second), ["origin 0 dub dub-1 7000 HEALTHY"]);
    assert_eq!((&*first.nonce, &*second.nonce), ("1", "2"));
    assert_ne!(first.version_info, second.version_info);
    assert_eq!(
        server.count("tradewind_xds_pushes_total{result=\"sent\"}"),
        2
    );
    // Asking for other names is answered at once.
    envoy.answer(&second, &["regional"], None).await;
    let third = envoy.push().await;
    assert!(
        table(&third)[0].starts_with("regional 0 ams ams-1"),
        "{third:?}"
    );
}

#[tokio::test]
async fn a_refused_push_is_shown_until_one_is_taken() {
    let files = Files::new();
    let server = files.setup().start().await;
    let client = server.client().await;
    let mut envoy = Envoy::subscribe(&client, in_frankfurt(), &["origin"]).await;
    let first = envoy.push().await;
    envoy
        .answer(&first, &["origin"], Some("malformed\u{7} address"))
        .await;
    let refused = "tradewind_xds_pushes_total{result=\"refused\"}";
    server
        .until("the refusal is counted", || server.count(refused) == 1)
        .await;
    let shown = envoys(&server)[0].take();
    assert_eq!(shown["node"], "edge-7");
    let why = shown["refused"].as_str().unwrap();
    assert!(
        why.starts_with("malformed") && !why.contains('\u{7}'),
        "{why}"
    );
    server.until_said("an Envoy refused endpoints").await;
    // The same is not pushed again: it would be refused again. What has changed is.
    let changed = Fleet::usual().change("dub-1", |node| node.capacity = 70);
    files.replace("topology.yaml", changed.text());
    let second = envoy.push().await;
    envoy.answer(&second, &["origin"], None).await;
    server
        .until("it is taken", || envoys(&server)[0]["refused"].is_null())
        .await;
    drop(envoy);
    server
        .until("it is gone", || {
            envoys(&server).as_array().unwrap().is_empty()
        })
        .await;
}

#[tokio::test]
async fn the_aggregated_service_serves_endpoints_and_leaves_other_kinds_alone() {
    let files = Files::new();
    files.write("policy.yaml", policy("all"));
    let server = files.setup().start().await;
    let client = server.client().await;
    let clusters = DiscoveryRequest {
        type_url: "type.googleapis.com/envoy.config.cluster.v3.Cluster".to_owned(),
        ..wanting(Some(in_frankfurt()), &[])
    };
    let requests = tokio_stream::iter([clusters, wanting(Some(in_frankfurt()), &["origin"])]);
    // Kept open: an Envoy does not hang up after its first words.
    let requests = requests.chain(tokio_stream::pending());
    let mut service = AggregatedDiscoveryServiceClient::new(client.channel.clone());
    let pushes = service.stream_aggregated_resources(requests).await.unwrap();
    let push = time::timeout(PATIENCE, pushes.into_inner().message()).await;
    let push = push.unwrap().unwrap().unwrap();
    assert_eq!(table(&push), ["origin 0 dub dub-1 10000 HEALTHY"]);
}

#[tokio::test]
async fn a_node_whose_address_is_a_name_was_refused_with_all_the_others() {
    let files = Files::new();
    let named = |fleet: &Fleet, ids: &[&str]| {
        let mut fleet = fleet.clone();
        for id in ids {
            fleet = fleet.change(id, |node| node.address = format!("{id}.example.net:80"));
        }
        fleet
    };
    let usual = Fleet::usual();
    // All of Paris, the second site from Frankfurt, and one of Frankfurt's.
    let some = named(&usual, &["fra-2", "par-1", "par-2", "par-3", "par-4"]);
    files.write("topology.yaml", some.text());
    let server = files.setup().start().await;
    let client = server.client().await;
    let mut envoy = Envoy::subscribe(&client, in_frankfurt(), &["edge", "all"]).await;
    let push = envoy.push().await;
    let lines = table(&push);
    let edge: Vec<&String> = lines
        .iter()
        .filter(|line| line.starts_with("edge "))
        .collect();
    assert!(
        !edge
            .iter()
            .any(|line| line.contains("fra-2") || line.contains("par"))
    );
    // Priorities have no gap where Paris was.
    assert!(
        edge.iter()
            .any(|line| line.starts_with("edge 1 nyc nyc-1 ")),
        "{edge:?}"
    );
    let shown = envoys(&server)[0].take();
    assert_eq!(shown["nodes_left_out"], 5);
    let mut left_out: Vec<&str> = shown["left_out"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|id| id.as_str())
        .collect();
    left_out.sort_unstable();
    assert_eq!(left_out, ["fra-2", "par-1", "par-2", "par-3", "par-4"]);
    let metric = "tradewind_xds_nodes_left_out";
    assert_eq!(server.count(metric), 5);
    let words = "nodes whose address is a name are left out";
    server.until_said(words).await;
    assert_eq!(server.log().matches(words).count(), 1);
    // A pool of names alone is not pushed empty: the endpoints before are better than none.
    let origin = named(&some, &["dub-1"]);
    let mut other = Envoy::subscribe(&client, in_frankfurt(), &["origin"]).await;
    let first = other.push().await;
    assert_eq!(table(&first), ["origin 0 dub dub-1 10000 HEALTHY"]);
    files.replace("topology.yaml", origin.text());
    server.until_revision(2).await;
    let second = other.push().await;
    assert!(second.resources.is_empty(), "{second:?}");
    files.replace("topology.yaml", usual.text());
    server.until_revision(3).await;
    let third = other.push().await;
    assert_eq!(table(&third), table(&first));
    server
        .until("nothing is left out", || server.count(metric) == 0)
        .await;
}
