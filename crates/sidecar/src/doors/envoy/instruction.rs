//! What Envoy is told of a decision: the nodes in order and the decision's name, or that there is none.

use std::collections::BTreeMap;

use prost_types::value::Kind;
use prost_types::{Struct, Value};
use tonic::Status;

use super::proto::envoy::config::core::v3::header_value_option::HeaderAppendAction;
use super::proto::envoy::config::core::v3::{HeaderValue, HeaderValueOption};
use super::{DECISION_ID, DESTINATION};
use crate::clock;
use crate::intake::decider::Ruling;
use crate::wire::names::{
    ATTEMPT_TIMEOUT, MAX_RETRIES, OF_FRESHNESS, REASON, RETRY_AFTER, UNREADABLE,
};
use crate::wire::{WireError, purge, refusal_status};
use tradewind_engine::evaluate::{Reason, Shed, Verdict};

/// What Envoy is told of a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Instruction {
    /// Use these nodes.
    Route(Route),
    /// Answer the client with this status.
    Refuse {
        /// HTTP status.
        status: u16,
        /// Why, in one word.
        reason: &'static str,
        /// In how many seconds the client should come back, if that may help.
        retry_after_s: Option<u8>,
    },
}

/// Which nodes to use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Route {
    /// Their addresses, best first.
    pub(super) nodes: String,
    pub(super) decision_id: String,
    /// How long to wait for each, in ms, if the rule says so. Else Envoy's own `per_try_timeout` counts, or none.
    pub(super) attempt_timeout_ms: Option<u32>,
    /// How many of them may be tried, where that is not all. Else Envoy's own `num_retries` counts.
    pub(super) max_attempts: Option<u8>,
    /// What caches are told of the object's freshness, as headers.
    pub(super) freshness: Vec<(&'static str, String)>,
}

impl Instruction {
    /// What a ruling comes to.
    pub(super) fn of(ruling: &Ruling<'_>) -> Self {
        let evaluation = ruling.decision.evaluation();
        if evaluation.verdict != Verdict::Route {
            return Self::refusal(evaluation.reason, evaluation.shed);
        }
        let addresses = ruling.published.nodes.addresses();
        let mut nodes = String::with_capacity(24 * evaluation.picks.len());
        for pick in &evaluation.picks {
            if !nodes.is_empty() {
                nodes.push(',');
            }
            nodes.push_str(addresses.text(pick.node));
        }
        Self::Route(Route {
            nodes,
            decision_id: ruling.envelope.decision_id.to_owned(),
            attempt_timeout_ms: ruling
                .decision
                .plan()
                .filter(|plan| plan.sets_attempt_timeout)
                .map(|plan| plan.attempt_timeout_ms),
            max_attempts: ruling.decision.max_attempts(),
            freshness: purge::headers(
                ruling.envelope.fresh,
                ruling.envelope.is_freshness_known,
                ruling.decision.cache_ttl_ms(),
                clock::unix_ms,
            )
            .collect(),
        })
    }

    /// What a request comes to for which no node is named.
    pub(super) fn refusal(reason: Reason, shed: Option<Shed>) -> Self {
        Self::Refuse {
            status: refusal_status(reason).as_u16(),
            reason: reason.name(),
            retry_after_s: shed.map(|shed| shed.retry_after_s),
        }
    }
}

/// What a request comes to that cannot be read: a refusal where the client did wrong, else an error of the call.
pub(super) fn unreadable(error: &WireError) -> Result<Instruction, Status> {
    match error.client_status() {
        Some(status) => Ok(Instruction::Refuse {
            status: status.as_u16(),
            reason: UNREADABLE,
            retry_after_s: None,
        }),
        None => Err(Status::invalid_argument(error.to_string())),
    }
}

impl Route {
    /// The headers to set on the request. `as_bytes` says where the values stand: `ext_proc` wants them raw.
    pub(super) fn headers(&self, form: Form) -> Vec<HeaderValueOption> {
        let mut headers = vec![
            header(DESTINATION, self.nodes.clone(), form),
            header(DECISION_ID, self.decision_id.clone(), form),
        ];
        if let Some(timeout_ms) = self.attempt_timeout_ms {
            headers.push(header(ATTEMPT_TIMEOUT, timeout_ms.to_string(), form));
        }
        if let Some(attempts) = self.max_attempts {
            let retries = attempts.saturating_sub(1).to_string();
            headers.push(header(MAX_RETRIES, retries, form));
        }
        for (name, value) in &self.freshness {
            headers.push(header(name, value.clone(), form));
        }
        headers
    }

    /// The headers to remove from the request: what a client says of freshness, it made up.
    pub(super) fn removed(&self) -> Vec<String> {
        let is_set = |name: &str| self.freshness.iter().any(|(set, _)| *set == name);
        let names = OF_FRESHNESS.into_iter().filter(|name| !is_set(name));
        names.map(str::to_owned).collect()
    }

    /// The same as dynamic metadata.
    pub(super) fn metadata(&self) -> Struct {
        let text = |text: &str| Value {
            kind: Some(Kind::StringValue(text.to_owned())),
        };
        Struct {
            fields: BTreeMap::from([
                (DESTINATION.to_owned(), text(&self.nodes)),
                (DECISION_ID.to_owned(), text(&self.decision_id)),
            ]),
        }
    }
}

/// Where the value of a header stands in a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// As text.
    Text,
    /// As bytes.
    Raw,
}

/// The headers that tell a client why its request was refused, and when to come back.
pub(super) fn refusal_headers(
    reason: &str,
    retry_after_s: Option<u8>,
    form: Form,
) -> Vec<HeaderValueOption> {
    let mut headers = vec![header(REASON, reason.to_owned(), form)];
    headers.extend(retry_after_s.map(|seconds| header(RETRY_AFTER, seconds.to_string(), form)));
    headers
}

/// A header to set, whatever was there.
fn header(key: &str, value: String, form: Form) -> HeaderValueOption {
    let (value, raw_value) = match form {
        Form::Text => (value, Vec::new()),
        Form::Raw => (String::new(), value.into_bytes()),
    };
    HeaderValueOption {
        header: Some(HeaderValue {
            key: key.to_owned(),
            value,
            raw_value,
        }),
        append_action: HeaderAppendAction::OverwriteIfExistsOrAdd.into(),
    }
}
