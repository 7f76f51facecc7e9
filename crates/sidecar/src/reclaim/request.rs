//! What a node is asked by to drop something.

use bytes::Bytes;
use http::header::{HOST, HeaderName, HeaderValue, USER_AGENT};
use http::uri::PathAndQuery;
use http::{Method, Request, Uri};
use http_body_util::Empty;

use crate::wire::purge::version_text;
use tradewind_engine::freshness::purge::{Kind, Purge};
use tradewind_engine::freshness::selector::Selector;
use tradewind_engine::policy::Reclaim;
use tradewind_engine::topology::Address;

/// Who we say we are.
const USER_AGENT_NAME: &str = "tradewind-reclaim";

/// What of a purge is meant: `object`, `query`, `prefix`, `host`, `tag` or `namespace`.
const KIND: HeaderName = HeaderName::from_static("x-tradewind-purge");

/// The path and query that it covers, as a regular expression; absent where it covers all.
const PATTERN: HeaderName = HeaderName::from_static("x-tradewind-purge-pattern");

/// The tag, and the namespace that it is of.
const TAG: HeaderName = HeaderName::from_static("x-tradewind-tag");
const NAMESPACE: HeaderName = HeaderName::from_static("x-tradewind-namespace");

/// The purge, as versions are written. Not the name that keys of caches are made of.
const VERSION: HeaderName = HeaderName::from_static("x-tradewind-purge-version");

/// Whether a node has anything to do for a purge. What is soft is revalidated and not dropped; what comes into force slice by slice is dropped
/// at once only where nodes must have done it.
pub(super) fn is_told(purge: &Purge, how: &Reclaim) -> bool {
    purge.kind == Kind::Hard && (purge.over_ms == 0 || how.is_awaited)
}

/// What to ask a node for a selector of a purge; `None` where it is not told of such, or HTTP has no words for it.
pub(super) fn request(
    selector: &Selector,
    purge: &Purge,
    (how, address): (&Reclaim, &Address),
) -> Option<Request<Empty<Bytes>>> {
    let wide = how.wide_method.as_deref();
    let single = Some(&*how.method);
    let (kind, method, host, target) = match selector {
        Selector::Path { host, path } => ("object", single, Some(host), path.to_string()),
        Selector::Query { host, path, query } => {
            ("query", single, Some(host), format!("{path}?{query}"))
        }
        Selector::Prefix { host, prefix } => ("prefix", wide, Some(host), prefix.to_string()),
        Selector::Host(host) => ("host", wide, Some(host), String::new()),
        Selector::Tag(_) => ("tag", wide, None, String::new()),
        Selector::Namespace => ("namespace", wide, None, String::new()),
    };
    let target = if target.is_empty() { "/" } else { &target };
    let mut request = Request::new(Empty::new());
    *request.method_mut() = Method::from_bytes(method?.as_bytes()).ok()?;
    *request.uri_mut() = Uri::from(PathAndQuery::try_from(target).ok()?);
    let headers = request.headers_mut();
    let host = host.map_or_else(|| address.to_string(), ToString::to_string);
    headers.insert(HOST, HeaderValue::from_str(&host).ok()?);
    headers.insert(USER_AGENT, HeaderValue::from_static(USER_AGENT_NAME));
    headers.insert(KIND, HeaderValue::from_static(kind));
    let version = version_text(purge.sequence);
    headers.insert(VERSION, HeaderValue::from_str(&version).ok()?);
    if let Some(pattern) = pattern(selector) {
        headers.insert(PATTERN, HeaderValue::from_str(&pattern).ok()?);
    }
    if let Selector::Tag(tag) = selector {
        headers.insert(TAG, HeaderValue::from_str(tag).ok()?);
    }
    if !purge.namespace.is_empty() {
        headers.insert(NAMESPACE, HeaderValue::from_str(&purge.namespace).ok()?);
    }
    if let Some(header) = &how.header {
        let name = HeaderName::from_bytes(header.name.as_bytes()).ok()?;
        headers.insert(name, HeaderValue::from_str(&header.value).ok()?);
    }
    Some(request)
}

/// The path and query that a selector covers, as a regular expression.
fn pattern(selector: &Selector) -> Option<String> {
    match selector {
        Selector::Path { path, .. } => Some(format!("^{}(\\?|$)", escaped(path))),
        Selector::Query { path, query, .. } => {
            Some(format!("^{}$", escaped(&format!("{path}?{query}"))))
        }
        Selector::Prefix { prefix, .. } => Some(format!("^{}(/|\\?|$)", escaped(prefix))),
        Selector::Host(_) | Selector::Tag(_) | Selector::Namespace => None,
    }
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if "\\.+*?()|[]{}^$".contains(character) {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use tradewind_engine::policy::ReclaimHeader;
    use tradewind_engine::request::path::PathForm;

    fn asked(selector: &Selector, wide: Option<&str>) -> Option<String> {
        let how = Reclaim {
            method: "PURGE".into(),
            wide_method: wide.map(Into::into),
            port: None,
            header: Some(ReclaimHeader {
                name: "X-Key".into(),
                value: "secret".into(),
            }),
            is_awaited: false,
        };
        let purge = Purge {
            sequence: 36,
            namespace: "shop".into(),
            selectors: Vec::new(),
            kind: Kind::Hard,
            over_ms: 0,
        };
        let address = Address::parse("127.0.0.1:80").unwrap();
        let request = request(selector, &purge, (&how, &address))?;
        assert_eq!(request.headers()["x-key"], "secret");
        assert_eq!(request.headers()["x-tradewind-purge-version"], "10");
        let text = |name: &str| {
            let value = request.headers().get(name).map(|it| it.to_str().unwrap());
            value.unwrap_or("-").to_owned()
        };
        Some(format!(
            "{} {}{} {} {} {}",
            request.method(),
            text("host"),
            request.uri(),
            text("x-tradewind-purge"),
            text("x-tradewind-purge-pattern"),
            text("x-tradewind-tag"),
        ))
    }

    #[test]
    fn each_kind_is_asked_for_in_its_own_way() {
        let form = PathForm::default();
        let told = |selector: Selector| asked(&selector, Some("BAN")).unwrap();
        let object = Selector::url("https://h/a.b", false, form).unwrap();
        assert_eq!(told(object.clone()), r"PURGE h/a.b object ^/a\.b(\?|$) -");
        let query = Selector::url("https://h/a?w=1", true, form).unwrap();
        assert_eq!(told(query), r"PURGE h/a?w=1 query ^/a\?w=1$ -");
        let prefix = Selector::prefix("https://h/img/", form).unwrap();
        assert_eq!(told(prefix.clone()), r"BAN h/img prefix ^/img(/|\?|$) -");
        assert_eq!(told(Selector::host("h").unwrap()), "BAN h/ host - -");
        let tag = Selector::tag("product/7").unwrap();
        assert_eq!(told(tag), "BAN 127.0.0.1:80/ tag - product/7");
        assert_eq!(asked(&prefix, None), None);
        assert!(asked(&object, None).is_some());
    }
}
