//! Peers that abuse the protocol, while an honest one goes on being served.

use std::io::{ErrorKind, Write};
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use crate::peer::{self, Peer};
use crate::server::{Server, Setup};
use tradewind::sidecar::clock::timer_now;

#[test]
fn f34_streams_without_a_body_are_limited() {
    let server = Setup::default().start();
    let honest = server.client();
    let mut peer = Peer::greet(server.address(), &[]);
    let settings = peer.read_until(peer::SETTINGS).unwrap();
    let max_streams = [0, 3, 0, 0, 0, 128];
    assert!(
        settings
            .payload
            .chunks(6)
            .any(|setting| setting == max_streams)
    );
    let head = peer::head("/test.Echo/Unary", 0);
    let mut most = 0;
    let sent = (0..100_000_u32)
        .take_while(|n| {
            most = most.max(server.in_flight());
            peer.send(peer::HEADERS, peer::END_HEADERS, 2 * n + 1, &head)
                .is_ok()
        })
        .count();
    assert!(sent < 100_000, "nobody stopped it");
    assert!(most <= 128, "{most} calls in flight");
    honest.assert_served();
    server.wait_for(|counters| &counters.open, 1);
    server.wait_for_no_calls();
}

/// Holds every place that connections share, by calls to `method` that do not end.
fn hold_all_places(server: &Server, method: &str) -> Vec<Peer> {
    let head = peer::head(&format!("/test.Echo/{method}"), 0);
    let mut peers: Vec<_> = (0..8).map(|_| Peer::greet(server.address(), &[])).collect();
    for peer in &mut peers {
        for n in 0..128_u32 {
            peer.send(peer::HEADERS, peer::END_HEADERS, 2 * n + 1, &head)
                .unwrap();
        }
    }
    server.wait_for_shed();
    peers
}

#[test]
fn who_holds_every_place_keeps_nobody_out() {
    for method in ["Watch", "Hang"] {
        let mut setup = Setup::gate(|gate| gate.max_in_flight = 100);
        setup.limits.request_deadline = Duration::from_secs(30);
        let server = setup.start();
        let before = server.client();
        let flood = hold_all_places(&server, method);
        let after = server.client();
        for _ in 0..100 {
            before.assert_served();
            after.assert_served();
        }
        drop(flood);
        server.wait_for_no_calls();
    }
}

/// Sends what `attack` appends for each stream until the server ends the connection; it must say GOAWAY.
/// Returns how many streams that took.
fn attack_until_goaway(server: &Server, attack: impl Fn(&mut Vec<u8>, u32)) -> u32 {
    let honest = server.client();
    let mut peer = Peer::greet(server.address(), &[]);
    peer.socket
        .set_read_timeout(Some(Duration::from_micros(100)))
        .unwrap();
    for n in 0..100_000 {
        let mut bytes = Vec::new();
        attack(&mut bytes, 2 * n + 1);
        let sent = peer.socket.write_all(&bytes);
        loop {
            match peer.read() {
                Ok(Some(frame)) if frame.kind == peer::GOAWAY => {
                    honest.assert_served();
                    return n;
                }
                Ok(Some(_other)) => {}
                Ok(None) => panic!("closed after {n} streams without GOAWAY"),
                Err(error) => {
                    let waiting =
                        matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
                    assert!(waiting, "{error}");
                    break;
                }
            }
        }
        sent.unwrap();
    }
    panic!("no GOAWAY after 100,000 streams");
}

#[test]
fn f29_rapid_reset_ends_in_goaway() {
    let mut setup = Setup::default();
    // The limit is on resets that wait to be looked at, so they have to come faster than one by one.
    setup.limits.max_pending_accept_reset_streams = 200;
    let server = setup.start();
    let head = peer::head("/test.Echo/Hang", 0);
    let bursts = attack_until_goaway(&server, |bytes, first| {
        for n in 0..500 {
            let stream = (first - 1) * 500 + 2 * n + 1;
            peer::push_frame(bytes, peer::HEADERS, peer::END_HEADERS, stream, &head);
            peer::push_frame(bytes, peer::RST_STREAM, 0, stream, &8_u32.to_be_bytes());
        }
    });
    assert!(bursts < 20, "{bursts} bursts");
    server.wait_for_no_calls();
}

#[test]
fn f30_made_you_reset_ends_in_goaway() {
    let server = Setup::limits(|limits| limits.max_local_error_reset_streams = 300).start();
    let head = peer::head("/test.Echo/Hang", 0);
    let streams = attack_until_goaway(&server, |bytes, stream| {
        peer::push_frame(bytes, peer::HEADERS, peer::END_HEADERS, stream, &head);
        // A window beyond 2^31-1 is an error of the stream: the server resets it.
        peer::push_frame(
            bytes,
            peer::WINDOW_UPDATE,
            0,
            stream,
            &0x7fff_ffff_u32.to_be_bytes(),
        );
    });
    assert!((250..=320).contains(&streams), "{streams} streams");
    server.wait_for_no_calls();
}

#[test]
fn f31_a_continuation_flood_ends_in_goaway() {
    let server = Setup::default().start();
    let frames = attack_until_goaway(&server, |bytes, n| {
        let head = peer::head("/test.Echo/Unary", 0);
        if n == 1 {
            peer::push_frame(bytes, peer::HEADERS, 0, 1, &head);
        }
        // Fields that are added to no table: a name and a value of one byte each.
        peer::push_frame(
            bytes,
            peer::CONTINUATION,
            0,
            1,
            &b"\x00\x01x\x01y".repeat(20),
        );
    });
    assert!(frames < 1_000, "{frames} frames");
}

#[test]
fn f33_large_header_lists_are_refused() {
    let server = Setup::default().start();
    let mut peer = Peer::greet(server.address(), &[]);
    let flags = peer::END_HEADERS | peer::END_STREAM;
    peer.send(
        peer::HEADERS,
        flags,
        1,
        &peer::head("/test.Echo/Unary", 9_000),
    )
    .unwrap();
    let answer = peer.read_until(peer::HEADERS).unwrap();
    assert_eq!(
        (answer.stream, answer.flags & peer::END_STREAM),
        (1, peer::END_STREAM)
    );
    assert_eq!(server.in_flight(), 0, "the service has not seen it");
    peer.call(3, "/test.Echo/Unary", b"still served").unwrap();
    assert_eq!(peer.read_until(peer::DATA).unwrap().stream, 3);

    let huge = peer::head("/test.Echo/Unary", 300_000);
    let mut bytes = Vec::new();
    let mut chunks = huge.chunks(16_000);
    peer::push_frame(&mut bytes, peer::HEADERS, 0, 5, chunks.next().unwrap());
    for chunk in chunks {
        peer::push_frame(&mut bytes, peer::CONTINUATION, 0, 5, chunk);
    }
    // The server may have closed before all of it is written.
    drop(peer.socket.write_all(&bytes));
    assert!(peer.read_until(peer::GOAWAY).is_some());
}

#[test]
fn f38_a_peer_that_opens_no_window_is_closed() {
    let server = Setup::limits(|limits| limits.send_deadline = Duration::from_millis(200)).start();
    let honest = server.client();
    let no_window = [(4, 0)];
    let mut peer = Peer::greet(server.address(), &no_window);
    for n in 0..50 {
        peer.call(2 * n + 1, "/test.Echo/Large", b"").unwrap();
    }
    peer.read_to_end();
    server.wait_for(|counters| &counters.stalled, 1);
    server.wait_for_no_calls();
    honest.assert_served();
    thread::sleep(Duration::from_millis(500));
    honest.assert_served();
    assert_eq!(
        server.counters.open.load(Ordering::Relaxed),
        1,
        "an idle peer is not a stalled one"
    );
}

#[test]
fn f38_a_peer_that_opens_a_window_of_one_byte_is_closed() {
    let server = Setup::limits(|limits| limits.send_deadline = Duration::from_millis(200)).start();
    let honest = server.client();
    let mut peer = Peer::greet(server.address(), &[(4, 1)]);
    // One in eight is followed, so that none is happens once in a million runs.
    for n in 0..100 {
        peer.call(2 * n + 1, "/test.Echo/Unary", b"some").unwrap();
    }
    peer.read_to_end();
    server.wait_for(|counters| &counters.stalled, 1);
    server.wait_for_no_calls();
    honest.assert_served();
}

#[test]
fn f38_a_peer_that_takes_one_answer_now_and_then_keeps_no_others_for_long() {
    let server = Setup::limits(|limits| limits.send_deadline = Duration::from_millis(200)).start();
    let mut peer = Peer::greet(server.address(), &[(4, 1)]);
    let mut streams = (0..).map(|n| 2 * n + 1);
    for stream in streams.by_ref().take(100) {
        peer.call(stream, "/test.Echo/Unary", b"kept").unwrap();
    }
    // Several in each period: never is nothing taken.
    let began = timer_now();
    for stream in streams.take(200) {
        let mut bytes = Vec::new();
        peer::push_call(&mut bytes, stream, "/test.Echo/Unary", b"taken");
        let window = 1_000_u32.to_be_bytes();
        peer::push_frame(&mut bytes, peer::WINDOW_UPDATE, 0, stream, &window);
        if peer.socket.write_all(&bytes).is_err() {
            break;
        }
        thread::sleep(Duration::from_millis(40));
    }
    server.wait_for(|counters| &counters.stalled, 1);
    server.wait_for_no_calls();
    assert!(
        began.elapsed() > Duration::from_millis(500),
        "not for being still"
    );
}

#[test]
fn f38_a_peer_that_does_not_read_its_socket_is_closed() {
    let server = Setup::limits(|limits| {
        limits.send_deadline = Duration::from_millis(200);
        limits.keep_alive_interval = Duration::from_mins(1);
    })
    .start();
    let open_window = [(4, i32::MAX.unsigned_abs())];
    let mut peer = Peer::greet(server.address(), &open_window);
    peer.send(peer::WINDOW_UPDATE, 0, 0, &0x7000_0000_u32.to_be_bytes())
        .unwrap();
    // More than the kernel's buffers hold.
    for n in 0..400 {
        if peer.call(2 * n + 1, "/test.Echo/Large", b"").is_err() {
            break;
        }
    }
    server.wait_for(|counters| &counters.stalled, 1);
    server.wait_for_no_calls();
}
