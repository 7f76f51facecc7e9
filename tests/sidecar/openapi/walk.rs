//! Every operation and status of the document, asked for.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::document::{Document, Operation};
use super::{HOST, serve};
use crate::fleet::Fleet;
use crate::http::{Connection, Reply, request};
use crate::http_door::particular;
use crate::server::{Files, Server};

/// Something to ask: a method and a path, headers and a body; and the status of the answer.
struct Question {
    method: &'static str,
    path: &'static str,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    status: u16,
}

impl Question {
    fn new(method: &'static str, path: &'static str, status: u16) -> Self {
        Self {
            method,
            path,
            headers: Vec::new(),
            body: Vec::new(),
            status,
        }
    }

    fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    fn telling(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Asks on a connection of its own: some answers end it.
    fn ask(&self, server: &Server) -> Reply {
        let mut http: Connection = server.query();
        let headers = self.headers.iter();
        let headers: Vec<(&str, &str)> = headers.map(|(name, value)| (*name, &**value)).collect();
        if self.body.len() > 8_192 {
            // The answer may come, and the connection close, before all has been written.
            drop(http.send(&request(self.method, self.path, &headers, &self.body)));
            return http.reply().unwrap();
        }
        http.ask((self.method, self.path), &headers, &self.body)
            .unwrap()
    }
}

/// A path and a header's value above their limits.
fn too_long() -> (String, String) {
    (format!("/{}", "x".repeat(8_192)), "v".repeat(8_193))
}

/// About a path of the host that the policy has rules for.
fn about(method: &'static str, path: &str, status: u16) -> Question {
    let question = Question::new(method, "/v1/route", status);
    question
        .with("X-Original-URI", path)
        .with("X-Original-Host", HOST)
}

/// In headers and parameters, by GET or HEAD.
fn by_headers(method: &'static str) -> Vec<Question> {
    let (long_path, long_value) = too_long();
    let by_parameters = |path, status| Question::new(method, path, status);
    vec![
        about(method, "/a", 200),
        about(method, "/a", 200).with("X-Route-Candidates", "8"),
        about(method, "a", 400),
        about(method, "/forbidden", 403),
        about(method, &long_path, 414),
        about(method, "/a", 431).with("X-Device", long_value),
        by_parameters("/v1/route?path=/a&host=video.example.com", 200),
        by_parameters("/v1/route?path=/a&pool=nowhere", 404),
        by_parameters("/v1/route?path=/a&host=other.example.com", 404),
    ]
}

/// In JSON.
fn by_body() -> Vec<Question> {
    let (long_path, long_value) = too_long();
    let about = |path: &str, extra: &str, status| {
        let body = format!(r#"{{"host": "{HOST}", "path": "{path}"{extra}}}"#);
        Question::new("POST", "/v1/route", status).telling(body)
    };
    let device = format!(r#", "headers": [{{"name": "x-device", "value": "{long_value}"}}]"#);
    vec![
        about("/a", "", 200),
        about("/a", r#", "candidates": 8"#, 200),
        about("a", "", 400),
        about("/forbidden", "", 403),
        about("/a", r#", "pool": "nowhere""#, 404),
        about(&long_path, "", 414),
        about("/a", &device, 431),
        Question::new("POST", "/v1/route", 413).telling(vec![b' '; (16 << 10) + 1]),
        Question::new("POST", "/v1/route", 413).telling(vec![b' '; (256 << 10) + 1]),
    ]
}

const OUTCOME: &str = r#"{"node": "fra-1", "result": "ok"}"#;

fn of_outcomes() -> Vec<Question> {
    let telling = |body: &str, status| Question::new("POST", "/v1/outcomes", status).telling(body);
    vec![
        telling(OUTCOME, 200),
        telling("not json", 400),
        telling("", 400),
        Question::new("POST", "/v1/outcomes?colour=red", 400).telling(OUTCOME),
        telling(&" ".repeat((256 << 10) + 1), 413),
    ]
}

/// What there is no answer to while there is no policy, or no node.
fn unanswered() -> Vec<Question> {
    let body = format!(r#"{{"host": "{HOST}", "path": "/a"}}"#);
    vec![
        about("GET", "/a", 503),
        about("HEAD", "/a", 503),
        Question::new("POST", "/v1/route", 503).telling(body),
    ]
}

/// What is answered with a node.
fn answered() -> Vec<Question> {
    let body = format!(r#"{{"host": "{HOST}", "path": "/a"}}"#);
    vec![
        about("GET", "/a", 200),
        about("HEAD", "/a", 200),
        Question::new("POST", "/v1/route", 200).telling(body),
    ]
}

/// The same over a limit.
fn turned_away() -> Vec<Question> {
    let over = |question| Question {
        status: 429,
        ..question
    };
    answered().into_iter().map(over).collect()
}

/// A policy with another line in its `spec`.
fn policy_with(line: &str) -> String {
    particular().replacen("spec:\n", &format!("spec:\n  {line}\n"), 1)
}

/// Every request is tried twice, and a hundredth may be.
async fn no_retry_is_left(files: &Files, server: &Server) {
    let before = server.revision();
    let retries = "retries: {budget_percent: 1, min_per_second: 0}";
    files.replace("policy.yaml", policy_with(retries));
    server.until_revision(before + 1).await;
    server
        .until("requests may be tried once only", || {
            let mut http = server.query();
            let mut outcomes = String::new();
            let mut once = 0;
            for at in 0..50 {
                let page = format!("/v1/route?host={HOST}&path=/{at}");
                let reply = http.get(&page, &[]).unwrap();
                once += usize::from(reply.header("x-route-max-attempts") == Some("1"));
                let answer = reply.json();
                let (id, node) = (&answer["decision_id"], &answer["candidates"][1]["node"]);
                let told = format!(
                    r#"{{"decision_id": {id}, "node": {node}, "attempt": 2, "result": "ok"}}"#
                );
                outcomes.push_str(&told);
                outcomes.push('\n');
            }
            let told = http.ask(("POST", "/v1/outcomes"), &[], outcomes.as_bytes());
            assert_eq!(told.unwrap().status, 200);
            let reply = answered()
                .iter()
                .all(|question| question.ask(server).header("x-route-max-attempts") == Some("1"));
            once > 45 && reply
        })
        .await;
}

/// One request in a hundred seconds may be made, and was.
async fn no_request_is_left(files: &Files, server: &Server) {
    let before = server.revision();
    let limits = "limits: [{name: all, requests_per_second: 0.01}]";
    files.replace("policy.yaml", policy_with(limits));
    server.until_revision(before + 1).await;
    let left = about("GET", "/a", 429);
    server
        .until("the limit is used up", || left.ask(server).status == 429)
        .await;
}

#[tokio::test]
async fn every_operation_answers_what_the_document_says() {
    let document = Document::read();
    let (files, server) = serve().await;
    let mut walk = Walk::new(&document);
    let questions = by_headers("GET").into_iter().chain(by_headers("HEAD"));
    for question in questions.chain(by_body()).chain(of_outcomes()) {
        walk.note(&question, &question.ask(&server));
    }
    let unready = Files::empty().setup().start_unready().await;
    let telling = Question::new("POST", "/v1/outcomes", 503).telling(OUTCOME);
    for question in unanswered().into_iter().chain([telling]) {
        walk.note(&question, &question.ask(&unready));
    }
    no_retry_is_left(&files, &server).await;
    for question in answered() {
        walk.note(&question, &question.ask(&server));
    }
    no_request_is_left(&files, &server).await;
    for question in turned_away() {
        walk.note(&question, &question.ask(&server));
    }
    files.replace("policy.yaml", particular());
    // Every node that the rule may name is in maintenance: there is none, and that may pass.
    let policy = std::fs::read_to_string(files.path("policy.yaml")).unwrap();
    let edge_only = policy.replace("pools: [edge, regional, origin]", "pools: [edge]");
    files.replace("policy.yaml", edge_only);
    files.replace("topology.yaml", Fleet::usual().of_origin_only().text());
    let left = about("GET", "/a", 503);
    server
        .until("no node is left", || left.ask(&server).status == 503)
        .await;
    for question in unanswered() {
        walk.note(&question, &question.ask(&server));
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
    fn note(&mut self, question: &Question, reply: &Reply) {
        let (method, target, status) = (question.method, question.path, question.status);
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
