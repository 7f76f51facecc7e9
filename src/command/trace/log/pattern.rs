//! Lines of text as nginx describes them: `$remote_addr - $remote_user [$time_local] "$request" $status`.
//!
//! What stands between two names ends the first one's value, so a value may hold whatever that is not. Between quotes a
//! quote behind a backslash ends nothing. A line may go on behind its pattern.

use super::escape::Escapes;
use super::names::{Field, Names, Place};
use super::record::Record;

/// How lines are laid out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern {
    /// What every line begins with.
    lead: Vec<u8>,
    pieces: Vec<Piece>,
    /// How many of the pieces a line must have.
    needed: usize,
}

/// A value, and what it ends at.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Piece {
    name: String,
    place: Option<Place>,
    kind: Kind,
    /// What follows it; nothing when the value goes on to the end of the line.
    end: Vec<u8>,
    /// False when the line may stop before `end`.
    ends_surely: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Up to what follows.
    Plain,
    /// The same, between quotes.
    Quoted,
    /// Digits, or `-` for none.
    Number,
}

/// Why a text is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PatternError {
    /// A `$` without a name.
    #[error(
        "`$` at byte {at} of the pattern has no name behind it, must be like `$remote_addr` or `${{remote_addr}}`"
    )]
    NoName {
        /// Where, from 0.
        at: usize,
    },
    /// Two names with nothing between them.
    #[error(
        "nothing stands between `${first}` and `${second}` in the pattern, so nobody can tell where one ends"
    )]
    Adjacent {
        /// The name before.
        first: String,
        /// The name behind it.
        second: String,
    },
    /// No name that tells what was asked for.
    #[error(
        "no name in the pattern tells the path, it needs `$request`, `$request_uri` or another one of docs/replay.md"
    )]
    NoPath,
}

impl Pattern {
    /// Reads a pattern. `\t` in it is a tab.
    pub(super) fn parse(text: &str) -> Result<Self, PatternError> {
        Self::with_more(text, "")
    }

    /// The same, where lines may stop anywhere in `more`, which goes on behind `text`.
    pub(super) fn with_more(text: &str, more: &str) -> Result<Self, PatternError> {
        let names = Names::default();
        let mut pattern = Self {
            lead: Vec::new(),
            pieces: Vec::new(),
            needed: usize::MAX,
        };
        pattern.add(text, &names)?;
        if !more.is_empty() {
            pattern.needed = pattern.pieces.len();
            pattern.add(more, &names)?;
        }
        for (index, piece) in pattern.pieces.iter_mut().enumerate() {
            piece.ends_surely = index + 1 < pattern.needed;
        }
        let tells_path = |place: &Place| matches!(place.field, Field::Request | Field::Target);
        let mut places = pattern
            .pieces
            .iter()
            .filter_map(|piece| piece.place.as_ref());
        if places.any(tells_path) {
            Ok(pattern)
        } else {
            Err(PatternError::NoPath)
        }
    }

    fn add(&mut self, text: &str, names: &Names) -> Result<(), PatternError> {
        let whole = text.len();
        let text = text.replace("\\t", "\t");
        let mut parts = text.split('$');
        let literal = parts.next().unwrap_or_default();
        self.end_with(literal);
        let mut at = literal.len();
        for part in parts {
            let (name, literal) = name(part).ok_or(PatternError::NoName { at: at.min(whole) })?;
            at += 1 + part.len();
            if let Some(last) = self.pieces.last().filter(|last| last.end.is_empty()) {
                return Err(PatternError::Adjacent {
                    first: last.name.clone(),
                    second: name.to_owned(),
                });
            }
            let is_quoted = self.last_literal().ends_with(b"\"");
            let place = names.place_of(name.as_bytes());
            let is_number = place
                .as_ref()
                .is_some_and(|place| place.field == Field::Bytes);
            let kind = match literal.strip_prefix('"') {
                _ if is_number || name == "status" => Kind::Number,
                Some(_) if is_quoted => Kind::Quoted,
                _ => Kind::Plain,
            };
            self.pieces.push(Piece {
                name: name.to_owned(),
                place,
                kind,
                end: Vec::new(),
                ends_surely: true,
            });
            self.end_with(literal);
        }
        Ok(())
    }

    fn last_literal(&mut self) -> &mut Vec<u8> {
        match self.pieces.last_mut() {
            Some(last) => &mut last.end,
            None => &mut self.lead,
        }
    }

    fn end_with(&mut self, literal: &str) {
        self.last_literal().extend_from_slice(literal.as_bytes());
    }

    /// Hands the values of a line to `record`; false when the line is laid out otherwise.
    pub(super) fn read<'l>(&self, line: &'l [u8], record: &mut Record<'l>) -> bool {
        let Some(mut rest) = line.strip_prefix(self.lead.as_slice()) else {
            return false;
        };
        for (index, piece) in self.pieces.iter().enumerate() {
            let Some((value, after)) = piece.split(rest) else {
                return index >= self.needed;
            };
            if let Some(place) = &piece.place {
                record.put(place, Escapes::Backslash.undo(value));
            }
            let Some(after) = after else {
                return !piece.ends_surely;
            };
            rest = after;
        }
        true
    }

    /// The names that count, and those that do not, each in the pattern's order.
    pub(super) fn names(&self) -> (Vec<&str>, Vec<&str>) {
        let named = self.pieces.iter().filter(|piece| piece.name != "_");
        let (read, unread): (Vec<&Piece>, Vec<&Piece>) =
            named.partition(|piece| piece.place.is_some());
        (
            read.into_iter().map(|piece| piece.name.as_str()).collect(),
            unread
                .into_iter()
                .map(|piece| piece.name.as_str())
                .collect(),
        )
    }
}

/// A value, and what is behind its end; nothing where the line stops before that.
type Split<'l> = (&'l [u8], Option<&'l [u8]>);

impl Piece {
    /// The value that `text` begins with.
    fn split<'l>(&self, text: &'l [u8]) -> Option<Split<'l>> {
        let found = match self.kind {
            Kind::Number => return self.number(text),
            _ if self.end.is_empty() => return Some((text, Some(&[]))),
            Kind::Quoted => self.unescaped_end(text),
            Kind::Plain => find(text, &self.end),
        };
        match found {
            Some(at) => Some((text.get(..at)?, text.get(at + self.end.len()..))),
            // A word may be the line's last; a quote that is never closed was cut off.
            None => (self.kind == Kind::Plain).then_some((text, None)),
        }
    }

    fn number<'l>(&self, text: &'l [u8]) -> Option<Split<'l>> {
        let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let length = match (digits, text.first()) {
            (0, Some(b'-')) => 1,
            (0, _) => return None,
            (digits, _) => digits,
        };
        let (number, rest) = text.split_at_checked(length)?;
        match rest.strip_prefix(self.end.as_slice()) {
            Some(after) => Some((number, Some(after))),
            None if rest.first().is_none_or(u8::is_ascii_whitespace) => Some((number, None)),
            None => None,
        }
    }

    /// Where the end is that no backslash stands before.
    fn unescaped_end(&self, text: &[u8]) -> Option<usize> {
        let mut from = 0;
        loop {
            let rest = text.get(from..)?;
            let at = from + memchr::memchr2(b'"', b'\\', rest)?;
            let here = text.get(at..)?;
            from = match here.first() {
                Some(b'\\') => at + 2,
                _ if here.starts_with(&self.end) => return Some(at),
                _ => at + 1,
            };
        }
    }
}

/// Where `end` begins in `text`. Values are short, so a search that has to be prepared would not pay.
pub(super) fn find(text: &[u8], end: &[u8]) -> Option<usize> {
    let first = *end.first()?;
    memchr::memchr_iter(first, text)
        .find(|at| text.get(*at..).is_some_and(|rest| rest.starts_with(end)))
}

/// The name that stands behind a `$`, and the rest.
fn name(text: &str) -> Option<(&str, &str)> {
    let found = if let Some(rest) = text.strip_prefix('{') {
        rest.split_once('}')?
    } else {
        let end = text.find(|c: char| !is_in_name(c)).unwrap_or(text.len());
        text.split_at_checked(end)?
    };
    let is_name = !found.0.is_empty() && found.0.chars().all(is_in_name);
    is_name.then_some(found)
}

fn is_in_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pattern: &str, line: &str) -> Option<[String; 3]> {
        let pattern = Pattern::parse(pattern).unwrap();
        let mut record = Record::default();
        if !pattern.read(line.as_bytes(), &mut record) {
            return None;
        }
        let request = record.into_entry().unwrap().request("");
        let client = request.client.unwrap().ip;
        Some([client, request.host, request.path])
    }

    #[test]
    fn values_stand_where_the_pattern_says() {
        for (pattern, line, values) in [
            (
                r#"$remote_addr - - [$time_local] "$request" $status $_ "$http_host""#,
                r#"192.0.2.7 - - [t] "GET /a HTTP/1.1" 200 0.5 "www.example.com" and more"#,
                ["192.0.2.7", "www.example.com", "/a"],
            ),
            (
                "$http_host|${remote_addr}|$request_uri",
                "www.example.com|192.0.2.7|/a b",
                ["192.0.2.7", "www.example.com", "/a b"],
            ),
            (
                r"$request_uri\t$remote_addr",
                "/a\t192.0.2.7",
                ["192.0.2.7", "", "/a"],
            ),
            (
                r#"<$remote_addr> "$request" "$http_host""#,
                r#"<192.0.2.7> "GET /a\"b\x22 HTTP/1.1" "h\"""#,
                ["192.0.2.7", "h\"", "/a\"b\""],
            ),
            // Without escapes a quote inside does not end what goes on behind it.
            (
                r#""$request" $status $remote_addr"#,
                r#""GET /a"b HTTP/1.1" 200 192.0.2.7"#,
                ["192.0.2.7", "", "/a\"b"],
            ),
        ] {
            let values = values.map(str::to_owned);
            assert_eq!(read(pattern, line), Some(values), "{line}");
        }
    }

    #[test]
    fn lines_of_another_layout_are_not_read() {
        let pattern = r#"$remote_addr [$time] "$request" $status "$http_host""#;
        for line in [
            "",
            "192.0.2.7",
            r#"192.0.2.7 (t) "GET / HTTP/1.1" 200 "h""#,
            r#"192.0.2.7 [t] "GET / HTTP/1.1" abc "h""#,
            r#"192.0.2.7 [t] "GET / HTTP/1.1" 200 h"#,
            r#"192.0.2.7 [t] "GET / HTTP/1.1" 200 "h"#,
            r#"192.0.2.7 [t] "GET / HTTP/1.1"#,
        ] {
            assert_eq!(read(pattern, line), None, "{line}");
        }
    }

    #[test]
    fn lines_may_stop_where_the_pattern_says() {
        let pattern = Pattern::with_more(r#""$request" $bytes"#, r#" "$http_host" $tail"#).unwrap();
        for (line, host) in [
            (r#""GET / HTTP/1.1" 5"#, ""),
            (r#""GET / HTTP/1.1" - "h" x"#, "h"),
            (r#""GET / HTTP/1.1" 5 "h"#, ""),
            (r#""GET / HTTP/1.1" 5 0.3 "h""#, ""),
        ] {
            let mut record = Record::default();
            assert!(pattern.read(line.as_bytes(), &mut record), "{line}");
            let request = record.into_entry().unwrap().request("");
            assert_eq!(request.host, host, "{line}");
        }
        for line in [
            r#""GET / HTTP/1.1""#,
            r#""GET / HTTP/1.1" x"#,
            r#""GET / HTTP/1.1" 5x"#,
        ] {
            assert!(
                !pattern.read(line.as_bytes(), &mut Record::default()),
                "{line}"
            );
        }
    }

    #[test]
    fn what_is_no_pattern_has_a_reason() {
        let at = |at| PatternError::NoName { at };
        for (text, error) in [
            ("a $ b", at(2)),
            ("$request $", at(9)),
            ("${request", at(0)),
            ("$remote_addr $status", PatternError::NoPath),
            (
                "$request$status",
                PatternError::Adjacent {
                    first: "request".into(),
                    second: "status".into(),
                },
            ),
        ] {
            assert_eq!(Pattern::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn names_that_do_not_count_are_known() {
        let pattern = Pattern::parse(r#"$remote_adr $_ "$request""#).unwrap();
        assert_eq!(pattern.names(), (vec!["request"], vec!["remote_adr"]));
    }
}
