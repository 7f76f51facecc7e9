//! Numbers as people read them: one way for each kind, with its unit behind a no-break space.
//!
//! The page, the terminal and the journal share these, so that a number looks the same wherever it is met.

use tradewind_engine::number::from_u64;

/// Stands between a number and its unit.
const SPACE: char = '\u{a0}';

/// A time of `ms` milliseconds: `0.25 ms`, `34.8 ms`, `106 ms`, `12.3 s`.
pub fn ms(ms: f64) -> String {
    match ms {
        _ if ms >= 10_000.0 => format!("{:.1}{SPACE}s", ms / 1_000.0),
        _ if ms >= 99.95 => format!("{ms:.0}{SPACE}ms"),
        _ if ms >= 1.0 => format!("{ms:.1}{SPACE}ms"),
        _ => format!("{ms:.2}{SPACE}ms"),
    }
}

/// How long something has lasted: `40 s`, `10 min`, `2 h`, `329 d`.
pub fn lasting(ms: u64) -> String {
    let seconds = ms / 1_000;
    match seconds {
        0..90 => format!("{seconds}{SPACE}s"),
        90..5_400 => format!("{}{SPACE}min", (seconds + 30) / 60),
        5_400..172_800 => format!("{}{SPACE}h", (seconds + 1_800) / 3_600),
        _ => format!("{}{SPACE}d", seconds / 86_400),
    }
}

/// A share of 0 to 1: `19 %`, `8.2 %`, `0.08 %`, `0 %`.
pub fn share(ratio: f64) -> String {
    let percent = ratio * 100.0;
    match percent {
        _ if percent >= 9.95 => format!("{percent:.0}{SPACE}%"),
        _ if percent >= 0.1 => format!("{percent:.1}{SPACE}%"),
        _ if percent >= 0.005 => format!("{percent:.2}{SPACE}%"),
        _ => format!("0{SPACE}%"),
    }
}

/// A rate: `0.6 /s`, `744 /s`, `12,300 /s`.
pub fn rate(per_second: f64) -> String {
    format!("{}{SPACE}/s", amount(per_second))
}

/// A count that need not be whole: `0.6`, `744`, `12,300`.
pub fn amount(value: f64) -> String {
    if value > 0.0 && value < 9.95 {
        return format!("{value:.1}");
    }
    count(tradewind_engine::number::to_u64(value.round()))
}

/// A count, with its thousands apart: `3,001`.
pub fn count(count: u64) -> String {
    let digits = count.to_string();
    let mut shown = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

/// `1 node`, `3,001 nodes`.
pub fn counted(count_of: usize, one: &str, many: &str) -> String {
    let word = if count_of == 1 { one } else { many };
    format!("{} {word}", count(count_of as u64))
}

/// `a`, `a and b`, `a, b and c`; of more than `most`, the first of them and how many more.
pub fn listed(names: &[&str], most: usize) -> String {
    let shown = names.get(..most).unwrap_or(names);
    let more = names.len() - shown.len();
    if more > 0 {
        return format!("{} and {} more", shown.join(", "), count(more as u64));
    }
    match shown {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [many @ .., last] => format!("{} and {last}", many.join(", ")),
    }
}

/// The share that a part is of a whole; 0 of nothing.
pub fn ratio(part: usize, whole: usize) -> f64 {
    from_u64(part as u64) / from_u64(whole as u64).max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_number_has_one_way() {
        let plain = |text: String| text.replace(SPACE, " ");
        let times = [
            0.25, 0.999, 1.0, 34.84, 99.94, 99.96, 106.2, 9_999.0, 12_345.0,
        ];
        let times: Vec<String> = times.iter().map(|time| plain(ms(*time))).collect();
        assert_eq!(
            times,
            [
                "0.25 ms", "1.00 ms", "1.0 ms", "34.8 ms", "99.9 ms", "100 ms", "106 ms",
                "9999 ms", "12.3 s"
            ]
        );
        let spans = [
            0,
            40_000,
            89_999,
            90_000,
            600_000,
            5_400_000,
            7_200_000,
            28_425_600_000,
        ];
        let spans: Vec<String> = spans.iter().map(|span| plain(lasting(*span))).collect();
        assert_eq!(
            spans,
            [
                "0 s", "40 s", "89 s", "2 min", "10 min", "2 h", "2 h", "329 d"
            ]
        );
        let shares = [0.0, 0.00001, 0.0008, 0.082, 0.0994, 0.0996, 0.19, 1.0];
        let shares: Vec<String> = shares.iter().map(|ratio| plain(share(*ratio))).collect();
        assert_eq!(
            shares,
            [
                "0 %", "0 %", "0.08 %", "8.2 %", "9.9 %", "10 %", "19 %", "100 %"
            ]
        );
        let rates = [0.0, 0.6, 9.96, 744.4, 12_300.0];
        let rates: Vec<String> = rates
            .iter()
            .map(|per_second| plain(rate(*per_second)))
            .collect();
        assert_eq!(rates, ["0 /s", "0.6 /s", "10 /s", "744 /s", "12,300 /s"]);
        assert_eq!(
            [count(1), count(3_001), count(1_234_567)],
            ["1", "3,001", "1,234,567"]
        );
        assert_eq!(counted(1, "node", "nodes"), "1 node");
    }

    #[test]
    fn lists_end_in_and_or_say_how_many_more() {
        let names = ["a", "b", "c", "d"];
        let said: Vec<String> = (0..=4).map(|count| listed(&names[..count], 3)).collect();
        assert_eq!(
            said,
            ["", "a", "a and b", "a, b and c", "a, b, c and 1 more"]
        );
    }
}
