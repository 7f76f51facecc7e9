//! The names that something may be called by, and what to say of one that is none of them.

use super::suggest;
use crate::model::printable;

/// Up to so many names are listed when none is near; more would hide the point.
const MAX_LISTED: usize = 8;

/// Longest name that a message repeats, in characters.
const MAX_SHOWN_CHARS: usize = 80;

/// The names of one kind.
#[derive(Debug, Clone)]
pub struct Names<'n> {
    what: &'static str,
    listed_in: String,
    known: Vec<&'n str>,
    is_complete: bool,
}

impl<'n> Names<'n> {
    /// The names of all things called `what` ("pool"), which stand `listed_in` a place of a document ("spec.pools").
    pub fn new(
        what: &'static str,
        listed_in: impl Into<String>,
        known: impl IntoIterator<Item = &'n str>,
    ) -> Self {
        Self {
            what,
            listed_in: listed_in.into(),
            known: known.into_iter().collect(),
            is_complete: true,
        }
    }

    /// The same, of which some could not be read unless `is_complete`: then nobody can say that a name is unknown.
    #[must_use]
    pub fn complete_if(self, is_complete: bool) -> Self {
        Self {
            is_complete,
            ..self
        }
    }

    /// Whether all names are known.
    pub fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// Whether something is called so.
    pub fn has(&self, name: &str) -> bool {
        self.known.contains(&name)
    }

    /// What is wrong with a name that is none of them, and what to do about it.
    pub fn miss(&self, seen: &str) -> (String, String) {
        let message = format!(
            "no {} is called `{}`",
            self.what,
            printable(seen, MAX_SHOWN_CHARS)
        );
        let listed_in = &self.listed_in;
        let help = match suggest::nearest(seen, self.known.iter().copied()) {
            Some(name) => format!("did you mean `{name}`?"),
            None if self.known.is_empty() => format!("{listed_in} has none"),
            None if self.known.len() <= MAX_LISTED => {
                format!("{listed_in} has {}", self.known.join(", "))
            }
            None => format!("name one of {listed_in}"),
        };
        (message, help)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_near_is_offered_else_all_that_are_few() {
        let names = Names::new("pool", "spec.pools", ["edge", "origin"]);
        let help = |names: &Names<'_>, seen| names.miss(seen).1;
        assert_eq!(names.miss("edg").0, "no pool is called `edg`");
        assert_eq!(help(&names, "EDGE"), "did you mean `edge`?");
        assert_eq!(help(&names, "backup"), "spec.pools has edge, origin");
        let many: Vec<String> = (0..9).map(|k| format!("pool-number-{k}")).collect();
        let names = Names::new("pool", "spec.pools", many.iter().map(String::as_str));
        assert_eq!(help(&names, "backup"), "name one of spec.pools");
        let names = Names::new("class", "spec.classes", []);
        assert_eq!(help(&names, "video"), "spec.classes has none");
    }
}
