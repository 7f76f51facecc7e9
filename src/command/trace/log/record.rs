//! What a line tells, put together from whatever fields its format has, and the question that becomes of it.

use std::borrow::Cow;
use std::net::IpAddr;

use super::names::{Field, Place};
use super::{Malformed, Value};
use crate::engine::request::address::client_address;
use crate::engine::request::target::Target;
use crate::engine::request::text_of;
use crate::sidecar::wire::proto;

/// The values of a line, by what they tell.
#[derive(Debug, Default)]
pub(super) struct Record<'l> {
    client: Slot<'l>,
    forwarded: Slot<'l>,
    host: Slot<'l>,
    method: Slot<'l>,
    target: Slot<'l>,
    query: Slot<'l>,
    request: Slot<'l>,
    bytes: Slot<'l>,
    headers: Vec<Header<'l>>,
}

/// Name and value.
type Header<'l> = (String, Value<'l>);

/// The value under the best name so far.
#[derive(Debug, Default)]
struct Slot<'l> {
    rank: usize,
    value: Option<Value<'l>>,
}

/// What a line says, as far as routing needs it.
#[derive(Debug)]
pub struct Entry<'l> {
    client: Option<IpAddr>,
    host: Option<Value<'l>>,
    method: Value<'l>,
    target: Value<'l>,
    query: Option<Value<'l>>,
    bytes: u64,
    headers: Vec<Header<'l>>,
}

impl<'l> Record<'l> {
    /// Takes a value. `-` and nothing at all stand for a value that is not there.
    pub(super) fn put(&mut self, place: &Place, value: Value<'l>) {
        if value.is_empty() || *value == *b"-" {
            return;
        }
        let slot = match &place.field {
            Field::Client => &mut self.client,
            Field::Forwarded => &mut self.forwarded,
            // What nginx calls a server without a name.
            Field::Host if *value == *b"_" => return,
            Field::Host => &mut self.host,
            Field::Method => &mut self.method,
            Field::Target => &mut self.target,
            Field::Query => &mut self.query,
            Field::Request => &mut self.request,
            Field::Bytes => &mut self.bytes,
            Field::Header(name) => return self.headers.push((name.clone(), value)),
        };
        if slot.value.is_none() || place.rank < slot.rank {
            slot.rank = place.rank;
            slot.value = Some(value);
        }
    }

    /// What the values say together.
    pub(super) fn into_entry(self) -> Result<Entry<'l>, Malformed> {
        let client = client(
            self.client.value.as_deref(),
            self.forwarded.value.as_deref(),
        )?;
        let method = self.method.value.unwrap_or_default();
        let (method, target) = match self.request.value.map(request_line) {
            Some(Line::Whole { method, target }) => Some((method, target)),
            Some(Line::Target(target)) => Some((method, target)),
            Some(Line::Neither) | None => self.target.value.map(|target| (method, target)),
        }
        .filter(|(method, target)| is_method(method) && is_target(target))
        .ok_or(Malformed::Request)?;
        let bytes = self.bytes.value.as_deref().map(std::str::from_utf8);
        Ok(Entry {
            client,
            host: self.host.value,
            method,
            target,
            query: self.query.value,
            bytes: bytes
                .and_then(|text| text.ok()?.parse().ok())
                .unwrap_or_default(),
            headers: self.headers,
        })
    }
}

impl Entry<'_> {
    /// True when the line tells whose request it is.
    pub fn knows_client(&self) -> bool {
        self.client.is_some()
    }

    /// The query: a dry run, so that a server neither counts nor logs it. `host` stands in where the line has none.
    pub fn request(self, host: &str) -> proto::DecideRequest {
        let text = text_of(&self.target);
        // That it can be taken apart was found out when it was read.
        let target = Target::split(&text).unwrap_or(Target {
            authority: None,
            path: &text,
            query: "",
        });
        let query = match &self.query {
            Some(query) => text_of(query.strip_prefix(b"?").unwrap_or(query)),
            None => Cow::Borrowed(target.query),
        };
        let host = match (target.authority, &self.host) {
            (Some(authority), _) => Cow::Borrowed(authority),
            (None, Some(host)) => text_of(host),
            (None, None) => Cow::Borrowed(host),
        };
        let headers = self.headers.into_iter().map(|(name, value)| proto::Header {
            name,
            value: header_text(value.into_owned()),
        });
        let client = proto::Client {
            ip: self.client.map(|ip| ip.to_string()).unwrap_or_default(),
            ..proto::Client::default()
        };
        proto::DecideRequest {
            host: host.into_owned(),
            path: target.path.to_owned(),
            query: query.into_owned(),
            method: text_of(&self.method).into_owned(),
            headers: headers.collect(),
            client: Some(client),
            size_hint_bytes: self.bytes,
            dry_run: true,
            ..proto::DecideRequest::default()
        }
    }
}

/// A header's value. Bytes that are no text match no rule, but do not keep the rest from being routed.
fn header_text(value: Vec<u8>) -> String {
    String::from_utf8(value)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

fn client(named: Option<&[u8]>, forwarded: Option<&[u8]>) -> Result<Option<IpAddr>, Malformed> {
    let read = |text: Option<&[u8]>| {
        let text = std::str::from_utf8(text.unwrap_or_default());
        text.ok().and_then(|text| client_address(text).ok())
    };
    match read(named).ok_or(Malformed::Client)? {
        Some(ip) => Ok(Some(ip)),
        // Such a list is the client's own words in part, and no reason to leave a request out.
        None => Ok(read(forwarded).flatten()),
    }
}

/// What a request line turns out to be.
enum Line<'l> {
    Whole {
        method: Value<'l>,
        target: Value<'l>,
    },
    /// Some call this alone the request.
    Target(Value<'l>),
    Neither,
}

/// The protocol is optional, and a target may hold spaces.
fn request_line(line: Value<'_>) -> Line<'_> {
    if line.starts_with(b"/") {
        return Line::Target(line);
    }
    let (Some(first), Some(last)) = (memchr::memchr(b' ', &line), memchr::memrchr(b' ', &line))
    else {
        return Line::Neither;
    };
    let protocol = line.get(last + 1..).filter(|_| last > first);
    let has_protocol = protocol.is_some_and(|word| word.starts_with(b"HTTP/"));
    let end = if has_protocol { last } else { line.len() };
    let part = |from, to| match &line {
        Cow::Borrowed(line) => Cow::Borrowed(line.get(from..to).unwrap_or_default()),
        Cow::Owned(line) => Cow::Owned(line.get(from..to).unwrap_or_default().to_vec()),
    };
    Line::Whole {
        method: part(0, first),
        target: part(first + 1, end),
    }
}

/// Whether it is a token (RFC 9110, section 5.6.2), or nothing, which stands for `GET`.
fn is_method(method: &[u8]) -> bool {
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    method.iter().all(is_token)
}

/// Whether it is a target in origin form or absolute form, or `*`.
fn is_target(target: &[u8]) -> bool {
    if target.starts_with(b"/") || target == b"*" {
        return true;
    }
    let text = text_of(target);
    Target::split(&text).is_ok_and(|target| target.authority.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(values: &[(Field, &'static str)]) -> Record<'static> {
        let mut record = Record::default();
        for (field, value) in values {
            let place = Place {
                field: field.clone(),
                rank: 1,
            };
            record.put(&place, Cow::Borrowed(value.as_bytes()));
        }
        record
    }

    fn asked(line: &'static str) -> Result<[String; 4], Malformed> {
        let entry = record(&[(Field::Request, line)]).into_entry()?;
        let request = entry.request("h");
        Ok([request.method, request.host, request.path, request.query])
    }

    #[test]
    fn request_lines_are_read_in_every_form() {
        for (line, parts) in [
            ("GET /a?b HTTP/1.1", ["GET", "h", "/a", "b"]),
            ("GET /a b HTTP/2", ["GET", "h", "/a b", ""]),
            ("HEAD /a", ["HEAD", "h", "/a", ""]),
            ("M-SEARCH /x HTTP/1.1", ["M-SEARCH", "h", "/x", ""]),
            (
                "GET HTTP://O.example:80/x HTTP/1.1",
                ["GET", "O.example:80", "/x", ""],
            ),
            (
                "GET https://o.example HTTP/2.0",
                ["GET", "o.example", "/", ""],
            ),
            ("OPTIONS * HTTP/1.0", ["OPTIONS", "h", "*", ""]),
            ("/a?b", ["", "h", "/a", "b"]),
        ] {
            assert_eq!(asked(line), Ok(parts.map(str::to_owned)), "{line}");
        }
        for line in [
            "-",
            "GET",
            "\u{16}\u{3} / HTTP/1.1",
            "CONNECT a.example:443 HTTP/1.1",
            "GET http://user@a.example/ HTTP/1.1",
            "GET http:///a HTTP/1.1",
            "GET  HTTP/1.1",
            "<BADREQ>",
        ] {
            assert_eq!(asked(line), Err(Malformed::Request), "{line}");
        }
    }

    #[test]
    fn the_best_name_counts_and_what_is_not_there_does_not() {
        let mut record = record(&[
            (Field::Target, "/a"),
            (Field::Host, "-"),
            (Field::Host, "_"),
        ]);
        for (rank, host) in [(5, "five"), (2, "two"), (3, "three"), (1, "-")] {
            let field = Field::Host;
            record.put(&Place { field, rank }, Cow::Borrowed(host.as_bytes()));
        }
        let request = record.into_entry().unwrap().request("h");
        assert_eq!(
            (request.host.as_str(), request.path.as_str()),
            ("two", "/a")
        );
    }

    #[test]
    fn a_client_is_known_by_its_own_name_first() {
        let client = |values: &[(Field, &'static str)]| {
            let target = (Field::Target, "/");
            let values: Vec<_> = values.iter().cloned().chain([target]).collect();
            let entry = record(&values).into_entry()?;
            Ok(entry.client.map(|ip| ip.to_string()))
        };
        let some = |ip: &str| Ok(Some(ip.to_owned()));
        let (named, via) = (Field::Client, Field::Forwarded);
        let both = |ip| [(named.clone(), ip), (via.clone(), "10.0.0.1, 192.0.2.9")];
        assert_eq!(client(&both("192.0.2.7:4711")), some("192.0.2.7"));
        assert_eq!(client(&both("-")), some("192.0.2.9"));
        assert_eq!(client(&both("unix:")), some("192.0.2.9"));
        assert_eq!(client(&both("host.example")), Err(Malformed::Client));
        assert_eq!(client(&[(named, "unknown")]), Ok(None));
        assert_eq!(client(&[(via, "nonsense")]), Ok(None));
        assert_eq!(client(&[]), Ok(None));
    }

    #[test]
    fn bytes_that_are_no_text_get_through() {
        let mut record = Record::default();
        let place = |field| Place { field, rank: 0 };
        record.put(&place(Field::Target), Cow::Borrowed(b"/caf\xe9"));
        record.put(&place(Field::Query), Cow::Borrowed(b"?q=\xe9"));
        record.put(&place(Field::Header("x".into())), Cow::Borrowed(b"\xe9"));
        record.put(&place(Field::Bytes), Cow::Borrowed(b"17"));
        let request = record.into_entry().unwrap().request("h");
        assert_eq!(
            (request.path.as_str(), request.query.as_str()),
            ("/caf%E9", "q=%E9")
        );
        assert_eq!(request.headers[0].value, "\u{fffd}");
        assert_eq!(request.size_hint_bytes, 17);
        assert!(request.dry_run && request.request_id.is_empty());
    }
}
