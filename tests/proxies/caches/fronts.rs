//! Whichever proxy asks: nodes are told which version they may serve by the sidecar, and never by a client.

use http::HeaderMap;

use super::origin::Origin;
use crate::envoy::Envoy;
use crate::front::{Front, Kind};
use crate::http::Connection;
use crate::process::Process;
use crate::rig::{Setup, Sidecar};
use crate::visits::HOST;
use crate::{haproxy, nginx};

/// What caches are told, and what clients may say under these names.
const NAMES: [&str; 4] = [
    "x-tradewind-version",
    "x-tradewind-max-age",
    "x-tradewind-cache-ttl",
    "x-tradewind-freshness",
];
const CLIENTS_OWN: [(&str, &str); 5] = [
    ("Host", HOST),
    ("X-Tradewind-Version", "ZZZ"),
    ("X-Tradewind-Max-Age", "777"),
    ("X-Tradewind-Cache-TTL", "777"),
    ("X-Tradewind-Freshness", "ZZZ"),
];

/// An origin that stands for each of the nine nodes of the examples.
fn setup(origin: &Origin) -> Setup {
    Setup {
        elsewhere: (9_001..=9_009)
            .map(|named| (named, origin.door().port()))
            .collect(),
        ..Setup::default()
    }
}

/// What a node is told with a request of a client that says all of it himself.
fn told(origin: &Origin, connect: &impl Fn() -> Connection, path: &str) -> HeaderMap {
    let answer = connect().get(path, &CLIENTS_OWN).unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    let mut asked = origin.object(path).asked;
    let told = NAMES.map(|name| Some((name.parse().unwrap(), asked.remove(name)?)));
    let told: HeaderMap = told.into_iter().flatten().collect();
    assert!(
        told.values().all(|value| value != "ZZZ" && value != "777"),
        "{told:?}"
    );
    told
}

/// Before a purge, after it, and when nobody is asked any more. A proxy on a busy machine may not have waited for the
/// sidecar, so what is to come is waited for.
fn versions_are_the_sidecars(
    origin: &Origin,
    (process, sidecar): (&mut Process, &mut Sidecar),
    connect: &impl Fn() -> Connection,
) {
    let path = "/object/of-a-version";
    assert!(told(origin, connect, path).is_empty());
    let url = format!("https://{HOST}{path}");
    sidecar.purge(&[&url, "--confirm"]);
    process.until("nodes are told of the version", || {
        told(origin, connect, path).contains_key(NAMES[0])
    });
    sidecar.purge(&[&url, "--soft", "--confirm"]);
    process.until("nodes are told how old it may be", || {
        told(origin, connect, path).contains_key(NAMES[1])
    });
    sidecar.kill();
    assert!(told(origin, connect, path).is_empty());
}

fn versions_come_through(kind: &Kind, test: &str) {
    let origin = Origin::start();
    let Some(mut front) = Front::start_with(kind, test, setup(&origin), |_places, _folder| {})
    else {
        return;
    };
    let address = front.address;
    let connect = || Connection::tcp(address).unwrap();
    let around = (&mut front.process, &mut front.rig.sidecar);
    versions_are_the_sidecars(&origin, around, &connect);
}

#[test]
fn nginx_tells_nodes_the_sidecars_version_and_never_the_clients() {
    let test = "nginx_tells_nodes_the_sidecars_version_and_never_the_clients";
    versions_come_through(&nginx::KIND, test);
}

#[test]
fn haproxy_tells_nodes_the_sidecars_version_and_never_the_clients() {
    let test = "haproxy_tells_nodes_the_sidecars_version_and_never_the_clients";
    versions_come_through(&haproxy::KIND, test);
}

#[test]
fn envoy_tells_nodes_the_sidecars_version_and_never_the_clients() {
    let test = "envoy_tells_nodes_the_sidecars_version_and_never_the_clients";
    for config in ["envoy.yaml", "ext_proc.yaml"] {
        let origin = Origin::start();
        let Some(mut envoy) = Envoy::start_with(test, config, &[], setup(&origin)) else {
            return;
        };
        let address = envoy.address;
        let connect = || Connection::tcp(address).unwrap();
        let around = (&mut envoy.process, &mut envoy.rig.sidecar);
        versions_are_the_sidecars(&origin, around, &connect);
    }
}
