//! `tradewind schema`: the JSON Schema of a document, for editors and generators; and what the HTTP door is, for those who
//! write clients.

use std::io::Write;

use clap::ValueEnum;
use schemars::schema_for;
use serde_json::Value;

use super::{CommandError, Exit, output};
use crate::engine::policy::PolicyDocument;
use crate::engine::topology::TopologyDocument;

/// Arguments of `tradewind schema`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tradewind schema policy > policy.schema.json
  tradewind schema http > tradewind.openapi.json")]
pub struct Args {
    /// Which document
    #[arg(value_enum)]
    pub document: Document,
}

/// A kind of document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Document {
    /// Who goes where.
    Policy,
    /// What there is: sites and nodes.
    Topology,
    /// The plain HTTP door, as an `OpenAPI` 3.1 document.
    Http,
}

/// What the HTTP door is; `tests/sidecar/openapi.rs` holds it against a running one.
const HTTP: &str = include_str!("../../docs/openapi.yaml");

/// Prints the schema, made from the very types that read the document.
pub fn run(args: &Args, out: &mut impl Write) -> Result<Exit, CommandError> {
    match args.document {
        Document::Policy => output::json(out, &schema_for!(PolicyDocument))?,
        Document::Topology => output::json(out, &schema_for!(TopologyDocument))?,
        Document::Http => {
            // A text of ours, which a test reads the same way.
            let document: Value = serde_saphyr::from_str(HTTP).unwrap_or_default();
            output::json(out, &document)?;
        }
    }
    Ok(Exit::Good)
}
