//! `docs/openapi.yaml` against a running door, both ways: what the document says the door does, and what the door knows the
//! document has.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use prost::Message;
use prost_types::{DescriptorProto, FileDescriptorSet};
use serde_json::{Map, Value, json};
use tradewind::engine::decision::Purity;
use tradewind::engine::evaluate::{Reason, Role, Rung};
use tradewind::sidecar::wire::report::RefusedReason;
use tradewind::sidecar::wire::{self, FORWARDED};

use crate::fleet::Fleet;
use crate::http::{Connection, Reply, request};
use crate::http_door::particular;
use crate::server::{Files, Server, Setup};

/// The document.
struct Document(Value);

/// An operation: its method and path.
type Operation = (String, String);

impl Document {
    fn read() -> Self {
        let text = include_str!("../../docs/openapi.yaml");
        Self(serde_saphyr::from_str(text).unwrap())
    }

    /// What a value refers to, if it does, else itself.
    fn resolve<'d>(&'d self, value: &'d Value) -> &'d Value {
        let Some(reference) = value["$ref"].as_str() else {
            return value;
        };
        let found = self.0.pointer(reference.strip_prefix('#').unwrap());
        found.unwrap_or_else(|| panic!("{reference} is not there"))
    }

    fn schema(&self, name: &str) -> &Value {
        &self.0["components"]["schemas"][name]
    }

    fn operations(&self) -> BTreeMap<Operation, &Value> {
        let paths = self.0["paths"].as_object().unwrap().iter();
        paths
            .flat_map(|(path, methods)| {
                let methods = methods.as_object().unwrap().iter();
                methods
                    .map(|(method, operation)| ((method.to_uppercase(), path.clone()), operation))
            })
            .collect()
    }

    fn operation(&self, (method, path): (&str, &str)) -> &Value {
        &self.0["paths"][path][method.to_lowercase()]
    }

    /// The parameters of an operation that stand `within` the query or the headers.
    fn parameters<'d>(&'d self, operation: &'d Value, within: &str) -> Vec<&'d Value> {
        let all = operation["parameters"].as_array();
        let all = all.into_iter().flatten();
        all.map(|parameter| self.resolve(parameter))
            .filter(|parameter| parameter["in"] == within)
            .collect()
    }

    /// What is wrong with `value` by `schema`; the part of JSON Schema that the document uses.
    fn faults(&self, schema: &Value, value: &Value, at: &str) -> Vec<String> {
        let schema = self.resolve(schema);
        if let Some(options) = schema["oneOf"].as_array() {
            let fitting = options
                .iter()
                .filter(|option| self.faults(option, value, at).is_empty());
            return match fitting.count() {
                1 => Vec::new(),
                count => vec![format!("{at}: {count} of the options fit {value}")],
            };
        }
        let mut faults = Vec::new();
        let types = match &schema["type"] {
            Value::String(one) => vec![one.as_str()],
            several => several
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect(),
        };
        if !types.is_empty() && !types.iter().any(|name| is_of_type(name, value)) {
            faults.push(format!("{at}: {value} is not of {types:?}"));
        }
        let allowed = schema["enum"].as_array();
        if allowed.is_some_and(|allowed| !allowed.contains(value)) {
            faults.push(format!("{at}: {value} is not listed"));
        }
        if schema.get("const").is_some_and(|only| only != value) {
            faults.push(format!("{at}: {value} is not {}", schema["const"]));
        }
        if let Some(fields) = value.as_object() {
            faults.extend(self.faults_of_object(schema, fields, at));
        }
        if let Some(items) = value.as_array() {
            let most = schema["maxItems"].as_u64().unwrap_or(u64::MAX);
            if items.len() as u64 > most {
                faults.push(format!("{at}: more than {most}"));
            }
            let items = items.iter().enumerate();
            faults.extend(items.flat_map(|(number, item)| {
                self.faults(&schema["items"], item, &format!("{at}[{number}]"))
            }));
        }
        faults
    }

    fn faults_of_object(
        &self,
        schema: &Value,
        fields: &Map<String, Value>,
        at: &str,
    ) -> Vec<String> {
        let required = schema["required"].as_array().into_iter().flatten();
        let missing = required
            .filter_map(Value::as_str)
            .filter(|name| !fields.contains_key(*name));
        let mut faults: Vec<String> = missing
            .map(|name| format!("{at}.{name} is missing"))
            .collect();
        for (name, value) in fields {
            let at = format!("{at}.{name}");
            let names = &schema["propertyNames"];
            faults.extend(self.faults(names, &Value::from(name.as_str()), &at));
            match (
                schema["properties"].get(name),
                &schema["additionalProperties"],
            ) {
                (Some(schema), _) => faults.extend(self.faults(schema, value, &at)),
                (None, Value::Bool(false)) => faults.push(format!("{at} is not in the document")),
                (None, schema) => faults.extend(self.faults(schema, value, &at)),
            }
        }
        faults
    }
}

fn is_of_type(name: &str, value: &Value) -> bool {
    match name {
        "string" => value.is_string(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "null" => value.is_null(),
        other => panic!("`{other}` is no type"),
    }
}

/// Percent-encoded, whatever it is.
fn escaped(text: &str) -> String {
    text.bytes().fold(String::new(), |mut escaped, byte| {
        write!(escaped, "%{byte:02X}").unwrap();
        escaped
    })
}

/// The usual fleet, and a policy that refuses a path, looks at a header and serves one host.
async fn serve() -> (Files, Server) {
    let files = Files::new();
    files.write("policy.yaml", particular());
    let server = files.setup().start().await;
    (files, server)
}

const HOST: &str = "video.example.com";

#[test]
fn the_document_is_whole() {
    let document = Document::read();
    assert_eq!(document.0["openapi"], "3.1.0");
    assert_eq!(document.0["info"]["version"], env!("CARGO_PKG_VERSION"));
    let mut open = vec![&document.0];
    let mut used = BTreeSet::new();
    while let Some(value) = open.pop() {
        document.resolve(value);
        if let Some(reference) = value["$ref"].as_str() {
            used.insert(reference.to_owned());
        }
        open.extend(value.as_object().into_iter().flat_map(Map::values));
        open.extend(value.as_array().into_iter().flatten());
    }
    for kind in ["parameters", "headers", "responses", "schemas"] {
        for name in document.0["components"][kind].as_object().unwrap().keys() {
            let reference = format!("#/components/{kind}/{name}");
            assert!(used.contains(&reference), "nobody uses {reference}");
        }
    }
    let ids: BTreeSet<_> = document
        .operations()
        .values()
        .map(|operation| operation["operationId"].to_string())
        .collect();
    assert_eq!(ids.len(), document.operations().len(), "{ids:?}");
}

#[test]
fn words_are_those_of_the_code() {
    let document = Document::read();
    let listed = |name: &str| -> Vec<&str> {
        let words = document.schema(name)["enum"].as_array().unwrap();
        words.iter().filter_map(Value::as_str).collect()
    };
    let reasons: Vec<_> = Reason::ALL.iter().map(|reason| reason.name()).collect();
    let rungs: Vec<_> = Rung::ALL.iter().map(|rung| rung.name()).collect();
    let roles: Vec<_> = Role::ALL.iter().map(|role| role.name()).collect();
    let purities: Vec<_> = Purity::ALL.iter().map(|purity| purity.name()).collect();
    let refused: Vec<_> = RefusedReason::ALL
        .iter()
        .map(|reason| reason.name())
        .collect();
    for (name, words) in [
        ("Reason", reasons),
        ("Rung", rungs),
        ("Role", roles),
        ("Purity", purities),
        ("RefusedReason", refused),
    ] {
        assert_eq!(listed(name), words, "{name}");
    }
}

#[test]
fn fields_are_those_of_the_messages() {
    let document = Document::read();
    let descriptors = FileDescriptorSet::decode(wire::DESCRIPTORS).unwrap();
    let ours = descriptors
        .file
        .iter()
        .filter(|file| file.package() == "tradewind.v1")
        .flat_map(|file| &file.message_type);
    let messages: BTreeMap<&str, &DescriptorProto> =
        ours.map(|message| (message.name(), message)).collect();
    for name in [
        "DecideRequest",
        "Header",
        "Client",
        "Location",
        "DecideResponse",
        "Candidate",
        "ClientPlace",
        "ReportResponse",
        "Outcome",
    ] {
        let told: BTreeSet<&str> = messages[name]
            .field
            .iter()
            .map(|field| field.name())
            .collect();
        let listed = document.schema(name)["properties"].as_object().unwrap();
        let listed: BTreeSet<&str> = listed.keys().map(String::as_str).collect();
        assert_eq!(listed, told, "{name}");
    }
}

#[tokio::test]
async fn parameters_are_those_that_the_door_knows() {
    let document = Document::read();
    let (_files, server) = serve().await;
    let route = document.operation(("GET", "/v1/route"));
    // The door lists them when it is asked by one that it does not know.
    let reply = server.query().get("/v1/route?colour=red", &[]).unwrap();
    let said = reply.json()["error"].as_str().unwrap().to_owned();
    let (_, list) = said.split_once("allowed are ").unwrap();
    let known: BTreeSet<String> = list
        .replace(" and ", ", ")
        .split(", ")
        .map(|name| name.trim_end_matches(".NAME").to_owned())
        .collect();
    let listed = document.parameters(route, "query");
    let listed: BTreeSet<String> = listed
        .iter()
        .map(|one| one["name"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(listed, known);
    let headers = document.parameters(route, "header");
    let headers: BTreeSet<String> = headers
        .iter()
        .map(|one| one["name"].as_str().unwrap().to_lowercase())
        .collect();
    assert_eq!(
        headers,
        FORWARDED.iter().map(|name| (*name).to_owned()).collect()
    );

    let outcomes = document.operation(("POST", "/v1/outcomes"));
    let ask = |parameter: &str| {
        let path = format!("/v1/outcomes?{parameter}=a");
        server.query().ask(("POST", &path), &[], b"{}").unwrap()
    };
    let said = ask("colour").json()["error"].as_str().unwrap().to_owned();
    let listed = document.parameters(outcomes, "query");
    let listed: Vec<&str> = listed
        .iter()
        .map(|one| one["name"].as_str().unwrap())
        .collect();
    assert!(
        said.ends_with(&format!("allowed is {}", listed.join(", "))),
        "{said}"
    );
}

/// Texts that a parameter or field of this schema takes, and others that it refuses. `example` is one that it takes.
fn texts(schema: &Value, example: &str) -> (Vec<String>, Vec<String>) {
    let (mut taken, mut refused) = (vec![example.to_owned()], Vec::new());
    if let Some(most) = schema["maxLength"].as_u64() {
        let fill = usize::try_from(most).unwrap() - example.len();
        let longest = format!("{example}{}", "a".repeat(fill));
        refused.push(format!("{longest}a"));
        taken.push(longest);
    }
    if schema["minLength"].is_u64() {
        refused.push("D".to_owned());
    }
    if schema["format"] == "ip" {
        taken.extend(
            [
                "2001:db8::1",
                "[2001:db8::1]:443",
                "192.0.2.1:80",
                "unknown",
                "-",
            ]
            .map(str::to_owned),
        );
        refused.extend(["1.2.3", "192.0.2.256", "host"].map(str::to_owned));
    }
    (taken, refused)
}

/// The same for a number, as it is written.
fn numbers(schema: &Value) -> (Vec<String>, Vec<String>) {
    let (least, most) = (&schema["minimum"], &schema["maximum"]);
    let beyond = |number: &Value, step: i128| {
        let number = number.to_string().parse::<i128>().unwrap();
        (number + step).to_string()
    };
    let taken = vec![least.to_string(), most.to_string()];
    let refused = vec![beyond(least, -1), beyond(most, 1), "many".to_owned()];
    (taken, refused)
}

/// The same for a list, with commas between.
fn lists(schema: &Value, example: &Value) -> (Vec<String>, Vec<String>) {
    let joined = |items: &[String]| items.join(",");
    let items: Vec<String> = example
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item.as_str().unwrap().to_owned())
        .collect();
    let most = usize::try_from(schema["maxItems"].as_u64().unwrap()).unwrap();
    let (longest, longer) = texts(&schema["items"], &items[0]);
    let many = |count: usize| joined(&vec![items[0].clone(); count]);
    let mut refused = vec![many(most + 1)];
    refused.extend(longer);
    let taken = [vec![joined(&items), many(most)], longest].concat();
    (taken, refused)
}

/// What a parameter takes and what it refuses.
fn values(parameter: &Value) -> (Vec<String>, Vec<String>) {
    let (schema, example) = (&parameter["schema"], &parameter["example"]);
    match schema["type"].as_str().unwrap() {
        "integer" | "number" => numbers(schema),
        "array" => lists(schema, example),
        "string" => texts(schema, example.as_str().unwrap()),
        other => panic!("{other} is no type of a parameter"),
    }
}

/// That what should be taken is decided one way or the other, and what should not is answered with why.
#[track_caller]
fn assert_taken(
    what: &str,
    (taken, refused): (Vec<String>, Vec<String>),
    ask: impl Fn(&str) -> Reply,
) {
    for value in taken {
        let reply = ask(&value);
        assert!(
            reply.header("x-decision-id").is_some(),
            "{what} `{value}`: {reply:?}"
        );
    }
    for value in refused {
        let reply = ask(&value);
        assert!(
            matches!(reply.status, 400 | 414 | 431),
            "{what} `{value}`: {reply:?}"
        );
        assert!(reply.json()["error"].is_string());
    }
}

#[tokio::test]
async fn every_parameter_is_read_within_its_limits() {
    let document = Document::read();
    let (_files, server) = serve().await;
    let route = document.operation(("GET", "/v1/route"));
    let asked = |parameters: &str| {
        let path = format!("/v1/route?{parameters}");
        server.query().get(&path, &[]).unwrap()
    };
    let mut together = Vec::new();
    for parameter in document.parameters(route, "query") {
        let name = parameter["name"].as_str().unwrap();
        if name == "header" {
            together.push("header.accept=image%2Fwebp".to_owned());
            continue;
        }
        let values = values(parameter);
        together.push(format!("{name}={}", escaped(&values.0[0])));
        // Of a place both halves are needed.
        let other = match name {
            "lat" => "lon=0&",
            "lon" => "lat=0&",
            "path" => "",
            _ => "path=/a&",
        };
        assert_taken(name, values, |value| {
            asked(&format!("{other}{name}={}", escaped(value)))
        });
    }
    let reply = asked(&together.join("&"));
    assert!(reply.header("x-decision-id").is_some(), "{reply:?}");
}

#[tokio::test]
async fn every_header_is_read_within_its_limits() {
    let document = Document::read();
    let (_files, server) = serve().await;
    let route = document.operation(("GET", "/v1/route"));
    for parameter in document.parameters(route, "header") {
        let name = parameter["name"].as_str().unwrap();
        let asked = |value: &str| {
            let base = [("X-Original-URI", "/a"), (name, value)];
            let headers = if name == "X-Original-URI" {
                &base[1..]
            } else {
                &base
            };
            server.query().get("/v1/route", headers).unwrap()
        };
        assert_taken(name, values(parameter), asked);
        // Of two lines nobody can tell which is the client's.
        let example = parameter["example"]
            .to_string()
            .trim_matches('"')
            .to_owned();
        let twice = [("X-Original-URI", "/a"), (name, &example), (name, &example)];
        let reply = server.query().get("/v1/route", &twice).unwrap();
        assert_eq!(reply.status, 400, "{name}: {reply:?}");
    }
}

/// Values that a field of this schema takes, and others that it refuses.
fn json_values(document: &Document, name: &str, schema: &Value) -> (Vec<Value>, Vec<Value>) {
    let schema = document.resolve(schema);
    let texts_of = |schema: &Value| {
        let example = schema["examples"][0].as_str();
        let example = example.unwrap_or(if schema["format"] == "ip" {
            "192.0.2.1"
        } else {
            "a"
        });
        let (taken, refused) = texts(schema, example);
        let values = |texts: Vec<String>| texts.into_iter().map(Value::from).collect();
        (
            values(taken),
            [values(refused), vec![json!(7), json!([])]].concat(),
        )
    };
    if let Some(words) = schema["enum"].as_array() {
        return (words.clone(), vec![json!("so so"), json!(1)]);
    }
    match schema["type"].as_str().unwrap() {
        "string" => texts_of(schema),
        "boolean" => (
            vec![json!(true), json!(false), Value::Null],
            vec![json!("yes"), json!(1)],
        ),
        "integer" | "number" => {
            let (taken, refused) = numbers(schema);
            let values = |texts: Vec<String>| {
                let read = texts.into_iter().map(|text| serde_json::from_str(&text));
                read.map(|value| value.unwrap_or(json!("many"))).collect()
            };
            (values(taken), values(refused))
        }
        "array" => {
            let (one, wrong) = json_values(document, name, &schema["items"]);
            let most = usize::try_from(schema["maxItems"].as_u64().unwrap_or(2)).unwrap();
            let list = |item: &Value| json!([item]);
            let taken = one
                .iter()
                .map(list)
                .chain([json!(vec![one[0].clone(); most])]);
            let mut refused: Vec<Value> = wrong.iter().map(list).chain([json!("a")]).collect();
            if schema["maxItems"].is_u64() {
                refused.push(json!(vec![one[0].clone(); most + 1]));
            }
            (taken.collect(), refused)
        }
        "object" => {
            // All fields at once, then each of them wrong.
            let fields = schema["properties"].as_object().unwrap();
            let mut whole = json!({});
            let mut wrong = vec![json!({ "colour": 1 }), json!("a")];
            let all: Vec<_> = fields
                .iter()
                .map(|(field, schema)| (field, json_values(document, field, schema)))
                .collect();
            for (field, (taken, _)) in &all {
                whole[*field] = taken[0].clone();
            }
            let mut taken = vec![whole.clone()];
            for (field, (rights, wrongs)) in all {
                for (value, to) in rights
                    .into_iter()
                    .map(|value| (value, true))
                    .chain(wrongs.into_iter().map(|value| (value, false)))
                {
                    let mut changed = whole.clone();
                    changed[field] = value;
                    if to {
                        taken.push(changed)
                    } else {
                        wrong.push(changed)
                    }
                }
            }
            (taken, wrong)
        }
        other => panic!("{other} of {name}"),
    }
}

#[tokio::test]
async fn every_field_of_a_request_is_read_within_its_limits() {
    let document = Document::read();
    let (_files, server) = serve().await;
    let mut http = server.query();
    let fields = document.schema("DecideRequest")["properties"]
        .as_object()
        .unwrap();
    for (name, schema) in fields {
        let (taken, refused) = json_values(&document, name, schema);
        let mut ask = |value: &Value| {
            let body = json!({ "path": "/a", name: value }).to_string();
            // What is above the bound of a body is not read to its end.
            assert!(body.len() <= 16_384, "{name}: {} bytes", body.len());
            http.ask(("POST", "/v1/route"), &[], body.as_bytes())
                .unwrap()
        };
        for value in taken {
            let reply = ask(&value);
            assert!(
                reply.header("x-decision-id").is_some(),
                "{name} {value}: {reply:?}"
            );
        }
        for value in refused {
            let reply = ask(&value);
            assert!(
                matches!(reply.status, 400 | 414),
                "{name} {value}: {reply:?}"
            );
        }
    }
    let unknown = http
        .ask(("POST", "/v1/route"), &[], br#"{"colour": 1}"#)
        .unwrap();
    assert!(unknown.text().contains("unknown field `colour`"));
}

#[tokio::test]
async fn every_field_of_an_outcome_is_read_within_its_limits() {
    let document = Document::read();
    let (_files, server) = serve().await;
    let mut http = server.query();
    let mut accepted = |outcome: &Value| {
        let line = outcome.to_string();
        let reply = http
            .ask(("POST", "/v1/outcomes"), &[], line.as_bytes())
            .unwrap();
        let faults = document.faults(
            &document.0["components"]["schemas"]["ReportResponse"],
            &reply.json(),
            "",
        );
        assert_eq!(faults, Vec::<String>::new());
        reply.json()["accepted"] == 1
    };
    let (mut taken, refused) = json_values(&document, "outcome", document.schema("Outcome"));
    // Some are of the form, and of nodes and statuses that there are not.
    taken.retain(|outcome| outcome["status"] != 1);
    for outcome in taken {
        assert!(accepted(&outcome), "{outcome}");
    }
    for outcome in refused {
        assert!(!accepted(&outcome), "{outcome}");
    }
}

/// What is asked: method, path, headers and body.
type Question<'a> = ((&'a str, &'a str), Vec<(&'a str, &'a str)>, &'a [u8]);

/// Asks a connection of its own: some answers end it.
fn ask(server: &Server, ((method, path), headers, body): &Question<'_>) -> Reply {
    let mut http: Connection = server.query();
    if body.len() > 8_192 {
        // The answer may come, and the connection close, before all has been written.
        drop(http.send(&request(method, path, headers, body)));
        return http.reply().unwrap();
    }
    http.ask((method, path), headers, body).unwrap()
}

#[tokio::test]
async fn every_operation_answers_what_the_document_says() {
    let document = Document::read();
    let (files, server) = serve().await;
    let unready = Files::empty().setup().start_unready().await;
    let long_path = format!("/{}", "x".repeat(8_192));
    let long_value = "v".repeat(8_193);
    let by_path = |path: &str| format!(r#"{{"host": "{HOST}", "path": "{path}"}}"#);
    let too_large = vec![b' '; (256 << 10) + 1];
    let bodies = [
        by_path("/a"),
        by_path("/forbidden"),
        by_path(&long_path),
        r#"{"host": "other.example.com", "path": "/a"}"#.to_owned(),
        format!(
            r#"{{"host": "{HOST}", "path": "/a", "headers": [{{"name": "x-device", "value": "{long_value}"}}]}}"#
        ),
        format!(r#"{{"host": "{HOST}", "path": "/a", "candidates": 8}}"#),
        by_path("a"),
    ];
    let get = |path: &'static str, extra: &[(&'static str, &'static str)]| {
        [
            &[("X-Original-URI", path), ("X-Original-Host", HOST)],
            extra,
        ]
        .concat()
    };
    let outcome = br#"{"node": "fra-1", "result": "ok"}"#;
    let mut questions: Vec<(&Server, u16, Question<'_>)> = Vec::new();
    for method in ["GET", "HEAD"] {
        let by_headers =
            |headers: Vec<(&'static str, &'static str)>| ((method, "/v1/route"), headers, &b""[..]);
        questions.extend([
            (&server, 200, by_headers(get("/a", &[]))),
            (
                &server,
                200,
                by_headers(get("/a", &[("X-Route-Candidates", "8")])),
            ),
            (
                &server,
                200,
                (
                    (method, "/v1/route?path=/a&host=video.example.com"),
                    vec![],
                    &b""[..],
                ),
            ),
            (&server, 400, by_headers(get("a", &[]))),
            (&server, 403, by_headers(get("/forbidden", &[]))),
            (
                &server,
                404,
                ((method, "/v1/route?path=/a&pool=nowhere"), vec![], &b""[..]),
            ),
            (
                &server,
                404,
                (
                    (method, "/v1/route?path=/a&host=other.example.com"),
                    vec![],
                    &b""[..],
                ),
            ),
            (
                &server,
                414,
                (
                    (method, "/v1/route"),
                    vec![("X-Original-URI", long_path.as_str())],
                    &b""[..],
                ),
            ),
            (
                &server,
                431,
                (
                    (method, "/v1/route"),
                    vec![("X-Original-URI", "/a"), ("X-Device", long_value.as_str())],
                    &b""[..],
                ),
            ),
            (&unready, 503, by_headers(get("/a", &[]))),
        ]);
    }
    for (status, body) in [
        (200, 0),
        (403, 1),
        (414, 2),
        (404, 3),
        (431, 4),
        (200, 5),
        (400, 6),
    ] {
        questions.push((
            &server,
            status,
            (("POST", "/v1/route"), vec![], bodies[body].as_bytes()),
        ));
    }
    let outcomes = |body| (("POST", "/v1/outcomes"), vec![], body);
    questions.extend([
        (
            &server,
            413,
            (("POST", "/v1/route"), vec![], &too_large[..]),
        ),
        (&unready, 503, (("POST", "/v1/route"), vec![], b"{}")),
        (&server, 200, outcomes(&outcome[..])),
        (&server, 400, outcomes(b"not json")),
        (&server, 400, outcomes(b"")),
        (&server, 413, outcomes(&too_large)),
        (&unready, 503, outcomes(&outcome[..])),
    ]);
    let mut walk = Walk::new(&document);
    for (server, status, question) in &questions {
        walk.note(question.0, *status, &ask(server, question));
    }
    // Every node in maintenance: there is none, and that may pass.
    let topology = Fleet::usual()
        .text()
        .replace("state: ready", "state: maintenance");
    files.replace("topology.yaml", topology);
    let last = (("GET", "/v1/route"), get("/a", &[]), &b""[..]);
    server
        .until("no node is left", || ask(&server, &last).status == 503)
        .await;
    for question in [
        last,
        (("HEAD", "/v1/route"), get("/a", &[]), b""),
        (("POST", "/v1/route"), vec![], bodies[0].as_bytes()),
    ] {
        walk.note(question.0, 503, &ask(&server, &question));
    }
    walk.end();
}

/// Which answers of the document have been seen, and which of their headers.
struct Walk<'d> {
    document: &'d Document,
    seen: BTreeMap<(Operation, String), BTreeSet<String>>,
}

/// Headers of the connection and the message, which documents of this kind leave out.
const OF_THE_HOP: [&str; 4] = ["connection", "content-length", "content-type", "date"];

impl<'d> Walk<'d> {
    fn new(document: &'d Document) -> Self {
        Self {
            document,
            seen: BTreeMap::new(),
        }
    }

    fn response(&self, (method, path): (&str, &str), status: &str) -> &'d Value {
        let responses = &self.document.operation((method, path))["responses"];
        self.document.resolve(&responses[status])
    }

    /// Notes an answer, which must be as the document says.
    #[track_caller]
    fn note(&mut self, (method, target): (&str, &str), status: u16, reply: &Reply) {
        let path = target.split('?').next().unwrap();
        assert_eq!(reply.status, status, "{method} {target}: {reply:?}");
        let status = status.to_string();
        let response = self.response((method, path), &status);
        assert!(
            response.is_object(),
            "{method} {path} does not answer {status}"
        );
        let headers = response["headers"].as_object().unwrap();
        let headers: BTreeMap<String, &Value> = headers
            .iter()
            .map(|(name, header)| (name.to_lowercase(), header))
            .collect();
        let given: BTreeSet<String> = reply.headers.iter().map(|(name, _)| name.clone()).collect();
        for (name, value) in &reply.headers {
            if OF_THE_HOP.contains(&name.as_str()) {
                continue;
            }
            let header = headers
                .get(name)
                .unwrap_or_else(|| panic!("{method} {path} {status} has {name}"));
            let schema = &self.document.resolve(header)["schema"];
            let faults = self
                .document
                .faults(schema, &Value::from(value.as_str()), name);
            assert_eq!(faults, Vec::<String>::new());
        }
        if method != "HEAD" {
            let schema = &response["content"]["application/json"]["schema"];
            let faults = self.document.faults(schema, &reply.json(), "body");
            assert_eq!(faults, Vec::<String>::new(), "{method} {path} {status}");
        }
        let operation = (method.to_owned(), path.to_owned());
        self.seen
            .entry((operation, status))
            .or_default()
            .extend(given);
    }

    /// That all of the document has been seen.
    #[track_caller]
    fn end(self) {
        for ((method, path), operation) in self.document.operations() {
            for status in operation["responses"].as_object().unwrap().keys() {
                let seen = self
                    .seen
                    .get(&((method.clone(), path.clone()), status.clone()));
                let seen =
                    seen.unwrap_or_else(|| panic!("nobody saw {method} {path} answer {status}"));
                let headers = self.response((&method, &path), status)["headers"]
                    .as_object()
                    .unwrap();
                for name in headers.keys().map(|name| name.to_lowercase()) {
                    assert!(
                        seen.contains(&name),
                        "nobody saw {name} of {method} {path} {status}"
                    );
                }
            }
        }
    }
}

#[test]
fn the_page_names_all_that_the_document_has() {
    let document = Document::read();
    let page = include_str!("../../docs/http.md");
    let mut names = BTreeSet::new();
    for operation in document.operations().values() {
        for within in ["query", "header"] {
            for parameter in document.parameters(operation, within) {
                names.insert(parameter["name"].as_str().unwrap().to_owned());
            }
        }
        for (status, response) in operation["responses"].as_object().unwrap() {
            assert!(page.contains(&format!("\n| {status} | ")), "{status}");
            let headers = document.resolve(response)["headers"].as_object();
            names.extend(headers.unwrap().keys().cloned());
        }
    }
    let fields = document.schema("Outcome")["properties"].as_object();
    names.extend(fields.unwrap().keys().cloned());
    names.remove("header");
    // Told by the first and the last.
    names.retain(|name| !name.starts_with("X-Route-Fallback-") || name == "X-Route-Fallback-1");
    for name in names {
        assert!(page.contains(&format!("`{name}`")), "{name}");
    }
}

#[tokio::test]
async fn the_commands_of_the_page_answer_what_it_says() {
    let server = Setup::example().start().await;
    let address = server.http.unwrap().to_string();
    let page = include_str!("../../docs/http.md");
    let blocks = page.split("```sh\n").skip(1);
    let lines = blocks.flat_map(|block| block.split("```").next().unwrap().lines());
    let lines: Vec<&str> = lines.collect();
    let mut statuses = BTreeSet::new();
    for pair in lines.chunks(2) {
        let [status, command] = pair else {
            panic!("{pair:?}")
        };
        let status = status.strip_prefix("# ").unwrap();
        let command = command.replace("localhost:7073", &address);
        let command = format!("{command} -w '\\n%{{http_code}}'");
        let ran = std::process::Command::new("sh")
            .args(["-c", &command])
            .output()
            .unwrap();
        if ran.status.code() == Some(127) {
            crate::programs::note("skipped: the commands of docs/http.md because there is no curl");
            return;
        }
        let said = String::from_utf8(ran.stdout).unwrap();
        assert!(said.ends_with(&format!("\n{status}")), "{command}: {said}");
        statuses.insert(status.to_owned());
    }
    assert_eq!(statuses.len(), 3, "{statuses:?}");
}
