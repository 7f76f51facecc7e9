//! All metrics as text.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use crate::clock;
use crate::doors::admin::AdminDesk;
use crate::doors::envoy::metrics::EnvoySources;
use crate::identity::Access;
use crate::intake::counters::{DURATION_BOUNDS_NS, DecisionCounters, SHED_FOR};
use crate::intake::recent::RecentDecisions;
use crate::intake::tally::ReportSources;
use crate::listen::counters::GateCounters;
use crate::observe::doors::Doors;
use crate::observe::frames::Streams;
use crate::observe::moves::Moves;
use crate::observe::process::Process;
use crate::observe::signals;
use crate::observe::sources;
use crate::observe::version;
use crate::observe::{members, purges, rollouts};
use crate::probe::ProbeCounters;
use crate::state::{State, rows};
use crate::trace::TraceCounters;
use tradewind_engine::decision::Purity;
use tradewind_engine::evaluate::{Reason, Verdict};
use tradewind_engine::geo::place::{Precision, Source};
use tradewind_engine::lifecycle::DocumentState;
use tradewind_engine::policy::Priority;

/// Everything that is shown under `/metrics`.
#[derive(Debug, Clone)]
pub struct Sources {
    /// The published snapshot and how its sources fare.
    pub state: Arc<State>,
    /// What each worker counts.
    pub workers: Vec<Arc<DecisionCounters>>,
    /// What was told.
    pub reports: ReportSources,
    /// What Envoys told and were told.
    pub envoys: EnvoySources,
    /// What probes came to.
    pub probes: Arc<ProbeCounters>,
    /// What the accept gate counts.
    pub gate: Arc<GateCounters>,
    /// What the query door's gate counts.
    pub http: Arc<GateCounters>,
    /// What the debug door's listener counts.
    pub debug: Arc<GateCounters>,
    /// What the gate of the services for operators counts.
    pub admin: Arc<GateCounters>,
    /// What became of spans.
    pub spans: Arc<TraceCounters>,
    /// Recent decisions.
    pub recent: Arc<RecentDecisions>,
    /// The process itself.
    pub process: Process,
    /// What the last revisions moved.
    pub moves: Arc<Moves>,
    /// What changes, for those who look.
    pub streams: Arc<Streams>,
    /// Names that the debug door is asked by, beside addresses and those of this machine.
    pub hosts: Arc<[String]>,
    /// Who may do what.
    pub access: Arc<Access>,
    /// Where operators' calls are answered.
    pub desk: AdminDesk,
}

impl Sources {
    /// All metrics in the text format of `OpenMetrics`.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut registry = Registry::default();
        // What is known of any process goes by the names that it has everywhere.
        registry.register_collector(Box::new(self.process));
        let own = registry.sub_registry_with_prefix("tradewind");
        own.register_collector(Box::new(self.clone()));
        let mut out = String::new();
        text::encode(&mut out, &registry)?;
        Ok(out)
    }

    pub(super) fn sum(&self, counter: impl Fn(&DecisionCounters) -> u64) -> u64 {
        self.workers.iter().map(|worker| counter(worker)).sum()
    }

    fn encode_build(encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "What this program is built from";
        let mut family = encoder.encode_descriptor("build_info", help, None, MetricType::Gauge)?;
        let labels = [
            ("version", version::VERSION),
            ("commit", version::COMMIT),
            ("target", version::TARGET),
            ("rustc", version::RUSTC),
        ];
        ConstGauge::new(1_i64).encode(family.encode_family(&labels)?)
    }

    fn encode_decisions(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Decisions by pool, verdict, reason and purity";
        let mut family = encoder.encode_descriptor("decisions", help, None, MetricType::Counter)?;
        for (row, name) in self.state.row_names.pools.load().iter().enumerate() {
            for reason in Reason::ALL {
                for purity in Purity::ALL {
                    let count = self.sum(|worker| worker.decisions(row, *reason, *purity));
                    if count > 0 || is_alarming(row, *reason, *purity) {
                        let labels = [
                            ("pool", name.as_str()),
                            ("verdict", verdict_of(*reason).name()),
                            ("reason", reason.name()),
                            ("purity", purity.name()),
                        ];
                        ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
                    }
                }
            }
        }
        self.encode_rules(encoder)?;
        self.encode_shed(encoder)?;
        self.encode_places(encoder)?;
        self.encode_when_errors(encoder)?;
        let help = "Requests that could not be read";
        let family =
            encoder.encode_descriptor("decide_rejected", help, None, MetricType::Counter)?;
        ConstCounter::new(self.sum(DecisionCounters::rejected)).encode(family)
    }

    fn encode_rules(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Decisions by the rule that made them; empty where none did";
        let name = "rule_decisions";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (row, name) in self.state.row_names.decided.load().iter().enumerate() {
            let count = self.sum(|worker| worker.by_rule(row));
            // Every rule is there before it decides anything: one that nobody needs is found by its 0.
            if row > rows::OTHER || count > 0 {
                ConstCounter::new(count)
                    .encode(family.encode_family(&[("rule", name.as_str())])?)?;
            }
        }
        Ok(())
    }

    fn encode_shed(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Requests that were turned away because there is too much to do, by rule, its priority, and why";
        let mut family = encoder.encode_descriptor("shed", help, None, MetricType::Counter)?;
        for (row, name) in self.state.row_names.decided.load().iter().enumerate() {
            for (priority, reason) in Priority::ALL.iter().flat_map(|priority| {
                let reasons = SHED_FOR.iter();
                reasons.map(move |reason| (*priority, *reason))
            }) {
                let count = self.sum(|worker| worker.shed(row, priority, reason));
                if count > 0 {
                    let labels = [
                        ("rule", name.as_str()),
                        ("priority", priority.name()),
                        ("reason", reason.name()),
                    ];
                    ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
                }
            }
        }
        Ok(())
    }

    fn encode_places(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Decisions by who placed the client, and how closely";
        let mut family =
            encoder.encode_descriptor("client_places", help, None, MetricType::Counter)?;
        let kinds = Source::ALL.iter().flat_map(|source| {
            Precision::ALL
                .iter()
                .map(move |precision| (source, precision))
        });
        for (source, precision) in kinds {
            let count = self.sum(|worker| worker.places(*source, *precision));
            if count > 0 {
                let labels = [("source", source.name()), ("precision", precision.name())];
                ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }

    fn encode_when_errors(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help =
            "Decisions in which a rule's expression (when) could not be answered, and did not hold";
        let name = "rule_when_errors";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (row, name) in self.state.row_names.rules.load().iter().enumerate() {
            let count = self.sum(|worker| worker.when_errors(row));
            if row > rows::OTHER || count > 0 {
                ConstCounter::new(count)
                    .encode(family.encode_family(&[("rule", name.as_str())])?)?;
            }
        }
        Ok(())
    }

    fn encode_durations(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Time from the decoded request to the encoded answer, of one decision in 64";
        let mut encoder = encoder.encode_descriptor(
            "decide_duration",
            help,
            Some(&Unit::Seconds),
            MetricType::Histogram,
        )?;
        let buckets = self.durations();
        let count = buckets.iter().map(|(_, count)| count).sum();
        let sum = seconds(self.sum(DecisionCounters::duration_sum_ns));
        encoder.encode_histogram::<[(&str, &str); 0]>(sum, count, &buckets, None)
    }

    /// Decisions timed by step: its upper bound in seconds, and how many fell into it, of all workers.
    pub(super) fn durations(&self) -> Vec<(f64, u64)> {
        let mut counts = [0_u64; DURATION_BOUNDS_NS.len() + 1];
        for worker in &self.workers {
            for (count, more) in counts.iter_mut().zip(worker.durations()) {
                *count += more;
            }
        }
        let bounds = DURATION_BOUNDS_NS.iter().map(|ns| seconds(*ns));
        bounds.chain([f64::INFINITY]).zip(counts).collect()
    }

    fn encode_writer(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "How long ago the one task that changes what is served went on; a tenth of a second where all is well";
        let family = encoder.encode_descriptor(
            "writer_tick_age",
            help,
            Some(&Unit::Seconds),
            MetricType::Gauge,
        )?;
        let age = self.state.writer_ticks.age(clock::now());
        ConstGauge::new(age.unwrap_or_default().as_secs_f64()).encode(family)?;
        let help =
            "Policies and topologies not used for the want of a good signature, by the reason";
        let mut family =
            encoder.encode_descriptor("signature_refusals", help, None, MetricType::Counter)?;
        for (reason, counter) in self.state.reloads.unsigned.each() {
            let count = ConstCounter::new(counter.load(Ordering::Relaxed));
            count.encode(family.encode_family(&[("reason", reason)])?)?;
        }
        Ok(())
    }

    fn encode_audit(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let audit = &self.state.audit;
        let families = [
            (
                "audit_entries",
                "Entries of the audit log on disk",
                &audit.written,
            ),
            (
                "audit_failures",
                "Attempts to write an entry of the audit log that failed",
                &audit.failed,
            ),
            (
                "audit_lost",
                "Entries of the audit log that could not be written",
                &audit.lost,
            ),
        ];
        for (name, help, counter) in families {
            let family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            ConstCounter::new(counter.load(Ordering::Relaxed)).encode(family)?;
        }
        Ok(())
    }

    fn encode_decision_log(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let log = &self.state.decision_log;
        let help = "Decisions in the decision log";
        let name = "decision_log_written";
        let family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        ConstCounter::new(log.written.load(Ordering::Relaxed)).encode(family)?;
        let help = "Of the decisions in the decision log, those that cannot be made again without the client's address";
        let name = "decision_log_hidden";
        let family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        ConstCounter::new(log.hidden.load(Ordering::Relaxed)).encode(family)?;
        let help = "Decisions that the decision log lost, by cause";
        let name = "decision_log_lost";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (cause, counter) in [
            ("queue_full", &log.queue_full),
            ("write_failed", &log.write_failed),
        ] {
            ConstCounter::new(counter.load(Ordering::Relaxed))
                .encode(family.encode_family(&[("cause", cause)])?)?;
        }
        Ok(())
    }

    fn encode_snapshot(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let published = self.state.published.load();
        let help = "The policy in force";
        let mut family = encoder.encode_descriptor("policy_info", help, None, MetricType::Gauge)?;
        if let Some(published) = published.as_deref() {
            let revision = published.revision.to_string();
            let state = match self.state.status.load().policy.state {
                DocumentState::LastGood => "last_good",
                DocumentState::Serving | DocumentState::Waiting | DocumentState::Missing => {
                    "serving"
                }
            };
            let labels = [
                ("digest", published.policy_digest.as_str()),
                ("revision", revision.as_str()),
                ("state", state),
            ];
            ConstGauge::new(1_i64).encode(family.encode_family(&labels)?)?;
        }
        let sizes = published.as_deref().map(|published| {
            let (topology, policy) = (published.snapshot.topology(), published.snapshot.policy());
            [
                topology.nodes().len(),
                topology.sites().len(),
                policy.routing().rules().len(),
            ]
        });
        for (name, size) in ["nodes", "sites", "rules"]
            .into_iter()
            .zip(sizes.unwrap_or_default())
        {
            let family = encoder.encode_descriptor(
                name,
                "How many are in force",
                None,
                MetricType::Gauge,
            )?;
            ConstGauge::new(i64::try_from(size).unwrap_or(i64::MAX)).encode(family)?;
        }
        let help = "Callers that keep a copy of what decisions are made from";
        let family = encoder.encode_descriptor("followers", help, None, MetricType::Gauge)?;
        let followers = i64::try_from(self.state.followers.count());
        ConstGauge::new(followers.unwrap_or(i64::MAX)).encode(family)?;
        let help = "Followers turned away: all places taken, or their caller has its part";
        let name = "followers_refused";
        let family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        ConstCounter::new(self.state.followers.refused()).encode(family)?;
        let generation = published
            .as_deref()
            .map_or(0, |published| published.snapshot.generation());
        let help = "Snapshots published since the start";
        let family = encoder.encode_descriptor("snapshots", help, None, MetricType::Counter)?;
        ConstCounter::new(generation).encode(family)
    }

    fn encode_sample(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Sampled decisions that were dropped because their queue was full";
        let family =
            encoder.encode_descriptor("decision_log_dropped", help, None, MetricType::Counter)?;
        ConstCounter::new(self.recent.dropped()).encode(family)?;
        let help = "Spans of decisions that the collector took";
        let name = "spans_exported";
        let family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        ConstCounter::new(self.spans.exported.load(Ordering::Relaxed)).encode(family)?;
        let help = "Spans of decisions that the collector did not get, by cause";
        let mut family =
            encoder.encode_descriptor("spans_lost", help, None, MetricType::Counter)?;
        for (cause, counter) in [
            ("queue_full", &self.spans.queue_full),
            ("unreachable", &self.spans.unreachable),
            ("refused", &self.spans.refused),
        ] {
            ConstCounter::new(counter.load(Ordering::Relaxed))
                .encode(family.encode_family(&[("cause", cause)])?)?;
        }
        Ok(())
    }
}

impl Collector for Sources {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        Self::encode_build(&mut encoder)?;
        self.encode_decisions(&mut encoder)?;
        self.encode_durations(&mut encoder)?;
        sources::encode(&self.state, &mut encoder)?;
        self.encode_writer(&mut encoder)?;
        self.encode_audit(&mut encoder)?;
        self.encode_decision_log(&mut encoder)?;
        self.encode_snapshot(&mut encoder)?;
        let doors = Doors {
            grpc: &self.gate,
            http: &self.http,
            admin: &self.admin,
            debug: &self.debug,
        };
        doors.encode(&mut encoder)?;
        self.encode_sample(&mut encoder)?;
        purges::encode(&self.state.freshness, &mut encoder)?;
        if let Some(fleet) = self.state.members.get() {
            members::encode(fleet, &self.state.freshness, &mut encoder)?;
        }
        rollouts::encode(&self.state, &mut encoder)?;
        signals::encode(&self.state.view.load(), &self.probes, &mut encoder)?;
        self.reports.encode(&mut encoder)?;
        self.envoys.encode(&mut encoder)
    }
}

fn seconds(ns: u64) -> f64 {
    tradewind_engine::number::from_u64(ns) / 1e9
}

/// Decisions that somebody wants to be told of. They are shown before there is one, because the rate of a series that
/// appears with its first value is 0: nobody would be told of the first.
fn is_alarming(row: usize, reason: Reason, purity: Purity) -> bool {
    match reason {
        Reason::RefusedByRule | Reason::NoRule | Reason::UnknownPool => {
            row == rows::NONE && purity == Purity::Pure
        }
        Reason::NoNode
        | Reason::NoRoom
        | Reason::RateLimited
        | Reason::Readmitted
        | Reason::NextTier
        | Reason::Panic
        | Reason::Origin => row > rows::OTHER && purity == Purity::Degraded,
        _ => false,
    }
}

pub(super) fn verdict_of(reason: Reason) -> Verdict {
    match reason {
        Reason::RefusedByRule | Reason::NoRule | Reason::UnknownPool | Reason::NoNode => {
            Verdict::Refuse
        }
        Reason::NoRoom | Reason::RateLimited => Verdict::Shed,
        _ => Verdict::Route,
    }
}
