//! Where the entries of a list stand in a text.

use super::mark::Mark;
use super::path::{Path, Step};
use super::tree::{Content, Source};

impl Source {
    /// Where `field` stands in each entry of the list at `path`, in the list's order.
    pub fn marks(&self, path: &Path<'_>, field: &str) -> Vec<Mark> {
        let steps = path.steps().into_iter();
        let list = steps.fold(self.root(), |at, step| Some(self.child(at?, step)?.0));
        let content = list.and_then(|list| Some(&self.node(list)?.content));
        let Some(Content::List(items)) = content else {
            return Vec::new();
        };
        let mut cursor = Cursor::new(&self.text);
        let items = items.iter().enumerate();
        items
            .map(|(entry, item)| {
                let value = self.child(*item, Step::Field(field));
                let node = self.node(value.map_or(*item, |(value, _)| value));
                let (line, column) = cursor.advance_to(node.map_or(0, |node| node.span.start));
                Mark {
                    entry: bounded(entry),
                    line,
                    column,
                }
            })
            .collect()
    }
}

/// Counts lines once through the text: fields of a list follow each other.
struct Cursor<'t> {
    text: &'t str,
    at: usize,
    line: u32,
    column: u32,
}

impl<'t> Cursor<'t> {
    fn new(text: &'t str) -> Self {
        Self {
            text,
            at: 0,
            line: 1,
            column: 1,
        }
    }

    /// Line and column of the byte at `at`, which is not before the one asked for last.
    fn advance_to(&mut self, at: usize) -> (u32, u32) {
        let passed = self.text.get(self.at..at).unwrap_or_default();
        self.at = self.at.max(at);
        let last_line = passed.rsplit('\n').next().unwrap_or_default();
        if last_line.len() < passed.len() {
            self.line += bounded(passed.matches('\n').count());
            self.column = 1;
        }
        self.column += bounded(last_line.chars().count());
        (self.line, self.column)
    }
}

/// A count within a document, which has fewer than 2^32 bytes.
fn bounded(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::tree::Limits;
    use super::*;

    #[test]
    fn marks_stand_where_the_fields_do() {
        for (text, wanted) in [
            (
                "a:\n- {x: é, y: 1}\n-\n  y: 2\n- z: 1\n",
                [(2, 13), (4, 6), (5, 3)],
            ),
            (
                "{a: [{x: é, y: 1}, {y: 2}, {z: 1}]}",
                [(1, 16), (1, 24), (1, 28)],
            ),
        ] {
            let (source, _) = Source::read("s", text, &Limits::default());
            let marks = source.marks(&Path::Root.field("a"), "y");
            let seen: Vec<(u32, u32)> = marks.iter().map(|m| (m.line, m.column)).collect();
            assert_eq!(seen, wanted, "{text}");
        }
    }
}
