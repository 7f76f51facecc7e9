//! Envoy's configuration for the bench: a listener for each contender, all before the same nodes.

use std::fmt::Write as _;
use std::net::SocketAddr;

/// Who is asked with each request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// Envoy chooses by itself.
    Nobody,
    /// A server that says yes, by `ext_authz`.
    AuthzNothing,
    /// A server that gives the same list to all.
    AuthzList,
    /// Tradewind, as in the example.
    Authz,
    /// Tradewind, with the list as metadata too.
    AuthzAndMetadata,
    /// Tradewind, and it is told of each attempt and request.
    AuthzAndLogs,
    /// Nobody: Tradewind's module decides inside Envoy, and tells the sidecar of each attempt.
    Module,
    /// A server that says yes, by `ext_proc`.
    ProcNothing,
    /// A server that gives the same list to all.
    ProcList,
    /// Tradewind.
    Proc,
}

/// A way through Envoy.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    pub(crate) asked: Asked,
}

pub(crate) const CONTENDERS: [Contender; 10] = [
    Contender {
        name: "nobody is asked",
        asked: Asked::Nobody,
    },
    Contender {
        name: "ext_authz, says yes",
        asked: Asked::AuthzNothing,
    },
    Contender {
        name: "ext_authz, the same list to all",
        asked: Asked::AuthzList,
    },
    Contender {
        name: "ext_authz, Tradewind",
        asked: Asked::Authz,
    },
    Contender {
        name: "ext_authz, Tradewind, + metadata",
        asked: Asked::AuthzAndMetadata,
    },
    Contender {
        name: "ext_authz, Tradewind, + logs",
        asked: Asked::AuthzAndLogs,
    },
    Contender {
        name: "module, Tradewind, + logs",
        asked: Asked::Module,
    },
    Contender {
        name: "ext_proc, says yes",
        asked: Asked::ProcNothing,
    },
    Contender {
        name: "ext_proc, the same list to all",
        asked: Asked::ProcList,
    },
    Contender {
        name: "ext_proc, Tradewind",
        asked: Asked::Proc,
    },
];

impl Asked {
    pub(crate) fn is_tradewind(self) -> bool {
        matches!(
            self,
            Self::Authz | Self::AuthzAndMetadata | Self::AuthzAndLogs | Self::Module | Self::Proc
        )
    }

    /// The filter, and the word by which the stub knows what to answer.
    fn filter(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Nobody | Self::Module => None,
            Self::AuthzNothing => Some(("ext_authz", "yes")),
            Self::AuthzList => Some(("ext_authz", "list")),
            Self::Authz | Self::AuthzAndMetadata | Self::AuthzAndLogs => Some(("ext_authz", "")),
            Self::ProcNothing => Some(("ext_proc", "yes")),
            Self::ProcList => Some(("ext_proc", "list")),
            Self::Proc => Some(("ext_proc", "")),
        }
    }
}

/// Where everybody is.
#[derive(Debug)]
pub(crate) struct Places {
    pub(crate) listeners: Vec<SocketAddr>,
    pub(crate) nodes: Vec<SocketAddr>,
    pub(crate) stub: SocketAddr,
    pub(crate) sidecar: SocketAddr,
}

const EXTENSIONS: &str = "type.googleapis.com/envoy.extensions";

fn socket(at: SocketAddr) -> String {
    format!(
        "{{ socket_address: {{ address: {}, port_value: {} }} }}",
        at.ip(),
        at.port()
    )
}

/// The module, and what it is told of its sidecar.
fn module(sidecar: SocketAddr, (kind, name): (&str, &str), rest: &str) -> String {
    format!(
        "dynamic_module_config: {{ name: tradewind_envoy, do_not_close: true }}, {kind}_name: {name}, \
         {kind}_config: {{ \"@type\": type.googleapis.com/google.protobuf.Struct, value: {{ sidecar: \"{sidecar}\"{rest} }} }}"
    )
}

fn filter(asked: Asked, sidecar: SocketAddr) -> String {
    if asked == Asked::Module {
        let client = ", client_header: x-envoy-external-address";
        let rest = module(sidecar, ("filter", "route"), client);
        return format!(
            "          - {{ name: decide, typed_config: {{ \"@type\": {EXTENSIONS}.filters.http.dynamic_modules.v3.DynamicModuleFilter, {rest} }} }}\n"
        );
    }
    let Some((filter, answer)) = asked.filter() else {
        return String::new();
    };
    let cluster = if asked.is_tradewind() {
        "sidecar"
    } else {
        "stub"
    };
    let has_metadata = matches!(asked, Asked::AuthzAndMetadata | Asked::Proc);
    let metadata = [
        ("x-tradewind-client-header", "x-envoy-external-address"),
        (
            "x-tradewind-metadata",
            if has_metadata { "on" } else { "off" },
        ),
        ("x-answer", answer),
    ];
    let metadata = metadata.map(|(key, value)| format!("{{ key: {key}, value: \"{value}\" }}"));
    let metadata = format!("initial_metadata: [{}]", metadata.join(", "));
    let service = format!(
        "grpc_service: {{ envoy_grpc: {{ cluster_name: {cluster} }}, timeout: 1s, {metadata} }}"
    );
    let rest = if filter == "ext_authz" {
        format!(
            "\"@type\": {EXTENSIONS}.filters.http.ext_authz.v3.ExtAuthz, transport_api_version: V3, {service}"
        )
    } else {
        format!(
            "\"@type\": {EXTENSIONS}.filters.http.ext_proc.v3.ExternalProcessor, message_timeout: 1s, {service}, \
             processing_mode: {{ request_header_mode: SEND, response_header_mode: SKIP, request_trailer_mode: SKIP, response_trailer_mode: SKIP }}"
        )
    };
    format!("          - {{ name: ask, typed_config: {{ {rest} }} }}\n")
}

fn log(name: &str) -> String {
    format!(
        "[{{ name: {name}, typed_config: {{ \"@type\": {EXTENSIONS}.access_loggers.grpc.v3.HttpGrpcAccessLogConfig, \
         common_config: {{ log_name: {name}, transport_api_version: V3, buffer_flush_interval: 0.2s, \
         grpc_service: {{ envoy_grpc: {{ cluster_name: sidecar }} }} }}, \
         additional_request_headers_to_log: [x-decision-id], additional_response_headers_to_log: [x-cache] }} }}]"
    )
}

fn listener(contender: &Contender, at: SocketAddr, sidecar: SocketAddr) -> String {
    let name = contender.name;
    let (requests, attempts) = match contender.asked {
        Asked::AuthzAndLogs => (
            format!("          access_log: {}\n", log("requests")),
            format!(", upstream_log: {}", log("attempts")),
        ),
        Asked::Module => {
            let rest = module(sidecar, ("logger", "attempts"), "");
            let logger = format!(
                ", upstream_log: [{{ name: attempts, typed_config: {{ \"@type\": {EXTENSIONS}.access_loggers.dynamic_modules.v3.DynamicModuleAccessLog, {rest} }} }}]"
            );
            (String::new(), logger)
        }
        _ => (String::new(), String::new()),
    };
    format!(
        "  - name: \"{name}\"
    address: {}
    filter_chains:
    - filters:
      - name: http
        typed_config:
          \"@type\": {EXTENSIONS}.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: bench
          use_remote_address: true
          xff_num_trusted_hops: 1
{requests}          route_config: {{ virtual_hosts: [{{ name: all, domains: [\"*\"], routes: [{{ match: {{ prefix: / }}, route: {{ cluster: nodes }} }}] }}] }}
          http_filters:
{}          - {{ name: router, typed_config: {{ \"@type\": {EXTENSIONS}.filters.http.router.v3.Router{attempts} }} }}
",
        socket(at),
        filter(contender.asked, sidecar)
    )
}

fn cluster(name: &str, at: SocketAddr) -> String {
    format!(
        "  - name: {name}
    type: STATIC
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        \"@type\": {EXTENSIONS}.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {{ http2_protocol_options: {{}} }}
    load_assignment: {{ cluster_name: {name}, endpoints: [{{ lb_endpoints: [{{ endpoint: {{ address: {} }} }}] }}] }}
",
        socket(at)
    )
}

/// The whole configuration.
pub(crate) fn envoy(places: &Places) -> String {
    let mut text = "static_resources:\n  listeners:\n".to_owned();
    for (contender, at) in CONTENDERS.iter().zip(&places.listeners) {
        text.push_str(&listener(contender, *at, places.sidecar));
    }
    text.push_str("  clusters:\n");
    text.push_str(&cluster("stub", places.stub));
    text.push_str(&cluster("sidecar", places.sidecar));
    let nodes = places.nodes.iter();
    let nodes: Vec<String> = nodes
        .map(|at| format!("{{ endpoint: {{ address: {} }} }}", socket(*at)))
        .collect();
    write!(
        text,
        "  - name: nodes
    type: STATIC
    load_balancing_policy:
      policies:
      - typed_extension_config:
          name: override_host
          typed_config:
            \"@type\": {EXTENSIONS}.load_balancing_policies.override_host.v3.OverrideHost
            override_host_sources: [{{ header: x-gateway-destination-endpoint }}]
            fallback_policy: {{ policies: [{{ typed_extension_config: {{ name: rr, typed_config: {{ \"@type\": {EXTENSIONS}.load_balancing_policies.round_robin.v3.RoundRobin }} }} }}] }}
    load_assignment: {{ cluster_name: nodes, endpoints: [{{ lb_endpoints: [{}] }}] }}
",
        nodes.join(", ")
    )
    .unwrap();
    text
}
