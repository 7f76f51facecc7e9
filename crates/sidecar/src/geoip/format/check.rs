//! Whether everything that a value leads to is sound.
//!
//! Nothing here recurses deeper than [`MAX_NESTING`], whatever points where.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use super::flaw::{Flaw, MAX_NESTING, MAX_VALUES};
use super::kind::Kind;
use super::value::{Head, Section, Work};

/// A check of values: whatever is reached from them is sound. What a pointer leads to is looked at once, however many
/// lead there, so it takes time in proportion to the section.
#[derive(Debug)]
pub(super) struct Checker<'a> {
    section: Section<'a>,
    /// A bit for each byte of the section: a sound text or number that a pointer leads to begins there.
    scalars: Vec<u64>,
    /// Sound maps and lists that pointers lead to, and how many values each stands for.
    containers: HashMap<usize, usize, RandomState>,
    work: Work,
}

/// Steps for each byte of a section. A sound one has values of some three bytes each, and looks again at those that
/// pointers lead to.
const STEPS_A_BYTE: usize = 4;

/// Steps for any section.
const STEPS_AT_LEAST: usize = 1024;

/// How many bytes of text are checked in the time of a step.
const TEXT_A_STEP: usize = 16;

/// What was found of a sound value.
struct Found {
    /// Where it ends, a pointer not followed.
    end: usize,
    /// How many values it stands for, itself and all within it, pointers followed.
    weight: usize,
}

impl<'a> Checker<'a> {
    pub(super) fn new(section: Section<'a>) -> Self {
        let length = section.bytes.len();
        let steps = length.saturating_mul(STEPS_A_BYTE);
        Self {
            section,
            scalars: vec![0; length / 64 + 1],
            containers: HashMap::default(),
            work: Work::new(steps.saturating_add(STEPS_AT_LEAST)),
        }
    }

    /// Checks the value at `at` and all it leads to.
    pub(super) fn check(&mut self, at: usize) -> Result<(), Flaw> {
        self.value(at, 0).map(|_| ())
    }

    /// Checks the value at `at`, which lies in `depth` others.
    fn value(&mut self, at: usize, depth: usize) -> Result<Found, Flaw> {
        self.work.step(1)?;
        if depth > MAX_NESTING {
            return Err(Flaw::TooDeep {
                offset: self.section.place(at),
            });
        }
        match self.section.head(at)? {
            Head::Pointer { target, next } => {
                let (kind, _, _) = self.section.target(at, target)?;
                let weight = self.target(kind, target, depth)?;
                Ok(Found { end: next, weight })
            }
            Head::Value {
                kind,
                size,
                content,
            } => match kind {
                Kind::Map | Kind::List => self.container(at, (kind, size, content), depth),
                Kind::Text => {
                    self.work.step(size / TEXT_A_STEP)?;
                    self.section.text(at, content, size)?;
                    Ok(scalar(content + size))
                }
                Kind::Bool => Ok(scalar(content)),
                _ => Ok(scalar(content + size)),
            },
        }
    }

    /// Checks all that lies in a map or list.
    fn container(
        &mut self,
        at: usize,
        (kind, size, content): (Kind, usize, usize),
        depth: usize,
    ) -> Result<Found, Flaw> {
        let mut found = scalar(content);
        for _ in 0..size {
            if kind == Kind::Map {
                found.end = self.key(found.end)?;
                found.weight += 1;
            }
            let Found { end, weight } = self.value(found.end, depth + 1)?;
            found.end = end;
            found.weight += weight;
            if found.weight > MAX_VALUES {
                return Err(Flaw::TooManyValues {
                    offset: self.section.place(at),
                });
            }
        }
        Ok(found)
    }

    /// Checks what a pointer leads to, unless that has been done; gives how many values it stands for.
    fn target(&mut self, kind: Kind, target: usize, depth: usize) -> Result<usize, Flaw> {
        // Noted only when all is checked: on the way round a circle of pointers nothing counts as sound, and the depth
        // puts an end to it.
        if matches!(kind, Kind::Map | Kind::List) {
            if let Some(weight) = self.containers.get(&target) {
                return Ok(*weight);
            }
            let Found { weight, .. } = self.value(target, depth + 1)?;
            self.containers.insert(target, weight);
            return Ok(weight);
        }
        let bit = 1 << (target % 64);
        let word = self.scalars.get(target / 64).copied().unwrap_or_default();
        if word & bit == 0 {
            self.value(target, 0)?;
            if let Some(word) = self.scalars.get_mut(target / 64) {
                *word |= bit;
            }
        }
        Ok(1)
    }

    /// Checks the key at `at`; gives where it ends.
    fn key(&mut self, at: usize) -> Result<usize, Flaw> {
        self.work.step(1)?;
        let (kind, end) = match self.section.head(at)? {
            Head::Pointer { target, next } => {
                let (kind, _, _) = self.section.target(at, target)?;
                if kind == Kind::Text {
                    self.target(kind, target, 0)?;
                }
                (kind, next)
            }
            Head::Value {
                kind: Kind::Text, ..
            } => (Kind::Text, self.value(at, 0)?.end),
            Head::Value { kind, .. } => (kind, at),
        };
        if kind == Kind::Text {
            Ok(end)
        } else {
            Err(Flaw::KeyNotText {
                offset: self.section.place(at),
                kind,
            })
        }
    }
}

/// A value without others in it.
fn scalar(end: usize) -> Found {
    Found { end, weight: 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(bytes: &[u8]) -> Section<'_> {
        Section { bytes, base: 100 }
    }

    fn check(bytes: &[u8]) -> Result<(), Flaw> {
        Checker::new(section(bytes)).check(0)
    }

    #[test]
    fn what_no_value_is_is_refused_with_its_place() {
        for (bytes, expected) in [
            (
                &[][..],
                "the sequence of bytes at byte 100 ends behind its section",
            ),
            (
                &[0x44, b'a'],
                "the text at byte 100 ends behind its section",
            ),
            (&[0x5f, 0], "the text at byte 100 ends behind its section"),
            (&[0x20], "the pointer at byte 100 ends behind its section"),
            (
                &[0xe3, 0x41, b'a'],
                "the map at byte 100 ends behind its section",
            ),
            (
                &[0, 5],
                "the value at byte 100 has type 12, which no value has",
            ),
            (
                &[0, 0],
                "the value at byte 100 has type 7, which no value has",
            ),
            (
                &[0, 255],
                "the value at byte 100 has type 262, which no value has",
            ),
            (
                &[0x67, 0, 0, 0, 0, 0, 0, 0],
                "the double at byte 100 has size 7, must have 8",
            ),
            (
                &[0xa3, 0, 0, 0],
                "the 16-bit integer at byte 100 has size 3, must have 0 to 2",
            ),
            (
                &[2, 7],
                "the truth value at byte 100 has size 2, must have 0 or 1",
            ),
            (&[0x41, 0xff], "the text at byte 100 is not UTF-8"),
            (
                &[0xe1, 0xa0, 0xa0],
                "the key at byte 101 is a 16-bit integer, must be a text",
            ),
            (
                &[0x20, 2, 0x20, 0],
                "the pointer at byte 100 leads to byte 2 of its section, must lead to a value that is no pointer",
            ),
            (
                &[0x20, 9],
                "the pointer at byte 100 leads to byte 9 of its section, must lead to a value that is no pointer",
            ),
        ] {
            assert_eq!(
                check(bytes).unwrap_err().to_string(),
                expected,
                "{bytes:02x?}"
            );
        }
    }

    #[test]
    fn circles_and_absurd_nesting_end() {
        // A map whose value is itself, and a list of itself many times.
        let circle = [0xe1, 0x41, b'a', 0x20, 0];
        assert!(matches!(check(&circle), Err(Flaw::TooDeep { .. })));
        let fan = [&[0x1c, 4][..], &[0x20, 0].repeat(28)].concat();
        assert!(matches!(check(&fan), Err(Flaw::TooDeep { .. })));
        // Lists in lists: as many as allowed, and one more.
        let nested = |count: usize| [[1, 4].repeat(count), vec![0xa0]].concat();
        assert_eq!(check(&nested(MAX_NESTING)), Ok(()));
        assert!(matches!(
            check(&nested(MAX_NESTING + 1)),
            Err(Flaw::TooDeep { .. })
        ));
        assert!(matches!(check(&nested(100_000)), Err(Flaw::TooDeep { .. })));
    }

    /// Lists of 28 pointers each, each to the list before it; gives where each begins.
    fn fan(levels: usize) -> (Vec<u8>, Vec<usize>) {
        let mut bytes = vec![0xa0];
        let mut begins = vec![0];
        for _ in 0..levels {
            let below = u8::try_from(begins[begins.len() - 1]).unwrap();
            begins.push(bytes.len());
            bytes.extend([0x1c, 4]);
            bytes.extend([0x20, below].repeat(28));
        }
        (bytes, begins)
    }

    #[test]
    fn what_is_pointed_to_often_is_looked_at_once_and_counted_often() {
        let (bytes, begins) = fan(4);
        let mut checker = Checker::new(section(&bytes));
        // 28^3 values and what holds them, from the inside out and the other way round.
        assert_eq!(checker.check(begins[3]), Ok(()));
        let too_many = Err(Flaw::TooManyValues {
            offset: 100 + u64::try_from(begins[4]).unwrap(),
        });
        assert_eq!(checker.check(begins[4]), too_many);
        assert_eq!(Checker::new(section(&bytes)).check(begins[4]), too_many);
    }

    #[test]
    fn values_that_overlap_take_no_more_steps_than_allowed() {
        let texts: Vec<u8> = [0x5e, 0x0f, 0x7f].repeat(8192);
        let mut checker = Checker::new(section(&texts));
        let error = (0..8192).find_map(|n| checker.check(n * 3).err());
        assert!(matches!(error, Some(Flaw::TooMuchWork { .. })), "{error:?}");
    }
}
