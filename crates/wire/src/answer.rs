//! An answer, encoded straight from the snapshot.
//!
//! What an answer says of a node (id, address, site, tier) is the same every time, so it is encoded once per topology
//! and copied. The usual way, a message of two dozen strings that are allocated, encoded and freed, costs more than the
//! decision. [`message`] is that usual way, for people's tools, and the oracle of the fast one.

use bytes::{Buf, BufMut};
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint};
use tonic::Status;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic_prost::ProstCodec;

use super::addresses::NodeAddresses;
use super::buffers::buffers;
use super::parts::{self, Bounded};
use super::place::place_message;
use super::proto;
use super::purge;
use tradewind_engine::decision::{Candidate, Decision, Note};
use tradewind_engine::evaluate::{Pick, Shed, Verdict};
use tradewind_engine::freshness::Fresh;
use tradewind_engine::geo::place::Place;
use tradewind_engine::model::NodeIndex;
use tradewind_engine::topology::Topology;

/// A room in memory that most answers fit in, in bytes.
const TYPICAL_BYTES: usize = 512;

/// An encoded `DecideResponse` or `DecideBatchResponse`.
#[derive(Debug, Clone, Default)]
pub struct Answer(Vec<u8>);

/// The note of an answer whose version may be too low, because not all purges may be known.
pub const FRESHNESS_UNKNOWN: &str = "freshness_unknown";

/// What an answer says beyond the decision itself.
#[derive(Debug, Clone, Copy)]
pub struct Envelope<'a> {
    /// As in the request.
    pub request_id: &'a str,
    /// Names the decision.
    pub decision_id: &'a str,
    /// Counts policies and topologies that took effect.
    pub revision: u64,
    /// The policy's digest, shortened.
    pub policy_digest: &'a str,
    /// Lowest version of the object that the caller accepts.
    pub freshness_floor: u64,
    /// What may be served of the object.
    pub fresh: Fresh,
    /// Whether all purges are known that others may have made by now.
    pub is_freshness_known: bool,
    /// What the geo files say of the client's address, where that was asked for.
    pub known_place: Option<Place>,
}

/// The unchanging fields of every node, encoded, and their addresses as text.
#[derive(Debug, Default)]
pub struct EncodedNodes {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    addresses: NodeAddresses,
}

impl EncodedNodes {
    /// Encodes every node of a topology.
    pub fn new(topology: &Topology) -> Self {
        let mut encoded = Self {
            addresses: NodeAddresses::new(topology),
            ..Self::default()
        };
        for (index, node) in topology.indexed_nodes() {
            let site = topology.site(node.site);
            put_text(&mut encoded.bytes, 1, &node.id);
            put_text(&mut encoded.bytes, 2, encoded.addresses.text(index));
            put_text(&mut encoded.bytes, 3, &site.id);
            put_text(&mut encoded.bytes, 4, topology.tier_name(site.tier));
            encoded.ends.push(encoded.bytes.len());
        }
        encoded
    }

    fn get(&self, node: NodeIndex) -> &[u8] {
        let at = node.get();
        let start = at
            .checked_sub(1)
            .and_then(|before| self.ends.get(before).copied())
            .unwrap_or(0);
        self.ends
            .get(at)
            .and_then(|end| self.bytes.get(start..*end))
            .unwrap_or_default()
    }

    /// The addresses of all nodes.
    pub fn addresses(&self) -> &NodeAddresses {
        &self.addresses
    }

    /// Heap memory in bytes.
    pub fn memory_bytes(&self) -> usize {
        self.bytes.len() + size_of_val(self.ends.as_slice()) + self.addresses.memory_bytes()
    }
}

impl Answer {
    /// Encodes one answer.
    pub fn single(decision: &Decision<'_>, envelope: &Envelope<'_>, nodes: &EncodedNodes) -> Self {
        let mut bytes = Vec::with_capacity(TYPICAL_BYTES);
        put(&mut bytes, decision, envelope, nodes);
        Self(bytes)
    }

    /// An answer that only says why the request could not be decided; for streams.
    pub fn error(request_id: &str, error: &str) -> Self {
        let mut bytes = Vec::new();
        put_text(&mut bytes, 1, request_id);
        put_text(&mut bytes, 16, error);
        Self(bytes)
    }

    /// Adds `answer` to a batch.
    pub fn push(&mut self, answer: &Self) {
        put_bytes(&mut self.0, 1, &answer.0);
    }

    /// The encoded message.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Appends one answer, encoded, to `out`.
pub fn put(
    out: &mut Vec<u8>,
    decision: &Decision<'_>,
    envelope: &Envelope<'_>,
    nodes: &EncodedNodes,
) {
    let evaluation = decision.evaluation();
    put_text(out, 1, envelope.request_id);
    put_text(out, 2, envelope.decision_id);
    put_number(out, 3, verdict_number(evaluation.verdict));
    let mut room = [0; DURATION_BYTES];
    let timeout_ms = decision.plan().map_or(0, |plan| plan.attempt_timeout_ms);
    let timeout = duration_in(&mut room, timeout_ms);
    for pick in &evaluation.picks {
        put_candidate(out, pick, nodes.get(pick.node), timeout);
    }
    put_text(out, 5, decision.rule_name());
    put_text(out, 6, evaluation.reason.name());
    put_text(out, 7, decision.purity().name());
    put_text(out, 8, evaluation.rung.name());
    if decision.ttl_ms() > 0 {
        put_bytes(out, 9, duration_in(&mut room, decision.ttl_ms()));
    }
    put_text(out, 10, envelope.policy_digest);
    put_number(out, 11, envelope.revision);
    put_number(out, 12, decision.snapshot().generation());
    put_number(out, 13, envelope.floor());
    put_text(out, 14, decision.cache_hint().name());
    for note in decision.notes() {
        put_text(out, 15, note.name());
    }
    if !envelope.is_freshness_known {
        put_text(out, 15, FRESHNESS_UNKNOWN);
    }
    if let Some(place) = &envelope.known_place {
        put_place(out, place);
    }
    if let Some(shed) = evaluation.shed {
        put_bytes(out, 18, duration_in(&mut room, retry_after_ms(shed)));
    }
    put_number(out, 19, u64::from(max_attempts(decision)));
    put_number(out, 20, envelope.fresh.version);
    put_number(out, 21, not_older_than_unix_ms(&envelope.fresh));
    if let Some(ms) = decision.cache_ttl_ms() {
        put_bytes(out, 22, duration_in(&mut room, ms));
    }
    put_text(out, 23, decision.namespace());
}

impl Envelope<'_> {
    /// Lowest version that may be served.
    fn floor(&self) -> u64 {
        self.freshness_floor.max(self.fresh.version)
    }
}

fn not_older_than_unix_ms(fresh: &Fresh) -> u64 {
    fresh.not_older_than_s * 1_000
}

/// How many of the candidates may be tried; 0 for all.
fn max_attempts(decision: &Decision<'_>) -> u32 {
    decision.max_attempts().map_or(0, u32::from)
}

/// When a caller should come back, in ms.
fn retry_after_ms(shed: Shed) -> u32 {
    u32::from(shed.retry_after_s) * 1_000
}

/// Not worth a way of its own: it is asked for by few.
#[cold]
fn put_place(out: &mut Vec<u8>, place: &Place) {
    put_bytes(out, 17, &place_message(place).encode_to_vec());
}

/// `unchanging` and `timeout` are encoded already.
fn put_candidate(out: &mut Vec<u8>, pick: &Pick, unchanging: &[u8], timeout: &[u8]) {
    let expected_ms = pick.expected_ms.map(f32::to_le_bytes);
    let role = pick.role.name();
    // The message's length comes before it. Keys, and lengths of these short fields, are one byte each.
    let changing =
        expected_ms.map_or(0, |bytes| 1 + bytes.len()) + 2 + timeout.len() + 2 + role.len();
    put_head(out, 4, unchanging.len() + changing);
    out.put_slice(unchanging);
    if let Some(bytes) = expected_ms {
        encode_key(5, WireType::ThirtyTwoBit, out);
        out.put_slice(&bytes);
    }
    put_bytes(out, 6, timeout);
    put_text(out, 7, role);
}

fn verdict_number(verdict: Verdict) -> u64 {
    match verdict {
        Verdict::Route => 1,
        Verdict::Refuse => 2,
        Verdict::Shed => 3,
    }
}

fn put_number(out: &mut impl BufMut, tag: u32, value: u64) {
    if value != 0 {
        encode_key(tag, WireType::Varint, out);
        encode_varint(value, out);
    }
}

#[inline]
fn put_text(out: &mut impl BufMut, tag: u32, text: &str) {
    if !text.is_empty() {
        put_bytes(out, tag, text.as_bytes());
    }
}

#[inline]
fn put_bytes(out: &mut impl BufMut, tag: u32, bytes: &[u8]) {
    put_head(out, tag, bytes.len());
    out.put_slice(bytes);
}

/// The key and the length of a field. Nearly all are a byte each, which is a quarter of the work of the general way.
#[inline]
fn put_head(out: &mut impl BufMut, tag: u32, length: usize) {
    let key = tag << 3 | WireType::LengthDelimited as u32;
    if let (Ok(key @ ..0x80), Ok(length @ ..0x80)) = (u8::try_from(key), u8::try_from(length)) {
        out.put_slice(&[key, length]);
    } else {
        encode_key(tag, WireType::LengthDelimited, out);
        encode_varint(length as u64, out);
    }
}

/// Most bytes of an encoded duration: two keys and two numbers below 2^32.
const DURATION_BYTES: usize = 12;

/// The fields of a duration, encoded into `room`.
fn duration_in(room: &mut [u8; DURATION_BYTES], ms: u32) -> &[u8] {
    let mut rest = room.as_mut_slice();
    put_number(&mut rest, 1, u64::from(ms / 1_000));
    put_number(&mut rest, 2, u64::from(ms % 1_000) * 1_000_000);
    let used = DURATION_BYTES - rest.len();
    room.get(..used).unwrap_or_default()
}

/// The same answer as a message.
pub fn message(decision: &Decision<'_>, envelope: &Envelope<'_>) -> proto::DecideResponse {
    let evaluation = decision.evaluation();
    let verdict = match evaluation.verdict {
        Verdict::Route => proto::Verdict::Route,
        Verdict::Refuse => proto::Verdict::Refuse,
        Verdict::Shed => proto::Verdict::Shed,
    };
    proto::DecideResponse {
        request_id: envelope.request_id.to_owned(),
        decision_id: envelope.decision_id.to_owned(),
        verdict: verdict.into(),
        candidates: decision
            .candidates()
            .map(|candidate| candidate_message(&candidate))
            .collect(),
        rule: decision.rule_name().to_owned(),
        reason: evaluation.reason.name().to_owned(),
        purity: decision.purity().name().to_owned(),
        rung: evaluation.rung.name().to_owned(),
        ttl: Some(decision.ttl_ms()).filter(|ms| *ms > 0).map(duration),
        policy_digest: envelope.policy_digest.to_owned(),
        policy_revision: envelope.revision,
        snapshot_generation: decision.snapshot().generation(),
        freshness_floor: envelope.floor(),
        cache_hint: decision.cache_hint().name().to_owned(),
        notes: decision
            .notes()
            .map(Note::name)
            .chain((!envelope.is_freshness_known).then_some(FRESHNESS_UNKNOWN))
            .map(str::to_owned)
            .collect(),
        error: String::new(),
        place: envelope.known_place.as_ref().map(place_message),
        max_attempts: max_attempts(decision),
        retry_after: evaluation.shed.map(|shed| duration(retry_after_ms(shed))),
        version: envelope.fresh.version,
        not_older_than_unix_ms: not_older_than_unix_ms(&envelope.fresh),
        cache_ttl: decision.cache_ttl_ms().map(duration),
        namespace: decision.namespace().to_owned(),
    }
}

fn candidate_message(candidate: &Candidate<'_>) -> proto::Candidate {
    proto::Candidate {
        node: candidate.node.id.to_string(),
        address: candidate.node.address.to_string(),
        site: candidate.site.id.to_string(),
        tier: candidate.tier.to_owned(),
        expected_ms: candidate.expected_ms,
        attempt_timeout: Some(duration(candidate.attempt_timeout_ms)),
        role: candidate.role.name().to_owned(),
    }
}

fn duration(ms: u32) -> prost_types::Duration {
    purge::duration(u64::from(ms))
}

/// Sends answers as they are; reads requests as the usual codec does.
#[derive(Debug)]
pub struct AnswerCodec<T, U>(std::marker::PhantomData<(T, U)>);

impl<T, U> Default for AnswerCodec<T, U> {
    fn default() -> Self {
        Self(std::marker::PhantomData)
    }
}

impl<U: Bounded> Codec for AnswerCodec<Answer, U> {
    type Encode = Answer;
    type Decode = U;
    type Encoder = AnswerEncoder;
    type Decoder = RequestDecoder<U>;

    fn encoder(&mut self) -> AnswerEncoder {
        AnswerEncoder
    }

    fn decoder(&mut self) -> RequestDecoder<U> {
        RequestDecoder(ProstCodec::<U, U>::raw_decoder(buffers()))
    }
}

/// Sends messages as the usual codec does; reads requests like [`AnswerCodec`].
#[derive(Debug)]
pub struct MessageCodec<T, U>(std::marker::PhantomData<(T, U)>);

impl<T, U> Default for MessageCodec<T, U> {
    fn default() -> Self {
        Self(std::marker::PhantomData)
    }
}

impl<T, U> Codec for MessageCodec<T, U>
where
    T: Message + Send + 'static,
    U: Bounded,
{
    type Encode = T;
    type Decode = U;
    type Encoder = <ProstCodec<T, U> as Codec>::Encoder;
    type Decoder = RequestDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstCodec::<T, U>::raw_encoder(buffers())
    }

    fn decoder(&mut self) -> RequestDecoder<U> {
        RequestDecoder(ProstCodec::<U, U>::raw_decoder(buffers()))
    }
}

/// Copies an encoded answer out.
#[derive(Debug)]
pub struct AnswerEncoder;

impl Encoder for AnswerEncoder {
    type Item = Answer;
    type Error = Status;

    fn encode(&mut self, item: Answer, dst: &mut EncodeBuf<'_>) -> Result<(), Status> {
        dst.put_slice(&item.0);
        Ok(())
    }

    fn buffer_settings(&self) -> BufferSettings {
        buffers()
    }
}

/// Reads a request; a message that cannot be read, or has too many parts, is the caller's mistake, not ours.
#[derive(Debug)]
pub struct RequestDecoder<U: Bounded>(<ProstCodec<U, U> as Codec>::Decoder);

impl<U: Bounded> Decoder for RequestDecoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, src: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        // It lies there in one piece.
        parts::within::<U>(src.chunk())
            .map_err(|too_many| Status::invalid_argument(too_many.to_string()))?;
        let read = self.0.decode(src);
        read.map_err(|status| {
            Status::invalid_argument(format!("not a readable message: {}", status.message()))
        })
    }

    fn buffer_settings(&self) -> BufferSettings {
        self.0.buffer_settings()
    }
}
