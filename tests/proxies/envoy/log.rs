//! What Envoy logs of attempts, as it comes to the sidecar.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, Streaming};
use tradewind::sidecar::clock;
use tradewind::sidecar::doors::envoy::proto::envoy as api;
use tradewind_demo::nodes::Behaviour;

use super::traffic;
use super::{Envoy, TELL_THE_LIST};
use crate::rig::Setup;

use api::data::accesslog::v3::HttpAccessLogEntry;
use api::service::accesslog::v3::access_log_service_server::{
    AccessLogService, AccessLogServiceServer,
};
use api::service::accesslog::v3::stream_access_logs_message::LogEntries;
use api::service::accesslog::v3::{StreamAccessLogsMessage, StreamAccessLogsResponse};

/// Keeps the entries of the log `attempts`.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<HttpAccessLogEntry>>>);

#[tonic::async_trait]
impl AccessLogService for Kept {
    async fn stream_access_logs(
        &self,
        request: Request<Streaming<StreamAccessLogsMessage>>,
    ) -> Result<Response<StreamAccessLogsResponse>, Status> {
        let mut messages = request.into_inner();
        let mut name = String::new();
        while let Some(message) = messages.message().await? {
            if let Some(identifier) = message.identifier {
                name = identifier.log_name;
            }
            if let (Some(LogEntries::HttpLogs(logs)), "attempts") = (message.log_entries, &*name) {
                self.0.lock().unwrap().extend(logs.log_entry);
            }
        }
        Ok(Response::new(StreamAccessLogsResponse {}))
    }
}

/// A server for logs; it ends when this is dropped.
struct Log {
    kept: Kept,
    address: SocketAddr,
    end: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Log {
    fn start() -> Self {
        let kept = Kept::default();
        let service = AccessLogServiceServer::new(kept.clone());
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let (end, ended) = oneshot::channel::<()>();
        let thread = thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                let serve = Server::builder()
                    .add_service(service)
                    .serve_with_incoming(TcpIncoming::from(listener));
                tokio::select! {
                    served = serve => served.unwrap(),
                    _ = ended => {}
                }
            });
        });
        Self {
            kept,
            address,
            end: Some(end),
            thread: Some(thread),
        }
    }

    /// What was logged so far.
    fn entries(&self) -> Vec<HttpAccessLogEntry> {
        self.kept.0.lock().unwrap().clone()
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        drop(self.end.take());
        drop(self.thread.take().map(thread::JoinHandle::join));
    }
}

/// Has Envoy log to somebody else than the sidecar.
fn logging_to(log: &Log) -> String {
    format!(
        "    typed_extension_protocol_options: *http2
    load_assignment:
      cluster_name: tradewind_telemetry
      endpoints:
      - lb_endpoints:
        - endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {} }} }} }}\n",
        log.address.port()
    )
}

#[test]
fn envoys_log_says_what_attempts_are_known_by() {
    let test = "envoys_log_says_what_attempts_are_known_by";
    let log = Log::start();
    let to_us = logging_to(&log);
    let to_the_sidecar =
        "    typed_extension_protocol_options: *http2\n    load_assignment: *sidecar\n";
    let edits = [TELL_THE_LIST, (to_the_sidecar, &to_us)];
    let Some(mut envoy) = Envoy::start_with(test, "envoy.yaml", &edits, Setup::default()) else {
        return;
    };
    let wanted = &traffic::made_up(1)[0];
    let order = traffic::visit(&envoy, &mut envoy.connect(), wanted).listed;
    envoy.rig.behave(&order[0], Behaviour::Hang);
    let began = clock::now();
    let seen = traffic::visit(&envoy, &mut envoy.connect(), wanted);
    // The next node is asked after a second, and answers for the one that hangs.
    assert!(began.elapsed() < Duration::from_millis(1_500));
    assert_eq!((seen.status, &seen.node), (200, &order[1]));
    envoy
        .process
        .until("three attempts are logged", || log.entries().len() >= 3);
    for entry in log.entries() {
        let (common, request) = (entry.common_properties.unwrap(), entry.request.unwrap());
        let headers = request.request_headers;
        assert!(headers["x-decision-id"].len() >= 16, "{headers:?}");
        assert_eq!(headers["x-gateway-destination-endpoint"], order.join(","));
        assert_eq!(headers["x-envoy-external-address"], wanted.client);
        assert!(common.downstream_direct_remote_address.is_some());
        // On one machine it is less than a millisecond.
        assert_eq!(common.custom_tags["client_round_trip_ms"], "0");
    }
    let hung = log.entries().into_iter().filter(|entry| {
        let common = entry.common_properties.as_ref().unwrap();
        let flags = common.response_flags.unwrap_or_default();
        flags.upstream_request_timeout && common.time_to_last_upstream_rx_byte.is_none()
    });
    assert_eq!(hung.count(), 1, "{:?}", log.entries());
}
