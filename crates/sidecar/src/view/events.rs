//! What the control loop did, one event after the other, for whoever looks: nobody has to guess it from two views.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tradewind_engine::control::condition::factor;
use tradewind_engine::control::event::Event;
use tradewind_engine::policy::{SetName, SetNumber};
use tradewind_engine::snapshot::Snapshot;
use tradewind_engine::time::Moment;

/// Most events that are kept: minutes of a bad hour, some 400 KB with the names they bring. Names are kept, not the fleet
/// they come from: each publication may be an event, and a thousand fleets would be gigabytes.
pub const MAX_EVENTS: usize = 1_024;

/// Something that the loop did.
#[derive(Debug, Clone)]
pub struct Happened {
    /// Counts events of this process from 1: where one is missing, it has been forgotten.
    pub number: u64,
    /// When it was told, in ms since 1970.
    pub at_unix_ms: u64,
    /// When it was told, on the loop's own clock.
    pub at: Moment,
    /// What.
    pub event: Event,
    /// The node, site or pool it is about, if it is about one that is still known.
    pub about: Option<Box<str>>,
    /// The share of its weight that a node gets by its condition now, 0 to 1; of other events `None`.
    pub weight_ratio: Option<f64>,
}

/// The last events.
#[derive(Debug, Default)]
pub struct Events(Mutex<Ring>);

#[derive(Debug, Default)]
struct Ring {
    kept: VecDeque<Arc<Happened>>,
    counted: u64,
}

impl Events {
    /// Keeps an event, and forgets the oldest where there is no room.
    pub fn add(&self, (at, at_unix_ms): (Moment, u64), event: Event, snapshot: &Snapshot) {
        let mut ring = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ring.counted += 1;
        let happened = Happened {
            number: ring.counted,
            at_unix_ms,
            at,
            event,
            about: about(event, snapshot),
            weight_ratio: weight_ratio(event, snapshot),
        };
        if ring.kept.len() >= MAX_EVENTS {
            ring.kept.pop_front();
        }
        ring.kept.push_back(Arc::new(happened));
    }

    /// Those after the one of this number, the oldest first; from 0 on all that are kept.
    pub fn since(&self, number: u64) -> Vec<Arc<Happened>> {
        let ring = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let newer = |happened: &&Arc<Happened>| happened.number > number;
        ring.kept.iter().filter(newer).cloned().collect()
    }
}

fn about(event: Event, snapshot: &Snapshot) -> Option<Box<str>> {
    let topology = snapshot.topology();
    match event {
        Event::Breaker { node, .. }
        | Event::EjectionDenied { node }
        | Event::Probe { node, .. }
        | Event::Overloaded { node, .. }
        | Event::Shedding { node, .. }
        | Event::Condition { node, .. } => Some(topology.node(node).id.clone()),
        Event::SiteTerms { site, .. } | Event::SiteTrial { site, .. } => {
            Some(topology.site(site).id.clone())
        }
        Event::Readmission { set, .. } => set_name(set, snapshot).map(|name| name.pool.into()),
        Event::KeysMoved(_)
        | Event::Object { .. }
        | Event::Isolated(_)
        | Event::Disagreement { .. } => None,
    }
}

fn weight_ratio(event: Event, snapshot: &Snapshot) -> Option<f64> {
    match event {
        Event::Condition { level, .. } => {
            Some(factor(level, &snapshot.policy().operation().weights))
        }
        _ => None,
    }
}

/// What a set is called by the lane that has it; `None` once none has.
pub fn set_name(set: SetNumber, snapshot: &Snapshot) -> Option<SetName<'_>> {
    let (lane, at) = snapshot
        .lanes()
        .find_map(|lane| Some((lane, lane.numbered().position_of(set)?)))?;
    lane.routing().set_names().get(at.get()).copied()
}

#[cfg(test)]
mod tests {
    use tradewind_engine::edition::{Edition, Known, Names, Texts};
    use tradewind_engine::snapshot::{GeoState, Parts};

    use super::*;
    use crate::example;

    fn snapshot() -> Snapshot {
        let texts = Texts {
            policy: example::POLICY.into(),
            topology: example::TOPOLOGY.into(),
        };
        let edition = Edition::compile(
            &texts,
            &Names::new("policy.yaml", "topology.yaml"),
            Known::default(),
        )
        .unwrap();
        let parts = Parts {
            topology: Arc::clone(edition.topology()),
            policy: Arc::clone(edition.policy()),
            candidate: None,
            geo: Arc::default(),
            geo_state: GeoState::NotConfigured,
            here: None,
            signals: Arc::default(),
        };
        Snapshot::build(1, parts, None)
    }

    #[test]
    fn the_last_ones_are_kept_and_whoever_looks_sees_what_was_forgotten() {
        let (events, snapshot) = (Events::default(), snapshot());
        for at in 0..MAX_EVENTS as u64 + 5 {
            events.add((Moment(at), at), Event::Isolated(at % 2 == 0), &snapshot);
        }
        let kept = events.since(0);
        assert_eq!(kept.len(), MAX_EVENTS);
        assert_eq!(kept.first().map(|happened| happened.number), Some(6));
        let last = events.since(MAX_EVENTS as u64 + 4);
        let last: Vec<(u64, Moment)> = last.iter().map(|one| (one.number, one.at)).collect();
        assert_eq!(
            last,
            [(MAX_EVENTS as u64 + 5, Moment(MAX_EVENTS as u64 + 4))]
        );
        assert!(events.since(MAX_EVENTS as u64 + 5).is_empty());
    }
}
