//! Access logs in the common and the combined format of Apache and nginx, line by line.
//!
//! `client identity user [time] "METHOD target HTTP/1.1" status bytes "referer" "user agent"`; the last two may be
//! missing. A line that is not like this is counted with a reason and never stops a replay.

use std::borrow::Cow;
use std::io::{self, BufRead, BufReader, Read};
use std::net::IpAddr;

use crate::command::request::Url;
use crate::sidecar::wire::proto;

/// Longest line in bytes; longer ones are read past, not kept.
const MAX_LINE_BYTES: usize = 64 << 10;

/// Room for reading, in bytes.
const READ_BYTES: usize = 64 << 10;

/// Why a line is not decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Malformed {
    /// Longer than 64 KiB.
    TooLong,
    /// Not UTF-8.
    NotText,
    /// Its first word is no IP address.
    Client,
    /// Not the fields of the format.
    Fields,
    /// What was asked for is no HTTP request.
    Request,
    /// The engine or the sidecar refuses it, as for a path that is too long.
    Refused,
}

impl Malformed {
    /// The word used in reports.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::TooLong => "line_too_long",
            Self::NotText => "not_utf8",
            Self::Client => "client_not_an_address",
            Self::Fields => "not_combined_format",
            Self::Request => "not_an_http_request",
            Self::Refused => "refused_by_engine",
        }
    }
}

/// A log, line by line.
pub(super) struct Lines<R> {
    input: BufReader<R>,
    buffer: Vec<u8>,
    number: u64,
}

/// A line of the log.
#[derive(Debug)]
pub(super) struct Line<'l> {
    /// From 1.
    pub(super) number: u64,
    pub(super) entry: Result<Entry<'l>, Malformed>,
}

/// What a line says, as far as routing needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry<'l> {
    client: IpAddr,
    method: &'l str,
    target: &'l str,
    bytes: u64,
    referer: Option<Cow<'l, str>>,
    user_agent: Option<Cow<'l, str>>,
}

impl<R: Read> Lines<R> {
    /// The lines of `input`.
    pub(super) fn new(input: R) -> Self {
        Self {
            input: BufReader::with_capacity(READ_BYTES, input),
            buffer: Vec::new(),
            number: 0,
        }
    }

    /// Lines read so far.
    pub(super) fn count(&self) -> u64 {
        self.number
    }

    /// The next line that is not empty; `None` at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        loop {
            let is_whole = self.read_line()?;
            if self.buffer.is_empty() && is_whole {
                return Ok(None);
            }
            self.number += 1;
            if !is_whole {
                let entry = Err(Malformed::TooLong);
                let number = self.number;
                return Ok(Some(Line { number, entry }));
            }
            if !self.buffer.trim_ascii().is_empty() {
                break;
            }
        }
        let text = std::str::from_utf8(self.buffer.trim_ascii());
        let entry = text.map_err(|_| Malformed::NotText).and_then(Entry::parse);
        let number = self.number;
        Ok(Some(Line { number, entry }))
    }

    /// Reads a line with its end into the buffer, or reads past one that does not fit and says so.
    fn read_line(&mut self) -> io::Result<bool> {
        self.buffer.clear();
        let mut fits = true;
        loop {
            let available = self.input.fill_buf()?;
            if available.is_empty() {
                return Ok(fits);
            }
            let end = available.iter().position(|byte| *byte == b'\n');
            let taken = end.map_or(available.len(), |at| at + 1);
            if self.buffer.len() + taken > MAX_LINE_BYTES {
                fits = false;
                self.buffer.clear();
            }
            if fits {
                self.buffer
                    .extend_from_slice(available.get(..taken).unwrap_or_default());
            }
            self.input.consume(taken);
            if end.is_some() {
                return Ok(fits);
            }
        }
    }
}

impl<'l> Entry<'l> {
    fn parse(line: &'l str) -> Result<Self, Malformed> {
        let (client, rest) = line.split_once(' ').ok_or(Malformed::Fields)?;
        let client = client.parse().map_err(|_| Malformed::Client)?;
        // A user name may hold spaces, so the time's bracket is what the request is found behind.
        let (_, rest) = rest.split_once('[').ok_or(Malformed::Fields)?;
        let (_, rest) = rest.split_once("] ").ok_or(Malformed::Fields)?;
        let (request, rest) = quoted(rest).ok_or(Malformed::Fields)?;
        let mut words = rest.trim_start().splitn(3, ' ');
        let status = words.next().unwrap_or_default();
        if status.len() != 3 || !status.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Malformed::Fields);
        }
        let bytes = match words.next() {
            Some("-") => 0,
            Some(digits) => digits.parse().map_err(|_| Malformed::Fields)?,
            None => return Err(Malformed::Fields),
        };
        let rest = words.next().unwrap_or_default().trim_start();
        let (referer, rest) = quoted(rest).unwrap_or(("", ""));
        let (user_agent, _) = quoted(rest.trim_start()).unwrap_or(("", ""));
        let (method, target) = request_line(request).ok_or(Malformed::Request)?;
        Ok(Self {
            client,
            method,
            target,
            bytes,
            referer: header_value(referer),
            user_agent: header_value(user_agent),
        })
    }

    /// The query: a dry run, so that a server neither counts nor logs it. `host` stands in where the line has none.
    pub(super) fn request(&self, host: &str) -> proto::DecideRequest {
        // `OPTIONS *` asks about the server itself.
        let url = Url::parse(self.target).filter(|_| self.target != "*");
        let url = url.unwrap_or_default();
        let header = |name: &str, value: &Option<Cow<'_, str>>| {
            value.as_ref().map(|value| proto::Header {
                name: name.to_owned(),
                value: value.clone().into_owned(),
            })
        };
        let headers = [
            header("user-agent", &self.user_agent),
            header("referer", &self.referer),
        ];
        let client = proto::Client {
            ip: self.client.to_string(),
            ..proto::Client::default()
        };
        let host = if url.host.is_empty() { host } else { url.host };
        proto::DecideRequest {
            host: host.to_owned(),
            path: if url.path.is_empty() { "*" } else { url.path }.to_owned(),
            query: url.query.to_owned(),
            method: self.method.to_owned(),
            headers: headers.into_iter().flatten().collect(),
            client: Some(client),
            size_hint_bytes: self.bytes,
            dry_run: true,
            ..proto::DecideRequest::default()
        }
    }
}

/// What stands between the quotes that `text` begins with, and what is behind them. `\"` does not end it.
fn quoted(text: &str) -> Option<(&str, &str)> {
    let inner = text.strip_prefix('"')?;
    let mut escaped = false;
    let end = inner.bytes().position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    })?;
    let (inside, rest) = inner.split_at_checked(end)?;
    Some((inside, rest.strip_prefix('"')?))
}

/// Method and target. The protocol is optional, and a target may hold spaces.
fn request_line(request: &str) -> Option<(&str, &str)> {
    let (method, rest) = request.split_once(' ')?;
    let target = match rest.rsplit_once(' ') {
        Some((target, protocol)) if protocol.starts_with("HTTP/") => target,
        _ => rest,
    };
    let is_method = !method.is_empty() && method.bytes().all(|byte| byte.is_ascii_alphabetic());
    let is_target = target.starts_with('/')
        || target == "*"
        || ((target.starts_with("http://") || target.starts_with("https://"))
            && Url::parse(target).is_some());
    (is_method && is_target).then_some((method, target))
}

/// A header as it was sent: nothing for `-`, and quotes without the log's escapes.
fn header_value(text: &str) -> Option<Cow<'_, str>> {
    if text.is_empty() || text == "-" {
        return None;
    }
    if !text.contains('\\') {
        return Some(Cow::Borrowed(text));
    }
    Some(Cow::Owned(text.replace("\\\"", "\"").replace("\\\\", "\\")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"192.0.2.7 - ann lee [17/May/2015:10:05:03 +0000] "GET /a/b.png?w=1 HTTP/1.1" 200 2326 "http://a.example/" "Agent \"x\" 1.0""#;

    type Found = Vec<(u64, Result<String, Malformed>)>;

    fn all(log: &str) -> Found {
        let mut lines = Lines::new(log.as_bytes());
        let mut found = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            let entry = line.entry.map(|entry| entry.target.to_owned());
            found.push((line.number, entry));
        }
        found
    }

    #[test]
    fn a_combined_line_becomes_a_query() {
        let request = Entry::parse(GOOD).unwrap().request("www.example.com");
        assert_eq!(request.client.unwrap().ip, "192.0.2.7");
        assert_eq!(
            (request.host.as_str(), request.method.as_str()),
            ("www.example.com", "GET")
        );
        assert_eq!(
            (request.path.as_str(), request.query.as_str()),
            ("/a/b.png", "w=1")
        );
        assert_eq!(request.size_hint_bytes, 2_326);
        let headers: Vec<_> = request
            .headers
            .iter()
            .map(|h| (h.name.as_str(), h.value.as_str()))
            .collect();
        assert_eq!(
            headers,
            [
                ("user-agent", "Agent \"x\" 1.0"),
                ("referer", "http://a.example/")
            ]
        );
        assert!(request.dry_run && request.request_id.is_empty());
    }

    #[test]
    fn other_forms_of_good_lines_are_read() {
        for (line, path, host) in [
            (r#"192.0.2.7 - - [t] "GET / HTTP/1.1" 304 -"#, "/", "h"),
            (r#"2001:db8::1 - - [t] "HEAD /x" 200 0 "-" "-""#, "/x", "h"),
            (
                r#"192.0.2.7 - - [t] "GET http://o.example/y?z HTTP/1.1" 200 1 "-" "-""#,
                "/y",
                "o.example",
            ),
            (
                r#"192.0.2.7 - - [t] "OPTIONS * HTTP/1.0" 200 1 "-" "-""#,
                "*",
                "h",
            ),
            (
                r#"192.0.2.7 - - [t] "GET /a b HTTP/1.1" 200 1 "-" "unfinished"#,
                "/a b",
                "h",
            ),
        ] {
            let request = Entry::parse(line).unwrap().request("h");
            assert_eq!(
                (request.path.as_str(), request.host.as_str()),
                (path, host),
                "{line}"
            );
        }
    }

    #[test]
    fn bad_lines_have_reasons() {
        for (line, reason) in [
            ("nonsense", Malformed::Fields),
            (
                r#"host.example - - [t] "GET / HTTP/1.1" 200 1"#,
                Malformed::Client,
            ),
            (r#"192.0.2.7 - - "GET / HTTP/1.1" 200 1"#, Malformed::Fields),
            ("192.0.2.7 - - [t] GET / HTTP/1.1 200 1", Malformed::Fields),
            (
                r#"192.0.2.7 - - [t] "GET / HTTP/1.1" abc 1"#,
                Malformed::Fields,
            ),
            (
                r#"192.0.2.7 - - [t] "GET / HTTP/1.1" 200 x"#,
                Malformed::Fields,
            ),
            (
                r#"192.0.2.7 - - [t] "GET / HTTP/1.1" 200"#,
                Malformed::Fields,
            ),
            (r#"192.0.2.7 - - [t] "-" 408 0"#, Malformed::Request),
            (
                r#"192.0.2.7 - - [t] "\x16\x03 / HTTP/1.1" 400 0"#,
                Malformed::Request,
            ),
            (
                r#"192.0.2.7 - - [t] "CONNECT a.example:443 HTTP/1.1" 400 0"#,
                Malformed::Request,
            ),
        ] {
            assert_eq!(Entry::parse(line), Err(reason), "{line}");
        }
    }

    #[test]
    fn lines_are_numbered_and_the_odd_ones_passed_over() {
        let log = format!(
            "{GOOD}\n\n{}\r\n{}\n{GOOD}",
            "x".repeat(MAX_LINE_BYTES * 2),
            GOOD
        );
        let found = all(&log);
        let good = || Ok("/a/b.png?w=1".to_owned());
        assert_eq!(
            found,
            [
                (1, good()),
                (3, Err(Malformed::TooLong)),
                (4, good()),
                (5, good())
            ]
        );
        assert_eq!(all(""), []);
        let mut lines = Lines::new(&b"\xff\n"[..]);
        assert_eq!(
            lines.next().unwrap().unwrap().entry,
            Err(Malformed::NotText)
        );
    }
}
