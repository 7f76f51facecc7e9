//! The debug door: pages for people, metrics for machines.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::TcpStream;

use tradewind::sidecar::wire::proto::DecideRequest;

use crate::client::{from_ip, request};
use crate::openmetrics::{self, Samples};
use crate::server::{Files, Server, Setup};

#[tokio::test]
async fn every_page_is_what_it_says() {
    let server = Setup::example().start().await;
    assert_eq!(server.get("/livez").body, "ok\n");
    for page in [
        "/readyz",
        "/debug/explain?host=www.example.com&path=/a&client=198.18.1.1&candidates=4",
        "/debug/explain?path=/a&lat=50&lon=8&header.accept=text&tried=a,b&asn=64500&size=1000",
        "/debug/decisions",
        "/debug/decisions?limit=3",
        "/debug/nodes",
        "/debug/sites",
        "/debug/policy",
    ] {
        let answer = server.get(page);
        assert_eq!(answer.status, 200, "{page}: {answer:?}");
        answer.json();
    }
    let explained = server
        .get("/debug/explain?path=/a&client=198.18.1.1&candidates=2")
        .json();
    assert_eq!(
        explained["decision"]["candidates"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    assert_eq!(explained["explanation"]["client"]["country"], "FR");
    assert_eq!(explained["decision"]["verdict"], "VERDICT_ROUTE");
    let metrics = server.get("/metrics");
    assert!(
        metrics
            .head
            .contains("content-type: application/openmetrics-text; version=1.0.0"),
        "{}",
        metrics.head
    );
}

#[tokio::test]
async fn dear_pages_kept_probes_waiting() {
    let server = Setup::example().start().await;
    let question = "GET /debug/explain?path=/a&client=198.18.1.1&candidates=8 HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let viewers: Vec<TcpStream> = (0..200)
        .map(|_| {
            let mut viewer = TcpStream::connect(server.debug).unwrap();
            viewer.write_all(question.as_bytes()).unwrap();
            viewer
        })
        .collect();
    assert_eq!(server.get("/livez").status, 200);
    let is_answered = |viewer: &&TcpStream| {
        viewer.set_nonblocking(true).unwrap();
        viewer.peek(&mut [0]).is_ok()
    };
    let answered = viewers.iter().filter(is_answered).count();
    assert!(answered < 150, "all {answered} pages came before it");
    // They are made all the same.
    let all = || viewers.iter().filter(is_answered).count() == viewers.len();
    server.until("all pages are there", all).await;
}

#[tokio::test]
async fn an_unknown_page_is_answered_with_the_known_ones() {
    let server = Setup::example().start().await;
    for page in ["/nowhere", "/debug", "/debug/pprof", "/metrics/"] {
        let answer = server.get(page);
        assert_eq!(answer.status, 404, "{page}");
        let said = answer.json()["error"].to_string();
        for known in [
            "/readyz",
            "/metrics",
            "/debug/explain",
            "/debug/decisions/{id}",
        ] {
            assert!(said.contains(known), "{known} in {said}");
        }
    }
    let answer = server.get("/debug/decisions/0123456789abcdef");
    assert_eq!(answer.status, 404);
    assert!(
        answer.json()["error"]
            .to_string()
            .contains("no decision of that id")
    );
}

#[tokio::test]
async fn every_bad_parameter_is_named_at_once() {
    let server = Setup::example().start().await;
    for (page, parts) in [
        (
            "/debug/explain?colour=red&size=big&asn=-1&lat=x&candidates=many",
            &[
                "`colour`",
                "size is `big`",
                "asn is `-1`",
                "lat is `x`",
                "candidates is `many`",
                "lat and lon",
            ][..],
        ),
        (
            "/debug/explain?path=video&candidates=9&client=1.2.3&country=Germany",
            &[
                "path: must begin",
                "candidates: is 9",
                "client.ip: `1.2.3`",
                "client.country",
            ],
        ),
        (
            "/debug/decisions?limit=all&since=today",
            &["limit is `all`", "`since`"],
        ),
        ("/debug/nodes?tier=edge", &["`tier`"]),
        ("/debug/sites?id=FRA", &["`id`"]),
        ("/debug/policy?rule=a", &["`rule`"]),
    ] {
        let answer = server.get(page);
        assert_eq!(answer.status, 400, "{page}: {answer:?}");
        let said = answer.json()["error"].as_str().unwrap().to_owned();
        for part in parts {
            assert!(said.contains(part), "{part} in {said} of {page}");
        }
    }
}

#[tokio::test]
async fn a_sample_of_decisions_is_kept_with_clients_masked() {
    let files = Files::new();
    let server = files.setup().with("decisions-kept", "20").start().await;
    let mut client = server.client().await;
    let mut ids = BTreeMap::new();
    for (ip, masked) in [
        ("203.0.113.77", "203.0.113.0"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1::"),
        ("::ffff:203.0.113.77", "203.0.113.0"),
    ] {
        let asked = DecideRequest {
            client: Some(from_ip(ip)),
            ..request("/kept")
        };
        let answer = client.decide(asked).await;
        ids.insert(answer.decision_id.clone(), (ip, masked, answer));
    }
    let dry = DecideRequest {
        dry_run: true,
        ..request("/dry")
    };
    let dry = client.decide(dry).await;
    for (id, (ip, masked, answer)) in &ids {
        let page = format!("/debug/decisions/{id}");
        server
            .until("it is kept", || server.get(&page).status == 200)
            .await;
        let kept = server.get(&page);
        assert!(!kept.body.contains(ip), "{}", kept.body);
        let kept = kept.json();
        assert_eq!(kept["request"]["client"]["ip"], *masked);
        assert_eq!(kept["decision"]["decision_id"], id.as_str());
        assert_eq!(
            kept["decision"]["candidates"][0]["node"],
            answer.candidates[0].node.as_str()
        );
        assert!(
            !kept["explanation"]["summary"]
                .as_array()
                .unwrap()
                .is_empty()
        );
    }
    assert_eq!(
        server
            .get(&format!("/debug/decisions/{}", dry.decision_id))
            .status,
        404
    );
    let listed = server.get("/debug/decisions?limit=2").json();
    assert_eq!(listed["decisions"].as_array().unwrap().len(), 2);
    // The ring is bounded: the first ones make room.
    for number in 0..40 {
        client.decide(request(&format!("/{number}"))).await;
    }
    server
        .until("the ring is full of newer ones", || {
            let listed = server.get("/debug/decisions").json();
            let listed = listed["decisions"].as_array().unwrap();
            listed.len() == 20 && listed[0]["path"] == "/39"
        })
        .await;
    let first = ids.keys().next().unwrap();
    assert_eq!(server.get(&format!("/debug/decisions/{first}")).status, 404);
}

#[tokio::test]
async fn what_a_request_carries_in_headers_is_not_shown() {
    let files = Files::new();
    let server = files.setup().start().await;
    let mut client = server.client().await;
    let mut asked = request("/kept");
    asked.headers = [("Authorization", "Bearer s3cr3t"), ("Cookie", "id=s3cr3t")]
        .map(|(name, value)| tradewind::sidecar::wire::proto::Header {
            name: name.to_owned(),
            value: value.to_owned(),
        })
        .to_vec();
    let id = client.decide(asked).await.decision_id;
    let page = format!("/debug/decisions/{id}");
    server
        .until("it is kept", || server.get(&page).status == 200)
        .await;
    let kept = server.get(&page).body;
    assert!(
        kept.contains("Authorization") && !kept.contains("s3cr3t"),
        "{kept}"
    );
}

/// All metrics, read strictly.
fn samples(server: &Server) -> Samples {
    openmetrics::read(&server.get("/metrics").body).unwrap()
}

#[tokio::test]
async fn metrics_count_what_was_asked() {
    let files = Files::new();
    let server = files.setup().with("workers", "1").start().await;
    let mut client = server.client().await;
    let before = samples(&server);
    for number in 0..130 {
        client.decide(request(&format!("/{number}"))).await;
    }
    client.try_batch(vec![request("/a"); 10]).await.unwrap();
    let elsewhere = DecideRequest {
        pool: "nowhere".to_owned(),
        ..request("/a")
    };
    client.decide(elsewhere).await;
    let wrong = DecideRequest {
        candidates: 9,
        ..request("/a")
    };
    client.try_decide(wrong).await.unwrap_err();
    let dry = DecideRequest {
        dry_run: true,
        ..request("/a")
    };
    client.decide(dry).await;
    let after = samples(&server);
    let grown = |sample: &str| {
        let value = |samples: &Samples| samples.get(sample).copied().unwrap_or(0.0);
        value(&after) - value(&before)
    };
    let decisions = |pool: &str, verdict: &str, reason: &str| {
        grown(&format!(
            "tradewind_decisions_total{{pool=\"{pool}\",verdict=\"{verdict}\",reason=\"{reason}\",purity=\"pure\"}}"
        ))
    };
    let expected = [
        (decisions("edge", "route", "owner"), 140.0),
        (decisions("", "refuse", "unknown_pool"), 1.0),
        (grown("tradewind_decide_rejected_total"), 1.0),
        // 143 were begun, of which the 1st, 65th and 129th are timed.
        (grown("tradewind_decide_duration_seconds_count"), 3.0),
        (after["tradewind_nodes"], 17.0),
        (after["tradewind_sites"], 5.0),
        (after["tradewind_rules"], 1.0),
        (after["tradewind_connections_open"], 1.0),
        (after["tradewind_connections_panics_total"], 0.0),
    ];
    for (at, (found, wanted)) in expected.into_iter().enumerate() {
        assert!((found - wanted).abs() < 0.5, "{at}: {found}, not {wanted}");
    }
    let info = format!(
        "tradewind_policy_info{{digest=\"{}\",revision=\"1\",state=\"serving\"}}",
        server.get("/readyz").json()["policy"]["serving_digest"]
            .as_str()
            .unwrap()
    );
    assert!(after.contains_key(&info), "{info}");
}

#[tokio::test]
async fn f48_metrics_stay_bounded_whatever_is_asked() {
    let files = Files::new();
    let server = files.setup().start().await;
    let mut client = server.client().await;
    let ask = |number: usize| DecideRequest {
        host: format!("host-{number}.example.com"),
        pool: if number.is_multiple_of(2) {
            String::new()
        } else {
            format!("pool-{number}")
        },
        class: format!("class-{number}"),
        client: Some(from_ip(&format!(
            "198.51.{}.{}",
            number % 256,
            number / 256
        ))),
        ..request(&format!("/{number}"))
    };
    client.decide_all(&[ask(0), ask(1)]).await;
    // What the control loop knows is told from its first tick on.
    let ticked = || {
        server
            .get("/metrics")
            .body
            .contains("tradewind_site_cost_seconds")
    };
    server.until("the control loop has ticked", ticked).await;
    let before = samples(&server);
    let many: Vec<_> = (0..4_000).map(ask).collect();
    client.decide_all(&many).await;
    let after = samples(&server);
    let names = |samples: &Samples| samples.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&before), names(&after));
    let text = server.get("/metrics").body;
    assert!(!text.contains("host-") && !text.contains("pool-"), "{text}");
}
