//! Country codes: their form, and those that exist (ISO 3166-1 alpha-2), for what people write into documents.
//!
//! Geo files and callers may use other codes, so [`Country`] takes any two letters; a document that names one nobody is
//! ever in has a mistake in it.

use std::fmt;
use std::num::NonZeroU16;
use std::str::FromStr;

/// An ISO 3166-1 alpha-2 country code, upper case.
///
/// Only the form is checked (two letters): databases use codes outside of the standard too, such as `XK` and `EU`.
// The two letters are kept as one number that is never zero, so that `Option<Country>` takes two bytes in the tables.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Country(NonZeroU16);

impl Country {
    /// A country from its two letters in either case, or `None` if they are not ASCII letters.
    pub fn new(letters: [u8; 2]) -> Option<Self> {
        if !letters.iter().all(u8::is_ascii_alphabetic) {
            return None;
        }
        NonZeroU16::new(u16::from_be_bytes(
            letters.map(|letter| letter.to_ascii_uppercase()),
        ))
        .map(Self)
    }

    /// The two upper-case letters.
    pub fn letters(self) -> [u8; 2] {
        self.0.get().to_be_bytes()
    }
}

impl fmt::Display for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, second] = self.letters().map(char::from);
        write!(f, "{first}{second}")
    }
}

impl fmt::Debug for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Country({self})")
    }
}

/// A text that is not a country code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("country is `{value}`, must be two letters such as `FR`")]
pub struct CountryError {
    /// The text as given, cut to 32 characters.
    pub value: String,
}

impl FromStr for Country {
    type Err = CountryError;

    fn from_str(text: &str) -> Result<Self, CountryError> {
        <[u8; 2]>::try_from(text.as_bytes())
            .ok()
            .and_then(Self::new)
            .ok_or_else(|| CountryError {
                value: text.chars().take(32).collect(),
            })
    }
}

/// The codes officially assigned, with `XK`: user-assigned, and used for Kosovo by every geo file.
const ASSIGNED: &str = "\
AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY BZ CA CC CD \
CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO FR GA GB GD GE GF \
GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN \
KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA \
NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI \
SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI \
VN VU WF WS XK YE YT ZA ZM ZW";

/// Codes that people write for another: reserved ones, and those of names that are not in English.
const MEANT: &[(&str, &str)] = &[
    ("UK", "GB"),
    ("EL", "GR"),
    ("EN", "GB"),
    ("FX", "FR"),
    ("SU", "RU"),
    ("TP", "TL"),
    ("YU", "RS"),
    ("CS", "RS"),
    ("ZR", "CD"),
    ("BU", "MM"),
    ("AN", "CW"),
    ("JA", "JP"),
];

/// Codes that geo files use for more than one country.
const REGIONS: &[(&str, &str)] = &[
    ("EU", "the European Union or Europe"),
    ("AP", "Asia and the Pacific"),
];

/// All codes, in order.
pub fn assigned() -> impl Iterator<Item = &'static str> {
    ASSIGNED.split(' ')
}

/// Whether `code`, in either case, is the code of a country.
pub fn is_assigned(code: &str) -> bool {
    code.len() == 2
        && ASSIGNED
            .split(' ')
            .any(|known| known.eq_ignore_ascii_case(code))
}

/// What to write instead of a code that is not assigned.
pub fn advice(code: &str) -> String {
    let upper = code.to_ascii_uppercase();
    if let Some((_, meant)) = MEANT.iter().find(|(written, _)| *written == upper) {
        return format!("did you mean {meant}?");
    }
    if let Some((_, what)) = REGIONS.iter().find(|(written, _)| *written == upper) {
        return format!("{upper} is {what}, not a country: list its countries");
    }
    if upper.len() == 3 && upper.bytes().all(|letter| letter.is_ascii_uppercase()) {
        return "write the code of two letters (ISO 3166-1 alpha-2), like DE, not that of three"
            .to_owned();
    }
    "write the two letters of ISO 3166-1, like DE".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_every_country_once_in_order() {
        let codes: Vec<&str> = ASSIGNED.split(' ').collect();
        assert_eq!(codes.len(), 249 + 1, "ISO 3166-1 has 249, and Kosovo");
        assert!(codes.windows(2).all(|two| two[0] < two[1]));
        for (written, meant) in MEANT {
            assert!(!is_assigned(written) && is_assigned(meant), "{written}");
        }
        assert!(REGIONS.iter().all(|(written, _)| !is_assigned(written)));
    }

    #[test]
    fn what_is_no_country_gets_the_cure() {
        for (code, cure) in [
            ("UK", "did you mean GB?"),
            ("uk", "did you mean GB?"),
            ("EL", "did you mean GR?"),
            ("EU", "list its countries"),
            ("DEU", "two letters"),
            ("ZZ", "two letters"),
            ("", "two letters"),
        ] {
            assert!(!is_assigned(code) && advice(code).contains(cure), "{code}");
        }
        assert!(is_assigned("de") && is_assigned("XK"));
    }
}
