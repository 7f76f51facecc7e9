//! A plan on one screen, for somebody who was woken for it: whether it may go ahead, what it moves, and why.

use super::Plan;
use crate::command::output::{Text, counted};
use crate::engine::plan::{Basis, Checked, Cost, HitChange, Move, Report, Share, Upshot};

/// Most sites that are listed: those whose share changes most.
const MAX_SITES: usize = 6;

/// Most rules that are named of each kind.
const MAX_RULES: usize = 6;

/// Most moves that are told; JSON has them all.
const MAX_MOVES: usize = 5;

/// Most expectations that are told beside broken ones.
const MAX_CLAIMS: usize = 6;

/// The plan as text.
pub(super) fn text(plan: &Plan, colour: bool) -> String {
    let mut text = Text::default();
    let report = &plan.report;
    text.line(format_args!("{}", verdict(plan, colour)));
    for breach in &plan.breaches {
        text.line(format_args!("  {}: {}", breach.gate, breach.text));
    }
    text.line(format_args!("{}", basis(plan)));
    if let Some(read) = &plan.read {
        text.lines(&read.to_text());
        if report.requests.asked == 0 {
            text.lines(&read.nothing());
        }
    }
    if report.requests.asked == 0 {
        return text.into_string();
    }
    text.line(format_args!(""));
    text.lines(&figures(report));
    text.lines(&sites(&report.sites));
    text.lines(&rules(report));
    text.lines(&moves(&report.examples));
    text.lines(&expectations(&report.expectations));
    text.into_string()
}

fn verdict(plan: &Plan, colour: bool) -> String {
    let (word, paint) = if plan.may_go_ahead {
        ("GO AHEAD", "32")
    } else {
        ("STOP", "31")
    };
    let word = if colour {
        format!("\u{1b}[{paint}m{word}\u{1b}[0m")
    } else {
        word.to_owned()
    };
    let why = if plan.may_go_ahead {
        "no gate stands against it".to_owned()
    } else {
        counted(plan.breaches.len(), "reason")
    };
    format!("{word}: `{}` -> `{}`, {why}", plan.old.file, plan.new.file)
}

fn basis(plan: &Plan) -> String {
    let requests = plan.report.requests.asked;
    match plan.report.rests_on {
        Basis::Traffic => format!("by {requests} requests of {}", logs(plan)),
        Basis::Probes => format!(
            "by {requests} made-up requests, which are not traffic: --trace LOG gives figures of that"
        ),
    }
}

fn logs(plan: &Plan) -> String {
    let lines = plan.read.as_ref().map_or(0, |read| read.lines);
    let skipped = plan.read.as_ref().map_or(0, |read| read.skipped);
    match skipped {
        0 => format!("{lines} lines"),
        _ => format!("{lines} lines, {skipped} skipped"),
    }
}

/// What moves, and what that costs.
fn figures(report: &Report) -> String {
    let mut text = Text::default();
    let (keys, clients, requests) = (&report.keys, &report.clients, &report.requests);
    text.line(format_args!(
        "keys moved      {} of {} ({:.1} %); {} had to ({:.1} %)",
        keys.all.moved,
        keys.all.looked_at,
        keys.all.moved_percent,
        keys.least_possible,
        keys.least_possible_percent
    ));
    text.line(format_args!(
        "clients moved   {} of {} {} ({:.1} %) to another site",
        clients.moved,
        clients.looked_at,
        if clients.looked_at == 1 {
            "group"
        } else {
            "groups"
        },
        clients.moved_percent
    ));
    text.line(format_args!(
        "requests moved  {} of {} ({:.1} %)",
        requests.moved, requests.looked_at, requests.moved_percent
    ));
    let origin = &report.extra_origin;
    text.line(format_args!(
        "origin          {} fetches more ({:.1} % of the requests): {} cold objects, {} requests past caches",
        origin.fetches, origin.percent, origin.cold_objects, origin.past_caches
    ));
    text.line(format_args!("expected ms     {}", cost(report)));
    if keys.all.not_followed + clients.not_followed > 0 {
        text.line(format_args!(
            "                more keys and clients than are followed: the rest is not in these figures"
        ));
    }
    if report.verdicts.is_empty() {
        text.line(format_args!("verdicts        none changed"));
    }
    for change in &report.verdicts {
        text.line(format_args!(
            "verdicts        {} of {}: {} ({}) -> {} ({})",
            change.requests,
            requests.looked_at,
            change.before.verdict,
            change.before.reason,
            change.after.verdict,
            change.after.reason
        ));
    }
    text.into_string()
}

fn cost(report: &Report) -> String {
    let expected = &report.expected_ms;
    let (Some(before), Some(after)) = (expected.before, expected.after) else {
        return "not known: nobody knows where these clients are, or none is routed".to_owned();
    };
    let increase = expected.mean_increase;
    // Nothing is not less than nothing.
    let increase = increase.map(|ms| if ms.abs() < 0.05 { 0.0 } else { ms });
    let increase = increase.map(|ms| format!(" ({ms:+.1} each)"));
    let each = |what: &str, of: fn(&Cost) -> f64| {
        format!("{what} {:.1} -> {:.1}", of(&before), of(&after))
    };
    format!(
        "{}{}, {}, {}",
        each("mean", |cost| cost.mean),
        increase.unwrap_or_default(),
        each("p50", |cost| cost.p50),
        each("p99", |cost| cost.p99)
    )
}

/// The sites whose share changes most.
fn sites(shares: &[Share]) -> String {
    let by = |share: &Share| (share.after - share.before).abs();
    let mut changed: Vec<&Share> = shares.iter().filter(|share| by(share) >= 0.0005).collect();
    if changed.is_empty() {
        return "sites           every share stays as it is\n".to_owned();
    }
    changed.sort_by(|a, b| by(b).total_cmp(&by(a)).then_with(|| a.id.cmp(&b.id)));
    let shown = changed.iter().take(MAX_SITES).map(|share| {
        let [before, after] = [share.before, share.after].map(|share| share * 100.0);
        format!("{} {before:.1} -> {after:.1} %", share.id)
    });
    let shown: Vec<String> = shown.collect();
    let more = match changed.len().saturating_sub(MAX_SITES) {
        0 => String::new(),
        more => format!(", {more} more"),
    };
    format!("sites           {}{more}\n", shown.join(", "))
}

/// The rules that are hit otherwise.
fn rules(report: &Report) -> String {
    let kinds = [
        (HitChange::NewlyHit, "newly hit"),
        (HitChange::HitNoMore, "hit no more"),
        (HitChange::NeverHit, "never hit"),
    ];
    let parts = kinds.into_iter().filter_map(|(change, words)| {
        let names = report.rules.iter().filter(|rule| rule.change == change);
        let names: Vec<&str> = names.map(|rule| &*rule.rule).collect();
        let more = match names.len().saturating_sub(MAX_RULES) {
            _ if names.is_empty() => return None,
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let first = names.into_iter().take(MAX_RULES);
        let first = first.collect::<Vec<_>>().join(", ");
        Some(format!("{words}: {first}{more}"))
    });
    let parts: Vec<String> = parts.collect();
    if parts.is_empty() {
        return "rules           all are hit before and afterwards\n".to_owned();
    }
    format!("rules           {}\n", parts.join("; "))
}

fn moves(examples: &[Move]) -> String {
    let mut text = Text::default();
    for example in examples.iter().take(MAX_MOVES) {
        let stop = |stop: &Option<crate::engine::plan::Stop>| match stop {
            Some(stop) => format!("{} at {}", stop.node, stop.site),
            None => "refused".to_owned(),
        };
        text.line(format_args!(
            "  {}, from {}\n    {} -> {}: {}",
            example.request,
            example.client,
            stop(&example.from),
            stop(&example.to),
            example.why
        ));
    }
    if examples.is_empty() {
        return String::new();
    }
    format!("\nmoves, one of each kind\n{}", text.into_string())
}

fn expectations(checked: &[Checked]) -> String {
    if checked.is_empty() {
        return String::new();
    }
    let count = |upshot| checked.iter().filter(|it| it.upshot == upshot).count();
    let [held, broken, unknown] = [Upshot::Held, Upshot::Broken, Upshot::NotMeasured].map(count);
    let mut text = Text::default();
    text.line(format_args!(
        "\nexpectations: {held} held, {broken} broken, {unknown} not measured"
    ));
    let mut order: Vec<&Checked> = checked.iter().collect();
    // Broken ones first; each kind in the document's order.
    order.sort_by_key(|it| match it.upshot {
        Upshot::Broken => 0,
        Upshot::NotMeasured => 1,
        Upshot::Held => 2,
    });
    for claim in order.iter().take(broken.max(MAX_CLAIMS)) {
        let word = match claim.upshot {
            Upshot::Held => "held",
            Upshot::Broken => "BROKEN",
            Upshot::NotMeasured => "not measured",
        };
        let rests_on = match claim.upshot {
            Upshot::NotMeasured => format!("{} of {} requests", claim.requests, claim.needed),
            _ => format!("{} requests", claim.requests),
        };
        text.line(format_args!(
            "  {word}: rule {}: {}: {} ({rests_on})",
            claim.rule, claim.claim, claim.came_out
        ));
    }
    text.into_string()
}
