//! Who gets in, to which worker, and who is shown out for not speaking.

use std::io::{Read, Write};
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use crate::peer::{self, Peer};
use crate::server::Setup;
use tradewind::sidecar::clock::timer_now;

#[test]
fn connections_are_handed_out_evenly() {
    let server = Setup {
        workers: 4,
        ..Setup::default()
    }
    .start();
    let mut peers: Vec<_> = (0..8).map(|_| Peer::greet(server.address(), &[])).collect();
    server.wait_for(|counters| &counters.open, 8);
    let open = || -> Vec<u64> {
        let workers = server.counters.workers.iter();
        workers
            .map(|worker| worker.open.load(Ordering::Relaxed))
            .collect()
    };
    assert_eq!(open(), [2, 2, 2, 2]);
    // Whoever has fewest gets the next ones, wherever the round stands.
    peers.drain(..3);
    server.wait_for(|counters| &counters.open, 5);
    peers.extend((0..3).map(|_| Peer::greet(server.address(), &[])));
    server.wait_for(|counters| &counters.open, 8);
    assert_eq!(open(), [2, 2, 2, 2]);
}

#[test]
fn above_the_cap_the_connection_that_is_idle_longest_makes_room() {
    let server = Setup::gate(|gate| gate.max_connections = 3).start();
    let honest = server.client();
    honest.assert_served();
    let mut silent: Vec<_> = (0..2).map(|_| Peer::greet(server.address(), &[])).collect();
    server.wait_for(|counters| &counters.open, 3);
    // Used after the silent ones came, so it is not the one to go.
    honest.assert_served();
    for come in 4..24 {
        silent.push(Peer::greet(server.address(), &[]));
        server.wait_for(|counters| &counters.accepted, come);
        honest.assert_served();
    }
    for peer in silent.iter_mut().take(20) {
        peer.read_to_end();
    }
    server.wait_for(|counters| &counters.displaced, 20);
    server.wait_for(|counters| &counters.open, 3);
    assert_eq!(server.counters.refused_cap.load(Ordering::Relaxed), 0);
}

#[test]
fn above_the_cap_connections_are_closed_at_once_while_all_others_have_calls() {
    let mut setup = Setup::gate(|gate| gate.max_connections = 3);
    setup.limits.request_deadline = Duration::from_secs(30);
    let server = setup.start();
    let mut inside: Vec<_> = (0..3).map(|_| Peer::greet(server.address(), &[])).collect();
    for peer in &mut inside {
        peer.call(1, "/test.Echo/Hang", b"").unwrap();
    }
    while server.in_flight() < 3 {
        thread::yield_now();
    }
    for _ in 0..2 {
        Peer::silent(server.address()).read_to_end();
    }
    server.wait_for(|counters| &counters.refused_cap, 2);
    inside.pop();
    server.wait_for(|counters| &counters.open, 2);
    server.client().assert_served();
    assert_eq!(server.counters.accepted.load(Ordering::Relaxed), 6);
    assert_eq!(server.counters.displaced.load(Ordering::Relaxed), 0);
}

#[test]
fn f26_peers_without_a_preface_are_closed_at_the_deadline() {
    let server =
        Setup::limits(|limits| limits.preface_deadline = Duration::from_millis(200)).start();
    let started = timer_now();
    let mut peers: Vec<_> = (0..40).map(|_| Peer::silent(server.address())).collect();
    for peer in peers.iter_mut().skip(20) {
        peer.socket.write_all(&peer::PREFACE[..23]).unwrap();
    }
    for peer in &mut peers {
        peer.read_to_end();
    }
    assert!(started.elapsed() >= Duration::from_millis(180));
    assert!(
        started.elapsed() < Duration::from_secs(2),
        "{:?}",
        started.elapsed()
    );
    server.wait_for(|counters| &counters.refused_preface, 40);
    server.wait_for(|counters| &counters.open, 0);
}

#[test]
fn another_protocol_is_closed_without_waiting() {
    let server = Setup::default().start();
    let started = timer_now();
    let mut peer = Peer::silent(server.address());
    peer.socket
        .write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    peer.socket.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(answer.ends_with("\r\n\r\nasked for /\n"), "{answer}");
    assert!(started.elapsed() < Duration::from_millis(900));
    server.wait_for(|counters| &counters.refused_preface, 1);
}

#[test]
fn f27_half_open_peers_are_closed_by_the_keepalive_and_live_ones_are_not() {
    let server = Setup::limits(|limits| {
        limits.keep_alive_interval = Duration::from_millis(200);
        limits.keep_alive_timeout = Duration::from_millis(400);
    })
    .start();
    let live = server.client();
    let started = timer_now();
    let mut dead = Peer::greet(server.address(), &[]);
    dead.read_to_end();
    assert!(
        started.elapsed() < Duration::from_secs(2),
        "{:?}",
        started.elapsed()
    );
    live.assert_served();
    server.wait_for(|counters| &counters.open, 1);
}
