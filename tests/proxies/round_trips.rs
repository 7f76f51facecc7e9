//! nginx and HAProxy log the client's round trip, where the client opened the connection himself.

use std::net::UdpSocket;
use std::time::Duration;

use tradewind::sidecar::wire::json::outcomes;
use tradewind::sidecar::wire::proto::Outcome;

use crate::front::{Front, Kind, LOG};
use crate::rig::Setup;
use crate::visits::{HOST, client, get};
use crate::{haproxy, nginx};

/// The next outcome that the proxy logs.
fn logged(log: &UdpSocket) -> Outcome {
    let mut room = [0; 16 << 10];
    let length = log.recv(&mut room).unwrap();
    let line = &room[..length];
    let start = line.iter().position(|byte| *byte == b'{').unwrap();
    let told = outcomes(line[start..].trim_ascii());
    told.unwrap_or_else(|fault| panic!("{fault}: {}", String::from_utf8_lossy(line)))
        .remove(0)
}

fn is_logged(kind: &Kind, test: &str) {
    let mut log = None;
    let started = Front::start_with(kind, test, Setup::default(), |places, _folder| {
        let socket = UdpSocket::bind(places.address(LOG)).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        log = Some(socket);
    });
    let (Some(front), Some(log)) = (started, log) else {
        return;
    };
    let mut proxy = front.connect();
    let direct = proxy.get("/object/1", &[("Host", HOST)]).unwrap();
    assert_eq!(direct.status, 200);
    let told = logged(&log);
    let round_trip = told.client_round_trip.unwrap_or_else(|| panic!("{told:?}"));
    assert!(
        round_trip.seconds == 0 && (1_000..50_000_000).contains(&round_trip.nanos),
        "{round_trip:?}"
    );
    assert_eq!(told.attempt, 1);
    // By way of a balancer: the connection is the balancer's.
    assert_eq!(get(&mut proxy, "/object/1", &client(0)).status, 200);
    assert_eq!(logged(&log).client_round_trip, None);
}

#[test]
fn nginx_logs_the_round_trip_of_clients_that_come_themselves() {
    let test = "nginx_logs_the_round_trip_of_clients_that_come_themselves";
    is_logged(&nginx::KIND, test);
}

#[test]
fn haproxy_logs_the_round_trip_of_clients_that_come_themselves() {
    let test = "haproxy_logs_the_round_trip_of_clients_that_come_themselves";
    is_logged(&haproxy::KIND, test);
}
