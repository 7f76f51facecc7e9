//! Starts that must not succeed, and one that waits.

use std::net::TcpListener;

use tonic::Code;

use crate::client::{refusal, request};
use crate::fleet;
use crate::server::{Files, Setup};

#[tokio::test]
async fn before_the_first_good_policy_calls_are_refused_and_then_served() {
    let files = Files::new();
    files.write("policy.yaml", "rules: [");
    let server = files.setup().start_unready().await;
    let mut client = server.client().await;
    let said = refusal(
        client.try_decide(request("/a")).await,
        Code::FailedPrecondition,
    );
    assert!(said.contains("no policy is in force yet"), "{said}");
    let batch = client.try_batch(vec![request("/a")]).await;
    refusal(batch, Code::FailedPrecondition);
    let stream = client
        .grpc
        .decide_stream(tokio_stream::iter([request("/a")]))
        .await;
    let answer = stream.unwrap().into_inner().message().await;
    refusal(answer, Code::FailedPrecondition);
    let page = server.get("/readyz");
    let ready = page.json();
    assert_eq!((page.status, &ready["ready"]), (503, &false.into()));
    assert_eq!(ready["policy"]["state"], "missing");
    assert!(!ready["policy"]["faults"].as_array().unwrap().is_empty());
    // Nothing is wrong with the topology, and nobody says so.
    assert_eq!(ready["topology"]["state"], "waiting");
    assert!(ready["topology"]["faults"].as_array().unwrap().is_empty());
    assert_eq!(server.log().matches("a text is refused").count(), 1);
    for page in [
        "/debug/policy",
        "/debug/nodes",
        "/debug/sites",
        "/debug/explain?path=/a",
    ] {
        assert_eq!(server.get(page).status, 503, "{page}");
    }
    let degraded = ["policy", "topology"]
        .map(|source| server.count(&format!("tradewind_source_degraded{{source=\"{source}\"}}")));
    assert_eq!(degraded, [1, 0]);

    files.replace("policy.yaml", fleet::policy("first"));
    server
        .until("it is ready", || server.get("/readyz").status == 200)
        .await;
    assert_eq!(client.decide(request("/a")).await.rule, "first");
    assert_eq!(server.revision(), 1);
    assert_eq!(
        server.count("tradewind_source_degraded{source=\"policy\"}"),
        0
    );
}

#[tokio::test]
async fn two_servers_do_not_share_a_unix_socket() {
    let files = Files::new();
    let socket = files.root().join("sock");
    let listen = format!("unix:{}", socket.display());
    let first = files.setup().also("listen", &listen).start().await;
    let (status, said) = files.setup().also("listen", &listen).refused();
    assert!(!status.success());
    assert!(
        said.contains("another server is listening on") && said.contains("sock"),
        "{said}"
    );
    assert!(!said.contains("panicked"), "{said}");
    let mut client = crate::client::Client::connect(&listen).await;
    client.decide(request("/a")).await;
    drop(first);
    // A killed server leaves its socket behind, which the next one replaces.
    assert!(socket.exists());
    let _next = files.setup().also("listen", &listen).start().await;
    let mut client = crate::client::Client::connect(&listen).await;
    client.decide(request("/a")).await;
}

#[test]
fn a_port_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for option in ["listen", "debug", "admin"] {
        let (status, said) = Setup::example().with(option, &address).refused();
        assert!(!status.success(), "{option}");
        assert!(
            said.contains(&format!("cannot listen on {address}")) && said.contains("in use"),
            "{option}: {said}"
        );
        assert!(!said.contains("panicked"), "{said}");
    }
}

#[test]
fn every_bad_setting_is_named_at_once() {
    let (status, said) = Setup::example()
        .with("policy", "policy.yaml")
        .also("listen", "nowhere")
        .with("workers", "0")
        .with("max-connections", "0")
        .with("max-calls", "1")
        .with("poll", "1ms")
        .refused();
    assert_eq!(status.code(), Some(2), "{said}");
    for part in [
        "only one of policy and topology",
        "listen is `nowhere`",
        "workers is 0",
        "max_connections is 0",
        "max_calls is 1",
        "poll is 1ms",
    ] {
        assert!(said.contains(part), "{part} in {said}");
    }
    assert!(!said.contains("panicked"), "{said}");
}

#[test]
fn a_bad_settings_file_is_shown_with_its_faults() {
    let files = Files::empty();
    files.write("settings.yaml", "wrokers: 3\nworkers: many\n");
    let (status, said) = Setup::example()
        .with("config", files.path("settings.yaml"))
        .refused();
    assert_eq!(status.code(), Some(2), "{said}");
    assert!(
        said.contains("wrokers") && said.contains("many") && said.contains("settings.yaml"),
        "{said}"
    );
    let (status, said) = Setup::example()
        .with("config", files.path("missing.yaml"))
        .refused();
    assert_eq!(status.code(), Some(2), "{said}");
    assert!(
        said.contains("missing.yaml") && said.contains("No such file"),
        "{said}"
    );
}
