//! Plans of changes: nothing moves without a change, what must move does, and figures add up.

use proptest::prelude::*;
use tradewind_engine::decision::Decision;
use tradewind_engine::evaluate::evaluate;
use tradewind_engine::geo::Location;
use tradewind_engine::plan::Upshot::{self, Broken, Held, NotMeasured};
use tradewind_engine::plan::{self, Asked, Basis, HitChange, Planner, Report};
use tradewind_engine::query::{Client, Query};

mod made;

use made::Made;

/// Requests for 50 objects from 40 places, some of them again and again; every tenth by nobody knows whom.
fn plan(before: &Made, after: &Made) -> Report {
    let (before, after) = (before.snapshot(), after.snapshot());
    let mut planner = Planner::new(&before, &after, Basis::Traffic);
    (0..REQUESTS).for_each(|number| ask(&mut planner, number));
    planner.finish()
}

/// Requests of a plan.
const REQUESTS: u32 = 3_000;

/// Observes one of them.
fn ask(planner: &mut Planner<'_>, number: u32) {
    request(number, |query| {
        planner.observe(Asked::alike(query), 1 + number % 3);
    });
}

fn request(number: u32, ask: impl FnOnce(&Query<'_>)) {
    let place = f64::from(number * 7 % 40);
    let country = if place < 20.0 { "FR" } else { "DE" };
    let knows = !number.is_multiple_of(10);
    let path = format!("/{}", number * number % 50);
    let query = Query {
        host: "www.example.com",
        path: &path,
        query_string: "w=1",
        client: Client {
            location: Location::new(43.0 + place / 4.0, 2.0 + place / 3.0).filter(|_| knows),
            country: country.parse().ok().filter(|_| knows),
            ..Client::default()
        },
        ..Query::default()
    };
    ask(&query);
}

/// The plan of the same requests, the last one first.
fn plan_backwards(before: &Made, after: &Made) -> Report {
    let (before, after) = (before.snapshot(), after.snapshot());
    let mut planner = Planner::new(&before, &after, Basis::Traffic);
    (0..REQUESTS)
        .rev()
        .for_each(|number| ask(&mut planner, number));
    planner.finish()
}

/// What holds of every plan.
fn assert_sound(report: &Report) {
    let (keys, requests) = (&report.keys, &report.requests);
    assert!(keys.least_possible <= keys.all.moved && keys.all.moved <= keys.all.looked_at);
    assert!(report.clients.moved <= report.clients.looked_at);
    assert!(requests.moved <= requests.looked_at);
    for shares in [&report.sites, &report.nodes] {
        for of in [|it: &plan::Share| it.before, |it: &plan::Share| it.after] {
            let sum: f64 = shares.iter().map(of).sum();
            assert!(sum == 0.0 || (sum - 1.0).abs() < 1e-9, "{sum}");
        }
    }
    let origin = &report.extra_origin;
    assert!(origin.cold_objects + origin.past_caches <= origin.fetches || origin.fetches == 0);
    let hits = |of: fn(&plan::RuleHits) -> Option<u64>| -> u64 {
        report.rules.iter().filter_map(of).sum()
    };
    assert_eq!(
        hits(|it| it.before) + report.no_rule.before,
        requests.looked_at
    );
    assert_eq!(
        hits(|it| it.after) + report.no_rule.after,
        requests.looked_at
    );
    assert!(report.examples.len() <= plan::MAX_EXAMPLES);
    assert_eq!(requests.moved > 0, !report.examples.is_empty());
}

fn assert_still(report: &Report) {
    assert_sound(report);
    assert_eq!(report.keys.all.moved, 0, "{report:?}");
    assert_eq!((report.clients.moved, report.requests.moved), (0, 0));
    assert_eq!(report.extra_origin.fetches, 0);
    assert!(report.verdicts.is_empty());
}

/// Two rules that no request can be of both of.
const TWO_RULES: [&str; 2] = [
    "  - {name: a, owner: us, rollback: none, pools: [edge], match: {paths: [{value: /1}]}, require: {disk: nvme}}\n",
    "  - {name: b, owner: us, rollback: none, action: refuse, match: {paths: [{value: /4}]}}\n",
];

#[test]
fn an_edition_against_itself_moves_nothing() {
    let made = Made {
        rules: TWO_RULES.concat(),
        ..Made::default()
    };
    let report = plan(&made, &made);
    assert_still(&report);
    assert!(
        report.keys.all.looked_at > 100 && report.clients.looked_at > 20,
        "{report:?}"
    );
    let (before, after) = (made.snapshot(), made.snapshot());
    let probed = plan::of_probes(&before, &after);
    assert_still(&probed);
    assert!(
        probed
            .rules
            .iter()
            .all(|rule| rule.change == HitChange::Hit),
        "{probed:?}"
    );
    assert_eq!(
        probed,
        plan::of_probes(&before, &after),
        "the same requests each time"
    );
}

#[test]
fn a_comment_and_rules_in_another_order_move_nothing() {
    let before = Made {
        rules: TWO_RULES.concat(),
        ..Made::default()
    };
    let reordered = Made {
        rules: [TWO_RULES[1], TWO_RULES[0]].concat(),
        ..Made::default()
    };
    let comment = Made {
        spec: "  # words\n".to_owned(),
        ..before.clone()
    };
    assert_still(&plan(&before, &reordered));
    assert_still(&plan(&before, &comment));
}

#[test]
fn a_node_that_goes_takes_no_more_keys_with_it_than_it_had() {
    let before = Made::default();
    for after in [
        Made {
            without: vec!["fra-1"],
            ..Made::default()
        },
        Made {
            drained: vec!["fra-1"],
            ..Made::default()
        },
    ] {
        let report = plan(&before, &after);
        assert_sound(&report);
        assert!(report.keys.all.moved > 0, "{report:?}");
        assert_eq!(
            report.keys.all.moved, report.keys.least_possible,
            "no other key moves"
        );
        assert_eq!(report.clients.moved, 0, "its site stays");
        let why: Vec<&str> = report.examples.iter().map(|it| &*it.why).collect();
        assert!(why[0].starts_with("node `fra-1` is "), "{why:?}");
    }
}

#[test]
fn a_new_node_moves_keys_that_could_have_stayed() {
    let after = Made {
        more: "  - {id: fra-9, site: fra, address: \"192.0.2.99:80\"}\n".to_owned(),
        ..Made::default()
    };
    let report = plan(&Made::default(), &after);
    assert_sound(&report);
    assert!(
        report.keys.all.moved > 0 && report.keys.least_possible == 0,
        "{report:?}"
    );
    assert_eq!(report.examples[0].why, "node `fra-9` is new");
    let new = report.nodes.iter().find(|it| &*it.id == "fra-9").unwrap();
    assert!(new.before == 0.0 && new.after > 0.0);
    assert_eq!(report.extra_origin.past_caches, 0);
    assert!(report.extra_origin.cold_objects > 0);
}

#[test]
fn the_order_of_requests_does_not_matter() {
    let after = Made {
        spec: "  score: {bias: [{site: fra, ms: 30}]}\n".to_owned(),
        drained: vec!["par-0"],
        ..Made::default()
    };
    let (one, other) = (
        plan(&Made::default(), &after),
        plan_backwards(&Made::default(), &after),
    );
    assert!(one.extra_origin.cold_objects > 0, "{one:?}");
    assert_eq!(
        one.extra_origin.cold_objects,
        other.extra_origin.cold_objects
    );
    assert_eq!((one.keys, one.clients), (other.keys, other.clients));
    assert_eq!((one.nodes, one.rules), (other.nodes, other.rules));
}

#[test]
fn sites_that_share_keys_swap_them_with_another_recipe() {
    let spread = |key: &str| Made {
        spec: "  score: {spread: 60s}\n".to_owned(),
        last: key.to_owned(),
        ..Made::default()
    };
    let report = plan(&spread(""), &spread(", key: {query: [w]}"));
    assert_sound(&report);
    assert!(report.clients.moved > 0);
    let mut why = report.examples.iter().map(|it| &*it.why);
    assert!(
        why.all(|why| why == "its key is made in another way"),
        "{report:?}"
    );
}

#[test]
fn a_bias_moves_clients_and_says_by_how_much() {
    let after = Made {
        spec: "  score: {bias: [{site: fra, ms: 30}]}\n".to_owned(),
        ..Made::default()
    };
    let report = plan(&Made::default(), &after);
    assert_sound(&report);
    assert!(report.clients.moved > 0 && report.keys.least_possible == 0);
    let why = &report.examples[0].why;
    assert!(why.contains("bias of `fra` 0.0 -> 30.0 ms"), "{why}");
    let expected = report.expected_ms;
    assert!(expected.mean_increase.unwrap() > 0.0);
    assert!(expected.after.unwrap().mean > expected.before.unwrap().mean);
    assert!(
        expected.before.unwrap().unknown == 0,
        "a default place stands in for unknown clients"
    );
}

#[test]
fn requests_that_are_refused_now_are_told_by_reason() {
    let after = Made {
        rules: TWO_RULES[1].to_owned(),
        ..Made::default()
    };
    let report = plan(&Made::default(), &after);
    assert_sound(&report);
    let change = &report.verdicts[0];
    assert_eq!(
        (change.before.reason, change.after.reason),
        ("owner", "refused_by_rule")
    );
    assert!(report.newly_refused_percent > 0.0);
    assert_eq!(report.keys.all.moved, report.keys.least_possible);
    let why = &report.examples[0].why;
    assert_eq!(
        why,
        "rule `b` decides instead of rule `rest`; rule `b` refuses it"
    );
    let b = &report.rules[0];
    assert_eq!(
        (&*b.rule, b.before, b.change),
        ("b", None, HitChange::NewlyHit)
    );
}

#[test]
fn another_recipe_of_keys_moves_them_and_makes_them_cold() {
    let after = Made {
        last: ", key: {query: [w]}".to_owned(),
        ..Made::default()
    };
    let report = plan(&Made::default(), &after);
    assert_sound(&report);
    assert!(report.keys.all.moved_percent > 30.0 && report.keys.least_possible == 0);
    assert_eq!(report.clients.moved, 0);
    assert!(report.extra_origin.cold_objects > 0);
    assert!(
        report
            .examples
            .iter()
            .all(|it| it.why == "its key is made in another way")
    );
}

#[test]
fn what_goes_to_the_origin_now_goes_there_each_time() {
    let after = Made {
        rules: "  - {name: past, owner: us, rollback: none, pools: [origin], match: {paths: [{value: /1}]}}\n".to_owned(),
        ..Made::default()
    };
    let report = plan(&Made::default(), &after);
    assert_sound(&report);
    let origin = report.extra_origin;
    assert_eq!(
        (origin.cold_objects, origin.fetches),
        (0, origin.past_caches)
    );
    let past = &report.rules[0];
    assert_eq!(past.after, Some(origin.past_caches));
}

#[test]
fn claims_are_held_broken_or_not_measured() {
    let expect = "expect: [\
        {of: {countries: [DE]}, share: {at: {countries: [DE]}, at_least_percent: 50}}, \
        {share: {at: {sites: [par]}, at_least_percent: 99}}, \
        {of: {countries: [DE]}, stays_within: {countries: [DE]}}, \
        {stays_within: {tiers: [edge, origin]}}, \
        {of: {countries: [IT]}, refused: {at_most_percent: 0}}, \
        {refused: {at_most_percent: 0}}, \
        {expected_ms: {mean_at_most: 1}}, \
        {expected_ms: {p99_at_most: 500}}]";
    let made = Made {
        last: format!(", {expect}"),
        ..Made::default()
    };
    let report = plan(&Made::default(), &made);
    let upshots: Vec<Upshot> = report.expectations.iter().map(|it| it.upshot).collect();
    assert_eq!(
        upshots,
        [Held, Broken, Broken, Held, NotMeasured, Held, Broken, Held],
        "{:#?}",
        report.expectations
    );
    let outside = &report.expectations[2].came_out;
    assert!(outside.contains("get a node outside, first `"), "{outside}");
    let gates = made.snapshot();
    let breaches = plan::gates(&report, gates.policy().gates());
    assert_eq!(breaches.len(), 3, "{breaches:?}");
    // Of made-up requests, only what must never be.
    let (before, after) = (Made::default().snapshot(), made.snapshot());
    let probed = plan::of_probes(&before, &after);
    let upshots: Vec<Upshot> = probed.expectations.iter().map(|it| it.upshot).collect();
    assert_eq!(upshots[0], NotMeasured);
    assert_eq!((upshots[2], upshots[3]), (Broken, Held));
}

#[test]
fn guards_count_decisions_as_plans_do() {
    let made = Made {
        last: ", expect: [{share: {at: {sites: [par]}, at_least_percent: 1}}, {expected_ms: {mean_at_most: 1}}]".to_owned(),
        ..Made::default()
    };
    let snapshot = made.snapshot();
    let mut tally = plan::Tally::new(&snapshot.parts().policy);
    for number in 0..REQUESTS {
        request(number, |query| {
            let evaluation = evaluate(&snapshot, query);
            let decision = Decision::new(&snapshot, &evaluation);
            tally.add(&decision, query, u64::from(1 + number % 3));
        });
    }
    let checked = plan::check(&tally, Basis::Traffic);
    assert_eq!(checked, plan(&made, &made).expectations);
    let empty = plan::Tally::new(&snapshot.parts().policy);
    let checked = plan::check(&empty, Basis::Traffic);
    assert!(
        checked
            .iter()
            .all(|it| it.upshot == NotMeasured && it.requests == 0)
    );
}

#[test]
fn gates_are_those_of_the_policy_in_force() {
    let strict = Made {
        spec: "  plan: {max_moved_keys_percent: 1, max_newly_refused_percent: 0}\n".to_owned(),
        ..Made::default()
    };
    let loose = Made {
        rules: TWO_RULES[1].to_owned(),
        spec: "  score: {bias: [{site: fra, ms: 30}]}\n  plan: {require_expectations: false}\n"
            .to_owned(),
        ..Made::default()
    };
    let report = plan(&strict, &loose);
    let names = |made: &Made| {
        let breaches = plan::gates(&report, made.snapshot().policy().gates());
        breaches.iter().map(|it| it.gate).collect::<Vec<_>>()
    };
    assert_eq!(
        names(&strict),
        ["max_moved_keys_percent", "max_newly_refused_percent"]
    );
    assert_eq!(names(&loose), Vec::<&str>::new());
    let (before, after) = (strict.snapshot(), loose.snapshot());
    let nothing = Planner::new(&before, &after, Basis::Traffic).finish();
    assert_eq!(
        plan::gates(&nothing, after.policy().gates())[0].gate,
        "plan"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn figures_add_up_whatever_changes(
        gone in proptest::sample::subsequence(vec!["ber-0", "fra-1", "mrs-2", "par-0"], 0..=3),
        drained in proptest::sample::subsequence(vec!["ber-1", "fra-0", "fra-2", "par-2"], 0..=4),
        bias in -40..40_i32, rules in 0..4_usize, key in any::<bool>(),
    ) {
        let after = Made {
            spec: format!("  score: {{bias: [{{site: fra, ms: {bias}}}]}}\n"),
            rules: TWO_RULES.iter().take(rules).copied().collect(),
            last: if key { ", key: {query: [w]}".to_owned() } else { String::new() },
            without: gone,
            drained,
            ..Made::default()
        };
        assert_sound(&plan(&Made::default(), &after));
        assert_sound(&plan(&after, &Made::default()));
        assert_still(&plan(&after, &after));
        assert_sound(&plan::of_probes(&Made::default().snapshot(), &after.snapshot()));
    }
}
