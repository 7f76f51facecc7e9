//! Days of the calendar, as far as "has it expired?" needs them.

use std::fmt;
use std::str::FromStr;

/// A day of the proleptic Gregorian calendar in UTC, written `YYYY-MM-DD`; days compare as they follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Date {
    year: u16,
    month: u8,
    day: u8,
}

/// A text that is no day.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{value}` is not a day, must be like 2027-01-31")]
pub struct DateError {
    /// The text.
    pub value: String,
}

impl Date {
    /// The day of a moment, in ms since 1970.
    pub fn from_unix_ms(unix_ms: u64) -> Self {
        // Howard Hinnant's civil_from_days, for days from 1970 on: years begin in March, so that the leap day is last.
        let days = unix_ms / 86_400_000 + 719_468;
        let (era, day_of_era) = (days / 146_097, days % 146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * from_march + 2) / 5 + 1;
        let month = if from_march < 10 {
            from_march + 3
        } else {
            from_march - 9
        };
        let year = year_of_era + era * 400 + u64::from(month <= 2);
        Self {
            year: u16::try_from(year).unwrap_or(u16::MAX),
            month: u8::try_from(month).unwrap_or(u8::MAX),
            day: u8::try_from(day).unwrap_or(u8::MAX),
        }
    }

    fn days_of_month(self) -> u8 {
        let leap = self.year.is_multiple_of(4)
            && (!self.year.is_multiple_of(100) || self.year.is_multiple_of(400));
        match self.month {
            1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
            4 | 6 | 9 | 11 => 30,
            2 if leap => 29,
            2 => 28,
            _ => 0,
        }
    }
}

impl FromStr for Date {
    type Err = DateError;

    fn from_str(text: &str) -> Result<Self, DateError> {
        let number = |part: Option<&str>, digits: usize| {
            part.filter(|part| part.len() == digits && part.bytes().all(|b| b.is_ascii_digit()))
                .and_then(|part| part.parse::<u16>().ok())
        };
        let mut parts = text.split('-');
        let date = (|| {
            let date = Self {
                year: number(parts.next(), 4)?,
                month: u8::try_from(number(parts.next(), 2)?).ok()?,
                day: u8::try_from(number(parts.next(), 2)?).ok()?,
            };
            let exists = (1..=date.days_of_month()).contains(&date.day);
            (exists && parts.next().is_none()).then_some(date)
        })();
        date.ok_or_else(|| DateError {
            value: text.chars().take(40).collect(),
        })
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_fall_on_their_day() {
        for (unix_s, day) in [
            (0_u64, "1970-01-01"),
            (86_399, "1970-01-01"),
            (86_400, "1970-01-02"),
            (951_782_400, "2000-02-29"),
            (951_868_800, "2000-03-01"),
            (1_709_164_800, "2024-02-29"),
            (1_798_761_599, "2026-12-31"),
            (4_107_542_400, "2100-03-01"),
        ] {
            assert_eq!(Date::from_unix_ms(unix_s * 1_000).to_string(), day);
        }
    }

    #[test]
    fn days_read_print_and_compare() {
        let day = |text: &str| text.parse::<Date>();
        assert_eq!(day("2024-02-29").unwrap().to_string(), "2024-02-29");
        assert!(day("2026-12-31").unwrap() < day("2027-01-01").unwrap());
        for bad in [
            "2026-02-29",
            "2026-1-1",
            "2026-13-01",
            "2026-04-31",
            "soon",
            "",
            "2026-01-01-",
            "+026-01-01",
        ] {
            assert!(day(bad).is_err(), "{bad}");
        }
    }
}
