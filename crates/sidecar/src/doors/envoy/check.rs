//! What `ext_authz` shows of a request, from its bytes or from its message.
//!
//! Envoy shows some twenty headers, of which a policy looks at few. So the bytes are read without making a message of
//! them, and only the headers that count are kept.

use std::mem;

use super::ask::{self, Shown};
use super::proto::envoy::service::auth::v3::AttributeContext;
use crate::wire::fields::{self, Value, bytes, short_number, text};

/// Reads an encoded `CheckRequest`, with only those headers that `is_read` names. `None` for what is no such message, and
/// for good ones that are unusual (see [`fields`]) or bring headers raw: read those as a message.
pub(super) fn shown(message: &[u8], is_read: impl Fn(&str) -> bool) -> Option<Shown<'_>> {
    let mut shown = Shown::default();
    fields::each(message, |field, value| match field {
        1 => read_attributes(&mut shown, bytes(value)?, &is_read),
        _ => Some(()),
    })?;
    // As in the message, which has a map: the last of a name counts.
    let headers = &mut shown.headers;
    headers.sort_by_key(|(name, _)| *name);
    headers.dedup_by(|later, earlier| {
        let is_repeated = later.0 == earlier.0;
        if is_repeated {
            mem::swap(later, earlier);
        }
        is_repeated
    });
    Some(shown)
}

/// Messages within messages that come twice are merged, which is to read both into the same place.
fn read_attributes<'m>(
    shown: &mut Shown<'m>,
    attributes: &'m [u8],
    is_read: &impl Fn(&str) -> bool,
) -> Option<()> {
    fields::each(attributes, |field, value| match field {
        // The source's address is a socket's.
        1 => within(1, value, |value| {
            within(1, value, |value| read_socket(shown, bytes(value)?))
        }),
        4 => within(2, value, |value| read_http(shown, bytes(value)?, is_read)),
        10 => pair(bytes(value)?).map(drop),
        _ => Some(()),
    })
}

/// Takes the only field of a message that we know.
fn within<'m>(
    number: u32,
    message: Value<'m>,
    mut take: impl FnMut(Value<'m>) -> Option<()>,
) -> Option<()> {
    fields::each(bytes(message)?, |field, value| {
        if field == number {
            take(value)
        } else {
            Some(())
        }
    })
}

fn read_socket<'m>(shown: &mut Shown<'m>, socket: &'m [u8]) -> Option<()> {
    fields::each(socket, |field, value| {
        match field {
            2 => shown.peer = text(value)?,
            3 => drop(short_number(value)?),
            _ => {}
        }
        Some(())
    })
}

fn read_http<'m>(
    shown: &mut Shown<'m>,
    http: &'m [u8],
    is_read: &impl Fn(&str) -> bool,
) -> Option<()> {
    fields::each(http, |field, value| {
        match field {
            1 => shown.id = text(value)?.into(),
            2 => shown.method = text(value)?.into(),
            3 => {
                let (name, value) = pair(bytes(value)?)?;
                if is_read(name) {
                    shown.headers.push((name, value.into()));
                }
            }
            4 => shown.path = text(value)?.into(),
            5 => shown.host = text(value)?.into(),
            // Raw headers, which are sent where Envoy is told to.
            13 => return None,
            _ => {}
        }
        Some(())
    })
}

/// An entry of a map.
fn pair(entry: &[u8]) -> Option<(&str, &str)> {
    let (mut name, mut content) = ("", "");
    fields::each(entry, |field, value| {
        match field {
            1 => name = text(value)?,
            2 => content = text(value)?,
            _ => {}
        }
        Some(())
    })?;
    Some((name, content))
}

/// The same from the message, with all headers.
pub(super) fn of_message(attributes: &AttributeContext) -> Shown<'_> {
    let source = attributes.source.as_ref();
    let address = source.and_then(|source| source.address.as_ref());
    let mut shown = Shown {
        peer: address.map(ask::ip_of).unwrap_or_default(),
        ..Shown::default()
    };
    let request = attributes.request.as_ref();
    if let Some(http) = request.and_then(|request| request.http.as_ref()) {
        shown.host = http.host.as_str().into();
        shown.path = http.path.as_str().into();
        shown.method = http.method.as_str().into();
        shown.id = http.id.as_str().into();
        let headers = http.headers.iter();
        shown.headers = match &http.header_map {
            Some(raw) => Shown::of_headers(&raw.headers).headers,
            None => headers
                .map(|(name, value)| (name.as_str(), value.as_str().into()))
                .collect(),
        };
    }
    shown
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use prost::Message;

    use super::super::proto::envoy::config::core::v3::{
        Address, HeaderMap, SocketAddress, address, socket_address,
    };
    use super::super::proto::envoy::service::auth::v3::CheckRequest;
    use super::super::proto::envoy::service::auth::v3::attribute_context::{
        HttpRequest, Peer, Request,
    };
    use super::*;

    fn full() -> CheckRequest {
        let socket = SocketAddress {
            address: "192.0.2.1".into(),
            port_specifier: Some(socket_address::PortSpecifier::PortValue(443)),
        };
        let address = Address {
            address: Some(address::Address::SocketAddress(socket)),
        };
        let texts = |texts: &[(&str, &str)]| -> BTreeMap<String, String> {
            let texts = texts.iter();
            texts
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect()
        };
        let http = HttpRequest {
            id: "id".into(),
            method: "GET".into(),
            headers: texts(&[("accept", "*/*"), ("Accept", "text/html"), ("", "")]),
            header_map: None,
            path: "/path".into(),
            host: "host".into(),
        };
        CheckRequest {
            attributes: Some(AttributeContext {
                source: Some(Peer {
                    address: Some(address),
                }),
                request: Some(Request { http: Some(http) }),
                context_extensions: texts(&[("from", "route")]),
            }),
        }
    }

    /// What is read is what prost reads; what is not may still be a message.
    fn agrees(message: &[u8]) -> bool {
        let Some(shown) = shown(message, |_| true) else {
            return false;
        };
        let message = CheckRequest::decode(message).expect("prost reads it too");
        let attributes = message.attributes.unwrap_or_default();
        assert_eq!(shown, of_message(&attributes));
        true
    }

    #[test]
    fn every_field_is_read() {
        assert!(agrees(&full().encode_to_vec()));
        assert!(agrees(&[]));
    }

    #[test]
    fn messages_that_come_twice_are_merged() {
        let mut other = full();
        let attributes = other.attributes.as_mut().unwrap();
        attributes.source = None;
        let http = attributes.request.as_mut().unwrap().http.as_mut().unwrap();
        http.headers.insert("accept".into(), "the last".into());
        http.method.clear();
        let twice = [full().encode_to_vec(), other.encode_to_vec()].concat();
        assert!(agrees(&twice));
        let shown = shown(&twice, |name| name == "accept").unwrap();
        assert_eq!(shown.headers, [("accept", "the last".into())]);
        assert_eq!((&*shown.method, shown.peer), ("GET", "192.0.2.1"));
    }

    #[test]
    fn raw_headers_are_left_to_prost() {
        let mut message = full();
        let request = message.attributes.as_mut().unwrap().request.as_mut();
        request.unwrap().http.as_mut().unwrap().header_map = Some(HeaderMap::default());
        assert!(!agrees(&message.encode_to_vec()));
    }

    proptest! {
        #[test]
        fn damaged_messages_are_read_as_prost_reads_them(
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
            end in any::<prop::sample::Index>(),
        ) {
            let mut bytes = full().encode_to_vec();
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            agrees(&bytes);
            agrees(&bytes[..end.index(bytes.len())]);
        }
    }
}
