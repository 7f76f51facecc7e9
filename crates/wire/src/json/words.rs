//! Values as proxies log them: lists, dashes for what there is none of, words of caches and of gRPC.

use serde_json::Value;

use super::Reader;
use crate::cache;
use crate::grpc_status;
use crate::proto::CacheStatus;

/// Whether a text has several values, as nginx logs them.
pub(super) fn is_list(text: &str) -> bool {
    text.contains(", ") || text.contains(" : ")
}

/// The values of a list as nginx logs it.
pub(super) fn parts(text: &str) -> impl Iterator<Item = &str> {
    text.split(", ")
        .flat_map(|group| group.split(" : "))
        .map(str::trim)
}

/// What a log names where no node was asked: `-`, or `<NOSRV>` and the like.
pub(super) fn is_nobody(node: &str) -> bool {
    node == "-" || node.starts_with('<')
}

/// A text or number, as text.
fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// The value, or null where a log says that there is none.
pub(super) fn known(value: &Value) -> &Value {
    match value.as_str() {
        Some("" | "-" | "-1") => &Value::Null,
        _ if value.as_i64() == Some(-1) => &Value::Null,
        _ => value,
    }
}

impl Reader {
    pub(super) fn fault(&mut self, words: std::fmt::Arguments<'_>) {
        self.faults.push(words.to_string());
    }

    /// A text or number without spaces; `-` is none.
    pub(super) fn word(&mut self, field: &str, value: &Value, target: &mut String) {
        self.take((field, "a text"), value, text_of, target);
        if target == "-" {
            target.clear();
        }
    }

    /// A gRPC status. What is none is a fault, unlike a cache's words: were it taken for a 200, a proxy that logs some other
    /// variable by mistake would tell well of every node.
    pub(super) fn grpc_status(&mut self, field: &str, value: &Value, target: &mut Option<String>) {
        let read = |value: &Value| {
            let code = text_of(value)?;
            grpc_status::http_status(&code)?;
            Some(Some(code))
        };
        self.take((field, grpc_status::WANTED), value, read, target);
    }

    /// What a cache did, by name or in the words of the header that the cache sent. Words that say nothing are no fault:
    /// a node may send any.
    pub(super) fn cache_status(&mut self, field: &str, value: &Value, target: &mut i32) {
        let read = |value: &Value| {
            let text = value.as_str()?;
            let named = CacheStatus::from_str_name(text);
            Some(named.unwrap_or_else(|| cache::of_value(text)).into())
        };
        self.take((field, "a text"), value, read, target);
    }
}

#[cfg(test)]
mod tests {
    use super::super::outcomes;
    use super::*;

    #[test]
    fn what_a_cache_did_is_read_from_its_header() {
        for (value, wanted) in [
            ("HIT", CacheStatus::Hit),
            ("CACHE_STATUS_STALE", CacheStatus::Stale),
            ("edge; fwd=uri-miss", CacheStatus::Miss),
            ("-", CacheStatus::Unspecified),
            ("whatever", CacheStatus::Unspecified),
        ] {
            let line = serde_json::json!({ "node": "a", "result": "ok", "cache_status": value });
            let read = outcomes(line.to_string().as_bytes()).unwrap();
            assert_eq!(read[0].cache_status(), wanted, "{value}");
        }
    }
}
