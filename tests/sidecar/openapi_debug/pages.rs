//! Every page of a sidecar that has something to tell.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use super::book::Book;
use super::scene::Scene;
use super::{ask, filled, get};
use crate::authority::Authority;
use crate::bus::Bus;
use crate::fleet::{Fleet, policy};
use crate::server::{Files, PATIENCE, Server, Setup};
use tradewind::sidecar::clock::timer_now;
use tradewind::sidecar::wire::proto::policy_service_client::PolicyServiceClient;
use tradewind::sidecar::wire::proto::topology_service_client::TopologyServiceClient;
use tradewind::sidecar::wire::proto::{ApplyPolicyRequest, ApplyTopologyRequest};

/// Fields that no answer of these tests has, and when they are seen.
const SEEN_ONLY_WHEN: &[(&str, &[&str])] = &[
    (
        "reporters of three peers or more say otherwise for minutes",
        &[
            "Disagreement.about",
            "Disagreement.agreed",
            "Disagreement.answers",
            "Disagreement.for_ms",
            "Disagreement.place",
            "Disagreement.said",
        ],
    ),
    (
        "most nodes of several sites fail at once and none answers",
        &["Doubt.believed_in_ms", "Doubt.since_ms", "Fleet.isolated"],
    ),
    (
        "an answer is used again, and told of more than eight times",
        &["KeptDecision.attempts_not_shown"],
    ),
    (
        "a node is not well, and its site is not out",
        &["Part.node"],
    ),
    (
        "the site that a sidecar says it is at is taken away",
        &["Here.warning"],
    ),
    (
        "a node takes less of its keys for how it fares",
        &["KeyHome.weight_ratio", "NodeHealth.condition_since_ms"],
    ),
    (
        "a site may be better for some clients than is known of it",
        &[
            "PathTrial.asn",
            "PathTrial.cell",
            "PathTrial.gain_ms",
            "PathTrial.keys_ratio",
            "PathTrial.site",
        ],
    ),
    (
        "nodes are there to be probed",
        &["NodeHealth.probe_healthy"],
    ),
    (
        "nodes are there to be told of purges, as in `reclaim`",
        &[
            "NodeBehind.failure",
            "NodeBehind.fenced",
            "NodeBehind.node",
            "NodeBehind.sequence",
            "NodeBehind.site",
            "NodeBehind.waits_for",
            "TierPurges.done",
            "TierPurges.fenced",
            "TierPurges.floor",
            "TierPurges.nodes",
            "TierPurges.tier",
        ],
    ),
    (
        "a site is left for what was measured of it",
        &[
            "SiteSignals.trial",
            "SiteTrial.answers",
            "SiteTrial.blame",
            "SiteTrial.failures",
            "SiteTrial.needed",
            "SiteTrial.since_ms",
        ],
    ),
    (
        "nothing is sent to a site any more, for as long as rates fade",
        &["SiteSignals.unasked_ms"],
    ),
];

/// Pages by their paths in the document, with everything that they can be asked with.
fn asked(server: &Server) -> Vec<(&'static str, String)> {
    let mut asked = vec![
        ("/livez", "/livez".to_owned()),
        ("/readyz", "/readyz".to_owned()),
        ("/metrics", "/metrics".to_owned()),
        ("/", "/".to_owned()),
        ("/map", "/map".to_owned()),
        ("/explain", "/explain".to_owned()),
        ("/policy", "/policy".to_owned()),
        ("/live", "/live".to_owned()),
        ("/states", "/states".to_owned()),
        ("/debug/nodes", "/debug/nodes?site=fra".to_owned()),
        ("/debug/sites", "/debug/sites?site=fra".to_owned()),
        ("/debug/decisions", "/debug/decisions?limit=2".to_owned()),
        ("/debug/events", "/debug/events?since=1&limit=2".to_owned()),
        ("/debug/history", "/debug/history?range=6h".to_owned()),
        ("/debug/impact", "/debug/impact?node=fra-2".to_owned()),
        ("/debug/impact", "/debug/impact?site=fra".to_owned()),
        (
            "/debug/revisions/{number}",
            "/debug/revisions/1?against=2".to_owned(),
        ),
    ];
    for name in ["main.js", "style.css", "icon.svg", "index.html"] {
        asked.push(("/console/{name}", format!("/console/{name}")));
    }
    for request in [
        "path=/a&lat=50.1&lon=8.7&host=video.example.com",
        "path=/a&client=198.18.0.1",
        "path=/a&pool=nowhere",
        "path=/film&host=films.example.com&lat=50.1&lon=8.7",
        "path=/a&host=eu.example.com&country=DE",
        "path=/a&key=film-7&only=fra-1&lat=50.1&lon=8.7",
    ] {
        asked.push(("/debug/explain", format!("/debug/explain?{request}")));
        asked.push(("/debug/object", format!("/debug/object?{request}&asn=7")));
    }
    for page in PLAIN {
        asked.push((page, page.to_owned()));
    }
    for of in ["", "&contains=/film", "&node=fra-1"] {
        let newest = get(server, &format!("/debug/decisions?limit=1{of}")).json();
        if let Some(id) = newest["decisions"][0]["id"].as_str() {
            asked.push(("/debug/decisions/{id}", format!("/debug/decisions/{id}")));
        }
    }
    let revisions = get(server, "/debug/revisions").json();
    if let Some(number) = revisions["revisions"][0]["revision"].as_u64() {
        let page = format!("/debug/revisions/{number}");
        asked.push(("/debug/revisions/{number}", page));
    }
    asked
}

/// Pages that can be asked without a parameter.
const PLAIN: [&str; 21] = [
    "/debug/decisions",
    "/debug/envoy",
    "/debug/events",
    "/debug/fleet",
    "/debug/flows",
    "/debug/history",
    "/debug/hot",
    "/debug/members",
    "/debug/nodes",
    "/debug/overview",
    "/debug/paths",
    "/debug/policy",
    "/debug/purges",
    "/debug/reporters",
    "/debug/revisions",
    "/debug/rollouts",
    "/debug/sets",
    "/debug/sidecar",
    "/debug/sites",
    "/debug/state",
    "/readyz",
];

/// Takes every page as it is now.
#[track_caller]
fn take_all(book: &mut Book, server: &Server) {
    for (path, page) in asked(server) {
        book.take(("GET", path), &get(server, &page));
    }
}

/// What has not been seen, but for what cannot be here.
fn unseen(book: &Book) -> Vec<String> {
    let excused: BTreeSet<&str> = SEEN_ONLY_WHEN
        .iter()
        .flat_map(|(_, fields)| fields.iter().copied())
        .collect();
    let fields = book.fields().into_iter();
    let unseen = fields.filter(|field| !book.seen.contains(field));
    unseen
        .filter(|field| !excused.contains(field.as_str()))
        .collect()
}

/// Keys of TLS and tokens, while they are good and while newer ones are refused.
async fn take_credentials(book: &mut Book) {
    let files = Files::new();
    let own = Authority::new("edge").certify("localhost", 2_099);
    own.write(&files.config(), "own");
    files.write("tokens", "ci a-token-with-enough-letters\n");
    // One of the tokens to which something is granted is not there.
    let setup = files.setup().with("tokens", files.path("tokens"));
    files.write("settings.yaml", "allow: [token:ops=observe]\n");
    let setup = setup.with("config", files.path("settings.yaml"));
    let setup = setup.with("tls-cert", files.path("own.pem"));
    let setup = setup.with("tls-key", files.path("own.key"));
    let server = setup.with("tls-doors", "admin").start().await;
    files.replace("tokens", "ci short\n");
    files.replace("own.key", "none");
    files.replace("settings.yaml", "allow: [anybody=observe]\n");
    let all = ["TlsKeys.fault", "KnownTokens.fault", "Grants.fault"];
    let give_up = timer_now() + PATIENCE;
    while !all.iter().all(|field| book.seen.contains(*field)) {
        take_all(book, &server);
        assert!(timer_now() < give_up, "{}", server.log());
    }
}

#[tokio::test]
async fn every_page_is_as_documented_and_every_field_is_seen() {
    let mut book = Book::open();
    let known = book.fields();
    for (_, fields) in SEEN_ONLY_WHEN {
        let strange: Vec<_> = fields.iter().filter(|it| !known.contains(**it)).collect();
        assert!(strange.is_empty(), "{strange:?} are not in the document");
    }
    // Before anything is in force, and without the geo files that there should be.
    let files = Files::empty();
    let setup = files.setup().with("geo", files.path("nowhere.mmdb"));
    let unready = setup.start_unready().await;
    take_all(&mut book, &unready);
    drop(unready);
    let example = Setup::example().with("here", "50.1,8.7").start().await;
    take_all(&mut book, &example);
    drop(example);
    let has_bus = take_fleet(&mut book).await;
    take_credentials(&mut book).await;
    // Who is not trusted is heard, and not believed.
    let mut untrusted = Scene::open("192.0.2.1").await;
    while !book.seen.contains("Hearsay.node") {
        untrusted.play().await;
        take_all(&mut book, &untrusted.server);
    }
    drop(untrusted);
    let mut scene = Scene::open("127.0.0.1").await;
    scene.set(&mut book).await;
    take_all(&mut book, &scene.server);
    scene.spoil().await;
    super::stream::take_first(&mut book, &scene.server);
    super::actions::take_plans(&mut book, &scene.server);
    let home = scene.home_page();
    let give_up = timer_now() + PATIENCE * 2;
    let mut is_over = false;
    loop {
        scene.play().await;
        take_all(&mut book, &scene.server);
        book.take(("GET", "/debug/explain"), &get(&scene.server, &home));
        let mut unseen = unseen(&book);
        unseen.retain(|field| {
            has_bus || !field.starts_with("FleetPointer.") && !field.starts_with("FleetText.")
        });
        if unseen.is_empty() {
            return;
        }
        let of_rollout =
            |field: &String| field.starts_with("Rollout.") || field.starts_with("Guard.");
        if !is_over && !unseen.iter().any(of_rollout) {
            scene.end_rollout().await;
            take_all(&mut book, &scene.server);
            scene.try_out(true).await;
            is_over = true;
        }
        scene.is_mended = unseen.iter().all(|field| field.starts_with("PoolHealth."));
        assert!(timer_now() < give_up, "nobody saw {unseen:#?}");
    }
}

/// A member of a fleet whose bus is nowhere, and one to which a policy is published; whether there was a bus for that.
async fn take_fleet(book: &mut Book) -> bool {
    let alone = Setup::example().with("bus", "nats://127.0.0.1:1");
    take_all(book, &alone.start().await);
    let Some(bus) = Bus::start("every_page_is_as_documented_and_every_field_is_seen") else {
        return false;
    };
    let files = Files::new();
    let member = files.setup().with("bus", bus.url()).start().await;
    let at = format!("http://{}", member.admin);
    let mut policies = PolicyServiceClient::connect(at).await.unwrap();
    let give_up = timer_now() + PATIENCE;
    loop {
        let asked = ApplyPolicyRequest {
            document: policy("everywhere"),
            why: "tests".to_owned(),
            everywhere: true,
            ..ApplyPolicyRequest::default()
        };
        let Err(status) = policies.apply(asked).await else {
            break;
        };
        assert!(timer_now() < give_up, "{status}\n{}", member.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let asked = ApplyTopologyRequest {
        document: Fleet::usual().text() + "# another edition\n",
        why: "tests".to_owned(),
        everywhere: true,
        ..ApplyTopologyRequest::default()
    };
    let at = format!("http://{}", member.admin);
    let mut topologies = TopologyServiceClient::connect(at).await.unwrap();
    topologies.apply(asked).await.unwrap();
    // It tells of itself once a second.
    while member.get("/debug/members").json()["members"][0]["report"]["started_unix_ms"] == 0 {
        assert!(timer_now() < give_up, "{}", member.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    take_all(book, &member);
    true
}

#[tokio::test]
async fn every_page_is_told_what_it_does_not_know_and_can_be_read_by_people() {
    let mut book = Book::open();
    let server = Setup::example().start().await;
    let of_json = |path: &str, book: &Book| {
        let operation = book.document.operation(("GET", path));
        let contents = &operation["responses"]["200"]["content"];
        contents.get("application/json").is_some()
    };
    let paths: Vec<_> = book.document.operations().into_keys().collect();
    for (method, path) in paths {
        if method != "GET" || !path.starts_with("/debug/") {
            continue;
        }
        let reply = get(&server, &format!("{}?colour=red", filled(&path)));
        assert_eq!(reply.status, 400, "{path}: {reply:?}");
        assert!(reply.text().contains("`colour`"), "{path}: {reply:?}");
        book.take(("GET", &path), &reply);
        let operation = book.document.operation(("GET", &path));
        let parameters = book.document.parameters(operation, "query");
        assert_eq!(parameters[0]["name"], "pretty", "{path}");
    }
    for (path, page) in asked(&server) {
        if !of_json(path, &book) {
            continue;
        }
        let end = if page.contains('?') { '&' } else { '?' };
        let [plain, pretty] =
            ["", "pretty"].map(|form| get(&server, &format!("{page}{end}{form}")));
        let [value, same] = [plain.json(), pretty.json()];
        assert_eq!(plain.text(), value.to_string(), "{page}");
        let indented = serde_json::to_string_pretty(&same).unwrap() + "\n";
        assert_eq!(pretty.text(), indented, "{page}");
        assert_eq!(shape(&value), shape(&same), "{page}");
        book.take(("GET", path), &pretty);
    }
}

/// The names of fields: what does not change from one moment to the next.
fn shape(value: &Value) -> BTreeSet<String> {
    value.as_object().unwrap().keys().cloned().collect()
}

#[tokio::test]
async fn who_may_not_ask_and_what_is_not_there_is_told_so() {
    let mut book = Book::open();
    let server = Setup::example().start().await;
    let paths: Vec<_> = book.document.operations().into_keys().collect();
    for (method, path) in paths {
        let asked = (method.as_str(), filled(&path));
        let of = |headers: &[(&str, &str)]| ask(&server, (asked.0, &asked.1), headers, b"{}");
        let cross = of(&[("sec-fetch-site", "cross-site")]);
        assert_eq!(cross.status, 403, "{method} {path}");
        book.take((&method, &path), &cross);
        let is_open = ["/livez", "/readyz", "/metrics"].contains(&path.as_str());
        let elsewhere = ("host", "rebound.example.com");
        if path != "/debug/stream" {
            let named = of(&[elsewhere]);
            assert_eq!(named.status == 403, !is_open, "{method} {path}: {named:?}");
            book.take((&method, &path), &named);
        }
        if method == "POST" {
            let foreign = of(&[("origin", "http://pages.example.com")]);
            assert_eq!(foreign.status, 403, "{path}");
            book.take((&method, &path), &foreign);
        }
    }
    for (path, page) in [
        ("/console/{name}", "/console/nowhere.js"),
        ("/debug/decisions/{id}", "/debug/decisions/0123456789abcdef"),
        ("/debug/revisions/{number}", "/debug/revisions/99"),
    ] {
        let reply = get(&server, page);
        assert_eq!(reply.status, 404, "{page}");
        book.take(("GET", path), &reply);
    }
    let file = get(&server, "/console/main.js");
    let known = [("if-none-match", file.header("etag").unwrap())];
    for (path, page) in [
        ("/console/{name}", "/console/main.js"),
        ("/console/{name}", "/console/style.css"),
    ] {
        let reply = ask(&server, ("GET", page), &known, b"");
        assert_eq!(reply.status == 304, page.ends_with("main.js"), "{page}");
        book.take(("GET", path), &reply);
    }
    let plain = ask(
        &server,
        ("GET", "/metrics"),
        &[("accept", "text/plain")],
        b"",
    );
    let kind = plain.header("content-type").unwrap();
    assert!(kind.starts_with("text/plain"), "{kind}");
    book.take(("GET", "/metrics"), &plain);
}
