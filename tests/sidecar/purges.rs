//! Purges through the doors of a running sidecar: in force for the next decision, kept over kills, told to those who follow.
//!
//! The long run of kills is `cargo test --release --test sidecar -- --ignored --nocapture purges_survive`.

use std::collections::BTreeMap;

use serde_json::json;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tradewind::sidecar::wire::proto::feedback_service_client::FeedbackServiceClient;
use tradewind::sidecar::wire::proto::purge_selector::Of;
use tradewind::sidecar::wire::proto::purge_service_client::PurgeServiceClient;
use tradewind::sidecar::wire::proto::{
    AckPurgesRequest, AttemptResult, CacheStatus, Outcome, PurgeSelector, PurgeStatus,
    PurgeStatusRequest, ReportRequest, SubmitPurgeRequest, SubmitPurgeResponse, WatchPurgesRequest,
};
use tradewind::sidecar::wire::purge::{duration, version_text};

use crate::client::{Client, refusal, request};
use crate::envoy_asking::{ask, check};
use crate::http::Connection;
use crate::server::{Files, Server};

/// A rule with a namespace and tags, and one without.
const POLICY: &str = "apiVersion: tradewind/v1
kind: Policy
spec:
  slow_start_window: 0ms
  geo: {default: {lat: 50.1, lon: 8.7}}
  decision_log: {sample_ratio: 1}
  freshness: {guard_percent: 30}
  pools:
    - {name: edge, select: {tier: edge}}
  rules:
    - name: shop
      owner: tests
      rollback: none
      match: {paths: [{value: /shop}]}
      pools: [edge]
      freshness: {namespace: shop, tags: ['product/{2}', all], cache_ttl: 90s}
    - {name: rest, owner: tests, rollback: none, pools: [edge]}
";

fn url(path: &str) -> PurgeSelector {
    selector(Of::Url(format!("https://video.example.com{path}")))
}

fn prefix(path: &str) -> PurgeSelector {
    selector(Of::Prefix(format!("https://video.example.com{path}")))
}

fn selector(of: Of) -> PurgeSelector {
    PurgeSelector {
        of: Some(of),
        exact_query: false,
    }
}

fn purge(selectors: &[PurgeSelector]) -> SubmitPurgeRequest {
    SubmitPurgeRequest {
        selectors: selectors.to_vec(),
        who: "ada".to_owned(),
        why: "INC-7".to_owned(),
        ..SubmitPurgeRequest::default()
    }
}

/// A sidecar, who asks it, and who purges.
struct Rig {
    server: Server,
    client: Client,
    admin: PurgeServiceClient<Channel>,
}

impl Rig {
    async fn of(files: &Files) -> Self {
        let server = files.setup().start().await;
        let at = format!("http://{}", server.admin);
        Self {
            client: server.client().await,
            admin: PurgeServiceClient::connect(at).await.unwrap(),
            server,
        }
    }

    async fn start() -> (Files, Self) {
        let files = Files::new();
        files.write("policy.yaml", POLICY);
        let rig = Self::of(&files).await;
        (files, rig)
    }

    async fn try_purge(
        &mut self,
        asked: SubmitPurgeRequest,
    ) -> Result<SubmitPurgeResponse, Status> {
        let answered = self.admin.submit(asked).await;
        answered.map(tonic::Response::into_inner)
    }

    async fn purge(&mut self, asked: SubmitPurgeRequest) -> SubmitPurgeResponse {
        self.try_purge(asked).await.unwrap()
    }

    async fn version(&mut self, path: &str) -> u64 {
        self.client.decide(request(path)).await.version
    }

    async fn status(&mut self, sequence: u64) -> PurgeStatus {
        let asked = PurgeStatusRequest { sequence };
        self.admin.status(asked).await.unwrap().into_inner()
    }
}

#[tokio::test]
async fn a_purge_is_in_force_for_the_next_decision_at_every_door() {
    let (_files, mut rig) = Rig::start().await;
    let before = rig.client.decide(request("/a")).await;
    assert_eq!((before.version, before.freshness_floor), (0, 0));
    let purged = rig.purge(purge(&[url("/a")])).await;
    assert!(purged.kept && purged.sequence > 0 && purged.in_force_after.is_some());
    assert_eq!(purged.covers, ["video.example.com/a"]);

    let after = rig.client.decide(request("/a")).await;
    assert_eq!(after.version, purged.sequence);
    assert_eq!(after.freshness_floor, purged.sequence);
    let nodes = |it: &tradewind::sidecar::wire::proto::DecideResponse| it.candidates.clone();
    assert_eq!(nodes(&after), nodes(&before), "an object stays where it is");
    assert_eq!(rig.version("/b").await, 0);
    let mut floor = request("/a");
    floor.object_version_floor = u64::MAX;
    assert_eq!(rig.client.decide(floor).await.freshness_floor, u64::MAX);

    // Envoy: set where there is one, removed where a client makes one up.
    let version = version_text(purged.sequence);
    let made_up = [("x-tradewind-version", "ZZZZZZ")];
    let (set, removed) = told_envoy(&rig.client, "/a", &made_up).await;
    assert_eq!(set.get("x-tradewind-version"), Some(&version));
    let others = [
        "x-tradewind-max-age",
        "x-tradewind-cache-ttl",
        "x-tradewind-freshness",
    ];
    assert_eq!(removed, others);
    let (set, removed) = told_envoy(&rig.client, "/b", &made_up).await;
    assert_eq!(set.get("x-tradewind-version"), None);
    assert_eq!(removed.len(), 4, "{removed:?}");

    // Plain HTTP.
    let asked = "/v1/route?host=video.example.com&path=/a";
    let page = crate::page::get(rig.server.http.unwrap(), asked);
    let header = format!("x-tradewind-version: {}", version.to_lowercase());
    assert!(page.head.contains(&header), "{}", page.head);
    assert_eq!(page.json()["version"], purged.sequence);
    assert_eq!(rig.server.count("tradewind_purges_total{kind=\"hard\"}"), 1);
    assert_eq!(rig.server.count("tradewind_purge_entries"), 1);
}

/// What Envoy is told of a request: headers set, and headers removed.
async fn told_envoy(
    client: &Client,
    path: &str,
    headers: &[(&str, &str)],
) -> (BTreeMap<String, String>, Vec<String>) {
    use tradewind::sidecar::doors::envoy::proto::envoy::service::auth::v3::check_response::HttpResponse;
    let answer = ask(client, check(path, "198.18.0.1", headers), &[])
        .await
        .unwrap();
    let Some(HttpResponse::OkResponse(ok)) = answer.http_response else {
        panic!("{answer:?}");
    };
    let set = ok.headers.into_iter().filter_map(|it| it.header);
    (
        set.map(|it| (it.key, it.value)).collect(),
        ok.headers_to_remove,
    )
}

#[tokio::test]
async fn what_a_purge_covers_it_covers_in_every_spelling_and_variant() {
    let (_files, mut rig) = Rig::start().await;
    let exact = rig
        .purge(purge(&[selector(Of::Url(
            "HTTPS://Video.Example.com:443/x/../a%2Fb?w=1".to_owned(),
        ))]))
        .await;
    assert_eq!(rig.version("/a/b").await, exact.sequence);
    let mut variant = request("/a//b");
    variant.query = "w=2".to_owned();
    assert_eq!(rig.client.decide(variant).await.version, exact.sequence);

    let mut of_one = url("/q?w=1");
    of_one.exact_query = true;
    let one = rig.purge(purge(&[of_one])).await;
    let mut asked = request("/q");
    assert_eq!(rig.client.decide(asked.clone()).await.version, 0);
    asked.query = "w=%31".to_owned();
    assert_eq!(rig.client.decide(asked).await.version, one.sequence);

    let below = rig.purge(purge(&[prefix("/img/")])).await;
    for (path, covered) in [("/img", true), ("/img/a/b.jpg", true), ("/imgs", false)] {
        let version = rig.version(path).await;
        assert_eq!(version == below.sequence, covered, "{path} has {version}");
    }
    let mut tagged = purge(&[selector(Of::Tag("product/7".to_owned()))]);
    tagged.namespace = "shop".to_owned();
    let tagged = rig.purge(tagged).await;
    let seven = rig.client.decide(request("/shop/7/x")).await;
    assert_eq!(
        (seven.version, &*seven.namespace),
        (tagged.sequence, "shop")
    );
    assert_eq!(seven.cache_ttl, Some(duration(90_000)));
    assert_eq!(rig.version("/shop/8/x").await, 0);
    let mut all = purge(&[selector(Of::All(true))]);
    all.namespace = "shop".to_owned();
    let all = rig.purge(all).await;
    assert_eq!(rig.version("/shop/8/x").await, all.sequence);
    assert_eq!(rig.version("/other").await, 0, "of no namespace");
}

#[tokio::test]
async fn a_soft_purge_keeps_the_version_and_asks_for_a_look_at_the_origin() {
    let (_files, mut rig) = Rig::start().await;
    let mut asked = purge(&[prefix("/news")]);
    asked.soft = true;
    rig.purge(asked).await;
    let told = rig.client.decide(request("/news/1")).await;
    assert_eq!(told.version, 0);
    assert!(told.not_older_than_unix_ms > 1_700_000_000_000, "{told:?}");
    let (set, removed) = told_envoy(&rig.client, "/news/1", &[]).await;
    assert_eq!(
        set.get("x-tradewind-max-age").map(String::as_str),
        Some("0")
    );
    assert!(removed.contains(&"x-tradewind-version".to_owned()));

    let explained = rig.client.explain(request("/news/1")).await;
    let summary = explained.explanation.unwrap().summary.join("\n");
    assert!(
        summary.contains("is revalidated first: purged softly at"),
        "{summary}"
    );
}

#[tokio::test]
async fn an_explanation_names_the_purge_who_made_it_and_why() {
    let (files, mut rig) = Rig::start().await;
    let purged = rig.purge(purge(&[url("/other"), prefix("/catalog")])).await;
    let explained = rig.client.explain(request("/catalog/7")).await;
    assert_eq!(explained.decision.unwrap().version, purged.sequence);
    let summary = explained.explanation.unwrap().summary.join("\n");
    let version = version_text(purged.sequence);
    let begins =
        format!("version {version}: everything below video.example.com/catalog was purged at ");
    assert!(summary.contains(&begins), "{summary}");
    assert!(summary.contains(" by ada (INC-7)"), "{summary}");
    let status = rig.status(purged.sequence).await;
    let known = status.asked.unwrap();
    assert_eq!(
        (known.selectors, &*known.why, known.in_force_ratio),
        (2, "INC-7", 1.0)
    );
    assert_eq!(
        (status.head, status.kept, status.entries),
        (purged.sequence, true, 2)
    );

    let audited = || {
        let log = std::fs::read_to_string(files.state().join("audit.log")).unwrap();
        let line = log.lines().find(|line| line.contains("\"kind\":\"purge\""));
        line.map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
    };
    let is_there = || audited().is_some();
    rig.server.until("it is in the audit log", is_there).await;
    let entry = audited().unwrap();
    assert_eq!(entry["what"]["version"], version);
    let covers = "everything below video.example.com/catalog";
    assert_eq!(entry["what"]["covers"], covers);
    assert_eq!(
        (&entry["who"], &entry["why"]),
        (&json!("ada"), &json!("INC-7"))
    );
}

#[tokio::test]
async fn every_fault_of_a_purge_is_told_at_once_and_nothing_is_purged() {
    let (_files, mut rig) = Rig::start().await;
    let mut asked = purge(&[
        selector(Of::Url("/no-host".to_owned())),
        selector(Of::Url("https://h/*.jpg".to_owned())),
        selector(Of::Prefix("https://h/a?b=1".to_owned())),
        selector(Of::Tag("a b".to_owned())),
        PurgeSelector::default(),
    ]);
    asked.namespace = "Shop!".to_owned();
    asked.soft = true;
    asked.over = Some(duration(100 * 3_600_000));
    asked.why = "x".repeat(300);
    let words = refusal(rig.try_purge(asked).await, Code::InvalidArgument);
    for part in [
        "selectors[0] url `/no-host` must be a whole URL",
        "selectors[1] url `https://h/*.jpg` has `*`",
        "selectors[2] prefix `https://h/a?b=1` has a query",
        "selectors[3] tag `a b` must be of printable characters",
        "selectors[4] says nothing",
        "namespace is `Shop!`",
        "over is 360000s, must be above 0 and at most 86400s",
        "why has 300 characters",
    ] {
        assert!(
            words.contains(part) || words.contains("more"),
            "{part}: {words}"
        );
    }
    let mut wide = purge(&[selector(Of::All(true))]);
    wide.over = Some(duration(60_000));
    wide.repeat_after = Some(duration(5_000));
    let words = refusal(rig.try_purge(wide).await, Code::InvalidArgument);
    assert!(
        words.contains("all is given without a namespace"),
        "{words}"
    );
    assert!(
        words.contains("over and repeat_after are both given"),
        "{words}"
    );
    let none = refusal(rig.try_purge(purge(&[])).await, Code::InvalidArgument);
    assert_eq!(none, "0 selectors are given, must be 1 to 4096");
    let many = vec![url("/a"); 4_097];
    let many = refusal(rig.try_purge(purge(&many)).await, Code::InvalidArgument);
    assert_eq!(many, "selectors: 4097 given, at most 4096 are allowed");
    assert_eq!(rig.status(0).await.head, 0);
}

#[tokio::test]
async fn a_purge_of_much_of_what_is_asked_for_waits_for_somebody_to_confirm_it() {
    let (_files, mut rig) = Rig::start().await;
    for number in 0..100 {
        rig.client
            .decide(request(&format!("/films/{number}")))
            .await;
        rig.client.decide(request(&format!("/rest/{number}"))).await;
    }
    let server = &rig.server;
    let kept = || {
        server.get("/debug/decisions?limit=200").json()["decisions"]
            .as_array()
            .map_or(0, Vec::len)
    };
    server.until("the sample is kept", || kept() >= 150).await;
    let wide = purge(&[prefix("/films")]);
    let words = refusal(rig.try_purge(wide.clone()).await, Code::FailedPrecondition);
    assert!(
        words.contains("it covers 5") && words.contains("more than the 30 %"),
        "{words}"
    );
    assert_eq!(rig.version("/films/1").await, 0);

    let mut dry = wide.clone();
    dry.dry_run = true;
    let ratio = rig.purge(dry).await.covers_ratio.unwrap();
    assert!((0.4..0.6).contains(&ratio), "{ratio}");
    let mut confirmed = wide;
    confirmed.confirm = true;
    let confirmed = rig.purge(confirmed).await;
    assert_eq!(rig.version("/films/1").await, confirmed.sequence);
    // One object is a fetch for each node, however often it is asked for: nothing to hold back.
    let urls: Vec<_> = (0..100)
        .map(|number| url(&format!("/rest/{number}")))
        .collect();
    rig.purge(purge(&urls)).await;
}

#[tokio::test]
async fn the_same_id_is_the_same_purge() {
    let (_files, mut rig) = Rig::start().await;
    let mut asked = purge(&[url("/a")]);
    asked.id = "deploy-812".to_owned();
    let first = rig.purge(asked.clone()).await;
    let again = rig.purge(asked).await;
    assert_eq!(again.sequence, first.sequence);
    assert!(again.repeated && !first.repeated);
    let other = rig.purge(purge(&[url("/a")])).await;
    assert!(other.sequence > first.sequence);
    // Another team's deploy, or a file that has changed: to be told that it is purged would be wrong.
    let mut changed = purge(&[url("/b")]);
    changed.id = "deploy-812".to_owned();
    let words = refusal(
        rig.try_purge(changed.clone()).await,
        Code::FailedPrecondition,
    );
    assert!(
        words.contains("the id `deploy-812` names another purge"),
        "{words}"
    );
    changed.namespace = "shop".to_owned();
    rig.purge(changed).await;
}

#[tokio::test]
async fn a_kill_and_a_restart_lower_no_version() {
    let (files, mut rig) = Rig::start().await;
    let mut last = BTreeMap::new();
    for number in 0..50 {
        let path = format!("/{}", number % 7);
        last.insert(path.clone(), rig.purge(purge(&[url(&path)])).await.sequence);
    }
    let mut soft = purge(&[prefix("/soft")]);
    soft.soft = true;
    rig.purge(soft).await;
    let before = rig
        .client
        .decide(request("/soft/x"))
        .await
        .not_older_than_unix_ms;
    rig.server.kill();
    let mut rig = Rig::of(&files).await;
    for (path, sequence) in &last {
        assert_eq!(rig.version(path).await, *sequence, "{path}");
    }
    let after = rig
        .client
        .decide(request("/soft/x"))
        .await
        .not_older_than_unix_ms;
    assert_eq!(after, before);
    let next = rig.purge(purge(&[url("/new")])).await.sequence;
    assert!(next > *last.values().max().unwrap());
}

#[tokio::test]
async fn who_follows_purges_gets_each_once_in_order_from_wherever_they_begin() {
    let (files, mut rig) = Rig::start().await;
    let mut sequences = Vec::new();
    for number in 0..20 {
        sequences.push(
            rig.purge(purge(&[url(&format!("/{number}"))]))
                .await
                .sequence,
        );
    }
    rig.server.kill();
    let mut rig = Rig::of(&files).await;
    let asked = WatchPurgesRequest {
        from_sequence: sequences[5],
        namespaces: Vec::new(),
    };
    let mut purged = rig.admin.watch(asked).await.unwrap().into_inner();
    for number in 20..25 {
        sequences.push(
            rig.purge(purge(&[url(&format!("/{number}"))]))
                .await
                .sequence,
        );
    }
    for (at, expected) in sequences.iter().enumerate().skip(5) {
        let next = purged.message().await.unwrap().unwrap();
        assert_eq!(next.sequence, *expected);
        let selectors = [url(&format!("/{at}"))];
        assert_eq!(
            (next.selectors.as_slice(), &*next.who),
            (&selectors[..], "ada")
        );
    }
    let early = WatchPurgesRequest {
        from_sequence: 2,
        namespaces: vec!["Bad!".to_owned()],
    };
    let words = refusal(rig.admin.watch(early.clone()).await, Code::InvalidArgument);
    assert!(words.contains("namespace is `Bad!`"), "{words}");
    let early = WatchPurgesRequest {
        namespaces: Vec::new(),
        ..early
    };
    let words = refusal(rig.admin.watch(early).await, Code::OutOfRange);
    assert!(words.contains("the log begins at"), "{words}");
}

#[tokio::test]
async fn nodes_say_what_they_have_done() {
    let (_files, mut rig) = Rig::start().await;
    let head = rig.purge(purge(&[url("/a")])).await.sequence;
    let ack = |node: &str, sequence| AckPurgesRequest {
        node: node.to_owned(),
        sequence,
    };
    let known = rig
        .admin
        .ack(ack("fra-1", head))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(known.head, head);
    rig.admin.ack(ack("fra-2", 1)).await.unwrap();
    let words = refusal(rig.admin.ack(ack("nobody", 1)).await, Code::NotFound);
    assert_eq!(words, "the fleet has no node `nobody`");
    let ahead = rig.admin.ack(ack("fra-1", head + 1)).await;
    assert!(refusal(ahead, Code::InvalidArgument).contains("the last purge is"));
    let nodes = rig.status(0).await.nodes;
    let nodes: Vec<_> = nodes.iter().map(|it| (&*it.node, it.sequence)).collect();
    assert_eq!(nodes, [("fra-2", 1), ("fra-1", head)]);
}

#[tokio::test]
async fn a_purge_that_is_made_slice_by_slice_says_how_far_it_is() {
    let (_files, mut rig) = Rig::start().await;
    let mut asked = purge(&[prefix("/big")]);
    asked.over = Some(duration(3_600_000));
    let paced = rig.purge(asked).await;
    let status = rig.status(paced.sequence).await;
    let ratio = status.asked.unwrap().in_force_ratio;
    assert!((0.01..0.05).contains(&ratio), "{ratio}");
    assert_eq!((status.paced, status.entries), (1, 0));
    let mut in_force = 0;
    for number in 0..640 {
        in_force += u64::from(rig.version(&format!("/big/{number}")).await > 0);
    }
    assert!(
        (1..40).contains(&in_force),
        "{in_force} of 640, a 64th is 10"
    );
}

#[tokio::test]
async fn without_a_state_directory_a_purge_says_that_a_restart_forgets_it() {
    let server = crate::server::Setup::example().start().await;
    let at = format!("http://{}", server.admin);
    let mut admin = PurgeServiceClient::connect(at).await.unwrap();
    let purged = admin
        .submit(purge(&[url("/a")]))
        .await
        .unwrap()
        .into_inner();
    assert!(!purged.kept && purged.sequence > 0);
}

#[tokio::test]
async fn purges_are_taken_as_json_too() {
    let (_files, mut rig) = Rig::start().await;
    let debug = rig.server.debug;
    let post = |body: serde_json::Value| {
        let mut connection = Connection::tcp(debug).unwrap();
        let headers = [("content-type", "application/json"), ("host", "localhost")];
        let body = body.to_string();
        connection
            .ask(("POST", "/v1/purge"), &headers, body.as_bytes())
            .unwrap()
    };
    let done = post(json!({
        "urls": ["https://video.example.com/a"],
        "prefixes": ["https://video.example.com/img/"],
        "why": "INC-8",
    }));
    assert_eq!(done.status, 200, "{}", done.text());
    let sequence = done.json()["sequence"].as_u64().unwrap();
    let bad = post(json!({ "urls": ["nowhere"], "over": "2m", "soft": true }));
    assert_eq!(bad.status, 400);
    assert!(
        bad.text().contains("must be a whole URL") && bad.text().contains("both given"),
        "{}",
        bad.text()
    );
    assert_eq!(post(json!({ "url": "https://h/" })).status, 400);
    let page = rig.server.get("/debug/purges").json();
    assert_eq!(page["head"], sequence);
    assert_eq!(page["recent"][0]["why"], "INC-8");
    assert_eq!(rig.version("/img/x").await, sequence);
}

/// An object on one page: who purged it, when and why, and where it is.
#[tokio::test]
async fn an_object_is_shown_with_the_purge_that_it_is_of() {
    let (_files, mut rig) = Rig::start().await;
    let at = "/debug/object?host=video.example.com&path=/shop/7/a.jpg&lat=50.1&lon=8.7";
    let page = |more: &str| rig.server.get(&format!("{at}{more}")).json();
    let before = page("");
    assert_eq!(before["freshness"]["version"], 0);
    assert_eq!(before["freshness"]["namespace"], "shop");
    assert_eq!(before["freshness"]["cache_ttl_ms"], 90_000);
    assert_eq!(before["freshness"].get("purge"), None);
    let home = &before["decision"]["candidates"][0]["node"];
    assert_eq!(before["copies"], json!([home]));
    assert_eq!(before["matching"], 0);

    let tag = |namespace: &str, soft: bool| SubmitPurgeRequest {
        namespace: namespace.to_owned(),
        soft,
        ..purge(&[selector(Of::Tag("product/7".to_owned()))])
    };
    let mut admin = rig.admin.clone();
    let mut submit = async |asked| admin.submit(asked).await.unwrap().into_inner().sequence;
    let hard = submit(tag("shop", false)).await;
    submit(tag("shop", true)).await;
    let others = submit(tag("press", false)).await;
    rig.client.decide(request("/shop/7/a.jpg")).await;

    let page = |more: &str| rig.server.get(&format!("{at}{more}")).json();
    let after = page("");
    let fresh = &after["freshness"];
    assert_eq!(fresh["version"], hard);
    assert_eq!(fresh["version_text"], version_text(hard));
    let by = &fresh["purge"];
    assert_eq!(by["covers"], "tag product/7");
    assert_eq!((&by["who"], &by["why"]), (&json!("ada"), &json!("INC-7")));
    assert_eq!(by["in_force_ratio"], 1.0);
    assert!(by["submitted"].is_string() && fresh["not_older_than"].is_string());
    assert_eq!(fresh["soft_purge"]["covers"], "tag product/7");
    assert_eq!(after["decisions"][0]["path"], "/shop/7/a.jpg");
    // Looked at as an object of others, it is theirs.
    assert_eq!(page("&namespace=press")["freshness"]["version"], others);
    assert_eq!(page("&namespace=nobody")["freshness"]["version"], 0);
    let bad = rig.server.get(&format!("{at}&namespace=A%20b&nonsense=1"));
    assert_eq!(bad.status, 400);
    let said = bad.json()["error"].to_string();
    assert!(
        said.contains("namespace is `A b`") && said.contains("`nonsense`"),
        "{said}"
    );
}

/// What is found unchanged whenever caches ask about it again, they may keep for longer.
#[tokio::test]
async fn a_lifetime_grows_while_nothing_is_found_changed() {
    let files = Files::new();
    let adaptive = "adaptive_ttl: {min: 10s, max: 1h, staleness_percent: 5}";
    files.write("policy.yaml", POLICY.replace("cache_ttl: 90s", adaptive));
    let mut rig = Rig::of(&files).await;
    let before = rig.client.decide(request("/shop/7")).await;
    assert_eq!(before.cache_ttl, Some(duration(10_000)));
    let mut feedback = FeedbackServiceClient::new(rig.client.channel.clone());
    let requests: Vec<_> = (0..300).map(|at| request(&format!("/shop/{at}"))).collect();
    for answers in rig.client.decide_all(&requests).await.chunks(100) {
        let outcomes = answers.iter().map(|answer| Outcome {
            decision_id: answer.decision_id.clone(),
            node: answer.candidates[0].node.clone(),
            result: AttemptResult::Ok.into(),
            status: 200,
            cache_status: CacheStatus::Revalidated.into(),
            ..Outcome::default()
        });
        let batch = ReportRequest {
            outcomes: outcomes.collect(),
            ..ReportRequest::default()
        };
        let taken = feedback.report_unary(batch).await.unwrap().into_inner();
        assert_eq!(taken.accepted, 100, "{taken:?}");
    }
    let at = "/debug/object?host=video.example.com&path=/shop/7&lat=50.1&lon=8.7";
    let server = &rig.server;
    let ttl = || server.get(at).json()["freshness"]["cache_ttl_ms"].as_u64();
    server
        .until("it may be kept for longer", || ttl() > Some(10_000))
        .await;
    let page = server.get(at).json();
    let why = page["freshness"]["cache_ttl_why"].as_str().unwrap();
    assert!(
        why.contains("changes without a purge once in") && why.contains("10s to 1h"),
        "{why}"
    );
    let told = rig.client.explain(request("/shop/7")).await;
    let summary = told.explanation.unwrap().summary;
    assert!(summary.iter().any(|words| words == why), "{summary:?}");
    let after = rig.client.decide(request("/shop/7")).await;
    assert_ne!(after.cache_ttl, Some(duration(10_000)));
}

/// V5 on the running sidecar: whoever was answered finds what they purged in force, whatever the process died of.
#[tokio::test]
async fn purges_survive_three_kills() {
    survive(3).await;
}

#[tokio::test]
#[ignore = "long: a hundred kills"]
async fn purges_survive_a_hundred_kills() {
    survive(100).await;
}

async fn survive(kills: u64) {
    let files = Files::new();
    files.write("policy.yaml", POLICY);
    let mut answered: BTreeMap<String, u64> = BTreeMap::new();
    for round in 0..kills {
        let mut rig = Rig::of(&files).await;
        for (path, sequence) in &answered {
            let version = rig.version(path).await;
            assert!(
                version >= *sequence,
                "{path} fell from {sequence} to {version} in round {round}"
            );
        }
        let mut admin = rig.admin.clone();
        let (told, mut answers) = tokio::sync::mpsc::unbounded_channel();
        let purging = tokio::spawn(async move {
            for number in 0.. {
                let path = format!("/{}", number % 40);
                match admin.submit(purge(&[url(&path)])).await {
                    Ok(answer) => drop(told.send((path, answer.into_inner().sequence))),
                    Err(_) => return,
                }
            }
        });
        // Killed after a number of answers that differs from round to round, while others are on their way.
        for _ in 0..10 + round * 7 % 30 {
            let (path, sequence) = answers.recv().await.unwrap();
            answered.insert(path, sequence);
        }
        rig.server.kill();
        purging.await.unwrap();
        while let Ok((path, sequence)) = answers.try_recv() {
            answered.insert(path, sequence);
        }
    }
    println!("{kills} kills, {} objects, none lower", answered.len());
}
