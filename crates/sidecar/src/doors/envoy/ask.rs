//! A request as Envoy shows it, read as a question of our own.

use std::borrow::Cow;

use http::HeaderMap;

use super::proto::envoy::config::core::v3::{Address, HeaderValue, address, socket_address};
use crate::trace::context::TRACEPARENT;
use crate::wire::asker;
use crate::wire::question::{Asker, Question};
use tradewind_engine::request::{Reading, text_of};

/// The header of Envoy's calls that names a pool to use instead of matching rules.
const POOL: &str = "x-tradewind-pool";

/// The header of Envoy's calls that names the node that it stands before, if that asks for its parent.
const CHILD: &str = "x-tradewind-child";

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
    child: String,
    client_header: Option<String>,
    candidates: u32,
    /// Whether the nodes are wanted as metadata too.
    pub(super) metadata: bool,
}

impl Wishes {
    /// What a call's headers ask for. A number that cannot be read is refused with the others that are out of range.
    pub(super) fn of(call: &HeaderMap) -> Self {
        let text = |name| call.get(name).and_then(|value| value.to_str().ok());
        Self {
            pool: text(POOL).unwrap_or_default().to_owned(),
            child: text(CHILD).unwrap_or_default().to_owned(),
            client_header: text(CLIENT_HEADER).map(str::to_ascii_lowercase),
            candidates: text(CANDIDATES).map_or(0, |number| number.parse().unwrap_or(u32::MAX)),
            metadata: text(METADATA) != Some("off"),
        }
    }

    /// Whether the header of this name, in lower case, holds the client's address.
    pub(super) fn names_client_by(&self, name: &str) -> bool {
        self.client_header.as_deref() == Some(name)
    }
}

/// A request as either service shows it, borrowed from the message.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Shown<'m> {
    pub(super) host: Cow<'m, str>,
    /// With the query.
    pub(super) path: Cow<'m, str>,
    pub(super) method: Cow<'m, str>,
    /// Names in lower case.
    pub(super) headers: Vec<(&'m str, Cow<'m, str>)>,
    /// Who is at the other end of the connection; empty when not known.
    pub(super) peer: &'m str,
    /// Tells requests apart.
    pub(super) id: Cow<'m, str>,
}

impl<'m> Shown<'m> {
    /// The headers of `ext_proc`, and of `ext_authz` where it sends them raw.
    pub(super) fn of_headers(headers: &'m [HeaderValue]) -> Self {
        let mut shown = Self::default();
        for header in headers {
            let value = value_of(header);
            match header.key.as_str() {
                ":authority" => shown.host = value,
                ":path" => shown.path = value,
                ":method" => shown.method = value,
                "x-request-id" => shown.id = value,
                key if key.starts_with(':') => {}
                key => shown.headers.push((key, value)),
            }
        }
        shown
    }

    /// The question it comes to, for a policy that reads requests so. `ip` is the [`client`](Self::client)'s address.
    pub(super) fn question<'q>(
        &'q self,
        ip: &'q str,
        wishes: &'q Wishes,
        reading: &Reading,
    ) -> Question<'q> {
        let headers = self.headers.iter();
        let headers = headers
            .filter(|(name, _)| reading.looks_at(name))
            .map(|(name, value)| (*name, &**value));
        Question {
            pool: &wishes.pool,
            child_node: &wishes.child,
            headers: headers.collect(),
            host: &self.host,
            path: &self.path,
            method: &self.method,
            request_id: if self.id.len() > MAX_REQUEST_ID_BYTES {
                ""
            } else {
                &self.id
            },
            candidates: wishes.candidates,
            client: Some(Asker {
                ip,
                ..Asker::default()
            }),
            ..Question::default()
        }
    }

    /// What the client's request is part of, as it says itself.
    pub(super) fn traceparent(&self) -> Option<&str> {
        let mut headers = self.headers.iter();
        let (_, value) = headers.find(|(name, _)| *name == TRACEPARENT)?;
        Some(value)
    }

    /// The client's address, or nothing where it is not known.
    ///
    /// Of several lines of the header the last counts, as of a list the last element: both are what the proxy itself has
    /// added. Without the header the client is the peer.
    pub(super) fn client(&self, wishes: &Wishes) -> Cow<'_, str> {
        let mut lines = self.headers.iter().rev();
        let given = lines.find(|(name, _)| wishes.names_client_by(name));
        let given = given.map_or(self.peer, |(_, value)| value);
        asker::address_in(given)
    }
}

/// A value as text, wherever it stands.
fn value_of(header: &HeaderValue) -> Cow<'_, str> {
    if header.raw_value.is_empty() {
        header.value.as_str().into()
    } else {
        text_of(&header.raw_value)
    }
}

/// The IP address in one of Envoy's addresses.
pub(super) fn ip_of(address: &Address) -> &str {
    match &address.address {
        Some(address::Address::SocketAddress(socket)) => &socket.address,
        None => "",
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
            child: String::new(),
            client_header: Some("x-forwarded-for".to_owned()),
            candidates: 0,
            metadata: true,
        };
        let client = |lines: &[&str]| {
            let headers = lines.iter().map(|line| ("x-forwarded-for", (*line).into()));
            let shown = Shown {
                peer: "192.0.2.1:443",
                headers: headers.collect(),
                ..Shown::default()
            };
            shown.client(&wishes).into_owned()
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
        let headers = [
            header(":authority", "a.example"),
            header(":path", "/x?y=1"),
            header(":method", "HEAD"),
            header(":scheme", "https"),
            header("accept", "*/*"),
        ];
        let shown = Shown::of_headers(&headers);
        assert_eq!((&*shown.host, &*shown.path), ("a.example", "/x?y=1"));
        assert_eq!(shown.method, "HEAD");
        assert_eq!(shown.headers, [("accept", "*/*".into())]);
    }
}
