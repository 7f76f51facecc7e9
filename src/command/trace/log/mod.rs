//! Access logs as strangers bring them, line by line.
//!
//! [`Format`] is how lines are laid out, given by hand or found out from the first lines that can be read; it turns a line
//! into what routing needs, an [`Entry`]. A line that tells no request is counted with a reason, a [`Malformed`], and
//! never stops a replay. docs/replay.md is the reference.

mod escape;
mod format;
mod haproxy;
mod json;
mod lines;
mod names;
mod pattern;
mod record;
mod w3c;

use std::borrow::Cow;
use std::collections::VecDeque;
use std::io::{self, Read};

pub(super) use format::KNOWN;
pub use format::{Format, FormatError};
use lines::{Found, Lines};
pub use pattern::PatternError;
pub use record::Entry;

/// Lines looked at at once to find out the format.
const SAMPLE_LINES: usize = 64;

/// Bytes looked at at once to find out the format.
const SAMPLE_BYTES: usize = 256 << 10;

/// A value of a line as bytes, borrowed where no escape had to be undone.
type Value<'l> = Cow<'l, [u8]>;

/// Why a line is not decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Malformed {
    /// Longer than 64 KiB.
    TooLong,
    /// In none of the formats that are told by their lines.
    Unknown,
    /// Not the fields of the log's format.
    Fields,
    /// Columns that no `#Fields:` has named.
    Columns,
    /// Who asked is neither an address nor a word for an unknown client.
    Client,
    /// What was asked for is no HTTP request.
    Request,
}

impl Malformed {
    /// The word used in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TooLong => "line_too_long",
            Self::Unknown => "in_no_known_format",
            Self::Fields => "not_in_this_format",
            Self::Columns => "columns_without_names",
            Self::Client => "client_not_an_address",
            Self::Request => "not_an_http_request",
        }
    }
}

/// A log that is read.
#[derive(Debug)]
pub(super) struct Log<R> {
    lines: Lines<R>,
    format: Option<Format>,
    /// Lines that were read to find out the format.
    ahead: VecDeque<Held>,
    /// Why there is nothing behind those.
    broken: Option<io::Error>,
    line: Vec<u8>,
}

/// A line that waits for its turn.
#[derive(Debug)]
struct Held {
    number: u64,
    /// Nothing where it was too long.
    text: Option<Vec<u8>>,
}

/// A line of the log.
#[derive(Debug)]
pub(super) struct Line<'l> {
    /// From 1.
    pub(super) number: u64,
    /// As it is written.
    pub(super) text: &'l [u8],
    /// What it says; nothing for a line that is about the log itself.
    pub(super) entry: Result<Option<Entry<'l>>, Malformed>,
}

impl<R: Read> Log<R> {
    /// The log that `input` holds. Without a format it is found out.
    pub(super) fn new(input: R, format: Option<Format>) -> Self {
        Self {
            lines: Lines::new(input),
            format,
            ahead: VecDeque::new(),
            broken: None,
            line: Vec::new(),
        }
    }

    /// The format, once it is known.
    pub(super) fn format(&self) -> Option<&Format> {
        self.format.as_ref()
    }

    /// What the log is read from.
    pub(super) fn source(&self) -> &R {
        self.lines.source()
    }

    /// The next line that is not empty; `None` at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        if self.format.is_none() && self.ahead.is_empty() && self.broken.is_none() {
            self.look_ahead();
        }
        let (number, found) = self.advance()?;
        let entry = match (found, &mut self.format) {
            (Found::End, _) => return Ok(None),
            (Found::TooLong, _) => {
                self.line.clear();
                Err(Malformed::TooLong)
            }
            (Found::Line, None) => Err(Malformed::Unknown),
            (Found::Line, Some(format)) => format.read(&self.line),
        };
        Ok(Some(Line {
            number,
            text: &self.line,
            entry,
        }))
    }

    /// Puts the next line into its place, and gives its number.
    fn advance(&mut self) -> io::Result<(u64, Found)> {
        if let Some(Held { number, text }) = self.ahead.pop_front() {
            let found = if text.is_some() {
                Found::Line
            } else {
                Found::TooLong
            };
            self.line = text.unwrap_or_default();
            return Ok((number, found));
        }
        if let Some(error) = self.broken.take() {
            return Err(error);
        }
        let found = self.lines.next(&mut self.line)?;
        Ok((self.lines.number(), found))
    }

    /// Reads some lines and finds out their format. Where there is none, those behind them are looked at next.
    fn look_ahead(&mut self) {
        let mut bytes = 0;
        while self.ahead.len() < SAMPLE_LINES && bytes < SAMPLE_BYTES {
            let mut line = Vec::new();
            let found = self.lines.next(&mut line);
            bytes += line.len();
            let text = match found {
                Ok(Found::Line) => Some(line),
                Ok(Found::TooLong) => None,
                Ok(Found::End) => break,
                Err(error) => {
                    self.broken = Some(error);
                    break;
                }
            };
            let number = self.lines.number();
            self.ahead.push_back(Held { number, text });
        }
        let lines = self.ahead.iter().filter_map(|held| held.text.as_deref());
        self.format = Format::of(&lines);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"192.0.2.7 - - [t] "GET /a HTTP/1.1" 200 5"#;

    type Numbered = (u64, Option<Malformed>);

    /// What the lines are, the format, and whether the end was reached.
    fn all(mut log: Log<impl Read>) -> (Vec<Numbered>, Option<String>, bool) {
        let mut found = Vec::new();
        let whole = loop {
            match log.next() {
                Ok(Some(line)) => found.push((line.number, line.entry.err())),
                Ok(None) => break true,
                Err(_) => break false,
            }
        };
        (found, log.format().map(Format::describe), whole)
    }

    #[test]
    fn the_format_is_found_out_however_late_it_shows() {
        let noise = "starting up\n".repeat(SAMPLE_LINES * 3);
        let text = format!("{noise}{LINE}\n\n{LINE}\nnonsense");
        let (found, format, _) = all(Log::new(text.as_bytes(), None));
        assert_eq!(format.as_deref(), Some("combined"));
        let first = u64::try_from(SAMPLE_LINES * 3).unwrap();
        assert_eq!(found[0], (1, Some(Malformed::Unknown)));
        let rest: Vec<_> = found
            .into_iter()
            .filter(|(number, _)| *number > first)
            .collect();
        assert_eq!(
            rest,
            [
                (first + 1, None),
                (first + 3, None),
                (first + 4, Some(Malformed::Fields))
            ]
        );
    }

    #[test]
    fn a_format_that_is_given_is_not_doubted() {
        let (found, format, _) = all(Log::new(LINE.as_bytes(), "json".parse().ok()));
        assert_eq!(found, [(1, Some(Malformed::Fields))]);
        assert_eq!(format.as_deref(), Some("json"));
        let nothing = all(Log::new(&b"a\nb"[..], None));
        assert_eq!(nothing.1, None);
    }

    #[test]
    fn what_breaks_is_told_after_the_lines_before_it() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::ErrorKind::UnexpectedEof.into())
            }
        }
        let text = format!("{LINE}\n{LINE}\ncut li");
        let (found, format, whole) = all(Log::new(text.as_bytes().chain(Broken), None));
        assert_eq!(found, [(1, None), (2, None)]);
        assert_eq!((format.as_deref(), whole), (Some("combined"), false));
    }
}
