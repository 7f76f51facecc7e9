//! No message of a call makes the sidecar hold more than a hundred times its size: the worst of each kind, at the bound of its
//! method, is read as the services read it, and counted.

#![expect(
    clippy::unwrap_used,
    reason = "what tests share may fail like the test itself"
)]

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;
use prost::encoding::{encode_key, encode_varint};
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FileDescriptorSet, MethodDescriptorProto};
use tradewind::sidecar::doors::admin::{MAX_ADMIN_BYTES, MAX_APPLY_BYTES, MAX_PURGE_BYTES};
use tradewind::sidecar::doors::envoy::{MAX_ASKED_BYTES, MAX_TOLD_BYTES};
use tradewind::sidecar::doors::grpc::{MAX_BATCH_BYTES, MAX_QUERY_BYTES};
use tradewind::sidecar::intake::feedback::MAX_REPORT_BYTES;
use tradewind_wire::envoy::envoy::service as envoy;
use tradewind_wire::parts::{self, Bounded};
use tradewind_wire::received::Received;
use tradewind_wire::{DESCRIPTORS, proto};

use crate::measuring::measured;

/// How many times its size a message may take, as Envoy's threat model has it.
const MOST_TIMES: usize = 100;

/// Documents may be larger than is quick to try.
const TRIED_BYTES: usize = 256 << 10;

/// A message that a method takes: its full name, the method's bound in bytes, and how it is read; whether it was.
type Taken = (&'static str, usize, fn(&[u8]) -> bool);

/// Refused unread where it has too many parts.
fn asked<M: Bounded>(bytes: &[u8]) -> bool {
    parts::within::<M>(bytes).is_ok() && M::decode(bytes).is_ok()
}

/// Without the parts beyond.
fn told<M: Bounded>(bytes: &[u8]) -> bool {
    Received::<M>::read(bytes).message.is_ok()
}

const TAKEN: &[Taken] = &[
    (
        ".tradewind.v1.DecideRequest",
        MAX_QUERY_BYTES,
        asked::<proto::DecideRequest>,
    ),
    (
        ".tradewind.v1.DecideBatchRequest",
        MAX_BATCH_BYTES,
        asked::<proto::DecideBatchRequest>,
    ),
    (
        ".tradewind.v1.ExplainRequest",
        MAX_QUERY_BYTES,
        asked::<proto::ExplainRequest>,
    ),
    (
        ".tradewind.v1.FollowRequest",
        MAX_QUERY_BYTES,
        asked::<proto::FollowRequest>,
    ),
    (
        ".tradewind.v1.ReportRequest",
        MAX_REPORT_BYTES,
        told::<proto::ReportRequest>,
    ),
    (
        ".tradewind.v1.LoadReport",
        MAX_REPORT_BYTES,
        told::<proto::LoadReport>,
    ),
    (
        ".tradewind.v1.ReportHistogramsRequest",
        MAX_REPORT_BYTES,
        told::<proto::ReportHistogramsRequest>,
    ),
    (
        ".tradewind.v1.ResetBreakerRequest",
        MAX_ADMIN_BYTES,
        asked::<proto::ResetBreakerRequest>,
    ),
    (
        ".tradewind.v1.SetLogFilterRequest",
        MAX_ADMIN_BYTES,
        asked::<proto::SetLogFilterRequest>,
    ),
    (
        ".tradewind.v1.SubmitPurgeRequest",
        MAX_PURGE_BYTES,
        asked::<proto::SubmitPurgeRequest>,
    ),
    (
        ".tradewind.v1.WatchPurgesRequest",
        MAX_PURGE_BYTES,
        asked::<proto::WatchPurgesRequest>,
    ),
    (
        ".tradewind.v1.AckPurgesRequest",
        MAX_PURGE_BYTES,
        asked::<proto::AckPurgesRequest>,
    ),
    (
        ".tradewind.v1.PurgeStatusRequest",
        MAX_PURGE_BYTES,
        asked::<proto::PurgeStatusRequest>,
    ),
    (
        ".tradewind.v1.RollRequest",
        MAX_ADMIN_BYTES,
        asked::<proto::RollRequest>,
    ),
    (
        ".tradewind.v1.GetLogFilterRequest",
        MAX_ADMIN_BYTES,
        asked::<proto::GetLogFilterRequest>,
    ),
    (
        ".tradewind.v1.ValidatePolicyRequest",
        MAX_APPLY_BYTES,
        asked::<proto::ValidatePolicyRequest>,
    ),
    (
        ".tradewind.v1.TestPolicyRequest",
        MAX_APPLY_BYTES,
        asked::<proto::TestPolicyRequest>,
    ),
    (
        ".tradewind.v1.PlanPolicyRequest",
        MAX_APPLY_BYTES,
        asked::<proto::PlanPolicyRequest>,
    ),
    (
        ".tradewind.v1.ApplyPolicyRequest",
        MAX_APPLY_BYTES,
        asked::<proto::ApplyPolicyRequest>,
    ),
    (
        ".tradewind.v1.GetPolicyRequest",
        MAX_ADMIN_BYTES,
        asked::<proto::GetPolicyRequest>,
    ),
    (
        ".tradewind.v1.ListRevisionsRequest",
        MAX_ADMIN_BYTES,
        asked::<proto::ListRevisionsRequest>,
    ),
    (
        ".tradewind.v1.RollbackPolicyRequest",
        MAX_ADMIN_BYTES,
        asked::<proto::RollbackPolicyRequest>,
    ),
    (
        ".tradewind.v1.WatchStatusRequest",
        MAX_ADMIN_BYTES,
        asked::<proto::WatchStatusRequest>,
    ),
    (
        ".tradewind.v1.StartRolloutRequest",
        MAX_APPLY_BYTES,
        asked::<proto::StartRolloutRequest>,
    ),
    (
        ".tradewind.v1.OrderRolloutRequest",
        MAX_ADMIN_BYTES,
        asked::<proto::OrderRolloutRequest>,
    ),
    (
        ".tradewind.v1.WatchRolloutRequest",
        MAX_ADMIN_BYTES,
        asked::<proto::WatchRolloutRequest>,
    ),
    (
        ".tradewind.v1.ApplyTopologyRequest",
        MAX_APPLY_BYTES,
        asked::<proto::ApplyTopologyRequest>,
    ),
    (
        ".tradewind.v1.GetTopologyRequest",
        MAX_ADMIN_BYTES,
        asked::<proto::GetTopologyRequest>,
    ),
    (
        ".tradewind.v1.WatchTopologyRequest",
        MAX_ADMIN_BYTES,
        asked::<proto::WatchTopologyRequest>,
    ),
    (
        ".tradewind.v1.SetAdminStateRequest",
        MAX_ADMIN_BYTES,
        asked::<proto::SetAdminStateRequest>,
    ),
    (
        ".envoy.service.auth.v3.CheckRequest",
        MAX_ASKED_BYTES,
        asked::<envoy::auth::v3::CheckRequest>,
    ),
    (
        ".envoy.service.ext_proc.v3.ProcessingRequest",
        MAX_ASKED_BYTES,
        asked::<envoy::ext_proc::v3::ProcessingRequest>,
    ),
    (
        ".envoy.service.accesslog.v3.StreamAccessLogsMessage",
        MAX_TOLD_BYTES,
        asked::<envoy::accesslog::v3::StreamAccessLogsMessage>,
    ),
    (
        ".envoy.service.load_stats.v3.LoadStatsRequest",
        MAX_TOLD_BYTES,
        asked::<envoy::load_stats::v3::LoadStatsRequest>,
    ),
    (
        ".envoy.service.discovery.v3.DiscoveryRequest",
        MAX_TOLD_BYTES,
        asked::<envoy::discovery::v3::DiscoveryRequest>,
    ),
    (
        ".envoy.service.discovery.v3.DeltaDiscoveryRequest",
        MAX_TOLD_BYTES,
        asked::<envoy::discovery::v3::DeltaDiscoveryRequest>,
    ),
];

/// A field that is a message.
#[derive(Debug, Clone)]
struct Field {
    tag: u32,
    of: String,
    is_repeated: bool,
}

fn files() -> FileDescriptorSet {
    FileDescriptorSet::decode(DESCRIPTORS).unwrap()
}

/// Every message by its full name, with those of its fields that can be repeated or are messages.
fn messages() -> BTreeMap<String, Vec<Field>> {
    fn add(all: &mut BTreeMap<String, Vec<Field>>, within: &str, message: &DescriptorProto) {
        let name = format!("{within}.{}", message.name());
        for inner in &message.nested_type {
            add(all, &name, inner);
        }
        let fields = message.field.iter().map(|field| Field {
            tag: u32::try_from(field.number()).unwrap(),
            of: if field.r#type() == Type::Message {
                field.type_name().to_owned()
            } else {
                String::new()
            },
            is_repeated: field.label() == Label::Repeated,
        });
        let fields = fields.filter(|field| field.is_repeated || !field.of.is_empty());
        all.insert(name, fields.collect());
    }
    let mut all = BTreeMap::new();
    for file in &files().file {
        for message in &file.message_type {
            add(&mut all, &format!(".{}", file.package()), message);
        }
    }
    all
}

/// Ways from a message down to a field that can be repeated.
fn ways(
    messages: &BTreeMap<String, Vec<Field>>,
    name: &str,
    way: &mut Vec<Field>,
    found: &mut Vec<Vec<Field>>,
) {
    for field in messages.get(name).map(Vec::as_slice).unwrap_or_default() {
        // Values within values: twice is enough to see what comes of it.
        let again = way.iter().filter(|above| above.of == field.of);
        if way.len() >= 10 || (!field.of.is_empty() && again.count() >= 2) {
            continue;
        }
        way.push(field.clone());
        if field.is_repeated {
            found.push(way.clone());
        }
        ways(messages, &field.of, way, found);
        way.pop();
    }
}

/// A field with these bytes.
fn field(tag: u32, content: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_key(tag, prost::encoding::WireType::LengthDelimited, &mut bytes);
    encode_varint(content.len() as u64, &mut bytes);
    bytes.extend_from_slice(content);
    bytes
}

/// A message of about so many bytes that goes down a way and has its field at one step as often as that takes.
fn filled(way: &[Field], repeated: usize, bytes: usize) -> Vec<u8> {
    let inside = way.get(repeated..).unwrap();
    let unit = inside
        .iter()
        .rev()
        .fold(Vec::new(), |content, step| field(step.tag, &content));
    let above = way.get(..repeated).unwrap();
    // Lengths of those above take a few bytes each.
    let times = bytes.saturating_sub(6 * above.len()) / unit.len();
    let units = unit.repeat(times);
    above
        .iter()
        .rev()
        .fold(units, |content, step| field(step.tag, &content))
}

#[test]
fn every_message_of_every_method_is_looked_at() {
    let files = files();
    let services = files.file.iter().flat_map(|file| &file.service);
    let methods = services.flat_map(|service| &service.method);
    let inputs: BTreeSet<&str> = methods.map(MethodDescriptorProto::input_type).collect();
    let taken: BTreeSet<&str> = TAKEN.iter().map(|(name, ..)| *name).collect();
    assert_eq!(taken, inputs);
}

#[test]
fn no_message_takes_more_than_a_hundred_times_its_size() {
    let messages = messages();
    let mut too_much = Vec::new();
    for (name, most_bytes, read) in TAKEN {
        let mut found = Vec::new();
        ways(&messages, name, &mut Vec::new(), &mut found);
        let bytes = (*most_bytes).min(TRIED_BYTES);
        let mut worst = (0, 0, String::new());
        for way in &found {
            let steps = way.iter().enumerate();
            for (at, _) in steps.filter(|(_, step)| step.is_repeated) {
                let message = filled(way, at, bytes);
                assert!(message.len() <= bytes);
                let (_, used) = measured(|| read(&message));
                let tags: Vec<u32> = way.iter().map(|step| step.tag).collect();
                let what = format!("{tags:?}, the field at {at} as often as it goes");
                if used.bytes > MOST_TIMES * message.len() {
                    too_much.push(format!(
                        "{name} {what}: {} bytes of {}",
                        used.bytes,
                        message.len()
                    ));
                }
                worst = worst.max((used.bytes, message.len(), what));
            }
        }
        let (used, size, what) = worst;
        let times = used.checked_div(size).unwrap_or_default();
        println!(
            "{name}: {} ways, at most {used} bytes of {size} ({times} times): {what}",
            found.len()
        );
    }
    assert!(too_much.is_empty(), "{too_much:#?}");
}

/// What a message with exactly as many parts as it may have takes: beyond a hundred times where it is small, and never much.
#[test]
fn as_many_parts_as_are_taken_come_to_a_few_megabytes() {
    const MOST: usize = 8 << 20;
    // Parts that are counted are no more by then.
    const TRIED: usize = 160 << 10;
    let messages = messages();
    for (name, most_bytes, read) in TAKEN {
        let mut found = Vec::new();
        ways(&messages, name, &mut Vec::new(), &mut found);
        let mut worst = (0, 0);
        for way in &found {
            let steps = way.iter().enumerate();
            for (at, _) in steps.filter(|(_, step)| step.is_repeated) {
                // The largest that is read, to a byte or so. Most parts are not counted, and as many are read as fit.
                let most = (*most_bytes).min(TRIED);
                let is_counted = !read(&filled(way, at, most));
                let (mut taken, mut refused) = if is_counted {
                    (0, most)
                } else {
                    (most, most + 1)
                };
                while taken + 1 < refused {
                    let middle = usize::midpoint(taken, refused);
                    if read(&filled(way, at, middle)) {
                        taken = middle;
                    } else {
                        refused = middle;
                    }
                }
                let message = filled(way, at, taken);
                let (_, used) = measured(|| read(&message));
                worst = worst.max((used.bytes, message.len()));
            }
        }
        let (used, size) = worst;
        println!("{name}: at most {used} bytes of {size}");
        assert!(
            used <= MOST.max(MOST_TIMES * size),
            "{name}: {used} bytes of {size}"
        );
    }
}
