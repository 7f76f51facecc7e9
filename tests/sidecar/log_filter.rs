//! The log of a running sidecar, changed for a while: other lines come, and end, and who asked is in the audit log.

use std::fs;

use serde_json::{Value, json};
use tonic::transport::Channel;
use tonic::{Code, Status};
use tradewind::sidecar::wire::proto::admin_service_client::AdminServiceClient;
use tradewind::sidecar::wire::proto::{
    GetLogFilterRequest, LogFilter, SetLogFilterRequest, SetLogFilterResponse,
};

use crate::client::{Client, request};
use crate::server::{Files, Server, Setup};

/// What the line of a decision that is kept has.
const LINE: &str = "a sampled decision was made";

/// What it says of a signal that nothing is done for.
const OF_A_SIGNAL: &str = "this signal does nothing here";

/// A sidecar and those who ask it.
struct Rig {
    server: Server,
    client: Client,
    admin: AdminServiceClient<Channel>,
}

impl Rig {
    async fn start(files: &Files, format: &str) -> Self {
        let server = files.setup().with("log-format", format).start().await;
        let at = format!("http://{}", server.admin);
        Self {
            client: server.client().await,
            admin: AdminServiceClient::connect(at).await.unwrap(),
            server,
        }
    }

    async fn set(&mut self, filter: &str, lasts_ms: u64) -> Result<SetLogFilterResponse, Status> {
        let asked = SetLogFilterRequest {
            filter: filter.to_owned(),
            lasts_ms,
            who: "ada".to_owned(),
            why: "a look".to_owned(),
        };
        let set = self.admin.set_log_filter(asked).await;
        set.map(tonic::Response::into_inner)
    }

    async fn in_force(&mut self) -> LogFilter {
        let got = self.admin.get_log_filter(GetLogFilterRequest {}).await;
        got.unwrap().into_inner().now.unwrap()
    }

    /// Whether a decision that is kept makes a line, at the level debug. Its line is written before it is kept; and what
    /// the process says of a signal then comes behind it.
    async fn is_logged(&mut self, path: &str) -> bool {
        let id = self.client.decide(request(path)).await.decision_id;
        let page = format!("/debug/decisions/{id}");
        let server = &self.server;
        let is_kept = || server.get(&page).status == 200;
        server.until("the decision is kept", is_kept).await;
        let said = || server.log().matches(OF_A_SIGNAL).count();
        let before = said();
        server.signal("USR1");
        server.until("it says so", || said() > before).await;
        let log = server.log();
        let mut lines = log.lines().filter(|line| line.contains(LINE));
        lines.any(|line| line.contains(&id))
    }
}

/// What was recorded of the log: event, before and after, who and why.
fn audited(files: &Files) -> Vec<[String; 5]> {
    let text = fs::read_to_string(files.state().join("audit.log")).unwrap();
    let entries = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let of_the_log = entries.filter(|entry| entry["kind"] == "log_filter");
    let told = of_the_log.map(|entry| {
        let what = &entry["what"];
        let said = [&entry["event"], &what["before"], &what["after"]];
        let [event, before, after] = said.map(|text| text.as_str().unwrap().to_owned());
        let [who, why] = ["who", "why"].map(|name| entry[name].as_str().unwrap().to_owned());
        [event, before, after, who, why]
    });
    told.collect()
}

const DEBUG: &str = "info,tradewind_sidecar::intake=debug";

#[tokio::test]
async fn debug_lines_come_and_stop_as_text_and_as_json() {
    for format in ["text", "json"] {
        let files = Files::new();
        let mut rig = Rig::start(&files, format).await;
        assert!(!rig.is_logged("/before").await, "{format}");
        let set = rig.set(DEBUG, 0).await.unwrap();
        assert_eq!(set.previous, "info");
        let now = set.now.unwrap();
        assert_eq!((&*now.filter, &*now.configured), (DEBUG, "info"));
        assert_eq!(now.until_unix_ms - now.since_unix_ms, 600_000);
        assert!(now.left_ms <= 600_000 && now.left_ms > 500_000, "{now:?}");
        assert!(rig.is_logged("/while").await, "{format}");
        let page = rig.server.get("/debug/sidecar").json();
        assert_eq!(page["log"]["filter"], DEBUG);
        assert_eq!(page["log"]["configured"], "info");
        assert_eq!(page["log"]["until_unix_ms"], now.until_unix_ms);
        assert_eq!(page["log"]["who"], "ada");
        let back = rig.set("", 0).await.unwrap();
        assert_eq!(
            (&*back.previous, back.now.unwrap().until_unix_ms),
            (DEBUG, 0)
        );
        assert!(!rig.is_logged("/after").await, "{format}");
        let page = rig.server.get("/debug/sidecar").json();
        assert_eq!(
            page["log"],
            json!({ "filter": "info", "configured": "info" })
        );
        assert_eq!(
            audited(&files),
            [
                ["set", "info", DEBUG, "ada", "a look"],
                ["taken_away", DEBUG, "info", "ada", "a look"],
            ]
        );
        let log = rig.server.log();
        assert!(log.contains("the log is changed for a while"), "{log}");
        assert!(log.contains("the log is as configured again"), "{log}");
    }
}

#[tokio::test]
async fn a_change_ends_by_itself_and_is_told_whatever_lines_are_taken() {
    let files = Files::new();
    let mut rig = Rig::start(&files, "text").await;
    rig.set("error", 1_000).await.unwrap();
    rig.server
        .until_said("the log is changed for a while")
        .await;
    let is_back = || rig.server.get("/debug/sidecar").json()["log"]["filter"] == "info";
    rig.server.until("its time is over", is_back).await;
    rig.server.until_said("since the change had its time").await;
    assert_eq!(rig.in_force().await.until_unix_ms, 0);
    assert_eq!(
        audited(&files),
        [
            ["set", "info", "error", "ada", "a look"],
            ["ended", "error", "info", "ada", "a look"],
        ]
    );
    assert!(!rig.is_logged("/after").await);
}

#[tokio::test]
async fn what_is_no_filter_is_refused_and_changes_nothing() {
    let files = Files::new();
    let mut rig = Rig::start(&files, "text").await;
    for (filter, lasts_ms, told) in [
        ("deubg", 0, "`deubg` is no level, allowed are off, error"),
        ("info,tradewind=loud", 0, "`tradewind=loud` cannot be read"),
        ("debug", 999, "lasts_ms is 999, must be 1000 to 86400000"),
        ("", 5_000, "does not end by itself"),
        (&"x".repeat(513), 0, "filter has 513 bytes"),
    ] {
        let refused = rig.set(filter, lasts_ms).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
        assert!(refused.message().contains(told), "{refused}");
    }
    assert_eq!(rig.in_force().await.filter, "info");
    assert!(audited(&files).is_empty());
    // What it is started with is held to the same.
    let (status, said) = Setup::example().with("log", "deubg").refused();
    assert!(!status.success());
    assert!(said.contains("`deubg` is no level"), "{said}");
}
