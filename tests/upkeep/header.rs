//! The header of the C library is what its sources come to. `UPDATE=1 cargo test --test upkeep header` writes it anew.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "what tests share may fail like the test itself, and UPDATE says what is to be done"
)]

use std::path::Path;

/// What a type is called in C, where nobody sees that it is in a crate.
const NAMES: [(&str, &str); 6] = [
    ("Text", "tw_text"),
    ("Pair", "tw_pair"),
    ("Query", "tw_query"),
    ("Node", "tw_node"),
    ("Answer", "tw_answer"),
    ("Handle", "tw"),
];

/// What of its constants C sees, behind `TW_`.
const CONSTANTS: [&str; 11] = [
    "ABI",
    "NODES",
    "ROOM",
    "ROUTE",
    "REFUSE",
    "BALANCE",
    "AGAIN",
    "FORKED",
    "TOO_SMALL",
    "MISUSED",
    "UNREADABLE",
];

const HEAD: &str =
    "/* Tradewind's engine as a C library: docs/c-library.md. Made from crates/c; do not edit. */";

/// What cbindgen makes of the sources.
fn made(sources: &Path) -> String {
    let mut config = cbindgen::Config {
        language: cbindgen::Language::C,
        style: cbindgen::Style::Type,
        cpp_compat: true,
        include_guard: Some("TRADEWIND_H".to_owned()),
        header: Some(HEAD.to_owned()),
        after_includes: Some("\n/* What tw_open returns. */\ntypedef struct tw tw;".to_owned()),
        documentation_style: cbindgen::DocumentationStyle::C,
        no_includes: true,
        sys_includes: vec!["stddef.h".to_owned(), "stdint.h".to_owned()],
        usize_is_size_t: true,
        ..cbindgen::Config::default()
    };
    config.export.exclude = vec!["luaopen_tradewind_c".to_owned()];
    let constants = CONSTANTS.map(|name| (name.to_owned(), format!("TW_{name}")));
    let types = NAMES.map(|(name, called)| (name.to_owned(), called.to_owned()));
    config.export.rename = types.into_iter().chain(constants).collect();
    let bindings = cbindgen::Builder::new()
        .with_config(config)
        .with_src(sources.join("abi.rs"))
        .with_src(sources.join("calls.rs"))
        .generate()
        .unwrap();
    let mut text = Vec::new();
    bindings.write(&mut text);
    let text = String::from_utf8(text).unwrap();
    in_c(&text)
}

/// Comments as C has them, without what they say of Rust's `unsafe`: in C all is.
fn in_c(text: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    let mut comment: Option<(&str, Vec<&str>)> = None;
    for line in text.lines() {
        let word = line.trim();
        let indent = line
            .strip_suffix("/*")
            .filter(|indent| indent.trim().is_empty());
        if let Some(indent) = indent {
            comment = Some((indent, Vec::new()));
            continue;
        }
        match (&mut comment, word) {
            (None, _) => lines.push(line.to_owned()),
            (Some((indent, said)), "*/") => {
                let said: Vec<&str> = said
                    .iter()
                    .take_while(|line| **line != "# Safety")
                    .copied()
                    .filter(|line| !line.is_empty())
                    .collect();
                let lead = format!("\n{indent}   ");
                lines.push(format!("{indent}/* {} */", said.join(&lead)));
                comment = None;
            }
            (Some((_, said)), word) => said.push(word),
        }
    }
    lines.join("\n") + "\n"
}

#[test]
fn the_header_is_what_the_sources_come_to() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/c");
    let file = root.join("include/tradewind.h");
    let made = made(&root.join("src"));
    if std::env::var("UPDATE").is_ok_and(|update| update == "1") {
        std::fs::write(&file, &made).unwrap();
    }
    let there = std::fs::read_to_string(&file).unwrap();
    assert_eq!(there, made, "UPDATE=1 writes {} anew", file.display());
}
