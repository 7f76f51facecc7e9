//! How things are, in a shape, a word and a colour: never by colour alone.

use serde::Deserialize;

use super::table::{Cell, Style};

/// How something is, as the sidecar says it; the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Mark {
    /// Out, or failing.
    Bad,
    /// Not well.
    Warn,
    /// It is tried with a slice of its keys.
    Tried,
    /// Operators let it take nothing.
    Drained,
    /// A change that somebody made.
    Flag,
    /// Well.
    Well,
    /// Nothing is known, or it is a word of a later version.
    #[serde(other)]
    Unknown,
}

impl Mark {
    /// A shape of one column, and the word.
    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::Well => "● well",
            Self::Flag => "⚑ flag",
            Self::Unknown => "◌ unknown",
            Self::Drained => "◇ drained",
            Self::Tried => "◐ tried",
            Self::Warn => "▲ warn",
            Self::Bad => "☒ bad",
        }
    }

    /// What it looks like where there are colours.
    pub(super) const fn style(self) -> Style {
        match self {
            Self::Well => Style::Green,
            Self::Flag | Self::Tried => Style::Cyan,
            Self::Unknown | Self::Drained => Style::Dim,
            Self::Warn => Style::Yellow,
            Self::Bad => Style::Red,
        }
    }

    /// The mark in a table.
    pub(super) fn cell(self) -> Cell {
        Cell::styled(self.words(), self.style())
    }
}
