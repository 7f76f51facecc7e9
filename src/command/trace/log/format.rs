//! The formats that are read, by name or by a pattern, and which of them a log is in.

use std::fmt;
use std::str::FromStr;

use super::Malformed;
use super::haproxy::Haproxy;
use super::json;
use super::names::{CHOICES, Names};
use super::pattern::{Pattern, PatternError};
use super::record::{Entry, Record};
use super::w3c::Columns;
use crate::engine::model::printable;

/// The formats that are read, as messages tell of them.
pub(crate) const KNOWN: &str =
    "combined (or common), vhost_combined, json, cloudfront, w3c (or iis), haproxy, envoy, istio";

/// Formats that are told apart by their lines, those first that others could be taken for.
const DETECTED: [&str; 7] = [
    "combined",
    "vhost_combined",
    "json",
    "w3c",
    "haproxy",
    "istio",
    "envoy",
];

/// A format laid out in lines of text.
struct Layout {
    name: &'static str,
    needed: &'static str,
    /// What lines may stop in: they were cut, or leave it out.
    more: &'static str,
}

const LAYOUTS: [Layout; 4] = [
    Layout {
        name: "combined",
        needed: r#"$remote_addr $_ $remote_user [$time_local] "$request" $status $body_bytes_sent"#,
        more: r#" "$http_referer" "$http_user_agent""#,
    },
    Layout {
        name: "vhost_combined",
        needed: r#"$http_host $remote_addr $_ $remote_user [$time_local] "$request" $status $body_bytes_sent"#,
        more: r#" "$http_referer" "$http_user_agent""#,
    },
    // What Envoy and Istio write unless told otherwise. Neither names the client but by what it forwarded, or Istio at the
    // end. A status is 0 where there was no answer.
    Layout {
        name: "envoy",
        needed: r#"[$_] "$request" $_ $_ $_ $bytes_sent $_ $_ "$http_x_forwarded_for" "$http_user_agent" "$_" "$http_host""#,
        more: r#" "$_""#,
    },
    Layout {
        name: "istio",
        needed: r#"[$_] "$request" $_ $_ $_ $_ "$_" $_ $bytes_sent $_ $_ "$http_x_forwarded_for" "$http_user_agent" "$_" "$http_host" "$_""#,
        more: " $_ $_ $_ $remote_addr $_ $_",
    },
];

/// How a log is read.
///
/// ```
/// use tradewind::command::trace::log::Format;
///
/// let mut format: Format = "combined".parse()?;
/// let line = br#"192.0.2.7 - - [17/May/2026:10:05:03 +0000] "GET /caf\xC3\xA9 HTTP/1.1" 200 5 "-" "-""#;
/// let entry = format.read(line).ok().flatten().expect("it is a line of this format");
/// assert_eq!(entry.request("www.example.com").path, "/café");
/// # Ok::<(), tradewind::command::trace::log::FormatError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Format {
    name: String,
    reader: Reader,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Reader {
    Pattern(Pattern),
    Json(Names),
    Columns(Columns),
    Haproxy(Haproxy),
}

/// Why a text names no format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// Neither a name nor a pattern.
    #[error(
        "`{value}` is not a format that is read, must be one of {KNOWN}, or a pattern like `$remote_addr - - [$time_local] \"$request\" $status`"
    )]
    Unknown {
        /// What was given.
        value: String,
    },
    /// A pattern that cannot be read by.
    #[error(transparent)]
    Pattern(#[from] PatternError),
    /// Not a choice of a name for a field.
    #[error(
        "`{value}` chooses no name for a field, must be like `host=vhost`, with one of client, host, method, path, query, request, bytes before the `=`"
    )]
    Choice {
        /// What was given.
        value: String,
    },
    /// A choice for a format whose fields stand at fixed places.
    #[error(
        "`{name}` has its fields at fixed places, and takes no `{value}`; a pattern says where others are"
    )]
    NoChoice {
        /// The format.
        name: String,
        /// What was given.
        value: String,
    },
}

impl Format {
    /// The formats that are told apart by their lines.
    pub fn detected() -> impl Iterator<Item = Self> {
        DETECTED.iter().filter_map(|name| name.parse().ok())
    }

    /// The format that reads most of these lines; `None` if there is none.
    pub(super) fn of<'l>(lines: &(impl Iterator<Item = &'l [u8]> + Clone)) -> Option<Self> {
        let mut best: Option<([usize; 3], Self)> = None;
        for format in Self::detected() {
            // What a format learns from the lines it is to learn again, from the first.
            let mut trial = format.clone();
            let (mut with_client, mut read, mut nearly) = (0, 0, 0);
            for line in lines.clone() {
                match trial.read(line) {
                    Ok(Some(entry)) => {
                        read += 1;
                        with_client += usize::from(entry.knows_client());
                    }
                    // Laid out as in this format, so it is this format's fault to tell.
                    Err(Malformed::Client | Malformed::Request) => nearly += 1,
                    Ok(None) | Err(_) => {}
                }
            }
            // Where addresses are found there is no mistaking one column for another.
            let score = [with_client, read, nearly];
            if score > best.as_ref().map_or([0; 3], |(score, _)| *score) {
                best = Some((score, format));
            }
        }
        best.map(|(_, format)| format)
    }

    /// What a line says; `None` for one that is about the log itself, as `#Fields:` is.
    pub fn read<'l>(&mut self, line: &'l [u8]) -> Result<Option<Entry<'l>>, Malformed> {
        let mut record = Record::default();
        let is_read = match &mut self.reader {
            Reader::Pattern(pattern) => pattern.read(line, &mut record),
            Reader::Json(names) => json::read(line, names, &mut record),
            Reader::Haproxy(haproxy) => haproxy.read(line, &mut record),
            Reader::Columns(columns) => {
                if !columns.read(line, &mut record)? {
                    return Ok(None);
                }
                true
            }
        };
        if !is_read {
            return Err(Malformed::Fields);
        }
        record.into_entry().map(Some)
    }

    /// The name, or the pattern with what of it counts.
    pub fn describe(&self) -> String {
        match &self.reader {
            Reader::Columns(columns) if columns.is_cloudfront() => "cloudfront".to_owned(),
            Reader::Pattern(pattern) if self.name.is_empty() => {
                let (read, unread) = pattern.names();
                let unread = match unread.as_slice() {
                    [] => String::new(),
                    names => format!("; {} do not count", names.join(", ")),
                };
                format!("the pattern given, by {}{unread}", read.join(", "))
            }
            _ => self.name.clone(),
        }
    }
}

impl FromStr for Format {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<Self, FormatError> {
        if text.contains('$') {
            return Ok(Self {
                name: String::new(),
                reader: Reader::Pattern(Pattern::parse(text)?),
            });
        }
        let mut words = text.split_whitespace();
        let name = words.next().unwrap_or_default().to_ascii_lowercase();
        let choices = words.collect::<Vec<_>>();
        let reader = match name.as_str() {
            "json" => Reader::Json(chosen(&choices)?),
            "w3c" | "iis" => Reader::Columns(Columns::new(chosen(&choices)?)),
            "cloudfront" => Reader::Columns(Columns::cloudfront(chosen(&choices)?)),
            "haproxy" => Reader::Haproxy(Haproxy::new(&chosen(&choices)?)),
            _ => {
                let wanted = if name == "common" { "combined" } else { &name };
                let mut layouts = LAYOUTS.iter();
                let layout = layouts.find(|layout| layout.name == wanted);
                let layout = layout.ok_or_else(|| FormatError::Unknown {
                    value: printable(text, 80),
                })?;
                if let Some(choice) = choices.first() {
                    return Err(FormatError::NoChoice {
                        name,
                        value: printable(choice, 80),
                    });
                }
                Reader::Pattern(Pattern::with_more(layout.needed, layout.more)?)
            }
        };
        Ok(Self { name, reader })
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.describe())
    }
}

/// The names that `field=name` choose.
fn chosen(choices: &[&str]) -> Result<Names, FormatError> {
    let mut names = Names::default();
    for choice in choices {
        let parts = choice.split_once('=').filter(|(_, name)| !name.is_empty());
        let known = parts.and_then(|(field, name)| {
            let (_, field) = CHOICES.iter().find(|(known, _)| *known == field)?;
            Some((field.clone(), name))
        });
        let (field, name) = known.ok_or_else(|| FormatError::Choice {
            value: printable(choice, 80),
        })?;
        names.choose(field, name);
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    macro_rules! logs {
        ($($name:literal),*) => {
            [$(($name, include_str!(concat!("../../../../testdata/logs/", $name, ".log")))),*]
        };
    }

    /// A line in every format; all ask for the same.
    const LOGS: [(&str, &str); 8] = logs!(
        "combined",
        "vhost_combined",
        "json",
        "w3c",
        "cloudfront",
        "haproxy",
        "envoy",
        "istio"
    );

    #[test]
    fn each_format_is_told_by_its_lines_and_read() {
        for (name, log) in LOGS {
            let lines = log.lines().map(str::as_bytes);
            let mut format = Format::of(&lines).unwrap();
            let entries = lines.filter_map(|line| Some(format.read(line).unwrap()?.request("h")));
            let [request] = entries.collect::<Vec<_>>().try_into().unwrap();
            assert_eq!(format.describe(), name);
            let host = request.host.trim_end_matches(":443");
            let names_host = log.contains("www.example.com");
            assert_eq!(host, if names_host { "www.example.com" } else { "h" });
            let parts = [&request.method, &request.path, &request.query];
            assert_eq!(parts, ["GET", "/a/b.png", "w=1"], "{name}");
            assert_eq!(request.client.unwrap().ip, "192.0.2.7", "{name}");
            assert_eq!(request.size_hint_bytes, 2_326, "{name}");
        }
    }

    #[test]
    fn no_byte_of_a_line_breaks_a_reader() {
        for (_, log) in LOGS {
            let lines: Vec<&str> = log.lines().collect();
            let (line, head) = lines.split_last().unwrap();
            for mut format in Format::detected() {
                for line in head {
                    drop(format.read(line.as_bytes()));
                }
                for at in 0..line.len() {
                    drop(format.read(&line.as_bytes()[..at]));
                    for byte in *b"\0\n \t\"\\[]{}:,#%-/?0\xff" {
                        let mut line = line.as_bytes().to_vec();
                        line[at] = byte;
                        let Ok(Some(entry)) = format.read(&line) else {
                            continue;
                        };
                        let known = entry.knows_client();
                        let ip = entry.request("h").client.unwrap().ip;
                        assert_eq!(ip.parse::<IpAddr>().is_ok(), known);
                    }
                }
            }
        }
    }

    #[test]
    fn headers_of_combined_lines_are_as_they_were_sent() {
        let (name, log) = LOGS[0];
        let line = log.trim_end();
        let mut format: Format = name.parse().unwrap();
        let request = format.read(line.as_bytes()).unwrap().unwrap().request("h");
        let headers = request
            .headers
            .iter()
            .map(|h| (h.name.as_str(), h.value.as_str()));
        let expected = [
            ("referer", "http://a.example/"),
            ("user-agent", "Agent \"x\" 1.0"),
        ];
        assert_eq!(headers.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn other_forms_of_combined_lines_are_read() {
        for line in [
            r#"192.0.2.7 - - [t] "GET / HTTP/1.1" 304 -"#,
            r#"2001:db8::1 - - [t] "HEAD / HTTP/1.1" 200 0 "-" "-""#,
            r#"192.0.2.7 - - [t] "GET /" 200 1 "-" "unfinished"#,
            r#"192.0.2.7 - - [t] "GET / HTTP/1.1" 200 1 "-" "-" "10.0.0.1" 0.003"#,
            r#"192.0.2.7 - - [t] "GET / HTTP/1.1" 200 1 0.003 "-" "-""#,
            r#"- - - [t] "GET / HTTP/1.1" 200 1"#,
        ] {
            let mut format: Format = "common".parse().unwrap();
            assert!(
                matches!(format.read(line.as_bytes()), Ok(Some(_))),
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
        ] {
            let mut format: Format = "combined".parse().unwrap();
            let found = format.read(line.as_bytes());
            assert_eq!(found.err(), Some(reason), "{line}");
        }
    }

    #[test]
    fn the_format_of_most_lines_is_taken() {
        let (combined, vhost) = (LOGS[0].1.trim_end(), LOGS[1].1.trim_end());
        let named = combined
            .replace("192.0.2.7", "client.example")
            .replace("ann lee", "-");
        for (lines, name) in [
            (
                vec!["nonsense", combined, vhost, combined],
                Some("combined"),
            ),
            (vec![combined, vhost, vhost], Some("vhost_combined")),
            // Nobody's address, but laid out so: the reason is worth more than none.
            (vec![&named], Some("combined")),
            (vec!["nonsense", "", "{", "# a word"], None),
            (vec![], None),
        ] {
            let found = Format::of(&lines.iter().map(|line| line.as_bytes()));
            assert_eq!(
                found.map(|format| format.describe()).as_deref(),
                name,
                "{lines:?}"
            );
        }
    }

    #[test]
    fn names_and_choices_are_read() {
        for text in [
            "common",
            "Combined",
            "iis",
            "cloudfront",
            "w3c host=cs-host",
        ] {
            assert!(text.parse::<Format>().is_ok(), "{text}");
        }
        let mut format: Format = "json client=cip host=dom path=p".parse().unwrap();
        let line = br#"{"cip":"192.0.2.7","dom":"h.example","p":"/a","remote_addr":"192.0.2.8","host":"o"}"#;
        let request = format.read(line).unwrap().unwrap().request("");
        assert_eq!(
            (request.host.as_str(), request.path.as_str()),
            ("h.example", "/a")
        );
        assert_eq!(request.client.unwrap().ip, "192.0.2.7");
        for (text, part) in [
            ("", "must be one of combined"),
            ("csv", "`csv` is not a format that is read"),
            ("json host", "`host` chooses no name"),
            ("json hots=a", "`hots=a` chooses no name"),
            ("json host=", "`host=` chooses no name"),
            ("combined host=a", "takes no `host=a`"),
            ("$status", "no name in the pattern tells the path"),
        ] {
            let error = text.parse::<Format>().unwrap_err().to_string();
            assert!(error.contains(part), "{part} in {error}");
        }
    }

    #[test]
    fn every_name_is_known_and_told() {
        let names = KNOWN.replace(['(', ')', ','], "");
        for name in names.split_whitespace().filter(|word| *word != "or") {
            assert!(name.parse::<Format>().is_ok(), "{name}");
        }
        let mut told = DETECTED
            .iter()
            .chain(LAYOUTS.iter().map(|layout| &layout.name));
        assert!(told.all(|name| KNOWN.contains(name)));
        assert_eq!(Format::detected().count(), DETECTED.len());
    }

    #[test]
    fn a_pattern_says_what_of_it_counts() {
        let format: Format = r#"$remote_adr "$request""#.parse().unwrap();
        let expected = "the pattern given, by request; remote_adr do not count";
        assert_eq!(format.to_string(), expected);
    }
}
