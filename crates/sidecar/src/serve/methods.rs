//! The table of methods: each path that a door serves, the role that its callers need, and how its calls live.
//!
//! What is not in it is answered as unknown by the services themselves. That everything that is served is in it is held by a
//! test against the descriptors of all services and the routes of the pages.

use crate::identity::Role;
use crate::listen::entrance::Method;

/// How a method's calls live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A question and its answer.
    Unary,
    /// The same, by a service that wants to know who asks.
    UnaryNamed,
    /// As long as their streams.
    Stream,
    /// The same, by a service that wants to know who calls.
    StreamNamed,
    /// A question, and answers as long as their stream.
    Watch,
    /// The same, by a service that wants to know who asks.
    WatchNamed,
}

const fn method(needs: Option<Role>, kind: Kind) -> Method {
    Method {
        needs,
        is_streaming: !matches!(kind, Kind::Unary | Kind::UnaryNamed),
        asks_once: matches!(kind, Kind::Watch | Kind::WatchNamed),
        names_caller: matches!(
            kind,
            Kind::UnaryNamed | Kind::StreamNamed | Kind::WatchNamed
        ),
    }
}

/// A row: a path, who may call it, and how its calls live. A path that ends in `*` is of all that begin so.
pub type Row = (&'static str, Method);

/// Makes a table and its look-up, in which rows are compared in their order: what is called most comes first.
macro_rules! table {
    ($(#[$doc:meta])* $rows:ident, $find:ident: $($path:literal $needs:expr, $kind:ident;)*) => {
        $(#[$doc])*
        pub const $rows: &[Row] = &[$(($path, method($needs, Kind::$kind))),*];

        /// What holds for a path of that door.
        pub fn $find(path: &str) -> Method {
            match path {
                $($path => const { method($needs, Kind::$kind) },)*
                _ => beginning($rows, path),
            }
        }
    };
}

/// What holds for a path by how it begins.
fn beginning(rows: &[Row], path: &str) -> Method {
    let begins = |row: &&Row| {
        row.0
            .strip_suffix('*')
            .is_some_and(|root| path.starts_with(root))
    };
    rows.iter().find(begins).map_or(Method::OPEN, |row| row.1)
}

const ASK: Option<Role> = Some(Role::Ask);
const TELL: Option<Role> = Some(Role::Tell);
const OBSERVE: Option<Role> = Some(Role::Observe);
const OPERATE: Option<Role> = Some(Role::Operate);
const PUBLISH: Option<Role> = Some(Role::Publish);
const ANYBODY: Option<Role> = None;

table! {
    /// gRPC for proxies.
    GRPC, grpc:
    "/tradewind.v1.DecisionService/Decide" ASK, Unary;
    "/envoy.service.auth.v3.Authorization/Check" ASK, Unary;
    "/tradewind.v1.DecisionService/DecideBatch" ASK, Unary;
    "/tradewind.v1.DecisionService/DecideStream" ASK, Stream;
    "/tradewind.v1.FeedbackService/Report" TELL, StreamNamed;
    "/tradewind.v1.FeedbackService/ReportUnary" TELL, UnaryNamed;
    "/tradewind.v1.TelemetryService/ReportLoad" TELL, StreamNamed;
    "/tradewind.v1.TelemetryService/ReportHistograms" TELL, UnaryNamed;
    // It tells how each request went besides, and that moves breakers.
    "/envoy.service.ext_proc.v3.ExternalProcessor/Process" TELL, StreamNamed;
    "/envoy.service.accesslog.v3.AccessLogService/StreamAccessLogs" TELL, StreamNamed;
    "/envoy.service.load_stats.v3.LoadReportingService/StreamLoadStats" TELL, StreamNamed;
    "/envoy.service.endpoint.v3.EndpointDiscoveryService/StreamEndpoints" ASK, Stream;
    "/envoy.service.endpoint.v3.EndpointDiscoveryService/DeltaEndpoints" ASK, Stream;
    "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources" ASK, Stream;
    "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources" ASK, Stream;
    // The texts, the state of the fleet, and a key that makes receipts.
    "/tradewind.v1.DecisionService/Follow" TELL, WatchNamed;
    // Fifty times as dear as a decision, and it shows what the fleet looks like.
    "/tradewind.v1.DecisionService/Explain" OBSERVE, UnaryNamed;
    "/grpc.health.v1.Health/Check" ANYBODY, Unary;
    // A stream keeps its connection busy for as long as it lives, so nobody without a role may hold one.
    "/grpc.health.v1.Health/Watch" ASK, WatchNamed;
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo" ASK, Stream;
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo" ASK, Stream;
}

table! {
    /// gRPC for operators.
    ADMIN, admin:
    "/tradewind.v1.TopologyService/Get" OBSERVE, Unary;
    "/tradewind.v1.TopologyService/Watch" OBSERVE, Watch;
    "/tradewind.v1.TopologyService/SetAdminState" OPERATE, UnaryNamed;
    "/tradewind.v1.TopologyService/Apply" PUBLISH, UnaryNamed;
    "/tradewind.v1.PolicyService/Get" OBSERVE, Unary;
    "/tradewind.v1.PolicyService/ListRevisions" OBSERVE, Unary;
    "/tradewind.v1.PolicyService/WatchStatus" OBSERVE, Watch;
    "/tradewind.v1.PolicyService/Validate" OBSERVE, Unary;
    "/tradewind.v1.PolicyService/Test" OBSERVE, Unary;
    "/tradewind.v1.PolicyService/Plan" OBSERVE, Unary;
    // Only to what was in force before: whoever is called at night needs no more.
    "/tradewind.v1.PolicyService/Rollback" OPERATE, UnaryNamed;
    "/tradewind.v1.PolicyService/Apply" PUBLISH, UnaryNamed;
    "/tradewind.v1.RolloutService/Watch" OBSERVE, Watch;
    "/tradewind.v1.RolloutService/Order" OPERATE, UnaryNamed;
    "/tradewind.v1.RolloutService/Start" PUBLISH, UnaryNamed;
    "/tradewind.v1.PurgeService/Submit" OPERATE, UnaryNamed;
    "/tradewind.v1.PurgeService/Watch" OBSERVE, Watch;
    "/tradewind.v1.PurgeService/Status" OBSERVE, Unary;
    // A node says what it has done itself.
    "/tradewind.v1.PurgeService/Ack" TELL, Unary;
    "/tradewind.v1.FleetService/Roll" OBSERVE, Unary;
    "/tradewind.v1.AdminService/ResetBreaker" OPERATE, UnaryNamed;
    "/tradewind.v1.AdminService/SetLogFilter" OPERATE, UnaryNamed;
    "/tradewind.v1.AdminService/GetLogFilter" OBSERVE, Unary;
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo" OBSERVE, Stream;
}

table! {
    /// Plain HTTP for proxies.
    HTTP, http:
    "/v1/route" ASK, Unary;
    "/v1/outcomes" TELL, UnaryNamed;
}

table! {
    /// Pages and metrics. What shows nothing of the fleet is open: whether the process lives and is ready, and the console's own
    /// files, which ask for the rest.
    DEBUG, debug:
    "/livez" ANYBODY, Unary;
    "/readyz" ANYBODY, UnaryNamed;
    "/metrics" OBSERVE, Unary;
    "/" ANYBODY, Unary;
    "/map" ANYBODY, Unary;
    "/explain" ANYBODY, Unary;
    "/policy" ANYBODY, Unary;
    "/live" ANYBODY, Unary;
    "/states" ANYBODY, Unary;
    "/console/*" ANYBODY, Unary;
    "/v1/purge" OPERATE, UnaryNamed;
    "/debug/actions/*" OPERATE, UnaryNamed;
    "/debug/sidecar" OBSERVE, UnaryNamed;
    "/debug/stream" OBSERVE, Stream;
    "/debug/*" OBSERVE, Unary;
    "/debug" OBSERVE, Unary;
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use prost_types::FileDescriptorSet;

    use super::*;
    use crate::wire;

    /// A path, and whether it streams, and only its answers.
    type Served = (String, (bool, bool));

    /// Each method of each service that has a descriptor here.
    fn served() -> Vec<Served> {
        let sets = [
            wire::DESCRIPTORS,
            tonic_health::pb::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
        ];
        let files = sets
            .into_iter()
            .flat_map(|set| FileDescriptorSet::decode(set).unwrap().file);
        files
            .flat_map(|file| {
                let package = file.package().to_owned();
                file.service.into_iter().flat_map(move |service| {
                    let root = format!("/{package}.{}", service.name());
                    service.method.into_iter().map(move |method| {
                        let (asks, answers) =
                            (method.client_streaming(), method.server_streaming());
                        let streams = (asks || answers, answers && !asks);
                        (format!("{root}/{}", method.name()), streams)
                    })
                })
            })
            .collect()
    }

    #[test]
    fn every_method_of_every_service_is_in_the_table() {
        let served = served();
        assert!(served.len() > 35, "{}", served.len());
        for (path, streams) in &served {
            let rows: Vec<&Row> = GRPC
                .iter()
                .chain(ADMIN)
                .filter(|row| row.0 == path)
                .collect();
            assert!(!rows.is_empty(), "{path} has no row: who may call it?");
            assert!(
                rows.iter()
                    .all(|row| (row.1.is_streaming, row.1.asks_once) == *streams),
                "{path}"
            );
        }
        for (path, _method) in GRPC.iter().chain(ADMIN) {
            assert!(
                served.iter().any(|(served, _)| served == path),
                "{path} is of no service"
            );
        }
    }

    #[test]
    fn every_route_of_the_pages_is_in_the_table() {
        let sources = [
            include_str!("../observe/debug/mod.rs"),
            include_str!("../observe/debug/assets.rs"),
        ];
        let routes: Vec<&str> = sources
            .iter()
            .flat_map(|text| text.split(".route(\"").skip(1))
            .filter_map(|rest| rest.split('"').next())
            .collect();
        assert!(routes.len() > 25, "{routes:?}");
        for route in routes {
            let path = route.replace(['{', '}', '*'], "");
            let is_known = DEBUG.iter().any(|(row, _)| match row.strip_suffix('*') {
                Some(root) => path.starts_with(root),
                None => path == *row,
            });
            assert!(is_known, "{route} has no row: who may see it?");
        }
    }

    #[test]
    fn what_is_asked_most_is_found_as_it_stands_in_the_table() {
        for (rows, find) in [
            (GRPC, grpc as fn(&str) -> Method),
            (ADMIN, admin),
            (HTTP, http),
            (DEBUG, debug),
        ] {
            for (path, method) in rows {
                assert_eq!(find(&path.replace('*', "x")), *method, "{path}");
            }
            assert_eq!(find("/elsewhere"), Method::OPEN);
        }
        assert_eq!(debug("/debug/actions/drain").needs, OPERATE);
        assert_eq!(debug("/debug/nodes").needs, OBSERVE);
        assert_eq!(debug("/debugger").needs, ANYBODY);
    }
}
