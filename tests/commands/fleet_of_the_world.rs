//! A day of real traffic over a fleet as large as a public CDN's, checked by arithmetic of its own.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::Read;
use std::net::IpAddr;

use flate2::read::GzDecoder;
use ipnet::IpNet;
use maxminddb::{Reader, WithinOptions};
use serde::Deserialize;
use serde_json::Value;

use crate::mmdb::{Database, Family, Value as Field};
use crate::support::{Files, json, note, shared, tradewind};
use tradewind::command::Exit;

/// Sites within this of the best share their keys, in ms: the best alone, and a metro's.
const SPREADS_MS: [u8; 2] = [0, 3];

/// Costs inside one cell of clients differ by no more than this, in ms.
const CELL_MS: f64 = 2.0;

/// The policy's price of distance.
const MS_PER_KM: f64 = 0.016;

const POLICY: &str = "\
apiVersion: tradewind/v1
kind: Policy
spec:
  score: { network: { base_ms: 5, ms_per_km: 0.016 }, spread: SPREADms }
  pools: [{ name: edge, select: { tier: edge } }, { name: origin, select: { tier: origin } }]
  rules:
    - { name: all, owner: test, rollback: none, pools: [edge, origin], key: { query: [\"*\"] } }
";

#[derive(Deserialize)]
struct Record {
    location: Place,
}

#[derive(Deserialize)]
struct CountryRecord {
    country: Country,
}

#[derive(Deserialize)]
struct Country {
    iso_code: String,
}

#[derive(Deserialize, Clone, Copy)]
struct Place {
    latitude: f64,
    longitude: f64,
}

/// Great-circle distance by the haversine formula, in km.
fn distance_km(a: Place, b: Place) -> f64 {
    let (lat_a, lat_b) = (a.latitude.to_radians(), b.latitude.to_radians());
    let half_lat = (lat_b - lat_a) / 2.0;
    let half_lon = (b.longitude - a.longitude).to_radians() / 2.0;
    let haversine = half_lat.sin().powi(2) + lat_a.cos() * lat_b.cos() * half_lon.sin().powi(2);
    2.0 * 6_371.0 * haversine.sqrt().min(1.0).asin()
}

/// The sites of the list, read by hand: code, latitude, longitude. Quoted fields come last, so commas do no harm.
fn sites(list: &str) -> BTreeMap<String, Place> {
    let rows = list.lines().skip(1).map(|line| {
        let fields: Vec<&str> = line.split(',').collect();
        let numbers: Vec<f64> = fields.iter().filter_map(|f| f.parse().ok()).collect();
        let [latitude, longitude] = numbers[..] else {
            panic!("{line} has two numbers");
        };
        (
            fields[0].to_owned(),
            Place {
                latitude,
                longitude,
            },
        )
    });
    rows.collect()
}

/// Client and target of each line, and the first node's site and id.
struct Trip<'l> {
    client: IpAddr,
    target: &'l str,
    site: String,
    node: String,
}

fn trips<'l>(log: &'l str, answers: &str) -> Vec<Trip<'l>> {
    let pairs = log.lines().zip(answers.lines());
    pairs
        .map(|(line, answer)| {
            let answer: Value = serde_json::from_str(answer).unwrap();
            let first = &answer["candidates"][0];
            Trip {
                client: line.split(' ').next().unwrap().parse().unwrap(),
                target: line.split('"').nth(1).unwrap().split(' ').nth(1).unwrap(),
                site: first["site"].as_str().unwrap().to_owned(),
                node: first["node"].as_str().unwrap().to_owned(),
            }
        })
        .collect()
}

/// The fleet, the policy and the log.
struct World {
    files: Files,
    list: String,
    log: String,
    topology: String,
    policy: String,
}

impl World {
    fn new(list: String, log: String, spread_ms: u8) -> Self {
        let files = Files::new();
        let topology = files.path("topology.yaml");
        let policy = files.write(
            "policy.yaml",
            POLICY.replace("SPREAD", &spread_ms.to_string()),
        );
        let args = [
            "topology",
            "import",
            &list,
            "--origin",
            "53.42,-6.27",
            "--output",
            &topology,
        ];
        let imported = tradewind(&args);
        assert_eq!((imported.exit, imported.error.as_str()), (Exit::Good, ""));
        Self {
            files,
            list,
            log,
            topology,
            policy,
        }
    }

    /// The report, with the answers left in a file.
    fn replay(&self, geo: &str) -> Value {
        let answers = self.files.path("answers.jsonl");
        json(&[
            "replay",
            &self.log,
            "--host",
            "www.example.com",
            "--policy",
            &self.policy,
            "--topology",
            &self.topology,
            "--geo",
            geo,
            "--answers",
            &answers,
            "--format",
            "json",
        ])
    }

    /// Goes through the answers of the last replay: how many clients `geo` locates, and how much further than the
    /// nearest site the worst of them is sent, in km.
    fn check_answers(&self, geo: &str) -> (usize, f64) {
        let sites = sites(&std::fs::read_to_string(&self.list).unwrap());
        let mut lines = String::new();
        let log = std::fs::File::open(&self.log).unwrap();
        GzDecoder::new(log).read_to_string(&mut lines).unwrap();
        let truth = Reader::open_readfile(geo).unwrap();
        let mut homes: HashMap<(&str, u64, u64), String> = HashMap::new();
        let (mut located, mut worst_km) = (0, f64::MIN);
        for trip in trips(&lines, &self.files.read("answers.jsonl")) {
            let found = truth.lookup(trip.client).unwrap();
            let Some(Record { location: place }) = found.decode().unwrap() else {
                continue;
            };
            located += 1;
            let distances_km = sites.values().map(|site| distance_km(place, *site));
            let nearest_km = distances_km.fold(f64::MAX, f64::min);
            worst_km = worst_km.max(distance_km(place, sites[&trip.site]) - nearest_km);
            // Clients at one point of the map are one group: the same object from there has one home.
            let group = (
                trip.target,
                place.latitude.to_bits(),
                place.longitude.to_bits(),
            );
            let home = homes.entry(group).or_insert_with(|| trip.node.clone());
            assert_eq!(*home, trip.node, "{} has two homes", trip.target);
        }
        (located, worst_km)
    }
}

#[test]
fn every_client_is_sent_near_and_every_object_has_one_home() {
    let test = "every_client_is_sent_near_and_every_object_has_one_home";
    let Some(list) = shared(test, "pops/aws-edge-locations.csv") else {
        return;
    };
    let beside = |name| shared(test, name).expect("it lies beside the list");
    let nested = beside("geo/dbip-city-subset-nested.mmdb");
    let flat = beside("geo/dbip-city-subset-flat.mmdb");
    for spread_ms in SPREADS_MS {
        let world = World::new(list.clone(), beside("traces/apache_logs.gz"), spread_ms);
        let by_flat = world.replay(&flat);
        let report = world.replay(&nested);
        for field in ["lines", "decided"] {
            assert_eq!(report[field], 10_000, "{field}");
        }
        assert_eq!(report["stability"]["violations"], 0);
        assert_eq!(report["stability"]["by"], "key and client group");
        for digest in ["digest_any_order", "digest_in_order"] {
            assert_eq!(report[digest], by_flat[digest], "both layouts say the same");
        }
        let (located, worst_km) = world.check_answers(&nested);
        let allowed_km = (f64::from(spread_ms) + CELL_MS) / MS_PER_KM;
        note(&format!(
            "spread {spread_ms} ms: {located} of 10000 located, {} sites used, at worst {worst_km:.0} of {allowed_km:.0} km beyond the nearest site",
            report["sites_used"]
        ));
        assert!(located > 9_900, "{located}");
        assert!(worst_km <= allowed_km, "{worst_km:.0} km too far");
    }
}

/// The countries of a geo file without its places: every other record has none, the rest are at exactly 0, 0.
fn countries_of(geo: &str) -> Vec<u8> {
    let reader = Reader::open_readfile(geo).unwrap();
    let mut database = Database::new("Countries", "countries only", Family::V4);
    for (number, found) in reader
        .networks(WithinOptions::default())
        .unwrap()
        .enumerate()
    {
        let found = found.unwrap();
        let Ok(Some(record)) = found.decode::<CountryRecord>() else {
            continue;
        };
        let country = Field::map([("iso_code", Field::text(&record.country.iso_code))]);
        let zero = || {
            Field::map([
                ("latitude", Field::Double(0.0)),
                ("longitude", Field::Double(0.0)),
            ])
        };
        let record = if number % 2 == 0 {
            Field::map([("country", country)])
        } else {
            Field::map([("country", country), ("location", zero())])
        };
        let network = found.network().unwrap();
        let network = IpNet::new(network.ip(), network.prefix()).unwrap();
        database.insert(network, record);
    }
    database.to_bytes()
}

/// The sites of each country in the list.
fn sites_by_country(list: &str) -> HashMap<String, Vec<String>> {
    let mut by_country: HashMap<String, Vec<String>> = HashMap::new();
    let mut rows = csv::Reader::from_reader(list.as_bytes());
    for row in rows.records() {
        let row = row.unwrap();
        let of_country = by_country.entry(row[3].to_owned());
        of_country.or_default().push(row[0].to_owned());
    }
    by_country
}

#[test]
fn a_country_file_alone_spreads_clients_over_the_sites_of_their_countries() {
    let test = "a_country_file_alone_spreads_clients_over_the_sites_of_their_countries";
    let Some(list) = shared(test, "pops/aws-edge-locations.csv") else {
        return;
    };
    let beside = |name| shared(test, name).expect("it lies beside the list");
    let cities = beside("geo/dbip-city-subset-nested.mmdb");
    let world = World::new(list.clone(), beside("traces/apache_logs.gz"), 0);
    let geo = world.files.write("countries.mmdb", countries_of(&cities));
    let report = world.replay(&geo);
    assert_eq!(report["decided"], 10_000);
    assert_eq!(report["stability"]["violations"], 0);

    let mut lines = String::new();
    let log = std::fs::File::open(&world.log).unwrap();
    GzDecoder::new(log).read_to_string(&mut lines).unwrap();
    let homes = sites_by_country(&std::fs::read_to_string(&list).unwrap());
    let truth = Reader::open_readfile(&cities).unwrap();
    let (mut at_home, mut used) = (
        0,
        BTreeMap::<String, BTreeMap<String, BTreeSet<IpAddr>>>::new(),
    );
    for trip in trips(&lines, &world.files.read("answers.jsonl")) {
        let found = truth.lookup(trip.client).unwrap();
        let Ok(Some(record)) = found.decode::<CountryRecord>() else {
            continue;
        };
        let country = record.country.iso_code;
        if let Some(sites) = homes.get(&country) {
            assert!(sites.contains(&trip.site), "{country} to {}", trip.site);
            at_home += 1;
        }
        let sites = used.entry(country).or_default();
        sites.entry(trip.site).or_default().insert(trip.client);
    }
    let sites: BTreeSet<&String> = used.values().flat_map(BTreeMap::keys).collect();
    let clients =
        |country: &str| -> Vec<usize> { used[country].values().map(BTreeSet::len).collect() };
    let of_us = clients("US");
    note(&format!(
        "{at_home} of 10000 at a site of their own country, {} sites used; American clients by site: {of_us:?}",
        sites.len()
    ));
    assert!(at_home > 7_000, "{at_home}");
    assert!(sites.len() > 50, "{}", sites.len());
    // They are 550 clients or so, and the list has 45 sites there.
    let (most, all) = (of_us.iter().max().unwrap(), of_us.iter().sum::<usize>());
    assert!(of_us.len() > 15 && most * 5 < all, "{of_us:?}");
}
