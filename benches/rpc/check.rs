//! Requests as Envoy's `ext_authz` shows them.

use bytes::Bytes;
use prost::Message as _;
use tradewind::sidecar::doors::envoy::proto::envoy::config::core::v3::{
    Address, SocketAddress, address, socket_address,
};
use tradewind::sidecar::doors::envoy::proto::envoy::service::auth::v3::attribute_context::{
    HttpRequest, Peer, Request,
};
use tradewind::sidecar::doors::envoy::proto::envoy::service::auth::v3::{
    AttributeContext, CheckRequest,
};
use tradewind::sidecar::wire::proto::DecideRequest;

/// The path of the method.
pub(crate) const PATH: &str = "/envoy.service.auth.v3.Authorization/Check";

/// What a browser sends and Envoy adds.
const HEADERS: [(&str, &str); 12] = [
    (
        "accept",
        "text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8",
    ),
    ("accept-encoding", "gzip, deflate, br"),
    ("accept-language", "en-US,en;q=0.5"),
    ("cache-control", "no-cache"),
    (
        "cookie",
        "session=0123456789abcdef0123456789abcdef; theme=dark",
    ),
    ("referer", "https://www.example.com/watch"),
    ("sec-fetch-dest", "empty"),
    ("sec-fetch-mode", "cors"),
    ("sec-fetch-site", "same-site"),
    (
        "user-agent",
        "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    ),
    ("x-forwarded-proto", "https"),
    ("x-envoy-internal", "true"),
];

/// The same question, asked by Envoy.
pub(crate) fn of(asked: &DecideRequest) -> Bytes {
    let client = asked.client.as_ref().map(|client| client.ip.clone());
    let socket = SocketAddress {
        address: client.unwrap_or_default(),
        port_specifier: Some(socket_address::PortSpecifier::PortValue(51_234)),
    };
    let own = [
        (":authority", &*asked.host),
        (":method", &*asked.method),
        (":path", &*asked.path),
        (":scheme", "https"),
        ("x-request-id", &*asked.request_id),
    ];
    let headers = HEADERS.into_iter().chain(own);
    let http = HttpRequest {
        id: asked.request_id.clone(),
        method: asked.method.clone(),
        headers: headers
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
        header_map: None,
        path: asked.path.clone(),
        host: asked.host.clone(),
    };
    let address = Address {
        address: Some(address::Address::SocketAddress(socket)),
    };
    let message = CheckRequest {
        attributes: Some(AttributeContext {
            source: Some(Peer {
                address: Some(address),
            }),
            request: Some(Request { http: Some(http) }),
            ..AttributeContext::default()
        }),
    };
    message.encode_to_vec().into()
}
