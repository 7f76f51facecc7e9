//! Bearer tokens (RFC 6750): secrets that stand in a file, each with the name of who knows it.
//!
//! A line is `NAME TOKEN`, or `NAME sha256:HEX` where the file shall not hold the secret itself; `#` begins a comment. What is
//! kept of a token is its SHA-256. A token that is shown is found by its own digest, so how long the search takes tells nothing
//! of those that are kept.

use std::collections::HashMap;

use sha2::{Digest, Sha256};
use tradewind_engine::model::printable;

/// Fewest characters of a token: 128 bits in base 64.
pub const MIN_TOKEN: usize = 22;

/// Largest file, in bytes.
pub const MAX_FILE_BYTES: u64 = 1 << 20;

/// Longest name.
const MAX_NAME: usize = 64;

/// Tokens by their digests.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tokens {
    names: HashMap<[u8; 32], Box<str>>,
}

impl Tokens {
    /// Reads a file's text; all its faults otherwise. No fault repeats a token.
    pub fn read(text: &str) -> Result<Self, Vec<String>> {
        let mut names = HashMap::new();
        let mut faults = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match read_line(line) {
                Ok((name, digest)) => {
                    if let Some(other) = names.insert(digest, name.clone()) {
                        faults.push(format!(
                            "line {number}: `{name}` has the token of `{other}`"
                        ));
                    }
                }
                Err(fault) => faults.push(format!("line {number}: {fault}")),
            }
        }
        if faults.is_empty() {
            Ok(Self { names })
        } else {
            Err(faults)
        }
    }

    /// The name of who knows a token.
    pub fn name(&self, token: &[u8]) -> Option<&str> {
        let digest: [u8; 32] = Sha256::digest(token).into();
        self.names.get(&digest).map(|name| &**name)
    }

    /// Whether somebody of this name knows one.
    pub fn has(&self, name: &str) -> bool {
        self.names.values().any(|known| **known == *name)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }
}

/// The SHA-256 of a token.
type Digested = [u8; 32];

fn read_line(line: &str) -> Result<(Box<str>, Digested), String> {
    let Some((name, token)) = line.split_once(char::is_whitespace) else {
        return Err("has one word, must be NAME TOKEN".to_owned());
    };
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.len() > MAX_NAME || !name.chars().all(is_plain) {
        return Err(format!(
            "`{}` is no name, must have letters, digits and `-_.`, at most {MAX_NAME}",
            printable(name, MAX_NAME)
        ));
    }
    let token = token.trim();
    let digest = match token.strip_prefix("sha256:") {
        Some(digits) => hex(digits).ok_or_else(|| {
            format!("the digest of `{name}` is not 64 hexadecimal digits behind `sha256:`")
        })?,
        None if token.len() < MIN_TOKEN => {
            return Err(format!(
                "the token of `{name}` has {} characters, must have {MIN_TOKEN} or more",
                token.len()
            ));
        }
        // What the grammar of the header cannot carry could never be shown (RFC 6750, section 2.1).
        None if !token.bytes().all(|byte| byte.is_ascii_graphic()) => {
            return Err(format!(
                "the token of `{name}` has blanks or odd characters"
            ));
        }
        None => Sha256::digest(token).into(),
    };
    Ok((name.into(), digest))
}

fn hex(digits: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if digits.len() != 64 || !digits.is_ascii() {
        return None;
    }
    for (byte, at) in bytes.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(digits.get(at..at + 2)?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "Zm9yLXRlc3RzLW9ubHktMDEyMw";

    #[test]
    fn a_token_is_known_by_its_digest_too() {
        let digest = tradewind_engine::model::Digest::of(SECRET.as_bytes()).to_string();
        for line in [
            format!("ci {SECRET}"),
            format!("# c\n\n ci\tsha256:{digest}\n"),
        ] {
            let tokens = Tokens::read(&line).unwrap();
            assert_eq!(tokens.name(SECRET.as_bytes()), Some("ci"));
            assert_eq!(tokens.name(b"Zm9yLXRlc3RzLW9ubHktMDEyMx"), None);
            assert_eq!(tokens.name(b""), None);
        }
    }

    #[test]
    fn all_faults_are_told_and_no_secret() {
        let text = format!("ci\nci short\na/b {SECRET}\nx sha256:12\none {SECRET}\ntwo {SECRET}\n");
        let faults = Tokens::read(&text).unwrap_err();
        assert_eq!(faults.len(), 5, "{faults:?}");
        for (fault, part) in faults.iter().zip([
            "line 1: has one word",
            "line 2: the token of `ci` has 5 characters",
            "line 3: `a/b` is no name",
            "line 4: the digest of `x`",
            "line 6: `two` has the token of `one`",
        ]) {
            assert!(fault.starts_with(part), "{fault}");
        }
        assert!(!faults.concat().contains(SECRET) && !faults.concat().contains("short"));
    }
}
