//! One form for all JSON of the debug door: times in words beside numbers, no noise of single precision, what is not known
//! absent, and indented where `?pretty` asks for it.

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Number, Value, json};

use crate::clock;

/// The ends of fields' names that hold a time since 1970, with the ms that each unit has.
const SINCE_1970: [(&str, u64); 2] = [("_unix_ms", 1), ("_epoch_s", 1_000)];

/// Longest text of a refusal that the router makes itself, in bytes.
const MAX_REFUSAL: usize = 4_096;

/// Significant digits of a number that is not whole: what a single has of them, short of its noise.
const DIGITS: i32 = 6;

/// A value on its way out; [`present`] puts it into bytes.
#[derive(Debug, Clone)]
pub(super) struct Shown(pub(super) Value);

impl Shown {
    /// What `value` serializes to.
    pub(super) fn of(value: impl Serialize) -> Response {
        match serde_json::to_value(value) {
            Ok(value) => Self(value).into_response(),
            Err(error) => fault(StatusCode::INTERNAL_SERVER_ERROR, &[&error.to_string()]),
        }
    }
}

impl IntoResponse for Shown {
    fn into_response(self) -> Response {
        let mut response = StatusCode::OK.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// An error with what is wrong.
pub(super) fn fault(status: StatusCode, messages: &[&str]) -> Response {
    (status, Shown(json!({ "error": messages.join("; ") }))).into_response()
}

/// All faults of a request's parameters.
pub(super) fn refuse(faults: &[String]) -> Response {
    let faults: Vec<&str> = faults.iter().map(String::as_str).collect();
    fault(StatusCode::BAD_REQUEST, &faults)
}

/// Puts values into bytes, on their way out of the router.
pub(super) async fn present(request: Request, next: Next) -> Response {
    let query = request.uri().query().unwrap_or_default();
    let is_pretty = query
        .split('&')
        .any(|part| part == "pretty" || part.starts_with("pretty="));
    let mut response = next.run(request).await;
    let shown = response.extensions_mut().remove::<Shown>();
    let mut value = match shown {
        Some(Shown(value)) => value,
        None if response.status().is_client_error() => refusal(&mut response).await,
        None => return response,
    };
    tidy(&mut value);
    let text = if is_pretty {
        serde_json::to_string_pretty(&value).map(|text| text + "\n")
    } else {
        serde_json::to_string(&value)
    };
    // A value of strings, numbers and lists always has a text.
    *response.body_mut() = Body::from(text.unwrap_or_default());
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}

/// What the router refuses itself (a method, a body that is no such JSON), in the form of all faults.
async fn refusal(response: &mut Response) -> Value {
    if response.status() == StatusCode::UNPROCESSABLE_ENTITY {
        *response.status_mut() = StatusCode::BAD_REQUEST;
    }
    let body = std::mem::take(response.body_mut());
    let said = to_bytes(body, MAX_REFUSAL).await.unwrap_or_default();
    let said = String::from_utf8_lossy(&said);
    let reason = response.status().canonical_reason().unwrap_or_default();
    response.headers_mut().remove(header::CONTENT_LENGTH);
    if said.is_empty() {
        json!({ "error": reason.to_lowercase() })
    } else {
        json!({ "error": said })
    }
}

/// What `value` serializes to, in the form of all answers.
pub(super) fn tidied(value: impl Serialize) -> Value {
    let mut value = serde_json::to_value(value).unwrap_or_default();
    tidy(&mut value);
    value
}

/// Puts times in words beside those that are numbers, cuts the noise off numbers, and leaves out fields that are null. In
/// lists a null holds a place, and stays.
fn tidy(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, field| !field.is_null());
            for field in fields.values_mut() {
                tidy(field);
            }
            say_times(fields);
        }
        Value::Array(items) => items.iter_mut().for_each(tidy),
        Value::Number(number) => {
            if let Some(float) = number.as_f64().filter(|_| number.is_f64()) {
                *number = Number::from_f64(rounded(float)).unwrap_or_else(|| 0.into());
            }
        }
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

fn say_times(fields: &mut Map<String, Value>) {
    let times = fields.iter().filter_map(|(name, value)| {
        // 0 stands for never.
        let since = value.as_u64().filter(|since| *since > 0)?;
        let mut units = SINCE_1970.iter();
        let (name, ms) = units.find_map(|(end, ms)| Some((name.strip_suffix(end)?, ms)))?;
        let unix_ms = since.saturating_mul(*ms);
        Some((name.to_owned(), clock::rfc3339(unix_ms)))
    });
    let times: Vec<(String, String)> = times.collect();
    for (name, time) in times {
        fields.entry(name).or_insert_with(|| time.into());
    }
}

/// The same number with six significant digits.
fn rounded(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    let magnitude = value.abs().log10().floor();
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the exponent of a double is at most 308"
    )]
    let places = DIGITS - 1 - magnitude as i32;
    let scale = 10_f64.powi(places.abs());
    if places >= 0 {
        (value * scale).round() / scale
    } else {
        (value / scale).round() * scale
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_lose_their_noise_and_times_have_words() {
        let mut value = json!({
            "p50_ms": f64::from(20.1_f32), "ratio": 0.033_203_125, "count": 3_000_000_000_u64, "zero": 0.0,
            "list": [{ "at_unix_ms": 1_795_806_000_000_u64, "never_unix_ms": 0 }], "large": 1_234_567.8,
            "build_epoch_s": 1_795_806_000, "unknown": null, "column": [null, 1.0, { "unknown": null }],
        });
        tidy(&mut value);
        let expected = json!({
            "p50_ms": 20.1, "ratio": 0.033_203_1, "count": 3_000_000_000_u64, "zero": 0.0,
            "list": [{ "at_unix_ms": 1_795_806_000_000_u64, "at": "2026-11-27T19:00:00Z", "never_unix_ms": 0 }],
            "large": 1_234_570.0, "build_epoch_s": 1_795_806_000, "build": "2026-11-27T19:00:00Z",
            "column": [null, 1.0, {}],
        });
        assert_eq!(value, expected);
    }
}
