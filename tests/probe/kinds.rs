//! Each kind of probe, and each way to fail.

use std::time::Duration;

use tonic_health::ServingStatus;
use tradewind::sidecar::probe::ProbeFailure;

use crate::servers::{Server, refused};
use crate::setup::{Setup, assert_told, read, ready, until};

#[tokio::test]
async fn http_is_healthy_from_200_to_399() {
    let statuses = [200, 204, 302, 399, 400, 404, 503];
    let mut running = Vec::new();
    for status in statuses {
        running.push((format!("n{status}"), Server::http(status).await));
    }
    let nodes: Vec<_> = running
        .iter()
        .map(|(id, server)| ready(id, server.address))
        .collect();
    let mut setup = Setup::new(
        "kind: http, path: \"/healthz?deep=1\", interval: 1s",
        &nodes,
    );
    assert_told(
        &setup.first_of(statuses.len()).await,
        &[
            ("n200", "healthy"),
            ("n204", "healthy"),
            ("n302", "healthy"),
            ("n399", "healthy"),
            ("n400", "status"),
            ("n404", "status"),
            ("n503", "status"),
        ],
    );
    let server = &running[0].1;
    assert_eq!(
        server.heard()[0],
        format!(
            "GET /healthz?deep=1 host: {} user-agent: tradewind-probe connection: close",
            server.address
        )
    );
    let counters = setup.prober.counters();
    assert!(read(&counters.healthy) >= 4 && read(&counters.status) >= 3);
    assert_eq!(read(&counters.protocol) + read(&counters.local), 0);
}

#[tokio::test]
async fn http_fails_in_each_way_within_its_timeout() {
    let closes = Server::closing().await;
    let silent = Server::silent().await;
    let banner = Server::saying(b"SSH-2.0-OpenSSH_9.9\r\n").await;
    let drips =
        Server::dripping(b"HTTP/1.1 200 OK\r\nx-slow: 0123456789012345678901234567890123").await;
    let cut = Server::saying(b"HTTP/1.1 200 OK\r\nConte").await;
    let endless = Server::saying(b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\nx").await;
    let old = Server::saying(b"HTTP/1.0 200 OK\r\n\r\nbody").await;
    let mut setup = Setup::new(
        "kind: http, interval: 1s, timeout: 300ms",
        &[
            ready("banner", banner.address),
            ready("closes", closes.address),
            ready("cut", cut.address),
            ready("drips", drips.address),
            ready("endless", endless.address),
            ready("old", old.address),
            ready("refused", refused()),
            ready("silent", silent.address),
        ],
    );
    let told = setup.first_of(8).await;
    assert_told(
        &told,
        &[
            ("banner", "protocol"),
            ("closes", "protocol"),
            ("cut", "timeout"),
            ("drips", "timeout"),
            ("endless", "healthy"),
            ("old", "healthy"),
            ("refused", "refused"),
            ("silent", "timeout"),
        ],
    );
    for id in ["cut", "drips", "silent"] {
        let took = told[id].took;
        let bound = Duration::from_millis(300)..Duration::from_millis(1_500);
        assert!(bound.contains(&took), "{id} took {took:?}");
    }
    let counters = setup.prober.counters();
    for counter in [
        &counters.healthy,
        &counters.protocol,
        &counters.timeout,
        &counters.refused,
    ] {
        assert!(read(counter) >= 1, "{counters:?}");
    }
}

#[tokio::test]
async fn tcp_is_healthy_when_it_connects() {
    let silent = Server::silent().await;
    let closes = Server::closing().await;
    let mut setup = Setup::new(
        "kind: tcp, interval: 1s",
        &[
            ready("closes", closes.address),
            ready("refused", refused()),
            ready("silent", silent.address),
        ],
    );
    assert_told(
        &setup.first_of(3).await,
        &[
            ("closes", "healthy"),
            ("refused", "refused"),
            ("silent", "healthy"),
        ],
    );
}

#[tokio::test]
async fn grpc_is_healthy_when_the_service_serves() {
    const SERVICE: &str = "cache.v1.Cache";
    let serving = Server::grpc(SERVICE, ServingStatus::Serving).await;
    let not_serving = Server::grpc(SERVICE, ServingStatus::NotServing).await;
    let unknown = Server::grpc("other.v1.Other", ServingStatus::Serving).await;
    let http1 = Server::http(200).await;
    let closes = Server::closing().await;
    let silent = Server::silent().await;
    let nodes = [
        ready("closes", closes.address),
        ready("http1", http1.address),
        ready("not-serving", not_serving.address),
        ready("refused", refused()),
        ready("serving", serving.address),
        ready("silent", silent.address),
        ready("unknown", unknown.address),
    ];
    let mut setup = Setup::new(
        "kind: grpc, path: cache.v1.Cache, interval: 1s, timeout: 400ms",
        &nodes,
    );
    let told = setup.first_of(7).await;
    assert_told(
        &told,
        &[
            ("closes", "protocol"),
            ("http1", "protocol"),
            ("not-serving", "status"),
            ("refused", "refused"),
            ("serving", "healthy"),
            ("silent", "timeout"),
            ("unknown", "status"),
        ],
    );
    let bound = Duration::from_millis(400)..Duration::from_millis(1_500);
    assert!(bound.contains(&told["silent"].took));
    // What was given up is closed, though the prober runs on.
    setup.publish("all", "kind: none", &nodes);
    until("nothing is open", || silent.open() == 0).await;
}

#[tokio::test]
async fn grpc_asks_for_the_whole_server_by_default() {
    let whole = Server::grpc("", ServingStatus::Serving).await;
    let not = Server::grpc("", ServingStatus::NotServing).await;
    let mut setup = Setup::new(
        "kind: grpc, interval: 1s",
        &[ready("not", not.address), ready("whole", whole.address)],
    );
    assert_told(
        &setup.first_of(2).await,
        &[("not", "status"), ("whole", "healthy")],
    );
}

#[tokio::test]
async fn a_host_name_is_looked_up() {
    let server = Server::http(200).await;
    let port = server.address.port();
    let mut setup = Setup::new(
        "kind: http, interval: 1s",
        &[
            ("known", format!("localhost:{port}"), "ready"),
            ("unknown", "nowhere.invalid:80".to_owned(), "ready"),
        ],
    );
    let told = setup.first_of(2).await;
    assert_eq!(told["known"].detail, None);
    // A resolver that cannot be reached may take its time.
    assert!(matches!(
        told["unknown"].detail,
        Some(ProbeFailure::Refused | ProbeFailure::Timeout)
    ));
    assert!(server.heard()[0].contains(&format!("host: localhost:{port} ")));
}
