//! The types of values.

use std::fmt;

/// The types a value can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// Stands for the value it leads to.
    Pointer,
    /// UTF-8.
    Text,
    /// A float of 64 bits.
    Double,
    /// Bytes without a meaning.
    Bytes,
    /// An unsigned integer of up to 16 bits.
    U16,
    /// An unsigned integer of up to 32 bits.
    U32,
    /// Keys, which are texts, and their values.
    Map,
    /// A signed integer of up to 32 bits.
    I32,
    /// An unsigned integer of up to 64 bits.
    U64,
    /// An unsigned integer of up to 128 bits.
    U128,
    /// Values in order.
    List,
    /// Its size is its value.
    Bool,
    /// A float of 32 bits.
    Float,
}

impl Kind {
    /// The type of a number, or `None` if no value has it.
    pub(super) fn of(code: u16) -> Option<Self> {
        Some(match code {
            1 => Self::Pointer,
            2 => Self::Text,
            3 => Self::Double,
            4 => Self::Bytes,
            5 => Self::U16,
            6 => Self::U32,
            7 => Self::Map,
            8 => Self::I32,
            9 => Self::U64,
            10 => Self::U128,
            11 => Self::List,
            14 => Self::Bool,
            15 => Self::Float,
            _ => return None,
        })
    }

    /// Sizes a value of this type may have, smallest and largest, and in words; `None` where the section alone sets a
    /// limit.
    pub(super) fn sizes(self) -> Option<(usize, usize, &'static str)> {
        Some(match self {
            Self::Double => (8, 8, "8"),
            Self::Float => (4, 4, "4"),
            Self::U16 => (0, 2, "0 to 2"),
            Self::U32 | Self::I32 => (0, 4, "0 to 4"),
            Self::U64 => (0, 8, "0 to 8"),
            Self::U128 => (0, 16, "0 to 16"),
            Self::Bool => (0, 1, "0 or 1"),
            Self::Pointer | Self::Text | Self::Bytes | Self::Map | Self::List => return None,
        })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pointer => "pointer",
            Self::Text => "text",
            Self::Double => "double",
            Self::Bytes => "sequence of bytes",
            Self::U16 => "16-bit integer",
            Self::U32 => "32-bit integer",
            Self::Map => "map",
            Self::I32 => "signed integer",
            Self::U64 => "64-bit integer",
            Self::U128 => "128-bit integer",
            Self::List => "list",
            Self::Bool => "truth value",
            Self::Float => "float",
        })
    }
}
