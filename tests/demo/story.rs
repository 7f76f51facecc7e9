//! The story: a short one to its end, and a long one that is ended.

use tradewind_demo::show::{self, Plan, Record, Voice};

use crate::process::{Process, refused};

#[test]
fn a_site_fails_and_heals_and_all_expectations_hold() {
    let plan = Plan {
        seed: 7,
        requests_per_second: 300,
        quick: true,
        heeds_signals: false,
    };
    let (mut seconds, mut requests, mut events) = (0, 0, Vec::new());
    let mut tell = |told: &Record| {
        match told {
            Record::Second(second) => {
                seconds += 1;
                requests += second.requests;
                assert_eq!(second.served.len(), 9);
            }
            Record::Event(event) => events.push(event.clone()),
            Record::Begin(begin) => assert_eq!((begin.seed, begin.sites.len()), (7, 3)),
            Record::End(_) => {}
        }
        Ok(())
    };
    let end = show::run(plan, &mut tell).unwrap();
    assert!(
        end.held && end.expectations.len() == 6,
        "{end:#?} {events:#?}"
    );
    assert!(
        seconds > 15 && requests > 200 * seconds,
        "{requests} in {seconds} s"
    );
    // The sidecar says what it did, which nobody told it.
    let said = |voice, text: &str| {
        let found = events
            .iter()
            .find(|e| e.voice == voice && e.text.contains(text));
        found
            .unwrap_or_else(|| panic!("nobody says `{text}`: {events:#?}"))
            .at_s
    };
    let down = said(Voice::Demo, "all nodes of MAD refuse");
    let healed = said(Voice::Demo, "all nodes of MAD are well");
    for node in ["mad-1", "mad-2", "mad-3"] {
        let opened = said(Voice::Sidecar, &format!("{node}: breaker open, because"));
        let closed = said(Voice::Sidecar, &format!("{node}: breaker closed, because"));
        assert!(
            down < opened && opened < healed && healed < closed,
            "{events:#?}"
        );
    }
    said(Voice::Explanation, "'s and goes to ");
}

#[test]
fn an_interrupt_ends_it_at_once_and_leaves_nothing_behind() {
    let mut demo = Process::start(&["--rate", "100", "--format", "json"]);
    let begin = demo.line_with("\"begin\"");
    assert!(begin.contains("\"seed\":1"), "{begin}");
    demo.line_with("\"second\"");
    let number = demo.id();
    let (status, rest) = demo.end_by("INT");
    assert_eq!(status, Some(1));
    let last = rest.lines().last().unwrap();
    let end: serde_json::Value = serde_json::from_str(last).unwrap();
    assert_eq!(end["interrupted"], true);
    assert_eq!(end["held"], false);
    let left = std::env::temp_dir().join(format!("tradewind-demo-{number}-0"));
    assert!(!left.exists(), "{}", left.display());
}

#[test]
fn what_cannot_be_played_is_refused() {
    for (args, message) in [
        (&["--rate", "99"][..], "99 is not in 100..=2000"),
        (&["--rate", "2001"], "2001 is not in 100..=2000"),
        (&["--seed", "-1"], "unexpected argument '-1'"),
        (&["--format", "xml"], "possible values: text, json"),
        (&["nonsense"], "unrecognized subcommand 'nonsense'"),
    ] {
        let error = refused(args);
        assert!(error.contains(message), "{args:?}: {error}");
    }
}
