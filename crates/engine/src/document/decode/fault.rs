//! What the decoder of one node complains of, before it is made a finding.

use serde::de;

use super::super::NodeId;
use super::super::code::Code;
use super::super::suggest;
use crate::model::printable;

/// Longest text of the file that a message repeats, in characters.
pub(super) const MAX_SHOWN_CHARS: usize = 80;

/// What kind of mistake it was, which decides the code and the help.
#[derive(Debug)]
pub(super) enum Kind {
    UnknownField {
        allowed: &'static [&'static str],
        seen: String,
    },
    MissingField(&'static str),
    Value,
    /// For a missing field nothing can stand in.
    NoStandIn,
}

impl Kind {
    pub(super) fn advice(&self) -> (Code, String) {
        match self {
            Self::UnknownField { allowed, seen } => {
                let close = suggest::nearest(seen, allowed.iter().copied());
                let help = close.map_or_else(
                    || format!("allowed here: {}", allowed.join(", ")),
                    |name| format!("did you mean `{name}`?"),
                );
                (Code::D004, help)
            }
            Self::MissingField(name) => (Code::D006, format!("add `{name}: …` here")),
            Self::Value | Self::NoStandIn => (
                Code::D005,
                "`tradewind schema` shows the form of every field".to_owned(),
            ),
        }
    }
}

#[derive(Debug)]
pub(super) struct DecodeError {
    pub(super) node: Option<NodeId>,
    pub(super) message: String,
    pub(super) kind: Kind,
}

impl DecodeError {
    pub(super) fn at(mut self, node: NodeId) -> Self {
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
