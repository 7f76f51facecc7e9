//! serde's view of the tree: a deserializer that stands at one node.

use serde::de::value::StrDeserializer;
use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess, VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use super::super::NodeId;
use super::super::tree::{Content, Node, Source};
use super::fault::{DecodeError, Kind, MAX_SHOWN_CHARS};
use super::stand_in::StandIn;
use crate::model::printable;

/// A decoder that stands at one node.
#[derive(Clone, Copy)]
pub(super) struct At<'a> {
    pub(super) source: &'a Source,
    pub(super) node: NodeId,
}

impl<'a> At<'a> {
    fn here(&self) -> Option<&'a Node> {
        self.source.node(self.node)
    }

    fn scalar(&self) -> Option<(&'a str, bool)> {
        match &self.here()?.content {
            Content::Scalar { text, plain } => Some((text, *plain)),
            Content::List(_) | Content::Map(_) => None,
        }
    }

    fn is_null(&self) -> bool {
        matches!(self.scalar(), Some(("" | "~" | "null", true)))
    }

    fn wrong(&self, wanted: &str) -> DecodeError {
        let seen = match self.here().map(|node| &node.content) {
            Some(Content::Scalar { .. }) if self.is_null() => "nothing".to_owned(),
            Some(Content::Scalar { text, .. }) => format!("`{}`", printable(text, MAX_SHOWN_CHARS)),
            Some(Content::List(_)) => "a list".to_owned(),
            Some(Content::Map(_)) => "a map".to_owned(),
            None => "nothing".to_owned(),
        };
        let message = format!("{seen} where {wanted} is expected");
        DecodeError {
            node: Some(self.node),
            message,
            kind: Kind::Value,
        }
    }

    fn number<T: std::str::FromStr>(&self, wanted: &str) -> Result<T, DecodeError> {
        let Some((text, true)) = self.scalar() else {
            return Err(self.wrong(wanted));
        };
        text.parse().map_err(|_| self.wrong(wanted))
    }
}

macro_rules! numbers {
    ($($method:ident $visit:ident $type:ty, $wanted:literal;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
            let value: $type = self.number($wanted)?;
            visitor.$visit(value).map_err(|e: DecodeError| e.at(self.node))
        }
    )*};
}

impl<'de> Deserializer<'de> for At<'_> {
    type Error = DecodeError;

    numbers! {
        deserialize_i8 visit_i8 i8, "a whole number";
        deserialize_i16 visit_i16 i16, "a whole number";
        deserialize_i32 visit_i32 i32, "a whole number";
        deserialize_i64 visit_i64 i64, "a whole number";
        deserialize_u8 visit_u8 u8, "a whole number from 0 to 255";
        deserialize_u16 visit_u16 u16, "a whole number from 0 to 65535";
        deserialize_u32 visit_u32 u32, "a whole number from 0 to 4294967295";
        deserialize_u64 visit_u64 u64, "a whole number from 0";
        deserialize_f32 visit_f32 f32, "a number";
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let value: f64 = self.number("a number")?;
        if !value.is_finite() {
            return Err(self.wrong("a finite number"));
        }
        visitor
            .visit_f64(value)
            .map_err(|e: DecodeError| e.at(self.node))
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.scalar() {
            Some(("true", true)) => visitor.visit_bool(true),
            Some(("false", true)) => visitor.visit_bool(false),
            _ => Err(self.wrong("true or false")),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.scalar() {
            Some((text, _)) if !self.is_null() => visitor
                .visit_str(text)
                .map_err(|e: DecodeError| e.at(self.node)),
            _ => Err(self.wrong("text")),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        // A field left blank is a mistake, not a wish: blanks in a policy have taken whole fleets down.
        if self.is_null() {
            return Err(self.wrong("a value, or no such field,"));
        }
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        visitor
            .visit_newtype_struct(self)
            .map_err(|e: DecodeError| e.at(self.node))
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.here().map(|node| &node.content) {
            Some(Content::List(items)) => {
                let items = items.iter();
                visitor
                    .visit_seq(Items {
                        source: self.source,
                        items,
                    })
                    .map_err(|e| e.at(self.node))
            }
            _ => Err(self.wrong("a list")),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.here().map(|node| &node.content) {
            Some(Content::Map(entries)) => {
                let fields = Fields {
                    at: self,
                    entries: entries.iter(),
                    holes: self.source.doubts.holes_of(self.node).iter(),
                    value: Next::Nothing,
                };
                visitor.visit_map(fields).map_err(|e| e.at(self.node))
            }
            _ => Err(self.wrong("a map")),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.deserialize_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        visitor.visit_enum(self).map_err(|e| e.at(self.node))
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.here().map(|node| &node.content) {
            Some(Content::List(_)) => self.deserialize_seq(visitor),
            Some(Content::Map(_)) => self.deserialize_map(visitor),
            _ if self.is_null() => visitor.visit_unit(),
            _ => self.deserialize_str(visitor),
        }
    }

    forward_to_deserialize_any! { i128 u128 char bytes byte_buf unit unit_struct tuple tuple_struct ignored_any }
}

impl<'de> EnumAccess<'de> for At<'_> {
    type Error = DecodeError;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(
        self,
        seed: V,
    ) -> Result<(V::Value, Self), DecodeError> {
        let Some((text, _)) = self.scalar() else {
            return Err(self.wrong("a word"));
        };
        let name: StrDeserializer<'_, DecodeError> = de::IntoDeserializer::into_deserializer(text);
        Ok((seed.deserialize(name).map_err(|e| e.at(self.node))?, self))
    }
}

/// Enumerations in documents are plain words; data beside them is a struct of optional fields.
impl<'de> VariantAccess<'de> for At<'_> {
    type Error = DecodeError;

    fn unit_variant(self) -> Result<(), DecodeError> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, _: T) -> Result<T::Value, DecodeError> {
        Err(self.wrong("a word"))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, DecodeError> {
        Err(self.wrong("a word"))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, DecodeError> {
        Err(self.wrong("a word"))
    }
}

struct Items<'a> {
    source: &'a Source,
    items: std::slice::Iter<'a, NodeId>,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = DecodeError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, DecodeError> {
        let Some(item) = self
            .items
            .by_ref()
            .copied()
            .find(|item| !self.source.is_set_aside(*item))
        else {
            return Ok(None);
        };
        seed.deserialize(At {
            source: self.source,
            node: item,
        })
        .map(Some)
        .map_err(|e| e.at(item))
    }
}

struct Fields<'a> {
    at: At<'a>,
    entries: std::slice::Iter<'a, (NodeId, NodeId)>,
    /// Required fields that the map lacks.
    holes: std::slice::Iter<'a, &'static str>,
    value: Next,
}

/// What the next value is read from.
enum Next {
    Nothing,
    Node(NodeId),
    StandIn,
}

impl<'de> MapAccess<'de> for Fields<'_> {
    type Error = DecodeError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, DecodeError> {
        let source = self.at.source;
        let mut left = self.entries.by_ref().copied();
        if let Some((key, value)) = left.find(|(_, value)| !source.is_set_aside(*value)) {
            self.value = Next::Node(value);
            let key_at = At { source, node: key };
            return seed.deserialize(key_at).map(Some).map_err(|e| e.at(key));
        }
        let Some(name) = self.holes.next() else {
            return Ok(None);
        };
        self.value = Next::StandIn;
        let name: StrDeserializer<'_, DecodeError> = de::IntoDeserializer::into_deserializer(*name);
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(
        &mut self,
        seed: V,
    ) -> Result<V::Value, DecodeError> {
        match std::mem::replace(&mut self.value, Next::Nothing) {
            Next::Nothing => Err(de::Error::custom("a field without a value")),
            Next::Node(node) => {
                let source = self.at.source;
                seed.deserialize(At { source, node })
                    .map_err(|e| e.at(node))
            }
            Next::StandIn => seed.deserialize(StandIn).map_err(|error| DecodeError {
                node: Some(self.at.node),
                kind: Kind::NoStandIn,
                ..error
            }),
        }
    }
}
