//! The client for proxies in Rust at a door that asks who comes: TLS, certificates and tokens.

use std::path::PathBuf;
use std::time::Duration;

use tokio::time;
use tradewind::client::answer::Source;
use tradewind::client::options::{Options, OwnFiles, TlsFiles};
use tradewind::client::{AttemptResult, Client, Request};
use tradewind::sidecar::clock::{timer_now, unix_ms};

use crate::authority::Authority;
use crate::entrances::{FAR, World};
use crate::server::{PATIENCE, Server};

/// What the proxy is called at the door.
const PROXY: &str = "spiffe://edge.example/proxy";
const TOKEN: &str = "proxy-token-with-enough-letters";

/// A sidecar whose door for proxies speaks TLS, and lets the proxy ask and tell.
async fn start(world: &World) -> Server {
    world.files.write(
        "tokens",
        format!("proxy {TOKEN}\nobserve observe-token-with-enough-letters\n"),
    );
    world.files.write("proxy.token", TOKEN);
    let setup = world.files.setup();
    let path = |name: &str| world.files.path(name);
    let setup = setup
        .with("tls-cert", path("own.pem"))
        .with("tls-key", path("own.key"))
        .with("tls-clients", path("ca.pem"))
        .with("tls-doors", "grpc")
        .with("tokens", path("tokens"));
    setup
        .also("allow", "loopback=observe")
        .also("allow", format!("{PROXY}=ask,tell"))
        .also("allow", "token:proxy=ask,tell")
        .start()
        .await
}

/// A client that believes the world's authority, and waits for as long as a busy machine may need.
fn options(world: &World, server: &Server) -> Options {
    Options {
        deadline: Duration::from_secs(5),
        tls: Some(TlsFiles {
            issuers: world.files.path("ca.pem"),
            name: Some("localhost".to_owned()),
            own: None,
        }),
        ..Options::at(server.grpc[0].to_string())
    }
}

fn own(world: &World) -> OwnFiles {
    let path = |name: &str| -> PathBuf { world.files.path(name) };
    OwnFiles {
        certificate: path("proxy.pem"),
        key: path("proxy.key"),
    }
}

fn request(path: &str) -> Request {
    Request {
        host: "www.example.com".to_owned(),
        path: path.to_owned(),
        ..Request::default()
    }
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let give_up = timer_now() + PATIENCE;
    while !holds() {
        assert!(timer_now() < give_up, "it never came to be that {what}");
        time::sleep(Duration::from_millis(10)).await;
    }
}

/// It asks, tells and has a copy.
async fn is_served(client: &Client) {
    let answer = client.decide(&request("/one")).await.unwrap();
    assert_eq!(answer.source, Source::Sidecar);
    client.told(answer.outcome(&answer.candidates[0], 1, AttemptResult::Ok));
    until("it has a copy", || client.following().is_some()).await;
    until("its outcome is taken", || {
        client.counters().outcomes_taken == 1
    })
    .await;
}

#[tokio::test]
async fn a_client_could_not_speak_to_a_door_with_tls() {
    let world = World::new();
    let server = start(&world).await;
    let certified = world.authority.certify(PROXY, FAR);
    certified.write(&world.files.config(), "proxy");
    let by_certificate = {
        let mut options = options(&world, &server);
        options.tls.as_mut().unwrap().own = Some(own(&world));
        options
    };
    is_served(&Client::connect(by_certificate).unwrap()).await;
    let by_token = Options {
        token_file: Some(world.files.path("proxy.token")),
        ..options(&world, &server)
    };
    is_served(&Client::connect(by_token).unwrap()).await;
    // Who shows nothing is let in by TLS and may do nothing, and who believes others does not even speak.
    let nobody = options(&world, &server);
    world
        .files
        .write("others.pem", &Authority::new("others").pem);
    let mut strict = options(&world, &server);
    strict.tls.as_mut().unwrap().issuers = world.files.path("others.pem");
    let elsewhere = {
        let mut options = options(&world, &server);
        options.tls.as_mut().unwrap().name = Some("elsewhere".to_owned());
        options
    };
    for options in [nobody, strict, elsewhere] {
        let client = Client::connect(options).unwrap();
        let answer = client.decide(&request("/one")).await.unwrap();
        assert_eq!(answer.source, Source::Nothing);
        assert_eq!(client.following(), None);
    }
    // What cannot be used is told at the start, with its file.
    let mut wrong = options(&world, &server);
    wrong.tls.as_mut().unwrap().issuers = world.files.path("proxy.key");
    let said = Client::connect(wrong).unwrap_err().to_string();
    assert!(
        said.ends_with("proxy.key: holds no certificate, must hold one or more in PEM"),
        "{said}"
    );
}

#[tokio::test]
async fn a_certificate_that_turned_kept_its_client_asking() {
    let world = World::new();
    let server = start(&world).await;
    let short = world.authority.certify_until(PROXY, unix_ms() / 1_000 + 8);
    short.write(&world.files.config(), "proxy");
    let mut options = options(&world, &server);
    options.tls.as_mut().unwrap().own = Some(own(&world));
    let client = Client::connect(options).unwrap();
    is_served(&client).await;
    let long = world.authority.certify(PROXY, FAR);
    long.write(&world.files.config(), "proxy");
    // For longer than the first one holds.
    let until = timer_now() + Duration::from_secs(11);
    while timer_now() < until {
        let answer = client.decide(&request("/one")).await.unwrap();
        assert_ne!(answer.source, Source::Nothing);
        time::sleep(Duration::from_millis(50)).await;
    }
    let answer = client.decide(&request("/one")).await.unwrap();
    assert_eq!(answer.source, Source::Sidecar);
    assert!(client.is_asking());
}
