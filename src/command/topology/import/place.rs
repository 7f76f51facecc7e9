//! Where a row stands in its file, and what parts it.

use std::fmt;

/// Where a row stands in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// It begins on this line, from 1.
    Line(u64),
    /// It is this entry of a JSON array or object, from 1.
    Entry(u64),
    /// It is this feature of a `GeoJSON` collection, from 1.
    Feature(u64),
}

/// What stands between the fields of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Separator {
    /// `,`
    Comma,
    /// `;`
    Semicolon,
    /// A tab.
    Tab,
}

impl Separator {
    /// Whichever the first line has most of outside quotes.
    pub(super) fn of(text: &str) -> Self {
        let header = text.lines().next().unwrap_or_default();
        let outside = || header.split('"').step_by(2).flat_map(str::bytes);
        // The last of equals wins, so the comma stands last.
        let best = [Self::Tab, Self::Semicolon, Self::Comma]
            .into_iter()
            .max_by_key(|mark| outside().filter(|byte| *byte == mark.byte()).count());
        best.unwrap_or(Self::Comma)
    }

    pub(super) fn byte(self) -> u8 {
        match self {
            Self::Comma => b',',
            Self::Semicolon => b';',
            Self::Tab => b'\t',
        }
    }

    /// What to do when a row has too many fields.
    pub(super) fn advice(self) -> &'static str {
        match self {
            Self::Comma => "quote values with commas, or separate columns by ;",
            Self::Semicolon => "quote values with semicolons",
            Self::Tab => "quote values with tabs",
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => write!(f, "line {line}"),
            Self::Entry(entry) => write!(f, "entry {entry}"),
            Self::Feature(feature) => write!(f, "feature {feature}"),
        }
    }
}
