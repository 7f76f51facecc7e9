//! How logs write bytes that would break a line, and the bytes they stand for.
//!
//! The proxy asked with the bytes, so a request that is replayed must hold them again. Whatever is no escape stands for
//! itself, for logs are also written without any.

use std::borrow::Cow;

/// How a format writes bytes that would break a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Escapes {
    /// `\xHH`, `\"`, `\\` and `\n` as nginx and Apache write them; `\uHHHH` as nginx's `escape=json` does.
    Backslash,
    /// `#HH` as HAProxy writes them.
    Hash,
    /// `%HH` as `CloudFront` writes headers.
    Percent,
    /// `+` for a space, as IIS writes headers.
    Plus,
}

impl Escapes {
    /// The bytes that `text` stands for.
    pub(super) fn undo(self, text: &[u8]) -> Cow<'_, [u8]> {
        let mark = match self {
            Self::Backslash => b'\\',
            Self::Hash => b'#',
            Self::Percent => b'%',
            Self::Plus => b'+',
        };
        if memchr::memchr(mark, text).is_none() {
            return Cow::Borrowed(text);
        }
        let mut bytes = Vec::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = memchr::memchr(mark, rest) {
            let (before, after) = rest.split_at_checked(at).unwrap_or((rest, &[]));
            bytes.extend_from_slice(before);
            let after = after.get(1..).unwrap_or_default();
            let read = match self {
                Self::Backslash => backslash(after, &mut bytes),
                Self::Hash | Self::Percent => byte(after).map(|byte| {
                    bytes.push(byte);
                    2
                }),
                Self::Plus => {
                    bytes.push(b' ');
                    Some(0)
                }
            };
            let read = read.unwrap_or_else(|| {
                bytes.push(mark);
                0
            });
            rest = after.get(read..).unwrap_or_default();
        }
        bytes.extend_from_slice(rest);
        Cow::Owned(bytes)
    }
}

/// Adds what the escape behind a backslash stands for, and says how long it is; `None` if it is none.
pub(super) fn backslash(after: &[u8], bytes: &mut Vec<u8>) -> Option<usize> {
    let (kind, rest) = after.split_first()?;
    bytes.push(match kind {
        b'x' => {
            bytes.push(byte(rest)?);
            return Some(3);
        }
        b'u' => return unicode(rest, bytes).map(|read| 1 + read),
        b'"' | b'\\' | b'/' => *kind,
        b'n' => b'\n',
        b't' => b'\t',
        b'r' => b'\r',
        b'b' => 0x08,
        b'f' => 0x0c,
        b'v' => 0x0b,
        _ => return None,
    });
    Some(1)
}

/// `HHHH` behind `\u`, and the second half of a pair of surrogates. A half without the other is nobody's character.
fn unicode(digits: &[u8], bytes: &mut Vec<u8>) -> Option<usize> {
    let first = unit(digits)?;
    let mut read = 4;
    let second = digits
        .get(4..)
        .and_then(|rest| rest.strip_prefix(b"\\u"))
        .and_then(unit)
        .filter(|second| (0xd800..0xdc00).contains(&first) && (0xdc00..0xe000).contains(second));
    let code = match second {
        Some(second) => {
            read += 6;
            0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00)
        }
        None => first,
    };
    let character = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
    let mut room = [0; 4];
    bytes.extend_from_slice(character.encode_utf8(&mut room).as_bytes());
    Some(read)
}

fn unit(digits: &[u8]) -> Option<u32> {
    let (high, low) = (byte(digits)?, byte(digits.get(2..)?)?);
    Some(u32::from(high) << 8 | u32::from(low))
}

/// The byte that two hexadecimal digits name.
fn byte(digits: &[u8]) -> Option<u8> {
    let digit = |at: usize| char::from(*digits.get(at)?).to_digit(16);
    u8::try_from(digit(0)? << 4 | digit(1)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_become_the_bytes_they_stand_for() {
        for (escapes, text, bytes) in [
            (Escapes::Backslash, r"/caf\xC3\xA9", "/café".as_bytes()),
            (Escapes::Backslash, r"/caf\xe9", b"/caf\xe9"),
            (Escapes::Backslash, r#"a\"b\\c\x22\t"#, b"a\"b\\c\"\t"),
            (Escapes::Backslash, r"\u00e9\ud83d\ude00", "é😀".as_bytes()),
            (Escapes::Hash, "/a#23b#E9", b"/a#b\xe9"),
            (Escapes::Percent, "Mozilla%2F5.0%20(X)", b"Mozilla/5.0 (X)"),
            (Escapes::Plus, "Mozilla/5.0+(X)", b"Mozilla/5.0 (X)"),
        ] {
            assert_eq!(escapes.undo(text.as_bytes()), bytes, "{text}");
        }
    }

    #[test]
    fn what_is_no_escape_stands_for_itself() {
        for text in [
            r"a\",
            r"a\q",
            r"a\x4",
            r"a\xg0",
            r"\u12",
            r"\u12\u3456x",
            "a",
        ] {
            let given = Escapes::Backslash.undo(text.as_bytes());
            let expected = text.replace(r"\u3456", "\u{3456}");
            assert_eq!(given, expected.as_bytes(), "{text}");
        }
        assert_eq!(Escapes::Hash.undo(b"a#"), b"a#".as_slice());
        assert_eq!(Escapes::Percent.undo(b"100%"), b"100%".as_slice());
        let half = Escapes::Backslash.undo(br"\ud83dx");
        assert_eq!(half, "\u{fffd}x".as_bytes());
    }

    #[test]
    fn plain_text_is_not_copied() {
        let text = b"/a/b.png";
        assert!(matches!(Escapes::Backslash.undo(text), Cow::Borrowed(_)));
    }
}
