//! What changed between two documents of one kind, as an operator would say it: `rule video: max_detour 40ms -> 60ms`.
//!
//! Both are compared as trees of plain values, with every default written in, so a field that is added to a document
//! tomorrow is compared without a line here; what is known of fields beside their values (what they may change, whether
//! their order counts) is a table, [`fields`]. A field that is written at its default is no difference. Entries of lists
//! are the same entry when they have the same name.
//!
//! Only what the two texts say is compared, not what they come to with some fleet: a pool that selects other nodes because
//! the topology changed is a difference of the topology.

mod align;
mod compare;
mod field;
mod policy_fields;
mod reach;
mod reading;
mod serializer;
mod topology_fields;
mod value;
mod walk;

use std::fmt;

use crate::edition::Which;
use crate::model::printable;

pub use compare::{KindsDiffer, between};
pub use field::{Field, Kind, Reaches};
pub use reach::Reach;
pub use reading::Reading;
pub use value::Value;

/// Longest name that is shown, in characters.
const MAX_SHOWN_CHARS: usize = 120;

/// The table of all fields of a document.
pub const fn fields(which: Which) -> &'static [Field] {
    match which {
        Which::Policy => policy_fields::TABLE,
        Which::Topology => topology_fields::TABLE,
    }
}

/// One thing that changed.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// What it is about.
    pub about: About,
    /// The field below that, like `match.hosts`; empty for the whole.
    pub field: String,
    /// What became of it.
    pub change: Change,
    /// What it may change for those who ask.
    pub reach: Reaches,
}

/// What a difference is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// What it is.
    pub kind: Kind,
    /// Its name: that of the rule, pool, node, ... or of the section.
    pub name: String,
}

/// What became of something.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// An entry is there that was not.
    Added {
        /// All that it says.
        after: Value,
        /// Where it stands, if that counts.
        place: Option<Place>,
    },
    /// An entry is not there any more.
    Removed {
        /// All that it said.
        before: Value,
    },
    /// An entry stands elsewhere among the others.
    Moved {
        /// Where it stands now.
        place: Place,
    },
    /// A field says something else.
    Set {
        /// What it said; `None` where it was absent and that has no value.
        before: Option<Said>,
        /// What it says.
        after: Option<Said>,
    },
    /// A list whose order says nothing has other entries.
    Members {
        /// All of them before, in the order of the text.
        before: Vec<Value>,
        /// All of them after.
        after: Vec<Value>,
        /// Those that were not there.
        gained: Vec<Value>,
        /// Those that are not there any more.
        lost: Vec<Value>,
    },
}

/// What a field says.
#[derive(Debug, Clone, PartialEq)]
pub struct Said {
    /// The value.
    pub value: Value,
    /// Whether that is the default, and the text does not say it.
    pub is_default: bool,
}

/// Where an entry stands among those whose order counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Before the entry of this name.
    Before(String),
    /// Behind the entry of this name.
    Behind(String),
}

impl Change {
    /// The word for it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Added { .. } => "added",
            Self::Removed { .. } => "removed",
            Self::Moved { .. } => "moved",
            Self::Set { .. } | Self::Members { .. } => "changed",
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let subject = Subject {
            about: &self.about,
            field: &self.field,
        };
        let kind = self.about.kind.name();
        match &self.change {
            Change::Added { place, .. } => {
                write!(f, "{subject} is new")?;
                place
                    .as_ref()
                    .map_or(Ok(()), |place| write!(f, ", {}", place.of(kind)))
            }
            Change::Removed { .. } => write!(f, "{subject} is gone"),
            Change::Moved { place } => write!(f, "{subject} moved {}", place.of(kind)),
            Change::Set { before, after } => match (before, after) {
                (Some(before), Some(after)) => write!(f, "{subject} {before} -> {after}"),
                (None, Some(after)) => write!(f, "{subject} is new: {after}"),
                (Some(before), None) => write!(f, "{subject} is gone, was {before}"),
                // Two absent fields are alike.
                (None, None) => write!(f, "{subject}"),
            },
            Change::Members { before, after, .. } if before.is_empty() => {
                write!(f, "{subject} is new: {}", Listed(after))
            }
            Change::Members { before, after, .. } if after.is_empty() => {
                write!(f, "{subject} is gone, was {}", Listed(before))
            }
            Change::Members { gained, lost, .. } => {
                f.write_str(&subject.to_string())?;
                let verbs = [("gains", gained), ("loses", lost)];
                let mut said = verbs.iter().filter(|(_, values)| !values.is_empty());
                if let Some((verb, values)) = said.next() {
                    write!(f, " {verb} {}", Listed(values))?;
                }
                said.try_for_each(|(verb, values)| write!(f, "; {verb} {}", Listed(values)))
            }
        }
    }
}

/// What a line is about: `rule video`, `rule video: max_detour`, `score.miss.weight`.
struct Subject<'a> {
    about: &'a About,
    field: &'a str,
}

impl fmt::Display for Subject<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = shown(&self.about.name);
        let field = shown(self.field);
        match (self.about.kind, field.as_str()) {
            (Kind::Section, "") => f.write_str(&name),
            (Kind::Section, field) => write!(f, "{name}.{field}"),
            (kind, "") => write!(f, "{} {name}", kind.name()),
            (kind, field) => write!(f, "{} {name}: {field}", kind.name()),
        }
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let remark = if self.is_default { " (default)" } else { "" };
        write!(f, "{}{remark}", self.value)
    }
}

/// Values with commas between them.
struct Listed<'a>(&'a [Value]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        value::write_listed(f, self.0)
    }
}

impl Place {
    /// In words, where the entries are of `kind`.
    pub fn of(&self, kind: &str) -> String {
        match self {
            Self::Before(name) => format!("before {kind} {}", shown(name)),
            Self::Behind(name) => format!("behind {kind} {}", shown(name)),
        }
    }
}

/// A name from a document as a line may hold it.
fn shown(name: &str) -> String {
    printable(name, MAX_SHOWN_CHARS)
}

#[cfg(test)]
mod tests;
