//! The JSON Schemas against the program: both read the same documents, and neither is stricter where it must not be.
//!
//! What `tradewind check` takes, the schema takes. What it refuses for a reason that a schema can express, the schema
//! refuses. The documents are the fixtures, and some hundred made of one good document of each kind: every number at and
//! beyond its bounds, every text blank, every value of another kind, every field left out, a field more in every map.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a document that cannot be made is a failure"
)]

use std::fs;
use std::path::{Path, PathBuf};

use jsonschema::Validator;
use serde_json::{Map, Value, json};
use tradewind::command::schema::{Document, schema};
use tradewind::engine::document::{Code, Diagnostic, Diagnostics};
use tradewind::engine::topology::Topology;
use tradewind::engine::{policy, topology};
use tradewind::sidecar::settings::{Args, Settings};

pub(crate) fn testdata(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("testdata")
        .join(path)
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn validator(document: Document) -> Validator {
    jsonschema::validator_for(&schema(document)).expect("it is a schema")
}

fn fleet(name: &str) -> Topology {
    let text = read(
        &testdata("topologies/good")
            .join(name)
            .with_extension("yaml"),
    );
    topology::compile(name, &text)
        .topology
        .expect("a good fleet")
}

/// Whether a schema can express a finding: kinds and ranges of values, forms of texts, fields and lists. It cannot
/// express what rests on other values (names, ids given twice, overlaps), on a table (assigned countries in lower case,
/// slips in methods), on reading a text (networks, addresses, expressions, paths in normal form, days of the calendar),
/// or on the length of time that a duration is.
fn is_expressible(found: &Diagnostic) -> bool {
    match found.code {
        // Of all expressions of a policy together no schema can count, nor of all expectations.
        Code::P001 => !["regular expressions", "expectations"]
            .iter()
            .any(|all| found.message.contains(all)),
        Code::P006 => found
            .message
            .split(' ')
            .next()
            .is_some_and(|value| value.parse::<f64>().is_ok()),
        Code::D004
        | Code::D005
        | Code::D006
        | Code::D010
        | Code::D011
        | Code::P002
        | Code::P004
        | Code::P011
        | Code::P015
        | Code::T001
        | Code::T002
        | Code::T003
        | Code::T004
        | Code::T006 => true,
        _ => false,
    }
}

/// Both verdicts on one document.
#[derive(Default)]
struct Tally {
    documents: usize,
    refused_by_both: usize,
    wrong: Vec<String>,
}

impl Tally {
    fn compare(&mut self, name: &str, validator: &Validator, value: &Value, found: &Diagnostics) {
        self.documents += 1;
        let faults: Vec<String> = validator
            .iter_errors(value)
            .map(|error| error.to_string())
            .collect();
        let usable = !found.has_errors();
        if usable && !faults.is_empty() {
            self.wrong.push(format!(
                "{name}: check takes it, the schema says {faults:?}"
            ));
        }
        if !usable {
            self.refused_by_both += usize::from(!faults.is_empty());
            let expressible: Vec<String> = found
                .items()
                .iter()
                .filter(|found| is_expressible(found))
                .map(ToString::to_string)
                .collect();
            if faults.is_empty() && !expressible.is_empty() {
                self.wrong.push(format!(
                    "{name}: the schema takes it, check says {expressible:?}"
                ));
            }
        }
    }

    fn finish(self, at_least: usize) {
        assert!(self.wrong.is_empty(), "{}", self.wrong.join("\n"));
        assert!(self.documents >= at_least, "{} documents", self.documents);
        assert!(
            self.refused_by_both * 3 > self.documents,
            "{} of {}",
            self.refused_by_both,
            self.documents
        );
    }
}

/// The step from one value into another: a field or an entry.
#[derive(Debug, Clone, PartialEq)]
enum Step {
    Field(String),
    Entry(usize),
}

fn written(path: &[Step]) -> String {
    let steps = path.iter().map(|step| match step {
        Step::Field(name) => format!(".{name}"),
        Step::Entry(index) => format!("[{index}]"),
    });
    steps.collect()
}

fn at<'v>(value: &'v mut Value, path: &[Step]) -> &'v mut Value {
    path.iter().fold(value, |value, step| match step {
        Step::Field(name) => value.get_mut(name.as_str()).expect("the field is there"),
        Step::Entry(index) => value.get_mut(*index).expect("the entry is there"),
    })
}

/// The paths of all values in a document.
fn paths(value: &Value) -> Vec<Vec<Step>> {
    let mut found = vec![Vec::new()];
    let below: Vec<(Step, &Value)> = match value {
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| (Step::Field(name.clone()), value))
            .collect(),
        Value::Array(entries) => entries
            .iter()
            .enumerate()
            .map(|(k, value)| (Step::Entry(k), value))
            .collect(),
        _ => Vec::new(),
    };
    for (step, value) in below {
        found.extend(
            paths(value)
                .into_iter()
                .map(|path| [vec![step.clone()], path].concat()),
        );
    }
    found
}

/// The part of a schema that is about the value at a path.
fn part<'s>(root: &'s Value, path: &[Step]) -> &'s Value {
    let resolve = |schema: &'s Value| match schema.get("$ref").and_then(Value::as_str) {
        Some(reference) => root
            .pointer(reference.trim_start_matches('#'))
            .expect("a definition"),
        None => schema,
    };
    path.iter().fold(resolve(root), |schema, step| {
        let below = match step {
            Step::Field(name) => schema
                .get("properties")
                .and_then(|fields| fields.get(name.as_str())),
            Step::Entry(_) => schema.get("items"),
        };
        resolve(
            below
                .or_else(|| schema.get("additionalProperties"))
                .expect("the schema knows the value"),
        )
    })
}

/// A document like `good`, with one thing changed, for every thing that can be.
fn mutants(good: &Value, schema: &Value) -> Vec<(String, Value)> {
    let mut made = Vec::new();
    for path in paths(good) {
        let mut change = |what: &str, new: Value| {
            let mut changed = good.clone();
            *at(&mut changed, &path) = new;
            made.push((format!("{} {what}", written(&path)), changed));
        };
        let schema = part(schema, &path);
        let bound = |name: &str| schema.get(name).and_then(Value::as_f64);
        match at(&mut good.clone(), &path) {
            Value::Number(_) => {
                change("is a word", json!("many"));
                let is_whole = schema.get("type").is_some_and(|kind| kind == "integer");
                for (bound, beyond) in [(bound("minimum"), -0.001), (bound("maximum"), 0.001)] {
                    let Some(bound) = bound else { continue };
                    let beyond = bound
                        + if is_whole {
                            f64::signum(beyond)
                        } else {
                            beyond
                        };
                    for number in [bound, beyond] {
                        #[expect(
                            clippy::cast_possible_truncation,
                            reason = "bounds of integers are whole"
                        )]
                        let number = if is_whole {
                            json!(number as i64)
                        } else {
                            json!(number)
                        };
                        change(&format!("is {number}"), number);
                    }
                }
            }
            Value::String(_) => {
                change("is a list", json!(["x"]));
                change("is blank", json!(" "));
                change("is empty", json!(""));
                change("has a line feed", json!("a\nb"));
            }
            Value::Array(entries) => {
                change("is a word", json!("word"));
                change("is empty", json!([]));
                let many = entries
                    .iter()
                    .cycle()
                    .take(20_000.min(1_100 * entries.len()))
                    .cloned();
                change("is long", Value::Array(many.collect()));
            }
            Value::Object(fields) => {
                change("is a word", json!("word"));
                let mut more = fields.clone();
                more.insert("unknown_to_all".to_owned(), json!("1"));
                change("has a field more", Value::Object(more));
                for name in fields.keys() {
                    let mut less = fields.clone();
                    less.remove(name);
                    change(&format!("without {name}"), Value::Object(less));
                }
            }
            Value::Bool(_) => change("is a word", json!("yes")),
            Value::Null => panic!("{path:?} is null"),
        }
        change("is null", Value::Null);
    }
    made
}

/// A fixture as JSON; `None` where it is not YAML to begin with, says a thing twice, or has a merge key, which JSON knows
/// nothing of.
pub(crate) fn json_of(file: &Path) -> Option<Value> {
    let text = read(file);
    let has_merge_key = text.contains("<<:");
    serde_saphyr::from_str(&text)
        .ok()
        .filter(|_| !has_merge_key)
}

fn fixtures(folder: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(testdata(folder)).expect("the folder is there");
    let files = entries.map(|entry| entry.expect("the entry is readable").path());
    files
        .filter(|path| path.extension().is_some_and(|e| e == "yaml"))
        .collect()
}

#[test]
fn policies_are_taken_and_refused_alike() {
    let validator = validator(Document::Policy);
    let mut tally = Tally::default();
    for folder in ["policies/good", "policies/bad"] {
        for file in fixtures(folder) {
            let Some(value) = json_of(&file) else {
                continue;
            };
            let text = read(&file);
            let first = text.lines().next().unwrap_or_default();
            let fleet = fleet(first.strip_prefix("# topology: ").unwrap_or("full"));
            let found = policy::compile("p", &text, &fleet).diagnostics;
            tally.compare(&file.display().to_string(), &validator, &value, &found);
        }
    }
    let good = json_of(&testdata("policies/good/full.yaml")).expect("it is YAML");
    let schema = schema(Document::Policy);
    let fleet = fleet("full");
    for (name, value) in mutants(&good, &schema) {
        let found = policy::compile("p", &value.to_string(), &fleet).diagnostics;
        tally.compare(&name, &validator, &value, &found);
    }
    tally.finish(500);
}

#[test]
fn topologies_are_taken_and_refused_alike() {
    let validator = validator(Document::Topology);
    let mut tally = Tally::default();
    for folder in ["topologies/good", "topologies/bad"] {
        for file in fixtures(folder) {
            let Some(value) = json_of(&file) else {
                continue;
            };
            let found = topology::compile("t", &read(&file)).diagnostics;
            tally.compare(&file.display().to_string(), &validator, &value, &found);
        }
    }
    let good = json_of(&testdata("topologies/good/full.yaml")).expect("it is YAML");
    let schema = schema(Document::Topology);
    for (name, value) in mutants(&good, &schema) {
        let found = topology::compile("t", &value.to_string()).diagnostics;
        tally.compare(&name, &validator, &value, &found);
    }
    tally.finish(100);
}

#[test]
fn settings_are_taken_and_refused_alike() {
    let schema = schema(Document::Settings);
    let validator = validator(Document::Settings);
    let good = json!({
        "policy": "p.yaml", "topology": "t.yaml", "geo": ["g.mmdb"], "listen": ["127.0.0.1:1", "unix:/s"],
        "debug": "127.0.0.1:2", "admin": "unix:/a", "http": "[::1]:3", "state_dir": "/state", "workers": 2,
        "max_connections": 10, "max_calls": 64, "drain_deadline": "1s", "poll": "1s", "decisions_kept": 5, "log": "info",
        "log_format": "json", "trusted_reporters": ["unix", "10.0.0.0/8"], "documents": "sha256",
        "signed_by": ["RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3"],
        "allow": ["loopback=ask,tell", "uid:33=ask", "spiffe://a/b=operate", "token:ci=publish"], "tokens": "tokens",
        "tls_cert": "c.pem", "tls_key": "k.pem", "tls_clients": "ca.pem", "tls_doors": ["grpc"],
    });
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("settings.yaml");
    let mut wrong = Vec::new();
    let mut both = 0;
    for (name, value) in mutants(&good, &schema) {
        fs::write(&file, value.to_string()).expect("it is written");
        let args = Args {
            config: Some(file.clone()),
            ..Args::default()
        };
        let settled = Settings::new(args);
        let taken = validator.is_valid(&value);
        if settled.is_ok() && !taken {
            wrong.push(format!("{name}: the program takes it, the schema does not"));
        }
        let why = settled
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default();
        let expressible = why.contains("error[D") || why.contains("must be");
        // A policy without its topology, the range of a duration, and whether an address is one, no schema tells.
        let beyond =
            why.contains("both or neither") || why.contains("ADDRESS") || why.contains("address");
        if taken && expressible && !beyond {
            wrong.push(format!(
                "{name}: the schema takes it, the program says {why}"
            ));
        }
        both += usize::from(!why.is_empty() && !taken);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(both > 40, "{both}");
}

/// Every field of the schema has a value in the good documents, so that none is left out of the comparison.
#[test]
fn the_good_documents_have_every_field() {
    for (document, file) in [
        (Document::Policy, "policies/good/full.yaml"),
        (Document::Topology, "topologies/good/full.yaml"),
    ] {
        let good = json_of(&testdata(file)).expect("it is YAML");
        let schema = schema(document);
        let mut missing = Vec::new();
        let mut seen: Map<String, Value> = Map::new();
        for path in paths(&good) {
            if let Some(Step::Field(name)) = path.last() {
                seen.insert(name.clone(), Value::Null);
            }
        }
        let definitions = schema["$defs"].as_object().expect("definitions").values();
        for definition in definitions.chain([&schema]) {
            let properties = definition.get("properties").and_then(Value::as_object);
            for name in properties.into_iter().flat_map(Map::keys) {
                if !seen.contains_key(name) {
                    missing.push(name.clone());
                }
            }
        }
        assert_eq!(missing, Vec::<String>::new(), "{file}");
    }
}

/// Text is text here, whatever it looks like; tools that go by a schema read `10` as a number.
#[test]
fn text_that_looks_like_a_number_is_to_be_quoted_for_tools_that_go_by_the_schema() {
    let validator = validator(Document::Policy);
    let (fleet, head) = (
        fleet("full"),
        "apiVersion: tradewind/v1\nkind: Policy\nspec:\n",
    );
    for (name, is_valid) in [("10", false), ("'10'", true)] {
        let text = format!(
            "{head}  pools: [{{name: {name}}}]\n  rules: [{{name: all, owner: web, rollback: x, pools: [{name}]}}]\n"
        );
        assert!(
            policy::compile("p", &text, &fleet).policy.is_some(),
            "{text}"
        );
        let value: Value = serde_saphyr::from_str(&text).expect("it is YAML");
        assert_eq!(validator.is_valid(&value), is_valid, "{text}");
    }
}
