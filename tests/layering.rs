//! The shape of the crate, held by a test on its text: the engine is pure, imports point one way, nothing goes round.
//!
//! Text is enough: what a module may name is a rule about names. Comments, strings and unit tests are not looked at.

#![expect(
    clippy::expect_used,
    reason = "a source that can not be read is a failure"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// What the engine must not name: the shell, its crates, and every way to the world outside its arguments.
const NOT_IN_ENGINE: &[&str] = &[
    "sidecar",
    "demo",
    "command",
    "tokio",
    "tonic",
    "prost",
    "arc_swap",
    "maxminddb",
    "tracing",
    "notify",
    "fs",
    "env",
    "thread",
    "thread_local",
    "Mutex",
    "RwLock",
    "OnceLock",
    "LazyLock",
    "async",
    "Instant",
    "SystemTime",
];

/// The files below `folder` of the crate, as paths relative to it, with their code.
fn sources(folder: &str) -> BTreeMap<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut found = BTreeMap::new();
    let mut open: Vec<PathBuf> = root.is_dir().then(|| root.clone()).into_iter().collect();
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).expect("the folder is readable") {
            let path = entry.expect("the entry is readable").path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(&root).expect("it lies below the root");
                let name = name.to_string_lossy().replace('\\', "/");
                found.insert(
                    name,
                    code_of(&fs::read_to_string(&path).expect("it is text")),
                );
            }
        }
    }
    found
}

/// A file's text without unit tests (they stand last), comments and the insides of strings.
fn code_of(text: &str) -> String {
    let shipped = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    let lines = shipped.lines().map(|line| {
        let line = line.replace("\\\"", "").replace("'\"'", "");
        let quoted = line.split('"').step_by(2);
        let outside: String = quoted.collect::<Vec<_>>().join("\"\"");
        outside.split("//").next().unwrap_or_default().to_owned()
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn words(code: &str) -> BTreeSet<&str> {
    code.split(|c: char| !c.is_alphanumeric() && c != '_')
        .collect()
}

/// The module of the top level that a file belongs to: `policy/key.rs` and `policy/mod.rs` are both `policy`.
fn top_module(file: &str) -> &str {
    let first = file.split('/').next().unwrap_or_default();
    first.strip_suffix(".rs").unwrap_or(first)
}

/// Which modules of the engine each one names, by `crate::engine::x` anywhere and `super::x` from the top level.
fn imports(sources: &BTreeMap<String, String>) -> BTreeMap<&str, BTreeSet<&str>> {
    let modules: BTreeSet<&str> = sources.keys().map(|file| top_module(file)).collect();
    let mut graph: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (file, code) in sources.iter().filter(|(file, _)| *file != "mod.rs") {
        let own = top_module(file);
        // How many `super::` lead from this file to the engine itself.
        let depth = file.matches('/').count() + usize::from(!file.ends_with("/mod.rs"));
        let to_engine = ["crate::engine::".to_owned(), "super::".repeat(depth)];
        let named = graph.entry(own).or_default();
        for prefix in &to_engine {
            for (at, _) in code.match_indices(prefix.as_str()) {
                let rest = code.get(at + prefix.len()..).unwrap_or_default();
                let group = rest
                    .strip_prefix('{')
                    .and_then(|rest| rest.split(';').next());
                let end = |c: char| !c.is_alphanumeric() && c != '_';
                let heads = group.map_or_else(
                    || vec![rest.split(end).next().unwrap_or_default()],
                    |group| words(group).into_iter().collect(),
                );
                named.extend(heads.into_iter().filter_map(|head| modules.get(head)));
            }
        }
        named.remove(own);
    }
    graph
}

/// A way from some module back to itself, if there is one.
fn cycle<'a>(graph: &BTreeMap<&'a str, BTreeSet<&'a str>>) -> Option<Vec<&'a str>> {
    let mut left = graph.clone();
    // What names nothing that is left can not be in a cycle.
    loop {
        let free: Vec<&str> = left
            .iter()
            .filter(|(_, named)| named.iter().all(|name| !left.contains_key(name)))
            .map(|(name, _)| *name)
            .collect();
        if free.is_empty() {
            break;
        }
        left.retain(|name, _| !free.contains(name));
    }
    // Everything left names something left: following it must come round.
    let mut way = vec![*left.keys().next()?];
    loop {
        let next = way
            .last()
            .and_then(|at| left.get(at)?.iter().find(|name| left.contains_key(*name)))?;
        if let Some(at) = way.iter().position(|name| name == next) {
            way.drain(..at);
            way.push(next);
            return Some(way);
        }
        way.push(next);
    }
}

#[test]
fn the_engine_names_nothing_outside_itself() {
    for (file, code) in sources("src/engine") {
        let words = words(&code);
        for banned in NOT_IN_ENGINE {
            assert!(
                !words.contains(banned),
                "src/engine/{file} names `{banned}`"
            );
        }
        let atomic = words.iter().find(|word| word.starts_with("Atomic"));
        assert_eq!(atomic, None, "src/engine/{file} names an atomic");
    }
}

#[test]
fn modules_of_the_engine_import_without_cycles() {
    let sources = sources("src/engine");
    let graph = imports(&sources);
    assert!(
        graph["evaluate"].contains("policy"),
        "imports are seen: {graph:?}"
    );
    assert_eq!(cycle(&graph), None, "imports go round: {graph:#?}");
}

#[test]
fn a_cycle_would_be_found() {
    let file = |name: &str, code: &str| (name.to_owned(), code.to_owned());
    let sources = BTreeMap::from([
        file("a/mod.rs", "use super::b::B;"),
        file("a/deep.rs", "use super::super::c;"),
        file("b.rs", "use super::{c, d::D};"),
        file("c.rs", "fn f() { crate::engine::a::g() }"),
        file("d.rs", ""),
    ]);
    assert_eq!(cycle(&imports(&sources)), Some(vec!["a", "b", "c", "a"]));
}

#[test]
fn the_shell_points_down_and_keeps_the_wire_in_one_place() {
    for (file, code) in sources("src/sidecar") {
        for above in ["command", "demo"] {
            assert!(
                !words(&code).contains(above),
                "src/sidecar/{file} names `{above}`"
            );
        }
        // Converting is the wire's alone; these hand whole messages on: they answer, keep and show them.
        let may_name = [
            "wire", "envoy", "decider", "grpc", "admin", "audit", "debug", "feedback", "follow",
            "serve",
        ];
        let names = words(&code).contains("proto");
        assert!(
            !names || may_name.iter().any(|room| file.starts_with(room)),
            "src/sidecar/{file} names generated messages"
        );
    }
}

#[test]
fn the_client_stands_on_the_sidecar_as_any_caller_does() {
    let client = sources("src/client");
    assert!(!client.is_empty(), "the client is seen");
    // What it shares with the sidecar: messages, the clock, the bounds of documents. Not what runs it.
    let may_name = ["clock", "store", "wire"];
    // Unit tests may look at anything.
    let shipped = client
        .into_iter()
        .filter(|(file, _)| !file.ends_with("tests.rs"));
    for (file, code) in shipped {
        for (at, _) in code.match_indices("crate::sidecar::") {
            let rest = code.get(at + "crate::sidecar::".len()..);
            let end = |c: char| !c.is_alphanumeric() && c != '_';
            let room = rest.and_then(|rest| rest.split(end).next());
            assert!(
                may_name.contains(&room.unwrap_or_default()),
                "src/client/{file} names {room:?} of the sidecar"
            );
        }
        for above in ["command", "demo"] {
            assert!(
                !words(&code).contains(above),
                "src/client/{file} names `{above}`"
            );
        }
    }
}

#[test]
fn the_demo_stands_between_the_sidecar_and_the_commands() {
    let demo = sources("src/demo");
    assert!(!demo.is_empty(), "the demo is seen");
    for (file, code) in demo {
        assert!(
            !words(&code).contains("command"),
            "src/demo/{file} names `command`"
        );
    }
}
