//! Typed values out of a [`Source`]: serde's derived decoders, run until every fault is known.

use serde::de::value::StrDeserializer;
use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess, VariantAccess, Visitor,
};
use serde::{Deserialize, forward_to_deserialize_any};

use super::diagnostic::{Diagnostics, MAX_DIAGNOSTICS, Severity};
use super::tree::{Content, Node, NodeId, Source};
use crate::engine::model::printable;

/// The outcome of decoding: what could be read, and what could not.
#[derive(Debug)]
pub struct Decoded<T> {
    /// The value, without the parts that were set aside; `None` when too little is left.
    pub value: Option<T>,
    /// Why parts were set aside; empty for a document that is as it should be.
    pub faults: Diagnostics,
}

impl Source {
    /// Decodes the whole document as a `T`. Each fault is reported once; what it makes unreadable is set aside.
    pub fn decode<T: for<'de> Deserialize<'de>>(&mut self) -> Decoded<T> {
        let mut faults = Diagnostics::default();
        let Some(root) = self.root() else {
            return Decoded {
                value: None,
                faults,
            };
        };
        loop {
            let error = match T::deserialize(At {
                source: self,
                node: root,
            }) {
                Ok(value) => {
                    return Decoded {
                        value: Some(value),
                        faults,
                    };
                }
                Err(error) => error,
            };
            let at = error.node.unwrap_or(root);
            if !self.follows_from_earlier_fault(at, &error) {
                let (code, help) = error.kind.advice();
                let span = self.span_of(at);
                let mut fault =
                    self.diagnostic(Severity::Error, code, &span, (error.message, &help));
                fault.path = self.path_of(at);
                faults.push(fault);
            }
            if at == root || faults.items().len() >= MAX_DIAGNOSTICS {
                return Decoded {
                    value: None,
                    faults,
                };
            }
            self.set_aside_with_key(at);
        }
    }

    /// A field reported as missing that is there, but was set aside for a fault already reported.
    fn follows_from_earlier_fault(&self, map: NodeId, error: &DecodeError) -> bool {
        let Kind::MissingField(name) = &error.kind else {
            return false;
        };
        match self.node(map).map(|node| &node.content) {
            Some(Content::Map(entries)) => entries
                .iter()
                .any(|(key, value)| self.text_of(*key) == Some(name) && self.is_set_aside(*value)),
            _ => false,
        }
    }

    /// Sets a node aside; a field name takes its value along.
    fn set_aside_with_key(&mut self, id: NodeId) {
        self.set_aside(id);
        let value = self.values_of_key(id);
        if let Some(value) = value {
            self.set_aside(value);
        }
    }

    fn values_of_key(&self, wanted: NodeId) -> Option<NodeId> {
        (0..)
            .map_while(|id| self.node(id))
            .find_map(|node| match &node.content {
                Content::Map(entries) => entries
                    .iter()
                    .find(|(key, _)| *key == wanted)
                    .map(|(_, value)| *value),
                _ => None,
            })
    }
}

/// Longest text of the file that a message repeats, in characters.
const MAX_SHOWN_CHARS: usize = 80;

/// What kind of mistake it was, which decides the code and the help.
#[derive(Debug)]
enum Kind {
    UnknownField {
        allowed: &'static [&'static str],
        seen: String,
    },
    MissingField(&'static str),
    Value,
}

impl Kind {
    fn advice(&self) -> (&'static str, String) {
        match self {
            Self::UnknownField { allowed, seen } => {
                let close = allowed.iter().min_by_key(|name| edit_distance(name, seen));
                let help = match close {
                    Some(name) if edit_distance(name, seen) <= 2 => {
                        format!("did you mean `{name}`?")
                    }
                    _ => format!("allowed here: {}", allowed.join(", ")),
                };
                ("D004", help)
            }
            Self::MissingField(name) => ("D006", format!("add `{name}: …` here")),
            Self::Value => (
                "D005",
                "`tradewind schema` shows the form of every field".to_owned(),
            ),
        }
    }
}

#[derive(Debug)]
struct DecodeError {
    node: Option<NodeId>,
    message: String,
    kind: Kind,
}

impl DecodeError {
    fn at(mut self, node: NodeId) -> Self {
        self.node.get_or_insert(node);
        self
    }
}

impl std::fmt::Display for DecodeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for DecodeError {}

impl de::Error for DecodeError {
    fn custom<T: std::fmt::Display>(message: T) -> Self {
        Self {
            node: None,
            message: message.to_string(),
            kind: Kind::Value,
        }
    }

    fn unknown_field(field: &str, allowed: &'static [&'static str]) -> Self {
        let kind = Kind::UnknownField {
            allowed,
            seen: field.to_owned(),
        };
        Self {
            node: None,
            message: format!("unknown field `{}`", printable(field, MAX_SHOWN_CHARS)),
            kind,
        }
    }

    fn missing_field(field: &'static str) -> Self {
        Self {
            node: None,
            message: format!("the field `{field}` is missing"),
            kind: Kind::MissingField(field),
        }
    }

    fn unknown_variant(variant: &str, allowed: &'static [&'static str]) -> Self {
        Self::custom(format!(
            "`{}` is not one of: {}",
            printable(variant, MAX_SHOWN_CHARS),
            allowed.join(", ")
        ))
    }
}

fn edit_distance(a: &str, b: &str) -> usize {
    if a.len().abs_diff(b.len()) > 2 {
        return usize::MAX;
    }
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut next = vec![i + 1];
        for (j, cb) in b.iter().enumerate() {
            let [diagonal, above, left] =
                [row.get(j), row.get(j + 1), next.last()].map(|d| d.copied().unwrap_or(0));
            next.push(
                (diagonal + usize::from(ca != *cb))
                    .min(above + 1)
                    .min(left + 1),
            );
        }
        row = next;
    }
    row.last().copied().unwrap_or(usize::MAX)
}

/// A decoder that stands at one node.
#[derive(Clone, Copy)]
struct At<'a> {
    source: &'a Source,
    node: NodeId,
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
                    source: self.source,
                    entries: entries.iter(),
                    value: None,
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
    source: &'a Source,
    entries: std::slice::Iter<'a, (NodeId, NodeId)>,
    value: Option<NodeId>,
}

impl<'de> MapAccess<'de> for Fields<'_> {
    type Error = DecodeError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, DecodeError> {
        let source = self.source;
        let mut left = self.entries.by_ref().copied();
        let Some((key, value)) = left.find(|(_, value)| !source.is_set_aside(*value)) else {
            return Ok(None);
        };
        self.value = Some(value);
        seed.deserialize(At { source, node: key })
            .map(Some)
            .map_err(|e| e.at(key))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(
        &mut self,
        seed: V,
    ) -> Result<V::Value, DecodeError> {
        let Some(value) = self.value.take() else {
            return Err(de::Error::custom("a field without a value"));
        };
        seed.deserialize(At {
            source: self.source,
            node: value,
        })
        .map_err(|e| e.at(value))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tree::Limits;
    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        name: String,
        #[serde(default)]
        count: u16,
        #[serde(default)]
        parts: Vec<Part>,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Part {
        id: String,
        ratio: f64,
    }

    fn decode(text: &str) -> (Option<Sample>, Vec<String>) {
        let (mut source, mut faults) = Source::read("s.yaml", text, &Limits::default());
        let decoded = source.decode();
        faults.append(decoded.faults);
        (decoded.value, faults.to_lines())
    }

    #[test]
    fn a_good_document_decodes_and_text_stays_text() {
        let (value, faults) = decode("name: 1.10\ncount: 7\nparts:\n- {id: NO, ratio: 0.5}\n");
        assert_eq!(faults, Vec::<String>::new());
        let part = Part {
            id: "NO".into(),
            ratio: 0.5,
        };
        assert_eq!(
            value,
            Some(Sample {
                name: "1.10".into(),
                count: 7,
                parts: vec![part]
            })
        );
    }

    #[test]
    fn every_fault_is_found_in_one_reading() {
        let text = "name: x\ncuont: 7\nparts:\n- {id: a, ratio: fast}\n- {ratio: 1}\n- {id: c, ratio: .inf, wat: 1}\n- {id: d, ratio: 2}\n";
        let (value, faults) = decode(text);
        assert_eq!(
            value.map(|v| v.parts.len()),
            Some(1),
            "the one good part is kept"
        );
        let faults = faults.join("\n");
        for wanted in [
            "s.yaml:2:1: error[D004]: cuont: unknown field `cuont`; did you mean `count`?",
            "s.yaml:4:18: error[D005]: parts[0].ratio: `fast` where a number is expected",
            "s.yaml:5:3: error[D006]: parts[1]: the field `id` is missing",
            "s.yaml:6:18: error[D005]: parts[2].ratio: `.inf` where a number is expected",
            "s.yaml:6:24: error[D004]: parts[2].wat: unknown field `wat`",
        ] {
            assert!(faults.contains(wanted), "{wanted}\nin\n{faults}");
        }
    }

    #[test]
    fn aliases_tags_doubles_and_second_documents_are_refused() {
        for (text, code) in [
            ("name: &a x\n", "D002"),
            ("name: !!str x\n", "D002"),
            ("name: *a\n", "D00"),
            ("name: x\nname: y\n", "D003"),
            ("name: x\n---\nname: y\n", "D009"),
            ("", "D010"),
            ("name: [x\n", "D001"),
            ("- a\n", "D005"),
        ] {
            let (_, faults) = decode(text);
            assert!(
                faults.iter().any(|f| f.contains(code)),
                "{text:?}: {faults:?}"
            );
        }
    }

    #[test]
    fn deep_nesting_and_large_texts_end_early() {
        let (value, faults) = decode(&"[".repeat(200_000));
        assert!(value.is_none() && faults[0].contains("D001"), "{faults:?}");
        let limits = Limits {
            max_bytes: 10,
            ..Limits::default()
        };
        let (_, faults) = Source::read("s", "name: 0123456789", &limits);
        assert!(faults.to_lines()[0].contains("D007"));
    }
}
