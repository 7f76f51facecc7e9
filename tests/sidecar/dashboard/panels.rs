//! What the dashboard shows. `%` in an expression stands for the sidecars that were chosen.

/// A row of panels.
pub(super) struct Row {
    pub(super) title: &'static str,
    pub(super) panels: &'static [Panel],
}

/// A graph.
pub(super) struct Panel {
    pub(super) title: &'static str,
    /// What to make of it.
    pub(super) says: &'static str,
    pub(super) unit: Unit,
    pub(super) queries: &'static [Query],
}

/// A line of a graph, or several.
pub(super) struct Query {
    pub(super) legend: &'static str,
    expression: &'static str,
}

impl Query {
    /// In Prometheus's language, of the sidecars that are `chosen`.
    pub(super) fn promql(&self, chosen: &str) -> String {
        self.expression.replace('%', chosen)
    }
}

/// What a graph is measured in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    PerSecond,
    Seconds,
    Share,
    Count,
    Bytes,
    /// A state with a number; may be below 0.
    Level,
}

impl Unit {
    /// Grafana's word for it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::PerSecond => "cps",
            Self::Seconds => "s",
            Self::Share => "percentunit",
            Self::Count | Self::Level => "short",
            Self::Bytes => "bytes",
        }
    }
}

const fn one(legend: &'static str, expression: &'static str) -> Query {
    Query { legend, expression }
}

/// The whole dashboard, from what clients feel to the process.
pub(super) const ROWS: [Row; 6] = [
    Row {
        title: "Answers",
        panels: &[
            Panel {
                title: "Decisions",
                says: "By verdict. A gap is a sidecar that is not asked.",
                unit: Unit::PerSecond,
                queries: &[one(
                    "{{verdict}}",
                    "sum by (verdict) (rate(tradewind_decisions_total{%}[$__rate_interval]))",
                )],
            },
            Panel {
                title: "Away from their owner",
                says: "Share of decisions by purity, pure ones left out: moved, steered, spilled, spread, degraded. docs/reasons.md has the words.",
                unit: Unit::Share,
                queries: &[one(
                    "{{purity}}",
                    "sum by (purity) (rate(tradewind_decisions_total{%, purity!=\"pure\"}[$__rate_interval])) / on () group_left sum(rate(tradewind_decisions_total{%}[$__rate_interval]))",
                )],
            },
            Panel {
                title: "Refused and degraded",
                says: "By reason. Alerts TradewindRefuses and TradewindDegraded.",
                unit: Unit::PerSecond,
                queries: &[
                    one(
                        "refused: {{reason}}",
                        "sum by (reason) (rate(tradewind_decisions_total{%, verdict=\"refuse\"}[$__rate_interval]))",
                    ),
                    one(
                        "{{pool}}: {{reason}}",
                        "sum by (pool, reason) (rate(tradewind_decisions_total{%, purity=\"degraded\"}[$__rate_interval]))",
                    ),
                    one(
                        "unreadable",
                        "sum(rate(tradewind_decide_rejected_total{%}[$__rate_interval]))",
                    ),
                ],
            },
            Panel {
                title: "Time of a decision",
                says: "Without the way there: one decision in 64 is timed.",
                unit: Unit::Seconds,
                queries: &[
                    one(
                        "median",
                        "histogram_quantile(0.5, sum by (le) (rate(tradewind_decide_duration_seconds_bucket{%}[$__rate_interval])))",
                    ),
                    one(
                        "99 %",
                        "histogram_quantile(0.99, sum by (le) (rate(tradewind_decide_duration_seconds_bucket{%}[$__rate_interval])))",
                    ),
                ],
            },
            Panel {
                title: "Time of a call, 99 %",
                says: "From a request's head to its answer's, by door. At the gRPC door one call in 64 is timed.",
                unit: Unit::Seconds,
                queries: &[one(
                    "{{door}}",
                    "histogram_quantile(0.99, sum by (door, le) (rate(tradewind_call_duration_seconds_bucket{%}[$__rate_interval])))",
                )],
            },
            Panel {
                title: "Clients by what placed them",
                says: "`default` and `nowhere` are clients of whom nobody knows where they are: docs/places.md.",
                unit: Unit::PerSecond,
                queries: &[one(
                    "{{source}}",
                    "sum by (source) (rate(tradewind_client_places_total{%}[$__rate_interval]))",
                )],
            },
        ],
    },
    Row {
        title: "Nodes and sites",
        panels: &[
            Panel {
                title: "Requests by site",
                says: "Requests for which a node of the site was named first.",
                unit: Unit::PerSecond,
                queries: &[one(
                    "{{site}}",
                    "sum by (site) (rate(tradewind_site_requests_total{%}[$__rate_interval]))",
                )],
            },
            Panel {
                title: "Attempts that fail, by site",
                says: "Share of attempts that were told and believed. Alert TradewindAttemptsFail.",
                unit: Unit::Share,
                queries: &[one(
                    "{{site}}",
                    "sum by (site) (rate(tradewind_site_attempts_total{%, result=~\"error|timeout|reset\"}[$__rate_interval])) / sum by (site) (rate(tradewind_site_attempts_total{%}[$__rate_interval]))",
                )],
            },
            Panel {
                title: "Attempts that fail, worst nodes",
                says: "Failed attempts of the ten nodes with the most of them.",
                unit: Unit::PerSecond,
                queries: &[one(
                    "{{node}}: {{result}}",
                    "topk(10, sum by (node, result) (rate(tradewind_node_attempts_total{%, result!=\"ok\"}[$__rate_interval])))",
                )],
            },
            Panel {
                title: "Time to the first byte, 95 %, by site",
                says: "As callers told it: of hits and of answers that needed a fetch.",
                unit: Unit::Seconds,
                queries: &[one(
                    "{{site}}",
                    "histogram_quantile(0.95, sum by (site, le) (rate(tradewind_site_first_byte_seconds_bucket{%}[$__rate_interval])))",
                )],
            },
            Panel {
                title: "Breakers that are not closed",
                says: "1 half open, 2 open. Alert TradewindBreakerOpen; /debug/nodes says why.",
                unit: Unit::Count,
                queries: &[one(
                    "{{node}}",
                    "max by (node) (tradewind_breaker_state{%}) > 0",
                )],
            },
            Panel {
                title: "Nodes with less than their weight",
                says: "Share of its capacity that a node races with.",
                unit: Unit::Share,
                queries: &[one(
                    "{{node}}",
                    "min by (node) (tradewind_node_weight_ratio{%}) < 1",
                )],
            },
            Panel {
                title: "Pools: rungs of the ladder",
                says: "0 is well; alert TradewindPoolShort above. docs/reasons.md has the rungs.",
                unit: Unit::Count,
                queries: &[one(
                    "{{pool}} {{rule}}",
                    "max by (pool, rule) (tradewind_degradation_rung{%})",
                )],
            },
            Panel {
                title: "Pools: ready nodes",
                says: "Nodes that decisions use for all of their keys.",
                unit: Unit::Count,
                queries: &[one(
                    "{{pool}} {{rule}}",
                    "min by (pool, rule) (tradewind_pool_ready_nodes{%})",
                )],
            },
            Panel {
                title: "What sites cost",
                says: "The sum of the terms besides the way there; by term in /debug/sites.",
                unit: Unit::Seconds,
                queries: &[one(
                    "{{site}}",
                    "sum by (site) (avg by (site, term) (tradewind_site_cost_seconds{%}))",
                )],
            },
        ],
    },
    Row {
        title: "Keys",
        panels: &[
            Panel {
                title: "Keys that moved",
                says: "Share of the probe keys that publications moved in five minutes, by cause. Alert TradewindKeysMove.",
                unit: Unit::Share,
                queries: &[one(
                    "{{cause}}",
                    "sum by (cause) (increase(tradewind_probe_moved_ratio_sum_total{%}[5m]))",
                )],
            },
            Panel {
                title: "Hot keys and spill",
                says: "Keys that several nodes carry, and the mean share of keys that go to the next node.",
                unit: Unit::Count,
                queries: &[
                    one(
                        "{{pool}}: hot keys",
                        "max by (pool) (tradewind_hot_keys{%})",
                    ),
                    one(
                        "{{pool}}: spill",
                        "max by (pool) (tradewind_spill_ratio{%})",
                    ),
                ],
            },
            Panel {
                title: "Objects that fail everywhere",
                says: "No node is blamed for them. Alert TradewindObjectsFail; /debug/hot has them.",
                unit: Unit::Count,
                queries: &[one(
                    "{{how}}",
                    "max by (how) (tradewind_failing_objects{%})",
                )],
            },
        ],
    },
    Row {
        title: "What is told",
        panels: &[
            Panel {
                title: "Outcomes",
                says: "Attempts that were told, by result. None while decisions are made: breakers are blind.",
                unit: Unit::PerSecond,
                queries: &[one(
                    "{{result}}",
                    "sum by (result) (rate(tradewind_outcomes_total{%}[$__rate_interval]))",
                )],
            },
            Panel {
                title: "Refused and dropped reports",
                says: "By reason, and by the queue that was full.",
                unit: Unit::PerSecond,
                queries: &[
                    one(
                        "{{kind}}: {{reason}}",
                        "sum by (kind, reason) (rate(tradewind_reports_refused_total{%}[$__rate_interval])) > 0",
                    ),
                    one(
                        "dropped: {{queue}}",
                        "sum by (queue) (rate(tradewind_reports_dropped_total{%}[$__rate_interval])) > 0",
                    ),
                ],
            },
            Panel {
                title: "Age of signals",
                says: "Of the youngest of each kind. Alert TradewindSignalsOld.",
                unit: Unit::Seconds,
                queries: &[one(
                    "{{signal}}",
                    "max by (signal) (tradewind_signal_age_seconds{%})",
                )],
            },
        ],
    },
    Row {
        title: "Policy",
        panels: &[
            Panel {
                title: "Revisions in force",
                says: "One line for each digest: two are a fleet that does not agree.",
                unit: Unit::Count,
                queries: &[one(
                    "{{digest}} {{state}}",
                    "count by (digest, state) (tradewind_policy_info{%})",
                )],
            },
            Panel {
                title: "Files refused",
                says: "1 while the last good one serves. Alert TradewindSourceDegraded.",
                unit: Unit::Count,
                queries: &[one(
                    "{{source}}",
                    "max by (source) (tradewind_source_degraded{%})",
                )],
            },
            Panel {
                title: "Rollout",
                says: "What share of requests a new policy decides, and of how many it would answer otherwise.",
                unit: Unit::Share,
                queries: &[
                    one("decides", "max(tradewind_rollout_share_ratio{%})"),
                    one(
                        "otherwise: {{policy}}",
                        "max by (policy) (tradewind_shadow_disagreement_ratio{%})",
                    ),
                ],
            },
        ],
    },
    Row {
        title: "Process",
        panels: &[
            Panel {
                title: "Processor time",
                says: "Cores used.",
                unit: Unit::Level,
                queries: &[one(
                    "{{instance}}",
                    "rate(process_cpu_seconds_total{%}[$__rate_interval]) and on (instance) tradewind_build_info{%}",
                )],
            },
            Panel {
                title: "Memory",
                says: "In use and present.",
                unit: Unit::Bytes,
                queries: &[one(
                    "{{instance}}",
                    "process_resident_memory_bytes{%} and on (instance) tradewind_build_info{%}",
                )],
            },
            Panel {
                title: "Connections",
                says: "Open, by door.",
                unit: Unit::Count,
                queries: &[
                    one("grpc", "sum(tradewind_connections_open{%})"),
                    one("http", "sum(tradewind_http_connections_open{%})"),
                    one("admin", "sum(tradewind_admin_connections_open{%})"),
                    one("debug", "sum(tradewind_debug_connections_open{%})"),
                ],
            },
            Panel {
                title: "Turned away",
                says: "Calls beyond those allowed in flight, calls beyond their deadline, faults of the program.",
                unit: Unit::PerSecond,
                queries: &[
                    one(
                        "shed",
                        "sum(rate(tradewind_connections_shed_total{%}[$__rate_interval]))",
                    ),
                    one(
                        "late",
                        "sum(rate(tradewind_connections_deadline_exceeded_total{%}[$__rate_interval]))",
                    ),
                    one(
                        "panics",
                        "sum(rate(tradewind_connections_panics_total{%}[$__rate_interval]))",
                    ),
                ],
            },
            Panel {
                title: "Lost on the way out",
                says: "Sampled decisions, spans, lines of the decision log, entries of the audit log.",
                unit: Unit::PerSecond,
                queries: &[
                    one(
                        "sample",
                        "sum(rate(tradewind_decision_log_dropped_total{%}[$__rate_interval]))",
                    ),
                    one(
                        "spans: {{cause}}",
                        "sum by (cause) (rate(tradewind_spans_lost_total{%}[$__rate_interval]))",
                    ),
                    one(
                        "decision log: {{cause}}",
                        "sum by (cause) (rate(tradewind_decision_log_lost_total{%}[$__rate_interval]))",
                    ),
                    one(
                        "audit log",
                        "sum(rate(tradewind_audit_lost_total{%}[$__rate_interval]))",
                    ),
                ],
            },
            Panel {
                title: "Versions",
                says: "How many sidecars run each.",
                unit: Unit::Count,
                queries: &[one(
                    "{{version}} {{commit}}",
                    "count by (version, commit) (tradewind_build_info{%})",
                )],
            },
        ],
    },
];
