//! How policy and topology files are known to be whole.

use clap::ValueEnum;
use schemars::JsonSchema;
use serde::Deserialize;

/// What must tell that a policy or topology file is whole: one cut between two lines may be a sound document too.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Documents {
    /// Nothing; a sum beside it counts all the same.
    #[default]
    Any,
    /// `end: true` as its last line; one that is a bracket (JSON) ends with that.
    End,
    /// Its sum in `FILE.sha256`, in the form of `sha256sum`.
    Sha256,
}
