//! Figures of the house: how its files stand, counted the same way each time.
//!
//! `cargo test --test upkeep figures -- --nocapture` prints them; docs/architecture.md has them beside those of
//! the house before.

#![expect(
    clippy::cast_precision_loss,
    reason = "a table of small numbers is printed"
)]

use crate::tree::{self, CRATES};

/// A source file, parted into what is shipped and its unit tests.
struct Source {
    name: String,
    shipped: Vec<String>,
    tests: Vec<String>,
}

/// The files below a folder, without generated ones.
fn sources(folder: &str) -> Vec<Source> {
    let files = tree::sources(folder).into_iter();
    let files = files.filter(|(name, _)| !name.contains("generated/"));
    let read = files.map(|(name, text)| {
        let name = format!("{folder}/{name}");
        let (shipped, tests) = if name.contains("/tests") {
            ("", text.as_str())
        } else {
            text.split_once("#[cfg(test)]\nmod ").unwrap_or((&text, ""))
        };
        let lines = |text: &str| text.lines().map(str::to_owned).collect();
        Source {
            shipped: lines(shipped),
            tests: lines(tests),
            name,
        }
    });
    read.collect()
}

fn is_code(line: &str) -> bool {
    let line = line.trim();
    !line.is_empty() && !line.starts_with("//")
}

fn code(lines: &[String]) -> usize {
    lines.iter().filter(|line| is_code(line)).count()
}

/// How many lines of code hold one of `words`.
fn with(sources: &[Source], words: &[&str]) -> usize {
    let lines = sources.iter().flat_map(|source| &source.shipped);
    let has = |line: &&String| is_code(line) && words.iter().any(|word| line.contains(word));
    lines.filter(has).count()
}

/// A comment within a function's body: it stands deeper than documentation and is none.
fn is_inline_comment(line: &str) -> bool {
    line.trim_start().starts_with("// ")
}

fn is_named_closure(line: &str) -> bool {
    let line = line.trim();
    line.starts_with("let ") && (line.contains("= |") || line.contains("= move |"))
}

fn has_tuple_parameter(line: &str) -> bool {
    let line = line.trim();
    let is_parameter = line.starts_with('(') && line.contains("): (");
    let in_signature = line
        .split_once("fn ")
        .and_then(|(_, rest)| rest.split_once('('))
        .is_some_and(|(_, parameters)| parameters.contains("): ("));
    is_parameter || in_signature
}

#[test]
fn of_the_house() {
    let all: Vec<Source> = CRATES.iter().flat_map(|folder| sources(folder)).collect();
    let lines: usize = all.iter().map(|source| code(&source.shipped)).sum();
    let per = |count: usize, lines: usize| 1_000.0 * count as f64 / lines as f64;
    println!("code lines shipped: {lines} in {} files", all.len());

    let longest = all
        .iter()
        .max_by_key(|source| source.shipped.len())
        .unwrap();
    let long = all.iter().filter(|source| source.shipped.len() > 500);
    println!(
        "longest file: {} ({} lines); over 500: {}",
        longest.name,
        longest.shipped.len(),
        long.count()
    );

    let engine = sources("crates/engine/src");
    let beside: usize = ["crates/engine/tests", "crates/simulator/tests"]
        .iter()
        .flat_map(|folder| sources(folder))
        .map(|source| code(&source.tests))
        .sum();
    let unit: usize = engine.iter().map(|source| code(&source.tests)).sum();
    let shipped: usize = engine.iter().map(|source| code(&source.shipped)).sum();
    println!(
        "engine: {shipped} lines of code; tests to code {:.2} (unit {unit}, beside {beside})",
        (unit + beside) as f64 / shipped as f64
    );

    let comments = all.iter().flat_map(|source| &source.shipped);
    let comments = comments.filter(|line| is_inline_comment(line)).count();
    println!(
        "inline comments per 100 lines of code: {:.1}",
        100.0 * comments as f64 / lines as f64
    );

    let defaults = with(&all, &["unwrap_or(", "unwrap_or_default("]);
    let asserts = with(&all, &["assert!(", "assert_eq!("]);
    println!(
        "silent defaults per 1,000 lines: {:.1}; asserts: {:.1}",
        per(defaults, lines),
        per(asserts, lines)
    );

    let shipped_lines = || all.iter().flat_map(|source| &source.shipped);
    let closures = shipped_lines()
        .filter(|line| is_named_closure(line))
        .count();
    let tuples = shipped_lines()
        .filter(|line| has_tuple_parameter(line))
        .count();
    println!(
        "named local closures per 1,000 lines: {:.1}; functions with tuple parameters: {tuples}",
        per(closures, lines)
    );

    let clocks = all.iter().filter(|source| {
        let mut code = source.shipped.iter().filter(|line| is_code(line));
        code.any(|line| line.contains("Instant::now()") || line.contains("SystemTime::now()"))
    });
    let clocks: Vec<&str> = clocks.map(|source| source.name.as_str()).collect();
    println!("files that read a clock: {clocks:?}");
    assert_eq!(
        clocks,
        ["crates/wire/src/clock.rs", "crates/sidecar/src/clock.rs"]
    );

    let deciding = engine.iter().filter(|source| {
        let name = source.name.as_str();
        name.contains("/lifecycle/") || name.contains("/lifecycle.rs") || name.contains("/edition")
    });
    let tests = deciding.flat_map(|source| &source.tests);
    let tests = tests.filter(|line| line.trim() == "#[test]").count();
    println!("unit tests of what decides which texts are in force: {tests}");
}
