//! Many sidecars that act as one: agreement, how soon a failed node is left by all, and what liars, cuts and a dying chair
//! do to that.

use std::sync::Arc;

use tradewind_engine::policy::Operation;
use tradewind_simulator::fleet::Fleet;
use tradewind_simulator::fleet::land::Scale;
use tradewind_simulator::fleet::report::{Report, percent};
use tradewind_simulator::fleet::scenario::{Cut, Scenario};

use crate::fleet;

fn operation() -> Operation {
    let fleet = fleet::Fleet::default();
    let topology = fleet.topology();
    Arc::clone(&fleet.policy(&topology)).operation().clone()
}

fn run(name: &str, scenario: Scenario) -> Report {
    let report = Fleet::new(scenario, operation()).run();
    println!("| {name} | {report} |");
    report
}

fn small(seed: u64) -> Scenario {
    Scenario::usual(Scale::SMALL, 60, seed)
}

#[test]
fn many_sidecars_agree_and_leave_a_failed_node_within_two_seconds() {
    let report = run("one chair", small(42));
    let (mean, least) = percent(&report.any_two);
    assert!(mean >= 99.9 && least >= 99.0, "{mean} {least}");
    assert!(report.left_ms(false, 0.99).is_some_and(|ms| ms <= 2_500));
    assert_eq!(report.wrong_openings, 0);
    assert_eq!(report.chairs.len(), 1, "{:?}", report.chairs);
}

#[test]
fn a_tenth_of_liars_opens_nothing() {
    for (name, lies) in [
        ("10 % say that all fails", 1.0),
        ("10 % say it of half", 0.5),
    ] {
        let scenario = Scenario {
            liars: 0.1,
            lies,
            ..small(42)
        };
        let report = run(name, scenario);
        assert_eq!(report.wrong_openings, 0);
        // Who says it of all has lost its own way, and is asked nothing.
        assert!(report.dismissed > 0 || lies > 0.9);
        assert!(report.left_ms(false, 0.5).is_some_and(|ms| ms <= 2_500));
    }
}

/// What members could not send during an outage opened two well nodes when it came all together at its end.
#[test]
fn what_comes_after_an_outage_opens_nothing() {
    for keeps in [false, true] {
        let cut = Cut {
            share: 0.2,
            from_ms: 15_000,
            to_ms: 40_000,
            keeps,
        };
        let scenario = Scenario {
            cut: Some(cut),
            ..small(42)
        };
        let report = run("20 % cut off", scenario);
        assert_eq!(report.wrong_openings, 0);
        let after = report.any_two.iter().skip(45);
        assert!(after.clone().all(|share| *share >= 0.99), "{keeps}");
    }
}

#[test]
fn a_chair_that_dies_while_a_site_fails_is_followed_by_another() {
    let scenario = Scenario {
        site_fails_at_ms: Some(35_000),
        chair_dies_at_ms: Some(35_200),
        ..small(42)
    };
    let report = run("the chair dies 0.2 s into a site's failure", scenario);
    let [(_, first), (next_at, next)] = report.chairs.as_slice() else {
        panic!("two chairs: {:?}", report.chairs)
    };
    assert!(next > first);
    let passed_ms = next_at.0 - 35_200;
    assert!(passed_ms <= 2_500, "{passed_ms} ms");
    assert!(report.left_ms(true, 0.99).is_some_and(|ms| ms <= 6_000));
    assert_eq!(report.wrong_openings, 0);
}

#[test]
fn the_same_seed_is_the_same_run() {
    let scenario = Scenario {
        seconds: 25,
        ..small(7)
    };
    let [one, other] = [(); 2].map(|()| Fleet::new(scenario, operation()).run());
    assert_eq!(one.to_string(), other.to_string());
    assert_eq!(one.any_two, other.any_two);
}

/// The table of docs/fleet.md.
#[test]
#[ignore = "minutes; prints the table of docs/fleet.md"]
fn table_of_many_sidecars() {
    let seconds = 60;
    let usual = Scenario {
        site_fails_at_ms: Some(40_000),
        ..Scenario::usual(Scale::LARGE, seconds, 42)
    };
    let cut = |share, keeps| Cut {
        share,
        from_ms: 25_000,
        to_ms: 45_000,
        keeps,
    };
    run("one chair", usual);
    run(
        "the chair dies 0.2 s into the site's failure",
        Scenario {
            chair_dies_at_ms: Some(40_200),
            ..usual
        },
    );
    for (name, share, keeps) in [
        ("20 % cut off for 20 s", 0.2, false),
        ("20 % cut off, what they told comes at the end", 0.2, true),
    ] {
        let cut = Some(cut(share, keeps));
        run(name, Scenario { cut, ..usual });
    }
    let alone = Cut {
        share: 1.0,
        from_ms: 100,
        to_ms: u64::MAX,
        keeps: false,
    };
    run(
        "each alone but for five",
        Scenario {
            cut: Some(alone),
            ..usual
        },
    );
}

/// Its rows about those who lie.
#[test]
#[ignore = "minutes; prints rows of the table of docs/fleet.md"]
fn table_of_many_liars() {
    for (name, liars, lies) in [
        ("10 % say that all fails", 0.1, 1.0),
        ("10 % say it of half", 0.1, 0.5),
        ("30 % say that all fails", 0.3, 1.0),
        ("30 % say it of half", 0.3, 0.5),
    ] {
        let usual = Scenario::usual(Scale::LARGE, 60, 42);
        run(
            name,
            Scenario {
                site_fails_at_ms: Some(40_000),
                liars,
                lies,
                ..usual
            },
        );
    }
}
