//! A request as a proxy's headers tell of it.
//!
//! What routes is in headers of fixed names that the proxy sets itself. Every other header is taken for one of the
//! client's, which proxies hand on as they are; those that the policy looks at are shown to it. So a proxy must set or
//! drop **each** of the fixed names: what it leaves alone, the client says.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::{Asked, proto};
use tradewind_engine::request::{Reading, text_of};

/// The path and query as the client sent them.
const URI: &str = "x-original-uri";
/// The client's method; without it GET.
const METHOD: &str = "x-original-method";
/// The host the client asked for; without it the `Host` header.
const HOST: &str = "x-original-host";
/// The client's address.
const CLIENT_IP: &str = "x-client-ip";
/// A pool to use instead of matching rules.
const POOL: &str = "x-route-pool";
/// The id of the node that asks for its parent.
const CHILD: &str = "x-route-child";
/// The cache key, when the proxy has made it already.
const KEY: &str = "x-route-key";
/// How many nodes to name.
const CANDIDATES: &str = "x-route-candidates";
/// Handed back in the answer.
const REQUEST_ID: &str = "x-request-id";

/// Every fixed name.
pub const FORWARDED: [&str; 9] = [
    URI, METHOD, HOST, CLIENT_IP, POOL, CHILD, KEY, CANDIDATES, REQUEST_ID,
];

/// Headers of the hop between the proxy and this sidecar. They say nothing of the client's request.
const OF_THE_HOP: [HeaderName; 11] = [
    header::HOST,
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::TE,
    header::TRAILER,
    header::UPGRADE,
    header::EXPECT,
    header::PROXY_AUTHORIZATION,
    header::PROXY_AUTHENTICATE,
    HeaderName::from_static("keep-alive"),
];

/// The request that these headers tell of, as far as a policy looks at it, and all that is wrong with them.
pub fn from_headers(headers: &HeaderMap, reading: &Reading) -> Asked {
    let mut faults = Vec::new();
    let mut client = proto::Client::default();
    let mut request = proto::DecideRequest::default();
    let mut host = None;
    for name in headers.keys() {
        let mut values = headers.get_all(name).iter();
        let known = match name.as_str() {
            URI => &mut request.path,
            METHOD => &mut request.method,
            HOST => host.insert(String::new()),
            CLIENT_IP => &mut client.ip,
            POOL => &mut request.pool,
            CHILD => &mut request.child_node,
            REQUEST_ID => &mut request.request_id,
            KEY => {
                let key = values.next().map(HeaderValue::as_bytes);
                request.key = key.unwrap_or_default().to_vec();
                refuse_second(name, values.next(), &mut faults);
                continue;
            }
            CANDIDATES => {
                let mut text = String::new();
                take_text(name, values, &mut text, &mut faults);
                if !text.is_empty() {
                    super::parameters::number(
                        CANDIDATES,
                        &text,
                        &mut request.candidates,
                        &mut faults,
                    );
                }
                continue;
            }
            _ if OF_THE_HOP.contains(name) || !reading.looks_at(name.as_str()) => continue,
            _ => {
                request.headers.extend(values.map(|value| proto::Header {
                    name: name.as_str().to_owned(),
                    // Bytes that are no text match no rule, but do not keep the rest from being routed.
                    value: String::from_utf8_lossy(value.as_bytes()).into_owned(),
                }));
                continue;
            }
        };
        take_text(name, values, known, &mut faults);
    }
    request.host = host.filter(|host| !host.is_empty()).unwrap_or_else(|| {
        let mut host = String::new();
        let values = headers.get_all(header::HOST).iter();
        take_text(&header::HOST, values, &mut host, &mut faults);
        host
    });
    if request.path.is_empty() && request.key.is_empty() {
        faults.push(format!("{URI} is missing, it must hold the path and query"));
    }
    request.client = Some(client);
    (request, faults)
}

/// The one value of a header as text; a path is bytes, and need not be UTF-8.
fn take_text<'a>(
    name: &HeaderName,
    mut values: impl Iterator<Item = &'a HeaderValue>,
    target: &mut String,
    faults: &mut Vec<String>,
) {
    if let Some(value) = values.next() {
        *target = text_of(value.as_bytes()).into_owned();
    }
    refuse_second(name, values.next(), faults);
}

/// Of two values one may be the client's own, and nobody can tell which.
fn refuse_second(name: &HeaderName, second: Option<&HeaderValue>, faults: &mut Vec<String>) {
    if second.is_some() {
        faults.push(format!("{name} is given more than once"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static [u8])]) -> HeaderMap {
        let pairs = pairs.iter().map(|(name, value)| {
            let value = HeaderValue::from_bytes(value).unwrap();
            (HeaderName::from_static(name), value)
        });
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(name, value);
        }
        map
    }

    fn read(headers: &HeaderMap) -> Asked {
        let reading = Reading {
            header_names: vec!["accept".into()],
            ..Reading::default()
        };
        from_headers(headers, &reading)
    }

    #[test]
    fn fixed_names_route_and_the_rest_is_the_clients() {
        let (request, faults) = read(&headers(&[
            ("host", b"sidecar"),
            ("x-original-uri", b"/a?b=1"),
            ("x-original-method", b"PUT"),
            ("x-original-host", b"www.example.com"),
            ("x-client-ip", b"192.0.2.1"),
            ("x-route-pool", b"edge"),
            ("x-route-child", b"fra-1"),
            ("x-route-key", b"\xff\x80"),
            ("x-route-candidates", b"2"),
            ("x-request-id", b"7"),
            ("accept", b"a"),
            ("accept", b"\xff"),
            ("x-nobody-reads-it", b"v"),
            ("connection", b"close"),
        ]));
        assert_eq!(faults, Vec::<String>::new());
        let client = request.client.unwrap();
        assert_eq!(
            [
                &request.path,
                &request.method,
                &request.host,
                &client.ip,
                &request.pool,
                &request.child_node,
                &request.request_id
            ],
            [
                "/a?b=1",
                "PUT",
                "www.example.com",
                "192.0.2.1",
                "edge",
                "fra-1",
                "7"
            ]
        );
        assert_eq!((request.key, request.candidates), (vec![0xff, 0x80], 2));
        let others = request
            .headers
            .iter()
            .map(|h| (h.name.as_str(), h.value.as_str()));
        assert_eq!(
            others.collect::<Vec<_>>(),
            [("accept", "a"), ("accept", "\u{fffd}")]
        );
    }

    #[test]
    fn a_fixed_name_is_never_the_clients_though_the_policy_looks_at_it() {
        let reading = Reading {
            header_names: FORWARDED.map(Into::into).to_vec(),
            ..Reading::default()
        };
        let given = FORWARDED.map(|name| (name, &b"1"[..]));
        let (request, _) = from_headers(&headers(&given), &reading);
        assert_eq!(request.headers, Vec::new());
    }

    #[test]
    fn what_is_given_twice_is_not_believed() {
        let (_, faults) = read(&headers(&[
            ("x-client-ip", b"192.0.2.1"),
            ("x-client-ip", b"192.0.2.2"),
            ("x-route-key", b"a"),
            ("x-route-key", b"b"),
            ("x-route-candidates", b"many"),
        ]));
        let said = faults.join("; ");
        for part in [
            "x-client-ip is given more than once",
            "x-route-key is given",
            "`many`",
        ] {
            assert!(said.contains(part), "{part} in {said}");
        }
    }

    #[test]
    fn empty_headers_are_absent() {
        let (request, faults) = read(&headers(&[
            ("host", b"www.example.com"),
            ("x-original-uri", b"/a"),
            ("x-original-host", b""),
            ("x-route-candidates", b""),
        ]));
        assert_eq!(
            (request.host.as_str(), request.candidates),
            ("www.example.com", 0)
        );
        assert_eq!(faults, Vec::<String>::new());
    }

    #[test]
    fn a_path_is_bytes() {
        let (request, faults) = read(&headers(&[
            ("host", b"www.example.com"),
            ("x-original-uri", b"/caf\xe9.jpg"),
        ]));
        assert_eq!((request.path.as_str(), faults.len()), ("/caf%E9.jpg", 0));
    }
}
