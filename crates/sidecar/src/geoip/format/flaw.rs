//! What is wrong with a file that claims to be of the format.

use std::fmt;

use super::kind::Kind;

/// Most values that one may lie in. Published files nest four deep.
pub const MAX_NESTING: usize = 64;

/// Most values that a record may stand for, pointers followed. Published records have some hundred.
pub const MAX_VALUES: usize = 1 << 16;

/// Why a file is not sound. Offsets are in bytes from the beginning of the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Flaw {
    /// Another kind of file, or one whose end is missing.
    #[error(
        "the mark before the metadata is not in its last {within} bytes: it is cut, or another kind of file"
    )]
    NoMetadata {
        /// How many bytes at the end were searched.
        within: usize,
    },
    /// A field that the tree cannot be read without.
    #[error("its metadata has no `{field}`")]
    FieldMissing {
        /// The field.
        field: &'static str,
    },
    /// A field with a value that this reader cannot use.
    #[error("`{field}` of its metadata is {value}, must be {allowed}")]
    FieldWrong {
        /// The field.
        field: &'static str,
        /// Its value.
        value: u64,
        /// What it may be.
        allowed: &'static str,
    },
    /// A tree longer than the file.
    #[error(
        "its tree of {node_count} nodes takes {needed} bytes, but {there} lie before the metadata"
    )]
    TreeTooLong {
        /// Nodes by the metadata.
        node_count: u64,
        /// Bytes of so many nodes, with the separator.
        needed: u64,
        /// Bytes before the metadata.
        there: u64,
    },
    /// The number of nodes is wrong, or bytes are missing.
    #[error("16 zero bytes must stand between tree and data at byte {offset}, others do")]
    Separator {
        /// Where they should be.
        offset: u64,
    },
    /// A leaf that points behind the data, or into the separator.
    #[error(
        "a leaf of its tree points to byte {target}, outside of the data section of {length} bytes"
    )]
    LeafOutside {
        /// Where it points, from the beginning of the data section; negative is before it.
        target: i64,
        /// Length of the data section.
        length: u64,
    },
    /// A way through the tree that does not end with the address.
    #[error("its tree goes on behind the {bits} bits of an address: it has a loop")]
    TreeLoops {
        /// Bits of an address, 32 or 128.
        bits: u8,
    },
    /// Nodes reached on many ways.
    #[error(
        "its tree of {node_count} nodes has more than {limit} leaves: it reaches nodes on many ways"
    )]
    TreeMultiplies {
        /// Nodes by the metadata.
        node_count: u64,
        /// Leaves allowed.
        limit: u64,
    },
    /// A value, or its size, that lies behind the end of its section.
    #[error("the {kind} at byte {offset} ends behind its section")]
    Cut {
        /// Where the value begins.
        offset: u64,
        /// What it is.
        kind: Kind,
    },
    /// A type the format does not have in this place.
    #[error("the value at byte {offset} has type {code}, which no value has")]
    UnknownType {
        /// Where the value begins.
        offset: u64,
        /// The number of the type.
        code: u16,
    },
    /// A number of impossible width.
    #[error("the {kind} at byte {offset} has size {size}, must have {allowed}")]
    Size {
        /// Where the value begins.
        offset: u64,
        /// What it is.
        kind: Kind,
        /// Its size.
        size: u64,
        /// Allowed sizes.
        allowed: &'static str,
    },
    /// Text of another encoding.
    #[error("the text at byte {offset} is not UTF-8")]
    NotUtf8 {
        /// Where the value begins.
        offset: u64,
    },
    /// A key that is no text.
    #[error("the key at byte {offset} is a {kind}, must be a text")]
    KeyNotText {
        /// Where the key begins.
        offset: u64,
        /// What it is.
        kind: Kind,
    },
    /// A pointer to a pointer, or out of the section.
    #[error(
        "the pointer at byte {offset} leads to byte {target} of its section, must lead to a value that is no pointer"
    )]
    Pointer {
        /// Where the pointer stands.
        offset: u64,
        /// Where it leads, from the beginning of the section.
        target: u64,
    },
    /// Values in values, or pointers in a circle.
    #[error(
        "the value at byte {offset} lies in more than {MAX_NESTING} others: it is nested absurdly, or pointers go in a circle"
    )]
    TooDeep {
        /// Where the innermost value begins.
        offset: u64,
    },
    /// Pointers that multiply values.
    #[error(
        "the value at byte {offset} stands for more than {MAX_VALUES} others: pointers multiply them"
    )]
    TooManyValues {
        /// Where the value begins.
        offset: u64,
    },
    /// Values that are reached again and again.
    #[error(
        "its values take more than {limit} steps to look at: they overlap, or are pointed to again and again"
    )]
    TooMuchWork {
        /// Steps allowed for a file of its size.
        limit: u64,
    },
    /// A value of the metadata that has another type than its field, or a fault told by the record's visitor.
    #[error("{0}")]
    Told(String),
}

impl serde::de::Error for Flaw {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::Told(message.to_string().chars().take(200).collect())
    }
}

/// An offset for a message.
pub(super) fn place(offset: usize) -> u64 {
    u64::try_from(offset).unwrap_or(u64::MAX)
}
