//! A decision as a span of OpenTelemetry.

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};

use super::Traced;
use super::context::TraceContext;
use crate::wire::mask;
use tradewind_engine::decision::Decision;
use tradewind_engine::model::LaneIndex;

/// The version of this program.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What every span is called.
const NAME: &str = "tradewind.decide";

/// In a span's flags: whether it is known where the parent is, and that it is in another process.
const IS_REMOTE_KNOWN: u32 = 0x100;
const IS_REMOTE: u32 = 0x200;

/// The span of a decision.
pub(super) fn of(traced: Traced) -> Span {
    let Traced {
        decision_id,
        mut request,
        evaluation,
        published,
        parent,
        ended_unix_ns,
        took,
    } = traced;
    mask(&mut request);
    let snapshot = &published.snapshot;
    let decision = Decision::new(snapshot, &evaluation);
    let mut attributes = Attributes::default();
    attributes.text("tradewind.decision_id", &decision_id);
    attributes.text("tradewind.rule", decision.rule_name());
    attributes.number("tradewind.generation", snapshot.generation());
    attributes.number("tradewind.revision", published.revision);
    attributes.text(
        "tradewind.policy_digest",
        published.digest_of(evaluation.lane),
    );
    attributes.text("tradewind.lane", lane_name(evaluation.lane));
    attributes.text("tradewind.verdict", evaluation.verdict.name());
    attributes.text("tradewind.reason", evaluation.reason.name());
    attributes.text("tradewind.purity", decision.purity().name());
    if let Some(pick) = evaluation.picks.first() {
        let topology = snapshot.topology();
        attributes.text("tradewind.node", &topology.node(pick.node).id);
        let site = topology.site_of(pick.node);
        attributes.text("tradewind.site", &topology.site(site).id);
        if let Some(ms) = pick.expected_ms {
            attributes.put("tradewind.expected_ms", Value::DoubleValue(ms.into()));
        }
    }
    attributes.text("server.address", &request.host);
    let client = request.client.unwrap_or_default();
    attributes.text("client.address", &client.ip);
    let own = TraceContext::of_decision(&decision_id);
    let trace = parent.unwrap_or(own);
    let remote = parent.map_or(0, |_| IS_REMOTE_KNOWN | IS_REMOTE);
    let took_ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
    Span {
        trace_id: trace.trace_id.to_vec(),
        span_id: own.span_id.to_vec(),
        parent_span_id: parent.map_or_else(Vec::new, |parent| parent.span_id.to_vec()),
        flags: u32::from(trace.flags) | remote,
        name: NAME.to_owned(),
        kind: SpanKind::Server.into(),
        start_time_unix_nano: ended_unix_ns.saturating_sub(took_ns),
        end_time_unix_nano: ended_unix_ns,
        attributes: attributes.0,
        ..Span::default()
    }
}

/// Spans with what they have in common.
pub(super) fn batch(resource: &Resource, spans: &[Span]) -> ResourceSpans {
    ResourceSpans {
        resource: Some(resource.clone()),
        scope_spans: vec![ScopeSpans {
            scope: Some(InstrumentationScope {
                name: "tradewind".to_owned(),
                version: VERSION.to_owned(),
                ..InstrumentationScope::default()
            }),
            spans: spans.to_vec(),
            ..ScopeSpans::default()
        }],
        ..ResourceSpans::default()
    }
}

/// This process.
pub(super) fn resource(service: &str, instance: &str) -> Resource {
    let mut attributes = Attributes::default();
    attributes.text("service.name", service);
    attributes.text("service.version", VERSION);
    attributes.text("service.instance.id", instance);
    Resource {
        attributes: attributes.0,
        ..Resource::default()
    }
}

/// Which policy decided, where there are two.
fn lane_name(lane: LaneIndex) -> &'static str {
    match lane {
        LaneIndex::First => "in_force",
        LaneIndex::Second => "candidate",
    }
}

/// What is said of a span.
#[derive(Debug, Default)]
struct Attributes(Vec<KeyValue>);

impl Attributes {
    fn put(&mut self, key: &str, value: Value) {
        self.0.push(KeyValue {
            key: key.to_owned(),
            value: Some(AnyValue { value: Some(value) }),
            ..KeyValue::default()
        });
    }

    /// What is empty is not known, and left out.
    fn text(&mut self, key: &str, value: &str) {
        if !value.is_empty() {
            self.put(key, Value::StringValue(value.to_owned()));
        }
    }

    fn number(&mut self, key: &str, value: u64) {
        self.put(
            key,
            Value::IntValue(i64::try_from(value).unwrap_or(i64::MAX)),
        );
    }
}
