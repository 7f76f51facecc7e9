//! Clients and the requests they send.

use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use tradewind::sidecar::wire::proto::decision_service_client::DecisionServiceClient;
use tradewind::sidecar::wire::proto::{
    self, DecideBatchRequest, DecideRequest, DecideResponse, ExplainRequest, ExplainResponse,
};

use crate::server::Server;

/// Frankfurt, beside the site with the most nodes of the usual fleet.
pub(crate) const FRANKFURT: (f64, f64) = (50.1, 8.7);

/// A connected client of the decision service.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    pub(crate) channel: Channel,
    pub(crate) grpc: DecisionServiceClient<Channel>,
}

impl Client {
    /// Connects to `http://ADDRESS` or `unix:PATH`.
    pub(crate) async fn connect(to: &str) -> Self {
        let endpoint = Endpoint::from_shared(to.to_owned()).unwrap();
        Self::of(endpoint.connect().await.unwrap())
    }

    /// Asks over this channel.
    pub(crate) fn of(channel: Channel) -> Self {
        let grpc = DecisionServiceClient::new(channel.clone());
        Self { channel, grpc }
    }

    pub(crate) async fn try_decide(
        &mut self,
        request: DecideRequest,
    ) -> Result<DecideResponse, Status> {
        let answered = self.grpc.decide(request).await;
        answered.map(tonic::Response::into_inner)
    }

    pub(crate) async fn decide(&mut self, request: DecideRequest) -> DecideResponse {
        self.try_decide(request).await.unwrap()
    }

    pub(crate) async fn try_batch(
        &mut self,
        requests: Vec<DecideRequest>,
    ) -> Result<Vec<DecideResponse>, Status> {
        let answered = self
            .grpc
            .decide_batch(DecideBatchRequest { requests })
            .await;
        answered.map(|answer| answer.into_inner().responses)
    }

    pub(crate) async fn try_explain(
        &mut self,
        request: DecideRequest,
    ) -> Result<ExplainResponse, Status> {
        let request = ExplainRequest {
            request: Some(request),
        };
        let explained = self.grpc.explain(request).await;
        explained.map(tonic::Response::into_inner)
    }

    pub(crate) async fn explain(&mut self, request: DecideRequest) -> ExplainResponse {
        self.try_explain(request).await.unwrap()
    }

    /// Decides all of these, in batches.
    pub(crate) async fn decide_all(&mut self, requests: &[DecideRequest]) -> Vec<DecideResponse> {
        let mut answers = Vec::new();
        for batch in requests.chunks(128) {
            answers.extend(self.try_batch(batch.to_vec()).await.unwrap());
        }
        answers
    }
}

impl Server {
    pub(crate) async fn client(&self) -> Client {
        Client::connect(&format!("http://{}", self.grpc[0])).await
    }
}

/// A request for a path from a client in Frankfurt.
pub(crate) fn request(path: &str) -> DecideRequest {
    DecideRequest {
        request_id: format!("of {path}"),
        host: "video.example.com".to_owned(),
        path: path.to_owned(),
        client: Some(at(FRANKFURT)),
        ..DecideRequest::default()
    }
}

/// Requests for many different objects.
pub(crate) fn requests(count: usize) -> Vec<DecideRequest> {
    (0..count)
        .map(|number| request(&format!("/object/{number}")))
        .collect()
}

/// A client that says where it is.
pub(crate) fn at((latitude, longitude): (f64, f64)) -> proto::Client {
    proto::Client {
        location: Some(proto::Location {
            latitude,
            longitude,
        }),
        ..proto::Client::default()
    }
}

/// A client known by its address alone.
pub(crate) fn from_ip(ip: &str) -> proto::Client {
    proto::Client {
        ip: ip.to_owned(),
        ..proto::Client::default()
    }
}

/// Asserts a refusal and gives its message.
#[track_caller]
pub(crate) fn refusal<T: std::fmt::Debug>(answer: Result<T, Status>, code: Code) -> String {
    let status = answer.unwrap_err();
    assert_eq!(status.code(), code, "{status:?}");
    status.message().to_owned()
}
