//! A request as Envoy shows it, read as a question of our own.

use std::net::IpAddr;

use tonic::metadata::MetadataMap;

use super::proto::envoy::config::core::v3::{Address, HeaderValue, address, socket_address};
use crate::engine::policy::Policy;
use crate::sidecar::wire::proto::{Client, DecideRequest, Header};

/// The header of Envoy's calls that names a pool to use instead of matching rules.
const POOL: &str = "x-tradewind-pool";

/// The header of Envoy's calls that says which header of a request holds the client's address. Without it the client is
/// whoever is at the other end of the connection: a header that anybody can set is believed only when told to.
const CLIENT_HEADER: &str = "x-tradewind-client-header";

/// The header of Envoy's calls that says how many nodes to name.
const CANDIDATES: &str = "x-tradewind-candidates";

/// The header of Envoy's calls that, set to `off`, leaves the nodes out of the dynamic metadata. Reading it costs Envoy and us
/// a tenth of what asking costs (`benches/envoy.rs`); load balancing by the header does not need it.
const METADATA: &str = "x-tradewind-metadata";

/// The most of a request's own id that is used, in bytes.
const MAX_REQUEST_ID_BYTES: usize = 128;

/// What Envoy's own configuration asks for, with every call (`initial_metadata` of its `grpc_service`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wishes {
    pool: String,
    client_header: Option<String>,
    candidates: u32,
    /// Whether the nodes are wanted as metadata too.
    pub(super) metadata: bool,
}

impl Wishes {
    /// What a call's headers ask for. A number that can not be read is refused with the others that are out of range.
    pub(super) fn of(call: &MetadataMap) -> Self {
        let text = |name| call.get(name).and_then(|value| value.to_str().ok());
        Self {
            pool: text(POOL).unwrap_or_default().to_owned(),
            client_header: text(CLIENT_HEADER).map(str::to_ascii_lowercase),
            candidates: text(CANDIDATES).map_or(0, |number| number.parse().unwrap_or(u32::MAX)),
            metadata: text(METADATA) != Some("off"),
        }
    }
}

/// A request as either service shows it.
#[derive(Debug, Default)]
pub(super) struct Shown {
    pub(super) host: String,
    /// With the query.
    pub(super) path: String,
    pub(super) method: String,
    /// Names in lower case.
    pub(super) headers: Vec<(String, String)>,
    /// Who is at the other end of the connection; empty when not known.
    pub(super) peer: String,
    /// Tells requests apart.
    pub(super) id: String,
}

impl Shown {
    /// The headers of `ext_proc`, and of `ext_authz` where it sends them raw.
    pub(super) fn of_headers(headers: Vec<HeaderValue>) -> Self {
        let mut shown = Self::default();
        for header in headers {
            let value = text_of(header.value, header.raw_value);
            match header.key.as_str() {
                ":authority" => shown.host = value,
                ":path" => shown.path = value,
                ":method" => shown.method = value,
                "x-request-id" => shown.id = value,
                key if key.starts_with(':') => {}
                _ => shown.headers.push((header.key, value)),
            }
        }
        shown
    }

    /// The question it comes to, for a policy that looks at some headers only.
    pub(super) fn question(self, wishes: &Wishes, policy: &Policy) -> DecideRequest {
        let ip = wishes.client_header.as_ref().map_or_else(
            || self.peer.clone(),
            |name| {
                client_in(self.header(name)).map_or_else(|| self.peer.clone(), |ip| ip.to_string())
            },
        );
        let mut request_id = self.id;
        if request_id.len() > MAX_REQUEST_ID_BYTES {
            request_id.clear();
        }
        let headers = self.headers.into_iter().filter_map(|(name, value)| {
            let read = policy.header_names();
            let is_read = read.binary_search_by(|known| (**known).cmp(&name)).is_ok();
            is_read.then_some(Header { name, value })
        });
        DecideRequest {
            pool: wishes.pool.clone(),
            headers: headers.collect(),
            host: self.host,
            path: self.path,
            method: self.method,
            request_id,
            candidates: wishes.candidates,
            client: Some(Client {
                ip,
                ..Client::default()
            }),
            ..DecideRequest::default()
        }
    }

    fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// A value as text. What is not UTF-8 stays comparable, if not pretty.
fn text_of(value: String, raw: Vec<u8>) -> String {
    if raw.is_empty() {
        return value;
    }
    String::from_utf8(raw)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// The client's address in a header: the last of a list, which is the one that the proxy itself has added or left there.
fn client_in(value: Option<&str>) -> Option<IpAddr> {
    let last = value?.rsplit(',').next()?.trim();
    last.parse().ok().or_else(|| {
        // With a port, as some proxies write it.
        last.parse::<std::net::SocketAddr>()
            .ok()
            .map(|socket| socket.ip())
    })
}

/// The IP address in one of Envoy's addresses.
pub(super) fn ip_of(address: Option<Address>) -> String {
    match address.and_then(|address| address.address) {
        Some(address::Address::SocketAddress(socket)) => socket.address,
        None => String::new(),
    }
}

/// The socket in one of Envoy's addresses.
pub(super) fn socket_of(address: Option<&Address>) -> Option<std::net::SocketAddr> {
    let address::Address::SocketAddress(socket) = address?.address.as_ref()?;
    let socket_address::PortSpecifier::PortValue(port) = socket.port_specifier.as_ref()?;
    let port = u16::try_from(*port).ok()?;
    Some(std::net::SocketAddr::new(
        socket.address.parse().ok()?,
        port,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_is_the_last_of_a_list() {
        let ip = |text: &str| client_in(Some(text)).map(|ip| ip.to_string());
        assert_eq!(ip("203.0.113.9").as_deref(), Some("203.0.113.9"));
        assert_eq!(ip("6.6.6.6, 203.0.113.9").as_deref(), Some("203.0.113.9"));
        assert_eq!(ip("203.0.113.9:4711").as_deref(), Some("203.0.113.9"));
        assert_eq!(ip("[2001:db8::1]:80").as_deref(), Some("2001:db8::1"));
        assert_eq!(ip("unknown"), None);
    }

    #[test]
    fn pseudo_headers_are_parts_of_the_question() {
        let header = |key: &str, value: &str| HeaderValue {
            key: key.into(),
            value: String::new(),
            raw_value: value.into(),
        };
        let shown = Shown::of_headers(vec![
            header(":authority", "a.example"),
            header(":path", "/x?y=1"),
            header(":method", "HEAD"),
            header(":scheme", "https"),
            header("accept", "*/*"),
        ]);
        assert_eq!(
            (shown.host.as_str(), shown.path.as_str()),
            ("a.example", "/x?y=1")
        );
        assert_eq!(shown.method, "HEAD");
        assert_eq!(shown.headers, [("accept".to_owned(), "*/*".to_owned())]);
    }
}
