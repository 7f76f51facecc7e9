//! Logs that say themselves what their columns are: the W3C's extended format, as IIS writes it, and `CloudFront`'s
//! standard logs.
//!
//! A line `#Fields:` names the columns of the lines behind it, and may come again. `CloudFront` parts columns by tabs
//! and writes headers percent-encoded; others part them by spaces and write `+` for a space in a header.

use std::borrow::Cow;

use super::Malformed;
use super::escape::Escapes;
use super::names::{Field, Names, Place};
use super::record::Record;

/// The columns of `CloudFront`'s standard logs, for files that have lost their first lines.
const CLOUDFRONT: &str = "date time x-edge-location sc-bytes c-ip cs-method cs(Host) cs-uri-stem sc-status cs(Referer) \
cs(User-Agent) cs-uri-query cs(Cookie) x-edge-result-type x-edge-request-id x-host-header cs-protocol cs-bytes \
time-taken x-forwarded-for ssl-protocol ssl-cipher x-edge-response-result-type cs-protocol-version fle-status \
fle-encrypted-fields c-port time-to-first-byte x-edge-detailed-result-type sc-content-type sc-content-len \
sc-range-start sc-range-end";

/// Columns, as far as they are known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Columns {
    names: Names,
    places: Vec<Option<Place>>,
    is_cloudfront: bool,
}

impl Columns {
    /// Nothing is known before the first `#Fields:`.
    pub(super) fn new(names: Names) -> Self {
        Self {
            names,
            ..Self::default()
        }
    }

    /// Those of `CloudFront`, until the log says otherwise.
    pub(super) fn cloudfront(names: Names) -> Self {
        let mut columns = Self::new(names);
        columns.set(CLOUDFRONT.as_bytes());
        columns
    }

    /// True for `CloudFront`'s columns.
    pub(super) fn is_cloudfront(&self) -> bool {
        self.is_cloudfront
    }

    /// Hands the values of a line to `record`; false for a line that is about the log itself.
    pub(super) fn read<'l>(
        &mut self,
        line: &'l [u8],
        record: &mut Record<'l>,
    ) -> Result<bool, Malformed> {
        if let Some(directive) = line.strip_prefix(b"#") {
            if let Some(columns) = directive.strip_prefix(b"Fields:") {
                self.set(columns);
            }
            return Ok(false);
        }
        if self.places.is_empty() {
            return Err(Malformed::Columns);
        }
        let values = values(line);
        let mut places = self.places.iter();
        for value in values {
            let place = places.next().ok_or(Malformed::Fields)?;
            if let Some(place) = place {
                record.put(place, self.undo(place, value));
            }
        }
        match places.next() {
            None => Ok(true),
            Some(_) => Err(Malformed::Fields),
        }
    }

    fn set(&mut self, columns: &[u8]) {
        let is_space = |byte: &u8| byte.is_ascii_whitespace();
        let names = columns.split(is_space).filter(|name| !name.is_empty());
        self.is_cloudfront = names.clone().any(|name| name.starts_with(b"x-edge-"));
        self.places = names.map(|name| self.names.place_of(name)).collect();
    }

    fn undo<'l>(&self, place: &Place, value: &'l [u8]) -> Cow<'l, [u8]> {
        match place.field {
            Field::Header(_) if self.is_cloudfront => Escapes::Percent.undo(value),
            Field::Header(_) => Escapes::Plus.undo(value),
            _ => Cow::Borrowed(value),
        }
    }
}

/// The values of a line: what stands between tabs, or where there are none the words.
fn values(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let has_tabs = memchr::memchr(b'\t', line).is_some();
    let mark = if has_tabs { b'\t' } else { b' ' };
    line.split(move |byte| *byte == mark)
        .filter(move |value| has_tabs || !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Client, host, method, path, query, user agent.
    type Row = [String; 6];

    /// What each line asks for.
    fn asked(columns: &mut Columns, log: &str) -> Vec<Result<Row, Malformed>> {
        let mut found = Vec::new();
        for line in log.lines() {
            let mut record = Record::default();
            match columns.read(line.as_bytes(), &mut record) {
                Ok(false) => {}
                Err(malformed) => found.push(Err(malformed)),
                Ok(true) => {
                    let request = record.into_entry().unwrap().request("");
                    let agent = request.headers.into_iter().find(|h| h.name == "user-agent");
                    found.push(Ok([
                        request.client.unwrap().ip,
                        request.host,
                        request.method,
                        request.path,
                        request.query,
                        agent.map(|h| h.value).unwrap_or_default(),
                    ]));
                }
            }
        }
        found
    }

    fn row(values: [&str; 6]) -> Row {
        values.map(str::to_owned)
    }

    #[test]
    fn cloudfront_names_its_columns_and_encodes_headers() {
        let log = "#Version: 1.0\n\
            #Fields: date time x-edge-location sc-bytes c-ip cs-method cs(Host) cs-uri-stem sc-status cs(User-Agent) \
            cs-uri-query x-host-header\n\
            2026-01-01\t00:00:00\tLAX1\t392\t192.0.2.7\tGET\td1.cloudfront.example\t/a%20b\t200\tx/1%20(y)\tc=1\twww.example.com\n\
            2026-01-01\t00:00:00\tLAX1\t392\t2001:db8::1\tGET\td1.cloudfront.example\t/\t200\t-\t-\t-\n";
        let mut columns = Columns::default();
        let expected = [
            Ok(row([
                "192.0.2.7",
                "www.example.com",
                "GET",
                "/a%20b",
                "c=1",
                "x/1 (y)",
            ])),
            Ok(row([
                "2001:db8::1",
                "d1.cloudfront.example",
                "GET",
                "/",
                "",
                "",
            ])),
        ];
        assert_eq!(asked(&mut columns, log), expected);
        assert!(columns.is_cloudfront());
    }

    #[test]
    fn a_cloudfront_log_without_its_head_has_the_standard_columns() {
        let mut values = vec!["-"; 33];
        (values[4], values[5], values[7], values[15]) = ("192.0.2.7", "GET", "/a", "h");
        let line = values.join("\t");
        let mut columns = Columns::cloudfront(Names::default());
        assert_eq!(
            asked(&mut columns, &line),
            [Ok(row(["192.0.2.7", "h", "GET", "/a", "", ""]))]
        );
    }

    #[test]
    fn iis_may_change_its_columns_on_the_way() {
        let log = "\
            #Software: Microsoft Internet Information Services 10.0\n\
            #Fields: date time s-ip cs-method cs-uri-stem cs-uri-query s-port c-ip cs(User-Agent) sc-status\n\
            2026-01-01 00:00:01 10.0.0.1 GET /a c=1 443 192.0.2.7 x/1+(y) 200\n\
            2026-01-01 00:00:01 10.0.0.1 GET /cut\n\
            #Fields: cs-host c-ip cs-method cs-uri-stem\n\
            www.example.com 192.0.2.8 POST /b\n\
            www.example.com 192.0.2.8 POST /b more\n";
        let expected = [
            Ok(row(["192.0.2.7", "", "GET", "/a", "c=1", "x/1 (y)"])),
            Err(Malformed::Fields),
            Ok(row(["192.0.2.8", "www.example.com", "POST", "/b", "", ""])),
            Err(Malformed::Fields),
        ];
        let mut columns = Columns::default();
        assert_eq!(asked(&mut columns, log), expected);
        assert!(!columns.is_cloudfront());
    }

    #[test]
    fn a_log_that_names_no_columns_cannot_be_read() {
        let mut columns = Columns::default();
        assert_eq!(
            asked(&mut columns, "# a word\na b c"),
            [Err(Malformed::Columns)]
        );
    }
}
