//! The query door: what it bears with, and how it ends.

use std::io::Read;
use std::net::TcpStream;
use std::time::Duration;

use crate::http::{Connection, request};
use crate::server::{Files, Server, Setup};
use tradewind::sidecar::clock::timer_now;

const ASK: &str = "/v1/route?host=www.example.com&path=/a&client=198.18.0.1";

/// The status of the answer to bytes on a connection of their own; 0 when it is closed without one.
fn status(server: &Server, bytes: &[u8]) -> u16 {
    let mut http = server.query();
    // An answer may come, and the connection close, before all has been written.
    drop(http.send(bytes));
    http.reply().map_or(0, |reply| reply.status)
}

#[tokio::test]
async fn requests_over_the_bounds_are_refused() {
    let server = Setup::example().start().await;
    let long = "v".repeat(50_000);
    let many: Vec<(&str, &str)> = vec![("a", "b"); 600];
    let body = vec![b' '; 300_000];
    for (what, bytes, statuses) in [
        (
            "a long header",
            request("GET", ASK, &[("a", &long)], b""),
            &[431][..],
        ),
        ("many headers", request("GET", ASK, &many, b""), &[431]),
        (
            "a long target",
            request("GET", &format!("{ASK}&key={long}"), &[], b""),
            &[431, 414],
        ),
        (
            "a large body",
            request("POST", "/v1/route", &[], &body),
            &[413],
        ),
        (
            "a body over a query's bound",
            request("POST", "/v1/route", &[], &body[..20_000]),
            &[413],
        ),
        (
            "a path too long",
            request(
                "GET",
                "/v1/route",
                &[("X-Original-URI", &format!("/{}", "x".repeat(8_192)))],
                b"",
            ),
            &[414],
        ),
        (
            "many that no rule looks at",
            request(
                "GET",
                "/v1/route",
                &[&many[..400], &[("X-Original-URI", "/a")]].concat(),
                b"",
            ),
            &[200],
        ),
        ("no version", b"GET /v1/route\r\n\r\n".to_vec(), &[400]),
        (
            "control bytes in a header",
            b"GET /v1/route HTTP/1.1\r\nX-Original-URI: /a\rb\r\n\r\n".to_vec(),
            &[400],
        ),
        (
            "a zero byte in a header",
            b"GET /v1/route HTTP/1.1\r\nX-Original-URI: /a\0b\r\n\r\n".to_vec(),
            &[400],
        ),
        (
            "gRPC",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
            &[400, 505, 0],
        ),
    ] {
        let answered = status(&server, &bytes);
        assert!(statuses.contains(&answered), "{what}: {answered}");
    }
    assert_eq!(server.query().get(ASK, &[]).unwrap().status, 200);
    assert_eq!(server.count("tradewind_http_connections_panics_total"), 0);
}

#[tokio::test]
async fn what_a_proxy_hands_on_fits() {
    let server = Setup::example().start().await;
    // As much as nginx takes of a client by default: four buffers of 8 KiB.
    let value = "v".repeat(7_900);
    let headers = [
        ("X-Original-URI", "/a"),
        ("a", &value),
        ("b", &value),
        ("c", &value),
        ("d", &value),
    ];
    let reply = server.query().get("/v1/route", &headers).unwrap();
    assert_eq!(reply.status, 200, "{reply:?}");
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order_and_a_connection_is_kept() {
    let files = Files::new();
    let server = files.setup().start().await;
    let mut http = server.query();
    let asks: Vec<u8> = (0..500)
        .flat_map(|number| {
            let id = number.to_string();
            request(
                "GET",
                "/v1/route",
                &[("X-Original-URI", "/a"), ("X-Request-Id", &id)],
                b"",
            )
        })
        .collect();
    http.send(&asks).unwrap();
    for number in 0..500 {
        let reply = http.reply().unwrap();
        assert_eq!(
            (reply.status, &reply.json()["request_id"]),
            (200, &number.to_string().into())
        );
    }
    assert_eq!(server.count("tradewind_http_connections_accepted_total"), 1);
}

#[tokio::test]
async fn f38_who_asks_and_does_not_read_is_closed_and_holds_nobody_up() {
    let files = Files::new();
    let server = files.setup().with("workers", "1").start().await;
    let mut deaf = server.query();
    let ask = request("GET", "/v1/route", &[("X-Original-URI", "/a")], b"");
    let many = ask.repeat(200_000);
    let sender = std::thread::spawn(move || deaf.send(&many).is_err());
    let began = timer_now();
    let mut http = server.query();
    while !sender.is_finished() {
        assert!(
            began.elapsed() < Duration::from_secs(25),
            "it may stay for ever"
        );
        let asked = timer_now();
        assert_eq!(http.get(ASK, &[]).unwrap().status, 200);
        assert!(asked.elapsed() < Duration::from_secs(2));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(sender.join().unwrap(), "it was cut while it sent");
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let server = Setup::example().start().await;
    let began = timer_now();
    let unsent = b"POST /v1/route HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{";
    assert_eq!(status(&server, unsent), 503);
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn f25_connections_are_capped_apart_from_those_of_grpc() {
    let server = Setup::example().start().await;
    let limit: usize = 1_024;
    let mut open: Vec<TcpStream> = Vec::new();
    for _ in 0..limit + 50 {
        open.push(TcpStream::connect(server.http.unwrap()).unwrap());
    }
    let displaced = "tradewind_http_connections_displaced_total";
    server
        .until("the cap is reached", || server.count(displaced) >= 50)
        .await;
    // The oldest went, and whoever comes is served although all places are held.
    let first = &mut open[0];
    first
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    assert_eq!(first.read(&mut [0; 1]).unwrap_or(0), 0, "it is closed");
    assert_eq!(server.query().get(ASK, &[]).unwrap().status, 200);
    // gRPC has places of its own.
    server
        .client()
        .await
        .decide(crate::client::request("/a"))
        .await;
    drop(open);
}

#[tokio::test]
async fn f02_no_request_is_lost_over_the_end() {
    let mut server = Setup::example().start().await;
    let address = server.http.unwrap();
    let askers: Vec<_> = (0..4)
        .map(|_| {
            std::thread::spawn(move || {
                let mut answered = 0;
                // Each answered request counts; what fails must be a connection that is told to be closed.
                while let Ok(mut http) = Connection::tcp(address) {
                    while let Ok(reply) = http.get(ASK, &[]) {
                        assert_eq!(reply.status, 200);
                        answered += 1;
                        if reply.header("connection") == Some("close") {
                            break;
                        }
                    }
                }
                answered
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(200)).await;
    // Idle, in the middle of a head, and in flight: none keeps the process.
    let _idle = server.query();
    let began = timer_now();
    server.signal("TERM");
    assert_eq!(server.ended().await.code(), Some(0), "{}", server.log());
    assert!(began.elapsed() < Duration::from_secs(4));
    for asker in askers {
        assert!(asker.join().unwrap() > 0);
    }
    assert!(server.log().contains("cut=0"), "{}", server.log());
}

#[tokio::test]
async fn f02_a_request_that_is_half_sent_is_cut_at_the_deadline() {
    let mut server = Setup::example()
        .with("drain-deadline", "300ms")
        .start()
        .await;
    let mut http = server.query();
    http.send(b"GET /v1/route HTTP/1.1\r\nHost: a").unwrap();
    let open = "tradewind_http_connections_open";
    server.until("it is open", || server.count(open) == 1).await;
    let began = timer_now();
    server.signal("TERM");
    assert_eq!(server.ended().await.code(), Some(0), "{}", server.log());
    assert!(began.elapsed() < Duration::from_secs(3));
}
