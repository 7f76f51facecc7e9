//! What is told to the sidecar, read as the engine's observations, or refused item by item.
//!
//! Nothing told may harm: every number is finite and within the bounds of [`observation`](tradewind_engine::signal::observation),
//! every node is one of the fleet. A refused item carries its reason and says what, the value seen and what is allowed.

use std::fmt;

use super::addresses::NodeAddresses;
use super::proto;
use super::receipt::{self, ReceiptKey};
use tradewind_engine::hash::KeyHash;
use tradewind_engine::model::{MAX_ID_BYTES, NodeIndex, printable};
use tradewind_engine::number::narrow;
use tradewind_engine::policy::Policy;
use tradewind_engine::signal::observation::{
    AttemptResult, CacheResult, DecisionNumber, LoadReport, MAX_BYTES, MAX_RATE, MAX_TIME_US,
    MAX_UTILISATION, Outcome, Reporter,
};

/// Longest name a reporter may give itself, in bytes.
pub const MAX_REPORTER_BYTES: usize = 64;

/// Most named metrics of one load report.
const MAX_NAMED_METRICS: usize = 32;

/// Highest number of an attempt.
const MAX_ATTEMPT: u32 = 255;

/// How many refusals an answer puts into words.
const MAX_FAULTS: usize = 8;

/// Upper bound of numbers that are only checked: the largest that a double holds.
const ANY: f64 = f64::MAX;

/// Why something told was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RefusedReason {
    /// The fleet has no such node.
    UnknownNode,
    /// Not the form of a decision's id.
    BadDecisionId,
    /// The id of a decision that this process never gave.
    UnknownDecision,
    /// Above what is believed.
    OutOfRange,
    /// Not a number, or infinite.
    NotFinite,
    /// Below zero.
    Negative,
    /// A value of an enumeration that is not known, or none.
    UnknownValue,
    /// A text of too many bytes.
    TooLong,
    /// Its reporter tells more than its quota.
    Quota,
    /// Beyond the bound of its message.
    TooMany,
    /// Not a readable message or histogram.
    Undecodable,
}

impl RefusedReason {
    /// Every value, in order.
    pub const ALL: &'static [Self] = &[
        Self::UnknownNode,
        Self::BadDecisionId,
        Self::UnknownDecision,
        Self::OutOfRange,
        Self::NotFinite,
        Self::Negative,
        Self::UnknownValue,
        Self::TooLong,
        Self::Quota,
        Self::TooMany,
        Self::Undecodable,
    ];

    /// The word used in answers and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::UnknownNode => "unknown_node",
            Self::BadDecisionId => "bad_decision_id",
            Self::UnknownDecision => "unknown_decision",
            Self::OutOfRange => "out_of_range",
            Self::NotFinite => "not_finite",
            Self::Negative => "negative",
            Self::UnknownValue => "unknown_value",
            Self::TooLong => "too_long",
            Self::Quota => "quota",
            Self::TooMany => "too_many",
            Self::Undecodable => "undecodable",
        }
    }
}

/// Why one item is refused: the reason, and the same in words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{words}")]
pub struct Fault {
    /// What it is counted as.
    pub reason: RefusedReason,
    words: String,
}

impl Fault {
    /// `words` say what, the value seen and what is allowed.
    pub fn new(reason: RefusedReason, words: impl fmt::Display) -> Self {
        Self {
            reason,
            words: words.to_string(),
        }
    }
}

/// What a call's answer says became of what was told.
#[derive(Debug, Clone, Default)]
pub struct Summary {
    accepted: u64,
    refused: [u64; RefusedReason::ALL.len()],
    faults: Vec<String>,
}

impl Summary {
    /// Takes note of an item that was taken.
    pub fn accept(&mut self) {
        self.accepted += 1;
    }

    /// Takes note of `count` items refused at `place`, which is put into words only while there is room for them.
    pub fn refuse(&mut self, count: u64, fault: &Fault, place: impl fmt::Display) {
        if let Some(refused) = self.refused.get_mut(fault.reason as usize) {
            *refused += count;
        }
        if self.faults.len() < MAX_FAULTS {
            self.faults.push(format!("{place}: {fault}"));
        }
    }

    /// The answer.
    pub fn into_message(self) -> proto::ReportResponse {
        let refused = RefusedReason::ALL.iter().zip(self.refused);
        proto::ReportResponse {
            accepted: self.accepted,
            refused: refused
                .filter(|(_, count)| *count > 0)
                .map(|(reason, count)| (reason.name().to_owned(), count))
                .collect(),
            faults: self.faults,
        }
    }
}

/// What items are read against.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// Knows the nodes.
    pub policy: &'a Policy,
    /// Knows where they are.
    pub addresses: &'a NodeAddresses,
    /// The upper 16 bits of the ids of this process's decisions, and what they are tagged with.
    pub receipts: (u16, ReceiptKey),
    /// Who tells.
    pub reporter: Reporter,
}

impl Context<'_> {
    /// Reads an outcome.
    pub fn outcome(&self, message: &proto::Outcome) -> Result<Outcome, Fault> {
        let node = self.node(&message.node)?;
        let decision = self.decision(&message.decision_id)?;
        let result = attempt_result(message.result)?;
        let cache = cache_result(message.cache_status)?;
        let status = u16::try_from(message.status)
            .ok()
            .filter(|status| matches!(status, 0 | 100..=599))
            .ok_or_else(|| outside("status", message.status, "100 to 599, or 0 for none"))?;
        if message.attempt > MAX_ATTEMPT {
            return Err(outside("attempt", message.attempt, "0 to 255"));
        }
        if message.bytes > MAX_BYTES {
            return Err(outside("bytes", message.bytes, "0 to 10^15"));
        }
        let first_byte_us = time_us("time_to_first_byte", message.time_to_first_byte.as_ref())?;
        // Only checked: no signal is made of it yet.
        time_us("total", message.total.as_ref())?;
        Ok(Outcome {
            decision,
            attempt: u8::try_from(message.attempt).unwrap_or(u8::MAX),
            reporter: self.reporter,
            node,
            result,
            status,
            first_byte_us,
            cache,
            bytes: message.bytes,
            client_round_trip_us: time_us("client_round_trip", message.client_round_trip.as_ref())?,
            key: (message.key != 0).then_some(KeyHash(message.key)),
        })
    }

    /// Reads a load report.
    pub fn load(&self, message: &proto::LoadReport) -> Result<(NodeIndex, LoadReport), Fault> {
        let node = self.node(&message.node)?;
        let cpu = number("cpu_utilization", message.cpu_utilization, MAX_UTILISATION)?;
        let application = message.application_utilization;
        let application = number("application_utilization", application, MAX_UTILISATION)?;
        number("mem_utilization", message.mem_utilization, 1.0)?;
        let requests = number("rps_fractional", message.rps_fractional, MAX_RATE)?;
        let errors = number("eps", message.eps, MAX_RATE)?;
        named_metrics(message)?;
        let maybe = |field, value: Option<f64>, most| value.map(|value| number(field, value, most));
        let hit_ratio = maybe("hit_ratio", message.hit_ratio, 1.0).transpose()?;
        let in_flight = maybe("requests_in_flight", message.requests_in_flight, MAX_RATE);
        let in_flight = in_flight.transpose()?;
        let egress = message.egress_bytes_per_second;
        maybe("egress_bytes_per_second", egress, 1e15).transpose()?;
        let given = |value: f64| (value > 0.0).then(|| narrow(value));
        let report = LoadReport {
            utilisation: given(cpu.max(application)),
            requests_per_second: given(requests),
            // A node that tells its requests tells its errors too, even when there are none.
            errors_per_second: (requests > 0.0 || errors > 0.0).then(|| narrow(errors)),
            hit_ratio: hit_ratio.map(narrow),
            in_flight: in_flight.map(narrow),
        };
        Ok((node, report))
    }

    /// The node of this id, else of this address: proxies know nodes by where they are.
    pub fn node(&self, told: &str) -> Result<NodeIndex, Fault> {
        let by_id = self.policy.routing().find_node(told);
        by_id.or_else(|| self.addresses.find(told)).ok_or_else(|| {
            let told = printable(told, MAX_ID_BYTES);
            let words = format_args!(
                "node: `{told}` is not in the fleet, must be a node's id or its address"
            );
            Fault::new(RefusedReason::UnknownNode, words)
        })
    }

    /// The number of a decision of this process; `None` for none told, another process's, or an id without a tag.
    fn decision(&self, id: &str) -> Result<Option<DecisionNumber>, Fault> {
        if id.is_empty() {
            return Ok(None);
        }
        let (reason, words) = match receipt::read(id, self.receipts) {
            receipt::Reading::Receipt(number) => return Ok(Some(number)),
            receipt::Reading::NoReceipt => return Ok(None),
            receipt::Reading::Unknown => (
                RefusedReason::UnknownDecision,
                "which this process never gave",
            ),
            receipt::Reading::Malformed => (
                RefusedReason::BadDecisionId,
                "must be 24 hexadecimal digits",
            ),
        };
        let id = printable(id, 32);
        let words = format_args!("decision_id: `{id}`, {words}");
        Err(Fault::new(reason, words))
    }
}

/// Refuses the whole of a message whose reporter has too long a name.
pub fn reporter_name(name: &str) -> Result<&str, Fault> {
    if name.len() <= MAX_REPORTER_BYTES {
        return Ok(name);
    }
    let length = name.len();
    let words = format_args!("has {length} bytes, at most {MAX_REPORTER_BYTES} are allowed");
    Err(Fault::new(RefusedReason::TooLong, words))
}

fn outside(field: &str, seen: impl fmt::Display, allowed: impl fmt::Display) -> Fault {
    let words = format_args!("{field}: is {seen}, must be {allowed}");
    Fault::new(RefusedReason::OutOfRange, words)
}

/// A finite number of 0 to `most`.
fn number(field: &str, value: f64, most: f64) -> Result<f64, Fault> {
    let reason = if !value.is_finite() {
        RefusedReason::NotFinite
    } else if value < 0.0 {
        RefusedReason::Negative
    } else if value > most {
        RefusedReason::OutOfRange
    } else {
        return Ok(value);
    };
    let words = format_args!("{field}: is {value:e}, must be 0 to {most}");
    Err(Fault::new(reason, words))
}

/// A time in whole microseconds, rounded up so that a time that is known never becomes 0; absent is 0.
fn time_us(field: &str, told: Option<&prost_types::Duration>) -> Result<u32, Fault> {
    let Some(told) = told else {
        return Ok(0);
    };
    let (seconds, nanos) = (told.seconds, told.nanos);
    let refuse = |reason| {
        let words = format_args!("{field}: is {seconds} s and {nanos} ns, must be 0 s to 10 min");
        Fault::new(reason, words)
    };
    if seconds < 0 || nanos < 0 {
        return Err(refuse(RefusedReason::Negative));
    }
    let micros = u64::try_from(nanos).unwrap_or(u64::MAX).div_ceil(1_000);
    let whole = u64::try_from(seconds).unwrap_or(u64::MAX);
    let micros = whole.saturating_mul(1_000_000).saturating_add(micros);
    let believed = nanos < 1_000_000_000 && micros <= MAX_TIME_US;
    u32::try_from(micros)
        .ok()
        .filter(|_| believed)
        .ok_or_else(|| refuse(RefusedReason::OutOfRange))
}

fn named_metrics(message: &proto::LoadReport) -> Result<(), Fault> {
    let given = message.named_metrics.len();
    if given > MAX_NAMED_METRICS {
        let words =
            format_args!("named_metrics: {given} given, at most {MAX_NAMED_METRICS} are allowed");
        return Err(Fault::new(RefusedReason::TooMany, words));
    }
    for (name, value) in &message.named_metrics {
        if name.len() > MAX_ID_BYTES {
            let length = name.len();
            let words = format_args!(
                "named_metrics: a name has {length} bytes, at most {MAX_ID_BYTES} are allowed"
            );
            return Err(Fault::new(RefusedReason::TooLong, words));
        }
        // What it means is not known, so it may be below zero.
        number("named_metrics", value.abs(), ANY)?;
    }
    Ok(())
}

fn attempt_result(told: i32) -> Result<AttemptResult, Fault> {
    match proto::AttemptResult::try_from(told) {
        Ok(proto::AttemptResult::Ok) => Ok(AttemptResult::Ok),
        Ok(proto::AttemptResult::Error) => Ok(AttemptResult::Error),
        Ok(proto::AttemptResult::Timeout) => Ok(AttemptResult::Timeout),
        Ok(proto::AttemptResult::Reset) => Ok(AttemptResult::Reset),
        Ok(proto::AttemptResult::Shed) => Ok(AttemptResult::Shed),
        Ok(proto::AttemptResult::Unspecified) | Err(_) => {
            let words = format_args!("result: is {told}, must be 1 to 5");
            Err(Fault::new(RefusedReason::UnknownValue, words))
        }
    }
}

fn cache_result(told: i32) -> Result<CacheResult, Fault> {
    match proto::CacheStatus::try_from(told) {
        Ok(proto::CacheStatus::Unspecified) => Ok(CacheResult::Unknown),
        Ok(proto::CacheStatus::Hit) => Ok(CacheResult::Hit),
        Ok(proto::CacheStatus::Miss) => Ok(CacheResult::Miss),
        Ok(proto::CacheStatus::Stale) => Ok(CacheResult::Stale),
        Ok(proto::CacheStatus::Revalidated) => Ok(CacheResult::Revalidated),
        Ok(proto::CacheStatus::Bypass) => Ok(CacheResult::Bypass),
        Ok(proto::CacheStatus::Changed) => Ok(CacheResult::Changed),
        Err(_) => {
            let words = format_args!("cache_status: is {told}, must be 0 to 5");
            Err(Fault::new(RefusedReason::UnknownValue, words))
        }
    }
}
