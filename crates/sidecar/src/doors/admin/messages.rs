//! The fleet on the wire: what operators ask, read with every fault at once, and what they are told.

use std::sync::Arc;

use crate::state::Fleet;
use crate::view::troubles::SpellView;
use crate::view::{FleetView, NodeView};
use crate::wire::admin_state::{state, state_message};
use crate::wire::fleet::MAX_WITHIN_MS;
use crate::wire::proto;
use crate::writer::store::MAX_DOCUMENT_BYTES;
use crate::writer::{InForce, StateSet};
use tradewind_engine::lifecycle::{
    Applied, Document, Entries, Entry, Held, MAX_WORDS, MIN_DIGEST_DIGITS, StateChange, Target,
    Update,
};
use tradewind_engine::model::{AdminState, MAX_ID_BYTES, is_id, printable};
use tradewind_engine::topology::Topology;

/// Shortest and longest time that a state may be set for, in ms: 1 s to 90 days.
const LASTS_MS: std::ops::RangeInclusive<u64> = 1_000..=90 * 24 * 3_600_000;

/// What is wrong with a request, a line each.
pub(super) type Faults = Vec<String>;

/// Reads a topology to put in force.
pub(super) fn update(request: proto::ApplyTopologyRequest) -> Result<Update, Faults> {
    let mut faults = Faults::new();
    check_words(&mut faults, &request.who, &request.why);
    check_digest(&mut faults, "if_digest", &request.if_digest);
    check_digest(&mut faults, "held_digest", &request.held_digest);
    check_size(&mut faults, &request.document);
    check_within(&mut faults, request.everywhere, request.within_ms);
    let document = match (request.document.is_empty(), request.held_digest.is_empty()) {
        (true, true) => {
            faults.push("document is empty, and no held_digest is given".to_owned());
            None
        }
        (false, false) => {
            faults.push("both document and held_digest are given, must be one".to_owned());
            None
        }
        (false, true) => Some(Document::Text(request.document)),
        (true, false) => {
            if !request.confirm_removal {
                faults.push("held_digest is given without confirm_removal".to_owned());
            }
            Some(Document::Held(request.held_digest))
        }
    };
    match document {
        Some(document) if faults.is_empty() => Ok(Update {
            document,
            if_digest: request.if_digest,
            confirm_removal: request.confirm_removal,
            who: request.who,
            why: request.why,
        }),
        _ => Err(faults),
    }
}

/// Reads a state to set.
pub(super) fn state_change(request: proto::SetAdminStateRequest) -> Result<StateChange, Faults> {
    use proto::set_admin_state_request::Target as Asked;
    let mut faults = Faults::new();
    check_words(&mut faults, &request.who, &request.why);
    let wanted = state(request.state());
    if wanted.is_none() {
        faults.push(format!(
            "state is {}, must be ready, drain or maintenance",
            request.state
        ));
    }
    let target = match request.target {
        Some(Asked::Node(id)) => Some(Target::Node(id.into())),
        Some(Asked::Site(id)) => Some(Target::Site(id.into())),
        None => None,
    };
    match &target {
        Some(Target::Node(id)) => check_id(&mut faults, "node", id),
        Some(Target::Site(id)) => check_id(&mut faults, "site", id),
        None => faults.push("neither node nor site is given".to_owned()),
    }
    let lasts_ms = request.until.and_then(|until| {
        if wanted == Some(AdminState::Ready) {
            faults.push("until is given, but ready does not end by itself".to_owned());
        }
        let ms = milliseconds(until).filter(|ms| LASTS_MS.contains(ms));
        if ms.is_none() {
            faults.push(format!("until is {until}, must be 1s to 90 days"));
        }
        ms
    });
    match (target, wanted) {
        (Some(target), Some(state)) if faults.is_empty() => Ok(StateChange {
            target,
            state,
            lasts_ms,
            who: request.who,
            why: request.why,
        }),
        _ => Err(faults),
    }
}

/// Reads whose breaker to reset.
pub(super) fn breaker(request: proto::ResetBreakerRequest) -> Result<String, Faults> {
    let mut faults = Faults::new();
    check_id(&mut faults, "node", &request.node);
    if faults.is_empty() {
        Ok(request.node)
    } else {
        Err(faults)
    }
}

/// What became of a topology.
pub(super) fn applied(applied: &Applied) -> proto::ApplyTopologyResponse {
    proto::ApplyTopologyResponse {
        digest: applied.in_force.to_string(),
        revision: applied.revision,
        held: applied.held.is_some(),
        removed_ratio: applied.removal.ratio(),
        faults: applied.faults.to_lines(),
        warnings: applied.warnings.to_lines(),
        given_digest: applied.given.to_string(),
        held_because: applied.held.clone().unwrap_or_default(),
        fleet_revision: None,
    }
}

/// What setting a state came to.
pub(super) fn state_set(set: StateSet) -> proto::SetAdminStateResponse {
    let StateSet { changed, is_kept } = set;
    proto::SetAdminStateResponse {
        previous: state_message(changed.previous).into(),
        effective: state_message(changed.effective).into(),
        nodes_changed: u32::try_from(changed.nodes_changed).unwrap_or(u32::MAX),
        kept: is_kept,
        everywhere: false,
    }
}

/// The fleet as it is now, and how it fares.
pub(super) fn in_force(in_force: InForce, view: &FleetView) -> proto::GetTopologyResponse {
    let InForce {
        text,
        fleet,
        topology,
    } = in_force;
    proto::GetTopologyResponse {
        document: text,
        digest: topology.digest().to_string(),
        revision: fleet.revision,
        nodes: nodes(&topology, &fleet.overrides, view),
        overrides: fleet
            .overrides
            .iter()
            .map(|(target, entry)| admin_override(target, entry, Some(&topology)))
            .collect(),
        held: fleet.held.as_deref().map(held),
    }
}

/// What has changed from one fleet to the next; from none, everything there is.
pub(super) fn event(before: Option<&Fleet>, now: &Fleet) -> proto::TopologyEvent {
    let none = Entries::new();
    let earlier = before.map_or(&none, |before| &before.overrides);
    let fleet = now.topology.as_deref();
    let set = now.overrides.iter();
    let set = set.filter(|(target, entry)| earlier.get(target) != Some(entry));
    let ended = earlier.iter();
    let ended = ended.filter(|(target, _)| !now.overrides.contains_key(target));
    proto::TopologyEvent {
        digest: fleet.map_or_else(String::new, |fleet| fleet.digest().to_string()),
        revision: now.revision,
        set: set
            .map(|(target, entry)| admin_override(target, entry, fleet))
            .collect(),
        ended: ended
            .map(|(target, entry)| admin_override(target, entry, fleet))
            .collect(),
        held: now.held.as_deref().map(held),
    }
}

/// How a node fares.
pub(super) fn health(node: &NodeView) -> proto::NodeHealth {
    let trouble = node.trouble.as_ref().filter(|trouble| !trouble.over);
    let first = |word: fn(&SpellView) -> &str| trouble.map_or("", word).to_owned();
    proto::NodeHealth {
        admission: node.admission.name().to_owned(),
        source: node.source.to_owned(),
        lasted_ms: node.since_ms,
        first_admission: first(|trouble| trouble.first_admission),
        first_source: first(|trouble| trouble.first_source),
        breaker: node.breaker.state.to_owned(),
        cause: node.breaker.cause.to_owned(),
        first_cause: node.breaker.first_cause.unwrap_or_default().to_owned(),
        reopenings: node.breaker.reopenings.unwrap_or_default(),
        tried_again_in_ms: node.breaker.open_for_ms,
        weight_ratio: node.weight_ratio,
    }
}

fn nodes(topology: &Arc<Topology>, overrides: &Entries, view: &FleetView) -> Vec<proto::FleetNode> {
    let messages = topology.indexed_nodes().map(|(index, node)| {
        let site = topology.site(node.site);
        let targets = [Target::Site(site.id.clone()), Target::Node(node.id.clone())];
        let set = targets.iter().filter_map(|target| {
            let entry = overrides.get(target)?;
            Some((target, entry))
        });
        let strictest = set.max_by_key(|(_, entry)| entry.state);
        proto::FleetNode {
            id: node.id.to_string(),
            site: site.id.to_string(),
            tier: topology.tier_name(site.tier).to_owned(),
            address: node.address.to_string(),
            capacity: node.capacity.into(),
            labels: node.labels.clone(),
            state: state_message(node.state).into(),
            admin_override: strictest
                .map(|(target, entry)| admin_override(target, entry, Some(topology))),
            health: view.node(topology, index).map(health),
        }
    });
    messages.collect()
}

fn admin_override(
    target: &Target,
    entry: &Entry,
    fleet: Option<&Topology>,
) -> proto::AdminOverride {
    use proto::admin_override::Target as Told;
    proto::AdminOverride {
        target: Some(match target {
            Target::Node(id) => Told::Node(id.to_string()),
            Target::Site(id) => Told::Site(id.to_string()),
        }),
        state: state_message(entry.state).into(),
        until_unix_ms: entry.until_unix_ms.unwrap_or_default(),
        who: entry.who.clone(),
        why: entry.why.clone(),
        since_unix_ms: entry.since_unix_ms,
        exists: fleet.is_some_and(|fleet| target.is_in(fleet)),
    }
}

fn held(held: &Held) -> proto::HeldUpdate {
    proto::HeldUpdate {
        digest: held.digest.to_string(),
        removed_ratio: held.removal.ratio(),
        because: held.because.clone(),
        source: held.source.clone(),
        since_unix_ms: held.since_unix_ms,
    }
}

pub(super) fn check_words(faults: &mut Faults, who: &str, why: &str) {
    if why.trim().is_empty() {
        faults.push("why is empty, say why".to_owned());
    }
    for (name, words) in [("who", who), ("why", why)] {
        check_text(faults, name, words);
    }
}

/// What somebody says in words has its bound.
pub(super) fn check_text(faults: &mut Faults, name: &str, words: &str) {
    let count = words.chars().count();
    if count > MAX_WORDS {
        faults.push(format!(
            "{name} has {count} characters, at most {MAX_WORDS} are allowed"
        ));
    }
    if words.chars().any(char::is_control) {
        faults.push(format!("{name} has unprintable characters"));
    }
}

/// Checks how long it may take until all have a text.
pub(super) fn check_within(faults: &mut Faults, everywhere: bool, within_ms: Option<u64>) {
    let Some(within_ms) = within_ms else { return };
    if !everywhere {
        faults.push("within_ms is given without everywhere".to_owned());
    }
    if within_ms > MAX_WITHIN_MS {
        faults.push(format!(
            "within_ms is {within_ms}, at most {MAX_WITHIN_MS} are allowed"
        ));
    }
}

/// The largest document is as large as a file may be.
pub(super) fn check_size(faults: &mut Faults, document: &str) {
    let bytes = document.len();
    if u64::try_from(bytes).map_or(true, |bytes| bytes > MAX_DOCUMENT_BYTES) {
        faults.push(format!(
            "document has {bytes} bytes, at most {MAX_DOCUMENT_BYTES} are allowed"
        ));
    }
}

fn check_id(faults: &mut Faults, name: &str, id: &str) {
    if !is_id(id) {
        let shown = printable(id, MAX_ID_BYTES);
        faults.push(format!("{name} is `{shown}`, which is not an id"));
    }
}

fn check_digest(faults: &mut Faults, name: &str, text: &str) {
    let is_good = (MIN_DIGEST_DIGITS..=64).contains(&text.len())
        && text.bytes().all(|digit| digit.is_ascii_hexdigit());
    if !text.is_empty() && !is_good {
        let shown = printable(text, 64);
        faults.push(format!(
            "{name} is `{shown}`, must be {MIN_DIGEST_DIGITS} to 64 hexadecimal digits"
        ));
    }
}

/// A duration in whole milliseconds; `None` when it is negative or malformed.
pub(super) fn milliseconds(duration: prost_types::Duration) -> Option<u64> {
    let seconds = u64::try_from(duration.seconds).ok()?;
    let nanos = u64::try_from(duration.nanos)
        .ok()
        .filter(|n| *n < 1_000_000_000)?;
    seconds.checked_mul(1_000)?.checked_add(nanos / 1_000_000)
}
