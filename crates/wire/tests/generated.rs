//! The generated code of messages and services is what the files in `proto/` come to.
//!
//! It is checked in, so that who builds a proxy with the client needs no generator. `UPDATE=1 cargo test -p tradewind-wire
//! --test generated` writes it anew.
//!
//! The client and the messages are the usual ones. The server is generated with a codec of our own for the three
//! deciding methods, because an answer is encoded straight from the snapshot, and with another for the explaining one,
//! because an unreadable request is the caller's mistake (see `tradewind_wire::answer`). What is reported has a third,
//! because an unreadable message must not end its stream (see `tradewind_wire::received`).

use std::collections::BTreeMap;
use std::env;
use std::error::Error;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use prost::Message;
use tonic_prost_build::manual;

const ANSWER: &str = "crate::answer::Answer";
const ANSWER_CODEC: &str = "crate::answer::AnswerCodec";
const MESSAGE_CODEC: &str = "crate::answer::MessageCodec";
const TOLD_CODEC: &str = "crate::received::ReceivedCodec";

/// What Envoy's services are compiled from.
const ENVOY_FILES: [&str; 6] = [
    "envoy/service/accesslog/v3/als.proto",
    "envoy/service/auth/v3/external_auth.proto",
    "envoy/service/discovery/v3/discovery.proto",
    "envoy/service/endpoint/v3/eds.proto",
    "envoy/service/ext_proc/v3/external_processor.proto",
    "envoy/service/load_stats/v3/lrs.proto",
];

/// What our own services are compiled from.
const FILES: [&str; 9] = [
    "tradewind/v1/admin.proto",
    "tradewind/v1/decision.proto",
    "tradewind/v1/feedback.proto",
    "tradewind/v1/fleet.proto",
    "tradewind/v1/policy.proto",
    "tradewind/v1/purge.proto",
    "tradewind/v1/rollout.proto",
    "tradewind/v1/telemetry.proto",
    "tradewind/v1/topology.proto",
];

fn proto() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto")
}

#[test]
fn the_generated_code_is_what_the_protos_come_to() -> Result<(), Box<dyn Error>> {
    let checked_in = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/generated");
    let fresh = tempfile::tempdir()?;
    let all = protox::compile(FILES.iter().chain(&ENVOY_FILES), [proto()])?;
    fs::write(fresh.path().join("descriptors.bin"), all.encode_to_vec())?;
    own_services(fresh.path())?;
    envoy_services(fresh.path())?;
    if env::var_os("UPDATE").is_some() {
        fs::create_dir_all(&checked_in)?;
        for (name, bytes) in files(fresh.path())? {
            fs::write(checked_in.join(name), bytes)?;
        }
    }
    let (is, should) = (files(&checked_in)?, files(fresh.path())?);
    assert_eq!(
        is.keys().collect::<Vec<_>>(),
        should.keys().collect::<Vec<_>>()
    );
    for (name, bytes) in &should {
        assert!(
            is.get(name) == Some(bytes),
            "{name:?} is not what `proto/` comes to; UPDATE=1 writes it"
        );
    }
    Ok(())
}

/// The bytes of files, by name.
type Files = BTreeMap<OsString, Vec<u8>>;

/// The files of a folder.
fn files(folder: &Path) -> Result<Files, Box<dyn Error>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        files.insert(entry.file_name(), fs::read(entry.path())?);
    }
    Ok(files)
}

/// Fields that are written otherwise than they are, and by what of `serialize`.
const SERIALIZED_BY: &[(&str, &str)] = &[
    ("DecideResponse.ttl", "duration"),
    ("DecideResponse.retry_after", "duration"),
    ("DecideResponse.cache_ttl", "duration"),
    ("SubmitPurgeRequest.over", "duration"),
    ("SubmitPurgeRequest.repeat_after", "duration"),
    ("SubmitPurgeResponse.in_force_after", "duration"),
    ("Purged.over", "duration"),
    ("Purged.repeat_after", "duration"),
    ("PurgeSummary.in_force_after", "duration"),
    ("Candidate.attempt_timeout", "duration"),
    ("DecideResponse.verdict", "verdict"),
    ("Outcome.time_to_first_byte", "duration"),
    ("Outcome.total", "duration"),
    ("Outcome.client_round_trip", "duration"),
    ("SetAdminStateRequest.until", "duration"),
    ("RolloutStage.hold", "duration"),
    ("SetAdminStateRequest.state", "admin_state"),
    ("SetAdminStateResponse.previous", "admin_state"),
    ("SetAdminStateResponse.effective", "admin_state"),
    ("FleetNode.state", "admin_state"),
    ("AdminOverride.state", "admin_state"),
    ("Roll.bus", "bus_standing"),
    ("Roll.following", "following"),
];

/// Messages, clients and servers of our own services.
fn own_services(out: &Path) -> Result<(), Box<dyn Error>> {
    let descriptors = protox::compile(FILES, [proto()])?;
    let if_any = "#[serde(skip_serializing_if = \"Option::is_none\")]";
    let all = tonic_prost_build::configure()
        .out_dir(out)
        .build_server(false)
        .type_attribute(".tradewind", "#[derive(serde::Serialize)]");
    let with_words = SERIALIZED_BY.iter().fold(all, |all, (field, by)| {
        all.field_attribute(
            field,
            format!("#[serde(serialize_with = \"crate::serialize::{by}\")]"),
        )
    });
    with_words
        .field_attribute("PurgeSelector.of", "#[serde(flatten)]")
        .type_attribute("PurgeSelector.of", "#[serde(rename_all = \"snake_case\")]")
        .field_attribute("DecideResponse.place", if_any)
        .field_attribute("Candidate.expected_ms", if_any)
        .field_attribute("ClientPlace.cell_center", if_any)
        .field_attribute("SiteScore.distance_km", if_any)
        .field_attribute("SiteScore.network_ms", if_any)
        .field_attribute("RolloutStatus.rollout", if_any)
        .field_attribute("RolloutStatus.last", if_any)
        .field_attribute("AdminOverride.target", "#[serde(flatten)]")
        .type_attribute(
            "AdminOverride.target",
            "#[serde(rename_all = \"snake_case\")]",
        )
        .boxed(".tradewind.v1.Followed.part.state")
        .btree_map(".tradewind")
        .compile_fds(descriptors)?;
    manual::Builder::new()
        .out_dir(out)
        .build_client(false)
        .compile(&[
            decision_service(),
            feedback_service(),
            telemetry_service(),
            topology_service(),
            policy_service(),
            rollout_service(),
            purge_service(),
            fleet_service(),
            admin_service(),
        ]);
    Ok(())
}

/// Messages, clients and servers of Envoy's services, in modules named after its packages.
///
/// What cannot be read is the caller's mistake there too, so they have the same codec.
fn envoy_services(out: &Path) -> Result<(), Box<dyn Error>> {
    tonic_prost_build::configure()
        .out_dir(out)
        .codec_path(MESSAGE_CODEC)
        .include_file("envoy.rs")
        .btree_map(".")
        .compile_fds(protox::compile(ENVOY_FILES, [proto()])?)?;
    Ok(())
}

/// The decision service as the server implements it.
fn decision_service() -> manual::Service {
    let method = |name: &str, route: &str| {
        manual::Method::builder()
            .name(name)
            .route_name(route)
            .input_type("crate::proto::DecideRequest")
    };
    let batch = "crate::proto::DecideBatchRequest";
    manual::Service::builder()
        .name("DecisionService")
        .package("tradewind.v1")
        .comment("Which cache node for this client and this object, and which next if it fails?")
        .method(
            method("decide", "Decide")
                .output_type(ANSWER)
                .codec_path(ANSWER_CODEC)
                .build(),
        )
        .method(
            method("decide_batch", "DecideBatch")
                .input_type(batch)
                .output_type(ANSWER)
                .codec_path(ANSWER_CODEC)
                .build(),
        )
        .method(
            method("decide_stream", "DecideStream")
                .output_type(ANSWER)
                .codec_path(ANSWER_CODEC)
                .client_streaming()
                .server_streaming()
                .build(),
        )
        .method(
            method("explain", "Explain")
                .input_type("crate::proto::ExplainRequest")
                .output_type("crate::proto::ExplainResponse")
                .codec_path(MESSAGE_CODEC)
                .build(),
        )
        .method(
            manual::Method::builder()
                .name("follow")
                .route_name("Follow")
                .input_type("crate::proto::FollowRequest")
                .output_type("crate::proto::Followed")
                .codec_path(MESSAGE_CODEC)
                .server_streaming()
                .build(),
        )
        .build()
}

/// A method that takes messages of type `told`, readable or not, and answers once.
fn telling(name: &str, route: &str, told: &str) -> manual::MethodBuilder {
    manual::Method::builder()
        .name(name)
        .route_name(route)
        .input_type(format!("crate::received::Received<crate::proto::{told}>"))
        .output_type("crate::proto::ReportResponse")
        .codec_path(TOLD_CODEC)
}

/// The feedback service as the server implements it.
fn feedback_service() -> manual::Service {
    manual::Service::builder()
        .name("FeedbackService")
        .package("tradewind.v1")
        .comment("How attempts at nodes went, told by proxies.")
        .method(
            telling("report", "Report", "ReportRequest")
                .client_streaming()
                .build(),
        )
        .method(telling("report_unary", "ReportUnary", "ReportRequest").build())
        .build()
}

/// The telemetry service as the server implements it.
fn telemetry_service() -> manual::Service {
    let histograms = "ReportHistogramsRequest";
    manual::Service::builder()
        .name("TelemetryService")
        .package("tradewind.v1")
        .comment("What nodes say of themselves.")
        .method(
            telling("report_load", "ReportLoad", "LoadReport")
                .client_streaming()
                .build(),
        )
        .method(telling("report_histograms", "ReportHistograms", histograms).build())
        .build()
}

/// A method of the admin door: a message in, a message out, and what cannot be read is the caller's mistake.
fn asking(name: &str, route: &str, (asked, answer): (&str, &str)) -> manual::MethodBuilder {
    manual::Method::builder()
        .name(name)
        .route_name(route)
        .input_type(format!("crate::proto::{asked}"))
        .output_type(format!("crate::proto::{answer}"))
        .codec_path(MESSAGE_CODEC)
}

/// The topology service as the server implements it.
fn topology_service() -> manual::Service {
    let apply = ("ApplyTopologyRequest", "ApplyTopologyResponse");
    let get = ("GetTopologyRequest", "GetTopologyResponse");
    let watch = ("WatchTopologyRequest", "TopologyEvent");
    let set = ("SetAdminStateRequest", "SetAdminStateResponse");
    manual::Service::builder()
        .name("TopologyService")
        .package("tradewind.v1")
        .comment("The fleet at run time.")
        .method(asking("apply", "Apply", apply).build())
        .method(asking("get", "Get", get).build())
        .method(asking("watch", "Watch", watch).server_streaming().build())
        .method(asking("set_admin_state", "SetAdminState", set).build())
        .build()
}

/// The policy service as the server implements it.
fn policy_service() -> manual::Service {
    let validate = ("ValidatePolicyRequest", "ValidatePolicyResponse");
    let test = ("TestPolicyRequest", "TestPolicyResponse");
    let plan = ("PlanPolicyRequest", "PlanPolicyResponse");
    let apply = ("ApplyPolicyRequest", "ApplyPolicyResponse");
    let get = ("GetPolicyRequest", "GetPolicyResponse");
    let list = ("ListRevisionsRequest", "ListRevisionsResponse");
    let rollback = ("RollbackPolicyRequest", "ApplyPolicyResponse");
    let watch = ("WatchStatusRequest", "PolicyStatus");
    let watch = asking("watch_status", "WatchStatus", watch);
    manual::Service::builder()
        .name("PolicyService")
        .package("tradewind.v1")
        .comment("What requests are routed by, at run time.")
        .method(asking("validate", "Validate", validate).build())
        .method(asking("test", "Test", test).build())
        .method(asking("plan", "Plan", plan).build())
        .method(asking("apply", "Apply", apply).build())
        .method(asking("get", "Get", get).build())
        .method(asking("list_revisions", "ListRevisions", list).build())
        .method(asking("rollback", "Rollback", rollback).build())
        .method(watch.server_streaming().build())
        .build()
}

/// The rollout service as the server implements it.
fn rollout_service() -> manual::Service {
    let start = ("StartRolloutRequest", "RolloutResponse");
    let order = ("OrderRolloutRequest", "RolloutResponse");
    let watch = asking("watch", "Watch", ("WatchRolloutRequest", "RolloutStatus"));
    manual::Service::builder()
        .name("RolloutService")
        .package("tradewind.v1")
        .comment("New policies tried on part of the requests.")
        .method(asking("start", "Start", start).build())
        .method(asking("order", "Order", order).build())
        .method(watch.server_streaming().build())
        .build()
}

/// The purge service as the server implements it.
fn purge_service() -> manual::Service {
    let submit = ("SubmitPurgeRequest", "SubmitPurgeResponse");
    let watch = asking("watch", "Watch", ("WatchPurgesRequest", "Purged"));
    let ack = ("AckPurgesRequest", "AckPurgesResponse");
    let status = ("PurgeStatusRequest", "PurgeStatus");
    manual::Service::builder()
        .name("PurgeService")
        .package("tradewind.v1")
        .comment("What caches hold is not to be served any more.")
        .method(asking("submit", "Submit", submit).build())
        .method(watch.server_streaming().build())
        .method(asking("ack", "Ack", ack).build())
        .method(asking("status", "Status", status).build())
        .build()
}

/// The service that says how the sidecars of a fleet are.
fn fleet_service() -> manual::Service {
    manual::Service::builder()
        .name("FleetService")
        .package("tradewind.v1")
        .comment("How the sidecars of a fleet are.")
        .method(asking("roll", "Roll", ("RollRequest", "Roll")).build())
        .build()
}

/// The admin service as the server implements it.
fn admin_service() -> manual::Service {
    let reset = ("ResetBreakerRequest", "ResetBreakerResponse");
    let set = ("SetLogFilterRequest", "SetLogFilterResponse");
    let get = ("GetLogFilterRequest", "GetLogFilterResponse");
    manual::Service::builder()
        .name("AdminService")
        .package("tradewind.v1")
        .comment("What operators do to a running sidecar.")
        .method(asking("reset_breaker", "ResetBreaker", reset).build())
        .method(asking("set_log_filter", "SetLogFilter", set).build())
        .method(asking("get_log_filter", "GetLogFilter", get).build())
        .build()
}
