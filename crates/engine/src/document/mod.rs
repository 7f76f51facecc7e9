//! Documents as people write them: YAML (and JSON, its subset) read into typed values, with **all** faults at once.
//!
//! A usual deserialiser stops at the first mistake, so an operator with three typing errors edits three times. Here the
//! text becomes a tree of spans first; the typed value is then decoded by serde from that tree. When decoding fails at
//! a node, the fault is kept, the node is set aside, and decoding runs again without it, until it succeeds or nothing
//! is left; for a required field that is missing a stand-in is decoded. What was set aside and what is missing is
//! remembered, so a later check can still point at the right line of the rest, and judges nothing that rests on it.
//!
//! Scalars are typed by what is asked for, not by how they look: a country code `NO` stays text and a version `1.10`
//! keeps its zero. Anchors, aliases and tags are refused, so a short file cannot grow into a large one.

mod build;
mod checker;
mod code;
mod decode;
mod diagnostic;
mod doubt;
mod doubts;
mod duration;
mod end;
#[cfg(feature = "schema")]
pub mod grammar;
mod mark;
mod marks;
mod metadata;
mod names;
mod path;
#[cfg(feature = "excerpts")]
mod render;
pub mod suggest;
mod syntax;
mod tree;
mod within;

pub use checker::Checker;
pub use code::{Code, Severity};
pub use decode::Decoded;
pub use diagnostic::{Also, Diagnostic, Diagnostics};
pub use duration::{DurationError, DurationMs};
pub use end::has_end;
pub use mark::Mark;
pub use metadata::Metadata;
pub use names::Names;
pub use path::Path;
pub use tree::{Limits, Source};

/// The position of a value in [`Source`]'s table.
type NodeId = usize;

/// Largest policy or topology in bytes.
pub const MAX_DOCUMENT_BYTES: u64 = 32 << 20;
