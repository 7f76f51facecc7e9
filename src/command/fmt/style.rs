//! The form of a document's text: `pretty_yaml` makes it, and what it makes is not believed but read again.

use pretty_yaml::config::{FormatOptions, LanguageOptions, LayoutOptions};

use super::super::file::File;
use super::comments;
use crate::engine::difference::{self, Reading};

/// Lines are as long as their authors make them: a fleet is read as a table, with a node in a line. Only what they broke
/// stays broken.
const LINE_CHARS: usize = 1 << 20;

/// Why a text is not formatted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// The formatter does not understand what the engine does.
    #[error("the formatter cannot read line {line}: {message}")]
    Unread {
        /// The line, from 1.
        line: usize,
        /// Its words for it.
        message: String,
    },
    /// The text would mean something else.
    #[error("it would mean something else afterwards: {first}")]
    Meaning {
        /// The first difference, or what is found in the new text.
        first: String,
    },
    /// A comment would be lost or changed.
    #[error("the comment `#{comment}` would be lost")]
    Comment {
        /// What stands behind the `#`.
        comment: String,
    },
}

/// The text of a document in the form that all have; `reading` is what the text says.
pub(super) fn format(file: &File, reading: &Reading) -> Result<String, FormatError> {
    let formatted = pretty_yaml::format_text(&file.text, &options()).map_err(|error| {
        let before = file.text.get(..error.offset()).unwrap_or(&file.text);
        FormatError::Unread {
            line: before.matches('\n').count() + 1,
            message: error.message().replace('\n', ", "),
        }
    })?;
    let formatted = comments::aligned(&file.text, &formatted);
    check_meaning(file, reading, &formatted)?;
    check_comments(&file.text, &formatted)?;
    Ok(formatted)
}

fn options() -> FormatOptions {
    FormatOptions {
        layout: LayoutOptions {
            print_width: LINE_CHARS,
            indent_width: 2,
            ..LayoutOptions::default()
        },
        language: LanguageOptions {
            trailing_comma: false,
            ..LanguageOptions::default()
        },
    }
}

/// Refuses a text that does not say the very same, field by field.
fn check_meaning(file: &File, reading: &Reading, formatted: &str) -> Result<(), FormatError> {
    let again = Reading::read(reading.which(), &file.name, formatted);
    let first = match again {
        Ok(again) if again.says_the_same_as(reading) => return Ok(()),
        Ok(again) => difference::between(reading, &again)
            .ok()
            .and_then(|found| found.first().map(ToString::to_string)),
        Err(found) => found.to_lines().into_iter().next(),
    };
    // What is no difference to an operator, like the order of a set, is one to a formatter.
    let first = first.unwrap_or_else(|| "its values stand in another order".to_owned());
    Err(FormatError::Meaning { first })
}

/// Refuses a text that has not the same comments in the same order.
fn check_comments(text: &str, formatted: &str) -> Result<(), FormatError> {
    let (before, after) = (comments::all(text), comments::all(formatted));
    let mut left = after.iter().map(|comment| &comment.words);
    let lost = before.into_iter().map(|comment| comment.words);
    let mut lost = lost.filter(|words| left.next() != Some(words));
    match lost.next() {
        Some(comment) => Err(FormatError::Comment { comment }),
        None => Ok(()),
    }
}
