//! Generates the gRPC types and services from `proto/`, without a system `protoc`: protox parses the files.
//!
//! The client and the messages are the usual ones. The server is generated with a codec of our own for the three
//! deciding methods, because an answer is encoded straight from the snapshot, and with another for the explaining one,
//! because an unreadable request is the caller's mistake (see `sidecar::wire::answer`). What is reported has a third,
//! because an unreadable message must not end its stream (see `sidecar::wire::told`).
//!
//! And it tells the compiler what the program is built from, for `--version` and `tradewind_build_info`.

use std::env;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use prost::Message;
use tonic_prost_build::manual;

const ANSWER: &str = "crate::sidecar::wire::answer::Answer";
const ANSWER_CODEC: &str = "crate::sidecar::wire::answer::AnswerCodec";
const MESSAGE_CODEC: &str = "crate::sidecar::wire::answer::MessageCodec";
const TOLD_CODEC: &str = "crate::sidecar::wire::told::ToldCodec";

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
const FILES: [&str; 5] = [
    "tradewind/v1/admin.proto",
    "tradewind/v1/decision.proto",
    "tradewind/v1/feedback.proto",
    "tradewind/v1/telemetry.proto",
    "tradewind/v1/topology.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let all = protox::compile(FILES.iter().chain(&ENVOY_FILES), ["proto"])?;
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
    fs::write(out.join("descriptors.bin"), all.encode_to_vec())?;
    own_services()?;
    envoy_services()?;
    tell_origin()
}

/// Commit, target and compiler, as variables of the environment in which the crate is compiled. What is not known is
/// `unknown`.
fn tell_origin() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-env-changed=TRADEWIND_COMMIT");
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").ok_or("cargo sets it")?);
    // The builder's word, then what `cargo package` wrote down, then the repository. Somebody else's repository, in which
    // the sources lie by chance, says nothing of them.
    let variable = |name: &str| env::var_os(name)?.into_string().ok();
    let commit = variable("TRADEWIND_COMMIT")
        .filter(|given| !given.is_empty())
        .or_else(|| commit_of_package(&root))
        .or_else(|| commit_of_repository(&root));
    let target = variable("TARGET");
    let rustc = env::var_os("RUSTC").and_then(|rustc| said(Command::new(rustc).arg("--version")));
    // `rustc 1.95.0 (…)`: the number is enough.
    let rustc = rustc.and_then(|words| words.split(' ').nth(1).map(str::to_owned));
    for (name, value) in [("COMMIT", commit), ("TARGET", target), ("RUSTC", rustc)] {
        // It stands in one line of the output, and in labels of metrics.
        let value = value.unwrap_or_default();
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.+".contains(c);
        let value: String = value.chars().filter(|c| plain(*c)).take(64).collect();
        let value = if value.is_empty() { "unknown" } else { &value };
        println!("cargo:rustc-env=TRADEWIND_BUILT_{name}={value}");
    }
    Ok(())
}

/// What `cargo package` noted of the commit: `{"git": {"sha1": "…"}, …}`.
fn commit_of_package(root: &Path) -> Option<String> {
    let note = root.join(".cargo_vcs_info.json");
    let text = fs::read_to_string(&note).ok()?;
    println!("cargo:rerun-if-changed={}", note.display());
    let after = text.split("\"sha1\"").nth(1)?;
    after.split('"').nth(1).map(str::to_owned)
}

/// The commit that is checked out, if `root` is the top of a repository or worktree.
fn commit_of_repository(root: &Path) -> Option<String> {
    let git = |args: &[&str]| said(Command::new("git").arg("-C").arg(root).args(args));
    let top = PathBuf::from(git(&["rev-parse", "--show-toplevel"])?);
    if top.canonicalize().ok()? != root.canonicalize().ok()? {
        return None;
    }
    // Looked at again when another branch is checked out (HEAD) or the branch moves (its ref); in a worktree these lie
    // in different folders, which git knows. A ref that is packed has no file yet, and a file that is not there would
    // count as changed each time: then its folder is watched.
    let place = |name: &str| git(&["rev-parse", "--git-path", name]).map(|path| root.join(path));
    let watched = [
        place("HEAD"),
        git(&["symbolic-ref", "--quiet", "HEAD"]).and_then(|name| place(&name)),
    ];
    for path in watched.iter().flatten() {
        if let Some(there) = path.ancestors().find(|path| path.exists()) {
            println!("cargo:rerun-if-changed={}", there.display());
        }
    }
    git(&["rev-parse", "--verify", "HEAD"])
}

/// The first line that a program prints, if it ends well.
fn said(command: &mut Command) -> Option<String> {
    let output = command.output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let line = text.lines().next()?.trim().to_owned();
    (output.status.success() && !line.is_empty()).then_some(line)
}

/// Messages, clients and servers of our own services.
fn own_services() -> Result<(), Box<dyn Error>> {
    let descriptors = protox::compile(FILES, ["proto"])?;
    let duration = "#[serde(serialize_with = \"crate::sidecar::wire::serialize_duration\")]";
    let verdict = "#[serde(serialize_with = \"crate::sidecar::wire::serialize_verdict\")]";
    let if_any = "#[serde(skip_serializing_if = \"Option::is_none\")]";
    let admin_state = "#[serde(serialize_with = \"crate::sidecar::wire::serialize_admin_state\")]";
    tonic_prost_build::configure()
        .build_server(false)
        .type_attribute(".tradewind", "#[derive(serde::Serialize)]")
        .field_attribute("DecideResponse.ttl", duration)
        .field_attribute("Candidate.attempt_timeout", duration)
        .field_attribute("DecideResponse.verdict", verdict)
        .field_attribute("DecideResponse.place", if_any)
        .field_attribute("Candidate.expected_ms", if_any)
        .field_attribute("ClientPlace.cell_center", if_any)
        .field_attribute("SiteScore.distance_km", if_any)
        .field_attribute("SiteScore.network_ms", if_any)
        .field_attribute("Outcome.time_to_first_byte", duration)
        .field_attribute("Outcome.total", duration)
        .field_attribute("Outcome.client_round_trip", duration)
        .field_attribute("SetAdminStateRequest.until", duration)
        .field_attribute("SetAdminStateRequest.state", admin_state)
        .field_attribute("SetAdminStateResponse.previous", admin_state)
        .field_attribute("SetAdminStateResponse.effective", admin_state)
        .field_attribute("FleetNode.state", admin_state)
        .field_attribute("AdminOverride.state", admin_state)
        .field_attribute("AdminOverride.target", "#[serde(flatten)]")
        .type_attribute(
            "AdminOverride.target",
            "#[serde(rename_all = \"snake_case\")]",
        )
        .boxed(".tradewind.v1.Followed.part.state")
        .btree_map(".tradewind")
        .compile_fds(descriptors)?;
    manual::Builder::new().build_client(false).compile(&[
        decision_service(),
        feedback_service(),
        telemetry_service(),
        topology_service(),
        admin_service(),
    ]);
    Ok(())
}

/// Messages, clients and servers of Envoy's services, in modules named after its packages.
///
/// What can not be read is the caller's mistake there too, so they have the same codec.
fn envoy_services() -> Result<(), Box<dyn Error>> {
    tonic_prost_build::configure()
        .codec_path(MESSAGE_CODEC)
        .include_file("envoy.rs")
        .btree_map(".")
        .compile_fds(protox::compile(ENVOY_FILES, ["proto"])?)?;
    Ok(())
}

/// The decision service as the server implements it.
fn decision_service() -> manual::Service {
    let method = |name: &str, route: &str| {
        manual::Method::builder()
            .name(name)
            .route_name(route)
            .input_type("crate::sidecar::wire::proto::DecideRequest")
    };
    let batch = "crate::sidecar::wire::proto::DecideBatchRequest";
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
                .input_type("crate::sidecar::wire::proto::ExplainRequest")
                .output_type("crate::sidecar::wire::proto::ExplainResponse")
                .codec_path(MESSAGE_CODEC)
                .build(),
        )
        .method(
            manual::Method::builder()
                .name("follow")
                .route_name("Follow")
                .input_type("crate::sidecar::wire::proto::FollowRequest")
                .output_type("crate::sidecar::wire::proto::Followed")
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
        .input_type(format!(
            "crate::sidecar::wire::told::Told<crate::sidecar::wire::proto::{told}>"
        ))
        .output_type("crate::sidecar::wire::proto::ReportResponse")
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

/// A method of the admin door: a message in, a message out, and what can not be read is the caller's mistake.
fn asking(name: &str, route: &str, (asked, answer): (&str, &str)) -> manual::MethodBuilder {
    manual::Method::builder()
        .name(name)
        .route_name(route)
        .input_type(format!("crate::sidecar::wire::proto::{asked}"))
        .output_type(format!("crate::sidecar::wire::proto::{answer}"))
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

/// The admin service as the server implements it.
fn admin_service() -> manual::Service {
    let reset = ("ResetBreakerRequest", "ResetBreakerResponse");
    manual::Service::builder()
        .name("AdminService")
        .package("tradewind.v1")
        .comment("What operators do to a running sidecar.")
        .method(asking("reset_breaker", "ResetBreaker", reset).build())
        .build()
}
