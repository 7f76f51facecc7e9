//! An explanation as a message, and in plain words.

use super::place::place_message;
use super::proto;
use crate::engine::decision::Decision;
use crate::engine::evaluate::{MAX_SCORED_SITES, MatchedBy, Rung, Verdict};
use crate::engine::explanation::{Explanation, NodeLine, SiteLine, SiteStanding};
use crate::engine::geo::cell::Cell;
use crate::engine::geo::place::{Place, Source};
use crate::engine::signal::Evidence;
use crate::engine::topology::Topology;

/// Turns an explanation of `decision` into its message.
pub fn explanation(decision: &Decision<'_>, explanation: &Explanation) -> proto::Explanation {
    let topology = decision.snapshot().topology();
    proto::Explanation {
        client: Some(place_message(&decision.evaluation().located.place)),
        rule: rule(decision),
        key_hash: format!("{:016x}", decision.evaluation().key.0),
        sites: explanation
            .sites
            .iter()
            .map(|line| site(topology, line))
            .collect(),
        nodes: explanation
            .nodes
            .iter()
            .map(|line| node(topology, line))
            .collect(),
        eliminated: explanation
            .eliminated
            .iter()
            .map(|(reason, count)| (reason.name().to_owned(), count_u32(*count)))
            .collect(),
        sites_not_shown: count_u32(explanation.sites_not_shown),
        nodes_not_shown: count_u32(explanation.nodes_not_shown),
        runner_up_site: explanation
            .runner_up
            .map_or_else(String::new, |r| topology.site(r.site).id.to_string()),
        flip_ms: explanation
            .runner_up
            .map_or(0.0, |runner_up| runner_up.flip_ms),
        second_node: explanation
            .second_node
            .map_or_else(String::new, |s| topology.node(s.node).id.to_string()),
        flip_weight_ratio: explanation
            .second_node
            .map_or(0.0, |second| second.flip_weight_ratio),
        summary: summary(decision, explanation),
        sharing_sites: count_u32(explanation.sharing_sites),
        spread_cut: count_u32(explanation.spread_cut),
    }
}

fn count_u32(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn rule(decision: &Decision<'_>) -> Option<proto::RuleInfo> {
    let MatchedBy::Rule(index) = decision.evaluation().matched else {
        return None;
    };
    let rule = decision.policy().rules().get(index.get())?;
    Some(proto::RuleInfo {
        name: rule.name.to_string(),
        owner: rule.owner.to_string(),
        intent: rule.intent.to_string(),
        rollback: rule.rollback.to_string(),
    })
}

fn site(topology: &Topology, line: &SiteLine) -> proto::SiteScore {
    proto::SiteScore {
        site: topology.site(line.site).id.to_string(),
        distance_km: line.distance_km,
        network_ms: line.distance_km.map(|_| line.terms.network),
        queue_ms: line.terms.queue,
        miss_ms: line.terms.miss,
        error_ms: line.terms.error,
        cost_ms: line.terms.cost,
        bias_ms: line.terms.bias,
        total_ms: line.terms.total_ms(),
        standing: line.standing.name().to_owned(),
        admitted_nodes: count_u32(line.admitted_nodes),
        evidence: line
            .evidence
            .named()
            .into_iter()
            .map(|(term, evidence)| (term.to_owned(), term_evidence(evidence)))
            .collect(),
    }
}

fn term_evidence(evidence: Evidence) -> proto::TermEvidence {
    proto::TermEvidence {
        samples: evidence.samples,
        age_ms: evidence.age_ms,
        prior_share: evidence.prior_share,
    }
}

fn node(topology: &Topology, line: &NodeLine) -> proto::NodeFate {
    let node = topology.node(line.node);
    proto::NodeFate {
        node: node.id.to_string(),
        site: topology.site(node.site).id.to_string(),
        weight: line.weight,
        race: line.race.unwrap_or(0.0),
        place: line.place.map_or(0, count_u32),
        eliminated: line
            .eliminated
            .map_or_else(String::new, |reason| reason.name().to_owned()),
    }
}

/// The decision in a few sentences.
fn summary(decision: &Decision<'_>, explanation: &Explanation) -> Vec<String> {
    let evaluation = decision.evaluation();
    let topology = decision.snapshot().topology();
    let mut lines = vec![place_sentence(&evaluation.located.place)];
    match (evaluation.matched, decision.rule_name()) {
        (MatchedBy::Rule(_), name) => lines.push(format!("rule `{name}` matches first")),
        (MatchedBy::Pool(_), _) => lines.push(format!(
            "the caller named the pool `{}`",
            decision.pool_name()
        )),
        (MatchedBy::Nothing, _) => lines.push("no rule matches".to_owned()),
    }
    if evaluation.verdict == Verdict::Refuse {
        lines.push(format!("no node is named: {}", evaluation.reason.name()));
        return lines;
    }
    if evaluation.rung != Rung::Normal {
        lines.push(format!(
            "degraded, rung `{}`: {}",
            evaluation.rung.name(),
            rung_words(evaluation.rung)
        ));
    }
    if decision.snapshot().signals().isolated {
        lines.push("this sidecar may be cut off: verdicts are frozen for a minute".to_owned());
    }
    lines.extend(site_sentences(decision, explanation));
    if let Some(pick) = evaluation.picks.first() {
        lines.push(format!(
            "{} is named first: {}",
            topology.node(pick.node).id,
            evaluation.reason.name()
        ));
    }
    if let Some(second) = explanation.second_node {
        lines.push(format!(
            "{} would own this key if it weighed {:.2} times as much",
            topology.node(second.node).id,
            second.flip_weight_ratio
        ));
    }
    lines
}

/// Where the client is taken to be, who said so, and how closely it is known.
fn place_sentence(place: &Place) -> String {
    let country = place
        .country
        .map_or_else(|| "unknown country".to_owned(), |c| c.to_string());
    let Some(center) = place.cell().map(Cell::center) else {
        return format!(
            "nothing is known of where the client is ({country}), and nothing stands in"
        );
    };
    let (latitude, longitude) = (center.latitude(), center.longitude());
    let near = format!("near {latitude:.1}, {longitude:.1} ({country})");
    let km = place.radius.km();
    match place.source {
        Source::Here => format!(
            "nothing is known of where the client is; it is taken to be {near} as this sidecar is"
        ),
        Source::Default => format!(
            "nothing is known of where the client is; it is taken to be {near}, said by: default"
        ),
        source if place.is_country_only => format!(
            "of the client only the country is known, said by: {}; its people are {near}, most of them within {km:.0} km",
            source.name()
        ),
        source if place.radius.is_point() => {
            format!("the client is {near}, said by: {}", source.name())
        }
        source => format!(
            "the client is within {km:.0} km of a place {near}, said by: {}",
            source.name()
        ),
    }
}

/// The sites that share the key, and what is behind them.
fn site_sentences(decision: &Decision<'_>, explanation: &Explanation) -> Vec<String> {
    let topology = decision.snapshot().topology();
    let mut lines: Vec<String> = explanation
        .sites
        .iter()
        .filter(|line| line.standing == SiteStanding::InScope)
        .map(|line| site_sentence(topology, line))
        .collect();
    match explanation.spread_cut {
        0 => {}
        1 => lines.push(format!(
            "1 more site is within the spread: at most {MAX_SCORED_SITES} share a key"
        )),
        more => lines.push(format!(
            "{more} more sites are within the spread: at most {MAX_SCORED_SITES} share a key"
        )),
    }
    if explanation.sharing_sites > 1 {
        lines.push(format!(
            "{} sites share clients of whom no more is known than of this one, by their weight and a hash of the client's \
             network",
            explanation.sharing_sites
        ));
    }
    let best = decision.evaluation().sites.first();
    if let (Some(best), Some(runner_up)) = (best, explanation.runner_up) {
        lines.push(format!(
            "{} would win if {} were {:.1} ms slower",
            topology.site(runner_up.site).id,
            topology.site(best.site).id,
            runner_up.flip_ms
        ));
    }
    lines
}

/// What a rung means, in words.
fn rung_words(rung: Rung) -> &'static str {
    match rung {
        Rung::Normal => "nothing is wrong",
        Rung::Unknown => {
            "too little of the pool is well, nodes with old bad verdicts are used again"
        }
        Rung::Overloaded => {
            "too little of the pool is well, nodes with too much load are used again"
        }
        Rung::HalfOpen => "too little of the pool is well, open breakers let a quarter through",
        Rung::NextTier => "too little of an earlier tier is ready and well",
        Rung::Panic => "too little is well anywhere, every node not in maintenance is used",
        Rung::Origin => "only the origin is left",
        Rung::Refuse => "no node is left",
    }
}

/// `FRA: 6.3 network + 20.0 miss + 0.2 error = 26.5 ms at 78 km`; without a distance where nobody knows it.
fn site_sentence(topology: &Topology, line: &SiteLine) -> String {
    let parts: Vec<String> = line
        .terms
        .named()
        .into_iter()
        .filter(|(_, ms)| *ms != 0.0)
        .map(|(name, ms)| format!("{ms:.1} {name}"))
        .collect();
    let away = line.distance_km.map_or_else(
        || "without the way there, which is not known".to_owned(),
        |km| format!("at {km:.0} km"),
    );
    format!(
        "{}: {} = {:.1} ms {away}{}",
        topology.site(line.site).id,
        parts.join(" + "),
        line.terms.total_ms(),
        observed(line)
    )
}

/// `; 1200 samples of miss, 3 s old` for the terms that are observed for the most part; nothing while all are assumed.
fn observed(line: &SiteLine) -> String {
    let named = line.evidence.named().into_iter();
    let words: Vec<String> = named
        .filter(|(_, evidence)| evidence.prior_share < 0.5)
        .map(|(term, evidence)| {
            let age_s = f64::from(evidence.age_ms) / 1_000.0;
            format!("{} samples of {term}, {age_s:.0} s old", evidence.samples)
        })
        .collect();
    if words.is_empty() {
        return String::new();
    }
    format!("; {}", words.join(", "))
}
