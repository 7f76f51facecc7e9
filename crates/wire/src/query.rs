//! A request message read as a query, or refused with every field that is wrong.

use std::ops::Range;

use super::asker;
use super::fault::{Blame, WireError};
use super::proto;
use super::question::Question;
use tradewind_engine::model::{MAX_ID_BYTES, printable};
use tradewind_engine::query::{MAX_CANDIDATES, MAX_ONLY, MAX_TRIED, Query};
use tradewind_engine::request::Reading;
use tradewind_engine::request::host::host;
use tradewind_engine::request::path::{PathFault, normal_path, normal_query};
use tradewind_engine::request::target::Target;

/// Longest host in bytes.
const MAX_HOST_BYTES: usize = 255;

/// Longest path, query, key or header value in bytes.
const MAX_TEXT_BYTES: usize = 8_192;

/// Most headers that the policy looks at.
const MAX_HEADERS: usize = 64;

/// Longest request id in bytes.
const MAX_REQUEST_ID_BYTES: usize = 128;

/// Longest method in bytes.
const MAX_METHOD_BYTES: usize = 32;

/// Room for the parts of a query that do not stand in the message as the engine wants them.
#[derive(Debug, Default)]
pub struct QueryBuffer<'m> {
    headers: Vec<(&'m str, &'m str)>,
    /// What is read, where a whole message is.
    question: Question<'m>,
}

/// Room for the texts of a query that had to be rewritten to compare. Most requests need none of it.
#[derive(Debug, Default)]
pub struct QueryRoom {
    path: String,
    query: String,
    /// Header lines that were joined, one after the other.
    lines: String,
}

impl<'m> QueryBuffer<'m> {
    /// Reads `message` as a policy wants requests read; the query borrows from the message, the room and this buffer.
    pub fn read<'b>(
        &'b mut self,
        message: &'m proto::DecideRequest,
        room: &'m mut QueryRoom,
        reading: &Reading,
    ) -> Result<Query<'b>, WireError>
    where
        'm: 'b,
    {
        self.question = Question::of(message);
        read(&mut self.headers, &self.question, room, reading)
    }

    /// The same for a request that is borrowed already.
    pub fn read_question<'b>(
        &'b mut self,
        question: &'b Question<'m>,
        room: &'m mut QueryRoom,
        reading: &Reading,
    ) -> Result<Query<'b>, WireError>
    where
        'm: 'b,
    {
        read(&mut self.headers, question, room, reading)
    }
}

fn read<'b, 'm: 'b>(
    headers: &'b mut Vec<(&'m str, &'m str)>,
    question: &'b Question<'m>,
    room: &'m mut QueryRoom,
    reading: &Reading,
) -> Result<Query<'b>, WireError> {
    let mut error = WireError::default();
    check_lengths(&mut error, question);
    let asked = asked(&mut error, question);
    let QueryRoom { path, query, lines } = room;
    let path = normal_path(asked.path, reading.paths, path)
        .inspect_err(|fault| error.add(Blame::Client, "path", fault));
    let query_string = normal_query(asked.query, query)
        .inspect_err(|fault| error.add(Blame::Client, "query", fault));
    let client = asker::client(&mut error, question.client.as_ref());
    let candidates = u8::try_from(question.candidates)
        .ok()
        .filter(|n| usize::from(*n) <= MAX_CANDIDATES);
    if candidates.is_none() {
        error.add(
            Blame::Caller,
            "candidates",
            format_args!("is {}, must be 0 to {MAX_CANDIDATES}", question.candidates),
        );
    }
    headers.clear();
    if !reading.header_names.is_empty() {
        read_headers(headers, question, lines, reading);
        check_headers(&mut error, headers);
    }
    let (Ok(path), Ok(query_string), true) = (path, query_string, error.is_empty()) else {
        return Err(error);
    };
    Ok(Query {
        pool: some(question.pool),
        child: some(question.child_node),
        host: asked.authority.unwrap_or(question.host),
        path,
        query_string,
        method: question.method,
        headers,
        key: (!question.key.is_empty()).then_some(question.key),
        class: some(question.class),
        size_bytes: (question.size_hint_bytes > 0).then_some(question.size_hint_bytes),
        version_floor: question.object_version_floor,
        tried: &question.tried_nodes,
        only: &question.only_nodes,
        candidates: candidates.filter(|n| *n > 0),
        request_id: question.request_id.as_bytes(),
        client,
    })
}

fn some(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

/// What is asked for, taken apart. A query given by itself counts before one behind the path.
fn asked<'m>(error: &mut WireError, message: &Question<'m>) -> Target<'m> {
    let mut target = Target::split(message.path).unwrap_or_else(|fault| {
        error.add(Blame::Client, "path", fault);
        Target {
            authority: None,
            path: "",
            query: "",
        }
    });
    if !message.query.is_empty() {
        target.query = message.query;
    }
    if target.path.is_empty() && !message.path.is_empty() && error.is_empty() {
        error.add(Blame::Client, "path", PathFault::NoSlash);
    }
    let given = target.authority.unwrap_or(message.host);
    if given.len() > MAX_HOST_BYTES {
        error.at_most(Blame::Client, "host", given.len(), MAX_HOST_BYTES);
    } else if let Err(fault) = host(given) {
        let shown = printable(given, 64);
        error.add(Blame::Client, "host", format_args!("`{shown}` {fault}"));
    }
    let too_long = Blame::TargetTooLong;
    error.at_most(too_long, "path", target.path.len(), MAX_TEXT_BYTES);
    error.at_most(too_long, "query", target.query.len(), MAX_TEXT_BYTES);
    target
}

/// The headers that the policy looks at, several lines of one name joined (RFC 9110, section 5.3).
fn read_headers<'m>(
    headers: &mut Vec<(&'m str, &'m str)>,
    message: &Question<'m>,
    lines: &'m mut String,
    reading: &Reading,
) {
    let mut is_repeated = false;
    for &(name, value) in &message.headers {
        if reading.looks_at(name) {
            is_repeated |= headers
                .iter()
                .any(|(known, _)| known.eq_ignore_ascii_case(name));
            headers.push((name, value));
        }
    }
    if is_repeated {
        join_lines(headers, lines);
    }
}

/// Joins the lines of each name: by a comma, which is also how Envoy shows them, and cookies by their own separator.
#[cold]
fn join_lines<'m>(headers: &mut Vec<(&'m str, &'m str)>, lines: &'m mut String) {
    lines.clear();
    let mut joined: Vec<(&str, Range<usize>)> = Vec::new();
    for (name, _) in headers.iter() {
        if joined
            .iter()
            .any(|(known, _)| known.eq_ignore_ascii_case(name))
        {
            continue;
        }
        let separator = if name.eq_ignore_ascii_case("cookie") {
            "; "
        } else {
            ","
        };
        let start = lines.len();
        let own = headers
            .iter()
            .filter(|(other, _)| other.eq_ignore_ascii_case(name));
        for (count, (_, value)) in own.enumerate() {
            if count > 0 {
                lines.push_str(separator);
            }
            lines.push_str(value);
        }
        joined.push((name, start..lines.len()));
    }
    let lines: &'m str = lines;
    headers.clear();
    let texts = joined.into_iter();
    headers.extend(texts.map(|(name, range)| (name, lines.get(range).unwrap_or_default())));
}

fn check_headers(error: &mut WireError, headers: &[(&str, &str)]) {
    if headers.len() > MAX_HEADERS {
        let count = headers.len();
        let message = format_args!(
            "{count} given that the policy looks at, at most {MAX_HEADERS} are allowed"
        );
        error.add(Blame::HeadersTooLarge, "headers", message);
    }
    for (name, value) in headers {
        if value.len() > MAX_TEXT_BYTES {
            let field = format!("headers.{}", printable(name, 64));
            error.at_most(Blame::HeadersTooLarge, &field, value.len(), MAX_TEXT_BYTES);
        }
    }
}

fn check_lengths(error: &mut WireError, message: &Question<'_>) {
    let lengths = [
        (
            Blame::Caller,
            "request_id",
            message.request_id.len(),
            MAX_REQUEST_ID_BYTES,
        ),
        (Blame::Caller, "pool", message.pool.len(), MAX_ID_BYTES),
        (
            Blame::Caller,
            "child_node",
            message.child_node.len(),
            MAX_ID_BYTES,
        ),
        (
            Blame::Client,
            "method",
            message.method.len(),
            MAX_METHOD_BYTES,
        ),
        (Blame::Client, "key", message.key.len(), MAX_TEXT_BYTES),
        (Blame::Caller, "class", message.class.len(), MAX_ID_BYTES),
    ];
    for (blame, field, length, limit) in lengths {
        error.at_most(blame, field, length, limit);
    }
    let lists = [
        ("tried_nodes", &message.tried_nodes, MAX_TRIED),
        ("only_nodes", &message.only_nodes, MAX_ONLY),
    ];
    for (field, nodes, limit) in lists {
        if nodes.len() > limit {
            let message = format_args!("{} given, at most {limit} are allowed", nodes.len());
            error.add(Blame::Caller, field, message);
        }
        for node in nodes {
            error.at_most(Blame::Caller, field, node.len(), MAX_ID_BYTES);
        }
    }
}

impl WireError {
    /// These faults of whoever asks, and those that `request` has besides.
    pub fn of(request: &proto::DecideRequest, faults: Vec<String>, reading: &Reading) -> Self {
        let mut room = QueryRoom::default();
        let mut buffer = QueryBuffer::default();
        let read = buffer.read(request, &mut room, reading);
        Self::of_caller(faults).and(read.err().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    fn fault(message: &proto::DecideRequest, reading: &Reading) -> WireError {
        let mut room = QueryRoom::default();
        let mut buffer = QueryBuffer::default();
        buffer.read(message, &mut room, reading).unwrap_err()
    }

    /// What the engine sees of a request: host, path, query string and headers.
    fn seen(
        message: &proto::DecideRequest,
        reading: &Reading,
    ) -> (String, String, String, Vec<String>) {
        let mut room = QueryRoom::default();
        let mut buffer = QueryBuffer::default();
        let query = buffer.read(message, &mut room, reading).unwrap();
        let headers = query
            .headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}"));
        (
            query.host.to_owned(),
            query.path.to_owned(),
            query.query_string.to_owned(),
            headers.collect(),
        )
    }

    fn headers(lines: &[(&str, &str)]) -> Vec<proto::Header> {
        let header = |(name, value): &(&str, &str)| proto::Header {
            name: (*name).to_owned(),
            value: (*value).to_owned(),
        };
        lines.iter().map(header).collect()
    }

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
        let error = fault(&message, &Reading::default()).to_string();
        for part in [
            "host: has 256 bytes",
            "path: must begin with `/`",
            "candidates: is 9",
            "client.ip: `1.2.3` is not an IP address",
            "client.country",
            "client.location: is NaN",
        ] {
            assert!(error.contains(part), "{part} in {error}");
        }
    }

    #[test]
    fn a_request_is_read_in_normal_form() {
        let message = |path: &str, query: &str| proto::DecideRequest {
            host: "other".into(),
            path: path.into(),
            query: query.into(),
            ..Default::default()
        };
        let seen = |path, query| {
            let (host, path, query, _) = seen(&message(path, query), &Reading::default());
            (host, path, query)
        };
        let parts = |host: &str, path: &str, query: &str| {
            (host.to_owned(), path.to_owned(), query.to_owned())
        };
        assert_eq!(seen("/a?b=1", ""), parts("other", "/a", "b=1"));
        assert_eq!(seen("/a?b=1", "c=2"), parts("other", "/a", "c=2"));
        assert_eq!(seen("//%61/./b?%62", ""), parts("other", "/a/b", "b"));
        assert_eq!(
            seen("HTTP://www.example.com/a", ""),
            parts("www.example.com", "/a", "")
        );
    }

    #[test]
    fn only_headers_that_the_policy_looks_at_count() {
        let reading = Reading {
            header_names: vec!["accept".into(), "cookie".into()],
            ..Reading::default()
        };
        let mut lines: Vec<(&str, &str)> = vec![("x-other", "1"); 500];
        lines.extend([
            ("Accept", "text/html"),
            ("Cookie", "a=1"),
            ("accept", "image/webp"),
            ("cookie", "b=2"),
        ]);
        let large = "v".repeat(MAX_TEXT_BYTES + 1);
        lines.push(("x-large", &large));
        let mut message = proto::DecideRequest {
            headers: headers(&lines),
            ..Default::default()
        };
        let (.., read) = seen(&message, &reading);
        assert_eq!(read, ["Accept: text/html,image/webp", "Cookie: a=1; b=2"]);
        message.headers.extend(headers(&[("accept", &large)]));
        let error = fault(&message, &reading);
        assert!(
            error.to_string().contains("headers.Accept: has 8"),
            "{error}"
        );
    }

    #[test]
    fn what_a_client_did_wrong_is_told_from_what_its_proxy_did() {
        let status = |change: fn(&mut proto::DecideRequest)| {
            let mut message = proto::DecideRequest {
                path: "/a".into(),
                ..Default::default()
            };
            change(&mut message);
            let reading = Reading {
                header_names: vec!["x-read".into()],
                ..Reading::default()
            };
            fault(&message, &reading).client_status()
        };
        assert_eq!(
            status(|m| m.path = "/a\\b".into()),
            Some(StatusCode::BAD_REQUEST)
        );
        assert_eq!(
            status(|m| m.path = "http://u@h/".into()),
            Some(StatusCode::BAD_REQUEST)
        );
        assert_eq!(
            status(|m| m.host = "h".repeat(300)),
            Some(StatusCode::BAD_REQUEST)
        );
        assert_eq!(
            status(|m| m.path = format!("/a?{}", "q".repeat(8_200))),
            Some(StatusCode::URI_TOO_LONG)
        );
        assert_eq!(
            status(|m| m.headers = headers(&[("x-read", &"v".repeat(8_200))])),
            Some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE)
        );
        assert_eq!(
            status(|m| m.host = "a.example:80:80".into()),
            Some(StatusCode::BAD_REQUEST)
        );
        assert_eq!(
            status(|m| m.path = "?x".into()),
            Some(StatusCode::BAD_REQUEST)
        );
        assert_eq!(status(|m| m.candidates = 9), None);
        assert_eq!(status(|m| m.pool = "p".repeat(300)), None);
    }
}
