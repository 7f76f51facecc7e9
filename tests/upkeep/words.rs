//! `docs/reasons.md` has every word that the code uses, and no other; so have the comments of the protos.

#![expect(
    clippy::unwrap_used,
    reason = "a page that is not as expected is a failure"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use tradewind::engine::control::meter::MoveCause;
use tradewind::engine::control::trials::{Blame, TrialStep};
use tradewind::engine::control::{admission, heard};
use tradewind::engine::decision::{CacheHint, Note, Purity};
use tradewind::engine::evaluate::{Reason, Role, Rung, Verdict};
use tradewind::engine::explanation::{Elimination, SiteStanding};
use tradewind::engine::geo::place;
use tradewind::engine::health::breaker::Cause;
use tradewind::engine::signal::observation::AttemptResult;
use tradewind::sidecar::wire::answer::FRESHNESS_UNKNOWN;
use tradewind::sidecar::wire::report::RefusedReason;

/// The words of a list of values, in its order.
macro_rules! words {
    ($type:path) => {{
        type Word = $type;
        Word::ALL.iter().map(|word| word.name()).collect::<Vec<_>>()
    }};
}

/// Every list, by its heading in the page.
fn lists() -> BTreeMap<&'static str, Vec<&'static str>> {
    BTreeMap::from([
        ("Verdicts", words!(Verdict)),
        ("Reasons", words!(Reason)),
        ("Rungs", words!(Rung)),
        ("Purity", words!(Purity)),
        ("Roles", words!(Role)),
        // The last is the sidecar's own: no decision is made otherwise for it.
        ("Notes", [words!(Note), vec![FRESHNESS_UNKNOWN]].concat()),
        ("Cache hints", words!(CacheHint)),
        ("Sources of places", words!(place::Source)),
        ("Precision of places", words!(place::Precision)),
        ("Standings of sites", words!(SiteStanding)),
        ("Why nodes are left out", words!(Elimination)),
        ("Sources of verdicts", words!(admission::Source)),
        ("Causes of breakers", words!(Cause)),
        ("Causes of moves", words!(MoveCause)),
        ("What sites are left for", words!(Blame)),
        ("Steps of trials", words!(TrialStep)),
        (
            "Results of attempts",
            AttemptResult::ALL.map(AttemptResult::name).to_vec(),
        ),
        ("Why reports are refused", words!(RefusedReason)),
        ("Why reports are not believed", words!(heard::Unbelieved)),
        ("What reporters disagree about", words!(heard::Topic)),
    ])
}

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The words of each section of the page, in their order; each with a meaning and what to do.
fn page() -> BTreeMap<String, Vec<String>> {
    let text = read("docs/reasons.md");
    let sections = text.split("\n## ").skip(1);
    sections
        .map(|section| {
            let (heading, body) = section.split_once('\n').unwrap();
            let rows = body.lines().filter(|line| line.starts_with("| `"));
            let words = rows.map(|row| {
                let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
                assert!(
                    cells.len() == 3 && cells.iter().all(|cell| !cell.is_empty()),
                    "{row}"
                );
                cells.first().unwrap().trim_matches('`').to_owned()
            });
            (heading.to_owned(), words.collect())
        })
        .collect()
}

#[test]
fn the_page_has_the_words_of_the_code_in_their_order() {
    let page = page();
    let headings: BTreeSet<&str> = page.keys().map(String::as_str).collect();
    let lists = lists();
    assert_eq!(headings, lists.keys().copied().collect());
    for (heading, words) in lists {
        assert_eq!(page[heading], words, "{heading}");
    }
}

/// The words of a comment that lists some: those behind the last colon, up to the full stop.
fn comment_before<'t>(text: &'t str, field: &str) -> BTreeSet<&'t str> {
    let (before, _) = text
        .split_once(field)
        .unwrap_or_else(|| panic!("{field} is not there"));
    let start = before.rfind(";\n").unwrap();
    let comment = before.split_at(start).1;
    let list = comment.split(": ").last().unwrap();
    let plain = |c: char| !c.is_ascii_lowercase() && c != '_';
    list.split(plain)
        .filter(|word| !word.is_empty() && *word != "or")
        .collect()
}

#[test]
fn protos_list_the_words_of_the_code() {
    let decision = read("proto/tradewind/v1/decision.proto");
    let feedback = read("proto/tradewind/v1/feedback.proto");
    for (text, field, words) in [
        (&decision, "string reason = 6;", words!(Reason)),
        (&decision, "string purity = 7;", words!(Purity)),
        (&decision, "string rung = 8;", words!(Rung)),
        (&decision, "string cache_hint = 14;", words!(CacheHint)),
        (&decision, "repeated string notes = 15;", words!(Note)),
        (&decision, "string role = 7;", words!(Role)),
        (&decision, "string standing = 10;", words!(SiteStanding)),
        (&decision, "string eliminated = 6;", words!(Elimination)),
        (
            &feedback,
            "map<string, uint64> refused = 2;",
            words!(RefusedReason),
        ),
    ] {
        let listed = comment_before(text, field);
        let missing: Vec<_> = words
            .iter()
            .filter(|word| !listed.contains(*word))
            .collect();
        assert!(missing.is_empty(), "{field} lacks {missing:?}");
    }
}
