//! Lines: bytes that were read, cut where they end.

/// Longest line that is read.
pub(super) const MAX_LINE_BYTES: usize = 16 << 10;

/// What was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Line {
    /// A line without its end.
    Whole(Vec<u8>),
    /// A line that is longer than what is read.
    TooLong,
    /// No line: the file cannot be read for now, for this reason, and is waited for.
    Away(String),
    /// No line: the file that was away can be read, from its start.
    Back,
}

/// Whoever takes lines; false when he takes no more.
pub(super) type Take<'a> = &'a mut dyn FnMut(Line) -> bool;

/// Bytes that become lines. Blank ones are left out.
#[derive(Debug, Default)]
pub(super) struct Lines {
    begun: Vec<u8>,
    is_too_long: bool,
}

impl Lines {
    /// Takes more bytes; false when nobody takes lines any more.
    pub(super) fn add(&mut self, bytes: &[u8], take: Take<'_>) -> bool {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let end = part.strip_suffix(b"\n");
            let part = end.unwrap_or(part);
            if self.begun.len() + part.len() > MAX_LINE_BYTES {
                self.is_too_long = true;
                self.begun.clear();
            }
            if !self.is_too_long {
                self.begun.extend_from_slice(part);
            }
            if end.is_none() {
                continue;
            }
            let line = std::mem::take(&mut self.begun);
            let line = if std::mem::take(&mut self.is_too_long) {
                Line::TooLong
            } else if line.trim_ascii().is_empty() {
                continue;
            } else {
                Line::Whole(line)
            };
            if !take(line) {
                return false;
            }
        }
        true
    }
}
