//! What decisions read of the fleet's behaviour, on the wire: told to followers, and read by them.
//!
//! Only what a decision reads is told, not what explains it: of a site's terms the sum, of a hot key no share, of an
//! estimate not what it rests on. What is read back decides every query as the original does.

mod paths;
pub mod rebuild;

use std::sync::Arc;

use super::proto;
use tradewind_engine::balance::overload;
use tradewind_engine::freshness::lifetime::Pace;
use tradewind_engine::geo::Location;
use tradewind_engine::hash::KeyHash;
use tradewind_engine::model::{AdminState, SiteIndex, printable};
use tradewind_engine::policy::{MAX_CLASSES, SetNumber};
use tradewind_engine::score::Terms;
use tradewind_engine::signal::hot::{HotKey, HotTable, MAX_HOT_KEYS};
use tradewind_engine::signal::{
    Admission, NodeSignals, Readmission, Signals, SiteSignals, Standing,
};
use tradewind_engine::snapshot::{GeoState, Snapshot};
use tradewind_engine::topology::{MAX_NODES, MAX_SITES};

/// Largest state in bytes: 50,000 nodes have 1.2 MB, 5,000 sites with 65 classes 1.3 MB, paths
/// 0.6 MB, the other tables 0.2 MB.
pub const MAX_STATE_BYTES: usize = 8 << 20;

/// What a state tells.
#[derive(Debug, Clone)]
pub struct SidecarState {
    /// Counts policies and topologies that took effect in the sidecar's process.
    pub revision: u64,
    /// Counts snapshots of that process.
    pub generation: u64,
    /// The digest of the policy's text, in hexadecimal.
    pub policy_digest: String,
    /// The digest of the topology's text, in hexadecimal.
    pub topology_digest: String,
    /// Whether the sidecar's geo files can be relied on.
    pub geo_state: GeoState,
    /// Where the sidecar is, if it knows.
    pub here: Option<Location>,
    /// The effective state of every node, in the topology's order.
    pub node_states: Vec<AdminState>,
    /// Of 10,000 requests so many are decided by a candidate, which is not told.
    pub candidate_buckets: u16,
    /// How the fleet behaves. Its versions are 0.
    pub signals: Signals,
}

/// Why a state cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{field}` of the state that was told {problem}")]
pub struct StateFault {
    field: &'static str,
    problem: String,
}

fn fault(field: &'static str, problem: impl Into<String>) -> StateFault {
    StateFault {
        field,
        problem: problem.into(),
    }
}

/// What `snapshot`, published with `revision`, is made of beside its texts.
pub fn state_message(snapshot: &Snapshot, revision: u64) -> proto::FollowedState {
    // Followers number sets and classes by their positions.
    let signals = &*snapshot.signals_by_position();
    let topology = snapshot.topology();
    let nodes = &signals.nodes;
    let mut message = proto::FollowedState {
        revision,
        generation: snapshot.generation(),
        policy_digest: snapshot.policy().digest().to_string(),
        topology_digest: topology.digest().to_string(),
        geo_state: geo_word(snapshot.geo_state()).to_owned(),
        here: snapshot.here().map(location_message),
        isolated: signals.isolated,
        candidate_buckets: u32::from(snapshot.candidate_buckets()),
        node_states: topology.nodes().iter().map(|n| n.state as u8).collect(),
        admissions: nodes.iter().map(|n| admission_byte(n.admission)).collect(),
        probed_slices: nodes.iter().filter_map(|n| slice(n.admission)).collect(),
        weight_factors: nodes.iter().map(|n| n.weight_factor).collect(),
        headrooms: nodes.iter().map(|n| n.headroom).collect(),
        node_spills: nodes.iter().map(|n| n.spill).collect(),
        busy_nodes: nodes.iter().map(|n| u8::from(n.is_hot)).collect(),
        in_flight: nodes.iter().map(|n| n.in_flight).collect(),
        latency_ms: nodes.iter().map(|n| n.latency_ms).collect(),
        node_sheds: sheds_message(nodes),
        turn: signals.turn,
        retries_withheld: u32::from(signals.retries_withheld),
        site_spills: signals.sites.iter().map(|s| s.spill).collect(),
        node_fullness: nodes.iter().map(|n| n.full).collect(),
        site_fullness: signals.sites.iter().map(|s| s.full).collect(),
        standing_ms: (signals.standing.iter())
            .map(|s| s.terms.standing_ms())
            .collect(),
        held_ms: (signals.standing.iter()).map(|s| s.held_ms).collect(),
        class_paces: paces_message(&signals.paces),
        readmissions: signals.readmission.iter().map(|r| *r as u8).collect(),
        trials: paths::trials_message(&signals.trials),
        groups: paths::network_message(&signals.network),
        ..proto::FollowedState::default()
    };
    for key in signals.hot.keys() {
        message.hot_keys.push(key.key.0);
        message.hot_sets.push(u32::from(key.set.0));
        message.hot_sites.push(u32::from(key.site.0));
        message.hot_copies.push(key.copies);
    }
    message
}

/// Reads a state; whatever it says, what comes out can be decided on.
pub fn read_state(message: &proto::FollowedState) -> Result<SidecarState, StateFault> {
    let geo_states = [GeoState::Good, GeoState::NotConfigured, GeoState::Degraded];
    let geo_state = geo_states
        .into_iter()
        .find(|state| geo_word(*state) == message.geo_state)
        .ok_or_else(|| {
            let word = printable(&message.geo_state, 32);
            fault("geo_state", format!("is `{word}`, which is not known"))
        })?;
    Ok(SidecarState {
        revision: message.revision,
        generation: message.generation,
        policy_digest: printable(&message.policy_digest, 64),
        topology_digest: printable(&message.topology_digest, 64),
        geo_state,
        here: here(message)?,
        candidate_buckets: u16::try_from(message.candidate_buckets).unwrap_or(u16::MAX),
        node_states: each(
            ("node_states", MAX_NODES),
            &message.node_states,
            admin_state,
        )?,
        signals: Signals {
            nodes: nodes(message)?,
            sites: sites(message)?,
            standing: standing(message)?,
            readmission: each(
                ("readmissions", usize::from(u16::MAX)),
                &message.readmissions,
                |byte| Readmission::ALL.get(usize::from(byte)).copied(),
            )?,
            network: paths::network(message)?,
            hot: hot(message)?,
            trials: paths::trials(message)?,
            numbers: Arc::default(),
            paces: paces(message)?,
            turn: message.turn,
            retries_withheld: u8::try_from(message.retries_withheld).map_err(|_| {
                let told = message.retries_withheld;
                fault("retries_withheld", format!("is {told}, must be 0 to 255"))
            })?,
            isolated: message.isolated,
            weights_version: 0,
            terms_version: 0,
            ways_version: 0,
        },
    })
}

fn location_message(location: Location) -> proto::Location {
    proto::Location {
        latitude: location.latitude(),
        longitude: location.longitude(),
    }
}

fn here(message: &proto::FollowedState) -> Result<Option<Location>, StateFault> {
    let told = message.here.as_ref();
    let read = told.map(|told| {
        let (latitude, longitude) = (told.latitude, told.longitude);
        Location::new(latitude, longitude).ok_or_else(|| {
            let problem = format!("is {latitude}, {longitude}, which is not on earth");
            fault("here", problem)
        })
    });
    read.transpose()
}

fn geo_word(state: GeoState) -> &'static str {
    match state {
        GeoState::Good => "good",
        GeoState::NotConfigured => "not_configured",
        GeoState::Degraded => "degraded",
    }
}

fn admission_byte(admission: Admission) -> u8 {
    match admission {
        Admission::Admitted => 0,
        Admission::Probing { .. } => 1,
        Admission::Overloaded => 2,
        Admission::Unknown => 3,
        Admission::Unhealthy => 4,
        Admission::BreakerOpen => 5,
    }
}

fn slice(admission: Admission) -> Option<u32> {
    match admission {
        Admission::Probing { slice } => Some(u32::from(slice)),
        _ => None,
    }
}

fn admin_state(byte: u8) -> Option<AdminState> {
    let states = [
        AdminState::Ready,
        AdminState::Drain,
        AdminState::Maintenance,
    ];
    states.into_iter().find(|state| *state as u8 == byte)
}

/// Reads a list of bytes that stand for something each.
fn each<T>(
    (field, most): (&'static str, usize),
    bytes: &[u8],
    mut read: impl FnMut(u8) -> Option<T>,
) -> Result<Vec<T>, StateFault> {
    same_length(field, bytes.len(), bytes.len().min(most))?;
    let mut read_one = |byte: &u8| {
        read(*byte).ok_or_else(|| fault(field, format!("holds {byte}, which is not known")))
    };
    bytes.iter().map(&mut read_one).collect()
}

fn same_length(field: &'static str, length: usize, wanted: usize) -> Result<(), StateFault> {
    if length == wanted {
        return Ok(());
    }
    Err(fault(
        field,
        format!("has {length} entries, must have {wanted}"),
    ))
}

/// A quantity that must be a number, not below 0.
fn amount(field: &'static str, value: f32) -> Result<f32, StateFault> {
    if value.is_finite() && value >= 0.0 {
        Ok(value)
    } else {
        Err(fault(field, format!("holds {value}, must be 0 or more")))
    }
}

fn nodes(message: &proto::FollowedState) -> Result<Vec<NodeSignals>, StateFault> {
    let count = message.admissions.len().min(MAX_NODES);
    for (field, length) in [
        ("admissions", message.admissions.len()),
        ("weight_factors", message.weight_factors.len()),
        ("headrooms", message.headrooms.len()),
        ("node_spills", message.node_spills.len()),
        ("busy_nodes", message.busy_nodes.len()),
        ("in_flight", message.in_flight.len()),
        ("latency_ms", message.latency_ms.len()),
    ] {
        same_length(field, length, count)?;
    }
    let mut slices = message.probed_slices.iter();
    let numbers = (message.weight_factors.iter().zip(&message.headrooms))
        .zip(message.in_flight.iter().zip(&message.latency_ms));
    let fullness = fullness("node_fullness", &message.node_fullness, count)?;
    let spills = (message.node_spills.iter().zip(fullness)).zip(sheds(message, count)?);
    let bytes = (message.admissions.iter().zip(spills)).zip(&message.busy_nodes);
    let read = bytes.zip(numbers).map(
        |(
            ((admission, ((spill, full), shed)), busy),
            ((weight, headroom), (in_flight, latency)),
        )| {
            let admission = match admission {
                0 => Admission::Admitted,
                1 => {
                    let slice = slices.next().and_then(|slice| u16::try_from(*slice).ok());
                    let slice = slice.ok_or_else(|| {
                        fault("probed_slices", "is too short, or holds more than 65535")
                    })?;
                    Admission::Probing { slice }
                }
                2 => Admission::Overloaded,
                3 => Admission::Unknown,
                4 => Admission::Unhealthy,
                5 => Admission::BreakerOpen,
                other => {
                    let problem = format!("holds {other}, which is not known");
                    return Err(fault("admissions", problem));
                }
            };
            Ok(NodeSignals {
                admission,
                weight_factor: amount("weight_factors", *weight)?,
                headroom: amount("headrooms", *headroom)?,
                spill: *spill,
                full,
                shed,
                is_hot: *busy != 0,
                in_flight: amount("in_flight", *in_flight)?,
                latency_ms: amount("latency_ms", *latency)?,
            })
        },
    );
    read.collect()
}

/// How full each of `count` is; an empty list stands for nobody.
fn fullness<'m>(
    field: &'static str,
    told: &'m [u8],
    count: usize,
) -> Result<impl Iterator<Item = u8> + use<'m>, StateFault> {
    if !told.is_empty() {
        same_length(field, told.len(), count)?;
    }
    Ok(told.iter().copied().chain(std::iter::repeat(0)))
}

/// How often what is asked for changes; nothing while nothing is known of that.
fn paces_message(paces: &[Pace]) -> Vec<u8> {
    if paces.iter().all(|pace| *pace == Pace::default()) {
        return Vec::new();
    }
    paces.iter().map(|pace| pace.to_byte()).collect()
}

fn paces(message: &proto::FollowedState) -> Result<Vec<Pace>, StateFault> {
    let told = &message.class_paces;
    each(("class_paces", MAX_CLASSES + 1), told, |byte| {
        Some(Pace::from_byte(byte))
    })
}

/// What nodes shed; nothing while none does.
fn sheds_message(nodes: &[NodeSignals]) -> Vec<u32> {
    if nodes.iter().all(|node| node.shed == 0) {
        return Vec::new();
    }
    nodes.iter().map(|node| u32::from(node.shed)).collect()
}

/// What each of `count` nodes sheds; an empty list stands for nothing.
fn sheds(message: &proto::FollowedState, count: usize) -> Result<Vec<u16>, StateFault> {
    let told = &message.node_sheds;
    if told.is_empty() {
        return Ok(vec![0; count]);
    }
    same_length("node_sheds", told.len(), count)?;
    let level = |told: &u32| {
        let level = u16::try_from(*told).ok();
        level
            .filter(|it| *it <= overload::MAX_LEVEL)
            .ok_or_else(|| {
                let problem = format!("holds {told}, must be 0 to {}", overload::MAX_LEVEL);
                fault("node_sheds", problem)
            })
    };
    told.iter().map(level).collect()
}

fn sites(message: &proto::FollowedState) -> Result<Vec<SiteSignals>, StateFault> {
    let spills = &message.site_spills;
    let mut full = fullness("site_fullness", &message.site_fullness, spills.len())?;
    let both = |spill| {
        let full = full.next().unwrap_or_default();
        Some(SiteSignals {
            spill,
            full,
            utilisation: 0.0,
        })
    };
    each(("site_spills", MAX_SITES), spills, both)
}

/// Terms of which only the sum is known: it stands in the first of them, and the others add nothing to it.
fn standing(message: &proto::FollowedState) -> Result<Vec<Standing>, StateFault> {
    let count = message.standing_ms.len();
    if !message.held_ms.is_empty() {
        same_length("held_ms", message.held_ms.len(), count)?;
    }
    let finite = |field, ms: f32| {
        let problem = || fault(field, format!("holds {ms}, must be a number"));
        ms.is_finite().then_some(ms).ok_or_else(problem)
    };
    let held = message
        .held_ms
        .iter()
        .copied()
        .chain(std::iter::repeat(0.0));
    let read = |(sum, held): (&f32, f32)| {
        let terms = Terms {
            queue: finite("standing_ms", *sum)?,
            ..Terms::default()
        };
        Ok(Standing {
            terms,
            held_ms: finite("held_ms", held)?,
            ..Standing::default()
        })
    };
    message.standing_ms.iter().zip(held).map(read).collect()
}

fn hot(message: &proto::FollowedState) -> Result<HotTable, StateFault> {
    let count = message.hot_keys.len().min(MAX_HOT_KEYS);
    same_length("hot_keys", message.hot_keys.len(), count)?;
    same_length("hot_sets", message.hot_sets.len(), count)?;
    same_length("hot_sites", message.hot_sites.len(), count)?;
    same_length("hot_copies", message.hot_copies.len(), count)?;
    let places = message.hot_sets.iter().zip(&message.hot_sites);
    let mut keys = Vec::with_capacity(count);
    for ((key, copies), (set, site)) in message.hot_keys.iter().zip(&message.hot_copies).zip(places)
    {
        let set = u16::try_from(*set).map_err(|_| fault("hot_sets", "holds more than 65535"))?;
        keys.push(HotKey {
            key: KeyHash(*key),
            set: SetNumber(set),
            site: site_index("hot_sites", *site)?,
            share: 0.0,
            copies: *copies,
        });
    }
    Ok(HotTable::new(keys))
}

fn site_index(field: &'static str, number: u32) -> Result<SiteIndex, StateFault> {
    let index = u16::try_from(number).map(SiteIndex);
    index.map_err(|_| fault(field, format!("holds {number}, must be below 65536")))
}

#[cfg(test)]
mod tests;
