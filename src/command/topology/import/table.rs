//! A list as a table: texts in rows under named columns, whatever it was written as.

use super::place::Place;

/// Named columns and rows of as many texts.
#[derive(Debug, Default)]
pub(super) struct Table {
    /// The columns' names as written.
    pub(super) names: Vec<String>,
    /// The rows; each has a text for every name.
    pub(super) rows: Vec<Row>,
}

/// A row of a table.
#[derive(Debug)]
pub(super) struct Row {
    /// Where it stands in the file.
    pub(super) place: Place,
    /// Its texts, trimmed.
    pub(super) fields: Vec<String>,
}
