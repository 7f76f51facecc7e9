//! The HTTP/1.1 door.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::Runtime;
use tradewind::sidecar::listen::counters::GateCounters;
use tradewind::sidecar::listen::entrance::Entrance;
use tradewind::sidecar::listen::gate::{Gate, PlainDoor};
use tradewind::sidecar::listen::http1::Http1Limits;
use tradewind::sidecar::listen::limits::GateLimits;
use tradewind::sidecar::listen::socket::Endpoint;
use tradewind::sidecar::listen::stranger::Signpost;
use tradewind::sidecar::listen::worker::Workers;

use crate::server::{Setup, runtime};
use tradewind::sidecar::clock::timer_now;

/// An HTTP/1.1 door and its runtime.
struct Http1 {
    control: Runtime,
    address: SocketAddr,
    counters: Arc<GateCounters>,
    gate: Gate,
}

impl Http1 {
    fn start(change: impl FnOnce(&mut Http1Limits)) -> Self {
        let control = runtime();
        let mut limits = Http1Limits::default();
        change(&mut limits);
        let router = axum::Router::new()
            .route("/", axum::routing::get(async || "hello"))
            .route(
                "/length",
                axum::routing::post(async |body: Bytes| body.len().to_string()),
            )
            .route(
                "/slow",
                axum::routing::get(async || {
                    tokio::time::sleep(Duration::from_millis(300)).await;
                    "late"
                }),
            )
            .route("/panic", axum::routing::get(panicking));
        let door = PlainDoor {
            endpoint: Setup::default().endpoint,
            limits,
            entrance: Entrance {
                signpost: Signpost::new(|path| format!("asked for {path}")),
                ..Entrance::open()
            },
        };
        let gate_limits = GateLimits {
            max_connections: limits.max_connections,
            drain_deadline: Duration::from_secs(2),
            ..GateLimits::default()
        };
        let mut gate = Gate::new(Workers::start(1).unwrap(), gate_limits);
        let opened = gate.open_http1(door, |_worker| router.clone());
        let Endpoint::Tcp(address) = control.block_on(opened).unwrap() else {
            panic!("not TCP")
        };
        Self {
            control,
            address,
            counters: gate.counters(),
            gate,
        }
    }

    fn connect(&self) -> TcpStream {
        let socket = TcpStream::connect(self.address).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        socket
    }

    /// The answer's status to a request on a connection of its own.
    fn ask(&self, request: &[u8]) -> u16 {
        let mut socket = self.connect();
        // An answer may come, and the connection close, before all has been written.
        drop(socket.write_all(request));
        status(&mut socket)
    }
}

async fn panicking() -> &'static str {
    panic!("a panic that a test asked for")
}

fn status(socket: &mut TcpStream) -> u16 {
    let mut answer = [0; 4_096];
    // A connection closed with bytes unread is reset.
    let got = socket.read(&mut answer).unwrap_or(0);
    let text = String::from_utf8_lossy(&answer[..got]).into_owned();
    text.split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .unwrap_or(0)
}

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

#[test]
fn http1_answers_and_keeps_the_connection() {
    let door = Http1::start(|_limits| {});
    let mut socket = door.connect();
    for _ in 0..3 {
        socket.write_all(GET).unwrap();
        assert_eq!(status(&mut socket), 200);
    }
    assert_eq!(door.counters.accepted.load(Ordering::Relaxed), 1);
}

#[test]
fn http1_bounds_heads_bodies_and_time() {
    let door = Http1::start(|limits| limits.request_deadline = Duration::from_millis(150));
    let many = b"GET / HTTP/1.1\r\nHost: localhost\r\n".to_vec();
    let many = [many, b"a: b\r\n".repeat(70), b"\r\n".to_vec()].concat();
    assert_eq!(door.ask(&many), 431);
    let long = [
        &b"GET / HTTP/1.1\r\na: "[..],
        &b"x".repeat(20_000),
        b"\r\n\r\n",
    ]
    .concat();
    assert_eq!(door.ask(&long), 431);
    let declared = b"POST /length HTTP/1.1\r\nHost: localhost\r\nContent-Length: 300000\r\n\r\n";
    assert_eq!(door.ask(declared), 413);
    let mut chunked =
        b"POST /length HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for _ in 0..20 {
        chunked.extend_from_slice(b"4000\r\n");
        chunked.extend_from_slice(&[b'x'; 0x4000]);
        chunked.extend_from_slice(b"\r\n");
    }
    assert_eq!(door.ask(&chunked), 413);
    let unsent = b"POST /length HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\n";
    assert_eq!(door.ask(unsent), 503);
    assert_eq!(
        door.ask(b"GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        503
    );
    assert_eq!(door.counters.deadline_exceeded.load(Ordering::Relaxed), 2);
    assert_eq!(
        door.ask(b"GET /panic HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        500
    );
    assert_eq!(door.counters.panics.load(Ordering::Relaxed), 1);
    assert_eq!(door.ask(GET), 200);
}

#[test]
fn http1_closes_slow_heads_and_idle_connections_and_caps_them() {
    let door = Http1::start(|limits| {
        limits.max_connections = 2;
        limits.header_read_timeout = Duration::from_millis(250);
    });
    let mut slow = door.connect();
    slow.write_all(b"GET / HTTP/1.1\r\nHo").unwrap();
    let mut idle = door.connect();
    idle.write_all(GET).unwrap();
    assert_eq!(status(&mut idle), 200);
    // Over the cap the one goes that has been idle longest, so that a probe is let in.
    assert_eq!(door.ask(GET), 200);
    assert_eq!(door.counters.displaced.load(Ordering::Relaxed), 1);
    assert_eq!(door.counters.refused_cap.load(Ordering::Relaxed), 0);
    let started = timer_now();
    let mut rest = Vec::new();
    slow.read_to_end(&mut rest).unwrap();
    idle.read_to_end(&mut rest).unwrap();
    assert!(
        started.elapsed() < Duration::from_secs(2),
        "{:?}",
        started.elapsed()
    );
    assert_eq!(door.ask(GET), 200);
}

#[test]
fn http1_drains() {
    let door = Http1::start(|_limits| {});
    let mut idle = door.connect();
    idle.write_all(GET).unwrap();
    assert_eq!(status(&mut idle), 200);
    let mut busy = door.connect();
    busy.write_all(b"GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .unwrap();
    thread::sleep(Duration::from_millis(100));
    let draining = door.control.spawn(door.gate.drain());
    assert_eq!(status(&mut busy), 200);
    let report = door.control.block_on(draining).unwrap();
    assert_eq!((report.drained, report.cut), (2, 0));
    assert!(report.took < Duration::from_secs(1), "{report:?}");
}
