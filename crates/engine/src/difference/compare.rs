//! Two trees compared, field by field.

use std::collections::BTreeSet;

use super::align;
use super::field::{Entries, Shape};
use super::reading::Reading;
use super::value::Value;
use super::walk::{At, Entry, Findings};
use super::{Change, Difference};
use crate::document::Path;
use crate::edition::Which;

/// Two documents of different kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a {old} and a {new} cannot be compared, must be two of one kind")]
pub struct KindsDiffer {
    /// What the old one is.
    pub old: Which,
    /// What the new one is.
    pub new: Which,
}

/// What changed from one document to another, in the order of the new text. Nothing, if both mean the same.
///
/// # Errors
///
/// If they are not of one kind.
pub fn between(old: &Reading, new: &Reading) -> Result<Vec<Difference>, KindsDiffer> {
    if old.which() != new.which() {
        return Err(KindsDiffer {
            old: old.which(),
            new: new.which(),
        });
    }
    let (before, after) = (old.tree(), new.tree());
    let mut findings = Findings::new(old, new);
    let root = At {
        old: Path::Root,
        new: Path::Root,
        row: "",
        entry: None,
    };
    let sides = Sides {
        before: Some(&before),
        after: Some(&after),
    };
    fields(&mut findings, &root, sides);
    Ok(findings.finish())
}

/// What stands at one place; `None` is nothing.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Sides<'v> {
    before: Option<&'v Value>,
    after: Option<&'v Value>,
}

impl<'v> Sides<'v> {
    /// Whether there is nothing but maps.
    fn are_maps(self) -> bool {
        let is_map = |side: Option<&Value>| matches!(side, None | Some(Value::Map(_)));
        is_map(self.before) && is_map(self.after)
    }

    fn are_both_there(self) -> bool {
        self.before.is_some() && self.after.is_some()
    }

    /// The field of this name, of each.
    fn field(self, name: &str) -> Self {
        Self {
            before: self.before.and_then(|side| side.get(name)),
            after: self.after.and_then(|side| side.get(name)),
        }
    }

    /// The names of all fields: those of the new side in its order, then those that only the old one has.
    fn names(self) -> Vec<&'v str> {
        let names = |side: Option<&'v Value>| {
            let fields = side.map_or(&[][..], Value::fields).iter();
            fields.map(|(name, _)| name.as_str())
        };
        let known: BTreeSet<&str> = names(self.after).collect();
        let gone = names(self.before).filter(|name| !known.contains(name));
        names(self.after).chain(gone).collect()
    }

    /// The entries of both, if they are lists.
    fn entries(self) -> [&'v [Value]; 2] {
        [self.before, self.after].map(|side| side.map_or(&[][..], Value::entries))
    }
}

fn compare(findings: &mut Findings<'_>, at: &At<'_>, sides: Sides<'_>) {
    if sides.before == sides.after {
        return;
    }
    match findings.row(at).map(|row| row.shape) {
        Some(Shape::Entries(of)) => entries(findings, at, of, sides),
        Some(Shape::Set) => members(findings, at, sides),
        // A section that only one of the two texts has is its fields; what has a row of its own comes and goes as a whole.
        Some(Shape::Names) | None if sides.are_maps() => fields(findings, at, sides),
        Some(Shape::Plain) if sides.are_maps() && sides.are_both_there() => {
            fields(findings, at, sides);
        }
        Some(Shape::Plain | Shape::Names) | None => {
            findings.add_set(at, sides.before, sides.after);
        }
    }
}

/// Compares two maps, name by name.
fn fields(findings: &mut Findings<'_>, at: &At<'_>, sides: Sides<'_>) {
    for name in sides.names() {
        let dot = if at.row.is_empty() { "" } else { "." };
        let row = format!("{}{dot}{name}", at.row);
        let below = At {
            old: at.old.field(name),
            new: at.new.field(name),
            row: &row,
            entry: at.entry,
        };
        compare(findings, &below, sides.field(name));
    }
}

/// Compares two lists, entry by entry.
fn entries(findings: &mut Findings<'_>, at: &At<'_>, of: Entries, sides: Sides<'_>) {
    let [before, after] = sides.entries();
    let row = format!("{}[]", at.row);
    for fate in align::align(of, before, after) {
        // An entry that is missing on one side has no place there; beyond the end there is none either.
        let old = fate.before.map_or(before.len(), |entry| entry.position);
        let new = fate.after.map_or(after.len(), |entry| entry.position);
        let below = At {
            old: at.old.index(old),
            new: at.new.index(new),
            row: &row,
            entry: Some(Entry {
                kind: of.kind,
                name: fate.name,
                row: &row,
            }),
        };
        let values = Sides {
            before: fate.before.map(|entry| entry.value),
            after: fate.after.map(|entry| entry.value),
        };
        match (values.before, values.after) {
            (None, Some(after)) => {
                let after = after.clone();
                let place = fate.place;
                findings.add(&below, Change::Added { after, place });
            }
            (Some(before), None) => {
                // Told of where it would stand.
                let offset = if fate.gap < after.len() {
                    findings.offset(&at.new.index(fate.gap))
                } else {
                    findings.end(&at.new)
                };
                let before = before.clone();
                findings.add_at(offset, &below, Change::Removed { before });
            }
            _ => {
                if let Some(place) = fate.place {
                    findings.add(&below, Change::Moved { place });
                }
                fields(findings, &below, values);
            }
        }
    }
}

/// Compares two lists whose order says nothing.
fn members(findings: &mut Findings<'_>, at: &At<'_>, sides: Sides<'_>) {
    let [before, after] = sides.entries();
    let (gained, lost) = (missing(after, before), missing(before, after));
    if gained.is_empty() && lost.is_empty() {
        return;
    }
    let change = Change::Members {
        before: before.to_vec(),
        after: after.to_vec(),
        gained,
        lost,
    };
    findings.add(at, change);
}

/// The values that another list does not have, each once and in their order.
fn missing(values: &[Value], other: &[Value]) -> Vec<Value> {
    let mut known: Vec<&Value> = other.iter().collect();
    known.sort_by(|a, b| a.order(b));
    let mut missing = Vec::new();
    for value in values {
        if let Err(place) = known.binary_search_by(|known| known.order(value)) {
            known.insert(place, value);
            missing.push(value.clone());
        }
    }
    missing
}
