//! `tradewind schema`: the JSON Schema of a document, for editors and generators.

use std::io::Write;

use clap::ValueEnum;
use schemars::schema_for;

use super::{CommandError, Exit, output};
use crate::engine::policy::PolicyDocument;
use crate::engine::topology::TopologyDocument;

/// Arguments of `tradewind schema`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tradewind schema policy > policy.schema.json")]
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
}

/// Prints the schema, made from the very types that read the document.
pub fn run(args: &Args, out: &mut impl Write) -> Result<Exit, CommandError> {
    let schema = match args.document {
        Document::Policy => schema_for!(PolicyDocument),
        Document::Topology => schema_for!(TopologyDocument),
    };
    output::json(out, &schema)?;
    Ok(Exit::Good)
}
