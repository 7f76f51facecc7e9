//! V2: a purge that was answered is in force at all that stay or return, though the bus loses the end of its log, or all of it,
//! and sidecars end meanwhile; no number counts for two purges. Every history of two members that purge one object.

use crate::explorer::{Step, World, explore};
use crate::fleet::purges::{Entry, Follower, Found, Heard, Place};

const PURGES: usize = 2;
const LOSSES: u8 = 2;
const ENDS: u8 = 1;

/// What happened to a purge.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Wanted {
    by: usize,
    mark: u64,
    /// The largest version that anybody asked caches for when it was purged: what they have under it is old.
    old: u64,
    is_answered: bool,
}

/// A member: what it holds in memory, and what is on its disk.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Sidecar {
    follower: Follower,
    last: u64,
    /// The version of the one object.
    version: u64,
    disk: Vec<Entry>,
}

impl Sidecar {
    fn takes(&mut self, entry: Entry) {
        self.last = self.last.max(entry.version);
        self.version = self.version.max(entry.version);
    }

    /// It ends, and begins with what is on its disk.
    fn restarts(&mut self) {
        let disk = std::mem::take(&mut self.disk);
        *self = Self::default();
        for entry in &disk {
            self.follower.resume(*entry, self.last);
            self.takes(*entry);
        }
        self.disk = disk;
    }
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Land {
    sidecars: Vec<Sidecar>,
    log: u64,
    bus: Vec<Entry>,
    wanted: Vec<Wanted>,
    marks: u64,
    losses: u8,
    ends: u8,
}

#[derive(Debug, Clone)]
enum Act {
    Comes(usize),
    Hears(usize),
    Purges(usize),
    SaysAgain(usize),
    Ends(usize),
    /// The bus loses the last purge.
    LosesTail,
    /// The bus loses its log and begins another.
    LosesAll,
}

impl Land {
    fn new() -> Self {
        Self {
            sidecars: vec![Sidecar::default(); 2],
            log: 1,
            bus: Vec::new(),
            wanted: Vec::new(),
            marks: 0,
            losses: 0,
            ends: 0,
        }
    }

    /// Appends what a member says, by its clock, if it may.
    fn append(&mut self, at: usize, again_of: u64, clock: u64) -> Option<Entry> {
        let sidecar = &self.sidecars[at];
        let behind = sidecar.follower.may_append()?;
        if behind != self.bus.len() as u64 {
            return None;
        }
        self.marks += 1;
        let entry = Entry {
            place: Place {
                log: self.log,
                at: behind + 1,
            },
            version: clock.max(sidecar.last + 1),
            mark: self.marks,
            again_of,
        };
        self.bus.push(entry);
        Some(entry)
    }

    fn comes(&mut self, at: usize) {
        let sidecar = &mut self.sidecars[at];
        let there = sidecar.follower.place().at.checked_sub(1);
        let there = there.and_then(|it| self.bus.get(usize::try_from(it).unwrap()));
        let found = Found {
            log: self.log,
            first: 1,
            last: self.bus.len() as u64,
            there: there.map(|it| it.mark),
        };
        sidecar.follower.come(found);
    }

    fn hears(&mut self, at: usize) {
        let sidecar = &mut self.sidecars[at];
        let next = usize::try_from(sidecar.follower.place().at).unwrap();
        let Some(entry) = self.bus.get(next).copied() else {
            return;
        };
        match sidecar.follower.hear(entry, sidecar.last) {
            Heard::New => {
                sidecar.takes(entry);
                sidecar.disk.push(entry);
            }
            Heard::Known => {}
            Heard::Gap => panic!("{entry:?} is the next"),
        }
        let of_its_own = self
            .wanted
            .iter_mut()
            .find(|it| (it.by, it.mark) == (at, entry.mark));
        if let Some(wanted) = of_its_own {
            wanted.is_answered = true;
        }
    }

    /// Whether the bus has what a member has not heard.
    fn has_more(&self, at: usize) -> bool {
        self.sidecars[at].follower.place().at < self.bus.len() as u64
    }

    fn loses(&mut self) {
        self.losses += 1;
        for sidecar in &mut self.sidecars {
            sidecar.follower.leave();
        }
    }

    fn act(&mut self, act: &Act, clocks: [u64; 2]) -> Result<(), String> {
        match *act {
            Act::Comes(at) => self.comes(at),
            Act::Hears(at) => self.hears(at),
            Act::Purges(at) => {
                let old = self.sidecars.iter().map(|it| it.version).max().unwrap();
                if let Some(entry) = self.append(at, 0, clocks[at]) {
                    self.wanted.push(Wanted {
                        by: at,
                        mark: entry.mark,
                        old,
                        is_answered: false,
                    });
                }
            }
            Act::SaysAgain(at) => {
                if let Some(mark) = self.sidecars[at].follower.to_say_again().first() {
                    self.append(at, *mark, clocks[at]);
                }
            }
            Act::Ends(at) => {
                self.ends += 1;
                self.sidecars[at].restarts();
                // Nobody is there any more to be answered.
                self.wanted.retain(|it| it.by != at || it.is_answered);
            }
            Act::LosesTail => {
                self.bus.pop();
                self.loses();
            }
            Act::LosesAll => {
                self.bus.clear();
                self.log += 1;
                self.loses();
            }
        }
        self.clone().settles(clocks)
    }

    /// When nothing more happens, everything that was answered is in force everywhere.
    fn settles(mut self, clocks: [u64; 2]) -> Result<(), String> {
        for _ in 0..8 {
            for (at, clock) in clocks.into_iter().enumerate() {
                if !self.sidecars[at].follower.is_following() {
                    self.comes(at);
                }
                while self.has_more(at) {
                    self.hears(at);
                }
                if let Some(mark) = self.sidecars[at].follower.to_say_again().first() {
                    self.append(at, *mark, clock);
                }
            }
        }
        let has_more = |it: &mut Sidecar| !it.follower.to_say_again().is_empty();
        if self.sidecars.iter_mut().any(has_more) {
            return Err(format!("there is no end of saying again: {self:?}"));
        }
        for wanted in self.wanted.iter().filter(|it| it.is_answered) {
            let is_stale = |it: &&Sidecar| it.version <= wanted.old;
            if let Some(stale) = self.sidecars.iter().find(is_stale) {
                return Err(format!(
                    "{wanted:?} was answered, and is not in force at {stale:?}"
                ));
            }
        }
        let versions: Vec<u64> = self.sidecars.iter().map(|it| it.version).collect();
        if versions[0] != versions[1] {
            return Err(format!("they do not agree: {versions:?}"));
        }
        Ok(())
    }
}

struct Shared {
    clocks: [u64; 2],
}

impl World for Shared {
    type State = Land;
    type Act = Act;
    type Key = Land;

    fn next(&self, state: &Land) -> Vec<Step<Self>> {
        let mut acts = Vec::new();
        for at in 0..2 {
            let follower = &state.sidecars[at].follower;
            if !follower.is_following() {
                acts.push(Act::Comes(at));
            }
            if follower.is_following() && state.has_more(at) {
                acts.push(Act::Hears(at));
            }
            if state.wanted.len() < PURGES {
                acts.push(Act::Purges(at));
            }
            if !follower.clone().to_say_again().is_empty() {
                acts.push(Act::SaysAgain(at));
            }
            if state.ends < ENDS {
                acts.push(Act::Ends(at));
            }
        }
        if state.losses < LOSSES && !state.bus.is_empty() {
            acts.push(Act::LosesTail);
            acts.push(Act::LosesAll);
        }
        acts.into_iter()
            .map(|act| {
                let mut next = state.clone();
                let next = next.act(&act, self.clocks).map(|()| next);
                Step { act, next }
            })
            .collect()
    }

    fn key(&self, state: &Land) -> Land {
        state.clone()
    }
}

#[test]
fn what_was_answered_is_in_force_whatever_the_bus_loses() {
    for clocks in [[100, 100], [100, 102]] {
        let explored = explore(&Shared { clocks }, Land::new(), 12);
        println!("clocks {clocks:?}: {explored:?}");
        assert!(explored.states > 10_000, "{explored:?}");
    }
}
