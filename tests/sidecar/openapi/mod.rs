//! `docs/openapi.yaml` against a running door, both ways: what the document says the door does, and what the door knows the
//! document has.

pub(crate) mod document;
mod values;
mod walk;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use prost::Message;
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorSet};
use serde_json::{Value, json};
use tradewind::engine::decision::{CacheHint, Note, Purity};
use tradewind::engine::evaluate::{Reason, Role, Rung};
use tradewind::engine::geo::place::Source;
use tradewind::sidecar::wire::report::RefusedReason;
use tradewind::sidecar::wire::{self, FORWARDED};

use self::document::Document;
use self::values::{Tried, json_values, values};
use crate::http::Reply;
use crate::http_door::particular;
use crate::server::{Files, Server, Setup};

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
    Document::read().assert_whole();
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
    let notes: Vec<_> = Note::ALL.iter().map(|note| note.name()).collect();
    let hints: Vec<_> = CacheHint::ALL.iter().map(|hint| hint.name()).collect();
    let sources: Vec<_> = Source::ALL.iter().map(|source| source.name()).collect();
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
        ("Note", notes),
        ("CacheHint", hints),
        ("Source", sources),
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
        let told = messages[name].field.iter().map(FieldDescriptorProto::name);
        // What logs of proxies say besides, from which outcomes are concluded.
        let logged = ["grpc_status", "named", "retries", "termination"];
        let logged = logged.into_iter().filter(|_| name == "Outcome");
        // What only followers say, which speak gRPC.
        let is_outcome = name == "Outcome";
        let told = told.filter(|field| !(is_outcome && ["key", "decided"].contains(field)));
        let told: BTreeSet<&str> = told.chain(logged).collect();
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

/// That what should be taken is decided one way or the other, and what should not is answered with why.
#[track_caller]
fn assert_taken(what: &str, (taken, refused): Tried<String>, ask: impl Fn(&str) -> Reply) {
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

#[tokio::test]
async fn every_field_of_a_request_is_read_within_its_limits() {
    let document = Document::read();
    let (_files, server) = serve().await;
    let mut http = server.query();
    let fields = document.schema("DecideRequest")["properties"]
        .as_object()
        .unwrap();
    for (name, schema) in fields {
        let (taken, refused) = json_values(&document, schema);
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
        let faults = document.faults(document.schema("ReportResponse"), &reply.json(), "");
        assert_eq!(faults, Vec::<String>::new());
        reply.json()["accepted"] == 1
    };
    let (taken, mut refused) = json_values(&document, document.schema("Outcome"));
    // Words of logs may be numbers too, and other forms are told in sentences only.
    refused.retain(|outcome| outcome["termination"] != 7 && outcome["named"] != 7);
    for (field, value) in [
        ("result", "so so"),
        ("total", "soon"),
        ("time_to_first_byte", "soon"),
        ("client_round_trip", "soon"),
        ("node", "nowhere"),
    ] {
        let mut outcome = taken[0].clone();
        outcome[field] = value.into();
        refused.push(outcome);
    }
    for outcome in taken {
        assert!(accepted(&outcome), "{outcome}");
    }
    for outcome in refused {
        assert!(!accepted(&outcome), "{outcome}");
    }
}

#[test]
fn the_page_names_all_that_the_document_has() {
    let document = Document::read();
    let page = include_str!("../../../docs/http.md");
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
    names.remove("header");
    for name in names {
        // Seven of a kind are told by their pattern.
        let name = name.replace(|c: char| ('2'..='7').contains(&c), "1");
        assert!(page.contains(&format!("`{name}`")), "{name}");
    }
    let page = include_str!("../../../docs/outcomes.md");
    for field in document.schema("Outcome")["properties"]
        .as_object()
        .unwrap()
        .keys()
    {
        assert!(page.contains(&format!("`{field}`")), "{field}");
    }
}

#[tokio::test]
async fn the_commands_of_the_page_answer_what_it_says() {
    let server = Setup::example().start().await;
    let address = server.http.unwrap().to_string();
    let page = include_str!("../../../docs/http.md");
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
