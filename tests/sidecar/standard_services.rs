//! Health and reflection.

use prost::Message;
use prost_types::{FileDescriptorProto, FileDescriptorSet};
use tonic::Code;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tradewind::sidecar::wire;

use crate::client::Client;
use crate::peer;
use crate::server::{Files, Setup};

async fn health(client: &Client, service: &str) -> Result<HealthCheckResponse, tonic::Status> {
    let request = HealthCheckRequest {
        service: service.to_owned(),
    };
    let answered = HealthClient::new(client.channel.clone())
        .check(request)
        .await;
    answered.map(tonic::Response::into_inner)
}

const ALL: [&str; 8] = [
    "",
    "envoy.service.auth.v3.Authorization",
    "envoy.service.ext_proc.v3.ExternalProcessor",
    "liveness",
    "readiness",
    "tradewind.v1.DecisionService",
    "tradewind.v1.FeedbackService",
    "tradewind.v1.TelemetryService",
];

#[tokio::test]
async fn health_is_told_for_each_name() {
    let server = Setup::example().start().await;
    let client = server.client().await;
    for service in ALL {
        let answer = health(&client, service).await.unwrap();
        assert_eq!(answer.status(), ServingStatus::Serving, "{service}");
    }
    let unknown = health(&client, "tradewind.v1.Other").await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
}

/// Streams of watchers that never said what they watch lay there for as long as they liked: 70 MB of them in a flood.
#[tokio::test]
async fn who_watches_and_does_not_say_what_is_told_so() {
    let server = Setup::example().start().await;
    let mut silent = peer::Peer::greet(server.grpc[0], &[]);
    let head = peer::head("/grpc.health.v1.Health/Watch", 0);
    silent
        .send(peer::HEADERS, peer::END_HEADERS, 1, &head)
        .unwrap();
    let answer = silent.read_until(peer::HEADERS).unwrap();
    assert_eq!(answer.flags & peer::END_STREAM, peer::END_STREAM);
    assert_eq!(
        server.count("tradewind_connections_deadline_exceeded_total"),
        1
    );
}

#[tokio::test]
async fn one_caller_watches_half_of_what_may_be_watched_and_asks_all_the_same() {
    let server = Setup::example().start().await;
    let (mut watches, mut refused) = (Vec::new(), 0);
    // A connection takes 128 streams.
    for _ in 0..6 {
        let client = server.client().await;
        for _ in 0..100 {
            let mut health = HealthClient::new(client.channel.clone());
            match health.watch(HealthCheckRequest::default()).await {
                Ok(changes) => watches.push(changes),
                Err(status) => {
                    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
                    refused += 1;
                }
            }
        }
    }
    assert_eq!((watches.len(), refused), (512, 88));
    let asked = health(&server.client().await, "").await.unwrap();
    assert_eq!(asked.status(), ServingStatus::Serving);
}

#[tokio::test]
async fn before_the_first_good_policy_it_is_alive_and_not_ready() {
    let files = Files::empty();
    let server = files.setup().start_unready().await;
    let client = server.client().await;
    for service in ALL {
        let answer = health(&client, service).await.unwrap();
        let alive = service == "liveness";
        assert_eq!(
            answer.status() == ServingStatus::Serving,
            alive,
            "{service}"
        );
    }
}

/// The services that both names of reflection tell of.
const REFLECTED: [&str; 12] = [
    "envoy.service.accesslog.v3.AccessLogService",
    "envoy.service.auth.v3.Authorization",
    "envoy.service.discovery.v3.AggregatedDiscoveryService",
    "envoy.service.endpoint.v3.EndpointDiscoveryService",
    "envoy.service.ext_proc.v3.ExternalProcessor",
    "envoy.service.load_stats.v3.LoadReportingService",
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
    "tradewind.v1.DecisionService",
    "tradewind.v1.FeedbackService",
    "tradewind.v1.TelemetryService",
];

/// That an answer holds one file, whose options tell generators of Go and Java where its code belongs.
#[track_caller]
fn assert_has_options(files: &[Vec<u8>]) {
    let [file] = files else {
        panic!("{} files", files.len())
    };
    let file = FileDescriptorProto::decode(file.as_slice()).unwrap();
    let options = file.options.unwrap();
    assert_eq!(options.go_package(), "tradewind/v1;tradewindv1");
    assert_eq!(options.java_package(), "tradewind.v1");
    assert!(options.java_multiple_files());
}

/// What a reflection of one version is asked, and that it answers with all services and with our file.
macro_rules! assert_reflects {
    ($version:ident, $channel:expr) => {{
        use tonic_reflection::pb::$version::server_reflection_client::ServerReflectionClient;
        use tonic_reflection::pb::$version::server_reflection_request::MessageRequest;
        use tonic_reflection::pb::$version::server_reflection_response::MessageResponse;
        let asked = [
            MessageRequest::ListServices(String::new()),
            MessageRequest::FileContainingSymbol("tradewind.v1.DecideRequest".to_owned()),
        ]
        .map(
            |message_request| tonic_reflection::pb::$version::ServerReflectionRequest {
                host: String::new(),
                message_request: Some(message_request),
            },
        );
        let mut reflection = ServerReflectionClient::new($channel);
        let stream = reflection.server_reflection_info(tokio_stream::iter(asked));
        let mut answers = stream.await.unwrap().into_inner();
        let listed = answers.message().await.unwrap().unwrap();
        let Some(MessageResponse::ListServicesResponse(list)) = listed.message_response else {
            panic!("{listed:?}")
        };
        let mut names: Vec<String> = list.service.into_iter().map(|s| s.name).collect();
        names.sort();
        assert_eq!(names, REFLECTED);
        let described = answers.message().await.unwrap().unwrap();
        let Some(MessageResponse::FileDescriptorResponse(files)) = described.message_response
        else {
            panic!("{described:?}")
        };
        assert_has_options(&files.file_descriptor_proto);
    }};
}

#[tokio::test]
async fn reflection_lists_the_services_and_describes_ours_by_both_of_its_names() {
    let server = Setup::example().start().await;
    let client = server.client().await;
    assert_reflects!(v1, client.channel.clone());
    assert_reflects!(v1alpha, client.channel.clone());
}

#[test]
fn every_file_of_ours_says_where_generated_code_belongs() {
    let all = FileDescriptorSet::decode(wire::DESCRIPTORS).unwrap();
    let ours = all
        .file
        .iter()
        .filter(|file| file.package() == "tradewind.v1");
    let mut outer_classes = Vec::new();
    for file in ours {
        assert_has_options(&[file.encode_to_vec()]);
        outer_classes.push(
            file.options
                .as_ref()
                .unwrap()
                .java_outer_classname()
                .to_owned(),
        );
    }
    // None has the name of a message or service, which Java could not tell apart.
    outer_classes.sort();
    let wanted = [
        "Admin",
        "Decision",
        "Feedback",
        "Fleet",
        "Policy",
        "Purge",
        "Rollout",
        "Telemetry",
        "Topology",
    ];
    assert_eq!(outer_classes, wanted.map(|name| format!("{name}Proto")));
}
