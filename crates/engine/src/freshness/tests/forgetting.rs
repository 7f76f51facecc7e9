//! V3: forgetting never brings back what a known purge covers.
//!
//! Two sidecars, one of which may hear of purges an hour later, each with the real ledger; three tiers of caches that keep
//! what they have for two hours from when *they* stored it, whatever its age, with the version in their keys. Each hour anything may be
//! asked for, through either sidecar.

use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::explorer::{Step, World, explore};
use crate::freshness::ledger::{Bounds, Ledger};
use crate::freshness::object::Object;
use crate::freshness::purge::{Kind, Purge};
use crate::freshness::selector::Selector;
use crate::time::Moment;

const HOUR_MS: u64 = 3_600_000;
const TTL_H: u64 = 2;
const LAG_H: u64 = 1;
const TIERS: usize = 3;

/// A ledger forgets by the hour, so it remembers for up to one hour longer than it is told.
const WITHIN_H: u64 = 1;
const PURGES: usize = 2;

/// When purges were heard of, and the hour.
type Moments = (Vec<u64>, u64);

/// What a tier has: by version, the content and when it was stored.
type Cache = BTreeMap<u64, (u64, u64)>;

/// The same as it is told apart: version, content and how long ago.
type Row = (u64, u64, u64);

/// Asks the real ledger, and remembers what it said.
struct Forgetting {
    life_h: u64,
    known: RefCell<BTreeMap<Moments, u64>>,
}

#[derive(Debug, Clone, Default)]
struct State {
    hour: u64,
    /// When each purge was made; with the first the content became 1, and so on.
    purged: Vec<u64>,
    /// When the second sidecar heard of each. The first hears at once.
    heard: Vec<u64>,
    caches: [Cache; TIERS],
}

#[derive(Debug, Clone)]
#[expect(dead_code, reason = "what happened is read by whoever debugs")]
enum Act {
    Purge,
    Hear,
    /// Asks through a sidecar.
    Ask(usize),
    /// Asks a middle tier, as another edge would.
    AskAbove(usize),
    HourPasses,
}

impl Forgetting {
    fn new(life_h: u64) -> Self {
        Self {
            life_h,
            known: RefCell::default(),
        }
    }

    /// The version by purges that were heard of at these hours, as it is at an hour: by the ledger.
    fn version(&self, heard: &[u64], hour: u64) -> u64 {
        let key = (heard.to_vec(), hour);
        if let Some(version) = self.known.borrow().get(&key) {
            return *version;
        }
        let mut ledger = Ledger::new(Bounds {
            life_ms: self.life_h * HOUR_MS,
            ..Bounds::default()
        });
        let mut heard = (1_u64..).zip(heard.iter().copied()).peekable();
        for now in 0..=hour {
            ledger.tick(Moment(now * HOUR_MS));
            while let Some((sequence, _)) = heard.next_if(|(_, at)| *at == now) {
                let path = Selector::Path {
                    host: "h".into(),
                    path: "/a".into(),
                };
                let purge = Purge {
                    sequence,
                    namespace: "".into(),
                    selectors: vec![path],
                    kind: Kind::Hard,
                    over_ms: 0,
                };
                // It is remembered from when it is heard of; a sidecar that starts anew would count from when it was made.
                ledger.apply(Moment(now * HOUR_MS), 0, &purge);
            }
        }
        let object = Object {
            host: "h",
            path: "/a",
            ..Object::default()
        };
        let version = ledger.versions().look_up(&object).version;
        self.known.borrow_mut().insert(key, version);
        version
    }

    /// Asks a tier, and whoever is above it where it has nothing; what comes back.
    fn ask(state: &mut State, tier: usize, version: u64) -> u64 {
        let Some(cache) = state.caches.get(tier) else {
            return state.purged.len() as u64;
        };
        if let Some((content, _)) = cache.get(&version) {
            return *content;
        }
        let content = Self::ask(state, tier + 1, version);
        let hour = state.hour;
        state.caches[tier].insert(version, (content, hour));
        content
    }

    fn asked(&self, state: &State, (sidecar, tier): (usize, usize)) -> Result<State, String> {
        let mut next = state.clone();
        let heard = if sidecar == 0 {
            &state.purged
        } else {
            &state.heard
        };
        let version = self.version(heard, state.hour);
        let content = Self::ask(&mut next, tier, version);
        // Content n is what there is since purge n.
        if content < heard.len() as u64 {
            return Err(format!(
                "sidecar {sidecar} knows of {} purges and is given what there was after {content}",
                heard.len()
            ));
        }
        Ok(next)
    }
}

impl World for Forgetting {
    type State = State;
    type Act = Act;
    type Key = String;

    fn next(&self, state: &State) -> Vec<Step<Self>> {
        let mut steps = Vec::new();
        let mut step = |act, next| steps.push(Step { act, next });
        if state.purged.len() < PURGES {
            let mut next = state.clone();
            next.purged.push(state.hour);
            step(Act::Purge, Ok(next));
        }
        let unheard = state.purged.get(state.heard.len()).copied();
        if unheard.is_some() {
            let mut next = state.clone();
            next.heard.push(state.hour);
            step(Act::Hear, Ok(next));
        }
        for sidecar in [0, 1] {
            step(Act::Ask(sidecar), self.asked(state, (sidecar, 0)));
            step(Act::AskAbove(sidecar), self.asked(state, (sidecar, 1)));
        }
        // It is told within the lag.
        if unheard.is_none_or(|at| state.hour < at + LAG_H) {
            let mut next = state.clone();
            next.hour += 1;
            for cache in &mut next.caches {
                cache.retain(|_, (_, stored)| next.hour < *stored + TTL_H);
            }
            step(Act::HourPasses, Ok(next));
        }
        steps
    }

    fn key(&self, state: &State) -> String {
        // Only how long ago things were matters.
        let ago = |at: &u64| state.hour - at;
        let ages = |all: &[u64]| all.iter().map(ago).collect::<Vec<u64>>();
        let caches: Vec<Vec<Row>> = state
            .caches
            .iter()
            .map(|cache| {
                let rows = cache.iter();
                rows.map(|(version, (content, at))| (*version, *content, ago(at)))
                    .collect()
            })
            .collect();
        let long_ago = |ages: Vec<u64>| -> Vec<u64> {
            ages.into_iter()
                .map(|age| age.min(self.life_h + 3))
                .collect()
        };
        format!(
            "{:?} {:?} {caches:?}",
            long_ago(ages(&state.purged)),
            long_ago(ages(&state.heard))
        )
    }
}

/// What is remembered for as long as caches keep something, and as a sidecar may be late, is forgotten in time: whatever was
/// stored under an older version is gone by then.
#[test]
fn what_is_forgotten_after_its_life_and_the_lag_brings_nothing_back() {
    let world = Forgetting::new(TTL_H + LAG_H - WITHIN_H);
    let explored = explore(&world, State::default(), 40);
    println!("{explored:?}");
    assert!(
        explored.longest < 40 && explored.states > 1_000,
        "{explored:?}"
    );
}

/// The lag is needed: a late sidecar lets a cache copy what its parent kept until the last hour.
#[test]
#[should_panic(expected = "knows of")]
fn without_the_lag_it_would() {
    let world = Forgetting::new(TTL_H - WITHIN_H);
    explore(&world, State::default(), 40);
}
