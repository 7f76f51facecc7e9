//! What logs call the things that routing needs: the names that count, from nginx, Apache, Envoy, Caddy, Traefik,
//! `CloudFront`, IIS, Cloudflare, Google Cloud and the Elastic Common Schema.
//!
//! Names are compared in lower case, with `_` for `-` and without a leading `:`; what is nested in JSON is joined by dots.
//! Of several names for one thing the one that stands first in its list counts. docs/replay.md has the same lists.

use std::collections::HashMap;
use std::sync::LazyLock;

use foldhash::fast::FixedState;

/// What a value of a line tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Field {
    /// The client's address.
    Client,
    /// Addresses that a request came through; the last one counts where nothing else names the client.
    Forwarded,
    /// The host that was asked for.
    Host,
    /// The method.
    Method,
    /// The path, with or without a query.
    Target,
    /// What follows `?`.
    Query,
    /// A whole request line.
    Request,
    /// Bytes that were sent.
    Bytes,
    /// A header of the request, by its name in lower case.
    Header(String),
}

/// A field, and how good this name for it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) field: Field,
    /// The lower, the better.
    pub(super) rank: usize,
}

/// The names that count in a log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Names {
    /// Chosen by hand; for these fields nothing else counts.
    chosen: Vec<(Vec<u8>, Field)>,
}

/// The fields that can be chosen by hand, and what they are called.
pub(super) const CHOICES: [(&str, Field); 7] = [
    ("client", Field::Client),
    ("host", Field::Host),
    ("method", Field::Method),
    ("path", Field::Target),
    ("query", Field::Query),
    ("request", Field::Request),
    ("bytes", Field::Bytes),
];

/// The names of each field, the best first.
#[rustfmt::skip]
const KNOWN: [(Field, &[&str]); 8] = [
    (Field::Client, &[
        "client_ip", "request.client_ip", "remote_addr", "remote_ip", "request.remote_ip", "remote_address",
        "downstream_remote_address", "downstream_remote_address_without_port", "c_ip", "clientip", "clienthost",
        "clientaddr", "client.ip", "client.address", "source.ip", "source.address", "httprequest.remoteip", "client_addr",
        "client", "ip", "realip_remote_addr", "downstream_direct_remote_address",
    ]),
    (Field::Forwarded, &["x_forwarded_for", "http_x_forwarded_for", "forwarded", "http_forwarded"]),
    (Field::Host, &[
        "http_host", "authority", "request.host", "x_host_header", "requesthost", "clientrequesthost", "url.domain",
        "cs_host", "request_host", "vhost", "virtual_host", "host", "domain", "server_name",
    ]),
    (Field::Method, &[
        "request_method", "request.method", "method", "cs_method", "verb", "requestmethod", "clientrequestmethod",
        "http.request.method", "httprequest.requestmethod", "http_method",
    ]),
    (Field::Target, &[
        "x_envoy_original_path", "x_envoy_origin_path", "request_uri", "request.uri", "requestpath", "clientrequesturi",
        "url.original", "httprequest.requesturl", "cs_uri", "cs_uri_stem", "uri", "path", "url", "url.path",
        "clientrequestpath", "request_path",
    ]),
    (Field::Query, &["cs_uri_query", "args", "query_string", "query", "url.query"]),
    (Field::Request, &["request", "request_line"]),
    (Field::Bytes, &[
        "body_bytes_sent", "bytes_sent", "http.response.body.bytes", "downstreamcontentsize", "sc_bytes",
        "edgeresponsebytes", "http.response.bytes", "httprequest.responsesize", "size", "bytes",
    ]),
];

/// Names of headers that have no common form.
const HEADERS: [(&str, &[&str]); 2] = [
    (
        "user-agent",
        &[
            "user_agent",
            "agent",
            "useragent",
            "user_agent.original",
            "clientrequestuseragent",
            "httprequest.useragent",
            "request_user_agent",
        ],
    ),
    (
        "referer",
        &[
            "referer",
            "referrer",
            "http.request.referrer",
            "clientrequestreferer",
            "httprequest.referer",
            "request_referer",
        ],
    ),
];

/// What the name of any header stands behind: nginx's `http_accept`, Caddy's `request.headers.Accept`, W3C's
/// `cs(Accept)`.
const BEFORE_HEADERS: [&[u8]; 3] = [b"http_", b"request.headers.", b"cs("];

type Places = HashMap<&'static [u8], Place, FixedState>;

static PLACES: LazyLock<Places> = LazyLock::new(|| {
    let known = KNOWN.into_iter();
    let headers = HEADERS.map(|(name, names)| (Field::Header(name.to_owned()), names));
    let fields = known.chain(headers);
    let places = fields.flat_map(|(field, names)| {
        names.iter().enumerate().map(move |(rank, name)| {
            let field = field.clone();
            (name.as_bytes(), Place { field, rank })
        })
    });
    places.collect()
});

impl Names {
    /// Lets `name` and nothing else tell `field`.
    pub(super) fn choose(&mut self, field: Field, name: &str) {
        let mut normal = Vec::new();
        push_normal(name.as_bytes(), &mut normal);
        self.chosen.push((normal, field));
    }

    /// What a value under this name tells, if it is one that counts. `name` is in normal form.
    pub(super) fn place(&self, name: &[u8]) -> Option<Place> {
        if let Some((_, field)) = self.chosen.iter().find(|(chosen, _)| chosen == name) {
            let field = field.clone();
            return Some(Place { field, rank: 0 });
        }
        let place = PLACES.get(name).cloned().or_else(|| header(name))?;
        let is_chosen = self.chosen.iter().any(|(_, field)| *field == place.field);
        (!is_chosen).then_some(place)
    }

    /// The same for a name as it is written.
    pub(super) fn place_of(&self, name: &[u8]) -> Option<Place> {
        let mut normal = Vec::with_capacity(name.len());
        push_normal(name, &mut normal);
        self.place(&normal)
    }
}

/// Adds a name in the form that compares.
pub(super) fn push_normal(name: &[u8], normal: &mut Vec<u8>) {
    let name = name.strip_prefix(b":").unwrap_or(name);
    normal.extend(name.iter().map(|byte| match byte {
        b'-' => b'_',
        byte => byte.to_ascii_lowercase(),
    }));
}

fn header(name: &[u8]) -> Option<Place> {
    let mut rest = BEFORE_HEADERS
        .iter()
        .filter_map(|before| name.strip_prefix(*before));
    let rest = rest.next()?;
    let rest = rest.strip_suffix(b")").unwrap_or(rest);
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    if rest.is_empty() || !rest.iter().all(is_name) {
        return None;
    }
    let name = String::from_utf8_lossy(rest).replace('_', "-");
    let field = match name.as_str() {
        "host" => Field::Host,
        "x-forwarded-for" => Field::Forwarded,
        _ => Field::Header(name),
    };
    // Behind every name of the lists.
    Some(Place { field, rank: 100 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(name: &str) -> Option<Field> {
        let place = Names::default().place_of(name.as_bytes());
        place.map(|place| place.field)
    }

    #[test]
    fn every_name_is_in_normal_form_and_tells_one_thing() {
        let all: Vec<&str> = KNOWN
            .iter()
            .map(|(_, names)| names)
            .chain(HEADERS.iter().map(|(_, names)| names))
            .flat_map(|names| names.iter().copied())
            .collect();
        for name in &all {
            let mut normal = Vec::new();
            push_normal(name.as_bytes(), &mut normal);
            assert_eq!(normal, name.as_bytes());
        }
        assert_eq!(PLACES.len(), all.len(), "no name is in two lists");
    }

    #[test]
    fn names_are_known_however_they_are_written() {
        for (name, expected) in [
            ("c-ip", Field::Client),
            (":authority", Field::Host),
            ("cs(Host)", Field::Host),
            ("request.headers.X-Forwarded-For", Field::Forwarded),
            ("ClientRequestURI", Field::Target),
            ("request_User-Agent", Field::Header("user-agent".into())),
            ("cs(User-Agent)", Field::Header("user-agent".into())),
            (
                "http_accept_language",
                Field::Header("accept-language".into()),
            ),
        ] {
            assert_eq!(field(name), Some(expected), "{name}");
        }
        for name in [
            "status",
            "",
            "http_",
            "cs(",
            "http_a b",
            "request.headers.a.b",
        ] {
            assert_eq!(field(name), None, "{name}");
        }
    }

    #[test]
    fn a_chosen_name_stands_alone_for_its_field() {
        let mut names = Names::default();
        names.choose(Field::Client, "X-Forwarded-For");
        let place = |name: &str| names.place_of(name.as_bytes()).map(|place| place.field);
        assert_eq!(place("x_forwarded_for"), Some(Field::Client));
        assert_eq!(place("remote_addr"), None);
        assert_eq!(place("http_host"), Some(Field::Host));
    }

    #[test]
    fn the_page_on_formats_names_every_name() {
        let page = include_str!("../../../../docs/replay.md");
        let fields = KNOWN.iter().map(|(_, names)| names);
        for name in fields.chain(HEADERS.iter().map(|(_, names)| names)) {
            for name in *name {
                assert!(page.contains(&format!("`{name}`")), "{name}");
            }
        }
    }
}
