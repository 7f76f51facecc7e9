//! Whatever a stranger does to a log is found.

use proptest::prelude::*;

use super::*;
use crate::audit::entry::{Kind, Record, seal};

/// So many entries, as lines, and their head.
fn log(count: u64) -> (Vec<String>, Head) {
    let mut at = Link::none();
    let lines = (0..count).map(|number| {
        let record = Record::new(Kind::AdminState, "set")
            .by("ada", "tests")
            .what("node", format!("fra-{number}"));
        let (line, next) = seal(record, (number * 1_000, 0), &at);
        at = next;
        line
    });
    let lines: Vec<String> = lines.collect();
    let head = Head {
        first_sequence: 1,
        anchor: NO_PREVIOUS.to_owned(),
        last_sequence: at.sequence,
        last_hash: at.hash,
    };
    (lines, head)
}

fn part(lines: &[String]) -> Part {
    Part {
        name: "audit.log".into(),
        bytes: lines.concat().into_bytes(),
    }
}

fn looked(lines: &[String], head: &Head) -> Vec<String> {
    let verified = verify(&[part(lines)], Some(head));
    verified.findings.iter().map(ToString::to_string).collect()
}

#[test]
fn a_log_as_it_was_written_has_no_findings() {
    let (lines, head) = log(7);
    for cut in 0..=7 {
        let (old, new) = lines.split_at(cut);
        let verified = verify(&[part(old), part(new)], Some(&head));
        assert_eq!(verified.findings, []);
        assert_eq!((verified.entries, verified.range), (7, Some((1, 7))));
        assert_eq!(verified.anchor.as_deref(), Some(NO_PREVIOUS));
    }
    assert_eq!(verify(&[], None), Verified::default());
    let later = verify(&[part(&lines[3..])], None);
    assert_eq!(later.findings, [], "older files may be gone");
}

#[test]
fn each_fault_is_named_by_its_entry_and_line() {
    let (lines, head) = log(5);
    let without = |gone: &[usize]| {
        let kept = lines
            .iter()
            .enumerate()
            .filter(|(at, _)| !gone.contains(at));
        kept.map(|(_, line)| line.clone()).collect::<Vec<_>>()
    };
    assert_eq!(looked(&without(&[2]), &head), ["entry 3 is missing"]);
    assert_eq!(
        looked(&without(&[1, 2]), &head),
        ["entries 2 to 3 are missing"]
    );
    assert_eq!(looked(&without(&[0]), &head), ["entry 1 is missing"]);
    assert_eq!(
        looked(&without(&[3, 4]), &head),
        ["entries 4 to 5 are missing"]
    );
    assert_eq!(
        looked(&[], &head),
        ["entries 1 to 5 are missing"],
        "all of it"
    );
    let mut changed = lines.clone();
    changed[1] = changed[1].replace("fra-1", "fra-9");
    assert_eq!(
        looked(&changed, &head),
        ["audit.log:2: entry 2 is not as it was written"]
    );
    let mut swapped = lines.clone();
    swapped.swap(1, 2);
    assert_eq!(
        looked(&swapped, &head),
        ["audit.log:3: entry 2 stands behind a later one"]
    );
    let mut twice = lines.clone();
    twice.insert(4, lines[1].clone());
    assert_eq!(
        looked(&twice, &head),
        ["audit.log:5: entry 2 is there once more"]
    );
    let mut cut = lines.clone();
    cut[4].truncate(40);
    assert_eq!(looked(&cut, &head), ["audit.log:5: entry 5 is cut short"]);
    let mut more = lines.clone();
    more.insert(2, "something else\n".to_owned());
    assert_eq!(
        looked(&more, &head),
        ["audit.log:3: entry 3 is not as it was written"]
    );
}

#[test]
fn an_entry_that_was_sealed_anew_is_found_by_the_next_or_by_the_head() {
    let (lines, head) = log(3);
    let forge = |at: usize| {
        let mut forged = lines.clone();
        let Line::Sound(before) = entry::open(lines[at - 1].trim_end().as_bytes()) else {
            panic!("{}", lines[at - 1]);
        };
        let link = Link {
            sequence: before.sequence,
            hash: before.hash,
        };
        forged[at] = seal(Record::new(Kind::Geo, "applied"), (5, 0), &link).0;
        looked(&forged, &head)
    };
    assert_eq!(forge(1), ["audit.log:2: entry 2 is not as it was written"]);
    assert_eq!(forge(2), ["entry 3 is not the one that audit.head names"]);
}

/// What a stranger does.
#[derive(Debug, Clone)]
enum Deed {
    Change(usize, u8),
    Drop(usize),
    Swap(usize, usize),
    Repeat(usize, usize),
    Truncate(usize),
}

fn deed() -> impl Strategy<Value = Deed> {
    let place = any::<prop::sample::Index>;
    let at = |index: prop::sample::Index| index.index(1 << 20);
    prop_oneof![
        4 => (place(), any::<u8>()).prop_map(move |(a, byte)| Deed::Change(at(a), byte)),
        2 => place().prop_map(move |a| Deed::Drop(at(a))),
        2 => (place(), place()).prop_map(move |(a, b)| Deed::Swap(at(a), at(b))),
        2 => (place(), place()).prop_map(move |(a, b)| Deed::Repeat(at(a), at(b))),
        1 => place().prop_map(move |a| Deed::Truncate(at(a))),
    ]
}

fn done(deed: &Deed, lines: &[String]) -> Vec<u8> {
    let count = lines.len();
    let mut lines = lines.to_vec();
    match deed {
        Deed::Change(at, byte) => {
            let mut bytes = lines.concat().into_bytes();
            let at = at % bytes.len();
            bytes[at] = *byte;
            return bytes;
        }
        Deed::Drop(at) => drop(lines.remove(at % count)),
        Deed::Swap(a, b) => lines.swap(a % count, b % count),
        Deed::Repeat(from, to) => {
            let line = lines[from % count].clone();
            lines.insert(to % (count + 1), line);
        }
        Deed::Truncate(at) => {
            let mut bytes = lines.concat().into_bytes();
            bytes.truncate(at % bytes.len());
            return bytes;
        }
    }
    lines.concat().into_bytes()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]
    #[test]
    fn whatever_is_done_to_a_log_is_found(count in 1..12_u64, deeds in prop::collection::vec(deed(), 1..3)) {
        let (lines, head) = log(count);
        let first = done(&deeds[0], &lines);
        let mut bytes = first;
        if let Some(second) = deeds.get(1) {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let again: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
            if !again.is_empty() {
                bytes = done(second, &again);
            }
        }
        let is_same = bytes == lines.concat().into_bytes();
        let part = Part { name: "audit.log".into(), bytes };
        let verified = verify(&[part], Some(&head));
        prop_assert_eq!(is_same, verified.findings.is_empty(), "{:?}", verified);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..2_000), first in any::<u64>(), last in any::<u64>()) {
        let head = Head {
            first_sequence: first,
            anchor: String::new(),
            last_sequence: last,
            last_hash: String::new(),
        };
        let part = Part { name: "noise".into(), bytes };
        verify(std::slice::from_ref(&part), Some(&head));
        verify(&[part], None);
    }
}
