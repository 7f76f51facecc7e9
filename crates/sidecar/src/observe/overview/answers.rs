//! The four answers.

use super::{Answer, Ground, Marked, Part};
use crate::view::history::Column;
use crate::view::journal::Mark;
use crate::view::words;
use tradewind_engine::lifecycle::Revision;
use tradewind_engine::number::from_u64;

/// Names of nodes or sites in an answer.
const NAMED: usize = 3;

/// All four, in their order.
pub(super) fn all(ground: &Ground<'_>) -> Vec<Answer> {
    vec![up(ground), slow(ground), failing(ground), changed(ground)]
}

fn up(ground: &Ground<'_>) -> Answer {
    let counts = &ground.counts;
    let lower = ground.lower_rungs();
    let (mark, answer) = if ground.fleet.is_none() || !ground.is_ready {
        (Mark::Bad, "No.")
    } else if !lower.is_empty() {
        (Mark::Warn, "Yes, on a lower rung.")
    } else {
        (Mark::Well, "Yes.")
    };
    let used = words::count(counts.used() as u64);
    let nodes = words::count(counts.nodes as u64);
    let short = if ground.fleet.is_some() {
        format!("{used} of {nodes} nodes")
    } else {
        "nothing in force".to_owned()
    };
    let mut said = Vec::new();
    for (count, how) in [
        (counts.out, "out"),
        (counts.tried, "being tried"),
        (counts.drained, "drained by operators"),
    ] {
        if count > 0 {
            said.push(format!("{} {how}", words::count(count as u64)));
        }
    }
    let rest = if said.is_empty() {
        String::new()
    } else {
        format!("; {}", said.join(", "))
    };
    let pools = ground.view.pools.len();
    let rungs = match (lower.as_slice(), pools) {
        ([], 0) => "There is no pool.".to_owned(),
        ([], 1) => "The pool is on the normal rung.".to_owned(),
        ([], _) => format!("All {pools} pools are on the normal rung."),
        (lower, _) => {
            let names: Vec<&str> = lower.iter().map(|(name, _)| &**name).collect();
            format!("On a lower rung: {}.", words::listed(&names, NAMED))
        }
    };
    let proof = if ground.fleet.is_some() {
        format!("{used} of {nodes} nodes are in use{rest}. {rungs}")
    } else {
        let status = &ground.status;
        let documents = [&status.policy, &status.topology].into_iter();
        let said = documents.filter_map(|document| first_of(&document.faults));
        said.reduce(|policy, topology| format!("{policy}; {topology}"))
            .unwrap_or_else(|| "No policy and no fleet have been read yet.".to_owned())
    };
    Answer {
        key: "up",
        question: "Is it up?",
        mark,
        said: answer.to_owned(),
        short,
        proof: vec![Part::text(proof)],
    }
}

fn slow(ground: &Ground<'_>) -> Answer {
    let (slow, left) = (ground.slow_nodes(), ground.left_sites());
    let times = ground.view.times_ms;
    let mut proof = Vec::new();
    for (node, now, usual) in slow.iter().take(NAMED) {
        let (now, usual) = (words::ms(f64::from(*now)), words::ms(f64::from(*usual)));
        proof.push(Part::node(node));
        proof.push(Part::text(format!(" takes {now}, {usual} is usual. ")));
    }
    for (site, how) in left.iter().take(NAMED) {
        proof.push(Part::site(site));
        proof.push(Part::text(format!(" {how}; its clients go further. ")));
    }
    let of = if slow.is_empty() && left.is_empty() {
        "All nodes"
    } else {
        "All nodes together"
    };
    proof.push(Part::text(times.map_or_else(
        || "Nobody tells how long nodes take.".to_owned(),
        |(p50, p99)| format!("{of}: p50 {}, p99 {}.", words::ms(p50), words::ms(p99)),
    )));
    let sites: Vec<&str> = left.iter().map(|(site, _)| *site).collect();
    let near = words::listed(&sites, NAMED);
    let nodes = words::counted(slow.len(), "node", "nodes");
    let (mark, answer, short) = match (slow.len(), left.len()) {
        (0, 0) if times.is_none() => (
            Mark::Unknown,
            "Nobody tells.".to_owned(),
            "nobody tells".to_owned(),
        ),
        (0, 0) => (Mark::Well, "No.".to_owned(), "no".to_owned()),
        (_, 0) => (Mark::Warn, format!("At {nodes}."), nodes.clone()),
        (0, _) => (Mark::Warn, format!("Near {near}."), format!("near {near}")),
        _ => (
            Mark::Warn,
            format!("At {nodes} and near {near}."),
            format!("{nodes}, near {near}"),
        ),
    };
    Answer {
        key: "slow",
        question: "Is it slow?",
        mark,
        said: answer,
        short,
        proof,
    }
}

fn failing(ground: &Ground<'_>) -> Answer {
    let out = ground.marked(Mark::Bad);
    let tried = ground.marked(Mark::Tried);
    let sites = ground.out_sites();
    let attempts = ground.newest(Column::Attempts);
    let tells = attempts.is_some_and(|rate| rate > 0.0);
    let refused = ground.newest(Column::Refused).unwrap_or_default();
    let proof = failing_proof(ground, &sites, (&out, &tried), refused);
    let nodes = words::counted(ground.counts.out, "node", "nodes");
    let (mark, answer, short) = if ground.fleet.is_none() {
        (
            Mark::Bad,
            "Every request.".to_owned(),
            "every request".to_owned(),
        )
    } else if !sites.is_empty() {
        let sites = words::listed(&sites, NAMED);
        (
            Mark::Bad,
            format!("{sites} and {nodes}."),
            format!("{sites}, {nodes}"),
        )
    } else if !out.is_empty() {
        (Mark::Bad, format!("{}.", capital(&nodes)), nodes)
    } else if refused >= 0.05 {
        (
            Mark::Bad,
            "Decisions are refused.".to_owned(),
            "refusals".to_owned(),
        )
    } else if !tried.is_empty() {
        let tried = words::counted(tried.len(), "node", "nodes");
        (
            Mark::Tried,
            format!("{tried} coming back."),
            format!("{tried} coming back"),
        )
    } else if tells {
        (Mark::Well, "No.".to_owned(), "nothing".to_owned())
    } else if attempts.is_none() || ground.is_heard() {
        (
            Mark::Unknown,
            "Not known yet.".to_owned(),
            "not known yet".to_owned(),
        )
    } else {
        (
            Mark::Unknown,
            "Nobody tells.".to_owned(),
            "nobody tells".to_owned(),
        )
    };
    Answer {
        key: "failing",
        question: "Is anything failing?",
        mark,
        said: answer,
        short,
        proof,
    }
}

/// What is failing, by name, and how much of all that is.
fn failing_proof(
    ground: &Ground<'_>,
    sites: &[&str],
    (out, tried): (&[Marked<'_>], &[Marked<'_>]),
    refused: f32,
) -> Vec<Part> {
    let mut proof = Vec::new();
    for site in sites.iter().take(NAMED) {
        proof.push(Part::site(site));
        proof.push(Part::text(" is out as a whole. "));
    }
    if sites.is_empty() {
        for (node, standing) in out.iter().take(NAMED) {
            proof.push(Part::node(node));
            proof.push(Part::text(format!(": {}. ", standing.words)));
        }
        for (node, standing) in tried.iter().take(NAMED.saturating_sub(out.len())) {
            proof.push(Part::node(node));
            proof.push(Part::text(format!(": {}. ", standing.words)));
        }
    }
    proof.push(Part::text(failed_share(ground)));
    let unanswered = ground.unanswered();
    if refused > 0.0 {
        let rate = words::rate(f64::from(refused));
        proof.push(Part::text(format!(" {rate} of decisions are refused.")));
    } else if unanswered.is_none() && ground.fleet.is_some() {
        proof.push(Part::text(" No decision is refused."));
    }
    proof.extend(unanswered.map(Part::text));
    proof
}

fn failed_share(ground: &Ground<'_>) -> String {
    let attempts = ground.newest(Column::Attempts);
    let failed = ground.newest(Column::Failed).unwrap_or_default();
    match attempts {
        Some(attempts) if attempts > 0.0 => {
            let share = words::share(f64::from(failed / attempts));
            format!("{share} of attempts fail.")
        }
        Some(_) if ground.is_heard() => "Nobody has told of an attempt just now.".to_owned(),
        Some(_) => "Nobody tells how attempts go.".to_owned(),
        None => "How attempts go is not known yet.".to_owned(),
    }
}

/// The first of some faults, and how many more there are; `None` of none.
pub(super) fn first_of(faults: &[String]) -> Option<String> {
    let (first, rest) = faults.split_first()?;
    Some(match rest.len() {
        0 => first.clone(),
        more => format!("{first} (and {} more)", words::count(more as u64)),
    })
}

/// `1 node` as the beginning of a sentence: `One node`.
fn capital(counted: &str) -> String {
    counted
        .strip_prefix("1 ")
        .map_or_else(|| counted.to_owned(), |rest| format!("One {rest}"))
}

fn changed(ground: &Ground<'_>) -> Answer {
    let newest = ground.revisions.newest();
    let refused = [&ground.status.policy, &ground.status.topology]
        .into_iter()
        .any(|document| document.degraded.is_some());
    let Some(revision) = newest else {
        return Answer {
            key: "changed",
            question: "Did the last change alter anything?",
            mark: Mark::Unknown,
            said: "Nothing has taken effect.".to_owned(),
            short: "nothing yet".to_owned(),
            proof: Vec::new(),
        };
    };
    let ago = words::lasting(ground.now_unix_ms.saturating_sub(revision.at_unix_ms));
    let moved = ground.moved.as_ref();
    let moved = moved.filter(|moved| moved.revision == revision.number);
    let answer = match moved {
        _ if revision.parent.is_none() => "Nothing has changed.".to_owned(),
        None => "Not known.".to_owned(),
        Some(moved) if moved.decisions == 0 => "Not known: nothing was asked.".to_owned(),
        Some(moved) if moved.moved == 0 => "No.".to_owned(),
        Some(moved) => format!("It moved {} of requests.", words::share(moved.ratio())),
    };
    let mut said = format!("Revision {}, {ago} ago", revision.number);
    match moved.filter(|moved| moved.moved > 0) {
        Some(moved) => said = format!("{said}: {}.", by_rule(moved)),
        None => said += ".",
    }
    said += &before_and_after(ground, revision);
    if refused {
        said += " A newer file is refused.";
    }
    let mark = match moved {
        _ if refused => Mark::Warn,
        Some(moved) if moved.ratio() >= 0.1 => Mark::Warn,
        None if revision.parent.is_some() => Mark::Unknown,
        _ => Mark::Well,
    };
    let short = if refused {
        format!("{ago} ago, newer refused")
    } else {
        format!("{ago} ago")
    };
    Answer {
        key: "changed",
        question: "Did the last change alter anything?",
        mark,
        said: answer,
        short,
        proof: vec![Part::text(said)],
    }
}

/// `67 % of images, 14 % of video, nothing else`.
fn by_rule(moved: &crate::observe::moves::Moved) -> String {
    let mut rules: Vec<(&str, f64)> = moved
        .by_rule
        .iter()
        .filter(|(_, (_, moved))| *moved > 0)
        .map(|(rule, (asked, moved))| (&**rule, from_u64(*moved) / from_u64(*asked).max(1.0)))
        .collect();
    rules.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    let shown = rules.iter().take(NAMED);
    let shown: Vec<String> = shown
        .map(|(rule, ratio)| format!("{} of {rule}", words::share(*ratio)))
        .collect();
    let rest = if rules.len() > NAMED {
        "others less"
    } else {
        "nothing else"
    };
    format!("{}, {rest}", shown.join(", "))
}

/// How it went two minutes before and after.
fn before_and_after(ground: &Ground<'_>, revision: &Revision) -> String {
    if revision.parent.is_none() {
        return String::new();
    }
    let at = revision.at_unix_ms;
    let hits = ground.around(Column::HitRatio, at);
    let times = ground.around(Column::P50, at);
    // Whose failures nobody else sees does not make the change a bad one.
    let failed = if ground.has_disbelieved_failures() {
        (None, None)
    } else {
        ground.around(Column::Failed, at)
    };
    let pairs = [
        ("Hit ratio", hits, words::share as fn(f64) -> String),
        ("p50", times, words::ms),
        ("failures", failed, words::rate),
    ];
    let known = pairs
        .into_iter()
        .filter_map(|(name, (before, after), word)| {
            let (before, after) = (word(f64::from(before?)), word(f64::from(after?)));
            Some(if before == after {
                format!("{name} {after} as before")
            } else {
                format!("{name} {before} before, {after} after")
            })
        });
    let known: Vec<String> = known.collect();
    if known.is_empty() {
        return String::new();
    }
    format!(" {}.", known.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_faults_the_first_is_said_and_how_many_more() {
        let faults =
            |count: usize| -> Vec<String> { (1..=count).map(|at| format!("fault {at}")).collect() };
        assert_eq!(first_of(&faults(0)), None);
        assert_eq!(first_of(&faults(1)).as_deref(), Some("fault 1"));
        assert_eq!(
            first_of(&faults(3)).as_deref(),
            Some("fault 1 (and 2 more)")
        );
    }
}
