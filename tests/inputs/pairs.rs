//! Two fields of a whole document left out, or left blank, at once: each is refused or used, whatever the other one is.
//!
//! All pairs: `cargo test --release --test inputs pairs -- --ignored --nocapture`.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test may panic, and says what it tried"
)]

use serde_json::Value;

use crate::documents::SURVIVORS;
use crate::schemas::{json_of, testdata};

/// What becomes of a field.
#[derive(Debug, Clone, Copy)]
enum Change {
    Out,
    Blank,
}

/// The places of all fields, as JSON pointers.
fn fields(value: &Value, at: &str, all: &mut Vec<String>) {
    match value {
        Value::Object(fields_of) => {
            for (name, value) in fields_of {
                let name = name.replace('~', "~0").replace('/', "~1");
                let place = format!("{at}/{name}");
                fields(value, &place, all);
                all.push(place);
            }
        }
        Value::Array(entries) => {
            for (number, value) in entries.iter().enumerate() {
                fields(value, &format!("{at}/{number}"), all);
            }
        }
        _ => {}
    }
}

/// Does it to a field, if the field is still there.
fn change(document: &mut Value, place: &str, change: Change) {
    let Some((parent, name)) = place.rsplit_once('/') else {
        return;
    };
    let name = name.replace("~1", "/").replace("~0", "~");
    let Some(Value::Object(fields)) = document.pointer_mut(parent) else {
        return;
    };
    match change {
        Change::Out => drop(fields.remove(&name)),
        Change::Blank => {
            if let Some(value) = fields.get_mut(&name) {
                *value = Value::Null;
            }
        }
    }
}

/// Tries every so many of all pairs.
fn try_pairs(stride: usize) {
    for (file, survives) in SURVIVORS {
        let whole = json_of(&testdata(file)).expect("it is YAML");
        let mut places = Vec::new();
        fields(&whole, "", &mut places);
        let firsts = places.iter().enumerate();
        let pairs =
            firsts.flat_map(|(at, first)| places.iter().skip(at + 1).map(move |it| (first, it)));
        let (mut tried, mut used) = (0_u32, 0_u32);
        for (first, second) in pairs.step_by(stride) {
            for [one, other] in [
                [Change::Out, Change::Out],
                [Change::Blank, Change::Out],
                [Change::Blank, Change::Blank],
            ] {
                let mut document = whole.clone();
                change(&mut document, first, one);
                change(&mut document, second, other);
                tried += 1;
                used += u32::from(survives(&document.to_string()));
            }
        }
        println!(
            "{file}: {} fields, {tried} pairs tried, {used} used",
            places.len()
        );
        assert!(used > 0 && used < tried, "{file}: {used} of {tried}");
    }
}

#[test]
fn two_fields_left_out_or_blank_at_once_are_refused_or_used() {
    // A prime, so that no field is always left out together with the same ones.
    try_pairs(97);
}

#[test]
#[ignore = "takes minutes; its command is above"]
fn all_pairs_of_fields_left_out_or_blank_are_refused_or_used() {
    try_pairs(1);
}
