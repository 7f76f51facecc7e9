//! What is known of each field of a document: what it may change, whether its order counts, what it means where it is absent.

use ipnet::IpNet;

use super::reach::Reach;
use super::value::Value;

/// What a field may change.
pub type Reaches = &'static [Reach];

/// A field of a document, by its path: `spec.rules[].match.hosts`, with `[]` for any entry of a list of entries.
///
/// What stands below a field without a row of its own (the entries of a set, the names of a map) is that field's.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// Where it stands.
    pub path: &'static str,
    /// What it may change.
    pub reach: Reaches,
    /// How two values of it are compared.
    pub(super) shape: Shape,
    /// What holds where it is absent.
    pub(super) usual: Usual,
    /// Which spellings of it are alike.
    pub(super) spelling: Spelling,
}

/// How two values of a field are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// As they are; lists in their order.
    Plain,
    /// As sets: order and repetition say nothing.
    Set,
    /// Name by name.
    Names,
    /// Entry by entry.
    Entries(Entries),
}

/// A list of entries with names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entries {
    /// What an entry is.
    pub(super) kind: Kind,
    /// The field that tells entries apart.
    pub(super) key: &'static str,
    /// Whether the order of the entries counts.
    pub(super) is_ordered: bool,
}

/// What a difference is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A rule of a policy.
    Rule,
    /// A pool of a policy.
    Pool,
    /// A content class of a policy.
    Class,
    /// A network of which a policy knows the place.
    Override,
    /// A site that a policy prefers or avoids.
    Bias,
    /// A site of a topology.
    Site,
    /// A node of a topology.
    Node,
    /// A section of a document, or one of its plain fields.
    Section,
}

crate::model::names! { Kind {
    Rule = "rule",
    Pool = "pool",
    Class = "class",
    Override = "override",
    Bias = "bias",
    Site = "site",
    Node = "node",
    Section = "section",
} }

/// What holds where an optional field is absent. Defaults of other fields are those of their types.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Usual {
    /// Nothing that could be written in its place.
    Nothing,
    /// This number.
    Whole(u64),
    /// This number, of a field that may have fractions.
    Number(f64),
    /// This word.
    Word(&'static str),
    /// What another field says, by its path.
    As(&'static str),
    /// The first entry of a list, by its path.
    FirstOf(&'static str),
}

/// Which spellings of a text are alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spelling {
    /// None but itself.
    Exact,
    /// Those that differ in capitals only; shown in small letters.
    Lower,
    /// Those that differ in capitals only; shown in capitals.
    Upper,
    /// Those of one network.
    Network,
}

impl Field {
    /// Whether, for a list, this row is that of its entries too.
    pub const fn speaks_for_its_entries(&self) -> bool {
        !matches!(self.shape, Shape::Entries(_))
    }

    /// A field that is compared as it is.
    pub(super) const fn new(path: &'static str, reach: Reaches) -> Self {
        Self {
            path,
            reach,
            shape: Shape::Plain,
            usual: Usual::Nothing,
            spelling: Spelling::Exact,
        }
    }

    /// A list whose order says nothing.
    pub(super) const fn set(path: &'static str, reach: Reaches) -> Self {
        Self {
            shape: Shape::Set,
            ..Self::new(path, reach)
        }
    }

    /// A map from names that are the author's own.
    pub(super) const fn names(path: &'static str, reach: Reaches) -> Self {
        Self {
            shape: Shape::Names,
            ..Self::new(path, reach)
        }
    }

    /// A list of entries that `key` tells apart; `reach` is that of entries that come and go.
    pub(super) const fn entries(
        path: &'static str,
        reach: Reaches,
        kind: Kind,
        key: &'static str,
    ) -> Self {
        let entries = Entries {
            kind,
            key,
            is_ordered: false,
        };
        Self {
            shape: Shape::Entries(entries),
            ..Self::new(path, reach)
        }
    }

    /// The same, where the order of the entries counts.
    pub(super) const fn in_order(mut self) -> Self {
        if let Shape::Entries(entries) = &mut self.shape {
            entries.is_ordered = true;
        }
        self
    }

    /// The same, where absence means this.
    pub(super) const fn usually(self, usual: Usual) -> Self {
        Self { usual, ..self }
    }

    /// The same, with other spellings that are alike.
    pub(super) const fn spelt(self, spelling: Spelling) -> Self {
        Self { spelling, ..self }
    }
}

/// The row of a path, if it has one of its own.
pub(super) fn find(table: &'static [Field], path: &str) -> Option<&'static Field> {
    table.iter().find(|field| field.path == path)
}

/// The row that speaks for a path: its own, or that of the nearest field around it.
pub(super) fn nearest(table: &'static [Field], path: &str) -> Option<&'static Field> {
    let mut path = path;
    loop {
        if let Some(field) = find(table, path) {
            return Some(field);
        }
        path = match path.strip_suffix("[]") {
            Some(list) => list,
            None => path.rsplit_once('.')?.0,
        };
    }
}

/// Writes into a tree what it leaves to the reader: what absent fields mean, and one spelling of what has several.
pub(super) fn complete(tree: &mut Value, table: &[Field]) {
    for field in table {
        if let Some(usual) = meaning_of_absence(tree, field.usual) {
            each_parent(tree, field.path, &mut |fields, name| {
                if !fields.iter().any(|(known, _)| known == name) {
                    fields.push((name.to_owned(), usual.clone()));
                }
            });
        }
        if field.spelling != Spelling::Exact {
            each_parent(tree, field.path, &mut |fields, name| {
                let found = fields.iter_mut().filter(|(known, _)| known == name);
                found.for_each(|(_, value)| respell(value, field.spelling));
            });
        }
    }
}

fn meaning_of_absence(tree: &Value, usual: Usual) -> Option<Value> {
    let at = |path: &str| {
        path.split('.')
            .try_fold(tree, |value, name| value.get(name))
    };
    match usual {
        Usual::Nothing => None,
        Usual::Whole(number) => Some(Value::Whole(number)),
        Usual::Number(number) => Some(Value::Number(number)),
        Usual::Word(word) => Some(Value::Text(word.to_owned())),
        Usual::As(path) => at(path).cloned(),
        Usual::FirstOf(path) => at(path)?.entries().first().cloned(),
    }
}

/// The fields of a map with their values.
type Fields = Vec<(String, Value)>;

/// Calls `act` with every map that may have the field at the end of `path`, and with the field's name.
fn each_parent(value: &mut Value, path: &str, act: &mut impl FnMut(&mut Fields, &str)) {
    let Value::Map(fields) = value else { return };
    let Some((step, rest)) = path.split_once('.') else {
        act(fields, path);
        return;
    };
    let name = step.strip_suffix("[]");
    let wanted = name.unwrap_or(step);
    let found = fields.iter_mut().find(|(known, _)| known == wanted);
    match found.map(|(_, value)| value) {
        Some(Value::List(entries)) if name.is_some() => {
            for entry in entries {
                each_parent(entry, rest, act);
            }
        }
        Some(value) if name.is_none() => each_parent(value, rest, act),
        _ => {}
    }
}

fn respell(value: &mut Value, spelling: Spelling) {
    match value {
        Value::Text(text) => match spelling {
            Spelling::Exact => {}
            Spelling::Lower => text.make_ascii_lowercase(),
            Spelling::Upper => text.make_ascii_uppercase(),
            Spelling::Network => {
                if let Ok(network) = text.parse::<IpNet>() {
                    *text = network.to_string();
                }
            }
        },
        Value::List(entries) => {
            for entry in entries {
                respell(entry, spelling);
            }
        }
        Value::Bool(_) | Value::Whole(_) | Value::Number(_) | Value::Map(_) => {}
    }
}
