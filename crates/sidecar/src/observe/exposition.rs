//! The two text formats of metrics, and which of them a scraper wants.
//!
//! Metrics are written as `OpenMetrics`. Who asks for the older text format of Prometheus gets the same samples in it:
//! families of counters are then called like their samples, and there are neither units nor an end mark.

use http::header::{self, HeaderMap, HeaderValue};

/// A text format of metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exposition {
    /// `OpenMetrics` 1.0.0; what is answered when nothing else is asked for.
    OpenMetrics,
    /// The text format of Prometheus, version 0.0.4.
    Prometheus,
}

impl Exposition {
    /// Its media type, version and charset.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// The one that the `Accept` headers of a request prefer (RFC 9110, 12.5.1): of the highest quality, then named most
    /// exactly, then `OpenMetrics`. Who takes neither gets `OpenMetrics` all the same: any page is better than none when
    /// something is to be found out.
    pub fn accepted(headers: &HeaderMap) -> Self {
        let values = headers.get_all(header::ACCEPT).iter();
        let texts = values.filter_map(|value| HeaderValue::to_str(value).ok());
        let ranges: Vec<Range<'_>> = texts
            .flat_map(|text| text.split(','))
            .filter_map(Range::read)
            .collect();
        let standing = |format: Self| -> (u16, u8) {
            let matching = ranges
                .iter()
                .filter_map(|range| Some((range.exactness(format)?, range.quality)));
            // The most exact range says it, even where a wider one would allow more.
            matching
                .max()
                .map_or((0, 0), |(exactness, quality)| (quality, exactness))
        };
        if standing(Self::Prometheus) > standing(Self::OpenMetrics) {
            Self::Prometheus
        } else {
            Self::OpenMetrics
        }
    }

    /// `open_metrics`, which is in that format, in this one.
    pub fn of(self, open_metrics: String) -> String {
        match self {
            Self::OpenMetrics => open_metrics,
            Self::Prometheus => to_prometheus(&open_metrics),
        }
    }

    /// Type and subtype, and the version it has.
    const fn media_type(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::OpenMetrics => ("application", "openmetrics-text", "1.0.0"),
            Self::Prometheus => ("text", "plain", "0.0.4"),
        }
    }
}

/// One of the media ranges that a request accepts.
#[derive(Debug)]
struct Range<'a> {
    type_: &'a str,
    subtype: &'a str,
    version: Option<&'a str>,
    /// In thousandths.
    quality: u16,
}

impl<'a> Range<'a> {
    /// `text/plain;version=0.0.4;q=0.5`; `None` of what is no range.
    fn read(text: &'a str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let (type_, subtype) = parts.next()?.split_once('/')?;
        let mut range = Self {
            type_,
            subtype,
            version: None,
            quality: 1_000,
        };
        for part in parts {
            let (name, value) = part.split_once('=')?;
            let value = value.trim_matches('"');
            if name.eq_ignore_ascii_case("version") {
                range.version = Some(value);
            } else if name.eq_ignore_ascii_case("q") {
                range.quality = quality(value)?;
            }
        }
        Some(range)
    }

    /// How exactly it names a format: 1 `*/*`, 2 `text/*`, 3 `text/plain`, 4 with the version. `None` when it does not.
    fn exactness(&self, format: Exposition) -> Option<u8> {
        let (type_, subtype, version) = format.media_type();
        let same = |own: &str, wanted: &str| own.eq_ignore_ascii_case(wanted);
        match self.version {
            _ if self.type_ == "*" && self.subtype == "*" => Some(1),
            _ if !same(self.type_, type_) => None,
            _ if self.subtype == "*" => Some(2),
            _ if !same(self.subtype, subtype) => None,
            None => Some(3),
            Some(wanted) => (wanted == version).then_some(4),
        }
    }
}

/// `0.75` in thousandths; at most 1 and three digits, as the grammar has it.
fn quality(text: &str) -> Option<u16> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = part.len() <= 3 && part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits || !matches!(whole, "0" | "1") {
        return None;
    }
    let thousandths = format!("{whole}{part:0<3}").parse().ok()?;
    (thousandths <= 1_000).then_some(thousandths)
}

/// The same samples in the text format of Prometheus.
fn to_prometheus(open_metrics: &str) -> String {
    let mut text = String::with_capacity(open_metrics.len() + open_metrics.len() / 16);
    // The HELP of a family comes before its TYPE, which decides what both call it.
    let mut help = None;
    for line in open_metrics.lines() {
        if let Some(of) = line.strip_prefix("# HELP ") {
            help = Some(of);
        } else if let Some((name, kind)) = type_of(line) {
            let suffix = if kind == "counter" { "_total" } else { "" };
            if let Some((_, words)) = help.take().and_then(|of| of.split_once(' ')) {
                text.extend(["# HELP ", name, suffix, " ", words, "\n"]);
            }
            text.extend(["# TYPE ", name, suffix, " ", kind, "\n"]);
        } else if !line.starts_with('#') {
            text.extend([line, "\n"]);
        }
    }
    text
}

/// The family and its type, if that is what a line says.
fn type_of(line: &str) -> Option<(&str, &str)> {
    line.strip_prefix("# TYPE ")?.split_once(' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(values: &[&str]) -> Exposition {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::ACCEPT, HeaderValue::from_str(value).unwrap());
        }
        Exposition::accepted(&headers)
    }

    #[test]
    fn scrapers_get_what_they_prefer() {
        use Exposition::{OpenMetrics, Prometheus};
        for (accept, wanted) in [
            // Prometheus 2, then 3, then one that is told to scrape the old format.
            (
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                OpenMetrics,
            ),
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
                OpenMetrics,
            ),
            ("text/plain;version=0.0.4;q=1,*/*;q=0.1", Prometheus),
            ("text/plain", Prometheus),
            ("TEXT/PLAIN; Version=0.0.4; Q=0.9", Prometheus),
            ("text/*", Prometheus),
            (
                "text/plain;q=0.5, application/openmetrics-text;q=0.4",
                Prometheus,
            ),
            (
                "text/plain;q=0.4, application/openmetrics-text;q=0.5",
                OpenMetrics,
            ),
            // As good as each other: what is named more exactly, then OpenMetrics.
            ("text/plain, */*", Prometheus),
            ("application/openmetrics-text, text/plain", OpenMetrics),
            ("*/*", OpenMetrics),
            ("", OpenMetrics),
            // What is refused is refused, though a wider range would take it.
            ("application/openmetrics-text;q=0, */*", Prometheus),
            (
                "application/openmetrics-text;q=0.000, text/plain;q=0.001",
                Prometheus,
            ),
            // Versions that are not served are not meant.
            (
                "application/openmetrics-text;version=2.0.0, text/plain;version=0.0.4;q=0.1",
                Prometheus,
            ),
            (
                "text/plain;version=1.0.0, application/openmetrics-text;q=0.1",
                OpenMetrics,
            ),
            // Neither, or nonsense.
            ("application/json", OpenMetrics),
            (
                "text/plain;q=2, text/plain;q=0.1234, text/plain;q=x, text, /, ;;, text/plain;q",
                OpenMetrics,
            ),
        ] {
            assert_eq!(accepted(&[accept]), wanted, "{accept}");
        }
        assert_eq!(accepted(&[]), OpenMetrics);
        assert_eq!(accepted(&["*/*;q=0.1", "text/plain"]), Prometheus);
    }

    #[test]
    fn counters_are_called_like_their_samples_in_the_older_format() {
        let open_metrics = "# HELP calls Calls, # and all.\n# TYPE calls counter\ncalls_total{of=\"# a\"} 1\n\
                            # HELP took_seconds Time.\n# TYPE took_seconds histogram\n# UNIT took_seconds seconds\n\
                            took_seconds_sum 0.5\ntook_seconds_count 1\ntook_seconds_bucket{le=\"+Inf\"} 1\n# EOF\n";
        let text = "# HELP calls_total Calls, # and all.\n# TYPE calls_total counter\ncalls_total{of=\"# a\"} 1\n\
                    # HELP took_seconds Time.\n# TYPE took_seconds histogram\n\
                    took_seconds_sum 0.5\ntook_seconds_count 1\ntook_seconds_bucket{le=\"+Inf\"} 1\n";
        assert_eq!(Exposition::Prometheus.of(open_metrics.to_owned()), text);
        assert_eq!(
            Exposition::OpenMetrics.of(open_metrics.to_owned()),
            open_metrics
        );
    }
}
