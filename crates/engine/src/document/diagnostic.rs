//! Faults found in a document: each with a code, a place, the value seen and a line of help.

use std::fmt;
use std::ops::Range;

use super::code::{Code, Severity};
use super::mark::Mark;
use super::path;

/// At most this many faults are kept for one document; the rest are counted.
pub(super) const MAX_DIAGNOSTICS: usize = 100;

/// Messages, help and paths have at most this many characters: they quote the document.
const MAX_TEXT_CHARS: usize = 400;

/// Excerpts show at most this many bytes of the line at fault.
const MAX_EXCERPT_BYTES: usize = 160;

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// What is wrong, like `P012`; it says how grave that is too.
    pub code: Code,
    /// The name of the file, as the caller gave it.
    pub file: String,
    /// The path in the document, like `spec.rules[3].name`; empty for the whole.
    pub path: String,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// The text of that line, cut to a bound, without control characters; empty where the text is not at hand.
    pub excerpt: String,
    /// The bytes of `excerpt` that are at fault.
    pub marked: Range<usize>,
    /// What was wrong, the value seen, what is allowed.
    pub message: String,
    /// What to do about it.
    pub help: String,
    /// Further places of which the very same is to be said.
    pub also: Also,
}

/// Where else a finding holds: two hundred nodes at one site that does not exist are one finding, not two hundred.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Also {
    /// How many places there are beside the first.
    pub count: usize,
    /// The lines of the first few of them, from 1.
    pub lines: Vec<usize>,
}

/// Of how many further places a finding gives the line.
const MAX_LINES_SHOWN: usize = 3;

/// All findings about one or more documents, in the order of their places.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Diagnostics {
    pub(super) items: Vec<Diagnostic>,
    pub(super) dropped: usize,
}

impl Diagnostics {
    /// Adds a finding, to one of the same text if there is one; or counts it when 100 are kept already. Errors take the
    /// place of warnings then, so a document that is refused always says why.
    pub fn push(&mut self, mut diagnostic: Diagnostic) {
        diagnostic.make_printable();
        if let Some(kept) = self.alike(&diagnostic) {
            kept.also.add(diagnostic.line);
            return;
        }
        if self.items.len() < MAX_DIAGNOSTICS {
            self.items.push(diagnostic);
            return;
        }
        self.dropped += 1;
        if diagnostic.severity() == Severity::Error
            && let Some(warning) = self.last_warning()
        {
            *warning = diagnostic;
        }
    }

    /// As [`push`](Self::push), for findings that cost time to place. `said` is the finding without its line; only when
    /// that is shown, `find_place` is asked for the whole.
    pub(super) fn push_with(&mut self, said: &Diagnostic, find_place: impl FnOnce() -> Diagnostic) {
        if let Some(kept) = self.alike(said) {
            if kept.also.lines.len() < MAX_LINES_SHOWN {
                kept.also.add(find_place().line);
            } else {
                kept.also.count += 1;
            }
            return;
        }
        let is_kept = self.items.len() < MAX_DIAGNOSTICS
            || (said.severity() == Severity::Error && self.last_warning().is_some());
        if is_kept {
            self.push(find_place());
        } else {
            self.dropped += 1;
        }
    }

    /// The finding that says the same of another entry of the same list.
    fn alike(&mut self, said: &Diagnostic) -> Option<&mut Diagnostic> {
        if !path::has_entries(&said.path) {
            return None;
        }
        self.items.iter_mut().find(|kept| {
            kept.code == said.code
                && kept.message == said.message
                && kept.help == said.help
                && kept.file == said.file
                && path::is_same_but_for_entries(&kept.path, &said.path)
        })
    }

    fn last_warning(&mut self) -> Option<&mut Diagnostic> {
        let mut kept = self.items.iter_mut().rev();
        kept.find(|kept| kept.severity() == Severity::Warning)
    }

    /// Adds all findings of `other`.
    pub fn append(&mut self, other: Self) {
        self.dropped += other.dropped;
        for diagnostic in other.items {
            self.push(diagnostic);
        }
    }

    /// The findings kept.
    pub fn items(&self) -> &[Diagnostic] {
        &self.items
    }

    /// Forgets the findings with this code, for a caller who knows that they do not matter to it.
    pub fn forget(&mut self, code: Code) {
        self.items.retain(|diagnostic| diagnostic.code != code);
    }

    /// How many findings were counted but not kept.
    pub fn dropped(&self) -> usize {
        self.dropped
    }

    /// The errors, and the warnings apart from them. What was counted but not kept goes with the errors.
    pub fn split(self) -> (Self, Self) {
        let items = self.items.into_iter();
        let (errors, warnings) = items.partition(|found| found.severity() == Severity::Error);
        let errors = Self {
            items: errors,
            dropped: self.dropped,
        };
        let warnings = Self {
            items: warnings,
            dropped: 0,
        };
        (errors, warnings)
    }

    /// True when nothing was found at all.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// True when a document must be refused.
    pub fn has_errors(&self) -> bool {
        self.items.iter().any(|d| d.severity() == Severity::Error)
    }

    /// How many errors and how many warnings are kept.
    pub fn counts(&self) -> (usize, usize) {
        let errors = self.items.iter();
        let errors = errors.filter(|d| d.severity() == Severity::Error).count();
        (errors, self.items.len() - errors)
    }

    /// How many errors were found, those alike counted one by one; more than are kept is one more.
    pub(super) fn errors(&self) -> usize {
        let errors = self
            .items
            .iter()
            .filter(|d| d.severity() == Severity::Error);
        errors.map(|d| 1 + d.also.count).sum::<usize>() + self.dropped
    }

    /// Sorts by file, line and column, so that output follows the text.
    pub fn sort(&mut self) {
        self.items.sort_by(|a, b| {
            (&a.file, a.line, a.column, a.code).cmp(&(&b.file, b.line, b.column, b.code))
        });
    }

    /// One line a finding, for logs: `policy.yaml:12:5: error[P012]: …`.
    pub fn to_lines(&self) -> Vec<String> {
        self.items.iter().map(ToString::to_string).collect()
    }
}

impl Diagnostic {
    /// A finding whose line is not known yet; `said` is its path and its message.
    pub(super) fn new(code: Code, file: &str, said: (String, String), help: &str) -> Self {
        let (path, message) = said;
        let mut new = Self {
            code,
            file: file.to_owned(),
            path,
            line: 1,
            column: 1,
            excerpt: String::new(),
            marked: 0..0,
            message,
            help: help.to_owned(),
            also: Also::default(),
        };
        new.make_printable();
        new
    }

    /// A finding about `file`, whose text is not at hand.
    pub fn elsewhere(
        code: Code,
        (file, mark): (&str, Mark),
        said: (String, String),
        help: &str,
    ) -> Self {
        let place = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        Self {
            line: place(mark.line),
            column: place(mark.column),
            ..Self::new(code, file, said, help)
        }
    }

    fn make_printable(&mut self) {
        for text in [&mut self.path, &mut self.message, &mut self.help] {
            make_printable(text);
        }
    }

    /// Whether the document can still be used.
    pub fn severity(&self) -> Severity {
        self.code.severity()
    }
}

impl Also {
    fn add(&mut self, line: usize) {
        self.count += 1;
        if self.lines.len() < MAX_LINES_SHOWN {
            self.lines.push(line);
        }
    }
}

impl fmt::Display for Also {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.count == 0 {
            return Ok(());
        }
        let lines: Vec<String> = self.lines.iter().map(ToString::to_string).collect();
        let noun = if self.count == 1 { "line" } else { "lines" };
        write!(f, " (and {} more, {noun} {}", self.count, lines.join(", "))?;
        f.write_str(if self.count > lines.len() {
            ", …)"
        } else {
            ")"
        })
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            code,
            file,
            path,
            line,
            column,
            message,
            help,
            also,
            excerpt: _,
            marked: _,
        } = self;
        write!(
            f,
            "{file}:{line}:{column}: {}[{code}]: ",
            self.severity().name()
        )?;
        if !path.is_empty() {
            write!(f, "{path}: ")?;
        }
        write!(f, "{message}{also}; {help}")
    }
}

/// Makes one line of bounded length of what may quote a document: it ends up in logs and terminals.
fn make_printable(text: &mut String) {
    let is_fine = text.len() <= MAX_TEXT_CHARS && !text.chars().any(char::is_control);
    if !is_fine {
        let clean = |c: char| if c.is_control() { '\u{fffd}' } else { c };
        *text = text.chars().map(clean).take(MAX_TEXT_CHARS).collect();
    }
}

/// The line around byte `at` of `text`, made safe to print, with the part of it that `span` covers.
pub(super) fn excerpt(text: &str, span: &Range<usize>) -> (usize, usize, String, Range<usize>) {
    let at = floor_char_boundary(text, span.start.min(text.len()));
    let before = text.get(..at).unwrap_or_default();
    let line_start = before.rfind('\n').map_or(0, |i| i + 1);
    let line = before.matches('\n').count() + 1;
    let column = text.get(line_start..at).unwrap_or_default().chars().count() + 1;
    let rest = text.get(line_start..).unwrap_or_default();
    let full = rest.split('\n').next().unwrap_or_default();
    let offset = at - line_start;
    // A very long line is shown from a little before the fault.
    let from = if full.len() > MAX_EXCERPT_BYTES {
        floor_char_boundary(full, offset.saturating_sub(40))
    } else {
        0
    };
    let to = floor_char_boundary(full, (from + MAX_EXCERPT_BYTES).min(full.len()));
    let shown = full.get(from..to).unwrap_or_default();
    // Every control character becomes one ASCII byte or keeps its length, so that offsets still fit.
    let clean: String = shown
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let shrunk = shown.len() - clean.len();
    let start = floor_char_boundary(
        &clean,
        (offset - from).saturating_sub(shrunk).min(clean.len()),
    );
    let length = span.end.saturating_sub(span.start).max(1);
    let end = ceil_char_boundary(&clean, (start + length).min(clean.len()).max(start));
    (line, column, clean, start..end)
}

fn floor_char_boundary(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

fn ceil_char_boundary(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at += 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_points_at_the_fault() {
        let text = "a: 1\n  b: zwölf\nc: 3\n";
        let at = text.find("zwölf").unwrap();
        let (line, column, shown, marked) = excerpt(text, &(at..at + 6));
        assert_eq!((line, column, shown.as_str()), (2, 6, "  b: zwölf"));
        assert_eq!(shown.get(marked), Some("zwölf"));
    }

    #[test]
    fn a_long_line_and_control_characters_are_cut_and_cleaned() {
        let text = format!("{}\u{7}bad{}", "x".repeat(500), "y".repeat(500));
        let (line, column, shown, marked) = excerpt(&text, &(501..504));
        assert_eq!((line, column), (1, 502));
        assert!(shown.len() <= MAX_EXCERPT_BYTES && !shown.contains('\u{7}'));
        assert_eq!(shown.get(marked), Some("bad"));
    }
}
