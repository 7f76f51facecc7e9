//! `tradewind schema`: the JSON Schema of a document, for editors and generators; and what the HTTP and the debug door are,
//! for those who write clients.

use std::io::Write;

use clap::ValueEnum;
use schemars::transform::{RecursiveTransform, Transform};
use schemars::{Schema, schema_for};
use serde_json::Value;

use super::{CommandError, Exit, output};
use crate::engine::policy::PolicyDocument;
use crate::engine::topology::TopologyDocument;
use crate::sidecar::settings;

/// Arguments of `tradewind schema`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tradewind schema policy > policy.schema.json
  tradewind schema http > tradewind.openapi.json
  tradewind schema debug > tradewind-debug.openapi.json")]
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
    /// Where the process listens, and what it reads.
    Settings,
    /// The plain HTTP door, as an `OpenAPI` 3.1 document.
    Http,
    /// The debug door, as an `OpenAPI` 3.1 document.
    Debug,
}

/// What the HTTP door is; `tests/sidecar/openapi` holds it against a running one.
const HTTP: &str = include_str!("../../docs/openapi.yaml");

/// What the debug door is; `tests/sidecar/openapi_debug` holds it against a running one.
const DEBUG: &str = include_str!("../../docs/openapi-debug.yaml");

/// Prints the schema, made from the very types that read the document.
pub fn run(args: &Args, out: &mut impl Write) -> Result<Exit, CommandError> {
    output::json(out, &schema(args.document))?;
    Ok(Exit::Good)
}

/// The schema of a document, with an id of its own; for a door, its `OpenAPI` document.
pub fn schema(document: Document) -> Value {
    let (mut schema, name) = match document {
        Document::Policy => (schema_for!(PolicyDocument), "policy"),
        Document::Topology => (schema_for!(TopologyDocument), "topology"),
        Document::Settings => (schema_for!(settings::Args), "settings"),
        // Texts of ours, which tests read the same way.
        Document::Http => return serde_saphyr::from_str(HTTP).unwrap_or_default(),
        Document::Debug => return serde_saphyr::from_str(DEBUG).unwrap_or_default(),
    };
    RecursiveTransform(without_null).transform(&mut schema);
    let id = format!("urn:tradewind:schema:v1:{name}");
    schema.insert("$id".to_owned(), id.into());
    schema.insert("title".to_owned(), format!("Tradewind {name}").into());
    schema.to_value()
}

/// A field that is left blank is a mistake here, so optional fields are absent or have a value, and never null.
fn without_null(schema: &mut Schema) {
    if schema.get("default").is_some_and(Value::is_null) {
        schema.remove("default");
    }
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|kind| kind != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            schema.insert("type".to_owned(), only);
        }
    }
    let Some(Value::Array(choices)) = schema.get_mut("anyOf") else {
        return;
    };
    choices.retain(|choice| choice.get("type").is_none_or(|kind| kind != "null"));
    if let [Value::Object(only)] = choices.as_slice() {
        let only = only.clone();
        schema.remove("anyOf");
        for (name, value) in only {
            if schema.get(&name).is_none() {
                schema.insert(name, value);
            }
        }
    }
}
