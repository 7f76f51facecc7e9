//! F1: one chair at a time, each later one of a later epoch, and one that was frozen changes nothing any more. Every history
//! of lost, late and doubled messages, of freezing and thawing, for two that want the chair and one that follows.

use std::collections::{BTreeMap, BTreeSet};

use crate::explorer::{Step, World, explore};
use crate::fleet::facts::Facts;
use crate::fleet::lease::{Action, Event, Held, Lease, Relative, Revision};
use crate::fleet::member::{Heard, Kind, Member, State};
use crate::fleet::{Epoch, MemberId, Stamp};
use crate::time::Moment;

/// Time goes on in steps of this, in ms.
const STEP_MS: u64 = 500;

/// Two members that want the chair; the second is the quicker to try.
const RIVALS: [MemberId; 2] = [MemberId(1), MemberId(2)];

/// Acts beyond the beginning, where the first has the chair.
const DEPTH: usize = 12;

/// Messages under way at once.
const MOST_UNDER_WAY: usize = 3;

#[derive(Debug, Clone)]
struct Fleet {
    now: Moment,
    rivals: Vec<Lease>,
    is_frozen: Vec<bool>,
    freezes: u8,
    /// What the store holds.
    store: (Revision, Held),
    /// What is on its way to the store, and from it.
    requests: BTreeSet<(usize, Action)>,
    answers: BTreeSet<(usize, Event)>,
    begun: BTreeSet<Epoch>,
    follower: Member,
    said: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Act {
    /// Time passes, and everybody who is not frozen looks at the clock.
    Pass,
    /// The store gets a request; the answer is on its way.
    Arrives(usize, Action),
    /// A rival gets the store's answer.
    Answered(usize, Event),
    /// A message is lost.
    Lost(usize),
    /// A rival learns what the store holds.
    Sees(usize),
    Freezes(usize),
    Thaws(usize),
    /// A rival that believes to have the chair says something, and the follower hears it.
    Says(usize),
}

impl Fleet {
    /// The first rival has just got the chair, and everybody knows.
    fn begun() -> Result<Self, String> {
        let nobody = Held {
            holder: MemberId(0),
            epoch: None,
        };
        let mut fleet = Self {
            now: Moment(10_000),
            rivals: RIVALS.map(|me| Lease::new(Moment(0), me, true)).into(),
            is_frozen: vec![false; 2],
            freezes: 0,
            store: (0, nobody),
            requests: BTreeSet::new(),
            answers: BTreeSet::new(),
            begun: BTreeSet::new(),
            follower: Member::default(),
            said: 0,
        };
        fleet.tell(0, Event::Tick)?;
        let request = fleet.requests.pop_first().expect("the first tries");
        fleet.arrive(request);
        let (rival, answer) = fleet.answers.pop_first().expect("it is answered");
        fleet.tell(rival, answer)?;
        fleet.see(1)?;
        Ok(fleet)
    }

    fn tell(&mut self, rival: usize, event: Event) -> Result<(), String> {
        self.step(rival, event)?;
        self.check()
    }

    fn step(&mut self, rival: usize, event: Event) -> Result<(), String> {
        for action in self.rivals[rival].step(self.now, event) {
            match action {
                Action::Set { .. } => {
                    self.requests.insert((rival, action));
                }
                Action::Begin(epoch) => {
                    if self.begun.last().is_some_and(|last| *last >= epoch) {
                        return Err(format!("{epoch:?} begins after {:?}", self.begun));
                    }
                    self.begun.insert(epoch);
                }
                Action::Stop => {}
            }
        }
        Ok(())
    }

    fn check(&self) -> Result<(), String> {
        let awake = (0..2).filter(|at| !self.is_frozen[*at]);
        let chairs = awake.filter(|at| self.rivals[*at].chair().is_some());
        if chairs.count() > 1 {
            return Err("two have the chair".to_owned());
        }
        Ok(())
    }

    fn arrive(&mut self, (rival, action): (usize, Action)) {
        let Action::Set {
            number,
            expected,
            value,
        } = action
        else {
            return;
        };
        let answer = if expected == self.store.0 {
            self.store = (expected + 1, value);
            Event::Set {
                number,
                revision: expected + 1,
            }
        } else {
            let (revision, value) = self.store;
            Event::Refused { revision, value }
        };
        self.answers.insert((rival, answer));
    }

    fn see(&mut self, rival: usize) -> Result<(), String> {
        let (revision, value) = self.store;
        self.tell(rival, Event::Seen { revision, value })
    }

    /// What a rival says that holds itself for the chair, frozen or not.
    fn say(&mut self, rival: usize) -> Result<(), String> {
        let Some(epoch) = self.rivals[rival].chair() else {
            return Ok(());
        };
        self.said += 1;
        let before = self.follower.stamp();
        let state = State {
            stamp: Stamp {
                epoch,
                sequence: self.said,
            },
            at_ms: self.now.0,
            kind: Kind::Whole,
            nodes: Vec::new(),
            well: Vec::new(),
            sites: BTreeMap::new(),
            hearings: Vec::new(),
        };
        let heard = self.follower.hear(self.now, &state);
        if heard == Heard::Applied && epoch < before.epoch {
            return Err(format!("{epoch:?} is followed after {before:?}"));
        }
        if self.follower.stamp() < before {
            return Err("what is acted on falls".to_owned());
        }
        assert_eq!(**self.follower.facts(), Facts::default());
        Ok(())
    }

    fn acts(&self) -> Vec<Act> {
        let mut acts = vec![Act::Pass];
        for (rival, action) in &self.requests {
            acts.push(Act::Arrives(*rival, *action));
        }
        for (rival, event) in &self.answers {
            if !self.is_frozen[*rival] {
                acts.push(Act::Answered(*rival, *event));
            }
        }
        let under_way = self.requests.len() + self.answers.len();
        acts.extend((0..under_way).map(Act::Lost));
        for rival in 0..2 {
            if self.is_frozen[rival] {
                acts.push(Act::Thaws(rival));
            } else {
                acts.push(Act::Sees(rival));
                if self.freezes == 0 {
                    acts.push(Act::Freezes(rival));
                }
            }
            if self.rivals[rival].chair().is_some() {
                acts.push(Act::Says(rival));
            }
        }
        acts
    }

    fn act(&mut self, act: &Act) -> Result<(), String> {
        match act {
            Act::Pass => {
                self.now = self.now.plus(STEP_MS);
                // A message is not kept for ever.
                while self.requests.len() > MOST_UNDER_WAY {
                    self.requests.pop_first();
                }
                let awake: Vec<usize> = (0..2).filter(|at| !self.is_frozen[*at]).collect();
                for rival in &awake {
                    self.step(*rival, Event::Tick)?;
                }
                // Nobody has the chair by a clock that was not looked at yet.
                self.check()
            }
            Act::Arrives(rival, action) => {
                self.requests.remove(&(*rival, *action));
                self.arrive((*rival, *action));
                Ok(())
            }
            Act::Answered(rival, event) => {
                self.answers.remove(&(*rival, *event));
                self.tell(*rival, *event)
            }
            Act::Lost(at) => {
                let requests = self.requests.len();
                if *at < requests {
                    let lost = self.requests.iter().nth(*at).copied();
                    lost.map(|lost| self.requests.remove(&lost));
                } else {
                    let lost = self.answers.iter().nth(*at - requests).copied();
                    lost.map(|lost| self.answers.remove(&lost));
                }
                Ok(())
            }
            Act::Sees(rival) => self.see(*rival),
            Act::Freezes(rival) => {
                self.is_frozen[*rival] = true;
                self.freezes += 1;
                Ok(())
            }
            Act::Thaws(rival) => {
                // Whatever it was about to say it says before it looks at the clock.
                self.say(*rival)?;
                self.is_frozen[*rival] = false;
                self.tell(*rival, Event::Tick)
            }
            Act::Says(rival) => self.say(*rival),
        }
    }
}

struct Rivalry;

impl World for Rivalry {
    type State = Fleet;
    type Act = Act;
    type Key = Key;

    fn next(&self, state: &Fleet) -> Vec<Step<Self>> {
        let acts = state.acts().into_iter();
        acts.map(|act| {
            let mut next = state.clone();
            let next = next.act(&act).map(|()| next);
            Step { act, next }
        })
        .collect()
    }

    fn key(&self, state: &Fleet) -> Key {
        let revision = state.store.0;
        let age = |epoch: Epoch| revision - epoch.0;
        let held = |value: &Held| (value.holder, value.epoch.map(age));
        let sent = |rival: usize, number| state.rivals[rival].count() - number;
        let requests = state.requests.iter().map(|(rival, action)| match action {
            Action::Set {
                number,
                expected,
                value,
            } => (
                *rival,
                0,
                sent(*rival, *number),
                revision - expected,
                Some(held(value)),
            ),
            Action::Begin(_) | Action::Stop => unreachable!("nothing of the kind is sent"),
        });
        let answers = state.answers.iter().map(|(rival, event)| match event {
            Event::Set {
                number,
                revision: at,
            } => (*rival, 1, sent(*rival, *number), revision - at, None),
            Event::Refused {
                revision: at,
                value,
            }
            | Event::Seen {
                revision: at,
                value,
            } => (*rival, 2, 0, revision - at, Some(held(value))),
            Event::Tick => unreachable!("the store does not tick"),
        });
        let rivals = state.rivals.iter();
        Key {
            rivals: rivals
                .map(|rival| rival.relative(state.now, revision))
                .collect(),
            is_frozen: state.is_frozen.clone(),
            freezes: state.freezes,
            store: held(&state.store.1),
            under_way: requests.chain(answers).collect(),
            followed: age(state.follower.stamp().epoch),
        }
    }
}

/// Who has the chair, and how many revisions ago it was taken.
type Value = (MemberId, Option<u64>);

/// Whose message, of what kind, how many messages and revisions ago, and its value.
type Message = (usize, u8, u64, u64, Option<Value>);

/// A state but for counts and times of a clock.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    rivals: Vec<Relative>,
    is_frozen: Vec<bool>,
    freezes: u8,
    store: Value,
    under_way: BTreeSet<Message>,
    followed: u64,
}

#[test]
fn there_is_one_chair_at_a_time_and_epochs_rise_whatever_is_lost_late_or_frozen() {
    let start = Fleet::begun().expect("a beginning");
    let explored = explore(&Rivalry, start, DEPTH);
    println!("{explored:?}");
    assert!(explored.states > 10_000, "{explored:?}");
}

#[test]
fn the_chair_passes_within_two_and_a_half_seconds_of_its_death() {
    let mut fleet = Fleet::begun().expect("a beginning");
    fleet.act(&Act::Freezes(0)).expect("it freezes");
    let died = fleet.now;
    while fleet.rivals[1].chair().is_none() {
        fleet.now = fleet.now.plus(100);
        fleet.tell(1, Event::Tick).expect("one chair");
        while let Some(request) = fleet.requests.pop_first() {
            fleet.arrive(request);
        }
        while let Some((rival, answer)) = fleet.answers.pop_first() {
            fleet.tell(rival, answer).expect("one chair");
        }
    }
    let passed_ms = fleet.now.since(died);
    assert!((2_000..=2_500).contains(&passed_ms), "{passed_ms} ms");
    fleet.act(&Act::Says(1)).expect("it is heard");
    fleet.act(&Act::Thaws(0)).expect("the first is not");
    assert_eq!(fleet.rivals[0].chair(), None, "it knows by its own clock");
}
