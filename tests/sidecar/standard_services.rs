//! Health and reflection.

use tonic::Code;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use crate::client::Client;
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

#[tokio::test]
async fn reflection_lists_the_services_and_describes_ours() {
    let server = Setup::example().start().await;
    let client = server.client().await;
    let mut reflection = ServerReflectionClient::new(client.channel);
    let ask = |message_request| ServerReflectionRequest {
        host: String::new(),
        message_request: Some(message_request),
    };
    let asked = [
        ask(MessageRequest::ListServices(String::new())),
        ask(MessageRequest::FileContainingSymbol(
            "tradewind.v1.DecideRequest".to_owned(),
        )),
    ];
    let stream = reflection.server_reflection_info(tokio_stream::iter(asked));
    let mut answers = stream.await.unwrap().into_inner();
    let listed = answers.message().await.unwrap().unwrap();
    let Some(MessageResponse::ListServicesResponse(list)) = listed.message_response else {
        panic!("{listed:?}")
    };
    let mut names: Vec<String> = list.service.into_iter().map(|s| s.name).collect();
    names.sort();
    assert_eq!(
        names,
        [
            "envoy.service.accesslog.v3.AccessLogService",
            "envoy.service.auth.v3.Authorization",
            "envoy.service.discovery.v3.AggregatedDiscoveryService",
            "envoy.service.endpoint.v3.EndpointDiscoveryService",
            "envoy.service.ext_proc.v3.ExternalProcessor",
            "envoy.service.load_stats.v3.LoadReportingService",
            "grpc.health.v1.Health",
            "grpc.reflection.v1.ServerReflection",
            "tradewind.v1.DecisionService",
            "tradewind.v1.FeedbackService",
            "tradewind.v1.TelemetryService",
        ]
    );
    let described = answers.message().await.unwrap().unwrap();
    assert!(
        matches!(
            described.message_response,
            Some(MessageResponse::FileDescriptorResponse(_))
        ),
        "{described:?}"
    );
}
