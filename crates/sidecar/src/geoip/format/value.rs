//! Values of a section: how one begins, and where it ends.
//!
//! A value begins with a control byte: its type, and its size or what tells it. A pointer stands for the value it leads
//! to, so that a file holds each text once; that is also what hostile files are made of, as a few bytes can stand for
//! any number of values. Nothing here takes more steps than a file of its size may ask for ([`Work`]).

use std::str;

use super::flaw::{Flaw, place};
use super::kind::Kind;

/// How a value begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Head {
    /// A pointer: where it leads, and where what follows it begins.
    Pointer { target: usize, next: usize },
    /// A value: its type, its size (bytes, or entries of a map or list), and where its content begins.
    Value {
        kind: Kind,
        size: usize,
        content: usize,
    },
}

/// A part of the file that pointers count from: the data, or the metadata.
#[derive(Debug, Clone, Copy)]
pub(super) struct Section<'a> {
    pub(super) bytes: &'a [u8],
    /// Where it begins in the file, for messages.
    pub(super) base: usize,
}

impl<'a> Section<'a> {
    /// An offset of the section as one of the file.
    pub(super) fn place(&self, at: usize) -> u64 {
        place(self.base.saturating_add(at))
    }

    /// How the value at `at` begins. What its head says fits into the section.
    pub(super) fn head(&self, at: usize) -> Result<Head, Flaw> {
        let unread = |kind| Flaw::Cut {
            offset: self.place(at),
            kind,
        };
        let byte = |at: usize| self.bytes.get(at).copied().map(usize::from);
        let control = byte(at).ok_or_else(|| unread(Kind::Bytes))?;
        let mut next = at + 1;
        let code = match control >> 5 {
            0 => {
                next += 1;
                byte(at + 1).ok_or_else(|| unread(Kind::Bytes))? + 7
            }
            code => code,
        };
        let code = u16::try_from(code).unwrap_or(u16::MAX);
        // The extended form of a pointer or of what has a short form is no value either.
        let is_known = control >> 5 != 0 || code > 7;
        let kind = Kind::of(code)
            .filter(|_| is_known)
            .ok_or_else(|| Flaw::UnknownType {
                offset: self.place(at),
                code,
            })?;
        if kind == Kind::Pointer {
            return self.pointer(at, control);
        }
        let extra = match control & 31 {
            short @ 0..29 => (short, 0),
            29 => (29, 1),
            30 => (29 + 256, 2),
            _ => (29 + 256 + 65_536, 3),
        };
        let (least, width) = extra;
        let more = self.number(next, width).ok_or_else(|| unread(kind))?;
        let (size, content) = (least + more, next + width);
        self.check_size(at, kind, (size, content))?;
        Ok(Head::Value {
            kind,
            size,
            content,
        })
    }

    fn check_size(
        &self,
        at: usize,
        kind: Kind,
        (size, content): (usize, usize),
    ) -> Result<(), Flaw> {
        if let Some((least, most, allowed)) = kind.sizes()
            && !(least..=most).contains(&size)
        {
            return Err(Flaw::Size {
                offset: self.place(at),
                kind,
                size: place(size),
                allowed,
            });
        }
        // A value takes a byte at least, an entry of a map two.
        let needed = match kind {
            Kind::Bool => 0,
            Kind::Map => size * 2,
            _ => size,
        };
        if needed > self.bytes.len().saturating_sub(content) {
            return Err(Flaw::Cut {
                offset: self.place(at),
                kind,
            });
        }
        Ok(())
    }

    /// A pointer of 11, 19, 27 or 32 bits. Longer ones add what the shorter ones reach.
    fn pointer(&self, at: usize, control: usize) -> Result<Head, Flaw> {
        let high = control & 7;
        let (width, high, reached) = match control >> 3 & 3 {
            0 => (1, high, 0),
            1 => (2, high, 2048),
            2 => (3, high, 526_336),
            _ => (4, 0, 0),
        };
        let low = self.number(at + 1, width).ok_or_else(|| Flaw::Cut {
            offset: self.place(at),
            kind: Kind::Pointer,
        })?;
        Ok(Head::Pointer {
            target: (high << (8 * width)) + low + reached,
            next: at + 1 + width,
        })
    }

    /// A number of `width` bytes, the most significant first.
    pub(super) fn number(&self, at: usize, width: usize) -> Option<usize> {
        let bytes = self.bytes.get(at..at.checked_add(width)?)?;
        Some(
            bytes
                .iter()
                .fold(0, |number, byte| number << 8 | usize::from(*byte)),
        )
    }

    /// How the value begins that a pointer leads to.
    pub(super) fn target(
        &self,
        pointer: usize,
        target: usize,
    ) -> Result<(Kind, usize, usize), Flaw> {
        match self.bytes.get(target).map(|_| self.head(target)) {
            Some(Ok(Head::Value {
                kind,
                size,
                content,
            })) => Ok((kind, size, content)),
            Some(Err(flaw)) => Err(flaw),
            None | Some(Ok(Head::Pointer { .. })) => Err(Flaw::Pointer {
                offset: self.place(pointer),
                target: place(target),
            }),
        }
    }

    /// The content of a text or of bytes. The head was read, so it fits.
    pub(super) fn content(&self, content: usize, size: usize) -> &'a [u8] {
        self.bytes
            .get(content..content.saturating_add(size))
            .unwrap_or_default()
    }

    /// The text that begins at `at`.
    pub(super) fn text(&self, at: usize, content: usize, size: usize) -> Result<&'a str, Flaw> {
        str::from_utf8(self.content(content, size)).map_err(|_| Flaw::NotUtf8 {
            offset: self.place(at),
        })
    }

    /// Where the value at `at` ends, pointers not followed.
    pub(super) fn end(&self, mut at: usize, work: &mut Work) -> Result<usize, Flaw> {
        let mut left = 1_usize;
        while left > 0 {
            work.step(1)?;
            left -= 1;
            at = match self.head(at)? {
                Head::Pointer { next, .. } => next,
                Head::Value {
                    kind,
                    size,
                    content,
                } => {
                    let (children, bytes) = match kind {
                        Kind::Map => (size * 2, 0),
                        Kind::List => (size, 0),
                        Kind::Bool => (0, 0),
                        _ => (0, size),
                    };
                    left += children;
                    content + bytes
                }
            };
        }
        Ok(at)
    }
}

/// How many steps may still be taken: what a file of its size may ask for, and no more, whatever it points to how often.
#[derive(Debug)]
pub(super) struct Work {
    left: usize,
    limit: usize,
}

impl Work {
    pub(super) fn new(limit: usize) -> Self {
        Self { left: limit, limit }
    }

    /// Takes some steps.
    #[inline]
    pub(super) fn step(&mut self, count: usize) -> Result<(), Flaw> {
        match self.left.checked_sub(count) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(Flaw::TooMuchWork {
                limit: place(self.limit),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(bytes: &[u8]) -> Section<'_> {
        Section { bytes, base: 100 }
    }

    #[test]
    fn sizes_and_pointers_of_every_width_are_read() {
        let value = |kind, size, content| Head::Value {
            kind,
            size,
            content,
        };
        let pointer = |target, next| Head::Pointer { target, next };
        let mut long = vec![0x5d, 3];
        long.resize(34, b'x');
        assert_eq!(section(&long).head(0), Ok(value(Kind::Text, 32, 2)));
        let mut longer = vec![0x5e, 0, 1];
        longer.resize(400, b'x');
        assert_eq!(section(&longer).head(0), Ok(value(Kind::Text, 286, 3)));
        let mut longest = vec![0x5f, 0, 0, 2];
        longest.resize(70_000, b'x');
        assert_eq!(section(&longest).head(0), Ok(value(Kind::Text, 65_823, 4)));
        assert_eq!(section(&[1, 7]).head(0), Ok(value(Kind::Bool, 1, 2)));
        for (bytes, expected) in [
            (&[0x21, 5][..], pointer(256 + 5, 2)),
            (&[0x29, 0, 5], pointer(65_536 + 5 + 2048, 3)),
            (&[0x31, 0, 0, 5], pointer(16_777_216 + 5 + 526_336, 4)),
            (&[0x3f, 0, 0, 0, 5], pointer(5, 5)),
        ] {
            assert_eq!(section(bytes).head(0), Ok(expected));
        }
    }

    #[test]
    fn the_end_of_a_value_is_found_without_following_pointers() {
        let bytes = [
            0xe2, 0x41, b'a', 2, 4, 0xa1, 7, 0x20, 0, 0x41, b'b', 0x20, 0, 0xff,
        ];
        assert_eq!(section(&bytes).end(0, &mut Work::new(100)), Ok(13));
        assert!(section(&bytes).end(0, &mut Work::new(3)).is_err());
    }
}
