//! What serde writes out, as a [`Value`]: the one place that knows serde's data model.

use std::fmt;

use serde::ser::{self, Serialize, Serializer};

use super::value::Value;

/// The tree of anything that can be written out. Empty lists and maps are as good as absent, so they are left out.
pub(super) fn tree(value: &impl Serialize) -> Value {
    match value.serialize(TreeSerializer) {
        Ok(tree) => tree.unwrap_or_else(|| Value::Map(Vec::new())),
        Err(error) => {
            debug_assert!(false, "a document cannot be written out: {error}");
            Value::Text(error.to_string())
        }
    }
}

/// Makes a tree; `None` stands for what is absent or empty.
#[derive(Debug, Clone, Copy)]
pub(super) struct TreeSerializer;

/// Something that says of itself that it cannot be written out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Unwritable(String);

impl ser::Error for Unwritable {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

/// The tree of a value, if there is anything in it.
type Tree = Result<Option<Value>, Unwritable>;

/// A list that grows.
#[derive(Debug, Default)]
pub(super) struct ListBuilder {
    entries: Vec<Value>,
    /// The variant of an enumeration whose content it is.
    variant: Option<&'static str>,
}

/// A map that grows.
#[derive(Debug, Default)]
pub(super) struct MapBuilder {
    fields: Vec<(String, Value)>,
    /// The name that waits for its value.
    name: String,
    /// The variant of an enumeration whose content it is.
    variant: Option<&'static str>,
}

/// The content of a variant, under the variant's name: two variants of equal content differ.
fn of_variant(variant: Option<&'static str>, content: Option<Value>) -> Option<Value> {
    match (variant, content) {
        (None, content) => content,
        (Some(name), None) => Some(Value::Text(name.to_owned())),
        (Some(name), Some(content)) => Some(Value::Map(vec![(name.to_owned(), content)])),
    }
}

impl ListBuilder {
    fn add<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unwritable> {
        // An entry keeps its place, whatever it is.
        let tree = value.serialize(TreeSerializer)?;
        self.entries
            .push(tree.unwrap_or_else(|| Value::Map(Vec::new())));
        Ok(())
    }

    fn done(self) -> Option<Value> {
        let content = (!self.entries.is_empty()).then_some(Value::List(self.entries));
        of_variant(self.variant, content)
    }
}

impl MapBuilder {
    fn add<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) -> Result<(), Unwritable> {
        if let Some(tree) = value.serialize(TreeSerializer)? {
            self.fields.push((name.to_owned(), tree));
        }
        Ok(())
    }

    fn done(self) -> Option<Value> {
        let content = (!self.fields.is_empty()).then_some(Value::Map(self.fields));
        of_variant(self.variant, content)
    }
}

/// Whole numbers that are never negative.
macro_rules! whole {
    ($($method:ident: $type:ty,)*) => {
        $(fn $method(self, value: $type) -> Tree {
            Ok(Some(Value::Whole(value.into())))
        })*
    };
}

/// Numbers that a float holds exactly.
macro_rules! number {
    ($($method:ident: $type:ty,)*) => {
        $(fn $method(self, value: $type) -> Tree {
            Ok(Some(Value::Number(value.into())))
        })*
    };
}

impl Serializer for TreeSerializer {
    type Ok = Option<Value>;
    type Error = Unwritable;
    type SerializeSeq = ListBuilder;
    type SerializeTuple = ListBuilder;
    type SerializeTupleStruct = ListBuilder;
    type SerializeTupleVariant = ListBuilder;
    type SerializeMap = MapBuilder;
    type SerializeStruct = MapBuilder;
    type SerializeStructVariant = MapBuilder;

    whole! {
        serialize_u8: u8,
        serialize_u16: u16,
        serialize_u32: u32,
        serialize_u64: u64,
    }

    number! {
        serialize_i8: i8,
        serialize_i16: i16,
        serialize_i32: i32,
        serialize_f32: f32,
        serialize_f64: f64,
    }

    fn serialize_bool(self, value: bool) -> Tree {
        Ok(Some(Value::Bool(value)))
    }

    fn serialize_i64(self, value: i64) -> Tree {
        let whole = u64::try_from(value).map(Value::Whole);
        Ok(Some(
            whole.unwrap_or_else(|_| Value::Text(value.to_string())),
        ))
    }

    fn serialize_char(self, value: char) -> Tree {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, text: &str) -> Tree {
        Ok(Some(Value::Text(text.to_owned())))
    }

    fn serialize_bytes(self, bytes: &[u8]) -> Tree {
        let entries = bytes.iter().map(|byte| Value::Whole((*byte).into()));
        Ok(Some(Value::List(entries.collect())))
    }

    fn serialize_none(self) -> Tree {
        Ok(None)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Tree {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Tree {
        Ok(None)
    }

    fn serialize_unit_struct(self, _: &'static str) -> Tree {
        Ok(None)
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Tree {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Tree {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Tree {
        Ok(of_variant(Some(variant), value.serialize(self)?))
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<ListBuilder, Unwritable> {
        Ok(ListBuilder::default())
    }

    fn serialize_tuple(self, _: usize) -> Result<ListBuilder, Unwritable> {
        Ok(ListBuilder::default())
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<ListBuilder, Unwritable> {
        Ok(ListBuilder::default())
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<ListBuilder, Unwritable> {
        Ok(ListBuilder {
            variant: Some(variant),
            ..ListBuilder::default()
        })
    }

    fn serialize_map(self, _: Option<usize>) -> Result<MapBuilder, Unwritable> {
        Ok(MapBuilder::default())
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<MapBuilder, Unwritable> {
        Ok(MapBuilder::default())
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<MapBuilder, Unwritable> {
        Ok(MapBuilder {
            variant: Some(variant),
            ..MapBuilder::default()
        })
    }
}

/// The traits of serde's that all say "here is the next entry".
macro_rules! grows_a_list {
    ($($trait:ident: $method:ident,)*) => {
        $(impl ser::$trait for ListBuilder {
            type Ok = Option<Value>;
            type Error = Unwritable;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unwritable> {
                self.add(value)
            }

            fn end(self) -> Tree {
                Ok(self.done())
            }
        })*
    };
}

grows_a_list! {
    SerializeSeq: serialize_element,
    SerializeTuple: serialize_element,
    SerializeTupleStruct: serialize_field,
    SerializeTupleVariant: serialize_field,
}

/// The traits of serde's that all say "here is the next field".
macro_rules! grows_a_map {
    ($($trait:ident,)*) => {
        $(impl ser::$trait for MapBuilder {
            type Ok = Option<Value>;
            type Error = Unwritable;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                name: &'static str,
                value: &T,
            ) -> Result<(), Unwritable> {
                self.add(name, value)
            }

            fn end(self) -> Tree {
                Ok(self.done())
            }
        })*
    };
}

grows_a_map! {
    SerializeStruct,
    SerializeStructVariant,
}

impl ser::SerializeMap for MapBuilder {
    type Ok = Option<Value>;
    type Error = Unwritable;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, name: &T) -> Result<(), Unwritable> {
        self.name = match name.serialize(TreeSerializer)? {
            Some(Value::Text(name)) => name,
            Some(other) => other.to_string(),
            None => String::new(),
        };
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unwritable> {
        let name = std::mem::take(&mut self.name);
        self.add(&name, value)
    }

    fn end(self) -> Tree {
        Ok(self.done())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[derive(serde::Serialize)]
    struct Everything {
        yes: bool,
        small: u8,
        signed: i32,
        ratio: f64,
        text: &'static str,
        absent: Option<u8>,
        present: Option<u8>,
        empty: Vec<u8>,
        list: Vec<&'static str>,
        labels: BTreeMap<&'static str, u8>,
        nothing: BTreeMap<u8, u8>,
    }

    #[test]
    fn a_tree_has_what_is_there_and_prints_as_people_write_it() {
        let made = tree(&Everything {
            yes: true,
            small: 3,
            signed: -4,
            ratio: 0.5,
            text: "two words",
            absent: None,
            present: Some(1),
            empty: Vec::new(),
            list: vec!["a", ""],
            labels: BTreeMap::from([("disk", 1)]),
            nothing: BTreeMap::new(),
        });
        assert_eq!(
            made.to_string(),
            "{yes: true, small: 3, signed: -4, ratio: 0.5, text: \"two words\", present: 1, list: [a, \"\"], \
             labels: {disk: 1}}"
        );
        assert_eq!(
            serde_json::to_string(&made).unwrap(),
            "{\"yes\":true,\"small\":3,\"signed\":-4.0,\"ratio\":0.5,\"text\":\"two words\",\"present\":1,\
             \"list\":[\"a\",\"\"],\"labels\":{\"disk\":1}}"
        );
    }

    #[derive(serde::Serialize)]
    enum Variant {
        Plain,
        One(u8),
        Two(u8, u8),
        Named { field: bool },
    }

    #[test]
    fn variants_are_told_apart() {
        let variants = [
            Variant::Plain,
            Variant::One(1),
            Variant::Two(1, 2),
            Variant::Named { field: true },
        ];
        let words = variants.map(|variant| tree(&variant).to_string());
        assert_eq!(
            words,
            [
                "Plain",
                "{One: 1}",
                "{Two: [1, 2]}",
                "{Named: {field: true}}"
            ]
        );
    }
}
