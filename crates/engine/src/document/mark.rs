//! The place of an entry of a long list, for findings that another document gives rise to later.

/// Where one field of one entry of a list stands in the text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mark {
    /// The entry, counted from 0.
    pub entry: u32,
    /// The line, from 1.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
}
