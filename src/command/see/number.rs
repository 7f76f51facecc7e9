//! Numbers as the sidecar's own sentences have them, with plain spaces; `-` for what is not known.

use crate::engine::number::to_u64;
use crate::sidecar::view::words;

/// What stands for what is not known.
pub(super) const NOT_KNOWN: &str = "-";

fn known(value: Option<f64>, words: fn(f64) -> String) -> String {
    value.map_or_else(|| NOT_KNOWN.to_owned(), |value| plain(&words(value)))
}

fn plain(text: &str) -> String {
    text.replace('\u{a0}', " ")
}

/// A time: `34.8 ms`.
pub(super) fn ms(value: Option<f64>) -> String {
    known(value, words::ms)
}

/// A time that may be shorter than what [`ms`] can say: `1.4 µs`.
pub(super) fn us(value: f64) -> String {
    if value < 1_000.0 {
        format!("{value:.1} µs")
    } else {
        ms(Some(value / 1_000.0))
    }
}

/// A share of 0 to 1: `8.2 %`.
pub(super) fn share(value: Option<f64>) -> String {
    known(value, words::share)
}

/// A rate: `744 /s`.
pub(super) fn rate(value: Option<f64>) -> String {
    known(value, words::rate)
}

/// A count that need not be whole: `744`.
pub(super) fn amount(value: Option<f64>) -> String {
    known(value, words::amount)
}

/// A count: `3,001`.
pub(super) fn count(value: u64) -> String {
    words::count(value)
}

/// How long something has lasted: `10 min`.
pub(super) fn lasting(value_ms: u64) -> String {
    plain(&words::lasting(value_ms))
}

/// `1 node`, `3,001 nodes`.
pub(super) fn counted(count: u64, one: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{} {one}{plural}", words::count(count))
}

/// One in how many a share is: `1 in 100`.
pub(super) fn one_in(ratio: f64) -> String {
    if ratio >= 1.0 {
        return "every one".to_owned();
    }
    if ratio <= 0.0 {
        return "none".to_owned();
    }
    format!("1 in {}", words::count(to_u64((1.0 / ratio).round())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_plain_spaces_and_a_dash_where_they_are_not_known() {
        let said = [
            ms(Some(34.84)),
            ms(None),
            us(1.4),
            us(39_000.0),
            share(Some(0.0823)),
            rate(Some(744.0)),
            amount(Some(744.2)),
            lasting(600_000),
            counted(1, "node"),
            counted(3_001, "node"),
        ];
        let wanted = [
            "34.8 ms",
            "-",
            "1.4 µs",
            "39.0 ms",
            "8.2 %",
            "744 /s",
            "744",
            "10 min",
            "1 node",
            "3,001 nodes",
        ];
        assert_eq!(said, wanted);
        assert_eq!(
            [1.0, 0.01, 0.0].map(one_in),
            ["every one", "1 in 100", "none"]
        );
    }
}
