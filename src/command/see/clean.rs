//! Text of strangers, made fit for a terminal.

use std::borrow::Cow;
use std::fmt::Write as _;

use serde_json::Value;

use crate::engine::model::printable;

/// Longest text shown of one field, in characters: a path may have 8,192 bytes.
const MAX_TEXT: usize = 8_192;

/// Strings of a value as they may be printed.
pub(super) fn clean(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(plain(&text, MAX_TEXT)),
        Value::Array(items) => Value::Array(items.into_iter().map(clean).collect()),
        Value::Object(fields) => {
            let fields = fields.into_iter();
            Value::Object(fields.map(|(name, field)| (name, clean(field))).collect())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value,
    }
}

/// Text without control characters, its no-break spaces plain: a terminal breaks lines anyhow, and `grep '34.8 ms'` finds it.
pub(super) fn plain(text: &str, most: usize) -> String {
    printable(text, most).replace('\u{a0}', " ")
}

/// JSON as it may be printed: what it leaves raw of control characters (DEL and C1) as escapes, which mean the same.
pub(super) fn escaped(json: &str) -> Cow<'_, str> {
    if !json.contains(|c: char| c.is_control() && c != '\n') {
        return Cow::Borrowed(json);
    }
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        if c.is_control() && c != '\n' {
            let written = write!(text, "\\u{:04x}", u32::from(c));
            debug_assert!(written.is_ok(), "a string takes any text");
        } else {
            text.push(c);
        }
    }
    Cow::Owned(text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn strangers_text_does_not_reach_a_terminal() {
        let hostile = json!({ "path": ["/\u{1b}]0;x\u{7}\u{9b}2J", 7], "ms": "34.8\u{a0}ms" });
        let clean = clean(hostile.clone());
        assert_eq!(
            clean,
            json!({ "path": ["/\u{fffd}]0;x\u{fffd}\u{fffd}2J", 7], "ms": "34.8 ms" })
        );
        let text = hostile.to_string();
        let text = escaped(&text);
        assert!(!text.contains(char::is_control), "{text}");
        assert_eq!(
            serde_json::from_str::<Value>(&text).unwrap(),
            hostile,
            "it means the same"
        );
        assert!(matches!(escaped("{\n}\n"), Cow::Borrowed(_)));
    }
}
