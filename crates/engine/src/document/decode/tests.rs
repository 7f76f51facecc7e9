//! Documents decoded with all their faults.

use serde::Deserialize;

use super::super::tree::{Limits, Source};

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Sample {
    name: String,
    #[serde(default)]
    count: u16,
    #[serde(default)]
    parts: Vec<Part>,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Part {
    id: String,
    ratio: f64,
}

fn decode(text: &str) -> (Option<Sample>, Vec<String>) {
    let (mut source, mut faults) = Source::read("s.yaml", text, &Limits::default());
    let decoded = source.decode();
    faults.append(decoded.faults);
    (decoded.value, faults.to_lines())
}

#[test]
fn comments_count_for_nothing_however_many_stand_in_a_row() {
    let comments = "  # c\n".repeat(1_000);
    let text = format!("name: a\nparts:\n{comments}  - id: x\n{comments}    ratio: 1\n");
    let (value, faults) = decode(&text);
    assert_eq!(faults, Vec::<String>::new());
    assert_eq!(value.map(|sample| sample.parts.len()), Some(1));
}

#[test]
fn a_good_document_decodes_and_text_stays_text() {
    let (value, faults) = decode("name: 1.10\ncount: 7\nparts:\n- {id: NO, ratio: 0.5}\n");
    assert_eq!(faults, Vec::<String>::new());
    let part = Part {
        id: "NO".into(),
        ratio: 0.5,
    };
    assert_eq!(
        value,
        Some(Sample {
            name: "1.10".into(),
            count: 7,
            parts: vec![part]
        })
    );
}

#[test]
fn every_fault_is_found_in_one_reading() {
    let text = "name: x\ncuont: 7\nparts:\n- {id: a, ratio: fast}\n- {ratio: 1}\n- {id: c, ratio: .inf, wat: 1}\n- {id: d, ratio: 2}\n";
    let (value, faults) = decode(text);
    assert_eq!(
        value.map(|v| v.parts.len()),
        Some(4),
        "parts are kept, with stand-ins for what is missing"
    );
    let faults = faults.join("\n");
    for wanted in [
        "s.yaml:2:1: error[D004]: cuont: unknown field `cuont`; did you mean `count`?",
        "s.yaml:4:18: error[D005]: parts[0].ratio: `fast` where a number is expected",
        "s.yaml:5:3: error[D006]: parts[1]: the field `id` is missing",
        "s.yaml:6:18: error[D005]: parts[2].ratio: `.inf` where a number is expected",
        "s.yaml:6:24: error[D004]: parts[2].wat: unknown field `wat`",
    ] {
        assert!(faults.contains(wanted), "{wanted}\nin\n{faults}");
    }
}

#[test]
fn aliases_tags_doubles_and_second_documents_are_refused() {
    for (text, code) in [
        ("name: &a x\n", "D002"),
        ("name: !!str x\n", "D002"),
        ("name: *a\n", "D00"),
        ("name: x\nname: y\n", "D003"),
        ("name: x\n---\nname: y\n", "D009"),
        ("", "D010"),
        ("name: [x\n", "D001"),
        ("- a\n", "D005"),
    ] {
        let (_, faults) = decode(text);
        assert!(
            faults.iter().any(|f| f.contains(code)),
            "{text:?}: {faults:?}"
        );
    }
}

#[test]
fn deep_nesting_and_large_texts_end_early() {
    let (value, faults) = decode(&"[".repeat(200_000));
    assert!(value.is_none() && faults[0].contains("D001"), "{faults:?}");
    let limits = Limits {
        max_bytes: 10,
        ..Limits::default()
    };
    let (_, faults) = Source::read("s", "name: 0123456789", &limits);
    assert!(faults.to_lines()[0].contains("D007"));
}
