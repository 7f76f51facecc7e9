//! A request as Envoy shows it, read as a question of our own.

use tonic::metadata::MetadataMap;

use super::proto::envoy::config::core::v3::{Address, HeaderValue, address, socket_address};
use crate::engine::request::address::client_address;
use crate::engine::request::{Reading, text_of};
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
            let value = value_of(header.value, header.raw_value);
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

    /// The question it comes to, for a policy that reads requests so.
    pub(super) fn question(self, wishes: &Wishes, reading: &Reading) -> DecideRequest {
        let ip = self.client(wishes);
        let mut request_id = self.id;
        if request_id.len() > MAX_REQUEST_ID_BYTES {
            request_id.clear();
        }
        let headers = self.headers.into_iter();
        let headers = headers
            .filter(|(name, _)| reading.looks_at(name))
            .map(|(name, value)| Header { name, value });
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

    /// The client's address, or nothing where it is not known.
    ///
    /// Of several lines of the header the last counts, as of a list the last element: both are what the proxy itself has
    /// added. Without the header the client is the peer. What is in it and no address is a client nobody knows: the peer
    /// is then a proxy, and its place another one.
    fn client(&self, wishes: &Wishes) -> String {
        let given = wishes.client_header.as_ref().and_then(|name| {
            let mut lines = self.headers.iter().rev();
            lines.find(|(known, _)| known == name)
        });
        let given = given.map_or(self.peer.as_str(), |(_, value)| value);
        let known = client_address(given).ok().flatten();
        known.map_or_else(String::new, |ip| ip.to_string())
    }
}

/// A value as text, wherever it stands.
fn value_of(value: String, raw: Vec<u8>) -> String {
    if raw.is_empty() {
        return value;
    }
    String::from_utf8(raw).unwrap_or_else(|error| text_of(error.as_bytes()).into_owned())
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
    fn the_client_is_who_the_proxy_says() {
        let wishes = Wishes {
            pool: String::new(),
            client_header: Some("x-forwarded-for".to_owned()),
            candidates: 0,
            metadata: true,
        };
        let client = |lines: &[&str]| {
            let headers = lines
                .iter()
                .map(|line| ("x-forwarded-for".to_owned(), (*line).to_owned()));
            let shown = Shown {
                peer: "192.0.2.1:443".to_owned(),
                headers: headers.collect(),
                ..Shown::default()
            };
            shown.client(&wishes)
        };
        assert_eq!(client(&[]), "192.0.2.1");
        assert_eq!(client(&["6.6.6.6, 203.0.113.9"]), "203.0.113.9");
        assert_eq!(client(&["6.6.6.6", "203.0.113.9"]), "203.0.113.9");
        assert_eq!(client(&["[2001:db8::1]:80"]), "2001:db8::1");
        assert_eq!(client(&["6.6.6.6, unknown"]), "");
        assert_eq!(client(&["rubbish"]), "");
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
