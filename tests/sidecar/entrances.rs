//! Who may do what: every method of every door, asked by everybody; keys and tokens that turn; and who is recorded.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time;
use tonic::Code;
use tradewind::sidecar::clock::timer_now;
use tradewind::sidecar::identity::Role;
use tradewind::sidecar::serve::methods::{self, Row};
use tradewind::sidecar::wire::proto::FollowRequest;

use crate::authority::{Authority, Certified, Peer};
use crate::client;
use crate::server::{Files, PATIENCE, Server, Setup};

/// The year in which certificates end that shall not end.
pub(crate) const FAR: i32 = 2_099;

/// Files with an authority, the sidecar's own certificate, and a token for each role.
pub(crate) struct World {
    pub(crate) files: Files,
    pub(crate) authority: Authority,
}

impl World {
    pub(crate) fn new() -> Self {
        let files = Files::new();
        let authority = Authority::new("edge");
        files.write("ca.pem", &authority.pem);
        authority
            .certify("localhost", FAR)
            .write(&files.config(), "own");
        let lines = Role::ALL.map(|role| format!("{role} {}", token(role)));
        files.write("tokens", lines.join("\n") + "\n");
        Self { files, authority }
    }

    /// A sidecar that grants nothing to whoever shows nothing, and a role each to whoever shows what is called like it.
    pub(crate) fn setup(&self, doors: &str) -> Setup {
        let path = |name: &str| self.files.path(name);
        let setup = self.files.setup();
        let setup = setup
            .with("tls-cert", path("own.pem"))
            .with("tls-key", path("own.key"));
        let setup = setup
            .with("tls-clients", path("ca.pem"))
            .with("tls-doors", doors);
        let setup = setup
            .with("tokens", path("tokens"))
            .with("allow", "loopback=none");
        Role::ALL.into_iter().fold(setup, |setup, role| {
            let setup = setup.also("allow", format!("token:{role}={role}"));
            setup.also("allow", format!("spiffe://edge.example/{role}={role}"))
        })
    }

    pub(crate) fn certificate(&self, role: Role) -> Certified {
        self.authority
            .certify(&format!("spiffe://edge.example/{role}"), FAR)
    }
}

pub(crate) fn token(role: Role) -> String {
    format!("{role}-token-with-enough-letters")
}

/// Somebody who asks.
struct Asker {
    name: String,
    /// The role they have.
    has: Option<Role>,
    peer: Peer,
    http1: Peer,
    token: Option<String>,
}

fn askers(world: &World) -> Vec<Asker> {
    let asker = |name: String, has, shown: Option<&Certified>, token| Asker {
        name,
        has,
        peer: world.authority.peer(shown, b"h2"),
        http1: world.authority.peer(shown, b"http/1.1"),
        token,
    };
    let mut all = vec![
        asker("nobody".to_owned(), None, None, None),
        asker("a wrong token".to_owned(), None, None, Some("x".repeat(30))),
        asker(
            "a stranger".to_owned(),
            None,
            Some(&world.authority.certify("spiffe://edge.example/other", FAR)),
            None,
        ),
    ];
    for role in Role::ALL {
        all.push(asker(
            format!("token {role}"),
            Some(role),
            None,
            Some(token(role)),
        ));
        all.push(asker(
            format!("certificate {role}"),
            Some(role),
            Some(&world.certificate(role)),
            None,
        ));
    }
    all
}

fn request(path: &str, asker: &Asker, body: Bytes) -> Request<Full<Bytes>> {
    let mut request = Request::post(path).header("host", "localhost");
    if let Some(token) = &asker.token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    request.body(Full::new(body)).unwrap()
}

/// Whether the gate lets a call through to its service, whatever that makes of an empty message.
async fn may_call(at: SocketAddr, asker: &Asker, path: &str) -> bool {
    let stream = asker.peer.connect(at).await.unwrap();
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .unwrap();
    let driven = tokio::spawn(connection);
    let mut request = request(
        &format!("https://localhost{path}"),
        asker,
        Bytes::from_static(&[0; 5]),
    );
    request
        .headers_mut()
        .insert("content-type", "application/grpc".parse().unwrap());
    request
        .headers_mut()
        .insert("te", "trailers".parse().unwrap());
    // A stream may wait for more before it says anything; who is denied is told at once.
    let answer = time::timeout(Duration::from_secs(1), sender.send_request(request)).await;
    driven.abort();
    let Ok(answer) = answer else {
        return true;
    };
    let status = answer
        .unwrap()
        .headers()
        .get("grpc-status")
        .map(|status| status.to_str().unwrap().to_owned());
    !matches!(status.as_deref(), Some("7" | "16"))
}

async fn send<T>(stream: T, request: Request<Full<Bytes>>) -> Response<Incoming>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender.send_request(request).await.unwrap()
}

/// The same of a page.
async fn may_see(at: SocketAddr, asker: &Asker, path: &str) -> bool {
    let stream = asker.http1.connect(at).await.unwrap();
    let path = path.replace('*', "x");
    let status = send(stream, request(&path, asker, Bytes::new()))
        .await
        .status();
    !matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
}

async fn check(rows: &[Row], door: SocketAddr, askers: &[Asker], speaks_grpc: bool) -> usize {
    let mut seen = 0;
    for (path, method) in rows {
        for asker in askers {
            let expected = method.needs.is_none_or(|role| asker.has == Some(role));
            let answered = if speaks_grpc {
                may_call(door, asker, path).await
            } else {
                may_see(door, asker, path).await
            };
            assert_eq!(answered, expected, "{path} asked by {}", asker.name);
            seen += 1;
        }
    }
    seen
}

#[tokio::test]
async fn every_method_is_answered_to_those_only_who_have_its_role() {
    let world = World::new();
    let server = world.setup("grpc,http,admin,debug").start_unready().await;
    let askers = askers(&world);
    let mut seen = check(methods::GRPC, server.grpc[0], &askers, true).await;
    seen += check(methods::ADMIN, server.admin, &askers, true).await;
    seen += check(methods::HTTP, server.http.unwrap(), &askers, false).await;
    seen += check(methods::DEBUG, server.debug, &askers, false).await;
    assert!(seen > 700, "{seen}");
    println!("{seen} pairs of a method and an asker");
}

#[tokio::test]
async fn who_comes_without_tls_is_told_to_and_who_shows_a_foreign_certificate_is_cut() {
    let world = World::new();
    let server = world.setup("grpc,http,admin,debug").start_unready().await;
    for door in [
        server.grpc[0],
        server.admin,
        server.http.unwrap(),
        server.debug,
    ] {
        let page = crate::page::get(door, "/livez");
        assert_eq!(page.status, 400, "{page:?}");
        assert!(page.body.starts_with("this door speaks TLS"), "{page:?}");
        let foreign = Authority::new("elsewhere").certify("spiffe://edge.example/operate", FAR);
        let peer = world.authority.peer(Some(&foreign), b"http/1.1");
        // TLS 1.3 tells a client of its certificate after the handshake: with its first read.
        let refused = match peer.connect(door).await {
            Err(_) => true,
            Ok(stream) => {
                let (mut sender, connection) =
                    http1::handshake(TokioIo::new(stream)).await.unwrap();
                tokio::spawn(connection);
                let request = Request::get("/livez")
                    .header("host", "localhost")
                    .body(Full::<Bytes>::default())
                    .unwrap();
                sender.send_request(request).await.is_err()
            }
        };
        assert!(refused, "{door}");
    }
}

#[tokio::test]
async fn a_certificate_of_two_identities_was_taken_for_both() {
    let world = World::new();
    let server = world.setup("debug").start_unready().await;
    let looks = async |names: &[&str]| {
        let shown = world.authority.certify_as(names);
        let peer = world.authority.peer(Some(&shown), b"http/1.1");
        let stream = peer.connect(server.debug).await.ok()?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
        tokio::spawn(connection);
        let request = Request::get("/metrics").header("host", "localhost");
        let request = request.body(Full::<Bytes>::default()).unwrap();
        Some(sender.send_request(request).await.ok()?.status())
    };
    let observer = "spiffe://edge.example/observe";
    assert_eq!(looks(&[observer, "a.example"]).await, Some(StatusCode::OK));
    let two = [observer, "spiffe://edge.example/publish"];
    assert_eq!(looks(&two).await, None);
}

#[tokio::test]
async fn f28_a_handshake_that_stalls_is_ended() {
    let world = World::new();
    let server = world.setup("grpc,debug").start_unready().await;
    for at in [server.grpc[0], server.debug] {
        // Nothing at all, and the beginning of a handshake.
        for said in [&b""[..], b"\x16\x03\x01\x02\x00\x01"] {
            let mut stalled = TcpStream::connect(at).await.unwrap();
            stalled.write_all(said).await.unwrap();
            let mut rest = Vec::new();
            let ended = stalled.read_to_end(&mut rest);
            let ended = time::timeout(PATIENCE, ended).await;
            assert!(ended.is_ok(), "{at} still waits after {said:?}");
        }
    }
    let stalled = server_certificate(&world.authority.peer(None, b"h2"), server.grpc[0]).await;
    assert!(!stalled.is_empty(), "others are served");
}

#[tokio::test]
async fn handshakes_at_the_debug_door_kept_the_thread_busy_that_lets_everybody_in() {
    let world = World::new();
    let server = world.setup("debug").start_unready().await;
    let peer = world.authority.peer(None, b"http/1.1");
    let (first, all) = server.ticks();
    let spent = loop {
        for _ in 0..50 {
            peer.connect(server.debug).await.unwrap();
        }
        let (first_now, all_now) = server.ticks();
        // Half a second, so that a tick more or less is nothing.
        if all_now - all > 50 {
            break (first_now - first, all_now - all);
        }
    };
    let (first, all) = spent;
    assert!(
        first * 3 < all,
        "{first} of {all} ticks on the first thread"
    );
    println!("{first} of {all} ticks on the thread that accepts");
}

#[tokio::test]
async fn a_change_is_recorded_with_who_has_proven_to_make_it() {
    let world = World::new();
    let server = world.setup("admin").start().await;
    let program = env!("CARGO_BIN_EXE_tradewind");
    let secret = world.files.path("secret");
    fs::write(&secret, token(Role::Operate)).unwrap();
    let run = |words: &[&str]| {
        let door = ["--server", &server.admin.to_string()].map(str::to_owned);
        let command = std::process::Command::new(program)
            .args(words)
            .args(door)
            .env_clear()
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&command.stdout).into_owned()
            + &String::from_utf8_lossy(&command.stderr);
        (command.status.success(), said)
    };
    let ca = world.files.path("ca.pem").display().to_string();
    let drain = [
        "drain",
        "fra-1",
        "--why",
        "disk",
        "--who",
        "alice",
        "--tls-ca",
        &ca,
        "--tls-name",
        "localhost",
    ];
    let (done, said) = run(&drain);
    assert!(!done && said.contains("needs the role `operate`"), "{said}");
    let secret = secret.display().to_string();
    let with_token = [&drain[..], &["--token-file", &secret]].concat();
    let (done, said) = run(&with_token);
    assert!(done, "{said}");
    let plain = ["drain", "fra-1", "--why", "disk"];
    let (done, said) = run(&plain);
    assert!(!done, "{said}");
    let audit = fs::read_to_string(world.files.state().join("audit.log")).unwrap();
    assert!(
        audit.contains("\"who\":\"token:operate, says alice\""),
        "{audit}"
    );
    // Whoever shows nothing learns of readiness that, and nothing more.
    let page = server.get("/readyz");
    assert_eq!((page.status, page.body.trim()), (200, "{\"ready\":true}"));
    assert_eq!(server.get("/metrics").status, 401);
}

#[tokio::test]
async fn what_serve_prints_of_its_debug_door_was_no_address_for_the_commands() {
    let world = World::new();
    let server = world.setup("debug").start_unready().await;
    let (ca, secret) = (world.files.path("ca.pem"), world.files.path("secret"));
    fs::write(&secret, token(Role::Observe)).unwrap();
    let run = |more: &[&std::path::Path]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tradewind"));
        let door = format!("https://{}", server.debug);
        command.args(["status", "--debug", &door]);
        command.arg("--token-file").arg(&secret).args(more);
        let command = command.env_clear().output().unwrap();
        String::from_utf8_lossy(&command.stdout).into_owned()
            + &String::from_utf8_lossy(&command.stderr)
    };
    let name = ["--tls-name", "localhost", "--tls-ca"].map(std::path::Path::new);
    let said = run(&[&name[..], &[&ca]].concat());
    assert!(said.contains("Is it up? Yes."), "{said}");
    let said = run(&[]);
    assert!(said.contains("give --tls-ca FILE"), "{said}");
}

#[tokio::test]
async fn a_door_on_the_network_is_not_opened_before_somebody_may_use_it() {
    let (status, said) = Setup::example()
        .with("admin", "0.0.0.0:0")
        .with("listen", "0.0.0.0:0")
        .refused();
    assert_eq!(status.code(), Some(2), "{said}");
    for part in [
        "admin is 0.0.0.0:0",
        "listen is 0.0.0.0:0",
        "--allow anyone=operate,publish",
    ] {
        assert!(said.contains(part), "{part} in {said}");
    }
}

/// What the sidecar says of the keys in force.
async fn shown(server: &Server, asker: &Asker) -> serde_json::Value {
    let stream = TcpStream::connect(server.debug).await.unwrap();
    let request = Request::get("/debug/sidecar").header("host", "localhost");
    let request = request.header(
        "authorization",
        format!("Bearer {}", asker.token.as_deref().unwrap()),
    );
    let answer = send(stream, request.body(Full::default()).unwrap()).await;
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    let page: serde_json::Value = serde_json::from_slice(&body).unwrap();
    page["credentials"].clone()
}

fn half(text: &str) -> String {
    text.chars().take(text.len() / 2).collect()
}

/// Waits until the sidecar says so of its keys: that they are refused for `fault`, or sound.
async fn until_shown(server: &Server, observer: &Asker, fault: Option<&str>) {
    let give_up = timer_now() + PATIENCE;
    loop {
        let now = shown(server, observer).await;
        let said = now["tls"]["fault"].as_str();
        let is_so = match fault {
            Some(fault) => said.is_some_and(|said| said.contains(fault)),
            None => said.is_none(),
        };
        if is_so {
            return;
        }
        assert!(timer_now() < give_up, "{fault:?}: {now}\n{}", server.log());
        time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn keys_that_cannot_be_used_are_refused_and_those_before_stay() {
    let world = World::new();
    let server = world.setup("admin").start().await;
    let observer = Asker {
        token: Some(token(Role::Observe)),
        ..askers(&world).swap_remove(0)
    };
    let config = world.files.config();
    let good = world.authority.certify("localhost", FAR);
    let other = world.authority.certify("localhost", FAR);
    let cases = [
        (
            "its certificate ended",
            world.authority.certify("localhost", 2_021),
        ),
        (
            "is not the key of",
            Certified {
                key: other.key.clone(),
                ..good.clone()
            },
        ),
        (
            "is not PEM to its end",
            Certified {
                certificate: half(&good.certificate),
                ..good.clone()
            },
        ),
        (
            "holds no certificate",
            Certified {
                certificate: String::new(),
                ..good.clone()
            },
        ),
        (
            "holds no private key",
            Certified {
                key: "nothing".to_owned(),
                ..good.clone()
            },
        ),
    ];
    let peer = world.authority.peer(None, b"h2");
    for (fault, bad) in cases {
        bad.write(&config, "own");
        server.signal("HUP");
        until_shown(&server, &observer, Some(fault)).await;
        peer.connect(server.admin).await.unwrap();
    }
    good.write(&config, "own");
    server.signal("HUP");
    until_shown(&server, &observer, None).await;
    peer.connect(server.admin).await.unwrap();
}

#[tokio::test]
async fn who_was_granted_too_much_kept_it_until_a_restart() {
    let files = Files::new();
    files.write("settings.yaml", "allow: [\"loopback=ask,tell,observe\"]\n");
    let setup = files.setup().with("config", files.path("settings.yaml"));
    let server = setup.start().await;
    let mut client = server.client().await;
    let follows = FollowRequest::default();
    let mut followed = client.grpc.follow(follows).await.unwrap().into_inner();
    followed.message().await.unwrap().unwrap();
    // What may be cut, cannot be read, or would give everything to this host by saying nothing, changes nothing.
    let shown = || server.get("/readyz").json()["grants"].clone();
    assert_eq!(shown(), serde_json::json!({ "known": 2 }));
    for (text, fault) in [
        ("allow: [\"loopback=ask,observe\"]", "may be cut"),
        ("allow: [everybody=ask]\n", "`everybody` is nobody"),
        ("allow: [token:ci=ask]\n", "no file of tokens"),
        ("allow: []\n", "nothing is granted any more"),
    ] {
        files.replace("settings.yaml", text);
        server
            .until("it is refused", || {
                let said = shown()["fault"].to_string();
                said.contains(fault)
            })
            .await;
        assert_eq!(
            server.count("tradewind_source_degraded{source=\"grants\"}"),
            1
        );
    }
    let loses = async {
        loop {
            if let Err(status) = followed.message().await {
                return status;
            }
        }
    };
    files.replace("settings.yaml", "allow: [\"loopback=ask,observe\"]\n");
    let status = time::timeout(PATIENCE, loses).await.unwrap();
    assert_eq!(status.code(), Code::PermissionDenied, "{status}");
    let refused = client.grpc.follow(FollowRequest::default()).await;
    assert_eq!(refused.unwrap_err().code(), Code::PermissionDenied);
    client.decide(client::request("/")).await;
    assert_eq!(shown(), serde_json::json!({ "known": 2 }));
}

/// How many turns the test makes that is run each time, and the long one.
const TURNS: usize = 15;
const MANY_TURNS: usize = 1_000;

#[tokio::test]
async fn keys_turn_under_load_and_no_handshake_is_lost() {
    turn_keys(TURNS).await;
}

/// Some two minutes.
#[tokio::test]
#[ignore = "takes minutes; docs/testing.md has its command and results"]
async fn keys_turn_a_thousand_times_under_load_and_no_handshake_is_lost() {
    turn_keys(MANY_TURNS).await;
}

async fn turn_keys(turns: usize) {
    let world = World::new();
    let server = world.setup("grpc").start().await;
    let at = server.grpc[0];
    let asker = Arc::new(
        askers(&world)
            .into_iter()
            .find(|asker| asker.name == "certificate ask")
            .unwrap(),
    );
    let (is_over, shaken, kept) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
        Arc::new(AtomicU64::new(0)),
    );
    let mut load = Vec::new();
    for _ in 0..4 {
        let (asker, is_over) = (Arc::clone(&asker), Arc::clone(&is_over));
        let shaken = Arc::clone(&shaken);
        load.push(tokio::spawn(async move {
            while !is_over.load(Ordering::Relaxed) {
                assert!(may_call(at, &asker, "/tradewind.v1.DecisionService/Decide").await);
                shaken.fetch_add(1, Ordering::Relaxed);
            }
        }));
    }
    // One that has come before all turns, and stays.
    let stream = asker.peer.connect(at).await.unwrap();
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    let before = server_certificate(&asker.peer, at).await;
    let mut last = before.clone();
    for turn in 0..turns {
        world
            .authority
            .certify("localhost", FAR)
            .write(&world.files.config(), "own");
        let mut now = last.clone();
        for _ in 0..1_000 {
            now = server_certificate(&asker.peer, at).await;
            if now != last {
                break;
            }
            time::sleep(Duration::from_millis(10)).await;
        }
        assert_ne!(now, last, "turn {turn}");
        last = now;
        let path = "https://localhost/grpc.health.v1.Health/Check";
        let mut request = request(path, &asker, Bytes::from_static(&[0; 5]));
        request
            .headers_mut()
            .insert("content-type", "application/grpc".parse().unwrap());
        let answer = sender.send_request(request).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        kept.fetch_add(1, Ordering::Relaxed);
    }
    is_over.store(true, Ordering::Relaxed);
    for one in load {
        one.await.unwrap();
    }
    assert_eq!(failed_handshakes(&server).await, "0");
    println!(
        "{turns} turns, {} handshakes with a call each beside them, none failed; {} calls on a connection from before all turns",
        shaken.load(Ordering::Relaxed),
        kept.load(Ordering::Relaxed)
    );
}

/// How many handshakes failed, as the metrics say.
async fn failed_handshakes(server: &Server) -> String {
    let stream = TcpStream::connect(server.debug).await.unwrap();
    let metrics = Request::get("/metrics").header("host", "localhost");
    let shown = format!("Bearer {}", token(Role::Observe));
    let metrics = metrics.header("authorization", shown);
    let answer = send(stream, metrics.body(Full::default()).unwrap()).await;
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    let text = String::from_utf8_lossy(&body);
    let name = "tradewind_connections_failed_handshakes_total ";
    let value = text.lines().find_map(|line| line.strip_prefix(name));
    value.unwrap().to_owned()
}

async fn server_certificate(peer: &Peer, at: SocketAddr) -> Vec<u8> {
    let stream = peer.connect(at).await.unwrap();
    let (_socket, session) = stream.get_ref();
    session.peer_certificates().unwrap()[0].to_vec()
}

/// The table of docs/access.md: the methods, by the role that they need.
fn table_of_methods() -> String {
    let doors = [
        ("gRPC for proxies", methods::GRPC),
        ("plain HTTP", methods::HTTP),
        ("gRPC for operators", methods::ADMIN),
        ("debug", methods::DEBUG),
    ];
    let needs = Role::ALL.into_iter().map(Some).chain([None]);
    let mut table = "| role | door | methods |\n|---|---|---|\n".to_owned();
    for role in needs {
        for (door, rows) in doors {
            let of_role = rows.iter().filter(|(_, method)| method.needs == role);
            let names: Vec<String> = of_role
                .map(|(path, _)| {
                    let name = path.strip_prefix('/').filter(|name| name.contains('.'));
                    let short = name
                        .and_then(|name| name.rsplit_once('.'))
                        .map(|(_, name)| name);
                    format!("`{}`", short.unwrap_or(path))
                })
                .collect();
            if !names.is_empty() {
                let role = role.map_or("everybody", Role::name);
                writeln!(table, "| {role} | {door} | {} |", names.join(", ")).unwrap();
            }
        }
    }
    table
}

#[test]
fn the_table_of_methods_is_that_of_the_documentation() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/access.md");
    let text = fs::read_to_string(path).unwrap();
    let (begins, ends) = ("table_of_methods -->\n", "<!-- end of methods -->");
    let (before, rest) = text.split_once(begins).unwrap();
    let (_, after) = rest.split_once(ends).unwrap();
    let expected = format!("{before}{begins}{}{ends}{after}", table_of_methods());
    if std::env::var_os("UPDATE").is_some() {
        fs::write(path, &expected).unwrap();
    }
    assert_eq!(
        fs::read_to_string(path).unwrap(),
        expected,
        "UPDATE=1 makes it anew"
    );
}
