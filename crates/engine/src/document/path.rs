//! Where in a document a value stands: `spec.rules[3].match.hosts[0]`.

use std::fmt;

/// A path from the document's root, built on the stack while a checker descends; rendered only when a fault is found.
#[derive(Debug, Clone, Copy)]
pub enum Path<'a> {
    /// The whole document.
    Root,
    /// A named field of the value at the parent path.
    Field(&'a Path<'a>, &'a str),
    /// An element, counted from 0, of the list at the parent path.
    Index(&'a Path<'a>, usize),
}

/// One step of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step<'a> {
    Field(&'a str),
    Index(usize),
}

impl fmt::Display for Step<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => f.write_str(name),
            Self::Index(index) => write!(f, "[{index}]"),
        }
    }
}

impl<'a> Path<'a> {
    /// The path of field `name` below this one.
    #[must_use]
    pub fn field(&'a self, name: &'a str) -> Self {
        Self::Field(self, name)
    }

    /// The path of element `index` (from 0) below this one.
    #[must_use]
    pub fn index(&'a self, index: usize) -> Self {
        Self::Index(self, index)
    }

    pub(super) fn steps(&self) -> Vec<Step<'a>> {
        let mut steps = Vec::new();
        let mut at = *self;
        loop {
            match at {
                Path::Root => break,
                Path::Field(parent, name) => {
                    steps.push(Step::Field(name));
                    at = *parent;
                }
                Path::Index(parent, index) => {
                    steps.push(Step::Index(index));
                    at = *parent;
                }
            }
        }
        steps.reverse();
        steps
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Path::Root => Ok(()),
            Path::Field(Path::Root, name) => f.write_str(name),
            Path::Field(parent, name) => write!(f, "{parent}.{name}"),
            Path::Index(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

/// Whether a written path leads through a list.
pub(super) fn has_entries(path: &str) -> bool {
    path.contains('[')
}

/// Whether two written paths are the same field of (perhaps) other entries of the same lists: `a[3].b` and `a[7].b`, but
/// not `a` and `a`.
pub(super) fn is_same_but_for_entries(one: &str, other: &str) -> bool {
    let fields = |path| {
        let parts = str::split(path, ['[', ']']).enumerate();
        parts.filter(|(k, _)| k % 2 == 0).map(|(_, part)| part)
    };
    has_entries(one) && fields(one).eq(fields(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_entries_of_one_list_are_alike() {
        for (one, other, alike) in [
            ("a[3].b", "a[71].b", true),
            ("a[3].b", "a[3].c", false),
            ("a[3]", "a[3].c", false),
            ("a[1].b[2]", "a[2].b[1]", true),
            ("a.b", "a.b", false),
        ] {
            assert_eq!(is_same_but_for_entries(one, other), alike, "{one} {other}");
        }
    }

    #[test]
    fn a_path_reads_as_an_operator_would_write_it() {
        let spec = Path::Root.field("spec");
        let rules = spec.field("rules");
        let rule = rules.index(3);
        let hosts = rule.field("hosts");
        assert_eq!(hosts.index(0).to_string(), "spec.rules[3].hosts[0]");
        assert_eq!(Path::Root.to_string(), "");
    }
}
