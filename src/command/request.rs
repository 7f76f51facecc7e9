//! One request, as it is written on a command line.

use clap::ArgAction;

use crate::engine::model::printable;
use crate::sidecar::wire::{WireError, proto};

/// The request to decide.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Request")]
#[group(skip)]
pub struct Args {
    /// A URL that gives host, path and query, like <https://www.example.com/video/1.mp4?t=5>
    #[arg(value_name = "URL", value_hint = clap::ValueHint::Url)]
    pub url: Option<String>,
    /// The client's IP address
    #[arg(long, value_name = "IP", env = "TRADEWIND_CLIENT")]
    pub client: Option<String>,
    /// Where the client is, degrees north; counts before the geo files
    #[arg(
        long,
        value_name = "DEGREES",
        env = "TRADEWIND_LAT",
        requires = "lon",
        allow_hyphen_values = true
    )]
    pub lat: Option<f64>,
    /// Where the client is, degrees east
    #[arg(
        long,
        value_name = "DEGREES",
        env = "TRADEWIND_LON",
        requires = "lat",
        allow_hyphen_values = true
    )]
    pub lon: Option<f64>,
    /// The client's country, two letters like DE
    #[arg(long, value_name = "CODE", env = "TRADEWIND_COUNTRY")]
    pub country: Option<String>,
    /// The client's autonomous system
    #[arg(long, value_name = "NUMBER", env = "TRADEWIND_ASN")]
    pub asn: Option<u32>,
    /// The host, instead of the URL's
    #[arg(long, value_name = "HOST", env = "TRADEWIND_HOST")]
    pub host: Option<String>,
    /// The path, instead of the URL's
    #[arg(long, value_name = "PATH", env = "TRADEWIND_PATH")]
    pub path: Option<String>,
    /// What follows `?`, instead of the URL's
    #[arg(long, value_name = "QUERY", env = "TRADEWIND_QUERY")]
    pub query: Option<String>,
    /// The method [default: GET]
    #[arg(long, value_name = "METHOD", env = "TRADEWIND_METHOD")]
    pub method: Option<String>,
    /// A header, like 'Accept: image/webp'; may be given several times
    #[arg(long = "header", value_name = "NAME: VALUE", env = "TRADEWIND_HEADER", action = ArgAction::Append)]
    pub headers: Vec<String>,
    /// The cache key, instead of the one that the rule's recipe makes
    #[arg(long, value_name = "KEY", env = "TRADEWIND_KEY")]
    pub key: Option<String>,
    /// The content class, one of the policy's
    #[arg(long, value_name = "CLASS", env = "TRADEWIND_CLASS")]
    pub class: Option<String>,
    /// Size of the object in bytes
    #[arg(long, value_name = "BYTES", env = "TRADEWIND_SIZE")]
    pub size: Option<u64>,
    /// A node that was tried already and failed; may be given several times
    #[arg(
        long,
        value_name = "NODE",
        env = "TRADEWIND_TRIED",
        value_delimiter = ','
    )]
    pub tried: Vec<String>,
    /// A node to choose among; may be given several times
    #[arg(
        long,
        value_name = "NODE",
        env = "TRADEWIND_ONLY",
        value_delimiter = ','
    )]
    pub only: Vec<String>,
    /// How many nodes to name, 1 to 8 [default: the rule's number]
    #[arg(long, value_name = "N", env = "TRADEWIND_CANDIDATES")]
    pub candidates: Option<u32>,
    /// A pool to use instead of matching rules
    #[arg(long, value_name = "POOL", env = "TRADEWIND_POOL")]
    pub pool: Option<String>,
    /// The node that asks for its parent, by id
    #[arg(long, value_name = "NODE", env = "TRADEWIND_CHILD")]
    pub child: Option<String>,
    /// What spreads requests in pools without affinity
    #[arg(long, value_name = "ID", env = "TRADEWIND_REQUEST_ID")]
    pub request_id: Option<String>,
}

/// Why a command line is no request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// Not a URL that can be routed.
    #[error("`{value}` is not a URL to route, must be like https://www.example.com/path?query")]
    Url {
        /// What was given.
        value: String,
    },
    /// Not a header.
    #[error("the header `{value}` has no name, must be like `Accept: image/webp`")]
    Header {
        /// What was given.
        value: String,
    },
    /// Fields that are out of bounds.
    #[error(transparent)]
    Fields(#[from] WireError),
}

impl Args {
    /// The request as a message. It is a dry run: a person's question belongs in no statistics.
    pub fn to_message(&self) -> Result<proto::DecideRequest, RequestError> {
        let url = match &self.url {
            Some(text) => Url::parse(text).ok_or_else(|| RequestError::Url {
                value: printable(text, 80),
            })?,
            None => Url::default(),
        };
        let headers = self.headers.iter().map(|text| header(text));
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let or_url = |value: &Option<String>, part: &str| match value {
            Some(value) => value.clone(),
            None => part.to_owned(),
        };
        let location = self.lat.zip(self.lon);
        let client = proto::Client {
            ip: text(&self.client),
            asn: self.asn.unwrap_or_default(),
            country: text(&self.country),
            location: location.map(|(latitude, longitude)| proto::Location {
                latitude,
                longitude,
            }),
        };
        Ok(proto::DecideRequest {
            request_id: text(&self.request_id),
            pool: text(&self.pool),
            child_node: text(&self.child),
            host: or_url(&self.host, url.host),
            path: or_url(&self.path, url.path),
            query: or_url(&self.query, url.query),
            method: text(&self.method),
            headers: headers.collect::<Result<_, _>>()?,
            key: text(&self.key).into_bytes(),
            client: Some(client),
            class: text(&self.class),
            size_hint_bytes: self.size.unwrap_or_default(),
            object_version_floor: 0,
            tried_nodes: self.tried.clone(),
            only_nodes: self.only.clone(),
            candidates: self.candidates.unwrap_or_default(),
            dry_run: true,
            want_place: false,
        })
    }
}

/// The parts of a URL that routing looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Url<'u> {
    /// With the port, if it is written.
    pub(super) host: &'u str,
    /// Begins with `/`.
    pub(super) path: &'u str,
    /// Without `?`.
    pub(super) query: &'u str,
}

impl<'u> Url<'u> {
    /// Reads `https://host/path?query#fragment`; without a scheme, `host/path` and `/path` are taken too.
    pub(super) fn parse(text: &'u str) -> Option<Self> {
        let rest = match text.split_once("://") {
            Some(("http" | "https", rest)) => rest,
            // A query may hold a URL of its own.
            Some((before, _)) if before.contains(['/', '?']) => text,
            Some(_) => return None,
            None => text,
        };
        let has_scheme = rest.len() != text.len();
        let rest = rest.split('#').next().unwrap_or_default();
        let (before_query, query) = rest.split_once('?').unwrap_or((rest, ""));
        let slash = before_query.find('/').unwrap_or(before_query.len());
        let (host, path) = before_query.split_at_checked(slash)?;
        let is_bad = |c: char| c.is_whitespace() || c.is_control() || c == '@';
        if host.contains(is_bad) || (host.is_empty() && (has_scheme || path.is_empty())) {
            return None;
        }
        let path = if path.is_empty() { "/" } else { path };
        Some(Self { host, path, query })
    }
}

fn header(text: &str) -> Result<proto::Header, RequestError> {
    match text.split_once(':') {
        Some((name, value)) if !name.trim().is_empty() => Ok(proto::Header {
            name: name.trim().to_owned(),
            value: value.trim().to_owned(),
        }),
        _ => Err(RequestError::Header {
            value: printable(text, 80),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_fall_into_their_parts() {
        for (text, parts) in [
            (
                "https://www.example.com/video/1.mp4",
                ("www.example.com", "/video/1.mp4", ""),
            ),
            (
                "http://a.example:8080/x?w=1&h=2#top",
                ("a.example:8080", "/x", "w=1&h=2"),
            ),
            ("https://a.example", ("a.example", "/", "")),
            ("https://a.example?q", ("a.example", "/", "q")),
            ("https://[2001:db8::1]:80/x", ("[2001:db8::1]:80", "/x", "")),
            ("a.example/x", ("a.example", "/x", "")),
            (
                "/x?to=http://b.example/y",
                ("", "/x", "to=http://b.example/y"),
            ),
        ] {
            let (host, path, query) = parts;
            assert_eq!(Url::parse(text), Some(Url { host, path, query }), "{text}");
        }
        for text in [
            "",
            "ftp://a.example/x",
            "https:///x",
            "https://user@a.example/",
            "https://a b/",
            "?q",
        ] {
            assert_eq!(Url::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn flags_go_before_the_url() {
        let args = Args {
            url: Some("https://a.example/x?y=1".into()),
            host: Some("b.example".into()),
            query: Some(String::new()),
            headers: vec!["Accept: image/webp".into(), "X-Empty:".into()],
            ..Args::default()
        };
        let message = args.to_message().unwrap();
        assert_eq!(
            (message.host.as_str(), message.path.as_str()),
            ("b.example", "/x")
        );
        assert!(message.query.is_empty() && message.dry_run);
        assert_eq!(
            (
                message.headers[0].name.as_str(),
                message.headers[0].value.as_str()
            ),
            ("Accept", "image/webp")
        );
        let bad = Args {
            headers: vec!["no colon".into()],
            ..Args::default()
        };
        assert!(matches!(bad.to_message(), Err(RequestError::Header { .. })));
    }
}
