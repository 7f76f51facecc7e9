//! How results are written: text for people, JSON for programs.

use std::fmt::{self, Write as _};
use std::io::Write;

use clap::ValueEnum;
use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use super::CommandError;

/// How results are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// Writes `value` as indented JSON and a line end.
pub(super) fn json(out: &mut impl Write, value: &impl Serialize) -> Result<(), CommandError> {
    serde_json::to_writer_pretty(&mut *out, value).map_err(|error| {
        match error.io_error_kind() {
            Some(kind) => CommandError::Output(kind.into()),
            None => CommandError::Json(error),
        }
    })?;
    text(out, "\n")
}

/// Writes `value` as a line of JSON.
pub(super) fn json_line(out: &mut impl Write, value: &impl Serialize) -> Result<(), CommandError> {
    let line = serde_json::to_string(value).map_err(CommandError::Json)?;
    text(out, &format!("{line}\n"))
}

/// Writes `text` as it stands.
pub(super) fn text(out: &mut impl Write, text: &str) -> Result<(), CommandError> {
    out.write_all(text.as_bytes()).map_err(CommandError::Output)
}

/// Writes what is said beside the output. Nobody may be reading; the work does not depend on it.
pub(super) fn note(notes: &mut impl Write, text: &str) {
    drop(notes.write_all(text.as_bytes()));
}

/// A number of things: `1 file`, `2 files`.
pub(super) fn counted(count: usize, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

/// Text that grows line by line.
#[derive(Debug, Default)]
pub(super) struct Text(String);

impl Text {
    /// Adds a line.
    pub(super) fn line(&mut self, line: fmt::Arguments<'_>) {
        let written = self.0.write_fmt(line);
        debug_assert!(written.is_ok(), "a string takes any text");
        self.0.push('\n');
    }

    /// Adds whole lines.
    pub(super) fn lines(&mut self, lines: &str) {
        self.0.push_str(lines);
    }

    /// The text.
    pub(super) fn into_string(self) -> String {
        self.0
    }
}

/// A table without borders; `left` columns hold words, the rest numbers.
pub(super) fn table(header: &[&str], left: &[usize]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(header.iter().copied());
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_cell_alignment(if left.contains(&index) {
            CellAlignment::Left
        } else {
            CellAlignment::Right
        });
        column.set_padding((if index == 0 { 2 } else { 1 }, 1));
    }
    table
}

/// The table as text, without the spaces that fill up its lines.
pub(super) fn trimmed(table: &Table) -> String {
    let mut text = String::new();
    for line in table.to_string().lines() {
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}
