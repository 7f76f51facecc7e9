//! The shape of the crate, held by a test on its text: the engine is pure, imports point one way, nothing goes round.
//!
//! Text is enough: what a module may name is a rule about names. Comments, strings and unit tests are not looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use crate::tree::{self, CRATES};

/// What the engine must not name: the shell, its crates, and every way to the world outside its arguments.
const NOT_IN_ENGINE: &[&str] = &[
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

/// The code of a crate's files, by their paths in it.
fn sources(folder: &str) -> BTreeMap<String, String> {
    let files = tree::sources(folder).into_iter();
    files.map(|(name, text)| (name, code_of(&text))).collect()
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

/// The module below `folder` (empty, or ending in `/`) that a file belongs to: `key.rs` and `key/mod.rs` are both `key`.
/// The folder's own file belongs to none: what it holds stands above or below its modules as it pleases.
fn module_in<'a>(folder: &str, file: &'a str) -> Option<&'a str> {
    let inside = file.strip_prefix(folder)?;
    let first = inside.split('/').next().unwrap_or_default();
    let name = first.strip_suffix(".rs").unwrap_or(first);
    (!["mod", "lib", "main"].contains(&name)).then_some(name)
}

/// Every folder with modules in it, as prefixes of paths: the empty one is the crate itself.
fn folders(sources: &BTreeMap<String, String>) -> BTreeSet<String> {
    let parts = |file: &String| {
        file.match_indices('/')
            .map(|(at, slash)| file.split_at(at + slash.len()).0.to_owned())
            .collect::<Vec<_>>()
    };
    let inner = sources.keys().flat_map(parts);
    inner.chain([String::new()]).collect()
}

/// Which modules of a folder each one names, by `crate::folder::x` anywhere and by `super::x` from where that leads there.
fn imports<'a>(
    sources: &'a BTreeMap<String, String>,
    folder: &str,
) -> BTreeMap<&'a str, BTreeSet<&'a str>> {
    let modules: BTreeSet<&str> = sources
        .keys()
        .filter_map(|file| module_in(folder, file))
        .collect();
    let from_the_crate = format!("crate::{}", folder.replace('/', "::"));
    let mut graph: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (file, code) in sources {
        let Some(own) = module_in(folder, file) else {
            continue;
        };
        // How many `super::` lead from this file to the folder's own module.
        let inside = file.strip_prefix(folder).unwrap_or_default();
        let depth = inside.matches('/').count() + usize::from(!file.ends_with("/mod.rs"));
        let named = graph.entry(own).or_default();
        for prefix in [&from_the_crate, &"super::".repeat(depth)] {
            for (at, _) in code.match_indices(prefix.as_str()) {
                let before = code.get(..at).unwrap_or_default();
                if before.ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':') {
                    continue;
                }
                let rest = code.get(at + prefix.len()..).unwrap_or_default();
                named.extend(
                    heads(rest)
                        .into_iter()
                        .filter_map(|head| modules.get(head).copied()),
                );
            }
        }
        named.remove(own);
    }
    graph
}

/// The first names of a path or of each path of a group: `a` and `c` of `{a::{b, d}, c::E}`.
fn heads(path: &str) -> Vec<&str> {
    let end = |c: char| !c.is_alphanumeric() && c != '_';
    let Some(group) = path.strip_prefix('{') else {
        return path.split(end).next().into_iter().collect();
    };
    let mut heads = Vec::new();
    let (mut depth, mut start) = (0_usize, 0);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                let one = group.get(start..at).unwrap_or_default().trim_start();
                heads.extend(one.split(end).next());
                start = at + 1;
            }
            _ => {}
        }
        if c == '}' && depth == 0 && start == at + 1 {
            break;
        }
    }
    heads
}

/// A way from some module back to itself, if there is one.
fn cycle<'a>(graph: &BTreeMap<&'a str, BTreeSet<&'a str>>) -> Option<Vec<&'a str>> {
    let mut left = graph.clone();
    // What names nothing that is left cannot be in a cycle.
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
    let mut sources = sources("crates/engine/src");
    // Explores on all cores, and is there for tests only.
    sources.remove("explorer.rs").expect("it is there");
    let lib = Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/engine/src/lib.rs");
    let lib = fs::read_to_string(lib).expect("it is text");
    assert!(lib.contains("\n#[cfg(test)]\nmod explorer;\n"));
    for (file, code) in sources {
        let words = words(&code);
        for banned in NOT_IN_ENGINE {
            assert!(
                !words.contains(banned),
                "crates/engine/src/{file} names `{banned}`"
            );
        }
        // Versions are numbers that only rise: whoever reads one has what held a moment ago, or what holds now.
        let may_share = file.starts_with("freshness/");
        let atomic = words
            .iter()
            .find(|word| word.starts_with("Atomic") && !may_share);
        assert_eq!(atomic, None, "crates/engine/src/{file} names an atomic");
    }
}

#[test]
fn modules_of_every_folder_import_without_cycles() {
    let mut round = Vec::new();
    for root in CRATES {
        let sources = sources(root);
        assert!(!sources.is_empty(), "{root} is seen");
        for folder in folders(&sources) {
            if let Some(way) = cycle(&imports(&sources, &folder)) {
                round.push(format!("{root}/{folder}: {}", way.join(" -> ")));
            }
        }
    }
    assert!(round.is_empty(), "imports go round:\n{}", round.join("\n"));
}

#[test]
fn imports_are_seen() {
    let sources = sources("crates/engine/src");
    let engine = imports(&sources, "");
    assert!(engine["evaluate"].contains("policy"), "{engine:?}");
    let control = imports(&sources, "control/");
    assert!(control["site"].contains("node"), "{control:?}");
}

/// A crate in which a cycle lies at the top, and another in a folder.
#[test]
fn a_cycle_would_be_found() {
    let file = |name: &str, code: &str| (name.to_owned(), code.to_owned());
    let sources = BTreeMap::from([
        file("a/mod.rs", "use super::b::B;"),
        file("a/deep.rs", "use super::super::c;"),
        file("b.rs", "use super::{c, d::D};"),
        file("c.rs", "fn f() { crate::a::g() }"),
        file("d/mod.rs", ""),
        file("d/e.rs", "use super::{g, f::{X, Y}};"),
        file("d/f/mod.rs", "use super::g;"),
        file("d/f/inner.rs", "use super::super::g;"),
        file("d/g.rs", "use crate::d::{h::H, f::inner};"),
        file("d/h.rs", "use super::super::a::b;"),
    ]);
    assert_eq!(folders(&sources).len(), 4, "the crate, a, d and d/f");
    assert_eq!(
        cycle(&imports(&sources, "")),
        Some(vec!["a", "b", "c", "a"])
    );
    assert_eq!(cycle(&imports(&sources, "d/")), Some(vec!["f", "g", "f"]));
    assert_eq!(cycle(&imports(&sources, "d/f/")), None);
}

/// What each crate may name of the others: imports point one way.
const MAY_NAME: &[(&str, &[&str])] = &[
    ("engine", &[]),
    ("simulator", &["engine"]),
    ("wire", &["engine"]),
    ("client", &["engine", "wire"]),
    ("envoy", &["engine", "wire", "client"]),
    ("c", &["engine", "wire", "client"]),
    ("sidecar", &["engine", "wire"]),
    (
        "demo",
        &["engine", "simulator", "wire", "client", "sidecar"],
    ),
    ("bench", &["engine", "wire"]),
];

#[test]
fn crates_depend_one_way() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("crates");
    let mut seen = BTreeSet::new();
    for entry in fs::read_dir(&root).expect("the folder is readable") {
        let name = entry.expect("the entry is readable").file_name();
        let name = name.to_string_lossy().into_owned();
        let manifest = fs::read_to_string(root.join(&name).join("Cargo.toml"))
            .expect("every folder is a crate");
        let (_, allowed) = MAY_NAME
            .iter()
            .find(|(known, _)| *known == name)
            .expect("every crate has its place");
        let shipped = manifest.split("[dev-dependencies]").next();
        for line in shipped.unwrap_or_default().lines() {
            let other = line
                .split_once(" = ")
                .and_then(|(other, _)| other.strip_prefix("tradewind-"));
            if let Some(other) = other {
                assert!(allowed.contains(&other), "{name} stands on {other}");
            }
        }
        seen.insert(name);
    }
    assert_eq!(seen.len(), MAY_NAME.len(), "{seen:?}");
}

#[test]
fn the_shell_keeps_the_wire_in_one_place() {
    for (file, code) in sources("crates/sidecar/src") {
        // Converting is the wire's alone; these hand whole messages on: they answer, keep and show them.
        let may_name = [
            "decision_log",
            "doors",
            "fleet",
            "freshness",
            "intake",
            "observe/debug",
            "reclaim",
            "serve",
            "trace",
            // Tells the fleet what this sidecar is like.
            "writer/witness",
        ];
        let names = words(&code).contains("proto");
        assert!(
            !names || may_name.iter().any(|room| file.starts_with(room)),
            "crates/sidecar/src/{file} names generated messages"
        );
    }
}
