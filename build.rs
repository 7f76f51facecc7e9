//! Generates the gRPC types and services from `proto/`, without a system `protoc`: protox parses the files.
//!
//! The client and the messages are the usual ones. The server is generated with a codec of our own for the three
//! deciding methods, because an answer is encoded straight from the snapshot, and with another for the explaining one,
//! because an unreadable request is the caller's mistake (see `sidecar::wire::answer`).

use std::error::Error;
use std::path::PathBuf;

use prost::Message;
use tonic_prost_build::manual;

const ANSWER: &str = "crate::sidecar::wire::answer::Answer";
const ANSWER_CODEC: &str = "crate::sidecar::wire::answer::AnswerCodec";
const MESSAGE_CODEC: &str = "crate::sidecar::wire::answer::MessageCodec";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(["tradewind/v1/decision.proto"], ["proto"])?;
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
    std::fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    let duration = "#[serde(serialize_with = \"crate::sidecar::wire::serialize_duration\")]";
    let verdict = "#[serde(serialize_with = \"crate::sidecar::wire::serialize_verdict\")]";
    tonic_prost_build::configure()
        .build_server(false)
        .type_attribute(".tradewind", "#[derive(serde::Serialize)]")
        .field_attribute("DecideResponse.ttl", duration)
        .field_attribute("Candidate.attempt_timeout", duration)
        .field_attribute("DecideResponse.verdict", verdict)
        .btree_map(".tradewind")
        .compile_fds(descriptors)?;
    manual::Builder::new()
        .build_client(false)
        .compile(&[decision_service()]);
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
        .build()
}
