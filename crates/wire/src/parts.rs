//! Parts of a message are counted before the message is decoded.
//!
//! An empty part of a message takes two bytes on the wire and hundreds decoded: a batch of 256 KiB once came to 100 MB before
//! anybody could say that it has too many requests. So the bytes are walked first, from tag to tag. What asks and has too many
//! parts of a kind is refused unread; of what tells the parts beyond are left out. Counted are parts that take more than some 60
//! bytes each; strings, numbers and maps of them stay below a hundred times what was sent without.

use std::borrow::Cow;

use prost::Message;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use crate::proto;
use tradewind_engine::freshness::purge::MAX_SELECTORS;

/// Most requests in one batch.
pub const MAX_BATCH: usize = 128;

/// Most outcomes in one report.
pub const MAX_OUTCOMES: usize = 1_024;

/// Most histograms in one message.
pub const MAX_HISTOGRAMS: usize = 32;

/// Most entries of an access log in one message. Envoy sends 16 KiB at a time unless it is told otherwise, some fifty entries.
pub const MAX_LOG_ENTRIES: usize = 4_096;

/// Most headers, and most trailers, of one request or answer.
pub const MAX_HEADERS: usize = 4_096;

/// Most values in metadata or attributes, at all depths together.
pub const MAX_VALUES: usize = 4_096;

/// Most clusters in one report of load, and most localities in it.
pub const MAX_CLUSTERS: usize = 1_024;

/// Most endpoints in one report of load.
pub const MAX_ENDPOINTS: usize = 16_384;

/// Most stages of a rollout.
pub const MAX_STAGES: usize = 64;

/// How deep messages may be nested, as prost has it: what is deeper is refused when it is decoded.
const MAX_DEPTH: usize = 100;

/// A kind of parts of which a message may have only so many.
#[derive(Debug, Clone, Copy)]
pub struct Part {
    /// What they are called.
    name: &'static str,
    /// Tags of the fields that lead to them.
    path: &'static [u32],
    most: usize,
    /// Whether these are `google.protobuf.Struct`s of which the values inside are meant.
    of_structs: bool,
}

const fn part(name: &'static str, path: &'static [u32], most: usize) -> Part {
    Part {
        name,
        path,
        most,
        of_structs: false,
    }
}

/// A message that is taken from outside.
pub trait Bounded: Message + Default + Send + 'static {
    /// Its parts that are counted.
    const PARTS: &'static [Part];
}

/// There are too many parts in a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name}: {given} given, at most {most} are allowed")]
pub struct TooMany {
    /// What they are called.
    pub name: &'static str,
    /// How many there are.
    pub given: usize,
    /// How many there may be.
    pub most: usize,
}

/// Whether an encoded message has no more parts than it may have. What cannot be read is counted as far as it can be.
pub fn within<M: Bounded>(message: &[u8]) -> Result<(), TooMany> {
    for part in M::PARTS {
        let given = count(message, part.path, part.of_structs);
        if given > part.most {
            return Err(TooMany {
                name: part.name,
                given,
                most: part.most,
            });
        }
    }
    Ok(())
}

/// The message without the parts beyond those it may have, and how many these are. Only parts that its own fields are, not those
/// further in.
pub fn cut<M: Bounded>(message: &[u8]) -> (Cow<'_, [u8]>, usize) {
    let (mut kept, mut beyond) = (Cow::Borrowed(message), 0);
    for part in M::PARTS {
        let [tag] = part.path else { continue };
        let given = count(&kept, part.path, part.of_structs);
        if given > part.most {
            kept = Cow::Owned(with_first(part.most, *tag, &kept));
            beyond += given - part.most;
        }
    }
    (kept, beyond)
}

/// The message with the first so many fields of this tag.
fn with_first(most: usize, tag: u32, message: &[u8]) -> Vec<u8> {
    let mut kept = Vec::new();
    let mut seen = 0;
    let mut fields = Fields(message);
    loop {
        let before = fields.0;
        let Some((number, _)) = fields.next() else {
            // Nothing, or what cannot be read: whoever decodes says so.
            kept.extend_from_slice(before);
            return kept;
        };
        let field = before.len() - fields.0.len();
        seen += usize::from(number == tag);
        if number != tag || seen <= most {
            kept.extend_from_slice(before.get(..field).unwrap_or_default());
        }
    }
}

fn count(message: &[u8], path: &[u32], of_structs: bool) -> usize {
    let Some((tag, rest)) = path.split_first() else {
        return if of_structs {
            of_struct(message, MAX_DEPTH)
        } else {
            1
        };
    };
    let parts = Fields(message).filter(|(number, _)| number == tag);
    parts.map(|(_, part)| count(part, rest, of_structs)).sum()
}

/// Values in a `google.protobuf.Struct`: its fields (1) are entries with a value (2).
fn of_struct(message: &[u8], depth: usize) -> usize {
    let entries = Fields(message).filter(|(number, _)| *number == 1);
    let within = entries.map(|(_, entry)| {
        let values = Fields(entry).filter(|(number, _)| *number == 2);
        1 + values
            .map(|(_, value)| of_value(value, depth))
            .sum::<usize>()
    });
    within.sum()
}

/// Values in a `google.protobuf.Value`: a struct (5), or a list (6) of values (1).
fn of_value(message: &[u8], depth: usize) -> usize {
    let Some(depth) = depth.checked_sub(1) else {
        return 0;
    };
    let within = Fields(message).map(|(number, inner)| match number {
        5 => of_struct(inner, depth),
        6 => {
            let values = Fields(inner).filter(|(number, _)| *number == 1);
            values.map(|(_, value)| 1 + of_value(value, depth)).sum()
        }
        _ => 0,
    });
    within.sum()
}

/// The fields of a message with their tags, as far as it can be read; of numbers, which are no parts, without their bytes. Prost's own
/// functions tell them apart, so that what it finds is what was counted.
struct Fields<'m>(&'m [u8]);

impl<'m> Iterator for Fields<'m> {
    type Item = (u32, &'m [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let mut rest = self.0;
        let (tag, wire_type) = decode_key(&mut rest).ok()?;
        let inner = if wire_type == WireType::LengthDelimited {
            let length = usize::try_from(decode_varint(&mut rest).ok()?).ok()?;
            let (inner, after) = rest.split_at_checked(length)?;
            rest = after;
            inner
        } else {
            skip_field(wire_type, tag, &mut rest, DecodeContext::default()).ok()?;
            &[]
        };
        self.0 = rest;
        Some((tag, inner))
    }
}

/// Says which parts of messages are counted. A message that a service takes and that stands nowhere here does not compile.
macro_rules! bounded {
    ($($message:ty: [$($part:expr),*];)*) => {
        $(impl Bounded for $message {
            const PARTS: &'static [Part] = &[$($part),*];
        })*
    };
}

bounded! {
    proto::DecideRequest: [];
    proto::DecideBatchRequest: [part("requests", &[1], MAX_BATCH)];
    proto::ExplainRequest: [];
    proto::FollowRequest: [];
    proto::ReportRequest: [part("outcomes", &[1], MAX_OUTCOMES)];
    proto::LoadReport: [];
    proto::ReportHistogramsRequest: [part("histograms", &[1], MAX_HISTOGRAMS)];

    proto::ResetBreakerRequest: [];
    proto::SetLogFilterRequest: [];
    proto::GetLogFilterRequest: [];
    proto::ValidatePolicyRequest: [];
    proto::TestPolicyRequest: [];
    proto::PlanPolicyRequest: [];
    proto::ApplyPolicyRequest: [];
    proto::GetPolicyRequest: [];
    proto::ListRevisionsRequest: [];
    proto::RollbackPolicyRequest: [];
    proto::WatchStatusRequest: [];
    proto::StartRolloutRequest: [part("stages", &[4], MAX_STAGES)];
    proto::OrderRolloutRequest: [];
    proto::WatchRolloutRequest: [];
    proto::ApplyTopologyRequest: [];
    proto::GetTopologyRequest: [];
    proto::WatchTopologyRequest: [];
    proto::SetAdminStateRequest: [];
    proto::SubmitPurgeRequest: [part("selectors", &[3], MAX_SELECTORS)];
    proto::WatchPurgesRequest: [];
    proto::AckPurgesRequest: [];
    proto::PurgeStatusRequest: [];
    proto::RollRequest: [];
}

#[cfg(feature = "server")]
mod of_envoy {
    use super::{
        Bounded, MAX_CLUSTERS, MAX_ENDPOINTS, MAX_HEADERS, MAX_LOG_ENTRIES, MAX_VALUES, Part, part,
    };
    use crate::envoy::envoy::service::accesslog::v3::{
        StreamAccessLogsMessage, StreamAccessLogsResponse,
    };
    use crate::envoy::envoy::service::auth::v3::{CheckRequest, CheckResponse};
    use crate::envoy::envoy::service::discovery::v3::{
        DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
    };
    use crate::envoy::envoy::service::ext_proc::v3::{ProcessingRequest, ProcessingResponse};
    use crate::envoy::envoy::service::load_stats::v3::{LoadStatsRequest, LoadStatsResponse};

    const fn values(name: &'static str, path: &'static [u32]) -> Part {
        Part {
            name,
            path,
            most: MAX_VALUES,
            of_structs: true,
        }
    }

    bounded! {
        CheckRequest: [part("headers", &[1, 4, 2, 13, 1], MAX_HEADERS)];
        ProcessingRequest: [
            part("request headers", &[2, 1, 1], MAX_HEADERS),
            part("response headers", &[3, 1, 1], MAX_HEADERS),
            part("request trailers", &[6, 1, 1], MAX_HEADERS),
            part("response trailers", &[7, 1, 1], MAX_HEADERS),
            part("namespaces of metadata", &[8, 1], MAX_VALUES),
            values("values of metadata", &[8, 1, 2]),
            part("namespaces of attributes", &[9], MAX_VALUES),
            values("values of attributes", &[9, 2])
        ];
        StreamAccessLogsMessage: [
            part("entries", &[2, 1], MAX_LOG_ENTRIES),
            values("values of the node's metadata", &[1, 1, 3])
        ];
        LoadStatsRequest: [
            part("clusters", &[2], MAX_CLUSTERS),
            part("localities", &[2, 2], MAX_CLUSTERS),
            part("endpoints", &[2, 2, 7], MAX_ENDPOINTS),
            values("values of the node's metadata", &[1, 3])
        ];
        DiscoveryRequest: [values("values of the node's metadata", &[2, 3])];
        DeltaDiscoveryRequest: [values("values of the node's metadata", &[1, 3])];

        // Answers, which tests read as Envoy does.
        StreamAccessLogsResponse: [];
        CheckResponse: [];
        ProcessingResponse: [];
        LoadStatsResponse: [];
        DiscoveryResponse: [];
        DeltaDiscoveryResponse: [];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(requests: usize) -> Vec<u8> {
        let requests = vec![proto::DecideRequest::default(); requests];
        proto::DecideBatchRequest { requests }.encode_to_vec()
    }

    fn report(outcomes: usize) -> proto::ReportRequest {
        let outcome = |n: usize| proto::Outcome {
            node: n.to_string(),
            ..proto::Outcome::default()
        };
        proto::ReportRequest {
            outcomes: (0..outcomes).map(outcome).collect(),
            reporter: "edge-1".to_owned(),
        }
    }

    #[test]
    fn a_batch_of_too_many_is_refused_in_words() {
        assert_eq!(within::<proto::DecideBatchRequest>(&batch(128)), Ok(()));
        let refused = within::<proto::DecideBatchRequest>(&batch(129)).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "requests: 129 given, at most 128 are allowed"
        );
    }

    #[test]
    fn what_tells_keeps_the_first_and_all_else_that_it_says() {
        let whole = report(1_100);
        // Fields in another order are the same message.
        let mut bytes = proto::ReportRequest {
            outcomes: Vec::new(),
            ..whole.clone()
        }
        .encode_to_vec();
        bytes.extend(report(1_100).encode_to_vec());
        let (kept, beyond) = cut::<proto::ReportRequest>(&bytes);
        let kept = proto::ReportRequest::decode(&*kept).unwrap();
        assert_eq!((beyond, kept.reporter.as_str()), (76, "edge-1"));
        assert_eq!(kept.outcomes, whole.outcomes[..1_024]);
        // What is within its bound is not copied.
        let bytes = report(1_024).encode_to_vec();
        let (kept, beyond) = cut::<proto::ReportRequest>(&bytes);
        assert!(matches!(kept, Cow::Borrowed(it) if it == bytes) && beyond == 0);
    }

    #[test]
    fn what_cannot_be_read_stays_unreadable() {
        let mut bytes = report(1_100).encode_to_vec();
        // A field that claims more than there is, behind all that is well.
        bytes.extend([0x0a, 0x7f]);
        let (kept, beyond) = cut::<proto::ReportRequest>(&bytes);
        assert_eq!(beyond, 76);
        proto::ReportRequest::decode(&*kept).unwrap_err();
        for length in 0..200 {
            let bytes = batch(100);
            within::<proto::DecideBatchRequest>(bytes.get(..length).unwrap()).unwrap();
        }
    }

    #[test]
    fn unknown_numbers_and_groups_are_passed_over() {
        // Fields 9 of every kind, the last of them a group that has what would be a request.
        let mut bytes = vec![0x48, 0x05, 0x49];
        bytes.extend([0; 8]);
        bytes.push(0x4d);
        bytes.extend([0; 4]);
        bytes.extend([0x4b, 0x0a, 0x00, 0x4c]);
        bytes.extend(batch(2));
        assert_eq!(count(&bytes, &[1], false), 2);
        let read = proto::DecideBatchRequest::decode(&*bytes).unwrap();
        assert_eq!(read.requests.len(), 2);
    }

    #[test]
    fn values_are_counted_at_all_depths_and_deep_ones_end_it() {
        use prost_types::value::Kind;
        use prost_types::{ListValue, Struct, Value};
        let value = |kind| Value { kind: Some(kind) };
        let leaf = || value(Kind::BoolValue(true));
        let inner = Struct {
            fields: [("a".to_owned(), leaf()), ("b".to_owned(), leaf())].into(),
        };
        let list = ListValue {
            values: vec![value(Kind::StructValue(inner)), leaf()],
        };
        let outer = Struct {
            fields: [("c".to_owned(), value(Kind::ListValue(list)))].into(),
        };
        // The list, the two in it, and the two in the first of these.
        assert_eq!(of_struct(&outer.encode_to_vec(), MAX_DEPTH), 5);
        let mut deep = Struct::default();
        for _ in 0..10_000 {
            let nested = std::mem::take(&mut deep);
            deep.fields
                .insert(String::new(), value(Kind::StructValue(nested)));
            if deep.encoded_len() > 1_000 {
                break;
            }
        }
        let bytes = deep.encode_to_vec();
        assert!(of_struct(&bytes, 10) <= 11);
    }
}
