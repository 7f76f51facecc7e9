//! Files: what a restart, a crash, a full disk and a stranger make of the log.

use super::*;
use crate::audit::verify::{Fault, verify};

fn journal(dir: &Path) -> Journal {
    Journal::open(dir.to_path_buf(), Arc::default())
}

fn record(number: u64) -> Record {
    Record::new(Kind::Policy, "applied")
        .by("file", "")
        .what("revision", number)
}

fn write(dir: &Path, numbers: std::ops::Range<u64>) {
    let mut journal = journal(dir);
    numbers.for_each(|number| journal.record(number, record(number)));
}

/// The events in the log, oldest first, and what is wrong with it.
fn looked(dir: &Path) -> (Vec<String>, Vec<Fault>) {
    let parts = files::find(dir);
    let parts: Vec<_> = parts
        .iter()
        .map(|path| files::read(path).unwrap())
        .collect();
    let verified = verify(&parts, files::read_head(dir).unwrap().as_ref());
    let faults = verified.findings.iter().map(|finding| finding.fault);
    let lines = parts
        .iter()
        .flat_map(|part| part.bytes.split(|b| *b == b'\n'));
    let events = lines.filter_map(|line| match entry::open(line) {
        Line::Sound(entry) => Some(entry.event),
        Line::Broken { .. } => None,
    });
    (events.collect(), faults.collect())
}

#[test]
fn the_chain_goes_on_over_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("state");
    (0..5).for_each(|number| write(&dir, number..number + 2));
    let (events, faults) = looked(&dir);
    assert_eq!((events.len(), faults), (10, vec![]));
    assert_eq!(files::read_head(&dir).unwrap().unwrap().last_sequence, 10);
}

#[test]
fn a_line_that_a_crash_cut_short_is_told_wherever_it_was_cut() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), 0..3);
    let path = dir.path().join(LOG);
    let whole = fs::read(&path).unwrap();
    let head = fs::read(dir.path().join(files::HEAD)).unwrap();
    let (line, _) = {
        let last = last_link(dir.path()).unwrap().unwrap();
        entry::seal(record(3), (3, 0), &last)
    };
    for cut in 1..line.len() {
        fs::write(&path, [&whole, &line.as_bytes()[..cut]].concat()).unwrap();
        fs::write(dir.path().join(files::HEAD), &head).unwrap();
        write(dir.path(), 4..5);
        let (events, faults) = looked(dir.path());
        let told = if cut == line.len() - 1 {
            "applied"
        } else {
            "cut_short"
        };
        assert_eq!(events[3..], [told, "applied"], "cut at {cut}");
        assert_eq!(faults, [], "cut at {cut}");
    }
}

#[test]
fn files_take_turns_and_the_chain_goes_on_over_them() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = journal(dir.path());
    journal.max_file_bytes = 1_000;
    for number in 0..200 {
        journal.record(number, record(number));
        let (events, faults) = looked(dir.path());
        assert_eq!(faults, [], "after {number}");
        let left = u64::try_from(events.len()).unwrap();
        assert!(left == number + 1 || left > 20);
    }
    assert_eq!(files::find(dir.path()).len(), KEPT_FILES + 1);
    let head = files::read_head(dir.path()).unwrap().unwrap();
    assert!(head.first_sequence > 100 && head.last_sequence == 200);
    // The first of the oldest file is missed too.
    let oldest = files::older(dir.path(), KEPT_FILES);
    let text = fs::read_to_string(&oldest).unwrap();
    fs::write(&oldest, text.split_once('\n').unwrap().1).unwrap();
    assert_eq!(looked(dir.path()).1, [Fault::Dropped]);
    write(dir.path(), 0..1);
    assert_eq!(
        looked(dir.path()).1,
        [Fault::Dropped],
        "a restart hides nothing"
    );
}

#[test]
fn a_crash_while_files_take_turns_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = journal(dir.path());
    journal.max_file_bytes = 1_000;
    (0..20).for_each(|number| journal.record(number, record(number)));
    let count = looked(dir.path()).0.len();
    // As between the renames of older files and that of the log, and then as behind that.
    for number in (1..KEPT_FILES).rev() {
        let (from, to) = (files::older(dir.path(), number), number + 1);
        if from.exists() {
            fs::rename(from, files::older(dir.path(), to)).unwrap();
        }
    }
    assert_eq!(
        looked(dir.path()),
        (vec!["applied".to_owned(); count], vec![])
    );
    fs::rename(dir.path().join(LOG), files::older(dir.path(), 1)).unwrap();
    write(dir.path(), 0..1);
    let (events, faults) = looked(dir.path());
    assert_eq!((events.len(), faults), (count + 1, vec![]));
}

#[test]
fn two_processes_in_turns_make_one_chain() {
    let dir = tempfile::tempdir().unwrap();
    let (mut one, mut other) = (journal(dir.path()), journal(dir.path()));
    (one.max_file_bytes, other.max_file_bytes) = (3_000, 3_000);
    for number in 0..20 {
        one.record(number, record(number));
        other.record(number, record(number));
    }
    let (events, faults) = looked(dir.path());
    assert_eq!((events.len(), faults), (40, vec![]));
}

#[test]
fn what_cannot_be_written_is_counted_and_told_later() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let mut journal = journal(&state);
    journal.record(1, record(1));
    // A directory in the file's place stands for whatever a disk can do.
    let path = state.join(LOG);
    let aside = state.join("aside");
    journal.file = None;
    fs::rename(&path, &aside).unwrap();
    fs::create_dir(&path).unwrap();
    (2..5).for_each(|number| journal.record(number, record(number)));
    fs::remove_dir(&path).unwrap();
    fs::rename(&aside, &path).unwrap();
    journal.record(5, record(5));
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains("\"lost\":3"), "{text}");
    assert_eq!(looked(&state).1, []);
    let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    let counters = &journal.counters;
    assert_eq!(
        (
            count(&counters.written),
            count(&counters.failed),
            count(&counters.lost)
        ),
        (2, 3, 3)
    );
}

#[test]
fn a_log_that_lost_its_end_says_so_and_is_seen_to() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), 0..6);
    let path = dir.path().join(LOG);
    let text = fs::read_to_string(&path).unwrap();
    let kept: String = text.split_inclusive('\n').take(3).collect();
    fs::write(&path, kept).unwrap();
    assert_eq!(looked(dir.path()).1, [Fault::Dropped]);
    write(dir.path(), 6..7);
    let (events, faults) = looked(dir.path());
    assert_eq!(events[3..], ["entries_missing", "applied"]);
    assert_eq!(faults, [Fault::Dropped], "the gap stays to be seen");
}
