//! HAProxy's HTTP log (`option httplog` and `httpslog`), with or without what syslog writes before it.
//!
//! `client:port [time] frontend backend/server times status bytes cookie cookie flags connections queues {captured request
//! headers} {captured response headers} "METHOD target HTTP/1.1"`. The log does not say which headers were captured; they
//! go by the names `capture.1`, `capture.2` and so on, and somebody must say which is the host.

use super::escape::Escapes;
use super::names::{Field, Names, Place};
use super::pattern::find;
use super::record::Record;

/// Fields between the time and the captured headers.
const FIELDS: usize = 10;

/// Most captured headers that have a name.
const MAX_CAPTURES: usize = 16;

/// Which values of a line count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Haproxy {
    captures: Vec<Option<Place>>,
}

impl Haproxy {
    /// Captured headers count where `names` say so.
    pub(super) fn new(names: &Names) -> Self {
        let captures = (1..=MAX_CAPTURES).map(|number| {
            let name = format!("capture.{number}");
            names.place_of(name.as_bytes())
        });
        Self {
            captures: captures.collect(),
        }
    }

    /// Hands the values of a line to `record`; false when it is no line of this log.
    pub(super) fn read<'l>(&self, line: &'l [u8], record: &mut Record<'l>) -> bool {
        self.try_read(line, record).is_some()
    }

    fn try_read<'l>(&self, line: &'l [u8], record: &mut Record<'l>) -> Option<()> {
        let bracket = find(line, b" [")?;
        let before = line.get(..bracket)?;
        let client = before.rsplit(|byte| *byte == b' ').next()?;
        let rest = line.get(bracket..)?;
        let rest = rest.get(find(rest, b"] ")? + 2..)?;
        let (fields, rest) = words::<FIELDS>(rest)?;
        let [_frontend, server, times, status, bytes, ..] = fields;
        let is_status = |text: &[u8]| text.len() == 3 && text.iter().all(u8::is_ascii_digit);
        // Without a status, as for a client that went away, there is -1.
        if !server.contains(&b'/')
            || !times.contains(&b'/')
            || !(is_status(status) || status == b"-1")
        {
            return None;
        }
        let quote = memchr::memchr(b'"', rest)?;
        let (captured, request) = rest.split_at_checked(quote)?;
        let request = request.get(1..)?;
        // A long request is cut, and its quote with it.
        let end = memchr::memchr(b'"', request).unwrap_or(request.len());
        self.read_captures(captured, record);
        let mut put = |field: Field, value: &'l [u8]| {
            record.put(&Place { field, rank: 1 }, Escapes::Hash.undo(value));
        };
        put(Field::Client, client);
        put(Field::Bytes, bytes.strip_prefix(b"+").unwrap_or(bytes));
        put(Field::Request, request.get(..end)?);
        Some(())
    }

    /// The first pair of braces is of the request.
    fn read_captures<'l>(&self, text: &'l [u8], record: &mut Record<'l>) {
        let inside = text.strip_prefix(b"{").and_then(|rest| {
            let end = memchr::memchr(b'}', rest)?;
            rest.get(..end)
        });
        let values = inside.unwrap_or_default().split(|byte| *byte == b'|');
        for (place, value) in self.captures.iter().zip(values) {
            if let Some(place) = place {
                record.put(place, Escapes::Hash.undo(value));
            }
        }
    }
}

/// Words, and what is behind them.
type Words<'l, const N: usize> = ([&'l [u8]; N], &'l [u8]);

/// The first words of a text, and the rest.
fn words<const N: usize>(text: &[u8]) -> Option<Words<'_, N>> {
    let mut rest = text;
    let mut words = [&[] as &[u8]; N];
    for word in &mut words {
        let space = memchr::memchr(b' ', rest)?;
        *word = rest.get(..space)?;
        rest = rest.get(space + 1..)?;
    }
    Some((words, rest))
}

#[cfg(test)]
mod tests {
    use super::super::names::Field;
    use super::*;

    const HEAD: &str = "192.0.2.7:33317 [06/Feb/2026:12:14:14.655] in static/srv1 10/0/30/69/109 200 2750 - - ---- 1/1/1/1/0 0/0";

    fn asked(names: &Names, line: &str) -> Option<[String; 4]> {
        let mut record = Record::default();
        if !Haproxy::new(names).read(line.as_bytes(), &mut record) {
            return None;
        }
        let request = record.into_entry().ok()?.request("");
        Some([
            request.client.unwrap().ip,
            request.host,
            request.method,
            request.path,
        ])
    }

    #[test]
    fn lines_are_read_with_and_without_what_stands_around() {
        let mut names = Names::default();
        names.choose(Field::Host, "capture.1");
        for (line, host, path) in [
            (format!("{HEAD} \"GET /a HTTP/1.1\""), "", "/a"),
            (
                format!("{HEAD} {{h|x}} {{}} \"GET /a HTTP/1.1\""),
                "h",
                "/a",
            ),
            (
                format!("{HEAD} {{|x}} \"GET https://o.example/a HTTP/2.0\""),
                "o.example",
                "/a",
            ),
            (
                format!(
                    "<134>Feb  6 12:14:14 lb haproxy[143]: {HEAD} {{h}} \"GET /a#22#23b HTTP/1.1\""
                ),
                "h",
                "/a\"#b",
            ),
            (
                format!("{HEAD} \"GET /a HTTP/1.1\" 0/0000000000000000/0/0/0 h/TLSv1.3/X"),
                "",
                "/a",
            ),
            (format!("{HEAD} \"GET /cut"), "", "/cut"),
        ] {
            let expected = ["192.0.2.7", host, "GET", path].map(str::to_owned);
            assert_eq!(asked(&names, &line), Some(expected), "{line}");
        }
    }

    #[test]
    fn captured_headers_are_nobodys_host_unless_said_so() {
        let line = format!("{HEAD} {{h}} \"GET /a HTTP/1.1\"");
        assert_eq!(asked(&Names::default(), &line).unwrap()[1], "");
    }

    #[test]
    fn other_lines_are_not_read() {
        for line in [
            "",
            "192.0.2.7:33317 [t] in static/srv1 10/0/30 2750 -- 1/1/1/1/0 0/0",
            r#"192.0.2.7 - - [t] "GET / HTTP/1.1" 200 5 "-" "a b c d e f g h""#,
            &HEAD.replace("200", "2000"),
            HEAD,
        ] {
            assert_eq!(asked(&Names::default(), line), None, "{line}");
        }
    }
}
