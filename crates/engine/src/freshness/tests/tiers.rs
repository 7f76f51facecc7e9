//! V4: a node does a purge only after its parents, or they are fenced; and what it then asks for is never older.
//!
//! Three tiers of caches, each of which copies from the one above it, under every order of purges, lost answers, nodes that are
//! stuck, fences and restarts with what was on disk.

use crate::explorer::{Explored, Step, World, explore};
use crate::freshness::tiers::{FENCE_MS, Member, Tiers};
use crate::time::Moment;

/// The sites of the nodes: two at the top, one in the middle, two at the edge.
const SITES: [usize; 5] = [2, 2, 1, 0, 0];

const PURGES: u64 = 2;

struct Fleet {
    may_be_fenced: bool,
}

#[derive(Debug, Clone)]
struct State {
    tiers: Tiers,
    now: Moment,
    head: u64,
    /// What each node has really done.
    did: [u64; 5],
    /// The version of what each node has; `None` for nothing.
    has: [Option<u64>; 5],
    /// The floors on disk.
    kept: [u64; 5],
}

#[derive(Debug, Clone)]
#[expect(dead_code, reason = "what happened is read by whoever debugs")]
enum Act {
    Purge,
    /// A node does its next purge; whether that is heard.
    Do(usize, bool),
    /// A node is asked for the object that it has not, and gets it from this one, or from the origin.
    Fetch(usize, Option<usize>),
    TimePasses,
    Keep,
    Restart,
}

fn parents() -> Vec<Vec<usize>> {
    vec![vec![1], vec![2], vec![]]
}

impl Fleet {
    fn tiers(&self, floors: [u64; 5]) -> Tiers {
        let members = SITES.iter().zip(floors);
        let members = members.map(|(site, floor)| Member::new(*site, floor, self.may_be_fenced));
        Tiers::new(members.collect(), parents())
    }

    fn start(&self) -> State {
        State {
            tiers: self.tiers([0; 5]),
            now: Moment(0),
            head: 0,
            did: [0; 5],
            has: [None; 5],
            kept: [0; 5],
        }
    }
}

fn parents_of(node: usize) -> impl Iterator<Item = usize> {
    let above = SITES[node] + 1;
    (0..SITES.len()).filter(move |it| SITES[*it] == above)
}

impl State {
    /// Whether it is asked for the object, which each purge covers: of those that may be fenced only who has done them.
    fn is_asked(&self, node: usize) -> bool {
        let member = &self.tiers.members()[node];
        !member.may_be_fenced || member.floor >= self.head
    }

    fn purge(&self, node: usize, is_heard: bool) -> Result<Self, String> {
        let mut next = self.clone();
        let sequence = self.tiers.members()[node].floor + 1;
        for parent in parents_of(node) {
            if self.did[parent] < sequence && self.is_asked(parent) {
                return Err(format!("{node} does {sequence} before {parent}"));
            }
        }
        next.did[node] = next.did[node].max(sequence);
        next.has[node] = next.has[node].filter(|version| *version >= sequence);
        if is_heard {
            next.tiers.done(node, sequence);
        }
        Ok(next)
    }

    fn fetch(&self, node: usize, from: Option<usize>) -> Result<Self, String> {
        let mut next = self.clone();
        let version = from.map_or(self.head, |from| self.has[from].unwrap_or(0));
        next.has[node] = Some(version);
        if version < self.did[node] {
            return Err(format!(
                "{node} gets {version} back, and has done {}",
                self.did[node]
            ));
        }
        Ok(next)
    }
}

impl World for Fleet {
    type State = State;
    type Act = Act;
    type Key = String;

    fn next(&self, state: &State) -> Vec<Step<Self>> {
        let mut steps = Vec::new();
        let mut step = |act: Act, next: Result<State, String>| steps.push(Step { act, next });
        if state.head < PURGES {
            let mut next = state.clone();
            next.head += 1;
            step(Act::Purge, Ok(next));
        }
        for node in 0..SITES.len() {
            let floor = state.tiers.members()[node].floor;
            if floor < state.tiers.allowed(node, state.head) {
                for is_heard in [true, false] {
                    step(Act::Do(node, is_heard), state.purge(node, is_heard));
                }
            }
            if state.has[node].is_some() || !state.is_asked(node) {
                continue;
            }
            let above: Vec<usize> = parents_of(node).collect();
            if above.is_empty() {
                step(Act::Fetch(node, None), state.fetch(node, None));
            }
            for from in above {
                if state.is_asked(from) && state.has[from].is_some() {
                    step(Act::Fetch(node, Some(from)), state.fetch(node, Some(from)));
                }
            }
        }
        let mut later = state.clone();
        later.now = Moment(state.now.0 + FENCE_MS);
        later.tiers.tick(later.now, later.head);
        step(Act::TimePasses, Ok(later));
        let floors: Vec<u64> = state.tiers.members().iter().map(|it| it.floor).collect();
        let floors: [u64; 5] = floors.try_into().unwrap();
        if floors != state.kept {
            let mut kept = state.clone();
            kept.kept = floors;
            step(Act::Keep, Ok(kept));
            let mut again = state.clone();
            again.tiers = self.tiers(state.kept);
            step(Act::Restart, Ok(again));
        }
        steps
    }

    fn key(&self, state: &State) -> String {
        let members = state.tiers.members().iter();
        let members: Vec<_> = members
            .map(|it| (it.floor, it.is_fenced(), it.stuck_since().is_some()))
            .collect();
        let State { did, has, kept, .. } = state;
        format!("{members:?} {did:?} {has:?} {kept:?} {}", state.head)
    }
}

fn explored(may_be_fenced: bool, depth: usize) -> Explored {
    let fleet = Fleet { may_be_fenced };
    explore(&fleet, fleet.start(), depth)
}

#[test]
fn no_node_does_a_purge_before_its_parents_or_gets_back_what_it_dropped() {
    for may_be_fenced in [false, true] {
        let explored = explored(may_be_fenced, 9);
        println!("fenced: {may_be_fenced}: {explored:?}");
        assert!(explored.states > 1_000);
    }
}

#[test]
#[ignore = "takes minutes; docs/benchmarks.md, Freshness"]
fn no_node_does_a_purge_before_its_parents_in_any_sequence_at_all() {
    let explored = explored(false, 100);
    println!("{explored:?}");
    assert!(explored.longest < 100, "{explored:?}");
}

#[test]
fn a_node_that_may_not_be_fenced_is_waited_for_and_named() {
    let fleet = Fleet {
        may_be_fenced: false,
    };
    let mut tiers = fleet.tiers([0; 5]);
    tiers.done(0, 1);
    for now in 0..100 {
        tiers.tick(Moment(now * FENCE_MS), 1);
    }
    // The second at the top is frozen: those below do not act, and say for whom they wait.
    assert_eq!(
        [0, 1, 2, 3].map(|node| tiers.allowed(node, 1)),
        [1, 1, 0, 0]
    );
    assert_eq!(
        [0, 2, 3].map(|node| tiers.waits_for(node, 1)),
        [None, Some(1), Some(1)]
    );
    tiers.done(1, 1);
    assert_eq!(tiers.allowed(2, 1), 1);
    assert_eq!(tiers.waits_for(3, 1), Some(2));
}

#[test]
fn a_node_that_is_fenced_is_not_waited_for_until_it_has_come_along() {
    let fleet = Fleet {
        may_be_fenced: true,
    };
    let mut tiers = fleet.tiers([0; 5]);
    tiers.tick(Moment(0), 1);
    tiers.done(0, 1);
    tiers.tick(Moment(FENCE_MS - 1), 1);
    assert!(!tiers.members()[1].is_fenced());
    tiers.tick(Moment(FENCE_MS), 1);
    assert!(tiers.members()[1].is_fenced());
    assert_eq!(tiers.allowed(2, 1), 1);
    tiers.done(1, 1);
    tiers.tick(Moment(FENCE_MS), 1);
    assert!(!tiers.members()[1].is_fenced());
}
