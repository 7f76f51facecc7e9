//! `docs/openapi-debug.yaml` against a running debug door, both ways: what the document says the door does, and what the
//! door has the document says.

mod actions;
mod book;
mod pages;
mod scene;
mod stream;

use std::collections::BTreeSet;

use tradewind::engine::control::heard::{Topic as About, Unbelieved};
use tradewind::engine::control::meter::MoveCause;
use tradewind::engine::decision::{CacheHint, Note, Purity};
use tradewind::engine::evaluate::{Reason, Role, Rung};
use tradewind::engine::explanation::{Elimination, SiteStanding};
use tradewind::engine::geo::place::Source;
use tradewind::engine::health::breaker::Cause;
use tradewind::engine::signal::Readmission;
use tradewind::sidecar::observe::frames::Topic;
use tradewind::sidecar::view::history::{Column, Range};

use crate::http::{Connection, Reply};
use crate::openapi::document::Document;
use crate::server::{Server, Setup};

fn debug_document() -> Document {
    Document::of(include_str!("../../../docs/openapi-debug.yaml"))
}

/// How this machine calls itself.
const HOST: (&str, &str) = ("host", "localhost");

/// Asks the debug door, on a connection of its own.
fn ask(server: &Server, asked: (&str, &str), headers: &[(&str, &str)], body: &[u8]) -> Reply {
    let mut http = Connection::tcp(server.debug).unwrap();
    let has_host = headers.iter().any(|(name, _)| *name == "host");
    let host = (!has_host).then_some(HOST);
    let headers: Vec<_> = host.into_iter().chain(headers.iter().copied()).collect();
    if body.len() > 8_192 {
        // The answer may come, and the connection close, before all has been written.
        drop(http.send(&crate::http::request(asked.0, asked.1, &headers, body)));
        return http.reply().unwrap();
    }
    http.ask(asked, &headers, body).unwrap()
}

fn get(server: &Server, path: &str) -> Reply {
    ask(server, ("GET", path), &[], b"")
}

#[test]
fn the_document_is_whole() {
    debug_document().assert_whole();
}

/// That a schema lists these words, with its name for faults.
#[track_caller]
fn assert_lists(document: &Document, (name, field): (&str, &str), words: &[&str]) {
    let mut schema = document.schema(name);
    if !field.is_empty() {
        schema = &schema["properties"][field];
    }
    let listed = schema["enum"].as_array().unwrap();
    let listed: Vec<_> = listed.iter().map(|word| word.as_str().unwrap()).collect();
    assert_eq!(listed, words, "{name} {field}");
}

macro_rules! names {
    ($($type:ty),*) => { [$(<$type>::ALL.iter().map(|it| it.name()).collect::<Vec<_>>()),*] };
}

#[test]
fn words_are_those_of_the_code() {
    let document = debug_document();
    let places = [
        ("Reason", ""),
        ("Rung", ""),
        ("Role", ""),
        ("Purity", ""),
        ("Note", ""),
        ("PlaceSource", ""),
        ("Elimination", ""),
        ("SiteScore", "standing"),
        ("Breaking", ""),
        ("Readmission", ""),
        ("MoveCause", ""),
        ("Unbelieved", ""),
        ("Disagreement", "about"),
        ("DecideResponse", "cache_hint"),
        ("History", "range"),
    ];
    let words = names![
        Reason,
        Rung,
        Role,
        Purity,
        Note,
        Source,
        Elimination,
        SiteStanding,
        Cause,
        Readmission,
        MoveCause,
        Unbelieved,
        About,
        CacheHint,
        Range
    ];
    for (place, words) in places.into_iter().zip(words) {
        assert_lists(&document, place, &words);
    }
    let history = document.schema("History")["properties"]
        .as_object()
        .unwrap();
    for column in Column::ALL {
        assert!(history.contains_key(column.name()), "{}", column.name());
    }
    let stream = document.operation(("GET", "/debug/stream"));
    let topics = &stream["parameters"][1]["schema"]["items"]["enum"];
    let known: Vec<_> = Topic::ASKED.iter().map(|topic| topic.name()).collect();
    assert_eq!(*topics, serde_json::json!(known));
}

/// A path of the document with something in the place of each parameter.
fn filled(path: &str) -> String {
    path.replace("{id}", "00000000000000000000")
        .replace("{number}", "1")
        .replace("{name}", "main.js")
}

#[tokio::test]
async fn paths_and_methods_are_those_that_the_door_has() {
    let document = debug_document();
    let server = Setup::example().start().await;
    // The door lists them when it is asked for one that it has not.
    let said = get(&server, "/nowhere").json()["error"].to_string();
    let (_, list) = said.split_once("pages: ").unwrap();
    let (pages, posts) = list.split_once("by POST: ").unwrap();
    let listed = |list: &str| -> BTreeSet<String> {
        let words = list.split([' ', ';', '"']);
        let paths = words.filter(|word| word.starts_with('/'));
        paths.map(str::to_owned).collect()
    };
    let told = |method: &str| -> BTreeSet<String> {
        let operations = document.operations();
        let all = operations.iter().filter(|((of, _), _)| of == method);
        // Of the console it says where it begins.
        let all = all.filter(|((_, path), it)| path == "/" || it["tags"][0] != "console");
        all.map(|((_, path), _)| path.clone()).collect()
    };
    assert_eq!(listed(pages), told("GET"));
    assert_eq!(listed(posts), told("POST"));
    // What it does not list is in its text.
    let router = include_str!("../../../crates/sidecar/src/observe/debug/mod.rs");
    let (_, router) = router.split_once("Router::new()").unwrap();
    let (router, _) = router.split_once(".fallback(").unwrap();
    let named = router
        .split(".route(\"")
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap());
    let (_, views) = include_str!("../../../crates/sidecar/src/observe/debug/mod.rs")
        .split_once("const VIEWS")
        .unwrap();
    let views = views.split(';').nth(1).unwrap().split('"');
    let views = views.filter(|text| text.starts_with('/'));
    let everything: BTreeSet<_> = named
        .chain(views)
        .map(|path| path.replace("{*name}", "{name}"))
        .collect();
    let paths = document.0["paths"].as_object().unwrap();
    assert_eq!(everything, paths.keys().cloned().collect());
}

#[tokio::test]
async fn every_path_takes_its_methods_and_no_others() {
    let document = debug_document();
    let server = Setup::example().start().await;
    let methods = ["GET", "POST", "PUT", "DELETE", "PATCH"];
    for path in document.0["paths"].as_object().unwrap().keys() {
        let own = document.0["paths"][path].as_object().unwrap();
        for method in methods {
            let is_own = own.contains_key(&method.to_lowercase());
            if is_own && path == "/debug/stream" {
                continue;
            }
            let reply = ask(&server, (method, &filled(path)), &[], b"");
            assert_eq!(reply.status == 405, !is_own, "{method} {path}: {reply:?}");
            if is_own {
                let is_there = reply.status != 404 || path.contains("{id}");
                assert!(is_there, "{method} {path}: {reply:?}");
            } else {
                assert!(reply.header("allow").is_some(), "{method} {path}");
                assert_eq!(reply.json()["error"], "method not allowed");
            }
        }
    }
}
