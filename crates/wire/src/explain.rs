//! An explanation as a message, and in plain words.

use super::headline::{headline, why};
use super::place::place_message;
use super::proto;
use tradewind_engine::decision::Decision;
use tradewind_engine::evaluate::{MAX_SCORED_SITES, MatchedBy, Reason, Rung, Verdict};
use tradewind_engine::explanation::{
    Away, Elimination, Explanation, Home, NodeLine, SiteLine, SiteStanding,
};
use tradewind_engine::geo::cell::Cell;
use tradewind_engine::geo::place::{Place, Source};
use tradewind_engine::signal::{Admission, Evidence};
use tradewind_engine::topology::Topology;

/// What is known of the node that a key is at home at beyond its verdict; `None` for what is not.
#[derive(Debug, Clone, Copy, Default)]
pub struct HomeTimes {
    /// Since when its verdict holds, ms ago.
    pub since_ms: Option<u64>,
    /// When its breaker lets some of its keys through again, in ms from now.
    pub retry_ms: Option<u64>,
    /// What its breaker opened for.
    pub cause: Option<&'static str>,
}

/// Turns an explanation of `decision` into its message. `times` are of the key's home.
pub fn explanation(
    decision: &Decision<'_>,
    explanation: &Explanation,
    times: HomeTimes,
) -> proto::Explanation {
    let topology = decision.snapshot().topology();
    let flips = &explanation.flips;
    let site_id = |site| topology.site(site).id.to_string();
    let home = explanation.home.map(|known| home(decision, known, times));
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
        runner_up_site: (flips.runner_up).map_or_else(String::new, |other| site_id(other.site)),
        flip_ms: flips.runner_up.map_or(0.0, |other| other.flip_ms),
        second_node: flips
            .second_node
            .map_or_else(String::new, |s| topology.node(s.node).id.to_string()),
        flip_weight_ratio: flips
            .second_node
            .map_or(0.0, |second| second.flip_weight_ratio),
        joining_site: (flips.joiner).map_or_else(String::new, |other| site_id(other.site)),
        join_ms: flips.joiner.map_or(0.0, |other| other.join_ms),
        next_sharing_site: flips
            .next_sharer
            .map_or_else(String::new, |other| site_id(other.site)),
        sharing_weight_ratio: flips
            .next_sharer
            .map_or(0.0, |other| other.flip_weight_ratio),
        summary: summary(decision, explanation, home.as_ref()),
        home,
        sharing_sites: count_u32(explanation.sharing_sites),
        spread_cut: count_u32(explanation.spread_cut),
        last_mile_ms: explanation.last_mile.map(|mile| mile.ms),
        last_mile_samples: explanation.last_mile.map_or(0, |mile| mile.samples),
        when_failures: when_failures(decision, explanation),
        headline: headline(decision),
        why: why(decision, explanation),
        unmatched_rules: unmatched(decision, explanation),
        spread_ms: decision.plan().map_or(0.0, |plan| plan.spread_ms),
        eliminated_sites: explanation
            .eliminated_sites
            .iter()
            .map(|out| proto::EliminatedSite {
                site: site_id(out.site),
                why: out.why.name().to_owned(),
                nodes: count_u32(out.nodes),
            })
            .collect(),
    }
}

/// The rules before the one that decided, and why they did not.
fn unmatched(decision: &Decision<'_>, explanation: &Explanation) -> Vec<proto::UnmatchedRule> {
    let rules = decision.routing().rules();
    let unmatched = explanation.unmatched.iter();
    unmatched
        .map(|known| proto::UnmatchedRule {
            rule: rules
                .get(known.rule.get())
                .map_or_else(String::new, |rule| rule.name.to_string()),
            why: known.why.clone(),
        })
        .collect()
}

/// The rules whose expressions could not be answered.
fn when_failures(decision: &Decision<'_>, explanation: &Explanation) -> Vec<proto::WhenFailure> {
    let rules = decision.routing().rules();
    let failures = explanation.when_failures.iter();
    failures
        .map(|failure| proto::WhenFailure {
            rule: (rules.get(failure.rule.get())).map_or_else(String::new, |r| r.name.to_string()),
            why: failure.why.clone(),
        })
        .collect()
}

/// Where the key is at home, and why it is not there.
fn home(decision: &Decision<'_>, home: Home, times: HomeTimes) -> proto::KeyHome {
    let snapshot = decision.snapshot();
    let node = snapshot.topology().node(home.node);
    let known = snapshot.signals().node(home.node);
    let is_out = match home.away {
        Some(Away::Out(why)) => why != Elimination::ExcludedByCaller,
        Some(Away::Otherwise(_)) | None => false,
    };
    let is_light = home.away == Some(Away::Otherwise(Reason::Outweighed));
    proto::KeyHome {
        node: node.id.to_string(),
        site: snapshot.topology().site(node.site).id.to_string(),
        why: home.away.map_or("", Away::name).to_owned(),
        cause: (times.cause.filter(|_| is_out)).map_or_else(String::new, str::to_owned),
        since_ms: times.since_ms.filter(|_| is_out),
        retry_ms: times.retry_ms.filter(|_| is_out),
        slice_ratio: match known.admission {
            Admission::Probing { slice } if is_out => Some(f32::from(slice) / 65_536.0),
            _ => None,
        },
        weight_ratio: is_light.then_some(known.weight_factor),
        term: home.shift.map_or("", |shift| shift.term).to_owned(),
        term_ms: home.shift.map_or(0.0, |shift| shift.ms),
    }
}

/// `its home is fra-2 at fra: breaker_open for 12 s (consecutive_failures), tried again in 8 s`
fn home_sentence(home: &proto::KeyHome) -> String {
    let seconds = |ms: u64| tradewind_engine::number::from_u64(ms) / 1_000.0;
    let mut words = vec![format!(
        "its home is {} at {}: {}",
        home.node, home.site, home.why
    )];
    words.extend(home.since_ms.map(|ms| format!(" for {:.0} s", seconds(ms))));
    if !home.cause.is_empty() {
        words.push(format!(" ({})", home.cause));
    }
    let rest = [
        home.retry_ms
            .map(|ms| format!(", tried again in {:.0} s", seconds(ms))),
        home.slice_ratio
            .map(|ratio| format!(", tried with {:.1} % of its keys", ratio * 100.0)),
        home.weight_ratio
            .map(|ratio| format!(", with {:.0} % of its capacity", ratio * 100.0)),
    ];
    words.extend(rest.into_iter().flatten());
    if !home.term.is_empty() {
        let (term, ms) = (&home.term, home.term_ms);
        words.push(format!(", most by {term}, {ms:.1} ms more than assumed"));
    }
    words.concat()
}

fn count_u32(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn rule(decision: &Decision<'_>) -> Option<proto::RuleInfo> {
    let MatchedBy::Rule(index) = decision.evaluation().matched else {
        return None;
    };
    let rule = decision.routing().rules().get(index.get())?;
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
        service_ms: line.terms.service,
        queue_ms: line.terms.queue,
        miss_ms: line.terms.miss,
        error_ms: line.terms.error,
        cost_ms: line.terms.cost,
        bias_ms: line.terms.bias,
        total_ms: line.terms.total_ms(),
        choice_ms: is_held(line).then_some(line.choice_ms),
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

/// Whether a site is chosen by another number than it is expected to cost, to the digits that are shown.
fn is_held(line: &SiteLine) -> bool {
    (line.choice_ms - line.terms.total_ms()).abs() >= 0.05
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
        capacity: u32::from(node.capacity),
    }
}

/// The decision in a few sentences.
fn summary(
    decision: &Decision<'_>,
    explanation: &Explanation,
    home: Option<&proto::KeyHome>,
) -> Vec<String> {
    let evaluation = decision.evaluation();
    let topology = decision.snapshot().topology();
    let mut lines = vec![place_sentence(&evaluation.located.place)];
    for proto::WhenFailure { rule, why } in when_failures(decision, explanation) {
        lines.push(format!(
            "rule `{rule}`: `when` failed: {why}, taken as false"
        ));
    }
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
    if let Some(shed) = evaluation.shed {
        lines.push(format!(
            "the request is shed: {}, come back in {} s",
            evaluation.reason.name(),
            shed.retry_after_s
        ));
    }
    if evaluation.is_tried_once {
        lines.push("one attempt only: further ones would be more than their budget".to_owned());
    }
    let away = home.filter(|home| !home.why.is_empty());
    lines.extend(away.map(home_sentence));
    if let Some(second) = explanation.flips.second_node {
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
    if let Some(mile) = explanation.last_mile {
        lines.push(format!(
            "last mile {:.0} ms, the same to every site; {} samples",
            mile.ms, mile.samples
        ));
    }
    lines.extend(flip_sentences(decision, explanation));
    lines
}

/// Which sites other numbers would bring in.
fn flip_sentences(decision: &Decision<'_>, explanation: &Explanation) -> Vec<String> {
    let topology = decision.snapshot().topology();
    let site = |site| &topology.site(site).id;
    let Some(best) = decision.evaluation().sites.first() else {
        return Vec::new();
    };
    let flips = &explanation.flips;
    let what = if flips.runner_up.is_some() {
        "the key"
    } else {
        "clients like this one"
    };
    let sentences = [
        flips.runner_up.map(|other| {
            format!(
                "{} would be the best site if {} were {:.1} ms slower",
                site(other.site),
                site(best.site),
                other.flip_ms
            )
        }),
        flips.next_sharer.map(|other| {
            format!(
                "{} would have this client if it weighed {:.2} times as much",
                site(other.site),
                other.flip_weight_ratio
            )
        }),
        flips.joiner.map(|other| {
            format!(
                "{} would share {what} if it were {:.1} ms faster",
                site(other.site),
                other.join_ms
            )
        }),
    ];
    sentences.into_iter().flatten().collect()
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
        Rung::NextTier => {
            "too little of an earlier tier is ready and well, or what is left of it is too far"
        }
        Rung::Panic => "too little is well anywhere, every node not in maintenance is used",
        Rung::Origin => "only the origin is left",
        Rung::Shed => "nobody has room for all that is asked, the least important is shed",
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
    let held = if is_held(line) {
        format!(
            ", chosen by {:.1} ms so that it holds still",
            line.choice_ms
        )
    } else {
        String::new()
    };
    format!(
        "{}: {} = {:.1} ms {away}{held}{}",
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
