//! The end: calls in flight finish, everybody is told, nothing is left behind.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::client::{Client, request};
use crate::server::{Files, Setup};
use tradewind::sidecar::clock::timer_now;

#[tokio::test]
async fn f02_a_stream_in_flight_finishes_and_everybody_is_told() {
    let files = Files::new();
    let socket = files.root().join("sock");
    let listen = format!("unix:{}", socket.display());
    let mut server = files
        .setup()
        .also("listen", &listen)
        .with("drain-deadline", "10s")
        .start()
        .await;
    let mut health_client = HealthClient::new(Client::connect(&listen).await.channel);
    let watched = health_client.watch(HealthCheckRequest::default()).await;
    let mut health = watched.unwrap().into_inner();
    let told = health.message().await.unwrap().unwrap();
    assert_eq!(told.status(), ServingStatus::Serving);

    let mut client = server.client().await;
    let (send, outgoing) = mpsc::channel(1);
    let stream = client
        .grpc
        .decide_stream(ReceiverStream::new(outgoing))
        .await;
    let mut answers = stream.unwrap().into_inner();
    send.send(request("/before")).await.unwrap();
    answers.next().await.unwrap().unwrap();

    let began = timer_now();
    server.signal("TERM");
    server
        .until("it is draining", || server.get("/readyz").status == 503)
        .await;
    let ready = server.get("/readyz").json();
    assert_eq!(
        (&ready["ready"], &ready["draining"]),
        (&false.into(), &true.into())
    );
    assert_eq!(server.get("/livez").status, 200);
    let told = health.message().await.unwrap().unwrap();
    assert_eq!(told.status(), ServingStatus::NotServing);
    drop(health);
    drop(health_client);
    // The stream goes on until its client is done.
    for number in 0..10 {
        send.send(request(&format!("/{number}"))).await.unwrap();
        let answer = answers.next().await.unwrap().unwrap();
        assert_eq!(answer.request_id, format!("of /{number}"));
    }
    drop(send);
    assert!(answers.next().await.is_none());
    let status = server.ended().await;
    assert_eq!(status.code(), Some(0), "{}", server.log());
    assert!(
        began.elapsed() < Duration::from_secs(8),
        "before the deadline"
    );
    assert!(!socket.exists(), "the socket is gone");
    assert!(server.log().contains("cut=0"), "{}", server.log());
}

#[tokio::test]
async fn told_to_end_while_it_looks_at_its_files_it_says_so_and_ends() {
    let files = Files::new();
    let mut server = files.setup().with("drain-deadline", "10s").start().await;
    let mut client = server.client().await;
    let (send, outgoing) = mpsc::channel(1);
    let stream = client
        .grpc
        .decide_stream(ReceiverStream::new(outgoing))
        .await;
    let mut answers = stream.unwrap().into_inner();
    send.send(request("/a")).await.unwrap();
    answers.next().await.unwrap().unwrap();
    // Between the sign of a change and the reading there is a pause, into which the end falls.
    server.signal("HUP");
    server.signal("TERM");
    server
        .until("it is draining", || server.get("/readyz").status == 503)
        .await;
    server.signal("HUP");
    drop(send);
    assert!(answers.next().await.is_none());
    assert_eq!(server.ended().await.code(), Some(0), "{}", server.log());
}

#[tokio::test]
async fn f02_a_stream_that_stays_is_cut_at_the_deadline() {
    let mut server = Setup::example()
        .with("drain-deadline", "300ms")
        .start()
        .await;
    let mut client = server.client().await;
    let (send, outgoing) = mpsc::channel(1);
    let stream = client
        .grpc
        .decide_stream(ReceiverStream::new(outgoing))
        .await;
    let mut answers = stream.unwrap().into_inner();
    send.send(request("/a")).await.unwrap();
    answers.next().await.unwrap().unwrap();
    let began = timer_now();
    server.signal("TERM");
    let told = time::timeout(Duration::from_secs(5), answers.next()).await;
    assert!(
        matches!(told.unwrap(), None | Some(Err(_))),
        "the client is told"
    );
    let status = server.ended().await;
    assert_eq!(status.code(), Some(0), "{}", server.log());
    // The deadline, and a second for a busy machine.
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(290), "{took:?}");
    assert!(took < Duration::from_millis(1_300), "{took:?}");
}

#[tokio::test]
async fn f02_no_unary_call_is_lost_over_the_end() {
    let mut server = Setup::example().start().await;
    let mut askers = Vec::new();
    for _ in 0..4 {
        let mut client = server.client().await;
        askers.push(tokio::spawn(async move {
            let mut answered = 0;
            loop {
                match client.try_decide(request("/a")).await {
                    Ok(_) => answered += 1,
                    // The door is shut: nobody took this call.
                    Err(status) => return (answered, status),
                }
            }
        }));
    }
    time::sleep(Duration::from_millis(100)).await;
    let asked = || server.count("tradewind_decide_rejected_total");
    assert_eq!(asked(), 0);
    server.signal("TERM");
    for asker in askers {
        let (answered, status) = asker.await.unwrap();
        assert!(answered > 0);
        // A call that was sent is answered; what fails is the next connection.
        let said = format!("{status:?}");
        assert!(
            said.contains("ConnectionRefused") || said.contains("Connection refused"),
            "{said}"
        );
    }
    assert_eq!(server.ended().await.code(), Some(0));
}

#[tokio::test]
async fn an_interrupt_ends_it_too_and_an_idle_end_is_quick() {
    for signal in ["INT", "TERM"] {
        let mut server = Setup::example().with("drain-deadline", "10s").start().await;
        let _idle = server.client().await;
        let began = timer_now();
        server.signal(signal);
        assert_eq!(server.ended().await.code(), Some(0), "{}", server.log());
        assert!(began.elapsed() < Duration::from_secs(3));
    }
}

#[tokio::test]
async fn signals_that_mean_nothing_here_do_not_end_it() {
    let server = Setup::example().start().await;
    for signal in ["USR1", "USR2", "PIPE"] {
        for _ in 0..3 {
            server.signal(signal);
        }
    }
    for signal in ["SIGUSR1", "SIGUSR2"] {
        let said = || {
            let log = server.log();
            log.lines()
                .any(|line| line.contains(signal) && line.contains("does nothing here"))
        };
        server.until(&format!("{signal} is noted"), said).await;
    }
    server.client().await.decide(request("/a")).await;
}

#[tokio::test]
async fn a_signal_before_the_first_policy_does_not_end_it() {
    // Handlers are there before any file is read, so also while there is none.
    let files = Files::empty();
    let server = files.setup().start_unready().await;
    for signal in ["HUP", "USR1", "USR2"] {
        server.signal(signal);
    }
    files.write("topology.yaml", crate::fleet::Fleet::usual().text());
    files.replace("policy.yaml", crate::fleet::policy("all"));
    server
        .until("it is ready", || server.get("/readyz").status == 200)
        .await;
}
