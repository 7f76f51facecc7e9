//! One call: its deadline, its place in the budget, its panics.

use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use tonic::{Code, Request};
use tradewind::sidecar::listen::entrance::{Entrance, Method};
use tradewind::sidecar::listen::gate::{Door, Gate};
use tradewind::sidecar::listen::limits::{GateLimits, Limits};
use tradewind::sidecar::listen::socket::Endpoint;
use tradewind::sidecar::listen::worker::Workers;

use crate::echo::{self, Echo};
use crate::peer::{self, Peer};
use crate::server::{Client, Setup, runtime};
use tradewind::sidecar::clock::timer_now;

#[test]
fn a_unary_call_has_a_deadline_and_a_stream_has_not() {
    let server =
        Setup::limits(|limits| limits.request_deadline = Duration::from_millis(150)).start();
    let client = server.client();
    let started = timer_now();
    assert_eq!(
        client.call("Hang", "").unwrap_err().code(),
        Code::DeadlineExceeded
    );
    assert!(
        started.elapsed() >= Duration::from_millis(140),
        "{:?}",
        started.elapsed()
    );
    // A request whose body never comes is a call that takes too long.
    let mut slow = Peer::greet(server.address(), &[]);
    slow.send(
        peer::HEADERS,
        peer::END_HEADERS,
        1,
        &peer::head("/test.Echo/Unary", 0),
    )
    .unwrap();
    assert_eq!(slow.read_until(peer::HEADERS).unwrap().stream, 1);
    server.wait_for(|counters| &counters.deadline_exceeded, 2);
    slow.call(3, "/test.Echo/Watch", b"").unwrap();
    assert_eq!(slow.read_until(peer::HEADERS).unwrap().stream, 3);
    thread::sleep(Duration::from_millis(300));
    assert_eq!(server.in_flight(), 1, "the stream is still open");
    assert_eq!(server.counters.deadline_exceeded.load(Ordering::Relaxed), 2);
}

#[test]
fn the_clients_own_shorter_deadline_wins() {
    let server = Setup::limits(|limits| limits.request_deadline = Duration::from_mins(1)).start();
    let mut peer = Peer::greet(server.address(), &[]);
    let mut head = peer::head("/test.Echo/Hang", 0);
    head.extend_from_slice(b"\x00\x0cgrpc-timeout\x04100m");
    peer.send(
        peer::HEADERS,
        peer::END_HEADERS | peer::END_STREAM,
        1,
        &head,
    )
    .unwrap();
    assert_eq!(peer.read_until(peer::HEADERS).unwrap().stream, 1);
    server.wait_for(|counters| &counters.deadline_exceeded, 1);
}

#[test]
fn calls_over_the_in_flight_budget_are_shed() {
    let mut setup = Setup::gate(|gate| gate.max_in_flight = 1);
    setup.limits.own_calls = 1;
    setup.workers = 1;
    let server = setup.start();
    let client = server.client();
    let held: Vec<_> = (0..2)
        .map(|_| client.begin("Sleep", Request::new(Bytes::from("300"))))
        .collect();
    while server.in_flight() < 2 {
        thread::yield_now();
    }
    assert_eq!(
        client.call("Unary", "").unwrap_err().code(),
        Code::ResourceExhausted
    );
    assert_eq!(server.counters.shed_in_flight.load(Ordering::Relaxed), 1);
    for reply in held {
        assert!(client.end(reply).is_ok());
    }
    client.assert_served();
    server.wait_for_no_calls();
}

#[test]
fn a_panic_is_contained_to_its_call() {
    let server = Setup {
        workers: 1,
        ..Setup::default()
    }
    .start();
    let client = server.client();
    let neighbour = client.begin("Sleep", Request::new(Bytes::from("100")));
    assert_eq!(client.call("Panic", "").unwrap_err().code(), Code::Internal);
    assert_eq!(
        client.call("PanicInBody", "").unwrap_err().code(),
        Code::Internal
    );
    assert_eq!(client.end(neighbour).unwrap(), "100");
    client.assert_served();
    assert_eq!(server.counters.panics.load(Ordering::Relaxed), 2);
    assert_eq!(
        server.counters.accepted.load(Ordering::Relaxed),
        1,
        "on the same connection"
    );
    server.wait_for_no_calls();
}

#[test]
fn tonic_routes_can_be_served() {
    let control = runtime();
    let mut gate = Gate::new(Workers::start(1).unwrap(), GateLimits::default());
    let door = Door {
        endpoint: Setup::default().endpoint,
        limits: Limits::trusted(),
        entrance: Entrance {
            methods: |path| Method {
                is_streaming: echo::streams(path),
                ..Method::OPEN
            },
            ..Entrance::open()
        },
    };
    let open = gate.open(door, |_worker| tonic::service::Routes::new(Echo).prepare());
    let Endpoint::Tcp(address) = control.block_on(open).unwrap() else {
        panic!("not TCP")
    };
    Client::connect(address).assert_served();
    control.block_on(gate.drain());
}
