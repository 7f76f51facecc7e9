//! Values given to a serde visitor. Any value can be asked for; what a visitor ignores is passed over, not followed.

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;

use super::flaw::Flaw;
use super::kind::Kind;
use super::value::{Head, Section, Work};

/// Reads the value at a place, and the ones after it.
#[derive(Debug)]
pub(super) struct Decoder<'de, 'w> {
    pub(super) section: Section<'de>,
    /// Where the next value begins.
    pub(super) at: usize,
    pub(super) work: &'w mut Work,
}

/// A value whose content is read next.
struct Entered {
    kind: Kind,
    size: usize,
    /// Where to go on afterwards, if a pointer led to it.
    next: Option<usize>,
}

impl<'de> Decoder<'de, '_> {
    /// The next value's head, pointers followed. What is read next is its content.
    fn enter(&mut self) -> Result<Entered, Flaw> {
        self.work.step(1)?;
        match self.section.head(self.at)? {
            Head::Pointer { target, next } => {
                let (kind, size, content) = self.section.target(self.at, target)?;
                self.at = content;
                Ok(Entered {
                    kind,
                    size,
                    next: Some(next),
                })
            }
            Head::Value {
                kind,
                size,
                content,
            } => {
                self.at = content;
                Ok(Entered {
                    kind,
                    size,
                    next: None,
                })
            }
        }
    }

    fn bytes(&mut self, size: usize) -> &'de [u8] {
        let bytes = self.section.content(self.at, size);
        self.at += size;
        bytes
    }

    fn unsigned(&mut self, size: usize) -> u128 {
        let bytes = self.bytes(size);
        bytes
            .iter()
            .fold(0, |number, byte| number << 8 | u128::from(*byte))
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        reason = "the head allows no more bytes than the type has"
    )]
    fn visit<V: Visitor<'de>>(
        &mut self,
        kind: Kind,
        size: usize,
        visitor: V,
    ) -> Result<V::Value, Flaw> {
        match kind {
            Kind::Text => {
                let text = self.section.text(self.at, self.at, size)?;
                self.at += size;
                visitor.visit_borrowed_str(text)
            }
            Kind::Bytes => visitor.visit_borrowed_bytes(self.bytes(size)),
            Kind::Double => visitor.visit_f64(f64::from_bits(self.unsigned(size) as u64)),
            Kind::Float => visitor.visit_f32(f32::from_bits(self.unsigned(size) as u32)),
            Kind::U16 | Kind::U32 | Kind::U64 => visitor.visit_u64(self.unsigned(size) as u64),
            Kind::U128 => visitor.visit_u128(self.unsigned(size)),
            Kind::I32 => visitor.visit_i32(self.unsigned(size) as u32 as i32),
            Kind::Bool => visitor.visit_bool(size != 0),
            Kind::Map => visitor.visit_map(Entries {
                of: self,
                left: size,
            }),
            Kind::List => visitor.visit_seq(Entries {
                of: self,
                left: size,
            }),
            // What a pointer leads to is none.
            Kind::Pointer => visitor.visit_unit(),
        }
    }
}

impl<'de> Deserializer<'de> for &mut Decoder<'de, '_> {
    type Error = Flaw;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Flaw> {
        let Entered { kind, size, next } = self.enter()?;
        let value = self.visit(kind, size, visitor)?;
        if let Some(next) = next {
            self.at = next;
        }
        Ok(value)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Flaw> {
        visitor.visit_some(self)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Flaw> {
        self.at = self.section.end(self.at, self.work)?;
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier
    }
}

/// What is left of a map or list.
struct Entries<'a, 'de, 'w> {
    of: &'a mut Decoder<'de, 'w>,
    left: usize,
}

impl<'de> MapAccess<'de> for Entries<'_, 'de, '_> {
    type Error = Flaw;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Flaw> {
        self.next_element_seed(seed)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Flaw> {
        seed.deserialize(&mut *self.of)
    }
}

impl<'de> SeqAccess<'de> for Entries<'_, 'de, '_> {
    type Error = Flaw;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Flaw> {
        let Some(left) = self.left.checked_sub(1) else {
            return Ok(None);
        };
        self.left = left;
        seed.deserialize(&mut *self.of).map(Some)
    }
}
