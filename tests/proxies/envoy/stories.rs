//! Times and failures belong to whoever caused them: what clients of a real Envoy see while nodes, a site, an object or the
//! origin do badly, with the example's own settings.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tradewind::sidecar::clock;
use tradewind_demo::nodes::{Behaviour, FAILING, NodeOptions, SLOW};

use super::traffic::{self, Seen, Visit};
use super::{Envoy, PATIENT, TELL_THE_LIST};
use crate::rig::Setup;
use crate::tools::note;
use crate::visits::client;

/// Connections that requests come over: enough for all of them to wait 150 ms.
const CONNECTIONS: usize = 24;

/// What is otherwise than in the example.
const EDITS: [(&str, &str); 2] = [TELL_THE_LIST, PATIENT];

/// Objects of everyday traffic.
const OBJECTS: usize = 300;

/// Puts Warsaw's nodes some eight kilometres behind Frankfurt's, as Frankfurt's clients see it: 0.13 ms.
const NEXT_DOOR: (&str, &str) = (
    "- { id: WAW, lat: 52.17, lon: 20.97, country: PL",
    "- { id: WAW, lat: 49.97, lon: 8.50, country: DE",
);

/// A request, and when it was begun.
struct Timed {
    at: Duration,
    seen: Seen,
}

/// Keeps a steady pace of requests for some seconds; the n-th is what `pick` says.
fn pace(
    envoy: &Envoy,
    (per_second, seconds): (usize, usize),
    pick: impl Fn(usize) -> Visit + Sync,
) -> Vec<Timed> {
    let began = clock::now();
    let next = AtomicUsize::new(0);
    let one = || {
        let mut connection = envoy.connect();
        let mut all = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= per_second * seconds {
                return all;
            }
            let at = due(number, per_second);
            thread::sleep((began + at).saturating_duration_since(clock::now()));
            let seen = traffic::visit(envoy, &mut connection, &pick(number));
            all.push(Timed { at, seen });
        }
    };
    let mut all: Vec<Timed> = thread::scope(|scope| {
        let threads: Vec<_> = (0..CONNECTIONS).map(|_| scope.spawn(one)).collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect()
    });
    all.sort_by_key(|one| one.at);
    all
}

fn due(number: usize, per_second: usize) -> Duration {
    let number = u32::try_from(number).unwrap();
    Duration::from_secs(1) * number / u32::try_from(per_second).unwrap()
}

fn get(target: String, client: String) -> Visit {
    Visit {
        method: "GET".to_owned(),
        target,
        client,
    }
}

/// An everyday object for a client of Frankfurt.
fn of_frankfurt(number: usize) -> Visit {
    get(
        format!("/object/{}", number * 7 % OBJECTS),
        client(number * 3),
    )
}

/// How many of some requests each node answered, by its name.
fn answered<'s>(
    envoy: &Envoy,
    requests: impl Iterator<Item = &'s Timed>,
) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for one in requests {
        *counts.entry(envoy.rig.node_at(&one.seen.node)).or_default() += 1;
    }
    counts
}

fn share(counts: &BTreeMap<String, usize>, of: &str) -> f64 {
    let sum = |counts: &mut dyn Iterator<Item = &usize>| {
        counts
            .map(|count| f64::from(u32::try_from(*count).unwrap()))
            .sum::<f64>()
    };
    let named = counts.iter().filter(|(node, _)| node.starts_with(of));
    sum(&mut named.map(|(_, count)| count)) / sum(&mut counts.values())
}

/// How often breakers have opened so far.
fn opened(envoy: &Envoy) -> u64 {
    let page = envoy.rig.sidecar.page("/metrics").text();
    let lines = page.lines().filter(|line| {
        line.starts_with("tradewind_breaker_transitions_total{") && line.contains("to=\"open\"")
    });
    lines
        .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
        .sum()
}

/// Nodes of which those behaving badly were so from the first moment: 5 ms for a hit, 150 ms for a slow one.
fn slow_from_birth(test: &str, slow: &[&str]) -> Option<(Envoy, Vec<Timed>)> {
    let setup = Setup {
        topology: vec![NEXT_DOOR],
        nodes: NodeOptions {
            hit: Duration::from_millis(5),
            slow_at_least: Duration::from_millis(150),
            ..NodeOptions::default()
        },
        ..Setup::default()
    };
    let envoy = Envoy::start_with(test, "envoy.yaml", &EDITS, setup)?;
    for node in slow {
        envoy.rig.nodes.behave(node, Behaviour::Slow).unwrap();
    }
    let all = pace(&envoy, (100, 30), of_frankfurt);
    let failed = all.iter().filter(|one| one.seen.status != 200).count();
    assert_eq!(failed, 0);
    Some((envoy, all))
}

/// The shares of nodes, from one second to another.
fn between(envoy: &Envoy, all: &[Timed], from: u64, until: u64) -> BTreeMap<String, usize> {
    let within = Duration::from_secs(from)..Duration::from_secs(until);
    answered(envoy, all.iter().filter(|one| within.contains(&one.at)))
}

#[test]
fn a_site_that_is_slow_from_its_first_minute_is_left() {
    let test = "a_site_that_is_slow_from_its_first_minute_is_left";
    let Some((envoy, all)) = slow_from_birth(test, &["fra-1", "fra-2", "fra-3"]) else {
        return;
    };
    for from in (0..30).step_by(2) {
        let counts = between(&envoy, &all, from, from + 2);
        for node in ["fra-1", "fra-2", "fra-3"] {
            let piled = share(&counts, node);
            assert!(
                piled < 0.6,
                "{node} has {piled:.2} after {from} s: {counts:?}"
            );
        }
    }
    let left = share(&between(&envoy, &all, 20, 30), "fra");
    note(&format!(
        "{test}: {:.1} % at the slow site after 20 s",
        left * 100.0
    ));
    assert!(left < 0.1, "{left}: {:?}", between(&envoy, &all, 20, 30));
}

#[test]
fn a_node_that_is_slow_from_its_first_minute_is_left() {
    let test = "a_node_that_is_slow_from_its_first_minute_is_left";
    let Some((envoy, all)) = slow_from_birth(test, &["fra-2"]) else {
        return;
    };
    let last = between(&envoy, &all, 20, 30);
    let left = share(&last, "fra-2");
    note(&format!(
        "{test}: {:.1} % at the slow node after 20 s",
        left * 100.0
    ));
    assert!(left < 0.1, "{left}: {last:?}");
    // Its site is well without it.
    assert!(share(&last, "fra") > 0.8, "{last:?}");
}

/// Which node is first for everyday objects, by client's city and object; as they are asked for by [`of_three_cities`].
type Homes = BTreeMap<(usize, String), String>;

/// An everyday object for a client of one of three cities.
fn of_three_cities(number: usize) -> Visit {
    get(format!("/object/{}", number * 7 % OBJECTS), client(number))
}

/// Asks for every object in every city, so that caches are warm, and notes the homes.
fn homes(envoy: &Envoy) -> Homes {
    let all = (0..3).flat_map(|city| (0..OBJECTS).map(move |object| (city, object)));
    let visits = all.map(|(city, object)| get(format!("/object/{object}"), client(city)));
    let seen = traffic::all(envoy, &visits.collect::<Vec<_>>(), CONNECTIONS);
    let homes = seen.into_iter().filter_map(|seen| {
        let first = seen.listed.into_iter().next()?;
        Some(((city_of(&seen.visit), seen.visit.target), first))
    });
    homes.collect()
}

/// The city of a client, as [`client`] gives them.
fn city_of(visit: &Visit) -> usize {
    let network = |number: usize| client(number).rsplit_once('.').unwrap().0.to_owned();
    (0..3)
        .find(|city| visit.client.starts_with(&network(*city)))
        .unwrap()
}

/// That everyday traffic was served where it always was, and that no breaker has opened.
#[track_caller]
fn nobody_else_notices(envoy: &Envoy, homes: &Homes, all: &[Timed]) {
    let everyday = all.iter().map(|one| &one.seen);
    let everyday = everyday.filter(|seen| seen.visit.target.starts_with("/object/"));
    let (mut decided, mut moved, mut failed) = (0, 0, 0);
    for seen in everyday {
        failed += usize::from(seen.status != 200);
        // Where the sidecar was not asked, it moved nothing.
        let Some(first) = seen.listed.first() else {
            continue;
        };
        decided += 1;
        let home = homes.get(&(city_of(&seen.visit), seen.visit.target.clone()));
        moved += usize::from(home.is_some_and(|home| first != home));
    }
    assert!(decided > 2_000, "{decided}");
    let opened = opened(envoy);
    note(&format!(
        "{opened} breakers opened, {moved} moved and {failed} failed of {decided} everyday requests"
    ));
    assert_eq!((opened, moved, failed), (0, 0, 0), "of {decided}");
}

#[test]
fn an_object_that_fails_everywhere_is_nobodys_fault() {
    let test = "an_object_that_fails_everywhere_is_nobodys_fault";
    let Some(envoy) = Envoy::start_with(test, "envoy.yaml", &EDITS, Setup::default()) else {
        return;
    };
    let homes = homes(&envoy);
    // Three of ten requests of Madrid.
    let all = pace(&envoy, (100, 30), |number| {
        if number % 3 == 1 && number / 3 % 10 < 3 {
            get(format!("{FAILING}1"), client(1))
        } else {
            of_three_cities(number)
        }
    });
    let failing = all
        .iter()
        .filter(|one| one.seen.visit.target.starts_with(FAILING));
    let failing: Vec<&Timed> = failing.collect();
    assert!(failing.len() > 250 && failing.iter().all(|one| one.seen.status == 500));
    nobody_else_notices(&envoy, &homes, &all);
}

#[test]
fn objects_of_a_slow_origin_are_served_and_nobody_is_blamed() {
    let test = "objects_of_a_slow_origin_are_served_and_nobody_is_blamed";
    let Some(envoy) = Envoy::start_with(test, "envoy.yaml", &EDITS, Setup::default()) else {
        return;
    };
    let homes = homes(&envoy);
    // One request in twenty, each for another object.
    let all = pace(&envoy, (100, 30), |number| {
        if number % 20 == 7 {
            get(format!("{SLOW}{number}"), client(number))
        } else {
            of_three_cities(number)
        }
    });
    let slow = all
        .iter()
        .filter(|one| one.seen.visit.target.starts_with(SLOW));
    let slow: Vec<&Timed> = slow.collect();
    let served = slow.iter().filter(|one| one.seen.status == 200).count();
    assert_eq!(
        (slow.len(), served),
        (150, 150),
        "slow objects, and those served"
    );
    nobody_else_notices(&envoy, &homes, &all);
}

#[test]
fn a_tier_that_refuses_is_done_without_in_three_seconds() {
    let test = "a_tier_that_refuses_is_done_without_in_three_seconds";
    let setup = Setup {
        topology: vec![("{ id: WAW, lat", "{ id: WAW, tier: regional, lat")],
        policy: vec![
            (
                "  pools:\n",
                "  pools:\n    - name: regional\n      select: { tier: regional }\n",
            ),
            ("      pools: [edge]\n", "      pools: [edge, regional]\n"),
        ],
        ..Setup::default()
    };
    let Some(envoy) = Envoy::start_with(test, "envoy.yaml", &EDITS, setup) else {
        return;
    };
    let calm = pace(&envoy, (60, 5), of_three_cities);
    assert!(calm.iter().all(|one| one.seen.status == 200));
    let began: Instant = clock::now();
    for node in ["fra-1", "fra-2", "fra-3", "mad-1", "mad-2", "mad-3"] {
        envoy.rig.nodes.behave(node, Behaviour::Refuse).unwrap();
    }
    let late = began.elapsed();
    let all = pace(&envoy, (60, 20), of_three_cities);
    let failed = all.iter().filter(|one| one.seen.status != 200);
    let failed: Vec<Duration> = failed.map(|one| one.at + late).collect();
    note(&format!(
        "{test}: {} of {} failed, the last after {:.1?}",
        failed.len(),
        all.len(),
        failed.last().copied().unwrap_or_default()
    ));
    assert!(
        failed.iter().all(|at| *at < Duration::from_secs(3)),
        "{failed:?}"
    );
}
