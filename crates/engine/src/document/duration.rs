//! Durations as the Kubernetes Gateway API writes them (GEP-2257): `300ms`, `1m30s`, `2h`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A length of time in whole milliseconds; at most 99,999 hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct DurationMs(u64);

impl DurationMs {
    /// A duration of `ms` milliseconds.
    pub const fn from_ms(ms: u64) -> Self {
        Self(ms)
    }

    /// The length in milliseconds.
    pub const fn as_ms(self) -> u64 {
        self.0
    }

    /// Reads `1m30s` and the like: one to four parts, each up to five digits and a unit of `h`, `m`, `s` or `ms`, in
    /// falling order and each at most once.
    pub fn parse(text: &str) -> Option<Self> {
        const UNITS: [(&str, u64); 4] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];
        let (mut rest, mut total, mut last_unit_ms) = (text, 0_u64, u64::MAX);
        if rest.is_empty() {
            return None;
        }
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let (number, tail) = rest.split_at_checked(digits)?;
            if !(1..=5).contains(&number.len()) {
                return None;
            }
            let (name, unit_ms) = UNITS.into_iter().find(|(name, _)| tail.starts_with(name))?;
            if unit_ms >= last_unit_ms {
                return None;
            }
            total += number.parse::<u64>().ok()? * unit_ms;
            last_unit_ms = unit_ms;
            rest = tail.strip_prefix(name)?;
        }
        Some(Self(total))
    }
}

impl fmt::Display for DurationMs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0ms");
        }
        let mut rest_ms = self.0;
        for (name, unit_ms) in [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)] {
            if rest_ms >= unit_ms {
                write!(f, "{}{name}", rest_ms / unit_ms)?;
                rest_ms %= unit_ms;
            }
        }
        Ok(())
    }
}

/// A text that is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{seen}` is not a duration, write it like 300ms or 1m30s")]
pub struct DurationError {
    /// The text.
    seen: String,
}

impl FromStr for DurationMs {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, DurationError> {
        Self::parse(text).ok_or_else(|| DurationError {
            seen: text.chars().filter(|c| !c.is_control()).take(40).collect(),
        })
    }
}

impl Serialize for DurationMs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for DurationMs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for DurationMs {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "a length of time, like 300ms or 1m30s",
            "minLength": 2,
            "pattern": "^([0-9]{1,5}h)?([0-9]{1,5}m)?([0-9]{1,5}s)?([0-9]{1,5}ms)?$"
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_and_print_alike() {
        for (text, ms) in [
            ("300ms", 300),
            ("1m30s", 90_000),
            ("2h", 7_200_000),
            ("1s5ms", 1_005),
        ] {
            assert_eq!(
                DurationMs::parse(text),
                Some(DurationMs::from_ms(ms)),
                "{text}"
            );
            assert_eq!(DurationMs::from_ms(ms).to_string(), text);
        }
    }

    #[test]
    fn what_is_not_a_duration_is_refused() {
        for text in [
            "", "5", "5x", "ms", "-1s", "1s1m", "1s1s", "123456s", "1.5s", " 1s", "1s ",
        ] {
            assert_eq!(DurationMs::parse(text), None, "{text:?}");
        }
    }
}
