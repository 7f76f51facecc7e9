//! How connections leave: by age, by drain, by force.

use std::net::TcpStream;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use tonic::Request;

use crate::peer::{self, Peer};
use crate::server::Setup;

#[test]
fn an_aged_connection_leaves_after_its_call() {
    let server = Setup::limits(|limits| {
        limits.max_age = Duration::from_millis(150);
        limits.max_age_jitter_percent = 0;
    })
    .start();
    let client = server.client();
    let reply = client.begin("Sleep", Request::new(Bytes::from("400")));
    server.wait_for(|counters| &counters.aged_out, 1);
    assert_eq!(server.in_flight(), 1, "the call goes on");
    assert_eq!(client.end(reply).unwrap(), "400");
    server.wait_for(|counters| &counters.open, 0);
    // The client comes back on a new connection by itself.
    client.assert_served();
    assert_eq!(server.counters.accepted.load(Ordering::Relaxed), 2);
}

#[test]
fn f02_a_drain_lets_calls_in_flight_finish() {
    let mut server = Setup::default().start();
    let client = server.client();
    let reply = client.begin("Sleep", Request::new(Bytes::from("300")));
    let mut idle = Peer::greet(server.address(), &[]);
    idle.read_until_greeted();
    while server.in_flight() < 1 {
        thread::yield_now();
    }
    let address = server.address();
    let drain = thread::spawn(move || server.drain());
    assert!(idle.read_until(peer::GOAWAY).is_some());
    assert!(TcpStream::connect(address).is_err(), "no new connections");
    // A polite peer answers the ping that comes with GOAWAY.
    assert_eq!(client.end(reply).unwrap(), "300");
    drop(idle);
    let report = drain.join().unwrap();
    assert_eq!(
        (report.drained, report.cut, report.workers_stuck),
        (2, 0, 0)
    );
    assert!(report.took < Duration::from_secs(2), "{report:?}");
}

#[test]
fn f03_a_drain_cuts_stuck_peers_at_its_deadline() {
    let mut server = Setup::gate(|gate| gate.drain_deadline = Duration::from_millis(400)).start();
    let mut stuck = Peer::greet(server.address(), &[]);
    stuck.call(1, "/test.Echo/Watch", b"").unwrap();
    assert!(stuck.read_until(peer::HEADERS).is_some());
    let _wordless = Peer::silent(server.address());
    let client = server.client();
    client.assert_served();
    server.wait_for(|counters| &counters.open, 3);
    let report = server.drain();
    assert_eq!(
        (report.drained, report.cut, report.workers_stuck),
        (2, 1, 0)
    );
    assert!(report.took >= Duration::from_millis(400), "{report:?}");
    assert!(report.took < Duration::from_millis(1_500), "{report:?}");
    assert_eq!(server.in_flight(), 0);
    assert_eq!(server.counters.cut.load(Ordering::Relaxed), 1);
}

#[test]
fn dropping_the_gate_cuts_everything() {
    let mut server = Setup::default().start();
    let mut peer = Peer::greet(server.address(), &[]);
    peer.call(1, "/test.Echo/Watch", b"").unwrap();
    assert!(peer.read_until(peer::HEADERS).is_some());
    drop(server.gate.take());
    peer.read_to_end();
    server.wait_for(|counters| &counters.open, 0);
}
