//! `tradewind diff` has a row for every field: one that is added to a document says what it may change, or this fails.

use std::collections::BTreeSet;

use serde_json::Value;
use tradewind::command::schema::{self, Document};
use tradewind::engine::difference::{self, Field};
use tradewind::engine::edition::Which;

/// The fields below a part of a schema, as the table writes them. What a row speaks for as a whole (a set) is looked into
/// for rows only.
fn fields(schema: &Value, part: &Value, path: &str, table: &[Field]) -> BTreeSet<String> {
    if let Some(reference) = part.get("$ref").and_then(Value::as_str) {
        let pointer = reference.strip_prefix('#').unwrap_or_default();
        let Some(named) = schema.pointer(pointer) else {
            panic!("{reference} is not there");
        };
        return fields(schema, named, path, table);
    }
    let row = |path: &str| table.iter().find(|row| row.path == path);
    let own = BTreeSet::from([path.to_owned()]);
    if let Some(Value::Object(properties)) = part.get("properties") {
        let mut found = own;
        // A section needs no row: its fields have theirs.
        found.retain(|path| row(path).is_some());
        for (name, below) in properties {
            let dot = if path.is_empty() { "" } else { "." };
            let path = format!("{path}{dot}{name}");
            found.extend(fields(schema, below, &path, table));
        }
        return found;
    }
    let Some(items) = part.get("items") else {
        return own;
    };
    let is_whole = row(path).is_some_and(Field::speaks_for_its_entries);
    let below = fields(schema, items, &format!("{path}[]"), table).into_iter();
    let below = below.filter(|path| !is_whole || row(path).is_some());
    own.into_iter().chain(below).collect()
}

#[test]
fn every_field_has_a_row_and_every_row_a_field() {
    for (which, document) in [
        (Which::Policy, Document::Policy),
        (Which::Topology, Document::Topology),
    ] {
        let schema = schema::schema(document);
        let table = difference::fields(which);
        let rows: BTreeSet<&str> = table.iter().map(|row| row.path).collect();
        let fields = fields(&schema, &schema, "", table);
        let fields: BTreeSet<&str> = fields.iter().map(String::as_str).collect();
        let missing: Vec<_> = fields.difference(&rows).collect();
        assert!(
            missing.is_empty(),
            "fields of a {which} without a row: {missing:#?}"
        );
        let stale: Vec<_> = rows.difference(&fields).collect();
        assert!(
            stale.is_empty(),
            "rows of a {which} without a field: {stale:#?}"
        );
        assert!(fields.len() > 20, "{}", fields.len());
    }
}
