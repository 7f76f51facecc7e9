//! A look at an expression's text before it is parsed: how long and how deep it is.
//!
//! The parser calls itself for each level, so depth is bounded before it sees the text. A level is a bracket or an operator
//! that takes what stands before it: `a.b.c` and `a + b + c` are as deep as they are long. `&&`, `||` and commas stand side by
//! side.

/// Longest expression, in bytes.
pub(super) const MAX_BYTES: usize = 4_096;

/// Most brackets within each other: in a build without optimisation each takes 170 KiB of the parser's stack, of the 2 MiB
/// that a thread has.
pub(super) const MAX_BRACKETS: usize = 8;

/// Most levels of an expression, brackets among them.
pub(super) const MAX_LEVELS: usize = 32;

/// What is too much of a text, and where it begins to be.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Excess {
    /// The byte.
    pub(super) at: usize,
    /// What is wrong.
    pub(super) message: String,
}

/// Whether an expression keeps its bounds.
pub(super) fn check(text: &str) -> Result<(), Excess> {
    if text.len() > MAX_BYTES {
        return Err(Excess {
            at: 0,
            message: format!(
                "an expression of {} bytes, at most {MAX_BYTES} are allowed",
                text.len()
            ),
        });
    }
    let mut levels = Levels::default();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let at = text.len() - rest.len();
        let taken = token(rest);
        levels.take(rest.get(..taken).unwrap_or_default());
        let message = if levels.outer.len() > MAX_BRACKETS {
            Some(format!(
                "more than {MAX_BRACKETS} brackets within each other"
            ))
        } else if levels.deepest() > MAX_LEVELS {
            Some(format!("an expression of more than {MAX_LEVELS} levels"))
        } else {
            None
        };
        if let Some(message) = message {
            return Err(Excess { at, message });
        }
        rest = rest.get(taken.max(first.len_utf8())..).unwrap_or_default();
    }
    Ok(())
}

/// How many levels are open, by the bracket that they are in.
#[derive(Default)]
struct Levels {
    outer: Vec<usize>,
    own: usize,
}

impl Levels {
    fn deepest(&self) -> usize {
        self.outer.iter().sum::<usize>() + self.own
    }

    fn take(&mut self, token: &str) {
        match token {
            "(" | "[" | "{" => {
                self.outer.push(self.own + 1);
                self.own = 0;
            }
            ")" | "]" | "}" => self.own = self.outer.pop().unwrap_or_default(),
            "&&" | "||" | "," => self.own = 0,
            "in" | "." | "?" | "!" | "+" | "-" | "*" | "/" | "%" | "==" | "!=" | "<" | "<="
            | ">" | ">=" => self.own += 1,
            _ => {}
        }
    }
}

/// The length of the token that a text begins with. What is no token of CEL is one by itself: the parser will say so.
fn token(text: &str) -> usize {
    for prefix in ["r", "R", "b", "B", "br", "bR", "Br", "BR", ""] {
        let quoted = text.strip_prefix(prefix);
        if let Some(quoted) = quoted.filter(|rest| rest.starts_with(['"', '\''])) {
            let is_raw = prefix.contains(['r', 'R']);
            return prefix.len() + literal(quoted, is_raw);
        }
    }
    if text.starts_with("//") {
        return text.find('\n').unwrap_or(text.len());
    }
    let pairs = ["&&", "||", "==", "!=", "<=", ">="];
    if pairs.iter().any(|pair| text.starts_with(pair)) {
        return 2;
    }
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let word = text.find(|c| !is_word(c)).unwrap_or(text.len());
    word.max(1)
}

/// The length of a text in quotes; all of the rest where they are not closed.
fn literal(text: &str, is_raw: bool) -> usize {
    let quote = ["\"\"\"", "'''", "\"", "'"]
        .into_iter()
        .find(|quote| text.starts_with(quote))
        .unwrap_or_default();
    let mut at = quote.len();
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        if rest.starts_with(quote) {
            return at + quote.len();
        }
        let mut letters = rest.chars();
        let first = letters.next().map_or(0, char::len_utf8);
        let escaped = (rest.starts_with('\\') && !is_raw)
            .then(|| letters.next())
            .flatten();
        at += first + escaped.map_or(0, char::len_utf8);
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_side_by_side_is_not_deep() {
        let one = "request.path.startsWith('/a/(((((') && !(client.asn in [1, 2, 3])";
        let many = vec![one; 40].join(" || ");
        assert_eq!(check(&many), Ok(()));
        let list = format!("client.country in [{}]", vec!["'DE'"; 500].join(", "));
        assert_eq!(check(&list), Ok(()));
    }

    #[test]
    fn what_takes_what_stands_before_it_is_deep() {
        for (one, end) in [
            ("a.", "b"),
            ("1 + ", "1"),
            ("a in ", "b"),
            ("a ? b : ", "c"),
            ("!", "a"),
            ("a < ", "b"),
            ("a == ", "b"),
            ("a(b)[c].d", ""),
        ] {
            let text = one.repeat(60) + end;
            let excess = check(&text).unwrap_err();
            assert!(excess.message.contains("32 levels"), "{text}");
            assert!(text.is_char_boundary(excess.at) && excess.at > 0, "{text}");
        }
        for one in ["(", "[", "a[b(", "f(x, "] {
            let excess = check(&one.repeat(20)).unwrap_err();
            assert!(excess.message.contains("8 brackets"), "{one}");
        }
        assert!(
            check(&"x".repeat(5_000))
                .unwrap_err()
                .message
                .contains("5000")
        );
    }

    #[test]
    fn texts_and_comments_are_passed_over() {
        for (text, length) in [
            ("'a\\'b' + c", 6),
            ("r'a\\' + c", 5),
            ("\"\"\"a\"b\"\"\" c", 9),
            ("'open", 5),
            ("// a ( b\n(", 8),
            ("words_1 + c", 7),
            ("é + c", 2),
            ("+", 1),
            ("b'x'", 4),
        ] {
            assert_eq!(token(text), length, "{text}");
        }
    }
}
