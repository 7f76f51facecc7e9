//! Breadth first through everything that can happen, each state once.
//!
//! Of our own, because stateright brings 44 packages (a web server among them) to a crate that has about 40, and wants a
//! state that can be hashed: a steward holds compiled fleets, of which only the names of their texts matter here.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::num::NonZero;
use std::panic::resume_unwind;
use std::thread;

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

/// States that are gone through before what comes of them is put together: few enough that all of that fits into memory, and
/// enough that starting threads takes no time beside it.
const BATCH: usize = 64;

/// Goes through all sequences of at most `depth` acts; panics with the shortest one that comes to no good.
pub(crate) fn explore<W: World>(world: &W, start: W::State, depth: usize) -> Explored {
    let look = |known: &Known<W>, batch: &[Reached<W>]| vec![look_beyond(world, known, batch)];
    explore_by(world, start, depth, look)
}

/// As [`explore`], on all cores: for what takes half a minute of one.
pub(crate) fn explore_on_all_cores<W>(world: &W, start: W::State, depth: usize) -> Explored
where
    W: World + Sync,
    W::State: Send + Sync,
    W::Act: Send + Sync,
    W::Key: Send + Sync,
{
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let look = |known: &Known<W>, batch: &[Reached<W>]| {
        thread::scope(|scope| {
            let shares = batch.chunks(batch.len().div_ceil(cores));
            let lookers: Vec<_> = shares
                .map(|share| scope.spawn(move || look_beyond(world, known, share)))
                .collect();
            // In their order, so that it is always the same sequence that a fault is shown by.
            let seen = lookers.into_iter().map(thread::ScopedJoinHandle::join);
            seen.map(|seen| seen.unwrap_or_else(|panic| resume_unwind(panic)))
                .collect()
        })
    };
    explore_by(world, start, depth, look)
}

fn explore_by<W: World>(
    world: &W,
    start: W::State,
    depth: usize,
    look: impl Fn(&Known<W>, &[Reached<W>]) -> Vec<Seen<W>>,
) -> Explored {
    let mut known = Known::<W>::from([world.key(&start)]);
    let mut frontier: Vec<Reached<W>> = vec![Reached {
        state: start,
        trace: Vec::new(),
    }];
    let (mut steps, mut longest) = (0, 0);
    for length in 1..=depth {
        let mut reached = Vec::new();
        for batch in frontier.chunks(BATCH) {
            for seen in look(&known, batch) {
                steps += seen.steps;
                for Unknown { key, reached: next } in seen.unknown {
                    if known.insert(key) {
                        longest = length;
                        reached.push(next);
                    }
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

/// The keys of all states so far.
type Known<W> = BTreeSet<<W as World>::Key>;

/// What comes of some states.
struct Seen<W: World> {
    steps: usize,
    /// What was not known before.
    unknown: Vec<Unknown<W>>,
}

/// A state that may be new, and what tells it from others.
struct Unknown<W: World> {
    key: W::Key,
    reached: Reached<W>,
}

fn look_beyond<W: World>(world: &W, known: &Known<W>, states: &[Reached<W>]) -> Seen<W> {
    let mut seen = Seen {
        steps: 0,
        unknown: Vec::new(),
    };
    for Reached { state, trace } in states {
        for Step { act, next } in world.next(state) {
            seen.steps += 1;
            let with = || trace.iter().cloned().chain([act.clone()]).collect();
            let state = next.unwrap_or_else(|why| {
                let trace: Vec<W::Act> = with();
                panic!("{why}, after {trace:#?}")
            });
            let key = world.key(&state);
            if !known.contains(&key) {
                let trace = with();
                let reached = Reached { state, trace };
                seen.unknown.push(Unknown { key, reached });
            }
        }
    }
    seen
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
    assert_eq!(
        explore_on_all_cores(&Counter { forbidden: 9 }, 0, 10),
        whole
    );
}

#[test]
#[should_panic(expected = "forbidden, after [\n    3,\n    3,\n]")]
fn the_shortest_way_to_a_fault_is_told() {
    explore(&Counter { forbidden: 6 }, 0, 10);
}

#[test]
#[should_panic(expected = "forbidden, after [\n    3,\n    3,\n]")]
fn all_cores_tell_the_same_way() {
    explore_on_all_cores(&Counter { forbidden: 6 }, 0, 10);
}
