//! The caller's room for the texts of an answer.

use std::fmt;
use std::mem::MaybeUninit;

use crate::abi::Text;

/// What is left of the room. What does not fit is left out, and it is remembered that it was.
#[derive(Debug)]
pub(crate) struct Room<'r> {
    bytes: &'r mut [MaybeUninit<u8>],
    used: usize,
    is_too_small: bool,
}

impl<'r> Room<'r> {
    pub(crate) fn new(bytes: &'r mut [MaybeUninit<u8>]) -> Self {
        Self {
            bytes,
            used: 0,
            is_too_small: false,
        }
    }

    /// Takes all of it back.
    pub(crate) fn clear(&mut self) {
        self.used = 0;
        self.is_too_small = false;
    }

    pub(crate) fn is_too_small(&self) -> bool {
        self.is_too_small
    }

    /// Puts parts of a text one after the other.
    pub(crate) fn put(&mut self, parts: &[&str]) -> Text {
        self.written(|room| {
            for part in parts {
                room.push(part);
            }
        })
    }

    /// The text that is written meanwhile.
    pub(crate) fn written(&mut self, write: impl FnOnce(&mut Self)) -> Text {
        let from = self.used;
        write(self);
        let written = self.bytes.get(from..self.used).unwrap_or_default();
        Text {
            at: written.as_ptr().cast(),
            len: written.len(),
        }
    }

    fn push(&mut self, part: &str) {
        let end = self.used.saturating_add(part.len());
        let Some(place) = self.bytes.get_mut(self.used..end) else {
            self.is_too_small = true;
            return;
        };
        for (to, byte) in place.iter_mut().zip(part.bytes()) {
            to.write(byte);
        }
        self.used = end;
    }
}

impl fmt::Write for Room<'_> {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        self.push(part);
        Ok(())
    }
}

impl Extend<char> for Room<'_> {
    fn extend<I: IntoIterator<Item = char>>(&mut self, characters: I) {
        let mut bytes = [0; 4];
        for character in characters {
            self.push(character.encode_utf8(&mut bytes));
        }
    }
}
