//! The fields of a policy, and what each may change.

use super::field::{Field, Kind, Reaches, Spelling, Usual};
use super::reach::Reach;

const MATCHING: Reaches = &[Reach::Matching];
const PLACEMENT: Reaches = &[Reach::Placement];
const SITE: Reaches = &[Reach::Site];
const OPERATION: Reaches = &[Reach::Operation];
const WORDS: Reaches = &[Reach::Words];

/// What nodes there are to choose from: whole sites come and go with them, and within a site keys find other homes.
const NODES: Reaches = &[Reach::Placement, Reach::Site];

/// Where clients are, and by what country rules know them.
const PLACE: Reaches = &[Reach::Matching, Reach::Site];

/// What the normal form of a path is: rules match it, keys are made of it.
const FORM: Reaches = &[Reach::Matching, Reach::Placement];

/// Every field of a policy, in the order of the document's types.
pub(super) const TABLE: &[Field] = &[
    Field::new("apiVersion", WORDS),
    Field::new("kind", WORDS),
    Field::new("metadata.name", WORDS),
    Field::new("metadata.owner", WORDS),
    Field::new("metadata.description", WORDS),
    Field::new("end", WORDS),
    // Addresses decide whether a topology is taken, not who goes where.
    Field::set("spec.addresses.allow", OPERATION),
    Field::set("spec.addresses.only", OPERATION),
    Field::entries("spec.geo.overrides", PLACE, Kind::Override, "cidr"),
    Field::new("spec.geo.overrides[].cidr", PLACE).spelt(Spelling::Network),
    Field::new("spec.geo.overrides[].lat", SITE),
    Field::new("spec.geo.overrides[].lon", SITE),
    Field::new("spec.geo.overrides[].country", PLACE).spelt(Spelling::Upper),
    Field::new("spec.geo.default", PLACE),
    Field::new("spec.geo.default.lat", SITE),
    Field::new("spec.geo.default.lon", SITE),
    Field::new("spec.geo.default.country", PLACE).spelt(Spelling::Upper),
    Field::new("spec.paths.empty_segments", FORM),
    Field::new("spec.paths.escaped_slashes", FORM),
    Field::new("spec.score.network.weight", SITE),
    Field::new("spec.score.network.base_ms", SITE),
    Field::new("spec.score.network.ms_per_km", SITE),
    Field::new("spec.score.service.weight", SITE),
    Field::new("spec.score.queue.weight", SITE),
    Field::new("spec.score.miss.weight", SITE),
    Field::new("spec.score.miss.fetch_ms", SITE),
    Field::new("spec.score.error.weight", SITE),
    Field::new("spec.score.cost.weight", SITE),
    Field::new("spec.score.cost.ms_per_usd", SITE),
    Field::entries("spec.score.bias", SITE, Kind::Bias, "site"),
    Field::new("spec.score.bias[].site", SITE),
    Field::new("spec.score.bias[].ms", SITE),
    Field::new("spec.score.max_detour", SITE),
    Field::new("spec.score.spread", SITE),
    // How much must change before decisions see it: the loop's patience, not the choice itself.
    Field::new("spec.score.switch_margin.ms", OPERATION),
    Field::new("spec.score.switch_margin.percent", OPERATION),
    Field::new("spec.score.switch_margin.dwell", OPERATION),
    Field::new("spec.panic.min_healthy_percent", OPERATION),
    Field::new("spec.panic.mode", SITE),
    Field::new("spec.breaker.consecutive_failures", OPERATION),
    Field::new("spec.breaker.success_rate_percent", OPERATION),
    Field::new("spec.breaker.request_volume", OPERATION),
    Field::new("spec.breaker.window", OPERATION),
    Field::new("spec.breaker.slow_ratio", OPERATION),
    Field::new("spec.breaker.base_ejection_time", OPERATION),
    Field::new("spec.breaker.max_ejection_time", OPERATION),
    Field::new("spec.breaker.jitter_percent", OPERATION),
    Field::new("spec.breaker.max_ejection_percent", OPERATION),
    Field::new("spec.breaker.probe_percent", OPERATION),
    Field::new("spec.breaker.flap_openings", OPERATION),
    Field::new("spec.probe.kind", OPERATION),
    Field::new("spec.probe.path", OPERATION),
    Field::new("spec.probe.interval", OPERATION),
    Field::new("spec.probe.timeout", OPERATION),
    Field::new("spec.probe.unhealthy_threshold", OPERATION),
    Field::new("spec.probe.healthy_threshold", OPERATION),
    Field::new("spec.weights.step_log2", OPERATION),
    Field::new("spec.weights.hysteresis_steps", OPERATION),
    Field::new("spec.weights.dwell_down", OPERATION),
    Field::new("spec.weights.dwell_up", OPERATION),
    Field::new("spec.slow_start_window", OPERATION),
    Field::new("spec.signals.load.max_age", OPERATION),
    Field::new("spec.signals.latency.max_age", OPERATION),
    Field::new("spec.signals.hit.max_age", OPERATION),
    Field::new("spec.signals.health.max_age", OPERATION),
    Field::new("spec.change_budget.moved_percent_per_minute", OPERATION),
    Field::new("spec.overload.max_utilisation_percent", OPERATION),
    // Who is let through, and how often: the same nodes are named to whoever is.
    Field::set("spec.limits", OPERATION),
    Field::new("spec.retries.budget_percent", OPERATION),
    Field::new("spec.retries.min_per_second", OPERATION),
    // Purges are no part of the policy; these say how long they are kept and which are let through.
    Field::new("spec.freshness.max_ttl", OPERATION),
    Field::new("spec.freshness.guard_percent", OPERATION),
    Field::new("spec.topology_guard.max_removed_percent", OPERATION),
    Field::new("spec.decision_log.sample_ratio", OPERATION),
    // What a change may do at most: asked before it takes effect, never of a request.
    Field::new("spec.plan.max_moved_keys_percent", OPERATION),
    Field::new("spec.plan.max_moved_clients_percent", OPERATION),
    Field::new("spec.plan.max_moved_requests_percent", OPERATION),
    Field::new("spec.plan.max_extra_origin_percent", OPERATION),
    Field::new("spec.plan.max_expected_increase_ms", OPERATION),
    Field::new("spec.plan.max_newly_refused_percent", OPERATION),
    Field::new("spec.plan.require_expectations", OPERATION),
    // By which steps the next policy comes into force: asked of changes as well.
    Field::new("spec.rollout.cohort", OPERATION),
    Field::new("spec.rollout.stages", OPERATION),
    Field::set("spec.rollout.guards", OPERATION),
    Field::new("spec.rollout.max_hold", OPERATION),
    Field::new("spec.rollout.when_inconclusive", OPERATION),
    Field::new("spec.rollout.auto_rollback", OPERATION),
    Field::new("spec.rollout.start_jitter", OPERATION),
    // A pool by itself is asked for by name only; what rules make of it, their `pools` say.
    Field::entries("spec.pools", NODES, Kind::Pool, "name"),
    Field::new("spec.pools[].name", NODES),
    Field::new("spec.pools[].select.tier", NODES),
    Field::set("spec.pools[].select.sites", NODES),
    Field::names("spec.pools[].select.labels", NODES),
    Field::new("spec.pools[].affinity", PLACEMENT),
    Field::new("spec.pools[].spread.max_copies", PLACEMENT),
    Field::new("spec.pools[].hash_balance_factor", PLACEMENT),
    Field::new("spec.pools[].reclaim", OPERATION),
    Field::new("spec.pools[].reclaim.method", OPERATION),
    Field::new("spec.pools[].reclaim.wide_method", OPERATION),
    Field::new("spec.pools[].reclaim.port", OPERATION),
    Field::new("spec.pools[].reclaim.header", OPERATION),
    Field::new("spec.pools[].freshness", OPERATION),
    // Sizes weigh the cost of sites; what is known of misses is known by class.
    Field::entries("spec.classes", SITE, Kind::Class, "name"),
    Field::new("spec.classes[].name", SITE),
    Field::new("spec.classes[].expected_bytes", SITE),
    Field::entries("spec.rules", MATCHING, Kind::Rule, "name").in_order(),
    Field::new("spec.rules[].name", WORDS),
    Field::new("spec.rules[].owner", WORDS),
    Field::new("spec.rules[].intent", WORDS),
    Field::new("spec.rules[].rollback", WORDS),
    Field::new("spec.rules[].expires", WORDS),
    Field::set("spec.rules[].match.hosts", MATCHING).spelt(Spelling::Lower),
    Field::set("spec.rules[].match.paths", MATCHING),
    Field::set("spec.rules[].match.methods", MATCHING),
    Field::set("spec.rules[].match.headers", MATCHING),
    Field::new("spec.rules[].match.headers[].name", MATCHING).spelt(Spelling::Lower),
    Field::set("spec.rules[].match.query", MATCHING),
    Field::set("spec.rules[].match.countries", MATCHING).spelt(Spelling::Upper),
    Field::set("spec.rules[].match.asns", MATCHING),
    Field::set("spec.rules[].match.cidrs", MATCHING).spelt(Spelling::Network),
    Field::set("spec.rules[].match.classes", MATCHING),
    Field::new("spec.rules[].when", MATCHING),
    Field::new("spec.rules[].action", NODES),
    // Who gives way: whether there is room, the loop finds out.
    Field::new("spec.rules[].priority", OPERATION),
    // The order in which pools are tried.
    Field::new("spec.rules[].pools", NODES),
    Field::new("spec.rules[].key.host", PLACEMENT),
    Field::new("spec.rules[].key.path", PLACEMENT),
    // Parts of a key are hashed in this order.
    Field::new("spec.rules[].key.query", PLACEMENT),
    Field::new("spec.rules[].key.headers", PLACEMENT).spelt(Spelling::Lower),
    Field::new("spec.rules[].class", SITE),
    Field::new("spec.rules[].candidates", SITE).usually(Usual::Whole(3)),
    Field::new("spec.rules[].max_detour", SITE).usually(Usual::As("spec.score.max_detour")),
    Field::new("spec.rules[].spread", SITE).usually(Usual::As("spec.score.spread")),
    // Absent, it is a second for proxies without a bound of their own; written, it overrules theirs. So no value is usual.
    Field::new("spec.rules[].attempt_timeout", OPERATION),
    Field::new("spec.rules[].ttl", OPERATION).usually(Usual::Word("0ms")),
    // Who is asked stays as it is; what may be served of an object may not.
    Field::new("spec.rules[].freshness.namespace", OPERATION),
    Field::set("spec.rules[].freshness.tags", OPERATION),
    Field::new("spec.rules[].freshness.cache_ttl", OPERATION),
    Field::new("spec.rules[].freshness.adaptive_ttl", OPERATION),
    Field::new("spec.rules[].freshness.adaptive_ttl.min", OPERATION),
    Field::new("spec.rules[].freshness.adaptive_ttl.max", OPERATION),
    Field::new(
        "spec.rules[].freshness.adaptive_ttl.staleness_percent",
        OPERATION,
    ),
    Field::names("spec.rules[].require", NODES),
    Field::set("spec.rules[].geofence", NODES).spelt(Spelling::Upper),
    // They say what is to come out, and change nothing of it.
    Field::set("spec.rules[].examples.match", WORDS),
    Field::set("spec.rules[].examples.no_match", WORDS),
    Field::set("spec.rules[].expect", WORDS),
    Field::new("spec.otherwise", MATCHING),
];
