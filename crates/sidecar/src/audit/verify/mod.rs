//! Whether a log is as it was written: every entry that was changed, dropped, moved, put in twice or cut is named.
//!
//! What cannot be seen: a log that was made anew as a whole, since nothing in it is secret; and entries older than the oldest
//! file that is kept. That the last entries are gone is seen where the head is there ([`Head`]).

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::entry::{self, Line, Link, NO_PREVIOUS};

/// Where the log ends and begins, kept beside it: by this it shows that its ends are missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The oldest entry that is kept.
    pub first_sequence: u64,
    /// The hash before that.
    pub anchor: String,
    /// The newest entry. A process that died may have written one more.
    pub last_sequence: u64,
    /// Its hash.
    pub last_hash: String,
}

/// A file of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// What it is called in findings.
    pub name: String,
    /// All of it.
    pub bytes: Vec<u8>,
}

/// Something that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The file; absent where an entry stands in none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The line in it, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// The first entry that it is about.
    pub sequence: u64,
    /// The last one, for entries that are dropped.
    pub last_sequence: u64,
    /// What is wrong.
    pub fault: Fault,
}

/// What is wrong with an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// It does not have the hash that it was given, or the next one does not name it.
    Changed,
    /// It is gone.
    Dropped,
    /// It stands behind a later one.
    Reordered,
    /// It is there once more.
    Duplicated,
    /// Its line has no end.
    Cut,
    /// The head does not belong to this log.
    Head,
}

impl Fault {
    /// What is wrong, as the end of a sentence about the entry.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Changed => "is not as it was written",
            Self::Dropped => "is missing",
            Self::Reordered => "stands behind a later one",
            Self::Duplicated => "is there once more",
            Self::Cut => "is cut short",
            Self::Head => "is not the one that audit.head names",
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let (Some(file), Some(line)) = (&self.file, self.line) {
            write!(f, "{file}:{line}: ")?;
        }
        if self.last_sequence > self.sequence {
            let words = match self.fault {
                Fault::Dropped => "are missing",
                other => other.words(),
            };
            write!(
                f,
                "entries {} to {} {words}",
                self.sequence, self.last_sequence
            )
        } else {
            write!(f, "entry {} {}", self.sequence, self.fault.words())
        }
    }
}

/// What looking through a log came to.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Verified {
    /// Entries that are as they were written.
    pub entries: usize,
    /// The first and the last number among them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub range: Option<(u64, u64)>,
    /// The hash before the first entry: what the chain hangs on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub anchor: Option<String>,
    /// Entries that the process itself says it could not write.
    pub lost: u64,
    /// All that is wrong.
    pub findings: Vec<Finding>,
}

/// A line of the log, with where it stands.
struct Row<'p> {
    file: &'p str,
    line: usize,
    is_cut: bool,
    content: Line,
}

/// Looks through the files of a log, oldest first.
pub fn verify(parts: &[Part], head: Option<&Head>) -> Verified {
    let rows: Vec<Row<'_>> = parts.iter().flat_map(rows).collect();
    let mut walk = Walk::new(&rows, head);
    for row in &rows {
        walk.take(row);
    }
    walk.finish(head)
}

fn rows(part: &Part) -> impl Iterator<Item = Row<'_>> {
    let lines = part.bytes.split_inclusive(|byte| *byte == b'\n');
    lines.enumerate().map(|(number, line)| {
        let whole = line.strip_suffix(b"\n");
        Row {
            file: &part.name,
            line: number + 1,
            is_cut: whole.is_none(),
            content: entry::open(whole.unwrap_or(line)),
        }
    })
}

/// On the way through the log.
struct Walk<'p> {
    /// How many lines have each number.
    places: BTreeMap<u64, usize>,
    /// The hashes that were met.
    met: BTreeMap<u64, Option<String>>,
    /// What the next entry must hang on; without a hash where the last line is broken and says none.
    at: Option<(u64, Option<String>)>,
    last_row: Option<(&'p str, usize)>,
    verified: Verified,
}

impl<'p> Walk<'p> {
    fn new(rows: &[Row<'p>], head: Option<&Head>) -> Self {
        let mut places = BTreeMap::new();
        for row in rows {
            if let Line::Sound(entry) = &row.content {
                *places.entry(entry.sequence).or_default() += 1;
            }
        }
        let first = rows.iter().find_map(|row| match &row.content {
            Line::Sound(entry) => Some(entry.sequence),
            Line::Broken { .. } => None,
        });
        // A process that died while it made room has older entries than it meant to keep.
        let is_first = |head: &&Head| first.is_none_or(|first| first >= head.first_sequence);
        let begin = |head: &Head| {
            let before = head.first_sequence.checked_sub(1)?;
            Some((before, Some(head.anchor.clone())))
        };
        Self {
            places,
            met: BTreeMap::new(),
            at: head.filter(is_first).and_then(begin),
            last_row: None,
            verified: Verified::default(),
        }
    }

    fn take(&mut self, row: &Row<'p>) {
        let here = (row.file, row.line);
        match &row.content {
            Line::Sound(entry) => {
                let link = Link {
                    sequence: entry.sequence,
                    hash: entry.hash.clone(),
                };
                self.verified.lost += entry.lost;
                self.sound(here, link, &entry.previous);
                if row.is_cut {
                    self.find(Some(here), entry.sequence, Fault::Cut);
                }
            }
            Line::Broken { sequence, hash } => {
                let expected = self.at.as_ref().map(|(at, _)| at + 1);
                let number = expected.or(*sequence).unwrap_or(1);
                let fault = if row.is_cut {
                    Fault::Cut
                } else {
                    Fault::Changed
                };
                self.find(Some(here), number, fault);
                self.met.insert(number, hash.clone());
                self.at = Some((number, hash.clone()));
                self.last_row = Some(here);
            }
        }
    }

    fn sound(&mut self, here: (&'p str, usize), link: Link, previous: &str) {
        let sequence = link.sequence;
        if let Some(hash) = self.met.get(&sequence) {
            let fault = if hash.as_ref() == Some(&link.hash) {
                Fault::Duplicated
            } else {
                Fault::Changed
            };
            if hash.is_some() {
                return self.find(Some(here), sequence, fault);
            }
            // A broken line was taken for this one, by its place.
            self.at = Some((sequence.saturating_sub(1), None));
        }
        match self.at.take() {
            Some((at, hash)) if sequence <= at => {
                self.at = Some((at, hash));
                self.met.insert(sequence, Some(link.hash));
                return self.find(Some(here), sequence, Fault::Reordered);
            }
            Some((at, hash)) => {
                self.missing(at + 1, sequence - 1);
                let hangs_on = hash.is_none_or(|hash| hash == previous);
                if sequence == at + 1 && !hangs_on {
                    self.find(self.last_row, at, Fault::Changed);
                }
            }
            // Without a head the first entry tells where the log begins.
            None if sequence == 1 && previous != NO_PREVIOUS => {
                self.find(Some(here), 1, Fault::Changed);
            }
            None => {}
        }
        let verified = &mut self.verified;
        verified.entries += 1;
        verified.anchor.get_or_insert_with(|| previous.to_owned());
        let first = verified.range.map_or(sequence, |(first, _)| first);
        verified.range = Some((first, sequence));
        self.last_row = Some(here);
        self.met.insert(sequence, Some(link.hash.clone()));
        self.at = Some((sequence, Some(link.hash)));
    }

    /// These numbers were passed over: some are met later, the others are gone.
    fn missing(&mut self, from: u64, to: u64) {
        let mut next = from;
        let later: Vec<u64> = self
            .places
            .range(from..to.saturating_add(1).max(from))
            .map(|(n, _)| *n)
            .collect();
        for present in later.into_iter().chain([to.saturating_add(1)]) {
            if present > next {
                self.dropped(next, present - 1);
            }
            next = present.saturating_add(1);
        }
    }

    fn dropped(&mut self, from: u64, to: u64) {
        self.verified.findings.push(Finding {
            file: None,
            line: None,
            sequence: from,
            last_sequence: to,
            fault: Fault::Dropped,
        });
    }

    fn find(&mut self, at: Option<(&str, usize)>, sequence: u64, fault: Fault) {
        self.verified.findings.push(Finding {
            file: at.map(|(file, _)| file.to_owned()),
            line: at.map(|(_, line)| line),
            sequence,
            last_sequence: sequence,
            fault,
        });
    }

    fn finish(mut self, head: Option<&Head>) -> Verified {
        if let Some(head) = head.filter(|head| head.last_sequence > 0) {
            let last = self.at.as_ref().map_or(0, |(at, _)| *at);
            if head.last_sequence > last {
                self.missing(last + 1, head.last_sequence);
            }
            let known = self.met.get(&head.last_sequence).cloned().flatten();
            if known.is_some_and(|hash| hash != head.last_hash) {
                self.find(None, head.last_sequence, Fault::Head);
            }
        }
        self.verified
    }
}

#[cfg(test)]
mod tests;
