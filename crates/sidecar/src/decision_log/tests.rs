//! What is kept of requests gets the same answers and names nobody; no bytes make the reader panic.

use std::sync::{Arc, LazyLock};

use proptest::prelude::*;

use super::least::{Known, Left, evaluate_known, least};
use super::reader::{Read, ReadFault, Reader};
use super::record::{Asked, Begin, FIRST_BYTES, FORMAT, Record, VERSION};
use crate::clock;
use crate::example;
use crate::geoip::{Limits, decode_and_compile};
use crate::wire::{QueryBuffer, QueryRoom, proto};
use tradewind_engine::edition::{Edition, Known as Compiled, Names, Texts};
use tradewind_engine::evaluate::{Evaluation, evaluate};
use tradewind_engine::snapshot::{GeoState, Parts, Snapshot};

/// The example, compiled once.
static EXAMPLE: LazyLock<Snapshot> = LazyLock::new(|| snapshot(str::to_owned));

/// The example fleet; with this policy, if one is given.
fn snapshot(change: impl FnOnce(&str) -> String) -> Snapshot {
    let texts = Texts {
        policy: change(example::POLICY).into(),
        topology: example::TOPOLOGY.into(),
    };
    let names = Names::new("policy", "topology");
    let edition = Edition::compile(&texts, &names, Compiled::default()).unwrap();
    let geo = decode_and_compile(example::GEO.to_vec(), &Limits::default()).unwrap();
    let parts = Parts {
        topology: Arc::clone(edition.topology()),
        policy: Arc::clone(edition.policy()),
        candidate: None,
        geo: Arc::new(geo.ranges),
        geo_state: GeoState::Good,
        here: None,
        signals: Arc::default(),
    };
    Snapshot::build(1, parts, None)
}

fn evaluated<T>(
    snapshot: &Snapshot,
    request: &proto::DecideRequest,
    known: Option<&Known>,
    and_then: impl FnOnce(Evaluation) -> T,
) -> T {
    let (mut room, mut buffer) = (QueryRoom::default(), QueryBuffer::default());
    let reading = snapshot.routing().reading();
    let query = buffer.read(request, &mut room, reading).unwrap();
    and_then(known.map_or_else(
        || evaluate(snapshot, &query),
        |known| evaluate_known(snapshot, &query, known),
    ))
}

fn request(path: &str, ip: &str) -> proto::DecideRequest {
    proto::DecideRequest {
        host: "www.example.com".into(),
        path: path.into(),
        client: Some(proto::Client {
            ip: ip.into(),
            ..proto::Client::default()
        }),
        ..proto::DecideRequest::default()
    }
}

#[test]
fn where_the_whole_address_decides_another_one_stands_in() {
    let snapshot = snapshot(str::to_owned);
    // Answers of the API have no affinity: without an id the client spreads them.
    let request = request("/api/cart?session=1", "198.18.0.77");
    let evaluation = evaluated(&snapshot, &request, None, |evaluation| evaluation);
    let kept = least(&request, &evaluation, &snapshot).unwrap();
    assert_eq!(kept.left, Left::StandIn);
    let ip = kept.request.client.as_ref().unwrap().ip.clone();
    assert!(ip.starts_with("fd"), "{ip}");
    let picks = evaluated(&snapshot, &kept.request, Some(&kept.known), |it| it.picks);
    assert_eq!(picks, evaluation.picks);
    assert!(kept.request.query.is_empty() && !kept.request.path.contains("session"));
    let (read, known) = Asked::of(&kept).read().unwrap();
    assert_eq!((read, known), (kept.request, kept.known));
}

#[cfg(feature = "cel")]
#[test]
fn where_a_rule_names_the_address_nothing_is_kept() {
    let rule = "  rules:\n    - { name: me, owner: me, rollback: none, when: 'client.ip == \"198.18.0.77\"', pools: [edge, origin] }\n";
    let snapshot = snapshot(|policy| policy.replacen("  rules:\n", rule, 1));
    for (ip, is_kept) in [("198.18.0.77", false), ("198.18.0.78", true)] {
        let request = request("/", ip);
        let evaluation = evaluated(&snapshot, &request, None, |evaluation| evaluation);
        let kept = least(&request, &evaluation, &snapshot);
        assert_eq!(kept.is_some(), is_kept, "{ip}");
    }
}

/// Paths that every kind of rule is for.
const PATHS: &[&str] = &[
    "/video/1.mp4",
    "/api/a",
    "/account",
    "/page",
    "/image/2.png",
];

fn requests() -> impl Strategy<Value = proto::DecideRequest> {
    let path = (prop::sample::select(PATHS), 0..50_u32);
    let path = path.prop_map(|(path, query)| format!("{path}?q={query}"));
    let place = prop::option::of((-80.0..80.0_f64, -170.0..170.0_f64));
    let client = (any::<[u8; 2]>(), place, prop::option::of("DE|FR|US"));
    let id = prop::option::of("[a-z]{1,9}");
    (path, client, id).prop_map(|(path, ([low, last], place, country), id)| {
        let mut request = request(&path, &format!("198.18.{}.{last}", low % 8));
        request.request_id = id.unwrap_or_default();
        if let Some(client) = &mut request.client {
            client.country = country.unwrap_or_default();
            client.location = place.map(|(latitude, longitude)| proto::Location {
                latitude,
                longitude,
            });
        }
        request
    })
}

proptest! {
    #[test]
    fn what_is_kept_gets_the_same_nodes_and_no_address(request in requests()) {
        let snapshot = &*EXAMPLE;
        let evaluation = evaluated(snapshot, &request, None, |evaluation| evaluation);
        let kept = least(&request, &evaluation, snapshot).unwrap();
        let again = evaluated(snapshot, &kept.request, Some(&kept.known), |it| it);
        prop_assert_eq!(&again.picks, &evaluation.picks);
        prop_assert_eq!(again.matched, evaluation.matched);
        prop_assert_eq!(again.reason, evaluation.reason);
        let ip = &kept.request.client.as_ref().unwrap().ip;
        prop_assert!(ip.ends_with(".0") || ip.starts_with("fd"), "{}", ip);
        let (read, known) = Asked::of(&kept).read().unwrap();
        prop_assert_eq!(&read, &kept.request);
        let read = evaluated(snapshot, &read, Some(&known), |it| it.picks);
        prop_assert_eq!(read, evaluation.picks);
    }

    #[test]
    fn no_bytes_make_the_reader_panic(lines in prop::collection::vec(line(), 0..9)) {
        let mut reader = Reader::default();
        for line in lines {
            drop(reader.take(&line));
        }
    }
}

/// A line that says nothing, or something that cannot be.
fn line() -> impl Strategy<Value = Vec<u8>> {
    let patch = (any::<usize>(), "[A-Za-z0-9=]{0,12}", 0..3_u64);
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..99),
        patch.prop_map(|(from, text, number)| {
            format!(r#"{{"state":{{"number":{number},"patch":[[{from},"{text}"]]}}}}"#).into_bytes()
        }),
        "[A-Za-z0-9=]{0,24}".prop_map(|text| {
            format!(r#"{{"state":{{"number":1,"full":"{text}"}}}}"#).into_bytes()
        }),
    ]
}

#[test]
fn a_log_is_known_by_its_first_bytes_and_another_version_is_refused() {
    let begin = |version| {
        let begin = Begin {
            format: FORMAT.to_owned(),
            version,
            unix_ms: 1,
        };
        serde_json::to_vec(&Record::Begin(begin)).unwrap()
    };
    assert!(begin(VERSION).starts_with(FIRST_BYTES.as_bytes()));
    let mut reader = Reader::default();
    assert!(matches!(reader.take(&begin(VERSION)), Ok(Read::Ground)));
    let other = reader.take(&begin(VERSION + 1)).unwrap_err();
    assert_eq!(other, ReadFault::Version(VERSION + 1));
}

#[test]
#[ignore = "measures: cargo test --release -p tradewind-sidecar --lib cost_of_a_logged -- --ignored --nocapture"]
fn cost_of_a_logged_decision() {
    const COUNT: u32 = 2_000;
    let snapshot = &*EXAMPLE;
    for (path, id) in [("/video/1.mp4", "an id"), ("/api/a", "")] {
        let asked = (0..COUNT).map(|number| {
            let mut request = request(path, &format!("198.18.{}.{}", number % 8, number % 250));
            id.clone_into(&mut request.request_id);
            let evaluation = evaluated(snapshot, &request, None, |evaluation| evaluation);
            (request, evaluation)
        });
        let asked: Vec<_> = asked.collect();
        let began = clock::now();
        for (request, evaluation) in &asked {
            assert!(least(request, evaluation, snapshot).is_some());
        }
        let least = began.elapsed() / COUNT;
        let began = clock::now();
        for (request, evaluation) in &asked {
            std::hint::black_box(Box::new((request.clone(), evaluation.clone())));
        }
        let copied = began.elapsed() / COUNT;
        println!("{path}: {least:?} to find what may be kept, {copied:?} to copy for the thread");
    }
}
