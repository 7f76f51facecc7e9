//! A request message read as a query, or refused with every field that is wrong.

use std::fmt;
use std::net::IpAddr;

use arrayvec::ArrayVec;

use super::proto;
use crate::engine::geo::Location;
use crate::engine::geo::place::{Asn, Country};
use crate::engine::model::{MAX_ID_BYTES, printable};
use crate::engine::query::{Client, MAX_CANDIDATES, MAX_ONLY, MAX_TRIED, Query};

/// Longest host in bytes.
const MAX_HOST_BYTES: usize = 255;

/// Longest path, query, key or header value in bytes.
const MAX_TEXT_BYTES: usize = 8_192;

/// Longest header name in bytes.
const MAX_HEADER_NAME_BYTES: usize = 256;

/// Most headers.
const MAX_HEADERS: usize = 64;

/// Longest request id in bytes.
const MAX_REQUEST_ID_BYTES: usize = 128;

/// Longest method in bytes.
const MAX_METHOD_BYTES: usize = 32;

/// What is wrong with a request; every fault, each naming its field.
#[derive(Debug, Clone, PartialEq, Eq, Default, thiserror::Error)]
pub struct WireError {
    faults: Vec<String>,
}

impl WireError {
    /// These faults, and those that `request` has besides.
    pub fn of(request: &proto::DecideRequest, faults: Vec<String>) -> Self {
        let others = QueryBuffer::default()
            .read(request)
            .err()
            .unwrap_or_default();
        Self {
            faults: [faults, others.faults].concat(),
        }
    }

    fn add(&mut self, field: &str, message: impl fmt::Display) {
        self.faults.push(format!("{field}: {message}"));
    }

    #[inline]
    fn at_most(&mut self, field: &str, length: usize, limit: usize) {
        if length > limit {
            self.add_too_long(field, length, limit);
        }
    }

    #[cold]
    fn add_too_long(&mut self, field: &str, length: usize, limit: usize) {
        let message = format_args!("has {length} bytes, at most {limit} are allowed");
        self.add(field, message);
    }
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.faults.join("; "))
    }
}

/// Room for the parts of a query that do not stand in the message as the engine wants them.
#[derive(Debug, Default)]
pub struct QueryBuffer<'m> {
    headers: Vec<(&'m str, &'m str)>,
    tried: ArrayVec<&'m str, MAX_TRIED>,
    only: Vec<&'m str>,
}

impl<'m> QueryBuffer<'m> {
    /// Reads `message`; the query borrows from it and from this buffer.
    pub fn read<'b>(&'b mut self, message: &'m proto::DecideRequest) -> Result<Query<'b>, WireError>
    where
        'm: 'b,
    {
        let mut error = WireError::default();
        check_lengths(&mut error, message);
        let client = client(&mut error, message.client.as_ref());
        let candidates = u8::try_from(message.candidates)
            .ok()
            .filter(|n| usize::from(*n) <= MAX_CANDIDATES);
        if candidates.is_none() {
            error.add(
                "candidates",
                format_args!("is {}, must be 0 to {MAX_CANDIDATES}", message.candidates),
            );
        }
        self.headers.clear();
        self.headers.extend(
            message
                .headers
                .iter()
                .map(|header| (header.name.as_str(), header.value.as_str())),
        );
        self.tried.clear();
        self.tried.extend(
            message
                .tried_nodes
                .iter()
                .map(String::as_str)
                .take(MAX_TRIED),
        );
        self.only.clear();
        self.only
            .extend(message.only_nodes.iter().map(String::as_str));
        let (path, query_string) = match message.path.split_once('?') {
            Some((path, rest)) if message.query.is_empty() => (path, rest),
            Some((path, _)) => (path, message.query.as_str()),
            None => (message.path.as_str(), message.query.as_str()),
        };
        if !path.is_empty() && !path.starts_with('/') && path != "*" {
            error.add("path", "must begin with `/`");
        }
        if !error.faults.is_empty() {
            return Err(error);
        }
        Ok(Query {
            pool: some(&message.pool),
            host: &message.host,
            path,
            query_string,
            method: &message.method,
            headers: &self.headers,
            key: (!message.key.is_empty()).then_some(message.key.as_slice()),
            class: some(&message.class),
            size_bytes: (message.size_hint_bytes > 0).then_some(message.size_hint_bytes),
            version_floor: message.object_version_floor,
            tried: &self.tried,
            only: &self.only,
            candidates: candidates.filter(|n| *n > 0),
            request_id: message.request_id.as_bytes(),
            client,
        })
    }
}

fn some(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

fn check_lengths(error: &mut WireError, message: &proto::DecideRequest) {
    let lengths = [
        ("request_id", message.request_id.len(), MAX_REQUEST_ID_BYTES),
        ("pool", message.pool.len(), MAX_ID_BYTES),
        ("host", message.host.len(), MAX_HOST_BYTES),
        ("path", message.path.len(), MAX_TEXT_BYTES),
        ("query", message.query.len(), MAX_TEXT_BYTES),
        ("method", message.method.len(), MAX_METHOD_BYTES),
        ("key", message.key.len(), MAX_TEXT_BYTES),
        ("class", message.class.len(), MAX_ID_BYTES),
    ];
    for (field, length, limit) in lengths {
        error.at_most(field, length, limit);
    }
    if message.headers.len() > MAX_HEADERS {
        error.add(
            "headers",
            format_args!(
                "{} given, at most {MAX_HEADERS} are allowed",
                message.headers.len()
            ),
        );
    }
    for header in &message.headers {
        error.at_most("headers.name", header.name.len(), MAX_HEADER_NAME_BYTES);
        error.at_most("headers.value", header.value.len(), MAX_TEXT_BYTES);
    }
    if message.tried_nodes.len() > MAX_TRIED {
        error.add(
            "tried_nodes",
            format_args!(
                "{} given, at most {MAX_TRIED} are allowed",
                message.tried_nodes.len()
            ),
        );
    }
    for node in &message.tried_nodes {
        error.at_most("tried_nodes", node.len(), MAX_ID_BYTES);
    }
    let only = message.only_nodes.len();
    if only > MAX_ONLY {
        let message = format_args!("{only} given, at most {MAX_ONLY} are allowed");
        error.add("only_nodes", message);
    }
    for node in &message.only_nodes {
        error.at_most("only_nodes", node.len(), MAX_ID_BYTES);
    }
}

fn client(error: &mut WireError, message: Option<&proto::Client>) -> Client {
    let Some(message) = message else {
        return Client::default();
    };
    let ip = some(&message.ip).map(str::parse::<IpAddr>);
    if let Some(Err(_)) = &ip {
        error.add(
            "client.ip",
            format_args!("`{}` is not an IP address", printable(&message.ip, 64)),
        );
    }
    let country = some(&message.country).map(str::parse::<Country>);
    if let Some(Err(_)) = &country {
        error.add(
            "client.country",
            format_args!(
                "`{}` is not a country code like DE",
                printable(&message.country, 64)
            ),
        );
    }
    let location = message
        .location
        .as_ref()
        .map(|at| (at, Location::new(at.latitude, at.longitude)));
    if let Some((at, None)) = location {
        let (latitude, longitude) = (at.latitude, at.longitude);
        error.add(
            "client.location",
            format_args!(
                "is {latitude}, {longitude}, must be within -90 to 90 and -180 to 180 degrees"
            ),
        );
    }
    Client {
        ip: ip.and_then(Result::ok),
        location: location.and_then(|(_, location)| location),
        country: country.and_then(Result::ok),
        asn: Asn::new(message.asn),
    }
}

/// Cuts a client's address to its network (/24 or /48) and its place to a tenth of a degree, and leaves out what
/// headers and queries say (cookies, credentials, signatures), so that what is kept names no person and opens no door.
pub fn mask(message: &mut proto::DecideRequest) {
    for header in &mut message.headers {
        header.value.clear();
    }
    message.query.clear();
    message.key.clear();
    let path_end = message.path.find('?').unwrap_or(message.path.len());
    message.path.truncate(path_end);
    let Some(client) = message.client.as_mut() else {
        return;
    };
    if let Some(place) = client.location.as_mut() {
        place.latitude = (place.latitude * 10.0).round() / 10.0;
        place.longitude = (place.longitude * 10.0).round() / 10.0;
    }
    client.ip = match client.ip.parse::<IpAddr>().map(|ip| ip.to_canonical()) {
        Ok(IpAddr::V4(ip)) => {
            let [a, b, c, _] = ip.octets();
            format!("{a}.{b}.{c}.0")
        }
        Ok(IpAddr::V6(ip)) => {
            let [a, b, c, ..] = ip.segments();
            format!("{a:x}:{b:x}:{c:x}::")
        }
        Err(_) => String::new(),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_wrong_field_is_named_at_once() {
        let message = proto::DecideRequest {
            host: "h".repeat(256),
            path: "video".into(),
            candidates: 9,
            client: Some(proto::Client {
                ip: "1.2.3".into(),
                country: "Germany".into(),
                location: Some(proto::Location {
                    latitude: f64::NAN,
                    longitude: 0.0,
                }),
                asn: 0,
            }),
            ..Default::default()
        };
        let error = QueryBuffer::default()
            .read(&message)
            .unwrap_err()
            .to_string();
        for part in [
            "host: has 256 bytes",
            "path: ",
            "candidates: is 9",
            "client.ip: `1.2.3`",
            "client.country",
            "client.location: is NaN",
        ] {
            assert!(error.contains(part), "{part} in {error}");
        }
    }

    #[test]
    fn a_query_after_the_path_is_split_off() {
        let message = proto::DecideRequest {
            path: "/a?b=1".into(),
            ..Default::default()
        };
        let mut buffer = QueryBuffer::default();
        let query = buffer.read(&message).unwrap();
        assert_eq!((query.path, query.query_string), ("/a", "b=1"));
    }

    #[test]
    fn what_is_kept_opens_no_door() {
        let mut message = proto::DecideRequest {
            path: "/a?signature=1".into(),
            query: "token=2".into(),
            key: b"secret".to_vec(),
            headers: vec![proto::Header {
                name: "cookie".into(),
                value: "id=3".into(),
            }],
            ..Default::default()
        };
        mask(&mut message);
        assert_eq!((message.path.as_str(), message.query.as_str()), ("/a", ""));
        assert!(message.key.is_empty() && message.headers[0].value.is_empty());
    }

    #[test]
    fn kept_addresses_are_cut_to_their_network() {
        for (given, kept) in [
            ("203.0.113.77", "203.0.113.0"),
            ("2001:db8:1:2::3", "2001:db8:1::"),
            ("x", ""),
        ] {
            let client = Some(proto::Client {
                ip: given.into(),
                ..Default::default()
            });
            let mut message = proto::DecideRequest {
                client,
                ..Default::default()
            };
            mask(&mut message);
            assert_eq!(message.client.unwrap().ip, kept);
        }
    }
}
