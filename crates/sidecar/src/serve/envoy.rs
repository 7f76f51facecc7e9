//! Envoy's services of one worker, and which call goes to which.

use http::Request;
use hyper::body::Incoming;
use tower::Service;

use super::answering::Answering;
use crate::doors::earned::{Earned, earning};
use crate::doors::envoy::access_log::AccessLogs;
use crate::doors::envoy::authorize::Authorizer;
use crate::doors::envoy::endpoints::Endpoints;
use crate::doors::envoy::load_stats::LoadStats;
use crate::doors::envoy::process::Processor;
use crate::doors::envoy::proto::envoy::service::accesslog::v3::access_log_service_server::AccessLogServiceServer;
use crate::doors::envoy::proto::envoy::service::auth::v3::authorization_server::AuthorizationServer;
use crate::doors::envoy::proto::envoy::service::discovery::v3::aggregated_discovery_service_server::AggregatedDiscoveryServiceServer;
use crate::doors::envoy::proto::envoy::service::endpoint::v3::endpoint_discovery_service_server::EndpointDiscoveryServiceServer;
use crate::doors::envoy::proto::envoy::service::ext_proc::v3::external_processor_server::ExternalProcessorServer;
use crate::doors::envoy::proto::envoy::service::load_stats::v3::load_reporting_service_server::LoadReportingServiceServer;
use crate::doors::envoy::{MAX_ASKED_BYTES, MAX_TOLD_BYTES};
use crate::doors::unary::Shortcut;

/// The names of the services, for health and reflection.
pub(super) const NAMES: [&str; 6] = [
    "envoy.service.auth.v3.Authorization",
    "envoy.service.ext_proc.v3.ExternalProcessor",
    "envoy.service.accesslog.v3.AccessLogService",
    "envoy.service.load_stats.v3.LoadReportingService",
    "envoy.service.endpoint.v3.EndpointDiscoveryService",
    "envoy.service.discovery.v3.AggregatedDiscoveryService",
];

/// Those services of one worker.
pub(super) struct EnvoyServices {
    authorize: Shortcut<Authorizer, AuthorizationServer<Authorizer>>,
    process: ExternalProcessorServer<Processor>,
    access_logs: AccessLogServiceServer<AccessLogs>,
    load_stats: LoadReportingServiceServer<LoadStats>,
    endpoints: EndpointDiscoveryServiceServer<Endpoints>,
    aggregated: AggregatedDiscoveryServiceServer<Endpoints>,
}

impl EnvoyServices {
    pub(super) fn new(
        (authorizer, processor): (Authorizer, Processor),
        (access_logs, load_stats): (AccessLogs, LoadStats),
        endpoints: &Endpoints,
    ) -> Self {
        Self {
            authorize: Shortcut::new(
                authorizer.clone(),
                AuthorizationServer::new(authorizer).max_decoding_message_size(MAX_ASKED_BYTES),
            ),
            process: ExternalProcessorServer::new(processor)
                .max_decoding_message_size(MAX_TOLD_BYTES),
            access_logs: AccessLogServiceServer::new(access_logs)
                .max_decoding_message_size(MAX_TOLD_BYTES),
            load_stats: LoadReportingServiceServer::new(load_stats)
                .max_decoding_message_size(MAX_TOLD_BYTES),
            endpoints: EndpointDiscoveryServiceServer::new(endpoints.clone())
                .max_decoding_message_size(MAX_TOLD_BYTES),
            aggregated: AggregatedDiscoveryServiceServer::new(endpoints.clone())
                .max_decoding_message_size(MAX_TOLD_BYTES),
        }
    }

    /// Answers a call of one of these.
    pub(super) fn call(&self, service: EnvoyService, request: Request<Incoming>) -> Answering {
        Answering::Other(match service {
            EnvoyService::Authorize => {
                return Answering::Check(self.authorize.clone().call(request));
            }
            EnvoyService::Process => self.process.clone().call(told(request)),
            EnvoyService::AccessLogs => self.access_logs.clone().call(told(request)),
            EnvoyService::LoadStats => self.load_stats.clone().call(told(request)),
            EnvoyService::Endpoints => self.endpoints.clone().call(told(request)),
            EnvoyService::Aggregated => self.aggregated.clone().call(told(request)),
        })
    }
}

/// A call of a service that streams.
fn told(request: Request<Incoming>) -> Request<Earned<Incoming>> {
    earning(request, MAX_TOLD_BYTES)
}

/// One of Envoy's services.
#[derive(Debug, Clone, Copy)]
pub(super) enum EnvoyService {
    Authorize,
    Process,
    AccessLogs,
    LoadStats,
    Endpoints,
    Aggregated,
}

impl EnvoyService {
    /// In the order of [`NAMES`].
    const ALL: [Self; NAMES.len()] = [
        Self::Authorize,
        Self::Process,
        Self::AccessLogs,
        Self::LoadStats,
        Self::Endpoints,
        Self::Aggregated,
    ];

    /// Which service a path is of.
    pub(super) fn of(path: &str) -> Option<Self> {
        let (service, _) = path.strip_prefix('/')?.split_once('/')?;
        if !service.starts_with("envoy.") {
            return None;
        }
        let found = NAMES.iter().position(|name| *name == service)?;
        Self::ALL.get(found).copied()
    }
}
