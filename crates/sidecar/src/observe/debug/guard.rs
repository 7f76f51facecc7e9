//! Who may ask through a browser: no page of another site through a person's browser, whatever name it gives this address.
//!
//! A page that a browser shows may make it send requests here. Two things tell those apart: `Sec-Fetch-Site`, which no
//! script can forge, and `Host`, which names the attacker's own domain when it has been pointed at this address (DNS
//! rebinding). Programs that are no browsers send no `Sec-Fetch-Site` and are not asked for one.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;

use super::answer::fault;

/// What every page may do in a browser: show what comes from here, and nothing else.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; \
     img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; \
     require-trusted-types-for 'script'; trusted-types 'none'";

/// What orchestrators and scrapers ask for, by whatever name they know this machine: it names no client and no object.
const OPEN: [&str; 3] = ["/livez", "/readyz", "/metrics"];

/// Zones that no public name is in, so that nobody elsewhere can point one of theirs at this address.
const LOCAL: [&str; 4] = ["localhost", "svc", "local", "internal"];

/// Headers of every answer.
const HEADERS: [(&str, &str); 5] = [
    ("content-security-policy", CONTENT_SECURITY_POLICY),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-resource-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
];

/// Lets through who may ask, and sets the headers of every answer.
pub(super) async fn guard(
    State(hosts): State<Arc<[String]>>,
    request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path();
    let is_private = !OPEN.contains(&path);
    let hosts = is_private.then_some(&*hosts);
    let refusal = refusal(request.method(), request.headers(), hosts);
    let mut response = match refusal {
        None => next.run(request).await,
        Some(why) => fault(StatusCode::FORBIDDEN, &[&why]),
    };
    for (name, value) in HEADERS {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Why a request is not answered, if it is not. `hosts` are names beside this machine's own; `None` where any will do.
fn refusal(method: &Method, headers: &HeaderMap, hosts: Option<&[String]>) -> Option<String> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let host = text(header::HOST.as_str()).unwrap_or_default();
    if hosts.is_some_and(|hosts| !is_own_host(host, hosts)) {
        return Some(format!(
            "host: `{}` is a name, and a page elsewhere may have given it to this address; ask by address, as localhost, or by a name of `--debug-host`",
            tradewind_engine::model::printable(host, 80)
        ));
    }
    let site = text("sec-fetch-site").unwrap_or("none");
    let is_from_elsewhere = !matches!(site, "same-origin" | "none");
    // Somebody may follow a link from elsewhere to a page; nothing is told to who sent them.
    let is_visit = text("sec-fetch-mode") == Some("navigate") && method == Method::GET;
    if is_from_elsewhere && !is_visit {
        return Some(
            "sec-fetch-site: a page of another site asks, which is not answered".to_owned(),
        );
    }
    let is_safe = matches!(*method, Method::GET | Method::HEAD);
    let origin = text(header::ORIGIN.as_str()).unwrap_or_default();
    let is_own = origin.is_empty()
        || origin.strip_prefix("http://") == Some(host)
        || origin.strip_prefix("https://") == Some(host);
    (!is_safe && !is_own).then(|| {
        let origin = tradewind_engine::model::printable(origin, 80);
        format!("origin: `{origin}` may change nothing here")
    })
}

/// Whether a host is an address or this machine's own name: nobody else can make a browser say those and mean this door.
fn is_own_host(host: &str, hosts: &[String]) -> bool {
    // HTTP/1.0 clients and probes name none.
    if host.is_empty() {
        return true;
    }
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    let name = name.trim_end_matches('.');
    name.parse::<IpAddr>().is_ok()
        || name.eq_ignore_ascii_case("localhost")
        || hosts.iter().any(|known| name.eq_ignore_ascii_case(known))
        || !name.contains('.')
        || LOCAL.iter().any(|zone| is_below(name, zone))
}

fn is_below(name: &str, zone: &str) -> bool {
    let last = name.rsplit_once('.');
    last.is_some_and(|(_, last)| last.eq_ignore_ascii_case(zone))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(method: &Method, headers: &[(&'static str, &str)]) -> Option<String> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, HeaderValue::from_str(value).unwrap());
        }
        refusal(method, &map, Some(&["edge.example.net".to_owned()]))
    }

    #[test]
    fn a_page_elsewhere_gets_nothing_whatever_name_it_gives_this_address() {
        for host in [
            "127.0.0.1:7071",
            "[::1]:7071",
            "localhost:7071",
            "sidecar",
            "10.0.0.7",
            "edge.svc",
            "Edge.example.net:7071",
            "",
        ] {
            assert_eq!(asked(&Method::GET, &[("host", host)]), None, "{host}");
        }
        for host in [
            "evil.example:7071",
            "rebound.attacker.com",
            "127.0.0.1.nip.io:7071",
        ] {
            let refused = asked(&Method::GET, &[("host", host)]).unwrap();
            assert!(refused.starts_with("host: "), "{refused}");
        }
        let host = ("host", "127.0.0.1:7071");
        let cross = [host, ("sec-fetch-site", "cross-site")];
        assert!(asked(&Method::GET, &cross).is_some());
        let visit = [
            host,
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-mode", "navigate"),
        ];
        assert_eq!(asked(&Method::GET, &visit), None, "a link from a chat");
        assert!(asked(&Method::POST, &visit).is_some(), "a form elsewhere");
        let own = [
            host,
            ("sec-fetch-site", "same-origin"),
            ("origin", "http://127.0.0.1:7071"),
        ];
        assert_eq!(asked(&Method::POST, &own), None);
        let foreign = [host, ("origin", "http://evil.example")];
        assert!(
            asked(&Method::POST, &foreign)
                .unwrap()
                .starts_with("origin: ")
        );
        assert!(asked(&Method::POST, &[host, ("origin", "null")]).is_some());
    }
}
