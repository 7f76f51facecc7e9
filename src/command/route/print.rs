//! A decision in lines and tables for people, made from the messages alone.

use crate::command::output::{Text, table, trimmed};
use crate::sidecar::wire::proto;

/// The answer.
pub(super) fn decided(answer: &proto::DecideResponse) -> String {
    let verdict = match answer.verdict() {
        proto::Verdict::Route => "route",
        proto::Verdict::Refuse => "refuse",
        proto::Verdict::Shed => "shed",
        proto::Verdict::Unspecified => "unknown",
    };
    let rule = match answer.rule.as_str() {
        "" => "no rule".to_owned(),
        name => format!("rule `{name}`"),
    };
    let mut text = Text::default();
    text.line(format_args!(
        "{verdict}: {rule}, {}, {}, rung {}",
        answer.reason, answer.purity, answer.rung
    ));
    if !answer.candidates.is_empty() {
        let mut lines = table(
            &[
                "#",
                "node",
                "address",
                "site",
                "tier",
                "expected ms",
                "timeout",
                "role",
            ],
            &[1, 2, 3, 4, 7],
        );
        for (place, node) in (1..).zip(&answer.candidates) {
            lines.add_row([
                place.to_string(),
                node.node.clone(),
                node.address.clone(),
                node.site.clone(),
                node.tier.clone(),
                or_unknown(node.expected_ms, 1),
                duration(node.attempt_timeout.as_ref()),
                node.role.clone(),
            ]);
        }
        text.lines(&trimmed(&lines));
    }
    if answer.retry_after.is_some() {
        let retry_after = duration(answer.retry_after.as_ref());
        text.line(format_args!("come back in {retry_after}"));
    }
    if !answer.notes.is_empty() {
        text.line(format_args!("notes: {}", answer.notes.join(", ")));
    }
    text.line(format_args!(
        "cache: {}, reuse for {}, policy {}",
        answer.cache_hint,
        duration(answer.ttl.as_ref()),
        answer.policy_digest
    ));
    text.into_string()
}

/// The answer and its reasons.
pub(super) fn explained(answer: &proto::ExplainResponse) -> String {
    let mut text = Text::default();
    text.lines(&answer.decision.as_ref().map(decided).unwrap_or_default());
    let Some(why) = &answer.explanation else {
        return text.into_string();
    };
    text.line(format_args!("\n{} {}\n", why.headline, why.why));
    for line in &why.summary {
        text.line(format_args!("- {line}"));
    }
    if let Some(rule) = &why.rule {
        text.line(format_args!(
            "\nrule `{}`, owned by {}\n  intent: {}\n  rollback: {}",
            rule.name, rule.owner, rule.intent, rule.rollback
        ));
    }
    if !why.sites.is_empty() {
        text.lines(&sites(why));
    }
    if !why.nodes.is_empty() {
        text.lines(&nodes(why));
    }
    flips(&mut text, why);
    text.into_string()
}

fn sites(why: &proto::Explanation) -> String {
    // Most often nothing is held, and sites are chosen by what they are expected to cost.
    let any_held = why.sites.iter().any(|site| site.choice_ms.is_some());
    let chosen_by = any_held.then_some("chosen by");
    let terms = [
        "network", "service", "queue", "miss", "error", "cost", "bias",
    ];
    let mut head = vec!["site", "km"];
    head.extend(terms);
    head.push("total ms");
    head.extend(chosen_by);
    let standing_at = head.len();
    head.extend(["standing", "nodes"]);
    let mut lines = table(&head, &[0, standing_at]);
    for site in &why.sites {
        let mut row = vec![site.site.clone(), or_unknown(site.distance_km, 0)];
        row.push(or_unknown(site.network_ms, 1));
        let terms = [
            site.service_ms,
            site.queue_ms,
            site.miss_ms,
            site.error_ms,
            site.cost_ms,
            site.bias_ms,
            site.total_ms,
        ];
        row.extend(terms.map(|ms| format!("{ms:.1}")));
        row.extend(chosen_by.map(|_| format!("{:.1}", site.choice_ms.unwrap_or(site.total_ms))));
        row.push(site.standing.clone());
        row.push(site.admitted_nodes.to_string());
        lines.add_row(row);
    }
    let rest = not_shown(why.sites_not_shown, "sites");
    let cut = match why.spread_cut {
        0 => String::new(),
        more => format!("  {more} within the spread share no keys: at most eight sites do\n"),
    };
    let rests_on = rests_on(why);
    format!(
        "\nsites, best first, in ms:\n{}{rest}{cut}{rests_on}",
        trimmed(&lines)
    )
}

/// What the terms of each site rest on; nothing while all are assumed.
fn rests_on(why: &proto::Explanation) -> String {
    let mut lines = table(&["site", "term", "samples", "age s", "assumed %"], &[0, 1]);
    let mut any = false;
    for site in &why.sites {
        for (term, evidence) in &site.evidence {
            if evidence.samples > 0 {
                any = true;
                lines.add_row([
                    site.site.clone(),
                    term.clone(),
                    evidence.samples.to_string(),
                    format!("{:.1}", f64::from(evidence.age_ms) / 1_000.0),
                    format!("{:.0}", evidence.prior_share * 100.0),
                ]);
            }
        }
    }
    if any {
        format!("\nwhat was observed:\n{}", trimmed(&lines))
    } else {
        String::new()
    }
}

fn nodes(why: &proto::Explanation) -> String {
    let mut lines = table(
        &["place", "node", "site", "weight", "race", "fate"],
        &[1, 2, 5],
    );
    // What happened at sites that were not chosen is told by the sites' table and the counts below.
    let scope = |node: &&proto::NodeFate| {
        let mut chosen = why.sites.iter().filter(|site| site.standing == "in_scope");
        node.place > 0 || chosen.any(|site| site.site == node.site)
    };
    let shown: Vec<&proto::NodeFate> = why.nodes.iter().filter(scope).collect();
    for node in &shown {
        let ran = node.race > 0.0;
        let fate = match (node.place, node.eliminated.as_str()) {
            (0, "") if ran => "ran, not needed",
            (0, "") => "not ranked",
            (0, reason) => reason,
            _ => "named",
        };
        let or_dash = |holds: bool, text: String| if holds { text } else { "-".to_owned() };
        lines.add_row([
            or_dash(node.place > 0, node.place.to_string()),
            node.node.clone(),
            node.site.clone(),
            format!("{:.0}", node.weight),
            or_dash(ran, format!("{:.6}", node.race)),
            fate.to_owned(),
        ]);
    }
    let left_out = u32::try_from(why.nodes.len() - shown.len()).unwrap_or(u32::MAX);
    let rest = not_shown(why.nodes_not_shown.saturating_add(left_out), "nodes");
    format!(
        "\nnodes, by key {} (the smallest race wins):\n{}{rest}",
        why.key_hash,
        trimmed(&lines)
    )
}

/// What would change the answer.
fn flips(text: &mut Text, why: &proto::Explanation) {
    let sites = [
        &why.runner_up_site,
        &why.next_sharing_site,
        &why.joining_site,
    ];
    let none = why.eliminated.is_empty() && sites.iter().all(|site| site.is_empty());
    if !(none && why.second_node.is_empty()) {
        text.line(format_args!(""));
    }
    if !why.eliminated.is_empty() {
        let reasons = why.eliminated.iter();
        let counts: Vec<String> = reasons
            .map(|(reason, count)| format!("{count} {reason}"))
            .collect();
        text.line(format_args!("eliminated nodes: {}", counts.join(", ")));
    }
    if !why.runner_up_site.is_empty() {
        text.line(format_args!(
            "runner-up: {}, {:.1} ms behind",
            why.runner_up_site, why.flip_ms
        ));
    }
    if !why.next_sharing_site.is_empty() {
        text.line(format_args!(
            "next site: {}, first with {:.2} times its weight",
            why.next_sharing_site, why.sharing_weight_ratio
        ));
    }
    if !why.joining_site.is_empty() {
        text.line(format_args!(
            "next to share: {}, if {:.1} ms faster",
            why.joining_site, why.join_ms
        ));
    }
    if !why.second_node.is_empty() {
        text.line(format_args!(
            "second node: {}, first with {:.2} times its weight",
            why.second_node, why.flip_weight_ratio
        ));
    }
}

fn not_shown(count: u32, what: &str) -> String {
    match count {
        0 => String::new(),
        count => format!("  and {count} {what} more, not shown\n"),
    }
}

/// A number, or that it is not known.
fn or_unknown(number: Option<f32>, decimals: usize) -> String {
    number.map_or_else(
        || "unknown".to_owned(),
        |number| format!("{number:.decimals$}"),
    )
}

fn duration(duration: Option<&prost_types::Duration>) -> String {
    duration.map_or_else(|| "0s".to_owned(), ToString::to_string)
}
