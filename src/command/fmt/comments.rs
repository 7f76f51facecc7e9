//! The comments of a text, and where those stand that have a line of their own.
//!
//! They are read by another parser than the formatter's, so that what that loses is seen.

use granit_parser::{Event, Options, Parser};

/// A comment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Comment {
    /// What stands behind the `#`, without spaces at the end.
    pub(super) words: String,
    /// Where the `#` stands in the text, in bytes.
    at: usize,
}

/// The comments of a text, in their order.
pub(super) fn all(text: &str) -> Vec<Comment> {
    let mut options = Options::default();
    options.emit_comments = true;
    options.max_buffered_comment_events = usize::MAX;
    let events = Parser::new_from_str_with_options(text, options);
    let found = events.map_while(Result::ok).filter_map(|(event, span)| {
        let Event::Comment(words, _) = event else {
            return None;
        };
        Some(Comment {
            words: words.trim_end().to_owned(),
            at: span.byte_range()?.start,
        })
    });
    found.collect()
}

/// Moves comments of `formatted` to where what they are about stands now.
///
/// The formatter takes what stands between the last entry of a list and the next field for a part of the list, and indents it
/// so. A comment that its author put right above the next field, in the same column, is that field's.
pub(super) fn aligned(text: &str, formatted: &str) -> String {
    let pairs = all(text).into_iter().zip(all(formatted));
    let mut aligned = String::with_capacity(formatted.len());
    let mut copied = 0;
    for (before, after) in pairs {
        let Some(line) = after.own_line(formatted) else {
            continue;
        };
        let is_of_next = before.own_line(text).is_some_and(|line| {
            let column = before.at - line;
            column_of_next(text, before.at) == Some(column)
        });
        if let Some(column) = column_of_next(formatted, after.at).filter(|_| is_of_next) {
            aligned.push_str(formatted.get(copied..line).unwrap_or_default());
            aligned.extend(std::iter::repeat_n(' ', column));
            copied = after.at;
        }
    }
    aligned.push_str(formatted.get(copied..).unwrap_or_default());
    aligned
}

impl Comment {
    /// Where its line begins, if nothing but spaces stands before it there.
    fn own_line(&self, text: &str) -> Option<usize> {
        let before = text.get(..self.at)?;
        let line = before.rfind('\n').map_or(0, |end| end + 1);
        let spaces = before.get(line..)?;
        spaces.bytes().all(|byte| byte == b' ').then_some(line)
    }
}

/// The column in which the next line begins that is neither empty nor a comment.
fn column_of_next(text: &str, at: usize) -> Option<usize> {
    let mut lines = text.get(at..)?.lines().skip(1);
    let next = lines.find(|line| {
        let words = line.trim_start();
        !words.is_empty() && !words.starts_with('#')
    })?;
    Some(next.len() - next.trim_start().len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_are_found_and_what_looks_like_one_is_not() {
        let words: Vec<String> = all("# one\na: \"# no\" #two \nb: |\n  # no\nc: x#no\n")
            .into_iter()
            .map(|comment| comment.words)
            .collect();
        assert_eq!(words, [" one", "two"]);
    }

    #[test]
    fn a_comment_goes_with_the_field_below_it() {
        let text = "a:\n- x\n# of b\n#\n\nb:\n- y\n  # of y\n";
        let formatted = "a:\n  - x\n  # of b\n  #\n\nb:\n  - y\n    # of y\n";
        assert_eq!(
            aligned(text, formatted),
            "a:\n  - x\n# of b\n#\n\nb:\n  - y\n    # of y\n"
        );
        assert_eq!(aligned(formatted, formatted), formatted);
    }
}
