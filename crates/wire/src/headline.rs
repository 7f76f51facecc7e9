//! The answer and its reason, each in a sentence: what a person reads first.

use tradewind_engine::balance::overload;
use tradewind_engine::decision::Decision;
use tradewind_engine::evaluate::{MatchedBy, Reason};
use tradewind_engine::explanation::{Away, Explanation, SiteStanding};
use tradewind_engine::model::NodeIndex;

/// The answer in a sentence: who serves it and how soon, or that nobody does.
pub(super) fn headline(decision: &Decision<'_>) -> String {
    let evaluation = decision.evaluation();
    let topology = decision.snapshot().topology();
    let Some(pick) = evaluation.picks.first() else {
        let why = evaluation.reason.name().replace('_', " ");
        return match evaluation.shed {
            Some(shed) => format!(
                "Nobody serves it now: {why}; come back in {} s.",
                shed.retry_after_s
            ),
            None => format!("Nobody serves it: {why}."),
        };
    };
    let node = topology.node(pick.node);
    let site = &topology.site(node.site).id;
    let expected = decision.candidates().next().and_then(|it| it.expected_ms);
    let expected = expected.map_or_else(
        || "how soon is not known".to_owned(),
        |ms| format!("expected {ms:.1} ms"),
    );
    format!("{} at {site} serves it, {expected}.", node.id)
}

/// Why, in one or two sentences: what led to the site, and what to the node there.
pub(super) fn why(decision: &Decision<'_>, explanation: &Explanation) -> String {
    let evaluation = decision.evaluation();
    let Some(pick) = evaluation.picks.first() else {
        return match evaluation.shed.and_then(|shed| shed.node) {
            Some(node) => no_room(decision, node),
            None => refused(evaluation.reason).to_owned(),
        };
    };
    let topology = decision.snapshot().topology();
    let node = topology.node(pick.node);
    let site = &topology.site(node.site).id;
    let home = explanation
        .home
        .filter(|it| matches!(it.away, Some(Away::Out(_))));
    let home = home.map(|home| &*topology.node(home.node).id);
    let to_node = to_node(evaluation.reason, &node.id, home);
    let sharing: Vec<&str> = explanation
        .sites
        .iter()
        .filter(|line| line.standing == SiteStanding::InScope)
        .map(|line| &*topology.site(line.site).id)
        .collect();
    if explanation.sharing_sites > 1 {
        return format!(
            "{} sites share clients of whom no more is known than of this one, and a hash of its network leads to {site}; {to_node}.",
            explanation.sharing_sites
        );
    }
    if let [_, _, ..] = sharing.as_slice() {
        let spread = decision.plan().map_or(0.0, |plan| plan.spread_ms);
        let who = match evaluation.matched {
            MatchedBy::Rule(_) => format!("rule {} lets them", decision.rule_name()),
            _ => "they".to_owned(),
        };
        let joiner = explanation.flips.joiner.map_or_else(String::new, |other| {
            let other_site = &topology.site(other.site).id;
            format!(
                " {other_site} would share them too if it were {:.1} ms faster.",
                other.join_ms
            )
        });
        return format!(
            "{} are within {spread:.1} ms of each other, so {who} share objects; {to_node}.{joiner}",
            listed(&sharing)
        );
    }
    let ahead = explanation
        .flips
        .runner_up
        .map_or_else(String::new, |other| {
            let other_site = &topology.site(other.site).id;
            format!(", {:.1} ms ahead of {other_site}", other.flip_ms)
        });
    let is_best = evaluation
        .sites
        .first()
        .is_some_and(|best| best.site == node.site);
    if is_best {
        format!("{site} is the best site for this client{ahead}; {to_node}.")
    } else {
        format!("{site} stands in for a better site; {to_node}.")
    }
}

/// `FRA, AMS and CDG`; of many, the first few and how many more.
fn listed(names: &[&str]) -> String {
    const NAMED: usize = 4;
    match names {
        [all @ .., last] if names.len() <= NAMED => format!("{} and {last}", all.join(", ")),
        _ => {
            let shown = names.get(..NAMED).unwrap_or(names);
            format!(
                "{} and {} more",
                shown.join(", "),
                names.len() - shown.len()
            )
        }
    }
}

/// What led to the node, once the site was found. `home` is the node that the key is at home at, where that is out.
fn to_node(reason: Reason, node: &str, home: Option<&str>) -> String {
    match reason {
        Reason::Owner => format!("the key's hash gives it to {node}"),
        Reason::HotCopy => {
            format!("the object is hot, and {node} is one of the nodes that carry it")
        }
        Reason::Spilled => {
            format!("its owner has too much load, and {node} is the next in the key's order")
        }
        Reason::SiteSpilled => {
            format!("the best site has too much load, and {node} owns the key here")
        }
        Reason::Probe => {
            format!("{node} is coming back, and this key is of the slice that it is tried with")
        }
        Reason::Trial => format!("the way there is being tried, and {node} owns the key there"),
        Reason::LessLoaded => {
            format!("no node owns the key, and {node} had less to do than another")
        }
        Reason::OwnerTried => {
            format!("its owner has been tried, and {node} is the next in the key's order")
        }
        Reason::SiteTried => {
            format!("the nodes of the best site have been tried, and {node} owns the key here")
        }
        Reason::PurgeBehind => {
            format!("another has not dropped what was purged, and {node} stands in")
        }
        Reason::OwnerOut => {
            let home =
                home.map_or_else(|| "its owner".to_owned(), |home| format!("its home {home}"));
            format!("{home} is out, and {node} stands in")
        }
        Reason::Outweighed => {
            format!("its owner counts for less than usual, and {node} wins the race")
        }
        Reason::Steered => format!("what was measured leads here, and {node} owns the key here"),
        Reason::Restricted => format!("{node} is the first that the caller can use"),
        Reason::Readmitted => format!("too little of the pool is well, so {node} is used again"),
        Reason::NextTier => format!(
            "too little of an earlier tier can be used, and {node} owns the key in the next"
        ),
        Reason::Panic => {
            format!("too little is well anywhere, so every node is used, and {node} owns the key")
        }
        Reason::Origin => format!("nothing but the origin is left, and {node} is of it"),
        Reason::RefusedByRule
        | Reason::NoRule
        | Reason::UnknownPool
        | Reason::NoNode
        | Reason::NoRoom
        | Reason::RateLimited => refused(reason).trim_end_matches('.').to_owned(),
    }
}

/// Why the node that would be named first has no room for it.
fn no_room(decision: &Decision<'_>, node: NodeIndex) -> String {
    let priority = decision
        .plan()
        .map(|plan| plan.priority)
        .unwrap_or_default();
    let level = decision.snapshot().signals().node(node).shed;
    let share = f64::from(overload::share(level, priority)) / 2.56;
    format!(
        "{} is asked for more than it can do, and sheds {share:.0} % of the requests of {} priority.",
        decision.snapshot().topology().node(node).id,
        priority.name()
    )
}

/// Why nobody serves it.
fn refused(reason: Reason) -> &'static str {
    match reason {
        Reason::RefusedByRule => "The rule that matches refuses it.",
        Reason::NoRule => "No rule matches it.",
        Reason::UnknownPool => "The policy has no pool of the name that the caller gave.",
        Reason::RateLimited => "Its limit of requests is used up.",
        _ => "No node is left that may be named.",
    }
}
