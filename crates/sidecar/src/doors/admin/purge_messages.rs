//! Purges, read with every fault at once, and what is told of them.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use prost_types::Duration;

use super::messages::{Faults, check_text, milliseconds};
use crate::freshness::records::Record;
use crate::freshness::{Freshness, Wish};
use crate::wire::proto;
use crate::wire::purge;
use tradewind_engine::freshness::purge::{MAX_OVER_MS, MAX_PACED, MAX_SELECTORS};
use tradewind_engine::freshness::selector::{MAX_NAMESPACE_BYTES, Selector, is_namespace};
use tradewind_engine::model::printable;
use tradewind_engine::request::path::PathForm;

/// Longest id of a purge, in characters.
const MAX_ID: usize = 128;

/// How long a purge may be put off that is to be purged again, in ms: an hour.
const MAX_REPEAT_MS: u64 = 3_600_000;

/// Most purges and nodes that a status has.
const MAX_RECENT: usize = 16;
const MAX_NODES_SHOWN: usize = 64;

/// Reads a purge.
pub(super) fn wish(request: proto::SubmitPurgeRequest, form: PathForm) -> Result<Wish, Faults> {
    let mut faults = Faults::new();
    let proto::SubmitPurgeRequest {
        id,
        namespace,
        selectors,
        soft,
        over,
        repeat_after,
        who,
        why,
        ..
    } = request;
    for (name, words) in [("who", &who), ("why", &why), ("id", &id)] {
        check_text(&mut faults, name, words);
    }
    if id.chars().count() > MAX_ID {
        faults.push(format!(
            "id has {} characters, at most {MAX_ID} are allowed",
            id.chars().count()
        ));
    }
    faults.extend(bad_namespace(&namespace));
    if selectors.is_empty() || selectors.len() > MAX_SELECTORS {
        faults.push(format!(
            "{} selectors are given, must be 1 to {MAX_SELECTORS}",
            selectors.len()
        ));
    }
    let read = read(&mut faults, &selectors, form);
    if namespace.is_empty() && read.contains(&Selector::Namespace) {
        let words = "all is given without a namespace: it covers what rules put into one; name hosts to purge all there is";
        faults.push(words.to_owned());
    }
    let (over_ms, repeat_ms) = times(&mut faults, (over, repeat_after), (soft, read.len()));
    if !faults.is_empty() {
        return Err(faults);
    }
    Ok(Wish {
        id,
        namespace,
        selectors: read,
        is_soft: soft,
        over_ms,
        repeat_ms,
        who,
        why,
        again_of: 0,
    })
}

pub(super) fn bad_namespace(name: &str) -> Option<String> {
    let is_bad = !is_namespace(name);
    is_bad.then(|| {
        let shown = printable(name, MAX_NAMESPACE_BYTES);
        format!("namespace is `{shown}`, must be at most {MAX_NAMESPACE_BYTES} lower case letters, digits, `-`, `_` and `.`")
    })
}

/// What a selector says, as far as it is to be shown.
fn shown(message: &proto::PurgeSelector) -> String {
    use proto::purge_selector::Of;
    match &message.of {
        Some(Of::Url(text)) => format!("url `{}`", printable(text, 120)),
        Some(Of::Prefix(text)) => format!("prefix `{}`", printable(text, 120)),
        Some(Of::Tag(text)) => format!("tag `{}`", printable(text, 120)),
        Some(Of::Host(text)) => format!("host `{}`", printable(text, 120)),
        Some(Of::All(_)) | None => String::new(),
    }
}

/// What a purge covers.
fn read(faults: &mut Faults, selectors: &[proto::PurgeSelector], form: PathForm) -> Vec<Selector> {
    let mut read = Vec::with_capacity(selectors.len());
    for (at, message) in selectors.iter().enumerate() {
        match purge::selector(message, form) {
            Some(Ok(selector)) => read.push(selector),
            Some(Err(fault)) => faults.push(format!("selectors[{at}] {} {fault}", shown(message))),
            None => faults.push(format!(
                "selectors[{at}] says nothing: must have url, prefix, tag, host or all"
            )),
        }
        if message.exact_query && !matches!(message.of, Some(proto::purge_selector::Of::Url(_))) {
            faults.push(format!(
                "selectors[{at}] has exact_query, which goes with a url only"
            ));
        }
    }
    read
}

/// Over what time a purge comes into force, and after what time it is purged again, in ms.
fn times(
    faults: &mut Faults,
    (over, repeat_after): (Option<Duration>, Option<Duration>),
    (is_soft, selectors): (bool, usize),
) -> (u64, u64) {
    let mut within = |name: &str, given: Option<Duration>, most: u64| {
        let Some(given) = given else { return 0 };
        let ms = milliseconds(given).filter(|ms| (1..=most).contains(ms));
        if ms.is_none() {
            let most = most / 1_000;
            faults.push(format!(
                "{name} is {given}, must be above 0 and at most {most}s"
            ));
        }
        ms.unwrap_or(0)
    };
    let over_ms = within("over", over, MAX_OVER_MS);
    let repeat_ms = within("repeat_after", repeat_after, MAX_REPEAT_MS);
    if is_soft && over_ms > 0 {
        let words = "over and soft are both given: what is revalidated needs no ramp, its answers are short";
        faults.push(words.to_owned());
    }
    if over_ms > 0 && repeat_ms > 0 {
        let words = "over and repeat_after are both given: what is purged again is purged at once, and that would be no ramp";
        faults.push(words.to_owned());
    }
    if over_ms > 0 && selectors > MAX_PACED {
        faults.push(format!(
            "{selectors} selectors are given with over, at most {MAX_PACED} are allowed: name a prefix or a tag"
        ));
    }
    (over_ms, repeat_ms)
}

/// How long something took, as messages have it.
pub(super) fn took(time: std::time::Duration) -> Duration {
    // No span is too long for a message but one that is longer than the world.
    Duration::try_from(time).unwrap_or_default()
}

/// Where purges stand, and one of them in particular.
pub(super) fn status(freshness: &Freshness, sequence: u64) -> proto::PurgeStatus {
    let counters = freshness.counters();
    let head = *freshness.heads().borrow();
    let progress = freshness.progress();
    let about = if sequence == 0 { head } else { sequence };
    freshness.records(|records| {
        let short = |record: &Arc<Record>| {
            let ratio = records.in_force_ratio(record.purged.sequence);
            summary(record, ratio)
        };
        let nodes = records.nodes().into_iter().take(MAX_NODES_SHOWN);
        proto::PurgeStatus {
            head: if records.oldest == 0 { 0 } else { head },
            oldest: records.oldest,
            entries: counters.entries.load(Ordering::Relaxed),
            max_entries: records.max_entries as u64,
            paced: u32::try_from(records.paced.len()).unwrap_or(u32::MAX),
            kept: records.log.is_some(),
            widened: counters.widened.load(Ordering::Relaxed),
            recent: records.newest().take(MAX_RECENT).map(short).collect(),
            asked: records.find(sequence).map(short),
            // Of a fleet, if there is one, others say more.
            sidecars: 0,
            in_force_at: 0,
            missing_at: Vec::new(),
            nodes: nodes
                .map(|(node, sequence)| proto::NodePurges {
                    node: node.to_owned(),
                    sequence,
                })
                .collect(),
            tiers: progress.tiers(about),
            behind: progress.behind(about),
        }
    })
}

/// At which sidecars of a fleet the purge at this place of their log is in force.
pub(super) fn in_fleet(status: &mut proto::PurgeStatus, place: u64, roll: &proto::Roll) {
    let reports = roll.members.iter().filter_map(|it| it.report.as_ref());
    let (has, behind): (Vec<_>, Vec<_>) = reports.partition(|it| it.purge_place >= place);
    let count = |all: &[&proto::MemberReport]| u32::try_from(all.len()).unwrap_or(u32::MAX);
    status.sidecars = count(&has).saturating_add(count(&behind));
    status.in_force_at = count(&has);
    let names = behind.iter().map(|it| it.name.clone());
    status.missing_at = names.take(MAX_NODES_SHOWN).collect();
}

fn summary(record: &Record, in_force_ratio: f64) -> proto::PurgeSummary {
    let purged = &record.purged;
    let first = purged.selectors.first();
    let first = first.and_then(|it| purge::selector(it, purge::AS_WRITTEN)?.ok());
    proto::PurgeSummary {
        sequence: purged.sequence,
        namespace: purged.namespace.clone(),
        selectors: u32::try_from(purged.selectors.len()).unwrap_or(u32::MAX),
        first: first.map_or_else(String::new, |it| it.to_string()),
        soft: purged.not_older_than_unix_ms > 0,
        in_force_ratio,
        who: purged.who.clone(),
        why: purged.why.clone(),
        submitted_unix_ms: purged.submitted_unix_ms,
        in_force_after: record.in_force_after.map(took),
    }
}
