//! Bytes as text, as RFC 4648 has it in section 4: for logs of lines.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Writes bytes as text, with padding.
pub fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or_default());
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            let sextet = (bits >> (18 - 6 * place)) & 63;
            let letter = usize::try_from(sextet).ok().and_then(|at| ALPHABET.get(at));
            let is_there = place <= group.len();
            text.push(
                letter
                    .filter(|_| is_there)
                    .map_or('=', |letter| char::from(*letter)),
            );
        }
    }
    text
}

/// Reads text back; `None` for what [`encode`] never writes.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len() / 4 * 3);
    let groups = bytes.chunks_exact(4);
    if !groups.remainder().is_empty() {
        return None;
    }
    let last = groups.len();
    for (number, group) in (1..).zip(groups) {
        let used = group.iter().position(|byte| *byte == b'=').unwrap_or(4);
        let is_padded = group.iter().skip(used).all(|byte| *byte == b'=');
        if used < 2 || !is_padded || (used < 4 && number < last) {
            return None;
        }
        let mut bits = 0_u32;
        for place in 0..4 {
            let sextet = match group.get(place).filter(|_| place < used) {
                Some(letter) => sextet(*letter)?,
                None => 0,
            };
            bits = bits << 6 | sextet;
        }
        let [_, three @ ..] = bits.to_be_bytes();
        let (kept, beyond) = three.split_at(used - 1);
        if beyond.iter().any(|byte| *byte != 0) {
            return None;
        }
        decoded.extend(kept);
    }
    Some(decoded)
}

fn sextet(letter: u8) -> Option<u32> {
    let (first, from) = match letter {
        b'A'..=b'Z' => (b'A', 0),
        b'a'..=b'z' => (b'a', 26),
        b'0'..=b'9' => (b'0', 52),
        b'+' => return Some(62),
        b'/' => return Some(63),
        _ => return None,
    };
    Some(u32::from(letter - first) + from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn texts_are_those_of_the_rfc() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(encode(bytes.as_bytes()), text);
            assert_eq!(decode(text).unwrap(), bytes.as_bytes());
        }
        for bad in ["Z", "Zg", "Zg=", "Zh==", "=Zg=", "Zg==Zg==", "Zm9*", "Zm 9"] {
            assert_eq!(decode(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn bytes_come_back(bytes in proptest::collection::vec(any::<u8>(), 0..99)) {
            prop_assert_eq!(decode(&encode(&bytes)), Some(bytes));
        }
    }
}
