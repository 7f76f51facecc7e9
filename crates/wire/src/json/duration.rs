//! Durations as people, scripts and logs write them.
//!
//! `"2ms"` and `"1m30s"` as in policies, `"0.002s"` as protobuf's JSON has it, and seconds without a unit, `0.002`, as
//! nginx logs them. `"-"`, with a unit or without, and HAProxy's `"-1 ms"` are a time that is not known.

use serde_json::Value;

use tradewind_engine::document::DurationMs;

/// What is said of a value that is none of these.
pub(super) const WANTED: &str = "a duration like \"12ms\", \"0.012s\" or 0.012 (seconds)";

/// Units and their length in ns; a longer name before one that it ends in.
const UNITS: [(&str, u64); 7] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// A value that is none of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NoDuration;

/// The duration that a value stands for; `None` where it says that there is none.
///
/// Any length is read, also one below zero: what is believed is decided where it is used.
pub(super) fn read(value: &Value) -> Result<Option<prost_types::Duration>, NoDuration> {
    let duration = match value {
        Value::Number(seconds) => plain(&seconds.to_string()),
        Value::String(text) if is_unknown(text) => return Ok(None),
        Value::String(text) => text
            .parse()
            .ok()
            .or_else(|| one_unit(text))
            .or_else(|| plain(text))
            .or_else(|| in_parts(text)),
        _ => None,
    };
    duration.map(Some).ok_or(NoDuration)
}

/// What logs write where there is no time.
fn is_unknown(text: &str) -> bool {
    let is_dash = |text: &str| {
        text.strip_prefix('-')
            .is_some_and(|unit| UNITS.iter().any(|(known, _)| *known == unit))
    };
    matches!(text, "" | "-" | "-1" | "-1ms" | "-1 ms") || is_dash(text)
}

/// A number with a unit, and a space between them or none.
fn one_unit(text: &str) -> Option<prost_types::Duration> {
    let (unit, length_ns) = UNITS.into_iter().find(|(unit, _)| text.ends_with(unit))?;
    of_number(text.strip_suffix(unit)?.trim_end(), length_ns)
}

/// Seconds without a unit; JSON may write small ones with an exponent.
fn plain(text: &str) -> Option<prost_types::Duration> {
    of_number(text, 1_000_000_000).or_else(|| {
        let seconds = text.parse().ok().filter(|_| text.contains(['e', 'E']))?;
        let exact = std::time::Duration::try_from_secs_f64(seconds).ok()?;
        exact.try_into().ok()
    })
}

/// `1m30s`, as in policies.
fn in_parts(text: &str) -> Option<prost_types::Duration> {
    let whole = std::time::Duration::from_millis(DurationMs::parse(text)?.as_ms());
    whole.try_into().ok()
}

/// A decimal number of units. What is below a ns is cut off.
fn of_number(number: &str, unit_ns: u64) -> Option<prost_types::Duration> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let is_decimal =
        |digits: &str| digits.len() <= 18 && digits.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !is_decimal(whole) || !is_decimal(fraction) || number.ends_with('.') {
        return None;
    }
    let unit = u128::from(unit_ns);
    let mut nanos = whole.parse::<u128>().ok()? * unit;
    if !fraction.is_empty() {
        let scale = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
        nanos += fraction.parse::<u128>().ok()? * unit / scale;
    }
    Some(prost_types::Duration {
        seconds: i64::try_from(nanos / 1_000_000_000).ok()?,
        nanos: i32::try_from(nanos % 1_000_000_000).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Nanoseconds, `None` for unknown.
    #[track_caller]
    fn nanos(value: &Value) -> Option<i64> {
        let read = read(value).unwrap_or_else(|_| panic!("{value} is not read"));
        read.map(|read| read.seconds * 1_000_000_000 + i64::from(read.nanos))
    }

    #[test]
    fn every_way_to_write_a_duration_is_read() {
        for (value, wanted) in [
            (json!("2ms"), 2_000_000),
            (json!("0.002s"), 2_000_000),
            (json!(0.002), 2_000_000),
            (json!("0.002"), 2_000_000),
            (json!("12 ms"), 12_000_000),
            (json!("1.5ms"), 1_500_000),
            (json!("250us"), 250_000),
            (json!("7µs"), 7_000),
            (json!("1m30s"), 90_000_000_000),
            (json!("2m"), 120_000_000_000),
            (json!(12), 12_000_000_000),
            (json!(1e-3), 1_000_000),
            (json!("0.0000000019"), 1),
            (json!(0), 0),
            (json!("-1s"), -1_000_000_000),
        ] {
            assert_eq!(nanos(&value), Some(wanted), "{value}");
        }
    }

    #[test]
    fn what_logs_write_for_no_time_is_not_known() {
        for value in ["-", "", "-1", "-1 ms", "-1ms", "-us"] {
            assert_eq!(nanos(&json!(value)), None, "{value:?}");
        }
    }

    #[test]
    fn anything_else_is_no_duration() {
        for value in [
            json!("soon"),
            json!("ms"),
            json!(".5s"),
            json!("5.s"),
            json!("1e3ms"),
            json!("1 2ms"),
            json!("0x1s"),
            json!("1s1m"),
            json!("9".repeat(40)),
            json!(1e300),
            json!(-0.5),
            json!(true),
            json!(["1s"]),
        ] {
            assert_eq!(read(&value), Err(NoDuration), "{value}");
        }
    }
}
