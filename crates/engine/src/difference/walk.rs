//! Where a comparison is: the same place in both documents, and what has been found so far.

use super::field::{self, Field, Kind, Reaches};
use super::reach::Reach;
use super::reading::Reading;
use super::value::Value;
use super::{About, Change, Difference, Said};
use crate::document::Path;

/// What a field without a row may change: for all that is known, everything. A test holds that there is none.
const ANYTHING: Reaches = Reach::ALL;

/// A place that is compared.
#[derive(Debug, Clone, Copy)]
pub(super) struct At<'a> {
    /// Its path in the old document.
    pub(super) old: Path<'a>,
    /// Its path in the new one, where entries may stand elsewhere.
    pub(super) new: Path<'a>,
    /// Its path in the table.
    pub(super) row: &'a str,
    /// The entry that it is part of, and how much of `row` leads there.
    pub(super) entry: Option<Entry<'a>>,
}

/// An entry of a list of such.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry<'a> {
    pub(super) kind: Kind,
    pub(super) name: &'a str,
    /// Its path in the table: `spec.rules[]`.
    pub(super) row: &'a str,
}

/// The differences found so far.
pub(super) struct Findings<'d> {
    old: &'d Reading,
    new: &'d Reading,
    /// Each with where it stands in the new text.
    found: Vec<(usize, Difference)>,
}

impl At<'_> {
    /// What it is about, and the path of the field below that.
    fn subject(&self) -> (About, String) {
        if let Some(entry) = self.entry {
            let about = About {
                kind: entry.kind,
                name: entry.name.to_owned(),
            };
            let field = self.row.strip_prefix(entry.row).unwrap_or_default();
            return (about, field.trim_start_matches('.').to_owned());
        }
        let path = self.row.strip_prefix("spec.").unwrap_or(self.row);
        let (name, field) = path.split_once('.').unwrap_or((path, ""));
        let about = About {
            kind: Kind::Section,
            name: name.to_owned(),
        };
        (about, field.to_owned())
    }
}

impl<'d> Findings<'d> {
    pub(super) fn new(old: &'d Reading, new: &'d Reading) -> Self {
        Self {
            old,
            new,
            found: Vec::new(),
        }
    }

    /// The row of its own that a place has.
    pub(super) fn row(&self, at: &At<'_>) -> Option<&'static Field> {
        field::find(self.new.table(), at.row)
    }

    /// Adds what became of a place.
    pub(super) fn add(&mut self, at: &At<'_>, change: Change) {
        let offset = self.offset(&at.new);
        self.add_at(offset, at, change);
    }

    /// The same, for what stands nowhere in the new text.
    pub(super) fn add_at(&mut self, offset: usize, at: &At<'_>, change: Change) {
        let row = field::nearest(self.new.table(), at.row);
        let (about, field) = at.subject();
        let difference = Difference {
            about,
            field,
            change,
            reach: row.map_or(ANYTHING, |row| row.reach),
        };
        self.found.push((offset, difference));
    }

    /// Adds that a field says something else, unless neither text says anything of it: then another field, whose value it
    /// takes, is the difference.
    pub(super) fn add_set(&mut self, at: &At<'_>, before: Option<&Value>, after: Option<&Value>) {
        let is_given = (
            self.old.source().is_given(&at.old),
            self.new.source().is_given(&at.new),
        );
        if is_given == (false, false) {
            return;
        }
        let said = |value: &Value, is_given: bool| Said {
            value: value.clone(),
            is_default: !is_given,
        };
        let change = Change::Set {
            before: before.map(|value| said(value, is_given.0)),
            after: after.map(|value| said(value, is_given.1)),
        };
        self.add(at, change);
    }

    /// Where something begins in the new text, or what is around it.
    pub(super) fn offset(&self, path: &Path<'_>) -> usize {
        self.new.source().range_of(path).start
    }

    /// Where something ends in the new text.
    pub(super) fn end(&self, path: &Path<'_>) -> usize {
        self.new.source().range_of(path).end
    }

    /// All differences, in the order of the new text.
    pub(super) fn finish(mut self) -> Vec<Difference> {
        self.found.sort_by_key(|(offset, _)| *offset);
        let found = self.found.into_iter();
        found.map(|(_, difference)| difference).collect()
    }
}
