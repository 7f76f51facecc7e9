//! Everything a decision reads, in one immutable value.
//!
//! One writer builds the next snapshot and swaps it in; a decision holds one and never sees half of two. What is
//! costly and has not changed (distances) is taken over from the snapshot before.

mod basis;
mod lane;
mod roster;
mod split;
mod table;
mod told;

use std::sync::Arc;

use super::geo::Location;
use super::geo::ranges::Ranges;
use super::policy::{Numbers, Policy, Routing, SetIndex, SetNumber};
use super::query::Query;
use super::request::Reading;
use super::signal::Signals;
use super::topology::Topology;
use lane::Ground;

pub use crate::model::LaneIndex;
pub use lane::Lane;
pub use roster::{Roster, RosterKind};
pub use split::{BUCKETS, Cohort, Split};
pub use table::{RankTable, SiteRow, StandingTerms};

/// What a snapshot is made of.
#[derive(Debug, Clone)]
pub struct Parts {
    /// The fleet.
    pub topology: Arc<Topology>,
    /// The policy in force, compiled against that fleet.
    pub policy: Arc<Policy>,
    /// Another way to route, compiled against the same fleet, and which requests it is to decide.
    pub candidate: Option<Candidate>,
    /// Where clients are.
    pub geo: Arc<Ranges>,
    /// Whether the geo tables can be relied on.
    pub geo_state: GeoState,
    /// Where clients are taken to be whom nobody can place: near the sidecar that they reached, if it knows where it is.
    pub here: Option<Location>,
    /// How the fleet behaves.
    pub signals: Arc<Signals>,
}

/// A way to route that is tried on a share of the requests, or in the shadow of all of them.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// How it routes; it reads paths as the policy in force does.
    pub routing: Arc<Routing>,
    /// Which requests it decides.
    pub split: Split,
}

/// Whether the geo tables can be relied on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GeoState {
    /// All files were read.
    Good,
    /// No file was configured: only callers and the policy locate clients.
    NotConfigured,
    /// A file was missing or refused; what was read before (perhaps nothing) serves on.
    Degraded,
}

/// Everything a decision reads.
#[derive(Debug)]
pub struct Snapshot {
    generation: u64,
    parts: Parts,
    numbers: Arc<Numbers>,
    first: Lane,
    second: Option<Lane>,
    /// What both lanes look at of a request, where there are two.
    reading: Option<Reading>,
}

impl Parts {
    /// The routings, that of the policy first.
    pub fn routings(&self) -> impl Iterator<Item = &Arc<Routing>> {
        let candidate = self.candidate.iter().map(|it| &it.routing);
        std::iter::once(self.policy.routing()).chain(candidate)
    }

    /// What sets and classes are called: as the signals say, and behind that what they do not know.
    fn numbers(&self, before: Option<&Snapshot>) -> Arc<Numbers> {
        let told = &self.signals.numbers;
        let is_same = |before: &&Snapshot| {
            let before = &before.parts;
            Arc::ptr_eq(&before.topology, &self.topology)
                && Arc::ptr_eq(&before.signals.numbers, told)
                && before
                    .routings()
                    .map(Arc::as_ptr)
                    .eq(self.routings().map(Arc::as_ptr))
        };
        if let Some(before) = before.filter(is_same) {
            return Arc::clone(&before.numbers);
        }
        let knows = |routing: &Arc<Routing>| told.of(&self.topology, routing).is_some();
        if self.routings().all(knows) {
            return Arc::clone(told);
        }
        let routings: Vec<&Routing> = self.routings().map(AsRef::as_ref).collect();
        Arc::new(told.with(&self.topology, &routings))
    }
}

impl Snapshot {
    /// Builds the snapshot of `parts`, taking over from `before` what has not changed.
    pub fn build(generation: u64, parts: Parts, before: Option<&Self>) -> Self {
        let numbers = parts.numbers(before);
        let ground = Ground {
            parts: &parts,
            numbers: &numbers,
            before,
            beside: None,
        };
        let first = Lane::new(parts.policy.routing(), ground);
        let second = parts.candidate.as_ref().map(|candidate| {
            let beside = Some(&first);
            Lane::new(&candidate.routing, Ground { beside, ..ground })
        });
        let reading = second.as_ref().map(|second| {
            let first = first.routing().reading();
            first.and(second.routing().reading())
        });
        Self {
            generation,
            parts,
            numbers,
            first,
            second,
            reading,
        }
    }

    /// Counts up by one with every snapshot of a process.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// What it is made of.
    pub fn parts(&self) -> &Parts {
        &self.parts
    }

    /// The fleet.
    pub fn topology(&self) -> &Topology {
        &self.parts.topology
    }

    /// The policy in force.
    pub fn policy(&self) -> &Policy {
        &self.parts.policy
    }

    /// How requests are routed in the first lane.
    #[inline]
    pub fn routing(&self) -> &Routing {
        self.first.routing()
    }

    /// The lane that decides a query: a pure function of the snapshot and the query, so that every worker, every copy and
    /// every replay agree, and a request asked again is decided alike. This is the one place where requests part.
    #[inline]
    pub fn lane_of(&self, query: &Query<'_>) -> LaneIndex {
        match &self.parts.candidate {
            Some(candidate) if candidate.split.has(query) => LaneIndex::Second,
            _ => LaneIndex::First,
        }
    }

    /// Of [`BUCKETS`] of requests, how many a candidate decides.
    pub fn candidate_buckets(&self) -> u16 {
        let candidate = self.parts.candidate.as_ref();
        candidate.map_or(0, |it| it.split.buckets)
    }

    /// Whether there is a second lane.
    #[inline]
    pub fn has_candidate(&self) -> bool {
        self.second.is_some()
    }

    /// How requests are read, so that either lane finds what it looks at.
    #[inline]
    pub fn reading(&self) -> &Reading {
        let first = self.first.routing().reading();
        self.reading.as_ref().unwrap_or(first)
    }

    /// A lane.
    #[inline]
    pub fn lane(&self, lane: LaneIndex) -> &Lane {
        match lane {
            LaneIndex::First => &self.first,
            LaneIndex::Second => self.second.as_ref().unwrap_or(&self.first),
        }
    }

    /// All lanes that there are.
    pub fn lanes(&self) -> impl Iterator<Item = &Lane> {
        std::iter::once(&self.first).chain(&self.second)
    }

    /// The tables of all lanes.
    fn tables(&self) -> impl Iterator<Item = &RankTable> {
        self.lanes().flat_map(Lane::tables)
    }

    /// What sets and classes are called.
    pub fn numbers(&self) -> &Arc<Numbers> {
        &self.numbers
    }

    /// Where clients are.
    pub fn geo(&self) -> &Ranges {
        &self.parts.geo
    }

    /// Whether the geo tables can be relied on.
    pub fn geo_state(&self) -> GeoState {
        self.parts.geo_state
    }

    /// Where clients are taken to be whom nobody can place.
    pub fn here(&self) -> Option<Location> {
        self.parts.here
    }

    /// How the fleet behaves.
    pub fn signals(&self) -> &Signals {
        &self.parts.signals
    }

    /// The table of a set of the first lane; indices come from its routing only.
    pub fn table(&self, set: SetIndex) -> &RankTable {
        self.first.table(set)
    }

    /// The table of the set with a number, and the lane it is of: of both, the first.
    pub fn find(&self, set: SetNumber) -> Option<(&Lane, &RankTable)> {
        self.lanes().find_map(|lane| Some((lane, lane.find(set)?)))
    }

    /// Heap memory of the tables in bytes, without topology, policy and geo.
    pub fn memory_bytes(&self) -> usize {
        self.lanes().map(Lane::memory_bytes).sum()
    }
}
