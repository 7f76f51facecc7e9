//! The catalogue of faults and the tests named after its rows agree.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::tree;

/// Names of tests that begin with the number of a fault, in all of the project.
fn tests_of_faults() -> BTreeSet<String> {
    let is_numbered = |name: &&str| {
        let digits = name.split('_').next().unwrap_or_default();
        digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit())
    };
    let mut names = BTreeSet::new();
    for (_, code) in ["tests", "crates"].into_iter().flat_map(tree::sources) {
        let functions = code.lines().filter_map(|line| line.split_once("fn f"));
        let starts = functions.filter_map(|(_, rest)| rest.split('(').next());
        names.extend(starts.filter(is_numbered).map(|name| format!("f{name}")));
    }
    names
}

#[test]
fn every_fault_has_its_row_and_every_test_that_is_named_exists() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/hardening.md"));
    let page = page.unwrap();
    let tests = tests_of_faults();
    assert!(tests.len() > 30, "tests are found: {tests:?}");
    for name in &tests {
        let (number, _) = name.split_once('_').unwrap();
        let number = number.to_uppercase();
        let row = page
            .lines()
            .find(|line| line.starts_with('|') && line.contains(&number))
            .unwrap_or_else(|| panic!("{name}: docs/hardening.md has no row {number}"));
        let family = format!("`{}_*`", number.to_lowercase());
        assert!(
            row.contains(&format!("`{name}`")) || row.contains(&family),
            "row {number} does not name {name}"
        );
    }
    let quoted = page.split('`').skip(1).step_by(2);
    let numbered = quoted.filter(|name| {
        let digits = name.strip_prefix('f').and_then(|rest| rest.get(..2));
        digits.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
            && name.contains('_')
            && !name.contains(['*', '…'])
    });
    for name in numbered {
        assert!(tests.contains(name), "{name} is named and does not exist");
    }
}
