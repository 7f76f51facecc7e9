//! A document as a tree of plain values: what two documents are compared by, whatever fields they have.

use std::cmp::Ordering;
use std::fmt;

use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};

use crate::model::printable;

/// Longest text that is shown, in characters.
const MAX_SHOWN_CHARS: usize = 200;

/// Most entries of a list or map that are shown.
const MAX_SHOWN_ENTRIES: usize = 12;

/// A value of a document.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Yes or no.
    Bool(bool),
    /// A whole number.
    Whole(u64),
    /// A number of a field that may have fractions.
    Number(f64),
    /// A text, a word of an enumeration, a duration.
    Text(String),
    /// A list.
    List(Vec<Self>),
    /// Fields with their values, or names with theirs.
    Map(Vec<(String, Self)>),
}

impl Value {
    /// The value of a field, if this is a map that has it.
    pub fn get(&self, name: &str) -> Option<&Self> {
        self.fields()
            .iter()
            .find_map(|(field, value)| (field == name).then_some(value))
    }

    /// The fields of a map; none of anything else.
    pub fn fields(&self) -> &[(String, Self)] {
        match self {
            Self::Map(fields) => fields,
            _ => &[],
        }
    }

    /// The entries of a list; none of anything else.
    pub fn entries(&self) -> &[Self] {
        match self {
            Self::List(entries) => entries,
            _ => &[],
        }
    }

    /// An order over all values, to look them up by; it means nothing.
    pub(super) fn order(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Bool(one), Self::Bool(other)) => one.cmp(other),
            (Self::Whole(one), Self::Whole(other)) => one.cmp(other),
            (Self::Number(one), Self::Number(other)) => one.total_cmp(other),
            (Self::Text(one), Self::Text(other)) => one.cmp(other),
            (Self::List(one), Self::List(other)) => {
                let pairs = one.iter().zip(other).map(|(one, other)| one.order(other));
                first_unequal(pairs).then_with(|| one.len().cmp(&other.len()))
            }
            (Self::Map(one), Self::Map(other)) => {
                let pairs = one.iter().zip(other);
                let pairs = pairs.map(|((name, one), (known, other))| {
                    name.cmp(known).then_with(|| one.order(other))
                });
                first_unequal(pairs).then_with(|| one.len().cmp(&other.len()))
            }
            _ => self.rank().cmp(&other.rank()),
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Bool(_) => 0,
            Self::Whole(_) => 1,
            Self::Number(_) => 2,
            Self::Text(_) => 3,
            Self::List(_) => 4,
            Self::Map(_) => 5,
        }
    }

    /// The text, if it is one.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }
}

fn first_unequal(mut orders: impl Iterator<Item = Ordering>) -> Ordering {
    orders
        .find(|order| order.is_ne())
        .unwrap_or(Ordering::Equal)
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => value.fmt(f),
            Self::Whole(value) => value.fmt(f),
            Self::Number(value) => value.fmt(f),
            Self::Text(text) => write_text(f, text),
            Self::List(entries) => {
                f.write_str("[")?;
                write_listed(f, entries)?;
                f.write_str("]")
            }
            Self::Map(fields) => {
                f.write_str("{")?;
                for (k, (name, value)) in fields.iter().enumerate().take(MAX_SHOWN_ENTRIES) {
                    let comma = if k == 0 { "" } else { ", " };
                    write!(f, "{comma}{}: {value}", printable(name, MAX_SHOWN_CHARS))?;
                }
                write_rest(f, fields.len())?;
                f.write_str("}")
            }
        }
    }
}

/// A text of several words stands in quotes, so that one sees where it ends.
fn write_text(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    let shown = printable(text, MAX_SHOWN_CHARS);
    let more = if text.chars().nth(MAX_SHOWN_CHARS).is_some() {
        "…"
    } else {
        ""
    };
    if text.is_empty() || text.contains(char::is_whitespace) {
        write!(f, "\"{shown}{more}\"")
    } else {
        write!(f, "{shown}{more}")
    }
}

/// Entries with commas between them; of many only the first.
pub(super) fn write_listed(f: &mut fmt::Formatter<'_>, entries: &[Value]) -> fmt::Result {
    for (k, entry) in entries.iter().enumerate().take(MAX_SHOWN_ENTRIES) {
        let comma = if k == 0 { "" } else { ", " };
        write!(f, "{comma}{entry}")?;
    }
    write_rest(f, entries.len())
}

fn write_rest(f: &mut fmt::Formatter<'_>, count: usize) -> fmt::Result {
    match count.saturating_sub(MAX_SHOWN_ENTRIES) {
        0 => Ok(()),
        more => write!(f, " and {more} more"),
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Whole(value) => serializer.serialize_u64(*value),
            Self::Number(value) => serializer.serialize_f64(*value),
            Self::Text(text) => serializer.serialize_str(text),
            Self::List(entries) => {
                let mut list = serializer.serialize_seq(Some(entries.len()))?;
                for entry in entries {
                    list.serialize_element(entry)?;
                }
                list.end()
            }
            Self::Map(fields) => {
                let mut map = serializer.serialize_map(Some(fields.len()))?;
                for (name, value) in fields {
                    map.serialize_entry(name, value)?;
                }
                map.end()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lists_and_hostile_texts_are_cut() {
        let list = Value::List((0..20).map(Value::Whole).collect());
        assert!(list.to_string().ends_with("10, 11 and 8 more]"), "{list}");
        let text = Value::Text(format!("\u{1b}[31m{}", "x".repeat(500)));
        let shown = text.to_string();
        assert!(!shown.contains('\u{1b}') && shown.len() < 220, "{shown}");
        assert!(shown.ends_with('…'), "{shown}");
    }
}
