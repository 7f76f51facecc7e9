//! What needs a look, worst first: each with why, since when, what becomes of its requests and what brings it back.

use super::answers::first_of;
use super::{Ground, Need};
use crate::clock;
use crate::view::journal::{Mark, rung_words};
use crate::view::standing::{SiteTrouble, Standing};
use crate::view::words;
use tradewind_engine::lifecycle::notice::RolloutFate;
use tradewind_engine::lifecycle::{DocumentState, DocumentStatus};
use tradewind_engine::model::NodeIndex;
use tradewind_engine::signal::Readmission;
use tradewind_engine::topology::Node;

/// Most that are listed.
pub(super) const MOST: usize = 20;

/// Age from which a geo file is old, in days: clients' places drift by some percent a month.
const OLD_DAYS: u64 = 45;

const DAY_MS: u64 = 86_400_000;

/// How long before its end a certificate is worth a look, in ms.
const ENDS_SOON_MS: u64 = 7 * DAY_MS;

/// How long the end of a rollout is worth a look, in ms.
const RECENT_MS: u64 = 3_600_000;

/// All of it, the worst first; of those alike, the newest.
pub(super) fn all(ground: &Ground<'_>) -> Vec<Need> {
    let mut needs = Vec::new();
    needs.extend(of_sidecar(ground));
    needs.extend(of_documents(ground));
    needs.extend(of_geo(ground));
    needs.extend(of_credentials(ground));
    needs.extend(of_rollout(ground));
    needs.extend(of_rungs(ground));
    needs.extend(of_sites(ground));
    needs.extend(of_nodes(ground));
    needs.extend(of_objects(ground));
    needs.extend(of_reporters(ground));
    let rank = |need: &Need| {
        let newest = need.since_ms.unwrap_or(u64::MAX);
        (std::cmp::Reverse(need.mark), newest)
    };
    needs.sort_by_key(rank);
    needs
}

fn need(kind: &'static str, name: &str, standing: Standing) -> Need {
    Need {
        mark: standing.mark,
        kind,
        name: name.to_owned(),
        site: None,
        state: standing.words,
        why: standing.why.unwrap_or_default(),
        becomes: String::new(),
        since_ms: standing.since_ms,
        back: standing.back.unwrap_or_default(),
    }
}

fn of_sidecar(ground: &Ground<'_>) -> Option<Need> {
    let doubt = ground.view.doubt?;
    Some(Need {
        mark: Mark::Bad,
        kind: "sidecar",
        name: "this sidecar".to_owned(),
        site: None,
        state: "perhaps cut off".to_owned(),
        why: "Most nodes of several sites failed at once and none answers.".to_owned(),
        becomes: "Verdicts are frozen: nodes stay in use as they were before.".to_owned(),
        since_ms: Some(doubt.since_ms),
        back: format!(
            "failures are believed again in {}",
            words::lasting(doubt.believed_in_ms)
        ),
    })
}

fn of_documents(ground: &Ground<'_>) -> Vec<Need> {
    let status = &ground.status;
    let documents = [("policy", &status.policy), ("topology", &status.topology)];
    let mut needs = Vec::new();
    for (kind, document) in documents {
        if let Some(degraded) = &document.degraded {
            needs.push(of_refused(ground, (kind, document), degraded.since_unix_ms));
        } else if document.state == DocumentState::Waiting {
            needs.push(of_waiting((kind, document)));
        } else if document.serving_digest.is_empty() && ground.fleet.is_none() {
            needs.push(Need {
                mark: Mark::Bad,
                kind,
                name: name_of(kind, document),
                site: None,
                state: "nothing in force".to_owned(),
                why: first_of(&document.faults)
                    .unwrap_or_else(|| "It has not been read yet.".to_owned()),
                becomes: "Every request is refused.".to_owned(),
                since_ms: None,
                back: "when the file is good; it is read at once".to_owned(),
            });
        }
    }
    needs
}

/// A good document that takes no effect for want of the other one.
fn of_waiting((kind, document): (&'static str, &DocumentStatus)) -> Need {
    let other = if kind == "policy" {
        "topology"
    } else {
        "policy"
    };
    Need {
        mark: Mark::Unknown,
        kind,
        name: name_of(kind, document),
        site: None,
        state: format!("waits for the {other}"),
        why: format!("It is good, and there is no {other} that it could take effect with."),
        becomes: String::new(),
        since_ms: None,
        back: format!("when the {other} is good"),
    }
}

fn name_of(kind: &str, document: &DocumentStatus) -> String {
    let file = document.source.rsplit('/').next().unwrap_or_default();
    if file.is_empty() { kind } else { file }.to_owned()
}

fn of_refused(
    ground: &Ground<'_>,
    (kind, document): (&'static str, &DocumentStatus),
    since_unix_ms: u64,
) -> Need {
    let is_first = document.serving_digest.is_empty();
    let refused = if is_first {
        "refused"
    } else {
        "newer file refused"
    };
    let (state, why, back) = document.held.as_ref().map_or_else(
        || {
            (
                refused,
                first_of(&document.faults).unwrap_or_else(|| "It cannot be read.".to_owned()),
                "when the file is good; it is read at once",
            )
        },
        |held| ("held", held.clone(), "when an operator confirms it"),
    );
    let serves = if is_first {
        "Nothing is served.".to_owned()
    } else {
        let revision = ground.revisions.newest().map_or(0, |it| it.number);
        format!("Revision {revision} serves on.")
    };
    Need {
        mark: if is_first { Mark::Bad } else { Mark::Warn },
        kind,
        name: name_of(kind, document),
        site: None,
        state: state.to_owned(),
        why,
        becomes: serves,
        since_ms: Some(ground.now_unix_ms.saturating_sub(since_unix_ms)),
        back: back.to_owned(),
    }
}

fn of_credentials(ground: &Ground<'_>) -> Vec<Need> {
    let credentials = ground.sources.state.credentials.load();
    let (tls, tokens) = (&credentials.tls, &credentials.tokens);
    let grants = &credentials.grants;
    let refused = [
        ("TLS keys", tls.as_ref().and_then(|tls| tls.fault.as_ref())),
        ("tokens", tokens.as_ref().and_then(|it| it.fault.as_ref())),
        ("grants", grants.as_ref().and_then(|it| it.fault.as_ref())),
    ];
    let needs = refused.into_iter().filter_map(|(name, fault)| {
        Some(Need {
            mark: Mark::Warn,
            kind: "credentials",
            name: name.to_owned(),
            site: None,
            state: "newer file refused".to_owned(),
            why: fault?.clone(),
            becomes: "Those before stay in force.".to_owned(),
            since_ms: None,
            back: "when the files are good; they are read at once".to_owned(),
        })
    });
    let ends = tls.as_ref().and_then(|tls| {
        let ends_unix_ms = tls.ends_epoch_s.saturating_mul(1_000);
        let left_ms = ends_unix_ms.checked_sub(ground.now_unix_ms);
        let is_soon = left_ms.is_none_or(|left_ms| left_ms < ENDS_SOON_MS);
        is_soon.then(|| Need {
            mark: if left_ms.is_none() {
                Mark::Bad
            } else {
                Mark::Warn
            },
            kind: "credentials",
            name: "certificate".to_owned(),
            site: None,
            state: left_ms.map_or_else(
                || "has ended".to_owned(),
                |left_ms| format!("ends in {}", words::lasting(left_ms)),
            ),
            why: format!("It is good until {}.", clock::rfc3339(ends_unix_ms)),
            becomes: "Callers that look at it refuse to go on from then.".to_owned(),
            since_ms: None,
            back: "when a newer one is in its place; it is read at once".to_owned(),
        })
    });
    let missing = tokens.iter().flat_map(|tokens| &tokens.missing);
    let missing = missing.map(|name| Need {
        mark: Mark::Warn,
        kind: "credentials",
        name: format!("token {name}"),
        site: None,
        state: "is not there".to_owned(),
        why: "Something is granted to it, and the file of tokens has none of this name.".to_owned(),
        becomes: "Who shows it is denied.".to_owned(),
        since_ms: None,
        back: "when the file has it; it is read at once".to_owned(),
    });
    needs.chain(ends).chain(missing).collect()
}

fn of_geo(ground: &Ground<'_>) -> Vec<Need> {
    let geo = &ground.status.geo;
    let mut needs = Vec::new();
    if let Some(degraded) = &geo.degraded {
        needs.push(Need {
            mark: Mark::Warn,
            kind: "geo",
            name: "geo files".to_owned(),
            site: None,
            state: "refused or gone".to_owned(),
            why: first_of(&geo.faults).unwrap_or_else(|| degraded.first_fault.clone()),
            becomes: if geo.files.is_empty() {
                "Places of clients are not known."
            } else {
                "The last good ones serve on."
            }
            .to_owned(),
            since_ms: Some(ground.now_unix_ms.saturating_sub(degraded.since_unix_ms)),
            back: "when all files are good; they are read at once".to_owned(),
        });
    }
    for file in geo.files.iter().filter(|file| file.build_epoch_s > 0) {
        let age_ms = ground
            .now_unix_ms
            .saturating_sub(file.build_epoch_s * 1_000);
        if age_ms < OLD_DAYS * DAY_MS {
            continue;
        }
        needs.push(Need {
            mark: Mark::Warn,
            kind: "geo",
            name: file.path.rsplit('/').next().unwrap_or_default().to_owned(),
            site: None,
            state: "old".to_owned(),
            why: format!(
                "Built {} ago; places of clients drift.",
                words::lasting(age_ms)
            ),
            becomes: format!("Old from {OLD_DAYS} days on."),
            since_ms: Some(age_ms - OLD_DAYS * DAY_MS),
            back: "when a newer file is put there".to_owned(),
        });
    }
    needs
}

fn of_rollout(ground: &Ground<'_>) -> Option<Need> {
    let last = ground.rollouts.last.as_ref()?;
    let ago = ground.now_unix_ms.saturating_sub(last.at_unix_ms);
    if last.fate != RolloutFate::RolledBack || ago > RECENT_MS {
        return None;
    }
    Some(Need {
        mark: Mark::Bad,
        kind: "rollout",
        name: format!("candidate {}", last.digest.short()),
        site: None,
        state: "rolled back".to_owned(),
        why: last.why.clone(),
        becomes: "All requests are decided by the policy in force.".to_owned(),
        since_ms: Some(ago),
        back: "when somebody begins it anew".to_owned(),
    })
}

fn of_rungs(ground: &Ground<'_>) -> Vec<Need> {
    let pools = ground.view.pools.iter();
    let pools = pools.map(|(pool, view)| (pool.clone(), view));
    let parts = ground.view.parts.iter();
    let parts = parts.map(|part| (format!("{} for rule {}", part.pool, part.rule), &part.view));
    let lower = pools
        .chain(parts)
        .filter(|(_, view)| view.readmission.step > 0);
    let needs = lower.map(|(name, view)| {
        let step = Readmission::ALL
            .get(usize::from(view.readmission.step))
            .copied();
        let (used, all) = (view.used.ready_nodes, view.used.nodes);
        Need {
            mark: Mark::Warn,
            kind: "pool",
            name: format!("pool {name}"),
            site: None,
            state: format!("on rung {}", view.readmission.readmission.replace('_', " ")),
            why: format!("Too little of it is well: {used} of {all} nodes are in use."),
            becomes: rung_words(step.unwrap_or_default()).to_owned(),
            since_ms: view.readmission.since_ms,
            back: view.readmission.eases_in_ms.map_or_else(
                || "when more of its nodes are well".to_owned(),
                |ms| format!("a step back in {}, if it stays as well", words::lasting(ms)),
            ),
        }
    });
    needs.collect()
}

fn of_sites(ground: &Ground<'_>) -> Vec<Need> {
    let is_own = |standing: &Standing| {
        let whole = standing.why.is_some();
        whole && !matches!(standing.mark, Mark::Well | Mark::Flag)
    };
    let sites = ground.sites.iter().filter(|(_, standing)| is_own(standing));
    let needs = sites.map(|(id, standing)| {
        let becomes = match standing.mark {
            Mark::Bad | Mark::Drained => "Its clients are served by the next best site.",
            _ if standing.site == Some(SiteTrouble::Unasked) => {
                "Clients near it are served by other sites."
            }
            _ => "Part of its clients are served by the next best site.",
        };
        Need {
            site: Some(id.clone()),
            becomes: becomes.to_owned(),
            ..need("site", id, standing.clone())
        }
    });
    needs.collect()
}

fn of_nodes(ground: &Ground<'_>) -> Vec<Need> {
    let Some(fleet) = &ground.fleet else {
        return Vec::new();
    };
    let topology = fleet.topology();
    let mut needs = Vec::new();
    for (index, node) in topology.indexed_nodes() {
        let Some(standing) = fleet.standings.get(index.get()) else {
            continue;
        };
        if matches!(standing.mark, Mark::Well | Mark::Flag) || standing.why.is_none() {
            continue;
        }
        // A site that is out or drained as a whole is one row, also while some of its nodes are tried.
        let is_told = |site: &Standing| match site.site {
            Some(SiteTrouble::Out) => matches!(standing.mark, Mark::Bad | Mark::Tried),
            _ => site.mark == standing.mark && site.why.is_some(),
        };
        let site = ground.sites.get(node.site.get());
        if site.is_some_and(|(_, site)| is_told(site)) {
            continue;
        }
        needs.push(Need {
            site: Some(topology.site(node.site).id.to_string()),
            becomes: becomes(ground, (index, node), standing),
            ..need("node", &node.id, standing.clone())
        });
    }
    needs
}

/// What becomes of a node's keys.
fn becomes(ground: &Ground<'_>, (index, node): (NodeIndex, &Node), standing: &Standing) -> String {
    let Some(fleet) = &ground.fleet else {
        return String::new();
    };
    let others = fleet.topology().indexed_nodes().zip(&fleet.standings);
    let others: Vec<&str> = others
        .filter(|((other, known), it)| {
            let is_used = matches!(it.mark, Mark::Well | Mark::Warn) || it.grows;
            *other != index && known.site == node.site && is_used
        })
        .map(|((_, known), _)| &*known.id)
        .collect();
    let away = match others.as_slice() {
        [] => "to the next best site".to_owned(),
        [one] => format!("to {one}"),
        _ => format!(
            "to {}, each to its own second choice",
            words::listed(&others, 3)
        ),
    };
    match standing.mark {
        Mark::Bad | Mark::Drained => format!("Its keys go {away}."),
        Mark::Tried => format!("The rest of its keys go {away}."),
        _ => {
            let weight = fleet.node(index).map_or(1.0, |view| view.weight_ratio);
            if weight > 0.0 && weight < 1.0 {
                let share = words::share(1.0 - f64::from(weight));
                format!("{share} of its keys went {away}.")
            } else {
                String::new()
            }
        }
    }
}

fn of_objects(ground: &Ground<'_>) -> Vec<Need> {
    let failing = ground.view.failing.iter();
    let needs = failing.map(|object| {
        let url = ground.sources.recent.url_of_key(&object.key_hash);
        let how = if object.how == "slow" {
            "slow"
        } else {
            "failing"
        };
        let nodes: Vec<&str> = object.nodes.iter().map(String::as_str).collect();
        Need {
            mark: Mark::Warn,
            kind: "object",
            name: url.unwrap_or_else(|| format!("object {}", object.key_hash)),
            site: None,
            state: how.to_owned(),
            why: format!(
                "It is {how} at {}, so no node is blamed for it.",
                words::listed(&nodes, 3)
            ),
            becomes: "It is asked for as before; its origin should be looked at.".to_owned(),
            since_ms: Some(object.since_ms),
            back: "when it is answered well".to_owned(),
        }
    });
    needs.take(5).collect()
}

fn of_reporters(ground: &Ground<'_>) -> Vec<Need> {
    let reporters = ground.view.hearing.reporters.iter();
    let disagreeing = reporters.filter_map(|reporter| {
        let worst = reporter.disagrees.first()?;
        let (said, agreed) = match worst.about {
            "times" => (words::ms(worst.said), words::ms(worst.agreed)),
            _ => (words::share(worst.said), words::share(worst.agreed)),
        };
        Some(Need {
            mark: Mark::Warn,
            kind: "reporter",
            name: reporter.reporter.clone(),
            site: None,
            state: "disagrees".to_owned(),
            why: format!(
                "It says {said} of {} at {}; the others agree on {agreed}.",
                worst.about, worst.place
            ),
            becomes: "What it says counts for nothing.".to_owned(),
            since_ms: Some(worst.for_ms),
            back: "when it says what the others say".to_owned(),
        })
    });
    disagreeing.take(5).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_good_document_that_waits_for_the_other_is_not_the_guilty_one() {
        let policy = DocumentStatus {
            state: DocumentState::Waiting,
            source: "/etc/tradewind/policy.yaml".to_owned(),
            ..DocumentStatus::default()
        };
        let need = of_waiting(("policy", &policy));
        assert_eq!(need.mark, Mark::Unknown);
        assert_eq!(need.name, "policy.yaml");
        assert_eq!(need.state, "waits for the topology");
    }
}
