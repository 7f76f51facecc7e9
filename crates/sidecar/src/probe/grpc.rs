//! Asks by gRPC: `grpc.health.v1.Health/Check`, answered SERVING.

use std::error::Error;
use std::io;

use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tonic::Status;
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::ProbeFailure;
use super::USER_AGENT_NAME;
use tradewind_engine::topology::Address;

/// Bytes of an answer that are taken, at most; a good one has two.
const MAX_ANSWER_BYTES: usize = 4 * 1024;

/// Bytes of an answer's headers that are taken, at most.
const MAX_HEADERS_BYTES: u32 = 16 * 1024;

/// Asks for a service (empty: the whole server) over a connection that was just opened.
pub(super) async fn ask(
    stream: TcpStream,
    address: &Address,
    service: &str,
) -> Result<(), ProbeFailure> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))
        .and_then(|endpoint| endpoint.user_agent(USER_AGENT_NAME))
        .map_err(|_| ProbeFailure::Protocol)?
        .http2_max_header_list_size(MAX_HEADERS_BYTES);
    // Given out once: if it breaks, that is the answer, and no second connection is wanted.
    let mut stream = Some(stream);
    let connector = tower::service_fn(move |_| {
        let stream = stream.take().map(TokioIo::new);
        std::future::ready(stream.ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected)))
    });
    let channel = endpoint.connect_with_connector(connector).await;
    let channel = channel.map_err(|_| ProbeFailure::Protocol)?;
    let asked = HealthCheckRequest {
        service: service.to_owned(),
    };
    let answer = HealthClient::new(channel)
        .max_decoding_message_size(MAX_ANSWER_BYTES)
        .check(asked)
        .await
        .map_err(|status| failure(&status))?;
    match answer.into_inner().status() {
        ServingStatus::Serving => Ok(()),
        _ => Err(ProbeFailure::Status),
    }
}

/// Whether the peer said this itself (such as `NOT_FOUND` for a service it does not know), or tonic did for want of
/// an answer: then it names a cause.
fn failure(status: &Status) -> ProbeFailure {
    if status.source().is_some() {
        ProbeFailure::Protocol
    } else {
        ProbeFailure::Status
    }
}
