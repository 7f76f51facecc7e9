//! Breadth first through everything that can happen, each state once.
//!
//! Of our own, because stateright brings 44 packages (a web server among them) to a crate that has about 40, and wants a
//! state that can be hashed: a steward holds compiled fleets, of which only the names of their texts matter here.

use std::collections::BTreeSet;
use std::fmt::Debug;

/// What there is to explore.
pub(crate) trait World {
    /// A state.
    type State;
    /// Something that may happen.
    type Act: Clone + Debug;
    /// What tells states apart.
    type Key: Ord;

    /// Everything that may happen now, and what comes of each. What must not come of it is an error.
    fn next(&self, state: &Self::State) -> Vec<Step<Self>>;

    /// What tells this state from others, as far as it matters to what comes.
    fn key(&self, state: &Self::State) -> Self::Key;
}

/// Something that may happen, and what comes of it.
pub(crate) struct Step<W: World + ?Sized> {
    pub(crate) act: W::Act,
    pub(crate) next: Result<W::State, String>,
}

/// A state, and a shortest way to it.
struct Reached<W: World> {
    state: W::State,
    trace: Vec<W::Act>,
}

/// How much was looked at.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Explored {
    pub(crate) states: usize,
    pub(crate) steps: usize,
    /// Length of the longest sequence that comes to something new; less than asked for, where nothing would come of longer
    /// ones.
    pub(crate) longest: usize,
}

/// Goes through all sequences of at most `depth` acts; panics with the shortest one that comes to no good.
pub(crate) fn explore<W: World>(world: &W, start: W::State, depth: usize) -> Explored {
    let mut known = BTreeSet::from([world.key(&start)]);
    let mut frontier: Vec<Reached<W>> = vec![Reached {
        state: start,
        trace: Vec::new(),
    }];
    let (mut steps, mut longest) = (0, 0);
    for length in 1..=depth {
        let mut reached = Vec::new();
        for Reached { state, trace } in &frontier {
            for Step { act, next } in world.next(state) {
                steps += 1;
                let mut trace = trace.clone();
                trace.push(act);
                let state = next.unwrap_or_else(|why| panic!("{why}, after {trace:#?}"));
                if known.insert(world.key(&state)) {
                    longest = length;
                    reached.push(Reached { state, trace });
                }
            }
        }
        frontier = reached;
    }
    Explored {
        states: known.len(),
        steps,
        longest,
    }
}

/// Counts modulo 7, must not come to `forbidden`.
struct Counter {
    forbidden: u8,
}

impl World for Counter {
    type State = u8;
    type Act = u8;
    type Key = u8;

    fn next(&self, state: &u8) -> Vec<Step<Self>> {
        let steps = [1, 3].map(|act| {
            let next = (state + act) % 7;
            let is_good = next != self.forbidden;
            let next = is_good.then_some(next).ok_or("forbidden".to_owned());
            Step { act, next }
        });
        steps.into_iter().collect()
    }

    fn key(&self, state: &u8) -> u8 {
        *state
    }
}

#[test]
fn each_state_is_looked_at_once() {
    let explored = explore(&Counter { forbidden: 9 }, 0, 10);
    let whole = Explored {
        states: 7,
        steps: 14,
        longest: 3,
    };
    assert_eq!(explored, whole);
}

#[test]
#[should_panic(expected = "forbidden, after [\n    3,\n    3,\n]")]
fn the_shortest_way_to_a_fault_is_told() {
    explore(&Counter { forbidden: 6 }, 0, 10);
}
