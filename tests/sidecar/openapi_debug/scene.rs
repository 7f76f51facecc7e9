//! A sidecar of which there is something to tell: traffic and how it went, a node that fails, a drained one, a policy that
//! was changed, one that is tried, one that is refused, and a fleet that is held.

use serde_json::{Value, json};
use tonic::transport::Channel;
use tradewind::sidecar::wire::proto::admin_service_client::AdminServiceClient;
use tradewind::sidecar::wire::proto::policy_service_client::PolicyServiceClient;
use tradewind::sidecar::wire::proto::purge_service_client::PurgeServiceClient;
use tradewind::sidecar::wire::proto::rollout_service_client::RolloutServiceClient;
use tradewind::sidecar::wire::proto::telemetry_service_client::TelemetryServiceClient;
use tradewind::sidecar::wire::proto::{
    self, AckPurgesRequest, ApplyPolicyRequest, DecideRequest, Header, LoadReport,
    OrderRolloutRequest, RolloutOrder, SetLogFilterRequest, StartRolloutRequest,
};
use tradewind::sidecar::wire::purge::version_text;

use super::actions::act_of;
use super::book::Book;
use super::{ask, get};
use crate::client::{Client, from_ip, request};
use crate::envoy_endpoints::{Envoy, in_frankfurt};
use crate::fleet::Fleet;
use crate::server::{Files, Server};

/// A rule with everything, a part of a pool, and the rest.
fn policy(other: &str) -> String {
    format!(
        "apiVersion: tradewind/v1
kind: Policy
metadata: {{name: scene, owner: tests, description: all there is}}
spec:
  decision_log: {{sample_ratio: 1}}
  slow_start_window: 0ms
  breaker: {{max_ejection_percent: 100, base_ejection_time: 1s, probe_percent: 50}}
  panic: {{min_healthy_percent: 95}}
  change_budget: {{moved_percent_per_minute: 100}}
  rollout: {{start_jitter: 0ms, stages: [{{percent: 50, hold: 1h}}], guards: [{{metric: error_percent, limit: 95, worse_by: 50, min_samples: 10, window: 1m}}]}}
  limits: [{{name: once, rules: [once], requests_per_second: 0.01}}]
  classes: [{{name: video, expected_bytes: 5000000}}]
  pools:
    - {{name: edge, select: {{tier: edge}}}}
    - {{name: regional, select: {{tier: regional}}}}
    - {{name: origin, select: {{tier: origin}}}}
  rules:
    - {{name: films, owner: tests, intent: large objects, rollback: none, expires: 2099-01-31, match: {{hosts: [films.example.com]}}, when: client.asn > 1, pools: [edge], class: video, max_detour: 80ms, freshness: {{namespace: films, adaptive_ttl: {{min: 5m}}}}}}
    - {{name: fenced, owner: tests, rollback: none, match: {{hosts: [eu.example.com]}}, pools: [edge], require: {{disk: ssd}}, geofence: [DE]}}
    - {{name: once, owner: tests, rollback: none, match: {{hosts: [once.example.com]}}, pools: [edge]}}
    - {{name: all, owner: tests, rollback: none, pools: [edge, regional, origin], ttl: 30s{other}}}
"
    )
}

/// Another place for every object.
const OTHER_KEY: &str = ", key: {host: false}";

/// Nodes with labels.
fn topology(fleet: &Fleet) -> String {
    let labels = "state: ready, labels: {disk: ssd, city: Town}}";
    fleet.text().replace("state: ready}", labels)
}

pub(super) struct Scene {
    pub(super) server: Server,
    files: Files,
    client: Client,
    admin: Channel,
    /// Kept, so that it stays subscribed.
    envoy: Option<Envoy>,
    turn: usize,
    /// Whether what failed is well again.
    pub(super) is_mended: bool,
}

impl Scene {
    /// A sidecar that has just begun, and trusts this peer.
    pub(super) async fn open(trusted: &str) -> Self {
        let files = Files::new();
        files.write("policy.yaml", policy(""));
        files.write("topology.yaml", topology(&Fleet::usual()));
        let setup = files.setup().with("decisions-kept", "500");
        let setup = setup.with("trusted-reporters", trusted);
        let server = setup.start().await;
        let client = server.client().await;
        let at = format!("http://{}", server.admin);
        let admin = Channel::from_shared(at).unwrap().connect().await.unwrap();
        Self {
            server,
            files,
            client,
            admin,
            envoy: None,
            turn: 0,
            is_mended: false,
        }
    }

    /// Changes all that is to be told of.
    pub(super) async fn set(&mut self, book: &mut Book) {
        self.play().await;
        let mut policies = PolicyServiceClient::new(self.admin.clone());
        let applied = policies.apply(ApplyPolicyRequest {
            document: policy(OTHER_KEY),
            who: "ada".to_owned(),
            why: "tests".to_owned(),
            force: true,
            ..ApplyPolicyRequest::default()
        });
        assert_eq!(applied.await.unwrap().into_inner().revision, 2);
        self.server.until_revision(2).await;
        let drain = json!({ "node": "par-1", "reason": "tests", "for_ms": 3_600_000 });
        let drained = act_of(book, &self.server, ("drain", "\"2\""), &drain);
        assert_eq!(drained.status, 200, "{drained:?}");
        self.purge(book).await;
        self.try_out(false).await;
        let mut admin = AdminServiceClient::new(self.admin.clone());
        let changed = admin.set_log_filter(SetLogFilterRequest {
            filter: "info,tradewind_sidecar::probe=debug".to_owned(),
            why: "tests".to_owned(),
            ..SetLogFilterRequest::default()
        });
        changed.await.unwrap();
        // Endpoints that stay as they are: of a push that another has followed no answer counts.
        let names = ["origin", "nowhere"];
        let mut envoy = Envoy::subscribe(&self.client, in_frankfurt(), &names).await;
        let push = envoy.push().await;
        envoy.answer(&push, &names, Some("tests")).await;
        self.envoy = Some(envoy);
    }

    /// Purges what pages then show, hard and soft, and has a node say that it has done so.
    async fn purge(&self, book: &mut Book) {
        let headers = [("content-type", "application/json")];
        let of = ["https://video.example.com/", "https://films.example.com/"];
        for (is_soft, prefix) in [(false, of[0]), (true, of[0]), (true, of[1])] {
            let body =
                json!({ "prefixes": [prefix], "soft": is_soft, "confirm": true, "why": "tests" });
            let body = body.to_string();
            let reply = ask(
                &self.server,
                ("POST", "/v1/purge"),
                &headers,
                body.as_bytes(),
            );
            assert_eq!(reply.status, 200, "{reply:?}");
            book.take(("POST", "/v1/purge"), &reply);
        }
        let mut purges = PurgeServiceClient::new(self.admin.clone());
        let done = AckPurgesRequest {
            node: "fra-1".to_owned(),
            sequence: 1,
        };
        purges.ack(done).await.unwrap();
        let head = get(&self.server, "/debug/purges").json()["head"].as_u64();
        let page = format!("/debug/purges?version={}", version_text(head.unwrap()));
        book.take(("GET", "/debug/purges"), &get(&self.server, &page));
    }

    /// Puts files there that are not taken.
    pub(super) async fn spoil(&self) {
        self.files.replace("policy.yaml", "{");
        let few = Fleet::usual().nodes.into_iter();
        let few = few.filter(|node| node.site != "nyc" && node.site != "fra");
        let few = Fleet {
            nodes: few.collect(),
        };
        self.files.replace("topology.yaml", topology(&few));
        let is_refused = || {
            let status = get(&self.server, "/readyz").json();
            let [policy, topology] = [&status["policy"], &status["topology"]];
            policy.get("degraded").is_some() && topology.get("held").is_some()
        };
        self.server
            .until("both files are refused", is_refused)
            .await;
    }

    /// Traffic of all kinds and how it went.
    pub(super) async fn play(&mut self) {
        self.turn += 1;
        let turn = self.turn;
        let mut asked: Vec<_> = (0..200)
            .map(|number| match number % 10 {
                // Some objects are asked for by everybody.
                0..2 => request("/hot"),
                2..4 => DecideRequest {
                    host: "eu.example.com".to_owned(),
                    ..request("/hot")
                },
                4..6 => request("/broken"),
                _ => request(&format!("/{turn}/{number}")),
            })
            .collect();
        asked.extend(self.strange());
        let answers = self.client.decide_all(&asked).await;
        let mut lines = String::new();
        for (asked, answer) in asked.iter().zip(&answers) {
            for (attempt, candidate) in (1..).zip(&answer.candidates) {
                let mut told = told(
                    (&asked.path, attempt),
                    (&answer.decision_id, &candidate.node),
                );
                if self.is_mended {
                    (told["result"], told["status"]) = (json!("ok"), json!(200));
                }
                let goes_on = told["result"] != "ok";
                lines = lines + &told.to_string() + "\n";
                if !goes_on {
                    break;
                }
            }
        }
        let told = self
            .server
            .query()
            .ask(("POST", "/v1/outcomes"), &[], lines.as_bytes());
        assert_eq!(told.unwrap().status, 200);
        let mut load = TelemetryServiceClient::new(self.client.channel.clone());
        let reports = (1..=8).map(|number| LoadReport {
            node: format!("fra-{number}"),
            cpu_utilization: 0.5,
            hit_ratio: Some(0.9),
            ..LoadReport::default()
        });
        load.report_load(tokio_stream::iter(reports)).await.unwrap();
    }

    /// Requests that say much, and ones that nobody serves.
    fn strange(&self) -> Vec<DecideRequest> {
        let film = DecideRequest {
            host: "films.example.com".to_owned(),
            headers: vec![Header {
                name: "accept".to_owned(),
                value: "text".to_owned(),
            }],
            ..request("/film")
        };
        let seen = DecideRequest {
            client: Some(proto::Client {
                asn: 64_500,
                country: "DE".to_owned(),
                ..film.client.clone().unwrap_or_default()
            }),
            ..film.clone()
        };
        let fenced = DecideRequest {
            host: "eu.example.com".to_owned(),
            client: Some(from_ip("192.0.2.1")),
            ..request("/fenced")
        };
        let lost = DecideRequest {
            pool: "nowhere".to_owned(),
            ..request("/lost")
        };
        let far = (0..10).map(|number| DecideRequest {
            only_nodes: vec![["nyc-1", "nyc-2"][number % 2].to_owned()],
            ..request(&format!("/far/{}/{number}", self.turn))
        });
        let once = DecideRequest {
            host: "once.example.com".to_owned(),
            ..request("/once")
        };
        far.chain([film, seen, fenced, lost, once.clone(), once])
            .collect()
    }

    /// Tries another policy, or only looks at what it would do.
    pub(super) async fn try_out(&self, is_shadow: bool) {
        let mut rollouts = RolloutServiceClient::new(self.admin.clone());
        let started = rollouts.start(StartRolloutRequest {
            document: policy(""),
            why: "tests".to_owned(),
            shadow: is_shadow,
            ..StartRolloutRequest::default()
        });
        started.await.unwrap();
    }

    /// What asks about a key that is at home at the node that fails.
    pub(super) fn home_page(&self) -> String {
        let pages = (0..200).map(|number| {
            format!(
                "/debug/explain?path=/a&host=video.example.com&lat=50.1&lon=8.7&key=home-{number}"
            )
        });
        let mut pages = pages.filter(|page| {
            let explained = get(&self.server, page).json();
            explained["explanation"]["home"]["node"] == "fra-1"
        });
        pages.next().unwrap()
    }

    /// Takes the candidate back.
    pub(super) async fn end_rollout(&self) {
        let mut rollouts = RolloutServiceClient::new(self.admin.clone());
        let ended = rollouts.order(OrderRolloutRequest {
            order: RolloutOrder::Abort.into(),
            why: "tests".to_owned(),
            ..OrderRolloutRequest::default()
        });
        ended.await.unwrap();
    }
}

/// How an attempt went: one node and one site fail whatever they are asked, and one object wherever it is asked for.
fn told((path, attempt): (&str, u32), (id, node): (&str, &str)) -> Value {
    let is_bad = node == "fra-1" || node.starts_with("nyc") || path == "/broken";
    json!({
        "decision_id": id, "node": node, "attempt": attempt, "result": if is_bad { "error" } else { "ok" },
        "status": if is_bad { 503 } else { 200 }, "time_to_first_byte": "12ms", "total": "20ms", "bytes": 1_000,
        "cache_status": if path == "/hot" { "HIT" } else { "MISS" }, "client_round_trip": "25ms",
    })
}
