//! The document as what answers are held against, and which of its fields have been seen.

use std::collections::{BTreeMap, BTreeSet};

use jsonschema::Validator;
use prost_types::Timestamp;
use serde_json::{Value, json};

use super::debug_document;
use crate::http::Reply;
use crate::openapi::document::Document;

/// Headers of the connection and the message, which documents of this kind leave out.
const OF_THE_HOP: [&str; 6] = [
    "connection",
    "content-length",
    "content-type",
    "date",
    "transfer-encoding",
    "allow",
];

/// Significant digits of numbers that are not whole.
const DIGITS: usize = 6;

/// The document, and what of it has been seen.
pub(super) struct Book {
    pub(super) document: Document,
    validators: BTreeMap<String, Validator>,
    /// Fields of schemas, as `Node.health`.
    pub(super) seen: BTreeSet<String>,
}

impl Book {
    pub(super) fn open() -> Self {
        Self {
            document: debug_document(),
            validators: BTreeMap::new(),
            seen: BTreeSet::new(),
        }
    }

    /// Every field that some answer may have.
    pub(super) fn fields(&self) -> BTreeSet<String> {
        // What is asked with is held by the tests of actions.
        const ASKED: [&str; 3] = ["Target", "RolloutAction", "PurgeWish"];
        let schemas = self.document.0["components"]["schemas"]
            .as_object()
            .unwrap();
        let answered = schemas
            .iter()
            .filter(|(name, _)| !ASKED.contains(&name.as_str()));
        answered
            .flat_map(|(name, schema)| {
                let fields = schema["properties"].as_object().into_iter().flatten();
                fields.map(move |(field, _)| format!("{name}.{field}"))
            })
            .collect()
    }

    /// That an answer is one of the document's: its status, headers, kind and body.
    #[track_caller]
    pub(super) fn take(&mut self, (method, path): (&str, &str), reply: &Reply) {
        let at = format!("{method} {path} {}", reply.status);
        let operation = self.document.operation((method, path));
        let response = &operation["responses"][reply.status.to_string()];
        let response = self.document.resolve(response).clone();
        assert!(
            response.is_object(),
            "{at} is not in the document: {reply:?}"
        );
        self.take_headers(&response, reply, &at);
        let Some(contents) = response["content"].as_object() else {
            assert!(reply.body.is_empty(), "{at}");
            return;
        };
        let kind = reply.header("content-type").unwrap();
        let kind = kind.split(';').next().unwrap();
        let schema = &contents.get(kind).unwrap_or_else(|| panic!("{at}: {kind}"))["schema"];
        if kind == "application/json" {
            self.take_value(schema, &reply.json(), &at);
        } else if let Some(only) = schema.get("const") {
            assert_eq!(only, &reply.text(), "{at}");
        }
    }

    /// That it has all headers that the document names, and no others.
    #[track_caller]
    fn take_headers(&self, response: &Value, reply: &Reply, at: &str) {
        let named = response["headers"].as_object().unwrap();
        let mut named: BTreeMap<String, &Value> = named
            .iter()
            .map(|(name, header)| (name.to_lowercase(), header))
            .collect();
        for (name, value) in &reply.headers {
            if OF_THE_HOP.contains(&name.as_str()) {
                continue;
            }
            let header = named
                .remove(name)
                .unwrap_or_else(|| panic!("{at}: {name} is not in the document, or comes twice"));
            let schema = &self.document.resolve(header)["schema"];
            if let Some(only) = schema.get("const") {
                assert_eq!(only, value, "{at}: {name}");
            }
        }
        assert!(named.is_empty(), "{at} has no {:?}", named.keys());
    }

    /// That a value is of a schema, which is named, and has the form of all values.
    #[track_caller]
    pub(super) fn take_value(&mut self, schema: &Value, value: &Value, at: &str) {
        let reference = schema["$ref"].as_str().unwrap();
        let document = &self.document.0;
        let validator = self
            .validators
            .entry(reference.to_owned())
            .or_insert_with(|| {
                let whole = json!({
                    "$schema": "https://json-schema.org/draft/2020-12/schema", "$ref": reference,
                    "components": document["components"],
                });
                jsonschema::validator_for(&whole).unwrap()
            });
        let faults: Vec<String> = validator
            .iter_errors(value)
            .map(|fault| format!("{}: {fault}", fault.instance_path()))
            .collect();
        assert!(faults.is_empty(), "{at}: {faults:#?} of {value:#}");
        assert_form(value, at);
        let mut notes = Vec::new();
        note(&self.document, schema, value, "", &mut notes);
        self.seen.extend(notes);
    }
}

/// Notes which of the fields that a schema has a value has.
fn note(document: &Document, schema: &Value, value: &Value, at: &str, notes: &mut Vec<String>) {
    if let Some(reference) = schema["$ref"].as_str() {
        let name = reference.rsplit('/').next().unwrap();
        note(document, document.resolve(schema), value, name, notes);
        return;
    }
    for part in schema["allOf"].as_array().into_iter().flatten() {
        note(document, part, value, at, notes);
    }
    for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
        if let Some(field) = value.get(name) {
            let at = format!("{at}.{name}");
            note(document, schema, field, &at, notes);
            notes.push(at);
        }
    }
    let others = &schema["additionalProperties"];
    if others.is_object() {
        for field in value.as_object().into_iter().flat_map(|it| it.values()) {
            note(document, others, field, at, notes);
        }
    }
    for item in value.as_array().into_iter().flatten() {
        note(document, &schema["items"], item, at, notes);
    }
}

/// Times in words beside those in numbers, no noise of single precision, and no field without a value.
#[track_caller]
fn assert_form(value: &Value, at: &str) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                let at = format!("{at}.{name}");
                assert!(!field.is_null(), "{at} is null");
                assert_form(field, &at);
                let units = [("_unix_ms", 1), ("_epoch_s", 1_000)].into_iter();
                let time = units.filter_map(|(end, ms)| Some((name.strip_suffix(end)?, ms)));
                for (beside, ms) in time {
                    let beside = fields.get(beside).and_then(Value::as_str);
                    let since = field.as_u64().unwrap() * ms;
                    assert_eq!(beside.is_some(), since > 0, "{at}");
                    assert_eq!(beside.map_or(0, unix_ms), since, "{at}");
                }
            }
        }
        Value::Array(items) => {
            for (place, item) in items.iter().enumerate() {
                assert_form(item, &format!("{at}[{place}]"));
            }
        }
        Value::Number(number) if number.is_f64() => {
            let text = number.to_string();
            let digits = text.split('e').next().unwrap().replace(['-', '.'], "");
            let digits = digits.trim_start_matches('0').trim_end_matches('0');
            assert!(digits.len() <= DIGITS, "{at} is {text}");
        }
        _ => {}
    }
}

fn unix_ms(time: &str) -> u64 {
    assert!(time.ends_with('Z'), "{time}");
    let time: Timestamp = time.parse().unwrap();
    let (seconds, nanos) = (time.seconds, time.nanos);
    u64::try_from(seconds).unwrap() * 1_000 + u64::try_from(nanos).unwrap() / 1_000_000
}
