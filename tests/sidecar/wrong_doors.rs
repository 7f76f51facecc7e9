//! Whoever knocks at the wrong door is told which is the right one, in the protocol that was spoken.

use std::net::SocketAddr;

use tonic::{Code, Request};
use tradewind::sidecar::wire::proto::admin_service_client::AdminServiceClient;
use tradewind::sidecar::wire::proto::{ExplainRequest, ResetBreakerRequest};

use crate::client::{Client, request};
use crate::page::{self, Page};
use crate::server::{Server, Setup};

/// What a gRPC client is told at a door where its service is not.
async fn refused_decide(at: SocketAddr) -> String {
    let mut client = Client::connect(&format!("http://{at}")).await;
    let explain = ExplainRequest {
        request: Some(request("/a")),
    };
    let status = client.grpc.explain(explain).await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented, "{status:?}");
    status.message().to_owned()
}

async fn refused_reset(at: SocketAddr) -> String {
    let channel = Client::connect(&format!("http://{at}")).await.channel;
    let reset = ResetBreakerRequest {
        node: "fra-1".to_owned(),
    };
    let mut client = AdminServiceClient::new(channel);
    let status = client.reset_breaker(Request::new(reset)).await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented, "{status:?}");
    status.message().to_owned()
}

fn assert_says(page: &Page, status: u16, words: &str) {
    assert_eq!(page.status, status, "{page:?}");
    assert!(page.body.contains(words), "{words} in {page:?}");
}

struct Places {
    grpc: SocketAddr,
    http: SocketAddr,
    debug: SocketAddr,
    admin: SocketAddr,
}

impl Places {
    fn of(server: &Server) -> Self {
        Self {
            grpc: server.grpc[0],
            http: server.http.unwrap(),
            debug: server.debug,
            admin: server.admin,
        }
    }
}

#[tokio::test]
async fn plain_http_at_a_grpc_door_is_told_where_pages_are() {
    let server = Setup::example().start().await;
    let at = Places::of(&server);
    let speaks = "this door speaks gRPC (HTTP/2 without TLS); ";
    for door in [at.grpc, at.admin] {
        let page = page::get(door, "/v1/route?host=a&path=/");
        let there = format!(
            "{speaks}`/v1/route?host=a&path=/` is served at http://{} (--http)",
            at.http
        );
        assert_says(&page, 400, &there);
        let page = page::get(door, "/readyz");
        let there = format!(
            "{speaks}`/readyz` is served at http://{} (--debug)",
            at.debug
        );
        assert_says(&page, 400, &there);
        let page = page::get(door, "/");
        assert_says(
            &page,
            400,
            &format!("plain HTTP for proxies: http://{} (--http)", at.http),
        );
    }
    let refused = server.count("tradewind_connections_refused_preface_total");
    assert_eq!(refused, 3);
}

#[tokio::test]
async fn grpc_at_a_plain_door_is_told_where_grpc_is() {
    let server = Setup::example().start().await;
    let at = Places::of(&server);
    let decide = "`/tradewind.v1.DecisionService/Explain` is served at";
    for door in [at.http, at.debug] {
        let said = refused_decide(door).await;
        assert!(
            said.contains(&format!(
                "this door speaks HTTP/1.1; {decide} {} (--listen)",
                at.grpc
            )),
            "{said}"
        );
        let said = refused_reset(door).await;
        assert!(
            said.contains(&format!("is served at {} (--admin)", at.admin)),
            "{said}"
        );
    }
    // The right protocol, and another audience's door.
    let said = refused_decide(at.admin).await;
    assert_eq!(
        said,
        format!("{decide} {} (--listen), not at this door", at.grpc)
    );
    let said = refused_reset(at.grpc).await;
    let there = format!("is served at {} (--admin), not at this door", at.admin);
    assert!(said.ends_with(&there), "{said}");
    // They serve on.
    assert_eq!(server.get("/livez").status, 200);
    let page = page::get(at.http, "/v1/route?host=a&path=/&client=192.0.2.1");
    assert_eq!(page.status, 200, "{page:?}");
    let refused = server.count("tradewind_http_connections_refused_preface_total");
    assert!(refused >= 2, "{refused}");
}

#[tokio::test]
async fn a_page_of_another_door_is_told_where_it_is() {
    let server = Setup::example().start().await;
    let at = Places::of(&server);
    for path in ["/metrics", "/readyz", "/debug/explain?path=/"] {
        let there = format!("is served at http://{} (--debug)", at.debug);
        assert_says(&page::get(at.http, path), 404, &there);
    }
    for path in ["/v1/route", "/v1/outcomes"] {
        let there = format!("`{path}` is served at http://{} (--http)", at.http);
        assert_says(&page::get(at.debug, path), 404, &there);
    }
    assert_says(
        &page::get(at.http, "/other"),
        404,
        "no such page; there are GET",
    );
    assert_says(
        &page::get(at.debug, "/other"),
        404,
        "no such page; pages: /livez",
    );
}
